//! A task's way from the upload to the result.

use std::time::Duration;

use super::{Bench, Engine, at, failure, id, job, lost, outcome, plan};
use crate::task::error::{LedgerError, LedgerResult};
use crate::task::log::{Happening, LogEntry};
use crate::task::records::{
    AfterFailure, EncodedClip, Outcome, Overrides, Queue, TaskFilter, TaskId, TaskJob, TaskPlan, Work, WorkId,
};
use crate::task::state::{TaskState, WorkState};

/// The whole life, step by step.
pub async fn a_task_goes_from_upload_to_result(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.uploaded("K").await?;
    assert!(bench.idle().await?);
    let task = ledger.task("K").await?;
    assert_eq!((task.state, task.job, task.created_at), (TaskState::Pending, None, super::NOON));

    ledger.start("K", job(Queue::Default)).await?;
    let lease = bench.take("w").await?;
    assert_eq!(lease.work, Work::Plan { job: job(Queue::Default) });
    assert_eq!((lease.attempt, lease.duration), (1, bench.options.lease));
    assert_eq!(ledger.complete(lease.token, outcome(&lease.work, 2)).await?, TaskState::Encoding);

    let first = bench.take("w").await?;
    let second = bench.take("v").await?;
    let range = plan(2).clips[0];
    let expected = Work::Clip { index: 0, range, job: job(Queue::Default), plan: "a plan of 2".to_owned(), like: None };
    assert_eq!((&first.work, id(&second.work)), (&expected, WorkId::Clip(1)));
    assert!(first.token < second.token && bench.idle().await?);
    ledger.heartbeat(first.token, at(4)).await?;
    let progress = bench.progress("K").await?;
    assert_eq!((progress.frames(), progress.frames_total(), progress.fps()), (4, 20, 2.5));
    assert_eq!(progress.eta(), Some(Duration::from_secs_f64(16.0 / 2.5)));

    // The order of completion is not the clips'.
    bench.complete(&second).await?;
    assert!(bench.idle().await?);
    assert_eq!(ledger.complete(first.token, outcome(&first.work, 2)).await?, TaskState::Merging);
    let merge = bench.take("w").await?;
    let clip = |index: u64| EncodedClip { bytes: 1000 + index, record: format!("clip {index}") };
    let Work::Merge { clips, plan, .. } = &merge.work else { panic!("{:?} is not the merge", merge.work) };
    assert_eq!((clips, plan.as_str()), (&vec![clip(0), clip(1)], "a plan of 2"));
    assert_eq!(ledger.complete(merge.token, Outcome::Merged { bytes: 77 }).await?, TaskState::Completed);

    let progress = bench.progress("K").await?;
    assert_eq!((progress.task.state, progress.task.result_bytes), (TaskState::Completed, Some(77)));
    assert_eq!((progress.frames(), progress.eta()), (20, None));
    let clip = &progress.clips[1];
    assert_eq!((clip.state, clip.attempts, clip.bytes), (WorkState::Completed, 1, Some(1001)));
    assert!(bench.idle().await?);
    let states: Vec<TaskState> = ledger.log("K", 0, 100).await?.entries.iter().filter_map(state).collect();
    use TaskState as S;
    assert_eq!(states, [S::Pending, S::Planning, S::Encoding, S::Merging, S::Completed]);
    Ok(())
}

fn state(entry: &LogEntry) -> Option<TaskState> {
    if let Happening::State { state, .. } = entry.happening { Some(state) } else { None }
}

/// Each refusal by its error; afterwards everything is as it was.
pub async fn what_is_refused_has_its_error_and_changes_nothing(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    let none = Overrides::default;
    assert_eq!(ledger.start("K", job(Queue::Default)).await, Err(LedgerError::NotUploaded));
    assert_eq!(ledger.progress("K").await.err(), Some(LedgerError::UnknownTask));
    assert_eq!(ledger.log("K", 0, 1).await.err(), Some(LedgerError::UnknownTask));
    assert_eq!(ledger.retry_encode("K", 0, none()).await, Err(LedgerError::NoSuchClip));
    for refused in [ledger.retry_merge("K").await, ledger.cancel("K").await, ledger.clear("K").await.map(drop)] {
        assert_eq!(refused, Err(LedgerError::UnknownTask));
    }
    assert_eq!(ledger.forget(TaskId(7)).await, Ok(()), "what is gone stays gone");
    for key in [String::new(), "x".repeat(1025)] {
        assert!(matches!(ledger.create(&key).await, Err(LedgerError::Input { .. })));
    }

    let id = ledger.create("K").await?;
    let index = bench.take("w").await?;
    let before = (ledger.log("K", 0, 100).await?, bench.progress("K").await?);
    assert_eq!(ledger.create("K").await, Err(LedgerError::TaskExists));
    assert_eq!(ledger.cancel("K").await, Err(LedgerError::NotNow { state: TaskState::Pending }));
    assert_eq!(ledger.forget(id).await, Err(LedgerError::NotNow { state: TaskState::Pending }));
    assert_eq!(ledger.retry_encode("K", 0, none()).await, Err(LedgerError::NoSuchClip));
    assert_eq!(ledger.retry_merge("K").await, Err(LedgerError::ClipsUnfinished));
    assert_eq!((ledger.log("K", 0, 100).await?, bench.progress("K").await?), before);

    bench.complete(&index).await?;
    ledger.start("K", job(Queue::Default)).await?;
    assert_eq!(ledger.start("K", job(Queue::Priority)).await, Err(LedgerError::AlreadyStarted));
    let plan = bench.take("w").await?;
    bench.complete(&plan).await?;
    assert_eq!(ledger.retry_encode("K", 3, none()).await, Err(LedgerError::NoSuchClip));
    assert_eq!(ledger.retry_merge("K").await, Err(LedgerError::ClipsUnfinished));
    assert_eq!(ledger.task("K").await?.job, Some(job(Queue::Default)), "the second start left no trace");
    Ok(())
}

