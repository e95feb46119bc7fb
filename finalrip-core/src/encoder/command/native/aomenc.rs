//! aomenc's command line, as of libaom 3.6 to 3.12. Names and values stand in one word: `--cpu-used=6`.

use super::Takes::{MaybeText, Nothing, Text, Whole};
use super::{Act, CommandError, Given, Long, READS_FILE, Reader, SEVERAL_PASSES, Tool, WRITES_FILE, webm};

pub(super) static TOOL: Tool = Tool {
    name: "aomenc",
    encoder: "libaom-av1",
    params: "aom-params",
    names_or_files: &[],
    single_dash_names: false,
    long: Long::Attached,
    finish: rates,
    short: &[
        ('c', "cfg"),
        ('D', "debug"),
        ('o', "output"),
        ('p', "passes"),
        ('q', "quiet"),
        ('v', "verbose"),
        ('y', "disable-warning-prompt"),
        ('u', "usage"),
        ('t', "threads"),
        ('w', "width"),
        ('h', "height"),
        ('b', "bit-depth"),
    ],
    flags: &[],
    whole: WHOLE,
    numbers: &[],
    texts: TEXTS,
    special: SPECIAL,
};

/// What the library takes by these names; the rest of the program's options set up what comes before that.
#[rustfmt::skip]
const WHOLE: &[&str] = &[
    "auto-alt-ref", "sharpness", "static-thresh", "row-mt", "fp-mt", "tile-columns", "tile-rows",
    "enable-tpl-model", "enable-keyframe-filtering", "arnr-maxframes", "arnr-strength", "max-intra-rate",
    "max-inter-rate", "gf-cbr-boost", "lossless", "enable-cdef", "enable-restoration", "enable-rect-partitions",
    "enable-ab-partitions", "enable-1to4-partitions", "min-partition-size", "max-partition-size",
    "enable-dual-filter", "enable-chroma-deltaq", "enable-intra-edge-filter", "enable-order-hint", "enable-tx64",
    "enable-flip-idtx", "enable-rect-tx", "enable-dist-wtd-comp", "enable-masked-comp", "enable-onesided-comp",
    "enable-interintra-comp", "enable-smooth-interintra", "enable-diff-wtd-comp", "enable-interinter-wedge",
    "enable-interintra-wedge", "enable-global-motion", "enable-warped-motion", "enable-filter-intra",
    "enable-smooth-intra", "enable-paeth-intra", "enable-cfl-intra", "enable-diagonal-intra", "force-video-mode",
    "enable-obmc", "enable-overlay", "enable-palette", "enable-intrabc", "enable-angle-delta",
    "disable-trellis-quant", "enable-qm", "qm-min", "qm-max", "reduced-tx-type-set", "use-intra-dct-only",
    "use-inter-dct-only", "use-intra-default-tx-only", "quant-b-adapt", "coeff-cost-upd-freq",
    "mode-cost-upd-freq", "mv-cost-upd-freq", "dv-cost-upd-freq", "frame-parallel", "error-resilient", "aq-mode",
    "deltaq-mode", "deltaq-strength", "delta-lf-mode", "frame-boost", "noise-sensitivity", "cdf-update-mode",
    "min-gf-interval", "max-gf-interval", "gf-min-pyr-height", "gf-max-pyr-height", "num-tile-groups", "mtu-size",
    "film-grain-test", "denoise-noise-level", "denoise-block-size", "enable-dnl-denoising",
    "max-reference-frames", "reduced-reference-set", "enable-ref-frame-mvs", "set-tier-mask", "min-cr",
    "vbr-corpus-complexity-lap", "enable-directional-intra", "enable-tx-size-search", "loopfilter-control",
    "auto-intra-tools-off", "fwd-kf-dist", "strict-level-conformance", "sb-qp-sweep", "kf-max-pyr-height",
    "input-chroma-subsampling-x", "input-chroma-subsampling-y", "enable-low-complexity-decode",
    "screen-detection-mode", "enable-adaptive-sharpness", "enable-rate-guide-deltaq",
];

#[rustfmt::skip]
const TEXTS: &[&str] = &["tune", "tune-content", "sb-size", "timing-info", "target-seq-level-idx", "dist-metric"];

const SCALED: &str = "pictures of another size than the video's are not encoded by libav's wrapper";
const NOT_IN_LIBAV: &str = "libav has no such setting for libaom";
const TIMES: &str = "timestamps are exact already";

