//! A clip with its alpha: two sources of frames as one.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::ffi::frame::Planes;
use crate::frames::{ClipInfo, ColorFamily, Deliver, Frame, FrameSource, SampleType};

/// The frames of one source with those of another, which is grey, as their alpha plane. Nothing is copied.
///
/// A request asks both sources for the same frame. It is delivered when both have answered. What frames say of themselves
/// is what the first source's say.
pub struct WithAlpha {
    picture: Arc<dyn FrameSource>,
    alpha: Arc<dyn FrameSource>,
    info: ClipInfo,
    /// Neutral chroma, for a grey picture: libav has no planar format for grey with alpha.
    chroma: Option<Planes>,
}

impl WithAlpha {
    /// Puts them together. A grey picture becomes YUV 4:4:4 with neutral chroma, which takes the memory of one plane.
    ///
    /// # Errors
    /// [`Error::Clip`] when the alpha is not grey, or differs from the picture in size, sample format or length.
    pub fn new(picture: Arc<dyn FrameSource>, alpha: Arc<dyn FrameSource>) -> Result<Self> {
        check(picture.info(), alpha.info())?;
        let mut info = ClipInfo { alpha: true, ..picture.info().clone() };
        let is_grey = info.format.family == ColorFamily::Gray && info.format.sample == SampleType::Integer;
        let chroma = is_grey.then(|| neutral(&info));
        if is_grey {
            info.format.family = ColorFamily::Yuv;
        }
        Ok(Self { picture, alpha, info, chroma })
    }
}

fn check(picture: &ClipInfo, alpha: &ClipInfo) -> Result<()> {
    let same = (picture.format.sample, picture.format.bits) == (alpha.format.sample, alpha.format.bits);
    let problem = match () {
        () if picture.alpha || alpha.alpha => "has an alpha of its own".to_owned(),
        () if alpha.format.family != ColorFamily::Gray => format!("is not grey ({:?})", alpha.format.family),
        () if !same => format!("has samples of {} bits, the clip of {}", alpha.format.bits, picture.format.bits),
        () if (alpha.width, alpha.height) != (picture.width, picture.height) => {
            format!("is {}x{}, the clip {}x{}", alpha.width, alpha.height, picture.width, picture.height)
        }
        () if alpha.frames != picture.frames => format!("has {} frames, the clip {}", alpha.frames, picture.frames),
        () => return Ok(()),
    };
    let reason =
        format!("its alpha clip {problem}; set_output(clip, alpha=...) takes a grey clip that is otherwise alike");
    Err(Error::Clip { reason })
}

/// Two planes that hold no colour.
fn neutral(info: &ClipInfo) -> Planes {
    let size = (info.width as usize, info.height as usize);
    let middle = 1_u16 << (info.format.bits.clamp(1, 16) - 1);
    if info.format.bits <= 8 {
        return Planes::constant(2, &[middle.to_ne_bytes()[usize::from(cfg!(target_endian = "big"))]], size);
    }
    Planes::constant(2, &middle.to_ne_bytes(), size)
}

impl FrameSource for WithAlpha {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn request(&self, number: u32, deliver: Deliver) {
        let pair = Pair { chroma: self.chroma.clone(), deliver };
        let pair = Arc::new(Mutex::new((Some(pair), None, None)));
        let other = Arc::clone(&pair);
        self.picture.request(number, Box::new(move |result| arrived(&pair, |(_, picture, _)| *picture = Some(result))));
        self.alpha.request(number, Box::new(move |result| arrived(&other, |(_, _, alpha)| *alpha = Some(result))));
    }

    fn tidy(&self) {
        self.picture.tidy();
        self.alpha.tidy();
    }

    fn clear_caches(&self) {
        self.picture.clear_caches();
        self.alpha.clear_caches();
    }

    /// That of the picture's source: as a rule both frames come from one core, which counts them all.
    fn frame_memory(&self) -> i64 {
        self.picture.frame_memory()
    }
}

/// What a request waits for.
struct Pair {
    chroma: Option<Planes>,
    deliver: Deliver,
}

type Half = Option<Result<Frame, String>>;

/// Notes one half, and delivers when the other is there; the lock is free by then.
fn arrived(state: &Mutex<(Option<Pair>, Half, Half)>, note: impl FnOnce(&mut (Option<Pair>, Half, Half))) {
    let ready = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut state);
        if state.1.is_none() || state.2.is_none() {
            return;
        }
        (state.0.take(), state.1.take(), state.2.take())
    };
    if let (Some(pair), Some(picture), Some(alpha)) = ready {
        let Pair { chroma, deliver } = pair;
        deliver(picture.and_then(|picture| joined(picture, chroma, alpha)));
    }
}

/// The picture's frame with the alpha's plane behind its own.
fn joined(picture: Frame, chroma: Option<Planes>, alpha: Result<Frame, String>) -> Result<Frame, String> {
    let alpha = alpha.map_err(|message| format!("its alpha failed: {message}"))?;
    let alike = (alpha.width, alpha.height) == (picture.width, picture.height)
        && (alpha.format.sample, alpha.format.bits) == (picture.format.sample, picture.format.bits);
    if !alike || alpha.format.family != ColorFamily::Gray {
        return Err("its alpha's format or size differs from the clip's".to_owned());
    }
    let (mut planes, mut format) = (picture.planes, picture.format);
    if let Some(chroma) = chroma
        && format.family == ColorFamily::Gray
    {
        planes = planes.and(chroma);
        format.family = ColorFamily::Yuv;
    }
    Ok(Frame { format, planes: planes.and(alpha.planes), ..picture })
}

impl std::fmt::Debug for WithAlpha {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithAlpha").field("info", &self.info).finish_non_exhaustive()
    }
}
