//! Outputs: whatever name the file system takes, standard output and open files, and never one of the files that are read.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use common::rips::{open_gop_h264, over_source, whole_text};
use common::*;
use finalrip_core::{
    CancelToken, ChunkLength, EncodeCommand, Error, Options, Output, Rip, RipEvent, RipOptions, Script,
};

const FFV1: &str = "-c:v ffv1";

fn blank(frames: u32) -> Script {
    let clip = format!("clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length={frames})");
    Script::from_text(text_script(&clip))
}

fn in_chunks() -> RipOptions {
    RipOptions { chunk: ChunkLength::Frames(4), scene: false, workers: Some(1), ..RipOptions::default() }
}

fn rip(script: &Script, command: &str, output: &Path) -> Rip {
    Rip::new(script.clone(), EncodeCommand::parse(command).unwrap(), output).options(in_chunks())
}

// An output that is an input.

/// Tries to encode and to rip into `output`; both have to be refused as `what`.
#[track_caller]
fn refused(script: &Script, command: &str, output: &Path, what: &str) {
    let parsed = EncodeCommand::parse(command).unwrap();
    let encoded = finalrip_core::encode(script, &parsed, output, &Options::default(), |_| {});
    let ripped = Rip::new(script.clone(), parsed, output).run(|_| {}).map(drop);
    for result in [encoded.map(drop), ripped] {
        let error = result.expect_err("an output that is an input");
        assert!(matches!(error, Error::Output { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{output:?}: {error}");
    }
}

#[test]
fn an_output_that_is_the_source_or_the_script_is_refused_under_every_name() {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    fs::copy(open_gop_h264(), at("in.mkv")).unwrap();
    let text = over_source("clip = clip[:8]");
    script_file(folder.path(), "s.vpy", &text);
    let script = Script::from_path(at("s.vpy")).source(at("in.mkv"));
    symlink(at("in.mkv"), at("link.mkv")).unwrap();
    symlink("link.mkv", at("link of a link.mkv")).unwrap();
    fs::hard_link(at("in.mkv"), at("other name.mkv")).unwrap();
    fs::hard_link(at("s.vpy"), at("script.mkv")).unwrap();
    fs::create_dir(at("sub")).unwrap();
    let held = File::open(at("in.mkv")).unwrap();
    let before = files_in(folder.path());
    let same = ["in.mkv", "link.mkv", "link of a link.mkv", "other name.mkv", "sub/../in.mkv", ".//in.mkv"];
    for name in same.map(at).into_iter().chain([PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))]) {
        refused(&script, "-c:v ffv1 -f matroska", &name, "it is the source");
    }
    for name in ["s.vpy", "script.mkv", "sub/../s.vpy"] {
        refused(&script, "-c:v ffv1 -f matroska", &at(name), "it is the script");
    }
    assert_eq!(files_in(folder.path()), before);
    assert_eq!(fs::read(at("in.mkv")).unwrap(), fs::read(open_gop_h264()).unwrap());
    assert_eq!(fs::read_to_string(at("s.vpy")).unwrap(), text);
}

#[test]
fn an_output_that_is_another_file_which_is_read_is_refused() {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    fs::copy(open_gop_h264(), at("in.mkv")).unwrap();
    // The script names the file itself.
    let own = Script::from_text(text_script(&format!("clip = core.bs.VideoSource({:?})[:8]", at("in.mkv"))));
    refused(&own, FFV1, &at("in.mkv"), "open for reading");
    // The command does.
    fs::write(at("lut.mkv"), "no table").unwrap();
    let command = format!("-c:v ffv1 -vf lut3d=file={}", at("lut.mkv").display());
    refused(&blank(8), &command, &at("lut.mkv"), "a file that the command reads");
    // The caller does.
    let options = Options { inputs: vec![at("in.mkv")], ..Options::default() };
    let command = EncodeCommand::parse(FFV1).unwrap();
    let error = finalrip_core::encode(&blank(8), &command, at("in.mkv"), &options, |_| {}).unwrap_err();
    assert!(error.to_string().contains("one of the files that it is made from"), "{error}");
    // What is read lies where a rip would clear.
    fs::create_dir(at("out.mkv.finalrip")).unwrap();
    fs::copy(open_gop_h264(), at("out.mkv.finalrip/in.mkv")).unwrap();
    let inside = Script::from_text(over_source("")).source(at("out.mkv.finalrip/in.mkv"));
    let error = rip(&inside, FFV1, &at("out.mkv")).run(|_| {}).unwrap_err();
    assert!(error.to_string().contains("clears for its state"), "{error}");
    for kept in ["in.mkv", "out.mkv.finalrip/in.mkv"] {
        assert_eq!(fs::read(at(kept)).unwrap(), fs::read(open_gop_h264()).unwrap());
    }
    assert_eq!(fs::read_to_string(at("lut.mkv")).unwrap(), "no table");
}

#[test]
fn a_stage_does_not_write_over_what_it_reads() {
    let folder = scratch();
    let source = folder.path().join("in.mkv");
    fs::copy(open_gop_h264(), &source).unwrap();
    let script = Script::from_text(over_source("clip = clip[:8]")).source(&source);
    let mut stages = rip(&script, FFV1, &folder.path().join("out.mkv")).stages().unwrap();
    let plan = stages.plan().unwrap();
    let error = stages.encode(&plan, 0, &source, None, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("it is the source"), "{error}");
    assert_eq!(fs::read(&source).unwrap(), fs::read(open_gop_h264()).unwrap());
}

#[test]
fn a_file_that_is_replaced_need_not_be_closed() {
    let folder = scratch();
    let out = folder.path().join("out.mkv");
    let mut held = File::options().create(true).truncate(true).read(true).write(true).open(&out).unwrap();
    held.write_all(b"before").unwrap();
    encode(&blank(4), FFV1, &out);
    encode(&blank(4), FFV1, &out);
}

// Names.

fn odd_names() -> Vec<OsString> {
    let long = |count: usize, end: &str| OsString::from("n".repeat(count - end.len()) + end);
    vec![
        long(255, ".mkv"),
        long(250, ".mkv"),
        OsString::from("長".repeat(83) + "a.mkv"),
        OsString::from(format!("x.{}", "e".repeat(253))),
        "film.part 2, the long one which goes on and on and on".into(),
        "no extension".into(),
        "-c:v.mkv".into(),
        "two\nlines.mkv".into(),
        ".mkv".into(),
        "a:b%d.mkv".into(),
        OsString::from_vec(b"\xff\xfe\x80.mkv".to_vec()),
        OsString::from_vec([vec![0xe9; 250], b".mkv".to_vec()].concat()),
    ]
}

#[test]
fn every_name_that_the_file_system_takes_is_one_for_an_output() {
    for name in odd_names() {
        let folder = scratch();
        let out = folder.path().join(&name);
        let command = "-c:v ffv1 -f matroska";
        encode(&blank(8), command, &out);
        let entries =
            || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(entries(), std::slice::from_ref(&name));
        let encoded = frame_hashes(&out, "yuv420p");
        assert_eq!(encoded.len(), 8);
        let rip = rip(&blank(8), command, &out);
        rip.run(|_| {}).unwrap_or_else(|error| panic!("{name:?}: {}", whole_text(&error)));
        assert_eq!(entries(), [name]);
        assert_eq!(frame_hashes(&out, "yuv420p"), encoded);
    }
}

#[test]
fn a_rip_with_a_long_name_finds_its_state_again() {
    let folder = scratch();
    let names = ["a", "b"].map(|end| folder.path().join("n".repeat(250) + end + ".mkv"));
    for name in &names {
        let cancel = CancelToken::new();
        let rip = rip(&blank(12), FFV1, name);
        let stopped = rip.clone().options(RipOptions { cancel: cancel.clone(), ..in_chunks() }).run(|event| {
            if matches!(event, RipEvent::ChunkFinished { .. }) {
                cancel.cancel();
            }
        });
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        assert!(rip.state_folder().is_dir() && rip.state_folder().file_name().unwrap().len() <= 255);
    }
    for name in &names {
        let report = rip(&blank(12), FFV1, name).run(|_| {}).unwrap();
        assert!(report.chunks_resumed > 0);
        assert!(!rip(&blank(12), FFV1, name).state_folder().exists());
    }
    assert_eq!(files_in(folder.path()).len(), 2);
}

#[test]
fn the_state_of_a_linked_output_lies_beside_the_file() {
    let folder = scratch();
    fs::create_dir(folder.path().join("real")).unwrap();
    fs::write(folder.path().join("real/film.mkv"), "").unwrap();
    symlink("real/film.mkv", folder.path().join("link.mkv")).unwrap();
    let rip = rip(&blank(4), FFV1, &folder.path().join("link.mkv"));
    assert_eq!(rip.state_folder(), fs::canonicalize(folder.path()).unwrap().join("real/film.mkv.finalrip"));
}

// Streams and open files.

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode_into(output: Output, command: &str) -> Result<finalrip_core::Report, Error> {
    let command = EncodeCommand::parse(command).unwrap();
    finalrip_core::encode(&blank(8), &command, output, &Options::default(), |_| {})
}

#[test]
fn containers_that_can_be_streamed_are_written_to_anything() {
    let folder = scratch();
    let cases = [
        "-c:v ffv1 -f matroska",
        "-c:v libx264 -preset ultrafast -f mpegts",
        "-c:v ffv1 -f nut",
        "-c:v libvpx -deadline realtime -f webm",
        "-c:v libx264 -preset ultrafast -f h264",
        "-c:v libx264 -preset ultrafast -f mp4 -movflags +frag_keyframe+empty_moov",
        "-c:v mpeg2video -f vob",
        "-c:v mpeg4 -f asf",
        "-c:v libvpx -deadline realtime -f ivf",
    ];
    for command in cases {
        let kept = Kept::default();
        let report = encode_into(Output::stream("somewhere", kept.clone()), command)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        let bytes = kept.0.lock().unwrap().clone();
        assert_eq!((report.output.as_path(), report.bytes), (Path::new("somewhere"), bytes.len() as u64), "{command}");
        let file = folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        assert_eq!(frame_hashes(&file, "yuv420p").len(), 8, "{command}");
    }
}

#[test]
fn a_container_that_goes_back_is_refused_by_a_stream_and_says_what_to_do() {
    for command in ["-c:v libx264 -preset ultrafast -f mp4", "-c:v prores_ks -f mov", "-c:v wmv2 -f wtv"] {
        let error = encode_into(Output::stream("somewhere", Kept::default()), command).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("somewhere") && text.contains("matroska") && text.contains("name a file"), "{text}");
    }
    let error = encode_into(Output::stream("-", Kept::default()), FFV1).unwrap_err();
    assert!(error.to_string().contains("say -f"), "{error}");
}

