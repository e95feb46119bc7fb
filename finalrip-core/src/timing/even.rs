//! A constant rate for frames of variable timing, so that each is shown, and none is left out.

use std::collections::BTreeMap;

use crate::units::Rational;

/// No faster: a single frame that is shown for a moment would multiply the pictures of all others.
const FASTEST: i64 = 240;

/// No slower: a picture is up to half a period off its time.
const SLOWEST: i64 = 10;

/// Rates that sources usually have.
const USUAL: [(i64, i64); 16] = [
    (10, 1),
    (12, 1),
    (15, 1),
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1001),
    (60, 1),
    (100, 1),
    (120_000, 1001),
    (120, 1),
    (144, 1),
];

const MILLISECOND: f64 = 0.001;

/// The rate of frames that are shown for so long each, in seconds: that of the shortest which are common. `None` where there
/// are no durations.
///
/// Common are at least two frames, and one in a hundred. Durations within a millisecond are one, as containers round them; its mean
/// gives the usual rate next to it, if that is within such rounding, or else the next whole number above.
pub(crate) fn rate_of(durations: &[Rational]) -> Option<Rational> {
    let mut counted: BTreeMap<(i64, i64), (f64, usize)> = BTreeMap::new();
    for duration in durations.iter().filter(|duration| duration.is_positive()) {
        counted.entry((duration.num(), duration.den())).or_insert((duration.as_f64(), 0)).1 += 1;
    }
    let mut lengths: Vec<((i64, i64), (f64, usize))> = counted.into_iter().collect();
    lengths.sort_by(|(_, (one, _)), (_, (other, _))| one.total_cmp(other));
    let frames = lengths.iter().map(|(_, (_, frames))| frames).sum::<usize>();
    let enough = (frames / 100).max(2).min(frames);
    let common = (0..lengths.len()).find_map(|shortest| {
        let alike: Vec<_> = lengths[shortest..]
            .iter()
            .take_while(|(_, (seconds, _))| seconds - lengths[shortest].1.0 < 1.01 * MILLISECOND)
            .collect();
        (alike.iter().map(|(_, (_, frames))| frames).sum::<usize>() >= enough).then_some(alike)
    });
    // All of them are rare: the shortest.
    let alike = common.or_else(|| lengths.first().map(|length| vec![length]))?;
    Some(at_least_slowest(match alike[..] {
        [&((num, den), _)] => usual(Rational::new(den, num)?),
        _ => {
            let of_all = alike.iter().map(|(_, (seconds, frames))| seconds * *frames as f64).sum::<f64>();
            let mean = of_all / alike.iter().map(|(_, (_, frames))| *frames as f64).sum::<f64>();
            let in_milliseconds = alike.iter().all(|((_, den), _)| 1000 % den == 0);
            near(mean, if in_milliseconds { MILLISECOND / 2.0 } else { mean / 200.0 })
        }
    }))
}

/// A rate that sources have, or whole milliseconds stand for, or the next above.
fn usual(rate: Rational) -> Rational {
    let is_usual = rate.den() == 1 || USUAL.contains(&(rate.num(), rate.den()));
    if is_usual && rate.num() / rate.den() <= FASTEST {
        return rate;
    }
    let in_milliseconds = 1000 % rate.num() == 0;
    near(1.0 / rate.as_f64(), if in_milliseconds { MILLISECOND / 2.0 } else { 0.0 })
}

/// The usual rate whose period is next to this one and within a tolerance of it, both in seconds, or else the next whole rate above.
fn near(period: f64, tolerance: f64) -> Rational {
    let usual = USUAL.iter().filter_map(|&(num, den)| Rational::new(num, den));
    let off = |rate: &Rational| (1.0 / rate.as_f64() - period).abs();
    let nearest = usual.min_by(|one, other| off(one).total_cmp(&off(other))).filter(|rate| off(rate) <= tolerance);
    let above = (1.0 / period - 1e-6).ceil().clamp(1.0, FASTEST as f64) as i64;
    nearest.or(Rational::new(above, 1)).unwrap_or(Rational::ONE)
}

/// The rate, or the multiple of a slower one.
fn at_least_slowest(rate: Rational) -> Rational {
    let times = (SLOWEST as f64 / rate.as_f64()).ceil().max(1.0) as i64;
    Rational::new(times, 1).and_then(|times| rate.checked_mul(times)).unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(parts: &[(i64, i64, usize)]) -> Option<(i64, i64)> {
        let parts =
            parts.iter().flat_map(|&(num, den, frames)| std::iter::repeat_n(Rational::new(num, den).unwrap(), frames));
        rate_of(&parts.collect::<Vec<_>>()).map(|rate| (rate.num(), rate.den()))
    }

    #[test]
    fn the_shortest_that_is_common_gives_the_rate() {
        for (parts, wanted) in [
            (&[(1, 30, 90), (1, 10, 30)][..], (30, 1)),
            (&[(1001, 24_000, 90), (1001, 30_000, 90)], (30_000, 1001)),
            // Whole milliseconds.
            (&[(33, 1000, 60), (34, 1000, 30), (100, 1000, 30)], (30, 1)),
            (&[(33, 1000, 633), (34, 1000, 367), (100, 1000, 30)], (30_000, 1001)),
            (&[(16, 1000, 30), (17, 1000, 60), (42, 1000, 300)], (60, 1)),
            (&[(1, 25, 30), (3, 25, 30)], (25, 1)),
            // As a camera counts in 1/90000.
            (&[(2998, 90_000, 40), (3003, 90_000, 50), (3001, 90_000, 30), (9000, 90_000, 5)], (30, 1)),
            // One that is odd, and too few to matter.
            (&[(1, 1000, 1), (1, 25, 300), (1, 5, 5)], (25, 1)),
            (&[(59, 1190, 90), (1, 10, 30)], (21, 1)),
            (&[(1, 2000, 90), (1, 10, 30)], (240, 1)),
            (&[(1, 1_000_000, 90), (2, 1_000_000, 30)], (240, 1)),
            (&[(5, 1, 9), (7, 1, 30)], (10, 1)),
            (&[(i64::MAX, 1, 9)], (10, 1)),
            (&[(1, i64::MAX, 9)], (240, 1)),
        ] {
            assert_eq!(rate(parts), Some(wanted), "{parts:?}");
        }
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&[(0, 1, 30)]), None);
    }
}
