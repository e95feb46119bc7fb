//! SvtAv1EncApp's command line, as of its releases 1.4 to 3.1. Nearly every option takes a value.

use super::Takes::{MaybeWhole, Number, Text, Whole};
use super::{Act, CommandError, Given, Long, READS_FILE, Reader, SEVERAL_PASSES, Tool, WRITES_FILE, libav};

pub(super) static TOOL: Tool = Tool {
    name: "SvtAv1EncApp",
    encoder: "libsvtav1",
    params: "svtav1-params",
    names_or_files: &[],
    single_dash_names: true,
    long: Long::Whole,
    finish: levels_of_app,
    short: &[
        ('i', "input"),
        ('b', "output"),
        ('c', "config"),
        ('o', "recon"),
        ('w', "width"),
        ('h', "height"),
        ('n', "frames"),
        ('q', "qp"),
    ],
    flags: &[],
    whole: WHOLE,
    numbers: NUMBERS,
    texts: TEXTS,
    special: SPECIAL,
};

#[rustfmt::skip]
const WHOLE: &[&str] = &[
    "enable-hdr", "lp", "pin", "ss", "qp", "mbr", "tbr", "max-qp", "min-qp", "aq-mode", "use-fixed-qindex-offsets",
    "key-frame-qindex-offset", "key-frame-chroma-qindex-offset", "luma-y-dc-qindex-offset", "chroma-u-dc-qindex-offset",
    "chroma-u-ac-qindex-offset", "chroma-v-dc-qindex-offset", "chroma-v-ac-qindex-offset", "undershoot-pct",
    "overshoot-pct", "mbr-overshoot-pct", "gop-constraint-rc", "buf-sz", "buf-initial-sz", "buf-optimal-sz",
    "recode-loop", "bias-pct", "minsection-pct", "maxsection-pct", "enable-qm", "qm-min", "qm-max", "chroma-qm-min",
    "chroma-qm-max", "irefresh-type", "scd", "lookahead", "hierarchical-levels", "pred-struct", "startup-mg-size",
    "startup-qp-offset", "enable-dg", "tile-rows", "tile-columns", "enable-dlf", "enable-cdef", "enable-restoration",
    "enable-tpl-la", "enable-mfmv", "fast-decode", "enable-tf", "enable-overlays", "scm", "rmv", "film-grain",
    "film-grain-denoise", "superres-mode", "superres-denom", "superres-kf-denom", "superres-qthres",
    "superres-kf-qthres", "sframe-dist", "sframe-mode", "resize-mode", "resize-denom", "resize-kf-denom",
    "enable-variance-boost", "variance-boost-strength", "variance-octile", "variance-boost-curve", "sharpness",
    "tf-strength", "kf-tf-strength", "luminance-qp-bias", "lossless", "avif", "rtc", "max-tx-size",
    "adaptive-film-grain", "noise-norm-strength", "extended-crf",
];

#[rustfmt::skip]
const NUMBERS: &[&str] = &["crf", "qp-scale-compress-strength", "ac-bias", "psy-rd"];

#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "rc", "keyint", "tune", "profile", "tier", "asm", "qindex-offsets", "chroma-qindex-offsets",
    "lambda-scale-factors", "mastering-display", "content-light", "frame-resz-events", "frame-resz-kf-denoms",
    "frame-resz-denoms",
];

const SPECIAL: &[(&str, super::Takes, Act)] = &[
    ("preset", Whole, Act::Option("preset")),
    ("input", Text, Act::Do(super::input)),
    ("output", Text, Act::Do(super::output)),
    ("frames", Whole, Act::Do(super::frames)),
    ("svtav1-params", Text, Act::Do(params)),
    ("level", Number, Act::Do(level)),
    ("level-of-parallelism", Whole, Act::Param(Some("lp"))),
    ("color-primaries", Text, Act::Colour("color_primaries", Some("color-primaries"))),
    ("transfer-characteristics", Text, Act::Colour("color_trc", Some("transfer-characteristics"))),
    ("matrix-coefficients", Text, Act::Colour("colorspace", Some("matrix-coefficients"))),
    ("color-range", Text, Act::Colour("color_range", Some("color-range"))),
    ("chroma-sample-position", Text, Act::Colour("chroma_sample_location", Some("chroma-sample-position"))),
    ("pass", Text, Act::Do(super::passes)),
    ("passes", Text, Act::Do(super::passes)),
    // The clip describes itself, and progress is the caller's.
    ("width", Whole, Act::Unused),
    ("height", Whole, Act::Unused),
    ("forced-max-frame-width", Whole, Act::Unused),
    ("forced-max-frame-height", Whole, Act::Unused),
    ("fps", Number, Act::Unused),
    ("fps-num", Whole, Act::Unused),
    ("fps-denom", Whole, Act::Unused),
    ("input-depth", Whole, Act::Unused),
    ("color-format", Text, Act::Unused),
    ("compressed-ten-bit-format", Whole, Act::Unused),
    ("nb", Whole, Act::Unused),
    ("inj", Whole, Act::Unused),
    ("inj-frm-rt", Whole, Act::Unused),
    ("progress", Whole, Act::Unused),
    ("no-progress", MaybeWhole, Act::Unused),
    ("enable-stat-report", Whole, Act::Unused),
    ("skip", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("stats", Text, Act::Refuse(SEVERAL_PASSES)),
    ("config", Text, Act::Refuse(READS_FILE)),
    ("use-q-file", Whole, Act::Refuse(READS_FILE)),
    ("qpfile", Text, Act::Refuse(READS_FILE)),
    ("roi-map-file", Text, Act::Refuse(READS_FILE)),
    ("fgs-table", Text, Act::Refuse(READS_FILE)),
    ("errlog", Text, Act::Refuse(WRITES_FILE)),
    ("recon", Text, Act::Refuse(WRITES_FILE)),
    ("stat-file", Text, Act::Refuse(WRITES_FILE)),
    ("force-key-frames", Text, Act::Refuse("keyframes at chosen places are not supported; use --keyint")),
    ("help", Text, Act::Refuse(super::PRINTS)),
    ("color-help", Text, Act::Refuse(super::PRINTS)),
    ("version", Text, Act::Refuse(super::PRINTS)),
];

/// A wrapper that still has `hielevel` sets its own default; this is the program's.
fn levels_of_app(reader: &mut Reader) -> Result<(), CommandError> {
    let given = |name: &str| reader.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if given("hierarchical-levels").is_some() || libav::find_encoder_option("libsvtav1", "hielevel").is_none() {
        return Ok(());
    }
    let is_random_access = given("pred-struct").is_none_or(|structure| structure == "2");
    let levels = match given("rc").unwrap_or("0") {
        "0" if is_random_access => "5",
        "1" if is_random_access => "4",
        _ => "3",
    };
    reader.param("--hierarchical-levels", "hierarchical-levels", levels)
}

/// The program takes `4.0`, the library `40`.
fn level(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let level = given.value.parse().ok().map(|level: f64| (level * 10.0).round());
    let level = level.filter(|level| *level == 0.0 || (20.0..=73.0).contains(level));
    let level = level.ok_or_else(|| given.bad_value("a level from 2.0 to 7.3, or 0 for whatever is needed"))?;
    reader.param(given.typed, "level", &level.to_string())
}

/// Pairs as the library takes them, among the other options.
fn params(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    for pair in given.value.split(':').filter(|pair| !pair.is_empty()) {
        let pair = pair.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty());
        let (key, value) = pair.ok_or_else(|| given.bad_value("key=value pairs with `:` between them"))?;
        reader.param(given.typed, key, value)?;
    }
    Ok(())
}
