//! Where a task's objects lie: a folder of this machine, a bucket of S3, or any other store of the crate `object_store`.
//!
//! A [`VideoKey`] is what a client calls its video; [`ObjectKey`]s are the objects that belong to it. A [`Store`] writes
//! them so that half an object is never visible, reads them through broken connections, and makes links to them that
//! expire.
//!
//! ```
//! use finalrip_core::store::{LocalConfig, Store, StoreConfig, VideoKey};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path().to_owned();
//! let store = Store::open(&StoreConfig::Local(LocalConfig { folder }))?;
//! let key = VideoKey::new("[Group] Täst 01 & more (1080p)+x.mkv")?.source();
//! let content = futures_util::stream::iter([Ok::<_, std::io::Error>("a film".into())]);
//! store.put_stream(&key, content, Some(6)).await?;
//! assert_eq!(store.head(&key).await?.map(|object| object.size), Some(6));
//! # Ok::<(), finalrip_core::store::StoreError>(())
//! # }).unwrap();
//! ```

mod config;
mod disposition;
mod download;
mod error;
mod key;
mod link;
mod listing;
mod local;
mod objects;
mod read;
mod retry;
mod s3;
mod sign;
#[cfg(test)]
mod tests;
mod upload;

use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

pub use config::{Credentials, LocalConfig, S3Config, StoreConfig};
pub use disposition::attachment;
pub use download::Downloaded;
pub(crate) use download::short_digest;
pub use error::{Cause, Operation, StoreError, StoreResult};
pub use key::{KeyError, ObjectKey, Part, VideoKey};
pub use link::LONGEST_LINK;
pub use read::Reader;
pub use retry::Retries;
pub use sign::{Access, Granted, LinkRefused};
pub(crate) use sign::{STRICT, Signer};
pub use upload::Upload;

use local::LocalFolder;
use objects::{Generic, Objects};
use s3::Bucket;

/// How many objects of a task are deleted at the same time.
const DELETIONS: usize = 8;

/// How often a download starts again because the object was replaced.
const REPLACEMENTS: usize = 3;

/// A store for the objects of tasks. Cheap to clone.
///
/// Every call needs a tokio runtime with time and, for S3, input and output enabled. Futures may be dropped at any point:
/// what was being written is then forgotten, and what was being downloaded can be continued.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    place: Place,
}

/// What every transfer needs.
#[derive(Debug, Clone)]
struct Client {
    objects: Arc<dyn Objects>,
    retries: Retries,
}

#[derive(Debug, Clone)]
enum Place {
    Local { folder: Arc<LocalFolder>, signer: Arc<Signer> },
    Bucket(Arc<Bucket>),
    Other,
}

/// What a store knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: SystemTime,
    /// Its ETag, with its quotes; another one means another content.
    pub e_tag: Option<String>,
}

impl Store {
    /// Opens a store. A local one is made if it is not there; of a remote one only the settings are checked (see
    /// [`Store::probe`]).
    ///
    /// # Errors
    /// [`StoreError::Setting`] names what cannot be; otherwise the folder cannot be used.
    pub fn open(config: &StoreConfig) -> StoreResult<Self> {
        match config {
            StoreConfig::Local(config) => Self::open_local(&config.folder),
            StoreConfig::S3(config) => {
                let bucket = Arc::new(Bucket::open(config)?);
                let client = Client { objects: Arc::<Bucket>::clone(&bucket), retries: config.retries };
                Ok(Self { client, place: Place::Bucket(bucket) })
            }
        }
    }

    fn open_local(folder: &FilePath) -> StoreResult<Self> {
        let failed = |source| StoreError::File { action: "open the store in", path: folder.to_owned(), source };
        let opened = Arc::new(LocalFolder::open(folder).map_err(failed)?);
        let signer = Arc::new(Signer::open(&folder.join("link-secret")).map_err(failed)?);
        // A disk does not come back in a moment, and may be busy for long.
        let retries = Retries { attempts: 1, time_out: Duration::MAX, ..Retries::default() };
        let client = Client { objects: Arc::<LocalFolder>::clone(&opened), retries };
        Ok(Self { client, place: Place::Local { folder: opened, signer } })
    }

    /// A store over any other one. It makes no links, and finds no unfinished uploads.
    pub fn over(objects: impl ObjectStore + MultipartStore, retries: Retries) -> Self {
        Self { client: Client { objects: Arc::new(Generic(objects)), retries }, place: Place::Other }
    }

