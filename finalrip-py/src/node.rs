//! A live `vapoursynth.VideoNode` as a source of frames.
//!
//! A frame is asked for with `VideoNode.get_frame_async(n, callback)`. VapourSynth calls back on a thread of its own, with the
//! GIL held; there the frame's planes and properties are read, and the frame is handed over. From then on nothing of it
//! needs the GIL: libav reads the planes where they lie, and the Python object is kept until libav gives up the last
//! of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use finalrip_core::{ClipInfo, ColorFamily, Deliver, Error, Frame, FrameSource, Plane, Planes, WithAlpha};
use pyo3::intern;
use pyo3::prelude::*;

use crate::{errors, properties, thread_state};

/// A live node, and what is needed to ask it for frames.
#[pyclass(frozen, module = "finalrip._finalrip")]
pub(crate) struct Source {
    frames: Arc<dyn FrameSource>,
    done_with: Arc<DoneWith>,
    raised: Arc<Raised>,
    version: String,
}

/// Exceptions of frames that failed. They are few: the first one ends the work, or its chunk.
type Raised = Mutex<BTreeMap<u32, Py<PyAny>>>;

#[pymethods]
impl Source {
    /// `core` is the core that the node belongs to, `environment` the environment to ask for frames in, or None, and `alpha`
    /// a node of the same core whose frames are the alpha of the node's.
    #[new]
    #[pyo3(signature = (node, core, environment=None, alpha=None))]
    fn new(
        node: &Bound<'_, PyAny>,
        core: &Bound<'_, PyAny>,
        environment: Option<Py<PyAny>>,
        alpha: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = node.py();
        let (done_with, raised) = (Arc::<DoneWith>::default(), Arc::<Raised>::default());
        let full_range: i64 = py.import("vapoursynth")?.getattr("RANGE_FULL")?.extract()?;
        let live = |node: &Bound<'_, PyAny>| -> PyResult<Arc<dyn FrameSource>> {
            Ok(Arc::new(Frames(Arc::new(Live {
                info: properties::clip_info(node, core)?,
                full_range,
                node: node.clone().unbind(),
                core: core.clone().unbind(),
                environment: environment.as_ref().map(|environment| environment.clone_ref(py)),
                done_with: Arc::clone(&done_with),
                raised: Arc::clone(&raised),
            }))))
        };
        let frames: Arc<dyn FrameSource> = match alpha {
            None => live(node)?,
            Some(alpha) => {
                let both = WithAlpha::new(live(node)?, live(alpha)?);
                Arc::new(both.map_err(|error| errors::raise(py, &error))?)
            }
        };
        Ok(Self { frames, done_with, raised, version: core.str()?.to_string() })
    }
}

impl Source {
    pub(crate) fn frames(&self) -> Arc<dyn FrameSource> {
        Arc::clone(&self.frames)
    }

    /// Releases the last frames; to be called by the thread that worked, when it has.
    pub(crate) fn releaser(&self) -> impl FnOnce() + Send + 'static {
        let done_with = Arc::clone(&self.done_with);
        move || {
            Python::try_attach(|py| done_with.release(py));
        }
    }

    /// What VapourSynth says of itself.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The exception for an error of the library. That of a frame has the filter's exception as its cause.
    pub(crate) fn raise(&self, py: Python<'_>, error: &Error) -> PyErr {
        let exception = errors::raise(py, error);
        let (of_frame, frame) = match error {
            Error::Frame { frame, .. } => (Some(exception.clone_ref(py)), *frame),
            Error::Chunk { source, .. } => match &**source {
                Error::Frame { frame, .. } => (exception.cause(py), *frame),
                _ => return exception,
            },
            _ => return exception,
        };
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(of_frame), Some(cause)) = (of_frame, raised.get(&frame)) {
            of_frame.set_cause(py, Some(PyErr::from_value(cause.bind(py).clone())));
        }
        exception
    }
}

/// The frames of the source that a function of Python's makes, for a thread without the GIL.
pub(crate) fn made_by(make: &Py<PyAny>) -> Result<Arc<dyn FrameSource>, Error> {
    let made = Python::try_attach(|py| {
        let source = make.call0(py).and_then(|made| Ok(made.bind(py).cast::<Source>()?.get().frames()));
        source.map_err(|error| errors::of_script(py, &error))
    });
    made.unwrap_or_else(|| Err(Error::Internal("Python has ended".to_owned())))
}

/// Frames that libav has done with, until a thread of ours holds the GIL: before the next request, or at the end.
///
/// pyo3 would put them aside as well, for whichever thread attaches next. That may be the main thread, which looks for signals
/// twenty times a second: VapourSynth keeps a weak set of its frames, whose callbacks are Python, and a signal's handler that
/// runs in one of these raises into nowhere. Ctrl-C would be lost.
#[derive(Default)]
struct DoneWith(Mutex<Vec<Py<PyAny>>>);

impl DoneWith {
    fn release(&self, _attached: Python<'_>) {
        let frames = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(frames);
    }
}

/// Keeps a frame for as long as libav reads its planes.
struct Held {
    frame: Option<Py<PyAny>>,
    done_with: Arc<DoneWith>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.done_with.0.lock().unwrap_or_else(PoisonError::into_inner).extend(self.frame.take());
    }
}

