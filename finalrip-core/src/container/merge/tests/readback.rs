//! What is reported as copied is read back as what it was, in every container.

use super::X264;
use super::media::*;

/// A short source: the matrix is large.
const SHORT: &str = "-f lavfi -i testsrc2=s=64x48:r=25:d=4";
const TONE: &str = "-f lavfi -i aevalsrc=sin(2765*t)*0.4+sin(9000*t*t)*0.2:s=48000:d=2";
const TEXT: &str = "1\n00:00:00,500 --> 00:00:01,500\nHello there\n\n2\n00:00:02,000 --> 00:00:03,000\nBye\n";

const CONTAINERS: [&str; 16] =
    ["mkv", "webm", "mp4", "mov", "ts", "m2ts", "mpg", "vob", "avi", "nut", "asf", "flv", "ogv", "3gp", "wtv", "mxf"];

/// The video that a container is merged with.
fn video_for(container: &str) -> &'static str {
    match container {
        "webm" => "-c:v libvpx-vp9 -deadline realtime -cpu-used 8",
        "ogv" => "-c:v libtheora",
        "mpg" | "vob" | "mxf" => "-c:v mpeg2video -b:v 800k -g 12",
        "wtv" => "-c:v mpeg2video -b:v 800k",
        _ => "-c:v mpeg4 -b:v 400k",
    }
}

/// One container's part of the matrix: every source is merged, and what its report says is compared with the file.
fn into(container: &str, sources: &[(String, std::path::PathBuf)]) {
    let bench = Bench::with_video(video_for(container));
    let mut wrong = Vec::new();
    for (number, (about, source)) in sources.iter().enumerate() {
        let name = format!("out{number}.{container}");
        let (path, merged) = match bench.merge_once(Some(source), &name, |_| {}) {
            Ok(made) => made,
            Err(error) => {
                wrong.push(format!("{about} fails the merge: {error}"));
                continue;
            }
        };
        let report = &merged.streams[1];
        let Some(index) = report.output_index else { continue };
        let was = streams_of(source)[1].clone();
        let action = report.action.to_string();
        let wanted = action.strip_prefix("converted to ").unwrap_or(&was).to_owned();
        let found = streams_of(&path);
        // MP4 has one name for MPEG audio of every layer.
        let is_layer = wanted == "mp2" && found.get(index).is_some_and(|codec| codec == "mp3");
        if found.get(index) != Some(&wanted) && !is_layer {
            wrong.push(format!("{about} is {action}, and read back as {found:?}"));
            continue;
        }
        let kind = if report.kind == crate::container::StreamKind::Audio { "a:0" } else { "s:0" };
        if kind == "s:0" && !subtitle_matches(&path, source) {
            wrong.push(format!("{about} is {action}, and reads otherwise"));
        }
        // Samples from the middle, with which no container's rules for beginnings and ends interfere.
        if kind == "a:0" && action == "copied" && !holds(&samples(&path), &samples(source)) {
            wrong.push(format!("{about} is {action}, and sounds otherwise"));
        }
    }
    assert!(wrong.is_empty(), "{container}:\n{}", wrong.join("\n"));
}

/// The codecs of all streams, attachments apart.
fn streams_of(path: &std::path::Path) -> Vec<String> {
    let streams = probe(path)["streams"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<(u64, String)> = streams
        .iter()
        .map(|stream| (stream["index"].as_u64().unwrap(), stream["codec_name"].as_str().unwrap_or("none").to_owned()))
        .collect();
    // Transport and program streams number by what comes first.
    found.sort_by_key(|(index, _)| *index);
    let is_video = |stream: &(u64, String)| streams[stream.0 as usize]["codec_type"] == "video";
    let (mut first, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(is_video);
    first.extend(rest);
    first.into_iter().map(|(_, codec)| codec).collect()
}

fn samples(path: &std::path::Path) -> Vec<u8> {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "quiet", "-i"]).arg(path);
    run(command.args(["-map", "0:a:0", "-c:a", "pcm_s16le", "-f", "data", "-"]))
}

