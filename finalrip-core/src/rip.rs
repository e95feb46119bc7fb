//! The rip: one source, one script, one encode command, one finished file; in chunks, in parallel, to be resumed after
//! anything.
//!
//! A chunk is a range of the script's **output** frames, of the script evaluated on the **whole** source. Nothing is cut
//! before it is filtered, so that every frame of the finished file is the frame that a single pass would give.

mod evenness;
pub(crate) mod event;
mod fingerprint;
mod fit;
mod foresee;
mod join;
mod length;
pub(crate) mod plan;
mod record;
mod run;
mod scene;
mod share;
pub(crate) mod stages;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cancel::CancelToken;
use crate::container::{Excerpt, MergeOptions, MergeSettings, output_error};
use crate::convert::RAV1E;
use crate::encode::Options;
use crate::encode::inputs::{self, Input};
use crate::encode::job::Job;
use crate::encoder::command::streams::{SideKind, StreamRules};
use crate::encoder::command::{EncodeCommand, EncoderChoice, StreamPart};
use crate::encoder::parts;
use crate::error::{Error, Result};
use crate::script::{Script, from_working_folder};
use crate::supervise::{call_back, supervise};
use crate::timing::Timing;
use crate::units::FrameRange;

use event::{RipEvent, RipReport};
use plan::{ChunkLength, Plan};
use record::Workspace;

/// Whether workers share one VapourSynth core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Environments {
    /// One core for all: the source is decoded about once, since chunks that lie side by side find each other's frames
    /// in the caches, and memory is that of one script. Right for source filters that keep several decoders, as
    /// bestsource does.
    #[default]
    Shared,
    /// One core a worker: for source filters that have one decoder and would seek at every request, or scripts whose
    /// filters do not use more than one thread. Each worker's start costs a seek, and memory that of a script.
    PerWorker,
}

/// How a rip goes about its work; [`RipOptions::default`] suits most.
#[derive(Debug, Clone)]
pub struct RipOptions {
    /// Chunks that are encoded at the same time. Default: from the processors, the encoder, and the free memory. More
    /// use many processors better, and take more memory; each encoder gets its share of the threads.
    pub workers: Option<usize>,
    /// Whether to divide the clip into chunks. Default: true. Without, one encoder makes the whole video, and an
    /// interrupted rip starts again.
    pub slice: bool,
    /// How long a chunk should be. Default: [`ChunkLength::Auto`].
    pub chunk: ChunkLength,
    /// Whether chunks should start at scene cuts. Default: true; up to 5 % of the frames are then made a second
    /// time, up to 1 % with one worker.
    pub scene: bool,
    /// What to take from the source beside its video. Default: everything.
    pub merge: MergeOptions,
    /// Whether to use what an interrupted run has finished, if script, arguments, command, source, options and library
    /// versions are the same. What a script imports or reads beside its source is not looked at. Default: true.
    pub resume: bool,
    /// How often a failed chunk is tried again. Default: 3.
    pub retries: u32,
    /// Whether workers share one VapourSynth core. Default: [`Environments::Shared`].
    pub environments: Environments,
    /// The frames of the script's output to take. Default: all. Of the source's sound, subtitles and chapters only what belongs
    /// to that time is kept, where the clip has one rate; with a variable rate all of it is, and a note says so.
    pub range: Option<FrameRange>,
    /// As [`Options::ignore_props`]. Default: false.
    pub ignore_props: bool,
    /// As [`Options::timing`]. Default: [`Timing::Auto`].
    pub timing: Timing,
    /// As [`Options::requests`], for each chunk.
    pub requests: Option<usize>,
    /// The least time between two [`RipEvent::Progress`]. Default: 100 ms.
    pub progress_interval: Duration,
    /// As [`Options::inputs`]. Default: none.
    pub inputs: Vec<PathBuf>,
    /// Stops the rip from any thread. What is finished is kept.
    pub cancel: CancelToken,
}

