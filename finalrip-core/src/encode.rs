//! The encode: a script's frames into one finished file.
//!
//! The work runs on a thread of its own, so that the caller's thread can tell progress and answer a cancel within a
//! second even while a filter or an encoder is deep in C code: what cannot be interrupted is left to end by itself, its
//! file already gone.

mod job;
mod pipeline;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::cancel::CancelToken;
use crate::container::{PartialFile, output_error};
use crate::encoder::command::EncodeCommand;
use crate::error::{Error, Result};
use crate::frames::FrameSource;
use crate::picture::PixelFormat;
use crate::report::{Progress, Report};
use crate::script::Script;
use crate::timing::Timing;
use crate::units::FrameRange;

use job::Job;

/// How an encode goes about its work; [`Options::default`] suits most.
#[derive(Debug, Clone)]
pub struct Options {
    /// The frames of the script's output to take. Default: all.
    pub range: Option<FrameRange>,
    /// Leaves colour, aspect, field order, HDR metadata and durations of the frames aside, so that the encoder sees
    /// just what `vspipe -c y4m | ffmpeg` would show it. Default: false, they are used.
    pub ignore_props: bool,
    /// Where timestamps come from. Default: [`Timing::Auto`]. `-fps_mode cfr` and `vfr` of the command win over it.
    pub timing: Timing,
    /// Frames requested ahead, finished ones that wait for the encoder included. More hides uneven filters, each costs
    /// a frame of memory. Default: the core's threads and two more.
    pub requests: Option<usize>,
    /// The least time between two calls of the progress callback. Default: 100 ms.
    pub progress_interval: Duration,
    /// Stops the encode from any thread.
    pub cancel: CancelToken,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            range: None,
            ignore_props: false,
            timing: Timing::Auto,
            requests: None,
            progress_interval: Duration::from_millis(100),
            cancel: CancelToken::new(),
        }
    }
}

/// Encodes a script's output into `output`.
///
/// The container follows from the command's `-f` or the extension of `output`. The file is written beside the target
/// under a temporary name and moved there when it is complete and durable; on any error, no file is left and a file
/// that was there before is untouched. `progress` is called on the caller's thread, first after the first frame, last
/// after the last one.
///
/// # Errors
/// Whatever [`Error`] names. A panic in `progress` becomes [`Error::Callback`].
pub fn encode(
    script: &Script,
    command: &EncodeCommand,
    output: impl Into<PathBuf>,
    options: &Options,
    progress: impl FnMut(&Progress),
) -> Result<Report> {
    let job = Job::new(command, output.into(), options)?;
    let script = script.clone();
    supervise(job, options, progress, move || {
        let clip = script.evaluate()?;
        let format = clip.pixel_format();
        Ok((Arc::new(clip) as Arc<dyn FrameSource>, format))
    })
}

/// Encodes the frames of any [`FrameSource`] as [`encode`] does those of a script.
///
/// # Errors
/// As [`encode`]; [`Error::Clip`] when libav lacks the source's format.
pub fn encode_source(
    source: Arc<dyn FrameSource>,
    command: &EncodeCommand,
    output: impl Into<PathBuf>,
    options: &Options,
    progress: impl FnMut(&Progress),
) -> Result<Report> {
    let job = Job::new(command, output.into(), options)?;
    let format = PixelFormat::for_clip(source.info().format).ok_or_else(|| Error::Clip {
        reason: format!("libav has no pixel format for {:?}; convert it first", source.info().format),
    })?;
    supervise(job, options, progress, move || Ok((source, format)))
}

/// What the worker tells the caller's thread.
enum Event {
    Progress(Progress),
    Done(Box<Result<Report>>),
}

/// How often the caller's thread looks at the cancel token.
const POLL: Duration = Duration::from_millis(50);

/// How long a cancelled worker may take before it is left to itself.
const PATIENCE: Duration = Duration::from_millis(600);

/// Runs the job on a worker and serves the caller's callback until it ends.
fn supervise(
    job: Job,
    options: &Options,
    mut progress: impl FnMut(&Progress),
    open: impl FnOnce() -> Result<(Arc<dyn FrameSource>, PixelFormat)> + Send + 'static,
) -> Result<Report> {
    let (events, inbox) = bounded(4);
    let (file, stop) = (job.file.clone(), job.cancel.clone());
    let worker = thread::Builder::new()
        .name("finalrip-encode".to_owned())
        .spawn(move || work(job, open, &events))
        .map_err(|error| Error::Internal(format!("no thread could be started: {error}")))?;
    let mut since: Option<Instant> = None;
    let mut thrown: Option<String> = None;
    loop {
        if since.is_none() && (options.cancel.is_cancelled() || thrown.is_some()) {
            stop.cancel();
            since = Some(Instant::now());
        }
        match next_event(&inbox) {
            Some(Event::Done(result)) => {
                drop(worker.join());
                return finished(*result, thrown, since.is_some(), &file);
            }
            Some(Event::Progress(now)) if since.is_none() => {
                thrown = catch_unwind(AssertUnwindSafe(|| progress(&now))).err().map(|panic| panic_text(&*panic));
            }
            Some(Event::Progress(_)) | None => {}
        }
        if since.is_some_and(|since| since.elapsed() > PATIENCE) {
            // Left to end by itself: it holds everything that it uses, and its file has no name any more.
            tracing::warn!("the encode does not stop at once; it is left to end in the background");
            return finished(Err(Error::Cancelled), thrown, true, &file);
        }
    }
}

fn next_event(inbox: &Receiver<Event>) -> Option<Event> {
    match inbox.recv_timeout(POLL) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => {
            Some(Event::Done(Box::new(Err(Error::Internal("the encode's thread ended without a result".to_owned())))))
        }
    }
}

fn finished(result: Result<Report>, thrown: Option<String>, cancelled: bool, file: &PartialFile) -> Result<Report> {
    if let Some(message) = thrown {
        file.discard();
        return Err(Error::Callback { message });
    }
    match result {
        Ok(report) if !cancelled => {
            // Here, where the callback has seen everything and may not fail any more, and not on the worker.
            file.publish().map_err(|error| output_error(file.target(), error.to_string()))?;
            Ok(report)
        }
        Ok(_) => {
            file.discard();
            Err(Error::Cancelled)
        }
        Err(error) => {
            file.discard();
            Err(if cancelled { Error::Cancelled } else { error })
        }
    }
}

fn work(job: Job, open: impl FnOnce() -> Result<(Arc<dyn FrameSource>, PixelFormat)>, events: &Sender<Event>) {
    // A caller who is slow to listen misses some progress, but not the last.
    let mut missed = None;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let (source, format) = open()?;
        pipeline::run(&job, &source, format, &mut |progress| {
            missed = events.try_send(Event::Progress(progress)).err().map(TrySendError::into_inner);
        })
    }));
    if let Some(last) = missed {
        drop(events.send(last));
    }
    let result = result.unwrap_or_else(|panic| Err(Error::Internal(panic_text(&*panic))));
    drop(events.send(Event::Done(Box::new(result))));
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
