//! What the tests share: scripts, the judges (ffmpeg, ffprobe, vspipe of the distribution), and a scratch folder.

#![allow(dead_code, reason = "each test file is a program of its own and uses a part of this")]
#![allow(unreachable_pub, reason = "a module of several programs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use finalrip_core::{EncodeCommand, Options, Report, Script};
use serde_json::Value;
use tempfile::TempDir;

pub mod rips;

/// The repository's root; other packages of the workspace, which lie in it, use this file too.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(package)
}

/// The real clip: 132 frames of 1280x720 at 25 fps, H.264, 8-bit 4:2:0.
pub fn bunny() -> PathBuf {
    root().join("examples/media/big_buck_bunny_720p.mp4")
}

/// A folder that is gone when the test ends.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("finalrip-test-").tempdir().expect("a scratch folder")
}

/// A script made of `body`, which assigns `clip`.
pub fn text_script(body: &str) -> String {
    format!("import vapoursynth as vs\ncore = vs.core\n{body}\nclip.set_output()\n")
}

/// Python that assigns `clip`: the first `frames` frames of the real clip (each one different) in another format and size.
pub fn moving(format: &str, width: u32, height: u32, frames: u32) -> String {
    let matrix = if format.starts_with("RGB") { "" } else { ", matrix_s='709'" };
    format!(
        "clip = core.bs.VideoSource({source:?})[:{frames}]\n\
         clip = clip.resize.Bilinear({width}, {height}, format=vs.{format}, matrix_in_s='709'{matrix})",
        source = bunny()
    )
}

/// A script without a source: a box that moves and changes its colour, no two frames alike. 4:2:0 in 8 bits, 25 fps.
pub fn moving_box(width: u32, height: u32, frames: u32) -> String {
    text_script(&format!(
        "clip = core.std.BlankClip(width={width}, height={height}, length={frames}, fpsnum=25, fpsden=1, format=vs.YUV420P8)\n\
         def box(n):\n    \
             left, top = n * 4 % ({width} - 32), n * 6 % ({height} - 32)\n    \
             small = core.std.BlankClip(clip, width=32, height=32, color=[40 + n * 7 % 180, 60 + n * 5, 190 - n * 5])\n    \
             return small.std.AddBorders(left, {width} - 32 - left, top, {height} - 32 - top, color=[90, 110, 150])\n\
         clip = core.std.FrameEval(clip, box)"
    ))
}

/// Writes a script file into `folder`.
pub fn script_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a script file");
    path
}

/// Encodes with default options; panics with the error's whole text.
pub fn encode(script: &Script, command: &str, output: &Path) -> Report {
    encode_with(script, command, output, &Options::default())
}

pub fn encode_with(script: &Script, command: &str, output: &Path, options: &Options) -> Report {
    let command = EncodeCommand::parse(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    finalrip_core::encode(script, &command, output, options, |_| {})
        .unwrap_or_else(|error| panic!("{}: {error}", output.display()))
}

/// A program of `.venv`, such as vspipe.
pub fn venv(name: &str) -> PathBuf {
    root().join(".venv/bin").join(name)
}

/// An example program as cargo builds it with the tests. `cargo test --test NAME` leaves the examples alone, so it may
/// have to be built here.
pub fn example(name: &str) -> PathBuf {
    static BUILD: std::sync::Once = std::sync::Once::new();
    let program = std::env::current_exe().expect("this program's path");
    // target/PROFILE/deps/TEST-HASH
    let profile = program.ancestors().nth(2).expect("the build folder");
    BUILD.call_once(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--locked", "--examples"]).current_dir(root()).stdin(Stdio::null());
        // What `make test` builds. With other features the library would be built a second time.
        cargo.args(["--workspace", "--features", "finalrip-core/ledger-kit"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        // What cargo tells a test of its package makes build scripts that ask for it run again, ring's for one, and with them
        // everything above is built anew: here, and then again in the next `make test`.
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|told| name.as_encoded_bytes().starts_with(told.as_bytes()))
            {
                cargo.env_remove(name);
            }
        }
        assert!(cargo.status().expect("cargo").success(), "the examples do not build: {cargo:?}");
    });
    profile.join("examples").join(name)
}

