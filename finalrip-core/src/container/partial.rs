//! A file that exists under a temporary name until it is complete.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempPath;

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
    Discarded,
}

impl PartialFile {
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Discarded) {
            return Err(discarded());
        }
        if self.target.exists() && !self.target.is_file() {
            *state = State::InPlace;
            return Ok(self.target.clone());
        }
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        // Long names are cut: a file name holds 255 bytes.
        let prefix: String = format!(".{name}").chars().take(60).collect();
        // The extension stays last: some muxers look at it.
        let suffix = self.target.extension().map(|ext| format!(".part.{}", ext.to_string_lossy())).unwrap_or_default();
        let path = tempfile::Builder::new()
            .prefix(&format!("{prefix}."))
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
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Partial(path) => Some(path.to_path_buf()),
            State::NotCreated | State::InPlace | State::Discarded => None,
        }
    }

    /// Makes the complete file durable, still under its temporary name. Returns its size in bytes.
    pub(crate) fn complete(&self) -> io::Result<u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Partial(path) => {
                let file = File::open(path)?;
                file.sync_all()?;
                Ok(file.metadata()?.len())
            }
            State::InPlace => Ok(0),
            State::NotCreated | State::Discarded => Err(discarded()),
        }
    }

    /// Gives the complete file the target's name.
    pub(crate) fn publish(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Discarded) {
            State::Partial(path) => {
                path.persist(&self.target).map_err(|error| error.error)?;
                // The new name is durable only with its folder.
                self.target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
            }
            State::InPlace => Ok(()),
            State::NotCreated | State::Discarded => Err(discarded()),
        }
    }

    /// Removes what has been written; the target is not touched.
    pub(crate) fn discard(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the temporary path removes the file.
        *state = State::Discarded;
    }

    /// Readies the file for another attempt from the start.
    ///
    /// # Errors
    /// When it is a pipe that was opened already: whoever reads it has the beginning of the first attempt.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::InPlace if fs::metadata(&self.target)?.file_type().is_fifo() => {
                Err(io::Error::other("it is a pipe, and cannot be begun again"))
            }
            State::Discarded => Ok(()),
            State::NotCreated | State::Partial(_) | State::InPlace => {
                *state = State::NotCreated;
                Ok(())
            }
        }
    }
}

fn discarded() -> io::Error {
    io::Error::other("the encode was given up")
}
