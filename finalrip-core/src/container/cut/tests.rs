//! Cuts of sources as muxers in use make them, judged by ffmpeg and ffprobe.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::super::merge::tests::media::{ffmpeg, first_time, mkvmerge, probe, run};
use super::*;

/// 10 s of pictures, each another.
const PICTURE: &str = "-f lavfi -i testsrc2=s=192x108:r=25:d=10";
/// Sound in the first fifth of each second: where the silence ends shows whether sound and picture are still together.
const SOUND: &str = "-f lavfi -i aevalsrc=lt(mod(t\\,1)\\,0.2)*sin(2765*t):s=48000:d=10";
/// A keyframe each second, and pictures that are shown before it and lean on the second before.
const OPEN_GOP: &str =
    "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=3";
const CLOSED_GOP: &str = "-c:v libx264 -preset veryfast -x264-params keyint=25:min-keyint=25:scenecut=0:bframes=3";

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("finalrip-cut-").tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A source made by ffmpeg out of `IN`, the folder's files, with arguments separated by spaces.
    fn make(&self, arguments: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        ffmpeg(&arguments.replace("IN/", &format!("{}/", self.0.path().display())), &path);
        path
    }

    fn cut(&self, source: &Path, start: f64, end: f64) -> Result<PathBuf> {
        let output = self.path("cut.mkv");
        let bytes = cut(source, start, end, &output, &CancelToken::new())?;
        assert_eq!(bytes, std::fs::metadata(&output).unwrap().len());
        Ok(output)
    }

    /// Cuts, and checks all that holds of any cut of a source with sound.
    #[track_caller]
    fn check(&self, source: &Path, start: f64, end: f64) -> PathBuf {
        let first = keyframe_before(source, start);
        let output = self.check_pictures(source, (start, end), first);
        self.check_sound(source, &output, first as f64 * 40.0);
        output
    }

    /// Cuts, and checks that the file plays, begins with a keyframe, which is the source's picture `first`, and holds the
    /// source's pictures from there to the end without a gap.
    #[track_caller]
    fn check_pictures(&self, source: &Path, (start, end): (f64, f64), first: usize) -> PathBuf {
        let output = self.cut(source, start, end).unwrap();
        assert_plays(&output);
        let about = source.display();
        let (was, is) = (pictures(source), pictures(&output));
        let found = place_of(&was, &is);
        assert!(was[first..].starts_with(&is), "{about}: {} other pictures, from {found:?}", is.len());
        // Of a short open group ffmpeg's decoder keeps the last picture for itself.
        let last = first + packets(&output, "v:0").len();
        assert!(
            (last - 1..=last).contains(&(first + is.len())),
            "{about}: only {} of {} pictures",
            is.len(),
            last - first
        );
        let needed = ((end * 25.0 - 0.01).ceil() as usize).min(was.len());
        assert!((needed..=needed + 4).contains(&last), "{about}: up to picture {last} instead of {needed}");
        assert!(is_key(&packets(&output, "v:0")[0]), "{about} does not begin with a keyframe");
        let begin = first_time(&output, "v:0");
        assert!(begin.abs() <= 1.0, "{about} begins at {begin}");
        output
    }

    #[track_caller]
    fn check_sound(&self, source: &Path, output: &Path, moved: f64) {
        let (was, is) = (silences(source), silences(output));
        // A decoder that begins in the middle of the sound may take a packet to find in.
        let off = |time: f64| was.iter().map(|was| (was - moved - time).abs()).fold(f64::MAX, f64::min);
        assert!(!is.is_empty(), "no sound in the cut of {}", source.display());
        assert!(
            is.iter().all(|&time| off(time) <= 3.0),
            "{}: {was:?} became {is:?}, {moved} earlier",
            source.display()
        );
    }
}

/// Where in a source a cut's first picture is.
fn place_of(was: &[String], is: &[String]) -> Option<usize> {
    was.iter().position(|picture| Some(picture) == is.first())
}

/// ffmpeg plays all of it without a word.
#[track_caller]
fn assert_plays(path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-xerror", "-i"]).arg(path).args(["-map", "0:v?", "-map", "0:a?", "-f", "null", "-"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Of an open group the pictures before the keyframe are not there, and H.264 would have them forgotten.
    let said: Vec<_> = said.lines().filter(|line| !line.ends_with("mmco: unref short failure")).collect();
    let said: Vec<_> = said.into_iter().filter(|line| !line.trim().is_empty()).collect();
    assert!(output.status.success() && said.is_empty(), "{}: {said:?}", path.display());
    let start: f64 = probe(path)["format"]["start_time"].as_str().unwrap().parse().unwrap();
    assert!(start.abs() < 0.05, "{} begins at {start}", path.display());
}

