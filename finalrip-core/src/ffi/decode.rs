//! Decoders: of a source's first picture, and of audio that a container cannot carry as it is.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::frame::{AvFrame, av_rational};
use super::log::{LogScope, LogTail};
use super::{AvError, Packet, StreamParameters};
use crate::units::Rational;

/// An open decoder of libav for one stream's packets.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(super) raw: NonNull<av::AVCodecContext>,
    pub(super) log: LogTail,
}

// SAFETY: a codec context may be used from any one thread at a time.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Opens libav's own decoder for a stream; `time_base` is of its packets' times.
    pub(crate) fn open(parameters: &StreamParameters, time_base: Rational, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        // SAFETY: returns null or a static description.
        let codec = unsafe { av::avcodec_find_decoder(parameters.codec_id()) };
        if codec.is_null() {
            return Err(AvError(av::AVERROR_DECODER_NOT_FOUND));
        }
        // SAFETY: a static codec; returns null or a context that is ours from here on.
        let raw = NonNull::new(unsafe { av::avcodec_alloc_context3(codec) }).ok_or(AvError::NO_MEMORY)?;
        let this = Self { raw, log: log.clone() };
        // SAFETY: an unopened context made for this codec; the parameters are copied into it.
        unsafe {
            AvError::check(av::avcodec_parameters_to_context(raw.as_ptr(), parameters.as_ptr()))?;
            (*raw.as_ptr()).pkt_timebase = av_rational(time_base);
            AvError::check(av::avcodec_open2(raw.as_ptr(), codec, ptr::null_mut()))?;
        }
        Ok(this)
    }

    /// Sends a packet, or with `None` the end of the stream.
    pub(crate) fn send(&mut self, packet: Option<&Packet>) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        let packet = packet.map_or(ptr::null(), |packet| packet.as_ptr().cast_const());
        // SAFETY: an open decoder; libav takes its own reference to the packet's bytes.
        AvError::check(unsafe { av::avcodec_send_packet(self.raw.as_ptr(), packet) }).map(drop)
    }

    /// The next decoded frame; `None` when more packets are needed or, after the end, when nothing is left.
    pub(crate) fn receive(&mut self) -> Result<Option<AvFrame>, AvError> {
        let _scope = LogScope::enter(&self.log);
        let frame = AvFrame::new()?;
        // SAFETY: an open decoder and a frame that we own.
        match AvError::check(unsafe { av::avcodec_receive_frame(self.raw.as_ptr(), frame.as_ptr()) }) {
            Ok(_) => Ok(Some(frame)),
            Err(AvError::AGAIN | AvError::EOF) => Ok(None),
            Err(code) => Err(code),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone.
        unsafe { av::avcodec_free_context(&raw mut raw) };
    }
}

impl AvFrame {
    /// When a decoded frame is shown, as well as libav can tell, in the base of the packets it came from.
    pub(crate) fn best_time(&self) -> Option<i64> {
        let time = self.raw().best_effort_timestamp;
        (time != av::AV_NOPTS_VALUE).then_some(time)
    }

    /// How many samples a frame of audio holds for each channel.
    pub(crate) fn samples(&self) -> i64 {
        self.raw().nb_samples.into()
    }

    /// The samples of a frame of audio as bytes; of planar ones those of the first channel.
    pub(crate) fn sample_bytes(&self) -> &[u8] {
        let raw = self.raw();
        let known = (0..av::AVSampleFormat::AV_SAMPLE_FMT_NB as c_int).contains(&raw.format);
        if !known || raw.nb_samples <= 0 || raw.data[0].is_null() {
            return &[];
        }
        // SAFETY: the number was found to be one of the enumeration's; the calls look it up in a table.
        let (bytes, planar) = unsafe {
            let format = (&raw const raw.format).cast::<av::AVSampleFormat>().read();
            (av::av_get_bytes_per_sample(format), av::av_sample_fmt_is_planar(format) != 0)
        };
        let channels = if planar { 1 } else { raw.ch_layout.nb_channels };
        let size = [bytes, raw.nb_samples, channels].map(|part| usize::try_from(part).unwrap_or(0)).iter().product();
        // SAFETY: a decoded frame of audio holds so many samples of so many bytes in its first plane, for as long as it lives.
        unsafe { std::slice::from_raw_parts(raw.data[0], size) }
    }
}
