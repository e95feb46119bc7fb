//! Everything that can go wrong, one test each: the error's kind, a message that says what failed, where, and what to
//! do about it; and after each of them no file, no partial name, and a file that was there before still untouched.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use finalrip_core::{CancelToken, EncodeCommand, Error, FrameRange, Options, Progress, Report, Result, Script};

const X264: &str = "-c:v libx264 -preset ultrafast";

/// 24 frames that any encoder takes.
const BLANK: &str =
    "clip = core.std.BlankClip(width=320, height=180, format=vs.YUV420P8, length=24, fpsnum=25, fpsden=1)";

fn blank_and(more: &str) -> Script {
    Script::from_text(text_script(&format!("{BLANK}\n{more}")))
}

fn good() -> Script {
    blank_and("")
}

/// `encode` as a user calls it, the command's own errors included.
fn try_encode(
    script: &Script,
    command: &str,
    output: &Path,
    options: &Options,
    progress: impl FnMut(&Progress),
) -> Result<Report> {
    let command = EncodeCommand::parse(command)?;
    finalrip_core::encode(script, &command, output, options, progress)
}

/// Expects the encode to fail, into a new file and over an old one, and checks what is left in the folder.
fn failure(script: &Script, command: &str) -> Error {
    failure_into("out.mkv", script, command, &Options::default())
}

fn failure_into(name: &str, script: &Script, command: &str, options: &Options) -> Error {
    let fail = |output: &Path| {
        let result = try_encode(script, command, output, options, |_| {});
        result.expect_err("an encode that cannot work")
    };
    leaves_nothing(name, &fail);
    leaves_the_old_file(name, &fail)
}

fn leaves_nothing<T>(name: &str, fail: &dyn Fn(&Path) -> T) -> T {
    let folder = scratch();
    let outcome = fail(&folder.path().join(name));
    assert_eq!(files_in(folder.path()), [""; 0], "a failed encode left something");
    outcome
}

fn leaves_the_old_file<T>(name: &str, fail: &dyn Fn(&Path) -> T) -> T {
    let folder = scratch();
    let target = folder.path().join(name);
    std::fs::write(&target, "the file of before").expect("a file");
    let outcome = fail(&target);
    assert_eq!(files_in(folder.path()), [name], "a failed encode left something beside the old file");
    assert_eq!(std::fs::read_to_string(&target).expect("the file"), "the file of before");
    outcome
}

/// The whole text that a user sees: the error and its causes.
fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// Checks the error's kind and that its text contains each part.
macro_rules! assert_error {
    ($error:expr, $kind:pat, $($part:expr),+) => {{
        let error = $error;
        assert!(matches!(error, $kind), "not {}: {error:?}", stringify!($kind));
        assert_says(&text_of(&error), &[$($part),+]);
    }};
}

// The script.

#[test]
fn a_syntax_error_shows_pythons_traceback_with_its_line() {
    let folder = scratch();
    let path = script_file(folder.path(), "typo.vpy", "import vapoursynth as vs\nclip = (1 +\nclip.set_output()\n");
    let error = failure(&Script::from_path(&path), X264);
    assert_error!(
        error,
        Error::Script { .. },
        "typo.vpy",
        "line 2",
        "clip = (1 +",
        "SyntaxError: '(' was never closed"
    );
}

#[test]
fn an_exception_in_the_script_shows_the_failing_line() {
    let error = failure(&Script::from_text("def deep():\n    raise ValueError('no luck')\n\ndeep()\n"), X264);
    assert_error!(
        error,
        Error::Script { .. },
        "<string>",
        "line 4, in <module>",
        "line 2, in deep",
        "ValueError: no luck"
    );
}

#[test]
fn a_script_that_exits_is_an_error_and_does_not_end_the_process() {
    let error = failure(&Script::from_text("import sys\nsys.exit(3)\n"), X264);
    assert_error!(error, Error::Script { .. }, "exit with code 3");
}

