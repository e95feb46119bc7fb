//! Who does the job, each as processes of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use finalrip_core::{EncodeCommand, Rip, RipOptions, SOURCE_VARIABLE, Script};

use crate::cases::Case;
use crate::content::Content;
use crate::machine;
use crate::measure::{Usage, measured};

/// Who does the job, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// This library.
    Rip,
    /// One pipe for the whole, and a merge.
    Pipe,
    /// The chain of commands that FinalRip's Go program runs.
    Segments,
    /// av1an, two workers.
    Av1an,
    /// The filters alone.
    Graph,
    /// The encoder alone.
    Encoder,
}

/// A case with its files.
pub(crate) struct Job<'a> {
    case: &'a Case,
    content: &'a Content,
    script: PathBuf,
    warm: bool,
}

/// Whether av1an is on PATH.
pub(crate) fn av1an() -> bool {
    Command::new("av1an").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl<'a> Job<'a> {
    pub(crate) fn new(case: &'a Case, content: &'a Content, warm: bool) -> Result<Self> {
        let script = content.folder.join(format!("{}.vpy", case.name));
        fs::write(&script, case.script).with_context(|| script.display().to_string())?;
        let job = Self { case, content, script, warm };
        if warm {
            // Once, for everybody: the index, and every file that is read in memory.
            job.graph()?;
        }
        Ok(job)
    }

    /// Runs one side and says what it took.
    pub(crate) fn run(&self, side: Side) -> Result<Usage> {
        let scratch = tempfile::Builder::new().prefix("side-").tempdir_in(&self.content.folder)?;
        // The filters alone are the limit of what cannot be avoided: their index is never counted.
        if !self.warm && side != Side::Graph {
            drop(fs::remove_dir_all(self.cache()));
        }
        let output = scratch.path().join("out.mkv");
        let usage = match side {
            Side::Rip => self.rip(&output)?,
            Side::Pipe => self.pipe(scratch.path(), &output)?,
            Side::Segments => self.segments(scratch.path(), &output)?,
            Side::Av1an => self.av1an(scratch.path(), &output)?,
            Side::Graph => {
                self.graph()?;
                return self.graph();
            }
            Side::Encoder => return self.encoder(scratch.path()),
        };
        let frames = count_frames(&output)?;
        ensure!(frames == self.content.frames, "it made {frames} of {} frames", self.content.frames);
        Ok(usage)
    }

    /// Where source indexes are kept: nowhere else, so that they can be thrown away.
    fn cache(&self) -> PathBuf {
        self.content.folder.join("cache")
    }

    fn log(&self) -> PathBuf {
        self.content.folder.join("side.log")
    }

    fn with_environment(&self, mut command: Command) -> Command {
        command.env(SOURCE_VARIABLE, &self.content.source).env("XDG_CACHE_HOME", self.cache()).stdin(Stdio::null());
        command
    }

    /// One command, measured.
    fn step(&self, mut command: Command) -> Result<Usage> {
        measured(&self.log(), |log| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone()?);
            Ok(vec![command.spawn().with_context(|| format!("{command:?}"))?])
        })
    }

    /// This program again, as the library's side.
    fn rip(&self, output: &Path) -> Result<Usage> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(RIP).arg(&self.script).arg(output).arg(self.case.parameters.join(" ")).arg(&self.content.source);
        self.step(self.with_environment(command))
    }

    fn graph(&self) -> Result<Usage> {
        let mut command = Command::new(machine::vspipe());
        command.arg(&self.script).arg("--");
        self.step(self.with_environment(command))
    }

    /// The frames go to a file first; reading them back costs what reading a pipe would.
    fn encoder(&self, scratch: &Path) -> Result<Usage> {
        let raw = scratch.join("frames.y4m");
        let mut frames = Command::new(machine::vspipe());
        frames.args(["-c", "y4m"]).arg(&self.script).arg(&raw);
        self.step(self.with_environment(frames))?;
        let mut command = ffmpeg();
        command.arg("-i").arg(&raw).args(self.case.parameters).arg(scratch.join("out.mkv"));
        self.step(command)
    }

    fn pipe(&self, scratch: &Path, output: &Path) -> Result<Usage> {
        let video = scratch.join("video.mkv");
        let encoded = self.encode_through_pipe(&self.content.source, &video)?;
        Ok(encoded.then(self.step(merge_command(&video, &self.content.source, output))?))
    }

    /// `vspipe | ffmpeg`, as a shell would connect them.
    fn encode_through_pipe(&self, source: &Path, video: &Path) -> Result<Usage> {
        let start = |log: &File| -> Result<Vec<Child>> {
            let mut frames = self.with_environment(Command::new(machine::vspipe()));
            frames.env(SOURCE_VARIABLE, source).args(["-c", "y4m"]).arg(&self.script).arg("-");
            let mut frames = frames.stdout(Stdio::piped()).stderr(log.try_clone()?).spawn().context("vspipe")?;
            let y4m = frames.stdout.take().context("vspipe has no output")?;
            let mut encoder = ffmpeg();
            encoder.args(["-i", "-"]).args(self.case.parameters).arg(video).stdin(y4m);
            Ok(vec![frames, encoder.stdout(Stdio::null()).stderr(log.try_clone()?).spawn().context("ffmpeg")?])
        };
        measured(&self.log(), start)
    }

    fn segments(&self, scratch: &Path, output: &Path) -> Result<Usage> {
        let mut cut = ffmpeg();
        cut.arg("-i").arg(&self.content.source);
        cut.args(["-f", "segment", "-segment_time", "60", "-c", "copy", "-map", "0:v:0", "-segment_format", "mkv"]);
        let mut usage = self.step({
            cut.arg(scratch.join("segment-%03d.mkv"));
            cut
        })?;
        let mut append = Command::new("mkvmerge");
        append.arg("-o").arg(scratch.join("video.mkv"));
        for index in 0.. {
            let segment = scratch.join(format!("segment-{index:03}.mkv"));
            if !segment.exists() {
                break;
            }
            let clip = scratch.join(format!("clip-{index:03}.mkv"));
            usage = usage.then(self.encode_through_pipe(&segment, &clip)?);
            append.args((index > 0).then_some("+")).arg(clip);
        }
        let (video, merged) = (scratch.join("video.mkv"), scratch.join("merged.mkv"));
        let mut again = Command::new("mkvmerge");
        again.arg("-o").arg(output).arg(&merged);
        let mut tags = Command::new("mkvpropedit");
        tags.arg(output).args(["--tags", "all:"]);
        for step in [append, merge_command(&video, &self.content.source, &merged), again, tags] {
            usage = usage.then(self.step(step)?);
        }
        Ok(usage)
    }

    fn av1an(&self, scratch: &Path, output: &Path) -> Result<Usage> {
        let (encoder, parameters) = self.case.av1an;
        let video = scratch.join("video.mkv");
        let mut command = self.with_environment(Command::new("av1an"));
        command.arg("-i").arg(&self.script).arg("-o").arg(&video).arg("--temp").arg(scratch.join("av1an"));
        command.args(["-w", "2", "-c", "mkvmerge", "-e", encoder, "-v", parameters, "-y"]);
        Ok(self.step(command)?.then(self.step(merge_command(&video, &self.content.source, output))?))
    }
}

