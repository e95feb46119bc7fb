//! What clients ask for.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::{ErrorKind, TaskError, TaskResult};
use super::{Inner, Service};
use crate::encoder::command::EncodeCommand;
use crate::error::Error;
use crate::rip::Rip;
use crate::script::Script;
use crate::store::{Access, VideoKey};
use crate::task::error::LedgerError;
use crate::task::process::{EncoderProcess, Order, ProcessError, Scope, for_result};
use crate::task::records::{Overrides, Queue, TaskFilter, TaskJob, TaskProgress, TaskRecord};
use crate::task::state::TaskState;

/// How long a script may take to be compiled; it is never run for that.
const COMPILATION: Duration = Duration::from_secs(60);

/// How long one clip may take when nobody says.
const CLIP_TIME: Duration = Duration::from_secs(20 * 60);

/// How long the one clip of an unsliced task may take when nobody says.
const WHOLE_TIME: Duration = Duration::from_secs(48 * 60 * 60);

/// How a task is to be encoded, as a client says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRequest {
    /// The VapourSynth script. It reads its source from `os.environ["FINALRIP_SOURCE"]`.
    pub script: String,
    /// The encode command, as [`EncodeCommand::parse`] takes it. An output that it names is not used.
    pub command: String,
    /// Whether it may be divided into clips.
    pub slice: bool,
    /// How long one clip may take. `None`: 20 minutes, and 48 hours for a task that is not divided.
    pub timeout: Option<Duration>,
    /// Where its work waits.
    pub queue: Queue,
}

/// What a client wants to know before it uploads: each part is looked at if it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckRequest {
    /// The VapourSynth script.
    pub script: Option<String>,
    /// The encode command.
    pub command: Option<String>,
    /// The key that the source is to have.
    pub video: Option<String>,
}

/// Something that a task would be refused for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which part of the request it is in.
    pub part: CheckedPart,
    /// What is wrong, and what to do.
    pub message: String,
    /// The line of the script, from 1, where Python names one.
    pub line: Option<u32>,
}

/// A part of a [`CheckRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckedPart {
    /// The script.
    Script,
    /// The encode command.
    Command,
    /// The source's key.
    Video,
}

/// A link for an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    /// Takes one `PUT` of the file.
    pub url: String,
    /// Whether there is an object already, and not an empty one.
    pub exist: bool,
}

/// A task as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// What the ledger knows.
    pub progress: TaskProgress,
    /// The source's size in bytes; `None` when it is not there.
    pub source_bytes: Option<u64>,
    /// The result's size in bytes; `None` when it is not there.
    pub result_bytes: Option<u64>,
}

impl Service {
    /// Makes a task of a source that has been uploaded. Its index is made in the background from now on.
    ///
    /// # Errors
    /// [`TaskError::NoSource`], [`LedgerError::TaskExists`]; [`TaskError::KeyTaken`] when the source is an object of
    /// another task, or what the task would make is there already.
    pub async fn create(&self, video: &str) -> TaskResult<()> {
        let video = VideoKey::new(video)?;
        let Inner { ledger, store, .. } = &*self.0;
        match ledger.task(video.as_str()).await {
            Err(LedgerError::UnknownTask) => {}
            Ok(_) => return Err(LedgerError::TaskExists.into()),
            Err(error) => return Err(error.into()),
        }
        self.refuse_taken(&video).await?;
        let objects = store.task_objects(&video).await?;
        let source = objects.iter().find(|(key, _)| *key == video.source());
        if source.is_none_or(|(_, object)| object.size == 0) {
            return Err(TaskError::NoSource);
        }
        // What a task of this key makes would replace it, and clearing the task would delete it.
        if let Some((object, _)) = objects.iter().find(|(key, _)| *key != video.source()) {
            return Err(TaskError::taken(object, video.as_str()));
        }
        ledger.create(video.as_str()).await?;
        Ok(())
    }

