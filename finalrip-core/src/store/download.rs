//! An object as a file on this machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path as FilePath, PathBuf};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::error::{Operation, StoreError, StoreResult};
use super::{Reader, StoredObject};

/// How a download went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Downloaded {
    /// What was downloaded.
    pub object: StoredObject,
    /// How many of its bytes an earlier, interrupted download had left.
    pub continued: u64,
}

/// A file that is being filled, locked against a second download of the same object to the same place.
///
/// Its name tells key, ETag and size: only what is the beginning of this very object is ever continued.
pub(super) struct Partial {
    object: StoredObject,
    target: PathBuf,
    path: PathBuf,
    file: File,
    /// How many bytes were there already.
    pub(super) length: u64,
}

impl Partial {
    /// Opens what there is of `object` beside `target`, or makes it. Blocks.
    pub(super) fn open(object: StoredObject, target: PathBuf) -> StoreResult<Self> {
        let path = partial_of(&object, &target);
        let failed = |source| failed(&object, &path, source);
        let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy { key: object.key, path: target }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if length > object.size {
            file.set_len(0).map_err(failed)?;
            length = 0;
        }
        Ok(Self { object, target, path, file, length })
    }

    /// Appends what `reader` gives, and gives the complete file its name.
    pub(super) async fn fill(self, mut reader: Reader) -> StoreResult<Downloaded> {
        let failed = |source| failed(&self.object, &self.path, source);
        let mut file = tokio::fs::File::from_std(self.file.try_clone().map_err(failed)?);
        let read = loop {
            match reader.next().await {
                Ok(Some(piece)) => file.write_all(&piece).await.map_err(failed)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // After an error too: what has arrived is kept, and the lock is given back only when it is written.
        file.flush().await.map_err(failed)?;
        read?;
        file.sync_all().await.map_err(failed)?;
        let actual = file.metadata().await.map_err(failed)?.len();
        if actual != self.object.size {
            // Somebody else wrote to it. What it holds cannot be trusted.
            fs::remove_file(&self.path).map_err(failed)?;
            let (operation, key, expected) = (Operation::Fetch, self.object.key.clone(), self.object.size);
            return Err(StoreError::Length { operation, key, expected, actual });
        }
        fs::rename(&self.path, &self.target).map_err(failed)?;
        remove_stale(&self.target).map_err(failed)?;
        Ok(Downloaded { object: self.object, continued: self.length })
    }
}

/// Where the partial file of `object` lies: beside `target`, hidden.
pub(super) fn partial_of(object: &StoredObject, target: &FilePath) -> PathBuf {
    let identity = format!("{}\0{}\0{}", object.key, object.e_tag.as_deref().unwrap_or_default(), object.size);
    target.with_file_name(format!("{}{}.part", stem(target), short_digest(&identity, 12)))
}

/// How the names of all partial files of `target` begin. Long names are cut: a file name holds 255 bytes.
fn stem(target: &FilePath) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beginning: String = name.chars().take(40).collect();
    format!(".{beginning}.{}.", short_digest(&name, 4))
}

pub(crate) fn short_digest(text: &str, bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes what is left of downloads of other versions to the same place, if nobody is at work on them.
fn remove_stale(target: &FilePath) -> io::Result<()> {
    let stem = stem(target);
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(FilePath::new("."));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let stale = name.starts_with(&stem) && name.ends_with(".part");
        if stale && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn failed(object: &StoredObject, path: &FilePath, source: io::Error) -> StoreError {
    if source.kind() == io::ErrorKind::StorageFull {
        return StoreError::Full { operation: Operation::Fetch, key: object.key.clone(), source: source.into() };
    }
    StoreError::File { action: "write", path: path.to_owned(), source }
}
