//! What y4m loses and this library keeps: colour, HDR10, aspect, fields and timing, read back by ffprobe.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::path::Path;
use std::process::Command;

use common::*;
use finalrip_core::{Options, Script};
use serde_json::Value;

/// A clip of a few frames in `format`, with the frame properties `props` (keyword arguments of std.SetFrameProps).
fn described(format: &str, props: &str) -> Script {
    let clip = format!(
        "clip = core.std.BlankClip(width=320, height=180, format=vs.{format}, length=8, fpsnum=25, fpsden=1)\n\
         clip = core.std.SetFrameProps(clip, {props})"
    );
    Script::from_text(text_script(&clip))
}

/// Every encoder whose bitstream or container has colour fields, quiet and fast.
const ENCODERS: [&str; 5] = [
    "-c:v libx264 -preset ultrafast",
    "-c:v libx265 -preset ultrafast -x265-params log-level=none",
    "-c:v libsvtav1 -preset 12",
    "-c:v rav1e -speed 10",
    "-c:v ffv1",
];

/// Encodes into `name` of a scratch folder and shows the file to `judge`.
fn with_file<T>(script: &Script, command: &str, name: &str, judge: impl FnOnce(&Path) -> T) -> T {
    with_file_of(script, command, name, &Options::default(), judge)
}

fn with_file_of<T>(script: &Script, command: &str, name: &str, options: &Options, judge: impl FnOnce(&Path) -> T) -> T {
    let folder = scratch();
    let path = folder.path().join(name);
    encode_with(script, command, &path, options);
    judge(&path)
}

fn video_of(script: &Script, command: &str, name: &str) -> Value {
    with_file(script, command, name, probe_video)
}

/// Checks fields of ffprobe's stream, `-` for one that must be missing.
#[track_caller]
fn assert_shows(stream: &Value, fields: &[(&str, &str)], about: &str) {
    for (field, wanted) in fields {
        let shown = stream[field].as_str().unwrap_or("-");
        assert_eq!(shown, *wanted, "{field} of {about}\n{stream:#}");
    }
}

const BT709: (&str, [(&str, &str); 4]) = (
    "_Matrix=1, _Transfer=1, _Primaries=1, _Range=0",
    [("color_space", "bt709"), ("color_transfer", "bt709"), ("color_primaries", "bt709"), ("color_range", "tv")],
);
const PAL: (&str, [(&str, &str); 4]) = (
    "_Matrix=5, _Transfer=5, _Primaries=5, _Range=0",
    [("color_space", "bt470bg"), ("color_transfer", "bt470bg"), ("color_primaries", "bt470bg"), ("color_range", "tv")],
);
const NTSC: (&str, [(&str, &str); 4]) = (
    "_Matrix=6, _Transfer=6, _Primaries=6, _Range=0",
    [
        ("color_space", "smpte170m"),
        ("color_transfer", "smpte170m"),
        ("color_primaries", "smpte170m"),
        ("color_range", "tv"),
    ],
);
const PQ: (&str, [(&str, &str); 4]) = (
    "_Matrix=9, _Transfer=16, _Primaries=9, _Range=0",
    [
        ("color_space", "bt2020nc"),
        ("color_transfer", "smpte2084"),
        ("color_primaries", "bt2020"),
        ("color_range", "tv"),
    ],
);
const FULL: (&str, [(&str, &str); 4]) = (
    "_Matrix=1, _Transfer=13, _Primaries=1, _Range=1",
    [("color_space", "bt709"), ("color_transfer", "iec61966-2-1"), ("color_primaries", "bt709"), ("color_range", "pc")],
);

#[test]
fn colour_reaches_stream_and_container() {
    for encoder in ENCODERS {
        for (props, shown) in [BT709, PAL, NTSC, PQ, FULL] {
            let stream = video_of(&described("YUV420P10", props), encoder, "out.mkv");
            assert_shows(&stream, &shown, &format!("{encoder} in MKV"));
        }
    }
    for encoder in &ENCODERS[..4] {
        for (props, shown) in [BT709, PQ] {
            let stream = video_of(&described("YUV420P10", props), encoder, "out.mp4");
            assert_shows(&stream, &shown, &format!("{encoder} in MP4"));
        }
    }
}

