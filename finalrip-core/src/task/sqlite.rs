//! A ledger in one file: SQLite behind [`Ledger`].
//!
//! One thread writes: every transition is one transaction that takes the write lock first, and is on the disk when the
//! call returns. Other threads read, which write-ahead logging lets them do meanwhile. A lock file beside the database
//! keeps a second process away, so whatever is leased in a database that is opened was leased by a process that is gone.

mod fault;
mod finish;
mod lease;
mod manage;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod thread;
mod transaction;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use self::fault::Fault;
use self::thread::Connections;
use self::transaction::{Transaction, transact};
use super::clock::Clock;
use super::error::{LedgerError, LedgerResult};
use super::ledger::{ChangeLog, Changes, Ledger, LedgerOptions};
use super::log::LogPage;
use super::records::{
    AfterFailure, Counters, Failure, FencingToken, Lease, LeaseInfo, Outcome, Overrides, TaskFilter, TaskId, TaskJob,
    TaskProgress, TaskRecord, WorkId, WorkProgress,
};
use super::state::TaskState;
use crate::locks;

/// Threads that read. More would only take turns on a small machine.
const READERS: usize = 2;

/// What was found when a ledger was opened, and had to be mended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Work that a process which is gone had leased, with its task's key. It is queued again, and no attempt was used
    /// up. Half-written objects of it can be removed.
    pub interrupted: Vec<(String, WorkId)>,
}

/// A ledger in a file.
///
/// Dropping it finishes the calls that are under way, which takes a moment, and frees the file.
#[derive(Debug)]
pub struct SqliteLedger {
    // In the order in which they are dropped: the writer closes last, and tidies up; then the lock goes.
    readers: Option<Connections>,
    writer: Connections,
    path: Arc<Path>,
    options: LedgerOptions,
    clock: Arc<dyn Clock>,
    changed: watch::Sender<ChangeLog>,
    recovery: Recovery,
    _lock: Option<File>,
}

impl SqliteLedger {
    /// Opens the ledger in the file `path`, or makes it; its folder has to be there. Beside it lie SQLite's `-wal` and
    /// `-shm`, and `.lock`. Blocks while it does so: call it before serving.
    ///
    /// # Errors
    /// [`LedgerError::Input`] for options out of range, [`LedgerError::InUse`] while another process has it,
    /// [`LedgerError::Corrupt`], [`LedgerError::NewerSchema`], [`LedgerError::Foreign`], [`LedgerError::Storage`].
    pub fn open(path: impl AsRef<Path>, options: LedgerOptions, clock: Arc<dyn Clock>) -> LedgerResult<Self> {
        options.check()?;
        let path = path.as_ref();
        let lock = lock(path)?;
        let connect = |flags| Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let open = || -> Result<_, Fault> {
            let mut db = connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
            // Before anything is changed: a file that is not ours stays as it is.
            schema::refuse_others(&db, path)?;
            schema::prepare_writer(&db)?;
            schema::migrate(&mut db)?;
            let reader = || -> Result<_, Fault> {
                let db = connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                schema::prepare_reader(&db)?;
                Ok(db)
            };
            let readers = (0..READERS).map(|_| reader()).collect::<Result<Vec<_>, _>>()?;
            Ok((db, readers))
        };
        let (db, readers) = open().map_err(|fault| fault.about(path))?;
        let readers = Connections::start("reader", readers)?;
        Self::start(db, Some(readers), Some(lock), path, (options, clock))
    }

    /// A ledger that is gone when it is dropped: for tests, and for trying things out.
    ///
    /// # Errors
    /// [`LedgerError::Input`] for options out of range.
    pub fn in_memory(options: LedgerOptions, clock: Arc<dyn Clock>) -> LedgerResult<Self> {
        options.check()?;
        let path = Path::new(":memory:");
        let open = || -> Result<_, Fault> {
            let mut db = Connection::open_in_memory()?;
            schema::prepare_writer(&db)?;
            schema::migrate(&mut db)?;
            Ok(db)
        };
        Self::start(open().map_err(|fault| fault.about(path))?, None, None, path, (options, clock))
    }

