//! A script's alpha in the file: what ffmpeg's `alphaextract` finds is what the script set, and it is never dropped without a
//! word.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::rips::whole_text;
use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, Error, Options, Rip, RipOptions, Script};

/// Twelve frames that differ, and as their alpha the same backwards, so that no two planes are alike.
fn moving_alpha(format: &str, grey: &str) -> String {
    format!(
        "{}\nalpha = clip.resize.Point(format=vs.{grey}{}).std.Reverse()",
        moving(format, 64, 48, 12),
        if format.starts_with("RGB") { ", matrix_s='709'" } else { "" }
    )
}

/// The script with its alpha, and the two clips as scripts of their own for vspipe to hash.
fn scripts(folder: &Path, body: &str) -> (PathBuf, PathBuf, PathBuf) {
    let write = |name: &str, end: &str| {
        script_file(folder, name, &format!("import vapoursynth as vs\ncore = vs.core\n{body}\n{end}\n"))
    };
    (
        write("both.vpy", "clip.set_output(0, alpha=alpha)"),
        write("picture.vpy", "clip.set_output()"),
        write("alpha.vpy", "alpha.set_output()"),
    )
}

/// The picture without its alpha, through libavfilter, hashed frame by frame.
fn picture_hashes(path: &Path, filter: &str) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path).args([
        "-vf",
        filter,
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]);
    hashes_of(&run(&mut ffmpeg))
}

/// What ffmpeg finds as alpha, hashed frame by frame; `decoder` is for codecs whose usual decoder passes it over.
fn alpha_hashes(path: &Path, decoder: Option<&str>, gray: &str) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]).args(decoder.map(|name| ["-c:v", name]).into_iter().flatten());
    ffmpeg.arg("-i").arg(path).args(["-vf", &format!("alphaextract,format={gray}"), "-fps_mode", "passthrough"]);
    hashes_of(&run(ffmpeg.args(["-f", "framemd5", "-"])))
}

#[test]
fn lossless_encoders_keep_every_sample_of_picture_and_alpha() {
    // The format of the clip and of its alpha, the command, the file, how the picture and in what the alpha is compared, and whether libav reads the script's own planes.
    let cases: [(&str, &str, &str, &str, &str, &str, bool); 10] = [
        ("YUV420P8", "GRAY8", "-c:v ffv1", "a.mkv", "format=yuv420p", "gray", true),
        ("YUV422P10", "GRAY10", "-c:v ffv1 -level 3", "b.mkv", "format=yuv422p10le", "gray10le", true),
        ("YUV444P16", "GRAY16", "-c:v ffv1 -level 3", "c.nut", "format=yuv444p16le", "gray16le", true),
        ("RGB24", "GRAY8", "-c:v utvideo", "d.avi", "format=gbrp", "gray", true),
        ("RGB24", "GRAY8", "-c:v qtrle", "e.mov", "format=gbrp", "gray", false),
        ("RGB24", "GRAY8", "-c:v png", "f.mov", "format=gbrp", "gray", false),
        ("RGB24", "GRAY8", "-c:v magicyuv", "g.mkv", "format=gbrp", "gray", true),
        ("RGB30", "GRAY10", "-c:v ffv1 -level 3", "h.mkv", "format=gbrp10le", "gray10le", true),
        ("GRAY8", "GRAY8", "-c:v ffv1", "i.mkv", "extractplanes=y", "gray", true),
        ("YUV422P8", "GRAY8", "-c:v ffvhuff", "j.mkv", "format=yuv422p", "gray", true),
    ];
    for (format, grey, command, name, picture, gray, zero_copy) in cases {
        let folder = scratch();
        let body = moving_alpha(format, grey);
        let (both, only_picture, only_alpha) = scripts(folder.path(), &body);
        let out = folder.path().join(name);
        let report = encode(&Script::from_path(&both), command, &out);
        assert_eq!(report.zero_copy, zero_copy, "{name}: {}", report.pixel_format);
        assert_eq!(alpha_hashes(&out, None, gray), script_hashes(&only_alpha, None, gray), "{name}: alpha");
        let reference = folder.path().join("reference.nut");
        encode(&Script::from_path(&only_picture), "-c:v rawvideo", &reference);
        assert_eq!(picture_hashes(&out, picture), picture_hashes(&reference, picture), "{name}: picture");
    }
}