/// A raw stream has no container to ask: what ffprobe shows is in the bitstream.
#[test]
fn colour_is_in_the_bitstream() {
    let streams = ["out.h264", "out.hevc", "out.obu", "out.obu"];
    for (encoder, name) in ENCODERS.iter().zip(streams) {
        for (props, shown) in [NTSC, PQ, FULL] {
            let stream = video_of(&described("YUV420P10", props), encoder, name);
            assert_shows(&stream, &shown, &format!("{encoder} as {name}"));
        }
    }
}

#[test]
fn the_older_range_property_counts_the_other_way() {
    let full = video_of(&described("YUV420P8", "_ColorRange=0"), ENCODERS[0], "out.mkv");
    assert_shows(&full, &[("color_range", "pc")], "_ColorRange=0");
}

#[test]
fn a_clip_that_says_nothing_stays_unspecified() {
    let silent = described("YUV420P8", "Unrelated=1");
    let stream = video_of(&silent, ENCODERS[0], "out.mkv");
    assert_shows(&stream, &[("color_space", "-"), ("color_transfer", "-"), ("color_primaries", "-")], "nothing said");
}

#[test]
fn the_commands_own_colour_wins() {
    let (props, _) = PQ;
    let explicit = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range pc";
    let (_, mut wanted) = BT709;
    wanted[3].1 = "pc";
    for encoder in &ENCODERS[..4] {
        let stream = video_of(&described("YUV420P10", props), &format!("{encoder} {explicit}"), "out.mkv");
        assert_shows(&stream, &wanted, encoder);
    }
    let params =
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:colorprim=bt709:transfer=bt709:colormatrix=bt709";
    let stream = video_of(&described("YUV420P10", props), params, "out.hevc");
    assert_shows(&stream, &BT709.1[..3], params);
}

#[test]
fn without_properties_nothing_is_shown() {
    let everything = format!("{}, _SARNum=4, _SARDen=3, _FieldBased=2, _ChromaLocation=2, {HDR10}", PQ.0);
    let options = Options { ignore_props: true, ..Options::default() };
    for encoder in ENCODERS {
        let stream = with_file_of(&described("YUV420P10", &everything), encoder, "out.mkv", &options, probe_video);
        assert_shows(&stream, &[("color_transfer", "-"), ("color_primaries", "-")], encoder);
        assert!(stream["color_space"].as_str().is_none(), "{encoder}: {stream:#}");
        assert!(stream["side_data_list"].is_null(), "{encoder}: {stream:#}");
        let aspect = stream["sample_aspect_ratio"].as_str().unwrap_or("1:1");
        assert_eq!(aspect, "1:1", "{encoder}");
    }
}

#[test]
fn chroma_locations_survive() {
    let names = ["left", "center", "topleft", "top", "bottomleft", "bottom"];
    for (number, name) in names.iter().enumerate() {
        let clip = described("YUV420P8", &format!("_ChromaLocation={number}"));
        for (encoder, file) in [(ENCODERS[0], "out.mkv"), (ENCODERS[0], "out.h264"), (ENCODERS[1], "out.hevc")] {
            let stream = video_of(&clip, encoder, file);
            assert_shows(&stream, &[("chroma_location", name)], &format!("{encoder} as {file}"));
        }
    }
    // AV1 knows two of them.
    for (number, name) in [(0, "left"), (2, "topleft")] {
        for encoder in &ENCODERS[2..4] {
            let stream = video_of(&described("YUV420P8", &format!("_ChromaLocation={number}")), encoder, "out.mkv");
            assert_shows(&stream, &[("chroma_location", name)], encoder);
        }
    }
}

// HDR10.

const HDR10: &str = "MasteringDisplayPrimariesX=[0.708, 0.17, 0.131], MasteringDisplayPrimariesY=[0.292, 0.797, 0.046], \
    MasteringDisplayWhitePointX=0.3127, MasteringDisplayWhitePointY=0.329, \
    MasteringDisplayMinLuminance=0.0001, MasteringDisplayMaxLuminance=1000.0, \
    ContentLightLevelMax=1000, ContentLightLevelAverage=400";

