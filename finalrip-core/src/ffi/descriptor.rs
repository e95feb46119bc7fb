//! What the standard library does not do with open files.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Whether every write goes to the end.
pub(crate) fn appends(file: &File) -> bool {
    // SAFETY: an open descriptor; the call only asks.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_APPEND != 0
}

/// Standard output, which from now on is standard error for everybody else.
///
/// # Errors
/// The operating system's, for example when standard error is closed.
pub fn take_stdout() -> io::Result<File> {
    let taken = io::stdout().as_fd().try_clone_to_owned()?;
    // SAFETY: both are numbers that every process may use; the call puts one file in the place of another at once, and
    // whoever writes there meanwhile writes to either.
    let code = unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from(taken)) }
}
