//! When pictures are shown: a clip keeps the rate that it has unless its frames are truly spaced otherwise, and then each is shown
//! when it has to be. Sources by the distribution's ffmpeg, filters as people use them, times by ffprobe.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::rips::*;
use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, Options, Rational, Report, RipEvent, RipOptions, RipReport, Script};

const X264: &str = "-c:v libx264 -preset ultrafast -bf 2";

/// Small pictures, no two of them the same, at a rate and for so many seconds, with sound.
fn with_sound(name: &str, rate: &str, seconds: u32, more: &[&str]) -> PathBuf {
    let length = seconds.to_string();
    let input = format!("testsrc2=s=64x48:r={rate}:d={length}");
    let sound = format!("sine=frequency=440:sample_rate=48000:duration={length}");
    let mut arguments = vec!["-f", "lavfi", "-i", &sound, "-c:v", "libx264", "-preset", "ultrafast", "-g", "48"];
    arguments.extend(["-c:a", "aac", "-b:a", "32k"]);
    arguments.extend(more);
    source(name, &input, &arguments)
}

/// The file's packets in another container, as ffmpeg copies them.
fn copied(from: &Path, extension: &str) -> PathBuf {
    let to = from.with_extension(extension);
    run(Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(from).args(["-c", "copy"]).arg(&to));
    to
}

fn rate(num: i64, den: i64) -> Option<Rational> {
    Rational::new(num, den)
}

/// Encodes, and checks that no frame was encoded twice.
#[track_caller]
fn encode_once(script: &Script, command: &str, output: &Path) -> Report {
    let command = EncodeCommand::parse(command).unwrap();
    let options = Options { progress_interval: std::time::Duration::ZERO, ..Options::default() };
    let mut frames = 0;
    let report = finalrip_core::encode(script, &command, output, &options, |progress| {
        assert!(progress.frames >= frames, "it began again after {frames} frames");
        frames = progress.frames;
    });
    report.unwrap_or_else(|error| panic!("{}: {error}", output.display()))
}

/// Rips in chunks of 100 frames, and checks that none was encoded twice.
#[track_caller]
fn rip_once(script: &Script, command: &str, output: &Path) -> RipReport {
    let options = RipOptions { chunk: ChunkLength::Frames(100), workers: Some(2), ..RipOptions::default() };
    let (report, events) = try_rip(script, command, output, &options);
    assert!(!events.iter().any(|event| matches!(event, RipEvent::TimingChanged { .. })), "it began again");
    let report = report.unwrap_or_else(|error| panic!("{}: {}", output.display(), whole_text(&error)));
    let finished = events.iter().filter(|event| matches!(event, RipEvent::ChunkFinished { .. })).count();
    assert_eq!(finished, report.chunks, "each chunk once");
    report
}

/// Checks that picture after picture is shown a period after the one before.
#[track_caller]
fn assert_even(output: &Path, (num, den): (i64, i64), pictures: usize, tolerance: f64) {
    let shown = sane_times(output);
    assert_eq!(shown.len(), pictures, "{}", output.display());
    for (index, time) in shown.iter().enumerate() {
        let wanted = shown[0] + index as f64 * den as f64 / num as f64;
        assert!((time - wanted).abs() < tolerance, "{}: picture {index} at {time}, not {wanted}", output.display());
    }
}

#[track_caller]
fn assert_times(output: &Path, wanted: &[f64], tolerance: f64) {
    let shown = sane_times(output);
    assert_eq!(shown.len(), wanted.len(), "{}", output.display());
    for (index, (time, wanted)) in shown.iter().zip(wanted).enumerate() {
        let time = time - shown[0];
        assert!((time - wanted).abs() < tolerance, "{}: picture {index} at {time}, not {wanted}", output.display());
    }
}

