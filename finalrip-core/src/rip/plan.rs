//! The plan: which frames make which chunk. A value that can be printed, stored and compared, made without a video.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{FrameRange, Rational};

/// How long a chunk should be.
///
/// Shorter chunks lose less when a rip is interrupted and spread better over workers; each one costs a keyframe, the
/// start of an encoder, and what its rate control has to learn anew.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChunkLength {
    /// From the clip's length and the number of workers: at most 60 seconds, at least 10 where there is enough, and
    /// two a worker, so that none is idle for long at the end.
    #[default]
    Auto,
    /// So many seconds of the script's output.
    Seconds(f64),
    /// So many frames of the script's output.
    Frames(u32),
}

/// One chunk of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Chunk {
    /// The frames of the script's output.
    pub range: FrameRange,
    /// Whether it starts at a scene cut that was looked for and found.
    pub at_cut: bool,
}

/// Which frames make which chunk, and with how much of the machine each is encoded.
///
/// Chunks are in order, without gaps; no frame is in two of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The chunks, at least one.
    pub chunks: Vec<Chunk>,
    /// Chunks that are encoded at the same time.
    pub workers: usize,
    /// Threads that each encoder is given; `None` leaves it the whole machine.
    pub threads: Option<usize>,
    /// Frames that were looked at for scene cuts.
    pub looked_at: u32,
    /// Frames a second of the script's output; `None` where it varies.
    #[serde(default)]
    pub frame_rate: Option<Rational>,
}

/// The longest chunk that is chosen unasked, and the shortest while the clip is long enough, in seconds.
const LONGEST: f64 = 60.0;
const SHORTEST: f64 = 10.0;

/// The frames to look at for scene cuts: at most one in so many of all.
const LOOK_ONE_IN: u32 = 20;

/// The same for one worker, for whom the look is time in which nothing is encoded: a keyframe a minute that is not at a
/// cut costs less than the search for a better place.
const LOOK_ONE_IN_ALONE: u32 = 100;

/// No window is longer, in seconds: a cut that is farther off is not worth its frames.
const WINDOW: f64 = 2.0;

/// What boundaries are made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) range: FrameRange,
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) length: ChunkLength,
    pub(crate) workers: usize,
}

impl Layout {
    fn fps(&self) -> f64 {
        self.frame_rate.map_or(24.0, Rational::as_f64)
    }

    fn frames_in(&self, seconds: f64) -> u32 {
        // Saturates: a float beyond the range becomes its end.
        (seconds * self.fps()).round().max(1.0) as u32
    }

    /// Where chunks start, the first one included, before scene cuts are looked for.
    pub(crate) fn starts(&self) -> Vec<u32> {
        let total = self.range.len();
        match self.length {
            ChunkLength::Frames(frames) => self.steps(frames.max(1)),
            ChunkLength::Seconds(seconds) => self.steps(self.frames_in(seconds)),
            ChunkLength::Auto => {
                let chunks = self.chunks_for(total);
                let at = |index: u32| u64::from(total) * u64::from(index) / u64::from(chunks);
                (0..chunks).map(|index| self.range.start + at(index) as u32).collect()
            }
        }
    }

    fn steps(&self, frames: u32) -> Vec<u32> {
        (self.range.start..self.range.end).step_by(frames as usize).collect()
    }

    fn chunks_for(&self, total: u32) -> u32 {
        let needed = total.div_ceil(self.frames_in(LONGEST)).max(1);
        let workers = u32::try_from(self.workers).unwrap_or(u32::MAX).max(1);
        if workers == 1 {
            return needed;
        }
        let affordable = (total / self.frames_in(SHORTEST)).max(workers.min(total)).max(1);
        needed.max(workers.saturating_mul(2)).min(affordable).max(needed).next_multiple_of(workers).min(total.max(1))
    }

