//! An output that is one of the files it is made from: refused before anything is opened.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::container::output_error;
use crate::encoder::command::EncodeCommand;
use crate::error::Result;
use crate::script::{Script, from_working_folder};

/// A file that is read, and what it is to the user.
pub(crate) type Input<'a> = (&'static str, &'a Path);

/// What a script and a command read, as far as they say.
pub(crate) fn of_script(script: &Script) -> impl Iterator<Item = Input<'_>> {
    let path = script.path().map(|path| ("the script", path));
    path.into_iter().chain(script.source_path().map(|path| ("the source", path)))
}

/// Refuses a target that is one of the inputs, or a file that the command names, under whatever name.
///
/// # Errors
/// [`Error::Output`](crate::Error::Output), which says which.
pub(crate) fn check<'a>(
    target: &Path,
    inputs: impl IntoIterator<Item = Input<'a>>,
    command: &EncodeCommand,
) -> Result<()> {
    let Some(target_is) = identity(target) else { return Ok(()) };
    let is_target = |path: &Path| from_working_folder(path).ok().and_then(|path| identity(&path)) == Some(target_is);
    let input = inputs.into_iter().find(|(_, path)| is_target(path)).map(|(what, _)| what);
    let named =
        || named_files(command).any(|name| is_target(Path::new(name))).then_some("a file that the command reads");
    match input.or_else(named) {
        Some(what) => Err(output_error(target, format!("it is {what}; choose another name"))),
        None => Ok(()),
    }
}

/// Refuses a target that this process has open for reading only, as a source filter has the file that a script names itself.
///
/// # Errors
/// [`Error::Output`](crate::Error::Output).
pub(crate) fn check_open(target: &Path) -> Result<()> {
    let Some(target_is) = identity(target).filter(|_| target.is_file()) else { return Ok(()) };
    let is_read = |entry: &fs::DirEntry| {
        let same = fs::metadata(entry.path()).is_ok_and(|about| about.is_file() && of(&about) == target_is);
        same && is_read_only(Path::new("/proc/self/fdinfo").join(entry.file_name()))
    };
    // Without /proc nothing is known of it.
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Ok(()) };
    if entries.filter_map(std::result::Result::ok).any(|entry| is_read(&entry)) {
        let reason =
            "this process has it open for reading: the script reads it, or something else does; choose another name";
        return Err(output_error(target, reason.to_owned()));
    }
    Ok(())
}

fn is_read_only(fdinfo: PathBuf) -> bool {
    let text = fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE as u32 == libc::O_RDONLY as u32)
}

/// Device and inode of a file or a pipe that exists; devices may be read and written at the same time.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let about = fs::metadata(path).ok()?;
    (about.is_file() || about.file_type().is_fifo()).then(|| of(&about))
}

fn of(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Every part of the command's values that may be a file's name: that of an option, of one among an encoder's parameters, of
/// a filter's argument.
fn named_files(command: &EncodeCommand) -> impl Iterator<Item = &str> {
    let options = command.encoder_options().iter().chain(command.muxer_options());
    let values = options.map(|(_, value)| value.as_str()).chain(command.filters()).chain(command.bitstream_filters());
    values.flat_map(|value| {
        let part = |character| matches!(character, ':' | '=' | ',' | ';' | '\'' | '"');
        std::iter::once(value).chain(value.split(part)).filter(|name| !name.is_empty())
    })
}