const SPECIAL: &[(&str, super::Takes, Act)] = &[
    ("output", Text, Act::Do(super::output)),
    ("limit", Whole, Act::Do(super::frames)),
    ("passes", Text, Act::Do(super::one_pass)),
    ("codec", Text, Act::Do(codec)),
    ("good", Nothing, Act::Do(usage)),
    ("rt", Nothing, Act::Do(usage)),
    ("allintra", Nothing, Act::Do(usage)),
    ("usage", Whole, Act::Option("usage")),
    ("webm", Nothing, Act::Do(super::container)),
    ("ivf", Nothing, Act::Do(super::container)),
    ("obu", Nothing, Act::Do(super::container)),
    ("threads", Whole, Act::Option("threads")),
    ("cpu-used", Whole, Act::Option("cpu-used")),
    ("profile", Whole, Act::Option("profile")),
    ("fps", Text, Act::Do(super::rate)),
    ("bit-depth", Whole, Act::Do(super::depth)),
    ("lag-in-frames", Whole, Act::Option("lag-in-frames")),
    ("global-error-resilient", Whole, Act::Do(webm::error_resilient)),
    ("drop-frame", Whole, Act::Option("drop-threshold")),
    ("end-usage", Text, Act::Do(webm::end_usage)),
    ("target-bitrate", Whole, Act::Do(webm::target_bitrate)),
    ("cq-level", Whole, Act::Do(webm::level)),
    ("buf-sz", Whole, Act::Do(webm::buffer)),
    ("buf-initial-sz", Whole, Act::Do(webm::buffer)),
    ("buf-optimal-sz", Whole, Act::Do(webm::buffer)),
    ("min-q", Whole, Act::Option("qmin")),
    ("max-q", Whole, Act::Option("qmax")),
    ("undershoot-pct", Whole, Act::Option("undershoot-pct")),
    ("overshoot-pct", Whole, Act::Option("overshoot-pct")),
    ("minsection-pct", Whole, Act::Option("minsection-pct")),
    ("maxsection-pct", Whole, Act::Option("maxsection-pct")),
    ("bias-pct", Whole, Act::Do(webm::bias)),
    ("kf-min-dist", Whole, Act::Option("keyint_min")),
    ("kf-max-dist", Whole, Act::Option("g")),
    ("color-primaries", Text, Act::Colour("color_primaries", None)),
    ("transfer-characteristics", Text, Act::Colour("color_trc", None)),
    ("matrix-coefficients", Text, Act::Colour("colorspace", None)),
    ("chroma-sample-position", Text, Act::Colour("chroma_sample_location", Some("chroma-sample-position"))),
    // The clip describes itself, and progress is the caller's.
    ("width", Whole, Act::Unused),
    ("height", Whole, Act::Unused),
    ("input-bit-depth", Whole, Act::Unused),
    ("i420", Nothing, Act::Unused),
    ("i422", Nothing, Act::Unused),
    ("i444", Nothing, Act::Unused),
    ("quiet", Nothing, Act::Unused),
    ("verbose", Nothing, Act::Unused),
    ("debug", Nothing, Act::Unused),
    ("psnr", MaybeText, Act::Unused),
    ("q-hist", Whole, Act::Unused),
    ("rate-hist", Whole, Act::Unused),
    ("disable-warnings", Nothing, Act::Unused),
    ("disable-warning-prompt", Nothing, Act::Unused),
    // Zero is what happens anyway.
    ("skip", Whole, Act::RefuseUnlessZero(super::PART_OF_CLIP)),
    ("resize-mode", Whole, Act::RefuseUnlessZero(SCALED)),
    ("resize-denominator", Whole, Act::Refuse(SCALED)),
    ("resize-kf-denominator", Whole, Act::Refuse(SCALED)),
    ("superres-mode", Whole, Act::RefuseUnlessZero(SCALED)),
    ("superres-denominator", Whole, Act::Refuse(SCALED)),
    ("superres-kf-denominator", Whole, Act::Refuse(SCALED)),
    ("superres-qthresh", Whole, Act::Refuse(SCALED)),
    ("superres-kf-qthresh", Whole, Act::Refuse(SCALED)),
    ("forced_max_frame_width", Whole, Act::RefuseUnlessZero(SCALED)),
    ("forced_max_frame_height", Whole, Act::RefuseUnlessZero(SCALED)),
    ("large-scale-tile", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("annexb", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("enable-fwd-kf", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("sframe-dist", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("sframe-mode", Whole, Act::Refuse(NOT_IN_LIBAV)),
    ("disable-kf", Nothing, Act::Refuse("libav has no such setting for libaom; use --kf-max-dist")),
    ("full-still-picture-hdr", Nothing, Act::Refuse(NOT_IN_LIBAV)),
    ("use-16bit-internal", Nothing, Act::Refuse(NOT_IN_LIBAV)),
    ("monochrome", Nothing, Act::Refuse("make the clip grey in the script (`resize.Point(format=vs.GRAY8)`)")),
    ("nv12", Nothing, Act::Refuse("the clip has three planes")),
    ("yv12", Nothing, Act::Refuse("the clip's planes are in their usual order")),
    ("stereo-mode", Text, Act::Refuse("the container's marks for stereo are not written")),
    ("test-decode", Text, Act::Refuse("what was encoded is not decoded again")),
    ("timebase", Text, Act::Refuse(TIMES)),
    ("pass", Whole, Act::Refuse(SEVERAL_PASSES)),
    ("fpf", Text, Act::Refuse(SEVERAL_PASSES)),
    ("two-pass-output", Text, Act::Refuse(SEVERAL_PASSES)),
    ("second-pass-log", Text, Act::Refuse(SEVERAL_PASSES)),
    ("cfg", Text, Act::Refuse(READS_FILE)),
    ("film-grain-table", Text, Act::Refuse(READS_FILE)),
    ("vmaf-model-path", Text, Act::Refuse(READS_FILE)),
    ("rate-distribution-info", Text, Act::Refuse(READS_FILE)),
    ("partition-info-path", Text, Act::Refuse(WRITES_FILE)),
    ("help", Nothing, Act::Refuse(super::PRINTS)),
];

fn codec(_: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    if given.value == "av1" { Ok(()) } else { Err(given.bad_value("av1")) }
}

fn usage(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let name = if given.name == "rt" { "realtime" } else { given.name };
    reader.libav_option(given.typed, "usage", name)
}

/// The program's own defaults, where libav's are others, and its rate control.
fn rates(reader: &mut Reader) -> Result<(), CommandError> {
    webm::finish(reader, "0")
}
