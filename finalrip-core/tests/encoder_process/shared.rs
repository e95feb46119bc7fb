//! Folders, scripts and processes for the tests.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use finalrip_core::ChunkLength;
use finalrip_core::task::{
    Answer, Confinement, EncoderProcess, EncoderProgram, Failure, Limits, Order, ProcessError, ProcessOptions, Queue,
    Scope, TaskJob,
};
use serde_json::Value;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The real clip: 132 frames of 1280x720 at 25 fps, H.264.
pub(crate) fn bunny() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/big_buck_bunny_720p.mp4")).unwrap()
}

/// A folder as a server has one, with a secret in it, and how its encoder processes are run.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) options: ProcessOptions,
    pub(crate) scope: Scope,
    _removed: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("finalrip-test-").tempdir().unwrap();
        let mut place = Self::at(&fs::canonicalize(folder.path()).unwrap());
        place._removed = Some(folder);
        place
    }

    pub(crate) fn at(folder: &Path) -> Self {
        let folder = folder.to_owned();
        let cache = folder.join("cache");
        fs::create_dir_all(&cache).unwrap();
        fs::write(folder.join("secret"), "the token").unwrap();
        let source = cache.join("source.mp4");
        if !source.is_symlink() {
            std::os::unix::fs::symlink(bunny(), &source).unwrap();
        }
        let program =
            EncoderProgram { program: env::current_exe().unwrap(), arguments: vec!["encoder-process".into()] };
        let options = ProcessOptions {
            program,
            limits: Limits::default(),
            confinement: Confinement::default(),
            environment: Vec::new(),
            scratch: folder.join("scratch"),
        };
        let scope = Scope { source: Some(source), read: Vec::new(), cache: Some(cache) };
        Self { folder, options, scope, _removed: None }
    }

    pub(crate) async fn start(&self) -> EncoderProcess {
        EncoderProcess::start(&self.options, self.scope.clone()).await.unwrap()
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.scope.source.clone().unwrap()
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.scope.cache.clone().unwrap()
    }

    /// The scratch folders that there are.
    pub(crate) fn scratches(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.options.scratch).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// An order that runs `script`.
    pub(crate) fn run(&self, script: &str) -> Order {
        Order::Plan { source: self.source(), job: job(script, "-c:v libx264"), workers: 1, chunk: ChunkLength::Auto }
    }

    /// Runs a script that ends neither well nor badly.
    pub(crate) async fn outcome(&self, process: &mut EncoderProcess, script: &str) -> Result<Answer, ProcessError> {
        process.perform(&self.run(script), &mut |_| {}).await
    }

    /// What the Python in `body` assigns to `answer`. It may call `attempt(f)`: "done", or the exception's name.
    pub(crate) async fn ask(&self, process: &mut EncoderProcess, body: &str) -> Value {
        let script = format!(
            "import json, os\n\
             def attempt(action):\n    try:\n        action()\n        return 'done'\n    \
             except Exception as error:\n        return type(error).__name__\n\
             {body}\nraise RuntimeError('ANSWER' + json.dumps(answer) + 'END')\n"
        );
        let failure = failed(self.outcome(process, &script).await);
        let answer = failure.reason.rsplit_once("ANSWER").and_then(|(_, rest)| rest.split_once("END"));
        let (answer, _) = answer.unwrap_or_else(|| panic!("{}", failure.reason));
        serde_json::from_str(answer).unwrap()
    }
}

pub(crate) fn job(script: &str, command: &str) -> TaskJob {
    let (script, command) = (script.to_owned(), command.to_owned());
    TaskJob { script, command, slice: true, timeout: Duration::from_secs(60), queue: Queue::Default }
}

/// The failure of an order that the process has survived.
pub(crate) fn failed(outcome: Result<Answer, ProcessError>) -> Failure {
    match outcome {
        Err(ProcessError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// The reason and the log of a death.
pub(crate) fn died(outcome: Result<Answer, ProcessError>) -> (String, String) {
    match outcome {
        Err(ProcessError::Died { reason, log }) => (reason, log),
        other => panic!("{other:?}"),
    }
}

/// Whether a process runs; one that has ended and is not reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub(crate) fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Waits for something that another process does.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
