//! Stores that fail or do not answer, disks that are full, clocks that are set back: tasks come to their end, with the
//! frames of a single pass, or fail with the reason and go on when it is gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../finalrip-core/src/store/tests/faulty.rs"]
#[allow(dead_code, reason = "the store's own tests use the rest")]
mod faulty;
mod service;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::SmallDisk;
use faulty::{Fault, Faulty, Plan};
use finalrip_core::store::{Retries, Store};
use finalrip_core::task::{
    Clock, Happening, LedgerOptions, Overrides, SqliteLedger, SystemClock, TaskFilter, TaskState, WorkId, WorkState,
};
use service::{Running, assert_frames, film, ledger_in, options, store_in, temporal, video};

/// [`temporal`], with some milliseconds for each frame from the 40th on: slow enough to be caught in the middle.
fn slow_later() -> String {
    let slow = "import time\ndef slow(n, f):\n    if n >= 40:\n        time.sleep(0.03)\n    return f\n\
                clip = clip.std.ModifyFrame(clip, slow)\nclip.set_output()\n";
    temporal() + slow
}

/// Few attempts without the waiting.
fn hasty(attempts: u32) -> Retries {
    let pause = Duration::from_millis(1);
    Retries { attempts, pause, longest_pause: pause, time_out: Duration::from_millis(200) }
}

/// A service over a store that fails, which waits so long for it.
async fn over(folder: &Path, faulty: &Faulty, retries: Retries, patience: Duration) -> Running {
    let mut options = options(folder, 1);
    options.store_patience = patience;
    Running::with(ledger_in(folder), Store::over(faulty.clone(), retries), options).await
}

/// Waits until the third clip is being encoded.
async fn reach_the_middle(running: &Running, key: &str) {
    running.wait_for(key, |view| view.progress.clips.get(2).is_some_and(|clip| clip.frames > 2)).await;
}

