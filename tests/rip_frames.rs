//! Chunking changes nothing: with a lossless command every frame of the merged file is the frame that one pass of vspipe
//! gives, hash for hash, and is shown when it has to be.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::rips::*;
use common::*;
use finalrip_core::{ChunkLength, Environments, FrameRange, RipEvent, RipOptions, Script};

/// A clip, and what one pass makes of it.
struct Case {
    source: PathBuf,
    script: PathBuf,
    /// The hash of every frame that vspipe writes.
    hashes: Vec<String>,
    /// When vspipe says that each frame starts, in seconds.
    starts: Vec<f64>,
    folder: tempfile::TempDir,
}

impl Case {
    fn new(source: PathBuf, body: &str) -> Self {
        let folder = scratch();
        let script = script_file(folder.path(), "s.vpy", &over_source(body));
        let hashes = script_hashes(&script, Some(&source), "yuv420p");
        let starts = timecodes(&script, &source);
        assert_eq!(hashes.len(), starts.len(), "vspipe disagrees with itself");
        Self { source, script, hashes, starts, folder }
    }

    fn script(&self) -> Script {
        Script::from_path(&self.script).source(&self.source)
    }

    /// Rips and compares with the single pass.
    #[track_caller]
    fn check(&self, combination: &Combination) {
        let Combination { command, extension, .. } = combination;
        let output = self.folder.path().join("out").with_extension(extension);
        let report = rip(&self.script(), command, &output, &combination.options());
        assert_eq!(report.pictures, self.hashes.len() as u64, "{combination:?}");
        assert_same_frames(&frame_hashes(&output, "yuv420p"), &self.hashes, combination);
        self.assert_times(&output, combination);
        assert_eq!(files_in(self.folder.path()), [&format!("out.{extension}"), "s.vpy"]);
        std::fs::remove_file(&output).unwrap();
    }

    /// Matroska rounds to milliseconds; MP4 says it exactly.
    fn assert_times(&self, output: &Path, combination: &Combination) {
        let shown = sane_times(output);
        let tolerance = if combination.extension == "mkv" { 0.000_501 } else { 0.000_001 };
        assert_eq!(shown.len(), self.starts.len());
        for (frame, (shown, wanted)) in shown.iter().zip(&self.starts).enumerate() {
            assert!((shown - wanted).abs() < tolerance, "{combination:?}: frame {frame} at {shown}, not at {wanted}");
        }
    }
}

#[track_caller]
fn assert_same_frames(found: &[String], wanted: &[String], about: &dyn std::fmt::Debug) {
    let different = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    assert_eq!(different, None, "{about:?}: the first frame that differs");
    assert_eq!(found.len(), wanted.len(), "{about:?}");
}

/// What vspipe says of when each frame starts.
fn timecodes(script: &Path, source: &Path) -> Vec<f64> {
    let folder = scratch();
    let file = folder.path().join("timecodes.txt");
    let mut vspipe = Command::new(venv("vspipe"));
    vspipe.arg("--timecodes").arg(&file).arg(script).arg("--").env("FINALRIP_SOURCE", source).current_dir(root());
    // It complains when the last frame does not say how long it is, as bestsource's do not; when it starts is known.
    vspipe.output().expect("vspipe from .venv: run `make setup`");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.parse::<f64>().unwrap() / 1000.0).collect()
}

/// One way of going about a rip.
#[derive(Debug, Clone, Copy)]
struct Combination {
    command: &'static str,
    extension: &'static str,
    chunk: ChunkLength,
    workers: usize,
    environments: Environments,
}

impl Combination {
    fn options(&self) -> RipOptions {
        let Self { chunk, workers, environments, .. } = *self;
        RipOptions { chunk, workers: Some(workers), environments, ..RipOptions::default() }
    }
}

/// Lossless, with and without reordered pictures, and with nothing but IDR pictures, whose numbers may meet at a join.
const COMMANDS: [(&str, &str); 5] = [
    ("-c:v ffv1", "mkv"),
    ("-c:v libx264 -preset veryfast -qp 0 -bf 3", "mp4"),
    ("-c:v libx264 -preset veryfast -qp 0 -bf 3 -x264-params open-gop=1:keyint=12:b-adapt=0:b-pyramid=normal", "mkv"),
    ("-c:v libx264 -preset ultrafast -qp 0 -g 1", "mp4"),
    ("-c:v libx265 -preset ultrafast -x265-params lossless=1:bframes=3:b-adapt=0:keyint=20:log-level=none", "mp4"),
];

