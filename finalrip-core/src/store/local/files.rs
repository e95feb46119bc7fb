//! The files below a store's folder: what blocks, and what must be durable.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use object_store::PutPayload;

use super::names;

/// How often a write is tried because its folders, empty for a moment, were removed: each time, somebody else got on.
const FOLDER_RACES: usize = 1_000;

/// The store's two folders. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    objects: Arc<Path>,
    partial: Arc<Path>,
}

impl Tree {
    /// Makes the folders that are not there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = fs::canonicalize(folder)?;
        let [objects, partial] = ["objects", "partial"].map(|name| folder.join(name));
        for folder in [&objects, &partial] {
            DirBuilder::new().recursive(true).create(folder)?;
            if !fs::symlink_metadata(folder)?.is_dir() {
                return Err(not_plain(folder));
            }
        }
        sync_folder(&folder)?;
        Ok(Self { objects: objects.into(), partial: partial.into() })
    }

    pub(super) fn file_of(&self, key: &str) -> PathBuf {
        self.objects.join(names::path_of(key))
    }

    /// Opens an object to be read.
    pub(super) fn open_object(&self, key: &str) -> io::Result<(File, Metadata)> {
        let path = self.plain_file_of(key)?;
        // Not blocking: to open a pipe would otherwise wait for its writer.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
        let found = file.metadata()?;
        if found.is_file() { Ok((file, found)) } else { Err(not_plain(&path)) }
    }

    /// Starts an upload and returns its name.
    pub(super) fn begin(&self) -> io::Result<String> {
        let file = tempfile::Builder::new()
            .prefix("upload-")
            .rand_bytes(16)
            // As any new file: what the umask leaves of it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.partial)?;
        let path = file.into_temp_path().keep().map_err(|error| error.error)?;
        Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Writes a part of an upload.
    pub(super) fn write(&self, upload: &str, offset: u64, content: &PutPayload) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.partial_of(upload)?)?;
        content.iter().try_fold(offset, |offset, piece| {
            file.write_all_at(piece, offset)?;
            Ok::<_, io::Error>(offset + piece.len() as u64)
        })?;
        Ok(())
    }

    /// Makes an upload durable and gives it the name of `key`.
    pub(super) fn publish(&self, upload: &str, key: &str) -> io::Result<()> {
        self.rename(&self.partial_of(upload)?, key)
    }

    /// Removes an upload.
    pub(super) fn forget(&self, upload: &str) -> io::Result<()> {
        match fs::remove_file(self.partial_of(upload)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Gives a file of this file system the name of `key`; `false` when it lies on another one.
    pub(super) fn adopt(&self, file: &Path, key: &str) -> io::Result<bool> {
        if !fs::symlink_metadata(file)?.is_file() {
            return Err(not_plain(file));
        }
        match self.rename(file, key) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    pub(super) fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.plain_file_of(key)?;
        fs::remove_file(&path)?;
        let mut folder = path.parent().unwrap_or(&self.objects);
        // Folders that are empty now belong to no object any more.
        while folder != &*self.objects && fs::remove_dir(folder).is_ok() {
            folder = folder.parent().unwrap_or(&self.objects);
        }
        // The folder may be gone already: somebody deleted the next object.
        sync_folder_if_there(folder)
    }

    /// The objects whose keys start with `prefix`.
    pub(super) fn list(&self, prefix: &str) -> io::Result<Vec<(String, Metadata)>> {
        let mut found = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in entries(&self.objects.join(&folder))? {
                let path = folder.join(entry.file_name());
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    let keys = names::prefix_of(&path);
                    folders
                        .extend(keys.filter(|keys| keys.starts_with(prefix) || prefix.starts_with(keys)).map(|_| path));
                } else if kind.is_file() {
                    let key = names::key_of(&path).filter(|key| key.starts_with(prefix));
                    // It may have been deleted since.
                    found.extend(key.zip(entry.metadata().ok()));
                }
            }
        }
        Ok(found)
    }

    /// The uploads that are neither published nor removed, and when they were last written to.
    pub(super) fn unfinished(&self) -> io::Result<Vec<(String, SystemTime)>> {
        let written = |entry: fs::DirEntry| {
            let name = entry.file_name().to_str()?.to_owned();
            Some((name, entry.metadata().ok()?.modified().ok()?))
        };
        Ok(entries(&self.partial)?.into_iter().filter_map(written).collect())
    }

    fn partial_of(&self, upload: &str) -> io::Result<PathBuf> {
        match Path::new(upload).components().collect::<Vec<_>>()[..] {
            [Component::Normal(name)] => Ok(self.partial.join(name)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The path of `key`, of which no folder is a symbolic link.
    fn plain_file_of(&self, key: &str) -> io::Result<PathBuf> {
        let name = names::path_of(key);
        for folder in name.ancestors().skip(1) {
            let folder = self.objects.join(folder);
            if !fs::symlink_metadata(&folder)?.is_dir() {
                return Err(not_plain(&folder));
            }
        }
        let path = self.objects.join(name);
        if fs::symlink_metadata(&path)?.is_file() { Ok(path) } else { Err(not_plain(&path)) }
    }

    /// Moves `file`, made durable, to where the object of `key` lies.
    fn rename(&self, file: &Path, key: &str) -> io::Result<()> {
        File::open(file)?.sync_all()?;
        let path = self.file_of(key);
        let mut races = 0;
        loop {
            match self.make_folders(key).and_then(|()| fs::rename(file, &path)) {
                // A folder was empty, and a deletion took it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound && file.exists() && races < FOLDER_RACES => {
                    races += 1
                }
                outcome => break outcome?,
            }
        }
        // The folder may be gone already: somebody deleted the object since.
        sync_folder_if_there(path.parent().unwrap_or(&self.objects))
    }

    /// Makes the folders of `key`, durably. One that a deletion took away meanwhile is [`io::ErrorKind::NotFound`].
    fn make_folders(&self, key: &str) -> io::Result<()> {
        let name = names::path_of(key);
        let mut folder = self.objects.to_path_buf();
        for part in name.parent().into_iter().flat_map(Path::components) {
            let above = folder.clone();
            folder.push(part);
            match fs::create_dir(&folder) {
                Ok(()) => sync_folder(&above)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&folder)?.is_dir() {
                        return Err(not_plain(&folder));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is in a folder; nothing if it was removed.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

/// A new name is durable only with its folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_folder_if_there(folder: &Path) -> io::Result<()> {
    match sync_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn not_plain(path: &Path) -> io::Error {
    let message = format!("{} is not a plain file or folder", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}
