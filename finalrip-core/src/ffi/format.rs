//! Output containers.

use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::codec::Codec;
use super::frame::{av_rational, rational_or_unknown};
use super::log::{LogScope, LogTail};
use super::sink::SinkIo;
use super::{AvError, Dictionary, Packet, StreamParameters, c_string, text_from};
use crate::container::Sink;
use crate::units::Rational;

/// The name under which the initial delay of the ffmpeg program's `-muxpreload` is passed, in microseconds.
pub(crate) const MUX_PRELOAD: &str = "muxpreload";

/// A muxer of libav.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputFormat(NonNull<av::AVOutputFormat>);

// SAFETY: muxer descriptions are static and immutable.
unsafe impl Send for OutputFormat {}
// SAFETY: as above.
unsafe impl Sync for OutputFormat {}

impl OutputFormat {
    /// By short name (`-f`), or by the extension of a file name.
    pub(crate) fn guess(name: Option<&str>, file: Option<&Path>) -> Option<Self> {
        let name = name.map(c_string);
        let file = file.and_then(|path| path_string(path).ok());
        // SAFETY: null or terminated strings; returns null or a static description.
        let format = unsafe {
            av::av_guess_format(
                name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                file.as_ref().map_or(ptr::null(), |file| file.as_ptr()),
                ptr::null(),
            )
        };
        NonNull::new(format.cast_mut()).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *const av::AVOutputFormat {
        self.0.as_ptr()
    }

    fn raw(&self) -> &av::AVOutputFormat {
        // SAFETY: static and immutable.
        unsafe { self.0.as_ref() }
    }

    /// The muxer's short name, such as `matroska`; `mov,mp4,...` lists are given whole.
    pub(crate) fn name(&self) -> String {
        // SAFETY: a static string.
        unsafe { text_from(self.raw().name) }.unwrap_or_default()
    }

    pub(super) fn has_flag(&self, flag: c_int) -> bool {
        self.raw().flags & flag != 0
    }

    /// Whether parameter sets belong into the container's header.
    pub(crate) fn wants_global_header(&self) -> bool {
        self.has_flag(av::AVFMT_GLOBALHEADER as c_int)
    }

    /// Whether frames may lie apart unevenly; raw streams and AVI cannot.
    pub(crate) fn allows_variable_rate(&self) -> bool {
        // MP4 and its like keep every time, but libav did not say so before 6.0.
        const MP4: [&str; 8] = ["mov", "mp4", "3gp", "3g2", "psp", "ipod", "ismv", "f4v"];
        let variable = self.has_flag(av::AVFMT_VARIABLE_FPS as c_int) || MP4.contains(&self.name().as_str());
        variable && !self.has_flag(av::AVFMT_NOTIMESTAMPS as c_int)
    }

    /// Whether the muxer writes a file at all.
    pub(crate) fn writes_a_file(&self) -> bool {
        !self.has_flag(av::AVFMT_NOFILE as c_int)
    }

    /// Whether the muxer takes the codec; `None` when it does not say.
    pub(crate) fn takes(&self, codec: av::AVCodecID) -> Option<bool> {
        // SAFETY: a static description and a valid codec id.
        match unsafe { av::avformat_query_codec(self.0.as_ptr(), codec, av::FF_COMPLIANCE_EXPERIMENTAL) } {
            0 => Some(self.name() == "mov" && has_fallback(codec)),
            1.. => Some(true),
            _ => None,
        }
    }

    /// The encoder that ffmpeg would choose for the file when the command names none.
    pub(crate) fn default_encoder(&self, file: &Path) -> Option<String> {
        self.guess_encoder(file, av::AVMediaType::AVMEDIA_TYPE_VIDEO)
    }

    /// The audio encoder that ffmpeg would choose for a file with this extension when the command names none.
    pub(crate) fn default_audio_encoder(&self, extension: &str) -> Option<String> {
        self.guess_encoder(Path::new(&format!("out.{extension}")), av::AVMediaType::AVMEDIA_TYPE_AUDIO)
    }

    fn guess_encoder(&self, file: &Path, kind: av::AVMediaType) -> Option<String> {
        let file = path_string(file).ok()?;
        // SAFETY: a static description and terminated strings; the descriptions returned are static.
        unsafe {
            let id = av::av_guess_codec(self.0.as_ptr(), ptr::null(), file.as_ptr(), ptr::null(), kind);
            text_from(av::avcodec_find_encoder(id).as_ref()?.name)
        }
    }
}

/// Whether libav's MOV muxer writes video of a codec that MOV has no name for under its name in AVI, as it does with a
/// warning, and the demuxer knows it by that name again.
fn has_fallback(codec: av::AVCodecID) -> bool {
    // SAFETY: lists of static tables, ended by null; the tag is written before it is read.
    unsafe {
        let (of_mov, of_avi) = (av::avformat_get_mov_video_tags(), av::avformat_get_riff_video_tags());
        let mut tag = 0;
        av::av_codec_get_tag2([of_avi, ptr::null()].as_ptr(), codec, &raw mut tag) != 0
            && av::av_codec_get_id([of_mov, of_avi, ptr::null()].as_ptr(), tag) == codec
    }
}

impl Codec {
    /// The codec that an encoder makes.
    pub(crate) fn id_of(encoder: &str) -> Option<av::AVCodecID> {
        Self::encoder(encoder).map(|codec| codec.id())
    }
}

/// What a container is told of its one video stream beside [`StreamParameters`].
#[derive(Debug, Default)]
pub(crate) struct StreamSettings {
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) sample_aspect: Option<Rational>,
    pub(crate) metadata: Vec<(String, String)>,
}

