//! The example program as a user runs it: arguments, the report, exit codes, Ctrl-C, and odd file names.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use serde_json::Value;

const QUIET: &str = "ffmpeg -i - -c:v libx264 -preset ultrafast";

fn program(script: &Path, output: &Path) -> Command {
    let mut program = Command::new(example("encode"));
    program.arg(script).arg(output).args(["--param", QUIET]).stdin(Stdio::null());
    program
}

fn output_of(program: &mut Command) -> Output {
    program.output().unwrap_or_else(|error| panic!("{program:?}: {error}"))
}

fn report_of(program: &mut Command) -> Value {
    let output = output_of(program.arg("--json"));
    assert!(output.status.success(), "{program:?}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object on standard output, and nothing else")
}

/// A script of 20 frames in `folder`, `length` and `width` its arguments.
fn script(folder: &Path) -> std::path::PathBuf {
    let text = "import vapoursynth as vs\nlength, width = int(globals().get('length', 20)), int(globals().get('width', 64))\n\
                vs.core.std.BlankClip(width=width, height=48, format=vs.YUV420P8, length=length, fpsnum=24000, fpsden=1001).set_output()\n";
    script_file(folder, "s.vpy", text)
}

#[test]
fn the_json_report_says_what_ffprobe_says() {
    let folder = scratch();
    let output = folder.path().join("out.mkv");
    let report = report_of(&mut program(&script(folder.path()), &output));
    let shown = probe(&output);
    let stream = &shown["streams"][0];
    assert_eq!(report["output"], output.to_str().unwrap());
    assert_eq!(report["container"], "matroska");
    assert_eq!(report["encoder"], "libx264");
    assert_eq!(report["codec"], stream["codec_name"]);
    assert_eq!(report["pixel_format"], stream["pix_fmt"]);
    assert_eq!((&report["width"], &report["height"]), (&stream["width"], &stream["height"]));
    assert_eq!(report["frames"].to_string(), stream["nb_read_frames"].as_str().unwrap());
    assert_eq!(report["pictures"], report["frames"]);
    assert_eq!(report["bytes"].to_string(), shown["format"]["size"].as_str().unwrap());
    let rate = format!("{}/{}", report["frame_rate"]["num"], report["frame_rate"]["den"]);
    assert_eq!(rate, stream["r_frame_rate"].as_str().unwrap());
    let duration: f64 = shown["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert!((report["duration"].as_f64().unwrap() - duration).abs() < 0.0011);
    assert_eq!((&report["range"]["start"], &report["range"]["end"]), (&0.into(), &20.into()));
    assert_eq!(report["zero_copy"], true);
}

#[test]
fn without_json_the_report_is_for_people() {
    let folder = scratch();
    let output = output_of(&mut program(&script(folder.path()), &folder.path().join("out.mkv")));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in ["out.mkv", "20 frames of 64x48 yuv420p", "h264 by libx264 in matroska"] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

#[test]
fn ranges_may_be_open() {
    let folder = scratch();
    for (range, start, end) in [("5..9", 5, 9), ("..3", 0, 3), ("12..", 12, 20), ("..", 0, 20)] {
        let output = folder.path().join("out.mkv");
        let report = report_of(program(&script(folder.path()), &output).args(["--range", range]));
        assert_eq!((&report["range"]["start"], &report["range"]["end"]), (&start.into(), &end.into()), "{range}");
        assert_eq!(probe_video(&output)["nb_read_frames"], (end - start).to_string(), "{range}");
    }
}

#[test]
fn arguments_reach_the_script() {
    let folder = scratch();
    let output = folder.path().join("out.mkv");
    let report = report_of(program(&script(folder.path()), &output).args(["--arg", "length=7", "--arg", "width=96"]));
    assert_eq!((&report["frames"], &report["width"]), (&7.into(), &96.into()));
}

#[test]
fn a_failure_says_why_and_ends_with_1() {
    let folder = scratch();
    let output = folder.path().join("out.mkv");
    let failed = output_of(program(&script(folder.path()), &output).args(["--arg", "length=none"]));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: the script "), "{said}");
    assert!(said.contains("ValueError: invalid literal for int()"), "{said}");
    assert_eq!(failed.stdout, b"");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

/// x265 tells decode times from memory that it never wrote when a stream ends before it has seen how far it reorders.
#[test]
fn the_shortest_streams_have_sound_times_whatever_was_in_memory() {
    let folder = scratch();
    let script = script(folder.path());
    for (length, reordering, extension) in
        [1, 2, 3].into_iter().flat_map(|length| [(length, "b-pyramid=1", "mkv"), (length, "b-pyramid=0", "mp4")])
    {
        let files = ["0", "1", "165"].map(|filling| {
            let output = folder.path().join(format!("{filling}.{extension}"));
            let command = format!(
                "-c:v libx265 -preset ultrafast -x265-params bframes=3:log-level=none:{reordering} -fflags +bitexact"
            );
            let mut program = Command::new(example("encode"));
            program.arg(&script).arg(&output).args(["--param", &command, "--arg", &format!("length={length}")]);
            // glibc fills what it hands out with the bits that this has not.
            report_of(program.args(["--arg", "width=320"]).env("MALLOC_PERTURB_", filling));
            let (times, _) = rips::packets(&output);
            assert_eq!(times.len(), length);
            assert!(times.iter().all(|times| times.dts.is_none_or(|dts| dts <= times.pts)), "{times:?}");
            fs::read(output).unwrap()
        });
        assert!(files.iter().all(|file| *file == files[0]), "{length} frames, {reordering}, {extension}");
    }
}

/// The fault is told once, not once more as its own cause.
#[test]
fn a_bad_command_is_told_once() {
    let folder = scratch();
    let mut program = Command::new(example("encode"));
    program.arg(script(folder.path())).arg(folder.path().join("out.mkv")).args(["--param", "-c:v libx264 -crff 20"]);
    let said = String::from_utf8(output_of(&mut program).stderr).unwrap();
    assert_eq!(said.matches("unknown option -crff").count(), 1, "{said}");
}

/// Starts the program and interrupts it as Ctrl-C does, once `ready` says so; returns its exit code and how long it
/// took from then on.
#[allow(clippy::zombie_processes, reason = "only a test that fails leaves its child behind")]
fn interrupt(program: &mut Command, ready: impl Fn() -> bool) -> (Option<i32>, Duration) {
    let mut child: Child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(30), "it never got going");
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        thread::sleep(Duration::from_millis(20));
    }
    // SAFETY: the child has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) }, 0);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), asked.elapsed());
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it did not end within 20 s of the interrupt");
}

/// The promise is a second; a busy machine gets more.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn an_interrupt_ends_with_130_and_leaves_nothing() {
    let folder = scratch();
    let path = script(folder.path());
    let mut child = program(&path, &folder.path().join("out.mkv"));
    child.args(["--arg", "length=10000000"]);
    let (code, took) = interrupt(&mut child, || files_in(folder.path()).len() > 1);
    assert_eq!(code, Some(130));
    assert!(took < SOON, "{took:?}");
    assert_eq!(files_in(folder.path()), ["s.vpy"]);
}

