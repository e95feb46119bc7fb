//! Sources that are damaged, missing or odd, and containers that carry little.

use std::path::Path;

use super::media::*;
use super::{PICTURE, SOUND, X264};
use crate::cancel::CancelToken;
use crate::container::PartialFile;
use crate::error::Error;

#[test]
fn a_missing_source_is_named() {
    let bench = Bench::new();
    let error = bench.merge_once(Some(Path::new("/no/such/source.mkv")), "out.mkv", |_| {}).unwrap_err();
    assert!(matches!(&error, Error::Source { path, .. } if path == Path::new("/no/such/source.mkv")));
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(!bench.path("out.mkv").exists());
}

#[test]
fn a_source_that_is_no_media_file_is_an_error() {
    let bench = Bench::new();
    let source = bench.write("in.mkv", "hello");
    let error = bench.merge_once(Some(&source), "out.mkv", |_| {}).unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
}

#[test]
fn a_source_that_breaks_off_gives_what_it_has() {
    let bench = Bench::new();
    for (name, flags) in [("in.mkv", ""), ("in.mp4", "-movflags +faststart"), ("in.ts", "")] {
        let whole = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a ac3 {flags}"), name);
        let bytes = std::fs::read(&whole).unwrap();
        std::fs::write(&whole, &bytes[..bytes.len() * 2 / 5]).unwrap();
        if name == "in.ts" {
            // A transport stream has no end that it could miss, and its last frame of sound is what is left of it.
            let (path, merged) = bench.merge_once(Some(&whole), "out.mkv", |_| {}).unwrap();
            assert_eq!(merged.streams[1].action.to_string(), "copied");
            assert!((offset(&path) - offset(&whole)).abs() < 3.0);
            continue;
        }
        let outcome = bench.merge(Some(&whole), "out.mkv");
        assert_eq!(outcome.actions()[1], "audio ac3 copied", "{name}");
        assert!(!outcome.merged.notes.is_empty(), "{name}: {:?}", outcome.merged.notes);
        outcome.assert_in_sync(&whole);
    }
}

/// Without one of its transport packets a frame of AAC is no AAC to the muxer. All others are.
#[test]
fn a_damaged_frame_of_sound_costs_that_frame() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} -c:v mpeg2video -g 12 -b:v 400k -c:a aac"), "in.ts");
    let mut bytes = std::fs::read(&source).unwrap();
    // The second stream has the number 0x101 here.
    let of_sound = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1F, packet[2]]) == 0x101;
    let sound: Vec<usize> =
        (0..bytes.len() / 188).filter(|at| of_sound(&bytes[at * 188..])).map(|at| at * 188).collect();
    // The first of a group, which has the frame's beginning.
    let first = sound.iter().rev().find(|&&at| bytes[at + 1] & 0x40 != 0 && at < bytes.len() / 2).unwrap();
    bytes.drain(first + 188..first + 2 * 188);
    std::fs::write(&source, bytes).unwrap();
    for output in ["out.mkv", "out.mp4"] {
        let (path, merged) = bench.merge_once(Some(&source), output, |_| {}).unwrap();
        assert_eq!(merged.streams[1].action.to_string(), "copied");
        assert!((offset(&path) - offset(&source)).abs() < 3.0);
        let sound: f64 = probe(&path)["format"]["duration"].as_str().unwrap().parse().unwrap();
        assert!((3.9..4.1).contains(&sound), "{sound}");
    }
}

