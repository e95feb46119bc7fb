//! Whether the clip lasts as long as the picture of its source. The source's sound is copied as it is: beside a clip of another
//! length it cannot fit, and nobody would see that before the file is done.

use crate::container::{self, PictureLength};
use crate::timing::Timing;

use super::RipJob;
use super::event::LengthDiffers;
use super::plan::Plan;

/// Differences up to this, in seconds, are those of a few frames at an end.
const CLOSE_ENOUGH: f64 = 0.5;

/// Compares the two, where a difference would be heard or read: the source has sound or subtitles that are kept, the whole clip is
/// taken, and its rate says how long it lasts.
pub(super) fn compare(job: &RipJob, plan: &Plan, timing: Timing) -> Option<LengthDiffers> {
    let command = &job.command;
    let is_whole = job.options.range.is_none() && command.frame_limit.is_none();
    if !is_whole || timing == Timing::Variable || !command.filters_with_memory().is_empty() {
        return None;
    }
    let rate = command.input_rate.or(plan.frame_rate)?;
    let clip = f64::from(plan.range().len()) / rate.as_f64();
    let PictureLength { seconds: source, has_sound, has_subtitles } =
        container::picture_length(job.source.as_deref()?, &job.output.cancel)?;
    let keep = &job.options.merge;
    let matters = has_sound && keep.audio || has_subtitles && keep.subtitles;
    (matters && (clip - source).abs() > CLOSE_ENOUGH).then(|| LengthDiffers {
        clip,
        source,
        cause: cause(clip / source),
    })
}

/// What usually makes a clip so many times as long as its source.
fn cause(ratio: f64) -> String {
    let is_about = |wanted: f64| (ratio / wanted - 1.0).abs() < 0.004;
    let cause = if is_about(0.8) || is_about(1.25) {
        "soft telecine, as on DVDs, whose source filter delivers 24 coded pictures a second under the name of 30, or the other way round; \
         open it with rff=True (bestsource) and take the telecine back, or set the rate with std.AssumeFPS"
    } else if is_about(0.5) || is_about(2.0) {
        "fields or doubled frames at the rate of single ones, or the other way round; set the rate with std.AssumeFPS"
    } else if (ratio - 1.0).abs() < 0.005 {
        "a rate that was guessed or rounded, such as 24 for 24000/1001; set it with std.AssumeFPS"
    } else {
        "the script leaves frames out or adds some, or the clip's rate is not that of the source (std.AssumeFPS sets one)"
    };
    cause.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_have_their_usual_causes() {
        for (ratio, word) in
            [(0.8, "telecine"), (1.251, "telecine"), (0.5, "fields"), (1.001, "guessed"), (0.37, "leaves")]
        {
            assert!(cause(ratio).contains(word), "{ratio}: {}", cause(ratio));
        }
    }
}
