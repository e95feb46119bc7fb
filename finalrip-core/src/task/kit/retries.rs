//! What somebody may want of a task once it runs, or has run: retry, cancel, clear.

use std::time::Duration;

use super::{Bench, Engine, at, failure, id, job, lost, outcome, plan};
use crate::task::error::{LedgerError, LedgerResult};
use crate::task::records::{Outcome, Overrides, Queue, TaskFilter, TaskJob, TaskPlan, Work, WorkId};
use crate::task::state::{TaskState, WorkState};

/// The overrides stay with the clip, which is told what it has to be joined to; the earlier result stays; the others are not touched; the merge runs by itself.
pub async fn a_retried_clip_ends_its_lease_and_is_merged_again(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.completed("K", 2).await?;
    bench.planned("other", 1).await?;
    let overrides = Overrides {
        script: Some("sharper".to_owned()),
        timeout: Some(Duration::from_secs(60)),
        queue: Some(Queue::Priority),
        ..Overrides::default()
    };
    ledger.retry_encode("K", 1, overrides).await?;
    assert_eq!(ledger.task("K").await?.result_bytes, Some(4000));
    let first = bench.take("w").await?;
    let Work::Clip { index: 1, job: changed, like, .. } = &first.work else { panic!("{:?}", first.work) };
    let expected = TaskJob { script: "sharper".to_owned(), timeout: Duration::from_secs(60), ..job(Queue::Default) };
    assert_eq!((changed, first.attempt, like.as_deref()), (&expected, 1, Some("clip 0")));

    // Once more while it runs: the running attempt is over, what was said before still holds.
    let command = Overrides { command: Some("x264".to_owned()), ..Overrides::default() };
    ledger.retry_encode("K", 1, command).await?;
    lost(ledger.complete(first.token, outcome(&first.work, 0)).await, &first);
    let second = bench.take("w").await?;
    let expected = TaskJob { command: "x264".to_owned(), ..expected };
    assert!(matches!(&second.work, Work::Clip { index: 1, job, .. } if *job == expected), "{:?}", second.work);
    assert_eq!(ledger.complete(second.token, outcome(&second.work, 0)).await?, TaskState::Merging);

    // And once more while it is merged.
    let merge = bench.take("w").await?;
    assert_eq!((merge.key.as_str(), id(&merge.work)), ("K", WorkId::Merge));
    assert_eq!(ledger.task("K").await?.result_bytes, Some(4000));
    ledger.retry_encode("K", 0, Overrides::default()).await?;
    lost(ledger.complete(merge.token, outcome(&merge.work, 0)).await, &merge);
    for expected in [WorkId::Clip(0), WorkId::Merge] {
        let lease = bench.take("w").await?;
        assert_eq!(id(&lease.work), expected);
        bench.complete(&lease).await?;
    }
    assert_eq!(ledger.task("K").await?.state, TaskState::Completed);
    Ok(())
}

