//! The encode command: the text with which a user chooses and configures an encoder.
//!
//! Two dialects are understood. **ffmpeg's**, with or without the leading `ffmpeg -i -`: options of the program that
//! make sense for one video stream are read here, everything else is looked up in libav's own option system, so that
//! no encoder's options are written down in this crate. And **the encoders' own** command lines (`x264`, `x265`,
//! `SvtAv1EncApp`, `rav1e`, `aomenc`, `vpxenc`), whose options are handed to the same encoders through libav. Both become the same
//! [`EncodeCommand`]. The text is split as a shell would split it and never given to one.
//!
//! Whatever is unknown, or would do something that is not done here, is an error: a command never means less than
//! it says.

mod error;
mod ffmpeg;
mod filters;
mod native;
mod options;
pub(crate) mod params;
pub(crate) mod rav1e_options;
mod stream_frames;
pub(crate) mod streams;
mod suggest;
mod words;

use std::path::Path;

use serde::Serialize;

pub use self::error::CommandError;
pub(crate) use self::stream_frames::StreamPart;
use crate::units::Rational;

/// Which encoder a command chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EncoderChoice {
    /// None was named: the container's own default, as the ffmpeg program does.
    #[default]
    Default,
    /// A video encoder of the linked libav, by libav's name for it.
    Libav(String),
    /// The `rav1e` crate.
    Rav1e,
}

/// How frames become timestamps (`-fps_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FrameTiming {
    /// One frame per period of the frame rate; frames are repeated or dropped to that end.
    Constant,
    /// Each frame at its own time; of two at the same time the first is dropped.
    Variable,
    /// Each frame at its own time, whatever that is.
    Passthrough,
}

/// An encode command, read and checked: which encoder, its options, and what happens before and after it.
///
/// ```
/// use finalrip_core::EncodeCommand;
///
/// let command = EncodeCommand::parse("ffmpeg -i - -pix_fmt yuv420p10le -c:v ffv1 -g 1 out.mkv")?;
/// assert_eq!(command.encoder_name(), Some("ffv1"));
/// assert_eq!(command.pixel_format(), Some("yuv420p10le"));
/// # Ok::<(), finalrip_core::encoder::command::CommandError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EncodeCommand {
    pub(crate) encoder: EncoderChoice,
    pub(crate) encoder_options: Vec<(String, String)>,
    pub(crate) filters: Option<String>,
    pub(crate) pixel_format: Option<String>,
    pub(crate) bit_depth: Option<u8>,
    pub(crate) input_rate: Option<Rational>,
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) aspect: Option<Rational>,
    pub(crate) frame_limit: Option<u64>,
    pub(crate) tag: Option<String>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) stream_metadata: Vec<(String, String)>,
    pub(crate) format: Option<String>,
    pub(crate) muxer_options: Vec<(String, String)>,
    pub(crate) scaler_options: Vec<(String, String)>,
    pub(crate) bitstream_filters: Option<String>,
    pub(crate) timing: Option<FrameTiming>,
    pub(crate) output: Option<String>,
    #[serde(skip_serializing_if = "streams::StreamRules::is_empty")]
    pub(crate) streams: streams::StreamRules,
}

