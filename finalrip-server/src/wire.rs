//! The shapes of answers.

use std::io;

use bytes::Bytes;
use finalrip_core::store::{ObjectKey, VideoKey};
use finalrip_core::task::{CheckedPart, ClipProgress, TaskProgress, TaskRecord, TaskState, WorkState};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::failure::Failure;
use crate::routes::Errors;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer on its way out.
pub(crate) type Answer = Response<Body>;

/// A body that is there as a whole.
pub(crate) fn whole(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// `{"success": true, "data": …}`.
#[derive(Serialize)]
struct Success<T> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

/// `{"success": false, "error": {"message": …}}`.
#[derive(Serialize)]
struct Refusal<'a> {
    success: bool,
    error: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

/// The answer to a call that gives nothing back.
pub(crate) fn done() -> Answer {
    json(StatusCode::OK, to_json(&Success::<()> { success: true, data: None }))
}

/// The answer to a call that gives `data` back.
pub(crate) fn with(data: impl Serialize) -> Answer {
    json(StatusCode::OK, to_json(&Success { success: true, data: Some(data) }))
}

/// The answer to a call that was refused.
pub(crate) fn refused(failure: &Failure, errors: Errors) -> Answer {
    let status = if errors == Errors::InBody && !failure.early { StatusCode::OK } else { failure.status };
    let body = to_json(&Refusal { success: false, error: Message { message: &failure.message } });
    json(status, body)
}

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut answer = Answer::new(whole(""));
    *answer.status_mut() = status;
    answer
}

/// JSON that is there already.
pub(crate) fn json(status: StatusCode, content: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(whole(content));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(1024);
    write_json(&mut json, value);
    json
}

/// Adds `value` to `json`.
pub(crate) fn write_json(json: &mut Vec<u8>, value: &impl Serialize) {
    // Only maps with keys that are no text, and failing `Serialize`s, cannot be JSON; ours are structs of plain values.
    serde_json::to_writer(json, value).expect("our answers are JSON");
}

/// The API's word for a task's state. Older clients know three; `failed` is the fourth, for what a cancel stopped too.
pub(crate) fn status(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "pending",
        TaskState::Planning | TaskState::Encoding | TaskState::Merging => "running",
        TaskState::Completed => "completed",
        TaskState::Failed | TaskState::Cancelled | TaskState::Clearing => "failed",
    }
}

/// Why a task does not go on.
pub(crate) fn reason(task: &TaskRecord) -> Option<&str> {
    match task.state {
        TaskState::Failed => Some(task.failure.as_deref().unwrap_or("failed")),
        TaskState::Cancelled => Some("cancelled"),
        TaskState::Clearing => Some("being deleted"),
        _ => None,
    }
}

/// The API's word for a clip's state.
fn clip_status(state: WorkState) -> &'static str {
    match state {
        WorkState::Queued => "pending",
        WorkState::Leased => "running",
        WorkState::Completed => "completed",
        WorkState::Failed => "failed",
        WorkState::Stopped => "stopped",
    }
}

/// What a list and a task's progress have in common.
#[derive(Serialize)]
pub(crate) struct Task<'a> {
    key: &'a str,
    url: &'a str,
    encode_key: String,
    encode_url: &'a str,
    encode_param: &'a str,
    script: &'a str,
    status: &'static str,
    create_at: i64,
    error: Option<&'a str>,
}

impl<'a> Task<'a> {
    /// A task with its links.
    pub(crate) fn new(task: &'a TaskRecord, url: &'a str, encode_key: &ObjectKey, encode_url: &'a str) -> Self {
        let job = task.job.as_ref();
        Self {
            key: &task.key,
            url,
            encode_key: encode_key.to_string(),
            encode_url,
            encode_param: job.map_or("", |job| &job.command),
            script: job.map_or("", |job| &job.script),
            status: status(task.state),
            create_at: task.created_at.div_euclid(1000),
            error: reason(task),
        }
    }
}

/// What was found wrong with a script, a command and a key.
#[derive(Serialize)]
pub(crate) struct Checked<'a> {
    pub(crate) errors: Vec<Problem<'a>>,
}

/// One thing that is wrong.
#[derive(Serialize)]
pub(crate) struct Problem<'a> {
    field: &'static str,
    message: &'a str,
    line: Option<u32>,
}

