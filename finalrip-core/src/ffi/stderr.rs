//! What encoders print themselves, beside libav's log.
//!
//! x265 and SVT-AV1 tell what they do not do with `fprintf(stderr, …)`; libav hears nothing of it. File descriptor 2 is
//! left alone: it is the whole process's, and its children's. Instead C's variable `stderr` points to a stream of ours while
//! an encoder is opened. That stream passes everything on to descriptor 2, at once and unchanged, whichever thread writes;
//! and it keeps a copy of what is written by threads that are inside a [`Capture`].
//!
//! Where there is no glibc, nothing is kept.

use std::cell::RefCell;

/// The most bytes that are kept; an encoder's opening is some hundred.
const LIMIT: usize = 64 * 1024;

thread_local! {
    static KEPT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// While it lives, what C code prints to `stderr` on this thread is kept as well.
pub(crate) struct Capture {
    outer: Option<Vec<u8>>,
    _swap: gnu::Swap,
}

impl Capture {
    pub(crate) fn begin() -> Self {
        let outer = KEPT.replace(Some(Vec::new()));
        Self { outer, _swap: gnu::Swap::begin() }
    }

    /// The lines so far, without empty ones.
    pub(crate) fn lines(&self) -> Vec<String> {
        let kept = KEPT.with_borrow(|kept| kept.clone().unwrap_or_default());
        let text = String::from_utf8_lossy(&kept);
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        KEPT.set(self.outer.take());
    }
}

/// Keeps what this thread wrote, if it is inside a capture.
fn keep(bytes: &[u8]) {
    // A thread that is ending has no such memory any more, and nothing to keep.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && let Some(kept) = kept.as_mut()
        {
            let room = LIMIT.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(&bytes[..room]);
        }
    });
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod gnu {
    use std::ffi::{c_char, c_int, c_void};
    use std::ptr;
    use std::sync::atomic::{AtomicPtr, Ordering};
    use std::sync::{Mutex, PoisonError};

    /// glibc's `cookie_io_functions_t`.
    #[repr(C)]
    struct Functions {
        read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
        write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
        seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
        close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    }

    unsafe extern "C" {
        /// The variable that C code reads whenever it writes to its standard error; glibc lets programs assign to it.
        static mut stderr: *mut libc::FILE;
        fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut libc::FILE;
    }

    /// Our stream. It is made once and never closed: C code may have read the variable a moment before it changes back.
    static STREAM: AtomicPtr<libc::FILE> = AtomicPtr::new(ptr::null_mut());

    /// How many captures there are, and where the variable pointed before the first.
    struct Swaps {
        count: usize,
        before: *mut libc::FILE,
    }

    // SAFETY: the pointer is only ever copied into the variable that it came from.
    unsafe impl Send for Swaps {}

    static SWAPS: Mutex<Swaps> = Mutex::new(Swaps { count: 0, before: ptr::null_mut() });

    /// While one lives, the variable points to our stream.
    pub(super) struct Swap;

    impl Swap {
        pub(super) fn begin() -> Self {
            let mut swaps = SWAPS.lock().unwrap_or_else(PoisonError::into_inner);
            if swaps.count == 0 {
                let ours = stream();
                if !ours.is_null() {
                    // SAFETY: our own changes happen under the lock; C code reads the variable as one aligned word, and finds
                    // one of two streams that both live as long as the process.
                    unsafe {
                        swaps.before = (&raw const stderr).read_volatile();
                        (&raw mut stderr).write_volatile(ours);
                    }
                }
            }
            swaps.count += 1;
            Self
        }
    }

    impl Drop for Swap {
        fn drop(&mut self) {
            let mut swaps = SWAPS.lock().unwrap_or_else(PoisonError::into_inner);
            swaps.count -= 1;
            let ours = STREAM.load(Ordering::Acquire);
            // SAFETY: as above. Where somebody else has put a stream of theirs there meanwhile, it stays.
            unsafe {
                if swaps.count == 0 && !ours.is_null() && (&raw const stderr).read_volatile() == ours {
                    (&raw mut stderr).write_volatile(swaps.before);
                }
            }
        }
    }

    /// Our stream, made at the first call, which is under the lock; null when there is no memory.
    fn stream() -> *mut libc::FILE {
        let known = STREAM.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        let functions = Functions { read: None, write: Some(write), seek: None, close: None };
        // SAFETY: the mode ends in NUL, the functions have glibc's signatures and live as long as the process.
        let made = unsafe { fopencookie(ptr::null_mut(), c"w".as_ptr(), functions) };
        if !made.is_null() {
            // SAFETY: a new stream that nobody has written to; without a buffer, as the real one.
            unsafe { libc::setvbuf(made, ptr::null_mut(), libc::_IONBF, 0) };
            STREAM.store(made, Ordering::Release);
        }
        made
    }

    /// Passes everything on, and keeps a copy for the thread. Never unwinds: nothing here panics.
    unsafe extern "C" fn write(_: *mut c_void, data: *const c_char, size: usize) -> isize {
        if data.is_null() || size == 0 {
            return 0;
        }
        // SAFETY: stdio hands over `size` readable bytes for the time of this call.
        let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) };
        super::super::guard("standard error", (), || super::keep(bytes));
        let mut done = 0;
        while done < size {
            // SAFETY: within the slice.
            let written = unsafe { libc::write(libc::STDERR_FILENO, bytes[done..].as_ptr().cast(), size - done) };
            match usize::try_from(written) {
                Ok(0) => break,
                Ok(written) => done += written,
                Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
                // Nobody listens. The stream must not stay in error for it.
                Err(_) => break,
            }
        }
        size as isize
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod gnu {
    pub(super) struct Swap;

    impl Swap {
        pub(super) fn begin() -> Self {
            Self
        }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;
    use std::ffi::c_char;

    unsafe extern "C" {
        fn fputs(text: *const c_char, stream: *mut libc::FILE) -> i32;
        static mut stderr: *mut libc::FILE;
    }

    fn print(text: &std::ffi::CStr) {
        // SAFETY: a terminated text, and whichever stream the variable holds; both are valid.
        unsafe { fputs(text.as_ptr(), (&raw const stderr).read_volatile()) };
    }

    #[test]
    fn only_what_this_thread_prints_inside_is_kept() {
        print(c"before\n");
        let capture = Capture::begin();
        print(c"one ");
        print(c"line\n\n");
        std::thread::spawn(|| print(c"another thread's\n")).join().unwrap();
        {
            let inner = Capture::begin();
            print(c"inner\n");
            assert_eq!(inner.lines(), ["inner"]);
        }
        print(c"two\n");
        assert_eq!(capture.lines(), ["one line", "two"]);
        drop(capture);
        print(c"after\n");
        assert!(Capture::begin().lines().is_empty());
    }
}