/// Runs a judge and returns its standard output; panics with its standard error when it fails.
///
/// In a folder of its own choice: while a script is evaluated on another thread, this process is in the script's folder,
/// which may be gone the next moment.
pub fn run(command: &mut Command) -> Vec<u8> {
    command.current_dir(root());
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    check(command, output)
}

fn check(command: &Command, output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `vspipe -c y4m SCRIPT - | ffmpeg -i - ARGUMENTS OUT`, connected without a shell.
pub fn pipe_to_ffmpeg(script: &Path, source: Option<&Path>, arguments: &[&str], out: &Path) {
    let mut vspipe = Command::new(venv("vspipe"));
    vspipe.args(["-c", "y4m"]).arg(script).arg("-").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(source) = source {
        vspipe.env("FINALRIP_SOURCE", source);
    }
    let mut vspipe = vspipe.current_dir(root()).spawn().expect("vspipe from .venv: run `make setup`");
    let stdout = vspipe.stdout.take().expect("a pipe");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-loglevel", "warning", "-y", "-i", "-"]).args(arguments).arg(out).stdin(stdout);
    let output = ffmpeg.output().expect("the distribution's ffmpeg");
    check(&ffmpeg, output);
    // The command still holds the reading end: without it vspipe learns that an ffmpeg with enough frames has left.
    drop(ffmpeg);
    let ended = vspipe.wait().expect("vspipe ends");
    assert!(ended.success() || arguments.contains(&"-frames:v"), "vspipe failed");
}

/// Everything that ffprobe says of a file's streams and format, frames counted.
pub fn probe(path: &Path) -> Value {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"]).arg(path);
    serde_json::from_slice(&run(&mut ffprobe)).expect("JSON from ffprobe")
}

/// The first video stream as ffprobe shows it.
pub fn probe_video(path: &Path) -> Value {
    probe(path)["streams"][0].clone()
}

/// The presentation times and durations of every packet, as text in seconds, in presentation order.
pub fn packet_times(path: &Path) -> Vec<f64> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]).arg(path);
    let text = String::from_utf8(run(&mut ffprobe)).expect("text from ffprobe");
    let mut times: Vec<f64> = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The decoded frames as ffmpeg hashes them, one line a frame, in `pix_fmt`.
pub fn frame_hashes(path: &Path, pix_fmt: &str) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path).args(["-map", "0:v:0"]);
    ffmpeg.args(["-fps_mode", "passthrough", "-pix_fmt", pix_fmt]);
    ffmpeg.args(["-f", "framemd5", "-"]);
    hashes_of(&run(&mut ffmpeg))
}

/// What vspipe writes for a script, hashed frame by frame by ffmpeg: the single pass that everything is compared with.
pub fn script_hashes(script: &Path, source: Option<&Path>, pix_fmt: &str) -> Vec<String> {
    let folder = scratch();
    let raw = folder.path().join("reference.nut");
    pipe_to_ffmpeg(script, source, &["-c:v", "rawvideo", "-pix_fmt", pix_fmt], &raw);
    frame_hashes(&raw, pix_fmt)
}

/// The hashes of ffmpeg's framemd5, one a frame.
pub fn hashes_of(framemd5: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(framemd5);
    let hash = |line: &str| line.rsplit(',').next().map(|hash| hash.trim().to_owned());
    text.lines().filter(|line| !line.starts_with('#')).filter_map(hash).collect()
}

/// The files in a folder, hidden ones too, sorted.
pub fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A small file system of its own, unmounted when it goes, also when the test panics.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// A file system of that size, such as `1m`; `None` where none can be mounted.
    pub fn mount(size: &str) -> Option<Self> {
        let folder = scratch();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "finalrip-test"]);
        mount.arg(folder.path()).stderr(Stdio::null());
        mount.status().ok()?.success().then_some(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it again with other options, such as `size=8m` or `ro`.
    pub fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", &format!("remount,{options}")]).arg(self.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "umount failed");
    }
}
