//! The ffmpeg program's own options, as far as somebody might write them in front of or behind a video encoder:
//! what is done, what changes nothing, and what is refused, each with its reason.

use super::{CommandError, EncodeCommand, FrameTiming, Given, libav, options, set_option, side};
use crate::encoder::command::EncoderChoice;
use crate::encoder::command::streams::SideKind;
use crate::encoder::command::suggest::closest;

type Apply = fn(&mut EncodeCommand, &Given<'_>) -> Result<(), CommandError>;

/// What is done with an option of the program.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    /// A flag that changes nothing here.
    NoValue,
    /// It has a value, and changes nothing here.
    Unused,
    /// A flag that does something.
    Flag(Apply),
    /// It has a value, and does something.
    Value(Apply),
    /// It has a value, and is for streams beside the video.
    Side,
    /// It would do what is not done here.
    Refused(&'static str),
}

impl Use {
    pub(super) fn is_flag(self) -> bool {
        matches!(self, Self::NoValue | Self::Flag(_))
    }
}

/// The names of the options that are of use, for suggestions.
pub(crate) fn option_names() -> impl Iterator<Item = &'static str> {
    USED.iter().map(|&(name, _)| name).chain(["i"])
}

#[cfg(test)]
pub(crate) fn all_names() -> impl Iterator<Item = &'static str> {
    let refused = REFUSED.iter().flat_map(|(names, _)| names.iter());
    USED.iter().map(|(name, _)| name).chain(NO_VALUE).chain(UNUSED).chain(SIDE).chain(refused).copied()
}

pub(super) fn find(name: &str) -> Option<Use> {
    if let Some(&(_, found)) = USED.iter().find(|&&(known, _)| known == name) {
        return Some(found);
    }
    let no_value = NO_VALUE.contains(&name).then_some(Use::NoValue);
    let unused = || UNUSED.contains(&name).then_some(Use::Unused);
    let refused = || REFUSED.iter().find(|(names, _)| names.contains(&name)).map(|&(_, reason)| Use::Refused(reason));
    let side = || SIDE.contains(&name).then_some(Use::Side);
    no_value.or_else(unused).or_else(side).or_else(refused)
}

const USED: &[(&str, Use)] = &[
    ("c", Use::Value(encoder_was_read)),
    ("codec", Use::Value(encoder_was_read)),
    ("vcodec", Use::Value(encoder_was_read)),
    ("vf", Use::Value(filters)),
    ("filter", Use::Value(filters)),
    ("pix_fmt", Use::Value(pixel_format)),
    ("r", Use::Value(frame_rate)),
    ("s", Use::Value(size)),
    ("aspect", Use::Value(aspect)),
    ("frames", Use::Value(frame_limit)),
    ("vframes", Use::Value(frame_limit)),
    ("tag", Use::Value(tag)),
    ("vtag", Use::Value(tag)),
    ("metadata", Use::Value(metadata)),
    ("timecode", Use::Value(timecode)),
    ("f", Use::Value(format)),
    ("bsf", Use::Value(bitstream_filters)),
    ("vbsf", Use::Value(bitstream_filters)),
    ("fps_mode", Use::Value(timing)),
    ("vsync", Use::Value(timing)),
    ("q", Use::Value(quality)),
    ("qscale", Use::Value(quality)),
    ("map", Use::Value(map)),
    ("map_metadata", Use::Value(map_metadata)),
    ("map_chapters", Use::Value(map_chapters)),
    ("an", Use::Flag(without)),
    ("sn", Use::Flag(without)),
    ("dn", Use::Flag(without)),
    ("shortest", Use::Flag(shortest)),
    ("disposition", Use::Value(disposition)),
    ("muxdelay", Use::Value(mux_delay)),
    ("muxpreload", Use::Value(mux_delay)),
    ("bitexact", Use::Flag(bit_exact)),
    ("psnr", Use::Flag(psnr)),
];

/// Flags that change nothing for one video stream that is written where the caller says.
#[rustfmt::skip]
const NO_VALUE: &[&str] = &[
    "y", "n", "hide_banner", "nostdin", "stdin", "stats", "nostats", "benchmark", "benchmark_all",
    "copyts", "start_at_zero", "re", "qphist", "ignore_unknown", "copy_unknown", "recast_media",
    "autoscale", "autorotate", "noautorotate", "accurate_seek", "noaccurate_seek", "force_fps", "xerror",
    "find_stream_info", "copyinkf", "fix_sub_duration", "debug_ts", "auto_conversion_filters",
];

