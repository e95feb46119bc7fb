//! When each frame is shown: constant rates as whole ticks, variable ones from the frames' own durations.

use serde::{Deserialize, Serialize};

use crate::frames::Frame;
use crate::units::{Rational, gcd};

pub(crate) mod even;
mod verdict;

pub(crate) use verdict::{Durations, Verdict};

/// Where the timestamps of the output come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Timing {
    /// Constant at the clip's frame rate, as a pipe would have it, unless the clip has no constant rate or its frames are
    /// truly spaced otherwise: then as [`Timing::Variable`].
    ///
    /// Truly otherwise means that the frames' durations (`_DurationNum / _DurationDen`), taken together, move a frame more than a
    /// little (2 ms, or a quarter of a frame) from where the rate shows it. It does not count that all durations are the same
    /// multiple of the rate's, as after filters that change the rate and copy properties (a note in the report says so); that
    /// they are one number in a container's rounding, of which decimation picks a biased choice; or that a handful of frames at an end
    /// differ, as behind decimators.
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

/// What the frames of a clip, or of a part of it, that were placed on a constant grid say of themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// How long the grid shows each, in seconds.
    pub(crate) period: Rational,
    /// How long they say they are shown. One that says nothing has the grid's word.
    pub(crate) durations: Durations,
}

impl Claims {
    /// What parts in a row say as one; `None` when one of them was not asked.
    pub(crate) fn joined<'a>(parts: impl IntoIterator<Item = Option<&'a Self>>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut joined = parts.next()??.clone();
        for part in parts {
            part?.durations.iter().for_each(|ticks| joined.durations.push(ticks));
        }
        Some(joined)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        verdict::judge(&self.durations.iter().collect::<Vec<_>>(), self.period)
    }

    /// When each frame starts and the last one ends, in ticks of variable timing, by the durations. The first starts at 0.
    pub(crate) fn starts(&self) -> Vec<i64> {
        let ends = self.durations.iter().scan(0_i64, |end, ticks| {
            // Two frames may not share a tick.
            *end = end.saturating_add(ticks.max(1));
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }
}

/// What a report says of durations that contradict the rate which is kept, if they do by more than rounding and drift explain.
pub(crate) fn contradiction(factor: f64, period: Rational) -> Option<String> {
    const WORTH_SAYING: f64 = 0.05;
    let rate = period.inverse()?;
    ((factor - 1.0).abs() > WORTH_SAYING).then(|| {
        format!(
            "the frames say that they are shown {factor:.3} times as long as the clip's rate of {rate} a second shows them; the \
             rate is kept, as a pipe keeps it. Filters that change the rate and copy properties leave it so. If the durations are \
             right, set the rate in the script (std.AssumeFPS) or ask for variable timing (-fps_mode vfr)"
        )
    })
}

/// When each picture is shown and decoded, in ticks.
///
/// Decode times are the presentation times in order, as much earlier as the most reordered packet needs: they grow with
/// every packet, and none is later than its picture's presentation. Encoders count them likewise.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// When each picture starts and the last one ends; `None` when a picture is a tick.
    pub(crate) starts: Option<Vec<i64>>,
    /// How many places the most delayed picture is decoded after its place in presentation order.
    pub(crate) delay: usize,
}

impl Schedule {
    /// By how many places the most delayed picture of a stream is decoded late; `order` holds for each packet in decode order the
    /// number of its picture.
    pub(crate) fn delay_of(order: &[u32]) -> usize {
        (0_u32..).zip(order).map(|(at, &rank)| at.saturating_sub(rank)).max().unwrap_or(0) as usize
    }

    pub(crate) fn shown(&self, picture: usize) -> i64 {
        let Some(starts) = &self.starts else { return picture as i64 };
        starts.get(picture).or(starts.last()).copied().unwrap_or(0)
    }

    pub(crate) fn decoded(&self, packet: usize) -> i64 {
        match packet.checked_sub(self.delay) {
            Some(picture) => self.shown(picture),
            // Before the first picture time goes on as it begins.
            None => self.shown(0) - (self.delay - packet) as i64 * (self.shown(1) - self.shown(0)),
        }
    }
}

