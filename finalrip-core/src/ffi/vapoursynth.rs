//! VapourSynth's C API (version 4): the library, a script's environment, nodes and frames.
//!
//! References nest: a frame holds its node, a node holds its environment, so whatever order handles are dropped in,
//! VapourSynth sees frames, nodes and the script freed in the order that it asks for.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libloading::Library;
use vapoursynth::ffi as vs;

use super::frame::{Plane, Planes};
use super::{c_string, guard, text_from};
use crate::frames::{
    ColorFamily, ContentLight, Deliver, FieldOrder, Frame, FrameProperties, HdrMetadata, MasteringDisplay, SampleType,
    VideoFormat,
};
use crate::units::Rational;

/// Calls an entry of VapourSynth's function tables. A table of a supported version has every entry.
macro_rules! call {
    ($table:expr, $function:ident($($argument:expr),*)) => {
        ($table.$function.expect(concat!("VapourSynth's table has ", stringify!($function))))($($argument),*)
    };
}

/// The versions of the two tables that this crate was written against.
const VSSCRIPT_API: c_int = (vs::VSSCRIPT_API_MAJOR << 16 | vs::VSSCRIPT_API_MINOR) as c_int;
const VAPOURSYNTH_API: c_int = (vs::VAPOURSYNTH_API_MAJOR << 16 | vs::VAPOURSYNTH_API_MINOR) as c_int;

/// A later one, of which a part is used where it is to be had.
const VAPOURSYNTH_API_41: c_int = (vs::VAPOURSYNTH_API_MAJOR << 16 | 1) as c_int;

/// VapourSynth's two function tables. They live as long as the process: Python cannot be unloaded.
#[derive(Clone, Copy)]
pub(crate) struct Api {
    script: &'static vs::VSSCRIPTAPI,
    core: &'static vs::VSAPI,
    /// Empties all caches of a core; VapourSynth before API 4.1 (R61) cannot.
    clear_caches: Option<ClearCaches>,
}

type ClearCaches = unsafe extern "C" fn(*mut vs::VSCore);

/// The table of API 4.1 as far as it is used here: that of 4.0, which the bindings know, and what follows it.
#[repr(C)]
struct CoreTable41 {
    base: vs::VSAPI,
    clear_node_cache: Option<unsafe extern "C" fn(*mut vs::VSNode)>,
    clear_core_caches: Option<ClearCaches>,
}

static API: OnceLock<Api> = OnceLock::new();

/// Opens a library so that it finds its own symbols first.
///
/// libvapoursynth exports the functions of the zimg that is in it, and libavfilter may bring the system's zimg into this
/// process. By the usual rules VapourSynth's resizers would then call that one: another release, with other roundings. Plugins
/// that bring libraries of their own, as bestsource does, would meet the system's in the same way.
fn open(path: &Path) -> Result<Library, String> {
    #[cfg(target_env = "gnu")]
    const OWN_FIRST: c_int = libc::RTLD_DEEPBIND;
    #[cfg(not(target_env = "gnu"))]
    const OWN_FIRST: c_int = 0;
    let flags = libc::RTLD_NOW | libc::RTLD_LOCAL | OWN_FIRST;
    // SAFETY: initialisers of VapourSynth's libraries only register things; the user or the search chose this file.
    let library = unsafe { libloading::os::unix::Library::open(Some(path), flags) };
    library.map(Library::from).map_err(|error| error.to_string())
}

/// The core's library and the plugins that it loads by itself, where VapourSynth comes as a wheel: beside VSScript's library,
/// which is `path`, and in the folder `plugins` there. Elsewhere the core is one of VSScript's own dependencies.
fn core_and_plugins(path: &Path) -> Vec<PathBuf> {
    let Some(folder) = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned)) else {
        return Vec::new();
    };
    let mut libraries: Vec<PathBuf> =
        [folder.join("libvapoursynth.so.4")].into_iter().filter(|file| file.exists()).collect();
    let mut folders = vec![folder.join("plugins")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            match kind {
                Ok(kind) if kind.is_dir() => folders.push(path),
                _ if path.extension().is_some_and(|extension| extension == "so") => libraries.push(path),
                _ => {}
            }
        }
    }
    libraries
}

impl Api {
    /// The tables, if [`Api::load`] has succeeded in this process.
    pub(crate) fn loaded() -> Option<Self> {
        API.get().copied()
    }