/// Two encoder processes must not both make the index; but an index that cannot be made is only lost time.
pub async fn the_plan_waits_for_the_index_but_goes_on_without_it(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.ledger.create("K").await?;
    let mut index = bench.take("w").await?;
    bench.ledger.start("K", job(Queue::Default)).await?;
    for left in [2, 1] {
        assert!(bench.idle().await?, "the plan waits");
        let after = bench.ledger.fail(index.token, failure("not a video")).await?;
        assert_eq!(after, AfterFailure::Again { attempts_left: left });
        index = bench.take("w").await?;
    }
    assert_eq!((id(&index.work), index.attempt), (WorkId::Index, 3));
    assert_eq!(bench.ledger.fail(index.token, failure("not a video")).await?, AfterFailure::Exhausted);
    assert_eq!(bench.ledger.task("K").await?.state, TaskState::Planning);
    assert_eq!(id(&bench.take("w").await?.work), WorkId::Plan);
    Ok(())
}

/// Somebody who mends the script need not upload the source again; once there are clips, they are kept.
pub async fn a_task_that_failed_before_it_had_clips_can_be_started_again(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    bench.uploaded("K").await?;
    ledger.start("K", job(Queue::Default)).await?;
    for _ in 0..bench.options.attempts {
        let plan = bench.take("w").await?;
        ledger.fail(plan.token, failure("Traceback")).await?;
    }
    let task = ledger.task("K").await?;
    assert_eq!((task.state, task.failure.as_deref()), (TaskState::Failed, Some("Traceback")));
    let mended = TaskJob { script: "mended".to_owned(), ..job(Queue::Priority) };
    ledger.start("K", mended.clone()).await?;
    assert_eq!(ledger.task("K").await?.failure, None);
    let plan = bench.take("w").await?;
    assert_eq!((plan.attempt, &plan.work), (1, &Work::Plan { job: mended }));

    ledger.cancel("K").await?;
    ledger.start("K", job(Queue::Default)).await?;
    let plan = bench.take("w").await?;
    bench.complete(&plan).await?;
    ledger.cancel("K").await?;
    assert_eq!(ledger.start("K", job(Queue::Default)).await, Err(LedgerError::AlreadyStarted));

    // Cancelled even before its index was there.
    ledger.create("L").await?;
    ledger.start("L", job(Queue::Default)).await?;
    let stopped = bench.take("w").await?;
    ledger.cancel("L").await?;
    lost(ledger.complete(stopped.token, Outcome::Indexed).await, &stopped);
    ledger.start("L", job(Queue::Default)).await?;
    for expected in [WorkId::Index, WorkId::Plan] {
        let lease = bench.take("w").await?;
        assert_eq!(id(&lease.work), expected);
        bench.complete(&lease).await?;
    }
    Ok(())
}

/// Priority strictly first, then the order of starts; indexes of tasks that are not started last.
pub async fn priority_goes_first_and_then_what_was_started_first(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    let ledger = &bench.ledger;
    for key in ["late", "early", "urgent"] {
        bench.uploaded(key).await?;
    }
    ledger.create("not started").await?;
    ledger.start("early", job(Queue::Default)).await?;
    ledger.start("late", job(Queue::Default)).await?;
    ledger.start("urgent", job(Queue::Priority)).await?;
    let mut order = Vec::new();
    while let Some(lease) = ledger.lease_next("w").await? {
        order.push((lease.key.clone(), id(&lease.work)));
        ledger.complete(lease.token, outcome(&lease.work, 2)).await?;
    }
    let whole = |key: &str| {
        let steps = [WorkId::Plan, WorkId::Clip(0), WorkId::Clip(1), WorkId::Merge];
        steps.map(|step| (key.to_owned(), step))
    };
    let expected = [whole("urgent"), whole("early"), whole("late")].concat();
    assert_eq!(order[..12], expected);
    assert_eq!(order[12..], [("not started".to_owned(), WorkId::Index)]);
    assert_eq!(ledger.list(TaskFilter::states([TaskState::Completed])).await?.len(), 3);
    Ok(())
}

/// Nothing is half taken: after a refusal the same lease completes.
pub async fn outcomes_and_plans_that_make_no_sense_are_refused_and_the_lease_kept(
    engine: &dyn Engine,
) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.uploaded("K").await?;
    bench.ledger.start("K", job(Queue::Default)).await?;
    let lease = bench.take("w").await?;
    let before = bench.ledger.log("K", 0, 100).await?;
    let ranges = |clips: &[(u32, u32)]| TaskPlan {
        clips: clips.iter().map(|&(start, end)| (start..end).into()).collect(),
        record: String::new(),
    };
    let huge = TaskPlan { record: "x".repeat((16 << 20) + 1), ..plan(1) };
    for wrong in [
        Outcome::Indexed,
        Outcome::Merged { bytes: 1 },
        Outcome::Planned(plan(0)),
        Outcome::Planned(ranges(&[(0, 5), (6, 9)])),
        Outcome::Planned(ranges(&[(0, 5), (5, 5)])),
        Outcome::Planned(huge),
    ] {
        let refused = bench.ledger.complete(lease.token, wrong).await;
        assert!(matches!(refused, Err(LedgerError::Input { .. })), "{refused:?}");
    }
    assert_eq!(bench.ledger.log("K", 0, 100).await?, before);
    assert_eq!(bench.ledger.complete(lease.token, outcome(&lease.work, 1)).await?, TaskState::Encoding);
    Ok(())
}