#[test]
fn a_script_file_that_is_not_there_says_which() {
    let error = failure(&Script::from_path("/nowhere/film.vpy"), X264);
    assert_error!(error, Error::Script { .. }, "cannot open /nowhere/film.vpy", "No such file");
}

#[test]
fn an_exception_at_frame_five_names_frame_five() {
    let functions = [
        "def f(n):\n    if n == 5:\n        raise ValueError('no luck at five')\n    return base\n\
         base = clip\nclip = core.std.FrameEval(base, f)",
        "def f(n, f):\n    if n == 5:\n        raise ValueError('no luck at five')\n    return f\n\
         clip = core.std.ModifyFrame(clip, clip, f)",
    ];
    for function in functions {
        let error = failure(&blank_and(function), X264);
        assert_error!(error, Error::Frame { frame: 5, .. }, "frame 5", "in f", "ValueError: no luck at five");
    }
}

#[test]
fn no_output_set_says_what_to_write() {
    let error = failure(&Script::from_text("import vapoursynth as vs\n"), X264);
    assert_error!(error, Error::Clip { .. }, "set no output 0", "clip.set_output(0)");
}

#[test]
fn another_output_than_the_script_sets_says_which() {
    let error = failure(&good().output_index(3), X264);
    assert_error!(error, Error::Clip { .. }, "set no output 3", "clip.set_output(3)");
}

#[test]
fn a_missing_source_is_named() {
    let reads = "import os\nclip = core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])";
    let error = failure(&Script::from_text(text_script(reads)).source("/nowhere/film.mkv"), X264);
    assert_error!(error, Error::Script { .. }, "/nowhere/film.mkv", "VideoSource", "vapoursynth.Error");
}

#[test]
fn a_missing_plugin_is_named() {
    let error = failure(&blank_and("clip = core.nosuch.Filter(clip)"), X264);
    assert_error!(error, Error::Script { .. }, "No attribute with the name nosuch", "forget to install a plugin");
}

// The clip.

#[test]
fn half_float_has_no_format_in_libav() {
    for format in ["GRAYH", "YUV444PH", "RGBH"] {
        let convert = match format {
            "RGBH" => "format=vs.RGBH, matrix_in_s='709'".to_owned(),
            _ => format!("format=vs.{format}"),
        };
        let error = failure(&blank_and(&format!("clip = clip.resize.Bilinear({convert})")), X264);
        assert_error!(error, Error::Clip { .. }, "half float", "resize");
    }
}

#[test]
fn single_float_yuv_has_no_format_in_libav() {
    let error = failure(&blank_and("clip = clip.resize.Bilinear(format=vs.YUV444PS)"), X264);
    assert_error!(error, Error::Clip { .. }, "32-bit float", "resize");
}

#[test]
fn four_one_zero_in_sixteen_bits_has_no_format_in_libav() {
    let format = "format=core.query_video_format(vs.YUV, vs.INTEGER, 16, 2, 2).id";
    let error = failure(&blank_and(&format!("clip = clip.resize.Bilinear({format})")), X264);
    assert_error!(error, Error::Clip { .. }, "16-bit", "resize");
}

#[test]
fn a_clip_whose_format_varies_is_refused() {
    let varies = "clip = core.std.Splice([clip, clip.resize.Bilinear(format=vs.YUV444P8)], mismatch=True)";
    assert_error!(failure(&blank_and(varies), X264), Error::Clip { .. }, "changes from frame to frame", "resize");
}

#[test]
fn a_clip_whose_size_varies_is_refused() {
    let varies = "clip = core.std.Splice([clip, clip.resize.Bilinear(width=640, height=360)], mismatch=True)";
    assert_error!(failure(&blank_and(varies), X264), Error::Clip { .. }, "changes from frame to frame", "resize");
}

#[test]
fn audio_is_not_video() {
    let error = failure(&Script::from_text(text_script("clip = core.std.BlankAudio()")), X264);
    assert_error!(error, Error::Clip { .. }, "audio", "only video");
}

