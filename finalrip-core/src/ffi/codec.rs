//! Packets, stream parameters and codec contexts.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::frame::{AvFrame, av_rational, bytes_of, rational_or_unknown};
use super::hdr::{RawContentLight, RawMasteringDisplay};
use super::log::{LogScope, LogTail, forget_context, register_context};
use super::stderr::Capture;
use super::{AvError, Dictionary, c_string, text_from};
use crate::encoder::{EncoderError, VideoParameters};
use crate::frames::{FieldOrder, HdrMetadata};
use crate::picture::{Color, PixelFormat};

/// One encoded packet: an owned `AVPacket`. Timestamps are in the time base of the encoder that made it.
#[derive(Debug)]
pub struct Packet(NonNull<av::AVPacket>);

// SAFETY: a packet and its reference-counted buffer may be used from any one thread at a time.
unsafe impl Send for Packet {}

impl Packet {
    pub(crate) fn empty() -> Result<Self, AvError> {
        // SAFETY: allocates or returns null.
        NonNull::new(unsafe { av::av_packet_alloc() }).map(Self).ok_or(AvError::NO_MEMORY)
    }

    /// A packet with a copy of `data`, padded as libav requires.
    pub(crate) fn copy_of(data: &[u8]) -> Result<Self, AvError> {
        let packet = Self::empty()?;
        let size = c_int::try_from(data.len()).map_err(|_| AvError::NO_MEMORY)?;
        // SAFETY: allocates `size` bytes plus zeroed padding in a packet that we own.
        AvError::check(unsafe { av::av_new_packet(packet.as_ptr(), size) })?;
        // SAFETY: the allocation above holds `data.len()` bytes and cannot overlap a Rust slice.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), packet.raw().data, data.len()) };
        Ok(packet)
    }

    /// A packet with a copy of `data`, and everything else as in this one.
    pub(crate) fn with_data(&self, data: &[u8]) -> Result<Self, AvError> {
        let packet = Self::copy_of(data)?;
        // SAFETY: both are packets that we own; times, flags and side data are copied, the bytes are left alone.
        AvError::check(unsafe { av::av_packet_copy_props(packet.as_ptr(), self.as_ptr()) })?;
        Ok(packet)
    }

    fn raw(&self) -> &av::AVPacket {
        // SAFETY: never null, owned.
        unsafe { self.0.as_ref() }
    }

    fn raw_mut(&mut self) -> &mut av::AVPacket {
        // SAFETY: never null, owned, exclusive by `&mut self`.
        unsafe { self.0.as_mut() }
    }

    pub(crate) fn as_ptr(&self) -> *mut av::AVPacket {
        self.0.as_ptr()
    }