#[test]
fn what_a_writer_refuses_ends_the_encode() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = encode_into(Output::stream("full", Full), "-c:v rawvideo -f nut").unwrap_err();
    assert!(matches!(&error, Error::Output { path, .. } if path == Path::new("full")), "{error}");
}

#[test]
fn an_open_file_is_written_from_where_it_stands() {
    let folder = scratch();
    let path = folder.path().join("held");
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    file.write_all(b"before").unwrap();
    // MP4 goes back to its beginning.
    let report =
        encode_into(Output::file("held", file.try_clone().unwrap()), "-c:v libx264 -preset ultrafast -f mp4").unwrap();
    file.write_all(b"after").unwrap();
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let video = bytes.strip_prefix(b"before").unwrap().strip_suffix(b"after").unwrap();
    assert_eq!(video.len() as u64, report.bytes);
    fs::write(folder.path().join("v.mp4"), video).unwrap();
    assert_eq!(frame_hashes(&folder.path().join("v.mp4"), "yuv420p").len(), 8);
}

#[test]
fn a_file_is_begun_again_and_a_stream_is_not_when_the_timing_turns_out_variable() {
    let clip = "clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=40)\n\
                base = clip\n\
                clip = core.std.FrameEval(base, lambda n: base.std.SetFrameProps(_DurationNum=1 + n % 3, _DurationDen=24))";
    let script = Script::from_text(text_script(clip));
    let command = EncodeCommand::parse("-c:v ffv1 -f matroska").unwrap();
    let folder = scratch();
    let path = folder.path().join("held.mkv");
    let file = File::create(&path).unwrap();
    finalrip_core::encode(&script, &command, Output::file("held.mkv", file), &Options::default(), |_| {}).unwrap();
    assert_eq!(packet_times(&path).len(), 40);
}

