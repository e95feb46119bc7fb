//! Kill it, cancel it, break it: nothing that is finished is lost or done again, and what comes out in the end is what an
//! uninterrupted rip makes, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::rips::*;
use common::*;
use finalrip_core::{ChunkLength, Error, RipEvent, RipOptions, Script};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// Lossless and reproducible: each chunk's encoder has one thread.
const LOSSLESS: &str = "-c:v libx264 -preset ultrafast -qp 0 -threads 1";

/// The promise is a second; a busy machine gets more.
const SOON: Duration = Duration::from_secs(5);

/// Python: every frame takes so many milliseconds more.
fn slow(milliseconds: u32) -> String {
    format!(
        "import time\nfast = clip\ndef wait(n):\n    time.sleep({milliseconds} / 1000)\n    return fast\n\
         clip = core.std.FrameEval(fast, wait)"
    )
}

/// One job: a script over the 100 frames of [`open_gop_h264`], ripped by two workers in chunks of 7 frames.
struct Job {
    folder: tempfile::TempDir,
    script: PathBuf,
    source: PathBuf,
    output: PathBuf,
}

const CHUNK_FRAMES: u32 = 7;
const CHUNKS: usize = 15;

impl Job {
    fn new(body: &str) -> Self {
        let folder = scratch();
        let script = script_file(folder.path(), "s.vpy", &over_source(body));
        let output = folder.path().join("out.mkv");
        Self { script, source: open_gop_h264(), output, folder }
    }

    /// The example program, telling what happens as JSON.
    fn program(&self) -> Command {
        self.program_with(&self.source, LOSSLESS, "7f")
    }

    fn program_with(&self, source: &Path, param: &str, chunk: &str) -> Command {
        let mut program = Command::new(example("rip"));
        program.arg(&self.script).arg(&self.output).arg("--source").arg(source);
        program.args(["--param", param, "--workers", "2", "--chunk", chunk, "--no-scene", "--json"]);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    }

    fn library_script(&self) -> Script {
        Script::from_path(&self.script).source(&self.source)
    }

    /// Starts the rip with the library and cancels it when the first chunk is finished.
    fn interrupt(&self) {
        let error = self.try_until_first_chunk(&self.library_script());
        assert!(matches!(error, Error::Cancelled), "{error:?}");
        assert!((1..CHUNKS).contains(&self.finished().len()), "{:?}", self.finished());
    }

    fn try_until_first_chunk(&self, script: &Script) -> Error {
        let options = options();
        let cancel = options.cancel.clone();
        let command = finalrip_core::EncodeCommand::parse(LOSSLESS).unwrap();
        let rip = finalrip_core::Rip::new(script.clone(), command, &self.output).options(options);
        let listen = |event: &RipEvent| {
            if matches!(event, RipEvent::ChunkFinished { .. }) {
                cancel.cancel();
            }
        };
        rip.run(listen).expect_err("a cancelled rip")
    }

    fn finished(&self) -> Vec<usize> {
        finished_chunks(&self.output)
    }

    /// Goes on with the library, and checks the outcome against the single pass.
    fn resume(&self) -> Vec<RipEvent> {
        let (report, events) = try_rip(&self.library_script(), LOSSLESS, &self.output, &options());
        report.unwrap_or_else(|error| panic!("{}", whole_text(&error)));
        self.assert_whole();
        events
    }

    /// The file has the single pass's frames, and nothing lies beside it.
    fn assert_whole(&self) {
        let wanted = script_hashes(&self.script, Some(&self.source), "yuv420p");
        assert_eq!(frame_hashes(&self.output, "yuv420p"), wanted);
        assert!(!state_of(&self.output).exists(), "the state is still there");
    }
}

fn options() -> RipOptions {
    let chunk = ChunkLength::Frames(CHUNK_FRAMES);
    RipOptions { chunk, scene: false, workers: Some(2), ..RipOptions::default() }
}

/// The chunks that were there already, as the plan's event says.
fn planned_finished(events: &[RipEvent]) -> Vec<usize> {
    let planned = events.iter().find_map(|event| match event {
        RipEvent::Planned { finished, .. } => Some(finished.clone()),
        _ => None,
    });
    planned.expect("a plan")
}

