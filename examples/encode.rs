//! Encodes the output of a VapourSynth script into a video file.
//!
//! ```text
//! cargo run --release --example encode -- examples/demo.vpy out.mkv \
//!     --source examples/media/big_buck_bunny_720p.mp4 --param "ffmpeg -i - -c:v libx265 -preset fast -crf 20"
//! ```

// A command-line program speaks on standard output and ends with an exit code.
#![allow(clippy::print_stdout)]

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use finalrip_core::{CancelToken, EncodeCommand, Error, FrameRange, Options, Progress, Report, Script, Timing};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;

/// Encode the output of a VapourSynth script, in one process.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The script: a .vpy file.
    script: PathBuf,
    /// The file to write; its extension names the container.
    output: PathBuf,
    /// The encode command, such as "ffmpeg -i - -c:v libx265 -crf 16" or "x265 --crf 16 -o OUT -".
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    param: String,
    /// The video that the script reads as os.environ["FINALRIP_SOURCE"].
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// A variable of the script's namespace, as vspipe's --arg; may be repeated.
    #[arg(long = "arg", value_name = "K=V", value_parser = key_value)]
    arguments: Vec<(String, String)>,
    /// The frames to encode: A up to, but without, B. Either may be left out.
    #[arg(long, value_name = "A..B", value_parser = range)]
    range: Option<(u32, Option<u32>)>,
    /// Which of the script's outputs to encode.
    #[arg(long, value_name = "N", default_value_t = 0)]
    output_index: i32,
    /// The script's filter threads (default: one a processor).
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// The frame cache's limit in MiB (default: VapourSynth's).
    #[arg(long, value_name = "MIB")]
    cache: Option<u64>,
    /// Frames requested ahead (default: the filter threads and two more).
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// Do not use the frames' own colour, aspect, field order, HDR and durations: what a y4m pipe would show.
    #[arg(long)]
    ignore_props: bool,
    /// Where timestamps come from.
    #[arg(long, value_enum, default_value = "auto")]
    timing: TimingArgument,
    /// Print the report as one JSON object on standard output, and no progress.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum TimingArgument {
    /// Constant unless the frames' durations say otherwise.
    Auto,
    /// The clip's frame rate.
    Constant,
    /// The frames' durations.
    Variable,
}

impl From<TimingArgument> for Timing {
    fn from(argument: TimingArgument) -> Self {
        match argument {
            TimingArgument::Auto => Self::Auto,
            TimingArgument::Constant => Self::Constant,
            TimingArgument::Variable => Self::Variable,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // 130 is what a shell reports for a program that Ctrl-C ended.
            if matches!(error.downcast_ref(), Some(Error::Cancelled)) { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let command = EncodeCommand::parse(&arguments.param).map_err(Error::from)?;
    let script = script(arguments);
    let cancel = CancelToken::new();
    let on_interrupt = cancel.clone();
    ctrlc::set_handler(move || on_interrupt.cancel()).context("cannot watch for Ctrl-C")?;
    let options = Options {
        range: arguments.range.map(|range| full_range(&script, range)).transpose()?,
        ignore_props: arguments.ignore_props,
        timing: arguments.timing.into(),
        requests: arguments.requests,
        cancel,
        ..Options::default()
    };
    let bar = progress_bar(arguments.json);
    let report = finalrip_core::encode(&script, &command, &arguments.output, &options, |progress| show(&bar, progress));
    bar.finish_and_clear();
    tell(&report?, arguments.json)
}

fn script(arguments: &Arguments) -> Script {
    let mut script =
        Script::from_path(&arguments.script).output_index(arguments.output_index).threads(arguments.threads);
    if let Some(source) = &arguments.source {
        script = script.source(source);
    }
    if let Some(mebibytes) = arguments.cache {
        script = script.cache_limit(mebibytes << 20);
    }
    for (name, value) in &arguments.arguments {
        script = script.arg(name, value);
    }
    script
}

/// An open end needs the clip's length, which only the script knows.
fn full_range(script: &Script, (start, end): (u32, Option<u32>)) -> Result<FrameRange> {
    let end = match end {
        Some(end) => end,
        None => script.evaluate()?.info().frames,
    };
    Ok(FrameRange { start, end })
}

fn progress_bar(hidden: bool) -> ProgressBar {
    let visible = !hidden && std::io::stderr().is_terminal();
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames  {msg}");
    ProgressBar::with_draw_target(None, target).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.frames_total.into());
    bar.set_position(progress.frames.into());
    let eta = progress.eta.map_or_else(|| "-".to_owned(), clock);
    let (fps, kilobits, bytes) = (progress.fps, progress.bitrate / 1000.0, HumanBytes(progress.bytes));
    bar.set_message(format!("{fps:.1} fps  {kilobits:.0} kb/s  {bytes}  {eta} left"));
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn tell(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!("{}", report.output.display());
    println!(
        "  {} frames of {}x{} {} in {:.1} s: {:.1} fps{}",
        report.frames,
        report.width,
        report.height,
        report.pixel_format,
        report.elapsed.as_secs_f64(),
        report.fps,
        if report.zero_copy { ", planes not copied" } else { "" },
    );
    println!(
        "  {} by {} in {}: {}, {:.1} s, {:.0} kb/s",
        report.codec,
        report.encoder,
        report.container,
        HumanBytes(report.bytes),
        report.duration,
        report.bitrate / 1000.0,
    );
    Ok(())
}

fn key_value(text: &str) -> Result<(String, String)> {
    let Some((key, value)) = text.split_once('=') else { bail!("write it as name=value") };
    Ok((key.to_owned(), value.to_owned()))
}

fn range(text: &str) -> Result<(u32, Option<u32>)> {
    let Some((start, end)) = text.split_once("..") else { bail!("write it as A..B, such as 100..200") };
    let number = |text: &str| text.parse::<u32>().with_context(|| format!("{text:?} is not a frame number"));
    let start = if start.is_empty() { 0 } else { number(start)? };
    Ok((start, if end.is_empty() { None } else { Some(number(end)?) }))
}