/// Runs an example into a pipe that ends at a file.
fn piped(program: &str, folder: &Path, arguments: &[&str]) -> (PathBuf, String) {
    let script = script_file(
        folder,
        "s.vpy",
        &text_script("clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=8)\nprint('a print')"),
    );
    let mut command = Command::new(example(program));
    let output = command.arg(script).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let noted = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {noted}");
    let file = folder.join("received");
    fs::write(&file, output.stdout).unwrap();
    (file, noted)
}

#[test]
fn the_programs_write_to_standard_output_and_nothing_else_does() {
    for program in ["encode", "rip"] {
        for name in ["-", "pipe:1", "/dev/stdout"] {
            let folder = scratch();
            let (file, noted) = piped(program, folder.path(), &[name, "--param", "-c:v ffv1 -f matroska"]);
            assert_eq!(frame_hashes(&file, "yuv420p").len(), 8, "{program} {name}");
            assert!(noted.contains("a print") && noted.contains("ffv1"), "{program}: {noted}");
            assert_eq!(files_in(folder.path()), ["received", "s.vpy"]);
        }
    }
}

#[test]
fn standard_output_may_be_a_file_with_something_before_and_behind() {
    let folder = scratch();
    let script = script_file(
        folder.path(),
        "s.vpy",
        &text_script("clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=8)"),
    );
    let shell = format!(
        "(printf before; {:?} {script:?} - --param '-c:v libx264 -preset ultrafast -f mp4'; printf after) > received 2>/dev/null",
        example("encode")
    );
    run(Command::new("sh").arg("-c").arg(format!("cd {:?} && {shell}", folder.path())));
    let bytes = fs::read(folder.path().join("received")).unwrap();
    let video = bytes.strip_prefix(b"before").unwrap().strip_suffix(b"after").unwrap();
    fs::write(folder.path().join("v.mp4"), video).unwrap();
    assert_eq!(frame_hashes(&folder.path().join("v.mp4"), "yuv420p").len(), 8);
}

#[test]
fn a_rip_to_standard_output_goes_on_where_it_was_told_to_keep_its_state() {
    let folder = scratch();
    let (file, _) =
        piped("rip", folder.path(), &["-", "--state", "state", "--param", "-c:v libx264 -preset ultrafast -f mp4"]);
    assert_eq!(frame_hashes(&file, "yuv420p").len(), 8);
    assert_eq!(files_in(&folder.path().join("state")), [""; 0]);
}
