//! What a ledger refuses, and what keeps it from working.

use std::path::PathBuf;

use super::records::FencingToken;
use super::state::TaskState;

/// Why a ledger did not do what it was asked. Nothing has changed when it is returned.
///
/// The first seven are answers to the caller, with the texts that clients of the task API know; the rest are about the
/// ledger itself, and say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// There is a task with this key, or one that is still being deleted.
    #[error("Task already exists, please wait for it to complete or delete it.")]
    TaskExists,

    /// A task cannot be started before it is created.
    #[error("Task not found, please upload video first.")]
    NotUploaded,

    /// No task has this key.
    #[error("Task not found, please check the video key")]
    UnknownTask,

    /// The task has been started, or is being deleted.
    #[error("Task already started.")]
    AlreadyStarted,

    /// The task has no such clip; it has none at all before it is planned.
    #[error("Encode clip not exist")]
    NoSuchClip,

    /// The merge needs every clip.
    #[error("Some clips are not finished yet.")]
    ClipsUnfinished,

    /// Only what runs can be cancelled, and only what is being cleared can be forgotten.
    #[error("The task is {state}; that is not possible now.")]
    NotNow {
        /// The task's state.
        state: TaskState,
    },

    /// The lease has ended: it expired, or the work was retried, cancelled or deleted. Whoever held it must stop, and
    /// publish nothing.
    #[error("lease {token} has ended; its result is not wanted any more")]
    LeaseLost {
        /// The lease.
        token: FencingToken,
    },

    /// A value that makes no sense.
    #[error("{what} cannot be used: {reason}")]
    Input {
        /// The value's name.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// Another process has the ledger.
    #[error("the ledger {} is in use by another process; stop that one, or give this one a data folder of its own", .path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },

    /// Another program has locked the database for too long.
    #[error("the ledger {} stays locked by another program; close what reads or copies it ({reason})", .path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        reason: String,
    },

    /// The database is damaged.
    #[error("the ledger {} is damaged ({reason}); stop the server, keep a copy, and restore a backup or recover it with: sqlite3 {} .recover", .path.display(), .path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        reason: String,
    },

    /// There is no room to write.
    #[error("no space is left for the ledger {} ({reason}); free some, and it goes on where it was", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        reason: String,
    },

    /// A newer version of this program has written the database.
    #[error("the ledger {} has schema {found}, and this version knows {known}; use the version that wrote it, or a newer one", .path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The schema that it has.
        found: i64,
        /// The newest schema that is known here.
        known: i64,
    },

    /// The database is not a ledger.
    #[error("{} is a database of another program; name another file", .path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },

    /// The ledger cannot be read or written.
    #[error("the ledger {} cannot be used: {reason}; check the folder's permissions and the disk", .path.display())]
    Storage {
        /// The database.
        path: PathBuf,
        /// The operating system's or SQLite's reason.
        reason: String,
    },

    /// A fault of this library.
    #[error("internal error in the ledger: {0}; please report it")]
    Internal(String),
}

/// The result of a ledger's calls.
pub type LedgerResult<T> = Result<T, LedgerError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_know_these_texts() {
        let texts = [
            (LedgerError::TaskExists, "Task already exists, please wait for it to complete or delete it."),
            (LedgerError::NotUploaded, "Task not found, please upload video first."),
            (LedgerError::UnknownTask, "Task not found, please check the video key"),
            (LedgerError::AlreadyStarted, "Task already started."),
            (LedgerError::NoSuchClip, "Encode clip not exist"),
            (LedgerError::ClipsUnfinished, "Some clips are not finished yet."),
        ];
        for (error, text) in texts {
            assert_eq!(error.to_string(), text);
        }
    }
}
