//! Encoder processes: where scripts are evaluated and frames are encoded, so that nothing that they do can harm the
//! server.
//!
//! A worker starts an [`EncoderProcess`], gives it one [`Order`] after the other, and kills it. Orders and answers are
//! JSON lines; frames never leave the process. Between the worker and the encoder stands a *guardian*, a tiny process
//! made of the same program: it starts the encoder, adopts whatever the encoder's children leave behind, and when the
//! encoder has ended, or the server has, in whatever way, it kills all that is left and removes the scratch folder.
//!
//! ```text
//! server ── pipes ── guardian (own process group, subreaper)
//!                      └─ encoder (own process group, confined, limited) ── whatever the script starts
//! ```

mod calls;
mod confine;
mod descendants;
mod encoder;
mod failure;
mod guardian;
mod launch;
mod lines;
mod log;
mod orders;
mod protocol;
mod python;
mod sockets;
mod taken;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::records::{EncodedClip, Failure, TaskJob, TaskPlan, WorkProgress};
use crate::rip::plan::ChunkLength;
use lines::Lines;
use log::Log;
use protocol::{First, Message, Setup};

pub use confine::Confined;
pub use launch::sweep_scratch;
pub use taken::Taken;

pub(super) use orders::for_result;

/// How long an encoder process may take to be ready for orders. It loads libav, and nothing else, in that time.
const START: Duration = Duration::from_secs(60);

/// How long a guardian may take to kill everything before the worker's side does what it can itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two reports of progress that are passed on.
const PROGRESS: Duration = Duration::from_millis(100);

/// How to start an encoder process: a program that calls [`encoder_process`].
#[derive(Debug, Clone)]
pub struct EncoderProgram {
    /// The program, usually the server's own.
    pub program: PathBuf,
    /// What makes it call [`encoder_process`].
    pub arguments: Vec<OsString>,
}

/// What an encoder process may take at most. `None`, the default, leaves it what the server itself may.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of address space. It is more than the memory in use: threads, libraries and GPU drivers reserve some too.
    pub address_space: Option<u64>,
    /// Bytes of the largest file that it may write. It is killed when it writes more.
    pub file_size: Option<u64>,
    /// Processes and threads, those of everything else that runs as the same user included. Not in force for root.
    pub processes: Option<u64>,
    /// By how much it stands behind the server, and everything else, when processor time is short: `nice`'s 0 to 19.
    /// Default: 0, not at all.
    pub nice: u8,
}

/// What an encoder process may reach. The last three widen it.
///
/// Confined, it reads the source, the Python environment and the system's libraries, writes its scratch folder and the
/// source's cache, and makes no sockets but pairs that are connected with each other. It needs Linux with Landlock and
/// seccomp; on older kernels it is in force as far as they can, and the log says so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether it is confined at all. Default: true.
    pub enabled: bool,
    /// Files and folders that it may read, and execute, as well.
    pub read: Vec<PathBuf>,
    /// Files and folders that it may read and write as well.
    pub write: Vec<PathBuf>,
    /// Whether it may make sockets, and so use the network and the services of this machine. Default: false.
    pub network: bool,
}

impl Default for Confinement {
    fn default() -> Self {
        Self { enabled: true, read: Vec::new(), write: Vec::new(), network: false }
    }
}

/// How encoder processes are run.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// How to start one.
    pub program: EncoderProgram,
    /// What it may take.
    pub limits: Limits,
    /// What it may reach.
    pub confinement: Confinement,
    /// Variables that it is given beside the few that are always set. It sees nothing else of the server's.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder in which each gets a private scratch folder. It is made if it is not there. Its path must be UTF-8.
    pub scratch: PathBuf,
}

impl ProcessOptions {
    /// No limits, confined, with scratch folders in `scratch`.
    #[must_use]
    pub fn new(program: EncoderProgram, scratch: impl Into<PathBuf>) -> Self {
        let (limits, confinement) = (Limits::default(), Confinement::default());
        Self { program, limits, confinement, environment: Vec::new(), scratch: scratch.into() }
    }
}

/// What this one process may see.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scope {
    /// The source, to be read. A link is followed, once, when the process starts: give the file itself where a script may
    /// replace the link.
    pub source: Option<PathBuf>,
    /// Other files and folders to be read.
    pub read: Vec<PathBuf>,
    /// A folder that it may write beside its scratch folder, which stays. bestsource keeps its indexes there.
    pub cache: Option<PathBuf>,
}

