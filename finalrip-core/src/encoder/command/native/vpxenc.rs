//! vpxenc's command line, as of libvpx 1.12 to 1.15. Names and values stand in one word: `--cpu-used=2`.
//!
//! libav has no list of parameters for this library, only options of its own: what has none there is refused.

use super::Takes::{Nothing, Text, Whole};
use super::{Act, CommandError, Given, Long, READS_FILE, Reader, SEVERAL_PASSES, Tool, options, webm};

pub(super) static TOOL: Tool = Tool {
    name: "vpxenc",
    encoder: "libvpx-vp9",
    params: "",
    names_or_files: &[],
    single_dash_names: false,
    long: Long::Attached,
    finish: rates,
    short: &[
        ('D', "debug"),
        ('o', "output"),
        ('p', "passes"),
        ('d', "deadline"),
        ('q', "quiet"),
        ('v', "verbose"),
        ('P', "output-partitions"),
        ('y', "disable-warning-prompt"),
        ('u', "usage"),
        ('t', "threads"),
        ('w', "width"),
        ('h', "height"),
        ('b', "bit-depth"),
    ],
    flags: &[],
    whole: &[],
    numbers: &[],
    texts: &[],
    special: SPECIAL,
};

const SCALED: &str = "pictures of another size than the video's are not encoded by libav's wrapper";
const NOT_IN_LIBAV: &str = "libav has no such setting for libvpx";

