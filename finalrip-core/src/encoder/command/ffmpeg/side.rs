//! Options for streams beside the video: those with a specifier such as `:a` or `:s:0`, and the old short ones such as
//! `-ac` and `-an`.

use super::super::streams::{Rule, SideKind, Wish};
use super::{CommandError, EncodeCommand, Given};
use crate::encoder::command::suggest::closest;
use crate::ffi::options::{self as libav, MediaKind};

const NOT_SUPPORTED: &str = "it is not supported for streams beside the video";

/// The streams that a specifier means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant {
    kind: SideKind,
    index: Option<usize>,
}

impl Meant {
    fn all(kind: SideKind) -> Self {
        Self { kind, index: None }
    }
}

/// Reads `a`, `a:1`, `s` and the like; `None` for a specifier of another kind.
pub(super) fn meant(typed: &str, specifier: &str) -> Result<Option<Meant>, CommandError> {
    let (kind, number) = specifier.split_once(':').map_or((specifier, None), |(kind, number)| (kind, Some(number)));
    let kind = match kind {
        "a" => SideKind::Audio,
        "s" => SideKind::Subtitle,
        "d" => SideKind::Data,
        "t" => SideKind::Attachment,
        _ => return Ok(None),
    };
    let index = number.map(|number| {
        let reason = "streams are chosen by their number among the source's of that kind, from 0, such as `:a:1`";
        number.parse().map_err(|_| CommandError::not_here(typed, reason))
    });
    Ok(Some(Meant { kind, index: index.transpose()? }))
}

/// The streams that an option without a specifier means by its name alone, and the name that it has with one.
pub(super) fn short(name: &str) -> Option<(Meant, &'static str)> {
    let (kind, name) = match name {
        "acodec" => (SideKind::Audio, "c"),
        "ab" => (SideKind::Audio, "b"),
        "ac" => (SideKind::Audio, "ac"),
        "ar" => (SideKind::Audio, "ar"),
        "aq" => (SideKind::Audio, "q"),
        "af" => (SideKind::Audio, "filter"),
        "sample_fmt" => (SideKind::Audio, "sample_fmt"),
        "channel_layout" => (SideKind::Audio, "channel_layout"),
        "ch_layout" => (SideKind::Audio, "ch_layout"),
        "scodec" => (SideKind::Subtitle, "c"),
        "dcodec" => (SideKind::Data, "c"),
        "aframes" | "atag" | "absf" | "vol" | "apad" | "async" | "map_channel" | "guess_layout_max" => {
            (SideKind::Audio, "unsupported")
        }
        "stag" => (SideKind::Subtitle, "unsupported"),
        "dframes" => (SideKind::Data, "unsupported"),
        _ => return None,
    };
    Some((Meant::all(kind), name))
}

/// Takes an option for streams beside the video.
pub(super) fn apply(
    command: &mut EncodeCommand,
    given: &Given<'_>,
    meant: Meant,
    name: &str,
) -> Result<(), CommandError> {
    let value = given.value()?;
    let wish = match (name, meant.kind) {
        ("c" | "codec", kind) => codec(given, kind, value)?,
        ("metadata", _) => {
            let pair = value.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or_else(|| given.bad_value("key=value"))?;
            Wish::Tag { key: key.to_owned(), value: value.to_owned() }
        }
        ("disposition", kind) if kind != SideKind::Attachment => disposition(given, value)?,
        (_, SideKind::Audio) => return audio(command, given, meant, name),
        _ => return Err(CommandError::not_here(given.typed, NOT_SUPPORTED)),
    };
    push(command, given, meant, wish);
    Ok(())
}

fn push(command: &mut EncodeCommand, given: &Given<'_>, meant: Meant, wish: Wish) {
    let typed = given.typed.to_owned();
    command.streams.rules.push(Rule { typed, kind: meant.kind, index: meant.index, wish });
}

fn codec(given: &Given<'_>, kind: SideKind, name: &str) -> Result<Wish, CommandError> {
    if name == "copy" {
        return Ok(Wish::Codec(name.to_owned()));
    }
    let media = match kind {
        SideKind::Audio => MediaKind::Audio,
        SideKind::Subtitle => MediaKind::Subtitle,
        _ => return Err(CommandError::not_here(given.typed, "such streams can only be copied")),
    };
    if let Some(found) = libav::resolve_encoder(name, media) {
        if media == MediaKind::Subtitle && !libav::encodes_text(&found) {
            let reason = format!("{found} makes pictures, and subtitles are only converted to text");
            return Err(CommandError::not_here(given.typed, reason));
        }
        return Ok(Wish::Codec(found));
    }
    let names = libav::all_encoders(media);
    let with_lib = format!("lib{name}");
    let similar = names.iter().find(|known| **known == with_lib).cloned().or_else(|| closest(name, names));
    let similar = similar.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    let example = if media == MediaKind::Audio { "libopus or flac" } else { "srt or ass" };
    Err(given.bad_value(format!("copy, or an encoder such as {example}{similar}")))
}

