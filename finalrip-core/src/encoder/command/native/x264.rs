//! x264's command line, as of its revisions 3095 to 3198.

use super::Takes::{Nothing, Text, Whole};
use super::{Act, CommandError, Given, Long, READS_FILE, Reader, SEVERAL_PASSES, Tool, WRITES_FILE};
use crate::encoder::command::options;

pub(super) static TOOL: Tool = Tool {
    name: "x264",
    encoder: "libx264",
    params: "x264-params",
    names_or_files: &[("cqm", &["flat", "jvt"])],
    single_dash_names: false,
    long: Long::Abbreviated,
    finish: pixel_format,
    short: &[
        ('o', "output"),
        ('I', "keyint"),
        ('i', "min-keyint"),
        ('b', "bframes"),
        ('r', "ref"),
        ('f', "deblock"),
        ('q', "qp"),
        ('B', "bitrate"),
        ('p', "pass"),
        ('A', "partitions"),
        ('m', "subme"),
        ('t', "trellis"),
        ('8', "8x8dct"),
        ('w', "weightb"),
        ('v', "verbose"),
        ('h', "help"),
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
    "intra-refresh", "open-gop", "cabac", "tff", "bff", "constrained-intra", "fake-interlaced", "mbtree", "weightb",
    "psy", "mixed-refs", "chroma-me", "8x8dct", "fast-pskip", "dct-decimate", "filler", "pic-struct", "bluray-compat",
    "stitchable", "psnr", "ssim", "sliced-threads", "cpu-independent", "opencl", "aud",
    "force-cfr", "interlaced",
];

#[rustfmt::skip]
const WHOLE: &[&str] = &[
    "scenecut", "bframes", "b-adapt", "b-bias", "ref", "slices", "slices-max", "slice-max-size", "slice-max-mbs",
    "slice-min-mbs", "frame-packing", "qp", "bitrate", "rc-lookahead", "vbv-maxrate", "vbv-bufsize", "qpmin", "qpmax",
    "qpstep", "chroma-qp-offset", "aq-mode", "weightp", "merange", "mvrange", "mvrange-thread", "subme", "trellis",
    "nr", "deadzone-inter", "deadzone-intra", "avcintra-class", "lookahead-threads", "opencl-device", "sps-id",
];

#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "crf", "vbv-init", "crf-max", "ratetol", "ipratio", "pbratio", "aq-strength", "qcomp", "cplxblur", "qblur",
];

#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "keyint", "min-keyint", "b-pyramid", "deblock", "zones", "partitions", "direct", "me", "psy-rd", "cqm", "cqm4",
    "cqm8", "cqm4i", "cqm4p", "cqm8i", "cqm8p", "cqm4iy", "cqm4ic", "cqm4py", "cqm4pc", "overscan", "videoformat",
    "mastering-display", "cll", "alternative-transfer", "nal-hrd", "crop-rect", "level", "avcintra-flavor", "threads",
    "sync-lookahead", "asm",
];

const IN_SCRIPT: &str = "do it in the script";
const TIMES: &str = "timestamps come from the script's frames";