/// A hash of each picture, in the order in which they are shown.
fn pictures(path: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
    let text = String::from_utf8(run(command.args(["-f", "framemd5", "-"]))).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// When silences end, in milliseconds after the first picture. The last one ends with the file.
fn silences(path: &Path) -> Vec<f64> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "info", "-copyts", "-i"]).arg(path).args(["-map", "0:a:0"]);
    command.args(["-af", "silencedetect=n=-30dB:d=0.3", "-f", "null", "-"]).stdin(Stdio::null());
    let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    let ends = said.split("silence_end: ").skip(1);
    let ends = ends.map(|end| end.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1000.0);
    let first = first_time(path, "v:0");
    let mut ends: Vec<f64> = ends.map(|end| end - first).collect();
    ends.pop();
    ends
}

/// The number of the last picture at or before a time that decoding can start with.
fn keyframe_before(source: &Path, time: f64) -> usize {
    let first = first_time(source, "v:0") / 1000.0;
    let keys = packets(source, "v:0").into_iter().filter(is_key);
    let times = keys.map(|packet| packet["pts_time"].as_str().unwrap().parse::<f64>().unwrap() - first);
    let last = times.filter(|key| *key <= time + 0.001).fold(f64::MIN, f64::max);
    (last * 25.0).round() as usize
}

fn packets(path: &Path, stream: &str) -> Vec<Value> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", stream, "-show_packets", "-of", "json"]);
    let packets: Value = serde_json::from_slice(&run(command.arg(path))).unwrap();
    packets["packets"].as_array().unwrap().clone()
}

fn is_key(packet: &Value) -> bool {
    packet["flags"].as_str().unwrap().starts_with('K')
}

fn codecs(path: &Path) -> Vec<String> {
    let probed = probe(path);
    let streams = probed["streams"].as_array().unwrap();
    streams.iter().map(|stream| stream["codec_name"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn an_open_group_in_mp4() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {OPEN_GOP} -c:a aac"), "in.mp4");
    for (start, end) in [(0.0, 2.5), (3.3, 6.14), (4.0, 6.5), (6.99, 8.5), (0.0, 10.0)] {
        bench.check(&source, start, end);
    }
}

/// Wherever it lies among the pictures that are decoded before others.
#[test]
fn every_end_is_without_a_gap() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {OPEN_GOP}:b-pyramid=normal:ref=4 -c:a ac3"), "in.mkv");
    for frame in 52..80 {
        bench.check_pictures(&source, (2.0, f64::from(frame) / 25.0), 50);
    }
}

#[test]
fn hevc_with_an_open_group() {
    let bench = Bench::new();
    let hevc = "-c:v libx265 -preset ultrafast -x265-params open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=4:log-level=none";
    let source = bench.make(&format!("{PICTURE} {SOUND} {hevc} -c:a flac"), "in.mkv");
    bench.check(&source, 3.3, 6.14);
    bench.check(&source, 5.0, 7.5);
}

/// There is no index to seek with, the clock began hours ago, and groups are open.
#[test]
fn mpeg_2_in_a_transport_stream() {
    let bench = Bench::new();
    let mpeg2 = "-c:v mpeg2video -g 25 -bf 2 -sc_threshold 1000000000 -b:v 800k -c:a mp2 -output_ts_offset 30000";
    let source = bench.make(&format!("{PICTURE} {SOUND} {mpeg2}"), "in.ts");
    for (start, end) in [(0.0, 2.5), (3.5, 6.14), (7.2, 12.0)] {
        bench.check(&source, start, end);
    }
}

#[test]
fn h_264_in_a_transport_stream() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {OPEN_GOP} -c:a aac"), "in.ts");
    bench.check(&source, 3.5, 6.14);
    bench.check(&source, 5.02, 7.5);
}

#[test]
fn subtitles_and_languages_come_along_and_attachments_do_not() {
    let bench = Bench::new();
    std::fs::write(
        bench.path("in.srt"),
        "1\n00:00:01,000 --> 00:00:01,500\nEarly\n\n2\n00:00:05,500 --> 00:00:06,000\nHello\n",
    )
    .unwrap();
    std::fs::write(bench.path("a.ttf"), "not really a font").unwrap();
    let plain = bench.make(
        &format!(
            "{PICTURE} {SOUND} -f lavfi -i sine=d=10 -i IN/in.srt -map 0 -map 1 -map 2 -map 3 {CLOSED_GOP} -c:a flac -c:a:1 libopus \
             -c:s ass -metadata:s:a:1 language=jpn -metadata:s:s title=Signs"
        ),
        "plain.mkv",
    );
    let (source, font) = (bench.path("in.mkv"), bench.path("a.ttf"));
    let font = ["--attachment-mime-type", "font/ttf", "--attach-file", font.to_str().unwrap()];
    mkvmerge(&[&font[..], &[plain.to_str().unwrap()]].concat(), &source);
    let output = bench.check(&source, 5.2, 7.5);
    assert_eq!(codecs(&output), ["h264", "flac", "opus", "ass"]);
    let streams = probe(&output)["streams"].clone();
    assert_eq!((&streams[2]["tags"]["language"], &streams[3]["tags"]["title"]), (&"jpn".into(), &"Signs".into()));
    let text = bench.path("text.srt");
    run(Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(&output).args(["-map", "0:s:0"]).arg(&text));
    let text = std::fs::read_to_string(text).unwrap();
    assert!(text.contains("00:00:00,500 --> 00:00:01,000") && text.contains("Hello"), "{text}");
    assert!(!text.contains("Early"), "{text}");
}