/// Checks a list of side data against [`HDR10`]; every number is a fraction as text.
#[track_caller]
fn assert_hdr10(side_data: &Value, about: &str) {
    let entries: &[Value] = side_data.as_array().map_or(&[], Vec::as_slice);
    let entry = |kind: &str| {
        let found = entries.iter().find(|entry| entry["side_data_type"] == kind);
        found.unwrap_or_else(|| panic!("{about}: no {kind} in {side_data:#}"))
    };
    let mastering = entry("Mastering display metadata");
    let wanted = [
        ("red_x", 0.708),
        ("red_y", 0.292),
        ("green_x", 0.17),
        ("green_y", 0.797),
        ("blue_x", 0.131),
        ("blue_y", 0.046),
        ("white_point_x", 0.3127),
        ("white_point_y", 0.329),
        ("min_luminance", 0.0001),
        ("max_luminance", 1000.0),
    ];
    for (field, wanted) in wanted {
        let shown = fraction(mastering[field].as_str().unwrap_or("0/1"));
        // AV1's lowest luminance has steps of 1/16384, its chromaticity of 1/65536.
        assert!((shown - wanted).abs() <= 0.000_04, "{about}: {field} is {shown}, not {wanted}");
    }
    let light = entry("Content light level metadata");
    assert_eq!((&light["max_content"], &light["max_average"]), (&1000.into(), &400.into()), "{about}");
}

fn fraction(text: &str) -> f64 {
    let (num, den) = text.split_once('/').unwrap_or((text, "1"));
    num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap()
}

fn hdr10_clip() -> Script {
    described("YUV420P10", &format!("{}, {HDR10}", PQ.0))
}

#[test]
fn hdr10_is_in_the_container() {
    for encoder in ENCODERS {
        let stream = video_of(&hdr10_clip(), encoder, "out.mkv");
        assert_hdr10(&stream["side_data_list"], &format!("{encoder} in MKV"));
    }
    for encoder in &ENCODERS[..4] {
        let stream = video_of(&hdr10_clip(), encoder, "out.mp4");
        assert_hdr10(&stream["side_data_list"], &format!("{encoder} in MP4"));
    }
}

/// The first decoded frame's side data: of a raw stream it can only come from SEI messages or metadata OBUs.
fn first_frame(path: &Path) -> Value {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-read_intervals", "%+#1", "-show_frames", "-of", "json"]).arg(path);
    let shown: Value = serde_json::from_slice(&run(&mut ffprobe)).expect("JSON from ffprobe");
    shown["frames"][0].clone()
}

#[test]
fn hdr10_is_in_the_bitstream() {
    for (encoder, name) in [(ENCODERS[1], "out.hevc"), (ENCODERS[2], "out.obu"), (ENCODERS[3], "out.obu")] {
        let frame = with_file(&hdr10_clip(), encoder, name, first_frame);
        assert_hdr10(&frame["side_data_list"], &format!("{encoder} as {name}"));
    }
}

/// This ffmpeg's H.264 decoder does not export the messages, but its header tracer reads them.
#[test]
fn hdr10_is_in_h264s_messages() {
    let traced = with_file(&hdr10_clip(), ENCODERS[0], "out.h264", |path| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-hide_banner", "-i"]).arg(path).args([
            "-c",
            "copy",
            "-bsf:v",
            "trace_headers",
            "-f",
            "null",
            "-",
        ]);
        String::from_utf8_lossy(&ffmpeg.output().unwrap().stderr).into_owned()
    });
    let value = |field: &str| {
        let line = traced.lines().find(|line| line.contains(&format!(" {field} ")));
        let line = line.unwrap_or_else(|| panic!("no {field} in\n{traced}"));
        line.rsplit("= ").next().unwrap().trim().to_owned()
    };
    // Green, blue, red, in steps of 0.00002.
    assert_eq!(value("display_primaries_x[0]"), "8500");
    assert_eq!(value("display_primaries_x[2]"), "35400");
    assert_eq!(value("max_display_mastering_luminance"), "10000000");
    assert_eq!(value("min_display_mastering_luminance"), "1");
    assert_eq!((value("max_content_light_level"), value("max_pic_average_light_level")), ("1000".into(), "400".into()));
}

