//! Objects as files in a folder.
//!
//! `object_store` has a store for folders too. It follows symbolic links out of its folder, limits a part of a key to
//! 255 bytes, knows no key that ends in `#` and digits, and leaves unfinished uploads among the objects; this one does not.
//!
//! In the folder are `objects`, the objects under names made of their keys (see [`names`]), and `partial`, what is still
//! being written. Writes go to `partial`, are made durable, and then get their name by a rename.
//!
//! Symbolic links in `objects` are never followed: an object is a plain file below plain folders. Who can write to the
//! folder while the store works in it is trusted; who sends keys is not.

mod files;
mod names;

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Attributes, Error, GetResult, GetResultPayload, MultipartId, ObjectMeta, PutPayload, Result};

use super::objects::{Objects, Parts, Unfinished, absent_is_fine};
use files::Tree;

/// How much of a file is read at once.
const READ_LENGTH: usize = 256 << 10;

/// A folder with objects in it.
#[derive(Debug)]
pub(super) struct LocalFolder {
    tree: Tree,
}

impl LocalFolder {
    /// Opens the store in `folder`, which is made if it is not there.
    pub(super) fn open(folder: &FilePath) -> io::Result<Self> {
        Ok(Self { tree: Tree::open(folder)? })
    }

    /// Where the object of `key` lies, whether it exists or not.
    pub(super) fn file_of(&self, key: &str) -> PathBuf {
        self.tree.file_of(key)
    }

    /// Runs `work`, which blocks, where that is no harm.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Tree, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tree, key) = (self.tree.clone(), path.to_string());
        let outcome = tokio::task::spawn_blocking(move || work(&tree, &key)).await?;
        outcome.map_err(|source| fold(path, source))
    }
}

#[async_trait]
impl Objects for LocalFolder {
    fn parts(&self) -> Parts {
        // A part is only copied to the page cache: 256 KiB of memory for an upload, and no order to keep.
        Parts { length: 128 << 10, in_flight: 1, limited: false }
    }

    async fn head(&self, path: &Path) -> Result<ObjectMeta> {
        let (_, found) = self.blocking(path, Tree::open_object).await?;
        meta(path.as_ref(), &found)
    }

    async fn get(&self, path: &Path, range: Range<u64>, e_tag: Option<String>) -> Result<GetResult> {
        let (file, found) = self.blocking(path, Tree::open_object).await?;
        let meta = meta(path.as_ref(), &found)?;
        if e_tag.is_some() && e_tag != meta.e_tag {
            return Err(Error::Precondition { path: path.to_string(), source: "the file is another one".into() });
        }
        let end = range.end.min(meta.size);
        let range = range.start.min(end)..end;
        Ok(GetResult {
            payload: GetResultPayload::Stream(content(path.clone(), file, range.clone()).boxed()),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Default::default(),
        })
    }

    async fn put(&self, path: &Path, content: PutPayload) -> Result<()> {
        self.blocking(path, move |tree, key| {
            let upload = tree.begin()?;
            let written = tree.write(&upload, 0, &content).and_then(|()| tree.publish(&upload, key));
            if written.is_err() {
                tree.forget(&upload)?;
            }
            written
        })
        .await
    }

    async fn begin(&self, path: &Path) -> Result<MultipartId> {
        self.blocking(path, |tree, _| tree.begin()).await
    }

    async fn part(&self, path: &Path, upload: &MultipartId, index: usize, content: PutPayload) -> Result<PartId> {
        let (upload, offset) = (upload.clone(), index as u64 * self.parts().length as u64);
        self.blocking(path, move |tree, _| tree.write(&upload, offset, &content)).await?;
        Ok(PartId { content_id: String::new() })
    }

    async fn complete(&self, path: &Path, upload: &MultipartId, _parts: Vec<PartId>) -> Result<()> {
        let upload = upload.clone();
        self.blocking(path, move |tree, key| tree.publish(&upload, key)).await
    }

    async fn abort(&self, path: &Path, upload: &MultipartId) -> Result<()> {
        let upload = upload.clone();
        absent_is_fine(self.blocking(path, move |tree, _| tree.forget(&upload)).await)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        absent_is_fine(self.blocking(path, Tree::delete).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let prefix = prefix.to_owned();
        let objects = self.blocking(&Path::ROOT, move |tree, _| tree.list(&prefix)).await?;
        // A file whose name is no possible key was put there by somebody else.
        Ok(objects.iter().filter_map(|(key, found)| meta(key, found).ok()).collect())
    }

    async fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let uploads = self.blocking(&Path::ROOT, |tree, _| tree.unfinished()).await?;
        let unfinished = |(upload, begun)| Unfinished { path: Path::ROOT, upload, begun };
        Ok(uploads.into_iter().map(unfinished).collect())
    }

    async fn adopt(&self, path: &Path, file: &FilePath) -> Result<bool> {
        let file = file.to_owned();
        self.blocking(path, move |tree, key| tree.adopt(&file, key)).await
    }

    fn abandon(&self, upload: &MultipartId) -> bool {
        self.tree.forget(upload).is_ok()
    }
}

/// The bytes of `file` in `range`; fewer if it ends before.
fn content(path: Path, file: File, range: Range<u64>) -> impl Stream<Item = Result<Bytes>> {
    stream::try_unfold((file, range.start), move |(file, start)| {
        let (path, end) = (path.clone(), range.end);
        async move {
            let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(READ_LENGTH);
            if length == 0 {
                return Ok(None);
            }
            let read = move || {
                let mut piece = vec![0; length];
                let read = read_at(&file, &mut piece, start)?;
                piece.truncate(read);
                Ok((Bytes::from(piece), file))
            };
            let (piece, file) = tokio::task::spawn_blocking(read).await?.map_err(|source| fold(&path, source))?;
            let next = start + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((piece, (file, next))))
        }
    })
}

/// Reads once, as often as a signal interrupts it.
fn read_at(file: &File, piece: &mut [u8], start: u64) -> io::Result<usize> {
    loop {
        match file.read_at(piece, start) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

fn meta(key: &str, found: &Metadata) -> Result<ObjectMeta> {
    let changed = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let since = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(ObjectMeta {
        location: Path::parse(key)?,
        last_modified: changed.into(),
        size: found.len(),
        // A replaced file is another inode, and one that is written to has another time or length.
        e_tag: Some(format!("\"{:x}-{:x}-{:x}\"", found.ino(), since.as_nanos(), found.len())),
        version: None,
    })
}

/// The operating system's error as `object_store` would give it.
fn fold(path: &Path, source: io::Error) -> Error {
    let path = path.to_string();
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: source.into() },
        _ => Error::Generic { store: "folder", source: source.into() },
    }
}
