//! Deaths of encoder processes, leases that run out under a working worker, stores that fail: tasks come to their end, with
//! the frames of a single pass.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use finalrip_core::task::{Happening, LedgerOptions, SqliteLedger, SystemClock, TaskState, WorkId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use service::{Running, assert_frames, film, ledger_in, options, store_in};

/// A script that takes so many seconds for each frame.
fn slow(seconds: f64) -> String {
    common::rips::over_source(&format!(
        "import time\ndef slow(n, f):\n    time.sleep({seconds})\n    return f\n\
         clip = clip.std.AverageFrames([1, 2, 1])\nclip = clip.std.ModifyFrame(clip, slow)"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoder_processes_may_be_killed_at_any_moment() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = common::scratch();
    let ledger_options = LedgerOptions { attempts: 40, ..LedgerOptions::default() };
    let clock = Arc::new(SystemClock::new());
    let ledger = SqliteLedger::open(folder.path().join("ledger.sqlite"), ledger_options, clock).unwrap();
    let running = Running::with(Arc::new(ledger), store_in(folder.path()), options(folder.path(), 2)).await;
    running.upload("k.mkv", &film()).await;
    running.begin("k.mkv", &slow(0.01)).await;
    let mut killed = 0;
    while killed < 12 {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..500))).await;
        if running.service.progress("k.mkv").await.unwrap().progress.task.state == TaskState::Completed {
            break;
        }
        killed += kill_one(&mut random);
    }
    let result = running.result("k.mkv").await;
    assert!(killed > 0);
    assert_frames(&result, &common::rips::over_source("clip = clip.std.AverageFrames([1, 2, 1])"), &film());
    let clips = running.service.progress("k.mkv").await.unwrap().progress.clips;
    println!("{killed} killed; attempts: {:?}", clips.iter().map(|clip| clip.attempts).collect::<Vec<_>>());
    running.stop().await;
    assert!(common::files_in(&folder.path().join("scratch")).is_empty());
}

