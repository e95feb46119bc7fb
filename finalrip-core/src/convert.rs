//! Between the clip and the encoder: nothing when the encoder takes the clip's format, else one libavfilter graph, the
//! one that the ffmpeg program would build.

use ffmpeg_next::ffi::AVCodecID;

use crate::encoder::command::EncodeCommand;
use crate::encoder::{EncoderError, alpha, rav1e};
use crate::error::{Error, Result};
use crate::ffi::codec::Codec;
use crate::ffi::filter::{FilterGraph, GraphInput};
use crate::ffi::frame::AvFrame;
use crate::ffi::log::LogTail;
use crate::ffi::options::generic_option_number;
use crate::frames::ClipInfo;
use crate::picture::{Description, Picture, PixelFormat};
use crate::units::Rational;

/// What has to happen to a picture before the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// Nothing: the encoder reads the clip's own planes.
    None,
    /// A chain in libavfilter's syntax.
    Filters(String),
}

/// The name under which an encoder is looked up; `rav1e` is the built-in one.
pub(crate) const RAV1E: &str = "rav1e";

/// Works out the conversion for a clip and an encoder.
///
/// # Errors
/// [`Error::Encoder`] when the command asks for a pixel format that does not exist or that the encoder does not take.
pub(crate) fn plan(command: &EncodeCommand, encoder: &str, clip: PixelFormat) -> Result<Conversion> {
    let mut accepted = accepted_formats(command, encoder);
    let wanted = wanted_format(command, encoder, clip, &accepted)?;
    if clip.has_alpha() && !alpha::is_dropped_on_purpose(command) {
        accepted.retain(|format| format.has_alpha());
    }
    let fits = match wanted {
        Some(format) => format == clip,
        None => accepted.is_empty() || accepted.contains(&clip),
    };
    let mut chain: Vec<String> = Vec::new();
    chain.extend(command.filters.clone());
    chain.extend(command.size.map(|(width, height)| format!("scale={width}:{height}")));
    chain.extend(command.frame_rate.map(|rate| format!("fps=fps={rate}")));
    let colors = negotiated_colors(command, encoder);
    if chain.is_empty() && fits && colors.is_empty() {
        return Ok(Conversion::None);
    }
    let formats: Vec<String> = match wanted {
        Some(format) => vec![format.name()],
        None => accepted.iter().map(|format| format.name()).collect(),
    };
    let formats = if formats.is_empty() { None } else { Some(format!("pix_fmts={}", formats.join("|"))) };
    let wishes: Vec<String> = formats.into_iter().chain(colors).collect();
    if !wishes.is_empty() {
        chain.push(format!("format={}", wishes.join(":")));
    }
    if encoder == RAV1E {
        // Filters that crop or flip only move pointers, or count rows backwards: rav1e is given whole planes.
        chain.push("copy".to_owned());
    }
    Ok(Conversion::Filters(chain.join(",")))
}

/// Checks that a clip's alpha, if it has any, reaches the file, whose container is `container`.
///
/// # Errors
/// [`Error::Encoder`], which says how to encode without it; otherwise as [`plan`].
pub(crate) fn check_alpha(command: &EncodeCommand, encoder: &str, clip: PixelFormat, container: &str) -> Result<()> {
    if !clip.has_alpha() {
        return Ok(());
    }
    let accepted = accepted_formats(command, encoder);
    let wanted = wanted_format(command, encoder, clip, &accepted)?;
    match alpha::problem(command, encoder, (wanted, &accepted), container) {
        Some(message) => Err(Error::Encoder { stage: encoder.to_owned(), message, log: Vec::new() }),
        None => Ok(()),
    }
}

