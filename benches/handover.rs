//! What the way of a frame costs by itself: handed over, put in order, sent through a whole encode that does nothing with
//! it; and what reading a command costs.
//!
//! ```text
//! cargo bench --bench handover -- [filter] [--quick]
//! ```
//!
//! One frame is one element, so criterion's `elem/s` reads as frames a second.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use finalrip_core::{
    CancelToken, Clip, ClipInfo, ColorFamily, Deliver, EncodeCommand, Frame, FrameProperties, FrameRange, FrameSource,
    Frames, Options, Plane, Planes, SampleType, Script, VideoFormat, encode_source,
};

/// Frames an iteration.
const FRAMES: u32 = 1000;

const FORMAT: VideoFormat =
    VideoFormat { family: ColorFamily::Yuv, sample: SampleType::Integer, bits: 8, subsampling_w: 1, subsampling_h: 1 };

/// A script's clip of one blank frame, made once.
fn blank(width: u32, height: u32) -> Arc<Clip> {
    let text = format!(
        "import vapoursynth as vs\n\
         vs.core.std.BlankClip(width={width}, height={height}, format=vs.YUV420P8, length={FRAMES}, keep=True)\
         .set_output()\n"
    );
    Arc::new(Script::from_text(text).evaluate().expect("VapourSynth: run `make setup`"))
}

/// Takes every frame and drops it.
fn take_all(source: &Arc<dyn FrameSource>, in_flight: usize) {
    let range = FrameRange { start: 0, end: source.info().frames };
    let mut frames = Frames::new(Arc::clone(source), range, in_flight);
    while let Some(frame) = frames.next(&CancelToken::new()).expect("a frame") {
        black_box(frame);
    }
}

/// From VapourSynth's threads to ours, at several numbers of requests in flight.
fn hand_over(criterion: &mut Criterion) {
    let source: Arc<dyn FrameSource> = blank(1920, 1080);
    let threads = source.info().threads;
    let mut group = criterion.benchmark_group("hand over 1080p");
    group.throughput(Throughput::Elements(FRAMES.into()));
    // Two of these are the same number on a machine of two cores.
    for in_flight in BTreeSet::from([1, threads, threads + 2, 2 * threads, 4 * threads]) {
        group.bench_with_input(BenchmarkId::from_parameter(in_flight), &in_flight, |bencher, &in_flight| {
            bencher.iter(|| take_all(&source, in_flight));
        });
    }
    group.finish();
}

/// Delivers frames in groups whose order it turns round, as filters of uneven speed would.
struct Shuffled {
    info: ClipInfo,
    frame: Frame,
    group: usize,
    held: Mutex<Vec<(u32, Deliver)>>,
}

impl Shuffled {
    fn new(group: usize) -> Self {
        let info = ClipInfo {
            format: FORMAT,
            width: 2,
            height: 2,
            frames: FRAMES,
            frame_rate: None,
            alpha: false,
            threads: group,
        };
        let owner: Arc<[u8]> = vec![0; 16].into();
        let plane = Plane { data: owner.as_ptr(), stride: 2, height: 2 };
        // SAFETY: the owner holds 16 bytes, more than a plane's 4, and nobody changes them.
        let planes = unsafe { Planes::new(vec![plane; 3], Arc::new(owner)) };
        let properties = FrameProperties::default();
        let frame = Frame { number: 0, format: FORMAT, width: 2, height: 2, planes, properties };
        Self { info, frame, group, held: Mutex::default() }
    }
}

impl FrameSource for Shuffled {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn request(&self, number: u32, deliver: Deliver) {
        let mut held = self.held.lock().expect("no request panics");
        held.push((number, deliver));
        if held.len() == self.group || number + 1 == self.info.frames {
            for (number, deliver) in held.drain(..).rev() {
                deliver(Ok(Frame { number, ..self.frame.clone() }));
            }
        }
    }
}

/// Our own part alone, no VapourSynth: requests, the channel, the order restored.
fn reorder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("restore order");
    group.throughput(Throughput::Elements(FRAMES.into()));
    for size in [1, 4, 32] {
        let source: Arc<dyn FrameSource> = Arc::new(Shuffled::new(size));
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, &size| {
            bencher.iter(|| take_all(&source, size));
        });
    }
    group.finish();
}

/// A whole encode whose encoder wraps the frame and whose container drops it: the library's own cost.
fn encode_into_nothing(criterion: &mut Criterion) {
    let command = EncodeCommand::parse("ffmpeg -i - -c:v wrapped_avframe -f null").expect("a command");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let output = folder.path().join("nothing.null");
    let mut group = criterion.benchmark_group("encode into nothing");
    group.throughput(Throughput::Elements(FRAMES.into()));
    for (width, height) in [(64, 64), (1920, 1080), (3840, 2160)] {
        let source = blank(width, height);
        group.bench_function(BenchmarkId::from_parameter(format!("{width}x{height}")), |bencher| {
            bencher.iter(|| {
                encode_source(source.clone(), &command, &output, &Options::default(), |_| {}).expect("an encode")
            });
        });
    }
    group.finish();
}

fn parse_command(criterion: &mut Criterion) {
    let commands = [
        (
            "ffmpeg",
            "ffmpeg -i - -vcodec libx265 -preset slow -crf 16 -x265-params 'aq-mode=3:psy-rd=2.0' -pix_fmt yuv420p10le",
        ),
        ("x265", "x265 --y4m --preset slow --crf 16 --aq-mode 3 --psy-rd 2.0 -o OUT -"),
    ];
    let mut group = criterion.benchmark_group("parse a command");
    for (name, text) in commands {
        group
            .bench_function(name, |bencher| bencher.iter(|| EncodeCommand::parse(black_box(text)).expect("a command")));
    }
    group.finish();
}

fn brief() -> Criterion {
    Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = benches;
    config = brief();
    targets = hand_over, reorder, encode_into_nothing, parse_command
}
criterion_main!(benches);
