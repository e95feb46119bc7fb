//! What every ledger must do: behaviours written against the trait, to be run against each engine.
//!
//! [`ledger_kit!`](crate::ledger_kit) makes a test of each. (Cargo feature `ledger-kit`, for engines in other crates.)

mod leases;
mod life;
mod random;
mod retries;
mod scale;
mod views;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

pub use leases::*;
pub use life::*;
pub use random::*;
pub use retries::*;
pub use scale::*;
pub use views::*;

use super::clock::{Clock, ManualClock};
use super::error::{LedgerError, LedgerResult};
use super::ledger::{Ledger, LedgerOptions};
use super::records::{
    EncodedClip, Failure, Lease, Outcome, Queue, TaskJob, TaskPlan, TaskProgress, Work, WorkId, WorkProgress,
};
use crate::units::FrameRange;

/// Makes a test of each behaviour. The expression makes a new [`Engine`](crate::task::kit::Engine), whose ledger is
/// empty.
#[macro_export]
macro_rules! ledger_kit {
    ($engine:expr) => {
        $crate::ledger_kit! { $engine =>
            a_task_goes_from_upload_to_result
            what_is_refused_has_its_error_and_changes_nothing
            the_plan_waits_for_the_index_but_goes_on_without_it
            a_task_that_failed_before_it_had_clips_can_be_started_again
            priority_goes_first_and_then_what_was_started_first
            outcomes_and_plans_that_make_no_sense_are_refused_and_the_lease_kept
            an_expired_lease_costs_an_attempt_and_its_late_result_is_refused
            heartbeats_keep_a_lease_even_late_ones
            the_wall_clock_decides_nothing
            what_is_given_back_keeps_its_place_and_its_attempts
            used_up_attempts_fail_the_task_and_stop_the_rest
            a_permanent_failure_is_not_tried_again
            completing_twice_is_completing_once
            a_lease_that_nobody_received_comes_back
            a_plan_that_does_not_hold_is_replaced
            a_retried_clip_ends_its_lease_and_is_merged_again
            a_retry_takes_a_failed_task_up_again
            a_merge_can_be_retried_once_all_clips_are_complete
            cancelling_stops_everything_and_keeps_what_is_done
            clearing_ends_everything_and_forgetting_frees_the_key
            a_task_can_be_cleared_from_every_state
            logs_are_resumable_and_bounded
            lists_are_newest_first
            totals_are_counted
            changes_are_told
            changes_of_records_are_told_apart
            a_restart_loses_nothing_and_costs_no_attempt
            random_workers_break_nothing
            many_threads_share_the_work
            ten_thousand_tasks_are_listed
        }
    };
    ($engine:expr => $($behaviour:ident)*) => { $(
        #[test]
        fn $behaviour() {
            let engine = $engine;
            let result = $crate::task::kit::block_on($crate::task::kit::$behaviour(&engine));
            assert_eq!(result, Ok(()));
        }
    )* };
}

/// One place where a ledger keeps things, and how to open it.
pub trait Engine: Sync {
    /// Opens the ledger. It is not open at the time; where it was before, and [`Engine::persistent`], what was
    /// written is still there, and what was leased was leased by a process that is gone.
    ///
    /// # Errors
    /// Whatever the engine's own opening gives.
    fn open(&self, options: LedgerOptions, clock: Arc<dyn Clock>) -> LedgerResult<Arc<dyn Ledger>>;

    /// Whether what was written is there when it is opened again.
    fn persistent(&self) -> bool;
}

/// Runs a future on this thread. The kit needs no runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Noon of some day, in milliseconds since 1970.
const NOON: i64 = 1_790_000_000_000;

/// A ledger under test, and the time by which it goes.
struct Bench {
    ledger: Arc<dyn Ledger>,
    clock: Arc<ManualClock>,
    options: LedgerOptions,
}

impl Bench {
    fn open(engine: &dyn Engine) -> LedgerResult<Self> {
        Self::with(engine, LedgerOptions { log_entries: 20, ..LedgerOptions::default() })
    }