impl Default for RipOptions {
    fn default() -> Self {
        Self {
            workers: None,
            slice: true,
            chunk: ChunkLength::Auto,
            scene: true,
            merge: MergeOptions::default(),
            resume: true,
            retries: 3,
            environments: Environments::Shared,
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

/// A whole job: the frames of a script encoded in chunks, joined, and merged with everything else that the source has.
///
/// State is kept in the folder `OUTPUT.finalrip` until the file is in place, so that a rip that was killed, cancelled, or
/// failed goes on where it was when it is run again.
///
/// ```no_run
/// use finalrip_core::{EncodeCommand, Rip, RipOptions, Script};
///
/// # fn main() -> finalrip_core::Result<()> {
/// let script = Script::from_path("denoise.vpy");
/// let command = EncodeCommand::parse("-c:v libx265 -crf 16 -preset slow")?;
/// let options = RipOptions { workers: Some(4), ..RipOptions::default() };
/// let report = Rip::new(script, command, "out.mkv").source("in.mkv").options(options).run(|event| println!("{event:?}"))?;
/// println!("{} pictures, {} bytes", report.pictures, report.bytes);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rip {
    script: Script,
    command: EncodeCommand,
    output: PathBuf,
    source: Option<PathBuf>,
    options: RipOptions,
}

impl Rip {
    /// A rip of the script's output into `output`, whose container follows from the command's `-f` or the extension.
    #[must_use]
    pub fn new(script: Script, command: EncodeCommand, output: impl Into<PathBuf>) -> Self {
        let source = script.source_path().map(Path::to_owned);
        Self { script, command, output: output.into(), source, options: RipOptions::default() }
    }

    /// The video that the script reads, as [`Script::source`] sets it, and from which audio, subtitles, attachments and
    /// chapters are taken. Without it the file has the encoded video alone.
    #[must_use]
    pub fn source(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.script = self.script.source(&path);
        self.source = Some(path);
        self
    }

    /// How to go about it.
    #[must_use]
    pub fn options(mut self, options: RipOptions) -> Self {
        self.options = options;
        self
    }

    /// The files that it reads, as far as it knows.
    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let named = self.options.inputs.iter().map(|path| ("one of the files that it is made from", path.as_path()));
        inputs::of_script(&self.script).chain(self.source.as_deref().map(|path| ("the source", path))).chain(named)
    }

    /// The folder that keeps the rip's state until its file is in place: the output's name and `.finalrip`. Of a name that is too
    /// long for that the start is taken, with a hash.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        // Where the output is a link, the file behind it is made.
        let output = from_working_folder(&self.output).and_then(std::fs::canonicalize);
        Workspace::folder_of(output.as_deref().unwrap_or(&self.output))
    }

    /// The plan that [`Rip::run`] would make without an earlier run's state. Takes up to 5 % of a run's frames when it
    /// looks for scene cuts; writes nothing.
    ///
    /// # Errors
    /// As [`Rip::run`].
    pub fn plan(&self) -> Result<Plan> {
        let job = Arc::new(RipJob::new(self, true)?);
        let stop = job.output.cancel.clone();
        let none: fn(()) = |()| {};
        supervise("finalrip-plan", &self.options.cancel, &stop, none, move |_| run::plan_only(&job))
    }

    /// Does it, from plan to finished file. `listen` is called on the caller's thread.
    ///
    /// # Errors
    /// Whatever [`Error`] names; [`Error::Chunk`] when a chunk failed too often, [`Error::Busy`] when another rip makes
    /// the same file. The state is kept on any error, and the next run goes on from there. A panic in `listen` becomes
    /// [`Error::Callback`].
    pub fn run(&self, mut listen: impl FnMut(&RipEvent)) -> Result<RipReport> {
        let mut job = RipJob::new(self, true)?;
        let workspace = Arc::new(Workspace::open(job.output.file.target(), job.chunk_extension())?);
        // Killed in the merge, it leaves its half of a file where the next run sweeps.
        job.output.file.make_in(workspace.folder().to_owned());
        let job = Arc::new(job);
        let stop = job.output.cancel.clone();
        let (inner_job, inner_workspace) = (Arc::clone(&job), Arc::clone(&workspace));
        let done = supervise(
            "finalrip-rip",
            &self.options.cancel,
            &stop,
            |event| listen(&event),
            move |events| run::conduct(&inner_job, &inner_workspace, events),
        );
        let report = match done {
            Ok(report) => report,
            Err(error) => {
                job.output.file.discard();
                // A worker that is stuck in C code may hold the workspace for longer than the caller waits.
                workspace.leave();
                return Err(error);
            }
        };
        let publish = job.output.file.publish();
        publish.map_err(|error| output_error(job.output.file.target(), error.to_string()))?;
        workspace.remove_folder()?;
        call_back(|| listen(&RipEvent::Done(Box::new(report.clone()))))?;
        Ok(report)
    }
}