const SPECIAL: &[(&str, super::Takes, Act)] = &[
    // The encoder is chosen before everything else.
    ("codec", Text, Act::Do(codec)),
    ("output", Text, Act::Do(super::output)),
    ("limit", Whole, Act::Do(super::frames)),
    ("passes", Text, Act::Do(super::one_pass)),
    ("best", Nothing, Act::Do(deadline)),
    ("good", Nothing, Act::Do(deadline)),
    ("rt", Nothing, Act::Do(deadline)),
    ("deadline", Whole, Act::Option("deadline")),
    ("webm", Nothing, Act::Do(super::container)),
    ("ivf", Nothing, Act::Do(super::container)),
    ("threads", Whole, Act::Option("threads")),
    ("cpu-used", Whole, Act::Option("cpu-used")),
    ("profile", Whole, Act::Option("profile")),
    ("fps", Text, Act::Do(super::rate)),
    ("bit-depth", Whole, Act::Do(super::depth)),
    ("error-resilient", Whole, Act::Do(webm::error_resilient)),
    ("lag-in-frames", Whole, Act::Option("lag-in-frames")),
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
    ("bias-pct", Whole, Act::Do(webm::bias)),
    ("corpus-complexity", Whole, Act::Option("corpus-complexity")),
    ("kf-min-dist", Whole, Act::Option("keyint_min")),
    ("kf-max-dist", Whole, Act::Option("g")),
    ("auto-alt-ref", Whole, Act::Option("auto-alt-ref")),
    ("noise-sensitivity", Whole, Act::Option("noise-sensitivity")),
    ("sharpness", Whole, Act::Option("sharpness")),
    ("static-thresh", Whole, Act::Option("static-thresh")),
    ("token-parts", Whole, Act::Option("slices")),
    ("tile-columns", Whole, Act::Option("tile-columns")),
    ("tile-rows", Whole, Act::Option("tile-rows")),
    ("enable-tpl", Whole, Act::Option("enable-tpl")),
    ("arnr-maxframes", Whole, Act::Option("arnr-maxframes")),
    ("arnr-strength", Whole, Act::Option("arnr-strength")),
    ("arnr-type", Whole, Act::Option("arnr-type")),
    ("tune", Text, Act::Option("tune")),
    ("max-intra-rate", Whole, Act::Option("max-intra-rate")),
    ("lossless", Whole, Act::Option("lossless")),
    ("frame-parallel", Whole, Act::Option("frame-parallel")),
    ("aq-mode", Whole, Act::Option("aq-mode")),
    ("tune-content", Text, Act::Option("tune-content")),
    ("target-level", Whole, Act::Do(target_level)),
    ("row-mt", Whole, Act::Option("row-mt")),
    ("color-space", Text, Act::Do(color_space)),
    // The clip describes itself, and progress is the caller's.
    ("width", Whole, Act::Unused),
    ("height", Whole, Act::Unused),
    ("input-bit-depth", Whole, Act::Unused),
    ("i420", Nothing, Act::Unused),
    ("i422", Nothing, Act::Unused),
    ("i440", Nothing, Act::Unused),
    ("i444", Nothing, Act::Unused),
    ("quiet", Nothing, Act::Unused),
    ("verbose", Nothing, Act::Unused),
    ("debug", Nothing, Act::Unused),
    ("psnr", Nothing, Act::Unused),
    ("q-hist", Whole, Act::Unused),
    ("rate-hist", Whole, Act::Unused),
    ("disable-warnings", Nothing, Act::Unused),
    ("disable-warning-prompt", Nothing, Act::Unused),
    ("usage", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("skip", Whole, Act::RefuseUnlessZero(super::PART_OF_CLIP)),
    ("resize-allowed", Whole, Act::RefuseUnlessZero(SCALED)),
    ("resize-width", Whole, Act::RefuseUnlessZero(SCALED)),
    ("resize-height", Whole, Act::RefuseUnlessZero(SCALED)),
    ("resize-up", Whole, Act::Refuse(SCALED)),
    ("resize-down", Whole, Act::Refuse(SCALED)),
    ("max-inter-rate", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("gf-cbr-boost", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("screen-content-mode", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("alt-ref-aq", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("frame-boost", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("min-gf-interval", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("max-gf-interval", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("disable-loopfilter", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("use-vizier-rc-params", Whole, Act::RefuseUnlessZero(NOT_IN_LIBAV)),
    ("minsection-pct", Whole, Act::Refuse(NOT_IN_LIBAV)),
    ("maxsection-pct", Whole, Act::Refuse(NOT_IN_LIBAV)),
    ("disable-kf", Nothing, Act::Refuse("libav has no such setting for libvpx; use --kf-max-dist")),
    ("test-16bit-internal", Nothing, Act::Refuse(NOT_IN_LIBAV)),
    ("nv12", Nothing, Act::Refuse("the clip has three planes")),
    ("yv12", Nothing, Act::Refuse("the clip's planes are in their usual order")),
    ("output-partitions", Nothing, Act::Refuse(NOT_IN_LIBAV)),
    ("stereo-mode", Text, Act::Refuse("the container's marks for stereo are not written")),
    ("test-decode", Text, Act::Refuse("what was encoded is not decoded again")),
    ("timebase", Text, Act::Refuse("timestamps are exact already")),
    ("pass", Whole, Act::Refuse(SEVERAL_PASSES)),
    ("fpf", Text, Act::Refuse(SEVERAL_PASSES)),
    ("cfg", Text, Act::Refuse(READS_FILE)),
    ("help", Nothing, Act::Refuse(super::PRINTS)),
];

/// The encoder was chosen when the reading began.
fn codec(_: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    if ["vp8", "vp9"].contains(&given.value) { Ok(()) } else { Err(given.bad_value("vp8 or vp9")) }
}

/// The encoder that the command's words name.
pub(super) fn encoder(words: &[String]) -> Result<super::EncoderChoice, CommandError> {
    let is_vp8 = words.iter().rev().find_map(|word| word.strip_prefix("--codec=")) == Some("vp8");
    options::choose_encoder("--codec", if is_vp8 { "libvpx" } else { TOOL.encoder })
}

fn deadline(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let name = if given.name == "rt" { "realtime" } else { given.name };
    reader.libav_option(given.typed, "deadline", name)
}

/// The program counts levels in tenths; 255 is none.
fn target_level(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    match given.whole()? {
        255 => Ok(()),
        level @ (0_u32 | 1 | 10..=62) => {
            reader.libav_option(given.typed, "level", &format!("{}.{}", level / 10, level % 10))
        }
        _ => Err(given.bad_value("255, 0, 1, or a level from 10 to 62")),
    }
}

fn color_space(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let name = match given.value {
        "unknown" => "unknown",
        "bt601" => "bt470bg",
        "bt709" => "bt709",
        "smpte170" => "smpte170m",
        "smpte240" => "smpte240m",
        "bt2020" => "bt2020nc",
        "sRGB" => "rgb",
        _ => return Err(given.bad_value("unknown, bt601, bt709, smpte170, smpte240, bt2020 or sRGB")),
    };
    reader.libav_option(given.typed, "colorspace", name)
}

fn rates(reader: &mut Reader) -> Result<(), CommandError> {
    webm::finish(reader, "0")
}
