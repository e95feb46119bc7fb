//! Scripts: find libvsscript, evaluate in this process, hand out the clip.

pub(crate) mod caches;
pub(crate) mod locate;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::alpha::WithAlpha;
use crate::error::{Error, Result};
use crate::ffi::environment::Variable;
use crate::ffi::vapoursynth::{Api, CoreSettings, Environment, Node};
use crate::frames::{ClipInfo, Deliver, FrameSource};
use crate::picture::{PixelFormat, no_pixel_format};
use crate::units::Rational;

use caches::Caches;

/// The variable that carries the source's path into a script.
pub const SOURCE_VARIABLE: &str = "FINALRIP_SOURCE";

/// Held while a script is evaluated: evaluation changes the process's working directory and environment, and the
/// interpreter's `os.environ` and `sys.path`, so one script at a time may look at them.
static EVALUATION: Mutex<()> = Mutex::new(());

/// A VapourSynth script and what it is evaluated with.
///
/// ```no_run
/// # fn main() -> finalrip_core::Result<()> {
/// let script = finalrip_core::Script::from_path("denoise.vpy").source("in.mkv").arg("strength", "3");
/// let clip = script.evaluate()?;
/// println!("{} frames", clip.info().frames);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    origin: Origin,
    source: Option<PathBuf>,
    arguments: Vec<(String, String)>,
    output_index: i32,
    settings: CoreSettings,
    names_crashes: bool,
}

#[derive(Debug, Clone)]
enum Origin {
    Path(PathBuf),
    Text(String),
    Evaluated { text: String, clip: Clip, again: Option<Again> },
}

/// How the caller evaluates a script another time.
#[derive(Clone)]
struct Again {
    make: Arc<dyn Fn() -> Result<Arc<dyn FrameSource>> + Send + Sync>,
    /// Whether the clip that was there from the start has been given away.
    given: Arc<AtomicBool>,
}

impl std::fmt::Debug for Again {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Again").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Script {
    /// A script file. It is evaluated inside its own folder, as vspipe does, so that it may name files beside it, and that folder
    /// is the first in which modules are looked for, as `python` does. Modules found there are imported anew for each
    /// evaluation; the next evaluation of any script in this process takes the folder away.
    #[must_use]
    pub fn from_path(path: impl Into<PathBuf>) -> Self {
        Self::new(Origin::Path(path.into()))
    }