/// A rip with its settings checked.
struct RipJob {
    script: Script,
    command: EncodeCommand,
    source: Option<PathBuf>,
    options: RipOptions,
    /// The finished file: its encoder, container and name, and what stops everything.
    output: Job,
    /// What encodes a chunk, without anything that is the finished file's affair.
    chunk_command: EncodeCommand,
    /// Whether the clip may be divided.
    slices: bool,
    /// Whether chunks are kept as packets, because Matroska would change what the encoder makes.
    keep_packets: bool,
}

/// What of the options decides about the chunks' bits.
#[derive(Serialize)]
struct Fingerprinted {
    range: Option<FrameRange>,
    slice: bool,
    chunk: ChunkLength,
    scene: bool,
    ignore_props: bool,
    timing: Timing,
    encoder: String,
}

impl RipJob {
    /// Checks the settings. `keeps_packets` says whether chunks may be something else than Matroska.
    fn new(rip: &Rip, keeps_packets: bool) -> Result<Self> {
        check_options(&rip.options)?;
        let options = Options {
            range: rip.options.range,
            ignore_props: rip.options.ignore_props,
            timing: rip.options.timing,
            inputs: rip.options.inputs.clone(),
            ..Options::default()
        };
        rip.command.streams.check_for_rip()?;
        let output = Job::new(&rip.command, rip.output.clone(), &options)?;
        let target = output.file.target();
        if target.exists() && !target.is_file() {
            return Err(output_error(target, "a rip makes a file; this is a device or a pipe".to_owned()));
        }
        let source = rip.source.as_deref().map(readable).transpose()?;
        inputs::check(target, rip.inputs(), &rip.command)?;
        not_in_the_state(target, rip.inputs())?;
        let kept = rip.command.filters_with_memory();
        if rip.options.slice && !kept.is_empty() {
            tracing::warn!("the command's {} looks at several frames: the clip is not divided", kept.join(", "));
        }
        let counted = rip.command.unshiftable();
        if rip.options.slice && !counted.is_empty() {
            tracing::warn!(
                "the command's {} counts the whole video's frames: the clip is not divided",
                counted.join(", ")
            );
        }
        let whole = parts::why_whole(&output.encoder);
        if let Some(why) = whole.filter(|_| rip.options.slice) {
            tracing::warn!("the clip is not divided: {} {why}", output.encoder);
        }
        // Pictures that are repeated on a grid are counted from the first one on.
        let on_one_grid = output.repeats && output.timing == Timing::Variable;
        let slices = rip.options.slice && kept.is_empty() && counted.is_empty() && whole.is_none() && !on_one_grid;
        let codec = rip.command.codec_in(&output.format.name(), output.file.target()).unwrap_or_default();
        let keep_packets = keeps_packets && !parts::is_kept_by_matroska(&codec);
        let mut chunk_command = chunk_command(&rip.command, &output.encoder, slices);
        if keep_packets {
            chunk_command.format = Some(output.format.name());
        }
        let (script, command, options) = (rip.script.clone(), rip.command.clone(), rip.options.clone());
        Ok(Self { script, command, source, options, output, chunk_command, slices, keep_packets })
    }

