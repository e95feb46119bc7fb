//! What the example programs share: the arguments that say what to encode, and how a program ends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use finalrip_core::{CancelToken, EncodeCommand, Error, FrameRange, Script, Timing};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What to encode, with what, and into which file.
#[derive(Args)]
pub(crate) struct Work {
    /// The script: a .vpy file.
    script: PathBuf,
    /// The file to write; its extension names the container. `-` is standard output; the command then says -f.
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
    pub(crate) requests: Option<usize>,
    /// Do not use the frames' own colour, aspect, field order, HDR and durations: what a y4m pipe would show.
    #[arg(long)]
    pub(crate) ignore_props: bool,
    /// Where timestamps come from.
    #[arg(long, value_enum, default_value = "auto")]
    timing: TimingArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum TimingArgument {
    /// Constant unless the frames' durations say otherwise.
    Auto,
    /// The clip's frame rate.
    Constant,
    /// The frames' durations.
    Variable,
}

impl Work {
    /// The script with everything that it is evaluated with.
    pub(crate) fn script(&self) -> Script {
        let mut script = Script::from_path(&self.script).output_index(self.output_index).threads(self.threads);
        script = script.names_crashes(true);
        if let Some(source) = &self.source {
            script = script.source(source);
        }
        if let Some(mebibytes) = self.cache {
            script = script.cache_limit(mebibytes << 20);
        }
        for (name, value) in &self.arguments {
            script = script.arg(name, value);
        }
        script
    }

    /// The encode command, understood.
    pub(crate) fn command(&self) -> Result<EncodeCommand, Error> {
        Ok(EncodeCommand::parse(&self.param)?)
    }

    /// The file to write.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }

    /// Whether that is standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        const NAMES: [&str; 6] = ["-", "pipe:", "pipe:1", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        NAMES.iter().any(|name| self.output.as_os_str() == *name)
    }

    /// The frames to encode, if not all. An open end needs the clip's length, which only the script knows.
    pub(crate) fn range(&self, script: &Script) -> Result<Option<FrameRange>> {
        let Some((start, end)) = self.range else { return Ok(None) };
        let end = match end {
            Some(end) => end,
            None => script.evaluate()?.info().frames,
        };
        Ok(Some(FrameRange { start, end }))
    }

    /// Where timestamps come from.
    pub(crate) fn timing(&self) -> Timing {
        match self.timing {
            TimingArgument::Auto => Timing::Auto,
            TimingArgument::Constant => Timing::Constant,
            TimingArgument::Variable => Timing::Variable,
        }
    }
}

/// Sends the log to `writer`: warnings, or what `RUST_LOG` asks for.
pub(crate) fn start_log<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).without_time().init();
}

/// A token that Ctrl-C uses.
pub(crate) fn cancel_on_interrupt() -> Result<CancelToken> {
    let cancel = CancelToken::new();
    let on_interrupt = cancel.clone();
    ctrlc::set_handler(move || on_interrupt.cancel()).context("cannot watch for Ctrl-C")?;
    Ok(cancel)
}

/// Tells an error, and how the program ends.
pub(crate) fn ending(result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    // 130 is what a shell reports for a program that Ctrl-C ended.
    if matches!(error.downcast_ref(), Some(Error::Cancelled)) { ExitCode::from(130) } else { ExitCode::FAILURE }
}

/// Hours, minutes and seconds.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
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
