//! libavfilter graphs with one input and one output, video or audio, configured as the ffmpeg program does.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::frame::{AvFrame, av_rational, rational_from, rational_or_unknown};
use super::log::{LogScope, LogTail};
use super::{AvError, c_string};
use crate::encoder::EncoderError;
use crate::picture::PixelFormat;
use crate::units::Rational;

/// What goes into a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GraphInput {
    pub(crate) format: PixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) time_base: Rational,
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) sample_aspect: Option<Rational>,
    pub(crate) range: c_int,
    pub(crate) matrix: c_int,
}

/// A configured filter graph.
#[derive(Debug)]
pub(crate) struct FilterGraph {
    graph: NonNull<av::AVFilterGraph>,
    source: *mut av::AVFilterContext,
    sink: *mut av::AVFilterContext,
    log: LogTail,
}

// SAFETY: a graph and its filters may be used from any one thread at a time.
unsafe impl Send for FilterGraph {}

impl FilterGraph {
    /// Builds `buffer -> filters -> buffersink`. `filters` is in libavfilter's syntax (`null` for none);
    /// `scaler_options` (`flags=bicubic:...`) go to every scaler that does not name its own, inserted ones included.
    pub(crate) fn new(
        input: &GraphInput,
        filters: &str,
        scaler_options: &str,
        log: &LogTail,
    ) -> Result<Self, EncoderError> {
        Self::build(log, |graph| {
            let options = c_string(scaler_options);
            // SAFETY: the graph is ours and frees this copy of the string with itself.
            unsafe { (*graph.graph.as_ptr()).scale_sws_opts = av::av_strdup(options.as_ptr()) };
            graph.configure((c"buffer", &source_arguments(input)), c"buffersink", filters)
        })
    }

    /// Builds `abuffer -> filters -> abuffersink`; `source` holds the arguments of `abuffer`.
    pub(crate) fn audio(source: &str, filters: &str, log: &LogTail) -> Result<Self, EncoderError> {
        Self::build(log, |graph| graph.configure((c"abuffer", source), c"abuffersink", filters))
    }

    fn build(log: &LogTail, configure: impl FnOnce(&mut Self) -> Result<(), AvError>) -> Result<Self, EncoderError> {
        let _scope = LogScope::enter(log);
        // SAFETY: allocates or returns null.
        let graph = NonNull::new(unsafe { av::avfilter_graph_alloc() });
        let fail = |code: AvError| EncoderError { message: code.to_string(), log: log.take() };
        let graph = graph.ok_or_else(|| fail(AvError::NO_MEMORY))?;
        let mut this = Self { graph, source: ptr::null_mut(), sink: ptr::null_mut(), log: log.clone() };
        configure(&mut this).map_err(fail)?;
        Ok(this)
    }

    fn configure(&mut self, source: (&CStr, &str), sink: &CStr, filters: &str) -> Result<(), AvError> {
        self.source = self.add(source.0, c"in", &c_string(source.1))?;
        self.sink = self.add(sink, c"out", c"")?;
        self.link(&c_string(filters))?;
        // SAFETY: a graph whose filters are all created and linked.
        AvError::check(unsafe { av::avfilter_graph_config(self.graph.as_ptr(), ptr::null_mut()) }).map(drop)
    }

    fn add(&mut self, filter: &CStr, name: &CStr, arguments: &CStr) -> Result<*mut av::AVFilterContext, AvError> {
        let mut context = ptr::null_mut();
        // SAFETY: a static filter (null would be refused), terminated strings, and a graph that owns the new context.
        let code = unsafe {
            av::avfilter_graph_create_filter(
                &raw mut context,
                av::avfilter_get_by_name(filter.as_ptr()),
                name.as_ptr(),
                arguments.as_ptr(),
                ptr::null_mut(),
                self.graph.as_ptr(),
            )
        };
        AvError::check(code).map(|_| context)
    }

    fn link(&mut self, filters: &CString) -> Result<(), AvError> {
        // SAFETY: each end is allocated here and names a context of this graph; the call takes both over and leaves in
        // the pointers what is still to be freed.
        unsafe {
            let mut outputs = end(c"in", self.source)?;
            let mut inputs = end(c"out", self.sink)?;
            let code = av::avfilter_graph_parse_ptr(
                self.graph.as_ptr(),
                filters.as_ptr(),
                &raw mut inputs,
                &raw mut outputs,
                ptr::null_mut(),
            );
            let left_open = !inputs.is_null() || !outputs.is_null();
            av::avfilter_inout_free(&raw mut inputs);
            av::avfilter_inout_free(&raw mut outputs);
            AvError::check(code)?;
            if left_open { Err(AvError(-libc::EINVAL)) } else { Ok(()) }
        }
    }

