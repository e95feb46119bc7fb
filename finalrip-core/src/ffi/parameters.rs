//! What a merge asks of stream parameters, and sets in them.

use std::ffi::c_int;

use ffmpeg_next::ffi as av;

use super::format::OutputFormat;
use super::pixel_format::PixelFormat;
use super::{AvError, StreamParameters, c_string};
use crate::picture::Color;

/// How a subtitle codec shows what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubtitleForm {
    Text,
    Bitmap,
}

impl StreamParameters {
    /// A copy of its own.
    pub(crate) fn copied(&self) -> Result<Self, AvError> {
        // SAFETY: our own parameters are valid.
        let mut copy = unsafe { Self::copy_of(self.as_ptr()) }?;
        copy.side_data.clone_from(&self.side_data);
        Ok(copy)
    }

    /// A copy that says how many bits a coded pixel has.
    pub(crate) fn with_coded_bits(&self, bits: i32) -> Result<Self, AvError> {
        let mut copy = self.copied()?;
        copy.raw_mut().bits_per_coded_sample = bits;
        Ok(copy)
    }

    /// A copy that says which pixel format was coded.
    pub(crate) fn with_pixel_format(&self, format: PixelFormat) -> Result<Self, AvError> {
        let mut copy = self.copied()?;
        copy.raw_mut().format = format.raw() as c_int;
        Ok(copy)
    }

    pub(crate) fn codec_id(&self) -> av::AVCodecID {
        self.raw().codec_id
    }

    /// The colour of the video.
    pub(crate) fn color(&self) -> Color {
        let raw = self.raw();
        Color {
            range: raw.color_range as c_int,
            primaries: raw.color_primaries as c_int,
            transfer: raw.color_trc as c_int,
            matrix: raw.color_space as c_int,
            chroma_location: raw.chroma_location as c_int,
        }
    }

    /// Whether libav has a name for the codec at all.
    pub(crate) fn has_codec(&self) -> bool {
        self.codec_id() != av::AVCodecID::AV_CODEC_ID_NONE
    }

    /// Lets the muxer choose the four-character code.
    pub(crate) fn clear_tag(&mut self) {
        self.raw_mut().codec_tag = 0;
    }

    /// Keeps the four-character code where `format` knows the codec by it, or by none at all, and lets the muxer choose
    /// otherwise; as the ffmpeg program does for a copied stream. Some codecs say in it what their packets hold.
    pub(crate) fn fit_tag(&mut self, format: OutputFormat) {
        let (codec, tag) = (self.codec_id(), self.raw().codec_tag);
        // SAFETY: a static description of a container.
        let known = unsafe { (*format.as_ptr()).codec_tag };
        let mut usual = 0;
        // SAFETY: a static list of tags, which is read, and room for one of them.
        let fits = known.is_null()
            || unsafe {
                av::av_codec_get_id(known, tag) == codec || av::av_codec_get_tag2(known, codec, &raw mut usual) == 0
            };
        if !fits {
            self.clear_tag();
        }
    }

    pub(crate) fn sample_rate(&self) -> Option<u32> {
        u32::try_from(self.raw().sample_rate).ok().filter(|&rate| rate > 0)
    }

    pub(crate) fn channels(&self) -> Option<u32> {
        u32::try_from(self.raw().ch_layout.nb_channels).ok().filter(|&channels| channels > 0)
    }

    /// Gives sound of which only the number of channels is known libav's usual layout for that number.
    pub(crate) fn settle_layout(&mut self) {
        // SAFETY: our own parameters, which no one else looks at.
        unsafe { super::audio::settle_layout(&raw mut self.raw_mut().ch_layout) };
    }

    /// Samples at the start that a decoder makes of nothing and drops. Opus has them in its header (RFC 7845, 5.1), of
    /// which libav's Matroska demuxer does not always tell.
    pub(crate) fn initial_padding(&self) -> u32 {
        let declared = u32::try_from(self.raw().initial_padding).unwrap_or(0);
        match self.extradata().strip_prefix(b"OpusHead") {
            Some([_, _, low, high, ..]) if declared == 0 => u16::from_le_bytes([*low, *high]).into(),
            _ => declared,
        }
    }

