//! Constant sources in every rounding, decimated in every way, are constant; mixed rates never are.

use super::*;

/// `frames` frames at each of several rates, one after the other: when each starts and the last one ends, in seconds.
fn starts(parts: &[(i64, i64, usize)]) -> Vec<f64> {
    let mut starts = vec![0.0];
    let mut base = 0.0;
    for &(num, den, frames) in parts {
        let period = den as f64 / num as f64;
        starts.extend((1..=frames).map(|frame| base + frame as f64 * period));
        base += frames as f64 * period;
    }
    starts
}

/// Durations as a container has them that counts in 1/`ticks` s.
fn durations(starts: &[f64], ticks: f64) -> Vec<i64> {
    let rounded = |start: &f64| ((start * ticks).round() * SECOND / ticks).round() as i64;
    starts.windows(2).map(|pair| rounded(&pair[1]) - rounded(&pair[0])).collect()
}

fn rate(num: i64, den: i64) -> Rational {
    Rational::new(den, num).unwrap()
}

const MATROSKA: f64 = 1000.0;
const TRANSPORT_STREAM: f64 = 90_000.0;
const CONTAINERS: [f64; 4] = [MATROSKA, TRANSPORT_STREAM, 12_800.0, 120_000.0];
const RATES: [(i64, i64); 10] = [
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (48_000, 1001),
    (50, 1),
    (60_000, 1001),
    (60, 1),
    (100, 1),
];

#[track_caller]
fn assert_constant(durations: &[i64], period: Rational, factor: f64, about: &str) {
    match judge(durations, period) {
        Verdict::Constant { factor: found } => {
            assert!((found / factor - 1.0).abs() < 0.05, "{about}: {found} times the period, not {factor}")
        }
        Verdict::Variable => panic!("{about}: variable"),
    }
}

#[test]
fn a_rounded_rate_is_constant_also_when_frames_are_left_out() {
    for (num, den) in RATES {
        for ticks in CONTAINERS {
            let source = durations(&starts(&[(num, den, 6000)]), ticks);
            let about = format!("{num}/{den} in 1/{ticks} s");
            assert_constant(&source, rate(num, den), 1.0, &about);
            for step in [2, 3, 5, 7, 10] {
                // As std.SelectEvery multiplies durations, and as it leaves them alone.
                let chosen: Vec<i64> = source.iter().step_by(step).copied().collect();
                let multiplied: Vec<i64> = chosen.iter().map(|duration| duration * step as i64).collect();
                let period = Rational::new(den * step as i64, num).unwrap();
                assert_constant(&multiplied, period, 1.0, &format!("one in {step} of {about}"));
                assert_constant(&chosen, period, 1.0 / step as f64, &format!("one in {step} of {about}, left alone"));
            }
        }
    }
}

/// A decimator drops where the picture stands still, which may be another frame of each cycle.
#[test]
fn a_decimator_that_follows_the_picture_leaves_a_constant_rate() {
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % below
    };
    for (num, den) in RATES {
        let source = durations(&starts(&[(num, den, 20_000)]), MATROSKA);
        let mut left = Vec::new();
        for cycle in source.chunks(5) {
            let dropped = random(5);
            // The last cycle is short, and keeps its durations.
            let kept = |(at, duration): (usize, &i64)| (at != dropped || cycle.len() < 5).then_some(duration * 5 / 4);
            left.extend(cycle.iter().enumerate().filter_map(kept));
        }
        assert_constant(&left, Rational::new(den * 5, num * 4).unwrap(), 1.0, &format!("{num}/{den}"));
    }
}

#[test]
fn a_doubled_rate_keeps_itself_and_says_by_how_much_it_is_contradicted() {
    let fields = durations(&starts(&[(30_000, 1001, 3000)]), MATROSKA);
    let bob: Vec<i64> = fields.iter().flat_map(|&duration| [duration, duration]).collect();
    assert_constant(&bob, rate(60_000, 1001), 2.0, "a bob that copies properties");
}