const CHUNKS: [ChunkLength; 4] =
    [ChunkLength::Frames(7), ChunkLength::Frames(16), ChunkLength::Frames(50), ChunkLength::Auto];

const WORKERS: [usize; 3] = [1, 2, 5];

const ENVIRONMENTS: [Environments; 2] = [Environments::Shared, Environments::PerWorker];

/// Every combination: 120 of them.
fn combinations() -> Vec<Combination> {
    let mut all = Vec::new();
    for (command, extension) in COMMANDS {
        for chunk in CHUNKS {
            for workers in WORKERS {
                for environments in ENVIRONMENTS {
                    all.push(Combination { command, extension, chunk, workers, environments });
                }
            }
        }
    }
    all
}

/// Two combinations for the `number`th case; another case gets others.
fn some_combinations(number: usize) -> Vec<Combination> {
    let pick = |at: usize| {
        // Rows and columns of a table: every pair of two settings' values comes up somewhere in it.
        let (row, column) = (at / COMMANDS.len(), at % COMMANDS.len());
        let (command, extension) = COMMANDS[column];
        Combination {
            command,
            extension,
            chunk: CHUNKS[(row + column) % CHUNKS.len()],
            workers: WORKERS[(row + 2 * column) % WORKERS.len()],
            environments: ENVIRONMENTS[(row + column / 2) % ENVIRONMENTS.len()],
        }
    };
    (0..2).map(|step| pick(number * 2 + step)).collect()
}

