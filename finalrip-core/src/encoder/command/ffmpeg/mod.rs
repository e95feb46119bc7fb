//! The ffmpeg program's syntax, for one video stream: options, at most one input (`-i -`), at most one output.

mod program;
mod side;

use super::error::CommandError;
use super::{EncodeCommand, EncoderChoice, FrameTiming, options, set_option};
use crate::ffi::options as libav;
use program::Use;

#[cfg(test)]
pub(crate) use program::all_names;
pub(crate) use program::option_names;

/// An option as it was given.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    /// With its dash and stream specifier: `-b:v`.
    typed: &'a str,
    /// Without: `b`.
    name: &'a str,
    /// The stream specifier: `v`; empty without one.
    stream: &'a str,
    /// What follows it; `None` at the end of the command, and for flags.
    value: Option<&'a str>,
    /// What the program itself does with it; `None` for what only libav knows.
    program_use: Option<Use>,
}

/// One part of a command.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Option(Given<'a>),
    Input(&'a str),
    Output(&'a str),
}

/// Reads the words behind `ffmpeg`.
pub(super) fn parse(words: &[String]) -> Result<EncodeCommand, CommandError> {
    let parts = parts(words)?;
    let input = parts.iter().position(|part| matches!(part, Part::Input(_)));
    let (before, after) = parts.split_at(input.unwrap_or(0));
    let mut command = EncodeCommand { encoder: named_encoder(after)?, ..EncodeCommand::default() };
    for part in before {
        match part {
            Part::Option(given) => apply_to_input(&mut command, given)?,
            Part::Output(name) | Part::Input(name) => command.set_output(name)?,
        }
    }
    let mut inputs = 0;
    // Audio encoders too decide what other options mean.
    for given in options_of(after).filter(|given| is_audio_codec(given)) {
        apply_to_output(&mut command, given)?;
    }
    for part in after {
        match part {
            Part::Option(given) if is_audio_codec(given) => {}
            Part::Option(given) => apply_to_output(&mut command, given)?,
            Part::Output(name) => command.set_output(name)?,
            Part::Input(name) => {
                inputs += 1;
                check_input(name, inputs)?;
            }
        }
    }
    check_whole(&command)?;
    Ok(command)
}

fn parts(words: &[String]) -> Result<Vec<Part<'_>>, CommandError> {
    let mut parts = Vec::new();
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) else {
            parts.push(Part::Output(word));
            continue;
        };
        if option == "i" {
            parts.push(Part::Input(rest.next().ok_or_else(|| CommandError::missing_value(word))?));
            continue;
        }
        let (name, stream) = option.split_once(':').unwrap_or((option, ""));
        let program_use = program::find(name);
        // As in the ffmpeg program, whatever is not one of its flags takes the next word, whatever that looks like.
        let value = if program_use.is_some_and(Use::is_flag) { None } else { rest.next() };
        parts.push(Part::Option(Given { typed: word, name, stream, value, program_use }));
    }
    Ok(parts)
}

fn options_of<'a, 'b>(parts: &'b [Part<'a>]) -> impl Iterator<Item = &'b Given<'a>> {
    parts.iter().filter_map(|part| if let Part::Option(given) = part { Some(given) } else { None })
}

fn is_audio_codec(given: &Given<'_>) -> bool {
    let by_specifier = ["c", "codec"].contains(&given.name) && given.stream.split(':').next() == Some("a");
    by_specifier || given.name == "acodec"
}