/// From a clip as well as from the merge: every clip is encoded again, under the new record, and no attempt is used up.
pub async fn a_plan_that_does_not_hold_is_replaced(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.planned("K", 3).await?;
    let done = bench.take("w").await?;
    bench.complete(&done).await?;
    let (finder, other) = (bench.take("w").await?, bench.take("v").await?);
    let other_clips = Outcome::Replanned(plan(2));
    assert!(matches!(ledger.complete(finder.token, other_clips).await, Err(LedgerError::Input { .. })));
    let replanned = |record: &str| Outcome::Replanned(TaskPlan { record: record.to_owned(), ..plan(3) });
    assert_eq!(ledger.complete(finder.token, replanned("second")).await?, TaskState::Encoding);
    for lease in [&done, &finder, &other] {
        lost(ledger.heartbeat(lease.token, at(1)).await, lease);
    }
    for expected in 0..3 {
        let lease = bench.take("w").await?;
        let Work::Clip { index, plan, .. } = &lease.work else { panic!("{:?}", lease.work) };
        assert_eq!((*index, plan.as_str(), lease.attempt), (expected, "second", 1));
        bench.complete(&lease).await?;
    }
    let merge = bench.take("w").await?;
    assert_eq!(ledger.complete(merge.token, replanned("third")).await?, TaskState::Encoding);
    lost(ledger.complete(merge.token, outcome(&merge.work, 0)).await, &merge);
    for expected in [WorkId::Clip(0), WorkId::Clip(1), WorkId::Clip(2), WorkId::Merge] {
        let lease = bench.take("w").await?;
        assert_eq!(id(&lease.work), expected);
        bench.complete(&lease).await?;
    }
    assert_eq!(ledger.task("K").await?.state, TaskState::Completed);
    // It is not for a plan to replace itself.
    bench.uploaded("L").await?;
    ledger.start("L", job(Queue::Default)).await?;
    let planner = bench.take("w").await?;
    let refused = ledger.complete(planner.token, replanned("none")).await;
    assert!(matches!(refused, Err(LedgerError::Input { .. })), "{refused:?}");
    bench.complete(&planner).await
}

/// Whichever clip is retried, the task comes to an end by itself.
pub async fn a_retry_takes_a_failed_task_up_again(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 4).await?;
    let done = bench.take("w").await?;
    bench.complete(&done).await?;
    for _ in 0..bench.options.attempts {
        let lease = bench.take("w").await?;
        bench.ledger.fail(lease.token, failure("bad")).await?;
    }
    // Not the clip that failed: that one has to be done as well.
    bench.ledger.retry_encode("K", 3, Overrides::default()).await?;
    let progress = bench.progress("K").await?;
    assert_eq!((progress.task.state, progress.task.failure, progress.log), (TaskState::Encoding, None, None));
    assert!(progress.clips[1..].iter().all(|clip| (clip.state, clip.attempts) == (WorkState::Queued, 0)));
    for expected in [WorkId::Clip(1), WorkId::Clip(2), WorkId::Clip(3), WorkId::Merge] {
        let lease = bench.take("w").await?;
        assert_eq!((id(&lease.work), lease.attempt), (expected, 1), "finished clips are not done again");
        bench.complete(&lease).await?;
    }
    assert_eq!(bench.ledger.task("K").await?.state, TaskState::Completed);
    Ok(())
}

/// Also while it is being merged, and after it failed.
pub async fn a_merge_can_be_retried_once_all_clips_are_complete(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.completed("K", 1).await?;
    ledger.retry_merge("K").await?;
    assert_eq!(ledger.task("K").await?.state, TaskState::Merging);
    let running = bench.take("w").await?;
    ledger.retry_merge("K").await?;
    lost(ledger.heartbeat(running.token, at(0)).await, &running);
    for _ in 0..bench.options.attempts {
        let merge = bench.take("w").await?;
        ledger.fail(merge.token, failure("disk full")).await?;
    }
    assert_eq!(ledger.task("K").await?.failure.as_deref(), Some("merge: disk full"));
    ledger.retry_merge("K").await?;
    let merge = bench.take("w").await?;
    assert_eq!((id(&merge.work), merge.attempt), (WorkId::Merge, 1));
    bench.complete(&merge).await?;
    assert_eq!(ledger.task("K").await?.state, TaskState::Completed);

    ledger.retry_encode("K", 0, Overrides::default()).await?;
    ledger.cancel("K").await?;
    assert_eq!(ledger.retry_merge("K").await, Err(LedgerError::ClipsUnfinished));
    Ok(())
}

