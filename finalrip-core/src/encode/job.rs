//! One encode's settings, checked before anything is opened.

use std::time::Duration;

use crate::cancel::CancelToken;
use crate::container::{Output, PartialFile, output_error};
use crate::convert::RAV1E;
use crate::encoder::command::{EncodeCommand, EncoderChoice, FrameTiming};
use crate::error::{Error, Result};
use crate::ffi::codec::Codec;
use crate::ffi::format::OutputFormat;
use crate::frames::ClipInfo;
use crate::timing::Timing;
use crate::units::{FrameRange, Rational};

use super::{Options, inputs};

/// What to encode, how, and into which file.
pub(crate) struct Job {
    pub(crate) command: EncodeCommand,
    pub(crate) encoder: String,
    pub(crate) format: OutputFormat,
    pub(crate) file: PartialFile,
    /// Whether the file is not to be in the format, but holds the packets that will be.
    pub(crate) keep_packets: bool,
    pub(crate) range: Option<FrameRange>,
    pub(crate) ignore_props: bool,
    pub(crate) timing: Timing,
    /// Whether the container knows constant rates only: variable pictures are repeated and left out on the clip's grid then.
    pub(crate) repeats: bool,
    pub(crate) requests: Option<usize>,
    pub(crate) progress_interval: Duration,
    pub(crate) cancel: CancelToken,
}

impl Job {
    pub(crate) fn new(command: &EncodeCommand, output: impl Into<Output>, options: &Options) -> Result<Self> {
        let destination = output.into();
        let output = destination.path().to_owned();
        let file = PartialFile::of(destination).map_err(|error| output_error(&output, error.to_string()))?;
        let named = options.inputs.iter().map(|path| ("one of the files that it is made from", path.as_path()));
        inputs::check(file.target(), named, command)?;
        let format = OutputFormat::guess(command.format.as_deref(), Some(&output))
            .ok_or_else(|| output_error(&output, unknown_container(command.format.as_deref())))?;
        if !format.writes_a_file() && format.name() != "null" {
            return Err(output_error(&output, format!("the container {} does not write one file", format.name())));
        }
        let encoder = choose_encoder(command, format, &output)?;
        let codec =
            if encoder == RAV1E { Some(ffmpeg_next::ffi::AVCodecID::AV_CODEC_ID_AV1) } else { Codec::id_of(&encoder) };
        if codec.and_then(|codec| format.takes(codec)) == Some(false) {
            let reason = format!("the container {} cannot hold what {encoder} makes", format.name());
            return Err(output_error(&output, reason));
        }
        Ok(Self {
            command: command.clone(),
            encoder,
            format,
            file,
            keep_packets: false,
            range: options.range,
            ignore_props: options.ignore_props,
            timing: timing(command, options, format),
            repeats: !format.allows_variable_rate(),
            requests: options.requests,
            progress_interval: options.progress_interval,
            cancel: CancelToken::new(),
        })
    }

    /// The constant rate of the clip, as the command or the clip itself says it.
    pub(crate) fn rate(&self, clip: &ClipInfo) -> Option<Rational> {
        self.command.input_rate.or(clip.frame_rate)
    }

    /// What a report says of pictures that are repeated.
    pub(crate) fn repeated(&self) -> String {
        format!(
            "the clip's rate is variable, and the container {} knows constant rates only: pictures are repeated and left out, as the \
             ffmpeg program does it. MKV, MP4, MOV, WebM, TS and NUT keep each picture once",
            self.format.name()
        )
    }

    /// Whether each frame becomes one picture, whatever its time, so that pictures can be given other times afterwards.
    pub(crate) fn makes_a_picture_of_each_frame(&self) -> bool {
        !self.repeats && self.command.filters_with_memory().is_empty() && self.command.bitstream_filters.is_none()
    }

    /// The frames to take of a clip of `frames` frames.
    pub(crate) fn range_of(&self, frames: u32) -> Result<FrameRange> {
        let range = self.range.unwrap_or(FrameRange { start: 0, end: frames });
        if range.is_empty() || range.end > frames {
            let reason = format!("the range {range} is empty or outside its {frames} frames (0..{frames})");
            return Err(Error::Clip { reason });
        }
        Ok(range)
    }
}

fn unknown_container(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("there is no container {name} (option -f)"),
        None => "its extension names no container; use .mkv, .mp4, .webm, ... or say -f in the command".to_owned(),
    }
}

fn choose_encoder(command: &EncodeCommand, format: OutputFormat, output: &std::path::Path) -> Result<String> {
    match &command.encoder {
        EncoderChoice::Rav1e => Ok(RAV1E.to_owned()),
        EncoderChoice::Libav(name) => Ok(name.clone()),
        EncoderChoice::Default => {
            let name = format.default_encoder(output).ok_or_else(|| {
                let reason = format!("the container {} has no encoder of its own; name one with -c:v", format.name());
                output_error(output, reason)
            })?;
            command.check_for_encoder(&name)?;
            Ok(name)
        }
    }
}

/// The command's `-fps_mode`, and a frame rate that it sets, go before the option.
fn timing(command: &EncodeCommand, options: &Options, format: OutputFormat) -> Timing {
    let constant = options.ignore_props || command.input_rate.is_some();
    match command.timing {
        Some(FrameTiming::Constant) => Timing::Constant,
        // Every frame once, and no times to give them.
        Some(FrameTiming::Passthrough) if !format.allows_variable_rate() => Timing::Constant,
        _ if constant => Timing::Constant,
        Some(FrameTiming::Variable) => Timing::Variable,
        _ => options.timing,
    }
}
