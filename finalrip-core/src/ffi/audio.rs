//! Audio on its way from one codec to another: what frames look like, and encoders.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::codec::Packet;
use super::filter::FilterGraph;
use super::frame::{AvFrame, av_rational};
use super::log::{LogScope, LogTail};
use super::parameters::sample_format_named;
use super::{AvError, Dictionary, StreamParameters, c_string, text_from};
use crate::encoder::EncoderError;
use crate::units::Rational;

/// How the samples of a frame lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioForm {
    pub(crate) sample_format: String,
    pub(crate) sample_rate: u32,
    /// As libav writes layouts, such as `5.1(side)`.
    pub(crate) layout: String,
}

impl AudioForm {
    /// What a decoded frame is. A frame that only has a number of channels gets libav's usual layout for that number.
    pub(crate) fn of_frame(frame: &mut AvFrame) -> Option<Self> {
        let raw = frame.as_ptr();
        // SAFETY: a frame of our own, which no one else looks at during the call; layouts that are not of the unspecified
        // order are not touched. The name of a format, known or not, is null or static.
        unsafe {
            settle_layout(&raw mut (*raw).ch_layout);
            let known = (0..av::AVSampleFormat::AV_SAMPLE_FMT_NB as c_int).contains(&(*raw).format);
            let format = known.then(|| (&raw const (*raw).format).cast::<av::AVSampleFormat>().read())?;
            Some(Self {
                sample_format: text_from(av::av_get_sample_fmt_name(format))?,
                sample_rate: u32::try_from((*raw).sample_rate).ok().filter(|&rate| rate > 0)?,
                layout: describe_layout(&raw const (*raw).ch_layout)?,
            })
        }
    }

    /// A graph that turns frames of this form into frames as an encoder takes them. Holes in the sound become silence,
    /// so that what follows stays where it was. `time_base` is the duration of a sample, in which `heard_from` is the time
    /// of the first that is kept.
    pub(crate) fn graph_to(
        &self,
        encoder: &AudioEncoder,
        time_base: Rational,
        heard_from: Option<i64>,
        log: &LogTail,
    ) -> Result<FilterGraph, EncoderError> {
        let base = av_rational(time_base);
        let source = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:channel_layout={}",
            base.num, base.den, self.sample_rate, self.sample_format, self.layout
        );
        let to = &encoder.form;
        let cut = heard_from.map(|time| format!("atrim=start_pts={time},")).unwrap_or_default();
        let chain = encoder.filters.as_ref().map(|chain| format!("{chain},")).unwrap_or_default();
        let filters = format!(
            "{cut}{chain}aresample=async=1,aformat=sample_fmts={}:sample_rates={}:channel_layouts={}",
            to.sample_format, to.sample_rate, to.layout
        );
        let mut graph = FilterGraph::audio(&source, &filters, log)?;
        if let Some(samples) = encoder.frame_size() {
            graph.set_frame_size(samples);
        }
        Ok(graph)
    }
}

/// Gives a layout that only says how many channels there are libav's usual one for that number.
///
/// # Safety
/// `layout` is valid, and nobody else uses it.
pub(super) unsafe fn settle_layout(layout: *mut av::AVChannelLayout) {
    // SAFETY: by the caller's promise; the call overwrites the layout, and one of unspecified order owns nothing.
    unsafe {
        if (*layout).order == av::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC {
            av::av_channel_layout_default(layout, (*layout).nb_channels);
        }
    }
}