    /// Whether the store answers and lets itself be listed.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn probe(&self) -> StoreResult<()> {
        self.list("finalrip-probe/").await.map(drop)
    }

    /// What is known of an object; `None` if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn head(&self, key: &ObjectKey) -> StoreResult<Option<StoredObject>> {
        let key = key.to_string();
        match self.client.head(&key, &path_of(&key)?).await {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Starts to write an object of `expected` bytes, or of unknown length.
    ///
    /// # Errors
    /// Never for a key that was checked.
    pub fn upload(&self, key: &ObjectKey, expected: Option<u64>) -> StoreResult<Upload> {
        let key = key.to_string();
        let path = path_of(&key)?;
        Ok(Upload::new(self.client.clone(), key, path, expected))
    }

    /// Writes all of `content`, in constant memory. When it is not as long as `expected`, nothing is kept.
    ///
    /// # Errors
    /// [`StoreError::Content`] for an error of the stream, [`StoreError::Length`] for a wrong length; otherwise the store
    /// failed. In every case nothing is left, and an older object of that key is as it was.
    pub async fn put_stream<S, E>(
        &self,
        key: &ObjectKey,
        content: S,
        expected: Option<u64>,
    ) -> StoreResult<StoredObject>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<io::Error>,
    {
        upload::from_stream(self.upload(key, expected)?, content).await
    }

    /// Writes a copy of `file`, in constant memory.
    ///
    /// # Errors
    /// As [`Store::put_stream`]; [`StoreError::File`] if the file cannot be opened.
    pub async fn put_file(&self, key: &ObjectKey, file: &FilePath) -> StoreResult<StoredObject> {
        let key = key.to_string();
        let path = path_of(&key)?;
        upload::from_file(self.client.clone(), key, path, file).await
    }

    /// Moves `file` into the store: by its name if it lies on a local store's file system, else by a copy. It is gone
    /// afterwards, and as it was after an error.
    ///
    /// # Errors
    /// As [`Store::put_file`].
    pub async fn publish(&self, key: &ObjectKey, file: &FilePath) -> StoreResult<StoredObject> {
        let text = key.to_string();
        let path = path_of(&text)?;
        let unreadable = |source| StoreError::File { action: "read", path: file.to_owned(), source };
        let about = tokio::fs::symlink_metadata(file).await.map_err(unreadable)?;
        let adopt = || self.client.objects.adopt(&path, file);
        if self.client.retries.run(Operation::Write, &text, adopt).await? {
            return self.client.head(&text, &path).await;
        }
        // What a link leads to is not what was made.
        if !about.is_file() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")));
        }
        let stored = self.put_file(key, file).await?;
        let failed = |source| StoreError::File { action: "remove", path: file.to_owned(), source };
        tokio::fs::remove_file(file).await.map_err(failed)?;
        Ok(stored)
    }

    /// Reads the bytes `range` of an object, counted from 0; a range that goes past the end ends there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Range`] for one that starts behind the end; otherwise the store failed.
    pub async fn read(&self, key: &ObjectKey, range: impl RangeBounds<u64>) -> StoreResult<Reader> {
        let key = key.to_string();
        let path = path_of(&key)?;
        let object = self.client.head(&key, &path).await?;
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => object.size,
        };
        if start > object.size || (start == object.size && start > 0) {
            return Err(StoreError::Range { key, size: object.size, start });
        }
        let range = start..end.clamp(start, object.size);
        Ok(Reader::new(self.client.clone(), path, object, range))
    }

    /// Makes `target` a copy of an object. What an interrupted download of the same object to the same place has left is
    /// continued; it lies beside `target` under a hidden name that ends in `.part`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Busy`] while another download does the same; otherwise the store or the
    /// file system failed. What has arrived stays for the next try.
    pub async fn download(&self, key: &ObjectKey, target: &FilePath) -> StoreResult<Downloaded> {
        let key = key.to_string();
        let path = path_of(&key)?;
        let mut replaced = 0;
        loop {
            let object = self.client.head(&key, &path).await?;
            match self.download_version(&path, object, target).await {
                Err(StoreError::Changed { .. }) if replaced < REPLACEMENTS => replaced += 1,
                outcome => return outcome,
            }
        }
    }

    async fn download_version(&self, path: &Path, object: StoredObject, target: &FilePath) -> StoreResult<Downloaded> {
        let (version, to) = (object.clone(), target.to_owned());
        let opened = tokio::task::spawn_blocking(move || download::Partial::open(version, to)).await;
        let ended =
            |error| StoreError::from_backend(Operation::Fetch, &object.key, 1, object_store::Error::from(error));
        let partial = opened.map_err(ended)??;
        let rest = partial.length..object.size;
        partial.fill(Reader::new(self.client.clone(), path.clone(), object, rest)).await
    }

    /// The file of an object that lies on this machine, so that it can be opened in place; `None` for a remote store.
    /// Nobody may write to it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the store failed.
    pub async fn local_path(&self, key: &ObjectKey) -> StoreResult<Option<PathBuf>> {
        let Place::Local { folder, .. } = &self.place else { return Ok(None) };
        let key = key.to_string();
        self.client.head(&key, &path_of(&key)?).await?;
        Ok(Some(folder.file_of(&key)))
    }

    /// Deletes an object. One that is not there is no error.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.delete_text(key.to_string()).await
    }

    async fn delete_text(&self, key: String) -> StoreResult<()> {
        let path = path_of(&key)?;
        self.client.retries.run(Operation::Delete, &key, || self.client.objects.delete(&path)).await
    }

    /// All objects of a task: its source, clips, encoded clips and result, in no order. Those of a video whose key only
    /// begins alike are not among them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn task_objects(&self, video: &VideoKey) -> StoreResult<Vec<(ObjectKey, StoredObject)>> {
        let found = self.list(video.as_str()).await?;
        let of_task = |object: StoredObject| Some((ObjectKey::of(video, &object.key)?, object));
        Ok(found.into_iter().filter_map(of_task).collect())
    }

    /// Deletes all objects of a task, the source last: as long as it is there, something may be left. Says how many there
    /// were; none is no error.
    ///
    /// # Errors
    /// The store failed. The same call again goes on.
    pub async fn delete_task(&self, video: &VideoKey) -> StoreResult<usize> {
        let found = self.task_objects(video).await?;
        self.delete_derived(&found).await?;
        self.delete(&video.source()).await?;
        Ok(found.len())
    }

    /// Deletes all objects of a task but its source. Says how many there were; none is no error.
    ///
    /// # Errors
    /// The store failed. The same call again goes on.
    pub async fn delete_results(&self, video: &VideoKey) -> StoreResult<usize> {
        self.delete_derived(&self.task_objects(video).await?).await
    }

    /// Deletes those of a task's objects that were made of its source.
    async fn delete_derived(&self, found: &[(ObjectKey, StoredObject)]) -> StoreResult<usize> {
        let derived = found.iter().filter(|(key, _)| key.part() != Part::Source);
        let derived: Vec<String> = derived.map(|(_, object)| object.key.clone()).collect();
        let count = derived.len();
        let deletions = futures_util::stream::iter(derived).map(|key| self.delete_text(key));
        deletions.buffer_unordered(DELETIONS).try_collect::<Vec<()>>().await?;
        Ok(count)
    }

    async fn list(&self, prefix: &str) -> StoreResult<Vec<StoredObject>> {
        let list = || self.client.objects.list(prefix);
        let found = self.client.retries.run(Operation::List, prefix, list).await?;
        Ok(found.into_iter().map(StoredObject::from).collect())
    }

    /// Removes uploads that a process has begun and not finished, and that were begun (locally: last written to) longer
    /// than `age` ago; says how many. At the start of the only process that uses the store, `age` can be zero. S3 itself
    /// gives up no upload unless the bucket has a rule for it. On S3 only uploads of what tasks make are removed: sources
    /// come in one piece, and others may keep other things in the bucket.
    ///
    /// # Errors
    /// The store failed. The same call again goes on.
    pub async fn remove_unfinished(&self, age: Duration) -> StoreResult<usize> {
        let Client { objects, retries } = &self.client;
        let found = retries.run(Operation::List, "unfinished uploads", || objects.unfinished()).await?;
        let now = SystemTime::now();
        let mut removed = 0;
        for upload in found {
            // One that was begun in the future, by another clock, is as old as can be told.
            if now.duration_since(upload.begun).unwrap_or_default() >= age {
                let abort = || objects.abort(&upload.path, &upload.upload);
                retries.run(Operation::Delete, upload.path.as_ref(), abort).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Client {
    async fn head(&self, key: &str, path: &Path) -> StoreResult<StoredObject> {
        let found = self.retries.run(Operation::Inspect, key, || self.objects.head(path)).await?;
        Ok(found.into())
    }
}

impl From<ObjectMeta> for StoredObject {
    fn from(found: ObjectMeta) -> Self {
        Self { key: found.location.into(), size: found.size, modified: found.last_modified.into(), e_tag: found.e_tag }
    }
}

/// The key as `object_store` knows it: unchanged.
fn path_of(key: &str) -> StoreResult<Path> {
    Path::parse(key).map_err(|source| StoreError::from_backend(Operation::Open, key, 1, source.into()))
}
