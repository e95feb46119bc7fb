//! What the file holds beside the picture: tracks, fonts, chapters, tags.

use super::media::*;
use super::{PICTURE, SOUND, X264};
use crate::container::merge::MergeOptions;

const SUBTITLES: &str =
    "1\n00:00:00,500 --> 00:00:01,500\nHello <i>there</i>\n\n2\n00:00:02,000 --> 00:00:03,000\nBye\n";

fn tag<'a>(stream: &'a Value, key: &str) -> &'a str {
    stream["tags"][key].as_str().unwrap_or("-")
}

/// Two languages, one a commentary, with a subtitle that is forced.
fn episode(bench: &Bench, name: &str, subtitle_codec: &str) -> std::path::PathBuf {
    bench.write("in.srt", SUBTITLES);
    bench.write(
        "chapters.txt",
        ";FFMETADATA1\ntitle=Episode\ncomment=Fine\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=Opening\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=1500\nEND=4000\ntitle=Part A\n",
    );
    bench.make(
        &format!(
            "{PICTURE} {SOUND} -f lavfi -i sine=f=880:d=4 -i IN/in.srt -i IN/chapters.txt -map 0 -map 1 -map 2 -map 3 \
             -map_metadata 4 {X264} -c:a alac -c:s {subtitle_codec} -metadata:s:v language=jpn -metadata:s:a:0 language=jpn \
             -metadata:s:a:1 language=eng -metadata:s:a:1 title=Commentary -metadata:s:a:1 handler_name=Commentary -metadata:s:s language=eng \
             -disposition:a:0 default -disposition:a:1 comment -disposition:s forced"
        ),
        name,
    )
}

#[test]
fn languages_titles_dispositions_chapters_and_tags_come_along() {
    let bench = Bench::new();
    for (name, codec) in [("in.mkv", "srt"), ("in.mp4", "mov_text")] {
        let source = episode(&bench, name, codec);
        let outcome = bench.merge(Some(&source), "out.mkv");
        let streams = outcome.streams();
        assert_eq!(streams.len(), 4, "{name}: {streams:#?}");
        let tags = |key| streams.iter().map(|stream| tag(stream, key)).collect::<Vec<_>>();
        assert_eq!(tags("language"), ["jpn", "jpn", "eng", "eng"], "{name}");
        assert_eq!(tags("title"), ["-", "-", "Commentary", "-"], "{name}");
        assert_eq!(streams[0]["tags"]["ENCODER"], "the rip");
        let marks = |index: usize, mark: &str| streams[index]["disposition"][mark] == 1;
        assert!(marks(1, "default") && !marks(2, "default"), "{name}");
        if name == "in.mkv" {
            assert!(marks(2, "comment") && marks(3, "forced"));
        }
        assert_eq!(streams[3]["codec_name"], "subrip");
        let probed = probe(&outcome.path);
        assert_eq!((tag(&probed["format"], "title"), tag(&probed["format"], "COMMENT")), ("Episode", "Fine"), "{name}");
        let chapters = probed["chapters"].as_array().unwrap();
        let titles: Vec<_> = chapters.iter().map(|chapter| tag(chapter, "title")).collect();
        assert_eq!((titles, outcome.merged.chapters), (vec!["Opening", "Part A"], 2), "{name}");
        assert_eq!(chapters[1]["start_time"], "1.500000", "{name}");
        let said = mkvmerge_json(&outcome.path);
        assert_eq!(said["tracks"].as_array().unwrap().len(), 4);
        assert_eq!(said["tracks"][2]["properties"]["track_name"], "Commentary");
        assert_eq!(said["chapters"][0]["num_entries"], 2);
    }
}

#[test]
fn the_same_in_mp4() {
    let bench = Bench::new();
    let source = episode(&bench, "in.mkv", "ass");
    let outcome = bench.merge(Some(&source), "out.mp4");
    let streams = outcome.streams();
    let tags = |key| streams.iter().take(4).map(|stream| tag(stream, key)).collect::<Vec<_>>();
    assert_eq!(tags("language"), ["jpn", "jpn", "eng", "eng"]);
    assert_eq!(tag(&streams[2], "handler_name"), "Commentary");
    assert_eq!(streams[3]["codec_name"], "mov_text");
    assert_eq!(outcome.actions()[3], "subtitle ass converted to mov_text");
    let probed = probe(&outcome.path);
    assert_eq!(probed["chapters"].as_array().unwrap().len(), 2);
    assert_eq!(tag(&probed["format"], "title"), "Episode");
}

