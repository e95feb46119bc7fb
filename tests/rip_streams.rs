//! A rip and the streams beside its video: what the command says of them, and what containers make of them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::rips::{over_source, rip, try_rip, whole_text};
use common::run;
use finalrip_core::{ChunkLength, EncodeCommand, Error, FrameRange, RipEvent, RipOptions, Script, StreamAction};
use serde_json::Value;

/// Two seconds of small pictures, with sound by `codec`, in a file of this name.
fn source(folder: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = folder.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=d=2:sample_rate=48000"]).args(arguments.split(' ')).arg(&path);
    run(&mut ffmpeg);
    path
}

fn script(source: &Path) -> Script {
    Script::from_text(over_source("")).source(source)
}

fn options() -> RipOptions {
    RipOptions { chunk: ChunkLength::Frames(25), scene: false, workers: Some(1), ..RipOptions::default() }
}

fn streams(path: &Path) -> Vec<Value> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_streams", "-of", "json"]).arg(path);
    let shown: Value = serde_json::from_slice(&run(&mut ffprobe)).expect("JSON from ffprobe");
    shown["streams"].as_array().expect("streams").clone()
}

fn codecs(path: &Path) -> Vec<String> {
    streams(path).iter().map(|stream| stream["codec_name"].as_str().unwrap_or("none").to_owned()).collect()
}

#[test]
fn a_command_says_what_becomes_of_the_sound() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), "in.mkv", "-c:v libx264 -preset ultrafast -c:a aac");
    for (number, (said, found)) in
        [("-c:a libopus -b:a 48k", vec!["h264", "opus"]), ("-an", vec!["h264"]), ("-c:a copy", vec!["h264", "aac"])]
            .into_iter()
            .enumerate()
    {
        let output = folder.path().join(format!("out{number}.mkv"));
        rip(&script(&source), &format!("-c:v libx264 -preset ultrafast {said}"), &output, &options());
        assert_eq!(codecs(&output), found, "{said}");
    }
}

/// Nothing is encoded for a command that cannot be followed to its end.
#[test]
fn what_cannot_be_done_is_said_before_the_first_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), "in.mkv", "-c:v libx264 -preset ultrafast -c:a wmav2");
    let output = folder.path().join("out.mp4");
    for (said, named) in [("-c:a copy", "-c:a"), ("-map 0:v", "-map 0:v"), ("-shortest", "-shortest")] {
        let (ended, events) = try_rip(&script(&source), &format!("-c:v libx264 {said}"), &output, &options());
        let error = ended.unwrap_err();
        assert!(matches!(error, Error::Command(_)) && error.to_string().contains(named), "{}", whole_text(&error));
        assert!(events.iter().all(|event| !matches!(event, RipEvent::Planned { .. })), "{events:?}");
        let plan = finalrip_core::Rip::new(
            script(&source),
            EncodeCommand::parse(&format!("-c:v libx264 {said}")).unwrap(),
            &output,
        );
        assert!(plan.plan().is_err());
    }
    let command = EncodeCommand::parse("-c:v libx264 -c:a aac").unwrap();
    let encoded =
        finalrip_core::encode(&script(&source), &command, &output, &finalrip_core::Options::default(), |_| {});
    assert!(
        encoded
            .unwrap_err()
            .to_string()
            .contains("-c:a cannot be used here: an encode writes the script's video alone")
    );
    assert!(!output.exists());
}

