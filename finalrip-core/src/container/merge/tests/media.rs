//! Sources made by the muxers that people use, and what the judges say of merged files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::super::*;
use crate::container::StreamKind;
use crate::encoder::command::streams::StreamRules;
use crate::ffi::input::{InputContext, Probe};

/// Frames of the joined video: 4 s at 25 frames a second.
pub(super) const FRAMES: usize = 100;

/// A scratch folder with the joined video in it.
pub(super) struct Bench {
    folder: TempDir,
    video: PathBuf,
    /// Of the video's packets.
    hash: String,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_video("-c:v libx264 -preset veryfast -bf 3 -g 30")
    }

    pub(super) fn with_video(encoder: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("finalrip-merge-").tempdir().unwrap();
        let video = folder.path().join("video.mkv");
        ffmpeg(&format!("-f lavfi -i testsrc2=s=192x108:r=25:d=4,hue=h=90 {encoder}"), &video);
        let hash = packets_hash(&video, "v:0");
        Self { folder, video, hash }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A source made by ffmpeg out of `IN`, the folder's files, with arguments separated by spaces.
    pub(super) fn make(&self, arguments: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        ffmpeg(&arguments.replace("IN/", &format!("{}/", self.folder.path().display())), &path);
        path
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Merges twice, checks that both files are the same, that the judges like them, and that the video is untouched.
    pub(super) fn merge(&self, source: Option<&Path>, name: &str) -> Outcome {
        self.merge_with(source, name, |_| {})
    }

    pub(super) fn merge_with(&self, source: Option<&Path>, name: &str, change: impl Fn(&mut MergeSettings)) -> Outcome {
        let (path, merged) = self.merge_once(source, name, &change).unwrap();
        let (again, _) = self.merge_once(source, &format!("again.{name}"), &change).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(), "{name}: two merges differ");
        std::fs::remove_file(again).unwrap();
        let outcome = Outcome { path, merged };
        outcome.assert_sound();
        assert_eq!(outcome.merged.video_packets, FRAMES as u64);
        assert_eq!(outcome.merged.bytes, std::fs::metadata(&outcome.path).unwrap().len());
        assert_eq!(packets_hash(&outcome.path, "v:0"), self.hash, "{name}: another video");
        outcome
    }

    pub(super) fn merge_once(
        &self,
        source: Option<&Path>,
        name: &str,
        change: impl Fn(&mut MergeSettings),
    ) -> Result<(PathBuf, Merged)> {
        let target = self.path(name);
        let mut settings = settings_for(&target);
        change(&mut settings);
        let file = PartialFile::new(&target).unwrap();
        let merged = merge_video(&self.video, source, &file, &settings, &CancelToken::new())?;
        file.publish().unwrap();
        Ok((target, merged))
    }

    pub(super) fn video(&self) -> &Path {
        &self.video
    }
}

pub(super) fn settings_for(target: &Path) -> MergeSettings {
    MergeSettings {
        format: OutputFormat::guess(None, Some(target)).unwrap(),
        options: Vec::new(),
        metadata: Vec::new(),
        stream_metadata: Vec::new(),
        tag: None,
        keep: MergeOptions::default(),
        rules: StreamRules::default(),
        without: BTreeMap::new(),
        excerpt: None,
    }
}

/// Merges the packets of a Matroska file, with decode times rebuilt as a rip does.
pub(super) fn merge_video(
    video: &Path,
    source: Option<&Path>,
    file: &PartialFile,
    settings: &MergeSettings,
    cancel: &CancelToken,
) -> Result<Merged> {
    let mut input = InputContext::open(video, Probe::Usual, &CancelToken::new(), &LogTail::default()).unwrap();
    let parameters = input.streams()[0].parameters.copied().unwrap();
    let mut packets = Vec::new();
    while let Some((_, packet)) = input.read().unwrap() {
        packets.push(packet);
    }
    // Milliseconds become frames; B-pyramids need two frames of delay.
    let times: Vec<i64> = packets.iter().map(|packet| (packet.pts().unwrap() * 25 + 500).div_euclid(1000)).collect();
    for (number, (packet, &time)) in packets.iter_mut().zip(&times).enumerate() {
        packet.place(Some(time), Some(number as i64 - 2), 1);
    }
    let mut packets = packets.into_iter();
    let track = VideoTrack {
        parameters: &parameters,
        time_base: Rational::new(1, 25).unwrap(),
        settings: StreamSettings {
            frame_rate: Rational::new(25, 1),
            sample_aspect: None,
            metadata: vec![("encoder".to_owned(), "the rip".to_owned())],
        },
        next: &mut || Ok(packets.next()),
    };
    merge(track, source, file, settings, cancel, &mut |_| {}).map_err(MergeFailure::into_error)
}

/// A merged file and what the merge said of it.
pub(super) struct Outcome {
    pub(super) path: PathBuf,
    pub(super) merged: Merged,
}

