//! A finished file of one video written anew, from its packets, with other times.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::ffi::input::{InputContext, Probe};
use crate::ffi::log::LogTail;
use crate::timing::Schedule;
use crate::units::Rational;

use super::{Muxer, MuxerSettings, PartialFile, StreamKind, output_error};

/// The times that the packets of a video get.
pub(crate) struct Retimed<'a> {
    /// For each packet in decode order, the number of its picture in presentation order.
    pub(crate) order: &'a [u32],
    /// In ticks of `time_base`.
    pub(crate) times: &'a Schedule,
    pub(crate) time_base: Rational,
}

/// Writes the file, which is complete under its temporary name, anew, and returns its size. `None` where it cannot be read back
/// picture by picture: it is a device or a pipe, or its container divides the stream otherwise than it was written.
pub(crate) fn retime(
    file: &PartialFile,
    retimed: &Retimed<'_>,
    settings: &MuxerSettings,
    cancel: &CancelToken,
) -> Result<Option<u64>> {
    let Some(path) = file.path() else { return Ok(None) };
    let Ok(mut input) = InputContext::open(&path, Probe::Usual, cancel, &LogTail::default()) else { return Ok(None) };
    let video = input.streams().iter().find(|stream| stream.kind == StreamKind::Video);
    let Some((index, parameters)) = video.map(|stream| (stream.index, stream.parameters.copied())) else {
        return Ok(None);
    };
    let failed = |reason: String| output_error(file.target(), reason);
    let parameters = parameters.map_err(|code| failed(code.to_string()))?;
    input.want(&[index]);
    // The old file loses its name here, and its space when the input is closed.
    let mut muxer = Muxer::create(file.clone(), &parameters, retimed.time_base, settings)?;
    let mut packets = 0;
    while let Some((_, mut packet)) = input.read().map_err(|code| failed(code.to_string()))? {
        let Some(&picture) = retimed.order.get(packets) else { return Ok(None) };
        let (picture, times) = (picture as usize, retimed.times);
        packet.set_times(times.shown(picture), times.decoded(packets));
        packet.set_duration(times.shown(picture + 1) - times.shown(picture));
        muxer.write(packet)?;
        packets += 1;
    }
    if packets != retimed.order.len() {
        return Ok(None);
    }
    muxer.finish().map(Some)
}