/// Since FFmpeg 7.0 the ffmpeg program makes `-colorspace` and `-color_range` wishes of its filter graph: pictures that have
/// another matrix or range are converted, where before they were only labelled. We do as the linked version does.
fn negotiated_colors(command: &EncodeCommand, encoder: &str) -> Vec<String> {
    /// libav's names for the code points of H.273's table 4.
    const MATRICES: [(i64, &str); 13] = [
        (0, "gbr"),
        (1, "bt709"),
        (4, "fcc"),
        (5, "bt470bg"),
        (6, "smpte170m"),
        (7, "smpte240m"),
        (8, "ycgco"),
        (9, "bt2020nc"),
        (10, "bt2020c"),
        (11, "smpte2085"),
        (12, "chroma-derived-nc"),
        (13, "chroma-derived-c"),
        (14, "ictcp"),
    ];
    const RANGES: [(i64, &str); 2] = [(1, "tv"), (2, "pc")];
    if !cfg!(ffmpeg_7_0) || encoder == RAV1E {
        return Vec::new();
    }
    let wish = |option: &str, key: &str, names: &[(i64, &str)]| {
        let value = command.encoder_options.iter().rev().find(|(name, _)| name == option)?;
        let number = generic_option_number(option, &value.1)?;
        let (_, name) = names.iter().find(|(code, _)| *code == number)?;
        Some(format!("{key}={name}"))
    };
    let matrix = wish("colorspace", "color_spaces", &MATRICES);
    matrix.into_iter().chain(wish("color_range", "color_ranges", &RANGES)).collect()
}

/// What the encoder takes, best first; empty when it does not say.
fn accepted_formats(command: &EncodeCommand, encoder: &str) -> Vec<PixelFormat> {
    if encoder == RAV1E {
        return rav1e::PIXEL_FORMATS.iter().filter_map(|name| PixelFormat::from_name(name)).collect();
    }
    let Some(codec) = Codec::encoder(encoder) else { return Vec::new() };
    let mut formats = codec.pixel_formats();
    // JPEG is full range: its encoders list the limited formats too, but refuse them unless `-strict unofficial`.
    let strict = command.encoder_options.iter().find(|(name, _)| name == "strict").map(|(_, value)| value.as_str());
    let unofficial = matches!(strict, Some("unofficial" | "experimental" | "-1" | "-2"));
    if matches!(codec.id(), AVCodecID::AV_CODEC_ID_MJPEG | AVCodecID::AV_CODEC_ID_LJPEG) && !unofficial {
        formats.retain(|format| !format.name().starts_with("yuv4"));
    }
    formats
}

/// The format that the command asks for, checked against what the encoder takes.
fn wanted_format(
    command: &EncodeCommand,
    encoder: &str,
    clip: PixelFormat,
    accepted: &[PixelFormat],
) -> Result<Option<PixelFormat>> {
    let refuse = |message: String| Err(Error::Encoder { stage: encoder.to_owned(), message, log: Vec::new() });
    let takes = || accepted.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &command.pixel_format {
        let Some(format) = PixelFormat::from_name(name) else {
            return refuse(format!("there is no pixel format {name}; {encoder} takes {}", takes()));
        };
        if !accepted.is_empty() && !accepted.contains(&format) {
            return refuse(format!("it does not take the pixel format {name}; it takes {}", takes()));
        }
        return Ok(Some(format));
    }
    let Some(depth) = command.bit_depth.map(u32::from).filter(|&depth| depth != clip.depth()) else {
        return Ok(None);
    };
    let alike = |format: &&PixelFormat| {
        format.depth() == depth
            && format.subsampling() == clip.subsampling()
            && format.components() == clip.components()
            && format.is_rgb() == clip.is_rgb()
    };
    match accepted.iter().find(alike) {
        Some(format) => Ok(Some(*format)),
        None => {
            refuse(format!("it does not take {depth}-bit samples in the clip's colour format; it takes {}", takes()))
        }
    }
}

/// A conversion at work.
#[derive(Debug)]
pub(crate) struct Converter {
    graph: Option<FilterGraph>,
    time_base: Rational,
    frame_rate: Option<Rational>,
    aspect: Option<Rational>,
    waiting: Option<Picture>,
    /// Where the last picture's duration is over, in ticks of what goes in.
    end: i64,
}

