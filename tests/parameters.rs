//! Parameters of the encoders' libraries: what counts the whole stream's frames means the same frames in chunks, what
//! reads or writes files is refused, and what an encoder does not follow is an error.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::Path;
use std::process::Command;

use common::rips::*;
use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, Error, Options, RipOptions, Script};

/// Ninety frames.
fn clip(folder: &Path) -> Script {
    Script::from_path(script_file(folder, "s.vpy", &text_script(&moving("YUV420P8", 128, 96, 90))))
}

/// Chunks of 30 frames by one worker, or one encoder for all.
fn options(slice: bool) -> RipOptions {
    RipOptions { slice, chunk: ChunkLength::Frames(30), scene: false, workers: Some(1), ..RipOptions::default() }
}

/// The sizes of the packets, without those that begin a group: headers are there.
fn sizes(path: &Path) -> Vec<u64> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=size", "-of", "csv=p=0"]);
    let text = String::from_utf8(run(ffprobe.arg(path))).unwrap();
    let sizes = text.lines().map(|line| line.trim_matches(',').parse().unwrap());
    sizes.enumerate().filter(|(index, _)| index % 30 != 0).map(|(_, size)| size).collect()
}

/// x265 would name the zones in its headers (`info`), which is all that differs there then.
///
/// With a constant quantiser and a keyframe where each chunk begins, nothing but the zones tells chunks from one pass.
#[test]
fn zones_are_the_same_frames_in_chunks_as_in_one_pass() {
    let folder = scratch();
    let script = clip(folder.path());
    let x264 = "qp=40:keyint=30:min-keyint=30:scenecut=0:bframes=0";
    let x265 = "info=0:qp=40:keyint=30:min-keyint=30:scenecut=0:open-gop=0:frame-threads=1";
    let one = |command: &str, name: &str, slice: bool, range: Option<(u32, u32)>| {
        let output = folder.path().join(name);
        let range = range.map(|(start, end)| (start..end).into());
        rip(&script, command, &output, &RipOptions { range, ..options(slice) });
        output
    };
    let x264_program =
        "x264 --preset ultrafast --threads 1 --qp 40 --keyint 30 --min-keyint 30 --no-scenecut --bframes 0";
    let x265_program = "x265 --preset ultrafast --no-info --qp 40 --keyint 30 --min-keyint 30 --no-scenecut \
                        --no-open-gop --frame-threads 1 --bframes 0";
    let x264 = format!("-c:v libx264 -preset ultrafast -threads 1 LIST {x264}");
    let x265 = format!("-c:v libx265 -preset ultrafast -x265-params {x265}");
    for (command, zones, range) in [
        (x264.replace("LIST", "-x264-params"), ":zones=20,44,q=10/60,60,q=5/61,69,b=4", None),
        (x264.replace("LIST", "-x264opts"), ":zones=29,30,q=1", None),
        (x264_program.to_owned(), " --zones 35,50,q=12,ref=1/40,59,q=30 -o OUT -", Some((5, 65))),
        (format!("{x265}:bframes=0"), r":zones='20\,44,q=10/60,61,q=5'", None),
        (format!("{x265}:bframes=2"), ":zones=31,44,q=10", None),
        (x265_program.to_owned(), " --zones 35,50,b=4/59,80,q=12 -o OUT -", Some((0, 75))),
    ] {
        let whole = one(&format!("{command}{zones}"), "whole.mkv", false, range);
        let chunks = one(&format!("{command}{zones}"), "chunks.mkv", true, range);
        assert_eq!(sizes(&chunks), sizes(&whole), "{command}{zones}");
        assert_eq!(frame_hashes(&chunks, "yuv420p"), frame_hashes(&whole, "yuv420p"), "{command}{zones}");
        let plain = one(&command, "plain.mkv", false, range);
        assert_ne!(sizes(&plain), sizes(&whole), "the zones change nothing: {command}{zones}");
    }
}

#[test]
fn what_cannot_be_shifted_makes_one_chunk() {
    let folder = scratch();
    let output = folder.path().join("o.mkv");
    let command = "-c:v mpeg2video -gop_timecode 01:00:00:00 -threads 1";
    assert_eq!(rip(&clip(folder.path()), command, &output, &options(true)).chunks, 1);
    assert_eq!(rip(&clip(folder.path()), "-c:v mpeg2video -threads 1", &output, &options(true)).chunks, 3);
}