    /// Loads libvsscript from `path` and starts Python in this process.
    ///
    /// # Errors
    /// The loader's or VSScript's reason, in words.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        static LOADING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(api) = Self::loaded() {
            return Ok(api);
        }
        for file in core_and_plugins(path) {
            // What is wrong with one shows when VapourSynth loads it; then it is this one again.
            let _ = open(&file).map(std::mem::forget);
        }
        let library = open(path)?;
        let api = Self::tables_of(&library)?;
        // Python and the filters' threads stay: the library must never be unloaded.
        std::mem::forget(library);
        Ok(*API.get_or_init(|| api))
    }

    fn tables_of(library: &Library) -> Result<Self, String> {
        type GetScriptApi = unsafe extern "C" fn(c_int) -> *const vs::VSSCRIPTAPI;
        // SAFETY: the symbol has this signature in every VSScript of API 4.
        let get_api = unsafe { library.get::<GetScriptApi>(b"getVSScriptAPI\0") }
            .map_err(|_| "it is not a libvsscript of VapourSynth R55 or later".to_owned())?;
        // SAFETY: any version may be asked for; null says that it is not to be had.
        let script = unsafe { get_api(VSSCRIPT_API).as_ref() }.ok_or_else(|| last_error(library))?;
        // SAFETY: the table is static; null says that the version is not to be had.
        let core = unsafe { call!(script, getVSAPI(VAPOURSYNTH_API)).as_ref() }.ok_or_else(|| {
            format!("it lacks VapourSynth API {}.{}", vs::VAPOURSYNTH_API_MAJOR, vs::VAPOURSYNTH_API_MINOR)
        })?;
        // SAFETY: as above; within a major version tables only grow at their end.
        let newer = unsafe { call!(script, getVSAPI(VAPOURSYNTH_API_41)).cast::<CoreTable41>().as_ref() };
        Ok(Self { script, core, clear_caches: newer.and_then(|table| table.clear_core_caches) })
    }
}

/// Why `getVSScriptAPI` returned null (VSScript API 4.3, R74 and later).
fn last_error(library: &Library) -> String {
    type LastError = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: the symbol has this signature where it exists, and returns null or a string that the library keeps.
    let text = unsafe { library.get::<LastError>(b"getVSScriptAPILastError\0").ok().and_then(|get| text_from(get())) };
    text.unwrap_or_else(|| "VSScript could not be initialised".to_owned())
}

/// How an [`Environment`]'s core is set up. 0 or `None` leave VapourSynth's own defaults.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CoreSettings {
    pub(crate) threads: usize,
    pub(crate) cache_bytes: Option<u64>,
}

/// A script's environment: its Python namespace and its core.
pub(crate) struct Environment {
    api: Api,
    handle: NonNull<vs::VSScript>,
    /// The script's. VSScript's `getCore` would wait for whichever script is being evaluated, for as long as that takes.
    core: NonNull<vs::VSCore>,
}

// SAFETY: VSScript's functions take Python's lock themselves and may be called from any thread; calls that read an error
// left by another call are made under `script::EVALUATION`.
unsafe impl Send for Environment {}
// SAFETY: as above.
unsafe impl Sync for Environment {}

impl Environment {
    /// Creates a core with `settings`, routes its log to `tracing`, and makes an empty script on it.
    pub(crate) fn new(api: Api, settings: CoreSettings) -> Result<Self, String> {
        // SAFETY: flags of 0; the core is owned by us until `createScript` takes it over.
        let core = unsafe { call!(api.core, createCore(0)) };
        let core = NonNull::new(core).ok_or("VapourSynth could not create a core")?;
        let raw = core.as_ptr();
        // SAFETY: a valid core; the handler is a static function that takes no user data.
        unsafe {
            call!(api.core, addLogHandler(Some(on_message), None, std::ptr::null_mut(), raw));
            call!(api.core, setThreadCount(c_int::try_from(settings.threads).unwrap_or(0), raw));
            if let Some(bytes) = settings.cache_bytes {
                call!(api.core, setMaxCacheSize(i64::try_from(bytes).unwrap_or(i64::MAX), raw));
            }
        }
        // SAFETY: takes ownership of the core, also on failure.
        let handle = NonNull::new(unsafe { call!(api.script, createScript(raw)) });
        Ok(Self { api, handle: handle.ok_or("VSScript could not create an environment")?, core })
    }