#[test]
fn what_is_switched_off_is_reported() {
    let bench = Bench::new();
    let source = episode(&bench, "in.mkv", "srt");
    let nothing = MergeOptions { audio: false, subtitles: false, attachments: false, chapters: false, metadata: false };
    let outcome = bench.merge_with(Some(&source), "out.mkv", |settings| settings.keep = nothing);
    assert_eq!(outcome.streams().len(), 1);
    let left_out = outcome.actions().iter().filter(|action| action.contains("left out: ")).count();
    assert_eq!((left_out, outcome.merged.chapters), (3, 0));
    assert_eq!(probe(&outcome.path)["format"]["tags"]["title"], Value::Null);
    assert_eq!(tag(&outcome.streams()[0], "language"), "jpn");
}

#[test]
fn the_commands_tags_win() {
    let bench = Bench::new();
    let source = episode(&bench, "in.mkv", "srt");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let outcome = bench.merge_with(Some(&source), "out.mkv", |settings| {
        settings.metadata = vec![pair("title", "Mine"), pair("comment", "")];
        settings.stream_metadata = vec![pair("language", "fre")];
    });
    let probed = probe(&outcome.path);
    assert_eq!((tag(&probed["format"], "title"), tag(&probed["format"], "COMMENT")), ("Mine", "-"));
    assert_eq!(tag(&probed["streams"][0], "language"), "fre");
}

