//! What went wrong inside, before it is known which file it is about.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::task::error::LedgerError;
use crate::task::state::UnknownName;

/// A refusal that is ready for the caller, or SQLite's own error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Refused(#[from] LedgerError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Fault {
    /// The public error about the database at `path`.
    pub(super) fn about(self, path: &Path) -> LedgerError {
        let error = match self {
            Self::Refused(error) => return error,
            Self::Sqlite(error) => error,
        };
        let (path, reason) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Locked { path, reason },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LedgerError::Corrupt { path, reason },
            Some(ErrorCode::DiskFull) => LedgerError::Full { path, reason },
            Some(ErrorCode::ConstraintViolation) => LedgerError::Internal(reason),
            Some(_) => LedgerError::Storage { path, reason },
            None => LedgerError::Internal(reason),
        }
    }
}

/// A state that the tables should have refused.
impl From<UnknownName> for Fault {
    fn from(error: UnknownName) -> Self {
        LedgerError::Internal(error.to_string()).into()
    }
}
