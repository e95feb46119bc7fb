//! Which part of an object is asked for, and whether it is wanted at all: RFC 9110, sections 13 and 14.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use finalrip_core::store::StoredObject;
use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it.
    Whole,
    /// The bytes from a start to before an end.
    Part(Range<u64>),
    /// Bytes that there are none of.
    Unsatisfiable,
}

/// Whether the object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    /// The client has it already.
    NotModified,
    /// The client wants another state of it.
    Failed,
}

/// What the headers of a `GET` ask for. Several ranges at once, other units and what is no range are passed over, as the
/// RFC allows: then it is all of it.
pub(crate) fn asked(headers: &HeaderMap, object: &StoredObject) -> Asked {
    let Some(range) = text(headers, RANGE) else { return Asked::Whole };
    if headers.contains_key(IF_RANGE) && !is_same(text(headers, IF_RANGE).unwrap_or_default(), object) {
        return Asked::Whole;
    }
    let set = range.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    set.and_then(|(_, set)| parse(set.trim(), object.size)).unwrap_or(Asked::Whole)
}

fn parse(set: &str, size: u64) -> Option<Asked> {
    let (first, last) = set.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return None;
    }
    // A number too large for us lies behind the end of everything.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    if first.is_empty() {
        let length = number(last).min(size);
        return Some(if length == 0 { Asked::Unsatisfiable } else { Asked::Part(size - length..size) });
    }
    let start = number(first);
    let end = if last.is_empty() { size } else { number(last).saturating_add(1) };
    if end <= start && !last.is_empty() {
        return None;
    }
    Some(if start >= size { Asked::Unsatisfiable } else { Asked::Part(start..end.min(size)) })
}

/// Whether the object is still the one that `If-Range` names.
fn is_same(validator: &str, object: &StoredObject) -> bool {
    match validator.starts_with('"') || validator.starts_with("W/") {
        true => object.e_tag.as_deref().is_some_and(|tag| strong(tag) && tag == validator),
        false => date(validator).is_some_and(|date| date == whole_seconds(object.modified)),
    }
}

/// Evaluates the conditions in the order that the RFC lays down.
pub(crate) fn wanted(headers: &HeaderMap, object: &StoredObject) -> Wanted {
    let modified = whole_seconds(object.modified);
    let since = |name| text(headers, name).and_then(date);
    if headers.contains_key(IF_MATCH) {
        if !any_tag(headers, IF_MATCH, |tag| Some(tag) == object.e_tag.as_deref() && strong(tag)) {
            return Wanted::Failed;
        }
    } else if since(IF_UNMODIFIED_SINCE).is_some_and(|date| modified > date) {
        return Wanted::Failed;
    }
    let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let known = match headers.contains_key(IF_NONE_MATCH) {
        true => any_tag(headers, IF_NONE_MATCH, |tag| object.e_tag.as_deref().map(weak) == Some(weak(tag))),
        false => since(IF_MODIFIED_SINCE).is_some_and(|date| modified <= date),
    };
    if known { Wanted::NotModified } else { Wanted::Yes }
}

/// Whether one of the tags of a header, or its `*`, fits. Our tags hold no comma.
fn any_tag(headers: &HeaderMap, name: HeaderName, fits: impl Fn(&str) -> bool) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || fits(tag))
}

fn strong(tag: &str) -> bool {
    !tag.starts_with("W/")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// `Last-Modified`, for times that it can express.
pub(crate) fn last_modified(time: SystemTime) -> Option<String> {
    const YEAR_10_000: u64 = 253_402_300_800;
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (seconds < YEAR_10_000).then(|| httpdate::fmt_http_date(time))
}
