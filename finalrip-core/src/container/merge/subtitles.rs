//! Text subtitles in another codec, for containers that do not carry the source's.

use crate::ffi::decode::Decoder;
use crate::ffi::input::InputStream;
use crate::ffi::log::LogTail;
use crate::ffi::subtitle::SubtitleEncoder;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::units::Rational;

/// Encoders of text, those first that keep most and are understood by most.
pub(super) const CANDIDATES: [&str; 4] = ["subrip", "webvtt", "mov_text", "ass"];

/// One stream being converted.
#[derive(Debug)]
pub(super) struct SubtitleConversion {
    decoder: Decoder,
    encoder: SubtitleEncoder,
    input_base: Rational,
    /// Packets that could not be decoded.
    pub(super) damaged: u64,
}

impl SubtitleConversion {
    /// Opens both sides; the second value is the stream that comes out.
    pub(super) fn open(
        stream: &InputStream,
        encoder: &str,
        log: &LogTail,
    ) -> Result<(Self, StreamParameters), AvError> {
        let decoder = Decoder::open(&stream.parameters, stream.time_base, log)?;
        let encoder = SubtitleEncoder::open(encoder, &decoder, log)?;
        let parameters = encoder.stream()?;
        Ok((Self { decoder, encoder, input_base: stream.time_base, damaged: 0 }, parameters))
    }

    /// Converts a packet; the result keeps its time, in ticks of the source's stream.
    pub(super) fn convert(&mut self, packet: &Packet) -> Option<Packet> {
        let mut subtitle = match self.decoder.decode_subtitle(packet) {
            Ok(subtitle) => subtitle?,
            Err(_) => {
                self.damaged += 1;
                return None;
            }
        };
        let ticks = |milliseconds: u32| {
            let period = Rational::new(1, 1000).unwrap_or(Rational::ONE);
            super::clock::shifted(milliseconds.into(), period, 0, self.input_base)
        };
        let time = packet.pts().or(packet.dts())?.saturating_add(ticks(subtitle.delay()));
        let duration = subtitle.shown_for().map_or(packet.duration(), ticks);
        match self.encoder.encode(&mut subtitle) {
            Ok(converted) => {
                let mut converted = converted?;
                converted.place(Some(time), Some(time), duration);
                converted.set_key();
                Some(converted)
            }
            Err(_) => {
                self.damaged += 1;
                None
            }
        }
    }
}
