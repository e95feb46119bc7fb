//! The service without HTTP: tasks are made, started, followed, retried, cancelled and cleared; workers do what there is
//! to do.
//!
//! Everything that must survive is in the ledger and in the store. What this module holds in memory, a restart finds
//! again: who works on what, and how much was moved.

mod clip;
mod copies;
mod error;
mod follow;
mod requests;
mod running;
mod sources;
mod space;
mod version;
mod worker;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use error::{ErrorKind, TaskError, TaskResult};
pub use follow::Event;
pub use requests::{CheckRequest, CheckedPart, Presigned, Problem, StartRequest, TaskView};

use self::clip::Cuts;
use self::running::Running;
use self::sources::{Place, Sources};
use self::worker::{Worker, stopped};
use super::error::{LedgerError, LedgerResult};
use super::ledger::Ledger;
use super::process::{EncoderProgram, ProcessOptions, sweep_scratch};
use super::records::{Counters, Lease, LeaseInfo, TaskFilter, TaskId};
use super::state::TaskState;
use crate::error::chain;
use crate::rip::plan::ChunkLength;
use crate::store::{LONGEST_LINK, ObjectKey, Signer, Store, VideoKey};

/// How often overdue leases are ended.
const EXPIRY: Duration = Duration::from_secs(2);

/// How often what was left half done is looked for.
const TIDYING: Duration = Duration::from_secs(60);

/// How long the store may take to answer when a service is opened; without an answer it goes on.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a worker waits before it calls a store again that has not answered.
const AGAIN: Duration = Duration::from_secs(1);

/// How many processes check scripts and cut clips at the same time, beside the workers.
const HELPERS: usize = 2;

/// The default of [`ServiceOptions::source_cache`]: 100 GiB.
pub const SOURCE_CACHE: u64 = 100 << 30;

/// How a service goes about its work.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// Pieces of work that are done at the same time, each by an encoder process of its own. Default: 1. More use many
    /// processors better, and take more memory; 0 makes a service that only answers.
    pub workers: usize,
    /// How long a clip should be. Default: [`ChunkLength::Auto`], at most a minute.
    pub clip: ChunkLength,
    /// How encoder processes are started, and what they may do.
    pub process: ProcessOptions,
    /// The folder for downloaded sources, indexes and scratch files. With a local store it should be on the store's file
    /// system: results are then moved, and not copied.
    pub data: PathBuf,
    /// The most that downloaded sources may take, in bytes. Default: [`SOURCE_CACHE`]. Only used with a remote store.
    pub source_cache: u64,
    /// How long a worker waits for a store that does not answer, or fails in a way that may pass, before its attempt has
    /// failed. Default: 10 minutes. While it waits it does nothing else; with less, a store that is away for that long
    /// costs the attempts of all that is queued.
    pub store_patience: Duration,
    /// How long links hold. Default: 48 hours.
    pub link_lifetime: Duration,
}

impl ServiceOptions {
    /// The defaults, for a folder and a program whose `arguments` make it an encoder process.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, program: EncoderProgram) -> Self {
        let data = data.into();
        Self {
            workers: 1,
            clip: ChunkLength::Auto,
            process: ProcessOptions::new(program, data.join("scratch")),
            data,
            source_cache: SOURCE_CACHE,
            store_patience: Duration::from_secs(10 * 60),
            link_lifetime: Duration::from_secs(48 * 60 * 60),
        }
    }
}

/// The service. Cheap to clone; all clones are the same service.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Arc<dyn Ledger>,
    store: Store,
    options: ServiceOptions,
    /// Threads for each encoder; `None` leaves it the whole machine.
    threads: Option<usize>,
    sources: Sources,
    running: Running,
    cuts: Cuts,
    /// Signs links to what this service serves itself.
    links: Signer,
    helpers: Arc<Semaphore>,
    /// Turns for cuts, which may take long: those who start a task do not wait behind them.
    cutters: Semaphore,
    /// Held while the objects of a cleared task are deleted.
    clearing: tokio::sync::Mutex<()>,
    /// Tasks whose source stays when they are cleared.
    keeping: Mutex<HashSet<TaskId>>,
    stored: AtomicU64,
    fetched: AtomicU64,
}

/// Numbers for an operator.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// What the ledger counts.
    pub counters: Counters,
    /// Frames a second of everything that is being encoded, together.
    pub fps: f64,
    /// Workers.
    pub workers: usize,
    /// Who has what.
    pub leases: Vec<LeaseInfo>,
    /// Bytes that workers have put into the store since the start.
    pub stored_bytes_total: u64,
    /// Bytes that workers have fetched from a remote store since the start.
    pub fetched_bytes_total: u64,
}

