//! Frames are lent, not copied, and given back: nothing grows while thousands go by.
//!
//! That an encoder is handed VapourSynth's own memory is tested beside the encoders, where their frames can be seen.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::*;
use finalrip_core::{ClipInfo, Deliver, EncodeCommand, Frame, FrameSource, Options, Planes, Script};

/// A source that counts how many of its frames are still held by anybody.
struct Counted<S> {
    inner: S,
    alive: Arc<AtomicI64>,
    most: Arc<AtomicI64>,
}

struct Guard(Arc<AtomicI64>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<S: FrameSource> FrameSource for Counted<S> {
    fn info(&self) -> &ClipInfo {
        self.inner.info()
    }

    fn request(&self, number: u32, deliver: Deliver) {
        let (alive, most) = (Arc::clone(&self.alive), Arc::clone(&self.most));
        let count = move |frame: Frame| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let planes = frame.planes.as_slice().to_vec();
            let owner = Arc::new((frame.planes, Guard(alive)));
            // SAFETY: the planes belong to the frame that the new owner holds.
            let planes = unsafe { Planes::new(planes, owner) };
            Frame { planes, ..frame }
        };
        self.inner.request(number, Box::new(move |result| deliver(result.map(count))));
    }
}

fn blank(width: u32, height: u32, frames: u32) -> Script {
    // Without keep=True every frame is memory of its own.
    Script::from_text(text_script(&format!(
        "clip = core.std.BlankClip(format=vs.YUV420P8, width={width}, height={height}, length={frames})"
    )))
}

/// Encodes and returns the most frames that were alive at once; none may be when it is over.
fn most_alive(command: &str, frames: u32) -> i64 {
    let folder = scratch();
    let clip = blank(320, 180, frames).evaluate().expect("a clip");
    let (alive, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let source = Counted { inner: clip, alive: Arc::clone(&alive), most: Arc::clone(&most) };
    let command = EncodeCommand::parse(command).expect("a command");
    let options = Options { requests: Some(4), ..Options::default() };
    let report =
        finalrip_core::encode_source(Arc::new(source), &command, folder.path().join("out.mkv"), &options, |_| {});
    assert!(report.expect("an encode").zero_copy);
    assert_eq!(alive.load(Ordering::SeqCst), 0, "frames are still held after the encode");
    most.load(Ordering::SeqCst)
}

#[test]
fn a_multi_threaded_encoder_holds_frames_only_while_it_reads_them() {
    // ffvhuff encodes frames in parallel and holds a reference to each that is in work.
    let most = most_alive("-c:v ffvhuff -threads 4", 500);
    assert!((2..=4 + 16).contains(&most), "{most} frames at once");
    // libx264 copies what it takes, so only the requests are alive.
    let most = most_alive("-c:v libx264 -preset ultrafast -threads 4", 500);
    assert!((1..=4 + 2).contains(&most), "{most} frames at once");
}

#[test]
fn nothing_grows_over_5000_frames() {
    let folder = scratch();
    let clip = blank(640, 360, 5000).evaluate().unwrap();
    let command = EncodeCommand::parse("-c:v libx264 -preset ultrafast -threads 4").unwrap();
    let options = Options { progress_interval: std::time::Duration::from_millis(20), ..Options::default() };
    let (mut resident, mut in_core) = (Vec::new(), Vec::new());
    let source = Arc::new(clip.clone());
    finalrip_core::encode_source(source, &command, folder.path().join("out.mkv"), &options, |progress| {
        resident.push((progress.frames, resident_bytes()));
        in_core.push(clip.frame_memory());
    })
    .unwrap();
    let frame = 640 * 360 * 3 / 2;
    let most = in_core.iter().max().unwrap();
    assert!(*most < 40 * frame, "VapourSynth held {most} bytes, {} frames' worth", most / frame);
    // The least of a stretch: between two of its trims glibc's heap grows and shrinks like a saw's teeth.
    let least = |from: u32, to: u32| {
        let inside = resident.iter().filter(|(frames, _)| (from..to).contains(frames)).map(|(_, bytes)| *bytes);
        inside.min().expect("a sample")
    };
    let (early, late) = (least(500, 2000), least(3500, 5001));
    assert!(late < early + 40 * frame, "resident memory grew from {early} to {late} bytes");
}

fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux's process information");
    let pages: Option<i64> = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.expect("the resident pages") * 4096
}
