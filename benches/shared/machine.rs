//! The machine, in words, and where its programs are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

/// Processor, cores, memory, distribution, and the versions of what is measured.
pub(crate) fn describe() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{}, {cores} cores, {}, {}; {}; {}",
        processor(),
        memory(),
        distribution(),
        ffmpeg_version(),
        vapoursynth_version(),
    ))
}

fn field(path: &str, key: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
}

fn processor() -> String {
    field("/proc/cpuinfo", "model name", ':').unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn memory() -> String {
    let kibibytes =
        field("/proc/meminfo", "MemTotal", ':').and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes.map_or_else(|| "memory unknown".to_owned(), |size| format!("{:.0} GiB", size / f64::from(1 << 20)))
}

fn distribution() -> String {
    field("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_else(|| std::env::consts::OS.to_owned())
}

/// The first words of a program's version text.
fn said(command: &mut Command) -> String {
    command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn ffmpeg_version() -> String {
    let text = said(Command::new("ffmpeg").arg("-version"));
    let version = text.split_whitespace().nth(2).unwrap_or("of unknown version");
    format!("FFmpeg {version}")
}

fn vapoursynth_version() -> String {
    let text = said(Command::new(vspipe()).arg("--version"));
    let version = text.lines().find_map(|line| line.strip_prefix("Core ")).unwrap_or("of unknown version");
    format!("VapourSynth {version}")
}

/// The program itself where it is known: the `vspipe` of a Python environment is a Python script that starts it, which
/// should not count against the pipe.
pub(crate) fn vspipe() -> PathBuf {
    let beside_vsscript = std::env::var_os("VSSCRIPT_PATH").map(|library| Path::new(&library).with_file_name("vspipe"));
    beside_vsscript.filter(|path| path.is_file()).unwrap_or_else(|| "vspipe".into())
}
