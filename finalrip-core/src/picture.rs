//! From a VapourSynth frame to an `AVFrame`, without copying planes; from frame properties to colour, HDR and timing.

use std::ffi::c_int;

use ffmpeg_next::ffi as av;
use serde::{Deserialize, Serialize};

use crate::ffi::AvError;
use crate::ffi::frame::AvFrame;
pub use crate::ffi::pixel_format::PixelFormat;
use crate::frames::{ClipInfo, ColorFamily, FieldOrder, Frame, FrameProperties, HdrMetadata, SampleType, VideoFormat};

impl PixelFormat {
    /// The format that holds VapourSynth's planes as they are, if libav has one.
    #[must_use]
    pub fn for_clip(format: VideoFormat) -> Option<Self> {
        Self::from_name(&libav_name(format)?)
    }

    /// The format that holds all of the clip's planes as they are, alpha among them, if libav has one.
    #[must_use]
    pub fn of(clip: &ClipInfo) -> Option<Self> {
        let name = libav_name(clip.format)?;
        match (clip.alpha, clip.format.family) {
            (false, _) => Self::from_name(&name),
            (true, ColorFamily::Yuv) => Self::from_name(&name.replacen("yuv", "yuva", 1)),
            (true, ColorFamily::Rgb) => Self::from_name(&name.replacen("gbrp", "gbrap", 1)),
            // libav's grey with alpha is packed: no plane could be shown as it is.
            (true, ColorFamily::Gray) => None,
        }
    }
}

/// What to say of a clip that libav has no format for.
pub(crate) fn no_pixel_format(clip: &ClipInfo) -> String {
    let format = clip.format;
    let what = match (format.sample, format.bits) {
        (SampleType::Float, 16) => "half float samples".to_owned(),
        (SampleType::Float, bits) => format!("{bits}-bit float samples in this colour family"),
        (SampleType::Integer, bits) => format!("{bits}-bit samples with this colour family and subsampling"),
    };
    let (what, alpha) = match PixelFormat::for_clip(format) {
        Some(_) if clip.alpha => {
            (format!("{what} and alpha"), " (YUV444P10, YUV444P16 and RGBS are formats that it has with alpha)")
        }
        _ => (what, ""),
    };
    format!(
        "libav has no pixel format for {what} ({format:?}); convert it in the script, for example with resize{alpha}"
    )
}

/// libav's name for a VapourSynth format, whether or not this libav has it.
fn libav_name(format: VideoFormat) -> Option<String> {
    let suffix = match (format.sample, format.bits) {
        (SampleType::Integer, 8) => String::new(),
        // Without a suffix libav's lookup takes the machine's own endianness, which is VapourSynth's as well.
        (SampleType::Integer, bits @ 9..=16) => bits.to_string(),
        (SampleType::Float, 32) => "f32".to_owned(),
        _ => return None,
    };
    let deep = !suffix.is_empty();
    let name = match (format.family, format.subsampling_w, format.subsampling_h) {
        (ColorFamily::Gray, ..) => format!("gray{suffix}"),
        (ColorFamily::Rgb, ..) => format!("gbrp{suffix}"),
        // libav has 4:1:0 and 4:1:1 in 8 bits only, and no float YUV; from_name says so.
        (ColorFamily::Yuv, 1, 1) => format!("yuv420p{suffix}"),
        (ColorFamily::Yuv, 1, 0) => format!("yuv422p{suffix}"),
        (ColorFamily::Yuv, 0, 0) => format!("yuv444p{suffix}"),
        (ColorFamily::Yuv, 0, 1) => format!("yuv440p{suffix}"),
        (ColorFamily::Yuv, 2, 2) if !deep => "yuv410p".to_owned(),
        (ColorFamily::Yuv, 2, 0) if !deep => "yuv411p".to_owned(),
        _ => return None,
    };
    Some(name)
}

/// Colour as libav numbers it. Only values that libav defines are ever stored here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Color {
    pub(crate) range: c_int,
    pub(crate) primaries: c_int,
    pub(crate) transfer: c_int,
    pub(crate) matrix: c_int,
    pub(crate) chroma_location: c_int,
}

/// H.273's and libav's "unspecified".
const UNSPECIFIED: c_int = 2;

impl Default for Color {
    fn default() -> Self {
        Self { range: 0, primaries: UNSPECIFIED, transfer: UNSPECIFIED, matrix: UNSPECIFIED, chroma_location: 0 }
    }
}

/// What a picture tells its encoder and container beside its samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Description {
    pub(crate) color: Color,
    pub(crate) sample_aspect: Option<crate::Rational>,
    pub(crate) field_order: FieldOrder,
    pub(crate) hdr: HdrMetadata,
}

impl Description {
    /// What the frame's properties say.
    pub(crate) fn from_properties(format: VideoFormat, properties: &FrameProperties) -> Self {
        Self {
            color: color_of(format, properties),
            sample_aspect: properties.sample_aspect,
            field_order: properties.field_order.unwrap_or_default(),
            hdr: properties.hdr,
        }
    }

