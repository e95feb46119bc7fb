//! Frames on their way out of a filter graph: requested ahead in bounded number, delivered in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::ffi::frame::Planes;
use crate::units::{FrameRange, Rational};

/// How samples are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleType {
    /// Unsigned integers, in the smallest of 1 or 2 bytes that holds them.
    Integer,
    /// IEEE floating point.
    Float,
}

/// The kind of planes that a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColorFamily {
    /// One plane.
    Gray,
    /// Three planes: R, G, B.
    Rgb,
    /// Three planes: Y, U, V.
    Yuv,
}

/// A clip's sample format, as VapourSynth describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VideoFormat {
    /// The kind of planes.
    pub family: ColorFamily,
    /// Integer or float samples.
    pub sample: SampleType,
    /// Significant bits of a sample.
    pub bits: u32,
    /// log2 of the horizontal chroma subsampling: 1 for 4:2:0 and 4:2:2.
    pub subsampling_w: u32,
    /// log2 of the vertical chroma subsampling: 1 for 4:2:0.
    pub subsampling_h: u32,
}

/// What is known of a clip before its first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipInfo {
    /// The sample format, the same for every frame.
    pub format: VideoFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The number of frames.
    pub frames: u32,
    /// The constant frame rate, or `None` for a variable one.
    pub frame_rate: Option<Rational>,
    /// Whether each frame has an alpha plane, of the picture's size, behind the planes of its format. It uses the full range.
    pub alpha: bool,
    /// How many frames the core works on at once; the default for requests in flight.
    pub threads: usize,
}

/// Whether a frame holds two fields, and which is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FieldOrder {
    /// One picture.
    #[default]
    Progressive,
    /// Two fields, the top one first.
    TopFirst,
    /// Two fields, the bottom one first.
    BottomFirst,
}

/// The mastering display's colour volume (SMPTE ST 2086).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MasteringDisplay {
    /// CIE 1931 x and y of the red, green and blue primaries.
    pub primaries: [[f64; 2]; 3],
    /// CIE 1931 x and y of the white point.
    pub white_point: [f64; 2],
    /// Lowest luminance in cd/m².
    pub min_luminance: f64,
    /// Highest luminance in cd/m².
    pub max_luminance: f64,
}

/// Content light level (CTA-861.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLight {
    /// MaxCLL in cd/m².
    pub max_content: u16,
    /// MaxFALL in cd/m².
    pub max_frame_average: u16,
}

/// HDR10 metadata; either half may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HdrMetadata {
    /// The mastering display.
    pub mastering: Option<MasteringDisplay>,
    /// The content light level.
    pub light: Option<ContentLight>,
}

/// The frame properties that an encoder or a container can carry, still in VapourSynth's numbering (for matrix,
/// transfer and primaries that of ITU-T H.273). `None` where the script says nothing.
///
/// Reference: VapourSynth, "Reserved frame properties"; the HDR10 names are those of the source filters.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FrameProperties {
    /// `_DurationNum / _DurationDen`, in seconds.
    pub duration: Option<Rational>,
    /// `_SARNum / _SARDen`.
    pub sample_aspect: Option<Rational>,
    /// `_Matrix`.
    pub matrix: Option<i64>,
    /// `_Transfer`.
    pub transfer: Option<i64>,
    /// `_Primaries`.
    pub primaries: Option<i64>,
    /// `_Range` or `_ColorRange`: whether samples use the full range.
    pub full_range: Option<bool>,
    /// `_ChromaLocation`: 0 left, 1 centre, 2 top left, 3 top, 4 bottom left, 5 bottom.
    pub chroma_location: Option<i64>,
    /// `_FieldBased`.
    pub field_order: Option<FieldOrder>,
    /// `MasteringDisplay…` and `ContentLightLevel…`.
    pub hdr: HdrMetadata,
}

/// One finished frame: its planes, where they lie, and what it says of itself.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The number of the output frame.
    pub number: u32,
    /// The sample format.
    pub format: VideoFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The planes, kept alive by their owner; behind those of the format the alpha plane, where the clip has one.
    pub planes: Planes,
    /// What the frame says of itself.
    pub properties: FrameProperties,
}

/// Takes one finished frame, or the filter's message when it failed.
pub type Deliver = Box<dyn FnOnce(Result<Frame, String>) + Send>;