/// A case's name, and what makes it.
type Named = (&'static str, fn() -> Case);

/// The clips of the promise, by name: what may go wrong when a clip is divided.
const CASES: [Named; 10] = [
    ("a temporal filter", || Case::new(open_gop_h264(), SMOOTHED)),
    ("frames by number", || Case::new(open_gop_h264(), BY_NUMBER)),
    ("trims and splices", || {
        Case::new(open_gop_h264(), "clip = clip[40:90] + clip[3:31] + core.std.Trim(clip, 70, 98)")
    }),
    ("another filter for a range", || Case::new(open_gop_h264(), REPLACED)),
    ("decimation five to four", || Case::new(open_gop_h264(), "clip = clip.std.SelectEvery(5, [0, 1, 2, 4])")),
    ("a variable frame rate", || Case::new(variable_rate(), "")),
    ("a variable frame rate, decimated", || Case::new(variable_rate(), &format!("{SMOOTHED}\n{DECIMATED_BY_HAND}"))),
    ("open groups of pictures in H.264", || Case::new(open_gop_h264(), "")),
    ("open groups of pictures in HEVC", || Case::new(open_gop_hevc(), "")),
    ("interlaced MPEG-2", || Case::new(interlaced_mpeg2(), "")),
];

/// A mean over three frames to each side.
const SMOOTHED: &str = "clip = clip.std.AverageFrames(weights=[1, 2, 3, 4, 3, 2, 1])";

const BY_NUMBER: &str = "
kinds = [clip, clip.std.FlipHorizontal(), clip.std.Invert(), clip.std.BoxBlur()]
clip = core.std.FrameEval(clip, lambda n: kinds[(n * 7 + n // 16) % 4])";

const REPLACED: &str = "
blurred = clip.std.BoxBlur(hradius=3)
inverted = clip.std.Invert()
clip = clip[:13] + blurred[13:45] + clip[45:49] + inverted[49:51] + clip[51:]";

/// Every third frame is dropped and its time given to the one before.
const DECIMATED_BY_HAND: &str = "
from fractions import Fraction
def longer(n, f):
    out = f[0].copy()
    parts = [part.props for part in (f if n % 2 else f[:1])]
    # The source's last frame does not say how long it is.
    both = sum(Fraction(part.get('_DurationNum', 1), part.get('_DurationDen', 25)) for part in parts)
    out.props['_DurationNum'], out.props['_DurationDen'] = both.numerator, both.denominator
    return out
kept, dropped = clip.std.SelectEvery(3, [0, 1]), clip.std.SelectEvery(3, [0, 2])
clip = core.std.ModifyFrame(kept, [kept, dropped], longer)";

fn open_gop_hevc() -> PathBuf {
    let params = "open-gop=1:keyint=24:min-keyint=24:bframes=3:b-adapt=0:log-level=none";
    source(
        "open-gop-hevc.mkv",
        NOISY,
        &["-c:v", "libx265", "-preset", "ultrafast", "-crf", "20", "-x265-params", params],
    )
}

/// 50 fields a second in pictures of two fields.
fn interlaced_mpeg2() -> PathBuf {
    let fields = "testsrc2=s=320x192:r=50,noise=alls=12:allf=t:all_seed=7,trim=end_frame=200,tinterlace=interleave_top";
    let flags = ["-c:v", "mpeg2video", "-flags:v", "+ildct+ilme", "-top", "1", "-bf", "2", "-g", "15", "-q:v", "4"];
    source("interlaced.ts", fields, &flags)
}

/// Film at 24 and video at 60 frames a second, one after the other and mixed.
fn variable_rate() -> PathBuf {
    let input = "testsrc2=s=320x180:r=120,noise=alls=12:allf=t:all_seed=7,trim=end_frame=340,\
                 select='if(lt(n,120),not(mod(n,5)),if(lt(n,180),not(mod(n,2)),not(mod(n,7))+not(mod(n,5))))'";
    let arguments =
        ["-fps_mode", "vfr", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-bf", "2", "-g", "30"];
    source("variable.mkv", input, &arguments)
}

fn check_some(number: usize) {
    let (name, case) = CASES[number];
    let case = case();
    for combination in some_combinations(number) {
        eprintln!("{name}: {combination:?}");
        case.check(&combination);
    }
}

#[test]
fn a_temporal_filter() {
    check_some(0);
}

#[test]
fn frames_by_number() {
    check_some(1);
}

#[test]
fn trims_and_splices() {
    check_some(2);
}

#[test]
fn another_filter_for_a_range() {
    check_some(3);
}

#[test]
fn decimation_five_to_four() {
    check_some(4);
}

#[test]
fn a_variable_frame_rate() {
    check_some(5);
}

#[test]
fn a_variable_frame_rate_decimated() {
    check_some(6);
}

#[test]
fn open_groups_of_pictures_in_h264() {
    check_some(7);
}

#[test]
fn open_groups_of_pictures_in_hevc() {
    check_some(8);
}

#[test]
fn interlaced_mpeg2_with_its_fields() {
    check_some(9);
    // And the fields stay what they are.
    let case = Case::new(interlaced_mpeg2(), "");
    let output = case.folder.path().join("out.mkv");
    let options = RipOptions { chunk: ChunkLength::Frames(16), workers: Some(2), ..RipOptions::default() };
    rip(&case.script(), "-c:v ffv1", &output, &options);
    let order = probe_video(&output)["field_order"].as_str().unwrap_or("-").to_owned();
    // Stored top field first; "tb" is libav's word for a frame whose lines are interleaved.
    assert!(["tt", "tb"].contains(&order.as_str()), "{order}");
}

/// What the few combinations leave out is left to the long test; no pair of two settings' values is.
#[test]
fn the_few_combinations_cover_every_value() {
    let few: Vec<Combination> = (0..CASES.len()).flat_map(some_combinations).collect();
    let met = |one: &dyn Fn(&Combination) -> String, count: usize| {
        let mut values: Vec<String> = few.iter().map(one).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), count, "{values:?}");
    };
    met(&|one| format!("{} {:?}", one.command, one.chunk), COMMANDS.len() * CHUNKS.len());
    met(&|one| format!("{} {}", one.command, one.workers), COMMANDS.len() * WORKERS.len());
    met(&|one| format!("{} {:?}", one.workers, one.environments), WORKERS.len() * ENVIRONMENTS.len());
    met(&|one| format!("{:?} {}", one.chunk, one.workers), CHUNKS.len() * WORKERS.len());
}

#[test]
#[ignore = "takes many minutes: every clip in every combination"]
fn every_case_in_every_combination() {
    for (name, case) in CASES {
        let case = case();
        for combination in combinations() {
            eprintln!("{name}: {combination:?}");
            case.check(&combination);
        }
    }
}

/// Encoders that reorder, hide or group pictures in ways of their own, divided and joined: every picture is there, in its
/// place, and a decoder has nothing to say about the joins.
#[test]
fn what_other_encoders_make_can_be_joined() {
    let case = Case::new(open_gop_h264(), "clip = clip[:24]");
    let lossy = [
        ("-c:v libsvtav1 -preset 12", "mp4"),
        ("-c:v rav1e -speed 10", "mkv"),
        ("-c:v libvpx-vp9 -cpu-used 8 -deadline realtime -auto-alt-ref 1 -lag-in-frames 10", "webm"),
        ("-c:v libaom-av1 -cpu-used 8 -lag-in-frames 4", "mp4"),
        ("-c:v mpeg4 -bf 2 -q:v 3", "mp4"),
        ("-c:v mpeg2video -bf 2 -q:v 3", "mkv"),
        ("-c:v prores_ks", "mov"),
        ("-c:v libx265 -preset ultrafast -x265-params open-gop=1:bframes=4:log-level=none", "mkv"),
    ];
    for (command, extension) in lossy {
        let output = case.folder.path().join("out").with_extension(extension);
        joined(&case, command, &output);
        assert_eq!(frame_hashes(&output, "yuv420p").len(), 24, "{command} in {extension}");
    }
    let lossless = [
        "-c:v libvpx-vp9 -lossless 1 -cpu-used 8 -deadline realtime",
        "-c:v ffvhuff",
        "-c:v libx264 -qp 0 -bf 0",
        // Their four-character codes say how the pixels are stored.
        "-c:v utvideo",
        "-c:v rawvideo",
    ];
    for command in lossless {
        let output = case.folder.path().join("out.mkv");
        joined(&case, command, &output);
        assert_same_frames(&frame_hashes(&output, "yuv420p"), &case.hashes, &command);
    }
}

/// A four-character code that says what the packets hold is the one that a single pass writes.
#[test]
fn four_character_codes_are_kept() {
    let case = Case::new(open_gop_h264(), "clip = clip[:24]");
    let codes = [
        ("-c:v prores_ks -profile:v 0", "mov"),
        ("-c:v prores_ks -profile:v 3", "mkv"),
        ("-c:v utvideo", "mkv"),
        ("-c:v rawvideo -pix_fmt yuv422p", "mkv"),
        ("-c:v magicyuv", "mkv"),
        ("-c:v libx264", "mp4"),
        ("-c:v libx265 -preset ultrafast -x265-params log-level=none", "mp4"),
        ("-c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1", "mp4"),
        ("-c:v mpeg4", "avi"),
    ];
    for (command, extension) in codes {
        let [one, joined] = ["one", "joined"].map(|name| case.folder.path().join(name).with_extension(extension));
        encode(&case.script(), command, &one);
        let options = RipOptions { chunk: ChunkLength::Frames(10), workers: Some(2), ..RipOptions::default() };
        rip(&case.script(), command, &joined, &options);
        let [one, joined] = [one, joined].map(|path| probe_video(&path));
        for field in ["codec_tag_string", "pix_fmt", "profile", "nb_read_frames"] {
            assert_eq!(joined[field], one[field], "{field} of {command} in {extension}");
        }
    }
}

/// Rips in chunks of 10 frames, and checks the packets' times and that a decoder is content.
fn joined(case: &Case, command: &str, output: &Path) {
    let options = RipOptions { chunk: ChunkLength::Frames(10), workers: Some(2), ..RipOptions::default() };
    let report = rip(&case.script(), command, output, &options);
    assert_eq!((report.pictures, report.chunks), (24, 3), "{command}");
    let shown = sane_times(output);
    let wanted = (0..24).map(|frame| f64::from(frame) / 25.0);
    assert_eq!(shown.len(), 24, "{command}");
    assert!(shown.iter().zip(wanted).all(|(shown, wanted)| (shown - wanted).abs() < 0.000_501), "{command}: {shown:?}");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "warning", "-i"]).arg(output).args([
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "null",
        "-",
    ]);
    let said = ffmpeg.output().unwrap().stderr;
    assert_eq!(String::from_utf8_lossy(&said), "", "{command} into {}", output.display());
}

/// Raw streams have no container that says where a picture ends: at each join two IDR pictures must not look like one.
#[test]
fn joins_hold_in_a_raw_stream_too() {
    let case = Case::new(open_gop_h264(), "clip = clip[:23]");
    for frames in [1, 7] {
        let output = case.folder.path().join("out.mkv");
        let options =
            RipOptions { chunk: ChunkLength::Frames(frames), scene: false, workers: Some(2), ..RipOptions::default() };
        rip(&case.script(), "-c:v libx264 -preset ultrafast -qp 0 -g 1", &output, &options);
        let raw = case.folder.path().join("out.h264");
        run(Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(&output).args(["-c", "copy"]).arg(&raw));
        assert_same_frames(&frame_hashes(&raw, "yuv420p"), &case.hashes, &frames);
    }
}

/// Filters of the command that leave pictures out, or move them, leave the others where they are: beside the sound, and as one
/// pass of `encode` has them.
#[test]
fn what_the_commands_filters_leave_out_is_a_gap() {
    let case = Case::new(open_gop_h264(), "");
    let filters = [
        "mpdecimate=max=3:hi=100000:lo=100000:frac=1",
        "select='not(between(mod(n\\,9)\\,2\\,5))'",
        "setpts=2*PTS",
        "trim=start_frame=10",
    ];
    for filter in filters {
        for encoder in ["libx264 -preset veryfast -qp 0 -bf 3", "ffv1"] {
            let command = format!("-c:v {encoder} -vf {filter}");
            let [one, joined] = ["one.mkv", "joined.mkv"].map(|name| case.folder.path().join(name));
            encode(&case.script(), &command, &one);
            let report = rip(&case.script(), &command, &joined, &RipOptions::default());
            let (wanted, found) = (sane_times(&one), sane_times(&joined));
            assert!(wanted.last() > Some(&3.8), "{command}: the single pass has no gaps: {wanted:?}");
            assert_eq!(found.len(), wanted.len(), "{command}");
            // A gap at the start is no part of what is shown: the first picture is the beginning of both.
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 0.001_001, "{command}: a picture at {found}, not at {wanted}");
            }
            assert!((report.duration - wanted.last().unwrap() - 0.04).abs() < 0.041, "{command}: {}", report.duration);
            assert_same_frames(&frame_hashes(&joined, "yuv420p"), &frame_hashes(&one, "yuv420p"), &command);
        }
    }
}