    pub(crate) fn set_initial_padding(&mut self, samples: u32) {
        self.raw_mut().initial_padding = c_int::try_from(samples).unwrap_or(0);
    }

    /// How many samples a packet of `bytes` bytes holds, where that can be told without decoding it.
    pub(crate) fn samples_in(&self, bytes: usize) -> Option<i64> {
        let bytes = c_int::try_from(bytes).ok()?;
        // SAFETY: valid parameters, which the call only reads although its type says otherwise.
        let samples = unsafe { av::av_get_audio_frame_duration2(self.as_ptr().cast_mut(), bytes) };
        (samples > 0).then(|| samples.into())
    }

    /// The format of the decoded samples by name, where it is known.
    pub(crate) fn sample_format(&self) -> Option<String> {
        let raw = self.raw();
        let known = (0..av::AVSampleFormat::AV_SAMPLE_FMT_NB as c_int).contains(&raw.format);
        // SAFETY: the number was found to be one of the enumeration's; its name is static.
        known.then(|| unsafe {
            super::text_from(av::av_get_sample_fmt_name((&raw const raw.format).cast::<av::AVSampleFormat>().read()))
        })?
    }

    /// Whether the decoded samples have at most 16 bits.
    pub(crate) fn is_narrow(&self) -> bool {
        use av::AVSampleFormat as Format;
        let narrow = [
            Format::AV_SAMPLE_FMT_U8,
            Format::AV_SAMPLE_FMT_U8P,
            Format::AV_SAMPLE_FMT_S16,
            Format::AV_SAMPLE_FMT_S16P,
        ];
        narrow.iter().any(|&format| format as c_int == self.raw().format)
            || (1..=16).contains(&self.raw().bits_per_raw_sample)
    }

    /// How a subtitle codec shows what it says, where libav knows.
    pub(crate) fn subtitle_form(&self) -> Option<SubtitleForm> {
        // SAFETY: returns null or a static description.
        let properties = unsafe { av::avcodec_descriptor_get(self.codec_id()).as_ref() }?.props;
        if properties & av::AV_CODEC_PROP_TEXT_SUB as c_int != 0 {
            Some(SubtitleForm::Text)
        } else if properties & av::AV_CODEC_PROP_BITMAP_SUB as c_int != 0 {
            Some(SubtitleForm::Bitmap)
        } else {
            None
        }
    }

    /// Opus in two channels, with `padding` samples at the start that a decoder drops (RFC 7845, 5.1).
    pub(crate) fn opus(padding: u16) -> Result<Self, AvError> {
        let mut parameters = Self::empty()?;
        let raw = parameters.raw_mut();
        raw.codec_type = av::AVMediaType::AVMEDIA_TYPE_AUDIO;
        raw.codec_id = av::AVCodecID::AV_CODEC_ID_OPUS;
        (raw.sample_rate, raw.initial_padding) = (48_000, padding.into());
        // SAFETY: the layout of fresh parameters owns nothing.
        unsafe { av::av_channel_layout_default(&raw mut raw.ch_layout, 2) };
        let [low, high] = padding.to_le_bytes();
        let header = [&b"OpusHead\x01\x02"[..], &[low, high], &48_000_u32.to_le_bytes(), &[0, 0, 0]].concat();
        parameters.set_extradata(&header)?;
        Ok(parameters)
    }

    /// A file inside the file: an attachment with these bytes. `like` lends its codec, which tells the muxer what it is.
    pub(crate) fn attachment(like: &Self, bytes: &[u8]) -> Result<Self, AvError> {
        let mut parameters = Self::empty()?;
        let raw = parameters.raw_mut();
        raw.codec_type = av::AVMediaType::AVMEDIA_TYPE_ATTACHMENT;
        raw.codec_id = like.codec_id();
        parameters.set_extradata(bytes)?;
        Ok(parameters)
    }
}

/// A sample format by name, such as `s16`.
pub(super) fn sample_format_named(name: &str) -> av::AVSampleFormat {
    let name = c_string(name);
    // SAFETY: a terminated string; unknown names give NONE.
    unsafe { av::av_get_sample_fmt(name.as_ptr()) }
}
