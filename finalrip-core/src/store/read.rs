//! Reading objects: as a stream that survives a broken connection, and into a file that can be continued.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use object_store::path::Path;

use super::error::{Operation, StoreError, StoreResult};
use super::retry::within;
use super::{Client, StoredObject};

/// The bytes of an object, or of a part of it.
///
/// When the connection breaks the rest is asked for again, as long as the object is the same. What was promised is what
/// comes: a reader that ends without an error has given every byte.
pub struct Reader {
    client: Client,
    path: Path,
    object: StoredObject,
    range: Range<u64>,
    body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    /// Failures since the last byte.
    failures: u32,
}

impl Reader {
    pub(super) fn new(client: Client, path: Path, object: StoredObject, range: Range<u64>) -> Self {
        Self { client, path, object, range, body: None, failures: 0 }
    }

    /// The whole object's size, age and ETag.
    #[must_use]
    pub fn object(&self) -> &StoredObject {
        &self.object
    }

    /// What is still to come, in bytes from the object's start.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The store failed more often than it is asked again, or the object was replaced ([`StoreError::Changed`]).
    pub async fn next(&mut self) -> StoreResult<Option<Bytes>> {
        while !self.range.is_empty() {
            match self.piece().await {
                Ok(Some(piece)) => return Ok(Some(piece)),
                // An end too early is a broken connection.
                Ok(None) => self.failed(ended_early())?,
                Err(error) => self.failed(error)?,
            }
            tokio::time::sleep(self.client.retries.pause_after(self.failures)).await;
        }
        Ok(None)
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = StoreResult<Bytes>> + Send {
        stream::try_unfold(self, |mut reader| async move { Ok(reader.next().await?.map(|piece| (piece, reader))) })
    }

    async fn piece(&mut self) -> object_store::Result<Option<Bytes>> {
        let time_out = self.client.retries.time_out;
        if self.body.is_none() {
            let get = self.client.objects.get(&self.path, self.range.clone(), self.object.e_tag.clone());
            let found = within(time_out, get).await?;
            if found.meta.size != self.object.size || found.range.start != self.range.start {
                return Err(replaced(&self.path));
            }
            self.body = Some(found.into_stream());
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        while let Some(piece) = within(time_out, async { body.next().await.transpose() }).await? {
            let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
            let piece = piece.slice(..piece.len().min(left));
            if !piece.is_empty() {
                self.range.start += piece.len() as u64;
                self.failures = 0;
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Counts a failure; gives it back when it is the last.
    fn failed(&mut self, error: object_store::Error) -> StoreResult<()> {
        self.body = None;
        self.failures += 1;
        let error = StoreError::from_backend(Operation::Read, &self.object.key, self.failures, error);
        let again = matches!(error, StoreError::Unavailable { .. }) && self.failures < self.client.retries.attempts;
        if !again {
            return Err(error);
        }
        tracing::debug!(key = self.object.key, failures = self.failures, %error, "reading goes on after a failure");
        Ok(())
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("object", &self.object).field("range", &self.range).finish_non_exhaustive()
    }
}

fn ended_early() -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    object_store::Error::Generic { store: "store", source: source.into() }
}

fn replaced(path: &Path) -> object_store::Error {
    object_store::Error::Precondition { path: path.to_string(), source: "the object has another size".into() }
}
