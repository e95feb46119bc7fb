//! A rip's memory does not depend on the clip's length, and it needs no more room on disk than its chunks and its output.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use common::rips::*;
use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, Rip, RipEvent, RipOptions, Script};

/// Held by each test: they measure the process that they share.
static ALONE: Mutex<()> = Mutex::new(());

const WIDTH: i64 = 640;
const HEIGHT: i64 = 360;
const FRAME: i64 = WIDTH * HEIGHT * 3 / 2;

/// What the process held while so many frames were encoded, and while the chunks were merged.
struct Samples {
    encoding: Vec<(u32, i64)>,
    merging: Vec<i64>,
}

/// Rips a blank clip of so many frames, in chunks of 20 seconds by two workers, and looks at the resident memory.
fn sample(frames: u32) -> Samples {
    let folder = scratch();
    // Without keep=True every frame is memory of its own.
    let blank = format!(
        "clip = core.std.BlankClip(format=vs.YUV420P8, width={WIDTH}, height={HEIGHT}, length={frames}, fpsnum=25, fpsden=1)"
    );
    let options = RipOptions {
        workers: Some(2),
        chunk: ChunkLength::Seconds(20.0),
        progress_interval: Duration::from_millis(20),
        ..RipOptions::default()
    };
    let command = EncodeCommand::parse("-c:v libx264 -preset ultrafast").unwrap();
    let rip = Rip::new(Script::from_text(text_script(&blank)), command, folder.path().join("out.mkv")).options(options);
    let mut samples = Samples { encoding: Vec::new(), merging: Vec::new() };
    let report = rip.run(|event| match event {
        RipEvent::Progress(progress) => samples.encoding.push((progress.frames, resident_bytes())),
        RipEvent::MergeStarted { .. } | RipEvent::Merging { .. } | RipEvent::Done(_) => {
            samples.merging.push(resident_bytes());
        }
        _ => {}
    });
    let report = report.unwrap_or_else(|error| panic!("{}", whole_text(&error)));
    assert_eq!((report.pictures, report.chunks), (frames.into(), frames.div_ceil(500) as usize));
    samples
}

/// Encodes twice as much after the first third as before it: what grows by the frame would show.
fn assert_flat(frames: u32) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Samples { encoding, merging } = sample(frames);
    // The least of a stretch: between two of its trims glibc's heap grows and shrinks like a saw's teeth.
    let least = |from: u32, to: u32| {
        let inside = encoding.iter().filter(|(done, _)| (from..to).contains(done)).map(|(_, bytes)| *bytes);
        inside.min().expect("a sample")
    };
    let (early, late) = (least(frames / 10, frames * 2 / 5), least(frames * 7 / 10, frames + 1));
    let most = encoding.iter().map(|(_, bytes)| *bytes).max().unwrap();
    let merge = merging.iter().copied().max().unwrap();
    eprintln!("{frames} frames: early {early}, late {late}, at most {most}, while merging {merge} bytes");
    assert!(late < early + 40 * FRAME, "resident memory grew from {early} to {late} bytes");
    assert!(merge < most + 40 * FRAME, "{merge} bytes in the merge, and {most} at most before it");
}

/// The order of requests jumps at every chunk, and while scene cuts are looked for; there VapourSynth's caches would lose
/// count, and keep every frame of every filter from then on.
#[test]
fn caches_keep_to_their_size_where_chunks_begin() {
    const LARGE: i64 = 1280 * 720 * 3;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = scratch();
    let body = "clip = core.std.BlankClip(format=vs.YUV420P8, width=640, height=360, length=300)\n\
                big = clip.resize.Lanczos(1280, 720, format=vs.YUV420P16)\n\
                mean = big.std.AverageFrames(weights=[1, 2, 3, 4, 3, 2, 1])\n\
                soft = mean.std.Convolution(matrix=[1, 2, 1, 2, 4, 2, 1, 2, 1]).std.Median()\n\
                mask = core.std.Expr([big, soft], 'x y - abs 64 * 65535 min').std.Maximum().std.Inflate()\n\
                clip = core.std.MaskedMerge(soft, big, mask).resize.Spline36(640, 360, format=vs.YUV420P8)";
    let options = RipOptions { workers: Some(1), chunk: ChunkLength::Frames(50), ..RipOptions::default() };
    let command = EncodeCommand::parse("-c:v libx264 -preset ultrafast").unwrap();
    let rip = Rip::new(Script::from_text(text_script(body)), command, folder.path().join("out.mkv")).options(options);
    let mut held = Vec::new();
    let report = rip.run(|event| {
        if let RipEvent::ChunkFinished { .. } = event {
            held.push(resident_bytes());
        }
    });
    report.unwrap_or_else(|error| panic!("{}", whole_text(&error)));
    eprintln!("after each chunk: {held:?} bytes");
    let (first, last) = (held[0], held[held.len() - 1]);
    assert_eq!(held.len(), 6);
    assert!(last < first + 60 * LARGE, "resident memory grew from {first} to {last} bytes");
}

#[test]
fn memory_stays_flat_over_four_minutes() {
    assert_flat(6_000);
}

#[test]
#[ignore = "takes a minute or two: 45,000 frames"]
fn memory_stays_flat_over_half_an_hour() {
    assert_flat(45_000);
}

fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux's process information");
    let pages: Option<i64> = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.expect("the resident pages") * 4096
}

#[test]
fn disk_use_is_at_most_the_chunks_and_the_output() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (scripts, folder) = (scratch(), scratch());
    let script = script_file(scripts.path(), "s.vpy", &over_source(""));
    let script = Script::from_path(script).source(open_gop_h264());
    let output = folder.path().join("out.mkv");
    let options = RipOptions { workers: Some(2), chunk: ChunkLength::Frames(10), ..RipOptions::default() };
    let over = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (over, folder) = (Arc::clone(&over), folder.path().to_owned());
        move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(bytes_in(&folder));
                thread::sleep(Duration::from_micros(500));
            }
            most
        }
    });
    let report = rip(&script, "-c:v ffv1", &output, &options);
    over.store(true, Ordering::Relaxed);
    let most = watcher.join().unwrap();
    // The records of the plan and of each chunk are small, but they are files too.
    let records = 10 * 2048 + 4096;
    let wanted = report.video_bytes + report.bytes + records;
    eprintln!("at most {most} bytes on disk; chunks {}, output {}", report.video_bytes, report.bytes);
    assert!(most > report.video_bytes, "the watcher saw {most} bytes only");
    assert!(most <= wanted, "{most} bytes on disk, and not at most {wanted}");
    assert_eq!(files_in(folder.path()), ["out.mkv"]);
}

/// The bytes of all files under a folder; what goes away meanwhile counts for nothing.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_in(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}