#[test]
fn the_commands_own_hdr10_wins() {
    let command = "-c:v libx265 -preset ultrafast -x265-params log-level=none:max-cll=333,222";
    let frame = with_file(&hdr10_clip(), command, "out.hevc", first_frame);
    let light = frame["side_data_list"].as_array().unwrap().iter().find(|entry| !entry["max_content"].is_null());
    assert_eq!(light.unwrap()["max_content"], 333);
}

// Shape.

#[test]
fn sample_aspect_survives() {
    for encoder in ENCODERS {
        let stream = video_of(&described("YUV420P8", "_SARNum=32, _SARDen=27"), encoder, "out.mkv");
        assert_shows(&stream, &[("sample_aspect_ratio", "32:27")], encoder);
    }
    for encoder in &ENCODERS[..4] {
        let stream = video_of(&described("YUV420P8", "_SARNum=32, _SARDen=27"), encoder, "out.mp4");
        assert_shows(&stream, &[("sample_aspect_ratio", "32:27")], encoder);
    }
}

#[test]
fn the_commands_aspect_wins() {
    for encoder in &ENCODERS[..3] {
        let stream =
            video_of(&described("YUV420P8", "_SARNum=32, _SARDen=27"), &format!("{encoder} -aspect 4:3"), "out.mkv");
        assert_shows(&stream, &[("display_aspect_ratio", "4:3"), ("sample_aspect_ratio", "3:4")], encoder);
    }
}

#[test]
fn field_order_survives() {
    let interlaced = ["-c:v libx264 -preset ultrafast -flags +ilme+ildct", "-c:v mpeg2video -q:v 4 -flags +ilme+ildct"];
    for command in interlaced {
        for (based, orders) in [(1, ["bb", "bt"]), (2, ["tt", "tb"])] {
            let clip = described("YUV420P8", &format!("_FieldBased={based}"));
            let stream = video_of(&clip, command, "out.mkv");
            let order = stream["field_order"].as_str().unwrap_or("-");
            assert!(orders.contains(&order), "{command}, _FieldBased={based}: {order}");
            let frame = with_file(&clip, command, "out.mkv", first_frame);
            assert_eq!(frame["interlaced_frame"], 1, "{command}");
            assert_eq!(frame["top_field_first"], based - 1, "{command}");
        }
    }
    let stream = video_of(&described("YUV420P8", "_FieldBased=0"), ENCODERS[0], "out.mkv");
    assert_shows(&stream, &[("field_order", "progressive")], "_FieldBased=0");
}

// Time.

/// `length` frames at an exact rate.
fn at_rate(num: u32, den: u32, length: u32) -> String {
    format!("core.std.BlankClip(width=64, height=64, format=vs.YUV420P8, length={length}, fpsnum={num}, fpsden={den})")
}

#[test]
fn constant_rates_are_exact() {
    let rates = [(24000, 1001), (30000, 1001), (25, 1), (25, 2), (120_000, 1001), (2997, 125), (48, 1)];
    for (num, den) in rates {
        let script = Script::from_text(text_script(&format!("clip = {}", at_rate(num, den, 10))));
        for (encoder, name) in
            [(ENCODERS[0], "out.mkv"), (ENCODERS[0], "out.mp4"), (ENCODERS[0], "out.nut"), (ENCODERS[2], "out.ivf")]
        {
            with_file(&script, encoder, name, |path| {
                let stream = probe_video(path);
                let period = f64::from(den) / f64::from(num);
                // Matroska has milliseconds and a default duration in nanoseconds; the others have exact ticks.
                let tolerance = if name == "out.mkv" { 0.000_501 } else { 0.000_000_51 };
                for (index, time) in packet_times(path).into_iter().enumerate() {
                    let wanted = index as f64 * period;
                    assert!((time - wanted).abs() <= tolerance, "{name} at {num}/{den}: frame {index} at {time}");
                }
                assert_eq!(stream["nb_read_frames"], "10", "{name}");
                let shown = stream["r_frame_rate"].as_str().unwrap();
                // Matroska keeps a frame's nanoseconds, of which ffprobe makes a fraction with a numerator up to 30000.
                // IVF keeps a time base, from which ffprobe guesses a rate.
                if name == "out.ivf" {
                    assert_eq!(stream["time_base"], format!("{den}/{num}"), "{name}");
                    return;
                }
                let near = name == "out.mkv" && (fraction(shown) * period - 1.0).abs() < 1e-6;
                assert!(near || shown == format!("{num}/{den}"), "{name}: {shown}, not {num}/{den}");
            });
        }
    }
}

