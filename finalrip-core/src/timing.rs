//! When each frame is shown: constant rates as whole ticks, variable ones from the frames' own durations.

use serde::{Deserialize, Serialize};

use crate::frames::Frame;
use crate::units::{Rational, gcd};

/// Where the timestamps of the output come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Timing {
    /// Constant at the clip's frame rate, as a pipe would have it, unless the clip has no constant rate or a frame's
    /// `_DurationNum / _DurationDen` shows it more than a little (2 ms, or a quarter of a frame) off that grid. In the
    /// second case the encode starts again with [`Timing::Variable`]: frames are not moved in time without being asked.
    #[default]
    Auto,
    /// Constant at the clip's frame rate; durations of frames are not looked at.
    Constant,
    /// From `_DurationNum / _DurationDen` of every frame. One without, such as the last of a file that does not say how
    /// long it is shown, takes the clip's (average) rate; a clip without a rate needs them all.
    Variable,
}

/// Ticks per second of variable timing: every duration whose denominator divides this is exact, which takes in
/// milliseconds, MPEG's 1/90000, the 1001 family up to 120000/1001, and MP4's usual 12800 and 15360. Any other is
/// rounded to the nearest tick (0.17 µs) without ever drifting. It fits the 31 bits of MP4's and H.264's time scales.
const VARIABLE_TICKS: i64 = 5_760_000;

/// How far a frame may be off the constant grid, in seconds, before the clip counts as variable. Matroska rounds to
/// milliseconds, so a source's constant rate arrives with that much jitter.
const JITTER_SECONDS: f64 = 0.002;

/// Where a frame goes, in ticks of [`Timeline::time_base`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) pts: i64,
    pub(crate) duration: i64,
}

/// The frames of a clip, or of a part of it, that were placed; before filters made more or fewer pictures of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedFrames {
    /// How many.
    pub(crate) frames: i64,
    /// Their own durations, summed exactly, in seconds.
    pub(crate) seconds: Rational,
    /// How long each is shown under constant timing, in seconds; `None` under variable timing.
    pub(crate) period: Option<Rational>,
}

/// Why a frame has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// Under [`Timing::Auto`]: the clip is not constant after all.
    OffGrid,
    /// There is no duration to go by.
    NoDuration,
}

/// Hands out presentation times, frame after frame.
#[derive(Debug)]
pub(crate) struct Timeline {
    grid: Grid,
    /// For frames that do not say how long they are shown.
    period: Option<Rational>,
    elapsed: Elapsed,
    frames: i64,
}

#[derive(Debug, Clone, Copy)]
enum Grid {
    Constant { period: Rational, checked: bool },
    Variable,
}

impl Timeline {
    /// `rate` is the clip's constant rate, if it has one.
    pub(crate) fn new(timing: Timing, rate: Option<Rational>) -> Self {
        let period = rate.and_then(Rational::inverse);
        let grid = match (timing, period) {
            (Timing::Auto, Some(period)) => Grid::Constant { period, checked: true },
            (Timing::Constant, Some(period)) => Grid::Constant { period, checked: false },
            _ => Grid::Variable,
        };
        Self { grid, period, elapsed: Elapsed::default(), frames: 0 }
    }

    /// Seconds per tick.
    pub(crate) fn time_base(&self) -> Rational {
        match self.grid {
            Grid::Constant { period, .. } => period,
            Grid::Variable => Rational::new(1, VARIABLE_TICKS).unwrap_or(Rational::ONE),
        }
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(self.grid, Grid::Constant { .. })
    }

    /// What has been placed so far.
    pub(crate) fn placed(&self) -> PlacedFrames {
        let period = match self.grid {
            Grid::Constant { period, .. } => Some(period),
            Grid::Variable => None,
        };
        PlacedFrames { frames: self.frames, seconds: self.elapsed.total(), period }
    }

    /// Places the next frame.
    pub(crate) fn place(&mut self, frame: &Frame) -> Result<Placed, Misplaced> {
        let index = self.frames;
        self.frames += 1;
        let duration = frame.properties.duration;
        match self.grid {
            Grid::Constant { period, checked } => {
                if checked && self.elapsed.is_off(index, period) {
                    return Err(Misplaced::OffGrid);
                }
                self.elapsed.add(duration.unwrap_or(period));
                Ok(Placed { pts: index, duration: 1 })
            }
            Grid::Variable => {
                let pts = self.elapsed.ticks();
                self.elapsed.add(duration.or(self.period).ok_or(Misplaced::NoDuration)?);
                // Two frames may not share a tick; only durations under 0.1 µs come to that.
                Ok(Placed { pts, duration: self.elapsed.ticks().saturating_sub(pts).max(1) })
            }
        }
    }
}

/// An exact sum of durations, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elapsed {
    num: i128,
    den: i64,
}

impl Default for Elapsed {
    fn default() -> Self {
        Self { num: 0, den: 1 }
    }
}

impl Elapsed {
    /// Beyond this the common denominator is given up for one of a femtosecond-like fineness.
    const MAX_DEN: i64 = 1_000_000_000_000_000;

    /// No frame is shown for longer, about 68 years: what a script claims beyond would only overflow sums.
    const LONGEST_SECONDS: i64 = 1 << 31;

