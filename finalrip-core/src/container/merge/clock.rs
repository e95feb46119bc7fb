//! Times: shifted and rescaled exactly, and audio that keeps its place to the sample.

use crate::units::Rational;

/// Nanoseconds in a second: offsets between streams are counted in them.
const SECOND: i64 = 1_000_000_000;

/// `ticks` of `base` in nanoseconds, rounded to the nearest.
pub(in crate::container) fn nanoseconds(ticks: i64, base: Rational) -> i64 {
    shifted(ticks, base, 0, Rational::new(1, SECOND).unwrap_or(Rational::ONE))
}

/// `ticks` of `from` plus `shift` nanoseconds, in ticks of `to`. The sum is exact and rounded once, to the nearest.
pub(in crate::container) fn shifted(ticks: i64, from: Rational, shift: i64, to: Rational) -> i64 {
    exactly(ticks, from, shift, to).unwrap_or_else(|| {
        let seconds = ticks as f64 * from.as_f64() + shift as f64 / SECOND as f64;
        // Saturates at the ends of i64.
        (seconds / to.as_f64()).round() as i64
    })
}

/// `None` when the numbers are so large that even 128 bits do not hold their product.
fn exactly(ticks: i64, from: Rational, shift: i64, to: Rational) -> Option<i64> {
    let wide = i128::from;
    let (ticks, scale) = (wide(ticks).checked_mul(wide(from.num()))?, if shift == 0 { 1 } else { wide(SECOND) });
    let sum = ticks.checked_mul(scale)?.checked_add(wide(shift).checked_mul(wide(from.den()))?)?;
    let over = sum.checked_mul(wide(to.den()))?;
    let under = wide(from.den()).checked_mul(scale)?.checked_mul(wide(to.num()))?;
    let half = under / 2;
    let rounded = if over < 0 { over.checked_sub(half)? } else { over.checked_add(half)? } / under;
    i64::try_from(rounded).ok()
}

/// Places audio by counting samples. Containers round times to a millisecond or so; a copy that rounded again would jitter
/// more with every generation, and files that count in samples would show holes and overlaps.
#[derive(Debug)]
pub(super) struct SampleClock {
    period: Rational,
    /// Where the next sample belongs if nothing is missing.
    next: Option<i64>,
}

impl SampleClock {
    pub(super) fn new(sample_rate: u32) -> Self {
        Self { period: Rational::new(1, sample_rate.max(1).into()).unwrap_or(Rational::ONE), next: None }
    }

    /// The duration of a sample in seconds, the base of the times that the clock gives.
    pub(super) fn period(&self) -> Rational {
        self.period
    }

    /// Where `samples` samples lie whose time is `ticks` of `base`, `shift` nanoseconds later; `None` for the time when
    /// the container gives none. A time that agrees with the samples counted so far, within the rounding of `base`, is
    /// theirs; any other is taken at its word.
    pub(super) fn place(&mut self, ticks: Option<i64>, base: Rational, shift: i64, samples: i64) -> Option<i64> {
        let placed = match (ticks, self.next) {
            (Some(ticks), Some(next)) => self.reconcile(ticks, base, shift, next),
            (Some(ticks), None) => shifted(ticks, base, shift, self.period),
            (None, next) => next?,
        };
        self.next = Some(placed.saturating_add(samples));
        Some(placed)
    }

    /// Where the next sample belongs if nothing is missing, once a time is known.
    pub(super) fn next(&self) -> Option<i64> {
        self.next
    }

    /// Whether a time is known, so that what has none of its own can be placed after it.
    pub(super) fn is_running(&self) -> bool {
        self.next.is_some()
    }

    /// Starts with `samples` samples that have no time of their own, before the first that has.
    pub(super) fn start_before(&mut self, ticks: i64, base: Rational, shift: i64, samples: i64) {
        self.next = Some(shifted(ticks, base, shift, self.period).saturating_sub(samples));
    }

    /// Muxers round more than once, so that a time may be off by a whole tick and a half.
    fn reconcile(&self, ticks: i64, base: Rational, shift: i64, next: i64) -> i64 {
        let exact = shifted(ticks, base, shift, self.period);
        let half_ticks = |half_ticks: i64| {
            let half = Rational::new(base.num(), base.den().saturating_mul(2)).unwrap_or(base);
            shifted(ticks.saturating_mul(2).saturating_add(half_ticks), half, shift, self.period)
        };
        let (low, high) = (half_ticks(-3), half_ticks(3));
        let reach = high.saturating_sub(low);
        if (low.saturating_sub(reach)..=high.saturating_add(reach)).contains(&next) {
            next.clamp(low, high)
        } else {
            exact
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(num: i64, den: i64) -> Rational {
        Rational::new(num, den).unwrap()
    }

    #[test]
    fn a_shift_is_added_before_the_one_rounding() {
        // 41.7083 ms and 0.4 ms are 42.1, not 42 and 0.
        assert_eq!(shifted(1, base(1001, 24_000), 400_000, base(1, 1000)), 42);
        assert_eq!(shifted(1, base(1001, 24_000), 900_000, base(1, 1000)), 43);
        assert_eq!(shifted(-1, base(1001, 24_000), 0, base(1, 1000)), -42);
        assert_eq!(shifted(24_000, base(1001, 24_000), -1_001_000_000, base(1, 1000)), 999_999);
        assert_eq!(nanoseconds(90_000, base(1, 90_000)), SECOND);
    }

    #[test]
    fn absurd_times_saturate() {
        assert_eq!(shifted(i64::MAX, base(i64::MAX, 1), i64::MAX, base(1, i64::MAX)), i64::MAX);
    }

    /// AAC at 44.1 kHz in Matroska: 1024 samples are 23.2 ms, which its times round to 23 and 24.
    #[test]
    fn rounded_times_become_a_steady_count_of_samples() {
        let mut clock = SampleClock::new(44_100);
        for count in 0..2000 {
            let rounded = shifted(count * 1024, base(1, 44_100), 0, base(1, 1000));
            assert_eq!(clock.place(Some(rounded), base(1, 1000), 0, 1024), Some(count * 1024));
        }
    }

    #[test]
    fn a_hole_is_a_hole() {
        let mut clock = SampleClock::new(48_000);
        assert_eq!(clock.place(Some(0), base(1, 1000), 0, 960), Some(0));
        assert_eq!(clock.place(Some(500), base(1, 1000), 0, 960), Some(24_000));
        assert_eq!(clock.place(None, base(1, 1000), 0, 960), Some(24_960));
    }

    #[test]
    fn before_the_first_time_nothing_can_be_placed() {
        assert_eq!(SampleClock::new(48_000).place(None, base(1, 1000), 0, 960), None);
    }
}