impl Service {
    /// Makes the service's folders, and removes what a killed process has left in them. Nothing runs yet. No other
    /// service may use the same folder or the same ledger.
    ///
    /// # Errors
    /// [`TaskError::Folder`] for a folder that cannot be used, [`TaskError::Setting`] for an option that makes no sense.
    pub async fn open(ledger: Arc<dyn Ledger>, store: Store, options: ServiceOptions) -> TaskResult<Self> {
        check_options(&options)?;
        let (folder, scratch) = (options.data.clone(), options.process.scratch.clone());
        let sources = Sources::open(store.clone(), &folder, options.source_cache)?;
        let swept = make_folder(&scratch).and_then(|()| copies::sweep(&scratch));
        let swept = swept.and_then(|()| sweep_scratch(&scratch));
        let swept = swept.map_err(TaskError::at("cannot tidy up", &scratch))?;
        if swept > 0 {
            tracing::info!(folders = swept, "removed what killed processes had left");
        }
        // Before anybody uploads: what is unfinished now nobody is working on.
        let unfinished = tokio::time::timeout(PATIENCE, store.remove_unfinished(Duration::ZERO)).await;
        match unfinished {
            Ok(Ok(0)) => {}
            Ok(Ok(removed)) => tracing::info!(removed, "removed unfinished uploads"),
            Ok(Err(error)) => tracing::error!("unfinished uploads stay for now: {}", chain(&error)),
            Err(_) => tracing::error!("unfinished uploads stay for now: the store does not answer"),
        }
        let secret = folder.join("link-secret");
        let links = Signer::open(&secret).map_err(TaskError::at("cannot keep a secret in", &secret))?;
        let threads = (options.workers > 1).then(|| crate::rip::share_of(options.workers));
        Ok(Self(Arc::new(Inner {
            ledger,
            store,
            threads,
            sources,
            running: Running::default(),
            cuts: Cuts::default(),
            links,
            helpers: Arc::new(Semaphore::new(HELPERS)),
            cutters: Semaphore::new(HELPERS),
            clearing: tokio::sync::Mutex::default(),
            keeping: Mutex::default(),
            stored: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            options,
        })))
    }

    /// Works until `stop` is true, or its sender is gone: leases what there is to do, ends overdue leases, and finishes
    /// what was left half done. What runs at the end is stopped and given back.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for number in 0..self.0.options.workers {
            tasks.spawn(Worker::new(Arc::clone(&self.0), number).run(stop.clone()));
        }
        tasks.spawn(expire(Arc::clone(&self.0), stop.clone()));
        tasks.spawn(tidy(Arc::clone(&self.0), stop));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("internal error: a part of the service has ended: {error}; please report it");
            }
        }
    }

    /// Where objects are.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where states are.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.0.ledger
    }

    /// How it goes about its work.
    #[must_use]
    pub fn options(&self) -> &ServiceOptions {
        &self.0.options
    }

    /// Whether work can be done: the disk has room and can be written to, ledger and store answer.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn ready(&self) -> TaskResult<()> {
        space::check(&self.0.options.data)?;
        self.0.ledger.counters().await?;
        Ok(self.0.store.probe().await?)
    }

    /// Numbers for an operator.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn figures(&self) -> TaskResult<Figures> {
        let Inner { ledger, options, stored, fetched, .. } = &*self.0;
        let leases = ledger.leases().await?;
        let mut keys: Vec<&str> = leases.iter().map(|lease| lease.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut fps = 0.0;
        for key in keys {
            match ledger.progress(key).await {
                Ok(progress) => fps += progress.fps(),
                Err(LedgerError::UnknownTask) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Figures {
            counters: ledger.counters().await?,
            fps,
            workers: options.workers,
            leases,
            stored_bytes_total: stored.load(Ordering::Relaxed),
            fetched_bytes_total: fetched.load(Ordering::Relaxed),
        })
    }
}

