//! The rip's own journey: plan, encode each chunk, verify, merge.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::container::{Excerpt, MergeProgress, Merged};
use crate::convert;
use crate::encode::inputs;
use crate::encode::pipeline::{self, Opening};
use crate::encoder::command::EncodeCommand;
use crate::encoder::command::streams::StreamRules;
use crate::encoder::takes_fine_times;
use crate::error::{Error, Result};
use crate::frames::FrameSource;
use crate::script::Clip;
use crate::supervise::Teller;
use crate::timing::{Timing, Verdict};
use crate::units::{FrameRange, Rational};

use super::evenness::{self, Settled};
use super::event::{RipEvent, RipReport};
use super::fingerprint::Fingerprint;
use super::join;
use super::plan::{Chunk, Layout, Plan};
use super::record::{ChunkRecord, RipRecord, Workspace};
use super::work::{Crew, Ended};
use super::{RipJob, foresee, length, scene, share};

pub(super) type Events = Teller<RipEvent, RipReport>;

/// Does the whole rip. The finished file still has its temporary name.
pub(super) fn conduct(job: &Arc<RipJob>, workspace: &Arc<Workspace>, events: &Events) -> Result<RipReport> {
    let started = Instant::now();
    let clip = job.first_script().evaluate()?;
    inputs::check_open(job.output.file.target())?;
    if job.output.cancel.is_cancelled() {
        // Before anything of an earlier run, which was perhaps meant, is given up.
        return Err(Error::Cancelled);
    }
    foresee::check_streams(job, clip.info(), clip.pixel_format())?;
    let mut record = settle_plan(job, workspace, &clip, events)?;
    let mut chunks = known_chunks(job, workspace, &record.plan)?;
    let finished: Vec<usize> = chunks.iter().flatten().map(|&(chunk, _)| chunk).collect();
    let chunks_resumed = finished.len();
    events.tell(RipEvent::Planned { plan: record.plan.clone(), finished });
    let differs = length::compare(job, &record.plan, record.timing);
    if let Some(differs) = &differs {
        tracing::warn!("{differs}");
        events.tell(RipEvent::LengthDiffers(differs.clone()));
    }
    let encoding = Instant::now();
    let mut failures = 0;
    let (settled, frames) = loop {
        let chunk_of_change;
        let opening =
            if chunks.iter().all(Option::is_some) { None } else { opening(job, &clip, &record.plan, record.timing)? };
        let crew = Crew::new(job, workspace, &record, chunks, events);
        match crew.encode(opening, clip.clone())? {
            Ended::All { chunks, frames, failed } => {
                failures += failed;
                match evenness::settle(job, &record.plan, chunks) {
                    Some(settled) => break (settled, frames),
                    None => chunk_of_change = 0,
                }
            }
            Ended::OffGrid { chunk } => chunk_of_change = chunk,
        }
        events.tell(RipEvent::TimingChanged { chunk: chunk_of_change });
        (record.plan, record.timing) = (variable_plan(job, &record.plan), Timing::Variable);
        workspace.clear()?;
        workspace.store_rip(&record)?;
        chunks = vec![None; record.plan.chunks.len()];
    };
    // The script's memory is free for what follows.
    drop(clip);
    let fps = if frames == 0 { 0.0 } else { f64::from(frames) / encoding.elapsed().as_secs_f64().max(1e-9) };
    let mut merged = merge(job, workspace, &record.plan, &settled, events)?;
    // A clip that turned out to be variable has its own times, which are the source's.
    merged.notes.extend(differs.filter(|_| !settled.is_variable()).map(|differs| differs.to_string()));
    merged.notes.extend(settled.note.clone());
    if job.output.repeats && record.timing == Timing::Variable {
        merged.notes.push(job.output.repeated());
    }
    Ok(report(
        job,
        &record.plan,
        &settled.chunks,
        merged,
        Figures { chunks_resumed, failures, fps, elapsed: started.elapsed() },
    ))
}

/// The plan alone, with everything that it takes to make it.
pub(super) fn plan_only(job: &RipJob) -> Result<Plan> {
    let clip = job.first_script().evaluate()?;
    foresee::check_streams(job, clip.info(), clip.pixel_format())?;
    let source: Arc<dyn FrameSource> = Arc::new(clip.clone());
    Ok(make_plan(job, &clip, &source)?.0)
}

