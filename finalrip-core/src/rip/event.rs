//! What a rip tells while it runs and when it is done.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::container::StreamReport;
use crate::report::{optional_seconds, path_text, seconds};
use crate::units::{FrameRange, Rational};

use super::plan::Plan;

/// What happens in a rip, in the order in which it happens.
///
/// Told on the caller's thread. All but [`RipEvent::Progress`] are told for certain; progress is told at most once in
/// [`RipOptions::progress_interval`](super::RipOptions::progress_interval), whatever the frame rate, and left out while
/// the listener is busy, but for the last one: when the merge starts, all frames have been told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RipEvent {
    /// Chunks of an earlier run are there but cannot be used, and are removed.
    StartedAfresh {
        /// What differs from that run, such as `the script`.
        changed: Vec<String>,
    },
    /// It is known which chunks there are.
    Planned {
        /// The plan; that of the earlier run if there was one.
        plan: Plan,
        /// Chunks that an earlier run has finished.
        finished: Vec<usize>,
    },
    /// A worker takes up a chunk.
    ChunkStarted {
        /// The chunk, from 0.
        chunk: usize,
        /// Its frames.
        range: FrameRange,
        /// The worker, from 0.
        worker: usize,
        /// 1 for the first time.
        attempt: u32,
    },
    /// How far everything has come.
    Progress(RipProgress),
    /// A chunk is encoded, verified, and kept whatever comes.
    ChunkFinished {
        /// The chunk, from 0.
        chunk: usize,
        /// The worker, from 0.
        worker: usize,
        /// Frames of the script that went in.
        frames: u32,
        /// Its size in bytes.
        bytes: u64,
        /// What it took.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A chunk failed. It is tried again unless no attempt is left.
    ChunkFailed {
        /// The chunk, from 0.
        chunk: usize,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How many are left.
        attempts_left: u32,
        /// The error's text.
        reason: String,
    },
    /// The clip's frames are not evenly spaced, as the first 512 of them show: everything starts again with the frames' own
    /// durations. When that shows only later, nothing starts again: the pictures are moved in the merge.
    TimingChanged {
        /// The chunk that showed it.
        chunk: usize,
    },
    /// The clip is much longer or shorter than the picture of the source, whose sound is copied as it is: the two will not fit.
    /// Told before anything is encoded.
    LengthDiffers(LengthDiffers),
    /// All chunks are there; they are being joined, with the source's other streams.
    MergeStarted {
        /// Bytes of all chunks.
        bytes: u64,
    },
    /// How far the merge has come.
    Merging {
        /// Bytes written so far.
        bytes: u64,
        /// Pictures written so far.
        pictures: u64,
        /// Pictures to write in all.
        pictures_total: u64,
    },
    /// The file is complete and in place.
    Done(Box<RipReport>),
}

/// How long the clip and the picture of its source last.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LengthDiffers {
    /// The clip, in seconds, at its own rate.
    pub clip: f64,
    /// The source's picture, in seconds.
    pub source: f64,
    /// What usually is the cause of such a difference.
    pub cause: String,
}

impl fmt::Display for LengthDiffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clip, source, cause } = self;
        write!(
            f,
            "the clip lasts {clip:.2} s and the source's picture {source:.2} s, so that the source's sound does not fit: {cause}"
        )
    }
}

/// How far a rip has come.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RipProgress {
    /// Frames encoded, those of finished chunks and of earlier runs included.
    pub frames: u32,
    /// Frames to encode in all.
    pub frames_total: u32,
    /// Finished chunks.
    pub chunks: usize,
    /// Chunks in all.
    pub chunks_total: usize,
    /// Bytes of video so far.
    pub bytes: u64,
    /// Frames a second of this run, all workers together.
    pub fps: f64,
    /// Time since this run began to encode.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Time left at the present speed; `None` before the first frame.
    #[serde(serialize_with = "optional_seconds")]
    pub eta: Option<Duration>,
    /// What each busy worker does.
    pub workers: Vec<WorkerProgress>,
}

/// How far one worker has come with its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WorkerProgress {
    /// The worker, from 0.
    pub worker: usize,
    /// Its chunk, from 0.
    pub chunk: usize,
    /// Frames of the chunk encoded so far.
    pub frames: u32,
    /// Frames of the chunk.
    pub frames_total: u32,
    /// Bytes of the chunk so far.
    pub bytes: u64,
    /// Frames a second of this chunk.
    pub fps: f64,
}

/// What became of a rip.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RipReport {
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
    /// Pictures in the file.
    pub pictures: u64,
    /// The constant frame rate of the output; `None` when its timestamps are variable.
    pub frame_rate: Option<Rational>,
    /// The video's length in seconds.
    pub duration: f64,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Bytes of its video stream's chunks.
    pub video_bytes: u64,
    /// Chunks in all.
    pub chunks: usize,
    /// Chunks that were there from an earlier run.
    pub chunks_resumed: usize,
    /// Attempts at chunks that failed.
    pub failures: u32,
    /// What became of each stream of the source.
    pub streams: Vec<StreamReport>,
    /// Chapters in the file.
    pub chapters: usize,
    /// What else there is to know about the merge.
    pub notes: Vec<String>,
    /// Time that this run took in all.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Frames a second of this run while it encoded, all workers together; 0 when nothing was left to encode.
    pub fps: f64,
}