    /// The encoded bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let raw = self.raw();
        if raw.data.is_null() || raw.size <= 0 {
            return &[];
        }
        // SAFETY: libav keeps `size` readable bytes at `data` for as long as the packet lives.
        unsafe { std::slice::from_raw_parts(raw.data, raw.size as usize) }
    }

    /// Presentation time in ticks, if the encoder gave one.
    #[must_use]
    pub fn pts(&self) -> Option<i64> {
        (self.raw().pts != av::AV_NOPTS_VALUE).then_some(self.raw().pts)
    }

    /// Decode time in ticks, if the encoder gave one.
    #[must_use]
    pub fn dts(&self) -> Option<i64> {
        (self.raw().dts != av::AV_NOPTS_VALUE).then_some(self.raw().dts)
    }

    /// Whether decoding can start here.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.raw().flags & av::AV_PKT_FLAG_KEY as c_int != 0
    }

    /// Whether the demuxer knows that the bytes are damaged or incomplete.
    pub(crate) fn is_corrupt(&self) -> bool {
        self.raw().flags & av::AV_PKT_FLAG_CORRUPT as c_int != 0
    }

    pub(crate) fn set_times(&mut self, pts: i64, dts: i64) {
        let raw = self.raw_mut();
        (raw.pts, raw.dts) = (pts, dts);
    }

    pub(crate) fn set_duration(&mut self, duration: i64) {
        self.raw_mut().duration = duration;
    }

    pub(crate) fn duration(&self) -> i64 {
        self.raw().duration
    }

    /// The number of the stream that the packet came from, or goes to.
    pub(crate) fn stream_index(&self) -> c_int {
        self.raw().stream_index
    }

    /// Names the stream that the packet goes to. Where it lay in another file no longer matters.
    pub(crate) fn set_stream_index(&mut self, index: usize) {
        let raw = self.raw_mut();
        raw.stream_index = c_int::try_from(index).unwrap_or(c_int::MAX);
        raw.pos = -1;
    }

    /// Sets the times that a packet has, and clears the others.
    pub(crate) fn place(&mut self, pts: Option<i64>, dts: Option<i64>, duration: i64) {
        self.set_times(pts.unwrap_or(av::AV_NOPTS_VALUE), dts.unwrap_or(av::AV_NOPTS_VALUE));
        self.set_duration(duration);
    }

    /// How many samples a decoder is to drop at the start of the packet.
    pub(crate) fn skipped_samples(&self) -> Option<u32> {
        let mut size = 0;
        let kind = av::AVPacketSideDataType::AV_PKT_DATA_SKIP_SAMPLES;
        // SAFETY: returns null or side data of the packet with `size` bytes.
        let data = unsafe { av::av_packet_get_side_data(self.as_ptr(), kind, &raw mut size) };
        if data.is_null() || size < 4 {
            return None;
        }
        // SAFETY: at least four bytes, in no particular alignment.
        let bytes = unsafe { data.cast::<[u8; 4]>().read_unaligned() };
        Some(u32::from_le_bytes(bytes))
    }

    /// Whether the packet is there for the decoder alone, and nothing of it is to be seen or heard: what an edit list hides.
    pub(crate) fn is_hidden(&self) -> bool {
        self.raw().flags & av::AV_PKT_FLAG_DISCARD as c_int != 0
    }

    /// A packet of its own with the same bytes, times and side data; the bytes are shared where they can be.
    pub(crate) fn copied(&self) -> Result<Self, AvError> {
        // SAFETY: a valid packet; returns null or a packet that is ours.
        NonNull::new(unsafe { av::av_packet_clone(self.as_ptr()) }).map(Self).ok_or(AvError::NO_MEMORY)
    }

    pub(crate) fn set_key(&mut self) {
        self.raw_mut().flags |= av::AV_PKT_FLAG_KEY as c_int;
    }

    /// Rescales every time of the packet: the one place where timestamps change their base.
    pub(crate) fn rescale(&mut self, from: av::AVRational, to: av::AVRational) {
        // SAFETY: a valid packet and two positive time bases.
        unsafe { av::av_packet_rescale_ts(self.as_ptr(), from, to) };
        self.raw_mut().stream_index = 0;
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: owned here alone.
        unsafe { av::av_packet_free(&raw mut packet) };
    }
}

/// A stream as a container needs to know it: codec, size, pixel format, colour, extradata (`AVCodecParameters`), and
/// side data such as HDR10 metadata.
#[derive(Debug)]
pub struct StreamParameters {
    raw: NonNull<av::AVCodecParameters>,
    pub(crate) side_data: Vec<(av::AVPacketSideDataType, Vec<u8>)>,
}

// SAFETY: plain owned memory.
unsafe impl Send for StreamParameters {}
// SAFETY: nothing behind `&self` is ever written.
unsafe impl Sync for StreamParameters {}

impl StreamParameters {
    pub(super) fn empty() -> Result<Self, AvError> {
        // SAFETY: allocates or returns null.
        let raw = NonNull::new(unsafe { av::avcodec_parameters_alloc() }).ok_or(AvError::NO_MEMORY)?;
        Ok(Self { raw, side_data: Vec::new() })
    }

    /// A copy of parameters that something else owns.
    ///
    /// # Safety
    /// `raw` points to valid parameters.
    pub(super) unsafe fn copy_of(raw: *const av::AVCodecParameters) -> Result<Self, AvError> {
        let parameters = Self::empty()?;
        // SAFETY: both are valid; everything is copied.
        AvError::check(unsafe { av::avcodec_parameters_copy(parameters.raw.as_ptr(), raw) })?;
        Ok(parameters)
    }