    /// What is left of a clip that went through `vspipe -c y4m` and libav's y4m demuxer: no colour, no aspect, and for
    /// 8-bit 4:2:0 the chroma location that libav takes the bare tag `C420` to mean.
    pub(crate) fn of_y4m(format: VideoFormat) -> Self {
        let mut color = Color::default();
        let is_420 = (format.subsampling_w, format.subsampling_h) == (1, 1);
        if format.family == ColorFamily::Yuv && is_420 && format.bits == 8 {
            color.chroma_location = av::AVChromaLocation::AVCHROMA_LOC_CENTER as c_int;
        }
        Self { color, sample_aspect: None, field_order: FieldOrder::Progressive, hdr: HdrMetadata::default() }
    }
}

fn color_of(format: VideoFormat, properties: &FrameProperties) -> Color {
    let code = |value: Option<i64>, name: &dyn Fn(c_int) -> bool| {
        value.and_then(|value| c_int::try_from(value).ok()).filter(|&value| name(value)).unwrap_or(UNSPECIFIED)
    };
    let subsampled = format.subsampling_w > 0 || format.subsampling_h > 0;
    let is_rgb = format.family == ColorFamily::Rgb;
    Color {
        range: match properties.full_range {
            Some(true) => av::AVColorRange::AVCOL_RANGE_JPEG as c_int,
            Some(false) => av::AVColorRange::AVCOL_RANGE_MPEG as c_int,
            // RGB is full range unless it says otherwise, in VapourSynth and in libav.
            None if is_rgb => av::AVColorRange::AVCOL_RANGE_JPEG as c_int,
            None => av::AVColorRange::AVCOL_RANGE_UNSPECIFIED as c_int,
        },
        primaries: code(properties.primaries, &is_primaries),
        transfer: code(properties.transfer, &is_transfer),
        // A matrix of 0 means RGB: on a YUV clip it is a leftover that would turn the picture green.
        matrix: match code(properties.matrix, &is_matrix) {
            0 if !is_rgb => UNSPECIFIED,
            _ if is_rgb => 0,
            matrix => matrix,
        },
        // VapourSynth counts from left = 0, libav from left = 1 with 0 for unspecified.
        chroma_location: properties
            .chroma_location
            .filter(|location| subsampled && (0..=5).contains(location))
            .map_or(0, |location| location as c_int + 1),
    }
}

// The code points of ITU-T H.273 (2021) that every supported libav defines.
fn is_primaries(code: c_int) -> bool {
    matches!(code, 1 | 4..=12 | 22)
}

fn is_transfer(code: c_int) -> bool {
    matches!(code, 1 | 4..=18)
}

fn is_matrix(code: c_int) -> bool {
    matches!(code, 0 | 1 | 4..=14)
}

/// A picture for an encoder: an `AVFrame` that points at planes it does not own, or a filter's output.
#[derive(Debug)]
pub struct Picture(AvFrame);

impl Picture {
    /// Points at the frame's planes; the frame is held until libav lets go of the last of them.
    pub(crate) fn from_frame(frame: &Frame, format: PixelFormat, about: &Description) -> Result<Self, AvError> {
        // VapourSynth's RGB is R, G, B; libav's planar RGB is G, B, R.
        let order: &[usize] = match frame.format.family {
            ColorFamily::Gray => &[0],
            ColorFamily::Yuv => &[0, 1, 2, 3],
            ColorFamily::Rgb => &[1, 2, 0, 3],
        };
        let order = &order[..order.len().min(format.components() as usize)];
        let mut raw = AvFrame::from_planes(format, (frame.width, frame.height), &frame.planes, order)?;
        raw.set_color(&about.color);
        raw.set_sample_aspect(about.sample_aspect);
        raw.set_field_order(about.field_order);
        raw.set_hdr(&about.hdr)?;
        Ok(Self(raw))
    }

    pub(crate) fn from_av_frame(frame: AvFrame) -> Self {
        Self(frame)
    }

    pub(crate) fn frame(&self) -> &AvFrame {
        &self.0
    }

    pub(crate) fn set_time(&mut self, pts: i64, duration: i64) {
        self.0.set_time(pts, duration);
    }

    pub(crate) fn prepare_for_encoder(&mut self, quality: c_int) {
        self.0.prepare_for_encoder(quality);
    }

    /// Presentation time in ticks of the encoder's time base.
    #[must_use]
    pub fn pts(&self) -> i64 {
        self.0.raw().pts
    }

    /// How long it is shown, in ticks of the encoder's time base; 0 when a filter does not say.
    #[must_use]
    pub fn duration(&self) -> i64 {
        self.0.duration()
    }

    /// The pixel format.
    #[must_use]
    pub fn format(&self) -> PixelFormat {
        self.0.format()
    }

    pub(crate) fn color(&self) -> Color {
        self.0.color()
    }

    pub(crate) fn field_order(&self) -> FieldOrder {
        self.0.field_order()
    }

    pub(crate) fn hdr(&self) -> HdrMetadata {
        self.0.hdr()
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.raw().width.unsigned_abs()
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.0.raw().height.unsigned_abs()
    }

    /// The bytes of a plane in libav's order and the distance between its rows, or `None` when it has no such plane.
    #[must_use]
    pub fn plane(&self, index: usize) -> Option<(&[u8], usize)> {
        self.0.plane(index, self.format().plane_height(index, self.height()) as usize)
    }
}