/// Replaces a layout that is not among `layouts` by the one that is nearest: the smallest with all of its channels, or with
/// as many, or the largest. A pair of surround channels counts as one, whether it stands beside the listener or behind.
///
/// # Safety
/// `layout` is valid, and nobody else uses it.
unsafe fn fit_layout(layout: *mut av::AVChannelLayout, layouts: &[String]) -> Result<(), AvError> {
    // SAFETY: by the caller's promise.
    let (wanted, channels) = unsafe { (mask_of(layout), (*layout).nb_channels) };
    let Some(wanted) = wanted else { return Ok(()) };
    let mut known = Vec::with_capacity(layouts.len());
    for name in layouts {
        // SAFETY: all zeros is a layout that owns nothing, and what the call makes of a name of libav's own owns nothing
        // either.
        let candidate = unsafe {
            let mut candidate: av::AVChannelLayout = std::mem::zeroed();
            AvError::check(av::av_channel_layout_from_string(&raw mut candidate, c_string(name).as_ptr()))?;
            candidate
        };
        // SAFETY: valid, as it was made just now.
        known.extend(unsafe { mask_of(&raw const candidate) }.map(|mask| (mask, candidate)));
    }
    if known.iter().any(|(mask, _)| *mask == wanted) {
        return Ok(());
    }
    let holds = |(mask, _): &&(u64, _)| surround(wanted) & !surround(*mask) == 0;
    let has_room = |(_, candidate): &&(u64, av::AVChannelLayout)| candidate.nb_channels >= channels;
    let nearest = known.iter().find(holds).or_else(|| known.iter().find(has_room)).or(known.last());
    if let Some((_, nearest)) = nearest {
        // SAFETY: both are valid; the call frees what the layout owned.
        AvError::check(unsafe { av::av_channel_layout_copy(layout, nearest) })?;
    }
    Ok(())
}

/// The channels of a layout as libav's bits; `None` where it is no set of speakers.
///
/// # Safety
/// `layout` is valid.
unsafe fn mask_of(layout: *const av::AVChannelLayout) -> Option<u64> {
    // SAFETY: by the caller's promise; the mask is what the union holds in this order.
    unsafe { ((*layout).order == av::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE).then(|| (*layout).u.mask) }
}

/// A set of channels whose only surround pair stands behind the listener.
fn surround(mask: u64) -> u64 {
    const BESIDE: u64 = av::AV_CH_SIDE_LEFT | av::AV_CH_SIDE_RIGHT;
    const BEHIND: u64 = av::AV_CH_BACK_LEFT | av::AV_CH_BACK_RIGHT;
    if mask & BESIDE == BESIDE && mask & BEHIND == 0 { mask & !BESIDE | BEHIND } else { mask }
}

/// # Safety
/// `layout` is valid.
unsafe fn describe_layout(layout: *const av::AVChannelLayout) -> Option<String> {
    let mut buffer = [0 as c_char; 256];
    // SAFETY: by the caller's promise; the buffer is writable for the length given.
    let written = unsafe { av::av_channel_layout_describe(layout, buffer.as_mut_ptr(), buffer.len()) };
    if written <= 0 {
        return None;
    }
    // SAFETY: a positive answer means that the buffer holds a terminated text, cut if it had to be.
    Some(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned())
}

/// What an audio encoder is opened with.
#[derive(Debug, Clone, Default)]
pub(crate) struct AudioSettings {
    /// The encoder's name, such as `flac`.
    pub(crate) encoder: String,
    pub(crate) sample_format: String,
    pub(crate) sample_rate: u32,
    /// The bits of a sample that count, where the format has more.
    pub(crate) bits: Option<u32>,
    /// The layout that was asked for, by name; without one it is that of the source.
    pub(crate) layout: Option<String>,
    /// The only layouts that the encoder takes, smallest first; empty when it does not say.
    pub(crate) layouts: Vec<String>,
    /// Bits a second, of lossy encoders.
    pub(crate) bit_rate: Option<u64>,
    /// A chain of filters in front of the encoder, in libavfilter's syntax.
    pub(crate) filters: Option<String>,
    /// Options by libav's names.
    pub(crate) options: Vec<(String, String)>,
    pub(crate) global_header: bool,
}

/// What an audio encoder takes; a list is empty when it does not say.
#[derive(Debug, Clone, Default)]
pub(crate) struct AudioAbilities {
    pub(crate) sample_formats: Vec<String>,
    pub(crate) sample_rates: Vec<u32>,
    pub(crate) layouts: Vec<String>,
}

impl AudioAbilities {
    /// Of the encoder of this name; `None` when there is none.
    pub(crate) fn of(encoder: &str) -> Option<Self> {
        let name = c_string(encoder);
        // SAFETY: a terminated string; returns null or a static description.
        let codec = unsafe { av::avcodec_find_encoder_by_name(name.as_ptr()).as_ref() }?;
        let mut this = Self::default();
        // SAFETY: null, or a static array that ends with NONE, which is compared before the next step; names are static.
        unsafe {
            let mut next = codec.sample_fmts;
            while !next.is_null() && *next != av::AVSampleFormat::AV_SAMPLE_FMT_NONE {
                this.sample_formats.extend(text_from(av::av_get_sample_fmt_name(*next)));
                next = next.add(1);
            }
        }
        // SAFETY: null, or a static array that ends with 0, which is compared before the next step.
        unsafe {
            let mut next = codec.supported_samplerates;
            while !next.is_null() && *next != 0 {
                this.sample_rates.extend(u32::try_from(*next));
                next = next.add(1);
            }
        }
        // SAFETY: null, or a static array that ends with a layout without channels, compared before the next step.
        unsafe {
            let mut next = codec.ch_layouts;
            while !next.is_null() && (*next).nb_channels > 0 {
                this.layouts.extend(describe_layout(next));
                next = next.add(1);
            }
        }
        Some(this)
    }

