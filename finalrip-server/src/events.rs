//! `GET task/events`: a task's life as server-sent events.
//!
//! Each entry of the task's log is an event of its kind, with the entry's number as its id: a client that comes back with
//! `Last-Event-ID` misses nothing, restarts of the server included. Between them come `progress` events without an id.
//! The stream ends when the task has completed, failed or been cancelled, unless `keep_open` is set.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use finalrip_core::task::{Event, LogEntry, TaskError, TaskResult};
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::watch;

use crate::app::App;
use crate::failure::Failure;
use crate::request::Call;
use crate::wire::{Answer, Step, bare, to_json};

/// After so long without an event a comment is sent: proxies close what is silent, and a client that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a client waits before it comes back, in milliseconds.
const COME_BACK: &str = "retry: 2000\n\n";

impl App {
    pub(crate) async fn events(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.query()?;
        let video = fields.required("video_key")?;
        let after = match call.header("last-event-id") {
            Some(id) => Some(id.parse().map_err(|_| Failure::bad("`Last-Event-ID` is not the number of an event"))?),
            None => fields
                .number("last_event_id")?
                .map(u64::try_from)
                .transpose()
                .map_err(|_| Failure::bad("`last_event_id` is not the number of an event"))?,
        };
        let keep_open = fields.flag("keep_open")?.unwrap_or(false);
        // A stream cannot say any more that there is no such task.
        let failed = |error| Failure::from(TaskError::from(error));
        let task = self.service.ledger().task(video).await.map_err(failed)?;
        let events: Events = match keep_open {
            true => Box::pin(self.service.subscribe(video, after.unwrap_or(0))),
            false => Box::pin(self.service.subscribe_until_ended(video, after.unwrap_or(0))),
        };
        if !keep_open
            && task.state.has_ended()
            && let Some(after) = after
            && self.service.ledger().log(video, after, 1).await.map_err(failed)?.entries.is_empty()
        {
            // A browser's EventSource comes back after each end of a stream, until it is told so that there is no more.
            return Ok(bare(StatusCode::NO_CONTENT));
        }
        let mut answer = Answer::new(body(events, self.stop.clone()));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx holds answers back until they are long enough, unless it is told not to.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(answer)
    }
}

type Events = Pin<Box<dyn Stream<Item = TaskResult<Event>> + Send>>;

/// The events as a body, until they end, the task is gone or the server stops.
fn body(events: Events, stop: watch::Receiver<bool>) -> crate::wire::Body {
    let first = stream::iter([Bytes::from_static(COME_BACK.as_bytes())]);
    let rest = stream::unfold((events, stop), |(mut events, mut stop)| async move {
        let next = tokio::select! {
            next = tokio::time::timeout(SILENCE, events.next()) => next,
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        let text = match next {
            Err(_) => Bytes::from_static(b":\n\n"),
            Ok(None) => return None,
            Ok(Some(Ok(event))) => written(&event),
            // Mostly because the task was cleared.
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a task cannot be followed any more");
                return None;
            }
        };
        Some((text, (events, stop)))
    });
    StreamBody::new(first.chain(rest).map(|text| Ok::<_, Infallible>(Frame::data(text))))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An entry of the log without its number, which is the event's id.
#[derive(Serialize)]
struct Entry<'a> {
    at: i64,
    #[serde(flatten)]
    happening: &'a finalrip_core::task::Happening,
}

fn written(event: &Event) -> Bytes {
    match event {
        Event::Log(LogEntry { id, at, happening }) => {
            let data = serde_json::to_value(Entry { at: *at, happening }).unwrap_or_default();
            let name = data["event"].as_str().unwrap_or("message");
            format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
        }
        Event::Progress(view) => {
            let mut text = b"event: progress\ndata: ".to_vec();
            text.extend(to_json(&Step::new(&view.progress)));
            text.extend_from_slice(b"\n\n");
            text.into()
        }
    }
}