    pub(crate) fn add(&mut self, duration: Rational) {
        let longest = Rational::new(Self::LONGEST_SECONDS, 1).unwrap_or(Rational::ONE);
        let duration = if duration.num() / duration.den() >= Self::LONGEST_SECONDS { longest } else { duration };
        let divisor = gcd(self.den.unsigned_abs(), duration.den().unsigned_abs()) as i64;
        match self.den.checked_mul(duration.den() / divisor).filter(|&den| den <= Self::MAX_DEN) {
            Some(den) => {
                let mine = self.num.saturating_mul(i128::from(den / self.den));
                let added = i128::from(duration.num()) * i128::from(den / duration.den());
                self.num = mine.saturating_add(added);
                self.den = den;
            }
            None => {
                let added = scaled(duration.num().into(), duration.den(), Self::MAX_DEN);
                self.num = scaled(self.num, self.den, Self::MAX_DEN).saturating_add(added);
                self.den = Self::MAX_DEN;
            }
        }
    }

    /// The sum as a fraction; to the nearest tick where it fits in none.
    pub(crate) fn total(&self) -> Rational {
        let exact = i64::try_from(self.num).ok().and_then(|num| Rational::new(num, self.den));
        exact.or_else(|| Rational::new(self.ticks(), VARIABLE_TICKS)).unwrap_or(Rational::ONE)
    }

    pub(crate) fn ticks(&self) -> i64 {
        i64::try_from(scaled(self.num, self.den, VARIABLE_TICKS)).unwrap_or(i64::MAX)
    }

    /// Whether the sum is off `index` periods by more than jitter.
    pub(crate) fn is_off(&self, index: i64, period: Rational) -> bool {
        let tolerance = JITTER_SECONDS.min(period.as_f64() / 4.0);
        let grid = i128::from(index) * i128::from(period.num());
        let mine = self.num.saturating_mul(i128::from(period.den()));
        let difference = mine.saturating_sub(grid.saturating_mul(i128::from(self.den)));
        let scale = self.den as f64 * period.den() as f64;
        (difference as f64 / scale).abs() > tolerance
    }
}

/// `num / den * scale` to the nearest whole, halves up; `den` is above 0. Whole and rest are scaled apart, so that no
/// product overflows.
fn scaled(num: i128, den: i64, scale: i64) -> i128 {
    let (den, scale) = (i128::from(den), i128::from(scale));
    let rest = num.rem_euclid(den) * scale;
    num.div_euclid(den).saturating_mul(scale).saturating_add((2 * rest + den).div_euclid(2 * den))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(durations: impl IntoIterator<Item = (i64, i64)>) -> Elapsed {
        let mut elapsed = Elapsed::default();
        for (num, den) in durations {
            elapsed.add(Rational::new(num, den).unwrap());
        }
        elapsed
    }

    #[test]
    fn mixed_film_and_video_rates_are_exact_over_hours() {
        let film = std::iter::repeat_n((1001, 24_000), 90_000);
        let video = std::iter::repeat_n((1001, 30_000), 90_000);
        // 90,000 * 1001/24000 + 90,000 * 1001/30000 s = 6756.75 s.
        assert_eq!(sum(film.chain(video)).ticks(), 6_756_750 * VARIABLE_TICKS / 1000);
    }

    #[test]
    fn a_duration_no_tick_divides_never_drifts() {
        // 1/7919 s: prime, no divisor of the tick rate; 7919 of them are one second.
        assert_eq!(sum(std::iter::repeat_n((1, 7919), 7919)).ticks(), VARIABLE_TICKS);
    }

    #[test]
    fn denominators_without_end_do_not_overflow() {
        let primes = [999_983, 999_979, 999_961, 999_959, 999_953, 999_931, 999_917, 999_907];
        let total = sum(primes.iter().cycle().take(100_000).map(|&den| (den, den * 24 + 1)));
        let seconds = total.ticks() as f64 / VARIABLE_TICKS as f64;
        assert!((seconds - 100_000.0 / 24.0).abs() < 0.01, "{seconds}");
    }

    #[test]
    fn absurd_durations_are_cut_and_not_overflowed() {
        let elapsed = sum([(i64::MAX, 1), (i64::MAX, 999_983), (i64::MAX, i64::MAX - 1), (1, i64::MAX)]);
        assert_eq!(elapsed.ticks(), (2 * Elapsed::LONGEST_SECONDS + 1) * VARIABLE_TICKS);
        assert!(elapsed.is_off(3, Rational::new(i64::MAX, 7).unwrap()));
    }

    #[test]
    fn millisecond_jitter_is_constant_and_a_rate_change_is_not() {
        let period = Rational::new(1001, 24_000).unwrap();
        let mut elapsed = Elapsed::default();
        let mut shown = 0;
        for index in 0..10_000_i64 {
            assert!(!elapsed.is_off(index, period), "frame {index}");
            let next = ((index + 1) as f64 * 1001.0 / 24.0).round() as i64;
            elapsed.add(Rational::new(next - shown, 1000).unwrap());
            shown = next;
        }
        elapsed.add(Rational::new(1001, 30_000).unwrap());
        assert!(elapsed.is_off(10_001, period));
    }
}