/// Filters that double the rate and hand durations on as they are: a field bobber, and frames that are doubled.
const BOBS: [&str; 2] = [
    "fields = core.std.SeparateFields(clip, tff=True)\n\
     clip = core.std.CopyFrameProps(fields, core.std.Interleave([clip, clip], modify_duration=False))",
    "old = core.std.Interleave([clip, clip], modify_duration=False)\n\
     clip = core.std.Interleave([clip, clip]).std.CopyFrameProps(old, props=['_DurationNum', '_DurationDen'])",
];

#[test]
fn a_bob_that_copies_durations_plays_at_its_own_rate() {
    let folder = scratch();
    let mkv = with_sound("bob.mkv", "30000/1001", 4, &[]);
    let sources = [copied(&mkv, "mp4"), copied(&mkv, "ts"), mkv];
    for (number, (input, bob)) in sources.iter().zip(BOBS.iter().cycle()).enumerate() {
        let script = Script::from_text(over_source(bob)).source(input);
        let output = folder.path().join(format!("{number}.mp4"));
        let report = encode_once(&script, X264, &output);
        assert_eq!(report.frame_rate, rate(60_000, 1001), "{}", input.display());
        assert!(report.notes[0].contains("2.0") && report.notes[0].contains("60000/1001"), "{:?}", report.notes);
        assert_even(&output, (60_000, 1001), 240, 0.000_002);
        let output = output.with_extension("mkv");
        let report = rip_once(&script, X264, &output);
        assert_eq!((report.frame_rate, report.pictures), (rate(60_000, 1001), 240));
        assert!(report.notes.iter().any(|note| note.contains("2.0")), "{:?}", report.notes);
        assert_even(&output, (60_000, 1001), 240, 0.0011);
    }
}

/// Whole milliseconds of which a biased choice is left.
#[test]
fn a_decimated_matroska_source_keeps_its_rate() {
    let folder = scratch();
    let input = with_sound("sixty.mkv", "60000/1001", 20, &[]);
    let clips = [
        ("clip = clip[::2]", (30_000, 1001)),
        ("clip = clip.std.SelectEvery(5, [0, 2])", (24_000, 1001)),
        ("clip = clip.std.SelectEvery(5, [0, 1, 2, 3])", (48_000, 1001)),
        ("clip = clip[::3].std.CopyFrameProps(clip.std.SelectEvery(3, [0], modify_duration=False))", (20_000, 1001)),
    ];
    for (body, (num, den)) in clips {
        let script = Script::from_text(over_source(body)).source(&input);
        let output = folder.path().join("out.mp4");
        let report = rip_once(&script, X264, &output);
        assert_eq!(report.frame_rate.map(|rate| (rate.num(), rate.den())), Some((num, den)), "{body}");
        assert_even(&output, (num, den), report.pictures as usize, 0.000_002);
        assert_eq!(encode_once(&script, X264, &output).frame_rate, rate(num, den), "{body}");
    }
}

/// The plugin is no part of what scripts see here: it lies beside pytest's.
fn with_vivtc(body: &str) -> String {
    let folder = root().join(".tools/pytest/lib");
    let pythons = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let plugin = pythons.map(|python| python.path().join("site-packages/vapoursynth/plugins/vivtc.so"));
    let plugin = plugin.into_iter().find(|path| path.is_file()).expect("vivtc in .tools/pytest: run `make test`");
    over_source(&format!("core.std.LoadPlugin({plugin:?})\n{body}"))
}

