//! Workers: each takes the next chunk, encodes it, has it verified and recorded, until none is left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::dispatcher::{get_default, with_default};

use crate::cancel::CancelToken;
use crate::encode::job::Job;
use crate::encode::pipeline::{self, Opening, Outcome, Seam, Stop, StreamFacts, Terms, Watch};
use crate::error::{Error, Result};
use crate::ffi::StreamParameters;
use crate::frames::{FrameSource, Frames};
use crate::report::Progress;
use crate::script::Clip;
use crate::supervise::caught;
use crate::units::FrameRange;

use super::event::{RipEvent, RipProgress, WorkerProgress};
use super::plan::{Chunk, Plan};
use super::record::{ChunkRecord, RipRecord, StreamRecord, Workspace};
use super::run::{Events, Known};
use super::{Environments, RipJob, join, share};

/// How the workers came to an end.
pub(super) enum Ended {
    /// Every chunk is there.
    All {
        chunks: Vec<ChunkRecord>,
        /// Frames that this run encoded.
        frames: u32,
        /// Attempts that failed.
        failed: u32,
    },
    /// Under [`Timing::Auto`] the first chunk showed early that the clip's frames are not evenly spaced.
    OffGrid { chunk: usize },
}

/// What the workers of one rip share.
pub(super) struct Crew<'a> {
    job: &'a RipJob,
    workspace: &'a Workspace,
    record: &'a RipRecord,
    events: &'a Events,
    /// Stops these workers, and is stopped with the rip.
    halt: CancelToken,
    board: Mutex<Board>,
}

/// What is to do, what is done, and who does what.
struct Board {
    queue: VecDeque<usize>,
    done: Vec<Option<ChunkRecord>>,
    busy: Vec<Option<WorkerProgress>>,
    /// Why the workers were stopped.
    halted: Option<Result<usize, Error>>,
    failed: u32,
    started: Instant,
    told: Option<Instant>,
    /// Frames of finished chunks, and of those the ones that were there at the start.
    frames: u32,
    frames_before: u32,
    bytes: u64,
}

impl<'a> Crew<'a> {
    pub(super) fn new(
        job: &'a RipJob,
        workspace: &'a Workspace,
        record: &'a RipRecord,
        known: Vec<Known>,
        events: &'a Events,
    ) -> Self {
        let done: Vec<Option<ChunkRecord>> = known.into_iter().map(|known| known.map(|(_, record)| record)).collect();
        let frames_before = done.iter().flatten().map(|record| record.range.len()).sum();
        let board = Board {
            queue: (0..done.len()).filter(|&chunk| done[chunk].is_none()).collect(),
            busy: Vec::new(),
            halted: None,
            failed: 0,
            started: Instant::now(),
            told: None,
            frames: frames_before,
            frames_before,
            bytes: done.iter().flatten().map(|record| record.bytes).sum(),
            done,
        };
        Self { job, workspace, record, events, halt: job.output.cancel.child(), board: Mutex::new(board) }
    }