/// A program stream has no list of what is in it.
#[test]
fn a_stream_that_begins_late_is_found_or_reported() {
    let bench = Bench::new();
    let codecs = "-c:v mpeg2video -b:v 3M -minrate 3M -maxrate 3M -bufsize 1M -c:a ac3";
    let one = bench.make(&format!("{PICTURE} {SOUND} {codecs} -f vob"), "one.vob");
    let two = bench.make(&format!("{PICTURE} {SOUND} {SOUND} -map 0 -map 1 -map 2 {codecs} -f vob"), "two.vob");
    let (one, two) = (std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    for (megabytes, action) in [(10, "copied"), (70, "left out: it begins so far into the source")] {
        let source = bench.path("in.vob");
        let mut bytes = one.repeat((megabytes << 20) / one.len());
        bytes.extend(&two);
        // libav looks at the end of a file too.
        bytes.extend(one.repeat((8 << 20) / one.len()));
        std::fs::write(&source, bytes).unwrap();
        let (_, merged) = bench.merge_once(Some(&source), "out.mkv", |_| {}).unwrap();
        let actions: Vec<String> = merged.streams.iter().map(|report| report.action.to_string()).collect();
        assert_eq!(actions.len(), 3, "{actions:?}");
        assert!(actions[2].starts_with(action), "{actions:?}");
    }
}

#[test]
fn raw_streams_hold_the_video_alone() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a aac"), "in.mkv");
    let (path, merged) = bench.merge_once(Some(&source), "out.h264", |_| {}).unwrap();
    let action = merged.streams[1].action.to_string();
    assert!(action.contains("left out: ") && action.contains("h264"), "{action}");
    assert_eq!(probe(&path)["streams"].as_array().unwrap().len(), 1);
}

#[test]
fn a_transport_stream_gets_what_it_has_names_for() {
    let bench = Bench::new();
    let source =
        bench.make(&format!("{PICTURE} {SOUND} {SOUND} -map 0 -map 1 -map 2 {X264} -c:a:0 aac -c:a:1 flac"), "in.mkv");
    let (path, merged) = bench.merge_once(Some(&source), "out.ts", |_| {}).unwrap();
    let actions: Vec<_> = merged.streams.iter().map(|report| report.action.to_string()).collect();
    assert_eq!(actions[1..], ["copied", "converted to opus"]);
    assert!((offset(&path) - offset(&source)).abs() < 3.0);
}

#[test]
fn an_option_that_the_muxer_lacks_is_an_error() {
    let bench = Bench::new();
    let error = bench
        .merge_once(None, "out.mkv", |settings| {
            settings.options = vec![("movflags".to_owned(), "faststart".to_owned())]
        })
        .unwrap_err();
    assert!(error.to_string().contains("has no option named movflags"), "{error}");
    let error = bench.merge_once(None, "out.mp4", |settings| settings.tag = Some("too long".to_owned())).unwrap_err();
    assert!(error.to_string().contains("-tag:v too long"), "{error}");
}

#[test]
fn options_and_the_tag_reach_the_muxer() {
    let bench = Bench::new();
    let outcome = bench.merge_with(None, "out.mp4", |settings| {
        settings.options = vec![("movflags".to_owned(), "+faststart".to_owned())];
        settings.tag = Some("avc3".to_owned());
    });
    assert_eq!(outcome.streams()[0]["codec_tag_string"], "avc3");
    let bytes = std::fs::read(&outcome.path).unwrap();
    let at = |name: &[u8]| bytes.windows(4).position(|window| window == name);
    assert!(at(b"moov") < at(b"mdat"));
}

#[test]
fn a_container_that_does_not_take_the_video_says_so() {
    let bench = Bench::new();
    let error = bench.merge_once(None, "out.webm", |_| {}).unwrap_err();
    assert!(matches!(&error, Error::Output { .. }), "{error}");
    assert!(error.to_string().contains("WebM"), "{error}");
}

#[test]
fn a_cancelled_merge_leaves_nothing() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a aac"), "in.mkv");
    let cancel = CancelToken::new();
    cancel.cancel();
    let target = bench.path("out.mkv");
    let file = PartialFile::new(&target).unwrap();
    for source in [None, Some(&*source)] {
        let merged = merge_video(bench.video(), source, &file, &settings_for(&target), &cancel);
        assert!(matches!(merged, Err(Error::Cancelled)));
    }
    drop(file);
    let names: Vec<_> =
        std::fs::read_dir(target.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("out")), "{names:?}");
}
