//! What the service refuses, and what keeps it from working.

use std::io;
use std::path::{Path, PathBuf};

use crate::encoder::command::CommandError;
use crate::store::{KeyError, ObjectKey, StoreError};
use crate::task::error::LedgerError;

/// The result of the service's calls.
pub type TaskResult<T> = Result<T, TaskError>;

/// Why the service did not do what it was asked. [`TaskError::kind`] says whose affair it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The ledger refuses it, or cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),

    /// The store refuses it, or cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// The text is not a video key.
    #[error(transparent)]
    Key(#[from] KeyError),

    /// The encode command cannot be used.
    #[error("encode command: {0}")]
    Command(#[from] CommandError),

    /// The encode command means something, but makes nothing that a result can hold.
    #[error("encode command: {0}")]
    Unencodable(String),

    /// The script is not Python.
    #[error("script: {0}")]
    Script(String),

    /// One clip is to become another codec than the others, with which it could not be joined.
    #[error(
        "the command makes {codec}, and the task's other clips are {others}: they cannot be one video; choose an encoder of {others}"
    )]
    OtherCodec {
        /// The codec that the command makes.
        codec: String,
        /// That of the task's own command.
        others: String,
    },

    /// The source has not been uploaded, or is empty.
    #[error("OSS video file does not exist.")]
    NoSource,

    /// The key is one of another task's objects.
    #[error("{object} belongs to the task {video}; choose another key")]
    KeyTaken {
        /// The object.
        object: String,
        /// The task's key.
        video: String,
    },

    /// The source is being read by its task.
    #[error("{video} is the source of a task that is {state}; cancel or clear it first")]
    SourceInUse {
        /// The task's key.
        video: String,
        /// The task's state.
        state: super::super::TaskState,
    },

    /// No part can be copied out of the source: it is no video, or is damaged there.
    #[error("{0}")]
    Uncuttable(String),

    /// What needs an encoder process failed in it.
    #[error("{0}")]
    Process(String),

    /// The folders of the service cannot be used.
    #[error("{action} {}: {reason}; check permissions and disk space", .path.display())]
    Folder {
        /// What was to be done.
        action: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },

    /// The disk of the service is full.
    #[error(
        "the server's disk is full: {} MiB are free, and {} MiB are needed; clear tasks or free some space, and it goes on",
        .free >> 20, .least >> 20
    )]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes without which the service is not ready.
        least: u64,
    },

    /// A setting makes no sense.
    #[error("{option}: {reason}")]
    Setting {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whose affair an error is; a server makes its status codes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// The present state does not allow it.
    Conflict,
    /// What was asked makes no sense.
    Invalid,
    /// It may work later: no space, a store that does not answer.
    Unavailable,
    /// A fault in the service or what it stands on.
    Internal,
}

impl TaskError {
    /// An object that belongs to a task, in the way of something else.
    pub(super) fn taken(object: &ObjectKey, video: &str) -> Self {
        Self::KeyTaken { object: object.to_string(), video: video.to_owned() }
    }

    /// For `map_err`: the operating system's reason why a folder or a file of the service cannot be used.
    pub(super) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::Folder { action, path: path.to_owned(), reason: error.to_string() }
    }

    /// Whose affair it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ledger(error) => ledger_kind(error),
            Self::Store(error) => store_kind(error),
            Self::NoSource => ErrorKind::NotFound,
            Self::KeyTaken { .. } | Self::SourceInUse { .. } => ErrorKind::Conflict,
            Self::OtherCodec { .. } | Self::Key(_) | Self::Command(_) => ErrorKind::Invalid,
            Self::Unencodable(_) | Self::Script(_) => ErrorKind::Invalid,
            Self::Setting { .. } | Self::Uncuttable(_) => ErrorKind::Invalid,
            Self::Full { .. } => ErrorKind::Unavailable,
            Self::Process(_) | Self::Folder { .. } => ErrorKind::Internal,
        }
    }
}

fn ledger_kind(error: &LedgerError) -> ErrorKind {
    match error {
        LedgerError::NotUploaded | LedgerError::UnknownTask | LedgerError::NoSuchClip => ErrorKind::NotFound,
        LedgerError::TaskExists
        | LedgerError::AlreadyStarted
        | LedgerError::ClipsUnfinished
        | LedgerError::NotNow { .. }
        | LedgerError::LeaseLost { .. } => ErrorKind::Conflict,
        LedgerError::Input { .. } => ErrorKind::Invalid,
        LedgerError::Locked { .. } | LedgerError::Full { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

fn store_kind(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::Key(_) | StoreError::Range { .. } | StoreError::Setting { .. } => ErrorKind::Invalid,
        StoreError::Length { .. } | StoreError::Content { .. } => ErrorKind::Invalid,
        StoreError::NotFound { .. } => ErrorKind::NotFound,
        StoreError::Changed { .. } | StoreError::Busy { .. } => ErrorKind::Conflict,
        StoreError::Full { .. } | StoreError::Unavailable { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