    /// A script given as text. Line ends of any kind and a byte order mark are accepted. It is evaluated in the current folder,
    /// in which modules are not looked for.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self::new(Origin::Text(text.into()))
    }

    /// A script that the caller has evaluated already, in an interpreter of the caller's own, and whose output is `source`.
    /// `text` is the script, which tells a later run of the same rip whether it is still the same one; `version` says what
    /// makes the frames. Nothing is evaluated again, so [`Environments::PerWorker`](crate::Environments) has no effect, unless
    /// [`Script::evaluated_again_by`] says how. Threads, cache and output are up to the caller.
    ///
    /// # Errors
    /// [`Error::Clip`] when the source has no frames, or a format that libav lacks.
    pub fn evaluated(
        text: impl Into<String>,
        version: impl Into<String>,
        source: Arc<dyn FrameSource>,
    ) -> Result<Self> {
        let clip = Clip::of_source(source, version.into())?;
        Ok(Self::new(Origin::Evaluated { text: text.into(), clip, again: None }))
    }

    /// How a script of [`Script::evaluated`] is evaluated another time, in an environment of its own: for each further worker
    /// under [`Environments::PerWorker`](crate::Environments), and after a chunk has failed. `make` is called on the worker's
    /// thread. Any other script evaluates itself, and is left as it is.
    #[must_use]
    pub fn evaluated_again_by(
        mut self,
        make: impl Fn() -> Result<Arc<dyn FrameSource>> + Send + Sync + 'static,
    ) -> Self {
        if let Origin::Evaluated { again, .. } = &mut self.origin {
            *again = Some(Again { make: Arc::new(make), given: Arc::default() });
        }
        self
    }

    fn new(origin: Origin) -> Self {
        let settings = CoreSettings::default();
        Self { origin, source: None, arguments: Vec::new(), output_index: 0, settings, names_crashes: false }
    }

    /// The video that the script reads, as `os.environ["FINALRIP_SOURCE"]`, made absolute. While the script is evaluated the
    /// process's environment has the variable too, for plugins and for programs that the script starts. Without a source the
    /// script sees the variable as the process's own environment had it.
    #[must_use]
    pub fn source(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Some(path.into());
        self
    }

    /// A variable of the script's namespace, always a string, as `vspipe --arg name=value` sets it.
    #[must_use]
    pub fn arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.arguments.push((name.into(), value.into()));
        self
    }

    /// Which `set_output(index)` to take. Default 0.
    #[must_use]
    pub fn output_index(mut self, index: i32) -> Self {
        self.output_index = index;
        self
    }

    /// The core's filter threads. Default 0: one for each logical processor.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = threads;
        self
    }

    /// The size of the core's frame cache, in bytes, above which it gives memory back. Default: VapourSynth's own.
    /// Smaller saves memory; too small makes filters ask for frames twice.
    #[must_use]
    pub fn cache_limit(mut self, bytes: u64) -> Self {
        self.settings.cache_bytes = Some(bytes);
        self
    }

    /// Whether a crash of this process, by a signal such as SIGSEGV, says on standard error where Python was. Default: false.
    /// It switches Python's `faulthandler` on, for good: its handlers of signals are the whole process's, and call those that
    /// were there before. For programs, not for libraries.
    #[must_use]
    pub fn names_crashes(mut self, names: bool) -> Self {
        self.names_crashes = names;
        self
    }

    /// The script itself, read from its file if it has one.
    pub(crate) fn text(&self) -> Result<String> {
        let path = match &self.origin {
            Origin::Text(text) | Origin::Evaluated { text, .. } => return Ok(text.clone()),
            Origin::Path(path) => path,
        };
        let text = from_working_folder(path).and_then(std::fs::read);
        let text = text.map_err(|error| self.failed(format!("cannot open {}: {error}", path.display())))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The script's file, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Path(path) => Some(path),
            Origin::Text(_) | Origin::Evaluated { .. } => None,
        }
    }

    pub(crate) fn arguments(&self) -> &[(String, String)] {
        &self.arguments
    }

    pub(crate) fn index(&self) -> i32 {
        self.output_index
    }

    pub(crate) fn source_path(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// As it is, but with so many filter threads if it does not say itself.
    pub(crate) fn with_share(mut self, threads: usize) -> Self {
        if self.settings.threads == 0 {
            self.settings.threads = threads;
        }
        self
    }

    /// The script's name in messages: its path, or `<string>`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.origin {
            Origin::Path(path) => path.display().to_string(),
            Origin::Text(_) | Origin::Evaluated { .. } => "<string>".to_owned(),
        }
    }

    /// Evaluates the script and takes its output.
    ///
    /// Scripts of one process are evaluated one after the other; their frames are made side by side.
    ///
    /// # Errors
    /// [`Error::Setup`] when VapourSynth cannot be started, [`Error::Script`] with Python's traceback,
    /// [`Error::Clip`] when the output is missing, empty, not video, changes its format or size, or has a format that
    /// libav lacks.
    pub fn evaluate(&self) -> Result<Clip> {
        if let Origin::Evaluated { clip, again, .. } = &self.origin {
            return match again {
                Some(again) if again.given.swap(true, Ordering::Relaxed) => {
                    Clip::of_source((again.make)()?, clip.version.clone())
                }
                _ => Ok(clip.clone()),
            };
        }
        let environment = Arc::new(self.environment()?);
        let node = environment.output(self.output_index).ok_or_else(|| Error::Clip {
            reason: format!("the script set no output {0}; end it with clip.set_output({0})", self.output_index),
        })?;
        let alpha = environment.alpha(self.output_index);
        let version = node.environment().core_version();
        let picture: Arc<dyn FrameSource> = Arc::new(NodeFrames::new(node)?);
        let source = match alpha {
            Some(alpha) => Arc::new(WithAlpha::new(picture, Arc::new(NodeFrames::new(alpha)?))?),
            None => picture,
        };
        Clip::of_source(source, version)
    }

    /// Runs the script for what it does; it needs no output.
    #[cfg(feature = "tasks")]
    pub(crate) fn execute(&self) -> Result<()> {
        self.environment().map(drop)
    }

    /// What the script has made of a new environment.
    fn environment(&self) -> Result<Environment> {
        let api = match Api::loaded() {
            Some(api) => api,
            None => locate::load()?,
        };
        let environment = Environment::new(api, self.settings).map_err(|reason| self.failed(reason))?;
        let _alone = EVALUATION.lock().unwrap_or_else(PoisonError::into_inner);
        self.run(&environment).map_err(|traceback| self.failed(traceback))?;
        Ok(environment)
    }

    fn failed(&self, traceback: String) -> Error {
        Error::Script { script: self.name(), traceback }
    }

    fn run(&self, environment: &Environment) -> Result<(), String> {
        let source = self.source.as_deref().map(absolute).transpose()?;
        let path = match &self.origin {
            Origin::Path(path) => Some(absolute(path)?),
            Origin::Text(_) | Origin::Evaluated { .. } => None,
        };
        let folders = path.as_deref().map(folders_of).unwrap_or_default();
        environment.run_text(&prelude(source.as_deref(), &folders, self.names_crashes), "<finalrip>")?;
        environment.set_variables(&self.arguments)?;
        // For plugins, and for programs that the script starts.
        let _variable = source.and_then(|source| Variable::set(SOURCE_VARIABLE, source.as_os_str()));
        match (&self.origin, path) {
            (Origin::Text(text), _) => environment.run_text(&plain_text(text), "<string>"),
            (_, None) => Ok(()),
            (_, Some(path)) => {
                // VSScript's own message for a missing file does not say why.
                std::fs::File::open(&path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
                environment.run_file(path.to_str().ok_or("the script's path is not UTF-8")?)
            }
        }
    }
}