/// What mkvmerge counts for each track no longer holds for a video that was encoded again.
#[test]
fn fonts_come_along_and_statistics_do_not() {
    let bench = Bench::new();
    let plain = episode(&bench, "plain.mkv", "ass");
    bench.write("a.ttf", "not really a font");
    bench.write("b.otf", "nor is this");
    let source = bench.path("in.mkv");
    let fonts = [bench.path("a.ttf"), bench.path("b.otf"), plain];
    let [ttf, otf, plain] = fonts.each_ref().map(|path| path.to_str().unwrap());
    let ttf = ["--attachment-mime-type", "application/x-truetype-font", "--attach-file", ttf];
    let otf = ["--attachment-mime-type", "font/otf", "--attachment-description", "Signs", "--attach-file", otf];
    mkvmerge(&[&ttf[..], &otf[..], &[plain]].concat(), &source);
    assert_ne!(tag(&probe(&source)["streams"][0], "BPS"), "-", "mkvmerge writes statistics");
    let outcome = bench.merge(Some(&source), "out.mkv");
    let said = mkvmerge_json(&outcome.path);
    let attachments = said["attachments"].as_array().unwrap();
    let told = |key: &str| attachments.iter().map(|attached| attached[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("file_name"), ["a.ttf", "b.otf"]);
    assert_eq!(told("content_type"), ["application/x-truetype-font", "font/otf"]);
    assert_eq!(told("size"), [17, 11]);
    for stream in outcome.streams() {
        for statistic in ["BPS", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_TAGS", "BPS-eng"] {
            assert_eq!(tag(&stream, statistic), "-", "{stream:#}");
        }
    }
    let mp4 = bench.merge(Some(&source), "out.mp4");
    assert!(mp4.actions()[4].contains("attachment ttf left out: "), "{:?}", mp4.actions());
}

#[test]
fn ordered_chapters_are_told_of() {
    let bench = Bench::new();
    let plain = bench.make(&format!("{PICTURE} {SOUND} {X264} -c:a flac"), "plain.mkv");
    let atom = |start: &str, end: &str, title: &str| {
        format!(
            "<ChapterAtom><ChapterTimeStart>{start}</ChapterTimeStart><ChapterTimeEnd>{end}</ChapterTimeEnd>\
             <ChapterDisplay><ChapterString>{title}</ChapterString><ChapterLanguage>eng</ChapterLanguage>\
             </ChapterDisplay></ChapterAtom>"
        )
    };
    // Ordered ones are not in the order of their times.
    for (flag, notes) in [(1, 1), (0, 0)] {
        let (a, b) = (atom("00:00:00.000", "00:00:01.000", "A"), atom("00:00:02.000", "00:00:04.000", "B"));
        let (first, second) = if flag == 1 { (b, a) } else { (a, b) };
        let chapters = bench.write(
            "chapters.xml",
            &format!(
                "<?xml version=\"1.0\"?><Chapters><EditionEntry><EditionFlagOrdered>{flag}</EditionFlagOrdered>\
                 {first}{second}</EditionEntry></Chapters>"
            ),
        );
        let source = bench.path("in.mkv");
        mkvmerge(&["--chapters", chapters.to_str().unwrap(), plain.to_str().unwrap()], &source);
        let outcome = bench.merge(Some(&source), "out.mkv");
        assert_eq!(outcome.merged.notes.len(), notes, "{:?}", outcome.merged.notes);
        assert!(outcome.merged.notes.iter().all(|note| note.contains("ordered")));
        assert_eq!(outcome.merged.chapters, 2);
        let probed = probe(&outcome.path);
        let chapters = probed["chapters"].as_array().unwrap();
        let told: Vec<_> =
            chapters.iter().map(|chapter| (tag(chapter, "title"), chapter["start_time"].as_str().unwrap())).collect();
        assert_eq!(told, [("A", "0.000000"), ("B", "2.000000")]);
    }
}

#[test]
fn cover_art_becomes_what_the_container_calls_it() {
    let bench = Bench::new();
    bench.make("-f lavfi -i testsrc2=s=64x64 -frames:v 1", "cover.png");
    let with_cover = format!("{PICTURE} {SOUND} -i IN/cover.png -map 0 -map 1 -map 2 {X264} -c:a aac -c:v:1 copy");
    let mp4 = bench.make(&format!("{with_cover} -disposition:v:1 attached_pic"), "in.mp4");
    let bytes = std::fs::metadata(bench.path("cover.png")).unwrap().len();
    let mkv = bench.merge(Some(&mp4), "out.mkv");
    let said = mkvmerge_json(&mkv.path);
    assert_eq!(said["attachments"][0]["file_name"], "cover.png", "{said:#}");
    assert_eq!(said["attachments"][0]["size"], bytes);
    // And back again.
    let back = bench.merge(Some(&mkv.path), "back.mp4");
    let streams = back.streams();
    let picture = streams.iter().find(|stream| stream["disposition"]["attached_pic"] == 1).unwrap();
    assert_eq!(picture["codec_name"], "png");
    assert!(bench.merge(Some(&mp4), "out.mov").actions()[2].contains("left out: "));
}

#[test]
fn subtitles_in_every_form() {
    let bench = Bench::new();
    let cases = [
        ("in.mkv", "srt", "out.mkv", "copied"),
        ("in.mkv", "ass", "out.mkv", "copied"),
        ("in.mkv", "webvtt", "out.mkv", "copied"),
        ("in.mp4", "mov_text", "out.mkv", "converted to subrip"),
        ("in.mp4", "mov_text", "out.mp4", "copied"),
        ("in.mkv", "srt", "out.mp4", "converted to mov_text"),
        ("in.mkv", "webvtt", "out.mov", "converted to mov_text"),
    ];
    for (name, codec, output, action) in cases {
        let source = episode(&bench, name, codec);
        let outcome = bench.merge(Some(&source), output);
        let about = format!("{codec} of {name} in {output}");
        assert!(outcome.actions()[3].ends_with(action), "{about}: {:?}", outcome.actions());
        let text = bench.path("text.srt");
        run(std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(&outcome.path)
            .args(["-map", "0:s:0"])
            .arg(&text));
        let text = std::fs::read_to_string(text).unwrap();
        for part in ["Hello", "there", "Bye", "00:00:00,500 --> 00:00:01,500", "00:00:02,000 --> 00:00:03,000"] {
            assert!(text.contains(part), "{about}: no {part} in\n{text}");
        }
    }
}

/// MP4 holds one line at a time: those that overlap are cut where the next begins.
#[test]
fn overlapping_lines_keep_their_beginnings() {
    let bench = Bench::new();
    let lines = [("00:00:00,500", "One"), ("00:00:01,500", "Two"), ("00:00:02,000", "Three")];
    let text = (1..).zip(lines).map(|(number, (time, line))| format!("{number}\n{time} --> 00:00:03,000\n{line}\n\n"));
    bench.write("in.srt", &text.collect::<String>());
    let source =
        bench.make(&format!("{PICTURE} {SOUND} -i IN/in.srt -map 0 -map 1 -map 2 {X264} -c:a alac -c:s srt"), "in.mkv");
    let outcome = bench.merge(Some(&source), "out.mp4");
    let text = bench.path("text.srt");
    ffmpeg(&format!("-i {} -map 0:s:0", outcome.path.display()), &text);
    let text = std::fs::read_to_string(text).unwrap();
    for (time, line) in lines {
        let begins =
            text.lines().collect::<Vec<_>>().windows(2).any(|pair| pair[0].starts_with(time) && pair[1] == line);
        assert!(begins, "{line} does not begin at {time}:\n{text}");
    }
    assert!(outcome.merged.notes.is_empty(), "{:?}", outcome.merged.notes);
}

/// Beyond full scale only floating point goes.
#[test]
fn floating_point_stays_floating_point() {
    let bench = Bench::new();
    for bits in ["32", "64"] {
        let sound = format!("{SOUND} -map 0 -map 1 {X264} -af volume=6dB:precision=double -c:a pcm_f{bits}be");
        let source = bench.make(&format!("{PICTURE} {sound}"), "in.mov");
        let outcome = bench.merge(Some(&source), "out.mkv");
        assert_eq!(outcome.actions()[1], format!("audio pcm_f{bits}be converted to pcm_f{bits}le"));
        let codec = format!("pcm_f{bits}le");
        assert_eq!(samples_hash(&outcome.path, "a:0", &codec), samples_hash(&source, "a:0", &codec));
    }
}

/// A Blu-ray's subtitle: one picture of 8x8 pixels from 0.5 s to 1.5 s, as a .sup file holds it.
pub(super) fn presentation_graphics() -> Vec<u8> {
    let segment = |time: u32, kind: u8, payload: &[u8]| {
        let head = [&b"PG"[..], &(time * 90).to_be_bytes(), &[0; 4], &[kind]].concat();
        [&head[..], &u16::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    };
    let composition = |number: u8, state: u8, objects: &[u8]| {
        [&[0, 128, 0, 96, 0x10, 0, number, state, 0, 0, u8::from(!objects.is_empty())], objects].concat()
    };
    let line = [0, 0x88, 1, 0, 0];
    let picture = [&[0, 0, 0, 0xC0, 0, 0, 44, 0, 8, 0, 8][..], &line.repeat(8)].concat();
    [
        segment(500, 0x16, &composition(0, 0x80, &[0, 0, 0, 0, 0, 8, 0, 8])),
        segment(500, 0x17, &[1, 0, 0, 8, 0, 8, 0, 8, 0, 8]),
        segment(500, 0x14, &[0, 0, 1, 200, 128, 128, 255]),
        segment(500, 0x15, &picture),
        segment(500, 0x80, &[]),
        segment(1500, 0x16, &composition(1, 0, &[])),
        segment(1500, 0x80, &[]),
    ]
    .concat()
}

/// They are pictures: MKV carries them, MP4 and WebM do not, and they cannot become text.
#[test]
fn bitmap_subtitles_are_carried_or_reported() {
    let bench = Bench::with_video("-c:v libvpx-vp9 -deadline realtime -cpu-used 8");
    std::fs::write(bench.path("in.sup"), presentation_graphics()).unwrap();
    let source = bench.make(&format!("{PICTURE} -i IN/in.sup -map 0 -map 1 {X264} -c:s copy"), "in.mkv");
    for (name, action) in [("out.mkv", "copied"), ("out.mp4", "left out: mp4"), ("out.webm", "left out: webm")] {
        let outcome = bench.merge(Some(&source), name);
        assert!(outcome.actions()[1].contains(action), "{:?}", outcome.actions());
        if action == "copied" {
            assert_eq!(packets_hash(&outcome.path, "s:0"), packets_hash(&source, "s:0"));
        }
    }
}

/// WebM carries Vorbis and Opus, and WebVTT.
#[test]
fn webm_gets_what_it_can_carry() {
    let bench = Bench::with_video("-c:v libvpx-vp9 -deadline realtime -cpu-used 8");
    let copied = "copied";
    // With six channels AC-3 has those of the surround beside the listener, and Opus behind.
    let converted = "converted to opus";
    for (codec, action) in [("libopus", copied), ("libvorbis", copied), ("aac", converted), ("ac3 -ac 6", converted)] {
        bench.write("in.srt", SUBTITLES);
        let source = bench.make(
            &format!("{PICTURE} {SOUND} -i IN/in.srt -map 0 -map 1 -map 2 {X264} -c:a {codec} -c:s srt"),
            "in.mkv",
        );
        let outcome = bench.merge(Some(&source), "out.webm");
        assert!(outcome.actions()[1].ends_with(action), "{:?}", outcome.actions());
        assert_eq!(outcome.actions()[2], "subtitle subrip converted to webvtt");
        assert_eq!(outcome.streams()[1]["channels"], if codec.contains('6') { 6 } else { 1 });
        outcome.assert_in_sync(&source);
    }
}
