//! The stages of a rip as functions over files: plan, encode a chunk, merge.
//!
//! [`Rip::run`] does all of it on threads of this process. Whoever divides the work otherwise, among processes or
//! machines, calls the stages one by one and carries [`StagedPlan`] and [`EncodedChunk`] from one to the next; both are
//! small, and made to be stored.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::container::{MergeProgress, output_error};
use crate::encode::inputs;
use crate::encode::pipeline::{Opening, Seam, StreamFacts, Terms};
use crate::encoder::parts;
use crate::error::{Error, Result};
use crate::ffi::StreamParameters;
use crate::frames::{FrameSource, Frames};
use crate::report::Progress;
use crate::script::{Clip, from_working_folder};
use crate::timing::Timing;
use crate::units::FrameRange;

use super::evenness::{self, Settled};
use super::event::RipReport;
use super::plan::Plan;
use super::record::{ChunkRecord, StreamRecord};
use super::run::{self, Figures};
use super::{Rip, RipJob, foresee, join, work};

/// The stages of one rip. Keeps the evaluated script, so that the next chunk starts where the last one ended: for one
/// thread, which encodes chunks in order.
///
/// ```no_run
/// use finalrip_core::{EncodeCommand, Rip, Script, Staged};
///
/// # fn main() -> finalrip_core::Result<()> {
/// let command = EncodeCommand::parse("-c:v libx264 -crf 18")?;
/// let mut stages = Rip::new(Script::from_path("denoise.vpy"), command, "out.mkv").source("in.mkv").stages()?;
/// let plan = stages.plan()?;
/// let mut chunks = Vec::new();
/// for chunk in 0..plan.plan().chunks.len() {
///     let path = std::path::PathBuf::from(format!("chunk-{chunk}.mkv"));
///     match stages.encode(&plan, chunk, &path, Some(chunk + 1), &mut |_| {})? {
///         Staged::Done(encoded) => chunks.push((path, encoded)),
///         Staged::OffGrid => todo!("start again with plan.variable()"),
///     }
/// }
/// stages.merge(&plan, &chunks, &mut |_| {})?;
/// # Ok(())
/// # }
/// ```
pub struct Stages {
    job: Arc<RipJob>,
    clip: Option<Clip>,
    /// How every chunk's encoder is opened, under this timing.
    opening: Option<(Timing, Option<Opening>)>,
    /// The frames of the chunk that was said to be next.
    begun: Option<Frames>,
    /// A chunk that the next ones have to be joined to.
    like: Option<StreamRecord>,
}

/// Which frames make which chunk, and how they are placed in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagedPlan {
    plan: Plan,
    timing: Timing,
}

/// What is known of an encoded chunk beside its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncodedChunk(ChunkRecord);

/// What a stage came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Staged<T> {
    /// It is done.
    Done(T),
    /// The clip's frames turned out not to be evenly spaced, early in its first chunk, or where a merge cannot mend it: into
    /// containers that know constant rates only, and behind filters of the command that go by time. Encode every chunk again,
    /// with [`StagedPlan::variable`].
    OffGrid,
}

/// How far a merge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MergeStep {
    /// Bytes written so far.
    pub bytes: u64,
    /// Pictures written so far.
    pub pictures: u64,
    /// Pictures in all.
    pub pictures_total: u64,
}

impl StagedPlan {
    /// The chunks.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The same chunks, with so many threads for each encoder.
    #[must_use]
    pub fn with_threads(&self, threads: usize) -> Self {
        let plan = Plan { threads: Some(threads), ..self.plan.clone() };
        Self { plan, timing: self.timing }
    }

    /// The same chunks for a clip whose frames are not evenly spaced.
    #[must_use]
    pub fn variable(&self) -> Self {
        Self { plan: self.plan.clone(), timing: Timing::Variable }
    }
}

impl EncodedChunk {
    /// The frames of the script's output that went in.
    #[must_use]
    pub fn range(&self) -> FrameRange {
        self.0.range
    }

    /// The size of its file in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }
}

impl Rip {
    /// The stages, to be run one by one instead of [`Rip::run`]; nothing is evaluated or written yet.
    ///
    /// [`RipOptions::cancel`](super::RipOptions::cancel) stops the stage that runs, as soon as filters and encoder come
    /// back from what they are doing. Of the options, `resume` and `retries` are the caller's affair here.
    ///
    /// # Errors
    /// As [`Rip::run`] for settings that cannot be.
    pub fn stages(&self) -> Result<Stages> {
        let mut job = RipJob::new(self, false)?;
        job.output.cancel = self.options.cancel.clone();
        Ok(Stages { job: Arc::new(job), clip: None, opening: None, begun: None, like: None })
    }
}