    /// The sample format that keeps most of sound in `like`: the same kind, or the next that holds it, or the best there is.
    pub(crate) fn best_format(&self, like: &StreamParameters) -> Option<String> {
        let plain = |name: &str| name.trim_end_matches('p').to_owned();
        let wanted = like.sample_format().map_or_else(|| "s16".to_owned(), |name| plain(&name));
        let rank = |name: &str| match name {
            "u8" => 1,
            "s16" => 2,
            "s32" => 4,
            "flt" => 5,
            "s64" => 7,
            _ => 8,
        };
        let cost = |name: &&String| {
            let (has, wants) = (rank(&plain(name)), rank(&wanted));
            if has >= wants { has - wants } else { 100 - has }
        };
        self.sample_formats.iter().min_by_key(cost).cloned()
    }

    /// The rate nearest to `rate`, a higher one if need be.
    pub(crate) fn best_rate(&self, rate: u32) -> u32 {
        let higher = self.sample_rates.iter().copied().filter(|&known| known >= rate).min();
        higher.or(self.sample_rates.iter().copied().max()).unwrap_or(rate)
    }
}

/// Whether libav knows a channel layout of this name.
pub(crate) fn is_layout(name: &str) -> bool {
    layout_named(name).is_some()
}

/// libav's usual layout for a number of channels, by name.
pub(crate) fn usual_layout(channels: u32) -> Option<String> {
    // SAFETY: all zeros is a layout that owns nothing; the call fills it.
    unsafe {
        let mut layout: av::AVChannelLayout = std::mem::zeroed();
        av::av_channel_layout_default(&raw mut layout, c_int::try_from(channels).ok()?);
        describe_layout(&raw const layout)
    }
}

/// A layout of speakers by name; one that would own memory is passed over.
fn layout_named(name: &str) -> Option<av::AVChannelLayout> {
    // SAFETY: all zeros is a layout that owns nothing; a layout of another order than libav's own is freed here.
    unsafe {
        let mut layout: av::AVChannelLayout = std::mem::zeroed();
        let name = c_string(name);
        AvError::check(av::av_channel_layout_from_string(&raw mut layout, name.as_ptr())).ok()?;
        if layout.order == av::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE {
            return Some(layout);
        }
        av::av_channel_layout_uninit(&raw mut layout);
        None
    }
}

/// Whether libav knows a sample format of this name.
pub(crate) fn is_sample_format(name: &str) -> bool {
    sample_format_named(name) != av::AVSampleFormat::AV_SAMPLE_FMT_NONE
}

/// An open audio encoder of libav. Its times are in samples.
#[derive(Debug)]
pub(crate) struct AudioEncoder {
    raw: NonNull<av::AVCodecContext>,
    form: AudioForm,
    /// What stands in front of it.
    filters: Option<String>,
    log: LogTail,
}

// SAFETY: a codec context may be used from any one thread at a time.
unsafe impl Send for AudioEncoder {}

impl AudioEncoder {
    /// Opens an encoder for sound with the channels of `like`.
    pub(crate) fn open(settings: &AudioSettings, like: &StreamParameters, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let name = c_string(&settings.encoder);
        // SAFETY: a terminated string; returns null or a static description.
        let codec = unsafe { av::avcodec_find_encoder_by_name(name.as_ptr()) };
        if codec.is_null() {
            return Err(AvError(av::AVERROR_ENCODER_NOT_FOUND));
        }
        // SAFETY: a static codec; returns null or a context that is ours from here on.
        let raw = NonNull::new(unsafe { av::avcodec_alloc_context3(codec) }).ok_or(AvError::NO_MEMORY)?;
        let form = AudioForm {
            sample_format: settings.sample_format.clone(),
            sample_rate: settings.sample_rate,
            layout: String::new(),
        };
        let mut this = Self { raw, form, filters: settings.filters.clone(), log: log.clone() };
        this.describe(settings, like)?;
        let asked = settings.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut options = Dictionary::new([("threads", "1")].into_iter().chain(asked));
        // SAFETY: an unopened context made for this codec.
        AvError::check(unsafe { av::avcodec_open2(raw.as_ptr(), codec, &raw mut options.0) })?;
        if options.keys().is_empty() { Ok(this) } else { Err(AvError(av::AVERROR_OPTION_NOT_FOUND)) }
    }

