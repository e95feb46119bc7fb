//! The contract of a ledger.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::error::{LedgerError, LedgerResult};
use super::log::LogPage;
use super::records::{
    AfterFailure, Counters, Failure, FencingToken, Lease, LeaseInfo, Outcome, Overrides, TaskFilter, TaskId, TaskJob,
    TaskProgress, TaskRecord, WorkProgress,
};
use super::state::TaskState;

/// How a ledger treats the work in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerOptions {
    /// How long a lease holds without a heartbeat. Default: 30 seconds. Shorter, and a worker that stutters loses its
    /// work; longer, and the work of a dead one waits.
    pub lease: Duration,
    /// How often a piece of work is tried before its task fails, at least 1. Default: 3.
    pub attempts: u32,
    /// How many entries of its log a task keeps at least; twice as many at most. Default: 1000.
    pub log_entries: u32,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), attempts: 3, log_entries: 1000 }
    }
}

impl LedgerOptions {
    /// Checks the values.
    ///
    /// # Errors
    /// [`LedgerError::Input`] names the first that makes no sense.
    pub fn check(&self) -> LedgerResult<()> {
        let wrong = |what, reason: &str| Err(LedgerError::Input { what, reason: reason.to_owned() });
        match self {
            Self { lease, .. } if *lease < Duration::from_millis(1) => wrong("lease", "it is at least 1 ms"),
            Self { attempts: 0, .. } => wrong("attempts", "at least 1 is needed"),
            Self { log_entries: 0, .. } => wrong("log_entries", "at least 1 is needed"),
            _ => Ok(()),
        }
    }
}

/// Where tasks, their clips, attempts and leases are kept. It alone knows what is to be done next.
///
/// # Who calls
/// The service on behalf of clients ([`create`](Self::create) to [`forget`](Self::forget)), workers
/// ([`lease_next`](Self::lease_next) to [`give_back`](Self::give_back)), and one caretaker that calls
/// [`expire_leases`](Self::expire_leases) every few seconds. Any number of them, from any thread.
///
/// # What is promised
/// - **Atomic**: each call happens whole or not at all, and as if calls came one after the other. When a call that
///   changes something has returned, a power failure does not undo it; only heartbeats may be forgotten.
/// - **States** change only as the tables of [`state`](super::state) say.
/// - **Leases**: a piece of work has at most one lease at a time. Tokens only grow. A lease ends when the ledger ends
///   it, by [`expire_leases`](Self::expire_leases), a retry, a cancel, a clear or a completion, not by the mere passing
///   of time: a heartbeat that comes late, but before that, renews it. From then on every call that names its token is
///   refused with [`LedgerError::LeaseLost`].
/// - **Attempts**: [`fail`](Self::fail) and expiry use one up; a dead encoder process is for its worker to report as a
///   failure. [`give_back`](Self::give_back) and the end of the ledger's own process use none: a server that is killed
///   must not cost a clip its attempts. A retry starts counting anew.
/// - **Order**: the priority queue strictly first; within a queue the task that was started first; within a task the
///   clips in order. Indexes of tasks that are not started come last.
/// - **Going on**: what a transition makes possible is queued in the same transition: the plan when the index is done
///   or given up, the clips when the plan is made, the merge when the last clip is complete.
/// - **Cancel safety**: a call whose future is dropped has either not happened or happened whole. A lease that nobody
///   received is given back where that can be noticed, and expires otherwise.
/// - No call blocks the thread that polls it.
///
/// Every call may fail with an error about the ledger itself, such as [`LedgerError::Full`]; it has then changed
/// nothing, and can be made again.
#[async_trait]
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Makes a task of a key whose source has been stored, and queues the index of the source.
    ///
    /// # Errors
    /// [`LedgerError::TaskExists`]; [`LedgerError::Input`] for a key that is empty or longer than 1,024 bytes.
    async fn create(&self, key: &str) -> LedgerResult<TaskId>;

    /// Starts a task. One that failed or was cancelled before it had clips can be started again.
    ///
    /// # Errors
    /// [`LedgerError::NotUploaded`], [`LedgerError::AlreadyStarted`].
    async fn start(&self, key: &str, job: TaskJob) -> LedgerResult<()>;

    /// Encodes one clip once more, with all its attempts. A running attempt's lease ends, and so does that of the merge.
    /// Where the task had failed or was cancelled, everything unfinished of it is queued again with all its attempts. An earlier
    /// result stays the task's until the next one is in place.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchClip`], also for an unknown task; [`LedgerError::UnknownTask`] while it is being cleared.
    async fn retry_encode(&self, key: &str, index: u32, overrides: Overrides) -> LedgerResult<()>;

    /// Merges once more, with all attempts. A running merge's lease ends.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`], [`LedgerError::ClipsUnfinished`].
    async fn retry_merge(&self, key: &str) -> LedgerResult<()>;

    /// Stops a running task: its leases end, and nothing of it is leased until somebody retries or starts it. Finished
    /// clips are kept. Cancelling twice is cancelling once.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`]; [`LedgerError::NotNow`] when it does not run.
    async fn cancel(&self, key: &str) -> LedgerResult<()>;

    /// The first step of deleting a task, from any state: its leases end, nothing of it is leased any more, and its key
    /// stays taken. Then the caller deletes its objects, and [`forget`](Self::forget)s it. A ledger that is opened
    /// again lists what is half way under [`TaskState::Clearing`]. Clearing twice is clearing once.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`].
    async fn clear(&self, key: &str) -> LedgerResult<TaskId>;

    /// The second step: the task is gone, and its key is free. A task that is gone already stays so.
    ///
    /// # Errors
    /// [`LedgerError::NotNow`] for a task that is not being cleared.
    async fn forget(&self, task: TaskId) -> LedgerResult<()>;

    /// The next piece of work, if there is any, for the worker of this name.
    async fn lease_next(&self, worker: &str) -> LedgerResult<Option<Lease>>;

    /// Renews a lease from now on, and notes how far the work has come.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`]: stop the work.
    async fn heartbeat(&self, token: FencingToken, progress: WorkProgress) -> LedgerResult<()>;

    /// The work is done, and what it made is stored. Gives the task's state afterwards. Completing twice with the same
    /// token is completing once, for as long as the result stands. [`Outcome::Replanned`] ends every lease of the task,
    /// this one included, and uses up no attempt.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`]: the result is not wanted. [`LedgerError::Input`] for an outcome of other work, or a
    /// plan that is empty, has gaps, empty clips, other clips than before or a record over 16 MiB; the lease is kept.
    async fn complete(&self, token: FencingToken, outcome: Outcome) -> LedgerResult<TaskState>;

    /// The attempt failed. When it was the last, or would fail again, the task fails with its reason and log, and
    /// everything else of the task stops; but a task goes on without its index.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    async fn fail(&self, token: FencingToken, failure: Failure) -> LedgerResult<AfterFailure>;

    /// The worker shuts down: the work goes back to its place in the queue, and no attempt is used up.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    async fn give_back(&self, token: FencingToken) -> LedgerResult<()>;

    /// Ends the leases that are overdue by the ledger's clock, as if each had failed, and tells which they were.
    async fn expire_leases(&self) -> LedgerResult<Vec<LeaseInfo>>;

    /// One task.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`].
    async fn task(&self, key: &str) -> LedgerResult<TaskRecord>;

    /// One task and its clips, all of the same moment.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`].
    async fn progress(&self, key: &str) -> LedgerResult<TaskProgress>;

    /// The tasks in some states, newest first.
    async fn list(&self, filter: TaskFilter) -> LedgerResult<Vec<TaskRecord>>;

    /// A task's log after the entry of this number; 0 for all that is kept. Resumable over restarts.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`].
    async fn log(&self, key: &str, after: u64, limit: u32) -> LedgerResult<LogPage>;

    /// Who has what.
    async fn leases(&self) -> LedgerResult<Vec<LeaseInfo>>;

    /// Numbers for an operator.
    async fn counters(&self) -> LedgerResult<Counters>;

    /// Tells when anything but a heartbeat has changed: for workers that wait for work, and for those who follow a log.
    fn changes(&self) -> Changes;
}