/// The earlier run's plan if its chunks can be used, else a new one.
fn settle_plan(job: &RipJob, workspace: &Workspace, clip: &Clip, events: &Events) -> Result<RipRecord> {
    let versions = format!("{}, {}", crate::ffi::versions(), clip.core_version());
    let (source, options) = (job.source.as_deref(), job.fingerprinted());
    // What is said of other streams is the merge's affair: finished chunks are of use whatever it is.
    let command = EncodeCommand { streams: StreamRules::default(), ..job.command.clone() };
    let fingerprint = Fingerprint::of(&job.script, &command, source, (&options, &versions))?;
    if let Some(earlier) = workspace.rip() {
        let mut changed = fingerprint.changes_since(&earlier.fingerprint);
        if !job.options.resume {
            changed = vec!["nothing, but resuming was not wanted".to_owned()];
        }
        if changed.is_empty() {
            workspace.sweep(&earlier.plan)?;
            return Ok(earlier);
        }
        tracing::info!("an earlier run's chunks are of no use, changed: {}", changed.join(", "));
        events.tell(RipEvent::StartedAfresh { changed });
    }
    workspace.clear()?;
    let source: Arc<dyn FrameSource> = Arc::new(clip.clone());
    let (plan, timing) = make_plan(job, clip, &source)?;
    let record = RipRecord::new(fingerprint, plan, timing);
    workspace.store_rip(&record)?;
    Ok(record)
}

/// Divides the clip, and notices early when its frames are not evenly spaced.
pub(super) fn make_plan(job: &RipJob, clip: &Clip, source: &Arc<dyn FrameSource>) -> Result<(Plan, Timing)> {
    let info = clip.info();
    let (command, encoder) = (&job.output.command, &job.output.encoder);
    convert::check_alpha(command, encoder, clip.pixel_format(), &job.output.format.name())?;
    let range = job.range(info.frames)?;
    let workers = match job.options.workers {
        Some(workers) => workers,
        None if !job.slices => 1,
        None => share::workers(&job.output.encoder, info),
    };
    let layout = Layout { range, frame_rate: info.frame_rate, length: job.options.chunk, workers };
    let starts = if job.slices { layout.starts() } else { vec![range.start] };
    let mut timing = pipeline::foreseen(&job.output, source)?;
    let mut looked_at = 0;
    let mut cuts = Vec::new();
    if job.options.scene {
        let seen = scene::look(source, clip.pixel_format(), &layout.windows(&starts), &job.output.cancel)?;
        let verdict = seen.claims.map(|claims| claims.verdict());
        if timing == Timing::Auto && verdict == Some(Verdict::Variable) && takes_fine_times(&job.output.encoder) {
            timing = Timing::Variable;
        }
        (looked_at, cuts) = (seen.frames, seen.cuts);
        // The windows lie apart from each other and from where the first chunk begins.
        clip.clear_caches();
    }
    let chunks = layout.chunks(&starts, &cuts);
    let workers = workers.min(chunks.len());
    let plan = Plan { workers, threads: share::threads(workers), chunks, looked_at, frame_rate: info.frame_rate };
    let is_variable = timing == Timing::Variable || info.frame_rate.is_none();
    Ok((if is_variable { variable_plan(job, &plan) } else { plan }, timing))
}

/// The plan for a clip that turned out to be variable. Pictures that are repeated on a grid have to be counted from the first one
/// on, so that they are made in one chunk.
pub(super) fn variable_plan(job: &RipJob, plan: &Plan) -> Plan {
    if !job.output.repeats {
        return plan.clone();
    }
    let chunks = vec![Chunk { range: plan.range(), at_cut: false }];
    Plan { chunks, workers: 1, threads: share::threads(1), ..plan.clone() }
}

/// How every chunk's encoder is opened; for one chunk alone its own first picture says it.
pub(super) fn opening(job: &RipJob, clip: &Clip, plan: &Plan, timing: Timing) -> Result<Option<Opening>> {
    if plan.chunks.len() == 1 {
        return Ok(None);
    }
    let source: Arc<dyn FrameSource> = Arc::new(clip.clone());
    let mut first = job.chunk_job(plan.range(), &job.output.file.target().with_extension("mkv"), None)?;
    first.cancel = job.output.cancel.clone();
    pipeline::look(&first, &source, clip.pixel_format(), timing).map(Some)
}

/// A finished chunk with its number.
pub(super) type Known = Option<(usize, ChunkRecord)>;