/// Matroska has no such subtitles; the rest is cut all the same.
#[test]
fn what_matroska_cannot_carry_is_left_out() {
    let bench = Bench::new();
    std::fs::write(bench.path("in.srt"), "1\n00:00:01,000 --> 00:00:01,500\nHello\n").unwrap();
    let streams = format!("{PICTURE} {SOUND} -i IN/in.srt -map 0 -map 1 -map 2 {CLOSED_GOP} -c:a aac -c:s mov_text");
    let source = bench.make(&streams, "in.mp4");
    assert_eq!(codecs(&bench.check(&source, 1.0, 3.5)), ["h264", "aac"]);
}

/// AVI knows only when pictures are decoded.
#[test]
fn pictures_without_times_of_their_own() {
    let bench = Bench::new();
    for codec in [CLOSED_GOP, "-c:v mpeg4 -g 25 -bf 2 -sc_threshold 1000000000 -q:v 4", "-c:v mpeg4 -g 25 -q:v 4"] {
        let source = bench.make(&format!("{PICTURE} {SOUND} {codec} -c:a pcm_s16le"), "in.avi");
        let output = bench.cut(&source, 3.3, 6.14).unwrap();
        assert_plays(&output);
        let (was, is) = (pictures(&source), pictures(&output));
        assert_eq!(was.get(75..75 + is.len()), Some(&is[..]), "{codec}: from {:?}", place_of(&was, &is));
        assert!((75..=85).contains(&is.len()), "{codec}: {}", is.len());
        // Readers of AVI make it later by as many pictures as are reordered, or do not.
        let is = silences(&output);
        let off = |time: &f64| (time - (time / 1000.0).round() * 1000.0).abs();
        assert!(!is.is_empty() && is.iter().all(|time| off(time) <= 83.0), "{codec}: {is:?}");
    }
}

#[test]
fn flash_video() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {CLOSED_GOP} -c:a aac"), "in.flv");
    bench.check(&source, 3.3, 6.14);
}

/// Written to a pipe: nothing says where anything is.
#[test]
fn a_source_without_an_index() {
    let bench = Bench::new();
    let whole = bench.make(&format!("{PICTURE} {SOUND} {CLOSED_GOP} -c:a libopus"), "whole.mkv");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(&whole).args(["-map", "0", "-c", "copy", "-f", "matroska", "pipe:1"]);
    let source = bench.path("in.mkv");
    std::fs::write(&source, run(&mut command)).unwrap();
    bench.check(&source, 6.3, 8.5);
    bench.check(&source, 0.3, 2.5);
}

#[test]
fn times_below_zero() {
    let bench = Bench::new();
    let moved = "-output_ts_offset -0.3 -avoid_negative_ts disabled";
    // What lies before 0 is not shown, but keyframes that are needed are there.
    let source = bench.make(&format!("{PICTURE} {SOUND} {CLOSED_GOP} -c:a aac {moved}"), "in.mp4");
    for (start, end, keyframe) in [(0.0, 2.5, -8.0), (3.3, 5.5, 67.0)] {
        let output = bench.cut(&source, start, end).unwrap();
        assert_plays(&output);
        let (was, is) = (pictures(&source), pictures(&output));
        let (hidden, shown) = (f64::max(-keyframe, 0.0) as usize, f64::max(keyframe, 0.0) as usize);
        assert!(was[shown..].starts_with(&is[hidden..]), "from {:?}", place_of(&was, &is[hidden..]));
        bench.check_sound(&source, &output, keyframe * 40.0);
    }
    // libav gives what lies before 0 in Matroska no time.
    let plain = format!("{PICTURE} {SOUND} {CLOSED_GOP} -c:a flac");
    let honest = bench.make(&plain, "honest.mkv");
    let source = bench.make(&format!("{plain} {moved}"), "in.mkv");
    for (start, end) in [(0.0, 2.5), (3.3, 5.5)] {
        let output = bench.cut(&source, start, end).unwrap();
        assert_plays(&output);
        let (was, is) = (pictures(&honest), pictures(&output));
        let first = f64::floor(start) as usize * 25;
        assert!(was[first..].starts_with(&is), "from {:?}", place_of(&was, &is));
        bench.check_sound(&honest, &output, first as f64 * 40.0);
    }
}