#[test]
fn files_in_parameters_are_refused_and_not_made() {
    let folder = scratch();
    let file = folder.path().join("file").display().to_string();
    for parameters in [
        "-c:v libx264 -x264-params stats=FILE",
        "-c:v libx264 -x264-params dump-yuv=FILE",
        "-c:v libx264 -x264-params dump_yuv=FILE",
        "-c:v libx264 -x264-params nodump-yuv=0",
        "-c:v libx264 -x264-params cqm=FILE",
        "-c:v libx264 -x264opts crf=20:dump-yuv=FILE",
        "-c:v libx264 -x264-params opencl-clbin=FILE",
        "x264 --cqm FILE -",
        "-c:v libx265 -x265-params csv=FILE",
        "-c:v libx265 -x265-params crf=20:'cs'v=FILE",
        "-c:v libx265 -x265-params analysis-save=FILE",
        "-c:v libx265 -x265-params analysis_load=FILE",
        "-c:v libx265 -x265-params scaling-list=FILE",
        "-c:v libx265 -x265-params lambda-file=FILE",
        "-c:v libx265 -x265-params nalu-file=FILE",
        "-c:v libx265 -x265-params dhdr10-info=FILE",
        "-c:v libx265 -x265-params no-csv=0",
        "x265 --scaling-list FILE -",
        "-c:v libaom-av1 -aom-params film-grain-table=FILE",
        "-c:v libaom-av1 -aom-params partition-info-path=FILE",
        "-c:v libaom-av1 -aom-params vmaf-model-path=FILE",
        "-c:v libsvtav1 -svtav1-params stat-file=FILE",
        "-c:v libsvtav1 -svtav1-params fgs-table=FILE",
        "SvtAv1EncApp -i - --svtav1-params roi-map-file=FILE",
        "aomenc --film-grain-table=FILE -o OUT -",
    ] {
        let text = parameters.replace("FILE", &file);
        let error = EncodeCommand::parse(&text).expect_err(&text).to_string();
        let reasons = ["no other files are read", "no file is written", "one pass", "analysis is not kept"];
        assert!(reasons.iter().any(|reason| error.contains(reason)), "{text}: {error}");
    }
    assert_eq!(files_in(folder.path()), [""; 0]);
    for text in [
        "-c:v libx264 -x264-params cqm=jvt:pass=0",
        "-c:v libx265 -x265-params scaling-list=default:frame-dup=0:copy-pic=1:csv-log-level=0",
        "x264 --cqm flat -",
        "x265 --scaling-list default --no-frame-dup --copy-pic -",
    ] {
        EncodeCommand::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

/// The judge is the ffmpeg program: where the encoder says there that it does not follow, it is an error here.
#[test]
fn an_option_that_the_encoder_does_not_follow_is_an_error() {
    let folder = scratch();
    let script = clip(folder.path());
    let output = folder.path().join("o.mkv");
    let mut refused = 0;
    for (arguments, says) in [
        ("-c:v libx265 -preset ultrafast -x265-params rd-refine=1", "rd-refine disabled"),
        ("-c:v libx265 -preset ultrafast -x265-params vbv-maxrate=500", "VBV maxrate specified, but no bufsize"),
        ("-c:v libx265 -preset ultrafast -x265-params hrd=1", "HRD parameters require VBV"),
        ("-c:v libx265 -preset ultrafast -x265-params limit-tu=4", "limit-tu disabled"),
        ("-c:v libx265 -preset ultrafast -x265-params crf=30:lookahead-slices=4", "VBV"),
        ("-c:v libx264 -preset ultrafast -maxrate 500k", "VBV maxrate specified, but no bufsize"),
        (
            "-c:v libx264 -preset ultrafast -x264-params intra-refresh=1:open-gop=1:keyint=20",
            "not compatible with open-gop",
        ),
        ("-c:v libx264 -preset ultrafast -x264-params crf=30:ref=2", "ignored"),
        (
            "-c:v libsvtav1 -preset 12 -svtav1-params enable-qm=1:qm-min=15:qm-max=15",
            "Quantization matrices will be forced off",
        ),
        ("-c:v libsvtav1 -preset 12 -svtav1-params film-grain-denoise=1", "going to be ignored"),
        ("-c:v libsvtav1 -preset 12 -svtav1-params crf=40", "ignored"),
    ] {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "info", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=0.2", "-pix_fmt", "yuv420p"]);
        let judged = ffmpeg.args(arguments.split(' ')).args(["-f", "null", "-"]).output().unwrap();
        let is_followed = !String::from_utf8_lossy(&judged.stderr).contains(says);
        let command = EncodeCommand::parse(arguments).unwrap();
        let made = finalrip_core::encode(&script, &command, &output, &Options::default(), |_| {});
        match made.err() {
            None => assert!(is_followed, "{arguments}: the encoder says {says:?}"),
            Some(error @ Error::Encoder { .. }) => {
                refused += 1;
                let text = whole_text(&error);
                assert!(!is_followed && text.contains(says), "{arguments}: {text}");
            }
            Some(error) => panic!("{arguments}: {error:?}"),
        }
    }
    assert!(refused >= 4, "{refused}");
    assert_eq!(files_in(folder.path()).iter().filter(|name| name.contains("part")).count(), 0);
}

#[test]
fn what_would_crash_the_process_ends_in_order() {
    let folder = scratch();
    let body = format!("{}\nclip = clip.resize.Point(format=vs.YUV420P10)", moving("YUV420P8", 98, 66, 10));
    let script = Script::from_path(script_file(folder.path(), "s.vpy", &text_script(&body)));
    for command in
        ["x265 --preset ultrafast --hist-scenecut -o OUT -", "-c:v libx265 -x265-params hist-scenecut=1:log-level=none"]
    {
        let command = EncodeCommand::parse(command).unwrap();
        let made = finalrip_core::encode(&script, &command, folder.path().join("o.mkv"), &Options::default(), |_| {});
        // Another release than 3.5 may encode it.
        if let Err(error) = made {
            assert!(whole_text(&error).contains("hist-scenecut at more than 8 bits"), "{}", whole_text(&error));
        }
    }
}