#[test]
fn a_range_outside_the_clip_names_both() {
    for (start, end) in [(20, 30), (24, 25), (5, 5), (9, 3)] {
        let options = Options { range: Some(FrameRange { start, end }), ..Options::default() };
        let error = failure_into("out.mkv", &good(), X264, &options);
        assert_error!(error, Error::Clip { .. }, &format!("{start}..{end}"), "24 frames", "0..24");
    }
}

#[test]
fn a_clip_without_rate_or_durations_says_how_to_give_it_one() {
    let timeless = "clip = core.std.AssumeFPS(clip, fpsnum=25)\n\
        clip = core.std.Splice([clip, core.std.AssumeFPS(clip, fpsnum=30)], mismatch=True)\n\
        clip = core.std.RemoveFrameProps(clip, ['_DurationNum', '_DurationDen'])";
    let error = failure(&blank_and(timeless), X264);
    assert_error!(error, Error::Frame { frame: 0, .. }, "no constant frame rate", "AssumeFPS");
}

// The encode command.

#[test]
fn an_unknown_encoder_is_told_the_nearest_name() {
    assert_error!(
        failure(&good(), "-c:v libx256"),
        Error::Command(_),
        "unknown video encoder `libx256`",
        "did you mean libx265?"
    );
    assert_error!(failure(&good(), "-c:v rav1"), Error::Command(_), "`rav1`", "did you mean rav1e?");
}

#[test]
fn a_pixel_format_that_the_encoder_lacks_is_answered_with_those_it_has() {
    let error = failure(&good(), "-c:v libx265 -pix_fmt rgb48");
    assert_error!(error, Error::Encoder { .. }, "libx265", "rgb48", "yuv420p10", "yuv444p12");
    let error = failure(&good(), "-c:v rav1e -pix_fmt yuv420p16");
    assert_error!(error, Error::Encoder { .. }, "rav1e", "yuv420p16", "yuv420p10", "gray12");
    let error = failure(&good(), "-c:v libx264 -pix_fmt yuv420q");
    assert_error!(error, Error::Encoder { .. } | Error::Command(_), "yuv420q", "yuv420p10");
}

#[test]
fn an_unknown_option_is_told_the_nearest_name() {
    assert_error!(
        failure(&good(), "-c:v libx264 -crff 20"),
        Error::Command(_),
        "unknown option -crff",
        "did you mean -crf?"
    );
    assert_error!(failure(&good(), "-c:v rav1e -speeed 3"), Error::Command(_), "-speeed", "did you mean -speed?");
}

#[test]
fn an_option_of_another_encoder_is_refused() {
    let error = failure(&good(), "-c:v libx264 -x265-params crf=20");
    assert_error!(error, Error::Command(_), "-x265-params", "libx264");
}

#[test]
fn a_bad_option_value_is_named_with_what_is_allowed() {
    assert_error!(failure(&good(), "-c:v libx264 -crf good"), Error::Command(_), "-crf", "`good`", "allowed");
    assert_error!(failure(&good(), "-c:v libx264 -g 1.5.2"), Error::Command(_), "-g", "`1.5.2`", "allowed");
    assert_error!(failure(&good(), "-c:v rav1e -speed 99"), Error::Command(_), "-speed", "`99`", "0 to 10");
    let error = failure(&good(), "-c:v libx264 -preset quick");
    assert_error!(error, Error::Encoder { .. }, "libx264", "preset", "quick");
}

#[test]
fn what_a_pipe_would_ignore_in_encoder_parameters_is_an_error() {
    for (command, encoder) in [
        ("-c:v libx264 -x264-params nosuchkey=1", "libx264"),
        ("-c:v libx265 -x265-params nosuchkey=1:log-level=error", "libx265"),
        ("-c:v libsvtav1 -preset 12 -svtav1-params nosuchkey=1", "libsvtav1"),
    ] {
        assert_error!(failure(&good(), command), Error::Encoder { .. }, encoder, "nosuchkey");
    }
    let error = failure(&good(), "-c:v libx264 -x264-params crf=good");
    assert_error!(error, Error::Encoder { .. }, "libx264", "crf", "good");
}