/// The command may make more or fewer pictures of the frames than go in: that says nothing of how the frames are spaced.
#[test]
fn another_rate_of_the_command_is_no_change_of_timing() {
    let case = Case::new(open_gop_h264(), "");
    let whole = RipOptions::default();
    let undivided = RipOptions { slice: false, ..RipOptions::default() };
    let cases = [
        ("-r 30", &whole, "30/1"),
        ("-vf yadif=1", &whole, "50/1"),
        ("-vf framestep=2", &whole, "25/2"),
        ("-frames:v 30", &undivided, "25/1"),
    ];
    for (arguments, options, rate) in cases {
        let command = format!("-c:v ffv1 {arguments}");
        let [one, joined] = ["one.mkv", "joined.mkv"].map(|name| case.folder.path().join(name));
        encode(&case.script(), &command, &one);
        let (ended, events) = try_rip(&case.script(), &command, &joined, options);
        ended.unwrap_or_else(|error| panic!("{command}: {}", whole_text(&error)));
        let changed = events.iter().any(|event| matches!(event, RipEvent::TimingChanged { .. }));
        assert!(!changed, "{command}: encoded a second time");
        assert_eq!(probe_video(&joined)["avg_frame_rate"], rate, "{command}");
        assert_eq!(sane_times(&joined), sane_times(&one), "{command}");
        assert_same_frames(&frame_hashes(&joined, "yuv420p"), &frame_hashes(&one, "yuv420p"), &command);
    }
}