/// Cancelled is not failed: it can go on where it was.
pub async fn cancelling_stops_everything_and_keeps_what_is_done(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.planned("K", 3).await?;
    let done = bench.take("w").await?;
    bench.complete(&done).await?;
    let running = bench.take("w").await?;
    for _ in 0..2 {
        ledger.cancel("K").await?;
    }
    lost(ledger.complete(running.token, outcome(&running.work, 0)).await, &running);
    assert!(bench.idle().await? && ledger.leases().await?.is_empty());
    let states: Vec<WorkState> = bench.progress("K").await?.clips.iter().map(|clip| clip.state).collect();
    assert_eq!(states, [WorkState::Completed, WorkState::Stopped, WorkState::Stopped]);
    ledger.retry_encode("K", 2, Overrides::default()).await?;
    for expected in [WorkId::Clip(1), WorkId::Clip(2), WorkId::Merge] {
        let lease = bench.take("w").await?;
        assert_eq!(id(&lease.work), expected);
        bench.complete(&lease).await?;
    }
    assert_eq!(ledger.cancel("K").await, Err(LedgerError::NotNow { state: TaskState::Completed }));
    Ok(())
}

/// Between the two steps nothing runs and the key is taken; an old clear does not touch a new task.
pub async fn clearing_ends_everything_and_forgetting_frees_the_key(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.planned("K", 2).await?;
    let running = bench.take("w").await?;
    let old = ledger.clear("K").await?;
    assert_eq!(ledger.clear("K").await?, old);
    lost(ledger.complete(running.token, outcome(&running.work, 0)).await, &running);
    assert!(bench.idle().await?);
    assert_eq!(ledger.create("K").await, Err(LedgerError::TaskExists));
    assert_eq!(ledger.start("K", job(Queue::Default)).await, Err(LedgerError::AlreadyStarted));
    for refused in [ledger.retry_encode("K", 0, Overrides::default()).await, ledger.retry_merge("K").await] {
        assert_eq!(refused, Err(LedgerError::UnknownTask));
    }
    assert_eq!(ledger.cancel("K").await, Err(LedgerError::NotNow { state: TaskState::Clearing }));
    assert_eq!(ledger.list(TaskFilter::states([TaskState::Clearing])).await?.len(), 1);
    assert_eq!(bench.progress("K").await?.clips.len(), 2, "what has to be deleted is still known");

    ledger.forget(old).await?;
    assert_eq!(ledger.task("K").await, Err(LedgerError::UnknownTask));
    assert_eq!(ledger.clear("K").await, Err(LedgerError::UnknownTask));
    bench.planned("K", 1).await?;
    assert_eq!(ledger.forget(old).await, Ok(()));
    assert!(ledger.task("K").await?.id > old);
    lost(ledger.heartbeat(running.token, at(0)).await, &running);
    Ok(())
}

/// Whatever it is doing.
pub async fn a_task_can_be_cleared_from_every_state(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.planned("failed", 1).await?;
    for _ in 0..bench.options.attempts {
        let lease = bench.take("w").await?;
        ledger.fail(lease.token, failure("bad")).await?;
    }
    bench.completed("completed", 1).await?;
    bench.planned("merging", 1).await?;
    let clip = bench.take("w").await?;
    bench.complete(&clip).await?;
    bench.take("w").await?;
    bench.planned("cancelled", 1).await?;
    ledger.cancel("cancelled").await?;
    bench.planned("encoding", 1).await?;
    bench.take("w").await?;
    bench.uploaded("planning").await?;
    ledger.start("planning", job(Queue::Default)).await?;
    bench.take("w").await?;
    ledger.create("pending").await?;
    bench.take("w").await?;
    for state in TaskState::ALL.into_iter().filter(|state| *state != TaskState::Clearing) {
        let key = state.as_str();
        assert_eq!(ledger.task(key).await?.state, state);
        let id = ledger.clear(key).await?;
        assert_eq!(ledger.task(key).await?.state, TaskState::Clearing);
        ledger.forget(id).await?;
    }
    assert!(ledger.leases().await?.is_empty() && bench.idle().await?);
    assert_eq!(ledger.list(TaskFilter::states(TaskState::ALL)).await?, []);
    Ok(())
}
