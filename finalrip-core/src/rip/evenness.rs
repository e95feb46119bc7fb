//! Whether the clip was evenly spaced after all, now that every frame has said how long it is shown.
//!
//! Chunks are encoded on the clip's grid, and their packets get their places in time when they are joined. So nothing has to
//! be encoded again for a clip that turns out to be variable: its pictures are given other places.

use crate::timing::{Claims, Verdict, contradiction, variable_tick};

use super::RipJob;
use super::plan::Plan;
use super::record::ChunkRecord;

/// The chunks with the times that their pictures get.
pub(super) struct Settled {
    pub(super) chunks: Vec<ChunkRecord>,
    /// What is worth saying of the durations.
    pub(super) note: Option<String>,
}

impl Settled {
    pub(super) fn is_variable(&self) -> bool {
        is_variable(&self.chunks)
    }
}

/// Whether the pictures of chunks have times of their own.
pub(super) fn is_variable(chunks: &[ChunkRecord]) -> bool {
    chunks.first().is_some_and(|chunk| chunk.stream.frame_rate.is_none())
}

/// Judges all chunks together; `None` where the clip is variable and has to be encoded again, because the container knows constant
/// rates only, or because filters of the command made pictures of wrong times.
pub(super) fn settle(job: &RipJob, plan: &Plan, chunks: Vec<ChunkRecord>) -> Option<Settled> {
    debug_assert_eq!(plan.chunks.len(), chunks.len());
    let Some(claims) = Claims::joined(chunks.iter().map(|chunk| chunk.claims.as_ref())) else {
        return Some(Settled { chunks, note: None });
    };
    match claims.verdict() {
        Verdict::Constant { factor } => Some(Settled { chunks, note: contradiction(factor, claims.period) }),
        Verdict::Variable if job.output.repeats || !chunks.iter().all(is_frame_by_frame) => None,
        Verdict::Variable => {
            tracing::info!("the clip's frames are not evenly spaced: they are given their own times");
            Some(Settled { chunks: chunks.into_iter().map(retimed).collect(), note: None })
        }
    }
}

/// Whether each frame became one picture, in its place on the clip's own grid.
fn is_frame_by_frame(chunk: &ChunkRecord) -> bool {
    let Some(claims) = &chunk.claims else { return false };
    chunk.starts.is_empty() && chunk.stream.time_base == claims.period && chunk.order.len() == claims.durations.len()
}

/// The chunk with its pictures where their frames say.
fn retimed(mut chunk: ChunkRecord) -> ChunkRecord {
    if let Some(claims) = chunk.claims.take() {
        chunk.starts = claims.starts();
        chunk.end = chunk.starts.pop().unwrap_or(0);
        (chunk.stream.time_base, chunk.stream.frame_rate) = (variable_tick(), None);
    }
    chunk
}
