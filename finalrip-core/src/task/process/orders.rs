//! What an encoder process does when it is told to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::RECORD;
use super::{Answer, Order, failure};
use crate::cancel::CancelToken;
use crate::container::cut;
use crate::encoder::command::EncodeCommand;
use crate::error::Error;
use crate::rip::plan::ChunkLength;
use crate::rip::stages::{EncodedChunk, MergeStep, Staged, StagedPlan, Stages};
use crate::rip::{Environments, Rip, RipOptions};
use crate::script::{Script, plain_text};
use crate::task::records::{EncodedClip, TaskJob, TaskPlan, WorkProgress};

/// The least time between two reports of progress.
const INTERVAL: Duration = Duration::from_millis(250);

/// What our own Python puts before a reason that a user should read without a traceback.
const PLAIN: char = '\u{1e}';

/// Compiles the text in the variable `text`, under the name that a script has when it is run.
const CHECK: &str = r#"
import traceback
try:
    compile(text, "<string>", "exec", dont_inherit=True)
except BaseException as error:
    raise RuntimeError("\x1e" + "".join(traceback.format_exception_only(error)).strip("\n")) from None
"#;

/// Makes what every script that reads this source with bestsource will look for.
const INDEX: &str = r#"
import os
import vapoursynth as vs
if not hasattr(vs.core, "bs"):
    raise RuntimeError("\x1ebestsource is not installed: pip install vapoursynth-bestsource, into VapourSynth's environment")
vs.core.bs.VideoSource(os.environ["FINALRIP_SOURCE"])
"#;

/// The file that a plan and a clip are for. They do not write it.
const RESULT: &str = "result.mkv";

/// A reason, and whether another attempt would fail as well.
type Refusal = (String, bool);

type Outcome<T> = Result<T, Refusal>;

type Tell<'a> = &'a mut dyn FnMut(WorkProgress);

/// Where orders are carried out. It keeps an evaluated script for as long as orders are about it.
pub(super) struct Bench {
    scratch: PathBuf,
    /// As the last plan was asked for: a script that was evaluated for it is good for its clips.
    chunk: ChunkLength,
    kept: Option<(Rig, Stages)>,
}

/// What an evaluated script depends on.
#[derive(Debug, Clone, PartialEq)]
struct Rig {
    source: PathBuf,
    script: String,
    command: String,
    slice: bool,
    workers: usize,
    chunk: ChunkLength,
    output: PathBuf,
}

impl Bench {
    pub(super) fn new(scratch: PathBuf) -> Self {
        Self { scratch, chunk: ChunkLength::Auto, kept: None }
    }

    pub(super) fn perform(&mut self, order: &Order, tell: Tell<'_>) -> Outcome<Answer> {
        match order {
            Order::Check { script } => check(script).map(|()| Answer::Checked),
            Order::Index { source } => index(source).map(|()| Answer::Indexed),
            Order::Plan { source, job, workers, chunk } => {
                self.chunk = *chunk;
                let rig = self.rig(source, job, *workers);
                let plan = self.stages(rig)?.plan().map_err(told)?;
                Ok(Answer::Planned(task_plan(&plan)?))
            }
            Order::Clip { source, index, job, plan, output, threads, goes_on, like } => {
                let mut plan: StagedPlan = parsed(plan, "plan")?;
                let rig = self.rig(source, job, plan.plan().workers);
                if let Some(threads) = threads {
                    plan = plan.with_threads(*threads);
                }
                let next = goes_on.then(|| *index as usize + 1);
                let like = like.as_deref().map(|record| parsed::<EncodedChunk>(record, "clip")).transpose()?;
                self.stages(rig.clone())?.join_to(like.as_ref());
                self.clip(rig, &plan, (*index as usize, next), output, tell)
            }
            Order::Merge { source, job, plan, clips, output } => {
                let plan: StagedPlan = parsed(plan, "plan")?;
                let rig = Rig { output: output.clone(), ..self.rig(source, job, plan.plan().workers) };
                self.merge(rig, &plan, clips, tell)
            }
            Order::Cut { source, from, to, output } => {
                let bytes = cut::cut_share(source, (*from, *to), output, &CancelToken::new()).map_err(|error| {
                    // What cannot be cut of this source never can.
                    let (reason, permanent) = failure::told(&error);
                    (reason, permanent || matches!(error, Error::Source { .. }))
                })?;
                Ok(Answer::Cut { bytes })
            }
        }
    }

    fn rig(&self, source: &Path, job: &TaskJob, workers: usize) -> Rig {
        Rig {
            source: source.to_owned(),
            script: job.script.clone(),
            command: job.command.clone(),
            slice: job.slice,
            workers,
            chunk: self.chunk,
            output: self.scratch.join(RESULT),
        }
    }

