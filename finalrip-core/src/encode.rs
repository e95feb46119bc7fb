//! The encode: a script's frames into one finished file.

pub(crate) mod inputs;
pub(crate) mod job;
pub(crate) mod pipeline;
mod retime;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::container::{Output, output_error};
use crate::encoder::command::EncodeCommand;
use crate::error::{Error, Result};
use crate::frames::FrameSource;
use crate::picture::PixelFormat;
use crate::report::{Progress, Report};
use crate::script::Script;
use crate::supervise::supervise;
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
    /// Files that the frames are made from, beside the script and its source, which are known. An output that is one of them
    /// is refused. Default: none.
    pub inputs: Vec<PathBuf>,
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
            inputs: Vec::new(),
            cancel: CancelToken::new(),
        }
    }
}

/// Encodes a script's output into `output`: a path, or an [`Output`] that is written to as the file comes.
///
/// The container follows from the command's `-f` or the extension of `output`. The file is written beside the target
/// under a temporary name and moved there when it is complete and durable; on any error, no file is left and a file
/// that was there before is untouched. An output that is the script, its source, or another file that is read, under whatever
/// name, is refused. `progress` is called on the caller's thread, first after the first frame, last
/// after the last one.
///
/// # Errors
/// Whatever [`Error`] names. A panic in `progress` becomes [`Error::Callback`].
pub fn encode(
    script: &Script,
    command: &EncodeCommand,
    output: impl Into<Output>,
    options: &Options,
    mut progress: impl FnMut(&Progress),
) -> Result<Report> {
    command.streams.check_for_encode()?;
    let job = Job::new(command, output, options)?;
    inputs::check(job.file.target(), inputs::of_script(script), command)?;
    let script = script.clone();
    run(
        job,
        &options.cancel,
        |now| progress(&now),
        move || {
            let clip = script.evaluate()?;
            let format = clip.pixel_format();
            Ok((Arc::new(clip) as Arc<dyn FrameSource>, format))
        },
    )
}

/// Encodes the frames of any [`FrameSource`] as [`encode`] does those of a script.
///
/// # Errors
/// As [`encode`]; [`Error::Clip`] when libav lacks the source's format.
pub fn encode_source(
    source: Arc<dyn FrameSource>,
    command: &EncodeCommand,
    output: impl Into<Output>,
    options: &Options,
    mut progress: impl FnMut(&Progress),
) -> Result<Report> {
    command.streams.check_for_encode()?;
    let job = Job::new(command, output, options)?;
    let format = PixelFormat::of(source.info())
        .ok_or_else(|| Error::Clip { reason: crate::picture::no_pixel_format(source.info()) })?;
    run(job, &options.cancel, |now| progress(&now), move || Ok((source, format)))
}

/// Runs the job on a worker and serves the caller's callback until it ends.
fn run(
    job: Job,
    cancel: &CancelToken,
    progress: impl FnMut(Progress),
    open: impl FnOnce() -> Result<(Arc<dyn FrameSource>, PixelFormat)> + Send + 'static,
) -> Result<Report> {
    let (file, stop) = (job.file.clone(), job.cancel.clone());
    let done = supervise("finalrip-encode", cancel, &stop, progress, move |teller| {
        let (source, format) = open()?;
        inputs::check_open(job.file.target())?;
        // A caller who is slow to listen misses some progress, but not the last.
        let mut missed = None;
        let report = pipeline::run(&job, &source, format, &mut |progress| missed = teller.offer(progress));
        if let Some(last) = missed {
            teller.tell(last);
        }
        report
    });
    match done {
        // Here, where the callback has seen everything and may not fail any more, and not on the worker.
        Ok(report) => match file.publish() {
            Ok(()) => Ok(report),
            Err(error) => Err(output_error(file.target(), error.to_string())),
        },
        Err(error) => {
            file.discard();
            Err(error)
        }
    }
}
