//! temporary
#![allow(missing_docs)]
use super::*;
use crate::cancel::CancelToken;
use serde::Serialize;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeOptions {
    pub audio: bool,
    pub subtitles: bool,
    pub attachments: bool,
    pub chapters: bool,
    pub metadata: bool,
}
impl Default for MergeOptions {
    fn default() -> Self {
        Self { audio: true, subtitles: true, attachments: true, chapters: true, metadata: true }
    }
}
pub(crate) struct VideoTrack<'a> {
    pub(crate) parameters: &'a StreamParameters,
    pub(crate) time_base: Rational,
    pub(crate) settings: StreamSettings,
    pub(crate) next: &'a mut dyn FnMut() -> Result<Option<Packet>>,
}
pub(crate) struct MergeSettings {
    pub(crate) format: OutputFormat,
    pub(crate) options: Vec<(String, String)>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) stream_metadata: Vec<(String, String)>,
    pub(crate) tag: Option<String>,
    pub(crate) keep: MergeOptions,
}
pub(crate) struct MergeProgress {
    pub(crate) bytes: u64,
    pub(crate) video_packets: u64,
}
pub(crate) struct Merged {
    pub(crate) bytes: u64,
    pub(crate) video_packets: u64,
    pub(crate) streams: Vec<StreamReport>,
    pub(crate) chapters: usize,
    pub(crate) notes: Vec<String>,
}
pub(crate) fn merge(
    video: VideoTrack<'_>,
    _source: Option<&Path>,
    file: &PartialFile,
    settings: &MergeSettings,
    cancel: &CancelToken,
    _tell: &mut dyn FnMut(MergeProgress),
) -> Result<Merged> {
    let mut m = Muxer::create(
        file.clone(),
        video.parameters,
        video.time_base,
        &MuxerSettings {
            format: settings.format,
            options: settings.options.clone(),
            metadata: settings.metadata.clone(),
            tag: settings.tag.clone(),
            bitstream_filters: None,
            stream: video.settings,
        },
    )?;
    let mut n = 0;
    while let Some(p) = (video.next)()? {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        n += 1;
        m.write(p)?;
    }
    Ok(Merged { bytes: m.finish()?, video_packets: n, streams: vec![], chapters: 0, notes: vec![] })
}
#[derive(Serialize)]
struct _X;
