//! Where an encode's file goes.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::sink::Sink;
pub use crate::ffi::descriptor::take_stdout;

/// Where an encode writes to: a path, whose file takes its name when it is complete, or something that takes the bytes as they
/// come. Whatever can be a `PathBuf` can be an `Output`.
///
/// What is written to a stream stays written: an encode that fails leaves its beginning there. The container has no name to
/// follow from, so the command says it with `-f`; some containers, such as MP4, cannot be written to a stream, and the
/// error says so.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    sink: Option<Sink>,
}

impl Output {
    /// Bytes for a writer. Reports and errors call it `name`. It is dropped when the encode is over, also on an error.
    #[must_use]
    pub fn stream(name: impl Into<PathBuf>, writer: impl Write + Send + 'static) -> Self {
        Self { path: name.into(), sink: Some(Sink::stream(writer)) }
    }

    /// An open file, a pipe, or a socket, from where it stands. In a regular file that is not open for appending every
    /// container can be written.
    #[must_use]
    pub fn file(name: impl Into<PathBuf>, file: File) -> Self {
        Self { path: name.into(), sink: Some(Sink::file(file)) }
    }

    /// Standard output, under the name `-`, which is taken over: what this process or the script prints from now on goes to
    /// standard error.
    ///
    /// # Errors
    /// When there is no standard output, or no standard error.
    pub fn stdout() -> io::Result<Self> {
        Ok(Self::file("-", take_stdout()?))
    }

    /// The path, or the name that was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn into_parts(self) -> (PathBuf, Option<Sink>) {
        (self.path, self.sink)
    }
}

impl<P: Into<PathBuf>> From<P> for Output {
    fn from(path: P) -> Self {
        Self { path: path.into(), sink: None }
    }
}
