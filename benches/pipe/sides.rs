//! The sides of the comparison, each a process or two of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use finalrip_core::SOURCE_VARIABLE;

use crate::child::{ENCODE, PRELOADED};
use crate::machine;
use crate::measure::{Usage, measured};

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// This library, in one process.
    Library,
    /// `vspipe -c y4m SCRIPT - | ffmpeg -i - … OUT`.
    Pipe,
    /// `vspipe SCRIPT --`: the filters, and nobody who takes the frames.
    Graph,
    /// The encoder behind this library, fed with frames that were made before the clock starts.
    Encoder,
}

/// A case with its files.
pub(crate) struct Job {
    pub(crate) script: PathBuf,
    pub(crate) source: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) frames: u32,
    pub(crate) parameters: &'static [&'static str],
}

impl Job {
    /// Runs one side and says what it took.
    pub(crate) fn run(&self, side: Side) -> Result<Usage> {
        let output = self.output(side);
        // A file that must be emptied first would cost time; a failure shows when the side opens it.
        drop(fs::remove_file(&output));
        match side {
            Side::Library => {
                measured(&self.log(), |log| Ok(vec![self.library(ENCODE, &output)?.stderr(log.try_clone()?).spawn()?]))
            }
            Side::Pipe => measured(&self.log(), |log| self.start_pipe(&output, log)),
            Side::Graph => measured(&self.log(), |log| {
                Ok(vec![self.vspipe().arg("--").stdout(Stdio::null()).stderr(log.try_clone()?).spawn()?])
            }),
            Side::Encoder => self.encoder_alone(&output),
        }
        .with_context(|| format!("{side:?}"))
    }

    /// Runs the library and the pipe once and compares what they wrote, packet by packet. It also leaves the source's
    /// index and every file that is read in memory, for both.
    pub(crate) fn check_same_work(&self) -> Result<()> {
        self.run(Side::Library)?;
        self.run(Side::Pipe)?;
        let (library, pipe) = (packets(&self.output(Side::Library))?, packets(&self.output(Side::Pipe))?);
        for (name, packets) in [("the library", &library), ("the pipe", &pipe)] {
            ensure!(packets.len() == self.frames as usize, "{name} wrote {} of {} frames", packets.len(), self.frames);
        }
        let differs = library.iter().zip(&pipe).position(|(library, pipe)| library != pipe);
        if let Some(packet) = differs {
            bail!("packet {packet} is not the same on both sides: this would compare different work");
        }
        Ok(())
    }

    fn output(&self, side: Side) -> PathBuf {
        self.folder.join(format!("{}-{side:?}.mkv", self.name).to_lowercase())
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn encoder_alone(&self, output: &Path) -> Result<Usage> {
        let child = self.library(PRELOADED, output)?.stderr(File::create(self.log())?).output()?;
        ensure!(child.status.success(), "{}", fs::read_to_string(self.log())?);
        let text = String::from_utf8_lossy(&child.stdout);
        text.lines().find_map(Usage::from_line).context("the child did not say what it took")
    }

    /// This program again, as the library's side.
    fn library(&self, kind: &str, output: &Path) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(kind).arg(&self.script).arg(output).arg(format!("ffmpeg -i - {}", self.parameters.join(" ")));
        command.env(SOURCE_VARIABLE, &self.source).stdin(Stdio::null());
        Ok(command)
    }

    fn vspipe(&self) -> Command {
        let mut command = Command::new(machine::vspipe());
        command.env(SOURCE_VARIABLE, &self.source).stdin(Stdio::null()).arg(&self.script);
        command
    }

    /// Two processes and a pipe, as a shell would connect them.
    fn start_pipe(&self, output: &Path, log: &File) -> Result<Vec<Child>> {
        let mut frames = self
            .vspipe()
            .args(["-c", "y4m", "-"])
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .spawn()
            .context("vspipe: run `make setup`")?;
        let y4m = frames.stdout.take().context("vspipe has no output")?;
        let encoder = Command::new("ffmpeg")
            .args(["-hide_banner", "-v", "error", "-y", "-i", "-"])
            .args(self.parameters)
            .arg(output)
            .stdin(y4m)
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            .spawn()
            .context("ffmpeg")?;
        Ok(vec![frames, encoder])
    }
}

/// A hash of each packet of a file, in the order of the file.
fn packets(file: &Path) -> Result<Vec<String>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(file).args([
        "-map",
        "0:v",
        "-c",
        "copy",
        "-f",
        "framehash",
        "-hash",
        "md5",
        "-",
    ]);
    let output = ffmpeg.stdin(Stdio::null()).output().context("ffmpeg")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let hash = |line: &str| line.rsplit(',').next().map(|hash| hash.trim().to_owned());
    Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(hash).collect())
}