    fn describe(&mut self, settings: &AudioSettings, like: &StreamParameters) -> Result<(), AvError> {
        let sample_rate = c_int::try_from(settings.sample_rate).map_err(|_| AvError(-libc::EINVAL))?;
        let raw = self.raw.as_ptr();
        // SAFETY: owned and exclusive; the layout is copied.
        unsafe {
            AvError::check(av::av_channel_layout_copy(
                &raw mut (*raw).ch_layout,
                &raw const (*like.as_ptr()).ch_layout,
            ))?;
            if let Some(wanted) = settings.layout.as_deref().and_then(layout_named) {
                AvError::check(av::av_channel_layout_copy(&raw mut (*raw).ch_layout, &raw const wanted))?;
            }
            settle_layout(&raw mut (*raw).ch_layout);
            fit_layout(&raw mut (*raw).ch_layout, &settings.layouts)?;
            self.form.layout = describe_layout(&raw const (*raw).ch_layout).ok_or(AvError(-libc::EINVAL))?;
            (*raw).sample_rate = sample_rate;
            (*raw).sample_fmt = sample_format_named(&settings.sample_format);
            (*raw).time_base = av::AVRational { num: 1, den: sample_rate };
            (*raw).bits_per_raw_sample = settings.bits.map_or(0, |bits| bits as c_int);
            (*raw).flags |= av::AV_CODEC_FLAG_BITEXACT as c_int;
            if let Some(rate) = settings.bit_rate {
                (*raw).bit_rate = i64::try_from(rate).unwrap_or(i64::MAX);
            }
            if settings.global_header {
                (*raw).flags |= av::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
            }
        }
        Ok(())
    }

    /// The stream that it makes.
    pub(crate) fn stream(&self) -> Result<StreamParameters, AvError> {
        let mut parameters = StreamParameters::empty()?;
        // SAFETY: both are valid; what is needed is copied.
        AvError::check(unsafe { av::avcodec_parameters_from_context(parameters.raw_mut(), self.raw.as_ptr()) })?;
        Ok(parameters)
    }

    /// Of the times of its frames and packets.
    pub(crate) fn time_base(&self) -> Rational {
        Rational::new(1, self.form.sample_rate.into()).unwrap_or(Rational::ONE)
    }

    /// How many samples each frame but the last must have; `None` when any number will do.
    fn frame_size(&self) -> Option<u32> {
        // SAFETY: owned, shared access.
        u32::try_from(unsafe { self.raw.as_ref() }.frame_size).ok().filter(|&size| size > 0)
    }

    /// Sends a frame, or with `None` the end.
    pub(crate) fn send(&mut self, frame: Option<&AvFrame>) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        let frame = frame.map_or(ptr::null(), |frame| frame.as_ptr().cast_const());
        // SAFETY: an open encoder; libav takes its own references to the frame's buffers.
        AvError::check(unsafe { av::avcodec_send_frame(self.raw.as_ptr(), frame) }).map(drop)
    }

    /// The next packet; `None` when more frames are needed or, after the end, when nothing is left.
    pub(crate) fn receive(&mut self) -> Result<Option<Packet>, AvError> {
        let _scope = LogScope::enter(&self.log);
        let packet = Packet::empty()?;
        // SAFETY: an open encoder and a packet that we own.
        match AvError::check(unsafe { av::avcodec_receive_packet(self.raw.as_ptr(), packet.as_ptr()) }) {
            Ok(_) => Ok(Some(packet)),
            Err(AvError::AGAIN | AvError::EOF) => Ok(None),
            Err(code) => Err(code),
        }
    }
}

impl Drop for AudioEncoder {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone.
        unsafe { av::avcodec_free_context(&raw mut raw) };
    }
}
