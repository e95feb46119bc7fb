//! Beside other things in one process: source plugins with a libav of their own, other encodes with other scripts and
//! arguments, and the caller's own environment.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use common::*;
use finalrip_core::{FrameRange, Options, Script};

const LOSSLESS: &str = "-c:v ffv1";

/// bestsource carries its own copy of libav; this program links the system's. Both work, at the same time, on the same
/// frames: decoded by one, encoded by the other, checked by ffmpeg, which decodes the original itself.
#[test]
fn bestsource_decodes_while_the_systems_libav_encodes() {
    assert!(maps("/libavcodec.so"), "this program does not link the system's libavcodec");
    let folder = scratch();
    let text = text_script("import os\nclip = core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])[:30]");
    let file = folder.path().join("out.mkv");
    let script = Script::from_text(text).source(bunny());
    // A clip that is held keeps its core, and with it the plugin's library.
    let held = script.evaluate().unwrap();
    assert!(maps("bestsource"), "the plugin is not loaded into this process");
    encode(&script, LOSSLESS, &file);
    drop(held);
    let decoded = frame_hashes(&bunny(), "yuv420p");
    assert_eq!(frame_hashes(&file, "yuv420p"), decoded[..30]);
}

/// Whether a library of that name is mapped into this process.
fn maps(library: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().contains(library)
}

/// A short source of its own: frames `from..from + 12` of the real clip, small.
fn source(folder: &Path, name: &str, from: u32) -> PathBuf {
    let path = folder.join(name);
    let script = text_script(&format!(
        "clip = core.bs.VideoSource({:?})[{from}:{}].resize.Bilinear(192, 108)",
        bunny(),
        from + 12
    ));
    encode(&Script::from_text(script), "-c:v libx264 -preset ultrafast -qp 10", &path);
    path
}

/// Reads its source from the environment, an argument from its namespace, and a file beside itself.
const PARTICULAR: &str = "import os\nimport vapoursynth as vs\n\
    clip = vs.core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])\n\
    with open('gain.txt') as file:\n    gain = float(file.read())\n\
    clip = vs.core.std.Expr(clip, [f'x {gain} * {offset} +', ''])\n\
    clip.set_output()\n";

struct Particular {
    script: Script,
    command: &'static str,
}

fn particular(folder: &Path, name: &str, from: u32, (gain, offset): (&str, &str), command: &'static str) -> Particular {
    let own = folder.join(name);
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("gain.txt"), gain).unwrap();
    let source = source(&own, "source.mkv", from);
    let path = script_file(&own, "filter.vpy", PARTICULAR);
    Particular { script: Script::from_path(path).source(source).arg("offset", offset), command }
}

#[test]
fn two_encodes_at_the_same_time_see_each_their_own() {
    let folder = scratch();
    let folder = folder.path();
    let jobs = [
        particular(folder, "one", 0, ("0.5", "7"), "-c:v libx264 -preset ultrafast -crf 20 -threads 2 -f h264"),
        particular(
            folder,
            "two",
            60,
            ("0.8", "-3"),
            "-c:v libx265 -preset ultrafast -x265-params log-level=none -f hevc",
        ),
    ];
    let bytes_of = |job: &Particular, name: &str| {
        let output = folder.join(name);
        encode(&job.script, job.command, &output);
        std::fs::read(&output).unwrap()
    };
    let alone: Vec<Vec<u8>> = jobs.iter().map(|job| bytes_of(job, "alone.bin")).collect();
    assert_ne!(alone[0], alone[1]);
    for round in 0..3 {
        thread::scope(|scope| {
            let running: Vec<_> = jobs
                .iter()
                .enumerate()
                .map(|(index, job)| scope.spawn(move || bytes_of(job, &format!("together-{index}.bin"))))
                .collect();
            for (index, running) in running.into_iter().enumerate() {
                assert!(running.join().unwrap() == alone[index], "job {index} gave other bytes in round {round}");
            }
        });
    }
}