/// Kills one of the descendants of this process; says how many that were.
fn kill_one(random: &mut StdRng) -> u32 {
    let mut found = vec![std::process::id()];
    let mut at = 0;
    while at < found.len() {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", found[at]));
        for thread in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    let Some(&victim) = found[1..].get(random.random_range(0..found.len().max(2)).saturating_sub(1)) else { return 0 };
    let kill = std::process::Command::new("kill").args(["-9", &victim.to_string()]).output().unwrap();
    u32::from(kill.status.success())
}

/// A ledger whose heartbeats are lost for a while, as on a broken line.
#[derive(Debug)]
struct Deaf {
    inner: Arc<dyn finalrip_core::task::Ledger>,
    lost: AtomicU32,
}

mod deaf {
    use super::{Deaf, Ordering};
    use finalrip_core::task::*;

    macro_rules! pass_on {
        ($(async fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
            #[async_trait::async_trait]
            impl Ledger for Deaf {
                $(async fn $name(&self $(, $argument: $type)*) -> LedgerResult<$result> {
                    self.inner.$name($($argument),*).await
                })*

                async fn heartbeat(&self, token: FencingToken, progress: WorkProgress) -> LedgerResult<()> {
                    let lost = self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                    match lost {
                        Ok(_) => Err(LedgerError::Locked { path: "the ledger".into(), reason: "a test".to_owned() }),
                        Err(_) => self.inner.heartbeat(token, progress).await,
                    }
                }

                fn changes(&self) -> Changes {
                    self.inner.changes()
                }
            }
        };
    }

    pass_on! {
        async fn create(&self, key: &str) -> TaskId;
        async fn start(&self, key: &str, job: TaskJob) -> ();
        async fn retry_encode(&self, key: &str, index: u32, overrides: Overrides) -> ();
        async fn retry_merge(&self, key: &str) -> ();
        async fn cancel(&self, key: &str) -> ();
        async fn clear(&self, key: &str) -> TaskId;
        async fn forget(&self, task: TaskId) -> ();
        async fn lease_next(&self, worker: &str) -> Option<Lease>;
        async fn complete(&self, token: FencingToken, outcome: Outcome) -> TaskState;
        async fn fail(&self, token: FencingToken, failure: Failure) -> AfterFailure;
        async fn give_back(&self, token: FencingToken) -> ();
        async fn expire_leases(&self) -> Vec<LeaseInfo>;
        async fn task(&self, key: &str) -> TaskRecord;
        async fn progress(&self, key: &str) -> TaskProgress;
        async fn list(&self, filter: TaskFilter) -> Vec<TaskRecord>;
        async fn log(&self, key: &str, after: u64, limit: u32) -> LogPage;
        async fn leases(&self) -> Vec<LeaseInfo>;
        async fn counters(&self) -> Counters;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_late_result_of_an_expired_lease_is_refused_and_the_clip_done_again() {
    let folder = common::scratch();
    let ledger_options = LedgerOptions { lease: Duration::from_millis(900), attempts: 9, ..LedgerOptions::default() };
    let clock = Arc::new(SystemClock::new());
    let inner = Arc::new(SqliteLedger::open(folder.path().join("ledger.sqlite"), ledger_options, clock).unwrap());
    let ledger = Arc::new(Deaf { inner, lost: AtomicU32::new(0) });
    let running = Running::with(ledger.clone(), store_in(folder.path()), options(folder.path(), 1)).await;
    running.upload("d.mkv", &film()).await;
    let script = common::rips::over_source(
        "import time\ndef slow(n, f):\n    time.sleep(0.25 if 20 <= n < 40 else 0)\n    return f\n\
         clip = clip.std.ModifyFrame(clip, slow)",
    );
    running.begin("d.mkv", &script).await;
    running.wait_for("d.mkv", |view| view.progress.clips.get(1).is_some_and(|clip| clip.frames > 2)).await;
    // Long enough for the caretaker to come by.
    ledger.lost.store(14, Ordering::Relaxed);
    let result = running.result("d.mkv").await;
    assert_frames(&result, &common::rips::over_source(""), &film());
    let log = running.log("d.mkv").await;
    let expired = |happening: &&Happening| matches!(happening, Happening::Failed { work: WorkId::Clip(1), reason, .. } if reason.contains("not heard of"));
    assert!(log.iter().filter(expired).count() >= 1, "{log:#?}");
    let counters = running.service.figures().await.unwrap().counters;
    assert!(counters.expired_total >= 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_shutdown_interrupts_goes_on_afterwards_and_costs_no_attempt() {
    let folder = common::scratch();
    let film = film();
    let start = async || {
        let (ledger, store) = (ledger_in(folder.path()), store_in(folder.path()));
        Running::with(ledger, store, options(folder.path(), 1)).await
    };
    let running = start().await;
    running.upload("s.mkv", &film).await;
    running.begin("s.mkv", &slow(0.06)).await;
    running.wait_for("s.mkv", |view| view.progress.clips.get(1).is_some_and(|clip| clip.frames > 2)).await;
    running.stop().await;
    let running = start().await;
    let result = running.result("s.mkv").await;
    assert_frames(&result, &common::rips::over_source("clip = clip.std.AverageFrames([1, 2, 1])"), &film);
    let clips = running.service.progress("s.mkv").await.unwrap().progress.clips;
    assert!(clips.iter().all(|clip| clip.attempts == 1), "{clips:?}");
    let log = running.log("s.mkv").await;
    let again = |work| {
        log.iter().filter(|happening| matches!(happening, Happening::Started { work: w, .. } if *w == work)).count()
    };
    assert_eq!((again(WorkId::Clip(0)), again(WorkId::Clip(1)), again(WorkId::Index)), (1, 2, 1));
    running.stop().await;
}