impl<'a> Problem<'a> {
    /// A problem under the name of the field that it is in.
    pub(crate) fn new(problem: &'a finalrip_core::task::Problem) -> Self {
        let field = match problem.part {
            CheckedPart::Script => "script",
            CheckedPart::Command => "encode_param",
            CheckedPart::Video => "video_key",
        };
        Self { field, message: &problem.message, line: problem.line }
    }
}

/// A task's progress.
#[derive(Serialize)]
pub(crate) struct Progress<'a> {
    pub(crate) progress: Vec<Clip<'a>>,
    #[serde(flatten)]
    pub(crate) task: Task<'a>,
    pub(crate) size: String,
    pub(crate) encode_size: String,
    #[serde(flatten)]
    pub(crate) figures: Figures<'a>,
}

/// A clip with its links.
#[derive(Serialize)]
pub(crate) struct Clip<'a> {
    completed: bool,
    clip_key: String,
    clip_url: String,
    encode_key: String,
    encode_url: String,
    #[serde(flatten)]
    figures: ClipFigures<'a>,
}

impl<'a> Clip<'a> {
    /// A clip of `video` with its links.
    pub(crate) fn new(video: &VideoKey, clip: &'a ClipProgress, clip_url: String, encode_url: String) -> Self {
        Self {
            completed: clip.state == WorkState::Completed,
            clip_key: video.clip(clip.index).to_string(),
            clip_url,
            encode_key: video.encoded_clip(clip.index).to_string(),
            encode_url,
            figures: ClipFigures::new(clip),
        }
    }
}

/// How far a clip is.
#[derive(Serialize, PartialEq)]
pub(crate) struct ClipFigures<'a> {
    index: u32,
    status: &'static str,
    frames: u32,
    frames_total: u32,
    fps: f64,
    attempts: u32,
    error: Option<&'a str>,
}

impl<'a> ClipFigures<'a> {
    fn new(clip: &'a ClipProgress) -> Self {
        Self {
            index: clip.index,
            status: clip_status(clip.state),
            frames: clip.frames,
            frames_total: clip.range.len(),
            fps: tenths(clip.fps),
            attempts: clip.attempts,
            error: clip.error.as_deref(),
        }
    }
}

/// How far a task is.
#[derive(Serialize)]
pub(crate) struct Figures<'a> {
    frames: u64,
    frames_total: u64,
    fps: f64,
    eta_seconds: Option<u64>,
    log: Option<&'a str>,
}

impl<'a> Figures<'a> {
    /// The figures of a task.
    pub(crate) fn new(progress: &'a TaskProgress) -> Self {
        Self {
            frames: progress.frames(),
            frames_total: progress.frames_total(),
            fps: tenths(progress.fps()),
            eta_seconds: progress.eta().map(|left| left.as_secs()),
            log: progress.log.as_deref(),
        }
    }
}

/// A task's progress without what does not change and what has to be signed: for those who follow it.
#[derive(Serialize)]
pub(crate) struct Step<'a> {
    status: &'static str,
    error: Option<&'a str>,
    #[serde(flatten)]
    figures: Figures<'a>,
    progress: Vec<ClipFigures<'a>>,
}

impl<'a> Step<'a> {
    /// Where a task is now.
    pub(crate) fn new(progress: &'a TaskProgress) -> Self {
        Self {
            status: status(progress.task.state),
            error: reason(&progress.task),
            figures: Figures::new(progress),
            progress: progress.clips.iter().map(ClipFigures::new).collect(),
        }
    }
}

/// A rate for people. JSON has no infinities, and a sum of nothing is -0.
fn tenths(rate: f64) -> f64 {
    if rate.is_finite() { (rate * 10.0).round() / 10.0 + 0.0 } else { 0.0 }
}

/// A size as clients show it: `103 B`, `1.0 KiB`, `278 KiB`, `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = (bytes as f64 / 1024_f64.powi(unit as i32) * 10.0).round() / 10.0;
    if tenths < 10.0 { format!("{tenths:.1} {}", UNITS[unit]) } else { format!("{tenths:.0} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_clients_expect() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (103, "103 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024, "10 KiB"),
            (284_672, "278 KiB"),
            (1 << 20, "1.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (10_700_000_000, "10 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn refusals_keep_their_status_only_where_clients_read_it() {
        let failure = Failure::bad("no");
        assert_eq!(refused(&failure, Errors::InBody).status(), 200);
        assert_eq!(refused(&failure, Errors::ByStatus).status(), 400);
        let early = Failure::early(StatusCode::PAYLOAD_TOO_LARGE, "too much");
        assert_eq!(refused(&early, Errors::InBody).status(), 413);
    }
}
