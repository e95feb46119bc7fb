//! Leases: how they end, and what they cost.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use super::{Bench, Engine, at, failure, id, lost, outcome};
use crate::task::error::LedgerResult;
use crate::task::records::{AfterFailure, Failure, Overrides, TaskFilter, WorkId};
use crate::task::state::{TaskState, WorkState};

/// Expiry is a failure like any other; whoever was too late is told so.
pub async fn an_expired_lease_costs_an_attempt_and_its_late_result_is_refused(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 1).await?;
    let late = bench.take("late").await?;
    bench.clock.advance(bench.options.lease - Duration::from_millis(1));
    assert_eq!(bench.ledger.expire_leases().await?, []);
    bench.clock.advance(Duration::from_millis(1));
    let expired = bench.ledger.expire_leases().await?;
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].token, expired[0].work, expired[0].worker.as_str()), (late.token, WorkId::Clip(0), "late"));
    assert_eq!(bench.ledger.expire_leases().await?, []);

    let again = bench.take("next").await?;
    assert_eq!((id(&again.work), again.attempt), (WorkId::Clip(0), 2));
    assert!(again.token > late.token);
    lost(bench.ledger.heartbeat(late.token, at(9)).await, &late);
    lost(bench.ledger.complete(late.token, outcome(&late.work, 0)).await, &late);
    lost(bench.ledger.fail(late.token, failure("late")).await, &late);
    lost(bench.ledger.give_back(late.token).await, &late);
    let clip = &bench.progress("K").await?.clips[0];
    assert_eq!((clip.state, clip.attempts, clip.frames), (WorkState::Leased, 2, 0));
    assert!(clip.error.as_deref().is_some_and(|error| error.contains("worker late was not heard of for 30 s")));
    bench.complete(&again).await?;
    lost(bench.ledger.complete(late.token, outcome(&late.work, 0)).await, &late);
    Ok(())
}

/// A lease ends when the ledger ends it, not by itself.
pub async fn heartbeats_keep_a_lease_even_late_ones(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 1).await?;
    let lease = bench.take("w").await?;
    for frames in [1, 5, 700] {
        bench.clock.advance(bench.options.lease * 2 / 3);
        bench.ledger.heartbeat(lease.token, at(frames)).await?;
        assert_eq!(bench.ledger.expire_leases().await?, []);
    }
    assert_eq!(bench.progress("K").await?.frames(), 10, "no more than the clip has");
    bench.clock.advance(bench.options.lease * 3);
    assert_eq!(bench.ledger.leases().await?[0].expires_in, Duration::ZERO);
    bench.ledger.heartbeat(lease.token, at(7)).await?;
    assert_eq!(bench.ledger.expire_leases().await?, []);
    assert_eq!(bench.ledger.leases().await?[0].expires_in, bench.options.lease);
    bench.complete(&lease).await
}

/// Set back or forward by years, it ends no lease and keeps none alive.
pub async fn the_wall_clock_decides_nothing(engine: &dyn Engine) -> LedgerResult<()> {
    const YEARS: i64 = 100_000_000_000;
    let bench = Bench::open(engine)?;
    bench.planned("K", 1).await?;
    let lease = bench.take("w").await?;
    bench.clock.set_wall(super::NOON + YEARS);
    assert_eq!(bench.ledger.expire_leases().await?, []);
    bench.clock.set_wall(super::NOON - YEARS);
    assert_eq!(bench.ledger.expire_leases().await?, []);
    bench.ledger.heartbeat(lease.token, at(1)).await?;
    bench.outlast_leases();
    bench.clock.set_wall(super::NOON - 2 * YEARS);
    assert_eq!(bench.ledger.expire_leases().await?.len(), 1);
    bench.ledger.create("made in the past").await?;
    let keys: Vec<String> =
        bench.ledger.list(TaskFilter::states(TaskState::ALL)).await?.into_iter().map(|task| task.key).collect();
    assert_eq!(keys, ["made in the past", "K"]);
    Ok(())
}