    /// The parameters of a video stream that no codec context describes: the rav1e backend's.
    pub(crate) fn for_video(codec: av::AVCodecID, video: &VideoParameters, extradata: &[u8]) -> Result<Self, AvError> {
        let mut parameters = Self::empty()?;
        // SAFETY: owned and exclusive; every field is a plain value.
        let raw = unsafe { parameters.raw.as_mut() };
        raw.codec_type = av::AVMediaType::AVMEDIA_TYPE_VIDEO;
        raw.codec_id = codec;
        raw.format = video.format.raw() as c_int;
        raw.width = video.width as c_int;
        raw.height = video.height as c_int;
        raw.sample_aspect_ratio = rational_or_unknown(video.sample_aspect);
        raw.field_order = av::AVFieldOrder::AV_FIELD_PROGRESSIVE;
        parameters.set_color(video.color);
        parameters.set_extradata(extradata)?;
        parameters.add_hdr(&video.hdr);
        Ok(parameters)
    }

    /// Replaces the parameter sets.
    pub(crate) fn set_extradata(&mut self, extradata: &[u8]) -> Result<(), AvError> {
        let padded = extradata.len() + av::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        // SAFETY: zeroed, with the padding that libav asks of extradata; freed by avcodec_parameters_free.
        let data = unsafe { av::av_mallocz(padded) }.cast::<u8>();
        if data.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        // SAFETY: the allocation is at least as long as `extradata`.
        unsafe { ptr::copy_nonoverlapping(extradata.as_ptr(), data, extradata.len()) };
        // SAFETY: owned and exclusive; what was there came from libav's allocator, and av_freep takes null as well.
        let raw = unsafe { self.raw.as_mut() };
        // SAFETY: as above; nothing else points at it.
        unsafe { av::av_freep((&raw mut raw.extradata).cast()) };
        raw.extradata = data;
        raw.extradata_size = extradata.len() as c_int;
        Ok(())
    }

    pub(super) fn set_color(&mut self, color: Color) {
        let target: *mut av::AVCodecParameters = self.raw.as_ptr();
        // SAFETY: int-sized C enums in memory that we own; `Color` holds only values that libav defines.
        unsafe {
            (&raw mut (*target).color_range).cast::<c_int>().write(color.range);
            (&raw mut (*target).color_primaries).cast::<c_int>().write(color.primaries);
            (&raw mut (*target).color_trc).cast::<c_int>().write(color.transfer);
            (&raw mut (*target).color_space).cast::<c_int>().write(color.matrix);
            (&raw mut (*target).chroma_location).cast::<c_int>().write(color.chroma_location);
        }
    }

    /// Adds HDR10 metadata for the container, unless the encoder has already put it there.
    pub(crate) fn add_hdr(&mut self, hdr: &HdrMetadata) {
        if let Some(mastering) = &hdr.mastering {
            self.add_side_data(
                av::AVPacketSideDataType::AV_PKT_DATA_MASTERING_DISPLAY_METADATA,
                bytes_of(&RawMasteringDisplay::from(mastering)),
            );
        }
        if let Some(light) = &hdr.light {
            self.add_side_data(
                av::AVPacketSideDataType::AV_PKT_DATA_CONTENT_LIGHT_LEVEL,
                bytes_of(&RawContentLight::from(light)),
            );
        }
    }

    fn add_side_data(&mut self, kind: av::AVPacketSideDataType, bytes: Vec<u8>) {
        if !self.side_data.iter().any(|(known, _)| *known == kind) {
            self.side_data.push((kind, bytes));
        }
    }

    pub(crate) fn as_ptr(&self) -> *const av::AVCodecParameters {
        self.raw.as_ptr()
    }

    pub(super) fn raw(&self) -> &av::AVCodecParameters {
        // SAFETY: never null, owned.
        unsafe { self.raw.as_ref() }
    }

    pub(super) fn raw_mut(&mut self) -> &mut av::AVCodecParameters {
        // SAFETY: never null, owned, exclusive by `&mut self`.
        unsafe { self.raw.as_mut() }
    }

    /// The codec's name, such as `hevc`.
    #[must_use]
    pub fn codec_name(&self) -> String {
        // SAFETY: always returns a static string.
        unsafe { text_from(av::avcodec_get_name(self.raw().codec_id)) }.unwrap_or_default()
    }

