//! `kill -9` at any moment, and a run beside one that is not dead.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use finalrip_core::{Error, RipEvent};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::common::rips::*;
use crate::common::*;
use crate::job::*;

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

#[test]
fn half_written_files_of_a_killed_run_are_swept() {
    let job = Job::new(&slow(3));
    job.interrupt();
    let state = state_of(&job.output);
    for name in [".tmpAbCdEf", ".chunk-00003.mkv.AbCdEf.part.mkv", "chunk-99999.mkv"] {
        std::fs::write(state.join(name), "half").unwrap();
    }
    let mut seen = None;
    let rip = job.rip(LOSSLESS, options());
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
