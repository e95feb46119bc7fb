//! Options that libav knows: where each belongs, and whether its value would be taken.

use super::error::CommandError;
use super::rav1e_options;
use super::suggest::closest;
use super::{EncodeCommand, EncoderChoice, ffmpeg, native, set_option};
use crate::ffi::options::{self as libav, OptionInfo, ValueCheck};

/// Gives an option to whatever takes it: the encoder, the container, the scaler, or several of them.
///
/// `typed` is what the user wrote, `name` the option without its dash and stream specifier.
pub(crate) fn route(command: &mut EncodeCommand, typed: &str, name: &str, value: &str) -> Result<(), CommandError> {
    let for_encoder = route_to_encoder(command, typed, name, value)?;
    // Of the containers' own options none shares its name with an encoder's; of their common ones a few do.
    let of_muxer = if for_encoder { libav::find_generic_muxer_option(name) } else { libav::find_muxer_option(name) };
    if let Some(option) = &of_muxer {
        take(option, typed, value, || libav::check_muxer_option(name, value))?;
        set_option(&mut command.muxer_options, name, value, option.is_flags);
    }
    if for_encoder || of_muxer.is_some() {
        return Ok(());
    }
    if ["srcw", "srch", "dstw", "dsth", "src_format", "dst_format"].contains(&name) {
        return Err(CommandError::not_here(typed, "the scaler's sizes and formats follow from -s and -pix_fmt"));
    }
    let Some(option) = libav::find_scaler_option(name) else { return Err(unknown(command, typed, name)) };
    take(&option, typed, value, || libav::check_scaler_option(name, value))?;
    set_option(&mut command.scaler_options, name, value, option.is_flags);
    Ok(())
}

/// Gives an option to the encoder; false when the encoder has none of this name.
pub(crate) fn route_to_encoder(
    command: &mut EncodeCommand,
    typed: &str,
    name: &str,
    value: &str,
) -> Result<bool, CommandError> {
    let EncoderChoice::Rav1e = command.encoder else { return route_to_libav(command, typed, name, value) };
    if !rav1e_options::is_option(name) {
        return Ok(false);
    }
    rav1e_options::check(typed, name, value)?;
    set_option(&mut command.encoder_options, name, value, false);
    Ok(true)
}

fn route_to_libav(command: &mut EncodeCommand, typed: &str, name: &str, value: &str) -> Result<bool, CommandError> {
    let encoder = command.encoder_name().map(str::to_owned);
    let find = |name: &str| match &encoder {
        Some(encoder) => libav::find_encoder_option(encoder, name),
        None => libav::find_generic_option(name).or_else(|| libav::find_any_encoder_option(name)),
    };
    // `-vb` is an old way to write `-b:v`.
    let short = name.strip_prefix('v').filter(|short| libav::find_generic_option(short).is_some());
    let Some((name, option)) = [Some(name), short].into_iter().flatten().find_map(|n| Some((n, find(n)?))) else {
        return Ok(false);
    };
    take(&option, typed, value, || check_for(encoder.as_deref(), name, value))?;
    refuse_passes(typed, name, value)?;
    native::refuse_inside(typed, name, value)?;
    set_option(&mut command.encoder_options, name, value, option.is_flags);
    Ok(true)
}

/// Refuses several passes.
fn refuse_passes(typed: &str, name: &str, value: &str) -> Result<(), CommandError> {
    let asked = name == "flags" && value.split(['+', '-', '|']).any(|flag| ["pass1", "pass2"].contains(&flag.trim()));
    let reason = "an encode reads the script once, so there is no second pass; choose a quality or a bitrate";
    if asked { Err(CommandError::not_here(typed, reason)) } else { Ok(()) }
}

/// Without an encoder's name only the options of all encoders can be tried.
fn check_for(encoder: Option<&str>, name: &str, value: &str) -> ValueCheck {
    if encoder.is_none() && libav::find_generic_option(name).is_none() {
        return ValueCheck::Unknown;
    }
    libav::check_encoder_option(encoder, name, value)
}

/// Refuses a value that libav refuses, or whose reading might never end.
pub(super) fn take(
    option: &OptionInfo,
    typed: &str,
    value: &str,
    check: impl FnOnce() -> ValueCheck,
) -> Result<(), CommandError> {
    // libav's expressions have loops; without a parenthesis there is no function to call.
    let is_call = option.is_evaluated && value.contains('(');
    if is_call || check() == ValueCheck::Refused {
        return Err(CommandError::bad_value(typed, value, &option.allowed));
    }
    Ok(())
}

/// The error for an option that nothing takes.
fn unknown(command: &EncodeCommand, typed: &str, name: &str) -> CommandError {
    let encoder = command.encoder_name();
    let of_encoder = match command.encoder {
        EncoderChoice::Rav1e => rav1e_options::NAMES.iter().map(|&name| name.to_owned()).collect(),
        _ => libav::all_encoder_option_names(encoder),
    };
    let dashed = |name: String| format!("-{name}");
    if let Some(encoder) = encoder.filter(|_| libav::any_codec_option_exists(name)) {
        let suggestion = closest(name, &of_encoder).map(dashed);
        return CommandError::NotOfEncoder { option: typed.to_owned(), encoder: encoder.to_owned(), suggestion };
    }
    let of_program = ffmpeg::option_names().map(str::to_owned);
    let candidates = of_encoder.into_iter().chain(of_program).chain(libav::all_muxer_option_names());
    let suggestion = closest(name.trim_start_matches('-'), candidates).map(dashed);
    CommandError::UnknownOption { option: typed.to_owned(), suggestion }
}

impl EncodeCommand {
    /// Checks the encoder's options again, for an encoder that became known only with the container.
    pub(crate) fn check_for_encoder(&self, encoder: &str) -> Result<(), CommandError> {
        for (name, value) in &self.encoder_options {
            let typed = format!("-{name}");
            let option = libav::find_encoder_option(encoder, name).ok_or_else(|| CommandError::NotOfEncoder {
                option: typed.clone(),
                encoder: encoder.to_owned(),
                suggestion: closest(name, libav::all_encoder_option_names(Some(encoder)))
                    .map(|name| format!("-{name}")),
            })?;
            take(&option, &typed, value, || libav::check_encoder_option(Some(encoder), name, value))?;
        }
        Ok(())
    }
}

/// Finds the encoder that a command names.
pub(crate) fn choose_encoder(typed: &str, name: &str) -> Result<EncoderChoice, CommandError> {
    if name == "rav1e" {
        return Ok(EncoderChoice::Rav1e);
    }
    // The codec has two names, and libav lists only one of them.
    let libav_name = if name == "h265" { "hevc" } else { name };
    if let Some(found) = libav::resolve_video_encoder(libav_name) {
        return Ok(EncoderChoice::Libav(found));
    }
    if libav::is_other_encoder(name) {
        return Err(CommandError::not_here(typed, format!("{name} does not encode video")));
    }
    Err(CommandError::UnknownEncoder { name: name.to_owned(), suggestion: similar_encoder(name) })
}

fn similar_encoder(name: &str) -> Option<String> {
    let encoders = libav::all_video_encoders();
    let with_lib = format!("lib{name}").replace("-av1", "av1");
    encoders.contains(&with_lib).then_some(with_lib).or_else(|| {
        let own = std::iter::once("rav1e".to_owned());
        closest(name, encoders.into_iter().chain(own))
    })
}
