//! Deaths of the whole server: the real program, killed in the middle of its work and started again over the same folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "common/mod.rs"]
mod http;
mod program;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use finalrip_core::task::{Happening, WorkId};
use program::{CLIPS, Site, signal, slow};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use service::ledger_in;

/// How often the server is killed.
const KILLS: usize = 25;

/// How often work of each kind went back to the queue.
type Interrupted = BTreeMap<&'static str, usize>;

/// Asserts that each piece of work was done once and never taken up again, and that no interruption cost an attempt.
async fn assert_done_once(data: &Path, key: &str) -> Interrupted {
    let log = ledger_in(data).log(key, 0, 10_000).await.unwrap();
    assert!(!log.missed);
    let mut done = BTreeSet::new();
    let mut interrupted = Interrupted::new();
    for entry in log.entries {
        match entry.happening {
            Happening::Started { work, attempt, .. } => {
                assert_eq!(attempt, 1, "{work:?} of {key}");
                assert!(!done.contains(&work), "{work:?} of {key} was done, and begun again");
            }
            Happening::Done { work } => assert!(done.insert(work), "{work:?} of {key} was done twice"),
            Happening::Returned { work } => *interrupted.entry(kind(work)).or_default() += 1,
            Happening::Failed { work, reason, .. } => panic!("{work:?} of {key} failed: {reason}"),
            Happening::Planned { clips } => assert_eq!(clips, CLIPS),
            _ => {}
        }
    }
    let clips = (0..CLIPS).map(WorkId::Clip);
    assert_eq!(done, clips.chain([WorkId::Index, WorkId::Plan, WorkId::Merge]).collect());
    interrupted
}

fn kind(work: WorkId) -> &'static str {
    match work {
        WorkId::Index => "index",
        WorkId::Plan => "plan",
        WorkId::Clip(_) => "clip",
        WorkId::Merge => "merge",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_25_times_loses_no_finished_clip_and_no_attempt() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let site = Site::new();
    let mut server = site.serve().await;
    let mut keys = vec!["film 0.mkv".to_owned()];
    server.begin(&keys[0], &slow(50)).await;
    let (mut done, mut between, mut killed, mut slowest) = (BTreeSet::new(), 0, 0, Duration::ZERO);
    while killed < KILLS {
        let key = &keys[keys.len() - 1];
        // Few lives are long enough for a clip: every third is, however slow the machine.
        if killed % 3 == 2 {
            server.done(key, (done.len() + 1).min(CLIPS as usize)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..600))).await;
        let Some(now) = server.done(key, 0).await else {
            // The task has been faster; another one is to be hit.
            keys.push(format!("film {}.mkv", keys.len()));
            done.clear();
            server.begin(&keys[keys.len() - 1], &slow(50)).await;
            continue;
        };
        assert!(now.is_superset(&done), "{done:?} were done, now {now:?}");
        between += now.len() - done.len();
        done = now;
        server.kill();
        killed += 1;
        slowest = slowest.max(site.alone().await);
        server = site.serve().await;
    }
    for key in &keys {
        server.assert_completes(key).await;
    }
    server.stop().await;
    let mut total = Interrupted::new();
    for key in &keys {
        for (kind, count) in assert_done_once(&site.data, key).await {
            *total.entry(kind).or_default() += count;
        }
    }
    println!("{} tasks, {between} clips done between kills; interrupted: {total:?}", keys.len());
    println!("processes were gone within {slowest:?}");
    assert!(between > 0 && total.contains_key("clip"), "the kills came at the wrong moments");
    site.assert_tidy(&keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_over_the_same_folder_refuses_and_the_first_goes_on() {
    let site = Site::new();
    let mut first = site.serve().await;
    first.begin("film.mkv", &slow(20)).await;
    assert!(first.done("film.mkv", 1).await.is_some());
    let mut second = site.spawn();
    let status = second.wait().await;
    assert_eq!(status.code(), Some(1), "{}", second.said());
    let ledger = site.data.join("ledger.sqlite");
    let refusal = format!("finalrip-server: the ledger {} is in use by another process;", ledger.display());
    assert!(second.said().contains(&refusal), "{}", second.said());
    first.assert_completes("film.mkv").await;
    first.stop().await;
    let interrupted = assert_done_once(&site.data, "film.mkv").await;
    assert!(interrupted.is_empty(), "the second server has disturbed the first: {interrupted:?}");
    site.assert_tidy(&["film.mkv"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_leaves_standing_still_is_ended_by_the_next() {
    let site = Site::new();
    let mut server = site.serve().await;
    server.begin("film.mkv", &slow(50)).await;
    assert!(server.done("film.mkv", 1).await.is_some());
    let old = site.descendants();
    assert!(!old.is_empty());
    // Guardians too, so that nobody cleans up. To stopped orphans the kernel itself sends SIGHUP.
    for &process in &old {
        signal("STOP", process);
    }
    server.kill();
    assert!(!common::files_in(&site.data.join("scratch")).is_empty());
    let mut server = site.serve().await;
    site.without(&old).await;
    server.assert_completes("film.mkv").await;
    server.stop().await;
    assert!(assert_done_once(&site.data, "film.mkv").await.contains_key("clip"));
    site.assert_tidy(&["film.mkv"]).await;
}