/// Options with a value that change nothing for one video stream.
#[rustfmt::skip]
const UNUSED: &[&str] = &[
    "loglevel", "v", "stats_period", "thread_queue_size", "max_muxing_queue_size", "muxing_queue_data_threshold",
    "filter_threads", "filter_complex_threads", "cpucount", "abort_on", "max_error_rate", "shortest_buf_duration",
    "copytb", "copypriorss", "readrate", "reinit_filter", "dts_delta_threshold", "dts_error_threshold",
    "adrift_threshold", "canvas_size",
];

/// Options with a value for sound, subtitles and data, which need no stream specifier.
#[rustfmt::skip]
const SIDE: &[&str] = &[
    "acodec", "scodec", "dcodec", "ab", "ac", "ar", "aq", "af", "aframes", "dframes", "atag", "stag", "absf",
    "sample_fmt", "channel_layout", "ch_layout", "vol", "apad", "guess_layout_max", "async", "map_channel",
];

const PART_OF_CLIP: &str =
    "a part of the clip is chosen in the script (`clip[100:200]`) or by the frame range of the call";
const TWO_PASSES: &str =
    "an encode reads the script once, so there is no second pass; choose a quality (-crf) or a bitrate";
const ONE_CLIP: &str = "there is one input and one output, the script's clip; use -vf, or do it in the script";
const HARDWARE: &str = "frames stay in main memory here; encoders such as hevc_nvenc take them from there";
const PRINTS: &str = "it prints or writes a report; this library reports through its own callback and log";
const NOT_YET: &str = "it is not supported";

const REFUSED: &[(&[&str], &str)] = &[
    (&["ss", "t", "to", "sseof", "seek_timestamp", "stream_loop", "itsoffset", "itsscale", "isync"], PART_OF_CLIP),
    (&["timestamp", "fs", "timelimit"], "an encode always ends with the clip; use -frames:v to end it earlier"),
    (&["pass", "passlogfile"], TWO_PASSES),
    (&["filter_complex", "lavfi", "filter_complex_script", "/filter_complex"], ONE_CLIP),
    (&["vn"], "it would leave out the video, and there is nothing else"),
    (&["force_key_frames"], "keyframes at chosen places are not supported; use -g and -keyint_min"),
    (&["hwaccel", "hwaccel_device", "hwaccel_output_format", "init_hw_device", "filter_hw_device"], HARDWARE),
    (&["vaapi_device", "qsv_device", "hwaccels"], HARDWARE),
    (&["attach", "dump_attachment"], "attachments are added when the clips are merged, not here"),
    (&["noautoscale"], "frames of a changing size are not encoded"),
    (&["top"], "the field order comes from the frames; set it in the script with std.SetFieldBased"),
    (&["fpsmax"], "give the rate itself, with -r"),
    (&["frame_drop_threshold"], "frames are dropped only to keep a constant rate; use -r"),
    (&["enc_time_base"], "timestamps are exact already"),
    (&["pre", "vpre", "apre", "spre", "fpre"], "preset files are not read; write the options out"),
    (&["filter_script", "/filter", "/vf"], "files are not read; write the filters out, with -vf"),
    (&["intra_matrix", "inter_matrix", "chroma_intra_matrix", "rc_override", "streamid", "target"], NOT_YET),
    (&["program", "stream_group", "sdp_file", "cpuflags", "max_alloc", "display_rotation"], NOT_YET),
    (&["display_hflip", "display_vflip", "discard", "apply_cropping", "enc_stats_pre", "enc_stats_post"], NOT_YET),
    (&["mux_stats", "noauto_conversion_filters", "bits_per_coded_sample"], NOT_YET),
    (&["progress", "report", "vstats", "vstats_file", "vstats_version", "dump", "hex", "print_graphs"], PRINTS),
    (
        &["h", "?", "help", "-help", "version", "buildconf", "formats", "muxers", "codecs", "encoders", "filters"],
        PRINTS,
    ),
    (&["demuxers", "decoders", "dispositions", "sample_fmts"], PRINTS),
    (&["pix_fmts", "bsfs", "protocols", "L", "license", "sources", "sinks", "devices", "colors", "layouts"], PRINTS),
];

