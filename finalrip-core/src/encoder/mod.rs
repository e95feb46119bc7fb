//! Encoders: one contract, two backends (every video encoder of the linked libav, and the `rav1e` crate), and the
//! command line that chooses and configures one.

pub(crate) mod alpha;
pub mod command;
mod faults;
mod hdr;
mod ignored;
pub(crate) mod libav;
pub(crate) mod parts;
pub(crate) mod rav1e;
#[cfg(test)]
mod tests;

use crate::ffi::{Packet, StreamParameters};
use crate::frames::{FieldOrder, HdrMetadata};
use crate::picture::{Color, Picture, PixelFormat};
use crate::units::Rational;

/// Encoders that refuse a time base as fine as that of variable timing, or make another of it.
const COARSE_TIMES: [&str; 5] = ["mpeg1video", "mpeg2video", "mpeg4", "libxvid", "vc2"];

/// What every encoder is told before its first picture.
#[derive(Debug, Clone)]
pub(crate) struct VideoParameters {
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// The format of every picture; one that the encoder takes.
    pub(crate) format: PixelFormat,
    /// Seconds per tick of the pictures' and packets' times.
    pub(crate) time_base: Rational,
    /// The constant frame rate, or for variable timing a rough one for rate control.
    pub(crate) frame_rate: Option<Rational>,
    /// The sample aspect ratio, if known.
    pub(crate) sample_aspect: Option<Rational>,
    /// How fields are ordered in the pictures.
    pub(crate) field_order: FieldOrder,
    /// Colour as the pictures have it; the command's own options win over it.
    pub(crate) color: Color,
    /// HDR10 metadata for the bitstream and the container.
    pub(crate) hdr: HdrMetadata,
    /// Whether parameter sets go into the container's header instead of the stream.
    pub(crate) global_header: bool,
}

/// Why an encoder refused its settings or its input; folded into [`crate::Error::Encoder`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EncoderError {
    /// What the encoder refused, in words a user can act on.
    pub message: String,
    /// The last lines that the encoder logged, oldest first.
    pub log: Vec<String>,
}

impl EncoderError {
    pub(crate) fn plain(message: String) -> Self {
        Self { message, log: Vec::new() }
    }
}

/// What [`Encoder::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A finished packet, in decode order, with timestamps in the encoder's time base.
    Packet(Packet),
    /// Nothing yet: send the next picture.
    NeedsInput,
    /// Everything that was sent has been returned; only after [`Encoder::drain`].
    Finished,
}

/// A video encoder that takes pictures in display order and returns packets in decode order.
///
/// # Contract
/// - Who implements: the libav backend and the rav1e backend. Who calls: the encode loop, from one thread at a time.
/// - `send` takes a picture whose size and pixel format are those the encoder was opened with, and whose `pts` grow
///   strictly, in the encoder's time base. It may block while the encoder works; it never waits for `receive`, because
///   the caller calls `receive` until [`Received::NeedsInput`] after every `send` and every `drain`.
/// - The picture's planes stay referenced for as long as the encoder reads them, and no longer.
/// - `drain` says that no picture follows; it is called once. `send` after `drain` is an error.
/// - Dropping an encoder at any point stops its threads and frees everything.
pub trait Encoder: Send {
    /// The encoder's name as a command spells it, such as `libx265`.
    fn name(&self) -> &str;

    /// The stream that the packets belong to: codec, size, colour, extradata. Known at the latest when the first packet
    /// has been received.
    fn stream(&self) -> Option<&StreamParameters>;

    /// Hands over the next picture.
    ///
    /// # Errors
    /// [`EncoderError`] when the encoder fails or refuses the picture; the encoder is of no further use.
    fn send(&mut self, picture: Picture) -> Result<(), EncoderError>;

    /// Says that no picture follows.
    ///
    /// # Errors
    /// [`EncoderError`] when the encoder fails.
    fn drain(&mut self) -> Result<(), EncoderError>;

    /// Takes the next packet, if there is one.
    ///
    /// # Errors
    /// [`EncoderError`] when the encoder fails.
    fn receive(&mut self) -> Result<Received, EncoderError>;
}

/// Whether an encoder takes the fine time base of variable timing. The bitstreams of these count time in frames of a rate, or in few
/// ticks a second.
pub(crate) fn takes_fine_times(encoder: &str) -> bool {
    !COARSE_TIMES.contains(&encoder)
}

/// The bits of a pixel that a container has to say beside the codec, or nobody can decode it; Matroska does not keep them.
pub(crate) fn coded_bits(encoder: &str, pixel_format: &str) -> Option<i32> {
    match (encoder, pixel_format) {
        ("qtrle", "argb") => Some(32),
        ("qtrle", "rgb24") => Some(24),
        ("qtrle", "rgb555be") => Some(16),
        // QuickTime's number for 256 greys.
        ("qtrle", "gray") => Some(40),
        _ => None,
    }
}

/// The rates of MPEG-1 and 2, slowest first: those that their headers have a number for.
const MPEG_RATES: [(i64, i64); 8] =
    [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];

/// The next rate that an encoder takes and that is no slower, or its fastest.
pub(crate) fn next_rate(encoder: &str, rate: Rational) -> Rational {
    if !["mpeg1video", "mpeg2video"].contains(&encoder) {
        return rate;
    }
    let mut taken = MPEG_RATES.iter().filter_map(|&(num, den)| Rational::new(num, den));
    let fastest = taken.clone().next_back().unwrap_or(rate);
    taken.find(|taken| taken.as_f64() >= rate.as_f64()).unwrap_or(fastest)
}

/// The names of all encoders that a command can choose: the linked libav's video encoders, and `rav1e`.
#[must_use]
pub fn available() -> Vec<String> {
    let mut names = crate::ffi::options::all_video_encoders();
    names.push(crate::convert::RAV1E.to_owned());
    names.sort();
    names.dedup();
    names
}

/// The version of the linked libav, as its own programs print it, such as `5.1.9-0+deb12u1`.
#[must_use]
pub fn libav_version() -> String {
    crate::ffi::release()
}