    /// Pushes a frame. The graph takes its references.
    pub(crate) fn push(&mut self, frame: &AvFrame) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: a configured source; without flags the frame's references are moved out and the frame is left empty.
        AvError::check(unsafe { av::av_buffersrc_add_frame_flags(self.source, frame.as_ptr(), 0) }).map(drop)
    }

    /// Makes every audio frame but the last `samples` long.
    pub(crate) fn set_frame_size(&mut self, samples: u32) {
        // SAFETY: a configured audio sink.
        unsafe { av::av_buffersink_set_frame_size(self.sink, samples) };
    }

    /// Says that the video ends at `pts`: where the last frame's duration is over, which filters such as `fps` use.
    pub(crate) fn close(&mut self, pts: i64) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        let push = av::AV_BUFFERSRC_FLAG_PUSH as u32;
        // SAFETY: a configured source.
        AvError::check(unsafe { av::av_buffersrc_close(self.source, pts, push) }).map(drop)
    }

    /// Says that no frame follows, wherever the last one ended.
    pub(crate) fn end(&mut self) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: a configured source; no frame means the end.
        AvError::check(unsafe { av::av_buffersrc_add_frame_flags(self.source, ptr::null_mut(), 0) }).map(drop)
    }

    /// The next finished frame; `None` when more input is needed or, after the end, when nothing is left.
    pub(crate) fn pull(&mut self) -> Result<Option<AvFrame>, AvError> {
        let _scope = LogScope::enter(&self.log);
        let mut frame = AvFrame::new()?;
        frame.clear();
        // SAFETY: a configured sink and an empty frame that we own.
        match AvError::check(unsafe { av::av_buffersink_get_frame(self.sink, frame.as_ptr()) }) {
            Ok(_) => Ok(Some(frame)),
            Err(AvError::AGAIN | AvError::EOF) => Ok(None),
            Err(code) => Err(code),
        }
    }

    pub(crate) fn time_base(&self) -> Rational {
        // SAFETY: a configured sink.
        let base = unsafe { av::av_buffersink_get_time_base(self.sink) };
        rational_from(base).unwrap_or(Rational::ONE)
    }

    pub(crate) fn frame_rate(&self) -> Option<Rational> {
        // SAFETY: a configured sink.
        rational_from(unsafe { av::av_buffersink_get_frame_rate(self.sink) })
    }

    pub(crate) fn sample_aspect(&self) -> Option<Rational> {
        // SAFETY: a configured sink.
        rational_from(unsafe { av::av_buffersink_get_sample_aspect_ratio(self.sink) })
    }

    pub(crate) fn log(&self) -> &LogTail {
        &self.log
    }
}

impl Drop for FilterGraph {
    fn drop(&mut self) {
        let mut graph = self.graph.as_ptr();
        // SAFETY: owned here alone; frees its filters too.
        unsafe { av::avfilter_graph_free(&raw mut graph) };
    }
}

/// One open end of a graph description.
///
/// # Safety
/// `context` is a filter of the graph that the end is used with.
unsafe fn end(name: &CStr, context: *mut av::AVFilterContext) -> Result<*mut av::AVFilterInOut, AvError> {
    // SAFETY: allocates or returns null; the fields are plain, and the name is a copy that is freed with the end.
    unsafe {
        let end = av::avfilter_inout_alloc();
        if end.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        (*end).name = av::av_strdup(name.as_ptr());
        (*end).filter_ctx = context;
        (*end).pad_idx = 0;
        (*end).next = ptr::null_mut();
        Ok(end)
    }
}

fn source_arguments(input: &GraphInput) -> String {
    let (base, aspect) = (av_rational(input.time_base), rational_or_unknown(input.sample_aspect));
    let mut text = format!(
        "video_size={}x{}:pix_fmt={}:time_base={}/{}:pixel_aspect={}/{}",
        input.width,
        input.height,
        input.format.name(),
        base.num,
        base.den,
        aspect.num,
        aspect.den
    );
    if let Some(rate) = input.frame_rate.map(av_rational) {
        text += &format!(":frame_rate={}/{}", rate.num, rate.den);
    }
    // Since FFmpeg 7.0 the source negotiates these two, and complains when frames differ from what it was told.
    if cfg!(ffmpeg_7_0) {
        text += &format!(":colorspace={}:range={}", input.matrix, input.range);
    }
    text
}