/// How many of the last changes of records are kept in mind.
const RECENT: usize = 1024;

/// What has changed in a ledger, for the life of its process. It starts anew with each.
#[derive(Debug, Clone, Default)]
pub struct ChangeLog {
    all: u64,
    records: u64,
    /// Whose records changed last, the newest at the end.
    recent: VecDeque<TaskId>,
}

impl ChangeLog {
    /// For engines: notes a change. `records` are the tasks whose [`TaskRecord`] it has changed, made or deleted; it has
    /// none when work is leased or a clip is done, as long as the task's state stays.
    pub fn note(&mut self, records: &[TaskId]) {
        self.all += 1;
        self.records += records.len() as u64;
        self.recent.extend(records);
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
    }
}

/// Tells when a ledger has changed.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<ChangeLog>);

impl Changes {
    /// For engines: the receiving end of a log in which every change is noted, whoever made it, before the call that made it
    /// returns.
    #[must_use]
    pub fn new(log: watch::Receiver<ChangeLog>) -> Self {
        Self(log)
    }

    /// How many changes there were in this process. Look here **before** reading what depends on it.
    #[must_use]
    pub fn seen(&mut self) -> u64 {
        self.0.borrow_and_update().all
    }

    /// How many changes of tasks' records there were in this process: as long as that stays the same, [`Ledger::list`]
    /// gives the same. Look here **before** reading what depends on it.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.borrow().records
    }

    /// The tasks whose records have changed, come or gone since there were so many changes of records; `None` when that is
    /// too long ago.
    #[must_use]
    pub fn records_since(&self, since: u64) -> Option<BTreeSet<TaskId>> {
        let log = self.0.borrow();
        let count = usize::try_from(log.records.checked_sub(since)?).ok()?;
        let first = log.recent.len().checked_sub(count)?;
        Some(log.recent.range(first..).copied().collect())
    }

    /// Waits for a change after the last one [`seen`](Self::seen) or waited for; `false` when the ledger is closed.
    /// Cancel-safe.
    pub async fn wait(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