#[test]
fn a_filter_that_does_not_exist_is_named() {
    let error = failure(&good(), &format!("{X264} -vf nosuchfilter=1"));
    assert_error!(error, Error::Encoder { .. }, "nosuchfilter");
}

#[test]
fn filters_that_let_no_frame_through_are_an_error() {
    let error = failure(&good(), &format!("{X264} -vf select=0"));
    assert_error!(error, Error::Clip { .. }, "filters let no frame through");
}

#[test]
fn an_empty_command_says_what_to_give() {
    assert_error!(failure(&good(), "  "), Error::Command(_), "empty", "-c:v libx265");
}

// The output.

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = scratch();
    let output = folder.path().join("no/such/out.mkv");
    let error = try_encode(&good(), X264, &output, &Options::default(), |_| {}).unwrap_err();
    assert_error!(error, Error::Output { .. }, "out.mkv", "no/such does not exist");
    assert_eq!(files_in(folder.path()), [""; 0]);
}

#[test]
fn a_folder_cannot_become_a_file() {
    let folder = scratch();
    let output = folder.path().join("film.mkv");
    std::fs::create_dir(&output).unwrap();
    let error = try_encode(&good(), X264, &output, &Options::default(), |_| {}).unwrap_err();
    assert_error!(error, Error::Output { .. }, "film.mkv", "it is a folder");
    assert_eq!(files_in(folder.path()), ["film.mkv"]);
}

/// Not even root makes files in /proc.
#[test]
fn a_folder_that_takes_no_files_is_an_error() {
    let error = try_encode(&good(), X264, Path::new("/proc/out.mkv"), &Options::default(), |_| {}).unwrap_err();
    assert_error!(error, Error::Output { .. }, "cannot write /proc/out.mkv");
}

#[test]
fn an_extension_that_names_no_container_is_an_error() {
    for name in ["film.nosuch", "film"] {
        let error = failure_into(name, &good(), X264, &Options::default());
        assert_error!(error, Error::Output { .. }, name, ".mkv", "-f");
    }
}

#[test]
fn an_unknown_container_is_told_the_nearest_name() {
    let error = failure(&good(), &format!("{X264} -f matroksa"));
    assert_error!(error, Error::Command(_), "`matroksa`", "did you mean matroska?");
}

#[test]
fn a_container_that_cannot_hold_the_codec_is_an_error() {
    for name in ["out.webm", "out.ivf"] {
        let error = failure_into(name, &good(), X264, &Options::default());
        assert_error!(error, Error::Output { .. }, name, "cannot hold", "libx264");
    }
}

#[test]
fn an_option_of_another_muxer_is_an_error() {
    let error = failure(&good(), &format!("{X264} -movflags faststart"));
    assert_error!(error, Error::Output { .. }, "matroska", "movflags");
}

#[test]
fn a_tag_that_does_not_fit_the_codec_is_an_error() {
    let error = failure_into("out.mp4", &good(), &format!("{X264} -tag:v hvc1"), &Options::default());
    assert_error!(error, Error::Output { .. }, "out.mp4", "hvc1");
}

/// Frames that do not compress: 24 of them are 2 MB as raw video.
fn noisy() -> Script {
    Script::from_text(text_script(&format!("{BLANK}\nclip = clip * 10")))
}

const LOSSLESS_RAW: &str = "-c:v rawvideo";

#[test]
fn a_full_disk_is_an_error() {
    let Some(disk) = SmallDisk::mount("1m") else {
        eprintln!("skipped: a small file system cannot be mounted here (not root?)");
        return;
    };
    let output = disk.path().join("out.mkv");
    let error = try_encode(&noisy(), LOSSLESS_RAW, &output, &Options::default(), |_| {}).unwrap_err();
    assert_error!(error, Error::Output { .. }, "out.mkv", "No space left on device");
    assert_eq!(files_in(disk.path()), [""; 0]);
}