fn known_chunks(job: &RipJob, workspace: &Workspace, plan: &Plan) -> Result<Vec<Known>> {
    let known = |(chunk, planned): (usize, &super::plan::Chunk)| {
        let Some(record) = workspace.chunk(chunk).filter(|record| record.range == planned.range) else {
            return Ok(None);
        };
        match join::verify(&workspace.chunk_path(chunk), &record, &job.output.cancel) {
            Ok(()) => Ok(Some((chunk, record))),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                tracing::warn!("chunk {chunk} of an earlier run is of no use: {error}");
                Ok(None)
            }
        }
    };
    plan.chunks.iter().enumerate().map(known).collect()
}

fn merge(job: &RipJob, workspace: &Workspace, plan: &Plan, settled: &Settled, events: &Events) -> Result<Merged> {
    let chunks = &settled.chunks;
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    events.tell(RipEvent::MergeStarted { bytes });
    let pictures_total = pictures(chunks);
    let mut told = Instant::now();
    let mut tell = |progress: MergeProgress| {
        if told.elapsed() >= job.options.progress_interval {
            told = Instant::now();
            let (bytes, pictures) = (progress.bytes, progress.video_packets);
            events.offer(RipEvent::Merging { bytes, pictures, pictures_total });
        }
    };
    debug_assert_eq!(chunks.len(), plan.chunks.len());
    let files: Vec<PathBuf> = (0..chunks.len()).map(|chunk| workspace.chunk_path(chunk)).collect();
    join_all(job, plan, &files, chunks, &mut tell)
}

/// Joins and merges the chunks, every picture of them.
pub(super) fn join_all(
    job: &RipJob,
    plan: &Plan,
    files: &[PathBuf],
    chunks: &[ChunkRecord],
    tell: &mut dyn FnMut(MergeProgress),
) -> Result<Merged> {
    let rate = plan.frame_rate.filter(|_| !evenness::is_variable(chunks));
    let excerpt = job.options.range.zip(rate).map(|(wanted, rate)| excerpt_of(wanted, plan.range(), rate));
    let mut merged = join::merge(job, excerpt, files, chunks, tell)?;
    if job.options.range.is_some_and(|range| range.start > 0) && excerpt.is_none() && job.source.is_some() {
        merged.notes.push(
            "sound, subtitles and chapters are the whole source's, from its start: in a clip of variable rate nothing tells \
             when the first frame of the range is shown"
                .to_owned(),
        );
    }
    Ok(merged)
}

/// When the frames of a range are shown, at a constant rate. Without an end where the clip or the command ended the range.
fn excerpt_of(wanted: FrameRange, taken: FrameRange, rate: Rational) -> Excerpt {
    let time = |frame: u32| {
        let nanoseconds = i128::from(frame) * i128::from(rate.den()) * 1_000_000_000 / i128::from(rate.num().max(1));
        i64::try_from(nanoseconds).unwrap_or(i64::MAX)
    };
    Excerpt { start: time(taken.start), end: (wanted.end == taken.end).then(|| time(taken.end)) }
}

/// The pictures of all chunks.
pub(super) fn pictures(chunks: &[ChunkRecord]) -> u64 {
    chunks.iter().map(|chunk| chunk.order.len() as u64).sum()
}

/// What of the report the chunks and the merge do not say.
pub(super) struct Figures {
    pub(super) chunks_resumed: usize,
    pub(super) failures: u32,
    pub(super) fps: f64,
    pub(super) elapsed: Duration,
}

pub(super) fn report(job: &RipJob, plan: &Plan, chunks: &[ChunkRecord], merged: Merged, figures: Figures) -> RipReport {
    let stream = &chunks[0].stream;
    let ticks: i64 = chunks.iter().map(|chunk| chunk.end).sum();
    RipReport {
        output: job.output.file.target().to_owned(),
        container: job.output.format.name(),
        encoder: stream.encoder.clone(),
        codec: stream.codec.clone(),
        pixel_format: stream.pixel_format.clone(),
        width: stream.width,
        height: stream.height,
        range: plan.range(),
        pictures: merged.video_packets,
        frame_rate: stream.frame_rate,
        duration: ticks as f64 * stream.time_base.as_f64(),
        bytes: merged.bytes,
        video_bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
        chunks: chunks.len(),
        chunks_resumed: figures.chunks_resumed,
        failures: figures.failures,
        streams: merged.streams,
        chapters: merged.chapters,
        notes: merged.notes,
        elapsed: figures.elapsed,
        fps: figures.fps,
    }
}
