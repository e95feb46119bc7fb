//! Text subtitles on their way from one codec to another.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::codec::Packet;
use super::decode::Decoder;
use super::log::{LogScope, LogTail};
use super::{AvError, StreamParameters, c_string};

/// A decoded subtitle: what libav allocated for it is freed with it.
pub(crate) struct Subtitle(av::AVSubtitle);

impl Drop for Subtitle {
    fn drop(&mut self) {
        // SAFETY: filled by libav or zeroed; freed once.
        unsafe { av::avsubtitle_free(&raw mut self.0) };
    }
}

impl Subtitle {
    /// How long it is shown, in milliseconds, if that is known.
    pub(crate) fn shown_for(&self) -> Option<u32> {
        let shown = self.0.end_display_time.checked_sub(self.0.start_display_time)?;
        (shown > 0 && self.0.end_display_time != u32::MAX).then_some(shown)
    }

    /// How long after its packet's time it appears, in milliseconds.
    pub(crate) fn delay(&self) -> u32 {
        self.0.start_display_time
    }
}

impl Decoder {
    /// Decodes a subtitle packet; `None` when it shows nothing.
    pub(crate) fn decode_subtitle(&mut self, packet: &Packet) -> Result<Option<Subtitle>, AvError> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: all zero is how libav itself starts a subtitle.
        let mut subtitle = Subtitle(unsafe { std::mem::zeroed() });
        let mut got = 0;
        // SAFETY: an open subtitle decoder, a packet of ours that is only read, and a subtitle that the call fills.
        AvError::check(unsafe {
            av::avcodec_decode_subtitle2(self.raw.as_ptr(), &raw mut subtitle.0, &raw mut got, packet.as_ptr())
        })?;
        Ok((got != 0 && subtitle.0.num_rects > 0).then_some(subtitle))
    }
}

/// An open encoder of text subtitles.
#[derive(Debug)]
pub(crate) struct SubtitleEncoder {
    raw: NonNull<av::AVCodecContext>,
    log: LogTail,
    buffer: Vec<u8>,
}

// SAFETY: a codec context may be used from any one thread at a time.
unsafe impl Send for SubtitleEncoder {}

/// What the ffmpeg program allows an encoded subtitle to take.
const LARGEST_SUBTITLE: usize = 1024 * 1024;

impl SubtitleEncoder {
    /// Opens the encoder `name` for what `decoder` decodes.
    pub(crate) fn open(name: &str, decoder: &Decoder, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let name = c_string(name);
        // SAFETY: a terminated string; returns null or a static description.
        let codec = unsafe { av::avcodec_find_encoder_by_name(name.as_ptr()) };
        if codec.is_null() {
            return Err(AvError(av::AVERROR_ENCODER_NOT_FOUND));
        }
        // SAFETY: a static codec; returns null or a context that is ours from here on.
        let raw = NonNull::new(unsafe { av::avcodec_alloc_context3(codec) }).ok_or(AvError::NO_MEMORY)?;
        let this = Self { raw, log: log.clone(), buffer: vec![0; LARGEST_SUBTITLE] };
        // SAFETY: an unopened context made for this codec. The styles' text is copied into libav's own memory, with the
        // terminator that encoders rely on; the context frees it.
        unsafe {
            let (to, from) = (raw.as_ptr(), decoder.raw.as_ptr());
            (*to).time_base = av::AVRational { num: 1, den: 1000 };
            let size = usize::try_from((*from).subtitle_header_size).unwrap_or(0);
            if !(*from).subtitle_header.is_null() && size > 0 {
                let copy = av::av_mallocz(size + 1).cast::<u8>();
                if copy.is_null() {
                    return Err(AvError::NO_MEMORY);
                }
                ptr::copy_nonoverlapping((*from).subtitle_header, copy, size);
                (*to).subtitle_header = copy;
                (*to).subtitle_header_size = size as c_int;
            }
            AvError::check(av::avcodec_open2(to, codec, ptr::null_mut()))?;
        }
        Ok(this)
    }

    /// The stream that it makes.
    pub(crate) fn stream(&self) -> Result<StreamParameters, AvError> {
        let mut parameters = StreamParameters::empty()?;
        // SAFETY: both are valid; what is needed is copied.
        AvError::check(unsafe { av::avcodec_parameters_from_context(parameters.raw_mut(), self.raw.as_ptr()) })?;
        Ok(parameters)
    }

    /// Encodes a subtitle; `None` when nothing of it is left.
    pub(crate) fn encode(&mut self, subtitle: &mut Subtitle) -> Result<Option<Packet>, AvError> {
        let _scope = LogScope::enter(&self.log);
        // Encoders want one that appears at once: the delay belongs to the packet's time.
        subtitle.0.end_display_time = subtitle.0.end_display_time.saturating_sub(subtitle.0.start_display_time);
        subtitle.0.start_display_time = 0;
        // SAFETY: an open subtitle encoder, a subtitle that libav decoded, and a buffer of the size given.
        let written = AvError::check(unsafe {
            av::avcodec_encode_subtitle(
                self.raw.as_ptr(),
                self.buffer.as_mut_ptr(),
                self.buffer.len() as c_int,
                &raw const subtitle.0,
            )
        })?;
        let bytes = self.buffer.get(..usize::try_from(written).unwrap_or(0)).unwrap_or_default();
        if bytes.is_empty() { Ok(None) } else { Packet::copy_of(bytes).map(Some) }
    }
}

impl Drop for SubtitleEncoder {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone.
        unsafe { av::avcodec_free_context(&raw mut raw) };
    }
}