/// A path seen from the process's own working folder, and not from that of a script which is being evaluated on another
/// thread right now; waits for it if need be.
pub(crate) fn from_working_folder(path: &Path) -> std::io::Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let _alone = EVALUATION.lock().unwrap_or_else(PoisonError::into_inner);
    std::path::absolute(path)
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("cannot resolve {}: {error}", path.display()))
}

/// Python that runs before the script, in its namespace: what the script is to find in the interpreter.
fn prelude(source: Option<&Path>, folders: &[PathBuf], names_crashes: bool) -> String {
    let bytes = |path: &Path| {
        let bytes: Vec<String> = path.as_os_str().as_encoded_bytes().iter().map(u8::to_string).collect();
        format!("bytes([{}])", bytes.join(","))
    };
    let source = source.map_or_else(|| "None".to_owned(), bytes);
    let folders: Vec<String> = folders.iter().map(|folder| bytes(folder)).collect();
    let names_crashes = if names_crashes { "True" } else { "False" };
    let call = format!("_finalrip_begin({source}, [{}], {names_crashes})", folders.join(","));
    format!("{}\n{call}\ndel _finalrip_begin\n", include_str!("script/prelude.py"))
}

/// A script's folder, as it is named and, where that goes through links, as it is: Python looks in the latter, and the
/// script runs in the former.
fn folders_of(script: &Path) -> Vec<PathBuf> {
    let named = script.parent().map(Path::to_owned);
    let real = std::fs::canonicalize(script).ok().and_then(|path| path.parent().map(Path::to_owned));
    let real = real.filter(|real| Some(real) != named.as_ref());
    named.into_iter().chain(real).collect()
}

