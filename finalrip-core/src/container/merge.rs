//! The end of a rip: the joined video, and from the source everything else, in one file. Nothing is encoded again but
//! what the container cannot carry.
//!
//! Times: let B be the earliest moment of the source at which something that is kept is seen or heard. B becomes 0, and
//! all else keeps its distance from it: a late video stays late, and sound stays with the picture. The video's first
//! packet belongs to the first picture that a decoder gives for the source's video. Where only a part of the script's output
//! is wanted, the part's first picture becomes 0.

mod audio;
mod clock;
mod job;
mod layout;
mod metadata;
mod ordered;
mod plan;
mod run;
pub(super) mod start;
mod subtitles;
#[cfg(test)]
pub(super) mod tests;
mod track;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cancel::CancelToken;
use crate::encoder::command::streams::StreamRules;
use crate::error::{Error, Result};
use crate::ffi::format::{OutputFormat, StreamSettings};
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::units::Rational;

use self::job::Job;
// A cut opens its source, chooses streams and writes its file in the same way.
pub(super) use self::clock::{nanoseconds, shifted};
pub(super) use self::job::{Source, open_input};
pub(super) use self::layout::Layout;
pub(super) use self::plan::{copied, is_file};
pub(super) use self::run::{Writer, clock_face, not_passed_on};
pub(super) use self::track::Track;
use super::{PartialFile, StreamReport, failed, output_error, parse_tag};

/// The joined video on its way into the merged file.
pub(crate) struct VideoTrack<'a> {
    /// As a Matroska demuxer gives them: parameter sets in the extradata. The muxer chooses the four-character code.
    pub(crate) parameters: &'a StreamParameters,
    /// Of the packets' times; the first picture is at 0.
    pub(crate) time_base: Rational,
    pub(crate) settings: StreamSettings,
    /// Packets in decode order, with all their times; decode times may start below 0.
    pub(crate) next: &'a mut dyn FnMut() -> Result<Option<Packet>>,
}

/// What the command asks of the merged file.
pub(crate) struct MergeSettings {
    pub(crate) format: OutputFormat,
    /// Options of the muxer.
    pub(crate) options: Vec<(String, String)>,
    /// Tags of the file; they win over the source's, and an empty value removes one.
    pub(crate) metadata: Vec<(String, String)>,
    /// Tags of the video, likewise.
    pub(crate) stream_metadata: Vec<(String, String)>,
    /// The video's four-character code, as `-tag:v` takes it.
    pub(crate) tag: Option<String>,
    pub(crate) keep: MergeOptions,
    /// What the command says of the source's other streams.
    pub(crate) rules: StreamRules,
    /// Streams of the source that are left out, by their numbers, with the reason: a merge before this one failed for them.
    pub(crate) without: BTreeMap<usize, String>,
    /// What of the script's output the video is, if not all of it.
    pub(crate) excerpt: Option<Excerpt>,
}

/// A part of the script's output, in nanoseconds from its first frame. Of the source's other streams only what is heard or
/// seen meanwhile goes into the merged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) start: i64,
    /// `None` is the end of everything.
    pub(crate) end: Option<i64>,
}

impl Excerpt {
    fn length(&self) -> Option<i64> {
        self.end.map(|end| end.saturating_sub(self.start))
    }
}

/// What of the source goes into the merged file beside the video. By default all of it does.
///
/// What is switched off is left out without a second file having to be made; every stream that is left out is in the
/// report, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct MergeOptions {
    /// Audio streams. Default: true.
    pub audio: bool,
    /// Subtitle streams. Default: true.
    pub subtitles: bool,
    /// Attachments, such as fonts, and cover art. Styled subtitles look wrong without their fonts. Default: true.
    pub attachments: bool,
    /// Chapters with their titles. Default: true.
    pub chapters: bool,
    /// Tags: the file's title, comment and the like, and what streams say of themselves. Without them streams still keep
    /// their languages and titles, which tell them apart. Default: true.
    pub metadata: bool,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self { audio: true, subtitles: true, attachments: true, chapters: true, metadata: true }
    }
}

/// How far a merge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MergeProgress {
    /// Bytes written so far.
    pub(crate) bytes: u64,
    /// Packets of the video written so far.
    pub(crate) video_packets: u64,
}

/// What a merge made.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The size of the file.
    pub(crate) bytes: u64,
    pub(crate) video_packets: u64,
    /// What became of each stream of the source, in the source's order.
    pub(crate) streams: Vec<StreamReport>,
    /// Chapters in the file.
    pub(crate) chapters: usize,
    /// What the user should know: a source that breaks off, chapters that the container cannot hold.
    pub(crate) notes: Vec<String>,
}

/// The file that is made, for messages.
pub(crate) struct Target<'a> {
    path: &'a Path,
}

impl<'a> Target<'a> {
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { path }
    }

    fn error(&self, reason: String) -> Error {
        output_error(self.path, reason)
    }

    fn failed(&self, code: AvError, log: &LogTail) -> Error {
        failed(self.path, code, log)
    }
}

/// What would become of each stream of the source, found out before there is a video: `video` says what is known of it. Writes
/// nothing.
///
/// # Errors
/// [`Error::Source`] when the source cannot be opened; [`Error::Command`] when a stream cannot become what the command asks.
pub(crate) fn preview(
    video: &VideoTrack<'_>,
    source: &Path,
    file: &PartialFile,
    settings: &MergeSettings,
    cancel: &CancelToken,
) -> Result<Vec<StreamReport>> {
    let target = Target::new(file.target());
    let source = Source::open(source, settings, cancel)?;
    let mut job = Job::without_video(&target, video, &source, settings, cancel)?;
    job.plan_source(source).map(|(_, streams)| streams)
}

/// Why a merge failed.
#[derive(Debug)]
pub(crate) enum MergeFailure {
    /// For good.
    Failed(Error),
    /// The muxer could not complete the file, for no fault of the disk. Without these streams of the source, which are the
    /// likeliest cause, it may; the reason is what the muxer says.
    Incomplete { streams: BTreeMap<usize, String>, error: Error },
}

impl MergeFailure {
    #[cfg(test)]
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) | Self::Incomplete { error, .. } => error,
        }
    }
}

impl From<Error> for MergeFailure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes the video and what is kept of the source into `file`, and completes it; the caller publishes it.
///
/// `tell` is called for each packet that was taken. Reading and writing stop soon after `cancel` is used.
///
/// # Errors
/// [`Error::Source`] when the source cannot be opened; once it is open, whatever is wrong with it is a note. Errors of
/// `video.next` as they are. [`Error::Command`] when a stream cannot become what the command asks. [`Error::Output`] when
/// the file cannot be written or the container does not take the video.
pub(crate) fn merge(
    video: VideoTrack<'_>,
    source: Option<&Path>,
    file: &PartialFile,
    settings: &MergeSettings,
    cancel: &CancelToken,
    tell: &mut dyn FnMut(MergeProgress),
) -> Result<Merged, MergeFailure> {
    let target = Target::new(file.target());
    if let Some(tag) = settings.tag.as_deref().filter(|tag| parse_tag(tag).is_none()) {
        let reason = format!("-tag:v {tag}: not four characters such as hvc1, nor a number");
        return Err(target.error(reason).into());
    }
    let source = source.map(|path| Source::open(path, settings, cancel)).transpose()?;
    let mut job = Job::new(&target, &video, source.as_ref(), settings, cancel)?;
    let ready = source.map(|source| job.take_source(source)).transpose()?;
    job.write(file, video, ready, tell)
}