impl Stages {
    /// Divides the script's output into chunks. Takes up to 5 % of the frames when it looks for scene cuts.
    ///
    /// # Errors
    /// As [`Rip::plan`].
    pub fn plan(&mut self) -> Result<StagedPlan> {
        let clip = self.clip()?;
        foresee::check_streams(&self.job, clip.info(), clip.pixel_format())?;
        let source: Arc<dyn FrameSource> = Arc::new(clip.clone());
        let (plan, timing) = run::make_plan(&self.job, &clip, &source)?;
        Ok(StagedPlan { plan, timing })
    }

    /// Names a chunk that those to be encoded from now on have to be joined to, though under another command or script: what a
    /// decoder cannot change at a keyframe is then refused before it is encoded. `None`, the default, leaves that to the merge.
    pub fn join_to(&mut self, chunk: Option<&EncodedChunk>) {
        self.like = chunk.map(|chunk| chunk.0.stream.clone());
    }

    /// Encodes one chunk into the Matroska file `path`, and verifies it: the number of pictures, a keyframe at its start.
    /// The file takes its name when it is complete.
    ///
    /// `next` is the chunk that these stages will encode after this one, if that is known. Its first frames are made while this
    /// chunk's encoder empties itself; should another chunk be encoded then, they were made in vain. A number that the
    /// plan does not have means none.
    ///
    /// # Errors
    /// [`Error::Setting`] for a chunk that the plan does not have, [`Error::Clip`] for one that cannot be joined to that of
    /// [`Stages::join_to`]; otherwise as [`Rip::run`], for one attempt.
    pub fn encode(
        &mut self,
        plan: &StagedPlan,
        chunk: usize,
        path: &Path,
        next: Option<usize>,
        listen: &mut dyn FnMut(&Progress),
    ) -> Result<Staged<EncodedChunk>> {
        let Some(&planned) = plan.plan.chunks.get(chunk) else {
            let expected = "a number below that of the plan's chunks";
            return Err(Error::Setting { option: "chunk", value: chunk.to_string(), expected });
        };
        self.check_chunk(path)?;
        self.check_repeats(plan)?;
        let clip = self.clip()?;
        if clip.info().frames < plan.plan.range().end {
            let reason = "the script makes fewer frames than when the plan was made; plan it again".to_owned();
            return Err(Error::Clip { reason });
        }
        self.open(&clip, plan)?;
        let opening = self.opening.as_ref().and_then(|(_, opening)| opening.as_ref());
        let mut job = self.job.chunk_job(planned.range, path, plan.plan.threads)?;
        job.cancel = self.job.output.cancel.clone();
        let mut tell = |progress: Progress| listen(&progress);
        let next = next.and_then(|next| plan.plan.chunks.get(next)).map(|next| next.range);
        let begun = self.begun.take().filter(|frames| frames.range() == planned.range);
        let like = self.like.as_ref();
        let admit = |facts: &StreamFacts, stream: &StreamParameters| join::admit(&self.job, (facts, stream), like);
        let seam = Seam { begun, next, admit: Some(&admit) };
        let terms = Terms { timing: plan.timing, opening, watch: work::watch(&job, &plan.plan, chunk) };
        let made = work::make_chunk(&job, clip, planned, terms, seam, &mut tell)?;
        let Some((record, begun)) = made else {
            return Ok(Staged::OffGrid);
        };
        self.begun = begun;
        let record = join::check(path, &job, record)?;
        job.file.publish().map_err(|error| output_error(path, error.to_string()))?;
        Ok(Staged::Done(EncodedChunk(record)))
    }

