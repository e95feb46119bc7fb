//! A service with its store and its ledger in a folder, whose encoder processes are the server's program.

#![allow(dead_code, reason = "each test file is a program of its own and uses a part of this")]
#![allow(unreachable_pub, reason = "a module of several programs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use finalrip_core::ChunkLength;
use finalrip_core::store::{LocalConfig, Store, StoreConfig, VideoKey};
use finalrip_core::task::{
    EncoderProgram, Event, Ledger, LedgerOptions, Queue, Service, ServiceOptions, SqliteLedger, StartRequest,
    SystemClock, TaskState, TaskView,
};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::common;

/// Every command here loses nothing, so that frames can be compared.
pub const LOSSLESS: &str = "ffmpeg -i - -c:v ffv1 FINALRIP_ENCODED_CLIP.mkv";

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running service.
pub struct Running {
    pub service: Service,
    stop: watch::Sender<bool>,
    runner: JoinHandle<()>,
    folder: Option<TempDir>,
    /// Copies of a remote store's results.
    copies: TempDir,
}

/// The program that becomes an encoder process.
pub fn program() -> EncoderProgram {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_finalrip-server"));
    EncoderProgram { program, arguments: vec!["encoder-process".into()] }
}

/// Clips of 20 frames.
pub fn options(data: &Path, workers: usize) -> ServiceOptions {
    let mut options = ServiceOptions::new(data, program());
    options.workers = workers;
    options.clip = ChunkLength::Frames(20);
    options
}

pub fn store_in(data: &Path) -> Store {
    Store::open(&StoreConfig::Local(LocalConfig { folder: data.join("store") })).expect("a store")
}

pub fn ledger_in(data: &Path) -> Arc<dyn Ledger> {
    let options = LedgerOptions::default();
    Arc::new(SqliteLedger::open(data.join("ledger.sqlite"), options, Arc::new(SystemClock::new())).expect("a ledger"))
}

impl Running {
    /// One in a new folder.
    pub async fn start(workers: usize) -> Self {
        let folder = common::scratch();
        let options = options(folder.path(), workers);
        let mut running = Self::with(ledger_in(folder.path()), store_in(folder.path()), options).await;
        running.folder = Some(folder);
        running
    }

    pub async fn with(ledger: Arc<dyn Ledger>, store: Store, options: ServiceOptions) -> Self {
        let service = Service::open(ledger, store, options).await.expect("a service");
        let (stop, stopped) = watch::channel(false);
        let inner = service.clone();
        let runner = tokio::spawn(async move { inner.run(stopped).await });
        Self { service, stop, runner, folder: None, copies: common::scratch() }
    }

    /// How many encoder processes and guardians there are in its folder; other tests have theirs.
    pub fn processes(&self) -> usize {
        let folder =
            self.folder.as_ref().and_then(|folder| folder.path().canonicalize().ok()).expect("a folder of its own");
        let is_there = |process: &std::fs::DirEntry| {
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|place| place.starts_with(&folder))
        };
        std::fs::read_dir("/proc").expect("/proc").flatten().filter(is_there).count()
    }

    /// Puts a file into the store, and makes a task of it.
    pub async fn upload(&self, key: &str, file: &Path) {
        self.service.store().put_file(&video(key).source(), file).await.expect("an upload");
        self.service.create(key).await.expect("a task");
    }

    /// Starts a task with a lossless command.
    pub async fn begin(&self, key: &str, script: &str) {
        self.service.start(key, request(script)).await.unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    /// Waits until a task is as it should be.
    pub async fn wait_for(&self, key: &str, reached: impl Fn(&TaskView) -> bool) -> TaskView {
        let begin = Instant::now();
        loop {
            let view = self.service.progress(key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
            if reached(&view) {
                return view;
            }
            assert!(begin.elapsed() < PATIENCE, "{key} does not come to an end: {view:#?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits for the end of a task, whichever it is.
    pub async fn wait_for_end(&self, key: &str) -> TaskView {
        let ended = |state| matches!(state, TaskState::Completed | TaskState::Failed | TaskState::Cancelled);
        self.wait_for(key, |view| ended(view.progress.task.state)).await
    }

    /// Waits for the result of a task, and gives its file.
    pub async fn result(&self, key: &str) -> PathBuf {
        let view = self.wait_for_end(key).await;
        let task = &view.progress.task;
        assert_eq!(task.state, TaskState::Completed, "{:?}\n{:?}", task.failure, view.progress.log);
        let (store, result) = (self.service.store(), video(key).result());
        if let Some(file) = store.local_path(&result).await.expect("a result") {
            return file;
        }
        let copy = self.copies.path().join("result.mkv");
        store.download(&result, &copy).await.expect("a result");
        copy
    }

    /// Everything that has been noted of a task.
    pub async fn log(&self, key: &str) -> Vec<finalrip_core::task::Happening> {
        let page = self.service.ledger().log(key, 0, 10_000).await.expect("a log");
        page.entries.into_iter().map(|entry| entry.happening).collect()
    }

    /// What a follower is told until the task is in this state.
    pub async fn follow(&self, key: &str, after: u64, until: TaskState) -> Vec<Event> {
        let mut events = std::pin::pin!(self.service.subscribe(key, after));
        let mut told = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, events.next()).await.expect("the task goes on");
            let event = next.expect("a stream that ends with an error only").expect("a task that is there");
            let done = matches!(&event, Event::Progress(view) if view.progress.task.state == until);
            told.push(event);
            if done {
                return told;
            }
        }
    }

    /// Stops it and waits; what was in its folder is gone.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(20), self.runner).await.expect("it stops in time").expect("no panic");
    }
}

pub fn video(key: &str) -> VideoKey {
    VideoKey::new(key).expect("a key")
}

pub fn request(script: &str) -> StartRequest {
    let (script, command) = (script.to_owned(), LOSSLESS.to_owned());
    StartRequest { script, command, slice: true, timeout: None, queue: Queue::Default }
}

/// 100 frames with a beep, a subtitle and a name with everything that has broken programs before.
pub fn film() -> PathBuf {
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:duration=4",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-crf",
        "18",
        "-c:a",
        "aac",
        "-metadata:s:a:0",
        "language=jpn",
    ];
    common::rips::source("service-film.mkv", common::rips::NOISY, &arguments)
}

/// A script that changes every frame in time and space, so that frames tell where they were made.
pub fn temporal() -> String {
    common::rips::over_source("clip = clip.std.AverageFrames([1, 2, 1]).std.Convolution([1, 2, 1, 2, 4, 2, 1, 2, 1])")
}

/// Asserts that a result has the very frames of a single pass.
pub fn assert_frames(result: &Path, script: &str, source: &Path) {
    let folder = common::scratch();
    let script = common::script_file(folder.path(), "reference.vpy", script);
    let expected = common::script_hashes(&script, Some(source), "yuv420p");
    assert_eq!(expected.len(), 100);
    assert_eq!(common::frame_hashes(result, "yuv420p"), expected);
}