/// The smallest disk that is always full, and a target that must not be removed: it is no file of ours.
#[test]
fn a_full_device_is_an_error_and_stays() {
    let output = Path::new("/dev/full");
    let command = format!("{LOSSLESS_RAW} -f nut");
    let error = try_encode(&noisy(), &command, output, &Options::default(), |_| {}).unwrap_err();
    assert_error!(error, Error::Output { .. }, "/dev/full", "No space left on device");
    assert!(output.exists());
}

#[test]
fn a_limit_on_the_files_size_is_an_error() {
    let (script, folder) = (scratch(), scratch());
    let path = script_file(script.path(), "s.vpy", &text_script(&format!("{BLANK}\nclip = clip * 10")));
    // With the signal ignored, as services run, a write beyond the limit fails with EFBIG.
    let mut child = Command::new("env");
    child.args(["--ignore-signal=XFSZ", "prlimit", "--fsize=65536"]).arg(example("encode"));
    child.arg(&path).arg(folder.path().join("out.mkv")).args(["--param", LOSSLESS_RAW]);
    let said = child_failure(&mut child);
    assert_says(&said, &["cannot write", "out.mkv", "File too large"]);
    assert_eq!(files_in(folder.path()), [""; 0]);
}

// VapourSynth itself.

#[test]
fn without_vsscript_the_error_names_every_place_and_the_fix() {
    let empty = scratch();
    let said = child_failure(bare_child(empty.path()).env("VSSCRIPT_PATH", "/nowhere/libvsscript.so"));
    assert_says(
        &said,
        &["VSSCRIPT_PATH: /nowhere/libvsscript.so", "was not found", "pip install vapoursynth", "vapoursynth config"],
    );
    let said = child_failure(bare_child(empty.path()).env("VIRTUAL_ENV", "/nowhere/env"));
    assert_says(
        &said,
        &["VIRTUAL_ENV: /nowhere/env/lib", ".venv here", "system libraries: libvsscript.so", "pip install vapoursynth"],
    );
    assert_eq!(files_in(empty.path()), ["s.vpy"]);
}

#[test]
fn without_its_config_the_error_names_the_command_that_writes_it() {
    let empty = scratch();
    let library = std::env::var_os("VSSCRIPT_PATH").expect("VSSCRIPT_PATH: run the tests through `make test`");
    let said = child_failure(
        bare_child(empty.path())
            .env("VSSCRIPT_PATH", library)
            .env("HOME", empty.path())
            .env("XDG_CONFIG_HOME", empty.path()),
    );
    assert_says(&said, &["VapourSynth cannot be started", "libvsscript.so", ".venv/bin/vapoursynth config"]);
}

/// The example program in an empty folder, with an empty environment.
fn bare_child(folder: &Path) -> Command {
    script_file(folder, "s.vpy", &text_script(BLANK));
    let mut child = Command::new(example("encode"));
    child.args(["s.vpy", "out.mkv", "--param", X264]).current_dir(folder).env_clear();
    child
}

/// What a child that must fail with exit code 1 says.
fn child_failure(child: &mut Command) -> String {
    let Output { status, stderr, .. } = child.stdin(Stdio::null()).output().expect("the example runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{child:?}\n{said}");
    said
}

// The caller.

#[test]
fn a_cancel_before_the_start_leaves_nothing() {
    let options = Options::default();
    options.cancel.cancel();
    assert_error!(failure_into("out.mkv", &good(), X264, &options), Error::Cancelled, "cancelled");
}

#[test]
fn a_cancel_in_the_middle_leaves_nothing() {
    for encoder in [
        X264,
        "-c:v libx265 -preset ultrafast -x265-params log-level=error",
        "-c:v libsvtav1 -preset 12",
        "-c:v rav1e -speed 10",
    ] {
        let cancel_at_once = |output: &Path| {
            let options = Options { progress_interval: Duration::ZERO, ..Options::default() };
            let cancel = options.cancel.clone();
            let long = blank_and("clip = clip * 1000");
            try_encode(&long, encoder, output, &options, |_| cancel.cancel()).unwrap_err()
        };
        assert_error!(leaves_nothing("out.mkv", &cancel_at_once), Error::Cancelled, "cancelled");
        assert_error!(leaves_the_old_file("out.mkv", &cancel_at_once), Error::Cancelled, "cancelled");
    }
}

