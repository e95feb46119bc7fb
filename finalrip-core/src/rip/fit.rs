//! Which chunks fit together: what a decoder can change at a keyframe, and what it cannot.

use std::path::Path;

use crate::bitstream::Header;
use crate::encode::pipeline::StreamFacts;
use crate::error::{Error, Result};
use crate::ffi::format::OutputFormat;

use super::fingerprint::sha256;
use super::record::StreamRecord;

impl StreamRecord {
    /// What is known of a stream when its encoder is open.
    pub(super) fn of(facts: &StreamFacts) -> Self {
        let header = Header::of_codec(&facts.codec, &facts.extradata);
        Self {
            encoder: facts.encoder.clone(),
            codec: facts.codec.clone(),
            pixel_format: facts.pixel_format.clone(),
            width: facts.width,
            height: facts.height,
            time_base: facts.time_base,
            frame_rate: facts.frame_rate,
            sample_aspect: facts.sample_aspect,
            color: Some(facts.color),
            fixed: header.map(|bytes| sha256(&bytes)),
            parameter_sets: String::new(),
        }
    }

    /// What keeps a stream from being joined to one of this kind; `None` when nothing does.
    ///
    /// A decoder takes other parameter sets of the same codec at a keyframe, and so other settings of the encoder, or another
    /// encoder. What the container's header says once, and what a player sets up once, stays.
    pub(super) fn parts_from(&self, other: &Self) -> Option<String> {
        let size = |stream: &Self| format!("{}x{}", stream.width, stream.height);
        let shown = |value: Option<crate::units::Rational>| value.map_or("none".to_owned(), |value| value.to_string());
        let pairs = [
            ("the codec", self.codec.clone(), other.codec.clone()),
            ("the size", size(self), size(other)),
            ("the pixel format", self.pixel_format.clone(), other.pixel_format.clone()),
            ("the pixels' shape", shown(self.sample_aspect), shown(other.sample_aspect)),
            ("the frame rate", shown(self.frame_rate), shown(other.frame_rate)),
            ("the time base", self.time_base.to_string(), other.time_base.to_string()),
        ];
        if let Some((what, mine, theirs)) = pairs.into_iter().find(|(_, mine, theirs)| mine != theirs) {
            return Some(format!("{what} is {mine}, and {theirs} in the others"));
        }
        // Older records do not say.
        if let Some((mine, theirs)) = self.color.zip(other.color).filter(|(mine, theirs)| mine != theirs) {
            return Some(format!("the colour is {mine:?}, and {theirs:?} in the others"));
        }
        let fixed = self.fixed.as_ref().zip(other.fixed.as_ref()).is_some_and(|(mine, theirs)| mine != theirs);
        fixed.then(|| format!("{} keeps its settings in the file's header, and they differ", self.codec))
    }

    /// Refuses a stream that cannot be joined to one of this kind.
    ///
    /// # Errors
    /// [`Error::Clip`], which says what differs.
    pub(super) fn admits(&self, stream: &Self) -> Result<()> {
        stream.parts_from(self).map_or(Ok(()), |difference| Err(does_not_join(&difference)))
    }
}

pub(super) fn does_not_join(difference: &str) -> Error {
    let reason = format!(
        "it cannot be joined to the chunks that are there: {difference}. Encode it as they are, or all of them as this one"
    );
    Error::Clip { reason }
}

/// The headers of all chunks, where they differ, and each keyframe has to carry its own.
///
/// # Errors
/// [`Error::Clip`] where keyframes cannot carry them.
pub(super) fn carried(headers: Vec<Header>) -> Result<Option<Vec<Header>>> {
    let [first, ..] = headers.as_slice() else { return Ok(None) };
    if headers.iter().all(|header| header.has_sets_of(first)) {
        return Ok(None);
    }
    let is_kind = |header: &Header| std::mem::discriminant(header) == std::mem::discriminant(first);
    if !headers.iter().all(|header| header.travels() && is_kind(header)) {
        return Err(does_not_join("its settings are kept in the file's header, and they differ"));
    }
    Ok(Some(headers))
}

/// The four-character code of a video whose keyframes carry parameter sets, where its container asks for one (ISO/IEC 14496-15:
/// `avc1` and `hvc1` promise that there are none in the samples).
///
/// # Errors
/// [`Error::Output`] when the command asks for another, or the container has none.
pub(super) fn tag(
    codec: &str,
    format: OutputFormat,
    (wanted, output): (Option<&str>, &Path),
) -> Result<Option<&'static str>> {
    if !format.is_mp4() {
        return Ok(None);
    }
    let (tag, without) = match codec {
        "h264" => ("avc3", "avc1"),
        "hevc" => ("hev1", "hvc1"),
        _ => return Ok(None),
    };
    let refused = |reason: String| Err(crate::container::output_error(output, reason));
    match wanted {
        Some(wanted) if wanted == without => refused(format!(
            "-tag:v {without} promises parameter sets in the header alone, but those of the chunks differ; leave it out, or say {tag}"
        )),
        Some(_) => Ok(None),
        None if codec == "h264" && !["mp4", "mov"].contains(&format.name().as_str()) => refused(format!(
            "the container {} keeps parameter sets in its header alone, but those of the chunks differ; use mp4, mov or mkv",
            format.name()
        )),
        None => Ok(Some(tag)),
    }
}