/// Without a header for parameter sets they are in the stream, as an encoder writes it for these containers.
#[test]
fn containers_without_headers_get_start_codes() {
    let case = Case::new(open_gop_h264(), "");
    let x265 = "-c:v libx265 -preset ultrafast -x265-params lossless=1:log-level=none";
    for (command, name) in [
        ("-c:v libx264 -preset veryfast -qp 0 -bf 2", "out.mpg"),
        ("-c:v libx264 -preset veryfast -qp 0 -bf 0", "out.avi"),
        ("-c:v libx264 -preset veryfast -qp 0 -bf 2", "out.ts"),
        (x265, "out.ts"),
    ] {
        let output = case.folder.path().join(name);
        let options = RipOptions { chunk: ChunkLength::Frames(30), workers: Some(2), ..RipOptions::default() };
        rip(&case.script(), command, &output, &options);
        assert_same_frames(&frame_hashes(&output, "yuv420p"), &case.hashes, &name);
    }
}

/// The sound of a range of frames is what is heard meanwhile.
#[test]
fn a_range_of_frames_comes_with_its_sound() {
    let arguments = ["-f", "lavfi", "-i", "anoisesrc=d=4:r=44100:seed=7", "-c:v", "libx264", "-c:a", "flac"];
    let source = source("with-sound.mkv", NOISY, &arguments);
    let case = Case::new(source.clone(), "");
    let output = case.folder.path().join("out.mkv");
    let samples = |path: &Path, part: &[&str]| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error"]).args(part).arg("-i").arg(path).args(["-map", "0:a"]);
        ffmpeg.args(["-c:a", "pcm_s16le", "-f", "data", "-"]);
        run(&mut ffmpeg)
    };
    let range = Some(FrameRange { start: 25, end: 75 });
    let report = rip(&case.script(), "-c:v ffv1", &output, &RipOptions { range, ..RipOptions::default() });
    assert_eq!(report.pictures, 50);
    assert_same_frames(&frame_hashes(&output, "yuv420p"), &case.hashes[25..75], &"a range");
    // Whole packets of sound: all of the second and third second but what lies across the edges.
    let (kept, all) = (samples(&output, &[]), samples(&source, &[]));
    let at = all.windows(64).position(|window| window == &kept[..64]).unwrap();
    assert!((88_200..88_200 + 2 * 4608).contains(&at), "{at}");
    assert!(all[at..].starts_with(&kept));
    let end = at + kept.len();
    assert!((3 * 88_200..3 * 88_200 + 2 * 4608).contains(&end), "{end}");
    // And in their place.
    let packets = String::from_utf8(run(Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(&output)))
    .unwrap();
    let first: f64 = packets.lines().next().unwrap().trim_matches(',').parse().unwrap();
    assert!((first - (at - 88_200) as f64 / 88_200.0).abs() < 0.001, "{first}");
}