    /// Runs Python text. The error is the traceback.
    pub(crate) fn run_text(&self, text: &str, name: &str) -> Result<(), String> {
        let (text, name) = (script_text(text)?, c_string(name));
        // SAFETY: a valid script and two terminated strings, read during the call only.
        let code =
            unsafe { call!(self.api.script, evaluateBuffer(self.handle.as_ptr(), text.as_ptr(), name.as_ptr())) };
        self.check(code)
    }

    /// Runs a file, inside its own folder as vspipe does. The error is the traceback.
    pub(crate) fn run_file(&self, path: &str) -> Result<(), String> {
        let path = c_string(path);
        // SAFETY: a valid script and a terminated string, read during the call only. The working directory is changed
        // for the time of the call; the caller holds the evaluation lock.
        let code = unsafe {
            call!(self.api.script, evalSetWorkingDir(self.handle.as_ptr(), 1));
            call!(self.api.script, evaluateFile(self.handle.as_ptr(), path.as_ptr()))
        };
        self.check(code)
    }

    fn check(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: valid in the error state too; null or a string that lives until the next call on this script.
        let message = unsafe { text_from(call!(self.api.script, getError(self.handle.as_ptr()))) };
        Err(message.unwrap_or_else(|| "the script failed without a message".to_owned()))
    }

    /// Sets variables of the script's namespace to strings.
    pub(crate) fn set_variables(&self, variables: &[(String, String)]) -> Result<(), String> {
        let map = OwnedMap::new(self.api)?;
        for (name, value) in variables {
            map.set_text(name, value)?;
        }
        // SAFETY: a valid script and map; the values are copied.
        match unsafe { call!(self.api.script, setVariables(self.handle.as_ptr(), map.handle.as_ptr())) } {
            0 => Ok(()),
            _ => Err("the script's variables could not be set".to_owned()),
        }
    }

    /// The node set as output `index`, if any. Its frames are asked for once, so a cache of them would only hold
    /// memory: it is switched off, as vspipe does.
    pub(crate) fn output(self: &Arc<Self>, index: i32) -> Option<Node> {
        // SAFETY: a valid, evaluated script; returns null or a new reference. A GPU-resident output comes with a
        // download inserted.
        let handle = NonNull::new(unsafe { call!(self.api.script, getOutputNode(self.handle.as_ptr(), index)) })?;
        // SAFETY: a valid node and one of the modes that the API names.
        unsafe { call!(self.api.core, setCacheMode(handle.as_ptr(), vs::VSCacheMode_cmForceDisable as c_int)) };
        Some(Node { handle, environment: Arc::clone(self) })
    }

    /// The node that was set beside output `index` as its alpha, if any; its cache is switched off as well.
    pub(crate) fn alpha(self: &Arc<Self>, index: i32) -> Option<Node> {
        // SAFETY: as in `output`.
        let handle = NonNull::new(unsafe { call!(self.api.script, getOutputAlphaNode(self.handle.as_ptr(), index)) })?;
        // SAFETY: as in `output`.
        unsafe { call!(self.api.core, setCacheMode(handle.as_ptr(), vs::VSCacheMode_cmForceDisable as c_int)) };
        Some(Node { handle, environment: Arc::clone(self) })
    }

    /// The core's threads and the bytes that its frames take at this moment.
    pub(crate) fn core_usage(&self) -> (usize, i64) {
        let info = self.core_info();
        (usize::try_from(info.numThreads).unwrap_or(1).max(1), info.usedFramebufferSize)
    }

    /// Empties the caches of all nodes, where VapourSynth can. What is being made is not disturbed; frames that were cached
    /// are made again when they are asked for.
    pub(crate) fn clear_caches(&self) {
        let Some(clear) = self.api.clear_caches else { return };
        // SAFETY: the core lives as long as its script; the call takes the locks that it needs, and is not made from a filter.
        unsafe { clear(self.core.as_ptr()) };
    }

    /// What VapourSynth says of itself, its version among other things.
    pub(crate) fn core_version(&self) -> String {
        // SAFETY: null, or a static string of the library.
        unsafe { text_from(self.core_info().versionString) }.unwrap_or_default()
    }