    fn chunk_extension(&self) -> &'static str {
        if self.keep_packets { "packets" } else { "mkv" }
    }

    /// The script as the first worker, or all of them, use it.
    fn first_script(&self) -> Script {
        let script = self.script.clone();
        match (self.options.environments, self.options.workers) {
            (Environments::PerWorker, Some(workers)) => script.with_share(share::cores().div_ceil(workers)),
            _ => script,
        }
    }

    /// The frames to take of a clip of `frames` frames.
    fn range(&self, frames: u32) -> Result<FrameRange> {
        let mut range = self.output.range_of(frames)?;
        if let Some(limit) = self.command.frame_limit.filter(|_| self.slices) {
            range.end = range.end.min(range.start.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX)));
        }
        Ok(range)
    }

    fn fingerprinted(&self) -> Fingerprinted {
        let options = &self.options;
        Fingerprinted {
            range: options.range,
            slice: options.slice,
            chunk: options.chunk,
            scene: options.scene,
            ignore_props: options.ignore_props,
            timing: options.timing,
            encoder: self.output.encoder.clone(),
        }
    }

    /// What is asked of the merged file.
    fn merge_settings(&self, excerpt: Option<Excerpt>) -> MergeSettings {
        let (rules, keep) = (&self.command.streams, self.options.merge);
        let keep = MergeOptions {
            audio: keep.audio && !rules.leaves_out(SideKind::Audio),
            subtitles: keep.subtitles && !rules.leaves_out(SideKind::Subtitle),
            attachments: keep.attachments && !rules.leaves_out(SideKind::Attachment),
            ..keep
        };
        MergeSettings {
            format: self.output.format,
            options: self.command.muxer_options.clone(),
            metadata: self.command.metadata.clone(),
            stream_metadata: self.command.stream_metadata.clone(),
            tag: self.command.tag.clone(),
            keep,
            rules: rules.clone(),
            without: BTreeMap::new(),
            excerpt,
        }
    }

    /// The encode of one chunk into `path`.
    fn chunk_job(&self, range: FrameRange, path: &Path, threads: Option<usize>) -> Result<Job> {
        let options = Options {
            range: Some(range),
            ignore_props: self.options.ignore_props,
            requests: self.options.requests,
            progress_interval: self.options.progress_interval,
            ..Options::default()
        };
        let before = range.start.saturating_sub(self.options.range.map_or(0, |whole| whole.start));
        let mut command = self.chunk_command.for_part(StreamPart { before, length: range.len() });
        if let Some(threads) = threads {
            share::limit_threads(&mut command, &self.output.encoder, threads);
        }
        let mut job = Job::new(&command, path.to_owned(), &options)?;
        job.repeats = self.output.repeats;
        job.keep_packets = self.keep_packets;
        Ok(job)
    }
}

/// Threads for each of so many encoders.
#[cfg(feature = "tasks")]
pub(crate) fn share_of(workers: usize) -> usize {
    share::cores().div_ceil(workers)
}

fn check_options(options: &RipOptions) -> Result<()> {
    let wrong = |option, value: String, expected| Err(Error::Setting { option, value, expected });
    match options.chunk {
        ChunkLength::Frames(0) => return wrong("chunk", "0 frames".to_owned(), "at least 1 frame"),
        ChunkLength::Seconds(seconds) if !(seconds > 0.0 && seconds.is_finite()) => {
            return wrong("chunk", format!("{seconds} seconds"), "more than 0 seconds");
        }
        _ => {}
    }
    if options.workers == Some(0) {
        return wrong("workers", "0".to_owned(), "at least 1");
    }
    Ok(())
}

fn readable(path: &Path) -> Result<PathBuf> {
    let failed = |error: std::io::Error| Error::Source { path: path.to_owned(), reason: error.to_string() };
    let path = from_working_folder(path).and_then(std::fs::canonicalize).map_err(failed)?;
    std::fs::File::open(&path).map_err(failed)?;
    if path.is_dir() {
        return Err(Error::Source { path, reason: "it is a folder".to_owned() });
    }
    Ok(path)
}

/// Refuses a rip whose state, which it clears, holds what it is to read.
fn not_in_the_state<'a>(target: &Path, read: impl Iterator<Item = Input<'a>>) -> Result<()> {
    let Ok(folder) = std::fs::canonicalize(Workspace::folder_of(target)) else { return Ok(()) };
    for (what, path) in read {
        let real = from_working_folder(path).and_then(std::fs::canonicalize);
        if real.is_ok_and(|real| real.starts_with(&folder)) {
            let reason = format!("{what} lies in {}, which the rip clears for its state; move it", folder.display());
            return Err(output_error(target, reason));
        }
    }
    Ok(())
}

/// The command for a chunk: Matroska holds whatever the encoder makes, and what is said of the finished file is left to
/// the merge.
fn chunk_command(command: &EncodeCommand, encoder: &str, slices: bool) -> EncodeCommand {
    let mut chunk = command.clone();
    chunk.encoder = if encoder == RAV1E { EncoderChoice::Rav1e } else { EncoderChoice::Libav(encoder.to_owned()) };
    chunk.format = Some("matroska".to_owned());
    chunk.muxer_options.clear();
    chunk.metadata.clear();
    chunk.stream_metadata.clear();
    chunk.tag = None;
    chunk.streams = StreamRules::default();
    // They see the joined video, as they see all of it in an encode.
    chunk.bitstream_filters = None;
    if slices {
        chunk.frame_limit = None;
    }
    chunk
}
