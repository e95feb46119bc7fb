//! Format by encoder by container: encode, decode with the distribution's ffmpeg, compare planes. Lossless encodes must
//! give back VapourSynth's own samples; lossy ones must come near. The long half is run by `make test-long`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::*;
use finalrip_core::Script;

const FRAMES: u32 = 5;

/// A VapourSynth format and libav's name for it.
struct Format {
    script: &'static str,
    libav: &'static str,
}

const fn format(script: &'static str, libav: &'static str) -> Format {
    Format { script, libav }
}

/// Every format that VapourSynth names and libav has, and two that only `query_video_format` makes.
const FORMATS: [Format; 39] = [
    format("vs.GRAY8", "gray"),
    format("core.query_video_format(vs.GRAY, vs.INTEGER, 9, 0, 0).id", "gray9le"),
    format("vs.GRAY10", "gray10le"),
    format("vs.GRAY12", "gray12le"),
    format("vs.GRAY14", "gray14le"),
    format("vs.GRAY16", "gray16le"),
    format("vs.GRAYS", "grayf32le"),
    format("vs.YUV420P8", "yuv420p"),
    format("vs.YUV420P9", "yuv420p9le"),
    format("vs.YUV420P10", "yuv420p10le"),
    format("vs.YUV420P12", "yuv420p12le"),
    format("vs.YUV420P14", "yuv420p14le"),
    format("vs.YUV420P16", "yuv420p16le"),
    format("vs.YUV422P8", "yuv422p"),
    format("vs.YUV422P9", "yuv422p9le"),
    format("vs.YUV422P10", "yuv422p10le"),
    format("vs.YUV422P12", "yuv422p12le"),
    format("vs.YUV422P14", "yuv422p14le"),
    format("vs.YUV422P16", "yuv422p16le"),
    format("vs.YUV444P8", "yuv444p"),
    format("vs.YUV444P9", "yuv444p9le"),
    format("vs.YUV444P10", "yuv444p10le"),
    format("vs.YUV444P12", "yuv444p12le"),
    format("vs.YUV444P14", "yuv444p14le"),
    format("vs.YUV444P16", "yuv444p16le"),
    format("vs.YUV410P8", "yuv410p"),
    format("vs.YUV411P8", "yuv411p"),
    format("vs.YUV440P8", "yuv440p"),
    format("core.query_video_format(vs.YUV, vs.INTEGER, 10, 0, 1).id", "yuv440p10le"),
    format("core.query_video_format(vs.YUV, vs.INTEGER, 12, 0, 1).id", "yuv440p12le"),
    format("vs.RGB24", "gbrp"),
    format("vs.RGB27", "gbrp9le"),
    format("vs.RGB30", "gbrp10le"),
    format("vs.RGB36", "gbrp12le"),
    format("vs.RGB42", "gbrp14le"),
    format("vs.RGB48", "gbrp16le"),
    format("vs.RGBS", "gbrpf32le"),
    format("core.query_video_format(vs.RGB, vs.INTEGER, 11, 0, 0).id", ""),
    format("core.query_video_format(vs.YUV, vs.INTEGER, 11, 1, 1).id", ""),
];

fn by_name(libav: &str) -> &'static Format {
    FORMATS.iter().find(|format| format.libav == libav).unwrap_or_else(|| panic!("no format {libav}"))
}

/// The first frames of the real clip at 144x80, made once: opening it costs next to nothing.
fn source() -> &'static Path {
    static SOURCE: OnceLock<PathBuf> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix.mkv");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-i"]).arg(bunny()).args(["-an", "-frames:v", &FRAMES.to_string()]);
        ffmpeg.args(["-vf", "scale=144:80", "-c:v", "ffv1", "-pix_fmt", "yuv444p10le"]);
        run(ffmpeg.arg(&path));
        path
    })
}

/// A picture of 144x80 in the format, every frame and every plane different. 144x80 divides by every chroma subsampling
/// and is no multiple of 64 bytes a row: strides are longer than rows.
fn script(format: &Format) -> String {
    let matrix = if format.script.contains("RGB") { "" } else { ", matrix_s='709'" };
    text_script(&format!(
        "clip = core.bs.VideoSource({source:?}, cachemode=0)\n\
         clip = clip.resize.Bilinear(format={format}, matrix_in_s='709'{matrix}, dither_type='error_diffusion')",
        source = source(),
        format = format.script,
    ))
}

