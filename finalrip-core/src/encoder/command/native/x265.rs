//! x265's command line, as of its releases 3.5 to 4.1.

use super::Takes::{MaybeWhole, Nothing, Number, Text, Whole};
use super::{Act, CommandError, Given, Long, READS_FILE, Reader, SEVERAL_PASSES, Tool, WRITES_FILE};

pub(super) static TOOL: Tool = Tool {
    name: "x265",
    encoder: "libx265",
    params: "x265-params",
    names_or_files: &[("scaling-list", &["off", "default"])],
    single_dash_names: false,
    long: Long::Abbreviated,
    finish: depth_from_profile,
    short: &[
        ('o', "output"),
        ('D', "output-depth"),
        ('P', "profile"),
        ('p', "preset"),
        ('f', "frames"),
        ('F', "frame-threads"),
        ('r', "recon"),
        ('I', "keyint"),
        ('i', "min-keyint"),
        ('b', "bframes"),
        ('s', "ctu"),
        ('t', "tune"),
        ('q', "qp"),
        ('m', "subme"),
        ('h', "help"),
        ('w', "weightp"),
        ('V', "version"),
    ],
    flags: FLAGS,
    whole: WHOLE,
    numbers: NUMBERS,
    texts: TEXTS,
    special: SPECIAL,
};

#[rustfmt::skip]
const FLAGS: &[&str] = &[
    "field", "ssim", "psnr", "high-tier", "uhd-bd", "allow-non-conformance", "wpp", "pmode", "pme",
    "ssim-rd", "rd-refine", "early-skip", "tskip-fast", "splitrd-skip", "weightp", "weightb", "cu-lossless",
    "signhide", "tskip", "rect", "amp", "limit-modes", "temporal-mvp", "hme", "strong-intra-smoothing",
    "constrained-intra", "cip", "b-intra", "fast-intra", "open-gop", "hist-scenecut", "fades",
    "intra-refresh", "b-pyramid", "hrd-concat", "lossless", "analyze-src-pics", "strict-cbr", "hevc-aq", "auto-aq",
    "aq-motion", "sbrc", "cutree", "rc-grain", "const-vbv", "sao", "sao-non-deblock", "limit-sao", "cll", "hdr10",
    "hdr-opt", "hdr10-opt", "repeat-headers", "info", "hrd", "idr-recovery-sei", "single-sei", "aud", "eob", "eos",
    "vui-timing-info", "vui-hrd-info", "opt-qp-pps", "opt-ref-list-length-pps", "multi-pass-opt-rps",
    "opt-cu-delta-qp", "lowpass-dct", "mcstf", "cu-stats", "vbv-live-multi-pass", "dynamic-refine",
    "alpha", "scc",
];

#[rustfmt::skip]
const WHOLE: &[&str] = &[
    "frame-threads", "slices", "ctu", "min-cu-size", "max-tu-size", "tu-intra-depth", "tu-inter-depth", "limit-tu",
    "rd", "rdoq-level", "rskip", "rskip-edge-threshold", "nr-intra", "nr-inter", "max-merge", "ref",
    "limit-refs", "subme", "merange", "rdpenalty", "keyint", "min-keyint", "gop-lookahead", "scenecut", "radl",
    "rc-lookahead", "lookahead-slices", "lookahead-threads", "bframes", "bframe-bias", "b-adapt", "force-flush",
    "bitrate", "qp", "vbv-maxrate", "vbv-bufsize", "aq-mode", "qg-size", "qpstep", "qpmin",
    "qpmax", "cbqpoffs", "crqpoffs", "selective-sao", "min-luma", "max-luma", "hash", "atc-sei", "pic-struct",
    "log2-max-poc-lsb", "scenecut-aware-qp",
];

#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "level-idc", "psy-rd", "psy-rdoq", "dynamic-rd", "scenecut-bias", "hist-threshold", "crf", "crf-max", "crf-min",
    "vbv-init", "vbv-end", "vbv-end-fr-adj", "min-vbv-fullness", "max-vbv-fullness", "cplxblur", "qblur",
    "aq-strength", "aq-bias-strength", "qp-adaptation-range", "ipratio", "pbratio", "qcomp", "max-ausize-factor",
];