    /// Starts a task. The command is parsed and the script compiled before anything changes; neither is run.
    ///
    /// # Errors
    /// [`LedgerError::NotUploaded`], [`LedgerError::AlreadyStarted`], [`TaskError::Command`], [`TaskError::Script`].
    pub async fn start(&self, video: &str, request: StartRequest) -> TaskResult<()> {
        match self.0.ledger.task(video).await {
            Ok(task) if task.state.is_running() => return Err(LedgerError::AlreadyStarted.into()),
            Err(LedgerError::UnknownTask) => return Err(LedgerError::NotUploaded.into()),
            other => other?,
        };
        self.check(Some(&request.script), Some(&request.command)).await?;
        let StartRequest { script, command, slice, queue, .. } = request;
        let timeout = request.timeout.unwrap_or(if slice { CLIP_TIME } else { WHOLE_TIME });
        Ok(self.0.ledger.start(video, TaskJob { script, command, slice, timeout, queue }).await?)
    }

    /// Looks for what a task would be refused for, without one: the script is compiled, the command parsed and its encoder looked
    /// up in front of the container that results have; neither is run. Gives nothing where all is well.
    ///
    /// # Errors
    /// What keeps it from being found out: no process can be started, the ledger failed.
    pub async fn examine(&self, request: CheckRequest) -> TaskResult<Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(video) = &request.video
            && let Err(error) = self.check_key(video).await
        {
            problems.push(problem(CheckedPart::Video, error)?);
        }
        if let Some(command) = &request.command
            && let Err(error) = self.0.check_command(command)
        {
            problems.push(problem(CheckedPart::Command, error)?);
        }
        if let Some(script) = &request.script
            && let Err(error) = self.check(Some(script), None).await
        {
            problems.push(problem(CheckedPart::Script, error)?);
        }
        Ok(problems)
    }

    /// Whether a source may have this key, whatever becomes of it.
    async fn check_key(&self, video: &str) -> TaskResult<()> {
        self.refuse_taken(&VideoKey::new(video)?).await
    }

    /// Encodes one clip once more; what runs of it is stopped. When all clips are complete again, they are merged again; until
    /// then an earlier result stays. Another size or pixel format, which shows only when the script is evaluated, fails the
    /// task before the clip is encoded.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchClip`], [`TaskError::Command`], [`TaskError::Script`]; [`TaskError::OtherCodec`] for a command whose
    /// clip could not be joined to the others.
    pub async fn retry_encode(&self, video: &str, index: u32, overrides: Overrides) -> TaskResult<()> {
        let progress = match self.0.ledger.progress(video).await {
            Ok(progress) if progress.clips.iter().any(|clip| clip.index == index) => progress,
            Ok(_) | Err(LedgerError::UnknownTask) => return Err(LedgerError::NoSuchClip.into()),
            Err(error) => return Err(error.into()),
        };
        self.check(overrides.script.as_deref(), overrides.command.as_deref()).await?;
        self.check_codec(&progress, overrides.command.as_deref())?;
        Ok(self.0.ledger.retry_encode(video, index, overrides).await?)
    }

    /// Merges the clips once more.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`], [`LedgerError::ClipsUnfinished`].
    pub async fn retry_merge(&self, video: &str) -> TaskResult<()> {
        Ok(self.0.ledger.retry_merge(video).await?)
    }

    /// Stops a task. What is finished of it is kept; a retry takes it up again.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`]; [`LedgerError::NotNow`] when it does not run.
    pub async fn cancel(&self, video: &str) -> TaskResult<()> {
        Ok(self.0.ledger.cancel(video).await?)
    }

    /// Stops a task and deletes it with its source, its clips and its result. When this fails half way, or its future is
    /// dropped, the same call again goes on, and so does the service by itself. Without a task of this key, an upload that
    /// was made for one is deleted.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`] when there is no upload either; the store failed.
    pub async fn clear(&self, video: &str) -> TaskResult<()> {
        let key = VideoKey::new(video)?;
        match self.0.ledger.clear(video).await {
            Ok(task) => {
                // Whoever wants the source gone as well has the last word.
                self.0.keeping.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
                self.0.finish_clearing(&key, task).await
            }
            Err(LedgerError::UnknownTask) => self.clear_upload(&key).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an upload that no task was made of.
    async fn clear_upload(&self, key: &VideoKey) -> TaskResult<()> {
        self.refuse_taken(key).await?;
        let Inner { ledger, store, .. } = &*self.0;
        if store.head(&key.source()).await?.is_none() {
            return Err(LedgerError::UnknownTask.into());
        }
        // One that is made between this look and the deletion loses its source, and says so when it is started.
        match ledger.task(key.as_str()).await {
            Err(LedgerError::UnknownTask) => Ok(store.delete(&key.source()).await?),
            Ok(_) => Err(LedgerError::TaskExists.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Service::clear`], but the source stays: another task can be made of it. That is remembered as long as the service
    /// runs; one that dies before the task is gone deletes the source too.
    ///
    /// # Errors
    /// As [`Service::clear`].
    pub async fn clear_results(&self, video: &str) -> TaskResult<()> {
        let key = VideoKey::new(video)?;
        let task = self.0.ledger.task(video).await?;
        if task.state != TaskState::Clearing {
            self.0.keeping.lock().unwrap_or_else(PoisonError::into_inner).insert(task.id);
        }
        let cleared = self.0.ledger.clear(video).await;
        if cleared.is_err() {
            self.0.keeping.lock().unwrap_or_else(PoisonError::into_inner).remove(&task.id);
        }
        self.0.finish_clearing(&key, cleared?).await
    }

    /// A task, its clips, and the sizes of its files.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTask`]; the store failed.
    pub async fn progress(&self, video: &str) -> TaskResult<TaskView> {
        let progress = self.0.ledger.progress(video).await?;
        self.0.view(progress).await
    }

    /// The tasks in some states, newest first.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn list(&self, filter: TaskFilter) -> TaskResult<Vec<TaskRecord>> {
        Ok(self.0.ledger.list(filter).await?)
    }

    /// A link for uploading a source; `base` is where the objects of a local store are served.
    ///
    /// # Errors
    /// As [`Service::may_upload`]; the store makes no links.
    pub async fn presign(&self, video: &str, base: &str) -> TaskResult<Presigned> {
        let video = VideoKey::new(video)?;
        self.may_upload(&video).await?;
        let key = video.source();
        let expires = SystemTime::now() + self.0.options.link_lifetime;
        let url = self.0.store.link(&key, Access::Upload, expires, base).await?;
        let exist = self.0.store.head(&key).await?.is_some_and(|object| object.size > 0);
        Ok(Presigned { url, exist })
    }

    /// Whether an object of this key may be uploaded now.
    ///
    /// # Errors
    /// [`TaskError::KeyTaken`] when a task makes the object of this key; [`TaskError::SourceInUse`] when its task runs, or
    /// is being cleared.
    pub async fn may_upload(&self, key: &VideoKey) -> TaskResult<()> {
        self.refuse_taken(key).await?;
        match self.0.ledger.task(key.as_str()).await {
            Ok(TaskRecord { state, .. }) if state.is_running() || state == TaskState::Clearing => {
                Err(TaskError::SourceInUse { video: key.as_str().to_owned(), state })
            }
            Ok(_) | Err(LedgerError::UnknownTask) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses keys that an existing task has for what it makes.
    async fn refuse_taken(&self, key: &VideoKey) -> TaskResult<()> {
        let Some(object) = key.reserved_for() else { return Ok(()) };
        let video = object.video().as_str();
        match self.0.ledger.task(video).await {
            Ok(_) => Err(TaskError::taken(&object, video)),
            Err(LedgerError::UnknownTask) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a command for one of several clips that makes another codec than the task's.
    fn check_codec(&self, progress: &TaskProgress, command: Option<&str>) -> TaskResult<()> {
        let Some((job, command)) = progress.task.job.as_ref().zip(command).filter(|_| progress.clips.len() > 1) else {
            return Ok(());
        };
        let codec = |command: &str| {
            EncodeCommand::parse(command).ok().and_then(|command| command.codec_in("matroska", Path::new("any.mkv")))
        };
        match codec(command).zip(codec(&job.command)) {
            Some((codec, others)) if codec != others => Err(TaskError::OtherCodec { codec, others }),
            _ => Ok(()),
        }
    }

    /// Checks what can be checked without running anything.
    async fn check(&self, script: Option<&str>, command: Option<&str>) -> TaskResult<()> {
        command.map(|command| self.0.check_command(command)).transpose()?;
        let Some(script) = script else { return Ok(()) };
        if script.trim().is_empty() {
            return Err(TaskError::Script("it is empty".to_owned()));
        }
        self.0.compile(script).await
    }
}

impl Inner {
    pub(super) async fn view(&self, progress: TaskProgress) -> TaskResult<TaskView> {
        let video = VideoKey::new(progress.task.key.as_str())?;
        let source_bytes = self.store.head(&video.source()).await?.map(|object| object.size);
        let result_bytes = progress.task.result_bytes;
        Ok(TaskView { progress, source_bytes, result_bytes })
    }

    /// Checks a command as far as that goes without a frame.
    fn check_command(&self, text: &str) -> TaskResult<()> {
        let command = EncodeCommand::parse(text)?;
        command.streams.check_for_rip()?;
        let command = for_result(&command);
        let rip = Rip::new(Script::from_text(""), command, self.options.data.join("result.mkv"));
        match rip.stages() {
            Ok(_) => Ok(()),
            // Where this server keeps what is nobody's business.
            Err(Error::Output { reason, .. }) => Err(TaskError::Unencodable(reason)),
            Err(error) => Err(TaskError::Unencodable(error.to_string())),
        }
    }

    /// Compiles a script in a process of its own.
    async fn compile(&self, script: &str) -> TaskResult<()> {
        let turn = Arc::clone(&self.helpers).acquire_owned().await;
        let order = Order::Check { script: script.to_owned() };
        let compiled = tokio::time::timeout(COMPILATION, async {
            let mut process = EncoderProcess::start(&self.options.process, Scope::default()).await?;
            let answer = process.perform(&order, &mut |_| {}).await;
            // Only who takes the next turn waits for its end.
            tokio::spawn(async move {
                process.kill().await;
                drop(turn);
            });
            answer
        });
        match compiled.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(ProcessError::Failed(failure))) => Err(TaskError::Script(failure.reason)),
            Ok(Err(error)) => Err(TaskError::Process(error.into_failure().reason)),
            Err(_) => Err(TaskError::Script(format!("it does not compile within {} s", COMPILATION.as_secs()))),
        }
    }
}

/// What a client has to mend; anything else is an error still.
fn problem(part: CheckedPart, error: TaskError) -> TaskResult<Problem> {
    let message = match &error {
        TaskError::Command(error) => error.to_string(),
        TaskError::Script(reason) | TaskError::Unencodable(reason) => reason.clone(),
        error if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Conflict) => error.to_string(),
        _ => return Err(error),
    };
    let line = if part == CheckedPart::Script { script_line(&message) } else { None };
    Ok(Problem { part, message, line })
}

/// The line that Python names in what it says of a script.
fn script_line(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("File \"<string>\", line ")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::script_line;

    #[test]
    fn the_line_of_a_script_is_found_in_pythons_words() {
        assert_eq!(script_line("no:\n  File \"<string>\", line 12\n    x = (\nSyntaxError: ..."), Some(12));
        assert_eq!(script_line("it is empty"), None);
        assert_eq!(script_line("File \"<string>\", line "), None);
    }
}