    /// The codec's global headers: parameter sets, an `av1C` record; empty when they travel in the stream.
    #[must_use]
    pub fn extradata(&self) -> &[u8] {
        let raw = self.raw();
        if raw.extradata.is_null() || raw.extradata_size <= 0 {
            return &[];
        }
        // SAFETY: libav keeps `extradata_size` bytes there for as long as the parameters live.
        unsafe { std::slice::from_raw_parts(raw.extradata, raw.extradata_size as usize) }
    }
}

impl Drop for StreamParameters {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone.
        unsafe { av::avcodec_parameters_free(&raw mut raw) };
    }
}

/// A video encoder of libav, looked up by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codec(NonNull<av::AVCodec>);

// SAFETY: codec descriptions are static and immutable.
unsafe impl Send for Codec {}
// SAFETY: as above.
unsafe impl Sync for Codec {}

impl Codec {
    pub(crate) fn encoder(name: &str) -> Option<Self> {
        let name = c_string(name);
        // SAFETY: a terminated string; returns null or a static description.
        let codec = NonNull::new(unsafe { av::avcodec_find_encoder_by_name(name.as_ptr()) }.cast_mut())?;
        // SAFETY: static and immutable.
        let is_video = unsafe { codec.as_ref() }.type_ == av::AVMediaType::AVMEDIA_TYPE_VIDEO;
        is_video.then_some(Self(codec))
    }

    fn raw(&self) -> &av::AVCodec {
        // SAFETY: static and immutable.
        unsafe { self.0.as_ref() }
    }

    fn is_svt_av1(&self) -> bool {
        // SAFETY: a static string.
        unsafe { text_from(self.raw().name) }.as_deref() == Some("libsvtav1")
    }

    /// The name of the codec that it makes, such as `hevc`.
    pub(crate) fn makes(self) -> String {
        // SAFETY: always returns a static string.
        unsafe { text_from(av::avcodec_get_name(self.id())) }.unwrap_or_default()
    }

    pub(crate) fn id(&self) -> av::AVCodecID {
        self.raw().id
    }

    /// The pixel formats that the encoder takes, best first; empty when it does not say.
    pub(crate) fn pixel_formats(&self) -> Vec<PixelFormat> {
        let mut formats = Vec::new();
        let mut next = self.raw().pix_fmts;
        if next.is_null() {
            return formats;
        }
        // SAFETY: a static array that ends with AV_PIX_FMT_NONE, compared before the next step.
        while let format = unsafe { *next }
            && format != av::AVPixelFormat::AV_PIX_FMT_NONE
        {
            formats.push(PixelFormat::from_raw(format));
            // SAFETY: not yet at the terminator.
            next = unsafe { next.add(1) };
        }
        formats
    }
}

/// An open libav encoder.
#[derive(Debug)]
pub(crate) struct CodecContext {
    raw: NonNull<av::AVCodecContext>,
    log: LogTail,
    /// SVT-AV1 (1.4 at least) waits for ever in its own close unless it was told that the stream has ended.
    must_drain: bool,
    /// What the encoder printed itself while it was opened.
    printed: Vec<String>,
    /// Whether a frame went in: SVT-AV1 answers the end of an empty stream with nothing, and waits for ever then too.
    has_input: bool,
}

// SAFETY: a codec context may be used from any one thread at a time; its own worker threads are libav's affair.
unsafe impl Send for CodecContext {}

