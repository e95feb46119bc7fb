//! Scene cuts near the boundaries of chunks: a keyframe costs least where the encoder would have made one anyway.
//!
//! Only the windows of the plan are looked at, as small grey pictures, by `av-scenechange`'s fast comparison of one
//! picture with the next.

use std::sync::Arc;

use av_scenechange::{Rational32, SceneChangeDetector, SceneDetectionSpeed};
use v_frame::chroma::ChromaSubsampling;
use v_frame::frame::{Frame as Grey, FrameBuilder};

use crate::cancel::CancelToken;
use crate::convert::{Conversion, Converter};
use crate::error::{Error, Result};
use crate::frames::{FrameSource, Frames};
use crate::picture::{Description, Picture, PixelFormat};
use crate::timing::{Claims, Timeline, Timing};
use crate::units::{FrameRange, Rational};

/// The longer edge of the pictures that are compared, in pixels; the detector's threshold is made for this size.
const EDGE: u32 = 320;

/// What was seen in the windows.
pub(crate) struct Seen {
    /// For each window, the frames in it that start a scene.
    pub(crate) cuts: Vec<Vec<u32>>,
    /// How many frames were looked at.
    pub(crate) frames: u32,
    /// What the frames say of how long they are shown, where the clip has a constant rate.
    pub(crate) claims: Option<Claims>,
}

/// Looks for scene cuts in each window.
///
/// # Errors
/// [`Error::Frame`] when a filter failed, [`Error::Cancelled`].
pub(crate) fn look(
    source: &Arc<dyn FrameSource>,
    format: PixelFormat,
    windows: &[FrameRange],
    cancel: &CancelToken,
) -> Result<Seen> {
    let mut timeline = Timeline::new(Timing::Auto, source.info().frame_rate);
    let (mut all, mut frames) = (Vec::with_capacity(windows.len()), 0);
    for window in windows {
        all.push(look_at(source, format, *window, cancel, &mut timeline)?);
        frames += window.len();
    }
    Ok(Seen { cuts: all, frames, claims: timeline.into_claims() })
}

fn look_at(
    source: &Arc<dyn FrameSource>,
    format: PixelFormat,
    window: FrameRange,
    cancel: &CancelToken,
    timeline: &mut Timeline,
) -> Result<Vec<u32>> {
    let info = source.info();
    let (width, height) = small_size(info.width, info.height);
    let shrink = Conversion::Filters(format!("scale={width}:{height}:flags=area,format=gray"));
    let mut detector = SceneChangeDetector::<u8>::new(
        (width as usize, height as usize),
        8,
        Rational32::new(1, 25),
        ChromaSubsampling::Monochrome,
        1,
        SceneDetectionSpeed::Fast,
        0,
        usize::MAX,
    );
    let mut cuts = Vec::new();
    let mut converter: Option<Converter> = None;
    let mut before: Option<Arc<Grey<u8>>> = None;
    let mut frames = Frames::new(Arc::clone(source), window, info.threads + 2);
    while let Some(frame) = frames.next(cancel)? {
        // Where frames lie is of no interest here, nor whether one has a place.
        let _ = timeline.place(&frame);
        let about = Description::from_properties(frame.format, &frame.properties);
        let mut picture = Picture::from_frame(&frame, format, &about)
            .map_err(|code| Error::Internal(format!("no picture for frame {}: {code}", frame.number)))?;
        picture.set_time((frame.number - window.start).into(), 1);
        let converter = match &mut converter {
            Some(converter) => converter,
            none => none.insert(Converter::new(&shrink, (info, format), &about, (Rational::ONE, None), &[])?),
        };
        converter.push(picture)?;
        let Some(small) = converter.pull()? else { continue };
        let Some(grey) = grey(&small) else { continue };
        if let Some(before) = before.replace(Arc::clone(&grey))
            && detector.analyze_next_frame(&[&before, &grey], frame.number as usize, window.start as usize).0
        {
            cuts.push(frame.number);
        }
    }
    Ok(cuts)
}

/// The clip's size shrunk until its longer edge is [`EDGE`], in whole pixels.
fn small_size(width: u32, height: u32) -> (u32, u32) {
    let longer = width.max(height).max(EDGE);
    let shrunk = |edge: u32| (u64::from(edge) * u64::from(EDGE) / u64::from(longer)).max(1) as u32;
    (shrunk(width), shrunk(height))
}

/// The picture's plane in the detector's own type.
fn grey(picture: &Picture) -> Option<Arc<Grey<u8>>> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (data, stride) = picture.plane(0)?;
    let mut frame = FrameBuilder::new(width, height, ChromaSubsampling::Monochrome, 8).build::<u8>().ok()?;
    for (row, samples) in frame.y_plane.rows_mut().zip(data.chunks(stride)) {
        row.copy_from_slice(samples.get(..row.len())?);
    }
    Some(Arc::new(frame))
}