#[test]
fn late_streams_stay_late() {
    let bench = Bench::new();
    for name in ["in.mkv", "in.mp4", "in.ts"] {
        let late = format!("{PICTURE} -itsoffset 3 {SOUND} -map 0 -map 1 {CLOSED_GOP} -c:a aac");
        let source = bench.make(&late, name);
        bench.check(&source, 2.2, 6.5);
        let late = format!("{SOUND} -itsoffset 3 {PICTURE} -map 1 -map 0 {CLOSED_GOP} -c:a aac");
        let source = bench.make(&late, name);
        bench.check(&source, 0.0, 2.5);
        bench.check(&source, 2.2, 4.5);
    }
}

#[test]
fn a_source_without_video() {
    let bench = Bench::new();
    for name in ["in.m4a", "in.flac", "in.mkv"] {
        let source = bench.make(SOUND, name);
        let output = bench.cut(&source, 2.5, 5.0).unwrap();
        assert_plays(&output);
        let duration: f64 = probe(&output)["format"]["duration"].as_str().unwrap().parse().unwrap();
        assert!((duration - 2.5).abs() < 0.12, "{name}: {duration}");
    }
}

#[test]
fn an_end_beyond_the_end_is_the_end() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {CLOSED_GOP} -c:a aac"), "in.mp4");
    for end in [10.5, 1000.0, f64::INFINITY] {
        assert_eq!(pictures(&bench.check(&source, 8.0, end)).len(), 50);
    }
}

#[test]
fn a_start_beyond_the_end_is_an_error_that_says_so() {
    let bench = Bench::new();
    for (codec, name) in
        [(CLOSED_GOP, "in.mp4"), (CLOSED_GOP, "in.mkv"), (CLOSED_GOP, "in.ts"), ("-c:v mpeg4", "in.avi")]
    {
        let source = bench.make(&format!("{PICTURE} {SOUND} {codec} -c:a mp2"), name);
        for start in [10.5, 11.0, 1e6, 1e300] {
            let error = bench.cut(&source, start, f64::INFINITY).unwrap_err();
            assert!(matches!(&error, Error::Source { path, .. } if *path == source), "{error}");
            assert!(error.to_string().contains("it ends at 0:00:"), "{name}: {error}");
        }
    }
    assert_eq!(left_in(&bench), 4);
}

fn left_in(bench: &Bench) -> usize {
    std::fs::read_dir(bench.0.path()).unwrap().count()
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    for (start, end) in [(-1.0, 2.0), (2.0, 2.0), (2.0, 1.0), (f64::NAN, 2.0), (0.0, f64::NAN), (f64::INFINITY, 2.0)] {
        let error = bench.cut(Path::new("/no/such/file"), start, end).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let bench = Bench::new();
    let error = bench.cut(Path::new("/no/such/file.mkv"), 0.0, 1.0).unwrap_err();
    assert!(error.to_string().contains("/no/such/file.mkv"), "{error}");
    let source = bench.make(PICTURE, "in.mkv");
    let error = cut(&source, 0.0, 1.0, Path::new("/no/such/folder/cut.mkv"), &CancelToken::new()).unwrap_err();
    assert!(matches!(&error, Error::Output { .. }) && error.to_string().contains("/no/such/folder"), "{error}");
    std::fs::write(bench.path("text.mkv"), "hello").unwrap();
    let error = bench.cut(&bench.path("text.mkv"), 0.0, 1.0).unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    assert_eq!(left_in(&bench), 2);
}

#[test]
fn a_cancelled_cut_leaves_nothing() {
    let bench = Bench::new();
    let source = bench.make(PICTURE, "in.mkv");
    let cancel = CancelToken::new();
    cancel.cancel();
    let outcome = cut(&source, 0.0, 1.0, &bench.path("cut.mkv"), &cancel);
    assert!(matches!(outcome, Err(Error::Cancelled)));
    assert_eq!(left_in(&bench), 1);
}

/// What of a source is whole is cut from it.
#[test]
fn a_source_that_breaks_off() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {CLOSED_GOP} -c:a flac"), "in.mkv");
    let bytes = std::fs::read(&source).unwrap();
    std::fs::write(&source, &bytes[..bytes.len() / 2]).unwrap();
    bench.check(&source, 1.2, 3.5);
    assert!(bench.cut(&source, 9.0, 10.0).is_err());
}
