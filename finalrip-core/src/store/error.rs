//! What can go wrong with a store.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::key::KeyError;

/// The result of a store's calls.
pub type StoreResult<T> = Result<T, StoreError>;

/// What a store was doing, to which object, and why it failed.
///
/// `Display` prints one level; the cause is in [`std::error::Error::source`]. Neither holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text is not a key.
    #[error(transparent)]
    Key(#[from] KeyError),

    /// There is no such object.
    #[error("there is no object {key:?}")]
    NotFound {
        /// The object's key.
        key: String,
    },

    /// The store does not allow it: wrong credentials, missing permissions, or something in the store's folder that is
    /// not a plain file, such as a symbolic link.
    #[error("the store refuses to {operation} {key:?}")]
    Refused {
        /// What was to be done.
        operation: Operation,
        /// The object's key.
        key: String,
        /// The store's reason.
        source: Cause,
    },

    /// There is no space left, or no quota.
    #[error("no space is left to {operation} {key:?}")]
    Full {
        /// What was to be done.
        operation: Operation,
        /// The object's key.
        key: String,
        /// The operating system's reason.
        source: Cause,
    },

    /// The object was replaced while it was being read, more often than it is read again.
    #[error("the object {key:?} was replaced while it was being read")]
    Changed {
        /// The object's key.
        key: String,
    },

    /// What arrived is not as long as it should be. Nothing of it was kept.
    #[error("{key:?} should have {expected} bytes, but {actual} arrived in order to {operation} it")]
    Length {
        /// What was to be done.
        operation: Operation,
        /// The object's key.
        key: String,
        /// How long it should be, in bytes.
        expected: u64,
        /// How many bytes there were.
        actual: u64,
    },

    /// A range that the object does not have.
    #[error("the object {key:?} has {size} bytes; there is no range that starts at {start}")]
    Range {
        /// The object's key.
        key: String,
        /// The object's size in bytes.
        size: u64,
        /// Where the range would start.
        start: u64,
    },

    /// The store cannot be reached or failed, each time that it was tried. Later it may work.
    #[error("cannot {operation} {key:?}, tried {attempts} times")]
    Unavailable {
        /// What was to be done.
        operation: Operation,
        /// The object's key.
        key: String,
        /// How often it was tried.
        attempts: u32,
        /// Why it failed the last time.
        source: Cause,
    },

    /// The store cannot do this at all.
    #[error("the store cannot {operation} {key:?}")]
    Unsupported {
        /// What was to be done.
        operation: Operation,
        /// The object's key.
        key: String,
        /// The store's reason.
        source: Cause,
    },

    /// What was to be stored could not be read: the client went away, or the file cannot be opened.
    #[error("the content for {key:?} cannot be read")]
    Content {
        /// The object's key.
        key: String,
        /// Why not.
        source: io::Error,
    },

    /// A file on this machine, outside the store, cannot be read or written.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// Another download of the same object to the same file is at work.
    #[error("another download of {key:?} to {} is at work", .path.display())]
    Busy {
        /// The object's key.
        key: String,
        /// The file that both would write.
        path: PathBuf,
    },

    /// A setting has a value that makes no sense.
    #[error("{option} cannot be {value:?}: {expected}")]
    Setting {
        /// The setting's name.
        option: &'static str,
        /// What it was set to; never a secret.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

/// The cause below a [`StoreError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a store was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Open the store.
    Open,
    /// Look at an object's size and age.
    Inspect,
    /// Write an object.
    Write,
    /// Read an object.
    Read,
    /// Read an object into a file of this machine.
    Fetch,
    /// Delete an object.
    Delete,
    /// List objects or unfinished uploads.
    List,
    /// Make a signed URL.
    Sign,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Inspect => "look at",
            Self::Write => "write",
            Self::Read => "read",
            Self::Fetch => "download",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Sign => "sign a link to",
        })
    }
}

impl StoreError {
    /// Whether the same call may work later, without anybody changing anything.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Changed { .. })
    }

    /// Whether there was no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The backend's error as ours, after `attempts`.
    pub(super) fn from_backend(operation: Operation, key: &str, attempts: u32, error: object_store::Error) -> Self {
        use object_store::Error as Backend;
        let key = key.to_owned();
        match error {
            Backend::NotFound { source, .. } => match operation {
                Operation::Inspect | Operation::Read | Operation::Delete => Self::NotFound { key },
                // Not the object: the bucket, or the upload, which somebody removed.
                _ => Self::Refused { operation, key, source },
            },
            Backend::Precondition { .. } | Backend::NotModified { .. } => Self::Changed { key },
            Backend::PermissionDenied { source, .. } | Backend::Unauthenticated { source, .. } => {
                Self::Refused { operation, key, source }
            }
            Backend::NotSupported { source } => Self::Unsupported { operation, key, source },
            Backend::NotImplemented { .. } | Backend::InvalidPath { .. } | Backend::UnknownConfigurationKey { .. } => {
                Self::Unsupported { operation, key, source: error.into() }
            }
            error => match io_kind(&error) {
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) => {
                    Self::Full { operation, key, source: error.into() }
                }
                Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                    Self::Refused { operation, key, source: error.into() }
                }
                _ => Self::Unavailable { operation, key, attempts, source: error.into() },
            },
        }
    }
}

/// The first of the operating system's errors in the chain of causes.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind)
}