/// Something that makes frames on threads of its own: the output of a script, or a live node.
///
/// # Contract
/// - `request` returns at once; it may be called from any thread, for any frame below `info().frames`, in any order.
/// - `deliver` is called exactly once for each request, from any thread, in any order, also on failure.
/// - Every request that was made is delivered before the source is dropped; [`Frames`] waits for them.
pub trait FrameSource: Send + Sync {
    /// What is known of the clip.
    fn info(&self) -> &ClipInfo;

    /// Starts making frame `number`.
    fn request(&self, number: u32, deliver: Deliver);

    /// Called about once a second while frames are taken: the time to give back memory that is kept without need. Does
    /// nothing by default.
    fn tidy(&self) {}

    /// Called where the order of requests jumps: the caches that made the last frames are of no use for the next. Does
    /// nothing by default.
    fn clear_caches(&self) {}

    /// The bytes that finished frames take at this moment, caches included; 0, the default, where that is not known.
    fn frame_memory(&self) -> i64 {
        0
    }
}

/// The frames of a range, in order, with a bounded number of requests ahead.
///
/// Back-pressure comes from whoever calls [`Frames::next`]: a frame that is waiting counts as in flight.
pub struct Frames {
    source: Arc<dyn FrameSource>,
    range: FrameRange,
    requested: u32,
    delivered: u32,
    arrived: u32,
    in_flight: u32,
    sender: Sender<(u32, Result<Frame, String>)>,
    receiver: Receiver<(u32, Result<Frame, String>)>,
    waiting: BTreeMap<u32, Result<Frame, String>>,
}

impl Frames {
    /// Begins to request the frames of `range`, at most `in_flight` at a time (at least 1).
    #[must_use]
    pub fn new(source: Arc<dyn FrameSource>, range: FrameRange, in_flight: usize) -> Self {
        let (sender, receiver) = unbounded();
        let in_flight = u32::try_from(in_flight.max(1)).unwrap_or(u32::MAX);
        let start = range.start;
        let mut frames = Self {
            source,
            range,
            requested: start,
            delivered: start,
            arrived: 0,
            in_flight,
            sender,
            receiver,
            waiting: BTreeMap::new(),
        };
        frames.request_ahead();
        frames
    }

    /// The frames that are asked for, from the first to the last.
    #[must_use]
    pub fn range(&self) -> FrameRange {
        self.range
    }

    /// The next frame in order; `None` after the last one.
    ///
    /// # Errors
    /// [`Error::Frame`] when a filter failed, [`Error::Cancelled`] as soon as `cancel` is used, also while a filter is
    /// still at work.
    pub fn next(&mut self, cancel: &CancelToken) -> Result<Option<Frame>> {
        if self.delivered >= self.range.end {
            return Ok(None);
        }
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(result) = self.waiting.remove(&self.delivered) {
                let frame = self.delivered;
                self.delivered += 1;
                self.request_ahead();
                return result.map(Some).map_err(|message| Error::Frame { frame, message });
            }
            match self.receiver.recv_timeout(CANCEL_LATENCY) {
                Ok((number, result)) => self.store(number, result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Internal("the frame channel closed".to_owned()));
                }
            }
        }
    }

    fn request_ahead(&mut self) {
        while self.requested < self.range.end && self.requested - self.delivered < self.in_flight {
            let (number, sender) = (self.requested, self.sender.clone());
            // The source's thread only hands the frame over; order is restored on this side.
            self.source.request(number, Box::new(move |result| drop(sender.send((number, result)))));
            self.requested += 1;
        }
    }

    fn store(&mut self, number: u32, result: Result<Frame, String>) {
        self.arrived += 1;
        self.waiting.insert(number, result);
    }
}

/// How long a wait for a frame lasts before the cancel token is looked at again.
const CANCEL_LATENCY: Duration = Duration::from_millis(50);

impl Drop for Frames {
    /// Waits for the requests in flight: a core must not be freed under a working filter.
    fn drop(&mut self) {
        let requested = self.requested - self.range.start;
        while self.arrived < requested {
            let Ok((number, result)) = self.receiver.recv() else { return };
            self.store(number, result);
        }
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("range", &self.range).field("next", &self.delivered).finish_non_exhaustive()
    }
}
