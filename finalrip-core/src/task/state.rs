//! The states of a task and of its work, and the only ways from one to another.
//!
//! A task (columns are events; `-` is refused; (1) only while it has no clips, (2) only when all clips are complete):
//!
//! | state | Start | Planned | Encoded | Merged | Exhausted | Cancel | RetryClip | RetryMerge | Clear |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | Pending | Planning | - | - | - | - | - | - | - | Clearing |
//! | Planning | - | Encoding | - | - | Failed | Cancelled | - | - | Clearing |
//! | Encoding | - | - | Merging | - | Failed | Cancelled | Encoding | - | Clearing |
//! | Merging | - | - | - | Completed | Failed | Cancelled | Encoding | Merging | Clearing |
//! | Completed | - | - | - | - | - | - | Encoding | Merging | Clearing |
//! | Failed | Planning (1) | - | - | - | - | - | Encoding | Merging (2) | Clearing |
//! | Cancelled | Planning (1) | - | - | - | - | Cancelled | Encoding | Merging (2) | Clearing |
//! | Clearing | - | - | - | - | - | - | - | - | Clearing |
//!
//! A clip, and every other piece of work:
//!
//! | state | Lease | Complete | Return | Fail, attempts left | Fail, none left | Stop | Retry |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | Queued | Leased | - | - | - | - | Stopped | Queued |
//! | Leased | - | Completed | Queued | Queued | Failed | Stopped | Queued |
//! | Completed | - | - | - | - | - | Completed | Queued |
//! | Failed | - | - | - | - | - | Failed | Queued |
//! | Stopped | - | - | - | - | - | Stopped | Queued |

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a task is in its life. The table of transitions is in the [module's documentation](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// The source is known; nobody has said yet how to encode it.
    Pending,
    /// It is being found out which frames make which clip.
    Planning,
    /// Its clips are being encoded.
    Encoding,
    /// All clips are complete and are being merged.
    Merging,
    /// The result is there.
    Completed,
    /// Some work has used up its attempts; everything else of the task was stopped.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// It is being deleted; nothing of it runs and nothing of it can be started.
    Clearing,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskEvent {
    /// Somebody says how to encode it.
    Start {
        /// Whether it has clips from an earlier start.
        has_clips: bool,
    },
    /// The plan is made.
    Planned,
    /// The last clip is complete.
    Encoded,
    /// The result is there.
    Merged,
    /// Some work has used up its attempts.
    Exhausted,
    /// Somebody stops it.
    Cancel,
    /// Somebody wants an existing clip encoded once more.
    RetryClip,
    /// Somebody wants the merge done once more.
    RetryMerge {
        /// Whether every clip is complete.
        all_complete: bool,
    },
    /// Somebody wants it deleted.
    Clear,
}

/// Where a clip, or another piece of a task's work, is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkState {
    /// The next free worker may have it.
    Queued,
    /// A worker has it.
    Leased,
    /// It is done and its result is kept.
    Completed,
    /// Its attempts are used up.
    Failed,
    /// The task was stopped before it was done.
    Stopped,
}

/// What can happen to a clip, or to another piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkEvent {
    /// A worker takes it.
    Lease,
    /// Its worker is done.
    Complete,
    /// It goes back to the queue through no fault of its own.
    Return,
    /// An attempt failed.
    Fail {
        /// Whether another attempt is allowed.
        attempts_left: bool,
    },
    /// The task stops.
    Stop,
    /// It is to be done once more, whatever became of it.
    Retry,
}

/// An event that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} is not possible while it is {state}")]
pub struct Refused<S: fmt::Display, E: fmt::Debug> {
    /// The state, which stays.
    pub state: S,
    /// The event.
    pub event: E,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Planning,
        Self::Encoding,
        Self::Merging,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Clearing,
    ];

    /// The state after an event.
    ///
    /// # Errors
    /// [`Refused`] where the table has a dash.
    pub fn after(self, event: TaskEvent) -> Result<Self, Refused<Self, TaskEvent>> {
        use TaskEvent as E;
        Ok(match (self, event) {
            (_, E::Clear) => Self::Clearing,
            (Self::Pending, E::Start { .. }) => Self::Planning,
            (Self::Failed | Self::Cancelled, E::Start { has_clips: false }) => Self::Planning,
            (Self::Planning, E::Planned) => Self::Encoding,
            (Self::Encoding, E::Encoded) => Self::Merging,
            (Self::Merging, E::Merged) => Self::Completed,
            (Self::Planning | Self::Encoding | Self::Merging, E::Exhausted) => Self::Failed,
            (Self::Planning | Self::Encoding | Self::Merging | Self::Cancelled, E::Cancel) => Self::Cancelled,
            (Self::Encoding | Self::Merging | Self::Completed | Self::Failed | Self::Cancelled, E::RetryClip) => {
                Self::Encoding
            }
            (Self::Merging | Self::Completed, E::RetryMerge { .. }) => Self::Merging,
            (Self::Failed | Self::Cancelled, E::RetryMerge { all_complete: true }) => Self::Merging,
            (state, event) => return Err(Refused { state, event }),
        })
    }

    /// Whether nothing happens to the task any more unless somebody asks for it.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether it goes on by itself.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Planning | Self::Encoding | Self::Merging)
    }
}