fn started(events: &[RipEvent]) -> Vec<usize> {
    let started = events.iter().filter_map(|event| match event {
        RipEvent::ChunkStarted { chunk, .. } => Some(*chunk),
        _ => None,
    });
    let mut chunks: Vec<usize> = started.collect();
    chunks.sort_unstable();
    chunks
}

/// What one run of the program said.
struct Run {
    code: Option<i32>,
    events: Vec<Value>,
    stderr: String,
}

impl Run {
    fn of(Output { status, stdout, stderr }: Output) -> Self {
        // A line that the kill cut short says nothing.
        let events = stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Self { code: status.code(), events: events.collect(), stderr }
    }

    fn to_its_end(program: &mut Command) -> Self {
        Self::of(program.output().unwrap())
    }
}

/// When a run is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after its start.
    AfterStart(Duration),
    /// So long after it told of such an event for the nth time.
    After(&'static str, usize, Duration),
}

impl Moment {
    fn random(random: &mut StdRng) -> Self {
        let mut within = |milliseconds: u64| Duration::from_micros(random.random_range(0..milliseconds * 1000));
        let (early, shortly, at_once) = (within(1500), within(300), within(12));
        match random.random_range(0..10) {
            0..4 => Self::AfterStart(early),
            4..6 => Self::After("chunk_started", random.random_range(1..4), shortly),
            6..7 => Self::After("chunk_finished", random.random_range(1..4), at_once),
            _ => Self::After("merge_started", 1, at_once),
        }
    }
}

/// Runs the program and kills it at that moment, unless it ends before.
fn run_until(program: &mut Command, moment: Moment) -> Run {
    let mut child = program.spawn().unwrap();
    let (lines, told) = mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let event: Option<Value> = serde_json::from_slice(&line).ok();
            drop(lines.send(event.as_ref().and_then(|event| event["event"].as_str()).map(str::to_owned)));
            all.extend(event);
        }
        all
    });
    wait_for(&told, moment);
    child.kill().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Run { code: child.wait().unwrap().code(), events: reader.join().unwrap(), stderr }
}

/// Returns at the moment, or when the program has closed its output.
fn wait_for(told: &mpsc::Receiver<Option<String>>, moment: Moment) {
    let until_end = |delay: Duration| {
        let end = Instant::now() + delay;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if matches!(told.recv_timeout(left), Err(RecvTimeoutError::Disconnected)) {
                // What ends by itself may take its time to.
                thread::sleep(Duration::from_millis(500));
                return;
            }
        }
    };
    match moment {
        Moment::AfterStart(delay) => until_end(delay),
        Moment::After(name, count, delay) => {
            let met = told.iter().filter(|event| event.as_deref() == Some(name)).take(count).count();
            until_end(if met == count { delay } else { Duration::from_secs(5) });
        }
    }
}

/// In which part of its work a run was when it was killed.
fn stage(run: &Run) -> &'static str {
    let told = |name: &str| run.events.iter().any(|event| event["event"] == name);
    match () {
        () if told("merge_started") => "merging",
        () if told("chunk_started") => "encoding",
        () => "starting",
    }
}

/// No chunk that was told to be finished is ever begun again.
fn assert_nothing_twice(events: &[Value]) {
    let mut finished = Vec::new();
    for event in events {
        let chunk = event["chunk"].as_u64();
        match event["event"].as_str() {
            Some("chunk_finished") => finished.push(chunk),
            Some("chunk_started") => assert!(!finished.contains(&chunk), "{chunk:?} was finished, and begun again"),
            Some("started_afresh") => panic!("{event}"),
            _ => {}
        }
    }
}

