//! What the store needs of the place where its objects lie.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path as FilePath;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, MultipartId, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, PutPayload,
    Result,
};

/// A place for objects: a folder, S3, or any other [`ObjectStore`].
///
/// [`Store`](super::Store) is the only caller; it tries again, checks lengths and folds errors. Implementations
/// - make an object visible only when it is complete, and then replace what had its key in one step ([`Objects::put`],
///   [`Objects::complete`], [`Objects::adopt`]);
/// - may be called again with the same arguments after an error, also when the first call worked in the end;
/// - are dropped in the middle of any call when the caller gives up, and then leave at most an unfinished upload, which
///   [`Objects::unfinished`] finds.
#[async_trait]
pub(super) trait Objects: Debug + Send + Sync + 'static {
    /// How uploads are best cut.
    fn parts(&self) -> Parts;

    /// Size, age and ETag of an object.
    async fn head(&self, path: &Path) -> Result<ObjectMeta>;

    /// A piece of the object, only if it still has the ETag.
    async fn get(&self, path: &Path, range: Range<u64>, e_tag: Option<String>) -> Result<GetResult>;

    /// Writes a small object at once.
    async fn put(&self, path: &Path, content: PutPayload) -> Result<()>;

    /// Starts an upload in parts.
    async fn begin(&self, path: &Path) -> Result<MultipartId>;

    /// Writes the part `index`, from 0. All parts but the last are of one length.
    async fn part(&self, path: &Path, upload: &MultipartId, index: usize, content: PutPayload) -> Result<PartId>;

    /// Makes an object of the parts, in their order.
    async fn complete(&self, path: &Path, upload: &MultipartId, parts: Vec<PartId>) -> Result<()>;

    /// Forgets an upload. One that is not there is no error.
    async fn abort(&self, path: &Path, upload: &MultipartId) -> Result<()>;

    /// Deletes an object. One that is not there is no error.
    async fn delete(&self, path: &Path) -> Result<()>;

    /// All objects whose keys start with `prefix`, in any order.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>>;

    /// Uploads that were begun and neither completed nor aborted, those of other processes included.
    async fn unfinished(&self) -> Result<Vec<Unfinished>>;

    /// Makes `file` the object in one step, without copying, if it lies where that is possible; `false` otherwise.
    async fn adopt(&self, _path: &Path, _file: &FilePath) -> Result<bool> {
        Ok(false)
    }

    /// Forgets an upload without waiting, where that is possible; `false` when it takes [`Objects::abort`]. Called from
    /// `drop`, perhaps outside of any runtime.
    fn abandon(&self, _upload: &MultipartId) -> bool {
        false
    }
}

/// How an upload is cut into parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// The length of a part in bytes. Larger ones are used for objects that would have more than [`Parts::MOST`].
    pub(super) length: usize,
    /// How many are on their way at the same time.
    pub(super) in_flight: usize,
    /// Whether the place sets a limit on the number of parts.
    pub(super) limited: bool,
}

impl Parts {
    /// The most parts that S3 takes.
    pub(super) const MOST: u64 = 10_000;

    /// The largest object in bytes: S3's 5 TiB.
    pub(super) const LARGEST: u64 = 5 << 40;

    /// The most memory for parts that are on their way, in bytes, unless one alone is larger.
    const MEMORY: usize = 64 << 20;

    /// Of 8 MiB (S3 wants 5 MiB at least), three at once: 32 MiB of memory for an upload.
    pub(super) const REMOTE: Self = Self { length: 8 << 20, in_flight: 3, limited: true };

    /// How an object of `expected` bytes is cut; one that is too large is not, and must be refused.
    pub(super) fn cut_for(&self, expected: Option<u64>) -> Self {
        let length = match expected {
            _ if !self.limited => self.length,
            // Of unknown length: 160 GB fit.
            None => self.length * 2,
            Some(expected) => {
                let needed = expected.min(Self::LARGEST).div_ceil(Self::MOST).next_multiple_of(1 << 20);
                self.length.max(usize::try_from(needed).unwrap_or(usize::MAX))
            }
        };
        Self { length, in_flight: self.in_flight.min(Self::MEMORY / length).max(1), ..*self }
    }

    /// Whether an object of `expected` bytes is larger than any may be.
    pub(super) fn is_too_large(&self, expected: u64) -> bool {
        self.limited && expected > Self::LARGEST
    }
}

/// An upload that nobody has finished.
#[derive(Debug, Clone)]
pub(super) struct Unfinished {
    pub(super) path: Path,
    pub(super) upload: MultipartId,
    pub(super) begun: SystemTime,
}

/// Any store that takes uploads in parts.
#[derive(Debug)]
pub(super) struct Generic<T>(pub(super) T);

#[async_trait]
impl<T: ObjectStore + MultipartStore> Objects for Generic<T> {
    fn parts(&self) -> Parts {
        Parts::REMOTE
    }

    async fn head(&self, path: &Path) -> Result<ObjectMeta> {
        self.0.head(path).await
    }

    async fn get(&self, path: &Path, range: Range<u64>, e_tag: Option<String>) -> Result<GetResult> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match: e_tag, ..GetOptions::default() };
        self.0.get_opts(path, options).await
    }

    async fn put(&self, path: &Path, content: PutPayload) -> Result<()> {
        self.0.put_opts(path, content, PutOptions::default()).await.map(drop)
    }

    async fn begin(&self, path: &Path) -> Result<MultipartId> {
        self.0.create_multipart(path).await
    }

    async fn part(&self, path: &Path, upload: &MultipartId, index: usize, content: PutPayload) -> Result<PartId> {
        self.0.put_part(path, upload, index, content).await
    }

    async fn complete(&self, path: &Path, upload: &MultipartId, parts: Vec<PartId>) -> Result<()> {
        self.0.complete_multipart(path, upload, parts).await.map(drop)
    }

    async fn abort(&self, path: &Path, upload: &MultipartId) -> Result<()> {
        absent_is_fine(self.0.abort_multipart(path, upload).await)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        absent_is_fine(self.0.delete(path).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        // `ObjectStore::list` knows whole folders only.
        let folder = prefix.rsplit_once('/').map(|(folder, _)| Path::parse(folder)).transpose()?;
        let all: Vec<ObjectMeta> = self.0.list(folder.as_ref()).try_collect().await?;
        Ok(all.into_iter().filter(|object| object.location.as_ref().starts_with(prefix)).collect())
    }

    async fn unfinished(&self) -> Result<Vec<Unfinished>> {
        // The interface does not tell; what runs in memory has none that survive.
        Ok(Vec::new())
    }
}

/// To delete what is not there is to have deleted it.
pub(super) fn absent_is_fine(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_long_enough_for_any_object() {
        const MIB: u64 = 1 << 20;
        for (expected, length) in [(0, 8), (8, 8), (78_125, 8), (80_001, 9), (1 << 20, 105), (5 << 20, 525)] {
            let cut = Parts::REMOTE.cut_for(Some(expected * MIB));
            let parts = cut.length as u64;
            assert_eq!(parts, length * MIB, "{expected} MiB");
            assert!((expected * MIB).div_ceil(parts) <= Parts::MOST);
            assert!(cut.in_flight == 1 || cut.in_flight * cut.length <= Parts::MEMORY);
            assert!(!Parts::REMOTE.is_too_large(expected * MIB));
        }
        assert!(Parts::REMOTE.is_too_large(Parts::LARGEST + 1));
        assert_eq!(Parts::REMOTE.cut_for(Some(u64::MAX)).length as u64, 525 * MIB);
    }
}
