//! What an encode tells while it runs and when it is done.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::units::{FrameRange, Rational};

/// How far an encode has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Frames of the clip handed to the encoder so far.
    pub frames: u32,
    /// Frames of the clip to encode in all.
    pub frames_total: u32,
    /// Packets written so far; behind `frames` by the encoder's look-ahead.
    pub packets: u64,
    /// Bytes written so far.
    pub bytes: u64,
    /// Frames a second since the first frame was asked for.
    pub fps: f64,
    /// Bits a second of the video written so far.
    pub bitrate: f64,
    /// Time since the first frame was asked for.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Time left at the present speed; `None` before the first frame.
    #[serde(serialize_with = "optional_seconds")]
    pub eta: Option<Duration>,
}

/// What became of an encode.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The file, absolute. Serialised with U+FFFD for what is not UTF-8.
    #[serde(serialize_with = "path_text")]
    pub output: PathBuf,
    /// The container's short name, such as `matroska`.
    pub container: String,
    /// The encoder's name, such as `libx265`.
    pub encoder: String,
    /// The codec's name, such as `hevc`.
    pub codec: String,
    /// The pixel format that was encoded.
    pub pixel_format: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The frames of the script's output that were taken.
    pub range: FrameRange,
    /// Frames of the clip that went in.
    pub frames: u32,
    /// Pictures that were encoded; other than `frames` only when a filter of the command changes their number.
    pub pictures: u64,
    /// The constant frame rate of the output; `None` when its timestamps are variable.
    pub frame_rate: Option<Rational>,
    /// The video's length in seconds.
    pub duration: f64,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Bits a second, the container's overhead included.
    pub bitrate: f64,
    /// Whether the encoder read the clip's own planes, without a conversion in between.
    pub zero_copy: bool,
    /// Time from the first frame's request to the finished file.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Frames a second over `elapsed`.
    pub fps: f64,
    /// What else there is to know, such as durations of frames that contradict the clip's rate.
    pub notes: Vec<String>,
}

pub(crate) fn path_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(crate) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

pub(crate) fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Counts what goes by, and says when it is time to tell.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    told: Option<Instant>,
    interval: Duration,
    frames_total: u32,
    pub(crate) frames: u32,
    pub(crate) pictures: u64,
    /// Seconds of video up to the end of the last picture.
    pub(crate) duration: f64,
}

impl Meter {
    pub(crate) fn new(frames_total: u32, interval: Duration) -> Self {
        let started = Instant::now();
        Self { started, told: None, interval, frames_total, frames: 0, pictures: 0, duration: 0.0 }
    }

    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.told.is_none_or(|told| told.elapsed() >= self.interval);
        if due {
            self.told = Some(Instant::now());
        }
        due
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn fps(&self) -> f64 {
        f64::from(self.frames) / self.elapsed().as_secs_f64().max(1e-9)
    }

    pub(crate) fn progress(&self, packets: u64, bytes: u64) -> Progress {
        let fps = self.fps();
        let left = f64::from(self.frames_total.saturating_sub(self.frames));
        Progress {
            frames: self.frames,
            frames_total: self.frames_total,
            packets,
            bytes,
            fps,
            bitrate: bitrate(bytes, self.duration * packets as f64 / self.pictures.max(1) as f64),
            elapsed: self.elapsed(),
            eta: (self.frames > 0).then(|| Duration::try_from_secs_f64(left / fps).unwrap_or_default()),
        }
    }
}

/// Bits a second; 0 for no time at all.
pub(crate) fn bitrate(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 }
}
