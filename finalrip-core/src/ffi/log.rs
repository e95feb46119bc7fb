//! libav's log, routed to `tracing` through one callback, with the last lines kept for the error that may follow.
//!
//! libav has one log callback a process. It is installed at the first encode and never removed. Lines are kept for
//! the thread that is inside a [`LogScope`]; an encoder's own worker threads are told apart by the address of the
//! codec context that they name, which the scope registers.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use ffmpeg_next::ffi as av;

use super::{guard, text_from};

/// How many lines an error carries at most.
const KEPT_LINES: usize = 20;

/// The last lines that libav logged for one encode.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogTail(Arc<Tail>);

#[derive(Debug, Default)]
struct Tail {
    lines: Mutex<VecDeque<String>>,
    is_trial: AtomicBool,
}

impl LogTail {
    /// For something that may fail without anybody having to know: its lines are kept, and told only to those who debug.
    pub(crate) fn of_a_trial() -> Self {
        Self(Arc::new(Tail { lines: Mutex::default(), is_trial: AtomicBool::new(true) }))
    }

    /// The trial has succeeded, and what was tried is used.
    pub(crate) fn end_trial(&self) {
        self.0.is_trial.store(false, Ordering::Relaxed);
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// Keeps lines that came on another way.
    pub(crate) fn keep(&self, lines: impl Iterator<Item = String>) {
        lines.for_each(|line| self.push(&line));
    }

    /// The lines kept so far, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes the lines away, so that the next error does not repeat them.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<LogTail>> = const { RefCell::new(Vec::new()) };
}

/// Codec contexts whose lines may come from threads of the encoder's own.
static CONTEXTS: Mutex<Option<HashMap<usize, LogTail>>> = Mutex::new(None);

/// While it lives, libav's lines of this thread are kept in its [`LogTail`].
pub(crate) struct LogScope;

impl LogScope {
    pub(crate) fn enter(tail: &LogTail) -> Self {
        install();
        CURRENT.with_borrow_mut(|stack| stack.push(tail.clone()));
        Self
    }
}

impl Drop for LogScope {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(Vec::pop);
    }
}

/// Names a context whose lines belong to `tail` whichever thread writes them; [`forget_context`] ends it.
pub(crate) fn register_context(context: *const c_void, tail: &LogTail) {
    let mut contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    contexts.get_or_insert_with(HashMap::new).insert(context as usize, tail.clone());
}

pub(crate) fn forget_context(context: *const c_void) {
    let mut contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(contexts) = contexts.as_mut() {
        contexts.remove(&(context as usize));
    }
}

/// Installs the callback, once a process.
pub(crate) fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the callback has libav's signature, lives as long as the process, is safe to call from any thread
        // and never unwinds.
        unsafe {
            av::av_log_set_level(av::AV_LOG_VERBOSE as c_int);
            av::av_log_set_callback(Some(on_log));
        }
    });
}

#[cfg(target_arch = "x86_64")]
type VaList = *mut av::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
type VaList = av::va_list;

unsafe extern "C" fn on_log(context: *mut c_void, level: c_int, format: *const c_char, arguments: VaList) {
    // A custom callback gets every line, whatever the level that was set.
    if level > av::AV_LOG_VERBOSE as c_int {
        return;
    }
    guard("libav log", (), || {
        let mut buffer = [0 as c_char; 1024];
        let mut prefix: c_int = 1;
        // SAFETY: all arguments but the buffer come straight from libav for this very call; the buffer is writable
        // for its length and is terminated by the call.
        let text = unsafe {
            av::av_log_format_line2(
                context,
                level,
                format,
                arguments,
                buffer.as_mut_ptr(),
                buffer.len() as c_int,
                &raw mut prefix,
            );
            text_from(buffer.as_ptr())
        };
        if let Some(text) = text {
            record(context, level, text.trim_end());
        }
    });
}

fn record(context: *const c_void, level: c_int, line: &str) {
    if line.is_empty() {
        return;
    }
    let named = CONTEXTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .and_then(|contexts| contexts.get(&(context as usize)).cloned());
    let tail = named.or_else(|| CURRENT.with_borrow(|stack| stack.last().cloned()));
    let is_trial = tail.as_ref().is_some_and(|tail| tail.0.is_trial.load(Ordering::Relaxed));
    match level {
        _ if is_trial => tracing::debug!(target: "libav", "{line}"),
        l if l <= av::AV_LOG_ERROR as c_int => tracing::error!(target: "libav", "{line}"),
        l if l <= av::AV_LOG_WARNING as c_int => tracing::warn!(target: "libav", "{line}"),
        l if l <= av::AV_LOG_INFO as c_int => tracing::info!(target: "libav", "{line}"),
        _ => tracing::debug!(target: "libav", "{line}"),
    }
    if let Some(tail) = tail.filter(|_| level <= av::AV_LOG_WARNING as c_int) {
        tail.push(line);
    }
}