    fn with(engine: &dyn Engine, options: LedgerOptions) -> LedgerResult<Self> {
        let clock = Arc::new(ManualClock::new(NOON));
        Ok(Self { ledger: engine.open(options, clock.clone())?, clock, options })
    }

    /// The next process: another clock, the same storage.
    fn restart(self, engine: &dyn Engine) -> LedgerResult<Self> {
        let options = self.options;
        drop(self);
        Self::with(engine, options)
    }

    /// Leases what has to be there.
    async fn take(&self, worker: &str) -> LedgerResult<Lease> {
        let lease = self.ledger.lease_next(worker).await?;
        Ok(lease.expect("there is work"))
    }

    async fn idle(&self) -> LedgerResult<bool> {
        Ok(self.ledger.lease_next("idle").await?.is_none())
    }

    async fn complete(&self, lease: &Lease) -> LedgerResult<()> {
        self.ledger.complete(lease.token, outcome(&lease.work, 3)).await.map(drop)
    }

    /// A task whose index is made, but which is not started.
    async fn uploaded(&self, key: &str) -> LedgerResult<()> {
        self.ledger.create(key).await?;
        let lease = self.take("indexer").await?;
        assert_eq!((lease.key.as_str(), &lease.work), (key, &Work::Index));
        self.complete(&lease).await
    }

    /// A task that is planned to have so many clips of 10 frames.
    async fn planned(&self, key: &str, clips: u32) -> LedgerResult<()> {
        self.uploaded(key).await?;
        self.ledger.start(key, job(Queue::Default)).await?;
        let lease = self.take("planner").await?;
        assert_eq!((lease.key.as_str(), id(&lease.work)), (key, WorkId::Plan));
        self.ledger.complete(lease.token, outcome(&lease.work, clips)).await.map(drop)
    }

    /// A task that is done, and had so many clips.
    async fn completed(&self, key: &str, clips: u32) -> LedgerResult<()> {
        self.planned(key, clips).await?;
        for _ in 0..=clips {
            let lease = self.take("worker").await?;
            self.complete(&lease).await?;
        }
        Ok(())
    }

    async fn progress(&self, key: &str) -> LedgerResult<TaskProgress> {
        self.ledger.progress(key).await
    }

    /// Lets a lease that is not renewed become overdue.
    fn outlast_leases(&self) {
        self.clock.advance(self.options.lease);
    }
}

fn job(queue: Queue) -> TaskJob {
    TaskJob {
        script: "clip.set_output()".to_owned(),
        command: "x265 --crf 16".to_owned(),
        slice: true,
        timeout: Duration::from_secs(1200),
        queue,
    }
}

fn id(work: &Work) -> WorkId {
    match work {
        Work::Index => WorkId::Index,
        Work::Plan { .. } => WorkId::Plan,
        Work::Clip { index, .. } => WorkId::Clip(*index),
        Work::Merge { .. } => WorkId::Merge,
    }
}

/// Clips of 10 frames each.
fn plan(clips: u32) -> TaskPlan {
    let range = |index: u32| FrameRange { start: index * 10, end: index * 10 + 10 };
    TaskPlan { clips: (0..clips).map(range).collect(), record: format!("a plan of {clips}") }
}

/// What a worker that does its work well comes back with.
fn outcome(work: &Work, clips: u32) -> Outcome {
    match work {
        Work::Index => Outcome::Indexed,
        Work::Plan { .. } => Outcome::Planned(plan(clips)),
        Work::Clip { index, .. } => {
            Outcome::Encoded(EncodedClip { bytes: 1000 + u64::from(*index), record: format!("clip {index}") })
        }
        Work::Merge { .. } => Outcome::Merged { bytes: 4000 },
    }
}

fn failure(reason: &str) -> Failure {
    Failure { reason: reason.to_owned(), log: format!("log of {reason}"), permanent: false }
}

fn at(frames: u32) -> WorkProgress {
    WorkProgress { frames, fps: 2.5 }
}

fn lost<T: std::fmt::Debug>(result: LedgerResult<T>, lease: &Lease) {
    assert_eq!(result.err(), Some(LedgerError::LeaseLost { token: lease.token }));
}
