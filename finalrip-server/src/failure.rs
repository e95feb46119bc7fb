//! Why a request was not answered as asked.

use std::error::Error;

use finalrip_core::store::StoreError;
use finalrip_core::task::{ErrorKind, TaskError};
use hyper::StatusCode;

/// A refusal: its status, and the text that the client reads.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The status, where real ones are used.
    pub(crate) status: StatusCode,
    /// What was wrong, and what to do.
    pub(crate) message: String,
    /// Whether the request never reached its route: then the status is real on every route.
    pub(crate) early: bool,
}

impl Failure {
    /// A refusal by a route.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), early: false }
    }

    /// A refusal before any route.
    pub(crate) fn early(status: StatusCode, message: impl Into<String>) -> Self {
        Self { early: true, ..Self::new(status, message) }
    }

    /// A request that makes no sense.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A fault of ours. What it was is in the log.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error; the server's log says more under this request's id",
        )
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            log(&error);
        }
        match &error {
            TaskError::Store(error) => Self::new(status, said(error)),
            TaskError::Folder { .. } => Self::internal(),
            TaskError::Ledger(_) if status.is_server_error() => {
                Self::new(status, "the ledger cannot be used just now; the server's log says why")
            }
            error => Self::new(status, error.to_string()),
        }
    }
}

/// A store's error without the places of files, which only the log names.
fn said(error: &StoreError) -> String {
    match error {
        StoreError::File { action, .. } => format!("the server cannot {action} a file of its own; its log says more"),
        StoreError::Busy { .. } => "another download of this source is at work".to_owned(),
        error => error.to_string(),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFound { .. } => StatusCode::NOT_FOUND,
            StoreError::Key(_) | StoreError::Length { .. } | StoreError::Content { .. } => StatusCode::BAD_REQUEST,
            StoreError::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            error if error.is_retriable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            log(&error);
        }
        Self::new(status, said(&error))
    }
}

/// Says the whole chain of causes in the log; the client reads its head only.
fn log(error: &(dyn Error + 'static)) {
    tracing::error!(error, "a call failed");
}