    /// Encodes what is missing. `clip` is the evaluated script, for the first worker or for all.
    pub(super) fn encode(self, opening: Option<Opening>, clip: Clip) -> Result<Ended> {
        let missing = self.board().queue.len();
        let workers = self.job.options.workers.unwrap_or(self.record.plan.workers).min(missing);
        self.board().busy = vec![None; workers];
        if workers > 0 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(workers)
                .thread_name(|index| format!("finalrip-worker-{index}"))
                .build()
                .map_err(|error| Error::Internal(format!("no threads could be started: {error}")))?;
            let log = &get_default(Clone::clone);
            pool.scope(|scope| {
                for number in 0..workers {
                    let clip = match self.job.options.environments {
                        Environments::PerWorker if number > 0 => None,
                        _ => Some(clip.clone()),
                    };
                    let (crew, opening) = (&self, opening.as_ref());
                    let worker = Worker { number, clip, opening, begun: None };
                    scope.spawn(move |_| with_default(log, || crew.work(worker)));
                }
            });
        }
        let board = self.board.into_inner().unwrap_or_else(PoisonError::into_inner);
        match board.halted {
            Some(Ok(chunk)) => return Ok(Ended::OffGrid { chunk }),
            Some(Err(error)) => return Err(error),
            None if self.halt.is_cancelled() => return Err(Error::Cancelled),
            None => {}
        }
        // For certain, and whatever was told in the last moments: who counts frames ends with all of them.
        self.events.tell(RipEvent::Progress(board.progress(self.record.plan.range().len())));
        let chunks: Option<Vec<ChunkRecord>> = board.done.into_iter().collect();
        let chunks = chunks.ok_or_else(|| Error::Internal("a chunk was left undone".to_owned()))?;
        Ok(Ended::All { chunks, frames: board.frames - board.frames_before, failed: board.failed })
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut worker: Worker<'_>) {
        while !self.halt.is_cancelled() {
            let Some(chunk) = self.board().queue.pop_front() else { return };
            if let Err(halted) = self.see_through(&mut worker, chunk) {
                self.board().halted.get_or_insert(halted);
                self.halt.cancel();
            }
        }
    }

    /// Tries a chunk until it is done, as often as the options allow.
    fn see_through(&self, worker: &mut Worker<'_>, chunk: usize) -> Result<(), Result<usize, Error>> {
        let planned = self.record.plan.chunks[chunk];
        let attempts = self.job.options.retries.saturating_add(1);
        for attempt in 1..=attempts {
            let event = RipEvent::ChunkStarted { chunk, range: planned.range, worker: worker.number, attempt };
            self.events.tell(event);
            let error = match caught(|| self.attempt(worker, chunk, planned)) {
                Ok(Attempt::Done) => return Ok(()),
                Ok(Attempt::OffGrid) => return Err(Ok(chunk)),
                Err(error) => error,
            };
            let frames = self.board().busy[worker.number].take().map_or(0, |progress| progress.frames);
            if self.halt.is_cancelled() {
                return Err(Err(Error::Cancelled));
            }
            self.board().failed += 1;
            let attempts_left = if may_pass(&error, frames) { attempts - attempt } else { 0 };
            let reason = crate::error::chain(&error);
            tracing::warn!("chunk {chunk} failed, attempt {attempt}: {reason}");
            self.events.tell(RipEvent::ChunkFailed { chunk, attempt, attempts_left, reason });
            if attempts_left == 0 {
                let range = planned.range;
                // What is wrong with the script, the command or the disk is not wrong with the chunk.
                let of_chunk = may_pass(&error, frames);
                let failed = |source| Error::Chunk { chunk, range, attempts: attempt, source };
                return Err(Err(if of_chunk { failed(Box::new(error)) } else { error }));
            }
            // Whatever state the filters are in, the next attempt gets new ones.
            (worker.clip, worker.begun) = (None, None);
        }
        Ok(())
    }

    fn attempt(&self, worker: &mut Worker<'_>, chunk: usize, planned: Chunk) -> Result<Attempt> {
        let clip = self.clip(worker)?;
        let path = self.workspace.chunk_path(chunk);
        let mut job = self.job.chunk_job(planned.range, &path, self.record.plan.threads)?;
        job.cancel = self.halt.clone();
        job.requests = job.requests.or_else(|| self.requests(clip.info().threads));
        self.show(worker.number, chunk, planned, None);
        let (number, timing) = (worker.number, self.record.timing);
        let mut tell = |progress: Progress| self.show(number, chunk, planned, Some(&progress));
        let begun = worker.begun.take().filter(|frames| frames.range() == planned.range);
        let first = self.board().done.iter().flatten().next().map(|record| record.stream.clone());
        let admit =
            |facts: &StreamFacts, stream: &StreamParameters| join::admit(self.job, (facts, stream), first.as_ref());
        let seam = Seam { begun, next: self.successor(chunk), admit: Some(&admit) };
        let watch = watch(&job, &self.record.plan, chunk);
        let terms = Terms { timing, opening: worker.opening, watch };
        let Some((record, begun)) = make_chunk(&job, clip, planned, terms, seam, &mut tell)? else {
            return Ok(Attempt::OffGrid);
        };
        worker.begun = begun;
        let record = join::check(&path, &job, record)?;
        if self.halt.is_cancelled() {
            return Err(Error::Cancelled);
        }
        // In this order: a chunk counts when its record is there.
        self.workspace.forget_chunk(chunk)?;
        let publish = || job.file.publish();
        self.workspace
            .change(|| publish().map_err(|error| crate::container::output_error(&path, error.to_string())))?;
        self.workspace.store_chunk(chunk, &record)?;
        self.finished(worker.number, chunk, record);
        Ok(Attempt::Done)
    }

    /// Frames that one worker asks for ahead: its part of what keeps a shared core's threads busy.
    fn requests(&self, threads: usize) -> Option<usize> {
        let workers = self.board().busy.len().max(1);
        let shared = self.job.options.environments == Environments::Shared;
        (shared && workers > 1).then(|| threads.div_ceil(workers) + 2)
    }

    /// The frames of the next chunk, if it is sure that whoever encodes this one goes on with it. Several workers keep the
    /// machine busy while one of them is between chunks.
    fn successor(&self, chunk: usize) -> Option<FrameRange> {
        let board = self.board();
        let next = board.queue.front().filter(|&&next| board.busy.len() == 1 && next == chunk + 1)?;
        Some(self.record.plan.chunks[*next].range)
    }

    /// The worker's script, evaluated if need be.
    fn clip(&self, worker: &mut Worker<'_>) -> Result<Clip> {
        if let Some(clip) = &worker.clip {
            return Ok(clip.clone());
        }
        let shares = match self.job.options.environments {
            Environments::PerWorker => self.board().busy.len().max(1),
            Environments::Shared => 1,
        };
        let clip = self.job.script.clone().with_share(share::cores().div_ceil(shares)).evaluate()?;
        if clip.info().frames < self.record.plan.range().end {
            let reason = "the script made fewer frames when it was evaluated again".to_owned();
            return Err(Error::Clip { reason });
        }
        Ok(worker.clip.insert(clip).clone())
    }

    fn finished(&self, worker: usize, chunk: usize, record: ChunkRecord) {
        let (frames, bytes, elapsed) = (record.range.len(), record.bytes, record.elapsed);
        {
            let mut board = self.board();
            board.busy[worker] = None;
            board.frames += frames;
            board.bytes += bytes;
            board.done[chunk] = Some(record);
        }
        self.events.tell(RipEvent::ChunkFinished { chunk, worker, frames, bytes, elapsed });
    }

    /// Notes how far a worker is, and tells the caller if it is time to.
    fn show(&self, worker: usize, chunk: usize, planned: Chunk, progress: Option<&Progress>) {
        let mut board = self.board();
        board.busy[worker] = Some(WorkerProgress {
            worker,
            chunk,
            frames: progress.map_or(0, |progress| progress.frames),
            frames_total: planned.range.len(),
            bytes: progress.map_or(0, |progress| progress.bytes),
            fps: progress.map_or(0.0, |progress| progress.fps),
        });
        if board.told.is_none_or(|told| told.elapsed() >= self.job.options.progress_interval) {
            board.told = Some(Instant::now());
            let progress = board.progress(self.record.plan.range().len());
            drop(board);
            self.events.offer(RipEvent::Progress(progress));
        }
    }
}

