//! rav1e's command line, as of its releases 0.5 to 0.8.

use super::Takes::{Nothing, Text, Whole};
use super::{Act, CommandError, Given, Long, READS_FILE, Reader, SEVERAL_PASSES, Tool, WRITES_FILE};
use crate::units::Rational;

pub(super) static TOOL: Tool = Tool {
    name: "rav1e",
    encoder: "rav1e",
    params: "rav1e-params",
    names_or_files: &[],
    single_dash_names: false,
    long: Long::Whole,
    finish: rate,
    short: &[
        ('o', "output"),
        ('y', "y"),
        ('l', "limit"),
        ('b', "bitrate"),
        ('s', "speed"),
        ('i', "min-keyint"),
        ('I', "keyint"),
        ('S', "switch-frame-interval"),
        ('v', "verbose"),
        ('q', "quiet"),
        ('r', "reconstruction"),
        ('h', "help"),
        ('V', "version"),
    ],
    flags: &[],
    whole: &[],
    numbers: &[],
    texts: &[],
    special: SPECIAL,
};

const HDR: &str = "it comes from the frames; set the MasteringDisplay… and ContentLightLevel… properties in the script";

const SPECIAL: &[(&str, super::Takes, Act)] = &[
    ("output", Text, Act::Do(super::output)),
    ("limit", Whole, Act::Do(super::frames)),
    ("speed", Whole, Act::Option("speed")),
    ("quantizer", Whole, Act::Option("qp")),
    ("min-quantizer", Whole, Act::Option("qmin")),
    ("bitrate", Whole, Act::Do(bitrate)),
    ("keyint", Whole, Act::Option("g")),
    ("min-keyint", Whole, Act::Option("keyint_min")),
    ("threads", Whole, Act::Option("threads")),
    ("tiles", Whole, Act::Option("tiles")),
    ("tile-rows", Whole, Act::Option("tile-rows")),
    ("tile-cols", Whole, Act::Option("tile-columns")),
    ("switch-frame-interval", Whole, Act::Param(Some("switch_frame_interval"))),
    ("reservoir-frame-delay", Whole, Act::Param(Some("reservoir_frame_delay"))),
    ("rdo-lookahead-frames", Whole, Act::Param(Some("rdo_lookahead_frames"))),
    ("photon-noise", Whole, Act::Param(Some("photon_noise"))),
    ("scd_speed", Whole, Act::Param(Some("scd_speed"))),
    ("scd-speed", Whole, Act::Param(Some("scd_speed"))),
    ("tune", Text, Act::Param(Some("tune"))),
    ("level", Text, Act::Param(Some("level"))),
    ("low-latency", Nothing, Act::Param(Some("low_latency"))),
    ("no-scene-detection", Nothing, Act::Param(Some("no_scene_detection"))),
    ("still-picture", Nothing, Act::Param(Some("still_picture"))),
    ("error-resilient", Nothing, Act::Param(Some("error_resilient"))),
    ("range", Text, Act::Colour("color_range", None)),
    ("primaries", Text, Act::Colour("color_primaries", None)),
    ("transfer", Text, Act::Colour("color_trc", None)),
    ("matrix", Text, Act::Colour("colorspace", None)),
    ("frame-rate", Whole, Act::Do(frame_rate)),
    ("time-scale", Whole, Act::Do(time_scale)),
    // The caller says where the output goes and what is reported.
    ("y", Nothing, Act::Unused),
    ("verbose", Nothing, Act::Unused),
    ("quiet", Nothing, Act::Unused),
    ("benchmark", Nothing, Act::Unused),
    ("psnr", Nothing, Act::Unused),
    ("metrics", Nothing, Act::Unused),
    ("high-bitdepth", Nothing, Act::Unused),
    ("skip", Whole, Act::Refuse(super::PART_OF_CLIP)),
    ("first-pass", Text, Act::Refuse(SEVERAL_PASSES)),
    ("second-pass", Text, Act::Refuse(SEVERAL_PASSES)),
    ("film-grain-table", Text, Act::Refuse(READS_FILE)),
    ("photon-noise-table", Text, Act::Refuse(READS_FILE)),
    ("reconstruction", Text, Act::Refuse(WRITES_FILE)),
    ("mastering-display", Text, Act::Refuse(HDR)),
    ("content-light", Text, Act::Refuse(HDR)),
    ("help", Nothing, Act::Refuse(super::PRINTS)),
    ("fullhelp", Nothing, Act::Refuse(super::PRINTS)),
    ("version", Nothing, Act::Refuse(super::PRINTS)),
];

/// rav1e's own unit is a thousand bits per second.
fn bitrate(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let rate: u32 = given.whole()?;
    reader.libav_option(given.typed, "b", &format!("{}", u64::from(rate) * 1000))
}

fn frame_rate(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.frame_rate = Some(positive(given)?);
    Ok(())
}

fn time_scale(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    reader.time_scale = Some(positive(given)?);
    Ok(())
}

fn positive(given: &Given<'_>) -> Result<i64, CommandError> {
    given.whole().ok().filter(|&number: &i64| number > 0).ok_or_else(|| given.bad_value("a whole number from 1"))
}

/// The scale without a rate is ignored, as rav1e does.
fn rate(reader: &mut Reader) -> Result<(), CommandError> {
    let rate = reader.frame_rate.and_then(|rate| Rational::new(rate, reader.time_scale.unwrap_or(1)));
    reader.command.input_rate = rate;
    Ok(())
}