/// A script that is given no source sees what the process itself was given, not what the last script was.
#[test]
fn a_scripts_source_does_not_stay() {
    let own = std::env::var("FINALRIP_SOURCE").ok();
    let length = |script: Script| script.evaluate().unwrap().info().frames;
    let reads = Script::from_text(text_script(
        "import os\nseen = os.environ.get('FINALRIP_SOURCE', '')\nclip = core.std.BlankClip(length=1 + len(seen))",
    ));
    let before = length(reads.clone());
    assert_eq!(before as usize, 1 + own.as_deref().unwrap_or("").len());
    assert_eq!(length(reads.clone().source("/a/film.mkv")), 1 + 11);
    assert_eq!(length(reads.clone()), before);
    assert_eq!(std::env::var("FINALRIP_SOURCE").ok(), own, "the process's own environment is left alone");
}

#[test]
fn the_working_folder_is_given_back() {
    let folder = scratch();
    let before = std::env::current_dir().unwrap();
    let path = script_file(
        folder.path(),
        "here.vpy",
        &text_script("import os\nclip = core.std.BlankClip(length=len(os.listdir('.')))"),
    );
    assert_eq!(Script::from_path(path).evaluate().unwrap().info().frames, 1, "the script's folder holds the script");
    assert_eq!(std::env::current_dir().unwrap(), before);
}

#[test]
fn scripts_do_not_see_each_others_variables() {
    let set = Script::from_text(text_script("leaked = 5\nclip = core.std.BlankClip(length=1)")).arg("given", "x");
    let look = Script::from_text(text_script(
        "clip = core.std.BlankClip(length=1 + ('leaked' in globals()) + ('given' in globals()))",
    ));
    let first = set.evaluate().unwrap();
    assert_eq!(look.evaluate().unwrap().info().frames, 1);
    drop(first);
}

#[test]
fn each_output_of_a_script_can_be_taken() {
    let folder = scratch();
    let text = "import vapoursynth as vs\nfor i in range(3):\n    vs.core.std.BlankClip(width=64, height=64, length=2 + i, \
                format=vs.YUV420P8, color=[20 * i, 128, 128]).set_output(i)\n";
    for index in 0..3 {
        let file = folder.path().join("out.mkv");
        let report = encode(&Script::from_text(text).output_index(index), LOSSLESS, &file);
        assert_eq!(report.frames, 2 + index as u32);
        assert_eq!(probe_video(&file)["nb_read_frames"], (2 + index).to_string());
    }
}

#[test]
fn a_range_is_the_one_of_vspipe() {
    let folder = scratch();
    let path = script_file(folder.path(), "s.vpy", &text_script(&moving("YUV420P8", 160, 90, 30)));
    for range in [0..30_u32, 7..19, 29..30, 0..1] {
        let file = folder.path().join("out.mkv");
        let options = Options { range: Some(FrameRange::from(range.clone())), ..Options::default() };
        let report = encode_with(&Script::from_path(&path), LOSSLESS, &file, &options);
        assert_eq!(report.frames, range.end - range.start);
        // vspipe's end is inclusive.
        let y4m = folder.path().join("judge.y4m");
        let mut vspipe = Command::new(venv("vspipe"));
        vspipe.args(["-c", "y4m", "-s", &range.start.to_string(), "-e", &(range.end - 1).to_string()]);
        run(vspipe.arg(&path).arg(&y4m));
        assert_eq!(frame_hashes(&file, "yuv420p"), frame_hashes(&y4m, "yuv420p"), "{range:?}");
        assert_eq!(packet_times(&file)[0], 0.0, "a range's time begins at 0");
    }
}

#[test]
fn threads_and_cache_are_set_before_the_script_runs() {
    let reads = |what: &str| Script::from_text(text_script(&format!("clip = core.std.BlankClip(length=core.{what})")));
    for threads in [1, 3] {
        let clip = reads("num_threads").threads(threads).evaluate().unwrap();
        assert_eq!((clip.info().frames as usize, clip.info().threads), (threads, threads));
    }
    let clip = reads("max_cache_size").cache_limit(77 << 20).evaluate().unwrap();
    assert_eq!(clip.info().frames, 77, "MiB");
}

#[test]
fn any_line_end_will_do() {
    for end in ["\n", "\r\n", "\r"] {
        let text =
            "import vapoursynth as vs\nif True:\n    clip = vs.core.std.BlankClip(length=4)\nclip.set_output()\n";
        assert_eq!(Script::from_text(text.replace('\n', end)).evaluate().unwrap().info().frames, 4, "{end:?}");
    }
}