/// A script's text as Python's compiler takes it: without a byte order mark, lines ended in one way.
pub(crate) fn plain_text(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n")
}

/// The output of an evaluated script: a source of frames. Dropping the last clone frees the script and its core.
#[derive(Clone)]
pub struct Clip {
    source: Arc<dyn FrameSource>,
    version: String,
    pixel_format: PixelFormat,
    caches: Arc<Caches>,
}

impl Clip {
    fn of_source(source: Arc<dyn FrameSource>, version: String) -> Result<Self> {
        let info = source.info();
        if info.frames == 0 {
            return Err(unfit("it has no frames"));
        }
        let pixel_format = PixelFormat::of(info).ok_or_else(|| unfit(&no_pixel_format(info)))?;
        Ok(Self { source, version, pixel_format, caches: Arc::default() })
    }

    /// What is known of the clip before its first frame.
    #[must_use]
    pub fn info(&self) -> &ClipInfo {
        self.source.info()
    }

    /// libav's format for the clip's planes.
    #[must_use]
    pub fn pixel_format(&self) -> PixelFormat {
        self.pixel_format
    }

    /// What VapourSynth says of its version.
    pub(crate) fn core_version(&self) -> &str {
        &self.version
    }

    /// The bytes that the core's frames take at this moment, caches included.
    #[must_use]
    pub fn frame_memory(&self) -> i64 {
        self.source.frame_memory()
    }
}

impl FrameSource for Clip {
    fn info(&self) -> &ClipInfo {
        Self::info(self)
    }

    fn request(&self, number: u32, deliver: Deliver) {
        self.caches.requests.fetch_add(1, Ordering::Relaxed);
        self.source.request(number, deliver);
    }

    fn tidy(&self) {
        if self.caches.have_grown(self.frame_memory()) {
            tracing::debug!(bytes = self.frame_memory(), "the core's caches have lost count, and are emptied");
            self.clear_caches();
        }
    }

    fn clear_caches(&self) {
        self.caches.start_over();
        self.source.clear_caches();
    }

    fn frame_memory(&self) -> i64 {
        Self::frame_memory(self)
    }
}

/// The frames of a node of a script that this library evaluated.
struct NodeFrames {
    node: Arc<Node>,
    info: ClipInfo,
}

impl NodeFrames {
    fn new(node: Node) -> Result<Self> {
        if !node.is_video() {
            return Err(unfit("the script's output is audio; only video can be encoded"));
        }
        let raw = node.info();
        let threads = node.environment().core_usage().0;
        let (Some(format), Ok(width), Ok(height)) = (raw.format, positive(raw.width), positive(raw.height)) else {
            return Err(unfit(
                "its format or size changes from frame to frame; give it one with resize, for example \
                 clip.resize.Spline36(width=1920, height=1080, format=vs.YUV420P10)",
            ));
        };
        let frames = u32::try_from(raw.frames).unwrap_or(0);
        let frame_rate = Rational::new(raw.rate.0, raw.rate.1).filter(|rate| rate.is_positive());
        let info = ClipInfo { format, width, height, frames, frame_rate, alpha: false, threads };
        Ok(Self { node: Arc::new(node), info })
    }
}

impl FrameSource for NodeFrames {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn request(&self, number: u32, deliver: Deliver) {
        self.node.request(number, deliver);
    }

    fn clear_caches(&self) {
        self.node.environment().clear_caches();
    }

    fn frame_memory(&self) -> i64 {
        self.node.environment().core_usage().1
    }
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clip").field("info", self.info()).finish_non_exhaustive()
    }
}

fn positive(value: i32) -> Result<u32, ()> {
    u32::try_from(value).ok().filter(|&value| value > 0).ok_or(())
}

fn unfit(reason: &str) -> Error {
    Error::Clip { reason: reason.to_owned() }
}
