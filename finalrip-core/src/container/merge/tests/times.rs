//! Where things lie in time.

use super::media::*;
use super::{PICTURE, SOUND, X264};
use crate::container::Excerpt;

/// Late by half a second, each in every container, and from a source in every container.
#[test]
fn late_video_and_late_sound_stay_late() {
    let bench = Bench::new();
    let sound = "-c:a aac";
    for name in ["in.mkv", "in.mp4", "in.ts"] {
        let late_video = format!("{SOUND} -itsoffset 0.5 {PICTURE} -map 1 -map 0 {X264} {sound}");
        let late_sound = format!("{PICTURE} -itsoffset 0.5 {SOUND} -map 0 -map 1 {X264} {sound}");
        for (arguments, milliseconds) in [(late_video, 200.0), (late_sound, 1200.0)] {
            let source = bench.make(&arguments, name);
            assert!((offset(&source) - milliseconds).abs() < 50.0, "{name}: {}", offset(&source));
            for output in ["out.mkv", "out.mp4"] {
                let outcome = bench.merge(Some(&source), output);
                outcome.assert_in_sync(&source);
                let first = first_time(&outcome.path, "v:0").min(first_time(&outcome.path, "a:0"));
                assert!((0.0..=26.0).contains(&first), "{name} to {output} begins at {first}");
            }
        }
    }
}

#[test]
fn a_late_video_without_sound_begins_at_zero() {
    let bench = Bench::new();
    let source = bench.make(&format!("-itsoffset 0.48 {PICTURE} {X264} -avoid_negative_ts disabled"), "in.mkv");
    assert_eq!(first_time(&source, "v:0"), 480.0);
    assert_eq!(first_time(&bench.merge(Some(&source), "out.mkv").path, "v:0"), 0.0);
}

#[test]
fn times_below_zero_are_moved_up_together() {
    let bench = Bench::new();
    let moved = "-output_ts_offset -0.3 -avoid_negative_ts disabled";
    for (name, codec) in [("in.mp4", "aac"), ("in.mov", "pcm_s16le")] {
        let source = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a {codec} {moved}"), name);
        for output in ["out.mkv", "out.mp4"] {
            let outcome = bench.merge(Some(&source), output);
            outcome.assert_in_sync(&source);
            assert!(first_time(&outcome.path, "v:0") >= 0.0 && first_time(&outcome.path, "a:0") >= 0.0);
        }
    }
}

/// libav gives packets that lie before 0 in Matroska no time at all; they are counted back from the first that has one.
#[test]
fn times_below_zero_in_matroska_are_made_up_for() {
    let bench = Bench::new();
    let plain = format!("{PICTURE} {SOUND} {X264} -bf 0 -c:a flac");
    let honest = bench.make(&plain, "honest.mkv");
    let source = bench.make(&format!("{plain} -output_ts_offset -0.3 -avoid_negative_ts disabled"), "in.mkv");
    for output in ["out.mkv", "out.mp4"] {
        let outcome = bench.merge(Some(&source), output);
        outcome.assert_in_sync(&honest);
        assert_eq!(packets_hash(&outcome.path, "a:0"), packets_hash(&honest, "a:0"));
    }
    let outcome = bench.merge(Some(&source), "out.mov");
    assert!(outcome.actions()[1].ends_with("converted to alac"));
    outcome.assert_in_sync(&honest);
    assert_eq!(samples_hash(&outcome.path, "a:0", "pcm_s16le"), samples_hash(&honest, "a:0", "pcm_s16le"));
}

/// A broadcast's clock runs for hours before the recording begins.
#[test]
fn a_transport_stream_begins_anywhere() {
    let bench = Bench::new();
    let codecs = "-c:v mpeg2video -g 12 -bf 2 -b:v 400k -c:a mp2";
    let source = bench.make(&format!("{PICTURE} {SOUND} {codecs} -output_ts_offset 30000"), "in.ts");
    for output in ["out.mkv", "out.mp4"] {
        let outcome = bench.merge(Some(&source), output);
        outcome.assert_in_sync(&source);
        assert!(first_time(&outcome.path, "v:0").min(first_time(&outcome.path, "a:0")).abs() < 1.0);
        assert_eq!(packets_hash(&outcome.path, "a:0"), packets_hash(&source, "a:0"));
    }
}

/// Cut between two keyframes: the first packets cannot be decoded, and a source filter does not show them.
#[test]
fn the_video_begins_with_the_first_picture_that_can_be_decoded() {
    let bench = Bench::new();
    let whole = bench.make(&format!("{PICTURE} {SOUND} -c:v libx264 -g 25 -bf 2 -c:a mp2 -f mpegts"), "whole.ts");
    let bytes = std::fs::read(&whole).unwrap();
    // In whole packets of 188 bytes, past the first keyframe.
    let cut = bench.path("cut.ts");
    std::fs::write(&cut, &bytes[bytes.len() / 188 / 8 * 188..]).unwrap();
    let outcome = bench.merge(Some(&cut), "out.mkv");
    assert!(offset(&cut) < 400.0, "{}", offset(&cut));
    outcome.assert_in_sync(&cut);
}

