//! The one way into the library: the work runs on a thread of its own, without the GIL; the calling thread waits, looks for
//! signals, and calls Python back.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use finalrip_core::{CancelToken as Token, Error, Result};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use serde::Serialize;

use crate::log::{self, Line};

/// How often signals are looked for.
const POLL: Duration = Duration::from_millis(50);

/// Stops an encode or a rip from any thread. It cannot be taken back.
#[pyclass(frozen, module = "finalrip")]
#[derive(Default)]
pub(crate) struct CancelToken {
    pub(crate) inner: Token,
}

#[pymethods]
impl CancelToken {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop; it raises `finalrip.Cancelled` within a second.
    fn cancel(&self) {
        self.inner.cancel();
    }

    /// Whether `cancel` was called.
    #[getter]
    fn cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    fn __repr__(&self) -> &'static str {
        if self.inner.is_cancelled() { "CancelToken(cancelled=True)" } else { "CancelToken(cancelled=False)" }
    }
}

enum Message {
    /// Something to tell, and whom to answer when it is told.
    Event(String, Sender<()>),
    Done(Box<Result<String>>),
}

/// Functions of Python's that are called while work is done.
pub(crate) struct Listeners {
    /// Gets a level and a line for whatever is logged.
    pub(crate) log: Py<PyAny>,
    /// Gets what happens, as JSON.
    pub(crate) listen: Option<Py<PyAny>>,
}

/// Does `work`, which tells what happens by its argument and returns a report, and then `release`, on the same thread.
///
/// An exception of `listen`, or of a signal's handler, cancels the work and is raised when that has stopped; Ctrl-C's as
/// `Cancelled`, which is a `KeyboardInterrupt`. Whoever tells waits until `listen` has returned, so that no file gets its
/// name after `listen` has raised.
pub(crate) fn run(
    py: Python<'_>,
    cancel: &Token,
    listeners: Listeners,
    release: impl FnOnce() + Send + 'static,
    work: impl FnOnce(&mut dyn FnMut(String)) -> Result<String> + Send + 'static,
) -> PyResult<Result<String>> {
    let (messages, inbox) = bounded(1);
    let listens = listeners.listen.is_some();
    let (lines, logged) = unbounded();
    let worker = thread::Builder::new()
        .name("finalrip-python".to_owned())
        .spawn(move || {
            let mut tell = |text| {
                if listens {
                    ask(&messages, text);
                }
            };
            let result = log::forwarded(lines, || work(&mut tell));
            release();
            drop(messages.send(Message::Done(Box::new(result))));
        })
        .map_err(|error| PyRuntimeError::new_err(format!("no thread could be started: {error}")))?;
    let (result, raised) = attend(py, cancel, &listeners, (&inbox, &logged));
    drop(py.detach(|| worker.join()));
    match raised {
        // Where the work was done all the same, Ctrl-C cancelled nothing.
        Some(error) if result.is_err() && error.is_instance_of::<PyKeyboardInterrupt>(py) => {
            let cancelled = crate::errors::raise(py, &Error::Cancelled);
            cancelled.set_cause(py, Some(error));
            Err(cancelled)
        }
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// Sends an event and waits until it is told.
fn ask(messages: &Sender<Message>, text: String) {
    let (answer, told) = bounded(1);
    if messages.send(Message::Event(text, answer)).is_ok() {
        // An end without an answer means that nobody listens any more.
        let _ = told.recv();
    }
}

/// Waits for the end, and serves Python meanwhile. Returns what the work returned, and what was raised here.
fn attend(
    py: Python<'_>,
    cancel: &Token,
    listeners: &Listeners,
    (inbox, logged): (&Receiver<Message>, &Receiver<Line>),
) -> (Result<String>, Option<PyErr>) {
    let mut raised: Option<PyErr> = None;
    loop {
        let message = py.detach(|| inbox.recv_timeout(POLL));
        for line in logged.try_iter() {
            note(listeners.log.call1(py, (line.level, line.text)).map(drop), &mut raised, cancel);
        }
        match message {
            // A signal that comes now is too late: Python raises what it means when the call has returned.
            Ok(Message::Done(result)) => return (*result, raised),
            Ok(Message::Event(text, answer)) => {
                note(handle_signals(py), &mut raised, cancel);
                if let (None, Some(listen)) = (&raised, &listeners.listen) {
                    note(listen.call1(py, (text,)).map(drop), &mut raised, cancel);
                }
                // Whoever asked has gone only when the work has ended.
                let _ = answer.send(());
            }
            Err(RecvTimeoutError::Timeout) => note(handle_signals(py), &mut raised, cancel),
            Err(RecvTimeoutError::Disconnected) => {
                return (Err(Error::Internal("the work ended without a result".to_owned())), raised);
            }
        }
    }
}

/// Lets Python handle the signals that came.
///
/// It does so first of all when it runs a function of Python's, where `PyErr_CheckSignals` may collect garbage before: a
/// handler that runs in the callback of a weak reference raises into nowhere.
fn handle_signals(py: Python<'_>) -> PyResult<()> {
    py.import("finalrip._errors")?.call_method0("handle_signals").map(drop)
}

/// Keeps the first exception, and stops the work for it.
fn note(called: PyResult<()>, raised: &mut Option<PyErr>, cancel: &Token) {
    if let Err(error) = called {
        cancel.cancel();
        raised.get_or_insert(error);
    }
}

/// A value of the library's as JSON. All of them can be written so.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
