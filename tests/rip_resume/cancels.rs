//! A cancel and an interrupt end soon, and keep what is finished.

use std::thread;
use std::time::{Duration, Instant};

use finalrip_core::{ChunkLength, Error, RipEvent, RipOptions};

use crate::common::*;
use crate::job::*;

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
    let rip = job.rip(LOSSLESS, options);
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
        let rip = job.rip(LOSSLESS, options);
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
    let rip = job.rip(LOSSLESS, options);
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
    let rip = job.rip("-c:v ffv1 -g 1", options);
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
