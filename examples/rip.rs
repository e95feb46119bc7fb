//! Rips a video: a source, a VapourSynth script and an encode command make one finished file, in chunks, in parallel,
//! with the source's audio, subtitles and chapters. Interrupt it, kill it, pull the plug: the same command goes on.
//!
//! ```text
//! cargo run --release --example rip -- examples/rip.vpy out.mkv \
//!     --source examples/media/big_buck_bunny_720p.mp4 --param "ffmpeg -i - -c:v libx265 -preset fast -crf 20"
//! ```

// A command-line program speaks on standard output and ends with an exit code.
#![allow(clippy::print_stdout)]

mod common;
#[path = "rip/show.rs"]
mod show;
#[path = "rip/stdout.rs"]
mod stdout;
#[path = "rip/summary.rs"]
mod summary;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, ValueEnum};
use common::Work;
use finalrip_core::{ChunkLength, Environments, Error, FrameRange, Rip, RipOptions};
use indicatif::MultiProgress;
use show::Show;
use stdout::ToStdout;

/// Rip a video: encode a VapourSynth script's output in chunks, and merge it with everything else that its source has.
///
/// What is finished is kept in OUTPUT.finalrip until the file is in place; the same command goes on from there.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    chunks: Chunks,
    #[command(flatten)]
    merge: Merge,
    /// Where a rip to standard output keeps what is finished, so that the same command goes on (default: a temporary folder,
    /// which is removed).
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Print the plan and do nothing.
    #[arg(long)]
    plan_only: bool,
    /// Print what happens as JSON on standard output, one object a line; the last one is the report.
    #[arg(long)]
    json: bool,
}

/// How the clip is divided.
#[derive(Args)]
struct Chunks {
    /// Chunks to encode at the same time (default: from the processors, the encoder and the free memory).
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// How long a chunk should be, such as 30s or 720f (default: from the clip and the workers, at most 60s).
    #[arg(long, value_name = "LENGTH", value_parser = chunk_length)]
    chunk: Option<ChunkLength>,
    /// Make one chunk of it all.
    #[arg(long)]
    no_slice: bool,
    /// Do not look for scene cuts to divide at.
    #[arg(long)]
    no_scene: bool,
    /// Do not use what an interrupted run has finished.
    #[arg(long)]
    no_resume: bool,
    /// How often a failed chunk is tried again.
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,
    /// Whether the workers share one evaluated script.
    #[arg(long, value_enum, default_value = "shared")]
    environments: EnvironmentsArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum EnvironmentsArgument {
    /// One for all: less memory, and the source is decoded about once.
    Shared,
    /// One a worker: for source filters that seek badly.
    PerWorker,
}

/// What to leave out of the source.
#[derive(Args)]
struct Merge {
    /// Leave out the source's audio.
    #[arg(long)]
    no_audio: bool,
    /// Leave out its subtitles.
    #[arg(long)]
    no_subtitles: bool,
    /// Leave out its attachments, such as fonts.
    #[arg(long)]
    no_attachments: bool,
    /// Leave out its chapters.
    #[arg(long)]
    no_chapters: bool,
    /// Leave out its title and other tags.
    #[arg(long)]
    no_metadata: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bars = MultiProgress::new();
    let log = bars.clone();
    common::start_log(move || AboveBars(log.clone()));
    let mut state = None;
    let ended = run(&arguments, bars, &mut state);
    let hint = ended.as_ref().err().and_then(|error| hint(state.as_deref(), error));
    let code = common::ending(ended);
    if let Some(hint) = hint {
        eprintln!("{hint}");
    }
    code
}

fn run(arguments: &Arguments, bars: MultiProgress, state: &mut Option<PathBuf>) -> Result<()> {
    let work = &arguments.work;
    let (command, script) = (work.command()?, work.script());
    let options = options(arguments, work.range(&script)?)?;
    if arguments.plan_only {
        return print_plan(&Rip::new(script, command, work.output()).options(options), arguments.json);
    }
    let to_stdout = work.is_stdout().then(|| ToStdout::begin(arguments.state.as_deref())).transpose()?;
    let output = to_stdout.as_ref().map_or(work.output(), ToStdout::output);
    let rip = Rip::new(script, command, output).options(options);
    *state = Some(rip.state_folder());
    let mut show = Show::new(arguments.json, bars);
    let ended = rip.run(|event| show.event(event));
    show.end();
    let report = ended?;
    if !arguments.json {
        print!("{}", summary::Summary(&report));
    }
    to_stdout.map_or(Ok(()), ToStdout::end)
}

fn options(arguments: &Arguments, range: Option<FrameRange>) -> Result<RipOptions> {
    let (work, chunks, merge) = (&arguments.work, &arguments.chunks, &arguments.merge);
    let mut options = RipOptions {
        workers: chunks.workers,
        slice: !chunks.no_slice,
        chunk: chunks.chunk.unwrap_or_default(),
        scene: !chunks.no_scene,
        resume: !chunks.no_resume,
        retries: chunks.retries,
        environments: match chunks.environments {
            EnvironmentsArgument::Shared => Environments::Shared,
            EnvironmentsArgument::PerWorker => Environments::PerWorker,
        },
        range,
        ignore_props: work.ignore_props,
        timing: work.timing(),
        requests: work.requests,
        cancel: common::cancel_on_interrupt()?,
        ..RipOptions::default()
    };
    options.merge.audio = !merge.no_audio;
    options.merge.subtitles = !merge.no_subtitles;
    options.merge.attachments = !merge.no_attachments;
    options.merge.chapters = !merge.no_chapters;
    options.merge.metadata = !merge.no_metadata;
    Ok(options)
}

fn print_plan(rip: &Rip, json: bool) -> Result<()> {
    let plan = rip.plan()?;
    if json {
        println!("{}", serde_json::to_string(&plan)?);
    } else {
        println!("{plan}");
    }
    Ok(())
}

/// What a failed rip leaves, and how to go on.
fn hint(state: Option<&Path>, error: &anyhow::Error) -> Option<String> {
    let busy = matches!(error.downcast_ref(), Some(Error::Busy { .. }));
    let state = state.filter(|state| !busy && state.is_dir())?;
    Some(format!("What is finished is kept in {}; the same command goes on from there.", state.display()))
}

/// Standard error for the log: what is written appears above the progress bars, if there are any.
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn chunk_length(text: &str) -> Result<ChunkLength> {
    let wrong = || format!("{text:?} is not a length; write it as 30s or 720f");
    if text == "auto" {
        return Ok(ChunkLength::Auto);
    }
    if let Some(frames) = text.strip_suffix('f') {
        return Ok(ChunkLength::Frames(frames.parse().with_context(wrong)?));
    }
    match text.strip_suffix('s') {
        Some(seconds) => Ok(ChunkLength::Seconds(seconds.parse().with_context(wrong)?)),
        None => bail!(wrong()),
    }
}
