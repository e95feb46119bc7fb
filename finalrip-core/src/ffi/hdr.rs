//! libav's HDR10 structures, which `ffmpeg-sys-next` does not bind (libavutil/mastering_display_metadata.h). Their
//! layout is part of libavutil's ABI; fields may only be added behind these.

use std::ffi::{c_int, c_uint};

use ffmpeg_next::ffi as av;

use crate::frames::{ContentLight, MasteringDisplay};

/// `AVMasteringDisplayMetadata`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawMasteringDisplay {
    primaries: [[av::AVRational; 2]; 3],
    white_point: [av::AVRational; 2],
    min_luminance: av::AVRational,
    max_luminance: av::AVRational,
    has_primaries: c_int,
    has_luminance: c_int,
}

/// `AVContentLightMetadata`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawContentLight {
    max_cll: c_uint,
    max_fall: c_uint,
}

unsafe extern "C" {
    /// Allocates the structure as side data of the frame; null on failure.
    pub(crate) fn av_mastering_display_metadata_create_side_data(frame: *mut av::AVFrame) -> *mut RawMasteringDisplay;
    /// Allocates the structure as side data of the frame; null on failure.
    pub(crate) fn av_content_light_metadata_create_side_data(frame: *mut av::AVFrame) -> *mut RawContentLight;
}

impl From<&MasteringDisplay> for RawMasteringDisplay {
    /// In the units of SMPTE ST 2086: 0.00002 for chromaticity, 0.0001 cd/m² for luminance.
    fn from(display: &MasteringDisplay) -> Self {
        let fraction = |value: f64, den: c_int| av::AVRational { num: (value * f64::from(den)).round() as c_int, den };
        let point = |[x, y]: [f64; 2]| [fraction(x, 50_000), fraction(y, 50_000)];
        Self {
            primaries: display.primaries.map(point),
            white_point: point(display.white_point),
            min_luminance: fraction(display.min_luminance, 10_000),
            max_luminance: fraction(display.max_luminance, 10_000),
            has_primaries: 1,
            has_luminance: 1,
        }
    }
}

impl From<RawMasteringDisplay> for MasteringDisplay {
    fn from(raw: RawMasteringDisplay) -> Self {
        let value = |fraction: av::AVRational| f64::from(fraction.num) / f64::from(fraction.den.max(1));
        let point = |[x, y]: [av::AVRational; 2]| [value(x), value(y)];
        Self {
            primaries: raw.primaries.map(point),
            white_point: point(raw.white_point),
            min_luminance: value(raw.min_luminance),
            max_luminance: value(raw.max_luminance),
        }
    }
}

impl From<&ContentLight> for RawContentLight {
    fn from(light: &ContentLight) -> Self {
        Self { max_cll: light.max_content.into(), max_fall: light.max_frame_average.into() }
    }
}

impl From<RawContentLight> for ContentLight {
    fn from(raw: RawContentLight) -> Self {
        let level = |value: c_uint| u16::try_from(value).unwrap_or(u16::MAX);
        Self { max_content: level(raw.max_cll), max_frame_average: level(raw.max_fall) }
    }
}