impl Inner {
    fn stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    fn fetched(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Calls the store until it answers, or has failed for too long: what was made is worth waiting for, and the next piece
    /// of work would fail as this one.
    async fn wait_for_store<T, F: Future<Output = TaskResult<T>>>(&self, call: impl Fn() -> F) -> TaskResult<T> {
        let begin = tokio::time::Instant::now();
        loop {
            match call().await {
                Err(TaskError::Store(error))
                    if error.is_retriable() && begin.elapsed() < self.options.store_patience =>
                {
                    tracing::warn!("waiting for the store: {}", chain(&error));
                    sleep(AGAIN).await;
                }
                answered => return answered,
            }
        }
    }

    /// The source of a task, brought here if need be.
    async fn place(&self, video: &VideoKey) -> TaskResult<Place> {
        let place = self.sources.place(video).await?;
        self.fetched(place.fetched);
        Ok(place)
    }

    /// Whether a task is gone or being cleared. Another one may have its key by now.
    async fn is_over(&self, key: &str, task: TaskId) -> LedgerResult<bool> {
        match self.ledger.task(key).await {
            Ok(found) => Ok(found.id != task || found.state == TaskState::Clearing),
            Err(LedgerError::UnknownTask) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes an object that was stored for a lease which has ended meanwhile, if its task is gone: otherwise the next
    /// attempt replaces it.
    async fn take_back(&self, lease: &Lease, key: &ObjectKey) {
        let over = self.is_over(&lease.key, lease.task).await == Ok(true);
        if over && let Err(error) = self.store.delete(key).await {
            tracing::warn!(%key, "the object of a cleared task stays: {error}");
        }
    }

    /// The second part of clearing a task: waits for what still runs of it, and deletes everything.
    async fn finish_clearing(&self, video: &VideoKey, task: TaskId) -> TaskResult<()> {
        self.running.wait_for_end(task).await;
        let _alone = self.clearing.lock().await;
        // Somebody else may have finished it meanwhile, and a client uploaded under the same key again.
        match self.ledger.task(video.as_str()).await {
            Ok(found) if found.id == task && found.state == TaskState::Clearing => {}
            Ok(_) | Err(LedgerError::UnknownTask) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let keeps = self.keeping.lock().unwrap_or_else(PoisonError::into_inner).contains(&task);
        if keeps {
            self.store.delete_results(video).await?;
        } else {
            self.store.delete_task(video).await?;
        }
        // A folder that cannot be removed is tried again later; the task is none the less gone.
        if let Err(error) = self.sources.forget(video) {
            tracing::error!(key = video.as_str(), "{}", chain(&error));
        }
        self.ledger.forget(task).await?;
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
        Ok(())
    }

    /// Finishes what a process that was killed, or a store that did not answer, left half done; `false` when something of
    /// a task that is gone is still being used.
    async fn tidy(&self) -> TaskResult<bool> {
        let mut all = true;
        for task in self.ledger.list(TaskFilter::states([TaskState::Clearing])).await? {
            let video = VideoKey::new(task.key.as_str())?;
            tracing::info!(key = task.key, "going on with clearing");
            if let Err(error) = self.finish_clearing(&video, task.id).await {
                tracing::error!(key = task.key, "it is not cleared: {}", chain(&error));
                all = false;
            }
        }
        let tasks = self.ledger.list(TaskFilter::states(TaskState::ALL)).await?;
        let videos: Vec<VideoKey> = tasks.iter().filter_map(|task| VideoKey::new(task.key.as_str()).ok()).collect();
        Ok(self.sources.keep_only(videos.iter())? && all)
    }
}

async fn expire(service: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! { () = sleep(EXPIRY) => {}, () = stopped(&mut stop) => return }
        match service.ledger.expire_leases().await {
            Ok(expired) => {
                for lease in expired {
                    tracing::warn!(key = lease.key, worker = lease.worker, work = ?lease.work, "a lease has expired");
                }
            }
            Err(error) => tracing::error!("overdue leases cannot be ended: {error}"),
        }
    }
}

async fn tidy(service: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut tidy_at = None;
    loop {
        // Without a change there is nothing new to find, and all tasks are many to read.
        let records = service.ledger.changes().records();
        if tidy_at != Some(records) {
            match service.tidy().await {
                Ok(all) => tidy_at = all.then_some(records),
                Err(error) => tracing::error!("what was left half done stays so for now: {error}"),
            }
        }
        tokio::select! { () = sleep(TIDYING) => {}, () = stopped(&mut stop) => return }
    }
}

fn check_options(options: &ServiceOptions) -> TaskResult<()> {
    if options.link_lifetime < Duration::from_secs(1) || options.link_lifetime > LONGEST_LINK {
        let reason = "from one second to seven days, which is S3's limit".to_owned();
        return Err(TaskError::Setting { option: "link_lifetime", reason });
    }
    Ok(())
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