/// The samples as VapourSynth itself has them: what vspipe writes without a container, planes one after the other, RGB
/// in libav's order G, B, R.
fn planes(path: &Path) -> Vec<u8> {
    let folder = scratch();
    let raw = folder.path().join("planes.raw");
    run(Command::new(venv("vspipe")).arg(path).arg(&raw));
    std::fs::read(&raw).unwrap()
}

/// [`planes`], hashed frame by frame by ffmpeg.
fn reference(path: &Path, format: &Format) -> Vec<String> {
    let folder = scratch();
    let raw = folder.path().join("planes.raw");
    std::fs::write(&raw, planes(path)).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "rawvideo", "-video_size", "144x80", "-pixel_format", format.libav, "-i"]);
    ffmpeg.arg(&raw).args(["-f", "framemd5", "-"]);
    hashes_of(&run(&mut ffmpeg))
}

/// The frames of a file, hashed by ffmpeg. The decoders of H.264 and HEVC make 4:2:0 of a gray stream: its luma counts.
fn decoded(path: &Path, libav: &str) -> Vec<String> {
    if !libav.starts_with("gray") {
        return frame_hashes(path, libav);
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path).args(["-vf", "extractplanes=y", "-fps_mode", "passthrough"]);
    hashes_of(&run(ffmpeg.args(["-f", "framemd5", "-"])))
}

/// Encodes the format, counts frames, and compares every one with VapourSynth's own.
fn assert_lossless(libav: &str, command: &str, name: &str) {
    let (folder, format) = (scratch(), by_name(libav));
    let path = script_file(folder.path(), "script.vpy", &script(format));
    let file = folder.path().join(name);
    let report = encode(&Script::from_path(&path), command, &file);
    assert!(report.zero_copy, "{libav} was converted for {command}");
    assert_eq!(report.pixel_format, libav, "{command}");
    let about = format!("{libav} by {command} in {name}");
    assert_eq!(decoded(&file, libav), reference(&path, format), "{about}");
    assert_eq!(probe_video(&file)["nb_read_frames"], FRAMES.to_string(), "{about}");
}

/// Encodes the format, counts frames, and demands a mean PSNR of at least `floor` dB against VapourSynth's own frames.
fn assert_near(libav: &str, command: &str, name: &str, floor: f64) {
    let (folder, format) = (scratch(), by_name(libav));
    let path = script_file(folder.path(), "script.vpy", &script(format));
    let file = folder.path().join(name);
    encode(&Script::from_path(&path), command, &file);
    let about = format!("{libav} by {command} in {name}");
    let stream = probe_video(&file);
    assert_eq!(stream["nb_read_frames"], FRAMES.to_string(), "{about}");
    let lossless = folder.path().join("reference.nut");
    encode(&Script::from_path(&path), "-c:v rawvideo", &lossless);
    let psnr = psnr(&file, &lossless, libav);
    assert!(psnr >= floor, "{about}: PSNR {psnr} dB, less than {floor}");
}

fn psnr(file: &Path, reference: &Path, pix_fmt: &str) -> f64 {
    let mut ffmpeg = Command::new("ffmpeg");
    // Frame by frame, whatever the containers' time bases say.
    let graph =
        format!("[0:v]format={pix_fmt},settb=1/25,setpts=N[a];[1:v]format={pix_fmt},settb=1/25,setpts=N[b];[a][b]psnr");
    ffmpeg.args(["-hide_banner", "-i"]).arg(file).arg("-i").arg(reference);
    ffmpeg.args(["-filter_complex", &graph, "-fps_mode", "passthrough", "-f", "null", "-"]).stdin(Stdio::null());
    let said = ffmpeg.output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    let average = said.rsplit("average:").next().and_then(|rest| rest.split_whitespace().next());
    average.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{ffmpeg:?}\n{said}"))
}

