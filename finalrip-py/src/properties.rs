//! What a node and its frames say of themselves, in the library's terms.

use finalrip_core::{
    ClipInfo, ColorFamily, ContentLight, FieldOrder, FrameProperties, HdrMetadata, MasteringDisplay, Rational,
    SampleType, VideoFormat,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What is known of a node before its first frame.
pub(crate) fn clip_info(node: &Bound<'_, PyAny>, core: &Bound<'_, PyAny>) -> PyResult<ClipInfo> {
    let format = node.getattr("format")?;
    let (width, height): (u32, u32) = (node.getattr("width")?.extract()?, node.getattr("height")?.extract()?);
    if format.is_none() || width == 0 || height == 0 {
        return Err(PyValueError::new_err(
            "the clip's format or size changes from frame to frame; give it one with resize, for example \
             clip.resize.Spline36(width=1920, height=1080, format=vs.YUV420P10)",
        ));
    }
    let (num, den): (i64, i64) = (node.getattr("fps_num")?.extract()?, node.getattr("fps_den")?.extract()?);
    Ok(ClipInfo {
        format: video_format(&format)?,
        width,
        height,
        frames: node.getattr("num_frames")?.extract()?,
        frame_rate: Rational::new(num, den).filter(|rate| rate.is_positive()),
        alpha: false,
        threads: core.getattr("num_threads")?.extract()?,
    })
}

fn video_format(format: &Bound<'_, PyAny>) -> PyResult<VideoFormat> {
    let family: String = format.getattr("color_family")?.getattr("name")?.extract()?;
    let sample: String = format.getattr("sample_type")?.getattr("name")?.extract()?;
    Ok(VideoFormat {
        family: match family.as_str() {
            "GRAY" => ColorFamily::Gray,
            "RGB" => ColorFamily::Rgb,
            "YUV" => ColorFamily::Yuv,
            other => return Err(PyValueError::new_err(format!("a clip of the colour family {other} is not video"))),
        },
        sample: if sample == "FLOAT" { SampleType::Float } else { SampleType::Integer },
        bits: format.getattr("bits_per_sample")?.extract()?,
        subsampling_w: format.getattr("subsampling_w")?.extract()?,
        subsampling_h: format.getattr("subsampling_h")?.extract()?,
    })
}

/// A frame's `props`. What is missing, or is of another type than VapourSynth's documentation gives it, counts as not said.
pub(crate) fn read(props: &Bound<'_, PyAny>, full_range: i64) -> PyResult<FrameProperties> {
    let map = Properties { get: props.getattr("get")? };
    Ok(FrameProperties {
        duration: map.fraction("_DurationNum", "_DurationDen"),
        sample_aspect: map.fraction("_SARNum", "_SARDen"),
        matrix: map.integer("_Matrix"),
        transfer: map.integer("_Transfer"),
        primaries: map.integer("_Primaries"),
        full_range: map.full_range(props, full_range),
        chroma_location: map.integer("_ChromaLocation"),
        field_order: map.integer("_FieldBased").map(|value| match value {
            1 => FieldOrder::BottomFirst,
            2 => FieldOrder::TopFirst,
            _ => FieldOrder::Progressive,
        }),
        hdr: HdrMetadata { mastering: map.mastering(), light: map.light() },
    })
}

struct Properties<'py> {
    get: Bound<'py, PyAny>,
}

impl Properties<'_> {
    fn integer(&self, name: &str) -> Option<i64> {
        self.get.call1((name,)).ok()?.extract().ok()
    }

    /// One number, or several.
    fn floats(&self, name: &str) -> Option<Vec<f64>> {
        let value = self.get.call1((name,)).ok()?;
        if value.is_none() {
            return None;
        }
        value.extract().ok().map(|number| vec![number]).or_else(|| value.extract().ok())
    }

    fn fraction(&self, num: &str, den: &str) -> Option<Rational> {
        Rational::new(self.integer(num)?, self.integer(den)?).filter(|value| value.is_positive())
    }

    /// Both properties come from Python as `vapoursynth.Range`. The older one is read only where it is: reading it warns.
    fn full_range(&self, props: &Bound<'_, PyAny>, full: i64) -> Option<bool> {
        let range = self.integer("_Range").or_else(|| {
            let older = props.contains("_ColorRange").unwrap_or(false);
            older.then(|| self.integer("_ColorRange")).flatten()
        });
        range.map(|range| range == full)
    }

    fn mastering(&self) -> Option<MasteringDisplay> {
        let (x, y) = (self.floats("MasteringDisplayPrimariesX")?, self.floats("MasteringDisplayPrimariesY")?);
        let primary = |index: usize| Some([*x.get(index)?, *y.get(index)?]);
        let single = |name| self.floats(name)?.first().copied();
        Some(MasteringDisplay {
            primaries: [primary(0)?, primary(1)?, primary(2)?],
            white_point: [single("MasteringDisplayWhitePointX")?, single("MasteringDisplayWhitePointY")?],
            min_luminance: single("MasteringDisplayMinLuminance")?,
            max_luminance: single("MasteringDisplayMaxLuminance")?,
        })
    }

    fn light(&self) -> Option<ContentLight> {
        let level = |name| u16::try_from(self.integer(name)?).ok();
        let (max_content, average) = (level("ContentLightLevelMax"), level("ContentLightLevelAverage"));
        (max_content.is_some() || average.is_some())
            .then(|| ContentLight { max_content: max_content.unwrap_or(0), max_frame_average: average.unwrap_or(0) })
    }
}