/// What an encoder process is to do. Outputs belong into its [`EncoderProcess::scratch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Compile a script as Python, without running it.
    Check {
        /// Its text.
        script: String,
    },
    /// Make bestsource's index of a source, in the cache.
    Index {
        /// The source.
        source: PathBuf,
    },
    /// Evaluate the script and find out which frames make which clip.
    Plan {
        /// The source.
        source: PathBuf,
        /// How it is to be encoded.
        job: TaskJob,
        /// Clips that are encoded at the same time.
        workers: usize,
        /// How long a clip should be.
        chunk: ChunkLength,
    },
    /// Encode one clip.
    Clip {
        /// The source.
        source: PathBuf,
        /// Which one, from 0.
        index: u32,
        /// How.
        job: TaskJob,
        /// A [`TaskPlan`]'s record.
        plan: String,
        /// The file to make.
        output: PathBuf,
        /// Threads for its encoder; `None` leaves it what the plan says.
        threads: Option<usize>,
        /// Whether the next order will be about the clip after it, whose first frames are then made while this clip's
        /// encoder empties itself.
        goes_on: bool,
        /// An [`EncodedClip`]'s record that this one has to be joined to: if it cannot be, it is refused before it is encoded.
        like: Option<String>,
    },
    /// Join the clips and merge them with the source's other streams into a Matroska file.
    Merge {
        /// The source.
        source: PathBuf,
        /// How it was encoded.
        job: TaskJob,
        /// A [`TaskPlan`]'s record.
        plan: String,
        /// The file and the [`EncodedClip`]'s record of each clip, in order.
        clips: Vec<(PathBuf, String)>,
        /// The file to make.
        output: PathBuf,
    },
    /// Copy a part of the source's streams into a Matroska file.
    Cut {
        /// The source.
        source: PathBuf,
        /// Where the part begins: 0 is the source's beginning, 1 its end.
        from: f64,
        /// Where it ends, likewise.
        to: f64,
        /// The file to make.
        output: PathBuf,
    },
}

/// What came of an [`Order`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The script compiles.
    Checked,
    /// The index is in the cache.
    Indexed,
    /// The plan.
    Planned(TaskPlan),
    /// The clip is written and verified.
    Encoded(EncodedClip),
    /// The clip's frames are not evenly spaced after all: everything starts again with this plan.
    OffGrid(TaskPlan),
    /// The result is written.
    Merged {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The part of the source is written.
    Cut {
        /// Its size in bytes.
        bytes: u64,
    },
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It failed; the process lives and takes the next one.
    #[error("{}", .0.reason)]
    Failed(Failure),
    /// The process has died.
    #[error("{reason}")]
    Died {
        /// How, in words.
        reason: String,
        /// The last lines that it logged.
        log: String,
    },
    /// The process did not start.
    #[error("no encoder process could be started: {reason}")]
    Start {
        /// Why, and what to do about it.
        reason: String,
    },
}

impl ProcessError {
    /// What the ledger is told.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let reason = self.to_string();
        match self {
            Self::Failed(failure) => failure,
            Self::Died { log, .. } => Failure { reason, log, permanent: false },
            Self::Start { .. } => Failure { reason, log: String::new(), permanent: false },
        }
    }
}

/// The child's side: what the program of an [`EncoderProgram`] calls, first of all, on its main thread.
///
/// It takes its orders from standard input and returns when that ends.
#[must_use]
pub fn encoder_process() -> ExitCode {
    match protocol::first_line() {
        Ok(First::Guard(guard)) => guardian::guard(&guard),
        Ok(First::Encode(setup)) => encoder::encode(setup),
        Err(reason) => {
            let _ =
                writeln!(std::io::stderr(), "this program is started by a worker, which sends it its orders: {reason}");
            ExitCode::from(2)
        }
    }
}

/// A process that evaluates scripts and encodes, with everything that it has started.
///
/// [`EncoderProcess::kill`] ends all of it and waits until nothing is left. Dropping it ends all of it as well, a moment
/// later; so does the end of this process, even by `kill -9`. The scratch folder goes with it.
#[derive(Debug)]
pub struct EncoderProcess {
    guardian: Child,
    /// Taken away to let the guardian know that it is over.
    orders: Option<ChildStdin>,
    messages: Lines<ChildStdout>,
    log: Arc<Log>,
    scratch: PathBuf,
    /// The encoder's process identifier.
    id: u32,
    confined: Confined,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    /// An order was given, and its answer has not been read.
    Busy,
    /// Why it has died.
    Dead(String),
}