/// The same in HEVC, of which older decoders of libav give out what cannot be decoded, and source filters do not.
#[test]
fn a_cut_hevc_begins_with_its_first_keyframe() {
    let bench = Bench::new();
    let codecs = "-c:v libx265 -preset ultrafast -x265-params keyint=20:log-level=none -c:a mp2 -f mpegts";
    let whole = bench.make(&format!("{PICTURE} {SOUND} {codecs}"), "whole.ts");
    let bytes = std::fs::read(&whole).unwrap();
    let cut = bench.path("cut.ts");
    std::fs::write(&cut, &bytes[bytes.len() / 188 / 10 * 188..]).unwrap();
    let mut command = std::process::Command::new("ffprobe");
    command.args(["-v", "quiet", "-select_streams", "v", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]);
    let packets = String::from_utf8(run(command.arg(&cut))).unwrap();
    assert!(!packets.lines().next().unwrap().contains(",K"), "it begins with a keyframe:\n{packets}");
    let key = packets.lines().find(|line| line.contains(",K")).unwrap();
    let key: f64 = key.split(',').next().unwrap().parse().unwrap();
    let silence_ends = offset(&whole) + first_time(&whole, "v:0");
    bench.merge(Some(&cut), "out.mkv").assert_offset(silence_ends - key * 1000.0);
}

/// Of a range of frames the file holds what is heard and read meanwhile, in its place.
#[test]
fn a_part_of_the_clip_gets_its_part_of_the_sound() {
    let bench = Bench::new();
    bench.write("in.srt", "1\n00:00:00,100 --> 00:00:01,000\nHalf\n\n2\n00:00:05,000 --> 00:00:06,000\nNever\n");
    bench.write(
        "chapters.txt",
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=Before\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=5000\ntitle=During\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=5000\nEND=7000\ntitle=After\n",
    );
    let long = PICTURE.replace("d=4", "d=7") + " " + &SOUND.replace("d=4", "d=7");
    let source = bench.make(
        &format!(
            "{long} -i IN/in.srt -i IN/chapters.txt -map 0 -map 1 -map 2 -map_metadata 3 {X264} -c:a ac3 -c:s srt"
        ),
        "in.mkv",
    );
    let excerpt = Excerpt { start: 400_000_000, end: Some(4_400_000_000) };
    for output in ["out.mkv", "out.mp4"] {
        let outcome = bench.merge_with(Some(&source), output, |settings| settings.excerpt = Some(excerpt));
        outcome.assert_offset(offset(&source) - 400.0);
        let found = probe(&outcome.path);
        let length: f64 = found["format"]["duration"].as_str().unwrap().parse().unwrap();
        assert!((3.99..4.04).contains(&length), "{length}");
        let chapters = found["chapters"].as_array().unwrap();
        let titles: Vec<&str> = chapters.iter().map(|chapter| chapter["tags"]["title"].as_str().unwrap()).collect();
        assert_eq!(titles, ["During"]);
        let text = bench.path("text.srt");
        ffmpeg(&format!("-i {} -map 0:s:0", outcome.path.display()), &text);
        let text = std::fs::read_to_string(text).unwrap();
        assert!(text.contains("00:00:00,000 --> 00:00:00,600") && !text.contains("Never"), "{text}");
        assert!(outcome.merged.notes.is_empty(), "{:?}", outcome.merged.notes);
    }
}

/// Samples are counted: a copy from Matroska's milliseconds does not make holes in MP4.
#[test]
fn sound_from_milliseconds_has_no_holes() {
    let bench = Bench::new();
    let source = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a aac -ar 44100"), "in.mkv");
    let outcome = bench.merge(Some(&source), "out.mp4");
    let mut command = std::process::Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "a", "-show_entries", "packet=pts,duration", "-of", "csv=p=0"]);
    let text = String::from_utf8(run(command.arg(&outcome.path))).unwrap();
    let number = |text: &str| text.parse::<i64>().unwrap();
    let times: Vec<(i64, i64)> = text
        .lines()
        .map(|line| {
            line.split_once(',').map(|(pts, duration)| (number(pts), number(duration.trim_matches(',')))).unwrap()
        })
        .collect();
    assert!(times.len() > 150);
    let steady = times.windows(2).filter(|pair| pair[1].0 - pair[0].0 == 1024).count();
    assert_eq!(steady, times.len() - 1, "{times:?}");
}

/// MP4 and MOV count the samples of PCM: without silence in the hole what follows would come too early.
#[test]
fn a_hole_in_copied_samples_stays_a_hole() {
    let bench = Bench::new();
    let hole = "-af aselect=not(between(t\\,0.1\\,0.6))";
    for (codec, channels) in [("pcm_s16le", 2), ("pcm_s24le", 1)] {
        let source = bench.make(&format!("{PICTURE} {SOUND} {X264} {hole} -c:a {codec} -ac {channels}"), "in.mkv");
        for output in ["out.mov", "out.mp4", "out.mkv"] {
            bench.merge(Some(&source), output).assert_in_sync(&source);
        }
    }
}

/// Silence fills a hole in sound that is converted, so that what follows stays with the picture.
#[test]
fn a_hole_in_converted_sound_stays_a_hole() {
    let bench = Bench::new();
    let hole = "-af aselect=not(between(t\\,1\\,2))";
    // No version of libav has a name for WavPack in MP4.
    let source = bench.make(&format!("{PICTURE} {SOUND} {X264} {hole} -c:a wavpack"), "in.mkv");
    assert!(!libav_names(&source, "mp4"));
    let outcome = bench.merge(Some(&source), "out.mp4");
    assert!(outcome.actions()[1].ends_with("converted to flac"));
    let sound = probe(&outcome.path)["streams"][1]["duration"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((3.9..4.1).contains(&sound), "{sound}");
}
