//! The thread that does the work, and the caller's thread, which waits for it.
//!
//! The work runs on a thread of its own, so that the caller's thread can tell what happens and answer a cancel within a
//! second even while a filter or an encoder is deep in C code: what cannot be interrupted is left to end by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tracing::dispatcher::{get_default, with_default};

use crate::cancel::CancelToken;
use crate::error::{Error, Result};

/// How often the caller's thread looks at the cancel token.
const POLL: Duration = Duration::from_millis(50);

/// How long cancelled work may take before it is left to itself.
const PATIENCE: Duration = Duration::from_millis(600);

/// Messages that may wait for a caller who is slow to listen.
const QUEUE: usize = 16;

enum Message<M, T> {
    Event(M),
    Done(Box<Result<T>>),
}

/// Tells the caller what happens. Clones tell the same caller, from any thread.
pub(crate) struct Teller<M, T>(Sender<Message<M, T>>);

impl<M, T> Clone for Teller<M, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M, T> Teller<M, T> {
    /// Tells for certain: waits while the caller is slow to listen. A caller who has gone hears nothing.
    pub(crate) fn tell(&self, message: M) {
        drop(self.0.send(Message::Event(message)));
    }

    /// Tells unless that would mean waiting; gives the message back then.
    pub(crate) fn offer(&self, message: M) -> Option<M> {
        match self.0.try_send(Message::Event(message)).err().map(TrySendError::into_inner) {
            Some(Message::Event(message)) => Some(message),
            _ => None,
        }
    }
}

/// Runs `work` on a thread named `name` and calls `listen` on the caller's thread until it ends.
///
/// `stop` is what the work watches; it is set when `cancel` is, or when `listen` has panicked. What the work returns after
/// that counts for nothing.
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Callback`] when `listen` panicked, [`Error::Internal`] when `work` did, or what `work`
/// returned.
pub(crate) fn supervise<M: Send + 'static, T: Send + 'static>(
    name: &str,
    cancel: &CancelToken,
    stop: &CancelToken,
    mut listen: impl FnMut(M),
    work: impl FnOnce(&Teller<M, T>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (messages, inbox) = bounded(QUEUE);
    // Whoever collects the caller's log collects that of the work.
    let log = get_default(Clone::clone);
    let worker = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || with_default(&log, || run(work, messages)))
        .map_err(|error| Error::Internal(format!("no thread could be started: {error}")))?;
    let mut since: Option<Instant> = None;
    let mut thrown: Option<String> = None;
    loop {
        if since.is_none() && (cancel.is_cancelled() || thrown.is_some()) {
            stop.cancel();
            since = Some(Instant::now());
        }
        match next(&inbox) {
            Some(Message::Done(result)) => {
                drop(worker.join());
                return outcome(*result, thrown, since.is_some());
            }
            Some(Message::Event(message)) if since.is_none() => {
                thrown = catch_unwind(AssertUnwindSafe(|| listen(message))).err().map(|panic| panic_text(&*panic));
            }
            Some(Message::Event(_)) | None => {}
        }
        if since.is_some_and(|since| since.elapsed() > PATIENCE) {
            // Left to end by itself: it holds everything that it uses.
            tracing::warn!("the encode does not stop at once; it is left to end in the background");
            return outcome(Err(Error::Cancelled), thrown, true);
        }
    }
}

fn run<M, T>(work: impl FnOnce(&Teller<M, T>) -> Result<T>, messages: Sender<Message<M, T>>) {
    let teller = Teller(messages);
    let result = caught(|| work(&teller));
    drop(teller.0.send(Message::Done(Box::new(result))));
}

/// Calls `work`; a panic in it becomes an error.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Internal(panic_text(&*panic))))
}

/// Calls back on the caller's thread.
///
/// # Errors
/// [`Error::Callback`] when that panicked.
pub(crate) fn call_back(listen: impl FnOnce()) -> Result<()> {
    let called = catch_unwind(AssertUnwindSafe(listen));
    called.map_err(|panic| Error::Callback { message: panic_text(&*panic) })
}

fn next<M, T>(inbox: &Receiver<Message<M, T>>) -> Option<Message<M, T>> {
    match inbox.recv_timeout(POLL) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => {
            Some(Message::Done(Box::new(Err(Error::Internal("the work ended without a result".to_owned())))))
        }
    }
}

fn outcome<T>(result: Result<T>, thrown: Option<String>, cancelled: bool) -> Result<T> {
    match thrown {
        Some(message) => Err(Error::Callback { message }),
        None if cancelled => Err(Error::Cancelled),
        None => result,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
