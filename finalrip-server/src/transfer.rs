//! Bytes on their way between a socket and the store, a piece at a time.

use std::io;
use std::time::Duration;

use finalrip_core::store::{Reader, Upload};
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::{HeaderMap, StatusCode};
use tokio::time::Instant;

use crate::config::Limits;
use crate::failure::Failure;
use crate::wire::Body;

/// What has to arrive of an upload within the time that it may stand still, in bytes: less is no upload but a place taken.
const LEAST: usize = 16 << 10;

/// What of a refused body is read all the same, and for how long: a client that is still sending reads its answer only
/// when it may send on, or else sees a broken connection instead.
const DRAINED: usize = 8 << 20;
const DRAINING: Duration = Duration::from_secs(2);

/// What a reader gives, as a body.
pub(crate) fn body(reader: Reader) -> Body {
    let key = reader.object().key.clone();
    let pieces = reader.into_stream().map_ok(Frame::data).map_err(move |error| {
        // The status is long sent: all that is left is to break off, so that nobody takes it for the whole.
        tracing::error!(key, error = &error as &dyn std::error::Error, "a download broke off");
        io::Error::other(error)
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// The length that a request declares for its body.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Writes a body into an upload.
pub(crate) async fn receive(upload: &mut Upload, mut body: Incoming, limits: &Limits) -> Result<(), Failure> {
    let (idle, most) = (limits.idle_time(), limits.upload_bytes());
    let mut length = 0_u64;
    let (mut until, mut arrived) = (Instant::now() + idle, 0);
    loop {
        let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await else {
            let message = format!("less than {LEAST} bytes arrived in {} s", idle.as_secs());
            return Err(Failure::early(StatusCode::REQUEST_TIMEOUT, message));
        };
        let Some(frame) = frame else { return Ok(()) };
        let broken = |error| Failure::bad(format!("the upload broke off: {error}"));
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        length = length.saturating_add(piece.len() as u64);
        if length > most {
            return Err(too_long(most));
        }
        arrived += piece.len();
        let writing = Instant::now();
        upload.write(piece).await?;
        // What the store takes is not the client's time.
        until += writing.elapsed();
        if arrived >= LEAST {
            (until, arrived) = (Instant::now() + idle, 0);
        }
    }
}

pub(crate) fn too_long(most: u64) -> Failure {
    Failure::early(StatusCode::PAYLOAD_TOO_LARGE, format!("an upload may have {most} bytes at most"))
}

/// Reads what little is left of a body that nobody wants.
pub(crate) async fn drain(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
            if read > DRAINED {
                break;
            }
        }
    };
    let _too_slow = tokio::time::timeout(DRAINING, reading).await;
}