#[test]
fn a_limit_on_frames_and_a_range_take_the_same_frames() {
    let case = Case::new(open_gop_h264(), SMOOTHED);
    let output = case.folder.path().join("out.mkv");
    let options = RipOptions { chunk: ChunkLength::Frames(16), workers: Some(2), ..RipOptions::default() };
    let report = rip(&case.script(), "-c:v ffv1 -frames:v 40", &output, &options);
    assert_eq!((report.pictures, report.range, report.chunks), (40, (0..40).into(), 3));
    assert_same_frames(&frame_hashes(&output, "yuv420p"), &case.hashes[..40], &"-frames:v 40");
    let ranged = RipOptions { range: Some(FrameRange { start: 13, end: 77 }), ..options.clone() };
    let report = rip(&case.script(), "-c:v ffv1", &output, &ranged);
    assert_eq!((report.pictures, report.range), (64, (13..77).into()));
    assert_same_frames(&frame_hashes(&output, "yuv420p"), &case.hashes[13..77], &"13..77");
    let report = rip(&case.script(), "-c:v ffv1 -frames:v 20", &output, &ranged);
    assert_eq!((report.pictures, report.range), (20, (13..33).into()));
    assert_same_frames(&frame_hashes(&output, "yuv420p"), &case.hashes[13..33], &"13..77, of it 20");
}

/// What ffmpeg makes of the single pass with a filter of its own.
fn filtered_hashes(case: &Case, filter: &str) -> Vec<String> {
    let folder = scratch();
    let raw = folder.path().join("filtered.nut");
    pipe_to_ffmpeg(&case.script, Some(&case.source), &["-vf", filter, "-c:v", "rawvideo"], &raw);
    frame_hashes(&raw, "yuv420p")
}

#[test]
fn a_filter_of_the_command_that_sees_one_frame_is_applied_in_chunks() {
    let case = Case::new(open_gop_h264(), SMOOTHED);
    let output = case.folder.path().join("out.mkv");
    // As the pipe sees the frames, so that the scaler is told the same.
    let options = RipOptions { chunk: ChunkLength::Frames(16), ignore_props: true, ..RipOptions::default() };
    let report = rip(&case.script(), "-c:v ffv1 -vf scale=160:90", &output, &options);
    assert_eq!((report.chunks, report.width, report.height), (7, 160, 90));
    assert_same_frames(&frame_hashes(&output, "yuv420p"), &filtered_hashes(&case, "scale=160:90"), &"scale");
}

#[test]
fn a_filter_of_the_command_that_sees_several_frames_is_not_divided() {
    let case = Case::new(open_gop_h264(), "");
    let output = case.folder.path().join("out.mkv");
    let mut program = Command::new(example("rip"));
    program.arg(&case.script).arg(&output).arg("--source").arg(&case.source);
    program.args(["--param", "-c:v ffv1 -vf hqdn3d", "--chunk", "16f", "--ignore-props"]);
    let ended = program.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("hqdn3d") && said.contains("not divided"), "no warning in:\n{said}");
    assert!(said.contains("100 frames in 1 chunk"), "{said}");
    assert_same_frames(&frame_hashes(&output, "yuv420p"), &filtered_hashes(&case, "hqdn3d"), &"hqdn3d");
}