/// A container being written.
#[derive(Debug)]
pub(crate) struct OutputContext {
    pub(super) raw: NonNull<av::AVFormatContext>,
    pub(super) log: LogTail,
    /// Whether what is written stays in memory: the context is only a trial.
    in_memory: bool,
    has_trailer: bool,
    /// What is written to instead of a file.
    sink: Option<SinkIo>,
}

// SAFETY: a format context may be used from any one thread at a time.
unsafe impl Send for OutputContext {}

impl OutputContext {
    /// Opens `path` for writing.
    pub(crate) fn create(path: &Path, format: OutputFormat, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let url = file_url(path).map_err(|()| AvError(-libc::EINVAL))?;
        let context = Self::allocate(&url, format, log)?;
        if format.writes_a_file() {
            let raw = context.raw.as_ptr();
            // SAFETY: the context's own pb, closed in `close` or `drop`.
            AvError::check(unsafe { av::avio_open(&raw mut (*raw).pb, url.as_ptr(), av::AVIO_FLAG_WRITE as c_int) })?;
        }
        Ok(context)
    }

    /// Writes into a sink. A muxer that opens files of its own finds none.
    pub(crate) fn into_sink(sink: Sink, format: OutputFormat, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let mut context = Self::allocate(c"sink:", format, log)?;
        if format.writes_a_file() {
            let io = SinkIo::open(sink)?;
            // SAFETY: owned; the flag keeps libav from closing what it did not open. Cleared in `close`.
            unsafe {
                let raw = context.raw.as_mut();
                raw.pb = io.as_ptr();
                raw.flags |= av::AVFMT_FLAG_CUSTOM_IO as c_int;
            }
            context.sink = Some(io);
        }
        Ok(context)
    }

    /// Opens a trial, which shows whether a header can be written and leaves nothing behind. For formats that write a
    /// file.
    pub(crate) fn in_memory(format: OutputFormat, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let mut context = Self::allocate(c"file:trial", format, log)?;
        // SAFETY: the context's own pb, which is freed in `close`.
        AvError::check(unsafe { av::avio_open_dyn_buf(&raw mut (*context.raw.as_ptr()).pb) })?;
        context.in_memory = true;
        Ok(context)
    }

    fn allocate(url: &CStr, format: OutputFormat, log: &LogTail) -> Result<Self, AvError> {
        let mut raw = ptr::null_mut();
        // SAFETY: a static muxer and a terminated string; on success the context is ours.
        AvError::check(unsafe {
            av::avformat_alloc_output_context2(
                &raw mut raw,
                format.0.as_ptr().cast_const().cast(),
                ptr::null(),
                url.as_ptr(),
            )
        })?;
        let raw = NonNull::new(raw).ok_or(AvError::NO_MEMORY)?;
        Ok(Self { raw, log: log.clone(), in_memory: false, has_trailer: false, sink: None })
    }

