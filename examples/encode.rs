//! Encodes the output of a VapourSynth script into a video file.
//!
//! ```text
//! cargo run --release --example encode -- examples/demo.vpy out.mkv \
//!     --source examples/media/big_buck_bunny_720p.mp4 --param "ffmpeg -i - -c:v libx265 -preset fast -crf 20"
//! ```

// A command-line program speaks on standard output and ends with an exit code.
#![allow(clippy::print_stdout)]

mod common;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use common::{Work, clock};
use finalrip_core::{Options, Output, Progress, Report};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Encode the output of a VapourSynth script, in one process.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    work: Work,
    /// Print the report as one JSON object on standard output, and no progress. When the file goes there, on standard error.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    common::start_log(std::io::stderr);
    common::ending(run(&arguments))
}

fn run(arguments: &Arguments) -> Result<()> {
    let work = &arguments.work;
    let (command, script) = (work.command()?, work.script());
    let cancel = common::cancel_on_interrupt()?;
    let options = Options {
        range: work.range(&script)?,
        ignore_props: work.ignore_props,
        timing: work.timing(),
        requests: work.requests,
        cancel,
        ..Options::default()
    };
    let bar = progress_bar(arguments.json);
    let output = if work.is_stdout() {
        Output::stdout().context("standard output cannot be used")?
    } else {
        work.output().into()
    };
    let report = finalrip_core::encode(&script, &command, output, &options, |progress| show(&bar, progress));
    bar.finish_and_clear();
    tell(&report?, arguments.json)
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
    report.notes.iter().for_each(|note| println!("  note: {note}"));
    Ok(())
}