#[test]
fn twenty_five_kills_lose_nothing_and_do_nothing_twice() {
    let seed = std::env::var("FINALRIP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("FINALRIP_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let undisturbed = Job::new(&slow(8));
    let run = Run::to_its_end(&mut undisturbed.program());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    undisturbed.assert_whole();
    let wanted = std::fs::read(&undisturbed.output).unwrap();
    let (mut kills, mut left_behind) = (0, Vec::new());
    while kills < 25 {
        kills += rip_with_kills(&mut random, 25 - kills, &wanted, &mut left_behind);
    }
    assert_eq!(left_behind, [""; 0], "killed runs left files that nobody removed");
}

/// One rip, killed at most so often until it is done; returns how often, and adds what lies beside the file in the end.
fn rip_with_kills(random: &mut StdRng, most: u32, wanted: &[u8], left_behind: &mut Vec<String>) -> u32 {
    let job = Job::new(&slow(8));
    let (mut kills, mut events) = (0, Vec::new());
    while kills < most {
        let moment = Moment::random(random);
        let run = run_until(&mut job.program(), moment);
        eprintln!("{moment:?}: {}, {:?}", stage(&run), run.code);
        events.extend(run.events);
        if run.code.is_some() {
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            break;
        }
        kills += 1;
        if job.output.exists() {
            // It was done, and killed while it cleaned up: the same command once more is another job.
            break;
        }
    }
    if !job.output.exists() || state_of(&job.output).exists() {
        let was_done = job.output.exists();
        let run = Run::to_its_end(&mut job.program());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        events.extend(run.events.into_iter().filter(|_| !was_done));
    }
    assert_nothing_twice(&events);
    assert!(std::fs::read(&job.output).unwrap() == wanted, "another file than without kills");
    left_behind.extend(files_in(job.folder.path()).into_iter().filter(|name| name != "out.mkv" && name != "s.vpy"));
    kills
}

/// Starts the program, waits until it has told of `event`, and returns it still running.
#[allow(clippy::zombie_processes, reason = "only a test that fails leaves its child behind")]
fn start_and_wait_for(program: &mut Command, event: &str) -> Child {
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

#[test]
fn an_interrupt_ends_with_130_and_the_same_command_goes_on() {
    let job = Job::new(&slow(20));
    let child = start_and_wait_for(&mut job.program(), "chunk_finished");
    // SAFETY: the child has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) }, 0);
    let asked = Instant::now();
    let run = Run::of(child.wait_with_output().unwrap());
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stderr.contains("the same command goes on"), "{}", run.stderr);
    let finished = job.finished();
    assert!(!finished.is_empty());
    assert_eq!(files_in(job.folder.path()), ["out.mkv.finalrip", "s.vpy"]);
    let run = Run::to_its_end(&mut job.program());
    let report = run.events.last().unwrap();
    assert_eq!((&report["event"], &report["chunks_resumed"]), (&"done".into(), &finished.len().into()));
    job.assert_whole();
}

#[test]
fn within_a_second_of_a_cancel_nothing_runs() {
    let folder = scratch();
    let log = folder.path().join("frames");
    // Each frame leaves a byte in a file: what runs can be seen.
    let body = format!(
        "import time\nfast = clip * 50\ndef note(n):\n    time.sleep(0.01)\n    with open({log:?}, 'ab') as log:\n        \
         log.write(b'.')\n    return fast\nclip = core.std.FrameEval(fast, note)"
    );
    let job = Job::new(&body);
    let options = RipOptions { chunk: ChunkLength::Frames(20), ..options() };
    let cancel = options.cancel.clone();
    let command = finalrip_core::EncodeCommand::parse(LOSSLESS).unwrap();
    let rip = finalrip_core::Rip::new(job.library_script(), command, &job.output).options(options);
    let mut asked = None;
    let ended = rip.run(|event| {
        if asked.is_none() && matches!(event, RipEvent::ChunkFinished { .. }) {
            cancel.cancel();
            asked = Some(Instant::now());
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let asked = asked.unwrap();
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    thread::sleep(Duration::from_secs(1).saturating_sub(asked.elapsed()));
    let frames = || std::fs::metadata(&log).map_or(0, |file| file.len());
    let then = frames();
    assert!(then > 0, "it was cancelled before it began");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(frames(), then, "frames are still made");
    assert!(!job.output.exists());
    let (ended, events) = {
        let options = RipOptions { chunk: ChunkLength::Frames(20), ..self::options() };
        let stop = options.cancel.clone();
        let command = finalrip_core::EncodeCommand::parse(LOSSLESS).unwrap();
        let rip = finalrip_core::Rip::new(job.library_script(), command, &job.output).options(options);
        let mut events = Vec::new();
        let ended = rip.run(|event| {
            events.push(event.clone());
            stop.cancel();
        });
        (ended, events)
    };
    assert!(matches!(ended, Err(Error::Cancelled)));
    assert!(!planned_finished(&events).is_empty(), "what was finished before the cancel is not used");
}

/// When all chunks are there a cancel still counts, and only the merge is done again.
#[test]
fn a_cancel_in_the_merge_keeps_every_chunk() {
    let job = Job::new("");
    let options = options();
    let cancel = options.cancel.clone();
    let command = finalrip_core::EncodeCommand::parse(LOSSLESS).unwrap();
    let rip = finalrip_core::Rip::new(job.library_script(), command, &job.output).options(options);
    let ended = rip.run(|event| {
        if matches!(event, RipEvent::MergeStarted { .. }) {
            cancel.cancel();
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    assert_eq!(files_in(job.folder.path()), ["out.mkv.finalrip", "s.vpy"]);
    assert_eq!(job.finished(), (0..CHUNKS).collect::<Vec<_>>());
    let events = job.resume();
    assert_eq!(started(&events), [0; 0]);
}

/// A cancelled rip whose script is still being evaluated is left behind: when it comes back, nothing is its own any more.
#[test]
fn a_cancel_while_the_script_is_evaluated_takes_no_chunk_away() {
    let body = slow(10) + "\nimport os\nif os.path.exists(__file__ + '.slow'):\n    time.sleep(2)\n";
    let job = Job::new(&body);
    job.interrupt();
    let finished = job.finished();
    assert!(!finished.is_empty());
    let mark = job.folder.path().join("s.vpy.slow");
    std::fs::write(&mark, "").unwrap();
    let options = options();
    let cancel = options.cancel.clone();
    let command = finalrip_core::EncodeCommand::parse("-c:v ffv1 -g 1").unwrap();
    let rip = finalrip_core::Rip::new(job.library_script(), command, &job.output).options(options);
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        cancel.cancel();
    });
    let ended = rip.run(|_| {});
    stopper.join().unwrap();
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    // Its thread comes back, and would begin another rip afresh.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(job.finished(), finished);
    std::fs::remove_file(&mark).unwrap();
    let events = job.resume();
    assert_eq!(planned_finished(&events), finished);
}

/// How many work, and on how many cores, says nothing about the bits: what is finished counts.
#[test]
fn another_number_of_workers_goes_on() {
    let job = Job::new(&slow(3));
    job.interrupt();
    let finished = job.finished();
    let environments = finalrip_core::Environments::PerWorker;
    let five = RipOptions { workers: Some(5), environments, ..options() };
    let (report, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &five);
    assert_eq!(report.unwrap().chunks_resumed, finished.len());
    assert_eq!(planned_finished(&events), finished);
    job.assert_whole();
}

/// That the clip is variable is found out once; a later run knows it.
#[test]
fn a_variable_clip_goes_on_as_one() {
    // Even until frame 60, so that no window shows it and the first chunks are encoded in vain.
    let body = "def stretch(n, f):\n    out = f.copy()\n    out.props['_DurationNum'] = 1 if n < 60 else 3\n    \
                out.props['_DurationDen'] = 25\n    return out\nclip = core.std.ModifyFrame(clip, clip, stretch)";
    let job = Job::new(body);
    let options = RipOptions { workers: Some(1), ..options() };
    let cancel = options.cancel.clone();
    let command = finalrip_core::EncodeCommand::parse(LOSSLESS).unwrap();
    let rip = finalrip_core::Rip::new(job.library_script(), command, &job.output).options(options);
    let mut changed = false;
    let ended = rip.run(|event| match event {
        RipEvent::TimingChanged { .. } => changed = true,
        RipEvent::ChunkFinished { chunk: 2, .. } if changed => cancel.cancel(),
        _ => {}
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    assert!(changed, "nobody noticed that the clip is variable");
    let finished = job.finished();
    assert!(finished.starts_with(&[0, 1, 2]), "{finished:?}");
    let events = job.resume();
    assert_eq!(planned_finished(&events), finished);
    assert!(!events.iter().any(|event| matches!(event, RipEvent::TimingChanged { .. })));
    let wanted: Vec<f64> = (0..100).map(|n| f64::from(n + 2 * (n - 60).max(0)) / 25.0).collect();
    let shown = sane_times(&job.output);
    assert!(shown.iter().zip(&wanted).all(|(shown, wanted)| (shown - wanted).abs() < 0.000_501), "{shown:?}");
}

/// What differs between two runs is named, and everything is done anew.
#[test]
fn another_script_argument_command_source_or_option_starts_afresh() {
    type Change = fn(&Job) -> Command;
    let changes: [(&str, Change); 6] = [
        ("the script", |job| {
            let text = std::fs::read_to_string(&job.script).unwrap();
            std::fs::write(&job.script, text.replace("clip.set_output()", "clip[::-1].set_output()")).unwrap();
            job.program()
        }),
        ("the script's arguments", |job| {
            let mut program = job.program();
            program.args(["--arg", "strength=3"]);
            program
        }),
        ("the encode command", |job| {
            job.program_with(&job.source, "-c:v libx264 -preset superfast -qp 0 -threads 1", "7f")
        }),
        ("the source", |job| {
            // The same frames in another file.
            let copy = job.folder.path().join("copy.mkv");
            std::fs::copy(&job.source, &copy).unwrap();
            job.program_with(&copy, LOSSLESS, "7f")
        }),
        ("the options", |job| job.program_with(&job.source, LOSSLESS, "16f")),
        ("not wanted", |job| {
            let mut program = job.program();
            program.arg("--no-resume");
            program
        }),
    ];
    for (name, change) in changes {
        let job = Job::new(&slow(3));
        job.interrupt();
        let run = Run::to_its_end(&mut change(&job));
        assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
        let afresh = run.events.iter().find(|event| event["event"] == "started_afresh");
        let changed = afresh.unwrap_or_else(|| panic!("{name} was not noticed"))["changed"].to_string();
        assert!(changed.contains(name), "{name} is not in {changed}");
        let begun = run.events.iter().filter(|event| event["event"] == "chunk_started").count();
        let chunks = run.events.last().unwrap()["chunks"].as_u64().unwrap() as usize;
        assert_eq!(begun, chunks, "{name}: not everything was done anew");
        job.assert_whole();
    }
}

#[test]
fn what_is_damaged_is_encoded_again() {
    type Damage = fn(&Path, usize);
    let damages: [(&str, Damage); 8] = [
        ("a truncated chunk", |state, chunk| cut(&video_of(state, chunk))),
        ("a chunk whose end is zeros", |state, chunk| zero_the_end(&video_of(state, chunk))),
        ("a chunk of nothing but zeros", |state, chunk| {
            let length = std::fs::metadata(video_of(state, chunk)).unwrap().len() as usize;
            std::fs::write(video_of(state, chunk), vec![0; length]).unwrap();
        }),
        ("a chunk with one bit changed inside a picture", |state, chunk| flip_a_bit(&video_of(state, chunk))),
        ("a missing chunk", |state, chunk| std::fs::remove_file(video_of(state, chunk)).unwrap()),
        ("a truncated record", |state, chunk| cut(&record_of(state, chunk))),
        ("a record of something else", |state, chunk| {
            std::fs::write(record_of(state, chunk), "{\"range\": 7}").unwrap();
        }),
        ("a missing record", |state, chunk| std::fs::remove_file(record_of(state, chunk)).unwrap()),
    ];
    for (name, damage) in damages {
        let job = Job::new(&slow(3));
        job.interrupt();
        let mut finished = job.finished();
        let damaged = finished.remove(0);
        damage(&state_of(&job.output), damaged);
        let events = job.resume();
        assert_eq!(planned_finished(&events), finished, "{name}");
        let missing: Vec<usize> = (0..CHUNKS).filter(|chunk| !finished.contains(chunk)).collect();
        assert_eq!(started(&events), missing, "{name}");
    }
}

fn video_of(state: &Path, chunk: usize) -> PathBuf {
    state.join(format!("chunk-{chunk:05}.mkv"))
}

fn record_of(state: &Path, chunk: usize) -> PathBuf {
    state.join(format!("chunk-{chunk:05}.json"))
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn zero_the_end(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    std::fs::write(path, bytes).unwrap();
}

/// A record of the whole that cannot be read is as good as none.
#[test]
fn a_damaged_plan_starts_afresh() {
    let job = Job::new(&slow(3));
    job.interrupt();
    cut(&state_of(&job.output).join("rip.json"));
    let events = job.resume();
    assert_eq!(started(&events), (0..CHUNKS).collect::<Vec<_>>());
}

#[test]
fn half_written_files_of_a_killed_run_are_swept() {
    let job = Job::new(&slow(3));
    job.interrupt();
    let state = state_of(&job.output);
    for name in [".tmpAbCdEf", ".chunk-00003.mkv.AbCdEf.part.mkv", "chunk-99999.mkv"] {
        std::fs::write(state.join(name), "half").unwrap();
    }
    let mut seen = None;
    let command = finalrip_core::EncodeCommand::parse(LOSSLESS).unwrap();
    let rip = finalrip_core::Rip::new(job.library_script(), command, &job.output).options(options());
    let report = rip.run(|event| {
        if matches!(event, RipEvent::Planned { .. }) {
            let odd = |name: &String| name.contains("AbCdEf") || name.contains("99999");
            seen = Some(files_in(&state).iter().filter(|name| odd(name)).count());
        }
    });
    assert!(report.unwrap().chunks_resumed > 0);
    assert_eq!(seen, Some(0), "half-written files are still there");
    job.assert_whole();
}

#[test]
fn a_second_rip_of_the_same_file_refuses_and_the_first_goes_on() {
    let job = Job::new(&slow(20));
    let first = start_and_wait_for(&mut job.program(), "chunk_started");
    let second = Run::to_its_end(&mut job.program());
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("another rip is making"), "{}", second.stderr);
    assert!(second.stderr.contains("out.mkv.finalrip"), "{}", second.stderr);
    assert!(second.events.is_empty(), "{:?}", second.events);
    let (ended, _) = try_rip(&job.library_script(), LOSSLESS, &job.output, &options());
    assert!(matches!(ended, Err(Error::Busy { .. })), "{ended:?}");
    let first = Run::of(first.wait_with_output().unwrap());
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    job.assert_whole();
}

/// Python: frame 20 fails as often as the file says, each time once less.
fn unlucky(folder: &Path) -> String {
    let left = folder.join("left");
    format!(
        "good = clip\ndef try_it(n):\n    left = int(open({left:?}).read()) if n == 20 and os.path.exists({left:?}) else 0\n    \
         if left:\n        open({left:?}, 'w').write(str(left - 1))\n        raise ValueError('no luck')\n    \
         return good\nclip = core.std.FrameEval(good, try_it)"
    )
}

#[test]
fn a_chunk_that_fails_is_tried_again() {
    let folder = scratch();
    std::fs::write(folder.path().join("left"), "2").unwrap();
    let job = Job::new(&unlucky(folder.path()));
    let (report, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &options());
    assert_eq!(report.unwrap().failures, 2);
    let failed: Vec<(usize, u32, u32)> = failures(&events);
    assert_eq!(failed, [(2, 1, 3), (2, 2, 2)]);
    job.assert_whole();
}

fn failures(events: &[RipEvent]) -> Vec<(usize, u32, u32)> {
    let failed = events.iter().filter_map(|event| match event {
        RipEvent::ChunkFailed { chunk, attempt, attempts_left, reason } => {
            assert!(reason.contains("no luck") && reason.contains("frame 20"), "{reason}");
            Some((*chunk, *attempt, *attempts_left))
        }
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_chunk_that_always_fails_ends_the_rip_and_what_is_finished_waits_for_the_mending() {
    let folder = scratch();
    std::fs::write(folder.path().join("left"), "1000").unwrap();
    let job = Job::new(&unlucky(folder.path()));
    let one = RipOptions { workers: Some(1), ..options() };
    let (ended, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &one);
    let error = ended.unwrap_err();
    assert!(matches!(error, Error::Chunk { chunk: 2, attempts: 4, .. }), "{error:?}");
    let text = whole_text(&error);
    for part in ["chunk 2", "14..21", "tried 4 times", "frame 20 failed", "ValueError: no luck"] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert_eq!(failures(&events), [(2, 1, 3), (2, 2, 2), (2, 3, 1), (2, 4, 0)]);
    assert_eq!(job.finished(), [0, 1]);
    assert!(!job.output.exists());
    std::fs::remove_file(folder.path().join("left")).unwrap();
    let events = job.resume();
    assert_eq!(planned_finished(&events), [0, 1]);
    assert_eq!(started(&events), (2..CHUNKS).collect::<Vec<_>>());
}