    /// Adds a stream and returns its number; `time_base` is the base that it would like.
    pub(crate) fn add_stream(
        &mut self,
        parameters: &StreamParameters,
        time_base: Rational,
        settings: &StreamSettings,
    ) -> Result<usize, AvError> {
        // SAFETY: a context before its header; the stream returned belongs to it and lives as long.
        let stream = unsafe { av::avformat_new_stream(self.raw.as_ptr(), ptr::null()).as_mut() };
        let stream = stream.ok_or(AvError::NO_MEMORY)?;
        // SAFETY: both are valid; everything is copied.
        AvError::check(unsafe { av::avcodec_parameters_copy(stream.codecpar, parameters.as_ptr()) })?;
        stream.time_base = av_rational(time_base);
        stream.avg_frame_rate = rational_or_unknown(settings.frame_rate);
        stream.sample_aspect_ratio = rational_or_unknown(settings.sample_aspect);
        let metadata = settings.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        stream.metadata = Dictionary::new(metadata).into_raw();
        for (kind, bytes) in &parameters.side_data {
            add_side_data(stream, *kind, bytes)?;
        }
        Ok(usize::try_from(stream.index).unwrap_or(0))
    }

    /// Sets stream 0's four-character code.
    pub(crate) fn set_tag(&mut self, tag: u32) {
        // SAFETY: the context has its stream 0 since `add_stream`, with parameters of its own.
        unsafe { (*(**(*self.raw.as_ptr()).streams).codecpar).codec_tag = tag };
    }

    pub(crate) fn set_metadata(&mut self, metadata: &[(String, String)]) {
        let metadata = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // SAFETY: owned; no metadata was set before, and the context frees it.
        unsafe { self.raw.as_mut() }.metadata = Dictionary::new(metadata).into_raw();
    }

    /// Writes the header. Returns the names of options that neither the muxer nor libavformat has.
    ///
    /// [`MUX_PRELOAD`] is for muxers that have such a delay, and is passed over by all others.
    pub(crate) fn write_header(&mut self, options: &[(String, String)]) -> Result<Vec<String>, AvError> {
        let _scope = LogScope::enter(&self.log);
        let preloads = self.has_own_option("preload");
        let options = options.iter().filter(|(key, _)| key != MUX_PRELOAD || preloads);
        let options: Vec<(String, String)> = options
            .map(|(key, value)| (if key == MUX_PRELOAD { "preload".to_owned() } else { key.clone() }, value.clone()))
            .collect();
        let mut options = Dictionary::new(options.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        // SAFETY: a context with its streams; libav replaces the dictionary by what it left unused.
        AvError::check(unsafe { av::avformat_write_header(self.raw.as_ptr(), &raw mut options.0) })?;
        Ok(options.keys())
    }

    fn has_own_option(&self, name: &str) -> bool {
        let name = c_string(name);
        // SAFETY: a context has a muxer, whose class is null or static. With FAKE_OBJ libav reads only the class through the
        // pointer to it.
        unsafe {
            let class = self.raw.as_ref().oformat.as_ref().map_or(ptr::null(), |format| format.priv_class);
            let object = (&raw const class).cast_mut().cast();
            !class.is_null()
                && !av::av_opt_find(object, name.as_ptr(), ptr::null(), 0, av::AV_OPT_SEARCH_FAKE_OBJ).is_null()
        }
    }

    /// The time base that stream 0 got; valid after the header.
    pub(crate) fn time_base(&self) -> av::AVRational {
        // SAFETY: the context has its stream 0 since `add_stream`.
        unsafe { (**(*self.raw.as_ptr()).streams).time_base }
    }

    /// Writes a packet into the stream that it names, in whose base its times are.
    pub(crate) fn write(&mut self, packet: Packet) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: after the header; the packet's reference is taken over and the shell stays ours.
        AvError::check(unsafe { av::av_interleaved_write_frame(self.raw.as_ptr(), packet.as_ptr()) })?;
        self.io_error()
    }

    /// A write error that libav's buffering has swallowed so far: a full disk, say.
    pub(crate) fn io_error(&self) -> Result<(), AvError> {
        // SAFETY: owned; `pb` is null or the open file.
        let error = unsafe { (*self.raw.as_ptr()).pb.as_ref() }.map_or(0, |pb| pb.error);
        AvError::check(error).map(drop)
    }