#[test]
fn an_input_rate_of_the_command_wins() {
    let script = Script::from_text(text_script(&format!("clip = {}", at_rate(25, 1, 10))));
    let stream = video_of(&script, "ffmpeg -r 30000/1001 -i - -c:v libx264 -preset ultrafast", "out.mp4");
    assert_eq!(stream["r_frame_rate"], "30000/1001");
    assert_eq!(stream["nb_read_frames"], "10", "an input rate neither drops nor repeats frames");
}

/// Film and video spliced: 500 frames at 24000/1001, 500 at 30000/1001.
fn spliced() -> String {
    format!("clip = core.std.Splice([{}, {}], mismatch=True)", at_rate(24000, 1001, 500), at_rate(30000, 1001, 500))
}

/// The moments when the frames of [`spliced`] must be shown, in seconds.
fn spliced_times() -> Vec<f64> {
    let film = (0..500).map(|index| f64::from(index) * 1001.0 / 24000.0);
    let video = (0..500).map(|index| 500.0 * 1001.0 / 24000.0 + f64::from(index) * 1001.0 / 30000.0);
    film.chain(video).collect()
}

#[track_caller]
fn assert_times(path: &Path, wanted: &[f64], tolerance: f64) {
    let shown = packet_times(path);
    assert_eq!(shown.len(), wanted.len(), "{}", path.display());
    for (index, (shown, wanted)) in shown.iter().zip(wanted).enumerate() {
        assert!((shown - wanted).abs() <= tolerance, "{}: frame {index} at {shown}, not {wanted}", path.display());
    }
}

/// ffprobe prints microseconds; Matroska keeps milliseconds.
const EXACT: f64 = 0.000_001;
const MATROSKA: f64 = 0.000_501;

#[test]
fn a_variable_rate_is_exact_and_does_not_drift() {
    let script = Script::from_text(text_script(&spliced()));
    for (command, name, tolerance) in [
        ("-c:v libx264 -preset ultrafast -bf 2", "out.mp4", EXACT),
        // NUT has no negative decode times: with reordering all times would move, under ffmpeg as well.
        ("-c:v libx264 -preset ultrafast -bf 0", "out.nut", EXACT),
        ("-c:v libx264 -preset ultrafast -bf 2", "out.mkv", MATROSKA),
        ("-c:v libx265 -preset ultrafast -x265-params log-level=none", "out.mp4", EXACT),
        ("-c:v ffv1", "out.mkv", MATROSKA),
    ] {
        with_file(&script, command, name, |path| assert_times(path, &spliced_times(), tolerance));
    }
}

#[test]
fn a_variable_rate_is_exact_in_av1() {
    let parts =
        format!("clip = core.std.Splice([{}, {}], mismatch=True)", at_rate(24000, 1001, 12), at_rate(30000, 1001, 12));
    let film = (0..12).map(|index| f64::from(index) * 1001.0 / 24000.0);
    let video = (0..12).map(|index| 12.0 * 1001.0 / 24000.0 + f64::from(index) * 1001.0 / 30000.0);
    let wanted: Vec<f64> = film.chain(video).collect();
    let script = Script::from_text(text_script(&parts));
    for encoder in &ENCODERS[2..4] {
        with_file(&script, encoder, "out.mp4", |path| assert_times(path, &wanted, EXACT));
        with_file(&script, encoder, "out.mkv", |path| assert_times(path, &wanted, MATROSKA));
    }
}