impl EncoderProcess {
    /// Starts a process that sees `scope`, and waits until it is ready.
    ///
    /// # Errors
    /// [`ProcessError::Start`] with the reason. Nothing is left behind then, nor when the future is dropped.
    pub async fn start(options: &ProcessOptions, scope: Scope) -> Result<Self, ProcessError> {
        let failed = |reason: String| ProcessError::Start { reason };
        let (owned, seen) = (options.clone(), scope.clone());
        let prepared = tokio::task::spawn_blocking(move || launch::prepare(&owned, &seen)).await;
        let mut prepared = prepared.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        let scratch = prepared.scratch.path().to_owned();
        let setup = Setup {
            scratch: scratch.clone(),
            limits: options.limits.clone(),
            confinement: options.confinement.clone(),
            scope,
        };
        let first = protocol::first_lines(setup).map_err(failed)?;
        let mut guardian = prepared
            .command
            .spawn()
            .map_err(|error| failed(format!("{} does not start: {error}", options.program.program.display())))?;
        let pipes = (guardian.stdin.take(), guardian.stdout.take(), guardian.stderr.take());
        let (Some(orders), Some(messages), Some(errors)) = pipes else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let log = Log::keep(errors);
        let messages = Lines::new(messages, protocol::LONGEST);
        let state = State::Idle;
        let mut process =
            Self { guardian, orders: Some(orders), messages, log, scratch, id: 0, confined: Confined::Off, state };
        process.wait_until_ready(&first).await.map_err(failed)?;
        // From now on it is the guardian that removes the folder.
        let _ = prepared.scratch.keep();
        process.confined.tell();
        Ok(process)
    }

