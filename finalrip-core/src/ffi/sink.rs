//! libav's output into a [`Sink`].

use std::ffi::{c_int, c_void};
use std::io::SeekFrom;
use std::ptr::NonNull;

use ffmpeg_next::ffi as av;

use super::{AvError, guard};
use crate::container::Sink;

/// Bytes that libav hands over: read-only since FFmpeg 7.0.
#[cfg(ffmpeg_7_0)]
type Bytes = *const u8;
#[cfg(not(ffmpeg_7_0))]
type Bytes = *mut u8;

/// What libav collects before it is handed over.
const BUFFER: c_int = 64 << 10;

/// An `AVIOContext` that writes into a sink.
#[derive(Debug)]
pub(super) struct SinkIo {
    raw: NonNull<av::AVIOContext>,
    /// What the callbacks are given; freed after the context.
    sink: NonNull<Sink>,
}

// SAFETY: the context may be used from any one thread at a time, and a sink from any.
unsafe impl Send for SinkIo {}

impl SinkIo {
    pub(super) fn open(sink: Sink) -> Result<Self, AvError> {
        let seek: Option<unsafe extern "C" fn(*mut c_void, i64, c_int) -> i64> =
            if sink.is_seekable() { Some(seek) } else { None };
        // SAFETY: allocates, or returns null.
        let buffer = NonNull::new(unsafe { av::av_malloc(BUFFER as usize) }).ok_or(AvError::NO_MEMORY)?;
        let sink = NonNull::from(Box::leak(Box::new(sink)));
        // SAFETY: the buffer has that size and is the context's from now on; the sink lives until the context is freed.
        let raw = unsafe {
            let buffer = buffer.as_ptr().cast();
            av::avio_alloc_context(buffer, BUFFER, 1, sink.as_ptr().cast(), None, Some(write), seek)
        };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { raw, sink }),
            None => {
                // SAFETY: libav took neither.
                unsafe {
                    av::av_free(buffer.as_ptr());
                    drop(Box::from_raw(sink.as_ptr()));
                }
                Err(AvError::NO_MEMORY)
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *mut av::AVIOContext {
        self.raw.as_ptr()
    }

    /// Hands over what is still in the buffer.
    pub(super) fn flush(&self) -> Result<(), AvError> {
        // SAFETY: a valid context.
        let code = unsafe {
            av::avio_flush(self.raw.as_ptr());
            self.raw.as_ref().error
        };
        AvError::check(code).map(drop)
    }
}

impl Drop for SinkIo {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone; the buffer, which libav may have replaced, goes first, and the sink when nobody writes.
        unsafe {
            av::av_freep((&raw mut (*raw).buffer).cast());
            av::avio_context_free(&raw mut raw);
            drop(Box::from_raw(self.sink.as_ptr()));
        }
    }
}

unsafe extern "C" fn write(opaque: *mut c_void, bytes: Bytes, size: c_int) -> c_int {
    guard("output", -libc::EIO, || {
        let Ok(length) = usize::try_from(size) else { return -libc::EINVAL };
        // SAFETY: the sink that `open` leaked for this context, and as many bytes as libav says.
        let (sink, bytes) = unsafe { (&*opaque.cast::<Sink>(), std::slice::from_raw_parts(bytes, length)) };
        match sink.write(bytes) {
            Ok(()) => size,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        }
    })
}

unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    guard("output", -i64::from(libc::EIO), || {
        // SAFETY: the sink that `open` leaked for this context.
        let sink = unsafe { &*opaque.cast::<Sink>() };
        let to = match whence & !(av::AVSEEK_FORCE as c_int) {
            libc::SEEK_SET => u64::try_from(offset).ok().map(SeekFrom::Start),
            libc::SEEK_CUR => Some(SeekFrom::Current(offset)),
            libc::SEEK_END => Some(SeekFrom::End(offset)),
            whence if whence == av::AVSEEK_SIZE as c_int => return i64::try_from(sink.bytes()).unwrap_or(i64::MAX),
            _ => None,
        };
        let reached = to.and_then(|to| sink.seek(to).ok()).and_then(|at| i64::try_from(at).ok());
        reached.unwrap_or(-i64::from(libc::EINVAL))
    })
}