/// Raw video is what libav was handed, with no codec in between: every format, byte for byte what vspipe writes.
#[test]
fn every_format_as_raw_video() {
    for format in FORMATS.iter().filter(|format| !format.libav.is_empty()) {
        let folder = scratch();
        let path = script_file(folder.path(), "script.vpy", &script(format));
        let file = folder.path().join("out.raw");
        let report = encode(&Script::from_path(&path), "-c:v rawvideo -f rawvideo", &file);
        assert_eq!(report.pixel_format, format.libav);
        assert!(report.zero_copy, "{} was converted", format.libav);
        assert!(std::fs::read(&file).unwrap() == planes(&path), "{}: other bytes than vspipe's", format.libav);
    }
}

#[test]
fn raw_video_in_containers() {
    for name in ["out.nut", "out.mkv", "out.avi"] {
        assert_lossless("yuv420p", "-c:v rawvideo", name);
    }
    for libav in ["gray", "gray16le", "yuv420p10le", "yuv422p16le", "yuv444p", "gbrp10le"] {
        assert_lossless(libav, "-c:v rawvideo", "out.nut");
    }
}

/// Formats that libav does not have are refused, not converted in silence.
#[test]
fn formats_that_libav_lacks_are_refused() {
    for format in FORMATS.iter().filter(|format| format.libav.is_empty()) {
        let folder = scratch();
        let command = finalrip_core::EncodeCommand::parse("-c:v rawvideo").unwrap();
        let script = Script::from_text(script(format));
        let result =
            finalrip_core::encode(&script, &command, folder.path().join("out.nut"), &Default::default(), |_| {});
        assert!(matches!(result, Err(finalrip_core::Error::Clip { .. })), "{}: {result:?}", format.script);
        assert_eq!(files_in(folder.path()), [""; 0]);
    }
}

#[test]
fn ffv1_is_lossless() {
    for libav in [
        "gray",
        "gray10le",
        "gray16le",
        "yuv420p",
        "yuv420p10le",
        "yuv420p16le",
        "yuv422p12le",
        "yuv444p14le",
        "yuv410p",
        "yuv411p",
        "yuv440p",
        "yuv440p10le",
        "gbrp9le",
        "gbrp10le",
        "gbrp16le",
    ] {
        assert_lossless(libav, "-c:v ffv1 -level 3", "out.mkv");
    }
    assert_lossless("yuv420p", "-c:v ffv1", "out.nut");
    assert_lossless("yuv420p", "-c:v ffv1", "out.avi");
}

#[test]
fn x264_is_lossless_at_qp_0() {
    let lossless = "-c:v libx264 -preset ultrafast -qp 0";
    for libav in ["gray", "gray10le", "yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le"] {
        assert_lossless(libav, lossless, "out.mkv");
    }
    for name in ["out.mp4", "out.mov", "out.nut", "out.avi", "out.h264", "out.ts"] {
        assert_lossless("yuv420p", lossless, name);
    }
    assert_lossless("yuv444p10le", lossless, "out.mp4");
}

#[test]
fn x265_is_lossless_when_asked() {
    let lossless = "-c:v libx265 -preset ultrafast -x265-params lossless=1:log-level=none";
    for libav in
        ["gray", "gray12le", "yuv420p", "yuv420p10le", "yuv420p12le", "yuv422p10le", "yuv444p", "gbrp", "gbrp10le"]
    {
        assert_lossless(libav, lossless, "out.mkv");
    }
    for name in ["out.mp4", "out.mov", "out.hevc"] {
        assert_lossless("yuv420p10le", lossless, name);
    }
}

#[test]
fn other_lossless_encoders() {
    for libav in ["yuv420p", "yuv422p", "yuv444p", "gbrp"] {
        assert_lossless(libav, "-c:v utvideo", "out.mkv");
    }
    for libav in ["gray", "gray16le", "yuv422p10le", "yuv444p16le", "gbrp12le"] {
        assert_lossless(libav, "-c:v ffvhuff", "out.avi");
    }
    for (libav, name) in
        [("yuv420p", "out.webm"), ("yuv444p12le", "out.mkv"), ("gbrp10le", "out.mkv"), ("yuv422p10le", "out.ivf")]
    {
        assert_lossless(libav, "-c:v libvpx-vp9 -lossless 1 -cpu-used 8", name);
    }
}

