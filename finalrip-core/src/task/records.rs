//! What goes into a ledger and what comes out of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::FrameRange;

use super::state::{TaskState, WorkState, named};

/// One life of a task. A key that is cleared and used again gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub u64);

/// The number of a lease. Grows with every lease of a ledger, restarts included: of two attempts at the same work the
/// later one has the larger number, and the ledger takes results from that one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FencingToken(pub u64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which work goes first. Within a queue it is the task that was started first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Before everything else.
    Priority,
    /// When the other queue is empty.
    #[default]
    Default,
}

named!(Queue { Priority = "priority", Default = "default" });

/// How a task is to be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskJob {
    /// The script's text.
    pub script: String,
    /// The encode command's text.
    pub command: String,
    /// Whether it may be divided into clips.
    pub slice: bool,
    /// How long one clip may take. The ledger keeps it for the workers, who see to it.
    pub timeout: Duration,
    /// Where its work waits.
    pub queue: Queue,
}

/// What is different for one clip from now on; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Another script.
    pub script: Option<String>,
    /// Another encode command.
    pub command: Option<String>,
    /// Another time limit.
    pub timeout: Option<Duration>,
    /// Another queue.
    pub queue: Option<Queue>,
}

/// A piece of a task's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "index", rename_all = "snake_case")]
pub enum WorkId {
    /// Making the source's index.
    Index,
    /// Finding out which frames make which clip.
    Plan,
    /// Encoding the clip of this number, from 0.
    Clip(u32),
    /// Merging the encoded clips.
    Merge,
}

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Make the source's index. The task need not have been started yet.
    Index,
    /// Make the plan.
    Plan {
        /// How the task is to be encoded.
        job: TaskJob,
    },
    /// Encode one clip.
    Clip {
        /// Which one, from 0.
        index: u32,
        /// Its frames.
        range: FrameRange,
        /// How, with the clip's overrides in place.
        job: TaskJob,
        /// What the planner noted.
        plan: String,
        /// What is noted of a complete clip of the task that this one has to be joined to. For clips with overrides, if
        /// there is one without.
        like: Option<String>,
    },
    /// Merge the encoded clips.
    Merge {
        /// How the task was encoded.
        job: TaskJob,
        /// What the planner noted.
        plan: String,
        /// What became of each clip, in order.
        clips: Vec<EncodedClip>,
    },
}

/// Work that one worker has for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What every later call about it names.
    pub token: FencingToken,
    /// The task.
    pub task: TaskId,
    /// Its key.
    pub key: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How long it holds without a heartbeat.
    pub duration: Duration,
    /// What to do.
    pub work: Work,
}

/// Which frames make which clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    /// The frames of each clip: in order, without gaps, none of them empty.
    pub clips: Vec<FrameRange>,
    /// What the workers have to know of it. The ledger does not look into it.
    pub record: String,
}

/// An encoded clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedClip {
    /// Its size in bytes.
    pub bytes: u64,
    /// What the merge has to know of it. The ledger does not look into it.
    pub record: String,
}

/// What a worker has achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The index is there.
    Indexed,
    /// The plan is made.
    Planned(TaskPlan),
    /// The clip is encoded, verified and stored.
    Encoded(EncodedClip),
    /// What was found while encoding a clip, or merging, makes the plan's record void: this one takes its place, with the
    /// same clips, and all of them are encoded again.
    Replanned(TaskPlan),
    /// The result is stored.
    Merged {
        /// Its size in bytes.
        bytes: u64,
    },
}

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkProgress {
    /// Frames done.
    pub frames: u32,
    /// Frames a second.
    pub fps: f64,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong. The first 4 KiB are kept.
    pub reason: String,
    /// The last lines that were logged. The last 64 KiB are kept.
    pub log: String,
    /// Whether another attempt would fail as well: the attempts that are left are then not made.
    pub permanent: bool,
}

/// What a failed attempt led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// The work is queued again.
    Again {
        /// How many attempts are left.
        attempts_left: u32,
    },
    /// No attempt is left. The task has failed, unless it was the index, which is only there to save time.
    Exhausted,
}