impl Outcome {
    /// ffmpeg plays it to the end without a word, and mkvmerge has nothing to complain of.
    fn assert_sound(&self) {
        if self.path.extension().is_some_and(|extension| extension == "mkv" || extension == "webm") {
            mkvmerge_json(&self.path);
        }
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "warning", "-i"]).arg(&self.path).args(["-map", "0:v", "-map", "0:a?", "-map", "0:s?"]);
        command.args(["-c:s", "copy", "-f", "null", "-"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // What ffmpeg says of files of its own making too: Matroska does not keep which channel a single one is, libav
        // knows not every font's type, and it looks for the time base of cover art.
        const USUAL: [&str; 4] =
            ["Guessed Channel Layout", "(Attachment: none): unknown codec", "Consider increasing", "timescale not set"];
        let said: Vec<&str> = said.lines().filter(|line| !USUAL.iter().any(|usual| line.contains(usual))).collect();
        assert!(output.status.success() && said.is_empty(), "{}: {said:?}", self.path.display());
    }

    /// `kind codec action` of every stream, in the source's order.
    pub(super) fn actions(&self) -> Vec<String> {
        let action = |report: &StreamReport| format!("{} {} {}", report.kind, report.codec, report.action);
        self.merged.streams.iter().map(action).collect()
    }

    pub(super) fn streams(&self) -> Vec<Value> {
        probe(&self.path)["streams"].as_array().unwrap().clone()
    }

    /// The end of the silence comes as long after the first picture as in the source, within 3 ms.
    #[track_caller]
    pub(super) fn assert_in_sync(&self, source: &Path) {
        self.assert_offset(offset(source));
    }

    #[track_caller]
    pub(super) fn assert_offset(&self, was: f64) {
        let is = offset(&self.path);
        assert!((was - is).abs() <= 3.0, "{}: {was} ms became {is} ms", self.path.display());
    }
}

pub(super) use serde_json::Value;

/// How long after the first picture the silence ends, as ffmpeg decodes them, in milliseconds.
pub(super) fn offset(path: &Path) -> f64 {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "info", "-copyts", "-i"]).arg(path).args(["-map", "0:a:0", "-t", "40000"]);
    command.args(["-af", "silencedetect=n=-30dB:d=0.1", "-f", "null", "-"]).stdin(Stdio::null());
    let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    let end = said.split("silence_end: ").nth(1).unwrap_or_else(|| panic!("{}: {said}", path.display()));
    let end: f64 = end.split_whitespace().next().unwrap().parse().unwrap();
    end * 1000.0 - first_time(path, "v:0")
}

/// When the first decoded frame of a stream is presented, in milliseconds.
pub(in crate::container) fn first_time(path: &Path, stream: &str) -> f64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "quiet", "-select_streams", stream, "-read_intervals", "%+2"]);
    command.args(["-show_entries", "frame=best_effort_timestamp_time,pts_time", "-of", "json"]).arg(path);
    let frames: Value = serde_json::from_slice(&run(&mut command)).unwrap();
    let frame = &frames["frames"][0];
    let time = frame["pts_time"].as_str().or(frame["best_effort_timestamp_time"].as_str());
    time.unwrap_or_else(|| panic!("{}: no {stream}: {frames}", path.display())).parse::<f64>().unwrap() * 1000.0
}

/// One hash of all packets of a stream.
pub(super) fn packets_hash(path: &Path, stream: &str) -> String {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args(["-map", &format!("0:{stream}"), "-c", "copy"]);
    command.args(["-f", "streamhash", "-"]);
    hash_of(&run(&mut command))
}

/// One hash of all samples of a stream, as a codec of PCM has them.
pub(super) fn samples_hash(path: &Path, stream: &str, codec: &str) -> String {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args(["-map", &format!("0:{stream}"), "-c", codec]);
    command.args(["-f", "streamhash", "-"]);
    hash_of(&run(&mut command))
}

fn hash_of(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().rsplit('=').next().unwrap().to_owned()
}

pub(in crate::container) fn probe(path: &Path) -> Value {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_streams", "-show_format", "-show_chapters", "-of", "json"]).arg(path);
    serde_json::from_slice(&run(&mut command)).unwrap()
}

/// What `mkvmerge -J` says; it must find nothing to warn of.
pub(super) fn mkvmerge_json(path: &Path) -> Value {
    let said: Value = serde_json::from_slice(&run(Command::new("mkvmerge").arg("-J").arg(path))).unwrap();
    assert_eq!((&said["errors"], &said["warnings"]), (&Value::Array(vec![]), &Value::Array(vec![])), "{said:#}");
    said
}

pub(in crate::container) fn mkvmerge(arguments: &[&str], output: &Path) {
    run(Command::new("mkvmerge").arg("-q").arg("-o").arg(output).args(arguments));
}

/// Whether the libav that is linked has a name for the codec of a file's sound in files with an extension.
pub(super) fn libav_names(source: &Path, extension: &str) -> bool {
    let input = InputContext::open(source, Probe::Usual, &CancelToken::new(), &LogTail::default()).unwrap();
    let sound = input.streams().iter().find(|stream| stream.kind == StreamKind::Audio).unwrap();
    let format = OutputFormat::guess(None, Some(Path::new(&format!("out.{extension}")))).unwrap();
    format.takes(sound.parameters.codec_id()).unwrap()
}

pub(in crate::container) fn ffmpeg(arguments: &str, output: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(arguments.split_whitespace()).arg(output);
    run(&mut command);
}

pub(in crate::container) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