struct Worker<'a> {
    number: usize,
    /// Frames of the next chunk that were begun with the last one; dropped before the clip that they come from.
    begun: Option<Frames>,
    clip: Option<Clip>,
    opening: Option<&'a Opening>,
}

enum Attempt {
    Done,
    OffGrid,
}

impl Board {
    fn progress(&self, frames_total: u32) -> RipProgress {
        let elapsed = self.started.elapsed();
        let frames = self.frames + self.busy.iter().flatten().map(|worker| worker.frames).sum::<u32>();
        let fps = f64::from(frames - self.frames_before) / elapsed.as_secs_f64().max(1e-9);
        let left = f64::from(frames_total.saturating_sub(frames));
        RipProgress {
            frames,
            frames_total,
            chunks: self.done.iter().flatten().count(),
            chunks_total: self.done.len(),
            bytes: self.bytes + self.busy.iter().flatten().map(|worker| worker.bytes).sum::<u64>(),
            fps,
            elapsed,
            eta: (fps > 0.0).then(|| Duration::try_from_secs_f64(left / fps).unwrap_or_default()),
            workers: self.busy.iter().flatten().copied().collect(),
        }
    }
}

/// Which chunk may show that the clip is variable, so that all begins again: the first, early, for little is lost then. Whether
/// that is so follows from the clip alone, and not from the order in which chunks are finished. What shows later, of all chunks
/// together, only moves pictures in time.
pub(super) fn watch(job: &Job, plan: &Plan, chunk: usize) -> Watch {
    match chunk {
        0 if plan.chunks.len() == 1 => Watch::whole(job),
        0 => Watch::beginning(job),
        _ => Watch::NEVER,
    }
}

/// Encodes a chunk into the job's file, which is not verified or published yet, and begins what the seam asks for; `None`
/// when the clip's frames are seen not to be evenly spaced.
pub(super) fn make_chunk(
    job: &Job,
    clip: Clip,
    planned: Chunk,
    terms: Terms<'_>,
    seam: Seam<'_>,
    tell: &mut dyn FnMut(Progress),
) -> Result<Option<(ChunkRecord, Option<Frames>)>> {
    let format = clip.pixel_format();
    if seam.begun.is_none() {
        // The chunk begins somewhere else than the last one ended, or than another worker's; at its seams a few frames are
        // made a second time anyway.
        clip.clear_caches();
    }
    let source: Arc<dyn FrameSource> = Arc::new(clip);
    match pipeline::once(job, (&source, format), terms, seam, tell) {
        Ok((outcome, begun)) => Ok(Some((chunk_record(planned, &outcome), begun))),
        Err(Stop::OffGrid { .. }) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Whether trying again may help: a filter or an encoder that failed under way, but not a wrong setting or a full disk.
fn may_pass(error: &Error, frames: u32) -> bool {
    match error {
        Error::Frame { .. } | Error::Internal(_) => true,
        Error::Encoder { .. } => frames > 0,
        _ => false,
    }
}

fn chunk_record(planned: Chunk, outcome: &Outcome) -> ChunkRecord {
    let Outcome { report, trace } = outcome;
    // As `Times` counts where nothing is said.
    let is_a_tick_each = trace.starts.iter().copied().chain([trace.end]).eq(0..=trace.starts.len() as i64);
    ChunkRecord {
        range: planned.range,
        bytes: report.bytes,
        elapsed: report.elapsed,
        stream: StreamRecord::of(&trace.stream),
        contents: String::new(),
        order: trace.order.clone(),
        starts: if is_a_tick_each { Vec::new() } else { trace.starts.clone() },
        end: trace.end,
        claims: trace.claims.clone(),
    }
}
