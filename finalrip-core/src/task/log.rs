//! A task's log: what happened to it, for those who follow it.

use serde::{Deserialize, Serialize};

use super::records::WorkId;
use super::state::TaskState;

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// The task entered a state.
    State {
        /// The state.
        state: TaskState,
        /// Why, if it failed.
        reason: Option<String>,
    },
    /// The plan is made.
    Planned {
        /// How many clips there are.
        clips: u32,
    },
    /// A worker took up some work.
    Started {
        /// The work.
        work: WorkId,
        /// The worker.
        worker: String,
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// Some work is done.
    Done {
        /// The work.
        work: WorkId,
    },
    /// An attempt failed.
    Failed {
        /// The work.
        work: WorkId,
        /// Why.
        reason: String,
        /// How many attempts are left.
        attempts_left: u32,
    },
    /// Some work went back to the queue: its worker shut down, or the whole process ended.
    Returned {
        /// The work.
        work: WorkId,
    },
    /// A clip or the merge is to be done once more.
    Retried {
        /// The work.
        work: WorkId,
    },
}

/// An entry of a task's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// Its number, which grows with every entry of the ledger and is never used again.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What happened.
    pub happening: Happening,
}

/// A part of a task's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The entries, oldest first.
    pub entries: Vec<LogEntry>,
    /// Whether entries between the one asked for and the first of these have been dropped: look at the progress.
    pub missed: bool,
}