/// The pictures are small and lively, so the floors are what a broken plane, a swapped one or a wrong depth cannot reach.
const NEAR: f64 = 30.0;

#[test]
fn x264_and_x265_come_near() {
    for libav in ["yuv420p", "yuv422p10le", "yuv444p"] {
        assert_near(libav, "-c:v libx264 -preset ultrafast -crf 18", "out.mkv", NEAR);
        assert_near(libav, "-c:v libx265 -preset ultrafast -crf 18 -x265-params log-level=none", "out.mp4", NEAR);
    }
}

#[test]
fn av1_comes_near() {
    for (libav, name) in [
        ("yuv420p", "out.mkv"),
        ("yuv420p10le", "out.mp4"),
        ("yuv420p", "out.ivf"),
        ("yuv420p10le", "out.obu"),
        ("yuv420p", "out.webm"),
    ] {
        assert_near(libav, "-c:v libsvtav1 -preset 12 -crf 20", name, NEAR);
        assert_near(libav, "-c:v rav1e -speed 10 -qp 60", name, NEAR);
    }
    assert_near("yuv420p", "-c:v libaom-av1 -cpu-used 8 -usage realtime -crf 20", "out.mkv", NEAR);
}

#[test]
fn rav1e_takes_every_depth_and_subsampling() {
    for libav in
        ["yuv420p", "yuv420p10le", "yuv420p12le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le", "yuv444p12le"]
    {
        assert_near(libav, "-c:v rav1e -speed 10 -qp 60", "out.mkv", NEAR);
    }
}

/// A bitstream filter may count in other ticks than the encoder.
#[test]
fn bitstream_filters_may_change_the_time_base() {
    let folder = scratch();
    let body =
        "clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=48, fpsnum=24000, fpsden=1001)";
    let script = Script::from_text(text_script(body));
    let [plain, filtered] = ["plain.mkv", "filtered.mkv"].map(|name| folder.path().join(name));
    encode(&script, "-c:v libx264 -bf 0", &plain);
    encode(
        &script,
        "-c:v libx264 -bf 0 -bsf:v setts=time_base=1/48000:pts=PTS*2002:dts=DTS*2002:duration=2002",
        &filtered,
    );
    let (wanted, found) = (packet_times(&plain), packet_times(&filtered));
    assert_eq!(wanted.len(), 48);
    assert!(wanted.iter().zip(&found).all(|(wanted, found)| (wanted - found).abs() < 0.001_501), "{found:?}");
}

#[test]
fn rav1e_takes_gray() {
    for libav in ["gray", "gray10le"] {
        assert_near(libav, "-c:v rav1e -speed 10 -qp 60", "out.mkv", NEAR);
    }
}

/// Filters that flip or crop hand over pointers into the same planes, rows backwards or from the middle.
#[test]
fn rav1e_is_given_what_filters_make() {
    for filters in ["vflip", "crop=96:64:32:8", "field=bottom", "transpose", "crop=96:64:32:8,vflip"] {
        let folder = scratch();
        let script = Script::from_text(script(by_name("yuv420p")));
        let [lossless, lossy] = ["ffv1.mkv", "rav1e.mkv"].map(|name| folder.path().join(name));
        encode(&script, &format!("-c:v ffv1 -vf {filters}"), &lossless);
        encode(&script, &format!("-c:v rav1e -speed 10 -qp 60 -vf {filters}"), &lossy);
        let near = psnr(&lossy, &lossless, "yuv420p");
        assert!(near > NEAR, "{filters}: {near} dB");
    }
}

#[test]
fn mezzanines_come_near() {
    assert_near("yuv422p10le", "-c:v prores_ks -profile:v 3", "out.mov", 32.0);
    assert_near("yuv444p10le", "-c:v prores_ks -profile:v 4", "out.mkv", 32.0);
    assert_near("yuv420p", "-c:v mpeg4 -q:v 2", "out.mp4", NEAR);
    assert_near("yuv420p", "-c:v mpeg4 -q:v 2", "out.avi", NEAR);
    assert_near("yuv420p", "-c:v libvpx-vp9 -crf 20 -b:v 0 -cpu-used 8 -deadline realtime", "out.webm", NEAR);
    assert_near("yuv422p", "-c:v mpeg2video -q:v 2", "out.mkv", NEAR);
}

