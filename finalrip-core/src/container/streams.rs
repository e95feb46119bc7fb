//! What a file's streams are, and what became of each in a merge.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a stream of a file carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamKind {
    /// Pictures: video, and cover art that a container keeps as a video stream.
    Video,
    /// Sound.
    Audio,
    /// Subtitles, as text or as bitmaps.
    Subtitle,
    /// A file inside the file, such as a font.
    Attachment,
    /// Anything else: timed metadata, time codes, streams that libav does not know.
    Data,
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Subtitle => "subtitle",
            Self::Attachment => "attachment",
            Self::Data => "data",
        })
    }
}

/// What became of one stream of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamReport {
    /// The stream's number in the source, from 0.
    pub source_index: usize,
    /// Its number in the output, from 0; `None` when it was left out.
    pub output_index: Option<usize>,
    /// What it carries.
    pub kind: StreamKind,
    /// libav's name of its codec in the source, such as `aac`.
    pub codec: String,
    /// The language that the source gives it, such as `jpn`.
    pub language: Option<String>,
    /// The title that the source gives it; the file name of an attachment.
    pub title: Option<String>,
    /// What was done with it.
    pub action: StreamAction,
}

/// What was done with a stream of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamAction {
    /// Its packets are the source's, bit for bit.
    Copied,
    /// The container cannot carry its codec, so that it was converted; or it is the video, which was encoded.
    Converted {
        /// libav's name of the codec that it has now, such as `flac`.
        to: String,
    },
    /// It is not in the output.
    LeftOut {
        /// Why, and what can be done about it.
        reason: String,
    },
}

impl fmt::Display for StreamAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copied => f.write_str("copied"),
            Self::Converted { to } => write!(f, "converted to {to}"),
            Self::LeftOut { reason } => write!(f, "left out: {reason}"),
        }
    }
}