/// A decimator whose last cycle is cut short leaves the last frames their old durations.
#[test]
fn an_inverse_telecine_is_encoded_once_whatever_its_length() {
    let folder = scratch();
    let telecine = ["-vf", "telecine=first_field=top", "-r", "30000/1001", "-flags", "+ilme+ildct"];
    let mkv = with_sound("telecine.mkv", "24000/1001", 8, &telecine);
    for (input, lengths) in [(copied(&mkv, "mp4"), 93..95), (mkv, 95..99)] {
        for length in lengths {
            let body = format!("clip = core.vivtc.VDecimate(core.vivtc.VFM(clip[:{length}], 1))");
            let script = Script::from_text(with_vivtc(&body)).source(&input);
            let output = folder.path().join("out.mp4");
            let report = encode_once(&script, X264, &output);
            assert_eq!(report.frame_rate, rate(24_000, 1001), "{length} frames of {}", input.display());
            assert_even(&output, (24_000, 1001), report.pictures as usize, 0.000_002);
        }
        let script =
            Script::from_text(with_vivtc("clip = core.vivtc.VDecimate(core.vivtc.VFM(clip, 1))")).source(&input);
        let output = folder.path().join("rip.mkv");
        assert_eq!(rip_once(&script, X264, &output).frame_rate, rate(24_000, 1001));
    }
}

/// 600 frames at 25 a second, then 120 at 10: what is variable shows only when much is done.
const LATE: &str = "def stretch(n, f):\n    out = f.copy()\n    out.props['_DurationNum'] = 2 if n < 600 else 5\n    \
                    out.props['_DurationDen'] = 50\n    return out\n\
                    clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=720, fpsnum=25, fpsden=1)\n\
                    clip = core.std.ModifyFrame(clip, clip, stretch)";

fn late_times() -> Vec<f64> {
    (0..720).map(|n: i32| f64::from(n.min(600)) * 0.04 + f64::from((n - 600).max(0)) * 0.1).collect()
}

#[test]
fn a_clip_that_is_variable_only_late_is_exact_and_encoded_once() {
    let folder = scratch();
    let script = Script::from_text(text_script(LATE));
    for (command, name, tolerance) in [
        (X264, "out.mp4", 0.000_002),
        (X264, "out.mkv", 0.000_6),
        (X264, "out.ts", 0.000_02),
        ("-c:v ffv1", "out.mkv", 0.000_6),
        ("-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "out.webm", 0.000_6),
        // Its bitstream counts time in frames of a rate, which variable timing cannot ask of it.
        ("-c:v mpeg2video -bf 2", "out.mkv", 0.000_6),
        ("-c:v mpeg4", "out.mp4", 0.000_002),
    ] {
        let output = folder.path().join(name);
        let report = encode_once(&script, command, &output);
        assert_eq!((report.frame_rate, report.pictures), (None, 720), "{command}");
        assert!((report.duration - 36.0).abs() < 0.001, "{command}: {}", report.duration);
        assert_eq!(report.bytes, std::fs::metadata(&output).unwrap().len(), "{command}");
        assert_times(&output, &late_times(), tolerance);
        let hashes = frame_hashes(&output, "yuv420p");
        let report = rip_once(&script, command, &output);
        assert_eq!((report.frame_rate, report.pictures), (None, 720), "{command}");
        assert_times(&output, &late_times(), tolerance);
        assert_eq!(frame_hashes(&output, "yuv420p").len(), hashes.len(), "{command}");
    }
}

/// 12 s at 30 frames a second, then 12 s at 10, as ffmpeg makes it.
fn thirty_and_ten() -> PathBuf {
    let select = "select='if(lt(t,12),1,not(mod(n,3)))'";
    with_sound("thirty-and-ten.mp4", "30", 24, &["-vf", select, "-fps_mode", "vfr", "-bf", "0"])
}

#[test]
fn a_variable_source_is_exact_in_chunks() {
    let folder = scratch();
    let input = thirty_and_ten();
    let script = Script::from_text(over_source("")).source(&input);
    let wanted = sane_times(&input);
    for name in ["out.mp4", "out.mkv"] {
        let output = folder.path().join(name);
        let options = RipOptions { chunk: ChunkLength::Frames(100), workers: Some(2), ..RipOptions::default() };
        rip(&script, X264, &output, &options);
        assert_times(&output, &wanted, if name == "out.mkv" { 0.001_1 } else { 0.000_1 });
    }
}

/// The brightness of each picture says which one it is: when it is first shown, counted in pictures of the source.
fn first_shown(output: &Path) -> Vec<f64> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(output).args(["-map", "0:v:0", "-fps_mode", "passthrough", "-vf"]);
    ffmpeg.args(["scale=1:1:flags=area,format=gray", "-f", "rawvideo", "-"]);
    let levels = run(&mut ffmpeg);
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time"]);
    let shown = String::from_utf8(run(ffprobe.args(["-of", "csv=p=0"]).arg(output))).unwrap();
    let times: Vec<f64> = shown.lines().filter_map(|line| line.trim_matches([',', ' ']).parse().ok()).collect();
    assert_eq!(levels.len(), times.len(), "{}", output.display());
    let changes = (0..levels.len()).filter(|&at| at == 0 || levels[at].abs_diff(levels[at - 1]) > 8);
    changes.map(|at| times[at] - times[0]).collect()
}

