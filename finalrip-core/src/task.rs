//! Tasks: videos that are encoded clip by clip, by workers that may die at any time. (Cargo feature `tasks`.)
//!
//! Everything that must survive is in a [`Ledger`]: which tasks there are, what is to be done next, who does it, and
//! what came of it. Nothing is inferred, and nothing lives only in a running process. [`SqliteLedger`] keeps it in one
//! file; another engine can stand behind the trait.
//!
//! A task is created when its source is stored, started with a script and an encode command, planned, encoded clip by
//! clip, and merged. [`state`] has the tables of what is possible when.

mod clock;
mod error;
mod folders;
#[cfg(any(test, feature = "ledger-kit"))]
pub mod kit;
mod ledger;
mod log;
mod process;
mod records;
mod service;
mod sqlite;
pub mod state;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{LedgerError, LedgerResult};
pub use ledger::{ChangeLog, Changes, Ledger, LedgerOptions};
pub use log::{Happening, LogEntry, LogPage};
pub use process::{
    Answer, Confined, Confinement, EncoderProcess, EncoderProgram, Limits, Order, ProcessError, ProcessOptions, Scope,
    Taken, encoder_process, sweep_scratch,
};
pub use records::{
    AfterFailure, ClipProgress, Counters, EncodedClip, Failure, FencingToken, Lease, LeaseInfo, Outcome, Overrides,
    Queue, TaskFilter, TaskId, TaskJob, TaskPlan, TaskProgress, TaskRecord, Work, WorkId, WorkProgress,
};
pub use service::{
    CheckRequest, CheckedPart, ErrorKind, Event, Figures, Presigned, Problem, SOURCE_CACHE, Service, ServiceOptions,
    StartRequest, TaskError, TaskResult, TaskView,
};
pub use sqlite::{Recovery, SqliteLedger};
pub use state::{TaskState, WorkState};
