//! Bad input and bad luck: a clear error, nothing half made beside the output, what is finished kept, and a rip that goes
//! on once the cause is mended.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};

use common::rips::*;
use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, Error, FrameRange, Rip, RipEvent, RipOptions, Script};

const FFV1: &str = "-c:v ffv1 -threads 1";

/// Ten chunks of ten frames, by one worker, one after the other.
fn options() -> RipOptions {
    RipOptions { chunk: ChunkLength::Frames(10), scene: false, workers: Some(1), ..RipOptions::default() }
}

fn plain(folder: &Path) -> (PathBuf, Script) {
    let path = script_file(folder, "s.vpy", &over_source(""));
    let script = Script::from_path(&path).source(open_gop_h264());
    (path, script)
}

fn failure(script: &Script, command: &str, output: &Path, options: &RipOptions) -> Error {
    try_rip(script, command, output, options).0.expect_err("a rip that cannot work")
}

#[track_caller]
fn assert_says(error: &Error, parts: &[&str]) {
    let text = whole_text(error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// Checks the error's kind and that its text contains each part.
macro_rules! assert_error {
    ($error:expr, $kind:pat, $($part:expr),+) => {{
        let error = $error;
        assert!(matches!(error, $kind), "not {}: {error:?}", stringify!($kind));
        assert_says(&error, &[$($part),+]);
    }};
}

/// The chunks that the events show to be there from before.
fn resumed(events: &[RipEvent]) -> Vec<usize> {
    let planned = events.iter().find_map(|event| match event {
        RipEvent::Planned { finished, .. } => Some(finished.clone()),
        _ => None,
    });
    planned.expect("a plan")
}

/// Goes on after mending, and compares with the single pass; returns the chunks that were kept.
fn mended(script: (&Path, &Script), output: &Path) -> Vec<usize> {
    let (report, events) = try_rip(script.1, FFV1, output, &options());
    let report = report.unwrap_or_else(|error| panic!("{}", whole_text(&error)));
    let wanted = script_hashes(script.0, Some(&open_gop_h264()), "yuv420p");
    assert_eq!(frame_hashes(output, "yuv420p"), wanted);
    let kept = resumed(&events);
    assert_eq!(report.chunks_resumed, kept.len());
    kept
}

// The source.

#[test]
fn a_missing_source_is_named() {
    let folder = scratch();
    let script = plain(folder.path()).1.source("/nowhere/film.mkv");
    let error = failure(&script, FFV1, &folder.path().join("out.mkv"), &options());
    assert_error!(error, Error::Source { .. }, "cannot read the source", "/nowhere/film.mkv", "No such file");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

#[test]
fn a_folder_is_no_source() {
    let folder = scratch();
    let script = plain(folder.path()).1.source(folder.path());
    let error = failure(&script, FFV1, &folder.path().join("out.mkv"), &options());
    assert_error!(error, Error::Source { .. }, "it is a folder");
}

/// An MP4 that was not written to its end has no index: nobody can read it.
#[test]
fn a_truncated_mp4_is_named_by_the_script_that_cannot_open_it() {
    let folder = scratch();
    let whole = source("whole.mp4", NOISY, &["-c:v", "libx264", "-preset", "veryfast"]);
    let bytes = std::fs::read(whole).unwrap();
    let half = folder.path().join("half.mp4");
    std::fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let script = plain(folder.path()).1.source(&half);
    let error = failure(&script, FFV1, &folder.path().join("out.mkv"), &options());
    assert_error!(error, Error::Script { .. }, "half.mp4", "VideoSource");
    assert_eq!(files_in(folder.path()), ["half.mp4", "s.vpy"]);
}

/// What a download that broke off leaves: the frames that are there are ripped, as the script shows them.
#[test]
fn a_source_that_ends_early_is_ripped_as_far_as_it_goes() {
    let folder = scratch();
    let bytes = std::fs::read(open_gop_h264()).unwrap();
    let half = folder.path().join("half.mkv");
    std::fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let (path, script) = plain(folder.path());
    let output = folder.path().join("out.mkv");
    let report = rip(&script.source(&half), FFV1, &output, &options());
    let wanted = script_hashes(&path, Some(&half), "yuv420p");
    assert!((20..80).contains(&wanted.len()), "{} frames", wanted.len());
    assert_eq!(report.pictures, wanted.len() as u64);
    assert_eq!(frame_hashes(&output, "yuv420p"), wanted);
}

/// A source that loses its end between two runs is another source.
#[test]
fn a_source_that_shrinks_between_two_runs_is_noticed() {
    let folder = scratch();
    let copy = folder.path().join("copy.mkv");
    std::fs::copy(open_gop_h264(), &copy).unwrap();
    let (path, script) = plain(folder.path());
    let (script, output) = (script.source(&copy), folder.path().join("out.mkv"));
    stop_after(&script, &output, 3);
    let bytes = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &bytes[..bytes.len() / 2]).unwrap();
    let (report, events) = try_rip(&script, FFV1, &output, &options());
    report.unwrap_or_else(|error| panic!("{}", whole_text(&error)));
    let changed = events.iter().find_map(|event| match event {
        RipEvent::StartedAfresh { changed } => Some(changed.clone()),
        _ => None,
    });
    assert_eq!(changed.expect("it starts afresh"), ["the source"]);
    assert_eq!(frame_hashes(&output, "yuv420p"), script_hashes(&path, Some(&copy), "yuv420p"));
}

/// Cancels a rip when so many chunks are finished; returns those that are by the time it has stopped.
fn stop_after(script: &Script, output: &Path, chunks: usize) -> Vec<usize> {
    let options = options();
    let cancel = options.cancel.clone();
    let mut finished = 0;
    let rip = Rip::new(script.clone(), EncodeCommand::parse(FFV1).unwrap(), output).options(options);
    let ended = rip.run(|event| {
        finished += usize::from(matches!(event, RipEvent::ChunkFinished { .. }));
        if finished == chunks {
            cancel.cancel();
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let finished = finished_chunks(output);
    assert!(finished.len() >= chunks, "{finished:?}");
    finished
}

// The script's clip.

#[test]
fn a_clip_without_frames_is_an_error() {
    let folder = scratch();
    let path = script_file(folder.path(), "s.vpy", &over_source("clip = clip[0:0]"));
    let script = Script::from_path(path).source(open_gop_h264());
    let error = failure(&script, FFV1, &folder.path().join("out.mkv"), &options());
    assert_error!(error, Error::Script { .. } | Error::Clip { .. }, "s.vpy");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

#[test]
fn a_range_outside_the_clip_names_both() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    for (start, end) in [(90, 101), (100, 101), (5, 5), (9, 3)] {
        let options = RipOptions { range: Some(FrameRange { start, end }), ..options() };
        let error = failure(&script, FFV1, &folder.path().join("out.mkv"), &options);
        assert_error!(error, Error::Clip { .. }, &format!("{start}..{end}"), "100 frames", "0..100");
        assert_eq!(files_in(folder.path()), ["s.vpy"]);
    }
}

#[test]
fn a_clip_shorter_than_a_chunk_is_one_chunk() {
    let folder = scratch();
    let path = script_file(folder.path(), "s.vpy", &over_source("clip = clip[:3]"));
    let script = Script::from_path(&path).source(open_gop_h264());
    let output = folder.path().join("out.mkv");
    for chunk in [ChunkLength::Frames(50), ChunkLength::Seconds(30.0), ChunkLength::Auto] {
        let options = RipOptions { chunk, workers: Some(5), ..RipOptions::default() };
        let report = rip(&script, FFV1, &output, &options);
        assert_eq!(report.pictures, 3, "{chunk:?}");
        assert_eq!(frame_hashes(&output, "yuv420p"), script_hashes(&path, Some(&open_gop_h264()), "yuv420p"));
    }
}

// The settings.

#[test]
fn settings_that_make_no_sense_name_their_value_and_what_is_allowed() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    let try_with = |options: RipOptions| failure(&script, FFV1, &folder.path().join("out.mkv"), &options);
    let workers = RipOptions { workers: Some(0), ..options() };
    assert_error!(try_with(workers), Error::Setting { .. }, "workers cannot be 0", "at least 1");
    let chunk = |chunk| RipOptions { chunk, ..options() };
    assert_error!(try_with(chunk(ChunkLength::Frames(0))), Error::Setting { .. }, "chunk", "0 frames", "at least 1");
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = try_with(chunk(ChunkLength::Seconds(seconds)));
        assert_error!(error, Error::Setting { .. }, "chunk", &format!("{seconds} seconds"), "more than 0");
    }
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

#[test]
fn a_wrong_command_is_not_tried_again() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    let (ended, events) = try_rip(&script, "-c:v libx264 -preset quick", &folder.path().join("out.mkv"), &options());
    assert_error!(ended.unwrap_err(), Error::Encoder { .. }, "libx264", "preset", "quick");
    let tried = events.iter().filter(|event| matches!(event, RipEvent::ChunkStarted { .. })).count();
    assert!(tried <= 1, "{events:?}");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

// The output.

#[test]
fn the_source_is_never_the_output() {
    let folder = scratch();
    let film = folder.path().join("film.mkv");
    std::fs::copy(open_gop_h264(), &film).unwrap();
    let before = std::fs::read(&film).unwrap();
    let link = folder.path().join("link.mkv");
    std::os::unix::fs::symlink(&film, &link).unwrap();
    let script = plain(folder.path()).1;
    for (source, output) in [(&film, &film), (&link, &film), (&film, &link)] {
        let error = failure(&script.clone().source(source), FFV1, output, &options());
        assert_error!(error, Error::Output { .. }, "film.mkv", "it is the source");
    }
    assert!(std::fs::read(&film).unwrap() == before, "the source was touched");
    assert_eq!(files_in(folder.path()), ["film.mkv", "link.mkv", "s.vpy"]);
}

#[test]
fn an_output_that_cannot_be_a_file_is_an_error() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    let try_into = |output: &Path| failure(&script, FFV1, output, &options());
    assert_error!(try_into(folder.path()), Error::Output { .. }, "it is a folder");
    assert_error!(try_into(&folder.path().join("no/such/out.mkv")), Error::Output { .. }, "no/such does not exist");
    assert_error!(try_into(&folder.path().join("film")), Error::Output { .. }, "film", ".mkv");
    assert_error!(try_into(Path::new("/dev/null")), Error::Output { .. }, "/dev/null");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

/// Not even root makes files in /proc.
#[test]
fn a_folder_that_takes_no_files_is_an_error() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    let error = failure(&script, FFV1, Path::new("/proc/out.mkv"), &options());
    assert_error!(error, Error::State { .. } | Error::Output { .. }, "/proc/out.mkv");
}

/// A disk of that size, or a word that there is none.
fn disk(size: &str) -> Option<SmallDisk> {
    let disk = SmallDisk::mount(size);
    if disk.is_none() {
        eprintln!("skipped: a small file system cannot be mounted here (not root?)");
    }
    disk
}

#[test]
fn a_read_only_disk_is_an_error_and_the_rip_goes_on_when_it_is_writable_again() {
    let Some(disk) = disk("64m") else { return };
    let folder = scratch();
    let (path, script) = plain(folder.path());
    let output = disk.path().join("out.mkv");
    disk.remount("ro");
    let error = failure(&script, FFV1, &output, &options());
    assert_error!(error, Error::State { .. }, "out.mkv.finalrip", "Read-only file system");
    disk.remount("rw");
    let finished = stop_after(&script, &output, 4);
    disk.remount("ro");
    let error = failure(&script, FFV1, &output, &options());
    assert_error!(error, Error::State { .. } | Error::Output { .. }, "out.mkv", "Read-only file system");
    disk.remount("rw");
    assert_eq!(mended((&path, &script), &output), finished);
}

/// What the ten chunks of the plain script take, in KiB.
fn chunks_kib(script: &Script) -> u64 {
    let folder = scratch();
    rip(script, FFV1, &folder.path().join("out.mkv"), &options()).video_bytes / 1024
}

#[test]
fn a_disk_that_fills_while_chunks_are_encoded_keeps_what_is_finished() {
    let folder = scratch();
    let (path, script) = plain(folder.path());
    let Some(disk) = disk(&format!("{}k", chunks_kib(&script) / 2)) else { return };
    let output = disk.path().join("out.mkv");
    let error = failure(&script, FFV1, &output, &options());
    assert_error!(error, Error::Output { .. } | Error::State { .. }, "No space left on device");
    assert_eq!(files_in(disk.path()), ["out.mkv.finalrip"]);
    let hidden = files_in(&state_of(&output)).into_iter().filter(|name| name.starts_with('.')).count();
    assert_eq!(hidden, 0, "the unfinished chunk still takes room");
    disk.remount("size=64m");
    let kept = mended((&path, &script), &output);
    assert!((2..6).contains(&kept.len()), "{kept:?}");
    assert_eq!(files_in(disk.path()), ["out.mkv"]);
}

#[test]
fn a_disk_that_fills_in_the_merge_keeps_every_chunk() {
    let folder = scratch();
    let (path, script) = plain(folder.path());
    let Some(disk) = disk(&format!("{}k", chunks_kib(&script) * 3 / 2)) else { return };
    let output = disk.path().join("out.mkv");
    let (ended, events) = try_rip(&script, FFV1, &output, &options());
    assert_error!(ended.unwrap_err(), Error::Output { .. }, "out.mkv", "No space left on device");
    assert!(events.iter().any(|event| matches!(event, RipEvent::MergeStarted { .. })));
    assert_eq!(files_in(disk.path()), ["out.mkv.finalrip"]);
    disk.remount("size=64m");
    assert_eq!(mended((&path, &script), &output), (0..10).collect::<Vec<_>>());
    assert_eq!(files_in(disk.path()), ["out.mkv"]);
}

/// An old file stays what it was until the new one takes its place.
#[test]
fn a_failed_rip_leaves_the_old_file_alone() {
    let folder = scratch();
    let (path, script) = plain(folder.path());
    let output = folder.path().join("out.mkv");
    std::fs::write(&output, "the file of before").unwrap();
    let finished = stop_after(&script, &output, 2);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "the file of before");
    assert_eq!(mended((&path, &script), &output), finished);
    assert_eq!(files_in(folder.path()), ["out.mkv", "s.vpy"]);
}

// The caller.

#[test]
fn a_panic_in_the_callback_becomes_an_error_and_the_state_is_kept() {
    let folder = scratch();
    let (path, script) = plain(folder.path());
    let output = folder.path().join("out.mkv");
    let rip = Rip::new(script.clone(), EncodeCommand::parse(FFV1).unwrap(), &output).options(options());
    let mut finished = 0;
    let ended = rip.run(|event| {
        finished += usize::from(matches!(event, RipEvent::ChunkFinished { .. }));
        assert!(finished < 3, "the caller's own fault");
    });
    assert_error!(ended.unwrap_err(), Error::Callback { .. }, "the caller's own fault");
    assert_eq!(files_in(folder.path()), ["out.mkv.finalrip", "s.vpy"]);
    let kept = mended((&path, &script), &output);
    assert!(kept.len() >= 3, "{kept:?}");
}

/// The last event comes when the file is in place, where it stays.
#[test]
fn a_panic_at_the_last_event_becomes_an_error_too() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    let output = folder.path().join("out.mkv");
    let rip = Rip::new(script, EncodeCommand::parse(FFV1).unwrap(), &output).options(options());
    let ended = rip.run(|event| assert!(!matches!(event, RipEvent::Done(_)), "the caller's own fault"));
    assert_error!(ended.unwrap_err(), Error::Callback { .. }, "the caller's own fault");
    assert_eq!(files_in(folder.path()), ["out.mkv", "s.vpy"]);
}

#[test]
fn a_cancel_before_the_start_does_nothing() {
    let folder = scratch();
    let script = plain(folder.path()).1;
    let options = options();
    options.cancel.cancel();
    let error = failure(&script, FFV1, &folder.path().join("out.mkv"), &options);
    assert_error!(error, Error::Cancelled, "cancelled");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}