/// What a ledger knows of a task as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskRecord {
    /// This life of the task.
    pub id: TaskId,
    /// The video's key.
    pub key: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// When it was created, in milliseconds since 1970.
    pub created_at: i64,
    /// How it is encoded; `None` before it is started.
    pub job: Option<TaskJob>,
    /// Why it failed, while it is failed.
    pub failure: Option<String>,
    /// The size in bytes of the result, if there is one: it stays until the next one is in place, whatever becomes of a retry.
    pub result_bytes: Option<u64>,
}

/// What a ledger knows of a clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipProgress {
    /// Its number, from 0.
    pub index: u32,
    /// Its frames.
    pub range: FrameRange,
    /// Where it is in its life.
    pub state: WorkState,
    /// Frames encoded so far.
    pub frames: u32,
    /// Frames a second, as last heard.
    pub fps: f64,
    /// Attempts so far, the present one included. What was given back or interrupted is not counted.
    pub attempts: u32,
    /// How often it was interrupted by the end of the whole ledger's process.
    pub interruptions: u32,
    /// Why the last failed attempt failed; `None` when there was none since the clip was last retried.
    pub error: Option<String>,
    /// The encoded clip's size in bytes.
    pub bytes: Option<u64>,
}

/// A task and its clips at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskProgress {
    /// The task.
    pub task: TaskRecord,
    /// The end of the log of what made it fail, while it is failed.
    pub log: Option<String>,
    /// Its clips, in order; none before it is planned.
    pub clips: Vec<ClipProgress>,
}

impl TaskProgress {
    /// Frames encoded so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.clips.iter().map(|clip| u64::from(clip.frames)).sum()
    }

    /// Frames to encode in all.
    #[must_use]
    pub fn frames_total(&self) -> u64 {
        self.clips.iter().map(|clip| u64::from(clip.range.len())).sum()
    }

    /// Frames a second of the clips that are being encoded, together.
    #[must_use]
    pub fn fps(&self) -> f64 {
        self.clips.iter().filter(|clip| clip.state == WorkState::Leased).map(|clip| clip.fps).sum()
    }

    /// Time left at the present speed; `None` while nothing is being encoded.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let left = self.frames_total().saturating_sub(self.frames());
        Duration::try_from_secs_f64(left as f64 / self.fps()).ok().filter(|_| self.fps() > 0.0)
    }
}

/// Which tasks to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFilter {
    /// Those in one of these states.
    pub states: Vec<TaskState>,
    /// Only those created before this one: the last of the page before.
    pub before: Option<TaskId>,
    /// Only this one and those created after it.
    pub from: Option<TaskId>,
    /// At most so many.
    pub limit: u32,
}

impl TaskFilter {
    /// All tasks in these states.
    #[must_use]
    pub fn states(states: impl Into<Vec<TaskState>>) -> Self {
        Self { states: states.into(), before: None, from: None, limit: u32::MAX }
    }
}

/// A lease as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseInfo {
    /// The lease.
    pub token: FencingToken,
    /// The task.
    pub task: TaskId,
    /// Its key.
    pub key: String,
    /// What is being done.
    pub work: WorkId,
    /// By whom.
    pub worker: String,
    /// For how long it still holds without a heartbeat; 0 when it is overdue.
    pub expires_in: Duration,
}

/// Numbers for an operator. The totals count since the ledger was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Work that waits in the queue `priority`.
    pub queued_priority: u64,
    /// Work that waits in the queue `default`.
    pub queued_default: u64,
    /// Indexes of tasks that are not started; they wait behind everything else.
    pub queued_background: u64,
    /// Leases held now.
    pub leased: u64,
    /// Leases given out in all.
    pub leases_total: u64,
    /// Pieces of work done in all.
    pub completed_total: u64,
    /// Attempts that failed in all, expired ones included.
    pub failures_total: u64,
    /// Leases that expired in all.
    pub expired_total: u64,
    /// Clips and merges that somebody wanted once more, in all.
    pub retries_total: u64,
    /// Leases given back unfinished, in all.
    pub given_back_total: u64,
    /// Leases that ended with the ledger's process, in all.
    pub interrupted_total: u64,
}