/// Each picture is 40 levels from the one before; uneven, on a rate of 25: seven durations in turn.
const UNEVEN: &str = "lengths = [1, 4, 2, 3, 2, 5, 2]\n\
    def level(n, f):\n    out = f.copy()\n    out.props['_DurationNum'] = lengths[n % 7]\n    out.props['_DurationDen'] = 50\n    return out\n\
    parts = [core.std.BlankClip(width=64, height=48, format=vs.GRAY8, length=1, fpsnum=25, fpsden=1, color=[20 + 40 * i]) for i in range(5)]\n\
    clip = core.std.Splice(parts * 24).resize.Point(format=vs.YUV420P8)\n\
    clip = core.std.ModifyFrame(clip, clip, level)";

#[test]
fn containers_of_constant_rates_show_variable_pictures_in_their_time() {
    let folder = scratch();
    let script = Script::from_text(text_script(UNEVEN));
    let lengths = [1.0, 4.0, 2.0, 3.0, 2.0, 5.0, 2.0];
    let wanted: Vec<f64> = (0..120)
        .scan(0.0, |at, n: usize| {
            let start = *at;
            *at += lengths[n % 7] / 50.0;
            Some(start)
        })
        .collect();
    for (command, name) in [
        ("-c:v libx264 -preset ultrafast -qp 10 -bf 0", "out.avi"),
        ("-c:v wmv2 -q:v 2", "out.wmv"),
        ("-c:v libtheora -q:v 10", "out.ogv"),
        ("-c:v mpeg2video -q:v 2 -bf 0", "out.mxf"),
        ("-c:v libx264 -preset ultrafast -qp 10 -bf 0", "out.wtv"),
    ] {
        for chunked in [false, true] {
            let output = folder.path().join(name);
            let options = RipOptions { chunk: ChunkLength::Frames(30), workers: Some(2), ..RipOptions::default() };
            match chunked {
                true => drop(rip(&script, command, &output, &options)),
                false => drop(encode(&script, command, &output)),
            }
            let shown = first_shown(&output);
            // The shortest is 1/50 s, and so is the grid's period: none is left out, and each is in its place.
            assert_eq!(shown.len(), wanted.len(), "{name}");
            let off = shown.iter().zip(&wanted).map(|(shown, wanted)| (shown - wanted).abs()).fold(0.0, f64::max);
            assert!(off <= 0.0105, "{name}: {off} s off, {shown:?}");
        }
    }
}

