//! One job that takes some seconds, run by the library or as a program.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use finalrip_core::{ChunkLength, EncodeCommand, Error, Rip, RipEvent, RipOptions, Script};
use serde_json::Value;

use crate::common::rips::*;
use crate::common::*;

/// Lossless and reproducible: each chunk's encoder has one thread.
pub(crate) const LOSSLESS: &str = "-c:v libx264 -preset ultrafast -qp 0 -threads 1";

/// The promise is a second; a busy machine gets more.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Python: every frame takes so many milliseconds more.
pub(crate) fn slow(milliseconds: u32) -> String {
    format!(
        "import time\nfast = clip\ndef wait(n):\n    time.sleep({milliseconds} / 1000)\n    return fast\n\
         clip = core.std.FrameEval(fast, wait)"
    )
}

/// One job: a script over the 100 frames of [`open_gop_h264`], ripped by two workers in chunks of 7 frames.
pub(crate) struct Job {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) script: PathBuf,
    pub(crate) source: PathBuf,
    pub(crate) output: PathBuf,
}

pub(crate) const CHUNK_FRAMES: u32 = 7;

pub(crate) const CHUNKS: usize = 15;

impl Job {
    pub(crate) fn new(body: &str) -> Self {
        let folder = scratch();
        let script = script_file(folder.path(), "s.vpy", &over_source(body));
        let output = folder.path().join("out.mkv");
        Self { script, source: open_gop_h264(), output, folder }
    }

    /// The example program, telling what happens as JSON.
    pub(crate) fn program(&self) -> Command {
        self.program_with(&self.source, LOSSLESS, "7f")
    }

    pub(crate) fn program_with(&self, source: &Path, param: &str, chunk: &str) -> Command {
        let mut program = Command::new(example("rip"));
        program.arg(&self.script).arg(&self.output).arg("--source").arg(source);
        program.args(["--param", param, "--workers", "2", "--chunk", chunk, "--no-scene", "--json"]);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    }

    pub(crate) fn library_script(&self) -> Script {
        Script::from_path(&self.script).source(&self.source)
    }

    /// The rip as the library makes it.
    pub(crate) fn rip(&self, command: &str, options: RipOptions) -> Rip {
        Rip::new(self.library_script(), EncodeCommand::parse(command).unwrap(), &self.output).options(options)
    }

    /// Starts the rip with the library and cancels it when the first chunk is finished.
    pub(crate) fn interrupt(&self) {
        let options = options();
        let cancel = options.cancel.clone();
        let ended = self.rip(LOSSLESS, options).run(|event| {
            if matches!(event, RipEvent::ChunkFinished { .. }) {
                cancel.cancel();
            }
        });
        assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
        assert!((1..CHUNKS).contains(&self.finished().len()), "{:?}", self.finished());
    }

    pub(crate) fn finished(&self) -> Vec<usize> {
        finished_chunks(&self.output)
    }

    /// Goes on with the library, and checks the outcome against the single pass.
    pub(crate) fn resume(&self) -> Vec<RipEvent> {
        let (report, events) = try_rip(&self.library_script(), LOSSLESS, &self.output, &options());
        report.unwrap_or_else(|error| panic!("{}", whole_text(&error)));
        self.assert_whole();
        events
    }

    /// The file has the single pass's frames, and nothing lies beside it.
    pub(crate) fn assert_whole(&self) {
        let wanted = script_hashes(&self.script, Some(&self.source), "yuv420p");
        assert_eq!(frame_hashes(&self.output, "yuv420p"), wanted);
        assert!(!state_of(&self.output).exists(), "the state is still there");
    }
}

pub(crate) fn options() -> RipOptions {
    let chunk = ChunkLength::Frames(CHUNK_FRAMES);
    RipOptions { chunk, scene: false, workers: Some(2), ..RipOptions::default() }
}

/// The chunks that were there already, as the plan's event says.
pub(crate) fn planned_finished(events: &[RipEvent]) -> Vec<usize> {
    let planned = events.iter().find_map(|event| match event {
        RipEvent::Planned { finished, .. } => Some(finished.clone()),
        _ => None,
    });
    planned.expect("a plan")
}

pub(crate) fn started(events: &[RipEvent]) -> Vec<usize> {
    let started = events.iter().filter_map(|event| match event {
        RipEvent::ChunkStarted { chunk, .. } => Some(*chunk),
        _ => None,
    });
    let mut chunks: Vec<usize> = started.collect();
    chunks.sort_unstable();
    chunks
}

/// What one run of the program said.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(Output { status, stdout, stderr }: Output) -> Self {
        // A line that the kill cut short says nothing.
        let events = stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Self { code: status.code(), events: events.collect(), stderr }
    }

    pub(crate) fn to_its_end(program: &mut Command) -> Self {
        Self::of(program.output().unwrap())
    }
}

/// Starts the program, waits until it has told of `event`, and returns it still running.
#[allow(clippy::zombie_processes, reason = "only a test that fails leaves its child behind")]
pub(crate) fn start_and_wait_for(program: &mut Command, event: &str) -> Child {
    let mut child = program.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(event) {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended without {event}");
    }
    // Somebody has to read on, or the program waits.
    thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    child
}
