//! A file that exists under a temporary name until it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempPath;

use super::output::Output;
use super::sink::Sink;

/// The output while it is being written. Clones share it: whoever calls [`PartialFile::discard`] first removes it for
/// good, and a later [`PartialFile::publish`] fails.
#[derive(Debug, Clone)]
pub(crate) struct PartialFile {
    target: PathBuf,
    /// Where it lies under its temporary name, on the target's file system.
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    NotCreated,
    Partial(TempPath),
    /// A device or a pipe: written in place, never removed.
    InPlace,
    /// Written to as it comes.
    Sink(Sink),
    Discarded,
}

impl PartialFile {
    /// Whatever an encode may write to.
    pub(crate) fn of(output: Output) -> io::Result<Self> {
        let (path, sink) = output.into_parts();
        match sink {
            None => Self::new(&path),
            Some(sink) => {
                Ok(Self { target: path, folder: PathBuf::new(), state: Arc::new(Mutex::new(State::Sink(sink))) })
            }
        }
    }

    /// What is written to instead of a file.
    pub(crate) fn sink(&self) -> Option<Sink> {
        match &*self.state() {
            State::Sink(sink) => Some(sink.clone()),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that `target` can become a file, without making one.
    pub(crate) fn new(target: &Path) -> io::Result<Self> {
        let target = crate::script::from_working_folder(target)?;
        // A symbolic link keeps pointing where it does: the file behind it is replaced.
        let target = fs::canonicalize(&target).unwrap_or(target);
        if target.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let folder = match target.parent() {
            Some(folder) if folder.is_dir() => folder.to_owned(),
            Some(folder) => {
                let message = format!("the folder {} does not exist", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file name")),
        };
        Ok(Self { target, folder, state: Arc::new(Mutex::new(State::NotCreated)) })
    }

    /// Puts the temporary file into another folder beside the target, whose owner removes what a killed process leaves.
    pub(crate) fn make_in(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the temporary file and returns its path.
    pub(crate) fn create(&self) -> io::Result<PathBuf> {
        let mut state = self.state();
        match *state {
            State::Discarded => return Err(discarded()),
            // It is there.
            State::Sink(_) => return Ok(self.target.clone()),
            State::NotCreated | State::Partial(_) | State::InPlace => {}
        }
        if self.target.exists() && !self.target.is_file() {
            *state = State::InPlace;
            return Ok(self.target.clone());
        }
        let (prefix, suffix) = around(&self.target);
        let path = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(&suffix)
            // As any new file: what the umask leaves of it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.folder)?
            .into_temp_path();
        let at = path.to_path_buf();
        *state = State::Partial(path);
        Ok(at)
    }

    /// Where the file is while it has its temporary name.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &*self.state() {
            State::Partial(path) => Some(path.to_path_buf()),
            State::NotCreated | State::InPlace | State::Sink(_) | State::Discarded => None,
        }
    }

    /// Makes the complete file durable, still under its temporary name. Returns its size in bytes.
    pub(crate) fn complete(&self) -> io::Result<u64> {
        let state = self.state();
        match &*state {
            State::Partial(path) => {
                let file = File::open(path)?;
                file.sync_all()?;
                Ok(file.metadata()?.len())
            }
            State::InPlace => Ok(0),
            State::Sink(sink) => sink.complete(),
            State::NotCreated | State::Discarded => Err(discarded()),
        }
    }

    /// Gives the complete file the target's name.
    pub(crate) fn publish(&self) -> io::Result<()> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Discarded) {
            State::Partial(path) => {
                path.persist(&self.target).map_err(|error| error.error)?;
                // The new name is durable only with its folder.
                self.target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
            }
            State::InPlace | State::Sink(_) => Ok(()),
            State::NotCreated | State::Discarded => Err(discarded()),
        }
    }

    /// Removes what has been written; the target is not touched.
    pub(crate) fn discard(&self) {
        let mut state = self.state();
        if let State::Sink(sink) = &*state {
            sink.give_up();
        }
        // Dropping the temporary path removes the file.
        *state = State::Discarded;
    }

    /// Readies the file for another attempt from the start.
    ///
    /// # Errors
    /// When it is a pipe that was opened already: whoever reads it has the beginning of the first attempt.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let mut state = self.state();
        match *state {
            State::InPlace if fs::metadata(&self.target)?.file_type().is_fifo() => {
                Err(io::Error::other("it is a pipe, and cannot be begun again"))
            }
            State::Sink(ref sink) => sink.reset(),
            State::Discarded => Ok(()),
            State::NotCreated | State::Partial(_) | State::InPlace => {
                *state = State::NotCreated;
                Ok(())
            }
        }
    }
}

/// What stands around the random part of a temporary name: what names it for people, and the extension, since some muxers
/// look at it. Both are cut: a name holds 255 bytes, and on some file systems 143.
fn around(target: &Path) -> (OsString, OsString) {
    const NAME: usize = 60;
    const EXTENSION: usize = 16;
    let (mut prefix, mut suffix) = (OsString::from("."), OsString::from(".part"));
    prefix.push(start_of(target.file_name().unwrap_or_default(), NAME));
    prefix.push(".");
    if let Some(extension) = target.extension().filter(|extension| extension.len() <= EXTENSION) {
        suffix.push(".");
        suffix.push(extension);
    }
    (prefix, suffix)
}

/// The first bytes of a name, of which no character is cut in two where it is UTF-8.
pub(crate) fn start_of(name: &OsStr, longest: usize) -> &OsStr {
    let bytes = name.as_bytes();
    let mut end = longest.min(bytes.len());
    while end < bytes.len() && end > longest.saturating_sub(4) && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    OsStr::from_bytes(&bytes[..end])
}

fn discarded() -> io::Error {
    io::Error::other("the encode was given up")
}