impl WorkState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Leased, Self::Completed, Self::Failed, Self::Stopped];

    /// The state after an event.
    ///
    /// # Errors
    /// [`Refused`] where the table has a dash.
    pub fn after(self, event: WorkEvent) -> Result<Self, Refused<Self, WorkEvent>> {
        use WorkEvent as E;
        Ok(match (self, event) {
            (_, E::Retry) => Self::Queued,
            (Self::Queued, E::Lease) => Self::Leased,
            (Self::Leased, E::Complete) => Self::Completed,
            (Self::Leased, E::Return | E::Fail { attempts_left: true }) => Self::Queued,
            (Self::Leased, E::Fail { attempts_left: false }) => Self::Failed,
            (Self::Queued | Self::Leased, E::Stop) => Self::Stopped,
            (ended, E::Stop) => ended,
            (state, event) => return Err(Refused { state, event }),
        })
    }
}

/// A state's name in lower case, as the ledger stores it, and back.
macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// The name in lower case; [`FromStr`](std::str::FromStr) reads it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::task::state::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name { $($name => Ok(Self::$variant),)* _ => Err($crate::task::state::UnknownName(name.to_owned())) }
            }
        }
    };
}
pub(crate) use named;

/// A name that no state, queue or kind of work has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known name")]
pub struct UnknownName(pub String);

named!(TaskState {
    Pending = "pending",
    Planning = "planning",
    Encoding = "encoding",
    Merging = "merging",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
    Clearing = "clearing",
});

named!(WorkState {
    Queued = "queued",
    Leased = "leased",
    Completed = "completed",
    Failed = "failed",
    Stopped = "stopped",
});

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the module's documentation: rows of cells, the heading first.
    fn table(heading: &str) -> Vec<Vec<String>> {
        let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let lines = include_str!("state.rs").lines().filter_map(|line| line.strip_prefix("//! "));
        let mut rows: Vec<Vec<String>> = lines
            .skip_while(|line| !line.starts_with(heading))
            .take_while(|line| line.starts_with('|'))
            .map(cells)
            .collect();
        rows.remove(1);
        rows
    }

    /// What a cell promises, given whether the condition of its footnote holds.
    fn promised(cell: &str, holds: bool) -> Option<String> {
        let (name, condition) = cell.split_once(' ').map_or((cell, false), |(name, _)| (name, true));
        (name != "-" && (holds || !condition)).then(|| name.to_lowercase())
    }

    #[test]
    fn tasks_follow_the_documented_table_in_every_state_and_event() {
        let rows = table("| state | Start");
        assert_eq!(rows.len(), 1 + TaskState::ALL.len());
        for (row, state) in rows[1..].iter().zip(TaskState::ALL) {
            assert_eq!(row[0].to_lowercase(), state.as_str());
            for (name, cell) in rows[0].iter().zip(row).skip(1) {
                for holds in [false, true] {
                    let event = match name.as_str() {
                        "Start" => TaskEvent::Start { has_clips: !holds },
                        "Planned" => TaskEvent::Planned,
                        "Encoded" => TaskEvent::Encoded,
                        "Merged" => TaskEvent::Merged,
                        "Exhausted" => TaskEvent::Exhausted,
                        "Cancel" => TaskEvent::Cancel,
                        "RetryClip" => TaskEvent::RetryClip,
                        "RetryMerge" => TaskEvent::RetryMerge { all_complete: holds },
                        "Clear" => TaskEvent::Clear,
                        other => panic!("{other} is not an event"),
                    };
                    let after = state.after(event).ok().map(|after| after.to_string());
                    assert_eq!(after, promised(cell, holds), "{state} and {event:?}");
                }
            }
        }
    }

    #[test]
    fn work_follows_the_documented_table_in_every_state_and_event() {
        let events = [
            WorkEvent::Lease,
            WorkEvent::Complete,
            WorkEvent::Return,
            WorkEvent::Fail { attempts_left: true },
            WorkEvent::Fail { attempts_left: false },
            WorkEvent::Stop,
            WorkEvent::Retry,
        ];
        let rows = table("| state | Lease");
        assert_eq!((rows.len(), rows[0].len()), (1 + WorkState::ALL.len(), 1 + events.len()));
        for (row, state) in rows[1..].iter().zip(WorkState::ALL) {
            assert_eq!(row[0].to_lowercase(), state.as_str());
            for (cell, event) in row[1..].iter().zip(events) {
                let after = state.after(event).ok().map(|after| after.to_string());
                assert_eq!(after, promised(cell, true), "{state} and {event:?}");
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        assert!(TaskState::ALL.into_iter().all(|state| state.as_str().parse() == Ok(state)));
        assert!(WorkState::ALL.into_iter().all(|state| state.as_str().parse() == Ok(state)));
        assert_eq!("gone".parse::<TaskState>().unwrap_err().to_string(), "\"gone\" is not a known name");
    }
}