    fn core_info(&self) -> vs::VSCoreInfo {
        let mut info = std::mem::MaybeUninit::<vs::VSCoreInfo>::zeroed();
        // SAFETY: the core lives as long as its script, and the call fills the structure; zeroes would be valid as well.
        unsafe {
            call!(self.api.core, getCoreInfo(self.core.as_ptr(), info.as_mut_ptr()));
            info.assume_init()
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: owned here alone, and every node and frame of it held an `Arc` of this value, so none is left.
        unsafe { call!(self.api.script, freeScript(self.handle.as_ptr())) };
    }
}

/// Script text as C wants it; a NUL byte would silently end the script there.
fn script_text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|error| format!("the script holds a NUL byte at offset {}", error.nul_position()))
}

unsafe extern "C" fn on_message(kind: c_int, message: *const c_char, _data: *mut c_void) {
    guard("VapourSynth log", (), || {
        // SAFETY: VapourSynth passes a terminated string that lives during the call.
        let Some(text) = (unsafe { text_from(message) }) else { return };
        match kind as vs::VSMessageType {
            vs::VSMessageType_mtDebug => tracing::debug!(target: "vapoursynth", "{text}"),
            vs::VSMessageType_mtInformation => tracing::info!(target: "vapoursynth", "{text}"),
            vs::VSMessageType_mtWarning => tracing::warn!(target: "vapoursynth", "{text}"),
            _ => tracing::error!(target: "vapoursynth", "{text}"),
        }
    });
}

/// A reference to a node of the filter graph.
pub(crate) struct Node {
    handle: NonNull<vs::VSNode>,
    environment: Arc<Environment>,
}

// SAFETY: nodes are reference-counted and every function called on one here may be called from any thread.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

/// What a node says of its clip, before it is judged.
pub(crate) struct NodeInfo {
    /// `None` when the format or the size changes from frame to frame, or is one that VapourSynth 4 does not know.
    pub(crate) format: Option<VideoFormat>,
    pub(crate) width: c_int,
    pub(crate) height: c_int,
    pub(crate) frames: c_int,
    pub(crate) rate: (i64, i64),
}

impl Node {
    pub(crate) fn is_video(&self) -> bool {
        // SAFETY: a valid node.
        unsafe { call!(self.api().core, getNodeType(self.handle.as_ptr())) == vs::VSMediaType_mtVideo as c_int }
    }

