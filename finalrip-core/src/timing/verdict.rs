//! Whether a clip's frames are evenly spaced, by what they say of how long each is shown.
//!
//! A clip that has a rate keeps it unless its frames are truly spaced otherwise. The durations of a constant source are
//! its period, rounded to what its container counts in (whole milliseconds in Matroska). Filters that leave frames out or
//! double them hand durations on, multiplied or as they are, so that a decimated clip holds a biased choice of rounded values:
//! its sum drifts from the rate without end, although nothing is wrong with the rate.

use serde::{Deserialize, Serialize};

use super::{JITTER_SECONDS, VARIABLE_TICKS};
use crate::units::Rational;

/// Ticks in a second, and in a millisecond.
const SECOND: f64 = VARIABLE_TICKS as f64;
const MILLISECOND: i64 = VARIABLE_TICKS / 1000;

/// How far a rounded duration may lie from the mean of all: a part of the mean, which takes in whole milliseconds of up to 144
/// frames a second, however the clip was decimated; or so much in ticks, for higher rates.
const ROUNDING_PART: f64 = 1.0 / 7.0;
const ROUNDING: f64 = 0.0015 * SECOND;

/// So many frames at either end may be shown for another time, if together they move the rest by less than a frame: the last
/// cycle of a decimator is often cut short.
const ENDS: usize = 12;

/// Frames in a block. The rounding of every usual rate repeats itself within as many.
const BLOCK: usize = 120;

/// How much of the spread between the durations the mean may change from block to block, and from half to half of a short clip.
/// Rounding mixes its two values everywhere alike; two rates that follow each other change the mean by all of it.
const MIXTURE: f64 = 0.25;
const MIXTURE_OF_HALVES: f64 = 0.5;

/// Halves of fewer frames say nothing.
const LEAST_HALF: usize = 24;

/// Frames in a long block, over which 24 and 24000/1001 differ by 42 ms; and by how much such blocks may differ if every
/// duration is a whole millisecond, which are then those of the source itself.
const LONG_BLOCK: usize = 1000;
const LONG_DIFFERENCE: i64 = 20 * MILLISECOND;

/// The durations of frames in a row, in ticks of variable timing, as runs of equal ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Durations(Vec<(i64, u32)>);

impl Durations {
    pub(crate) fn push(&mut self, ticks: i64) {
        match self.0.last_mut() {
            Some((last, frames)) if *last == ticks && *frames < u32::MAX => *frames += 1,
            _ => self.0.push((ticks, 1)),
        }
    }

    /// Frame after frame.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().flat_map(|&(ticks, frames)| std::iter::repeat_n(ticks, frames as usize))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|&(_, frames)| frames as usize).sum()
    }
}

/// What durations say of the rate that a clip has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// The rate is right, or at least nothing better is known: the durations are this many times the rate's period.
    Constant { factor: f64 },
    /// The frames are truly spaced otherwise.
    Variable,
}

/// Judges the durations, in ticks, of a clip's frames in a row, `period` being how long its rate shows each.
pub(crate) fn judge(durations: &[i64], period: Rational) -> Verdict {
    let period = period.as_f64() * SECOND;
    // For how long the last frame is shown moves no other.
    let [moving @ .., _] = durations else { return Verdict::Constant { factor: 1.0 } };
    if is_on_grid(moving, period) {
        return Verdict::Constant { factor: 1.0 };
    }
    let body = without_ends(moving);
    if is_on_grid(body, period) {
        return Verdict::Constant { factor: 1.0 };
    }
    let mean = mean_of(body);
    let is_one_number = body.iter().all(|&duration| is_near(duration, mean));
    if is_one_number && is_even(body, mean) { Verdict::Constant { factor: mean / period } } else { Verdict::Variable }
}

/// Whether every frame starts where the rate says, within a little.
fn is_on_grid(durations: &[i64], period: f64) -> bool {
    let tolerance = (JITTER_SECONDS * SECOND).min(period / 4.0);
    let mut start = 0.0;
    (0..=durations.len()).all(|frame| {
        let off = start - frame as f64 * period;
        start += durations.get(frame).map_or(0.0, |&duration| duration as f64);
        off.abs() <= tolerance
    })
}

fn is_near(duration: i64, mean: f64) -> bool {
    (duration as f64 - mean).abs() <= (mean * ROUNDING_PART).max(ROUNDING)
}

fn mean_of(durations: &[i64]) -> f64 {
    sum_of(durations) as f64 / durations.len().max(1) as f64
}

fn sum_of(durations: &[i64]) -> i64 {
    durations.iter().fold(0, |sum: i64, &duration| sum.saturating_add(duration))
}

/// The durations but for a handful at either end that differ from the usual one.
fn without_ends(durations: &[i64]) -> &[i64] {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0) as f64;
    let most = ENDS.min(durations.len() / 8);
    let odd = |ends: &mut dyn Iterator<Item = &i64>| {
        let odd: Vec<f64> = ends
            .take(most)
            .take_while(|&&duration| !is_near(duration, usual))
            .map(|&duration| duration as f64 - usual)
            .collect();
        if odd.iter().sum::<f64>().abs() < usual { odd.len() } else { 0 }
    };
    let (first, last) = (odd(&mut durations.iter()), odd(&mut durations.iter().rev()));
    &durations[first..durations.len() - last]
}

/// Whether durations that are all near their mean are mixed alike everywhere, as rounding mixes them.
fn is_even(durations: &[i64], mean: f64) -> bool {
    let (Some(least), Some(most)) = (durations.iter().min(), durations.iter().max()) else { return true };
    let spread = most - least;
    if spread == 0 {
        return true;
    }
    let (size, mixture) = match durations.len() / 2 {
        BLOCK.. => (BLOCK, MIXTURE),
        LEAST_HALF.. => (durations.len() / 2, MIXTURE_OF_HALVES),
        _ => (durations.len(), 1.0),
    };
    let blocks = || durations.chunks_exact(size);
    if blocks().any(|block| wander(block, mean) > mean) {
        return false;
    }
    let (least_mean, most_mean) = extremes(blocks().map(mean_of));
    if most_mean - least_mean > spread as f64 * mixture {
        return false;
    }
    let is_in_milliseconds = spread == MILLISECOND && least % MILLISECOND == 0;
    let (shortest, longest) = extremes(durations.chunks_exact(LONG_BLOCK).map(|block| sum_of(block) as f64));
    !is_in_milliseconds || longest - shortest <= LONG_DIFFERENCE as f64
}

/// How far apart the frames of a block lie from where the mean would have them, at most.
fn wander(block: &[i64], mean: f64) -> f64 {
    let positions = block.iter().scan(0.0, |off, &duration| {
        *off += duration as f64 - mean;
        Some(*off)
    });
    let (least, most) = extremes(positions.chain([0.0]));
    most - least
}

/// The least and the largest; both 0 where there is nothing.
fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .fold(None, |seen: Option<(f64, f64)>, value| {
            Some(seen.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
        })
        .unwrap_or((0.0, 0.0))
}

#[cfg(test)]
mod tests;