const SPECIAL: &[(&str, super::Takes, Act)] = &[
    ("preset", Text, Act::Option("preset")),
    ("tune", Text, Act::Option("tune")),
    ("profile", Text, Act::Option("profile")),
    ("output", Text, Act::Do(super::output)),
    ("frames", Whole, Act::Do(super::frames)),
    ("fps", Text, Act::Do(super::rate)),
    ("output-depth", Whole, Act::Do(super::depth)),
    ("output-csp", Text, Act::Do(colour_family)),
    ("muxer", Text, Act::Do(muxer)),
    ("demuxer", Text, Act::Do(demuxer)),
    ("sar", Text, Act::Option("aspect")),
    ("range", Text, Act::Do(range)),
    ("input-range", Text, Act::Do(input_range)),
    ("colorprim", Text, Act::Colour("color_primaries", Some("colorprim"))),
    ("transfer", Text, Act::Colour("color_trc", Some("transfer"))),
    ("colormatrix", Text, Act::Colour("colorspace", Some("colormatrix"))),
    ("chromaloc", Whole, super::x265::CHROMA_LOCATION),
    // These have no opposite, or are flags only in their negative form.
    ("no-deblock", Nothing, Act::Param(None)),
    ("no-scenecut", Nothing, Act::Param(None)),
    ("no-asm", Nothing, Act::Param(None)),
    ("non-deterministic", Nothing, Act::Param(None)),
    ("no-b-adapt", Nothing, Act::Param(None)),
    // The clip describes itself, and progress is the caller's.
    ("input-csp", Text, Act::Unused),
    ("input-depth", Whole, Act::Unused),
    ("input-res", Text, Act::Unused),
    ("input-fmt", Text, Act::Unused),
    ("verbose", Nothing, Act::Unused),
    ("quiet", Nothing, Act::Unused),
    ("progress", Nothing, Act::Unused),
    ("no-progress", Nothing, Act::Unused),
    ("log-level", Text, Act::Unused),
    ("thread-input", Nothing, Act::Unused),
    ("slow-firstpass", Nothing, Act::Unused),
    ("seek", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("pass", Whole, Act::Refuse(SEVERAL_PASSES)),
    ("stats", Text, Act::Refuse(SEVERAL_PASSES)),
    ("qpfile", Text, Act::Refuse(READS_FILE)),
    ("cqmfile", Text, Act::Refuse(READS_FILE)),
    ("index", Text, Act::Refuse(READS_FILE)),
    ("tcfile-in", Text, Act::Refuse(TIMES)),
    ("tcfile-out", Text, Act::Refuse(WRITES_FILE)),
    ("opencl-clbin", Text, Act::Refuse(WRITES_FILE)),
    ("dump-yuv", Text, Act::Refuse(WRITES_FILE)),
    ("timebase", Text, Act::Refuse(TIMES)),
    ("dts-compress", Nothing, Act::Refuse(TIMES)),
    ("pulldown", Text, Act::Refuse("repeated fields are not written")),
    ("vf", Text, Act::Refuse(IN_SCRIPT)),
    ("video-filter", Text, Act::Refuse(IN_SCRIPT)),
    ("help", Nothing, Act::Refuse(super::PRINTS)),
    ("longhelp", Nothing, Act::Refuse(super::PRINTS)),
    ("fullhelp", Nothing, Act::Refuse(super::PRINTS)),
    ("version", Nothing, Act::Refuse(super::PRINTS)),
];

fn colour_family(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    if !["i400", "i420", "i422", "i444", "rgb"].contains(&given.value) {
        return Err(given.bad_value("i400, i420, i422, i444 or rgb"));
    }
    reader.colour_family = Some(given.value.to_owned());
    Ok(())
}

/// `--output-csp` names a pixel format only together with the depth, whose default is 8.
fn pixel_format(reader: &mut Reader) -> Result<(), CommandError> {
    let depth = reader.command.bit_depth.unwrap_or(8);
    if depth == 12 {
        return Err(CommandError::bad_value("--output-depth", "12", "8 or 10"));
    }
    let Some(family) = &reader.colour_family else { return Ok(()) };
    let format = match (family.as_str(), depth) {
        ("i400", 8) => "gray",
        ("i400", _) => "gray10le",
        ("i420", 8) => "yuv420p",
        ("i420", _) => "yuv420p10le",
        ("i422", 8) => "yuv422p",
        ("i422", _) => "yuv422p10le",
        ("i444", 8) => "yuv444p",
        ("i444", _) => "yuv444p10le",
        // libav has RGB as an encoder of its own, with the same options.
        (_, 8) => {
            reader.command.encoder = options::choose_encoder("--output-csp", "libx264rgb")?;
            "rgb24"
        }
        _ => return Err(CommandError::bad_value("--output-csp", family, "rgb only with 8 bits")),
    };
    reader.command.pixel_format = Some(format.to_owned());
    reader.command.bit_depth = None;
    Ok(())
}

fn muxer(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.command.format = match given.value {
        "auto" => None,
        "raw" => Some("h264".to_owned()),
        "mkv" => Some("matroska".to_owned()),
        "mp4" | "flv" => Some(given.value.to_owned()),
        _ => return Err(given.bad_value("auto, raw, mkv, mp4 or flv")),
    };
    Ok(())
}

fn demuxer(_: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    if ["y4m", "auto"].contains(&given.value) { Ok(()) } else { Err(given.bad_value("y4m; the input is the clip")) }
}

/// The program converts a clip of the other range, and not only says so.
fn range(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let full = match given.value {
        "auto" => return Ok(()),
        "tv" => "off",
        "pc" => "on",
        _ => return Err(given.bad_value("auto, tv or pc")),
    };
    reader.command.filters = Some(format!("scale=out_range={}", given.value));
    reader.libav_option(given.typed, "color_range", given.value)?;
    reader.param(given.typed, "fullrange", full)
}

fn input_range(_: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let reason = "the range comes from the frames; set it in the script with std.SetFrameProps(_Range=…)";
    if given.value == "auto" { Ok(()) } else { Err(CommandError::not_here(given.typed, reason)) }
}