/// The encoder is read before everything else.
fn encoder_was_read(_: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    given.value().map(|_| ())
}

fn filters(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let graph = given.value()?;
    if graph.trim().is_empty() {
        return Err(given.bad_value("filters, such as `scale=1280:-2,format=yuv420p`"));
    }
    command.filters = Some(graph.to_owned());
    Ok(())
}

fn pixel_format(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let name = given.value()?;
    if name.starts_with('+') {
        return Err(given.bad_value("the format's name without `+`; a format that the encoder lacks is refused later"));
    }
    if !libav::pixel_format_exists(name) {
        let similar = closest(name, libav::all_pixel_formats()).map(|name| format!("; did you mean {name}?"));
        let allowed = format!("a pixel format such as yuv420p or yuv420p10le{}", similar.unwrap_or_default());
        return Err(given.bad_value(allowed));
    }
    command.pixel_format = Some(name.to_owned());
    Ok(())
}

fn frame_rate(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    command.frame_rate = Some(given.rate()?);
    Ok(())
}

fn size(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let size = libav::parse_size(given.value()?);
    command.size =
        Some(size.ok_or_else(|| given.bad_value("width x height such as 1280x720, or a name such as hd720"))?);
    Ok(())
}

fn aspect(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let aspect = libav::parse_aspect(given.value()?);
    command.aspect = Some(aspect.ok_or_else(|| given.bad_value("a ratio such as 16:9 or 1.7778"))?);
    Ok(())
}

fn frame_limit(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let limit = given.value()?.parse().ok().filter(|&limit: &u64| limit > 0);
    command.frame_limit = Some(limit.ok_or_else(|| given.bad_value("a number of frames, from 1"))?);
    Ok(())
}

fn tag(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let tag = given.value()?;
    let number = tag.strip_prefix("0x").map_or_else(|| tag.parse(), |hex| u32::from_str_radix(hex, 16));
    if tag.len() != 4 && number.is_err() {
        return Err(given.bad_value("four characters such as hvc1, or a number"));
    }
    command.tag = Some(tag.to_owned());
    Ok(())
}

fn metadata(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let pair = given.value()?.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| given.bad_value("key=value"))?;
    let list = match given.stream {
        "" | "g" => &mut command.metadata,
        "s" | "s:v" | "s:V" | "s:v:0" | "s:V:0" | "s:0" => &mut command.stream_metadata,
        other => {
            let meant = other.strip_prefix("s:").map(|rest| side::meant(given.typed, rest)).transpose()?.flatten();
            let places = "metadata is the file's, the video's (`:s:v`), or another stream's (`:s:a:0`, `:s:s`)";
            let meant = meant.ok_or_else(|| CommandError::not_here(given.typed, places))?;
            return side::apply(command, given, meant, "metadata");
        }
    };
    set_option(list, key, value, false);
    Ok(())
}

fn timecode(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    set_option(&mut command.metadata, "timecode", given.value()?, false);
    Ok(())
}

fn format(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let name = given.value()?;
    if !libav::muxer_exists(name) {
        let suggestion = if name == "mkv" { Some("matroska".to_owned()) } else { closest(name, libav::all_muxers()) };
        return Err(CommandError::UnknownFormat { name: name.to_owned(), suggestion });
    }
    command.format = Some(name.to_owned());
    Ok(())
}

fn bitstream_filters(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    command.bitstream_filters = Some(given.value()?.to_owned());
    Ok(())
}

fn timing(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    command.timing = match given.value()? {
        "auto" | "-1" => None,
        "cfr" | "1" => Some(FrameTiming::Constant),
        "vfr" | "2" => Some(FrameTiming::Variable),
        "passthrough" | "0" => Some(FrameTiming::Passthrough),
        _ => return Err(given.bad_value("cfr, vfr, passthrough or auto")),
    };
    Ok(())
}

/// A fixed quality, in the unit that the ffmpeg program converts to libav's.
fn quality(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let lambda_per_step = 118.0;
    let quality = given.value()?.parse().ok().filter(|quality: &f64| (0.0..=1e6).contains(quality));
    let quality = quality.ok_or_else(|| given.bad_value("a number from 0; smaller is better"))?;
    let lambda = (quality * lambda_per_step) as i32;
    to_encoder(command, given, "flags", "+qscale")?;
    to_encoder(command, given, "global_quality", &lambda.to_string())
}

