//! What an encoder process is started with: its scratch folder, its environment, and nothing else of the server's.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::spawn_blocking;

use super::descendants::end_marked;
use super::{ProcessOptions, Scope, taken};
use crate::script::locate::find;
use crate::task::folders;

/// What the names of scratch folders begin with.
const PREFIX: &str = "encoder-";

/// Where programs are when the server does not know.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables of the server's that are passed on: where programs, libraries and clocks are, and what is to be logged.
const PASSED_ON: [&str; 3] = ["LD_LIBRARY_PATH", "TZ", "RUST_LOG"];

/// A process that can be started.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) scratch: TempDir,
}

/// Makes the scratch folder and the command line.
pub(super) fn prepare(options: &ProcessOptions, scope: &Scope) -> Result<Prepared, String> {
    let failed = |error: io::Error| format!("no scratch folder can be made in {}: {error}", options.scratch.display());
    fs::create_dir_all(&options.scratch).map_err(failed)?;
    let folder = fs::canonicalize(&options.scratch).map_err(failed)?;
    let scratch = tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(folder);
    let scratch = scratch.map_err(failed)?;
    let mut command = Command::new(&options.program.program);
    command
        .args(&options.program.arguments)
        .env_clear()
        .envs(environment(scratch.path(), scope.cache.as_deref()))
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(scratch.path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(Prepared { command, scratch })
}

/// The variables that are always set.
fn environment(scratch: &Path, cache: Option<&Path>) -> Vec<(OsString, OsString)> {
    let set = |name: &str, value: &dyn AsRef<OsStr>| (name.into(), value.as_ref().to_owned());
    let mut variables = vec![
        set("PATH", &env::var_os("PATH").unwrap_or_else(|| PATH.into())),
        set("HOME", &scratch),
        set("TMPDIR", &scratch),
        set("XDG_CACHE_HOME", &cache.unwrap_or(&scratch.join(".cache"))),
        set("LANG", &"C.UTF-8"),
        set("LC_ALL", &"C.UTF-8"),
        // What a script prints must be in the log when it crashes, and Python says then where it was.
        set("PYTHONUNBUFFERED", &"1"),
        set("PYTHONFAULTHANDLER", &"1"),
        set("PYTHONDONTWRITEBYTECODE", &"1"),
    ];
    variables.extend(PASSED_ON.iter().filter_map(|name| Some(set(name, &env::var_os(name)?))));
    variables.extend(configuration().map(|folder| set("XDG_CONFIG_HOME", &folder)));
    // Searched for here, where the server's own variables and folder tell where it is.
    variables.extend(find().map(|library| set("VSSCRIPT_PATH", &library)));
    variables
}

/// Where libvsscript finds its configuration.
fn configuration() -> Option<PathBuf> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")))
}

/// Ends what belonged to an encoder process whose guardian is gone.
pub(super) async fn end_all_of(scratch: &Path) {
    let scratch = scratch.to_owned();
    drop(spawn_blocking(move || end_marked(&scratch)).await);
}

/// Removes a scratch folder; most often its guardian has done so already.
pub(super) async fn remove(scratch: PathBuf) {
    drop(spawn_blocking(move || remove_folder(&scratch)).await);
}

fn remove_folder(folder: &Path) {
    if let Err(error) = folders::remove(folder) {
        tracing::warn!("cannot remove the scratch folder {}: {error}", folder.display());
    }
}

/// Removes what encoder processes of an earlier server have left in `folder`, the processes themselves included; how many
/// there were. Usually none: their guardians see to it. To be called before any is started there. Blocks.
///
/// # Errors
/// When the folder cannot be read. One that is not there is empty.
pub fn sweep_scratch(folder: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(folder).and_then(|entries| Ok((entries, fs::canonicalize(folder)?))) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let (entries, folder) = entries;
    let mut swept = 0;
    for entry in entries {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with(PREFIX) {
            end_marked(&folder.join(&name));
            remove_folder(&folder.join(&name));
            swept += 1;
        } else if name.to_string_lossy().starts_with(taken::PREFIX) {
            remove_folder(&folder.join(&name));
        }
    }
    Ok(swept)
}