#[test]
fn what_loses_a_little_keeps_the_alpha_about_as_it_is() {
    let folder = scratch();
    let body = "clip = core.std.BlankClip(width=64, height=48, format=vs.YUV444P10, length=5)\n\
                alpha = core.std.BlankClip(clip, format=vs.GRAY10, color=512)";
    let (both, ..) = scripts(folder.path(), body);
    let encodes = [
        ("-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le", "a.mov", None),
        ("-c:v prores_ks -profile:v 4444", "b.mkv", None),
        ("-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "c.webm", Some("libvpx-vp9")),
        ("-c:v libvpx -deadline realtime -cpu-used 8 -auto-alt-ref 0", "d.mkv", Some("libvpx")),
        ("-c:v cfhd", "e.mkv", None),
    ];
    for (command, name, decoder) in encodes {
        let out = folder.path().join(name);
        encode(&Script::from_path(&both), command, &out);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error"]).args(decoder.map(|name| ["-c:v", name]).into_iter().flatten()).arg("-i").arg(&out);
        let samples = run(ffmpeg.args(["-vf", "alphaextract,format=gray", "-f", "rawvideo", "-"]));
        assert_eq!(samples.len(), 64 * 48 * 5, "{name}");
        assert!(samples.iter().all(|sample| sample.abs_diff(128) < 8), "{name}: {:?}", &samples[..8]);
    }
}

#[test]
fn chunks_of_a_rip_keep_the_alpha() {
    let folder = scratch();
    let (both, _, only_alpha) = scripts(folder.path(), &moving_alpha("YUV420P8", "GRAY8"));
    let encodes = [
        ("-c:v ffv1", "a.mkv", None),
        ("-c:v libvpx-vp9 -lossless 1 -deadline realtime -cpu-used 8", "b.webm", Some("libvpx-vp9")),
        ("-c:v qtrle", "c.mov", None),
    ];
    for (command, name, decoder) in encodes {
        let out = folder.path().join(name);
        let options = RipOptions { chunk: ChunkLength::Frames(4), scene: false, ..RipOptions::default() };
        let rip = Rip::new(Script::from_path(&both), EncodeCommand::parse(command).unwrap(), &out).options(options);
        let report = rip.run(|_| {}).unwrap_or_else(|error| panic!("{name}: {}", whole_text(&error)));
        assert_eq!(report.chunks, 3, "{name}");
        assert_eq!(alpha_hashes(&out, decoder, "gray"), script_hashes(&only_alpha, None, "gray"), "{name}");
        if decoder.is_some() {
            assert_eq!(probe_video(&out)["tags"]["alpha_mode"], "1", "{name}");
        }
    }
}

#[test]
fn an_alpha_that_would_be_lost_is_an_error_that_says_how_to_do_without() {
    let folder = scratch();
    let (both, ..) = scripts(folder.path(), &moving_alpha("YUV420P8", "GRAY8"));
    let script = Script::from_path(&both);
    let cases = [
        ("-c:v libx264", "a.mkv", "which libx264 cannot encode"),
        ("-c:v libx264 -vf crop=32:32", "a.mkv", "which libx264 cannot encode"),
        ("-c:v libx264 -vf format=yuva444p", "a.mkv", "which libx264 cannot encode"),
        ("-c:v rav1e", "a.mkv", "which rav1e cannot encode"),
        ("-c:v prores_ks -pix_fmt yuv422p10le", "a.mov", "has yuva444p10le with it"),
        ("-c:v libvpx-vp9", "a.mp4", "container mp4 cannot hold the alpha"),
        ("-c:v libvpx", "a.ivf", "container ivf cannot hold the alpha"),
        ("-c:v gif", "a.gif", "which gif cannot encode"),
        ("-c:v hap", "a.mov", "only with -format hap_alpha"),
    ];
    for (command, name, says) in cases {
        let out = folder.path().join(name);
        let parsed = EncodeCommand::parse(command).unwrap();
        let encoded = finalrip_core::encode(&script, &parsed, &out, &Options::default(), |_| {}).unwrap_err();
        let ripped = Rip::new(script.clone(), parsed, &out).run(|_| {}).unwrap_err();
        for error in [encoded, ripped] {
            let text = whole_text(&error);
            assert!(matches!(error, Error::Encoder { .. }) && text.contains(says), "{command}: {text}");
            assert!(text.contains("-vf format=yuv420p"), "{command}: {text}");
        }
    }
    assert_eq!(files_in(folder.path()), ["alpha.vpy", "both.vpy", "picture.vpy"]);
    let out = folder.path().join("opaque.mkv");
    encode(&script, "-c:v ffv1 -vf format=yuv420p", &out);
    assert_eq!(probe_video(&out)["pix_fmt"], "yuv420p");
}

#[test]
fn a_format_that_libav_lacks_with_alpha_is_named() {
    let body = "clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P12, length=2)\n\
                alpha = core.std.BlankClip(clip, format=vs.GRAY12)";
    let folder = scratch();
    let error = Script::from_path(scripts(folder.path(), body).0).evaluate().unwrap_err();
    let text = whole_text(&error);
    assert!(text.contains("12-bit samples") && text.contains("alpha") && text.contains("YUV444P16"), "{text}");
}

#[test]
fn an_alpha_that_fails_says_so_with_its_frame() {
    let body = "clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=9)\n\
                base = core.std.BlankClip(clip, format=vs.GRAY8)\n\
                def fail(n, f):\n    if n == 5: raise ValueError('no alpha here')\n    return f\n\
                alpha = core.std.ModifyFrame(base, base, fail)";
    let folder = scratch();
    let script = Script::from_path(scripts(folder.path(), body).0);
    let command = EncodeCommand::parse("-c:v ffv1").unwrap();
    let out = folder.path().join("a.mkv");
    let error = finalrip_core::encode(&script, &command, &out, &Options::default(), |_| {}).unwrap_err();
    let text = whole_text(&error);
    assert!(matches!(error, Error::Frame { frame: 5, .. }), "{text}");
    assert!(text.contains("its alpha failed") && text.contains("no alpha here"), "{text}");
}