fn disposition(given: &Given<'_>, value: &str) -> Result<Wish, CommandError> {
    if crate::ffi::output::disposition_bits(value, 0).is_none() {
        return Err(given.bad_value("0, or names such as default, forced and comment with `+` between them"));
    }
    Ok(Wish::Disposition(value.to_owned()))
}

fn audio(command: &mut EncodeCommand, given: &Given<'_>, meant: Meant, name: &str) -> Result<(), CommandError> {
    let value = given.value()?;
    let number = |most: u32, allowed: &str| {
        value.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| given.bad_value(allowed))
    };
    let wish = match name {
        "ac" => Wish::Channels(number(64, "a number of channels, from 1 to 64")?),
        "ar" => Wish::SampleRate(number(768_000, "samples a second, such as 48000")?),
        "channel_layout" | "ch_layout" => {
            let known = crate::ffi::audio::is_layout(value);
            known.then(|| Wish::Layout(value.to_owned())).ok_or_else(|| given.bad_value("a layout such as 5.1"))?
        }
        "sample_fmt" => {
            let known = crate::ffi::audio::is_sample_format(value);
            known
                .then(|| Wish::SampleFormat(value.to_owned()))
                .ok_or_else(|| given.bad_value("a format such as s16"))?
        }
        "filter" if value.trim().is_empty() => return Err(given.bad_value("filters, such as `volume=0.5`")),
        "filter" => Wish::Filters(value.to_owned()),
        "q" | "qscale" => return quality(command, given, meant),
        "unsupported" | "tag" | "bsf" | "frames" | "filter_script" | "pre" | "map" => {
            return Err(CommandError::not_here(given.typed, NOT_SUPPORTED));
        }
        _ => return option(command, given, meant, name),
    };
    push(command, given, meant, wish);
    Ok(())
}

/// A fixed quality, in the unit that the ffmpeg program converts to libav's.
fn quality(command: &mut EncodeCommand, given: &Given<'_>, meant: Meant) -> Result<(), CommandError> {
    let lambda_per_step = 118.0;
    let quality = given.value()?.parse().ok().filter(|quality: &f64| (0.0..=1e6).contains(quality));
    let quality = quality.ok_or_else(|| given.bad_value("a number from 0"))?;
    let flags = Wish::Option { name: "flags".to_owned(), value: "+qscale".to_owned(), is_flags: true };
    push(command, given, meant, flags);
    let lambda = ((quality * lambda_per_step) as i32).to_string();
    push(command, given, meant, Wish::Option { name: "global_quality".to_owned(), value: lambda, is_flags: false });
    Ok(())
}

/// An option of the audio encoders that the command names.
fn option(command: &mut EncodeCommand, given: &Given<'_>, meant: Meant, name: &str) -> Result<(), CommandError> {
    let value = given.value()?;
    let encoders = encoders_of(command, meant);
    let found = match encoders.first() {
        Some(encoder) => libav::find_audio_option(Some(encoder), name),
        None => libav::find_audio_option(None, name),
    };
    let Some(found) = found else {
        return Err(match encoders.first() {
            Some(encoder) => {
                let names = libav::all_audio_option_names(encoder);
                let suggestion = closest(name, names).map(|name| format!("-{name}:a"));
                CommandError::NotOfEncoder { option: given.typed.to_owned(), encoder: encoder.clone(), suggestion }
            }
            None => CommandError::not_here(given.typed, "it belongs to an encoder; name that one too, with -c:a"),
        });
    };
    let encoder = encoders.first().map(String::as_str);
    super::options::take(&found, given.typed, value, || libav::check_encoder_option(encoder, name, value))?;
    let is_flags = found.is_flags;
    push(command, given, meant, Wish::Option { name: name.to_owned(), value: value.to_owned(), is_flags });
    Ok(())
}

/// The audio encoders that are named for the streams.
fn encoders_of(command: &EncodeCommand, meant: Meant) -> Vec<String> {
    let touches = |rule: &&Rule| {
        rule.kind == meant.kind && (rule.index.is_none() || meant.index.is_none() || rule.index == meant.index)
    };
    let codec = |rule: &Rule| match &rule.wish {
        Wish::Codec(name) if name != "copy" => Some(name.clone()),
        _ => None,
    };
    command.streams.rules.iter().filter(touches).filter_map(codec).collect()
}

/// An option without a specifier that no video encoder and no container knows: as in the ffmpeg program, it may be one of
/// the audio encoder's. False when it is not.
pub(super) fn take_unspecified(command: &mut EncodeCommand, given: &Given<'_>) -> Result<bool, CommandError> {
    let meant = Meant::all(SideKind::Audio);
    let known = |encoder: &String| libav::find_audio_option(Some(encoder), given.name).is_some();
    if given.value.is_none() || !encoders_of(command, meant).iter().any(known) {
        return Ok(false);
    }
    option(command, given, meant, given.name).map(|()| true)
}

/// `-strict` without a specifier is for every encoder.
pub(super) fn share_strict(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    let meant = Meant::all(SideKind::Audio);
    if given.name == "strict" && !encoders_of(command, meant).is_empty() {
        return option(command, given, meant, given.name);
    }
    Ok(())
}
