//! What a command asks of a source's sound, subtitles and chapters.

use super::media::*;
use super::{PICTURE, SOUND, X264};
use crate::container::merge::MergeSettings;
use crate::encoder::command::EncodeCommand;
use crate::error::Error;

fn asking(settings: &mut MergeSettings, command: &str) {
    settings.rules = EncodeCommand::parse(&format!("-c:v libx264 {command}")).unwrap().streams;
}

/// Two streams of sound, subtitles, two chapters.
fn episode(bench: &Bench) -> std::path::PathBuf {
    bench.write("in.srt", "1\n00:00:00,500 --> 00:00:01,500\nHello\n");
    bench.write("in.txt", ";FFMETADATA1\ntitle=Episode\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=A\n");
    let maps = "-map 0 -map 1 -map 2 -map 3 -map_metadata 4";
    let tags = "-metadata:s:a language=jpn -metadata:s:a:1 title=Commentary -metadata:s:s language=eng";
    bench.make(
        &format!("{PICTURE} {SOUND} -f lavfi -i anoisesrc=d=4:r=48000:seed=3 -i IN/in.srt -i IN/in.txt {maps} {X264} -c:a pcm_s16le -ac 2 -c:s srt {tags}"),
        "in.mkv",
    )
}

#[test]
fn each_stream_becomes_what_is_asked_for_it() {
    let bench = Bench::new();
    let source = episode(&bench);
    let command = "-c:a:0 libopus -b:a:0 64k -vbr:a:0 on -ac:a:0 1 -c:a:1 flac -compression_level:a:1 8 -c:s ass \
                   -metadata:s:a:0 title=Main -metadata:s:a:1 title= -metadata:s:s language=fre \
                   -disposition:a:1 default+comment -disposition:a:0 0 -map_chapters -1";
    let outcome = bench.merge_with(Some(&source), "out.mkv", |settings| asking(settings, command));
    let streams = outcome.streams();
    let codecs: Vec<_> = streams.iter().map(|stream| stream["codec_name"].as_str().unwrap()).collect();
    assert_eq!(codecs, ["h264", "opus", "flac", "ass"]);
    assert_eq!((&streams[1]["channels"], &streams[2]["channels"]), (&Value::from(1), &Value::from(2)));
    let tag = |index: usize, key: &str| streams[index]["tags"][key].as_str().unwrap_or("-").to_owned();
    assert_eq!((tag(1, "title"), tag(2, "title"), tag(3, "language")), ("Main".into(), "-".into(), "fre".into()));
    assert_eq!((tag(1, "language"), tag(2, "language")), ("jpn".into(), "jpn".into()));
    let marks = |index: usize, mark: &str| streams[index]["disposition"][mark] == 1;
    assert!(!marks(1, "default") && marks(2, "default") && marks(2, "comment"));
    assert_eq!((outcome.merged.chapters, probe(&outcome.path)["chapters"].as_array().unwrap().len()), (0, 0));
    assert_eq!(samples_hash(&outcome.path, "a:1", "pcm_s16le"), samples_hash(&source, "a:1", "pcm_s16le"));
    outcome.assert_in_sync(&source);
}

/// The same sound as the ffmpeg program makes of the same options.
#[test]
fn filters_rates_and_channels_are_those_of_ffmpeg() {
    let bench = Bench::new();
    let source = episode(&bench);
    for (number, options) in
        ["-c:a pcm_s16le -af volume=0.5", "-c:a pcm_s16le -ac 1", "-c:a pcm_s24le", "-c:a flac -sample_fmt s16"]
            .iter()
            .enumerate()
    {
        let outcome =
            bench.merge_with(Some(&source), &format!("out{number}.mkv"), |settings| asking(settings, options));
        let theirs = bench.path(&format!("theirs{number}.mkv"));
        ffmpeg(&format!("-i {} -map 0:a {options}", source.display()), &theirs);
        for stream in ["a:0", "a:1"] {
            let hash = |path: &std::path::Path| samples_hash(path, stream, "pcm_s24le");
            assert_eq!(hash(&outcome.path), hash(&theirs), "{options} {stream}");
        }
    }
    let outcome =
        bench.merge_with(Some(&source), "rate.mp4", |settings| asking(settings, "-c:a aac -b:a 48k -ar 44100"));
    let stream = &outcome.streams()[1];
    assert_eq!((&stream["codec_name"], &stream["sample_rate"]), (&Value::from("aac"), &Value::from("44100")));
    outcome.assert_in_sync(&source);
}

/// As in the ffmpeg program the container's own encoder is taken where none is named.
#[test]
fn a_bitrate_alone_takes_the_containers_encoder() {
    let bench = Bench::new();
    let source = episode(&bench);
    let outcome = bench.merge_with(Some(&source), "out.mp4", |settings| asking(settings, "-ac:a:0 1"));
    assert_eq!(outcome.actions()[1], "audio pcm_s16le converted to aac");
    assert_eq!(outcome.streams()[1]["channels"], 1);
}

#[test]
fn what_a_stream_cannot_be_is_an_error_that_names_the_option() {
    let bench = Bench::new();
    let source = episode(&bench);
    for (name, command, typed) in [
        ("out.mp4", "-c:s copy", "-c:s"),
        ("out.webm", "-c:a:1 flac", "-c:a:1"),
        ("out.mkv", "-c:a copy -ac 1", "-c:a"),
        ("out.mkv", "-b:a:2 64k", "-b:a:2"),
        ("out.mkv", "-c:a libopus -ar 44100", "-c:a"),
        ("out.mkv", "-c:a flac -af nosuchfilter", "-c:a"),
    ] {
        let bench = if name.ends_with("webm") {
            &Bench::with_video("-c:v libvpx-vp9 -deadline realtime -cpu-used 8")
        } else {
            &bench
        };
        let error = bench.merge_once(Some(&source), name, |settings| asking(settings, command)).unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, Error::Command(_)) && said.contains(typed) && said.contains("stream"),
            "{command}: {said}"
        );
        assert!(!bench.path(name).exists());
    }
}

#[test]
fn tags_and_kinds_are_left_out_on_request() {
    let bench = Bench::new();
    let source = episode(&bench);
    let outcome = bench.merge_with(Some(&source), "out.mkv", |settings| asking(settings, "-map_metadata -1"));
    let probed = probe(&outcome.path);
    assert_eq!(
        (&probed["format"]["tags"]["title"], &probed["streams"][1]["tags"]["language"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(probed["chapters"][0]["tags"]["title"], Value::Null);
    assert_eq!(outcome.merged.chapters, 1);
}
