//! What can be known of the merge before the first chunk is encoded: which of the source's streams the container takes, and as
//! what.

use crate::container::{StreamAction, VideoTrack, preview};
use crate::convert::RAV1E;
use crate::encoder::VideoParameters;
use crate::error::{Error, Result};
use crate::ffi::StreamParameters;
use crate::ffi::codec::Codec;
use crate::ffi::format::StreamSettings;
use crate::frames::{ClipInfo, FieldOrder, HdrMetadata};
use crate::picture::{Color, PixelFormat};
use crate::units::Rational;

use super::RipJob;

/// Plans the merge with what is known of the video, and tells in the log which streams would be left out.
///
/// # Errors
/// [`Error::Command`] when a stream cannot become what the command asks; [`Error::Source`] when the source cannot be read.
pub(super) fn check_streams(job: &RipJob, clip: &ClipInfo, format: PixelFormat) -> Result<()> {
    let Some(source) = &job.source else { return Ok(()) };
    let Some(parameters) = stand_in(job, clip, format) else { return Ok(()) };
    let frame_rate = job.command.frame_rate.or(job.command.input_rate).or(clip.frame_rate);
    let video = VideoTrack {
        parameters: &parameters,
        time_base: frame_rate.and_then(Rational::inverse).unwrap_or(Rational::ONE),
        settings: StreamSettings { frame_rate, sample_aspect: None, metadata: Vec::new() },
        next: &mut || Ok(None),
    };
    let settings = job.merge_settings(None);
    let streams = match preview(&video, source, &job.output.file, &settings, &job.output.cancel) {
        Err(error @ (Error::Command(_) | Error::Source { .. } | Error::Cancelled)) => return Err(error),
        Err(error) => {
            tracing::debug!("what becomes of the source's streams shows only when they are merged: {error}");
            return Ok(());
        }
        Ok(streams) => streams,
    };
    for stream in streams {
        if let StreamAction::LeftOut { reason } = &stream.action {
            tracing::warn!(
                "the source's stream {} ({} {}) will be left out: {reason}",
                stream.source_index,
                stream.kind,
                stream.codec
            );
        }
    }
    Ok(())
}

/// The video as far as it is known: its codec, and about its size and format.
fn stand_in(job: &RipJob, clip: &ClipInfo, format: PixelFormat) -> Option<StreamParameters> {
    let encoder = &job.output.encoder;
    let codec =
        if encoder == RAV1E { Some(ffmpeg_next::ffi::AVCodecID::AV_CODEC_ID_AV1) } else { Codec::id_of(encoder) };
    let (width, height) = job.command.size.unwrap_or((clip.width, clip.height));
    let about = VideoParameters {
        width,
        height,
        format,
        time_base: Rational::ONE,
        frame_rate: clip.frame_rate,
        sample_aspect: None,
        field_order: FieldOrder::Progressive,
        color: Color::default(),
        hdr: HdrMetadata::default(),
        global_header: false,
    };
    StreamParameters::for_video(codec?, &about, &[]).ok()
}
