//! Writing an object whose content comes little by little.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutPayload};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::error::{Operation, StoreError, StoreResult};
use super::objects::Parts;
use super::{Client, StoredObject};

/// How much of a file is read at once.
const READ_LENGTH: usize = 256 << 10;

/// An object that is being written.
///
/// Nothing is visible under its key before [`Upload::finish`], which replaces what was there in one step. Memory is
/// constant: on a local folder 256 KiB, elsewhere four parts of 8 MiB (16 MiB if the length is not known; more for objects
/// of more than 80 GB). Parts are tried again; what was given to [`Upload::write`] is needed only once.
///
/// An upload that fails, or is dropped, is forgotten with all that was written. The process may die before that, or be
/// without a runtime: [`Store::remove_unfinished`](super::Store::remove_unfinished) finds what then lies about.
#[derive(Debug)]
pub struct Upload {
    client: Client,
    path: Path,
    key: String,
    expected: Option<u64>,
    cut: Parts,
    /// Less than one part.
    buffer: BytesMut,
    written: u64,
    begun: Option<Begun>,
}

/// An upload in parts, from its first full part on.
#[derive(Debug)]
struct Begun {
    id: Arc<MultipartId>,
    /// The ETag of the object that is to be replaced.
    before: Option<String>,
    count: usize,
    done: Vec<(usize, PartId)>,
    sending: JoinSet<StoreResult<(usize, PartId)>>,
}

impl Upload {
    pub(super) fn new(client: Client, key: String, path: Path, expected: Option<u64>) -> Self {
        let cut = client.objects.parts().cut_for(expected);
        Self { client, path, key, expected, cut, buffer: BytesMut::new(), written: 0, begun: None }
    }

