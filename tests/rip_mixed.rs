//! Chunks of one file that were encoded in different ways: each has its own parameter sets, and every decoder finds them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::rips::whole_text;
use common::*;
use finalrip_core::{
    ChunkLength, EncodeCommand, EncodedChunk, Error, Rip, RipOptions, Script, Staged, StagedPlan, Stages,
};
use tempfile::TempDir;

const CHUNK: u32 = 8;

/// Three chunks of frames that differ from each other.
fn script() -> Script {
    Script::from_text(moving_box(96, 64, 3 * CHUNK))
}

fn stages(command: &str, output: &Path) -> Stages {
    let command = EncodeCommand::parse(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    let options =
        RipOptions { workers: Some(1), chunk: ChunkLength::Frames(CHUNK), scene: false, ..RipOptions::default() };
    Rip::new(script(), command, output)
        .options(options)
        .stages()
        .unwrap_or_else(|error| panic!("{}", whole_text(&error)))
}

/// Three chunks, each by a command of its own.
struct Mixed {
    folder: TempDir,
    plan: StagedPlan,
    chunks: Vec<(PathBuf, EncodedChunk)>,
}

impl Mixed {
    fn encode(commands: [&str; 3]) -> Result<Self, Error> {
        let folder = scratch();
        let output = folder.path().join("out.mkv");
        let plan = stages(commands[0], &output).plan()?;
        let mut chunks: Vec<(PathBuf, EncodedChunk)> = Vec::new();
        for (number, command) in commands.into_iter().enumerate() {
            let path = folder.path().join(format!("chunk-{number}.mkv"));
            let mut stages = stages(command, &output);
            stages.join_to(chunks.first().map(|(_, chunk)| chunk));
            let Staged::Done(chunk) = stages.encode(&plan, number, &path, None, &mut |_| {})? else {
                panic!("{command}: the clip has a constant rate")
            };
            chunks.push((path, chunk));
        }
        Ok(Self { folder, plan, chunks })
    }

    fn merge(&self, command: &str, name: &str) -> Result<PathBuf, Error> {
        let output = self.folder.path().join(name);
        stages(command, &output).merge(&self.plan, &self.chunks, &mut |_| {})?;
        Ok(output)
    }

    /// The frames of each chunk's own file.
    fn frames(&self) -> Vec<String> {
        self.chunks.iter().flat_map(|(path, _)| frame_hashes(path, "yuv420p")).collect()
    }

    /// Merges into a container, and has ffmpeg judge the file: not a warning, every frame as in its chunk, and each chunk
    /// as well when a player seeks there.
    fn check(&self, command: &str, name: &str) -> PathBuf {
        let file = self.merge(command, name).unwrap_or_else(|error| panic!("{name}: {}", whole_text(&error)));
        let (hashes, said) = decoded(&file, &[]);
        assert_eq!(said, "", "{name}: {command}");
        assert_eq!(hashes, self.frames(), "{name}: {command}");
        // A raw stream has no times to seek to, and in a transport stream or an AVI file ffmpeg does not land on keyframes.
        let seekable = !["h264", "hevc", "ivf", "obu", "m4v", "ts", "avi"].iter().any(|ending| name.ends_with(ending));
        for chunk in (0..3).filter(|_| seekable) {
            let (seconds, first) = (f64::from(chunk * CHUNK) / 25.0, (chunk * CHUNK) as usize);
            let (hashes, said) = decoded(&file, &["-ss", &format!("{seconds}")]);
            assert_eq!(said, "", "{name} from chunk {chunk}");
            assert_eq!(hashes, self.frames()[first..], "{name} from chunk {chunk}");
        }
        file
    }
}

/// What ffmpeg makes of a file, and what it has to say.
fn decoded(path: &Path, arguments: &[&str]) -> (Vec<String>, String) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "warning"]).args(arguments).arg("-i").arg(path).args([
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
    ]);
    let output = ffmpeg.args(["-pix_fmt", "yuv420p", "-f", "framemd5", "-"]).stdin(Stdio::null()).output().unwrap();
    (hashes_of(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn h264_of_several_settings_is_one_stream_in_every_container() {
    let commands = [
        "-c:v libx264 -preset veryfast -crf 16",
        "-c:v libx264 -preset slow -crf 30 -bf 3 -g 4",
        "-c:v libx264 -preset ultrafast -crf 16 -x264-params aud=1",
    ];
    let mixed = Mixed::encode(commands).unwrap();
    for name in ["out.mkv", "out.mp4", "out.mov", "out.ts", "out.h264", "out.nut", "out.avi"] {
        let file = mixed.check(commands[0], name);
        if name.ends_with("mp4") || name.ends_with("mov") {
            // The sample entry that allows parameter sets in the samples.
            assert_eq!(probe_video(&file)["codec_tag_string"], "avc3", "{name}");
        }
    }
    let remuxed = mixed.folder.path().join("remuxed.mkv");
    run(Command::new("mkvmerge").args(["-q", "-o"]).arg(&remuxed).arg(mixed.folder.path().join("out.mkv")));
    assert_eq!(decoded(&remuxed, &[]), (mixed.frames(), String::new()));
    // What promises that there are none is refused.
    let refused = mixed.merge(&format!("{} -tag:v avc1", commands[0]), "promised.mp4").unwrap_err();
    assert!(refused.to_string().contains("avc3"), "{refused}");
    let refused = mixed.merge(commands[0], "out.3gp").unwrap_err();
    assert!(refused.to_string().contains("mkv"), "{refused}");
}

#[test]
fn hevc_of_several_settings_is_one_stream_in_every_container() {
    let commands = [
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:crf=16",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:crf=30:keyint=4:ctu=16:bframes=3",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:crf=16",
    ];
    let mixed = Mixed::encode(commands).unwrap();
    for name in ["out.mkv", "out.mp4", "out.ts", "out.hevc"] {
        let file = mixed.check(commands[0], name);
        if name.ends_with("mp4") {
            assert_eq!(probe_video(&file)["codec_tag_string"], "hev1");
        }
    }
    let remuxed = mixed.folder.path().join("remuxed.mkv");
    run(Command::new("mkvmerge").args(["-q", "-o"]).arg(&remuxed).arg(mixed.folder.path().join("out.mkv")));
    assert_eq!(decoded(&remuxed, &[]), (mixed.frames(), String::new()));
    let refused = mixed.merge(&format!("{} -tag:v hvc1", commands[0]), "promised.mp4").unwrap_err();
    assert!(refused.to_string().contains("hev1"), "{refused}");
}

/// Other tools, and so another sequence header; another encoder even.
#[test]
fn av1_vp9_and_mpeg4_of_several_settings_are_one_stream() {
    let av1 = [
        "-c:v libaom-av1 -cpu-used 8 -crf 30",
        "-c:v libaom-av1 -cpu-used 8 -crf 50 -enable-cdef 0 -aom-params enable-order-hint=0 -g 4",
        "rav1e -s 10 --quantizer 80",
    ];
    let mixed = Mixed::encode(av1).unwrap();
    for name in ["out.mkv", "out.webm", "out.mp4", "out.ivf"] {
        mixed.check(av1[0], name);
    }
    let vp9 = [
        "-c:v libvpx-vp9 -cpu-used 8 -crf 20 -b:v 0",
        "-c:v libvpx-vp9 -cpu-used 5 -crf 50 -b:v 0 -g 3",
        "-c:v libvpx-vp9",
    ];
    let mixed = Mixed::encode(vp9).unwrap();
    for name in ["out.mkv", "out.webm", "out.mp4"] {
        mixed.check(vp9[0], name);
    }
    let mpeg4 = ["-c:v mpeg4 -q:v 3 -bf 2", "-c:v mpeg4 -q:v 9 -bf 2 -g 4", "-c:v mpeg4 -b:v 200k -bf 1"];
    let mixed = Mixed::encode(mpeg4).unwrap();
    for name in ["out.mkv", "out.mp4", "out.avi", "out.m4v"] {
        mixed.check(mpeg4[0], name);
    }
    let mpeg2 = ["-c:v mpeg2video -q:v 3", "-c:v mpeg2video -q:v 9 -bf 2 -g 4", "-c:v mpeg2video -q:v 3 -intra_vlc 1"];
    let mixed = Mixed::encode(mpeg2).unwrap();
    for name in ["out.mkv", "out.ts"] {
        mixed.check(mpeg2[0], name);
    }
}

/// The frames that were asked for so far: a refusal comes before the first picture is encoded.
#[test]
fn what_a_decoder_cannot_change_is_refused_before_it_is_encoded() {
    let refused = |first: &str, other: &str| {
        let folder = scratch();
        let output = folder.path().join("out.mkv");
        let plan = stages(first, &output).plan().unwrap();
        let encode = |command: &str, number: usize, like: Option<&EncodedChunk>| {
            let mut stages = stages(command, &output);
            stages.join_to(like);
            let mut told = 0;
            let path = folder.path().join(format!("{number}.mkv"));
            let ended = stages.encode(&plan, number, &path, None, &mut |_| told += 1);
            (ended, told, path)
        };
        let (Ok(Staged::Done(chunk)), ..) = encode(first, 0, None) else { panic!("{first}") };
        let (ended, told, path) = encode(other, 1, Some(&chunk));
        let error = ended.err().unwrap_or_else(|| panic!("{other} after {first} was taken"));
        assert!(matches!(error, Error::Clip { .. }), "{error:?}");
        assert!(told == 0 && !path.exists(), "{other}: {told} reports of progress");
        error.to_string()
    };
    let x264 = "-c:v libx264 -preset ultrafast";
    for (other, what) in [
        ("-c:v libx265 -preset ultrafast -x265-params log-level=none", "the codec is hevc, and h264"),
        ("-c:v libx264 -preset ultrafast -s 64x64", "the size is 64x64, and 96x64"),
        ("-c:v libx264 -preset ultrafast -pix_fmt yuv444p", "the pixel format is yuv444p, and yuv420p"),
        ("-c:v libx264 -preset ultrafast -aspect 4:3", "the pixels' shape is"),
        ("-c:v libx264 -preset ultrafast -colorspace bt709 -color_primaries bt709", "the colour is"),
        ("x264 --preset ultrafast --output-depth 10", "the pixel format is yuv420p10"),
    ] {
        let said = refused(x264, other);
        assert!(said.contains(what), "{other}: {said}");
    }
    let said = refused("-c:v ffv1 -slices 4", "-c:v ffv1 -coder 1 -context 1 -slices 4");
    assert!(said.contains("ffv1 keeps its settings in the file's header"), "{said}");
    let said = refused("-c:v mpeg4 -q:v 3", "-c:v mpeg4 -q:v 3 -bf 2");
    assert!(said.contains("mpeg4 keeps"), "{said}");
    let said = refused("-c:v huffyuv -pix_fmt yuv422p", "-c:v huffyuv -pix_fmt yuv422p -pred median");
    assert!(said.contains("huffyuv keeps"), "{said}");
}

/// Bitstream filters see the joined video: what they do, and what they remember, is what they do in an encode.
const FILTERS: [(&str, &str, bool); 9] = [
    ("-c:v libx264 -preset ultrafast -bsf:v h264_metadata=level=4.2:sample_aspect_ratio=4/3", "mkv", false),
    ("-c:v libx264 -preset ultrafast -bf 2 -bsf:v filter_units=remove_types=6,h264_metadata=aud=insert", "mp4", false),
    ("-c:v libx264 -preset ultrafast -bsf:v dump_extra", "mkv", false),
    ("-c:v libx265 -preset ultrafast -x265-params log-level=none -bsf:v hevc_metadata=level=5.1", "mp4", false),
    ("-c:v libaom-av1 -cpu-used 8 -bsf:v av1_frame_split,av1_frame_merge", "mkv", false),
    ("-c:v mpeg2video -bsf:v mpeg2_metadata=display_aspect_ratio=16/9", "ts", false),
    ("-c:v mjpeg -bsf:v noise=amount=50", "mov", true),
    ("-c:v ffv1 -g 1 -bsf:v setts=ts=TS+N*2", "mkv", true),
    ("-c:v mjpeg -bsf:v noise=dropamount=3", "mkv", true),
];

#[test]
fn bitstream_filters_do_in_a_rip_what_they_do_in_an_encode() {
    // Every frame by itself, so that a chunk has the very packets of the whole: then the parts show as well.
    for (command, extension, divided) in FILTERS {
        let folder = scratch();
        let (encoded, ripped) =
            (folder.path().join(format!("e.{extension}")), folder.path().join(format!("r.{extension}")));
        encode(&script(), command, &encoded);
        let chunk = ChunkLength::Frames(CHUNK);
        let options = RipOptions { workers: Some(1), slice: divided, chunk, scene: false, ..RipOptions::default() };
        let report = common::rips::rip(&script(), command, &ripped, &options);
        assert_eq!(report.chunks, if divided { 3 } else { 1 });
        assert_eq!(stored(&ripped), stored(&encoded), "{command}");
    }
    // A chain that does not fit is noticed before anything is encoded.
    let folder = scratch();
    let output = folder.path().join("out.mkv");
    let (ended, events) = common::rips::try_rip(
        &script(),
        "-c:v ffv1 -bsf:v h264_metadata=level=4.2",
        &output,
        &RipOptions { workers: Some(1), ..RipOptions::default() },
    );
    let error = whole_text(&ended.unwrap_err());
    assert!(error.contains("h264_metadata"), "{error}");
    assert!(!events.iter().any(|event| matches!(event, finalrip_core::RipEvent::ChunkFinished { .. })));
}

/// The packets of the video as they lie in a file, with the times at which they are shown. When they are decoded a rip counts by
/// itself.
fn stored(path: &Path) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path).args(["-map", "0:v:0", "-c", "copy", "-f", "framemd5", "-"]);
    let text = String::from_utf8(run(&mut ffmpeg)).unwrap();
    let packets: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(without_dts).collect();
    assert!(!packets.is_empty());
    packets
}

fn without_dts(line: &str) -> String {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    format!("{} {} {}", columns[2], columns[4], columns[5])
}
