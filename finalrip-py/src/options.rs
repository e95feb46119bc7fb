//! Settings, as Python hands them over: JSON, whose keys are the arguments of `finalrip.encode` and `finalrip.rip`.

use std::path::PathBuf;
use std::time::Duration;

use finalrip_core::{CancelToken, ChunkLength, Environments, FrameRange, MergeOptions, Options, RipOptions, Timing};
use pyo3::{PyResult, Python};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::errors;

/// How one encode goes about its work.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodeSettings {
    range: Option<(u32, u32)>,
    ignore_props: bool,
    timing: Timing,
    requests: Option<usize>,
    interval: f64,
}

/// How a rip goes about its work.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RipSettings {
    range: Option<(u32, u32)>,
    ignore_props: bool,
    timing: Timing,
    requests: Option<usize>,
    interval: f64,
    /// The video whose other streams are taken along.
    pub(crate) source: Option<PathBuf>,
    workers: Option<usize>,
    slice: bool,
    chunk_frames: Option<u32>,
    chunk_seconds: Option<f64>,
    scene: bool,
    resume: bool,
    retries: u32,
    audio: bool,
    subtitles: bool,
    attachments: bool,
    chapters: bool,
    metadata: bool,
    /// Whether each worker has a script of its own.
    per_worker: bool,
}

impl EncodeSettings {
    pub(crate) fn read(py: Python<'_>, json: &str) -> PyResult<Self> {
        read(py, json)
    }

    pub(crate) fn options(self, cancel: CancelToken) -> Options {
        Options {
            range: self.range.map(frame_range),
            ignore_props: self.ignore_props,
            timing: self.timing,
            requests: self.requests,
            progress_interval: interval(self.interval),
            cancel,
            ..Options::default()
        }
    }
}

impl RipSettings {
    pub(crate) fn read(py: Python<'_>, json: &str) -> PyResult<Self> {
        read(py, json)
    }

    pub(crate) fn options(self, cancel: CancelToken) -> RipOptions {
        let merge = MergeOptions {
            audio: self.audio,
            subtitles: self.subtitles,
            attachments: self.attachments,
            chapters: self.chapters,
            metadata: self.metadata,
        };
        RipOptions {
            workers: self.workers,
            slice: self.slice,
            chunk: match (self.chunk_frames, self.chunk_seconds) {
                (Some(frames), _) => ChunkLength::Frames(frames),
                (None, Some(seconds)) => ChunkLength::Seconds(seconds),
                (None, None) => ChunkLength::Auto,
            },
            scene: self.scene,
            merge,
            resume: self.resume,
            retries: self.retries,
            range: self.range.map(frame_range),
            ignore_props: self.ignore_props,
            timing: self.timing,
            requests: self.requests,
            environments: if self.per_worker { Environments::PerWorker } else { Environments::Shared },
            progress_interval: interval(self.interval),
            inputs: Vec::new(),
            cancel,
        }
    }
}

fn read<T: DeserializeOwned>(py: Python<'_>, json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|error| errors::unusable_setting(py, &error.to_string()))
}

fn frame_range((start, end): (u32, u32)) -> FrameRange {
    FrameRange { start, end }
}

/// An interval that is no length of time means the shortest.
fn interval(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