impl Converter {
    /// `time_base` and `frame_rate` are those of the pictures that go in.
    pub(crate) fn new(
        conversion: &Conversion,
        clip: (&ClipInfo, PixelFormat),
        about: &Description,
        (time_base, frame_rate): (Rational, Option<Rational>),
        scaler_options: &[(String, String)],
    ) -> Result<Self> {
        let Conversion::Filters(chain) = conversion else {
            let aspect = about.sample_aspect;
            return Ok(Self { graph: None, time_base, frame_rate, aspect, waiting: None, end: 0 });
        };
        let (info, format) = clip;
        let input = GraphInput {
            format,
            width: info.width,
            height: info.height,
            time_base,
            frame_rate,
            sample_aspect: about.sample_aspect,
            range: about.color.range,
            matrix: about.color.matrix,
        };
        let graph = FilterGraph::new(&input, chain, &scaler_text(scaler_options), &LogTail::default())
            .map_err(|error| failed(chain, error))?;
        let (time_base, frame_rate, aspect) = (graph.time_base(), graph.frame_rate(), graph.sample_aspect());
        Ok(Self { graph: Some(graph), time_base, frame_rate, aspect, waiting: None, end: 0 })
    }

    /// Seconds per tick of the pictures that come out.
    pub(crate) fn time_base(&self) -> Rational {
        self.time_base
    }

    /// The constant rate of the pictures that come out, if they have one.
    pub(crate) fn frame_rate(&self) -> Option<Rational> {
        self.frame_rate
    }

    /// The sample aspect ratio of the pictures that come out.
    pub(crate) fn sample_aspect(&self) -> Option<Rational> {
        self.aspect
    }

    /// Whether pictures pass through untouched.
    pub(crate) fn is_direct(&self) -> bool {
        self.graph.is_none()
    }

    /// Puts a picture in; then take everything with [`Converter::pull`].
    pub(crate) fn push(&mut self, picture: Picture) -> Result<()> {
        self.end = picture.pts().saturating_add(picture.duration());
        match &mut self.graph {
            None => self.waiting = Some(picture),
            Some(graph) => {
                graph.push(picture.frame()).map_err(|code| graph_failed(graph, &code.to_string()))?;
            }
        }
        Ok(())
    }

    /// Says that no picture follows; then take everything that is left.
    pub(crate) fn close(&mut self) -> Result<()> {
        match &mut self.graph {
            None => Ok(()),
            Some(graph) => graph.close(self.end).map_err(|code| graph_failed(graph, &code.to_string())),
        }
    }

    /// The next picture that came out.
    pub(crate) fn pull(&mut self) -> Result<Option<Picture>> {
        match &mut self.graph {
            None => Ok(self.waiting.take()),
            Some(graph) => {
                let frame: Option<AvFrame> = graph.pull().map_err(|code| graph_failed(graph, &code.to_string()))?;
                Ok(frame.map(Picture::from_av_frame))
            }
        }
    }
}

/// The scaler's options: ffmpeg's default, bicubic, unless the command names others.
fn scaler_text(options: &[(String, String)]) -> String {
    let named = |(key, value): &(String, String)| {
        let key = if key == "sws_flags" { "flags" } else { key };
        format!("{key}={value}")
    };
    let names_flags = options.iter().any(|(key, _)| key == "sws_flags" || key == "flags");
    let default = (!names_flags).then(|| "flags=bicubic".to_owned());
    default.into_iter().chain(options.iter().map(named)).collect::<Vec<_>>().join(":")
}

fn failed(chain: &str, error: EncoderError) -> Error {
    Error::Encoder { stage: format!("the filter chain {chain:?}"), message: error.message, log: error.log }
}

fn graph_failed(graph: &FilterGraph, message: &str) -> Error {
    Error::Encoder { stage: "the filter chain".to_owned(), message: message.to_owned(), log: graph.log().take() }
}