    /// Writes what the muxer has held back so as to put packets in order.
    pub(crate) fn flush(&mut self) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: after the header; null asks for exactly this.
        AvError::check(unsafe { av::av_interleaved_write_frame(self.raw.as_ptr(), ptr::null_mut()) })?;
        self.io_error()
    }

    /// How many packets of a stream the muxer has taken.
    pub(crate) fn packets_of(&self, stream: usize) -> u64 {
        // SAFETY: owned; the index is looked at first.
        unsafe {
            let context = self.raw.as_ref();
            if stream >= context.nb_streams as usize {
                return 0;
            }
            u64::try_from((**context.streams.add(stream)).nb_frames).unwrap_or(0)
        }
    }

    /// Bytes written so far.
    pub(crate) fn position(&self) -> u64 {
        // SAFETY: owned; `pb` is null or the open file, whose position avio_tell would return.
        let position = unsafe { (*self.raw.as_ptr()).pb.as_ref() }.map_or(0, |pb| pb.pos);
        u64::try_from(position).unwrap_or(0)
    }

    /// Writes the trailer, once. What is written after it is lost.
    pub(crate) fn write_trailer(&mut self) -> Result<(), AvError> {
        if std::mem::replace(&mut self.has_trailer, true) {
            return Ok(());
        }
        let _scope = LogScope::enter(&self.log);
        // SAFETY: after the header, once.
        AvError::check(unsafe { av::av_write_trailer(self.raw.as_ptr()) }).map(drop)
    }

    /// How many streams it has.
    pub(crate) fn streams(&self) -> usize {
        // SAFETY: owned; a plain field.
        unsafe { self.raw.as_ref() }.nb_streams as usize
    }

    /// Writes the trailer, unless that was done, and closes the file.
    pub(crate) fn finish(mut self) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log.clone());
        let trailer = self.write_trailer();
        let written = self.io_error();
        let closed = self.close();
        trailer?;
        written?;
        closed
    }

    /// Ends what a trial has written to; `None` when that was done before.
    pub(super) fn take_memory(&mut self) -> Option<Vec<u8>> {
        let mut bytes = ptr::null_mut();
        // SAFETY: `pb` is the buffer that `in_memory` opened, and cleared here so that it is closed once; its content is
        // handed over, copied and freed.
        unsafe {
            let pb = std::mem::replace(&mut (*self.raw.as_ptr()).pb, ptr::null_mut());
            if pb.is_null() {
                return None;
            }
            let size = usize::try_from(av::avio_close_dyn_buf(pb, &raw mut bytes)).unwrap_or(0);
            let copy = if bytes.is_null() { Vec::new() } else { std::slice::from_raw_parts(bytes, size).to_vec() };
            av::av_free(bytes.cast());
            Some(copy)
        }
    }

    fn close(&mut self) -> Result<(), AvError> {
        if self.in_memory {
            self.take_memory();
            return Ok(());
        }
        if let Some(sink) = self.sink.take() {
            // SAFETY: owned; nobody uses the sink's context any more, which goes with this block.
            unsafe { self.raw.as_mut() }.pb = ptr::null_mut();
            return sink.flush();
        }
        // SAFETY: owned; avio_closep accepts null and clears the pointer. Muxers without a file have none.
        AvError::check(unsafe { av::avio_closep(&raw mut (*self.raw.as_ptr()).pb) }).map(drop)
    }
}

impl Drop for OutputContext {
    fn drop(&mut self) {
        if let Err(code) = self.close() {
            tracing::debug!("closing an unfinished output: {code}");
        }
        // SAFETY: owned here alone; the muxer's own state is freed too.
        unsafe { av::avformat_free_context(self.raw.as_ptr()) };
    }
}

#[cfg(ffmpeg_6_1)]
fn add_side_data(stream: &mut av::AVStream, kind: av::AVPacketSideDataType, bytes: &[u8]) -> Result<(), AvError> {
    // SAFETY: the stream's parameters own the array; the entry is allocated with `bytes.len()` bytes, or an existing one
    // of the kind is replaced.
    unsafe {
        let parameters = stream.codecpar;
        let entry = av::av_packet_side_data_new(
            &raw mut (*parameters).coded_side_data,
            &raw mut (*parameters).nb_coded_side_data,
            kind,
            bytes.len(),
            0,
        );
        let entry = entry.as_mut().ok_or(AvError::NO_MEMORY)?;
        ptr::copy_nonoverlapping(bytes.as_ptr(), entry.data, bytes.len());
    }
    Ok(())
}

#[cfg(not(ffmpeg_6_1))]
fn add_side_data(stream: &mut av::AVStream, kind: av::AVPacketSideDataType, bytes: &[u8]) -> Result<(), AvError> {
    // SAFETY: allocates `bytes.len()` bytes that the stream owns.
    unsafe {
        let data = av::av_stream_new_side_data(stream, kind, bytes.len());
        if data.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
    }
    Ok(())
}

/// `file:PATH`: a path may hold a colon, which would else name a protocol.
pub(super) fn file_url(path: &Path) -> Result<CString, ()> {
    let mut bytes = b"file:".to_vec();
    bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
    CString::new(bytes).map_err(drop)
}

fn path_string(path: &Path) -> Result<CString, ()> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(drop)
}