    /// Takes the next piece; waits while as many parts as possible are on their way.
    ///
    /// # Errors
    /// The store failed for good, or there is more than was expected. The upload is of no use then: drop it.
    pub async fn write(&mut self, mut piece: Bytes) -> StoreResult<()> {
        self.written += piece.len() as u64;
        if let Some(expected) = self.expected.filter(|expected| self.written > *expected) {
            return Err(self.wrong_length(expected, self.written));
        }
        while piece.has_remaining() {
            // Copied, because a piece may keep a much larger buffer alive.
            let taken = piece.split_to(piece.len().min(self.cut.length - self.buffer.len()));
            self.buffer.extend_from_slice(&taken);
            if self.buffer.len() == self.cut.length {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes the object of all that was written.
    ///
    /// # Errors
    /// The store failed for good, or there is less than was expected. Nothing is left of the upload then.
    pub async fn finish(mut self) -> StoreResult<StoredObject> {
        let outcome = self.complete().await;
        if outcome.is_err() {
            self.abort().await;
        } else {
            self.begun = None;
        }
        outcome
    }

    /// Gives up, and waits until nothing is left of it.
    pub async fn abort(mut self) {
        let Some(begun) = self.begun.take() else { return };
        // A task of its own, which goes on when nobody waits for it any more.
        let forget = tokio::spawn(forget(self.client.clone(), self.path.clone(), self.key.clone(), begun));
        if let Err(error) = forget.await {
            tracing::warn!(key = self.key, %error, "an upload is left unfinished; the next start removes it");
        }
    }

    async fn complete(&mut self) -> StoreResult<StoredObject> {
        if let Some(expected) = self.expected.filter(|expected| *expected != self.written) {
            return Err(self.wrong_length(expected, self.written));
        }
        if self.begun.is_none() {
            let content = PutPayload::from_bytes(self.buffer.split().freeze());
            self.run(|| self.client.objects.put(&self.path, content.clone())).await?;
        } else {
            if !self.buffer.is_empty() {
                self.send_part().await?;
            }
            self.join_parts().await?;
        }
        let stored = self.client.head(&self.key, &self.path).await?;
        // Somebody else may have written the same key since; nobody may find half an object.
        if stored.size == self.written { Ok(stored) } else { Err(self.wrong_length(self.written, stored.size)) }
    }

    /// Sends the buffer on its way as the next part.
    async fn send_part(&mut self) -> StoreResult<()> {
        if self.begun.is_none() {
            self.begun = Some(self.begin().await?);
        }
        let content = PutPayload::from_bytes(self.buffer.split().freeze());
        let (client, path, key) = (self.client.clone(), self.path.clone(), self.key.clone());
        let Some(begun) = &mut self.begun else { return Ok(()) };
        while begun.sending.len() >= self.cut.in_flight {
            begun.join_one(&self.key).await?;
        }
        let (index, id) = (begun.count, Arc::clone(&begun.id));
        begun.count += 1;
        begun.sending.spawn(async move {
            let send = || client.objects.part(&path, &id, index, content.clone());
            Ok((index, client.retries.run(Operation::Write, &key, send).await?))
        });
        Ok(())
    }

    async fn begin(&self) -> StoreResult<Begun> {
        let before = match self.client.head(&self.key, &self.path).await {
            Err(error) if error.is_not_found() => None,
            found => found?.e_tag,
        };
        let id = Arc::new(self.run(|| self.client.objects.begin(&self.path)).await?);
        Ok(Begun { id, before, count: 0, done: Vec::new(), sending: JoinSet::new() })
    }

    async fn join_parts(&mut self) -> StoreResult<()> {
        let Some(begun) = &mut self.begun else { return Ok(()) };
        while !begun.sending.is_empty() {
            begun.join_one(&self.key).await?;
        }
        begun.done.sort_unstable_by_key(|(index, _)| *index);
        let parts: Vec<PartId> = begun.done.iter().map(|(_, part)| part.clone()).collect();
        let (id, before) = (Arc::clone(&begun.id), begun.before.clone());
        let outcome = self.run(|| self.client.objects.complete(&self.path, &id, parts.clone())).await;
        // When the answer to a first attempt is lost, the next one is told that there is no such upload any more.
        if outcome.is_err() && self.is_complete(before.as_deref()).await { Ok(()) } else { outcome }
    }

    /// Whether there is an object of this upload's length that was not there before.
    async fn is_complete(&self, before: Option<&str>) -> bool {
        let found = self.client.head(&self.key, &self.path).await;
        found.is_ok_and(|found| found.size == self.written && found.e_tag.as_deref() != before)
    }

    async fn run<T, F: Future<Output = object_store::Result<T>>>(&self, call: impl FnMut() -> F) -> StoreResult<T> {
        self.client.retries.run(Operation::Write, &self.key, call).await
    }

    fn wrong_length(&self, expected: u64, actual: u64) -> StoreError {
        StoreError::Length { operation: Operation::Write, key: self.key.clone(), expected, actual }
    }
}

impl Begun {
    async fn join_one(&mut self, key: &str) -> StoreResult<()> {
        match self.sending.join_next().await {
            None => {}
            Some(Ok(part)) => self.done.push(part?),
            Some(Err(error)) => {
                return Err(StoreError::from_backend(Operation::Write, key, 1, object_store::Error::from(error)));
            }
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        if self.client.objects.abandon(&begun.id) {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                drop(runtime.spawn(forget(self.client.clone(), self.path.clone(), self.key.clone(), begun)));
            }
            Err(_) => tracing::warn!(key = self.key, "an upload is left unfinished: there is no runtime to remove it"),
        }
    }
}

/// Removes what there is of an upload. It cannot fail the caller, who has failed already.
async fn forget(client: Client, path: Path, key: String, mut begun: Begun) {
    begun.sending.shutdown().await;
    let abort = || client.objects.abort(&path, &begun.id);
    if let Err(error) = client.retries.run(Operation::Write, &key, abort).await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(key, error, "an upload is left unfinished; the next start removes it");
    }
}

/// Writes all of `content`.
pub(super) async fn from_stream<S, E>(mut upload: Upload, content: S) -> StoreResult<StoredObject>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<std::io::Error>,
{
    let mut content = std::pin::pin!(content);
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(|error| StoreError::Content { key: upload.key.clone(), source: error.into() });
        let outcome = match piece {
            Ok(piece) => upload.write(piece).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            upload.abort().await;
            return Err(error);
        }
    }
    upload.finish().await
}

/// Writes all of `file`.
pub(super) async fn from_file(client: Client, key: String, path: Path, file: &FilePath) -> StoreResult<StoredObject> {
    let content = |source| StoreError::File { action: "read", path: file.to_owned(), source };
    let opened = tokio::fs::File::open(file).await.map_err(content)?;
    let length = opened.metadata().await.map_err(content)?.len();
    if client.objects.parts().is_too_large(length) {
        let reason = format!("it has {length} bytes, and an object can have {}", Parts::LARGEST);
        return Err(content(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)));
    }
    let pieces = futures_util::stream::try_unfold(opened, |mut opened| async move {
        let mut piece = BytesMut::with_capacity(READ_LENGTH);
        let read = opened.read_buf(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), opened)))
    });
    from_stream(Upload::new(client, key, path, Some(length)), pieces).await
}