/// Full range 4:2:0, as MJPEG wants it, from a full range clip.
#[test]
fn mjpeg_comes_near() {
    assert_near("yuv420p", "-c:v mjpeg -q:v 2 -strict unofficial", "out.avi", NEAR);
}

/// rav1e's own AV1 configuration is what players and muxers of others accept.
#[test]
fn rav1e_files_please_other_programs() {
    let folder = scratch();
    let script = Script::from_text(script(by_name("yuv420p10le")));
    for name in ["out.mkv", "out.mp4", "out.webm"] {
        let file = folder.path().join(name);
        encode(&script, "-c:v rav1e -speed 10", &file);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "warning", "-i"]).arg(&file).args(["-f", "null", "-"]).stdin(Stdio::null());
        let said = ffmpeg.output().unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        let stream = probe_video(&file);
        assert_eq!(stream["codec_name"], "av1", "{name}");
        assert_eq!((&stream["profile"], &stream["pix_fmt"]), (&"Main".into(), &"yuv420p10le".into()), "{name}");
        // av1C: marker and version, profile and level, then the sequence header OBU.
        assert!(stream["extradata_size"].as_u64().is_some_and(|size| size > 4), "{name}: {stream:#}");
        let shown = run(Command::new("mkvmerge").arg("-J").arg(&file));
        let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        assert_eq!(shown["tracks"][0]["codec"], "AV1", "{name}: {shown:#}");
        assert_eq!((&shown["errors"], &shown["warnings"]), (&serde_json::json!([]), &serde_json::json!([])), "{name}");
    }
}

#[test]
#[ignore = "minutes: every format through every lossless encoder that takes it"]
fn every_lossless_pair() {
    let encoders = [
        ("-c:v ffv1 -level 3", "ffv1", "out.mkv"),
        ("-c:v ffvhuff", "ffvhuff", "out.mkv"),
        ("-c:v utvideo", "utvideo", "out.avi"),
        ("-c:v libx264 -preset ultrafast -qp 0", "libx264", "out.mkv"),
        ("-c:v libx265 -preset ultrafast -x265-params lossless=1:log-level=none", "libx265", "out.mkv"),
        ("-c:v libvpx-vp9 -lossless 1 -cpu-used 8", "libvpx-vp9", "out.mkv"),
    ];
    for (command, encoder, name) in encoders {
        let takes = formats_of(encoder);
        let fitting: Vec<&Format> =
            FORMATS.iter().filter(|format| takes.iter().any(|name| name == format.libav)).collect();
        assert!(!fitting.is_empty(), "{encoder}: {takes:?}");
        for format in fitting {
            assert_lossless(format.libav, command, name);
        }
    }
}

#[test]
#[ignore = "minutes: every format that rav1e and libaom-av1 take"]
fn every_av1_pair() {
    for libav in [
        "gray",
        "gray10le",
        "gray12le",
        "yuv420p",
        "yuv420p10le",
        "yuv420p12le",
        "yuv422p",
        "yuv422p10le",
        "yuv422p12le",
        "yuv444p",
        "yuv444p10le",
        "yuv444p12le",
    ] {
        for name in ["out.mkv", "out.mp4", "out.obu"] {
            assert_near(libav, "-c:v rav1e -speed 8 -qp 60", name, NEAR);
            if !libav.starts_with("gray1") {
                assert_near(libav, "-c:v libaom-av1 -cpu-used 8 -crf 20", name, NEAR);
            }
        }
    }
}

/// The pixel formats that the judge's help names for an encoder.
fn formats_of(encoder: &str) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-h", &format!("encoder={encoder}")]);
    let help = String::from_utf8(run(&mut ffmpeg)).unwrap();
    let line = help.lines().find_map(|line| line.trim().strip_prefix("Supported pixel formats: "));
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