    /// Joins the chunks, given with their files in the plan's order, and merges them with the source's other streams into
    /// the rip's output. The script is let go first: its memory is free for what follows.
    ///
    /// # Errors
    /// [`Error::State`] for a chunk whose file is not what its record says, [`Error::Clip`] for chunks that cannot be
    /// joined, [`Error::Output`]; otherwise as [`Rip::run`].
    pub fn merge(
        &mut self,
        plan: &StagedPlan,
        chunks: &[(PathBuf, EncodedChunk)],
        listen: &mut dyn FnMut(MergeStep),
    ) -> Result<Staged<RipReport>> {
        let started = Instant::now();
        self.begun = None;
        (self.clip, self.opening) = (None, None);
        let (files, records): (Vec<PathBuf>, Vec<ChunkRecord>) =
            chunks.iter().map(|(path, chunk)| (path.clone(), chunk.0.clone())).unzip();
        check_chunks(&plan.plan, &records)?;
        let read = files.iter().map(|path| ("one of the chunks", path.as_path()));
        inputs::check(self.job.output.file.target(), read, &self.job.command)?;
        let Some(Settled { chunks: records, note }) = evenness::settle(&self.job, &plan.plan, records) else {
            return Ok(Staged::OffGrid);
        };
        let pictures_total = run::pictures(&records);
        let mut tell = |progress: MergeProgress| {
            listen(MergeStep { bytes: progress.bytes, pictures: progress.video_packets, pictures_total });
        };
        let output = &self.job.output.file;
        output.reset().map_err(|error| output_error(output.target(), error.to_string()))?;
        let mut merged = run::join_all(&self.job, &plan.plan, &files, &records, &mut tell)?;
        merged.notes.extend(note);
        output.publish().map_err(|error| output_error(output.target(), error.to_string()))?;
        let frames = f64::from(plan.plan.range().len());
        let encoding: f64 = records.iter().map(|record| record.elapsed.as_secs_f64()).sum();
        let figures = Figures {
            chunks_resumed: 0,
            failures: 0,
            fps: if encoding > 0.0 { frames / encoding } else { 0.0 },
            elapsed: started.elapsed(),
        };
        Ok(Staged::Done(run::report(&self.job, &plan.plan, &records, merged, figures)))
    }

    /// Refuses a chunk's file that the rip reads.
    fn check_chunk(&self, path: &Path) -> Result<()> {
        let job = &self.job;
        let target = from_working_folder(path).map_err(|error| output_error(path, error.to_string()))?;
        let source = job.source.as_deref().map(|path| ("the source", path));
        inputs::check(&target, inputs::of_script(&job.script).chain(source), &job.command)?;
        let named = job.options.inputs.iter().map(|path| ("one of the files that it is made from", path.as_path()));
        inputs::check(&target, named, &job.command)
    }

    /// Refuses a plan whose pictures would have to be repeated, and cannot be.
    fn check_repeats(&self, plan: &StagedPlan) -> Result<()> {
        if !self.job.output.repeats || plan.timing != Timing::Variable {
            return Ok(());
        }
        let encoder = &self.job.output.encoder;
        let reason = match plan.plan.chunks.len() {
            1 if parts::makes_empty_packets(encoder) => format!(
                "it has no variable timing, so that pictures of this clip are repeated, and {encoder} makes empty packets of them, \
                 which a chunk in Matroska loses: write .mkv, choose another encoder, or rip in one go (Rip::run)"
            ),
            1 => return Ok(()),
            _ => "it has no variable timing, which this clip needs: write .mkv, .mp4, .mov, .webm, .ts or .nut, or plan one chunk \
                  (RipOptions::slice)"
                .to_owned(),
        };
        Err(output_error(self.job.output.file.target(), reason))
    }

    /// The script, evaluated if it was not.
    fn clip(&mut self) -> Result<Clip> {
        match &self.clip {
            Some(clip) => Ok(clip.clone()),
            None => {
                let clip = self.job.first_script().evaluate()?;
                inputs::check_open(self.job.output.file.target())?;
                Ok(self.clip.insert(clip).clone())
            }
        }
    }

    fn open(&mut self, clip: &Clip, plan: &StagedPlan) -> Result<()> {
        if self.opening.as_ref().is_none_or(|(timing, _)| *timing != plan.timing) {
            self.opening = Some((plan.timing, run::opening(&self.job, clip, &plan.plan, plan.timing)?));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stages").field("output", &self.job.output.file.target()).finish_non_exhaustive()
    }
}

/// Whether there is every chunk of the plan. That each file holds what its record says is seen while it is merged.
fn check_chunks(plan: &Plan, records: &[ChunkRecord]) -> Result<()> {
    let ranges = records.iter().map(|record| record.range);
    if ranges.eq(plan.chunks.iter().map(|chunk| chunk.range)) {
        return Ok(());
    }
    let expected = "every chunk of the plan, once and in order";
    Err(Error::Setting { option: "chunks", value: format!("{} of them", records.len()), expected })
}