/// As many pictures as the ffmpeg program makes of a variable source, at the same rate, whatever average a source filter tells.
#[test]
fn the_grid_of_a_variable_source_is_that_of_the_ffmpeg_program() {
    let folder = scratch();
    let select = "select='if(lt(t,3),1,not(mod(n,3)))'";
    let input = with_sound("three-and-three.mp4", "30", 6, &["-vf", select, "-fps_mode", "vfr", "-bf", "0"]);
    let script = Script::from_text(over_source("")).source(&input);
    let facts = |file: &Path| {
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"]);
        let entries = ["-show_entries", "stream=r_frame_rate,nb_read_frames"];
        String::from_utf8(run(ffprobe.args(entries).arg(file))).unwrap().trim().to_owned()
    };
    for (command, name) in [
        ("-c:v libx264 -preset ultrafast -bf 0", "out.avi"),
        ("-c:v wmv2", "out.wmv"),
        ("-c:v libtheora -q:v 8", "out.ogv"),
        ("-c:v mpeg2video -bf 0", "out.mxf"),
        ("-c:v mpeg2video -bf 0", "out.mpg"),
    ] {
        let theirs = folder.path().join("theirs").with_extension(name.trim_start_matches("out."));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-i"]).arg(&input).args(["-an", "-r", "30", "-fps_mode", "cfr"]);
        run(ffmpeg.args(command.split(' ')).arg(&theirs));
        let output = folder.path().join(name);
        let report = encode(&script, command, &output);
        assert_eq!(report.frame_rate, rate(30, 1), "{name}");
        assert_eq!(facts(&output), facts(&theirs), "{name}");
        rip(&script, command, &output, &RipOptions::default());
        assert_eq!(facts(&output), facts(&theirs), "a rip into {name}");
    }
    // What the command says goes before.
    let output = folder.path().join("out.avi");
    assert_eq!(encode(&script, &format!("{X264} -r 25"), &output).frame_rate, rate(25, 1));
}

#[test]
fn a_clip_of_another_length_than_its_source_is_told_before_it_is_encoded() {
    let folder = scratch();
    let input = with_sound("six.mkv", "30", 6, &[]);
    let cases = [
        ("clip = clip.std.AssumeFPS(fpsnum=24)", Some("telecine")),
        ("clip = clip.std.AssumeFPS(fpsnum=60)", Some("doubled")),
        ("clip = clip[40:100]", Some("leaves frames out")),
        ("clip = clip[3:]", None),
        ("clip = clip.std.SelectEvery(2, [0])", None),
    ];
    for (body, cause) in cases {
        let script = Script::from_text(over_source(body)).source(&input);
        let output = folder.path().join("out.mkv");
        let (report, events) = try_rip(&script, X264, &output, &RipOptions::default());
        let told = events.iter().position(|event| matches!(event, RipEvent::LengthDiffers(_)));
        let begun = events.iter().position(|event| matches!(event, RipEvent::ChunkStarted { .. }));
        assert_eq!(told.is_some(), cause.is_some(), "{body}");
        let Some(cause) = cause else { continue };
        assert!(told < begun, "{body}");
        let notes = report.unwrap().notes;
        let note = notes.iter().find(|note| note.contains(cause)).unwrap_or_else(|| panic!("{body}: {notes:?}"));
        assert!(note.contains("source's picture 6.00 s"), "{note}");
    }
    // A range that was asked for comes with its own sound.
    let script = Script::from_text(over_source("")).source(&input);
    let range = RipOptions { range: Some((0..60).into()), ..RipOptions::default() };
    let (_, events) = try_rip(&script, X264, &folder.path().join("out.mkv"), &range);
    assert!(!events.iter().any(|event| matches!(event, RipEvent::LengthDiffers(_))));
}

#[test]
fn the_last_progress_of_a_rip_is_all_frames() {
    let folder = scratch();
    let script = Script::from_text(text_script(&moving("YUV420P8", 64, 48, 90)));
    let options = RipOptions { chunk: ChunkLength::Frames(40), workers: Some(2), ..RipOptions::default() };
    let (report, events) = try_rip(&script, X264, &folder.path().join("out.mkv"), &options);
    report.unwrap();
    let merge = events.iter().position(|event| matches!(event, RipEvent::MergeStarted { .. })).unwrap();
    let last = events[..merge].iter().rev().find_map(|event| match event {
        RipEvent::Progress(progress) => Some((progress.frames, progress.frames_total, progress.chunks)),
        _ => None,
    });
    assert_eq!(last, Some((90, 90, 3)));
}
