//! Where an encode's file goes: a path, or a file that Python has open.

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use finalrip_core::Output;
use pyo3::PyResult;
use pyo3::exceptions::PyOSError;

/// The path, or the open file under that name.
pub(crate) fn output(path: PathBuf, descriptor: Option<RawFd>) -> PyResult<Output> {
    let Some(descriptor) = descriptor else { return Ok(path.into()) };
    if descriptor < 0 {
        return Err(PyOSError::new_err(format!("{descriptor} is no open file")));
    }
    // SAFETY: not the one number that means none. Python's caller keeps it open during this call, which duplicates it; a number
    // that nothing is open under is an error of the duplication.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
    Ok(Output::file(path, File::from(file)))
}