/// How often each clip was begun.
async fn attempts(running: &Running, key: &str) -> Vec<u32> {
    let clips = running.service.progress(key).await.unwrap().progress.clips;
    clips.iter().map(|clip| clip.attempts).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_now_and_then_costs_no_attempt() {
    let folder = common::scratch();
    let faulty = Faulty::random(7, 0.15);
    let running = over(folder.path(), &faulty, hasty(10), Duration::ZERO).await;
    running.upload("f.mkv", &film()).await;
    running.begin("f.mkv", &temporal()).await;
    let result = running.result("f.mkv").await;
    assert_frames(&result, &temporal(), &film());
    assert_eq!(attempts(&running, "f.mkv").await, [1; 5]);
    running.service.clear("f.mkv").await.unwrap();
    assert!(faulty.faults() > 5, "{} faults", faulty.faults());
    faulty.set(Plan::Never);
    assert!(running.service.store().task_objects(&video("f.mkv")).await.unwrap().is_empty());
    running.stop().await;
    assert_eq!(faulty.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_for_a_while_costs_no_attempt() {
    let folder = common::scratch();
    let faulty = Faulty::new(Plan::Never);
    let running = over(folder.path(), &faulty, hasty(2), Duration::from_secs(100)).await;
    running.upload("w.mkv", &film()).await;
    running.begin("w.mkv", &slow_later()).await;
    reach_the_middle(&running, "w.mkv").await;
    for (call, fault) in [("put", Fault::Before), ("head", Fault::Silence)] {
        faulty.set(Plan::Always(call, fault));
        let before = faulty.faults();
        // More than all attempts of a clip: it is not given up.
        while faulty.faults() < before + 8 {
            assert_ne!(running.service.ledger().task("w.mkv").await.unwrap().state, TaskState::Completed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        faulty.set(Plan::Never);
    }
    assert_frames(&running.result("w.mkv").await, &temporal(), &film());
    assert_eq!(attempts(&running, "w.mkv").await, [1; 5]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stays_away_fails_the_task_and_a_retry_goes_on() {
    for (call, fault, told) in [
        ("put", Fault::Before, "cannot write \"s.mkv-clip-encoded-"),
        ("put", Fault::Silence, "cannot write \"s.mkv-clip-encoded-"),
        // Only the merge reads: the source is here already.
        ("get", Fault::Break, "cannot read \"s.mkv-clip-encoded-0.mkv"),
    ] {
        let folder = common::scratch();
        let faulty = Faulty::new(Plan::Never);
        let running = over(folder.path(), &faulty, hasty(2), Duration::ZERO).await;
        running.upload("s.mkv", &film()).await;
        running.begin("s.mkv", &slow_later()).await;
        reach_the_middle(&running, "s.mkv").await;
        faulty.set(Plan::Always(call, fault));
        let view = running.wait_for_end("s.mkv").await;
        let failure = view.progress.task.failure.unwrap_or_default();
        assert_eq!(view.progress.task.state, TaskState::Failed);
        let cause = if fault == Fault::Silence { "deadline has elapsed" } else { "injected" };
        assert!(failure.contains(cause), "{failure}");
        let failed = view.progress.clips.iter().find(|clip| clip.state == WorkState::Failed).map(|clip| clip.index);
        let work = failed.map_or("merge".to_owned(), |clip| format!("clip {clip}"));
        assert!(failure.starts_with(&format!("{work}: {told}")), "{failure}");
        assert_eq!(failure.matches("tried 2 times").count(), 1, "said once: {failure}");
        assert_eq!(failed.is_none(), call == "get");
        faulty.set(Plan::Never);
        match failed {
            Some(clip) => running.service.retry_encode("s.mkv", clip, Overrides::default()).await.unwrap(),
            None => running.service.retry_merge("s.mkv").await.unwrap(),
        }
        assert_frames(&running.result("s.mkv").await, &temporal(), &film());
        // What was finished is not done again.
        assert_eq!(attempts(&running, "s.mkv").await[..2], [1, 1]);
        running.stop().await;
    }
}

/// A disk, and a file that takes its room.
struct Filled {
    disk: SmallDisk,
    filler: std::path::PathBuf,
}

impl Filled {
    /// `None`, and a word about it, where no disk can be mounted.
    fn mount() -> Option<Self> {
        let disk = SmallDisk::mount("64m");
        if disk.is_none() {
            eprintln!("skipped: a small file system cannot be mounted here (not root?)");
        }
        disk.map(|disk| Self { filler: disk.path().join("filler"), disk })
    }

    /// Takes all the room there is, but for so many bytes.
    fn fill(&self, left: usize) {
        let reserve = self.disk.path().join("reserve");
        std::fs::write(&reserve, vec![0; left]).unwrap();
        let mut filler = std::fs::File::create(&self.filler).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        std::fs::remove_file(reserve).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(&self.filler).unwrap();
    }
}

/// Asserts that a task has failed because the disk is full, and gives the clip for which it was.
async fn assert_no_space(running: &Running, key: &str) -> Option<u32> {
    let view = running.wait_for_end(key).await;
    let failure = view.progress.task.failure.unwrap_or_default();
    assert_eq!(view.progress.task.state, TaskState::Failed);
    assert!(failure.contains("No space left on device") || failure.contains("no space is left"), "{failure}");
    let failed = view.progress.clips.iter().find(|clip| clip.state == WorkState::Failed).map(|clip| clip.index);
    assert!(failure.starts_with(&failed.map_or("merge: ".to_owned(), |clip| format!("clip {clip}: "))), "{failure}");
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_fails_the_task_and_a_retry_goes_on() {
    let Some(disk) = Filled::mount() else { return };
    // The ledger lies elsewhere.
    let (data, folder) = (disk.disk.path(), common::scratch());
    let running = Running::with(ledger_in(folder.path()), store_in(data), options(data, 1)).await;
    running.upload("d.mkv", &film()).await;
    running.begin("d.mkv", &slow_later()).await;
    reach_the_middle(&running, "d.mkv").await;
    disk.fill(0);
    let clip = assert_no_space(&running, "d.mkv").await.unwrap();
    disk.free();
    running.service.retry_encode("d.mkv", clip, Overrides::default()).await.unwrap();
    let result = running.result("d.mkv").await;
    assert_frames(&result, &temporal(), &film());
    assert_eq!(attempts(&running, "d.mkv").await[..2], [1, 1]);

    // Room for some of the result.
    disk.fill(usize::try_from(std::fs::metadata(&result).unwrap().len() / 2).unwrap());
    running.service.retry_merge("d.mkv").await.unwrap();
    assert_eq!(assert_no_space(&running, "d.mkv").await, None);
    disk.free();
    running.service.retry_merge("d.mkv").await.unwrap();
    assert_frames(&running.result("d.mkv").await, &temporal(), &film());
    running.stop().await;
    assert!(common::files_in(&data.join("scratch")).is_empty());
    assert!(common::files_in(&data.join("store/partial")).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_ledger_stops_the_task_until_there_is_room() {
    let Some(disk) = Filled::mount() else { return };
    let data = disk.disk.path();
    let running = Running::with(ledger_in(data), store_in(data), options(data, 1)).await;
    running.upload("l.mkv", &film()).await;
    running.begin("l.mkv", &slow_later()).await;
    reach_the_middle(&running, "l.mkv").await;
    disk.fill(0);
    // Neither what is done nor why it is not can be written down.
    tokio::time::sleep(Duration::from_secs(3)).await;
    disk.free();
    if running.wait_for_end("l.mkv").await.progress.task.state == TaskState::Failed {
        let clip = assert_no_space(&running, "l.mkv").await.unwrap();
        running.service.retry_encode("l.mkv", clip, Overrides::default()).await.unwrap();
    }
    assert_frames(&running.result("l.mkv").await, &temporal(), &film());
    assert_eq!(attempts(&running, "l.mkv").await[..2], [1, 1]);
    running.stop().await;
}

/// A clock that somebody sets back by a day each time that it is looked at.
#[derive(Debug)]
struct Backwards {
    steady: SystemClock,
    days: AtomicI64,
}

impl Clock for Backwards {
    fn elapsed(&self) -> Duration {
        self.steady.elapsed()
    }

    fn unix_millis(&self) -> i64 {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        self.steady.unix_millis() - DAY * self.days.fetch_add(1, Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_ends_no_lease_and_changes_no_order() {
    let folder = common::scratch();
    let ledger_options = LedgerOptions { lease: Duration::from_secs(5), ..LedgerOptions::default() };
    let clock = Arc::new(Backwards { steady: SystemClock::new(), days: AtomicI64::new(0) });
    let ledger = SqliteLedger::open(folder.path().join("ledger.sqlite"), ledger_options, clock.clone()).unwrap();
    let running = Running::with(Arc::new(ledger), store_in(folder.path()), options(folder.path(), 1)).await;
    for key in ["1.mkv", "2.mkv", "3.mkv"] {
        running.upload(key, &film()).await;
    }
    running.begin("1.mkv", &temporal()).await;
    assert_frames(&running.result("1.mkv").await, &temporal(), &film());
    assert!(clock.days.load(Ordering::Relaxed) > 20, "nobody has looked at it");
    assert_eq!(attempts(&running, "1.mkv").await, [1; 5]);
    let counters = running.service.figures().await.unwrap().counters;
    assert_eq!((counters.expired_total, counters.failures_total), (0, 0));
    let listed = running.service.list(TaskFilter::states(TaskState::ALL)).await.unwrap();
    let keys: Vec<&str> = listed.iter().map(|task| task.key.as_str()).collect();
    assert_eq!(keys, ["3.mkv", "2.mkv", "1.mkv"]);
    let log = running.log("1.mkv").await;
    let done = log.iter().filter(|happening| matches!(happening, Happening::Done { .. })).count();
    assert_eq!(done, 8, "{log:?}");
    assert!(log.contains(&Happening::Done { work: WorkId::Merge }));
    running.stop().await;
}