/// A worker that shuts down is no failure.
pub async fn what_is_given_back_keeps_its_place_and_its_attempts(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 2).await?;
    for _ in 0..10 {
        let lease = bench.take("w").await?;
        assert_eq!((id(&lease.work), lease.attempt), (WorkId::Clip(0), 1));
        bench.ledger.give_back(lease.token).await?;
        lost(bench.ledger.complete(lease.token, outcome(&lease.work, 0)).await, &lease);
    }
    assert_eq!(bench.progress("K").await?.clips[0].attempts, 0);
    Ok(())
}

/// The reason and the log's end are kept; nothing of the task runs on.
pub async fn used_up_attempts_fail_the_task_and_stop_the_rest(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 4).await?;
    let done = bench.take("w").await?;
    bench.complete(&done).await?;
    let other = bench.take("other").await?;
    for left in [2, 1] {
        let lease = bench.take("w").await?;
        assert_eq!(id(&lease.work), WorkId::Clip(2));
        let after = bench.ledger.fail(lease.token, failure("once")).await?;
        assert_eq!(after, AfterFailure::Again { attempts_left: left });
    }
    let last = bench.take("w").await?;
    let failure = Failure { reason: "é".repeat(4000), log: "ü".repeat(40_000) + "the end", permanent: false };
    assert_eq!(bench.ledger.fail(last.token, failure).await?, AfterFailure::Exhausted);

    lost(bench.ledger.heartbeat(other.token, at(1)).await, &other);
    assert!(bench.idle().await?);
    let progress = bench.progress("K").await?;
    let states: Vec<WorkState> = progress.clips.iter().map(|clip| clip.state).collect();
    use WorkState as S;
    assert_eq!(states, [S::Completed, S::Stopped, S::Failed, S::Stopped]);
    assert_eq!((progress.task.state, progress.clips[2].attempts), (TaskState::Failed, 3));
    let reason = progress.task.failure.unwrap_or_default();
    assert!(reason.starts_with("clip 2: éé") && reason.len() <= 4200, "{}", reason.len());
    let log = progress.log.unwrap_or_default();
    assert!(log.ends_with("üthe end") && log.len() <= 64 << 10, "{}", log.len());
    Ok(())
}

/// A script that does not run will not run the next time either.
pub async fn a_permanent_failure_is_not_tried_again(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 1).await?;
    let lease = bench.take("w").await?;
    let failure = Failure { permanent: true, ..failure("no such filter") };
    assert_eq!(bench.ledger.fail(lease.token, failure).await?, AfterFailure::Exhausted);
    let task = bench.ledger.task("K").await?;
    assert_eq!((task.state, task.failure.as_deref()), (TaskState::Failed, Some("clip 0: no such filter")));
    Ok(())
}

/// A worker that did not hear the answer may ask again.
pub async fn completing_twice_is_completing_once(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 2).await?;
    let lease = bench.take("w").await?;
    for _ in 0..2 {
        assert_eq!(bench.ledger.complete(lease.token, outcome(&lease.work, 0)).await?, TaskState::Encoding);
    }
    assert_eq!(bench.ledger.counters().await?.completed_total, 3, "the index, the plan, and one clip");
    lost(bench.ledger.fail(lease.token, failure("after all")).await, &lease);
    bench.ledger.retry_encode("K", 0, Overrides::default()).await?;
    lost(bench.ledger.complete(lease.token, outcome(&lease.work, 0)).await, &lease);
    Ok(())
}

/// A call whose future is dropped costs nothing, or at most what an expired lease costs.
pub async fn a_lease_that_nobody_received_comes_back(engine: &dyn Engine) -> LedgerResult<()> {
    let bench = Bench::open(engine)?;
    bench.planned("K", 1).await?;
    {
        let mut unheard = pin!(bench.ledger.lease_next("gone"));
        // Whether it is ready already does not matter: nobody looks.
        let _ = unheard.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    bench.outlast_leases();
    bench.ledger.expire_leases().await?;
    let lease = bench.take("w").await?;
    assert!(id(&lease.work) == WorkId::Clip(0) && lease.attempt <= 2);
    Ok(())
}