/// Interrupts a script that makes the file `marker` and then sleeps; nothing but these two may be left.
fn assert_interruptible_asleep(folder: &Path, marker: &Path, text: &str) {
    let path = script_file(folder, "s.vpy", text);
    let (code, took) = interrupt(&mut program(&path, &folder.join("out.mkv")), || marker.exists());
    assert_eq!(code, Some(130));
    assert!(took < SOON, "{took:?}");
    assert_eq!(files_in(folder), ["asleep", "s.vpy"]);
}

#[test]
fn an_interrupt_does_not_wait_for_a_sleeping_filter() {
    let folder = scratch();
    let marker = folder.path().join("asleep");
    let text = text_script(&format!(
        "import time\nbase = core.std.BlankClip(width=64, height=64, format=vs.YUV420P8, length=9)\ndef f(n):\n    \
         if n == 3:\n        open({marker:?}, 'w').close()\n        time.sleep(30)\n    return base\n\
         clip = core.std.FrameEval(base, f)"
    ));
    assert_interruptible_asleep(folder.path(), &marker, &text);
}

#[test]
fn an_interrupt_does_not_wait_for_a_sleeping_script() {
    let folder = scratch();
    let marker = folder.path().join("asleep");
    let text = text_script(&format!(
        "import time\nopen({marker:?}, 'w').close()\ntime.sleep(30)\nclip = core.std.BlankClip(length=9)"
    ));
    assert_interruptible_asleep(folder.path(), &marker, &text);
}

/// Names that a shell, a URL, a format string or a filter chain would trip over.
#[test]
fn odd_file_names_are_only_names() {
    for odd in ["a b", "a:b", "it's", "\"quoted\"", "100%d", "-dash", "ünïcödé", "new\nline", "a,b;c[d]=e\\f"] {
        check_name(OsStr::new(odd));
    }
}

#[test]
fn an_output_and_a_source_need_not_be_utf_8() {
    check_name(&OsString::from_vec(b"latin-\xe9".to_vec()));
}

fn check_name(name: &OsStr) {
    let with = |extension: &str| {
        let mut whole = name.to_owned();
        whole.push(extension);
        whole
    };
    let folder = scratch();
    let source = folder.path().join(with("-source.mp4"));
    std::fs::copy(bunny(), &source).unwrap();
    // bestsource, and a script's own name in VSScript, have to be UTF-8.
    let is_utf8 = name.to_str().is_some();
    let read = match is_utf8 {
        true => "clip = core.bs.VideoSource(os.environ['FINALRIP_SOURCE'], cachemode=0)[:2].resize.Bilinear(64, 48)",
        false => {
            "open(os.environ['FINALRIP_SOURCE'], 'rb').close()\nclip = core.std.BlankClip(length=2, format=vs.YUV420P8)"
        }
    };
    let text = text_script(&format!("import os\n{read}"));
    let script = if is_utf8 { with(".vpy") } else { "s.vpy".into() };
    let script = folder.path().join(script);
    std::fs::write(&script, text).unwrap();
    let output = folder.path().join(with(".mkv"));
    let mut program = Command::new(example("encode"));
    program.args(["--param", QUIET, "--json", "--source"]).arg(&source).arg("--").arg(&script).arg(&output);
    let ended = output_of(&mut program);
    assert!(ended.status.success(), "{name:?}: {}", String::from_utf8_lossy(&ended.stderr));
    let mut found: Vec<OsString> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut wanted = [script, source, output].map(|path| path.file_name().unwrap().to_owned());
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}
