//! Every `unsafe` of this crate: owned handles over VapourSynth and libav, one guard for C callbacks, log capture.
//!
//! Rules that hold throughout, so that each `SAFETY` comment can be short:
//! - A handle owns exactly one reference and releases it in `drop`; no raw pointer leaves this module except as a
//!   value to compare or print.
//! - libav's objects are not thread-safe but may move between threads: their handles are `Send`, not `Sync`, unless
//!   the object is immutable and reference-counted.
//! - A C callback never unwinds into C: its body runs in [`guard`].

pub(crate) mod audio;
pub(crate) mod bitstream;
pub(crate) mod codec;
pub(crate) mod decode;
pub(crate) mod descriptor;
pub(crate) mod environment;
pub(crate) mod filter;
pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod hdr;
pub(crate) mod input;
pub(crate) mod kept;
pub(crate) mod log;
pub(crate) mod options;
pub(crate) mod output;
pub(crate) mod parameters;
pub(crate) mod pixel_format;
mod sink;
mod stderr;
pub(crate) mod subtitle;
pub(crate) mod vapoursynth;

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fmt, ptr};

use ffmpeg_next::ffi as av;

use crate::units::Rational;

pub use codec::{Packet, StreamParameters};

/// Runs the body of a C callback; a panic becomes `fallback` and a log line, because unwinding into C is undefined.
pub(crate) fn guard<T>(what: &str, fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        tracing::error!("a panic was stopped in the {what} callback");
        fallback
    })
}

/// An `AVERROR` code; `Display` gives libav's text for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AvError(pub(crate) c_int);

impl AvError {
    /// `AVERROR(EAGAIN)`: the other half of the send/receive pair has to be called first.
    pub(crate) const AGAIN: Self = Self(-libc::EAGAIN);
    /// `AVERROR_EOF`: drained.
    pub(crate) const EOF: Self = Self(av::AVERROR_EOF);
    /// `AVERROR(EINVAL)`: something does not fit together.
    pub(crate) const INVALID_DATA: Self = Self(av::AVERROR_INVALIDDATA);
    pub(crate) const INVALID: Self = Self(-libc::EINVAL);
    /// `AVERROR(ENOMEM)`, for allocators that report failure by a null pointer.
    pub(crate) const NO_MEMORY: Self = Self(-libc::ENOMEM);

    /// `Ok` for a non-negative return value.
    pub(crate) fn check(code: c_int) -> Result<c_int, Self> {
        if code < 0 { Err(Self(code)) } else { Ok(code) }
    }
}

impl fmt::Display for AvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0 as c_char; 128];
        // SAFETY: the buffer is writable for the length given; av_strerror always terminates it.
        unsafe { av::av_strerror(self.0, buffer.as_mut_ptr(), buffer.len()) };
        // SAFETY: terminated by the call above, and read before the buffer goes.
        let text = unsafe { CStr::from_ptr(buffer.as_ptr()) };
        f.write_str(&text.to_string_lossy())
    }
}

/// A C string from text that may hold a NUL byte, which is cut off there (no libav or VapourSynth text can carry one).
pub(crate) fn c_string(text: &str) -> CString {
    let end = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
    CString::new(&text.as_bytes()[..end]).unwrap_or_default()
}

/// Text from a C string that may be null; invalid UTF-8 is replaced.
///
/// # Safety
/// `text` is null or points to a terminated string that stays valid during the call.
pub(crate) unsafe fn text_from(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and terminated by the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// `ticks` of `from` in ticks of `to`, rounded to the nearest.
pub(crate) fn rescale(ticks: i64, from: Rational, to: Rational) -> i64 {
    if from == to {
        return ticks;
    }
    // SAFETY: arithmetic on values; both bases are positive.
    unsafe { av::av_rescale_q(ticks, frame::av_rational(from), frame::av_rational(to)) }
}

/// Gives free heap pages back to the system.
///
/// VapourSynth takes its planes from `posix_memalign`, whose free blocks glibc before 2.38 cannot use again when they are
/// freed on another thread's schedule (glibc bug 14581): without this, resident memory grows by some kilobytes a frame
/// for as long as an encode runs, while nothing is leaked. Other allocators have no such fault and no such call.
pub(crate) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: may be called at any time from any thread; live memory is not touched.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What ffmpeg writes as a stream's `encoder`: the library and the encoder's name.
pub(crate) fn encoder_tag(encoder: &str) -> String {
    if encoder == crate::convert::RAV1E {
        return "rav1e (FinalRip)".to_owned();
    }
    // SAFETY: a number.
    let version = unsafe { av::avcodec_version() };
    format!("Lavc{}.{}.{} {encoder}", version >> 16, (version >> 8) & 0xff, version & 0xff)
}

/// The entries of a dictionary that libav owns, in order.
///
/// # Safety
/// `dictionary` is null or valid, and not changed during the call.
pub(crate) unsafe fn pairs(dictionary: *const av::AVDictionary) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut entry: *const av::AVDictionaryEntry = ptr::null();
    loop {
        // SAFETY: by the caller's promise; `entry` is null or came from this walk.
        entry = unsafe { av::av_dict_get(dictionary, c"".as_ptr(), entry, av::AV_DICT_IGNORE_SUFFIX as c_int) };
        // SAFETY: null, or an entry that lives as long as the dictionary.
        let Some(found) = (unsafe { entry.as_ref() }) else { return pairs };
        // SAFETY: an entry's key and value are terminated strings that live as long as it.
        pairs.extend(unsafe { text_from(found.key).zip(text_from(found.value)) });
    }
}

/// The versions of this crate and of libav's libraries, on which the bits of an encode may depend.
pub(crate) fn versions() -> String {
    // SAFETY: numbers.
    let [codec, filter, format] = unsafe { [av::avcodec_version(), av::avfilter_version(), av::avformat_version()] };
    format!(
        "finalrip {}, libavcodec {codec:#x}, libavfilter {filter:#x}, libavformat {format:#x}",
        env!("CARGO_PKG_VERSION")
    )
}

/// libav's release, as its own programs print it.
pub(crate) fn release() -> String {
    // SAFETY: a static string, or null.
    unsafe { text_from(av::av_version_info()) }.unwrap_or_default()
}

/// An `AVDictionary`: options on their way to libav, or what libav left unused.
#[derive(Debug)]
pub(crate) struct Dictionary(pub(crate) *mut av::AVDictionary);

// SAFETY: a dictionary is plain memory with no tie to a thread.
unsafe impl Send for Dictionary {}

impl Dictionary {
    /// Builds a dictionary; a key that comes twice keeps its last value, as on a command line.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut dictionary = Self(ptr::null_mut());
        for (key, value) in pairs {
            dictionary.set(key, value);
        }
        dictionary
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let (key, value) = (c_string(key), c_string(value));
        // SAFETY: both strings are terminated and copied by libav (no AV_DICT_DONT_STRDUP flags).
        unsafe { av::av_dict_set(&raw mut self.0, key.as_ptr(), value.as_ptr(), 0) };
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.keys().iter().any(|name| name == key)
    }

    /// The keys, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        // SAFETY: owned, and not changed while it is walked.
        unsafe { pairs(self.0) }.into_iter().map(|(key, _)| key).collect()
    }

    /// Gives the pointer up, for a libav call that takes it over.
    pub(crate) fn into_raw(mut self) -> *mut av::AVDictionary {
        std::mem::replace(&mut self.0, ptr::null_mut())
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: owned here alone; av_dict_free accepts null and clears the pointer.
        unsafe { av::av_dict_free(&raw mut self.0) };
    }
}