#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "asm", "pools", "numa-pools", "interlace", "me", "hme-search", "hme-range", "masking-strength", "scaling-list",
    "zones", "deblock", "display-window", "crop-rect", "overscan", "videoformat", "master-display", "max-cll",
    "video-signal-type-preset", "log-level",
];

const DOLBY_VISION: &str = "Dolby Vision metadata is a file of its own, which is not read";
/// SIGILL or SIGSEGV, seen with 3.5: it takes back pictures that its own program still has.
const DUPLICATES: &str = "libx265 crashes when it looks for repeated frames and is not driven by its own program";
const NO_COPY: &str = "libx265 would read pictures that libav has freed by then";
const ANALYSIS: &str = "analysis is not kept from one encode to the next";

const SPECIAL: &[(&str, super::Takes, Act)] = &[
    ("preset", Text, Act::Option("preset")),
    ("tune", Text, Act::Option("tune")),
    ("profile", Text, Act::Option("profile")),
    ("output", Text, Act::Do(super::output)),
    ("input", Text, Act::Do(super::input)),
    ("output-depth", Whole, Act::Do(super::depth)),
    ("frames", Whole, Act::Do(super::frames)),
    ("fps", Text, Act::Do(super::rate)),
    ("sar", Text, Act::Do(sample_aspect)),
    ("range", Text, Act::Colour("color_range", Some("range"))),
    ("colorprim", Text, Act::Colour("color_primaries", Some("colorprim"))),
    ("transfer", Text, Act::Colour("color_trc", Some("transfer"))),
    ("colormatrix", Text, Act::Colour("colorspace", Some("colormatrix"))),
    ("chromaloc", Whole, Act::Do(chroma_location)),
    // Only their negative forms are flags.
    ("no-deblock", Nothing, Act::Param(None)),
    ("no-scenecut", Nothing, Act::Param(None)),
    ("no-asm", Nothing, Act::Param(None)),
    ("no-interlace", Nothing, Act::Param(None)),
    ("no-psy-rd", Nothing, Act::Param(None)),
    ("no-psy-rdoq", Nothing, Act::Param(None)),
    ("no-rdoq-level", Nothing, Act::Param(None)),
    ("no-b-adapt", Nothing, Act::Param(None)),
    ("no-temporal-layers", Nothing, Act::Param(None)),
    // A flag until release 3.5, the number of layers since.
    ("temporal-layers", MaybeWhole, Act::Param(None)),
    // The clip describes itself, progress is the caller's, and the scaler dithers by itself.
    ("y4m", Nothing, Act::Unused),
    ("input-depth", Whole, Act::Unused),
    ("input-res", Text, Act::Unused),
    ("input-csp", Text, Act::Unused),
    ("no-progress", Nothing, Act::Unused),
    ("progress", Nothing, Act::Unused),
    ("dither", Nothing, Act::Unused),
    ("no-dither", Nothing, Act::Unused),
    ("slow-firstpass", Nothing, Act::Unused),
    ("no-slow-firstpass", Nothing, Act::Unused),
    ("recon-depth", Whole, Act::Unused),
    ("frame-dup", Nothing, Act::Refuse(DUPLICATES)),
    ("no-frame-dup", Nothing, Act::Param(None)),
    // Turns frame-dup on.
    ("dup-threshold", Whole, Act::Refuse(DUPLICATES)),
    ("copy-pic", Nothing, Act::Param(None)),
    ("no-copy-pic", Nothing, Act::Refuse(NO_COPY)),
    ("chunk-start", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("chunk-end", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("seek", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("frame-skip", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("pass", Whole, Act::Refuse(SEVERAL_PASSES)),
    ("stats", Text, Act::Refuse(SEVERAL_PASSES)),
    ("multi-pass-opt-analysis", Nothing, Act::Refuse(SEVERAL_PASSES)),
    ("multi-pass-opt-distortion", Nothing, Act::Refuse(SEVERAL_PASSES)),
    ("no-multi-pass-opt-analysis", Nothing, Act::Unused),
    ("no-multi-pass-opt-distortion", Nothing, Act::Unused),
    ("csv", Text, Act::Refuse(WRITES_FILE)),
    ("csv-log-level", Whole, Act::Refuse(WRITES_FILE)),
    ("recon", Text, Act::Refuse(WRITES_FILE)),
    ("recon-y4m-exec", Text, Act::Refuse("no other program is run")),
    ("reader-options", Text, Act::Refuse(READS_FILE)),
    ("qpfile", Text, Act::Refuse(READS_FILE)),
    ("zonefile", Text, Act::Refuse(READS_FILE)),
    ("no-zonefile-rc-init", Nothing, Act::Refuse(READS_FILE)),
    ("lambda-file", Text, Act::Refuse(READS_FILE)),
    ("nalu-file", Text, Act::Refuse(READS_FILE)),
    ("dhdr10-info", Text, Act::Refuse(READS_FILE)),
    ("dhdr10-opt", Nothing, Act::Refuse(READS_FILE)),
    ("film-grain", Text, Act::Refuse(READS_FILE)),
    ("aom-film-grain", Text, Act::Refuse(READS_FILE)),
    ("scenecut-qp-config", Text, Act::Refuse(READS_FILE)),
    ("abr-ladder", Text, Act::Refuse("there is one output")),
    ("num-views", Whole, Act::Refuse("there is one view, the script's clip")),
    ("multiview-config", Text, Act::Refuse("there is one view, the script's clip")),
    ("dolby-vision-profile", Number, Act::Refuse(DOLBY_VISION)),
    ("dolby-vision-rpu", Text, Act::Refuse(DOLBY_VISION)),
    ("ctu-info", Whole, Act::Refuse("there is no CTU information to use")),
    ("analysis-save", Text, Act::Refuse(ANALYSIS)),
    ("analysis-load", Text, Act::Refuse(ANALYSIS)),
    ("analysis-reuse-mode", Text, Act::Refuse(ANALYSIS)),
    ("analysis-reuse-file", Text, Act::Refuse(ANALYSIS)),
    ("analysis-reuse-level", Whole, Act::Refuse(ANALYSIS)),
    ("analysis-save-reuse-level", Whole, Act::Refuse(ANALYSIS)),
    ("analysis-load-reuse-level", Whole, Act::Refuse(ANALYSIS)),
    ("refine-analysis-type", Text, Act::Refuse(ANALYSIS)),
    ("refine-intra", Whole, Act::Refuse(ANALYSIS)),
    ("refine-inter", Whole, Act::Refuse(ANALYSIS)),
    ("refine-mv", Whole, Act::Refuse(ANALYSIS)),
    ("refine-ctu-distortion", Whole, Act::Refuse(ANALYSIS)),
    ("scale-factor", Whole, Act::Refuse(ANALYSIS)),
    ("help", Nothing, Act::Refuse(super::PRINTS)),
    ("fullhelp", Nothing, Act::Refuse(super::PRINTS)),
    ("version", Nothing, Act::Refuse(super::PRINTS)),
];

/// Without `--output-depth` x265 takes the depth from the profile.
fn depth_from_profile(reader: &mut Reader) -> Result<(), CommandError> {
    let profile = reader.command.encoder_option("profile").unwrap_or_default();
    let of_profile = match profile {
        "" => None,
        profile if profile.contains("10") => Some(10),
        profile if profile.contains("12") => Some(12),
        _ => Some(8),
    };
    reader.command.bit_depth = reader.command.bit_depth.or(of_profile);
    Ok(())
}

/// `width:height`, or an index into the table of ITU-T H.265, Table E.1.
fn sample_aspect(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    #[rustfmt::skip]
    const RATIOS: &[&str] = &[
        "0:1", "1:1", "12:11", "10:11", "16:11", "40:33", "24:11", "20:11", "32:11", "80:33", "18:11", "15:11", "64:33",
        "160:99", "4:3", "3:2", "2:1",
    ];
    let indexed = given.value.parse().ok().and_then(|index: usize| RATIOS.get(index));
    reader.libav_option(given.typed, "aspect", indexed.copied().unwrap_or(given.value))
}

/// libav counts from 1 what the standard counts from 0.
fn chroma_location(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let location = given.whole().ok().filter(|location: &u8| *location <= 5);
    let location = location.ok_or_else(|| given.bad_value("a whole number from 0 to 5"))?;
    reader.libav_option(given.typed, "chroma_sample_location", &(location + 1).to_string())?;
    reader.param(given.typed, "chromaloc", given.value)
}

/// x264 counts chroma locations and names the rest as x265 does.
pub(super) const CHROMA_LOCATION: Act = Act::Do(chroma_location);
