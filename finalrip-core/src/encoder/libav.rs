//! The backend for every video encoder of the linked libav.

use crate::ffi::codec::{Codec, CodecContext};
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::picture::Picture;

use super::{Encoder, EncoderError, Received, VideoParameters, faults, hdr, ignored};

/// An encoder of libav, opened as the ffmpeg program opens it.
#[derive(Debug)]
pub(crate) struct LibavEncoder {
    name: String,
    context: CodecContext,
    stream: StreamParameters,
    log: LogTail,
    /// The times of the pictures sent so far, of the first ones alone: see [`short_stream_dts`].
    first_pts: Vec<i64>,
}

impl LibavEncoder {
    /// Opens the encoder `name`; `options` are libav's, by name.
    pub(crate) fn open(
        name: &str,
        video: &VideoParameters,
        options: &[(String, String)],
    ) -> Result<Self, EncoderError> {
        let codec = Codec::encoder(name)
            .ok_or_else(|| EncoderError::plain(format!("the linked libav has no video encoder {name}")))?;
        let all = hdr::with_metadata(name, options, &video.hdr);
        let log = LogTail::default();
        let context = CodecContext::open(codec, video, &all, &log)?;
        let wrong = faults::find(name, options, (video.format.depth(), context.printed())).or_else(|| {
            let lines = log.lines();
            let warning = ignored::find(name, options, &lines)?;
            Some(format!("it does not do what the command asks for: {warning}"))
        });
        if let Some(message) = wrong {
            return Err(EncoderError { message, log: Vec::new() });
        }
        let stream = context.stream(&video.hdr).map_err(|code| EncoderError::plain(code.to_string()))?;
        Ok(Self { name: name.to_owned(), context, stream, log, first_pts: Vec::new() })
    }

    fn failed(&self, code: AvError) -> EncoderError {
        EncoderError { message: code.to_string(), log: self.log.take() }
    }
}

impl Encoder for LibavEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn stream(&self) -> Option<&StreamParameters> {
        Some(&self.stream)
    }

    fn send(&mut self, mut picture: Picture) -> Result<(), EncoderError> {
        if self.first_pts.len() <= X265_REORDERING {
            self.first_pts.push(picture.pts());
        }
        picture.prepare_for_encoder(self.context.global_quality());
        self.context.send(Some(picture.frame())).map_err(|code| self.failed(code))
    }

    fn drain(&mut self) -> Result<(), EncoderError> {
        self.context.send(None).map_err(|code| self.failed(code))
    }

    fn receive(&mut self) -> Result<Received, EncoderError> {
        let mut packet = Packet::empty().map_err(|code| self.failed(code))?;
        match self.context.receive(&mut packet) {
            Ok(()) => {
                if self.name == "libx265"
                    && let (Some(pts), Some(dts)) = (packet.pts(), packet.dts())
                {
                    packet.set_times(pts, short_stream_dts(&self.first_pts, pts, dts));
                }
                Ok(Received::Packet(packet))
            }
            Err(AvError::AGAIN) => Ok(Received::NeedsInput),
            Err(AvError::EOF) => Ok(Received::Finished),
            Err(code) => Err(self.failed(code)),
        }
    }
}

/// By how many pictures x265 reorders at most.
const X265_REORDERING: usize = 2;

/// The decode time of a packet of x265's.
///
/// x265 (`Encoder::encode`, 3.5) learns by how much decode times precede the first picture when it takes the picture that many
/// later. A stream that ends sooner, and the last chunk of a rip may be of one picture, gets what was in its memory instead. There,
/// nothing is reordered, and packets are decoded when they are shown, which is what x265 says when its memory held zeros.
fn short_stream_dts(sent: &[i64], pts: i64, dts: i64) -> i64 {
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return dts };
    // With a reordering of one picture two of them are enough, and the times are right.
    let is_sound = dts <= pts && pts.saturating_sub(dts) <= last.saturating_sub(*first);
    if sent.len() > X265_REORDERING || is_sound { dts } else { pts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_times_of_streams_of_one_or_two_pictures_are_sound() {
        const NOISE: [i64; 4] = [942_832_294_811_900_080, -942_832_294_811_900_080, i64::MAX, i64::MIN];
        for noise in NOISE {
            assert_eq!(short_stream_dts(&[7], 7, noise), 7);
            assert_eq!(short_stream_dts(&[7, 9], 9, noise), 9);
        }
        // As x265 says them.
        assert_eq!(short_stream_dts(&[7], 7, 7), 7);
        assert_eq!(short_stream_dts(&[7, 9], 7, 5), 5);
        assert_eq!(short_stream_dts(&[7, 9], 9, 7), 7);
        assert_eq!(short_stream_dts(&[7, 9, 11], 7, 3), 3);
        assert_eq!(short_stream_dts(&[], 7, 3), 3);
    }
}
