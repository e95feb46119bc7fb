//! Python's state of a thread, kept from one call into Python to the next.
//!
//! A thread that takes the GIL needs a thread state. CPython makes one for a thread that has none, and throws it away when that
//! lets the GIL go, and with it memory that is mapped and unmapped each time, at the expense of every processor. Two threads
//! take the GIL for a frame: ours, which asks for it, and VapourSynth's, which delivers it. Where a frame is encoded in 2 ms, that
//! costs 4 % of the speed.
//!
//! A state that is counted once more than it is given back is kept: see
//! <https://docs.python.org/3/c-api/init.html#c.PyGILState_Ensure>.

use std::cell::Cell;

use pyo3::ffi::{PyGILState_Ensure, PyGILState_GetThisThreadState, PyGILState_Release, PyGILState_STATE};
use pyo3::prelude::*;

thread_local! {
    static KEPT: Cell<bool> = const { Cell::new(false) };
    static GIVEN_BACK_AT_ITS_END: GiveBack = const { GiveBack };
}

/// As [`Python::try_attach`]. If this thread is none of Python's, its state is kept until it ends: for threads of ours, for
/// which nobody waits with the GIL held.
pub(crate) fn attach<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    // SAFETY: it looks into this thread's own storage, and may do so at any time; what it returns is only compared.
    let stranger = unsafe { PyGILState_GetThisThreadState() }.is_null();
    Python::try_attach(|py| {
        if stranger {
            keep(py);
            GIVEN_BACK_AT_ITS_END.with(|_| ());
        }
        work(py)
    })
}

/// Keeps this thread's state until Python ends. For threads of VapourSynth, which are as many as the core has, and live as long:
/// to give the state back a thread would have to take the GIL when it ends, and who frees a core may hold that and wait for
/// the thread.
pub(crate) fn keep_for_good(py: Python<'_>) {
    if !KEPT.replace(true) {
        keep(py);
    }
}

fn keep(_attached: Python<'_>) {
    // SAFETY: this thread is attached, so that the interpreter is there and this counts a state that exists; the GIL stays as
    // it is. Whoever attached the thread finds the count as it expects when it detaches: one above what it leaves.
    unsafe { PyGILState_Ensure() };
}

struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        // When Python shuts down, it throws the states away itself.
        Python::try_attach(|_attached| {
            // SAFETY: this thread is attached, by the state that `keep` counted once more: nobody else throws away the state of a
            // thread that is not Python's own while Python runs. That call found the GIL held, so "locked" is what it
            // returned; the state ends when this closure's attachment does.
            unsafe { PyGILState_Release(PyGILState_STATE::PyGILState_LOCKED) };
        });
    }
}