fn psnr(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    to_encoder(command, given, "flags", "+psnr")
}

fn bit_exact(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    set_option(&mut command.muxer_options, "fflags", "+bitexact", true);
    // The rav1e crate writes the same bits anyway.
    if command.encoder == EncoderChoice::Rav1e { Ok(()) } else { to_encoder(command, given, "flags", "+bitexact") }
}

fn to_encoder(command: &mut EncodeCommand, given: &Given<'_>, name: &str, value: &str) -> Result<(), CommandError> {
    if options::route_to_encoder(command, given.typed, name, value)? {
        return Ok(());
    }
    let encoder = command.encoder_name().unwrap_or("the encoder").to_owned();
    Err(CommandError::NotOfEncoder { option: given.typed.to_owned(), encoder, suggestion: None })
}

/// Seconds, which libav takes in microseconds. As in the ffmpeg program, every container may be told; MPEG program and
/// transport streams, and the few like them, begin later for it.
fn mux_delay(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let seconds = given.value()?.parse().ok().filter(|seconds: &f64| (0.0..=1000.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| given.bad_value("seconds, from 0 to 1000"))?;
    let microseconds = ((seconds * 1e6) as i64).to_string();
    if given.name == "muxdelay" {
        set_option(&mut command.muxer_options, "max_delay", &microseconds, false);
    } else if seconds > 0.0 {
        // The program takes 0 for "not given".
        set_option(&mut command.muxer_options, crate::ffi::format::MUX_PRELOAD, &microseconds, false);
    }
    Ok(())
}

const ALL_STREAMS: &str =
    "a rip takes every stream that the container can hold; leave kinds of them out with -an, -sn and -dn";

/// Only the clip's video can be chosen, and of a rip's other streams whole kinds can be taken away.
fn map(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let value = given.value()?;
    let is_video = ["0", "0:v", "0:V", "0:0", "0:v:0", "0:V:0"].contains(&value.trim_end_matches('?'));
    let is_nothing = value.starts_with("-0:") || (value.starts_with("0:") && value.ends_with('?'));
    if !is_video && !is_nothing {
        return Err(CommandError::not_here(given.typed, ONE_CLIP));
    }
    let without = match value.trim_end_matches('?') {
        "-0:a" => Some(SideKind::Audio),
        "-0:s" => Some(SideKind::Subtitle),
        "-0:d" => Some(SideKind::Data),
        "-0:t" => Some(SideKind::Attachment),
        _ => None,
    };
    match without {
        Some(kind) => command.streams.without.push(kind),
        None if value == "0" => {}
        None => command.streams.not_for_rips.push((format!("{} {value}", given.typed), ALL_STREAMS.to_owned())),
    }
    Ok(())
}

fn without(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    command.streams.without.push(match given.name {
        "an" => SideKind::Audio,
        "sn" => SideKind::Subtitle,
        _ => SideKind::Data,
    });
    Ok(())
}

fn shortest(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let reason = "a rip keeps the source's sound to its end; choose a range of frames, with which the sound ends too";
    command.streams.not_for_rips.push((given.typed.to_owned(), reason.to_owned()));
    Ok(())
}

fn map_metadata(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let untagged = &mut command.streams.untagged;
    match (given.value()?, given.stream) {
        ("0" | "0:g" | "0:s" | "0:c", "" | "g" | "s" | "c") => {}
        ("-1", "") => (untagged.file, untagged.streams, untagged.chapters) = (true, true, true),
        ("-1", "g") => untagged.file = true,
        ("-1", "s") => untagged.streams = true,
        ("-1", "c") => untagged.chapters = true,
        _ => return Err(CommandError::not_here(given.typed, "tags come from the source (0), or not at all (-1)")),
    }
    Ok(())
}

fn map_chapters(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    match given.value()? {
        "0" => command.streams.without_chapters = false,
        "-1" => command.streams.without_chapters = true,
        _ => return Err(CommandError::not_here(given.typed, "chapters come from the source (0), or not at all (-1)")),
    }
    Ok(())
}

/// The video is the default one anyway.
fn disposition(_: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    if given.value()? == "default" { Ok(()) } else { Err(given.bad_value("default")) }
}