/// The last frame is shown for as long as it says, so the whole is as long as its parts.
#[test]
fn the_last_frame_keeps_its_duration() {
    let script = Script::from_text(text_script(&spliced()));
    let whole = 500.0 * 1001.0 / 24000.0 + 500.0 * 1001.0 / 30000.0;
    for name in ["out.mp4", "out.mkv"] {
        let shown = with_file(&script, ENCODERS[0], name, |path| probe(path)["format"]["duration"].clone());
        let shown: f64 = shown.as_str().unwrap().parse().unwrap();
        assert!((shown - whole).abs() < 0.0011, "{name}: {shown} s, not {whole}");
    }
}

/// A clip with a constant rate on paper whose frames say otherwise.
#[test]
fn durations_that_contradict_the_rate_win() {
    let liar = format!(
        "fast = {}\nslow = core.std.SetFrameProps(fast, _DurationNum=1, _DurationDen=10)\n\
         clip = core.std.FrameEval(fast, lambda n: slow if n >= 20 else fast)",
        at_rate(25, 1, 40)
    );
    let wanted: Vec<f64> =
        (0..40).map(|n: u32| f64::from(n.min(20)) * 0.04 + f64::from(n.max(20) - 20) * 0.1).collect();
    let script = Script::from_text(text_script(&liar));
    with_file(&script, ENCODERS[0], "out.mp4", |path| assert_times(path, &wanted, EXACT));
    // The command's word goes first.
    let constant: Vec<f64> = (0..40).map(|n: u32| f64::from(n) * 0.04).collect();
    let command = format!("{} -fps_mode cfr", ENCODERS[0]);
    with_file(&script, &command, "out.mp4", |path| assert_times(path, &constant, EXACT));
}

/// A Matroska source arrives with milliseconds: 41 or 42 of them for 1001/24000 s. That is a constant rate.
#[test]
fn millisecond_jitter_stays_constant() {
    let jitter = format!(
        "clip = {}\ndef jitter(n, f):\n    f = f.copy()\n    at = lambda i: (i * 1001 * 2 + 24) // 48\n    \
         f.props['_DurationNum'], f.props['_DurationDen'] = at(n + 1) - at(n), 1000\n    return f\n\
         clip = core.std.ModifyFrame(clip, clip, jitter)",
        at_rate(24000, 1001, 240)
    );
    let wanted: Vec<f64> = (0..240).map(|n: u32| f64::from(n) * 1001.0 / 24000.0).collect();
    with_file(&Script::from_text(text_script(&jitter)), ENCODERS[0], "out.mp4", |path| {
        assert_times(path, &wanted, EXACT);
        assert_eq!(probe_video(path)["r_frame_rate"], "24000/1001");
    });
}

#[test]
fn assume_fps_makes_a_variable_clip_constant() {
    let script = format!("{}\nclip = core.std.AssumeFPS(clip, fpsnum=50)", spliced());
    let wanted: Vec<f64> = (0..1000).map(|n: u32| f64::from(n) * 0.02).collect();
    let script = Script::from_text(text_script(&script));
    with_file(&script, ENCODERS[0], "out.mp4", |path| assert_times(path, &wanted, EXACT));
}

// The container's own fields.

#[test]
fn metadata_and_tag_reach_the_container() {
    let command = "-c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1 -metadata title=Bunny";
    with_file(&described("YUV420P8", "_Matrix=1"), command, "out.mp4", |path| {
        let shown = probe(path);
        assert_eq!(shown["format"]["tags"]["title"], "Bunny");
        assert_eq!(shown["streams"][0]["codec_tag_string"], "hvc1");
    });
    let command = format!("{} -metadata title=Bünny -metadata:s:v language=ger", ENCODERS[0]);
    with_file(&described("YUV420P8", "_Matrix=1"), &command, "out.mkv", |path| {
        let shown = probe(path);
        assert_eq!(shown["format"]["tags"]["title"], "Bünny");
        assert_eq!(shown["streams"][0]["tags"]["language"], "ger");
    });
}