#[test]
fn a_cancel_while_a_filter_sleeps_returns_without_it() {
    let sleepy = blank_and(
        "import time\nbase = clip\ndef f(n):\n    if n == 3:\n        time.sleep(30)\n    return base\n\
         clip = core.std.FrameEval(base, f)",
    );
    let cancel_later = |output: &Path| {
        let options = Options::default();
        let asked = cancel_after(&options.cancel, Duration::from_millis(1500));
        let error = try_encode(&sleepy, X264, output, &options, |_| {}).unwrap_err();
        // The promise is a second; a busy machine gets more.
        assert!(asked.join().unwrap().elapsed() < Duration::from_secs(5), "the cancel took too long");
        error
    };
    assert_error!(leaves_nothing("out.mkv", &cancel_later), Error::Cancelled, "cancelled");
}

/// Cancels from another thread; the handle gives the moment.
fn cancel_after(cancel: &CancelToken, delay: Duration) -> thread::JoinHandle<Instant> {
    let cancel = cancel.clone();
    thread::spawn(move || {
        thread::sleep(delay);
        cancel.cancel();
        Instant::now()
    })
}

#[test]
fn a_panic_in_the_progress_callback_becomes_an_error() {
    let panic = |output: &Path| {
        let progress = |_: &Progress| panic!("the caller's own fault");
        try_encode(&good(), X264, output, &Options::default(), progress).unwrap_err()
    };
    assert_error!(
        leaves_nothing("out.mkv", &panic),
        Error::Callback { .. },
        "progress callback",
        "the caller's own fault"
    );
    assert_error!(leaves_the_old_file("out.mkv", &panic), Error::Callback { .. }, "the caller's own fault");
}

/// A finished encode replaces the old file, whatever it was.
#[test]
fn an_old_file_is_replaced_when_the_new_one_is_complete() {
    let folder = scratch();
    let target: PathBuf = folder.path().join("out.mkv");
    std::fs::write(&target, "the file of before").expect("a file");
    let report = encode(&good(), X264, &target);
    assert_eq!(files_in(folder.path()), ["out.mkv"]);
    assert_eq!(std::fs::metadata(&target).unwrap().len(), report.bytes);
    assert_eq!(probe_video(&target)["nb_read_frames"], "24");
}

/// Whoever reads it has the beginning of the first attempt by then, and would get a second file behind it.
#[test]
fn a_pipe_cannot_be_begun_again_with_variable_timing() {
    let folder = scratch();
    let pipe = folder.path().join("out.mkv");
    run(Command::new("mkfifo").arg(&pipe));
    let uneven = "clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=60, fpsnum=25, fpsden=1)\n\
                  def stretch(n, f):\n    out = f.copy()\n    out.props['_DurationNum'] = 1 if n < 30 else 3\n    \
                  out.props['_DurationDen'] = 25\n    return out\nclip = core.std.ModifyFrame(clip, clip, stretch)";
    let script = Script::from_text(text_script(uneven));
    let read_all = |pipe: &Path| {
        let mut reader = Command::new("cat");
        reader.arg(pipe).stdin(Stdio::null()).stdout(Stdio::null());
        reader.spawn().unwrap()
    };
    // Each of them ends with what it reads; the second one would be the second attempt's.
    let mut readers = [read_all(&pipe), read_all(&pipe)];
    let error = try_encode(&script, "-c:v ffv1", &pipe, &Options::default(), |_| {});
    readers.iter_mut().for_each(|reader| drop((reader.kill(), reader.wait())));
    assert_error!(error.unwrap_err(), Error::Output { .. }, "out.mkv", "it is a pipe", "Timing::Variable");
}
