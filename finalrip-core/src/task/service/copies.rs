//! The encoded clips of a task on this machine, for the merge: where they lie, or copies of a remote store's.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Inner;
use super::error::{TaskError, TaskResult};
use crate::store::{ObjectKey, VideoKey};

/// What the names of folders for copies begin with.
const PREFIX: &str = "clips-";

/// Files that stay while this is held.
pub(super) struct Copies {
    /// One for each clip, in their order.
    pub(super) files: Vec<PathBuf>,
    /// Where the copies are, if there are any; removed with this.
    folder: Option<TempDir>,
}

impl Copies {
    pub(super) async fn of(service: &Inner, video: &VideoKey, clips: usize) -> TaskResult<Self> {
        let mut copies = Self { files: Vec::with_capacity(clips), folder: None };
        for index in 0..u32::try_from(clips).unwrap_or(u32::MAX) {
            let key = video.encoded_clip(index);
            let local = service.wait_for_store(async || Ok(service.store.local_path(&key).await?));
            let file = match local.await? {
                Some(file) => file,
                None => copies.copy(service, &key, index).await?,
            };
            copies.files.push(file);
        }
        Ok(copies)
    }

    async fn copy(&mut self, service: &Inner, key: &ObjectKey, index: u32) -> TaskResult<PathBuf> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => {
                let scratch = &service.options.process.scratch;
                let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(scratch);
                none.insert(made.map_err(TaskError::at("cannot make a folder in", scratch))?)
            }
        };
        let file = folder.path().join(format!("{index}.mkv"));
        let copied = service.wait_for_store(async || Ok(service.store.download(key, &file).await?)).await?;
        service.fetched(copied.object.size);
        Ok(file)
    }
}

/// Removes the copies that a killed process has left.
pub(super) fn sweep(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