#[test]
fn a_handful_of_frames_at_an_end_is_no_other_rate() {
    let film = durations(&starts(&[(24_000, 1001, 1000)]), 120_000.0);
    for odd in 1..=4 {
        let mut ended = film.clone();
        ended.extend(durations(&starts(&[(30_000, 1001, odd)]), 120_000.0));
        assert_constant(&ended, rate(24_000, 1001), 1.0, "a short last cycle");
        ended.rotate_right(odd);
        assert_constant(&ended, rate(24_000, 1001), 1.0, "a short first cycle");
    }
    // A title that stands for five seconds moves everything behind it.
    let title = [&[5 * VARIABLE_TICKS], film.as_slice()].concat();
    assert_eq!(judge(&title, rate(24_000, 1001)), Verdict::Variable);
}

#[test]
fn mixed_rates_are_variable_whatever_rate_the_clip_claims() {
    let mixed: [&[(i64, i64, usize)]; 9] = [
        &[(24_000, 1001, 3000), (30_000, 1001, 3000), (24_000, 1001, 3000)],
        &[(24, 1, 2000), (25, 1, 2000)],
        &[(24_000, 1001, 5000), (24, 1, 5000)],
        &[(30_000, 1001, 5000), (30, 1, 5000)],
        &[(50, 1, 3000), (60_000, 1001, 3000)],
        &[(25, 1, 60), (12, 1, 60)],
        // Frames that a capture lost, one alone and a quarter of a second.
        &[(30_000, 1001, 3000), (15_000, 1001, 1), (30_000, 1001, 3000)],
        &[(25, 1, 3000), (4, 1, 1), (25, 1, 3000)],
        &[(24, 1, 24), (25, 1, 25)],
    ];
    for parts in mixed {
        let starts = starts(parts);
        let frames = starts.len() - 1;
        let mean = Rational::new((starts[frames] * 1e9 / frames as f64) as i64, 1_000_000_000).unwrap();
        for ticks in [MATROSKA, TRANSPORT_STREAM, 120_000.0] {
            for period in [rate(parts[0].0, parts[0].1), rate(parts[1].0, parts[1].1), mean] {
                assert_eq!(judge(&durations(&starts, ticks), period), Verdict::Variable, "{parts:?} at {period} s");
            }
        }
    }
}

#[test]
fn soft_telecine_and_telephones_are_variable() {
    // Three fields and two, then video: 1001/60000 s each.
    let film = (0..1000).map(|frame| if frame % 2 == 0 { 3 } else { 2 });
    let fields: Vec<i64> = film.chain(std::iter::repeat_n(2, 500)).map(|fields| fields * 96_096).collect();
    assert_eq!(judge(&fields, rate(30_000, 1001)), Verdict::Variable);
    assert_eq!(judge(&fields[..1000], rate(30_000, 1001)), Verdict::Variable);
    // A telephone in the dark: 30, 24 and 20 frames a second, as it likes, on an average that is right.
    let dark: Vec<i64> =
        (0..3000_i64).map(|frame| [192_000, 240_000, 288_000][(frame * frame % 7 % 3) as usize]).collect();
    let mean = Rational::new(sum_of(&dark) / 3000, VARIABLE_TICKS).unwrap();
    assert_eq!(judge(&dark, mean), Verdict::Variable);
}

#[test]
fn absurd_durations_are_judged_without_overflow() {
    let absurd = [i64::MAX, 1, i64::MAX, i64::MAX, 0, 1];
    assert_eq!(judge(&absurd, rate(25, 1)), Verdict::Variable);
    for short in [&[] as &[i64], &[7], &[i64::MAX]] {
        assert_eq!(judge(short, rate(25, 1)), Verdict::Constant { factor: 1.0 });
    }
}

#[test]
fn runs_of_equal_durations_come_back_frame_by_frame() {
    let mut runs = Durations::default();
    let frames = [41, 42, 42, 42, 41, 0, 0];
    frames.iter().for_each(|&ticks| runs.push(ticks));
    assert_eq!(runs.iter().collect::<Vec<_>>(), frames);
    assert_eq!((runs.len(), runs.0.len()), (7, 4));
}