impl EncodeCommand {
    /// Reads a command line in ffmpeg's syntax or an encoder's own.
    ///
    /// Everything that can be checked without opening the encoder is checked here: names of encoders, options,
    /// containers and pixel formats against the linked libav, and the values of options. What the encoder checks
    /// itself, such as the keys inside `-x265-params`, it refuses when it is opened.
    ///
    /// # Errors
    /// [`CommandError`], which names the option as typed and, where close, the right spelling.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        // Checking values makes libav log what it refuses; the error says it, standard error need not.
        crate::ffi::log::install();
        let words = words::split(text)?;
        let Some((first, rest)) = words.split_first() else { return Err(CommandError::Empty) };
        if first.starts_with('-') {
            return ffmpeg::parse(&words);
        }
        match words::program_name(first) {
            "ffmpeg" => ffmpeg::parse(rest),
            name => native::parse(name, rest).unwrap_or_else(|| Err(unknown_program(name))),
        }
    }

    /// The chosen encoder's name: libav's name for it, `rav1e`, or `None` when the command leaves it to the container.
    #[must_use]
    pub fn encoder_name(&self) -> Option<&str> {
        match &self.encoder {
            EncoderChoice::Default => None,
            EncoderChoice::Libav(name) => Some(name),
            EncoderChoice::Rav1e => Some("rav1e"),
        }
    }

    /// libav's name of the codec that the command makes in a container of this name, such as `matroska`, and in this file.
    pub(crate) fn codec_in(&self, container: &str, file: &Path) -> Option<String> {
        use crate::ffi::{codec::Codec, format::OutputFormat};
        let name = match &self.encoder {
            EncoderChoice::Rav1e => return Some("av1".to_owned()),
            EncoderChoice::Libav(name) => name.clone(),
            EncoderChoice::Default => OutputFormat::guess(Some(container), None)?.default_encoder(file)?,
        };
        Codec::encoder(&name).map(Codec::makes)
    }

    /// Which encoder the command chooses.
    #[must_use]
    pub fn encoder(&self) -> &EncoderChoice {
        &self.encoder
    }

    /// The encoder's options by libav's names, each at most once; stream specifiers are removed.
    ///
    /// Among them may be the colour options, which stand above what the frames say, and libav's `aspect`, which is the
    /// shape of a pixel (`--sar`) and not that of the picture (`-aspect`, see [`EncodeCommand::aspect`]).
    #[must_use]
    pub fn encoder_options(&self) -> &[(String, String)] {
        &self.encoder_options
    }

    /// The value of one of the encoder's options.
    #[must_use]
    pub fn encoder_option(&self, name: &str) -> Option<&str> {
        self.encoder_options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The filter graph between script and encoder (`-vf`), in libavfilter's syntax.
    #[must_use]
    pub fn filters(&self) -> Option<&str> {
        self.filters.as_deref()
    }

    /// The pixel format to encode (`-pix_fmt`), by libav's name.
    #[must_use]
    pub fn pixel_format(&self) -> Option<&str> {
        self.pixel_format.as_deref()
    }

    /// The bit depth to encode (x264's `--output-depth`, x265's `--output-depth` or `--profile`), whatever the chroma
    /// format. Without it the clip's own depth is kept.
    #[must_use]
    pub fn bit_depth(&self) -> Option<u8> {
        self.bit_depth
    }

    /// The rate at which the clip's frames are taken (`-r` before `-i`, `--fps`), in frames per second.
    #[must_use]
    pub fn input_rate(&self) -> Option<Rational> {
        self.input_rate
    }

    /// The rate to which frames are repeated or dropped (`-r`), in frames per second.
    #[must_use]
    pub fn frame_rate(&self) -> Option<Rational> {
        self.frame_rate
    }

    /// Width and height to scale to (`-s`), in pixels.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// The display aspect ratio to declare (`-aspect`).
    #[must_use]
    pub fn aspect(&self) -> Option<Rational> {
        self.aspect
    }

    /// The most frames to encode (`-frames:v`).
    #[must_use]
    pub fn frame_limit(&self) -> Option<u64> {
        self.frame_limit
    }

    /// The codec tag to write (`-tag:v`): four characters, or a number.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The container's metadata (`-metadata`), in the order given; an empty value removes the key.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The video stream's metadata (`-metadata:s:v`), in the order given; an empty value removes the key.
    #[must_use]
    pub fn stream_metadata(&self) -> &[(String, String)] {
        &self.stream_metadata
    }

    /// The container format (`-f`), by libav's name.
    #[must_use]
    pub fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    /// The container's options, each at most once. Whether the container in use has them shows when it is opened.
    #[must_use]
    pub fn muxer_options(&self) -> &[(String, String)] {
        &self.muxer_options
    }

    /// The options of the scaler (`-sws_flags` and the like) for conversions that the encoder makes necessary.
    #[must_use]
    pub fn scaler_options(&self) -> &[(String, String)] {
        &self.scaler_options
    }

    /// The bitstream filters behind the encoder (`-bsf:v`), in libavcodec's syntax.
    #[must_use]
    pub fn bitstream_filters(&self) -> Option<&str> {
        self.bitstream_filters.as_deref()
    }

    /// How frames become timestamps (`-fps_mode`); `None` leaves it to the container.
    #[must_use]
    pub fn timing(&self) -> Option<FrameTiming> {
        self.timing
    }

    /// The file that the command names as its output. It is not written to: the caller says where the output goes.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// Names the output, of which there can be one.
    fn set_output(&mut self, name: &str) -> Result<(), CommandError> {
        match self.output.replace(name.to_owned()) {
            Some(first) => Err(CommandError::SecondOutput { first, second: name.to_owned() }),
            None => Ok(()),
        }
    }
}

fn unknown_program(name: &str) -> CommandError {
    let is_encoder = crate::ffi::options::resolve_video_encoder(name).is_some();
    let suggestion = if is_encoder {
        Some(format!("-c:v {name}"))
    } else {
        suggest::closest(name, ["ffmpeg", "x264", "x265", "SvtAv1EncApp", "rav1e", "aomenc", "vpxenc"])
    };
    CommandError::UnknownProgram { name: name.to_owned(), suggestion }
}

/// Sets an option in a list that has each name once: later values win, and `+flag` adds to the flags before it, as in
/// the ffmpeg program.
fn set_option(list: &mut Vec<(String, String)>, name: &str, value: &str, is_flags: bool) {
    match list.iter_mut().find(|(key, _)| key == name) {
        Some((_, old)) if is_flags && value.starts_with(['+', '-']) => old.push_str(value),
        Some((_, old)) => value.clone_into(old),
        None => list.push((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests;
