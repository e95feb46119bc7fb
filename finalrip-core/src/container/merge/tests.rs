//! The merge matrix: sources as muxers in use make them, judged by ffmpeg, ffprobe and mkvmerge.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod asked;
mod contents;
mod hidden;
pub(in crate::container) mod media;
mod readback;
mod times;
mod troubles;

use media::*;

/// The usual source: 4 s of picture and sound.
const PICTURE: &str = "-f lavfi -i testsrc2=s=128x96:r=25:d=4";
/// Silence until 0.7 s: where it ends shows whether sound and picture are still together.
const SOUND: &str = "-f lavfi -i aevalsrc=gte(t\\,0.7)*sin(2765*t):s=48000:d=4";
const X264: &str = "-c:v libx264 -preset ultrafast -bf 2 -fps_mode passthrough";

#[test]
fn without_a_source_the_file_is_the_video() {
    let bench = Bench::new();
    for name in ["out.mkv", "out.mp4", "out.mov"] {
        let outcome = bench.merge(None, name);
        assert_eq!(outcome.streams().len(), 1);
        assert_eq!(first_time(&outcome.path, "v:0"), 0.0);
        assert!(outcome.merged.streams.is_empty() && outcome.merged.notes.is_empty());
    }
}

#[test]
fn a_source_without_sound() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {X264}"), "in.mkv");
    for name in ["out.mkv", "out.mp4"] {
        let outcome = bench.merge(Some(&source), name);
        assert_eq!(outcome.actions(), ["video h264 converted to h264"]);
        assert_eq!(first_time(&outcome.path, "v:0"), 0.0);
    }
}

#[test]
fn every_codec_in_every_container() {
    let copied = "copied";
    let cases: [Case; 17] = [
        ("aac", "in.mp4", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("aac", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("libopus", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", "converted to alac")]),
        ("libopus", "in.mp4", [("mkv", copied), ("mp4", copied), ("mov", "converted to alac")]),
        ("libvorbis", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", "converted to alac")]),
        ("ac3", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("eac3", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("flac", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", "converted to alac")]),
        ("libmp3lame", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("dca -strict -2", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("truehd -strict -2", "in.mkv", [("mkv", copied), ("mp4", copied), ("mov", "converted to alac")]),
        ("pcm_s16le", "in.mkv", [("mkv", copied), ("mp4", COPIED_IF_NAMED), ("mov", copied)]),
        ("pcm_s24le", "in.mkv", [("mkv", copied), ("mp4", COPIED_IF_NAMED), ("mov", copied)]),
        ("pcm_s16be", "in.mov", [("mkv", copied), ("mp4", COPIED_IF_NAMED), ("mov", copied)]),
        ("alac", "in.mov", [("mkv", copied), ("mp4", copied), ("mov", copied)]),
        ("wmav2", "in.mkv", [("mkv", copied), ("mp4", "converted to flac"), ("mov", "converted to alac")]),
        ("adpcm_ima_qt", "in.mov", [("mkv", "converted to flac"), ("mp4", "converted to flac"), ("mov", copied)]),
    ];
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || each_container(case));
        }
    });
}

/// What becomes of PCM in MP4: some versions of libav have a name for it there.
const COPIED_IF_NAMED: &str = "copied if the container has a name for it, else converted to flac";

/// A codec's encoder, a source's name, and what becomes of the sound in files with an extension.
type Case = (&'static str, &'static str, [(&'static str, &'static str); 3]);

fn each_container((codec, name, outputs): Case) {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a {codec}"), name);
    let (was, copy) = (offset(&source), packets_hash(&source, "a:0"));
    for (extension, action) in outputs {
        let action = match action {
            COPIED_IF_NAMED if libav_names(&source, extension) => "copied",
            COPIED_IF_NAMED => "converted to flac",
            action => action,
        };
        let outcome = bench.merge(Some(&source), &format!("out.{extension}"));
        let about = format!("{codec} of {name} in {extension}: {:?}", outcome.merged);
        assert!(outcome.actions()[1].ends_with(action), "{about}");
        assert!(outcome.merged.notes.is_empty(), "{about}");
        let bits = if codec.contains("24") { "pcm_s24le" } else { "pcm_s16le" };
        if action == "copied" {
            assert_eq!(packets_hash(&outcome.path, "a:0"), copy, "{about}");
        } else if codec.starts_with("pcm") || codec == "flac" {
            let hashes = (samples_hash(&outcome.path, "a:0", bits), samples_hash(&source, "a:0", bits));
            assert_eq!(hashes.0, hashes.1, "{about}");
        }
        outcome.assert_offset(was);
    }
}