impl CodecContext {
    /// Opens an encoder with everything that the ffmpeg program would set, then `options`, which win.
    ///
    /// What libav leaves unused or warns about while it reads its parameters is an error here.
    pub(crate) fn open(
        codec: Codec,
        video: &VideoParameters,
        options: &[(String, String)],
        log: &LogTail,
    ) -> Result<Self, EncoderError> {
        let _scope = LogScope::enter(log);
        // SAFETY: a static codec; returns null or a context that we own from here on.
        let raw = NonNull::new(unsafe { av::avcodec_alloc_context3(codec.0.as_ptr()) });
        let raw = raw.ok_or_else(|| refused(AvError::NO_MEMORY, log))?;
        let mut context = Self { raw, log: log.clone(), must_drain: false, printed: Vec::new(), has_input: false };
        register_context(context.raw.as_ptr().cast::<c_void>(), log);
        context.describe(codec, video);
        let mut dictionary = Dictionary::new(options.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        if !dictionary.contains("threads") {
            // The ffmpeg program does this; a bare context would use one thread.
            dictionary.set("threads", "auto");
        }
        let printed = Capture::begin();
        // SAFETY: an unopened context made for this codec, and a dictionary that libav replaces by what it left unused.
        let opened = unsafe { av::avcodec_open2(context.raw.as_ptr(), codec.0.as_ptr(), &raw mut dictionary.0) };
        context.printed = printed.lines();
        drop(printed);
        log.keep(context.printed.iter().filter(|line| is_complaint(line)).cloned());
        AvError::check(opened).map_err(|code| refused(code, log))?;
        context.must_drain = codec.is_svt_av1();
        let unused = dictionary.keys();
        if !unused.is_empty() {
            let message = format!("it has no option named {}", unused.join(", "));
            return Err(EncoderError { message, log: log.take() });
        }
        reject_ignored_parameters(log)?;
        Ok(context)
    }

    fn describe(&mut self, codec: Codec, video: &VideoParameters) {
        // SAFETY: owned and exclusive.
        let raw = unsafe { self.raw.as_mut() };
        raw.width = video.width as c_int;
        raw.height = video.height as c_int;
        raw.pix_fmt = video.format.raw();
        raw.sample_aspect_ratio = rational_or_unknown(video.sample_aspect);
        raw.time_base = av_rational(video.time_base);
        raw.framerate = rational_or_unknown(video.frame_rate);
        raw.field_order = field_order(video.field_order, codec);
        if video.global_header {
            raw.flags |= av::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
        }
        let raw: *mut av::AVCodecContext = raw;
        // SAFETY: int-sized C enums in a context that we own; `Color` holds only values that libav defines.
        unsafe {
            (&raw mut (*raw).color_range).cast::<c_int>().write(video.color.range);
            (&raw mut (*raw).color_primaries).cast::<c_int>().write(video.color.primaries);
            (&raw mut (*raw).color_trc).cast::<c_int>().write(video.color.transfer);
            (&raw mut (*raw).colorspace).cast::<c_int>().write(video.color.matrix);
            (&raw mut (*raw).chroma_sample_location).cast::<c_int>().write(video.color.chroma_location);
        }
    }

    pub(crate) fn stream(&self, hdr: &HdrMetadata) -> Result<StreamParameters, AvError> {
        let mut parameters = StreamParameters::empty()?;
        // SAFETY: both are valid; the call copies what it needs, extradata included.
        let code = unsafe { av::avcodec_parameters_from_context(parameters.raw.as_ptr(), self.raw.as_ptr()) };
        AvError::check(code)?;
        parameters.side_data = self.coded_side_data();
        parameters.add_hdr(hdr);
        Ok(parameters)
    }

    /// What the encoder says of the whole stream: its buffer model (CPB), for MP4's `btrt`.
    fn coded_side_data(&self) -> Vec<(av::AVPacketSideDataType, Vec<u8>)> {
        // SAFETY: owned, shared access.
        let raw = unsafe { self.raw.as_ref() };
        if raw.coded_side_data.is_null() {
            return Vec::new();
        }
        // SAFETY: libav keeps `nb_coded_side_data` entries there.
        let entries =
            unsafe { std::slice::from_raw_parts(raw.coded_side_data, raw.nb_coded_side_data.max(0) as usize) };
        let bytes = |entry: &av::AVPacketSideData| {
            // SAFETY: each entry holds `size` bytes at `data`.
            unsafe { std::slice::from_raw_parts(entry.data, entry.size) }.to_vec()
        };
        entries.iter().map(|entry| (entry.type_, bytes(entry))).collect()
    }

    /// The lines that the encoder printed itself while it was opened, warnings and others.
    pub(crate) fn printed(&self) -> &[String] {
        &self.printed
    }

    /// `avctx->global_quality`, which ffmpeg copies into every frame.
    pub(crate) fn global_quality(&self) -> c_int {
        // SAFETY: owned, shared access.
        unsafe { self.raw.as_ref() }.global_quality
    }

    /// Sends a frame, or with `None` the end of the stream.
    pub(crate) fn send(&mut self, frame: Option<&AvFrame>) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        self.must_drain &= frame.is_some();
        self.has_input |= frame.is_some();
        let frame = frame.map_or(ptr::null(), |frame| frame.as_ptr().cast_const());
        // SAFETY: an open encoder; libav takes its own references to the frame's buffers.
        AvError::check(unsafe { av::avcodec_send_frame(self.raw.as_ptr(), frame) }).map(drop)
    }