    /// The clip's description; only for a video node.
    pub(crate) fn info(&self) -> NodeInfo {
        // SAFETY: a valid video node; the structure lives as long as the node.
        let info = unsafe { &*call!(self.api().core, getVideoInfo(self.handle.as_ptr())) };
        NodeInfo {
            format: video_format(&info.format),
            width: info.width,
            height: info.height,
            frames: info.numFrames,
            rate: (info.fpsNum, info.fpsDen),
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    fn api(&self) -> Api {
        self.environment.api
    }

    /// Starts making frame `number`; `deliver` is called once, from one of VapourSynth's threads.
    pub(crate) fn request(self: &Arc<Self>, number: u32, deliver: Deliver) {
        let Ok(index) = c_int::try_from(number) else {
            return deliver(Err(format!("frame {number} is beyond what VapourSynth can count")));
        };
        let request = Box::new(Request { number, node: Arc::clone(self), deliver });
        let data = Box::into_raw(request).cast::<c_void>();
        // SAFETY: a valid node; the callback takes the box back, once, as VapourSynth promises to call it once.
        unsafe { call!(self.api().core, getFrameAsync(index, self.handle.as_ptr(), Some(on_frame), data)) };
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: one owned reference; the environment, a field of this value, outlives the call.
        unsafe { call!(self.api().core, freeNode(self.handle.as_ptr())) };
    }
}

/// What travels with a request through VapourSynth.
struct Request {
    number: u32,
    node: Arc<Node>,
    deliver: Deliver,
}

unsafe extern "C" fn on_frame(
    data: *mut c_void,
    frame: *const vs::VSFrame,
    _number: c_int,
    _node: *mut vs::VSNode,
    error: *const c_char,
) {
    guard("frame", (), || {
        // SAFETY: the box that `Node::request` leaked for this very call.
        let Request { number, node, deliver } = *unsafe { Box::from_raw(data.cast::<Request>()) };
        let result = match NonNull::new(frame.cast_mut()) {
            Some(handle) => read_frame(number, OwnedFrame { handle, node }),
            None => {
                // Whoever waits still has the node: the last one must not go here, on one of the core's own threads, for
                // which the core would wait.
                drop(node);
                // SAFETY: on failure the message is a terminated string that lives during the call, or null.
                Err(unsafe { text_from(error) }.unwrap_or_else(|| "the filter gave no reason".to_owned()))
            }
        };
        deliver(result);
    });
}

/// One reference to a frame; what libav's buffers hold on to.
struct OwnedFrame {
    handle: NonNull<vs::VSFrame>,
    node: Arc<Node>,
}

// SAFETY: frames are immutable and reference-counted; freeFrame may be called from any thread.
unsafe impl Send for OwnedFrame {}
// SAFETY: as above.
unsafe impl Sync for OwnedFrame {}

impl Drop for OwnedFrame {
    fn drop(&mut self) {
        // SAFETY: one owned reference, freed once.
        unsafe { call!(self.node.api().core, freeFrame(self.handle.as_ptr())) };
    }
}

fn read_frame(number: u32, frame: OwnedFrame) -> Result<Frame, String> {
    let api = frame.node.api().core;
    let handle = frame.handle.as_ptr().cast_const();
    // SAFETY: a valid frame; the format lives as long as the frame.
    let raw_format = unsafe { &*call!(api, getVideoFrameFormat(handle)) };
    let format = video_format(raw_format).ok_or("the frame has a format that is not known")?;
    let mut planes = Vec::with_capacity(3);
    for plane in 0..raw_format.numPlanes {
        // SAFETY: the frame has this plane; its memory is read-only and lives as long as the frame.
        let (data, stride, height) = unsafe {
            (
                call!(api, getReadPtr(handle, plane)),
                call!(api, getStride(handle, plane)),
                call!(api, getFrameHeight(handle, plane)),
            )
        };
        let (Ok(stride), Ok(height)) = (usize::try_from(stride), usize::try_from(height)) else {
            return Err("the frame's planes have a negative stride".to_owned());
        };
        if data.is_null() {
            return Err("the frame lies in GPU memory; download it in the script before set_output()".to_owned());
        }
        planes.push(Plane { data, stride, height });
    }
    // SAFETY: a valid frame; plane 0 exists in every format. The map lives as long as the frame.
    let (width, height, properties) = unsafe {
        let map = call!(api, getFramePropertiesRO(handle));
        (
            call!(api, getFrameWidth(handle, 0)).unsigned_abs(),
            call!(api, getFrameHeight(handle, 0)).unsigned_abs(),
            PropertyMap { api, map }.read(),
        )
    };
    // SAFETY: the planes are the frame's own, read-only, and valid until `frame`, now their owner, is dropped.
    let planes = unsafe { Planes::new(planes, Arc::new(frame)) };
    Ok(Frame { number, format, width, height, planes, properties })
}

fn video_format(raw: &vs::VSVideoFormat) -> Option<VideoFormat> {
    let family = match raw.colorFamily as vs::VSColorFamily {
        vs::VSColorFamily_cfGray => ColorFamily::Gray,
        vs::VSColorFamily_cfRGB => ColorFamily::Rgb,
        vs::VSColorFamily_cfYUV => ColorFamily::Yuv,
        _ => return None,
    };
    let sample = match raw.sampleType as vs::VSSampleType {
        vs::VSSampleType_stInteger => SampleType::Integer,
        vs::VSSampleType_stFloat => SampleType::Float,
        _ => return None,
    };
    Some(VideoFormat {
        family,
        sample,
        bits: raw.bitsPerSample.unsigned_abs(),
        subsampling_w: raw.subSamplingW.unsigned_abs(),
        subsampling_h: raw.subSamplingH.unsigned_abs(),
    })
}

/// A map that we own, for arguments.
struct OwnedMap {
    api: Api,
    handle: NonNull<vs::VSMap>,
}

impl OwnedMap {
    fn new(api: Api) -> Result<Self, String> {
        // SAFETY: allocates an empty map.
        let handle = NonNull::new(unsafe { call!(api.core, createMap()) });
        Ok(Self { api, handle: handle.ok_or("VapourSynth could not create a map")? })
    }

    fn set_text(&self, name: &str, value: &str) -> Result<(), String> {
        let (key, size) = (c_string(name), c_int::try_from(value.len()).unwrap_or(c_int::MAX));
        // SAFETY: a valid map, a terminated key, and `size` bytes that are copied.
        let code = unsafe {
            call!(
                self.api.core,
                mapSetData(
                    self.handle.as_ptr(),
                    key.as_ptr(),
                    value.as_ptr().cast::<c_char>(),
                    size,
                    vs::VSDataTypeHint_dtUtf8 as c_int,
                    vs::VSMapAppendMode_maReplace as c_int
                )
            )
        };
        if code == 0 { Ok(()) } else { Err(format!("{name:?} is not a name that a script variable can have")) }
    }
}

impl Drop for OwnedMap {
    fn drop(&mut self) {
        // SAFETY: owned here alone.
        unsafe { call!(self.api.core, freeMap(self.handle.as_ptr())) };
    }
}

/// A frame's properties, valid while the frame is held.
struct PropertyMap {
    api: &'static vs::VSAPI,
    map: *const vs::VSMap,
}

impl PropertyMap {
    fn integer(&self, name: &CStr) -> Option<i64> {
        let mut error = 0;
        // SAFETY: a valid map and a terminated key; a missing key or another type sets `error`.
        let value = unsafe { call!(self.api, mapGetInt(self.map, name.as_ptr(), 0, &raw mut error)) };
        (error == 0).then_some(value)
    }

    /// The value at `index` of a property of floats; integers are taken as well.
    fn float(&self, name: &CStr, index: c_int) -> Option<f64> {
        let mut error = 0;
        // SAFETY: as in `integer`.
        let value = unsafe { call!(self.api, mapGetFloat(self.map, name.as_ptr(), index, &raw mut error)) };
        if error == 0 {
            return Some(value);
        }
        let mut error = 0;
        // SAFETY: as in `integer`.
        let value = unsafe { call!(self.api, mapGetInt(self.map, name.as_ptr(), index, &raw mut error)) };
        (error == 0).then_some(value as f64)
    }

    fn fraction(&self, num: &CStr, den: &CStr) -> Option<Rational> {
        Rational::new(self.integer(num)?, self.integer(den)?).filter(|value| value.is_positive())
    }

    fn read(&self) -> FrameProperties {
        FrameProperties {
            duration: self.fraction(c"_DurationNum", c"_DurationDen"),
            sample_aspect: self.fraction(c"_SARNum", c"_SARDen"),
            matrix: self.integer(c"_Matrix"),
            transfer: self.integer(c"_Transfer"),
            primaries: self.integer(c"_Primaries"),
            full_range: self.full_range(),
            chroma_location: self.integer(c"_ChromaLocation"),
            field_order: self.integer(c"_FieldBased").map(|value| match value {
                1 => FieldOrder::BottomFirst,
                2 => FieldOrder::TopFirst,
                _ => FieldOrder::Progressive,
            }),
            hdr: HdrMetadata { mastering: self.mastering(), light: self.light() },
        }
    }

    /// `_Range` (API 4.2: 1 is full) or the older `_ColorRange` (0 is full).
    fn full_range(&self) -> Option<bool> {
        let new = self.integer(c"_Range").map(|range| range == 1);
        new.or_else(|| self.integer(c"_ColorRange").map(|range| range == 0))
    }

    fn mastering(&self) -> Option<MasteringDisplay> {
        let primary = |index| {
            let x = self.float(c"MasteringDisplayPrimariesX", index)?;
            Some([x, self.float(c"MasteringDisplayPrimariesY", index)?])
        };
        Some(MasteringDisplay {
            primaries: [primary(0)?, primary(1)?, primary(2)?],
            white_point: [
                self.float(c"MasteringDisplayWhitePointX", 0)?,
                self.float(c"MasteringDisplayWhitePointY", 0)?,
            ],
            min_luminance: self.float(c"MasteringDisplayMinLuminance", 0)?,
            max_luminance: self.float(c"MasteringDisplayMaxLuminance", 0)?,
        })
    }

    fn light(&self) -> Option<ContentLight> {
        let level = |name: &CStr| u16::try_from(self.integer(name)?).ok();
        let (max_content, average) = (level(c"ContentLightLevelMax"), level(c"ContentLightLevelAverage"));
        (max_content.is_some() || average.is_some())
            .then(|| ContentLight { max_content: max_content.unwrap_or(0), max_frame_average: average.unwrap_or(0) })
    }
}
