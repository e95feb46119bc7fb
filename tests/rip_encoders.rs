//! Every encoder of this build, ripped: undivided and in chunks, with the frames of an encode.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::rips::{state_of, whole_text};
use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, Error, FrameRange, Options, Rip, RipOptions, RipReport, Script};

const FRAMES: u32 = 12;
const CHUNK: u32 = 5;

/// Where an encode of a codec may go; the first that takes it and gives it back counts. `image2pipe` takes every picture.
const CONTAINERS: [(&str, &str); 12] = [
    ("mkv", ""),
    ("mov", ""),
    ("avi", ""),
    ("flv", ""),
    ("gif", ""),
    ("apng", "-f apng"),
    ("webp", ""),
    ("rm", "-f rm"),
    ("roq", ""),
    ("fits", ""),
    ("nut", ""),
    ("pipe", "-f image2pipe"),
];

/// What some encoders ask for: a size, and options.
const WISHES: [(&str, (u32, u32), &str); 12] = [
    ("h261", (176, 144), ""),
    ("h263", (176, 144), ""),
    ("rv10", (176, 144), ""),
    ("dvvideo", (720, 576), ""),
    ("dnxhd", (1920, 1080), "-b:v 36M -pix_fmt yuv422p"),
    ("avui", (720, 576), ""),
    ("xface", (48, 48), ""),
    ("roqvideo", (128, 128), ""),
    ("libx265", (128, 96), "-preset ultrafast -x265-params log-level=none"),
    ("libaom-av1", (128, 96), "-cpu-used 8"),
    ("librav1e", (128, 96), "-speed 10"),
    ("rav1e", (128, 96), "-speed 10"),
];

struct Trial {
    script: Script,
    command: EncodeCommand,
    folder: tempfile::TempDir,
    extension: &'static str,
}

impl Trial {
    /// A container in which this build encodes with the encoder, and from which ffmpeg decodes every frame. `None` where there
    /// is none: hardware that is not there, codecs that libav does not decode.
    fn find(encoder: &str) -> Option<Self> {
        let wish = WISHES.iter().find(|(name, ..)| *name == encoder);
        let (width, height) = wish.map_or((128, 96), |(_, size, _)| *size);
        let options = wish.map_or("", |(.., options)| options);
        let script = Script::from_text(moving_box(width, height, FRAMES));
        for (extension, muxer) in CONTAINERS {
            let text =
                format!("-c:v {encoder} {options} {muxer} {}", if encoder == "rav1e" { "" } else { "-strict -2" });
            let Ok(command) = EncodeCommand::parse(&text) else { continue };
            let trial = Self { script: script.clone(), command, folder: scratch(), extension };
            let encoded = trial.encode("whole", 0..FRAMES);
            if encoded.is_ok_and(|path| trial.decoded(&path).len() == FRAMES as usize) {
                return Some(trial);
            }
        }
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{}", self.extension))
    }

    fn encode(&self, name: &str, range: std::ops::Range<u32>) -> Result<PathBuf, Error> {
        let path = self.path(name);
        let options = Options { range: Some(FrameRange::from(range)), ..Options::default() };
        finalrip_core::encode(&self.script, &self.command, &path, &options, |_| {})?;
        Ok(path)
    }

    fn rip(&self, name: &str, slice: bool) -> Result<(PathBuf, RipReport), Error> {
        let path = self.path(name);
        let chunk = ChunkLength::Frames(CHUNK);
        let options = RipOptions { workers: Some(1), slice, chunk, scene: false, ..RipOptions::default() };
        let report = Rip::new(self.script.clone(), self.command.clone(), &path).options(options).run(|_| {})?;
        assert!(!state_of(&path).exists(), "{name}: the state is still there");
        Ok((path, report))
    }

    /// The frames as ffmpeg decodes them; none when it complains.
    fn decoded(&self, path: &Path) -> Vec<String> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-strict", "experimental"]);
        if self.extension != "roq" {
            // The end of such a file is an error to libav.
            ffmpeg.arg("-xerror");
        }
        if self.extension == "pipe" {
            ffmpeg.args(["-f", "image2pipe", "-c:v"]).arg(self.decoder());
        }
        ffmpeg.arg("-i").arg(path).args(["-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "yuv444p"]);
        let output = ffmpeg.args(["-f", "framemd5", "-"]).stdin(Stdio::null()).output().unwrap();
        if output.status.success() { hashes_of(&output.stdout) } else { Vec::new() }
    }

    fn decoder(&self) -> &str {
        self.command.encoder_name().unwrap_or_default()
    }

    /// Compares rips with encodes; says what is wrong.
    fn judge(&self) -> Result<usize, String> {
        let whole = self.decoded(&self.path("whole"));
        let failed = |error: Error| whole_text(&error);
        let (path, _) = self.rip("undivided", false).map_err(failed)?;
        let undivided = self.decoded(&path);
        if undivided != whole {
            return Err(format!("undivided, {} frames of {}", same(&undivided, &whole), whole.len()));
        }
        let (path, report) = self.rip("divided", true).map_err(failed)?;
        let divided = self.decoded(&path);
        let mut wanted = whole;
        if report.chunks > 1 {
            // Each chunk is what an encode of its frames is.
            wanted.clear();
            for start in (0..FRAMES).step_by(CHUNK as usize) {
                let part = self.encode("part", start..FRAMES.min(start + CHUNK)).map_err(failed)?;
                wanted.extend(self.decoded(&part));
            }
        }
        if divided != wanted {
            let (right, frames) = (same(&divided, &wanted), divided.len());
            return Err(format!("in {} chunks, {frames} frames, {right} right of {}", report.chunks, wanted.len()));
        }
        Ok(report.chunks)
    }
}

fn same(found: &[String], wanted: &[String]) -> usize {
    found.iter().zip(wanted).filter(|(found, wanted)| found == wanted).count()
}

/// Tries encoders; those that this build cannot use are passed over.
fn check(encoders: &[String]) -> Vec<String> {
    let (mut wrong, mut tried) = (Vec::new(), Vec::new());
    for encoder in encoders {
        let Some(trial) = Trial::find(encoder) else { continue };
        tried.push(encoder.clone());
        match trial.judge() {
            Ok(chunks) => eprintln!("{encoder} in {}: {chunks} chunks", trial.extension),
            Err(reason) => wrong.push(format!("{encoder} in {}: {reason}", trial.extension)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} encoders:\n{}", wrong.len(), tried.len(), wrong.join("\n"));
    tried
}

/// One of each kind: codecs that Matroska knows by another's name, that mark no keyframe, that number their pictures, that have
/// a palette, and containers that have no room for anything else.
#[test]
fn encoders_of_every_kind_are_ripped_as_they_encode() {
    let names =
        ["h263p", "ljpeg", "rpza", "apng", "gif", "qtrle", "flashsv2", "rv10", "roqvideo", "vc2", "snow", "png"];
    let tried = check(&names.map(str::to_owned));
    assert_eq!(tried, names);
}

#[test]
#[ignore = "takes minutes"]
fn every_encoder_of_this_build_is_ripped_as_it_encodes() {
    let tried = check(&finalrip_core::encoder::available());
    for encoder in ["libx264", "mpeg4", "ffv1", "mjpeg", "rawvideo", "rav1e"] {
        assert!(tried.iter().any(|tried| tried == encoder), "{encoder} was not tried: {tried:?}");
    }
}