/// What frames are made with.
struct Live {
    node: Py<PyAny>,
    core: Py<PyAny>,
    environment: Option<Py<PyAny>>,
    info: ClipInfo,
    /// What `vapoursynth.RANGE_FULL` is; its value changed with API 4.2.
    full_range: i64,
    done_with: Arc<DoneWith>,
    raised: Arc<Raised>,
}

/// The node as the library sees it.
struct Frames(Arc<Live>);

impl FrameSource for Frames {
    fn info(&self) -> &ClipInfo {
        &self.0.info
    }

    fn request(&self, number: u32, deliver: Deliver) {
        let request = Request { number, live: Arc::clone(&self.0), deliver: Mutex::new(Some(deliver)) };
        // While Python shuts down nothing is asked for; dropped, the request delivers all the same.
        thread_state::attach(|py| {
            self.0.done_with.release(py);
            let Ok(request) = Bound::new(py, request) else { return };
            if let Err(error) = self.0.ask(py, &request) {
                request.get().deliver(Err(error.to_string()));
            }
        });
    }

    fn clear_caches(&self) {
        // Versions that cannot do it have no such method.
        Python::try_attach(|py| drop(self.0.core.call_method0(py, intern!(py, "clear_cache"))));
    }

    fn frame_memory(&self) -> i64 {
        let used = |py: Python<'_>| self.0.core.getattr(py, intern!(py, "used_cache_size"))?.extract(py);
        Python::try_attach(|py| used(py).unwrap_or_default()).unwrap_or_default()
    }
}

impl Live {
    /// Asks VapourSynth for a frame, in the environment that the caller had.
    fn ask(&self, py: Python<'_>, request: &Bound<'_, Request>) -> PyResult<()> {
        let number = request.get().number;
        let Some(environment) = &self.environment else {
            return self.node.call_method1(py, intern!(py, "get_frame_async"), (number, request)).map(drop);
        };
        let within = environment.bind(py).call_method0(intern!(py, "use"))?;
        within.call_method0(intern!(py, "__enter__"))?;
        let asked = self.node.call_method1(py, intern!(py, "get_frame_async"), (number, request));
        within.call_method1(intern!(py, "__exit__"), (py.None(), py.None(), py.None()))?;
        asked.map(drop)
    }

    /// Reads a finished frame. Nothing of it is copied.
    fn frame(&self, number: u32, frame: &Bound<'_, PyAny>) -> PyResult<Frame> {
        let info = &self.info;
        let count = if info.format.family == ColorFamily::Gray { 1 } else { 3 };
        let planes = (0..count).map(|index| self.plane(frame, index)).collect::<PyResult<Vec<_>>>()?;
        let owner = Arc::new(Held { frame: Some(frame.clone().unbind()), done_with: Arc::clone(&self.done_with) });
        // SAFETY: VapourSynth's `get_read_ptr` and `get_stride` describe memory of `stride` bytes a row that belongs to the
        // frame. The owner holds the Python object, which holds the frame; the object is the callback's alone, so nobody else
        // has it to close it, and a frame that others share is read-only. The owner may be dropped on any thread: it only
        // puts the object aside, and a thread that holds the GIL releases it.
        let planes = unsafe { Planes::new(planes, owner) };
        let properties = properties::read(&frame.getattr(intern!(frame.py(), "props"))?, self.full_range)?;
        Ok(Frame { number, format: info.format, width: info.width, height: info.height, planes, properties })
    }

    fn plane(&self, frame: &Bound<'_, PyAny>, index: usize) -> PyResult<Plane> {
        let py = frame.py();
        let pointer = frame.call_method1(intern!(py, "get_read_ptr"), (index,))?;
        let address: usize = pointer.getattr(intern!(py, "value"))?.extract()?;
        let stride = frame.call_method1(intern!(py, "get_stride"), (index,))?.extract()?;
        let shift = if index == 0 { 0 } else { self.info.format.subsampling_h };
        let height = (self.info.height >> shift) as usize;
        Ok(Plane { data: address as *const u8, stride, height })
    }

    /// What to say of a frame that failed; its exception is kept.
    fn failure(&self, number: u32, error: &Bound<'_, PyAny>) -> String {
        let text = failure_text(error).unwrap_or_else(|_| error.to_string());
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.insert(number, error.clone().unbind());
        text
    }
}

/// VapourSynth's own message, or the traceback of what Python raised in a filter.
fn failure_text(error: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = error.py();
    if error.getattr(intern!(py, "__traceback__"))?.is_none() {
        return Ok(error.str()?.to_string().trim().to_owned());
    }
    let lines = py.import("traceback")?.call_method1("format_exception", (error,))?;
    Ok(lines.extract::<Vec<String>>()?.concat().trim_end().to_owned())
}

/// A request in flight: what VapourSynth calls back. It delivers once, whatever becomes of it.
#[pyclass(frozen, module = "finalrip._finalrip")]
struct Request {
    number: u32,
    live: Arc<Live>,
    deliver: Mutex<Option<Deliver>>,
}

#[pymethods]
impl Request {
    fn __call__(&self, frame: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) {
        thread_state::keep_for_good(frame.py());
        self.deliver(if error.is_none() {
            self.live.frame(self.number, frame).map_err(|error| error.to_string())
        } else {
            Err(self.live.failure(self.number, error))
        });
    }
}

impl Request {
    fn deliver(&self, result: Result<Frame, String>) {
        let deliver = self.deliver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(deliver) = deliver {
            deliver(result);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.deliver(Err("VapourSynth gave the request up".to_owned()));
    }
}