    /// The frames to look at round each inner start; empty windows where that is too few to find anything.
    ///
    /// A window of n frames shows n - 1 possible cuts. All of them together stay within 5 % of the frames, for one worker
    /// within 1 %.
    pub(crate) fn windows(&self, starts: &[u32]) -> Vec<FrameRange> {
        let inner = u32::try_from(starts.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if inner == 0 {
            return Vec::new();
        }
        let one_in = if self.workers > 1 { LOOK_ONE_IN } else { LOOK_ONE_IN_ALONE };
        let share = self.range.len() / one_in / inner;
        let window = |index: usize| {
            let (before, start) = (starts[index - 1], starts[index]);
            let after = starts.get(index + 1).copied().unwrap_or(self.range.end);
            // A start may move by a quarter of the shorter neighbour, so that no chunk gets much shorter.
            let room = (start - before).min(after - start) / 2;
            let length = share.min(room).min(self.frames_in(WINDOW));
            let from = start - length / 2;
            if length < 2 { FrameRange { start, end: start } } else { FrameRange { start: from, end: from + length } }
        };
        (1..starts.len()).map(window).collect()
    }

    /// The chunks, with inner starts moved to the nearest of the cuts found in their windows.
    pub(crate) fn chunks(&self, starts: &[u32], cuts: &[Vec<u32>]) -> Vec<Chunk> {
        let settled: Vec<(u32, bool)> = (0..starts.len())
            .map(|index| {
                let found = index.checked_sub(1).and_then(|inner| cuts.get(inner));
                let cut = found.and_then(|cuts| cuts.iter().min_by_key(|cut| cut.abs_diff(starts[index])));
                cut.map_or((starts[index], false), |&cut| (cut, true))
            })
            .collect();
        let ends = settled.iter().skip(1).map(|&(start, _)| start).chain([self.range.end]);
        let chunk = |(&(start, at_cut), end)| Chunk { range: FrameRange { start, end }, at_cut };
        settled.iter().zip(ends).map(chunk).collect()
    }
}

impl Plan {
    /// The frames of all chunks.
    #[must_use]
    pub fn range(&self) -> FrameRange {
        let start = self.chunks.first().map_or(0, |chunk| chunk.range.start);
        FrameRange { start, end: self.chunks.last().map_or(start, |chunk| chunk.range.end) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (frames, chunks) = (self.range().len(), self.chunks.len());
        write!(
            f,
            "{frames} frames in {chunks} chunk{}, {} worker{}",
            plural(chunks),
            self.workers,
            plural(self.workers)
        )?;
        match self.threads {
            Some(threads) => write!(f, ", {threads} encoder thread{} each", plural(threads))?,
            None => f.write_str(", each encoder with as many threads as it likes")?,
        }
        for (index, chunk) in self.chunks.iter().enumerate() {
            let cut = if chunk.at_cut { ", at a scene cut" } else { "" };
            write!(
                f,
                "\n{index:>5}  {:>8}..{:<8} {:>6} frames{cut}",
                chunk.range.start,
                chunk.range.end,
                chunk.range.len()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(frames: u32, length: ChunkLength, workers: usize) -> Layout {
        Layout { range: (0..frames).into(), frame_rate: Rational::new(25, 1), length, workers }
    }

    fn lengths(layout: &Layout) -> Vec<u32> {
        layout.chunks(&layout.starts(), &[]).iter().map(|chunk| chunk.range.len()).collect()
    }

    #[test]
    fn chunks_cover_every_frame_once() {
        for frames in [1, 2, 6, 7, 8, 249, 250, 251, 1000, 100_000] {
            for length in [ChunkLength::Auto, ChunkLength::Frames(7), ChunkLength::Seconds(4.0)] {
                for workers in [1, 2, 5, 64] {
                    let layout = Layout { range: (50..50 + frames).into(), ..layout(0, length, workers) };
                    let starts = layout.starts();
                    let cuts: Vec<Vec<u32>> =
                        layout.windows(&starts).iter().map(|w| (w.start + 1..w.end).take(1).collect()).collect();
                    let chunks = layout.chunks(&starts, &cuts);
                    assert_eq!((chunks[0].range.start, chunks[chunks.len() - 1].range.end), (50, 50 + frames));
                    assert!(chunks.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
                    assert!(chunks.iter().all(|chunk| !chunk.range.is_empty()), "{layout:?}: {chunks:?}");
                }
            }
        }
    }

    #[test]
    fn a_length_in_frames_is_kept_to_the_frame() {
        assert_eq!(lengths(&layout(20, ChunkLength::Frames(7), 2)), [7, 7, 6]);
        assert_eq!(lengths(&layout(60, ChunkLength::Seconds(1.0), 2)), [25, 25, 10]);
        assert_eq!(lengths(&layout(60, ChunkLength::Frames(0), 1)), [1; 60]);
    }

    #[test]
    fn chosen_chunks_are_at_most_a_minute_and_two_a_worker() {
        assert_eq!(lengths(&layout(1000, ChunkLength::Auto, 1)), [1000]);
        assert_eq!(lengths(&layout(1000, ChunkLength::Auto, 2)), [250; 4]);
        assert_eq!(lengths(&layout(3000, ChunkLength::Auto, 1)), [1500; 2]);
        let film = lengths(&layout(150_000, ChunkLength::Auto, 8));
        assert_eq!(film.len(), 104);
        assert!(film.iter().all(|&frames| frames <= 1500));
        // Too short for many: one a worker, and never more chunks than frames.
        assert_eq!(lengths(&layout(100, ChunkLength::Auto, 4)), [25; 4]);
        assert_eq!(lengths(&layout(3, ChunkLength::Auto, 8)), [1; 3]);
    }

    #[test]
    fn at_most_one_frame_in_twenty_is_looked_at_and_one_in_a_hundred_by_one_worker() {
        for (frames, workers) in [(100, 2), (1000, 2), (1000, 5), (150_000, 8), (4321, 3), (100, 1), (150_000, 1)] {
            let layout = layout(frames, ChunkLength::Auto, workers);
            let looked: u32 = layout.windows(&layout.starts()).iter().map(FrameRange::len).sum();
            let allowed = if workers == 1 { frames / 100 } else { frames / 20 };
            assert!(looked <= allowed, "{looked} of {frames}");
            assert_eq!(looked > 0, frames > 100 || workers > 1, "{looked} of {frames}");
        }
    }

    #[test]
    fn the_nearest_cut_in_the_window_wins() {
        let layout = layout(1000, ChunkLength::Frames(250), 2);
        let chunks = layout.chunks(&layout.starts(), &[vec![245, 251], vec![], vec![742, 744]]);
        let starts: Vec<(u32, bool)> = chunks.iter().map(|chunk| (chunk.range.start, chunk.at_cut)).collect();
        assert_eq!(starts, [(0, false), (251, true), (500, false), (744, true)]);
    }
}
