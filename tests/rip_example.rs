//! The rip program as a user runs it: the plan, lines for a log, JSON for programs, and the summary.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::rips::*;
use common::*;
use serde_json::Value;

const QUIET: &str = "ffmpeg -i - -c:v libx264 -preset ultrafast";

/// The program over the 100 frames of [`open_gop_h264`].
fn program(folder: &Path) -> Command {
    let script = script_file(folder, "s.vpy", &over_source(""));
    let mut program = Command::new(example("rip"));
    program.arg(script).arg(folder.join("out.mkv")).arg("--source").arg(open_gop_h264());
    program.args(["--param", QUIET, "--workers", "2"]).stdin(Stdio::null());
    program
}

fn run_well(program: &mut Command) -> (String, String) {
    let Output { status, stdout, stderr } = program.output().unwrap();
    let (said, noted) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{program:?}\n{noted}");
    (said, noted)
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn the_plan_alone_is_printed_and_nothing_is_written() {
    let folder = scratch();
    let (said, _) = run_well(program(folder.path()).args(["--plan-only", "--chunk", "40f"]));
    assert_says(&said, &["100 frames in 3 chunks, 2 workers", "0..", "..100"]);
    let (said, _) = run_well(program(folder.path()).args(["--plan-only", "--chunk", "1.2s", "--no-scene", "--json"]));
    let plan: Value = serde_json::from_str(&said).unwrap();
    let starts: Vec<u64> =
        plan["chunks"].as_array().unwrap().iter().map(|chunk| chunk["range"]["start"].as_u64().unwrap()).collect();
    assert_eq!(starts, [0, 30, 60, 90]);
    assert_eq!(plan["looked_at"], 0);
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

#[test]
fn without_a_terminal_each_step_is_a_line() {
    let folder = scratch();
    let (said, noted) = run_well(program(folder.path()).args(["--chunk", "50f", "--no-scene"]));
    let steps =
        ["100 frames in 2 chunks", "chunk 0: frames 0..50", "chunk 1: frames 50..100", "chunk 0: finished", "merging"];
    assert_says(&noted, &steps);
    assert!(!noted.contains('\x1b'), "colours and bars are for terminals:\n{noted}");
    let summary = ["out.mkv", "matroska, 0:00:04 long", "h264 by libx264, 320x180 yuv420p, 100 pictures, 25.000 fps"];
    assert_says(&said, &summary);
    assert_says(&said, &["2 chunks"]);
    assert!(!said.contains("earlier run"), "{said}");
}

#[test]
fn as_json_every_line_is_an_event_and_the_last_one_the_report() {
    let folder = scratch();
    let (said, noted) = run_well(program(folder.path()).args(["--chunk", "25f", "--json"]));
    assert_eq!(noted, "");
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.first().unwrap()["event"], "planned");
    let report = events.last().unwrap();
    assert_eq!((&report["event"], &report["chunks"], &report["pictures"]), (&"done".into(), &4.into(), &100.into()));
    let shown = probe(&folder.path().join("out.mkv"));
    assert_eq!(report["bytes"].to_string(), shown["format"]["size"].as_str().unwrap());
    assert_eq!(report["duration"], 4.0);
    let finished = events.iter().filter(|event| event["event"] == "chunk_finished").count();
    assert_eq!(finished, 4);
}

/// The streams of a source with sound and words are accounted for, one line each.
#[test]
fn the_summary_says_what_became_of_each_stream() {
    let folder = scratch();
    let words = folder.path().join("words.srt");
    std::fs::write(&words, "1\n00:00:01,000 --> 00:00:02,000\nHello\n").unwrap();
    let film = folder.path().join("film.mkv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(open_gop_h264()).args(["-f", "lavfi", "-i", "sine=duration=4", "-i"]);
    ffmpeg.arg(&words).args(["-map", "0", "-map", "1", "-map", "2", "-c:v", "copy", "-c:a", "aac", "-c:s", "srt"]);
    ffmpeg.args(["-metadata:s:a:0", "language=jpn", "-metadata:s:a:0", "title=The sound"]).arg(&film);
    run(&mut ffmpeg);
    let rip = |more: &[&str]| {
        let mut program = Command::new(example("rip"));
        program.arg(script_file(folder.path(), "s.vpy", &over_source(""))).arg(folder.path().join("out.mkv"));
        program.arg("--source").arg(&film).args(["--param", QUIET]).args(more).stdin(Stdio::null());
        run_well(&mut program).0
    };
    assert_says(&rip(&[]), &["aac, jpn, \"The sound\": copied", "subrip: copied"]);
    assert_says(&rip(&["--no-audio"]), &["aac, jpn, \"The sound\": left out", "subrip: copied"]);
}

#[test]
fn a_length_without_its_unit_is_told_how_to_write_it() {
    let folder = scratch();
    for wrong in ["30", "f", "-3f", "x5s", "1.5f"] {
        let ended = program(folder.path()).arg(format!("--chunk={wrong}")).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{wrong}");
        assert_says(&String::from_utf8_lossy(&ended.stderr), &[wrong, "write it as 30s or 720f"]);
    }
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

#[test]
fn a_failure_says_why_and_how_to_go_on() {
    let folder = scratch();
    let mut program = program(folder.path());
    std::fs::write(
        folder.path().join("s.vpy"),
        over_source(
            "good = clip\ndef f(n):\n    if n == 70:\n        raise ValueError('no luck')\n    return good\n\
             clip = core.std.FrameEval(good, f)",
        ),
    )
    .unwrap();
    let ended = program.args(["--chunk", "20f", "--retries", "1", "--no-scene"]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_says(&said, &["chunk 3: attempt 1 failed, 1 left", "chunk 3: attempt 2 failed, 0 left"]);
    assert_says(&said, &["error: chunk 3 (frames 60..80) failed, tried 2 times: frame 70 failed", "no luck"]);
    assert_says(&said, &["What is finished is kept in", "the same command goes on from there"]);
}
