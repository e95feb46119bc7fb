//! What can be seen from outside: logs, lists, numbers; and what a restart leaves of it.

use super::{Bench, Engine, at, failure, id, lost, outcome};
use crate::task::error::LedgerResult;
use crate::task::log::Happening;
use crate::task::records::{Counters, Overrides, Queue, TaskFilter, TaskId, WorkId};
use crate::task::state::{TaskState, WorkState};

/// Somebody who lost the connection goes on after the last entry seen, or is told that some are gone.
pub async fn logs_are_resumable_and_bounded(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.uploaded("other").await?;
    bench.planned("K", 1).await?;
    let all = ledger.log("K", 0, 100).await?;
    assert!(!all.missed && all.entries.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(all.entries[0].at, super::NOON);
    let start = ledger.log("K", 0, 2).await?;
    assert_eq!(start.entries, all.entries[..2]);
    let rest = ledger.log("K", start.entries[1].id, 100).await?;
    assert_eq!(rest.entries, all.entries[2..]);
    assert!(rest.entries.contains(&all.entries[all.entries.len() - 1]));

    for _ in 0..50 {
        let lease = bench.take("w").await?;
        ledger.give_back(lease.token).await?;
    }
    let kept = ledger.log("K", 0, 1000).await?;
    let (least, most) = (bench.options.log_entries as usize, 2 * bench.options.log_entries as usize);
    assert!(kept.missed && (least..most).contains(&kept.entries.len()), "{}", kept.entries.len());
    let last = kept.entries[kept.entries.len() - 1].id;
    let end = ledger.log("K", last, 100).await?;
    assert!(end.entries.is_empty() && !end.missed);
    assert!(!ledger.log("K", kept.entries[0].id, 100).await?.missed);
    assert!(ledger.log("K", all.entries[0].id, 100).await?.missed);
    assert!(!ledger.log("other", 0, 100).await?.missed);
    Ok(())
}

/// By creation, not by the clock; in pages if wanted.
pub async fn lists_are_newest_first(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.completed("done", 1).await?;
    for key in ["a", "b", "c", "d"] {
        bench.clock.set_wall(super::NOON - i64::from(key.as_bytes()[0]));
        bench.uploaded(key).await?;
    }
    let keys = async |filter| -> LedgerResult<(Vec<String>, Option<TaskId>)> {
        let tasks = bench.ledger.list(filter).await?;
        Ok((tasks.iter().map(|task| task.key.clone()).collect(), tasks.last().map(|task| task.id)))
    };
    let (all, _) = keys(TaskFilter::states(TaskState::ALL)).await?;
    assert_eq!(all, ["d", "c", "b", "a", "done"]);
    let pending = TaskFilter { limit: 3, ..TaskFilter::states([TaskState::Pending]) };
    let (page, last) = keys(pending.clone()).await?;
    assert_eq!(page, ["d", "c", "b"]);
    assert_eq!(keys(TaskFilter { before: last, ..pending.clone() }).await?.0, ["a"]);
    assert_eq!(keys(TaskFilter { from: last, ..pending.clone() }).await?.0, ["d", "c", "b"]);
    assert_eq!(keys(TaskFilter { from: last, before: last, ..pending }).await?.0, [""; 0]);
    assert_eq!(keys(TaskFilter::states([TaskState::Completed])).await?.0, ["done"]);
    assert!(keys(TaskFilter::states([])).await?.0.is_empty());
    Ok(())
}

/// What `/metrics` shows.
pub async fn totals_are_counted(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.planned("K", 5).await?;
    let urgently = Overrides { queue: Some(Queue::Priority), ..Overrides::default() };
    ledger.retry_encode("K", 4, urgently).await?;
    let urgent = bench.take("w").await?;
    assert_eq!(id(&urgent.work), WorkId::Clip(4));
    bench.ledger.give_back(urgent.token).await?;
    ledger.create("pending").await?;
    let urgent = bench.take("w").await?;
    ledger.fail(urgent.token, failure("once")).await?;
    let urgent = bench.take("w").await?;
    bench.complete(&urgent).await?;
    bench.take("silent").await?;
    bench.outlast_leases();
    ledger.expire_leases().await?;
    bench.take("w").await?;
    let expected = Counters {
        queued_priority: 0,
        queued_default: 3,
        queued_background: 1,
        leased: 1,
        leases_total: 7,
        completed_total: 3,
        failures_total: 2,
        expired_total: 1,
        retries_total: 1,
        given_back_total: 1,
        interrupted_total: 0,
    };
    assert_eq!(ledger.counters().await?, expected);
    assert_eq!(ledger.leases().await?.len(), 1);
    Ok(())
}

/// Whoever waits is woken by what changes something, and by nothing else.
pub async fn changes_are_told(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let mut changes = bench.ledger.changes();
    let before = changes.seen();
    bench.planned("K", 1).await?;
    assert!(changes.wait().await);
    let lease = bench.take("w").await?;
    let after = changes.seen();
    assert!(after > before);
    assert!(bench.idle().await?);
    bench.ledger.heartbeat(lease.token, at(1)).await?;
    bench.ledger.expire_leases().await?;
    assert_eq!(changes.seen(), after, "nothing has changed");

    let ledger = bench.ledger.clone();
    let complete = std::thread::spawn(move || super::block_on(ledger.complete(lease.token, outcome(&lease.work, 0))));
    assert!(changes.wait().await);
    assert_eq!(complete.join().ok(), Some(Ok(TaskState::Merging)));
    Ok(())
}

/// Whoever keeps a list knows when it is old, and does not make it again for every clip.
pub async fn changes_of_records_are_told_apart(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.uploaded("other").await?;
    let (ledger, changes) = (&bench.ledger, bench.ledger.changes());
    let begin = changes.records();
    let mut records = begin;
    let mut told = |what: &str, expected: bool| {
        let changed = changes.records_since(records).expect("these are few");
        records = changes.records();
        assert_eq!(changed.len(), usize::from(expected), "{what}: {changed:?}");
    };
    let id = ledger.create("K").await?;
    told("create", true);
    let index = bench.take("w").await?;
    ledger.start("K", super::job(Queue::Default)).await?;
    told("start", true);
    bench.complete(&index).await?;
    let plan = bench.take("w").await?;
    told("the index is done, and the plan leased", false);
    ledger.complete(plan.token, outcome(&plan.work, 2)).await?;
    told("the plan is made", true);
    for clip in 0..2 {
        let lease = bench.take("w").await?;
        ledger.heartbeat(lease.token, at(1)).await?;
        ledger.give_back(lease.token).await?;
        let lease = bench.take("w").await?;
        ledger.fail(lease.token, failure("once")).await?;
        let lease = bench.take("w").await?;
        told("a clip comes and goes", false);
        bench.complete(&lease).await?;
        told("a clip is done: the last one makes the task merge", clip == 1);
    }
    let merge = bench.take("w").await?;
    told("the merge is leased", false);
    bench.complete(&merge).await?;
    told("the task is done", true);
    ledger.retry_encode("K", 0, Overrides::default()).await?;
    told("a retry", true);
    ledger.retry_encode("K", 1, Overrides::default()).await?;
    told("a second retry while it encodes", false);
    ledger.cancel("K").await?;
    told("cancel", true);
    let task = ledger.clear("K").await?;
    told("clear", true);
    ledger.forget(task).await?;
    told("forget", true);
    ledger.forget(task).await?;
    assert!(ledger.task("K").await.is_err());
    told("what has no effect", false);

    assert_eq!(changes.records_since(begin), Some([id].into()));
    assert_eq!(changes.records_since(changes.records() + 1), None, "from another process's count");
    if engine.persistent() {
        // That many writes are too many for a disk.
        return Ok(());
    }
    for number in 0..1500 {
        ledger.create(&format!("task {number}")).await?;
    }
    assert_eq!(changes.records_since(begin), None, "too many to be kept in mind");
    let last = ledger.task("task 1499").await?.id;
    assert_eq!(changes.records_since(changes.records() - 1), Some([last].into()));
    Ok(())
}

/// A server that is stopped and started twenty-five times must not use up three attempts.
pub async fn a_restart_loses_nothing_and_costs_no_attempt(engine: &dyn Engine) -> LedgerResult<()> {
    if !engine.persistent() {
        return Ok(());
    }
    let mut bench = Bench::open(engine)?;
    bench.uploaded("half cleared").await?;
    let cleared = bench.ledger.clear("half cleared").await?;
    bench.planned("K", 2).await?;
    let done = bench.take("w").await?;
    bench.complete(&done).await?;
    let mut last = done;
    for interruptions in 1..=25 {
        let lease = bench.take("w").await?;
        assert!((id(&lease.work), lease.attempt) == (WorkId::Clip(1), 1) && lease.token > last.token);
        bench.ledger.heartbeat(lease.token, at(5)).await?;
        bench = bench.restart(engine)?;
        lost(bench.ledger.complete(lease.token, outcome(&lease.work, 0)).await, &lease);
        let clip = &bench.progress("K").await?.clips[1];
        assert_eq!((clip.state, clip.attempts, clip.interruptions), (WorkState::Queued, 0, interruptions));
        last = lease;
    }
    assert_eq!(bench.ledger.expire_leases().await?, []);
    assert_eq!(bench.ledger.counters().await?.interrupted_total, 25);
    let log = bench.ledger.log("K", 0, 1000).await?;
    assert!(log.entries.iter().any(|entry| entry.happening == Happening::Returned { work: WorkId::Clip(1) }));
    let clearing = bench.ledger.list(TaskFilter::states([TaskState::Clearing])).await?;
    assert_eq!((clearing.len(), clearing[0].id), (1, cleared));
    for expected in [WorkId::Clip(1), WorkId::Merge] {
        let lease = bench.take("w").await?;
        assert_eq!(id(&lease.work), expected);
        bench.complete(&lease).await?;
    }
    assert_eq!(bench.ledger.task("K").await?.state, TaskState::Completed);
    Ok(())
}
