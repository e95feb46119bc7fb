//! Frame ranges and exact times.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A half-open range of output frames, counted from 0: `start` is in it, `end` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameRange {
    /// The first frame.
    pub start: u32,
    /// One past the last frame.
    pub end: u32,
}

impl FrameRange {
    /// The number of frames; 0 when the range is empty or reversed.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no frame is in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Range<u32>> for FrameRange {
    fn from(range: Range<u32>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// An exact fraction, kept in lowest terms with a positive denominator. Used for frame rates, durations in seconds
/// and aspect ratios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Fraction")]
pub struct Rational {
    num: i64,
    den: i64,
}

/// A fraction as it was stored, not yet in lowest terms.
#[derive(Deserialize)]
struct Fraction {
    num: i64,
    den: i64,
}

impl TryFrom<Fraction> for Rational {
    type Error = &'static str;

    fn try_from(Fraction { num, den }: Fraction) -> Result<Self, Self::Error> {
        Self::new(num, den).ok_or("a fraction with the denominator 0")
    }
}

impl Rational {
    /// 1.
    pub const ONE: Self = Self { num: 1, den: 1 };

    /// `num / den` in lowest terms, or `None` when `den` is 0 or the result does not fit.
    #[must_use]
    pub fn new(num: i64, den: i64) -> Option<Self> {
        if den == 0 || num == i64::MIN || den == i64::MIN {
            return None;
        }
        let divisor = gcd(num.unsigned_abs(), den.unsigned_abs()).max(1) as i64;
        let sign = den.signum();
        Some(Self { num: sign * num / divisor, den: sign * den / divisor })
    }

    /// The numerator.
    #[must_use]
    pub fn num(self) -> i64 {
        self.num
    }

    /// The denominator, always above 0.
    #[must_use]
    pub fn den(self) -> i64 {
        self.den
    }

    /// The reciprocal, or `None` for 0.
    #[must_use]
    pub fn inverse(self) -> Option<Self> {
        Self::new(self.den, self.num)
    }

    /// The exact product, or `None` when it does not fit.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        Self::new(self.num.checked_mul(other.num)?, self.den.checked_mul(other.den)?)
    }

    /// The nearest `f64`.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// Whether the value is above 0.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.num > 0
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// The greatest common divisor; `gcd(0, n) == n`.
pub(crate) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rationals_are_kept_in_lowest_terms_with_a_positive_denominator() {
        let rate = Rational::new(-48_000, -2002).unwrap();
        assert_eq!((rate.num(), rate.den()), (24_000, 1001));
        assert_eq!(Rational::new(3, -6), Rational::new(-1, 2));
        assert_eq!(Rational::new(1, 0), None);
        assert_eq!(Rational::new(i64::MIN, 1), None);
        assert_eq!(Rational::new(0, 5).unwrap().inverse(), None);
    }

    #[test]
    fn a_reversed_range_is_empty() {
        assert_eq!(FrameRange { start: 7, end: 3 }.len(), 0);
        assert_eq!(FrameRange::from(2..5).len(), 3);
    }
}