    pub(crate) fn receive(&mut self, packet: &mut Packet) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: an open encoder and a packet that we own; libav unreferences it first.
        AvError::check(unsafe { av::avcodec_receive_packet(self.raw.as_ptr(), packet.as_ptr()) }).map(drop)
    }
}

impl CodecContext {
    /// A frame such as the encoder takes, for one that must see some frame before it can be closed.
    fn blank_frame(&self) -> Result<AvFrame, AvError> {
        let frame = AvFrame::new()?;
        // SAFETY: owned, shared access.
        let context = unsafe { self.raw.as_ref() };
        // SAFETY: a frame of our own without buffers, which libav allocates for the format and size.
        unsafe {
            let raw = frame.as_ptr();
            (*raw).format = context.pix_fmt as c_int;
            ((*raw).width, (*raw).height, (*raw).pts) = (context.width, context.height, 0);
            AvError::check(av::av_frame_get_buffer(raw, 0))?;
        }
        Ok(frame)
    }

    /// Ends the stream and throws away what is still to come.
    fn drain_unheard(&mut self) {
        let blank = if self.has_input { None } else { self.blank_frame().ok() };
        if blank.is_some_and(|frame| self.send(Some(&frame)).is_err()) || self.send(None).is_err() {
            return;
        }
        while let Ok(mut packet) = Packet::empty() {
            if self.receive(&mut packet).is_err() {
                return;
            }
        }
    }
}

impl Drop for CodecContext {
    fn drop(&mut self) {
        if self.must_drain {
            self.drain_unheard();
        }
        forget_context(self.raw.as_ptr().cast::<c_void>());
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone; stops the encoder's threads and frees everything.
        unsafe { av::avcodec_free_context(&raw mut raw) };
    }
}

/// The field order as the ffmpeg program derives it from the first frame: interleaved fields are `TB`/`BT` except for
/// MJPEG, which stores them one after the other.
fn field_order(order: FieldOrder, codec: Codec) -> av::AVFieldOrder {
    let separate = codec.id() == av::AVCodecID::AV_CODEC_ID_MJPEG;
    match (order, separate) {
        (FieldOrder::Progressive, _) => av::AVFieldOrder::AV_FIELD_PROGRESSIVE,
        (FieldOrder::TopFirst, true) => av::AVFieldOrder::AV_FIELD_TT,
        (FieldOrder::BottomFirst, true) => av::AVFieldOrder::AV_FIELD_BB,
        (FieldOrder::TopFirst, false) => av::AVFieldOrder::AV_FIELD_TB,
        (FieldOrder::BottomFirst, false) => av::AVFieldOrder::AV_FIELD_BT,
    }
}

fn refused(code: AvError, log: &LogTail) -> EncoderError {
    EncoderError { message: code.to_string(), log: log.take() }
}

/// Whether a line that an encoder printed itself is a warning or an error: `x265 [warning]: …`, `Svt[warn]: …`.
fn is_complaint(line: &str) -> bool {
    ["[warning]:", "[error]:", "[warn]:", "[fatal]:"].iter().any(|mark| line.contains(mark))
}

/// libx264, libx265 and libsvtav1 only warn about a key or value of `-x264-params` and its like that they cannot read,
/// and encode without it. Here that is an error, since the user asked for it.
fn reject_ignored_parameters(log: &LogTail) -> Result<(), EncoderError> {
    const COMPLAINTS: [&str; 4] =
        ["Error parsing option", "Unknown option", "Invalid value for", "Error setting option"];
    let ignored = log.lines().into_iter().find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)));
    ignored.map_or(Ok(()), |line| Err(EncoderError { message: line, log: Vec::new() }))
}