    async fn wait_until_ready(&mut self, first: &[u8]) -> Result<(), String> {
        let ready = async {
            let message = self.converse(first, &mut |_| {}).await?;
            match message {
                Message::Ready { id, confined } => Ok((id, confined)),
                Message::Failed { reason, .. } => Err(reason),
                other => Err(format!("it said {other:?} instead of being ready")),
            }
        };
        let outcome = match timeout(START, ready).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("it was not ready within {} seconds", START.as_secs())),
        };
        (self.id, self.confined) = outcome.map_err(|reason| failure::with_last_lines(&reason, &self.log))?;
        Ok(())
    }

    /// The folder that it may write, for outputs. Only its owner can look into it.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The encoder's process identifier, for an operator.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What confinement is in force.
    #[must_use]
    pub fn confined(&self) -> &Confined {
        &self.confined
    }

    /// Has an order carried out. `progress` is called a few times a second.
    ///
    /// What a script does can make the answer wrong, but not large: who trusts no script looks at the outputs.
    ///
    /// Not to be dropped unless the process is to be killed: an order that was given cannot be taken back, and another
    /// one is refused.
    ///
    /// # Errors
    /// [`ProcessError::Failed`] when the order failed, [`ProcessError::Died`] when the process ended over it or before.
    pub async fn perform(
        &mut self,
        order: &Order,
        progress: &mut (dyn FnMut(WorkProgress) + Send),
    ) -> Result<Answer, ProcessError> {
        match &self.state {
            State::Idle => {}
            State::Busy => return Err(self.died("the encoder process was left in the middle of another order")),
            State::Dead(reason) => return Err(self.died(reason)),
        }
        let line = match protocol::line(order) {
            Ok(line) => line,
            Err(reason) => return Err(self.failed(reason, true)),
        };
        self.state = State::Busy;
        let said = self.converse(&line, progress).await;
        match said {
            Ok(Message::Done(answer)) => {
                self.state = State::Idle;
                Ok(answer)
            }
            Ok(Message::Failed { reason, permanent }) => {
                // The script may have said it itself.
                let reason = failure::shortened(&reason, failure::REASON);
                self.log.catch_up().await;
                self.state = State::Idle;
                Err(self.failed(reason, permanent))
            }
            Ok(other) => Err(self.dead(format!("the encoder process said {other:?} out of turn"))),
            Err(reason) => Err(self.dead(reason)),
        }
    }

    /// Takes a file that an order has made, out of the reach of whatever the script has left running: from here on it is
    /// what it is. Removed when it is dropped, unless it was moved elsewhere.
    ///
    /// # Errors
    /// [`ProcessError::Failed`] for something else than one plain file, whatever the script has put in its place.
    pub async fn take(&mut self, output: &Path) -> Result<Taken, ProcessError> {
        let taken = Taken::take(&self.scratch, output).await;
        taken.map_err(|reason| self.failed(format!("what was made cannot be taken: {reason}"), false))
    }

    fn failed(&self, reason: String, permanent: bool) -> ProcessError {
        ProcessError::Failed(Failure { reason, log: self.log.text(), permanent })
    }

    fn dead(&mut self, reason: String) -> ProcessError {
        self.state = State::Dead(reason.clone());
        self.died(&reason)
    }

    fn died(&self, reason: &str) -> ProcessError {
        ProcessError::Died { reason: failure::with_last_lines(reason, &self.log), log: self.log.text() }
    }

    /// Sends `line` and reads until there is more than progress. The error is how the process ended.
    async fn converse(
        &mut self,
        line: &[u8],
        progress: &mut (dyn FnMut(WorkProgress) + Send),
    ) -> Result<Message, String> {
        match self.hear(line, progress).await {
            Ok(Some(Message::Ended(end))) => {
                self.log.catch_up().await;
                Err(end.to_string())
            }
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.lost_guardian().await),
            Err(error) => Err(format!("the encoder process cannot be understood: {error}")),
        }
    }

    /// The next message that is more than progress; `None` when none will come any more.
    async fn hear(
        &mut self,
        line: &[u8],
        progress: &mut (dyn FnMut(WorkProgress) + Send),
    ) -> std::io::Result<Option<Message>> {
        let Some(orders) = &mut self.orders else { return Ok(None) };
        // While it dies nobody may read orders any more: what it says is listened to at the same time.
        let send = pin!(orders.write_all(line));
        let listen = pin!(listen(&mut self.messages, &self.log, progress));
        let heard = pin!(async {
            match select(send, listen).await {
                Either::Left((_, listen)) => listen.await,
                Either::Right((heard, _)) => heard,
            }
        });
        // What the script forked may hold the pipes open for longer than the guardian lives.
        let ended = pin!(self.guardian.wait());
        match select(heard, ended).await {
            Either::Left((heard, _)) => heard,
            Either::Right((_, heard)) => timeout(Duration::from_millis(100), heard).await.unwrap_or(Ok(None)),
        }
    }

    /// The guardian ended without a word: somebody killed it. Ends what it guarded.
    async fn lost_guardian(&mut self) -> String {
        let status = timeout(PATIENCE, self.guardian.wait()).await;
        let how = match status {
            Ok(Ok(status)) => failure::how_it_ended(status),
            Ok(Err(error)) => format!("is lost: {error}"),
            Err(_) => "says nothing any more".to_owned(),
        };
        launch::end_all_of(&self.scratch).await;
        format!("the process that guards the encoder process {how}")
    }

    /// Ends the process and everything that it has started, and waits until nothing of it is left, scratch folder
    /// included.
    pub async fn kill(mut self) {
        self.orders.take();
        if timeout(PATIENCE, self.guardian.wait()).await.is_err() {
            tracing::warn!("encoder process {} is still there {} s after it was killed", self.id, PATIENCE.as_secs());
            launch::end_all_of(&self.scratch).await;
            drop(timeout(PATIENCE, self.guardian.wait()).await);
        }
        launch::remove(self.scratch.clone()).await;
    }
}

/// Reads until there is more than progress; `None` when there is nothing more to read.
async fn listen(
    messages: &mut Lines<ChildStdout>,
    log: &Log,
    progress: &mut (dyn FnMut(WorkProgress) + Send),
) -> std::io::Result<Option<Message>> {
    let mut told: Option<Instant> = None;
    while let Some(line) = messages.next_whole().await? {
        match serde_json::from_slice(line) {
            // A script can pretend to make progress; it cannot make the server do nothing else than note it.
            Ok(Message::Progress(_)) if told.is_some_and(|told| told.elapsed() < PROGRESS) => {}
            Ok(Message::Progress(now)) => {
                told = Some(Instant::now());
                progress(now);
            }
            Ok(message) => return Ok(Some(message)),
            // A program may greet before it gets to what it was started for, and die in the middle of a message.
            Err(_) => log.push(line),
        }
    }
    Ok(None)
}
