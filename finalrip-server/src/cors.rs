//! What lets a web page of another origin call, and read the answers. It is on every answer: without it a browser shows
//! "Network Error" instead of what was wrong.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, StatusCode};

use crate::wire::{Answer, whole};

const METHODS: &str = "GET, HEAD, POST, PUT, OPTIONS";
const HEADERS: &str =
    "token, content-type, authorization, range, if-range, if-match, if-none-match, last-event-id, x-request-id";
const EXPOSED: &str =
    "etag, content-range, content-disposition, content-length, accept-ranges, last-modified, x-request-id";
/// Two hours, which is as long as browsers remember at most.
const MAX_AGE: &str = "7200";

/// Which origins may call.
#[derive(Debug)]
pub(crate) enum Cors {
    /// All, which is safe because no cookie counts.
    All,
    /// These.
    Some(Vec<String>),
}

impl Cors {
    pub(crate) fn new(origins: &[String]) -> Self {
        if origins.iter().any(|origin| origin == "*") { Self::All } else { Self::Some(origins.to_vec()) }
    }

    /// Adds the headers to an answer to a request from the page `origin`.
    pub(crate) fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let allowed = match self {
            Self::All => Some(HeaderValue::from_static("*")),
            Self::Some(origins) => {
                headers.append(VARY, HeaderValue::from_static("origin"));
                origin.filter(|origin| origins.iter().any(|known| known.as_bytes() == origin.as_bytes())).cloned()
            }
        };
        let Some(allowed) = allowed else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// The answer to a preflight, which carries no token.
pub(crate) fn preflight() -> Answer {
    let mut answer = Answer::new(whole(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    answer
}

/// The page that a request comes from.
pub(crate) fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).cloned()
}