    /// The stages of a rip, kept from the last order if that was about the same.
    fn stages(&mut self, rig: Rig) -> Outcome<&mut Stages> {
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept != rig) {
            // The old script's memory goes before the new one takes its own.
            self.kept = None;
            let stages = rig.stages().map_err(told)?;
            self.kept = Some((rig, stages));
        }
        match &mut self.kept {
            Some((_, stages)) => Ok(stages),
            None => Err(("no script is kept".to_owned(), false)),
        }
    }

    fn clip(
        &mut self,
        rig: Rig,
        plan: &StagedPlan,
        (index, next): (usize, Option<usize>),
        output: &Path,
        tell: Tell<'_>,
    ) -> Outcome<Answer> {
        let stages = self.stages(rig)?;
        let mut listen = |progress: &crate::Progress| tell(WorkProgress { frames: progress.frames, fps: progress.fps });
        match stages.encode(plan, index, output, next, &mut listen).map_err(told)? {
            Staged::OffGrid => Ok(Answer::OffGrid(task_plan(&plan.variable())?)),
            Staged::Done(chunk) => {
                Ok(Answer::Encoded(EncodedClip { bytes: chunk.bytes(), record: record(&chunk, "clip")? }))
            }
        }
    }

    fn merge(&mut self, rig: Rig, plan: &StagedPlan, clips: &[(PathBuf, String)], tell: Tell<'_>) -> Outcome<Answer> {
        let chunk = |(path, record): &(PathBuf, String)| Ok((path.clone(), parsed::<EncodedChunk>(record, "clip")?));
        let chunks = clips.iter().map(chunk).collect::<Outcome<Vec<_>>>()?;
        let started = Instant::now();
        let mut told_at: Option<Instant> = None;
        let mut listen = |step: MergeStep| {
            if told_at.is_none_or(|at| at.elapsed() >= INTERVAL) {
                told_at = Some(Instant::now());
                let fps = step.pictures as f64 / started.elapsed().as_secs_f64().max(1e-9);
                tell(WorkProgress { frames: u32::try_from(step.pictures).unwrap_or(u32::MAX), fps });
            }
        };
        match self.stages(rig)?.merge(plan, &chunks, &mut listen).map_err(told)? {
            Staged::OffGrid => Ok(Answer::OffGrid(task_plan(&plan.variable())?)),
            Staged::Done(report) => Ok(Answer::Merged { bytes: report.bytes }),
        }
    }
}

impl Rig {
    fn stages(&self) -> Result<Stages, Error> {
        let command = EncodeCommand::parse(&self.command)?;
        if let Some(format) = command.format().filter(|format| *format != "matroska") {
            tracing::warn!("the result is Matroska: -f {format} and its options are passed over");
        }
        let command = for_result(&command);
        let options = RipOptions {
            workers: Some(self.workers.max(1)),
            slice: self.slice,
            chunk: self.chunk,
            // Each worker has a process of its own, and so a core of its own.
            environments: Environments::PerWorker,
            progress_interval: INTERVAL,
            ..RipOptions::default()
        };
        Rip::new(Script::from_text(&self.script), command, &self.output).source(&self.source).options(options).stages()
    }
}

/// The command as it makes a result, which is Matroska.
pub(in crate::task) fn for_result(command: &EncodeCommand) -> EncodeCommand {
    let mut command = command.clone();
    if command.format.replace("matroska".to_owned()).is_some_and(|format| format != "matroska") {
        command.muxer_options.clear();
    }
    command
}

fn check(text: &str) -> Outcome<()> {
    Script::from_text(CHECK).arg("text", plain_text(text)).execute().map_err(|error| match plain(&error) {
        Some(reason) => (format!("the script is not valid Python:\n{reason}"), !reason.starts_with("MemoryError")),
        None => told(error),
    })
}

fn index(source: &Path) -> Outcome<()> {
    Script::from_text(INDEX).source(source).execute().map_err(|error| match plain(&error) {
        Some(reason) => (reason, true),
        None => told(error),
    })
}

/// A reason that our own Python gave, without its traceback.
fn plain(error: &Error) -> Option<String> {
    let Error::Script { traceback, .. } = error else { return None };
    traceback.rsplit_once(PLAIN).map(|(_, reason)| failure::shortened(reason.trim_end(), failure::REASON - 100))
}

fn told(error: Error) -> Refusal {
    failure::told(&error)
}

fn task_plan(plan: &StagedPlan) -> Outcome<TaskPlan> {
    let clips = plan.plan().chunks.iter().map(|chunk| chunk.range).collect();
    Ok(TaskPlan { clips, record: record(plan, "plan")? })
}

fn record(value: &impl Serialize, what: &str) -> Outcome<String> {
    match serde_json::to_string(value) {
        Ok(record) if record.len() <= RECORD => Ok(record),
        Ok(record) => Err((format!("the {what}'s record is too long: {} bytes", record.len()), true)),
        Err(error) => Err((format!("the {what}'s record cannot be written: {error}"), true)),
    }
}

fn parsed<T: DeserializeOwned>(record: &str, what: &str) -> Outcome<T> {
    serde_json::from_str(record).map_err(|error| (format!("the {what}'s record cannot be read: {error}"), true))
}
