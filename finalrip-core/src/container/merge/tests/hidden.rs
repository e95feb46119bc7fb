//! What an edit list of MP4 or MOV hides from a player is not played in the merged file either.

use std::path::{Path, PathBuf};

use super::media::*;
use super::{PICTURE, SOUND, X264};

/// Moves the beginning of a stream, in its own ticks, and its length in milliseconds, in the edit list that ffmpeg wrote.
fn edit(path: &Path, stream: usize, later: u32, shorter: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let lists: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, name)| *name == b"elst").map(|(at, _)| at).collect();
    let at = lists[stream];
    // Version and flags, one entry, its length and its beginning.
    assert_eq!(&bytes[at + 4..at + 12], [0, 0, 0, 0, 0, 0, 0, 1]);
    let mut change = |at: usize, by: i64| {
        let was = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&u32::try_from(i64::from(was) + by).unwrap().to_be_bytes());
    };
    change(at + 12, -i64::from(shorter));
    change(at + 16, i64::from(later));
    std::fs::write(path, bytes).unwrap();
}

fn source(bench: &Bench, codec: &str, name: &str) -> PathBuf {
    bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a {codec}"), name)
}

fn seconds(path: &Path) -> f64 {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "quiet", "-i"]).arg(path);
    let samples =
        run(command.args(["-map", "0:a:0", "-ac", "1", "-ar", "48000", "-c:a", "pcm_s16le", "-f", "data", "-"]));
    samples.len() as f64 / 2.0 / 48_000.0
}

/// 0.4 s of the sound are hidden at its start, 0.5 s at its end.
#[test]
fn hidden_sound_is_not_played() {
    let bench = Bench::new();
    for codec in ["aac", "ac3", "alac", "pcm_s16le", "libmp3lame"] {
        let source = source(&bench, codec, "in.mov");
        edit(&source, 1, 19_200, 900);
        let (was, length) = (offset(&source), seconds(&source));
        assert!((length - 3.1).abs() < 0.1, "{codec}: the judge sees {length} s");
        for name in ["out.mkv", "out.mov", "out.mp4", "out.ts"] {
            let (path, merged) = bench.merge_once(Some(&source), name, |_| {}).unwrap();
            let (kept, begins) = (seconds(&path), offset(&path));
            assert!((kept - length).abs() < 0.1, "{codec} in {name}: {kept} s of {length} s, {:?}", merged.streams);
            assert!((begins - was).abs() < 25.0, "{codec} in {name}: {was} ms became {begins} ms");
        }
    }
}

/// The picture begins where a player begins: 0.6 s into the file, within a group of pictures.
#[test]
fn hidden_pictures_do_not_move_the_sound() {
    let bench = Bench::new();
    let source = source(&bench, "aac", "in.mp4");
    // The video's ticks are a 12800th of a second.
    edit(&source, 0, 7680, 600);
    let was = offset(&source);
    for name in ["out.mkv", "out.mp4"] {
        bench.merge(Some(&source), name).assert_offset(was);
    }
}