/// The encoder comes first, since it decides what the other options mean.
fn named_encoder(parts: &[Part<'_>]) -> Result<EncoderChoice, CommandError> {
    let mut encoder = EncoderChoice::Default;
    for part in parts {
        let Part::Option(given) = part else { continue };
        if ["c", "codec", "vcodec"].contains(&given.name) && given.is_for_video()? {
            let name = given.value()?;
            if name == "copy" {
                return Err(CommandError::not_here(given.typed, "frames that come from a script have to be encoded"));
            }
            encoder = options::choose_encoder(given.typed, name)?;
        }
    }
    Ok(encoder)
}

fn check_input(name: &str, count: usize) -> Result<(), CommandError> {
    let is_clip = ["-", "pipe:", "pipe:0", "/dev/stdin", "fd:", "fd:0"].contains(&name);
    if !is_clip {
        return Err(CommandError::Input { input: name.to_owned() });
    }
    if count > 1 {
        return Err(CommandError::not_here("-i", "there is one input, the script's clip"));
    }
    Ok(())
}

/// Options before `-i` are about how the clip is read.
fn apply_to_input(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    match given.name {
        "f" => {
            let value = given.value()?;
            let is_pipe = ["yuv4mpegpipe", "y4m"].contains(&value);
            is_pipe.then_some(()).ok_or_else(|| {
                CommandError::not_here(given.typed, "the clip knows its own format; only yuv4mpegpipe is accepted")
            })
        }
        "r" => {
            command.input_rate = Some(given.rate()?);
            Ok(())
        }
        // These set up a demuxer or a decoder, and there is none.
        "threads" | "strict" | "probesize" | "analyzeduration" | "fflags" | "fpsprobesize" | "blocksize" => {
            given.value().map(|_| ())
        }
        // The clip has no other streams.
        "an" | "sn" | "dn" => Ok(()),
        _ => match given.program_use {
            Some(Use::NoValue | Use::Unused | Use::Refused(_)) => apply_to_output(command, given),
            Some(Use::Value(_)) if ["vsync", "fps_mode"].contains(&given.name) => apply_to_output(command, given),
            _ => Err(CommandError::not_here(
                given.typed,
                "before -i it would be about reading the clip; put it behind `-i -`",
            )),
        },
    }
}

fn apply_to_output(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    match given.program_use {
        Some(Use::NoValue) => Ok(()),
        Some(Use::Unused) => given.value().map(|_| ()),
        Some(Use::Refused(reason)) => Err(CommandError::not_here(given.typed, reason)),
        Some(Use::Side) => match (side::short(given.name), side::meant(given.typed, given.stream)?) {
            (Some((_, name)), Some(meant)) => side::apply(command, given, meant, name),
            (Some((meant, name)), None) if given.stream.is_empty() => side::apply(command, given, meant, name),
            _ => Err(CommandError::not_here(given.typed, "it is not for such a stream")),
        },
        Some(Use::Flag(apply)) => apply(command, given),
        // A `-metadata` tells its places apart itself.
        Some(Use::Value(apply)) if ["metadata", "map_metadata"].contains(&given.name) => apply(command, given),
        Some(Use::Value(apply)) => match side::meant(given.typed, given.stream)? {
            Some(meant) => side::apply(command, given, meant, given.name),
            None => given.check_for_video().and_then(|()| apply(command, given)),
        },
        None => match side::meant(given.typed, given.stream)? {
            Some(meant) => side::apply(command, given, meant, given.name),
            None => given.check_for_video().and_then(|()| apply_to_codec(command, given)),
        },
    }
}

/// An option that the program itself does not know.
fn apply_to_codec(command: &mut EncodeCommand, given: &Given<'_>) -> Result<(), CommandError> {
    match given.value {
        Some(value) => match options::route(command, given.typed, given.name, value) {
            Ok(()) => side::share_strict(command, given),
            Err(_) if given.stream.is_empty() && side::take_unspecified(command, given)? => Ok(()),
            Err(error) => Err(error),
        },
        // The name is looked up first: a wrong name is the likelier mistake.
        None => match options::route(&mut command.clone(), given.typed, given.name, "") {
            Ok(()) | Err(CommandError::BadValue { .. }) => Err(CommandError::missing_value(given.typed)),
            Err(error) => Err(error),
        },
    }
}

/// What only the whole command shows.
fn check_whole(command: &EncodeCommand) -> Result<(), CommandError> {
    let keeps_times = matches!(command.timing, Some(FrameTiming::Variable | FrameTiming::Passthrough));
    if command.frame_rate.is_some() && keeps_times {
        return Err(CommandError::not_here("-r", "a constant rate contradicts -fps_mode vfr or passthrough"));
    }
    Ok(())
}

impl<'a> Given<'a> {
    fn value(&self) -> Result<&'a str, CommandError> {
        self.value.ok_or_else(|| CommandError::missing_value(self.typed))
    }

    fn bad_value(&self, allowed: impl Into<String>) -> CommandError {
        CommandError::bad_value(self.typed, self.value.unwrap_or_default(), allowed)
    }

    fn rate(&self) -> Result<crate::units::Rational, CommandError> {
        let allowed = "frames per second, such as 24, 24000/1001 or 23.976";
        libav::parse_rate(self.value()?).ok_or_else(|| self.bad_value(allowed))
    }

    /// Whether the stream specifier means the video, and not a stream of another kind; a second video stream is a
    /// misunderstanding.
    fn is_for_video(&self) -> Result<bool, CommandError> {
        let kind = self.stream.split(':').next().unwrap_or_default();
        match self.stream {
            "" | "v" | "V" | "0" | "v:0" | "V:0" => Ok(true),
            _ if ["a", "s", "d", "t"].contains(&kind) => Ok(false),
            _ => Err(CommandError::not_here(self.typed, "the output has one stream, the video: `:v`, `:v:0` or `:0`")),
        }
    }

    fn check_for_video(&self) -> Result<(), CommandError> {
        self.is_for_video().map(drop)
    }
}
