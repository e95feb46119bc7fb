//! What may differ between two runs, and what is done anew because it differs.

use std::process::Command;

use finalrip_core::{Environments, Error, RipEvent, RipOptions};

use crate::common::rips::*;
use crate::job::*;

/// How many work, and on how many cores, says nothing about the bits: what is finished counts.
#[test]
fn another_number_of_workers_goes_on() {
    let job = Job::new(&slow(3));
    job.interrupt();
    let finished = job.finished();
    let five = RipOptions { workers: Some(5), environments: Environments::PerWorker, ..options() };
    let (report, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &five);
    assert_eq!(report.unwrap().chunks_resumed, finished.len());
    assert_eq!(planned_finished(&events), finished);
    job.assert_whole();
}

/// That the clip is variable shows when the first chunks are done: nothing is encoded again for it, before or after an interruption.
#[test]
fn a_clip_that_is_variable_late_goes_on_and_keeps_its_chunks() {
    let body = "def stretch(n, f):\n    out = f.copy()\n    out.props['_DurationNum'] = 1 if n < 60 else 3\n    \
                out.props['_DurationDen'] = 25\n    return out\nclip = core.std.ModifyFrame(clip, clip, stretch)";
    let job = Job::new(body);
    let options = RipOptions { workers: Some(1), scene: false, ..options() };
    let cancel = options.cancel.clone();
    let rip = job.rip(LOSSLESS, options);
    let mut changed = false;
    let ended = rip.run(|event| match event {
        RipEvent::TimingChanged { .. } => changed = true,
        RipEvent::ChunkFinished { chunk: 2, .. } => cancel.cancel(),
        _ => {}
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let finished = job.finished();
    assert!(finished.starts_with(&[0, 1, 2]), "{finished:?}");
    let again = RipOptions { workers: Some(1), scene: false, ..crate::job::options() };
    let (report, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &again);
    assert_eq!((report.unwrap().frame_rate, planned_finished(&events)), (None, finished));
    changed |= events.iter().any(|event| matches!(event, RipEvent::TimingChanged { .. }));
    assert!(!changed, "something was encoded again");
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