/// There is no duration to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoDuration;

/// Hands out presentation times, frame after frame.
#[derive(Debug)]
pub(crate) struct Timeline {
    grid: Grid,
    /// For frames that do not say how long they are shown.
    period: Option<Rational>,
    elapsed: Elapsed,
    frames: i64,
    /// Of a constant grid that frames may contradict.
    claims: Option<Claims>,
}

#[derive(Debug, Clone, Copy)]
enum Grid {
    Constant { period: Rational },
    Variable,
}

impl Timeline {
    /// `rate` is the clip's constant rate, if it has one.
    pub(crate) fn new(timing: Timing, rate: Option<Rational>) -> Self {
        let period = rate.and_then(Rational::inverse);
        let grid = match (timing, period) {
            (Timing::Auto | Timing::Constant, Some(period)) => Grid::Constant { period },
            _ => Grid::Variable,
        };
        let claims = match grid {
            Grid::Constant { period } if timing == Timing::Auto => {
                Some(Claims { period, durations: Durations::default() })
            }
            _ => None,
        };
        Self { grid, period, elapsed: Elapsed::default(), frames: 0, claims }
    }

    /// Seconds per tick.
    pub(crate) fn time_base(&self) -> Rational {
        match self.grid {
            Grid::Constant { period } => period,
            Grid::Variable => variable_tick(),
        }
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(self.grid, Grid::Constant { .. })
    }

    /// What the frames placed so far say of the grid, under [`Timing::Auto`].
    pub(crate) fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    pub(crate) fn into_claims(self) -> Option<Claims> {
        self.claims
    }

    /// Places the next frame.
    pub(crate) fn place(&mut self, frame: &Frame) -> Result<Placed, NoDuration> {
        let index = self.frames;
        self.frames += 1;
        let before = self.elapsed.ticks();
        let duration = frame.properties.duration.or(self.period).ok_or(NoDuration);
        match self.grid {
            Grid::Constant { period } => {
                if let Some(claims) = &mut self.claims {
                    self.elapsed.add(duration.unwrap_or(period));
                    claims.durations.push(self.elapsed.ticks().saturating_sub(before));
                }
                Ok(Placed { pts: index, duration: 1 })
            }
            Grid::Variable => {
                self.elapsed.add(duration?);
                // Two frames may not share a tick; only durations under 0.1 µs come to that.
                Ok(Placed { pts: before, duration: self.elapsed.ticks().saturating_sub(before).max(1) })
            }
        }
    }
}

/// The tick of variable timing, in seconds.
pub(crate) fn variable_tick() -> Rational {
    Rational::new(1, VARIABLE_TICKS).unwrap_or(Rational::ONE)
}

/// An exact sum of durations, in seconds.
#[derive(Debug, Clone, Copy)]
struct Elapsed {
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

    fn add(&mut self, duration: Rational) {
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

    fn ticks(&self) -> i64 {
        i64::try_from(scaled(self.num, self.den, VARIABLE_TICKS)).unwrap_or(i64::MAX)
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
    }

    #[test]
    fn parts_in_a_row_are_judged_as_one() {
        let part = |ticks: i64, frames: u32| {
            let mut durations = Durations::default();
            (0..frames).for_each(|_| durations.push(ticks));
            Some(Claims { period: Rational::new(1, 25).unwrap(), durations })
        };
        let (film, slow) = (part(230_400, 300), part(240_000, 300));
        let joined = |parts: &[&Option<Claims>]| Claims::joined(parts.iter().map(|part| part.as_ref()));
        assert_eq!(film.as_ref().unwrap().verdict(), Verdict::Constant { factor: 1.0 });
        assert!(matches!(slow.as_ref().unwrap().verdict(), Verdict::Constant { .. }));
        assert_eq!(joined(&[&film, &slow]).unwrap().verdict(), Verdict::Variable);
        assert_eq!(joined(&[&film, &None]), None);
    }
}