    fn start(
        mut db: Connection,
        readers: Option<Connections>,
        lock: Option<File>,
        path: &Path,
        (options, clock): (LedgerOptions, Arc<dyn Clock>),
    ) -> LedgerResult<Self> {
        let recovered = transact(&mut db, options, &*clock, |transaction| transaction.recover());
        let interrupted = recovered.map_err(|fault| fault.about(path))?.value;
        let writer = Connections::start("writer", vec![db])?;
        let recovery = Recovery { interrupted };
        let path = path.into();
        let changed = watch::Sender::default();
        Ok(Self { readers, writer, path, options, clock, changed, recovery, _lock: lock })
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Milliseconds of the clock that only goes forward.
    fn now(&self) -> i64 {
        i64::try_from(self.clock.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Runs a transition on the writer's thread.
    async fn transition<T: Send + 'static>(
        &self,
        steps: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> LedgerResult<T> {
        self.transition_heard(steps, |_, _| Ok(())).await
    }

    /// Runs a transition on the writer's thread, and another one when nobody waits for its value any more.
    async fn transition_heard<T: Send + 'static>(
        &self,
        steps: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
        unheard: impl FnOnce(&Transaction<'_>, T) -> Result<(), Fault> + Send + 'static,
    ) -> LedgerResult<T> {
        let writer = Writer {
            options: self.options,
            clock: Arc::clone(&self.clock),
            path: Arc::clone(&self.path),
            changed: self.changed.clone(),
        };
        let second = writer.clone();
        let unheard = move |db: &mut Connection, value| {
            if let Err(error) = second.transition(db, |transaction| unheard(transaction, value)) {
                tracing::warn!("the ledger could not take back what nobody waited for: {error}");
            }
        };
        self.writer.run(move |db| writer.transition(db, steps), unheard).await
    }

    /// Reads on a reader's thread.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> LedgerResult<T> {
        let path = Arc::clone(&self.path);
        let job = move |db: &mut Connection| read(db).map_err(|fault| fault.about(&path));
        self.readers.as_ref().unwrap_or(&self.writer).run(job, |_, _| {}).await
    }
}

/// What the writer's thread has to know besides its connection.
#[derive(Clone)]
struct Writer {
    options: LedgerOptions,
    clock: Arc<dyn Clock>,
    path: Arc<Path>,
    changed: watch::Sender<ChangeLog>,
}

impl Writer {
    /// One transaction; whoever waits for changes is told if there were any.
    fn transition<T>(
        &self,
        db: &mut Connection,
        steps: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> LedgerResult<T> {
        let before = db.total_changes();
        let done = transact(db, self.options, &*self.clock, steps).map_err(|fault| fault.about(&self.path))?;
        if db.total_changes() != before {
            self.changed.send_modify(|log| log.note(&done.records));
        }
        Ok(done.value)
    }
}

/// Takes the lock file beside the database.
fn lock(path: &Path) -> LedgerResult<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error: io::Error| LedgerError::Storage { path: name.clone(), reason: error.to_string() };
    let lock = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
    match locks::try_lock(&lock) {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn create(&self, key: &str) -> LedgerResult<TaskId> {
        let key = key.to_owned();
        self.transition(move |transaction| transaction.create(&key)).await
    }

    async fn start(&self, key: &str, job: TaskJob) -> LedgerResult<()> {
        let key = key.to_owned();
        self.transition(move |transaction| transaction.start(&key, &job)).await
    }

    async fn retry_encode(&self, key: &str, index: u32, overrides: Overrides) -> LedgerResult<()> {
        let key = key.to_owned();
        self.transition(move |transaction| transaction.retry_encode(&key, index, &overrides)).await
    }

    async fn retry_merge(&self, key: &str) -> LedgerResult<()> {
        let key = key.to_owned();
        self.transition(move |transaction| transaction.retry_merge(&key)).await
    }

    async fn cancel(&self, key: &str) -> LedgerResult<()> {
        let key = key.to_owned();
        self.transition(move |transaction| transaction.cancel(&key)).await
    }

    async fn clear(&self, key: &str) -> LedgerResult<TaskId> {
        let key = key.to_owned();
        self.transition(move |transaction| transaction.clear(&key)).await
    }

    async fn forget(&self, task: TaskId) -> LedgerResult<()> {
        self.transition(move |transaction| transaction.forget(task)).await
    }

    async fn lease_next(&self, worker: &str) -> LedgerResult<Option<Lease>> {
        let worker = worker.to_owned();
        let give_back = |transaction: &Transaction<'_>, lease: Option<Lease>| {
            lease.map_or(Ok(()), |lease| transaction.give_back(lease.token))
        };
        self.transition_heard(move |transaction| transaction.lease_next(&worker), give_back).await
    }

    async fn heartbeat(&self, token: FencingToken, progress: WorkProgress) -> LedgerResult<()> {
        let (options, clock, path) = (self.options, Arc::clone(&self.clock), Arc::clone(&self.path));
        let job = move |db: &mut Connection| {
            let beat = schema::without_sync(db, |db| {
                transact(db, options, &*clock, |transaction| transaction.heartbeat(token, progress))
            });
            beat.map(|done| done.value).map_err(|fault| fault.about(&path))
        };
        self.writer.run(job, |_, ()| {}).await
    }

    async fn complete(&self, token: FencingToken, outcome: Outcome) -> LedgerResult<TaskState> {
        self.transition(move |transaction| transaction.complete(token, &outcome)).await
    }

    async fn fail(&self, token: FencingToken, failure: Failure) -> LedgerResult<AfterFailure> {
        self.transition(move |transaction| transaction.fail(token, &failure)).await
    }

    async fn give_back(&self, token: FencingToken) -> LedgerResult<()> {
        self.transition(move |transaction| transaction.give_back(token)).await
    }

    async fn expire_leases(&self) -> LedgerResult<Vec<LeaseInfo>> {
        // As of now: heartbeats that wait for the disk before it are then noted first, however long that takes.
        let now = self.now();
        self.transition(move |transaction| transaction.expire(now)).await
    }

    async fn task(&self, key: &str) -> LedgerResult<TaskRecord> {
        let key = key.to_owned();
        self.read(move |db| read::task(db, &key)).await
    }

    async fn progress(&self, key: &str) -> LedgerResult<TaskProgress> {
        let key = key.to_owned();
        self.read(move |db| read::progress(db, &key)).await
    }

    async fn list(&self, filter: TaskFilter) -> LedgerResult<Vec<TaskRecord>> {
        self.read(move |db| read::list(db, &filter)).await
    }

    async fn log(&self, key: &str, after: u64, limit: u32) -> LedgerResult<LogPage> {
        let key = key.to_owned();
        self.read(move |db| read::log(db, &key, after, limit)).await
    }

    async fn leases(&self) -> LedgerResult<Vec<LeaseInfo>> {
        let now = self.now();
        self.read(move |db| read::leases(db, now)).await
    }

    async fn counters(&self) -> LedgerResult<Counters> {
        self.read(read::counters).await
    }

    fn changes(&self) -> Changes {
        Changes::new(self.changed.subscribe())
    }
}
