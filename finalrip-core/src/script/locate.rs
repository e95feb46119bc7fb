//! Where libvsscript is.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::ffi::vapoursynth::Api;

/// What the library is called on this system.
const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libvsscript.dylib"
} else if cfg!(target_os = "windows") {
    "vsscript.dll"
} else {
    "libvsscript.so"
};

/// Starts VapourSynth from the first place that has it.
///
/// `VSSCRIPT_PATH` decides alone when it is set. Otherwise: the active virtual environment, `.venv` in the current
/// folder, the installation that the `vapoursynth` or `vspipe` command on `PATH` belongs to, the system's libraries.
pub(super) fn load() -> Result<Api> {
    let mut searched = Vec::new();
    for (origin, path) in candidates() {
        searched.push(format!("{origin}: {}", path.display()));
        // A bare name is left to the dynamic linker; anything else must be there.
        let is_bare = path.parent() == Some(Path::new(""));
        if !is_bare && !path.is_file() {
            continue;
        }
        match Api::load(&path) {
            Ok(api) => return Ok(api),
            // Not on this system: no reason to stop.
            Err(_) if is_bare => {}
            Err(reason) => return Err(not_usable(&path, reason, searched)),
        }
    }
    Err(Error::Setup {
        reason: format!("{LIBRARY} was not found"),
        searched,
        fix: "python3 -m venv .venv && .venv/bin/pip install vapoursynth && .venv/bin/vapoursynth config \
              (Python 3.12 or later), or set VSSCRIPT_PATH to what `vapoursynth get-vsscript` prints"
            .to_owned(),
    })
}

/// The library that [`load`] would take, if it is a file: for a process that finds nothing itself.
#[cfg(feature = "tasks")]
pub(crate) fn find() -> Option<PathBuf> {
    candidates().into_iter().map(|(_, path)| path).find(|path| path.is_absolute() && path.is_file())
}

fn not_usable(path: &Path, reason: String, searched: Vec<String>) -> Error {
    let command = path
        .ancestors()
        .map(|folder| folder.join("bin/vapoursynth"))
        .find(|command| command.is_file())
        .map_or("vapoursynth".to_owned(), |command| command.display().to_string());
    Error::Setup {
        reason: format!("{} does not start: {reason}", path.display()),
        searched,
        fix: format!("run `{command} config` as the user who runs this, which tells VSScript which Python to use"),
    }
}

fn candidates() -> Vec<(&'static str, PathBuf)> {
    if let Some(path) = env::var_os("VSSCRIPT_PATH").filter(|path| !path.is_empty()) {
        return vec![("VSSCRIPT_PATH", path.into())];
    }
    let mut candidates = Vec::new();
    if let Some(environment) = env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()) {
        candidates.extend(in_environment(Path::new(&environment)).map(|path| ("VIRTUAL_ENV", path)));
    }
    if let Ok(current) = env::current_dir() {
        candidates.extend(in_environment(&current.join(".venv")).map(|path| (".venv here", path)));
    }
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        let has_command = ["vapoursynth", "vspipe"].iter().any(|name| folder.join(name).is_file());
        if let Some(environment) = folder.parent().filter(|_| has_command) {
            candidates.extend(in_environment(environment).map(|path| ("vapoursynth on PATH", path)));
        }
    }
    candidates.push(("system libraries", PathBuf::from(LIBRARY)));
    candidates
}

/// `ENV/lib/python3.X/site-packages/vapoursynth/LIBRARY` for each Python there; one pattern when there is none, so that
/// the error can say what was looked for.
fn in_environment(environment: &Path) -> impl Iterator<Item = PathBuf> {
    let lib = environment.join("lib");
    let inside = |python: PathBuf| python.join("site-packages/vapoursynth").join(LIBRARY);
    let mut found: Vec<PathBuf> = std::fs::read_dir(&lib)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .map(inside)
        .filter(|path| path.is_file())
        .collect();
    if found.is_empty() {
        found.push(inside(lib.join("python3.*")));
    }
    found.into_iter()
}