/// Chunks are of use whatever becomes of the sound.
#[test]
fn other_options_for_the_sound_keep_the_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), "in.mkv", "-c:v libx264 -preset ultrafast -c:a aac");
    let output = folder.path().join("out.mkv");
    let stopped = options();
    let cancel = stopped.cancel.clone();
    let command = EncodeCommand::parse("-c:v libx264 -preset ultrafast -an").unwrap();
    let first = finalrip_core::Rip::new(script(&source), command, &output).options(stopped);
    let ended = first.run(|event| {
        if matches!(event, RipEvent::ChunkFinished { .. }) {
            cancel.cancel();
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let report = rip(&script(&source), "-c:v libx264 -preset ultrafast -c:a flac", &output, &options());
    assert!(report.chunks_resumed >= 1, "{report:?}");
    assert_eq!(codecs(&output), ["h264", "flac"]);
}

/// MXF has PCM at 48 kHz.
#[test]
fn mxf_gets_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    for (number, arguments) in
        ["-c:v mpeg2video -c:a pcm_s16le", "-c:v mpeg2video -c:a aac -ar 44100", "-c:v mpeg2video -c:a pcm_s24le -ac 2"]
            .iter()
            .enumerate()
    {
        let source = source(folder.path(), "in.mkv", arguments);
        let output = folder.path().join(format!("out{number}.mxf"));
        let report = rip(&script(&source), "-c:v mpeg2video -b:v 1M", &output, &options());
        let streams = streams(&output);
        assert!(!matches!(report.streams[1].action, StreamAction::LeftOut { .. }), "{:?}", report.streams);
        let codec = streams[1]["codec_name"].as_str().unwrap();
        assert!(codec.starts_with("pcm_s") && streams[1]["sample_rate"] == "48000", "{streams:#?}");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(&output).args([
            "-map",
            "0:a",
            "-c:a",
            "pcm_s16le",
            "-ac",
            "1",
            "-f",
            "data",
            "-",
        ]);
        let samples = run(&mut ffmpeg).len() / 2;
        assert!((94_000..=97_000).contains(&samples), "{samples} samples of two seconds");
    }
}

/// MP4 has no streams without packets, and in fragments cannot even be ended with such a stream of E-AC-3.
#[test]
fn a_stream_of_which_there_is_nothing_is_not_reported_as_copied() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "-c:v libx264 -preset ultrafast -c:a eac3 -af atrim=end=0.5";
    let source = source(folder.path(), "in.mkv", arguments);
    for (name, flags) in [("a.mp4", ""), ("b.mp4", "-movflags +frag_keyframe+delay_moov"), ("c.mov", "")] {
        let output = folder.path().join(name);
        let options = RipOptions { range: Some(FrameRange { start: 30, end: 45 }), ..options() };
        let report = rip(&script(&source), &format!("-c:v libx264 -preset ultrafast {flags}"), &output, &options);
        assert_eq!(report.pictures, 15, "{name}");
        let said = report.streams[1].action.to_string();
        assert!(codecs(&output) == ["h264"] && said.starts_with("left out: "), "{name}: {said}");
    }
}

/// What ffmpeg writes into MOV under another name, and reads back.
#[test]
fn mov_takes_what_ffmpeg_writes_there() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), "in.mkv", "-c:v ffv1 -an");
    for codec in ["ffv1", "utvideo", "huffyuv", "ffvhuff", "cfhd", "magicyuv", "zlib"] {
        for rips in [false, true] {
            let output = folder.path().join(format!("{codec}-{rips}.mov"));
            let said = format!("-c:v {codec}");
            if rips {
                rip(&script(&source), &said, &output, &options());
            } else {
                let command = EncodeCommand::parse(&said).unwrap();
                let encoded = finalrip_core::encode(
                    &script(&source),
                    &command,
                    &output,
                    &finalrip_core::Options::default(),
                    |_| {},
                );
                encoded.unwrap_or_else(|error| panic!("{codec}: {}", whole_text(&error)));
            }
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-i"]).arg(&output).args(["-map", "0:v", "-f", "framemd5", "-"]);
            let frames = String::from_utf8(run(&mut ffmpeg)).unwrap();
            assert_eq!(frames.lines().filter(|line| !line.starts_with('#')).count(), 50, "{codec}");
        }
    }
}

/// ffmpeg's effect: transport streams begin twice the delay later, MPEG program streams by the preload.
#[test]
fn muxers_are_told_of_delays() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), "in.mkv", "-c:v libx264 -preset ultrafast -c:a mp2");
    for (name, said, begins) in [
        ("a.ts", "", 0.0),
        ("b.ts", "-muxdelay 0 -muxpreload 0", 0.0),
        ("c.ts", "-muxdelay 0.7", 1.4),
        ("d.mp4", "-muxdelay 0 -muxpreload 0.3", 0.0),
        ("e.mkv", "-muxdelay 0.2", 0.0),
        ("f.mpg", "-muxpreload 0.3", 0.33),
        ("g.mpg", "", 0.53),
    ] {
        let output = folder.path().join(name);
        let codec = if name.ends_with("mpg") { "mpeg2video -b:v 1M" } else { "libx264 -preset ultrafast -bf 0" };
        rip(&script(&source), &format!("-c:v {codec} {said}"), &output, &options());
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "quiet", "-show_entries", "format=start_time", "-of", "csv=p=0"]).arg(&output);
        let start: f64 = String::from_utf8(run(&mut ffprobe)).unwrap().trim().parse().unwrap();
        assert!((start - begins).abs() < 0.05, "{name} {said} begins at {start}");
    }
}