fn ffmpeg() -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-v", "error", "-y"]);
    ffmpeg
}

/// The video, and everything else from the source.
fn merge_command(video: &Path, source: &Path, output: &Path) -> Command {
    let mut command = ffmpeg();
    command.arg("-i").arg(video).arg("-i").arg(source);
    command.args(["-map", "0:v:0", "-map", "1:a?", "-map", "1:s?", "-map", "1:t?", "-map_chapters", "1", "-c", "copy"]);
    command.arg(output);
    command
}

fn count_frames(file: &Path) -> Result<u32> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-count_packets",
        "-show_entries",
        "stream=nb_read_packets",
    ]);
    let output = ffprobe.args(["-of", "csv=p=0"]).arg(file).output().context("ffprobe")?;
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().context("ffprobe counts no frames")
}

/// The first argument of a child that is the library's side.
const RIP: &str = "--rip";

/// What such a child is to do.
pub(crate) struct Request {
    script: PathBuf,
    output: PathBuf,
    command: String,
    source: PathBuf,
}

/// The request in this process's arguments, if it is such a child.
pub(crate) fn requested() -> Option<Request> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|kind| kind == RIP)?;
    let (script, output) = (arguments.next()?.into(), arguments.next()?.into());
    let command = arguments.next()?.into_string().ok()?;
    Some(Request { script, output, command, source: arguments.next()?.into() })
}

impl Request {
    pub(crate) fn serve(&self) -> Result<()> {
        // The pipe shows its encoder no frame properties.
        let options = RipOptions { ignore_props: true, workers: workers()?, ..RipOptions::default() };
        let rip = Rip::new(Script::from_path(&self.script), EncodeCommand::parse(&self.command)?, &self.output);
        rip.source(&self.source).options(options).run(|_| {})?;
        Ok(())
    }
}

/// `FINALRIP_BENCH_WORKERS` tries another number than the library's own.
fn workers() -> Result<Option<usize>> {
    let Some(text) = std::env::var_os("FINALRIP_BENCH_WORKERS") else { return Ok(None) };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(workers) => Ok(Some(workers)),
        None => bail!("FINALRIP_BENCH_WORKERS: not a number"),
    }
}