/// Whether the middle of `part` is somewhere in `whole`, and there is about as much of it.
fn holds(part: &[u8], whole: &[u8]) -> bool {
    if part.len() < whole.len() / 2 {
        return false;
    }
    let from = part.len() / 2;
    let middle = &part[from..part.len().min(from + 2000)];
    whole.windows(middle.len()).any(|window| window == middle)
}

/// Text as text; pictures as so many packets.
fn subtitle_matches(path: &std::path::Path, source: &std::path::Path) -> bool {
    let text = |path: &std::path::Path| {
        let mut command = std::process::Command::new("ffmpeg");
        command.args(["-v", "quiet", "-i"]).arg(path).args(["-map", "0:s:0", "-c:s", "srt", "-f", "srt", "-"]);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (was, is) = (text(source), text(path));
    ["Hello there", "Bye"].iter().all(|line| was.contains(line) == is.contains(line))
}

fn sources(bench: &Bench, wanted: impl Fn(&str) -> bool) -> Vec<(String, std::path::PathBuf)> {
    bench.write("in.srt", TEXT);
    std::fs::write(bench.path("in.sup"), super::contents::presentation_graphics()).unwrap();
    #[rustfmt::skip]
    let sounds = [
        ("aac", "mkv"), ("aac", "ts"), ("aac", "mp4"), ("ac3", "mkv"), ("eac3", "mkv"), ("eac3", "nut"), ("mp2", "mkv"), ("libmp3lame", "mkv"),
        ("libopus", "mkv"), ("libvorbis", "mkv"), ("flac", "mkv"), ("alac", "mov"), ("dca -strict -2", "mkv"),
        ("truehd -strict -2", "mkv"), ("wmav2", "asf"), ("pcm_s16le", "mkv"), ("pcm_s24le", "mkv"),
        ("pcm_u8", "avi"), ("pcm_alaw", "avi"), ("pcm_s16be", "mov"), ("pcm_f32le", "mkv"), ("pcm_bluray", "m2ts"),
        ("adpcm_ms", "avi"), ("adpcm_ima_wav", "avi"), ("adpcm_ima_qt", "mov"), ("g726 -ar 8000", "avi"), ("tta", "mkv"), ("wavpack", "mkv"), ("real_144 -ar 8000", "mkv"),
    ];
    let mut made = Vec::new();
    let mut add = |about: String, arguments: &str, extension: &str| {
        if !wanted(&about) {
            return;
        }
        let name = format!("in{}.{extension}", made.len());
        made.push((about, bench.make(arguments, &name)));
    };
    for (codec, extension) in sounds {
        let video = if ["avi", "asf"].contains(&extension) { "-c:v mpeg4" } else { X264 };
        add(format!("{codec} of {extension}"), &format!("{SHORT} {TONE} {video} -c:a {codec}"), extension);
    }
    for (input, codec, extension) in [
        ("in.srt", "srt", "mkv"),
        ("in.srt", "ass", "mkv"),
        ("in.srt", "webvtt", "mkv"),
        ("in.srt", "mov_text", "mp4"),
        ("in.sup", "copy", "mkv"),
        ("in.sup", "dvdsub", "mkv"),
        ("in.sup", "dvbsub", "ts"),
    ] {
        add(
            format!("{codec} of {input}"),
            &format!("{SHORT} -i IN/{input} -map 0 -map 1 {X264} -c:s {codec}"),
            extension,
        );
    }
    made
}

/// Sound and subtitles of every codec that ffmpeg can make, in every container.
#[test]
#[ignore = "takes minutes"]
fn what_is_copied_can_be_read_back() {
    let bench = Bench::new();
    let sources = sources(&bench, |_| true);
    let only = std::env::var("FINALRIP_CONTAINER").ok();
    for container in CONTAINERS.iter().filter(|name| only.as_deref().is_none_or(|only| only == **name)) {
        into(container, &sources);
    }
}

/// The few that are known to go wrong where nobody looks.
#[test]
fn muxers_that_take_anything_are_not_believed() {
    let bench = Bench::new();
    let named = ["eac3 of nut", "wmav2 of asf", "g726 -ar 8000 of avi", "srt of in.srt", "copy of in.sup"];
    let all = sources(&bench, |about| named.contains(&about));
    assert_eq!(all.len(), named.len());
    for container in ["mpg", "nut", "ts"] {
        into(container, &all);
    }
}
