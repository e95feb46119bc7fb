//! How long the picture of a file lasts, by the times of its packets: what a container declares is often the longest stream's
//! length, or a guess.

use std::path::Path;

use crate::cancel::CancelToken;
use crate::ffi::Packet;
use crate::ffi::input::{InputContext, InputStream, Probe};
use crate::ffi::log::LogTail;
use crate::units::Rational;

use super::StreamKind;

/// Packets that are looked at for the first time that is shown; more than any codec reorders.
const FIRST: usize = 64;

/// What there is to compare a clip with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PictureLength {
    /// From the first picture's start to the last one's end.
    pub(crate) seconds: f64,
    pub(crate) has_sound: bool,
    pub(crate) has_subtitles: bool,
}

/// Reads the beginning and the end of a file; `None` where it has no video, or where its packets have no times.
pub(crate) fn picture_length(path: &Path, cancel: &CancelToken) -> Option<PictureLength> {
    let mut input = InputContext::open(path, Probe::Usual, cancel, &LogTail::default()).ok()?;
    let has = |kind| input.streams().iter().any(|stream| stream.kind == kind);
    let (has_sound, has_subtitles) = (has(StreamKind::Audio), has(StreamKind::Subtitle));
    let is_video = |stream: &&InputStream| stream.kind == StreamKind::Video && !stream.is_picture();
    let video = input.streams().iter().find(is_video)?;
    let (index, base) = (video.index, video.time_base);
    let period = video.frame_rate.and_then(Rational::inverse).map_or(0.0, Rational::as_f64);
    input.want(&[index]);
    let first = times(&mut input, FIRST).map(|(start, _)| start).min()?;
    let declared = input.start_time().unwrap_or(0).saturating_add(input.duration()?);
    let declared = (declared as f64 / 1e9 / base.as_f64()) as i64;
    input.seek(index, declared).ok()?;
    // The one that is shown last is not the one that is read last.
    let (last, duration) = times(&mut input, usize::MAX).max()?;
    let duration = if duration > 0 { duration as f64 * base.as_f64() } else { period };
    let seconds = (last - first) as f64 * base.as_f64() + duration;
    Some(PictureLength { seconds, has_sound, has_subtitles })
}

/// The start and duration of so many packets that follow.
fn times(input: &mut InputContext, packets: usize) -> impl Iterator<Item = (i64, i64)> {
    let read = move || input.read().ok().flatten().map(|(_, packet)| packet);
    let time = |packet: Packet| Some((packet.pts().or(packet.dts())?, packet.duration()));
    std::iter::from_fn(read).take(packets).filter_map(time)
}
