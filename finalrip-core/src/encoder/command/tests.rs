//! What commands mean, and what is said about those that mean nothing.

use super::*;

fn parse(text: &str) -> EncodeCommand {
    EncodeCommand::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn message(text: &str) -> String {
    match EncodeCommand::parse(text) {
        Ok(command) => panic!("{text} was accepted as {command:?}"),
        Err(error) => error.to_string(),
    }
}

fn options(command: &EncodeCommand) -> Vec<(&str, &str)> {
    command.encoder_options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn ffmpeg_commands_in_use_are_understood() {
    let clip = Some("FINALRIP_ENCODED_CLIP.mkv");
    for (text, encoder, expected, format, output) in [
        ("ffmpeg -i - -vcodec libx265 -crf 16", "libx265", vec![("crf", "16")], None, None),
        (
            "/static-ffmpeg/ffmpeg -i - -pix_fmt yuv420p10le -c:v libx265 -crf 16 FINALRIP_ENCODED_CLIP.mkv",
            "libx265",
            vec![("crf", "16")],
            Some("yuv420p10le"),
            clip,
        ),
        (
            "ffmpeg -i - -c:v libx265 -preset slow -x265-params \"ctu=64:me=umh:deblock=0,0:crf=19\" FINALRIP_ENCODED_CLIP.mkv",
            "libx265",
            vec![("preset", "slow"), ("x265-params", "ctu=64:me=umh:deblock=0,0:crf=19")],
            None,
            clip,
        ),
        (
            "ffmpeg -i - -c:v libx265 -x265-params crf=18 -fps_mode passthrough",
            "libx265",
            vec![("x265-params", "crf=18")],
            None,
            None,
        ),
        ("-c:v libx265 -crf 16", "libx265", vec![("crf", "16")], None, None),
        (
            "ffmpeg -y -f yuv4mpegpipe -thread_queue_size 64 -i pipe:0 -c:v libx264 -b:v 4M -g 48 -bf 2 -profile:v high \
             -threads 2 -flags +cgop -flags +psnr -an -map 0:v FINALRIP_ENCODED_CLIP.mkv",
            "libx264",
            vec![("b", "4M"), ("g", "48"), ("bf", "2"), ("profile", "high"), ("threads", "2"), ("flags", "+cgop+psnr")],
            None,
            clip,
        ),
    ] {
        let command = parse(text);
        assert_eq!(command.encoder_name(), Some(encoder), "{text}");
        assert_eq!(options(&command), expected, "{text}");
        assert_eq!((command.pixel_format(), command.output()), (format, output), "{text}");
    }
    if crate::ffi::options::resolve_video_encoder("hevc_nvenc").is_some() {
        let command = parse("ffmpeg -i - -pix_fmt yuv420p10le -c:v hevc_nvenc -cq 18 FINALRIP_ENCODED_CLIP.mkv");
        assert_eq!(options(&command), [("cq", "18")]);
    }
}

#[test]
fn options_of_the_program_are_read() {
    let rate = Rational::new(24000, 1001);
    let command = parse(
        "ffmpeg -r 24000/1001 -i - -vf 'scale=640:-2' -c:v ffv1 -r 25 -s hd720 -aspect 16:9 -frames:v 10 -tag:v FFV1 \
         -metadata title='A b' -metadata:s:v:0 language=jpn -metadata:s:a language=eng -f matroska -sws_flags lanczos \
         -bsf:v null -fps_mode cfr -movflags +faststart -max_interleave_delta 0 -disposition:v default out.mkv",
    );
    assert_eq!(command.input_rate(), rate);
    assert_eq!(command.frame_rate(), Rational::new(25, 1));
    assert_eq!(command.filters(), Some("scale=640:-2"));
    assert_eq!(command.size(), Some((1280, 720)));
    assert_eq!(command.aspect(), Rational::new(16, 9));
    assert_eq!(command.frame_limit(), Some(10));
    assert_eq!(command.tag(), Some("FFV1"));
    assert_eq!(command.metadata(), [("title".to_owned(), "A b".to_owned())]);
    assert_eq!(command.stream_metadata(), [("language".to_owned(), "jpn".to_owned())]);
    assert_eq!(command.format(), Some("matroska"));
    assert_eq!(command.scaler_options(), [("sws_flags".to_owned(), "lanczos".to_owned())]);
    assert_eq!(command.bitstream_filters(), Some("null"));
    assert_eq!(command.timing(), Some(FrameTiming::Constant));
    assert_eq!(command.muxer_options().len(), 2);
    assert!(command.encoder_options().is_empty());
}

#[test]
fn without_an_encoder_the_container_decides() {
    let command = parse("ffmpeg -i - -crf 20 -g 48 out.mkv");
    assert_eq!((command.encoder(), command.encoder_name()), (&EncoderChoice::Default, None));
    assert_eq!(command.check_for_encoder("libx264"), Ok(()));
    let error = command.check_for_encoder("ffv1").unwrap_err().to_string();
    assert_eq!(error, "-crf is not an option of ffv1");
}

#[test]
fn special_spellings_become_plain_options() {
    assert_eq!(options(&parse("-c:v mpeg4 -q:v 2.5")), [("flags", "+qscale"), ("global_quality", "295")]);
    assert_eq!(options(&parse("-c:v ffv1 -vb 1M")), [("b", "1M")]);
    let exact = parse("-bitexact -c:v ffv1");
    assert_eq!(options(&exact), [("flags", "+bitexact")]);
    assert_eq!(exact.muxer_options(), [("fflags".to_owned(), "+bitexact".to_owned())]);
    assert_eq!(options(&parse("-c:v libx264 -crf 20 -crf 18")), [("crf", "18")], "the later value wins");
    assert_eq!(parse("-c:v libx264 -c:a aac -b:a 128k -ac 2 -filter:a volume=2").encoder_options(), []);
    assert_eq!(parse("-c:v h265").encoder_name(), parse("-c:v hevc").encoder_name());
    assert_eq!(
        parse("ffmpeg -i - OUT.mkv -c:v libx264").encoder_name(),
        Some("libx264"),
        "the output may stand anywhere"
    );
    let both = parse("-c:v libx264 -strict -2");
    assert_eq!((both.encoder_options().len(), both.muxer_options().len()), (1, 1));
}

#[test]
fn the_rav1e_crate_takes_options_by_libav_names() {
    let command = parse("-c:v rav1e -speed 6 -qp 80 -g 240 -tiles 4 -rav1e-params tune=psnr -color_primaries bt709");
    assert_eq!(command.encoder(), &EncoderChoice::Rav1e);
    let settings = rav1e_options::Rav1eOptions::from_options(command.encoder_options()).unwrap();
    assert_eq!((settings.speed, settings.quantizer, settings.tiles), (Some(6), Some(80), Some(4)));
}

#[test]
fn mistakes_are_named_with_the_right_spelling() {
    for (text, expected) in [
        ("-c:v libx264 -crff 16", "unknown option -crff; did you mean -crf?"),
        ("-c:v libx264 -prest slow out.mkv", "unknown option -prest; did you mean -preset?"),
        ("-c:v libx264 --crf 16", "unknown option --crf; did you mean -crf?"),
        ("-c:v libx264 -pixfmt yuv420p", "unknown option -pixfmt; did you mean -pix_fmt?"),
        ("-c:v libx256 -crf 16", "unknown video encoder `libx256`; did you mean libx265?"),
        ("-c:v x265", "unknown video encoder `x265`; did you mean libx265?"),
        ("-c:v svt-av1", "unknown video encoder `svt-av1`; did you mean libsvtav1?"),
        ("-c:v ffv1 -crf 16", "-crf is not an option of ffv1"),
        ("-c:v rav1e -preset 6", "-preset is not an option of rav1e"),
        ("-c:v rav1e -sped 6", "unknown option -sped; did you mean -speed?"),
        ("-c:v libx264 -crf", "-crf needs a value after it"),
        ("-c:v libx264 -crff", "unknown option -crff; did you mean -crf?"),
        ("-c:v", "-c:v needs a value after it"),
        ("-i", "-i needs a value after it"),
        ("-c:v libx264 -crf high", "-crf cannot be `high`; allowed: a number from -1"),
        ("-c:v libx264 -b:v while(1,1)", "-b:v cannot be `while(1,1)`; allowed: a whole number from 0"),
        (
            "-c:v ffv1 -pix_fmt yuv420p10el",
            "-pix_fmt cannot be `yuv420p10el`; allowed: a pixel format such as yuv420p or yuv420p10le; did you mean yuv420p10le?",
        ),
        ("-c:v ffv1 -f mkv", "unknown container format `mkv`; did you mean matroska?"),
        ("-c:v ffv1 -f matrosca", "unknown container format `matrosca`; did you mean matroska?"),
        ("-c:v ffv1 -fps_mode fast", "-fps_mode cannot be `fast`; allowed: cfr, vfr, passthrough or auto"),
        ("-c:v aac", "-c:v cannot be used here: aac does not encode video"),
        (
            "libx265 -crf 16",
            "it begins with `libx265`, which is not understood; did you mean -c:v libx265?; begin with ffmpeg, x264, x265, SvtAv1EncApp, rav1e, aomenc, vpxenc, or ffmpeg's options such as `-c:v libx265 -crf 16`",
        ),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_done_here_is_refused_with_a_reason() {
    for (text, option, reason) in [
        ("ffmpeg -i - -ss 5 -c:v ffv1 o.mkv", "-ss", "a part of the clip"),
        ("ffmpeg -ss 5 -i - -c:v ffv1 o.mkv", "-ss", "a part of the clip"),
        ("ffmpeg -i - -filter_complex x -c:v ffv1 o.mkv", "-filter_complex", "one input"),
        ("ffmpeg -i - -i - -c:v ffv1 o.mkv", "-i", "one input"),
        ("ffmpeg -i - -c:v copy o.mkv", "-c:v", "have to be encoded"),
        ("ffmpeg -i - -c copy o.mkv", "-c", "have to be encoded"),
        ("ffmpeg -i - -vn o.mkv", "-vn", "leave out the video"),
        ("ffmpeg -i - -c:v libx264 -pass 1 o.mkv", "-pass", "no second pass"),
        ("ffmpeg -i - -c:v libx264 -flags +cgop+pass1 o.mkv", "-flags", "no second pass"),
        ("ffmpeg -i - -c:v libx265 -x265-params crf=20:pass=2 o.mkv", "pass in -x265-params", "one pass"),
        ("ffmpeg -i - -c:v libx264 -force_key_frames 1 o.mkv", "-force_key_frames", "-g and -keyint_min"),
        ("ffmpeg -i - -c:v libx264 -map 1:a o.mkv", "-map", "one input"),
        ("ffmpeg -i - -c:v libx264 -b:v:1 4M o.mkv", "-b:v:1", "one stream"),
        ("ffmpeg -crf 5 -i - -c:v libx264 o.mkv", "-crf", "behind `-i -`"),
        ("ffmpeg -f rawvideo -i - -c:v libx264 o.mkv", "-f", "yuv4mpegpipe"),
        ("ffmpeg -i - -r 25 -vsync vfr o.mkv", "-r", "contradicts"),
        ("ffmpeg -i - -c:v libx264 -top 1 o.mkv", "-top", "SetFieldBased"),
        ("ffmpeg -i - -q:v 3 -c:v rav1e", "-q:v", ""),
    ] {
        let message = message(text);
        assert!(message.starts_with(option) && message.contains(reason), "{text}: {message}");
    }
    assert_eq!(message("ffmpeg -i in.mkv -c:v ffv1"), "the input can only be the script's clip (`-`), not `in.mkv`");
    assert!(message("ffmpeg -i - -c:v ffv1 a.mkv b.mkv").contains("only one output, but `a.mkv` and `b.mkv`"));
}

/// What is said of other streams is for rips; for one stream it is the sum of what names it.
#[test]
fn options_of_other_streams_are_kept_for_them() {
    use streams::{SideKind, StreamWish};
    let pairs = |wish: &StreamWish| wish.options.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
    let command = parse(
        "-c:v libx264 -c:a libopus -c:a:1 flac -b:a:0 96k -vbr:a:0 on -ac 2 -ar:a:1 44100 -compression_level:a:1 8 -c:s srt \
         -metadata:s:a:0 title=Main -metadata:s:s language=eng -disposition:a:1 default+comment -map_chapters -1",
    );
    let (first, second) = (command.streams.wish(SideKind::Audio, 0), command.streams.wish(SideKind::Audio, 1));
    assert_eq!((first.codec_name(), pairs(&first)), (Some("libopus"), "b=96k vbr=on".to_owned()));
    assert_eq!((second.codec_name(), pairs(&second)), (Some("flac"), "compression_level=8".to_owned()));
    assert_eq!((first.channels, first.sample_rate, second.sample_rate), (Some(2), None, Some(44_100)));
    assert_eq!(first.tags, [("title".to_owned(), "Main".to_owned())]);
    assert_eq!(second.disposition.as_deref(), Some("default+comment"));
    assert_eq!(command.streams.wish(SideKind::Subtitle, 5).codec_name(), Some("srt"));
    assert!(command.streams.without_chapters && command.encoder_options().is_empty());
    let plain = parse("-acodec aac -ab 64k -scodec copy -an -sn -c:v libx264 -crf 20");
    assert!(plain.streams.leaves_out(SideKind::Audio) && plain.streams.leaves_out(SideKind::Subtitle));
    assert_eq!(pairs(&plain.streams.wish(SideKind::Audio, 3)), "b=64k");
    // As in the ffmpeg program, an option without a specifier goes to whichever encoder has it, and `-strict` to all.
    let shared = parse("-c:v libx264 -c:a libopus -application audio -strict -2 -crf 20");
    assert_eq!(pairs(&shared.streams.wish(SideKind::Audio, 0)), "application=audio strict=-2");
    assert_eq!(options(&shared), [("strict", "-2"), ("crf", "20")]);
    assert!(parse("ffmpeg -an -i - -c:v libx264 -map_metadata -1").streams.untagged.streams);
}

#[test]
fn what_no_stream_can_be_is_named() {
    for (text, option, reason) in [
        ("-c:v ffv1 -c:a libopux", "-c:a", "did you mean libopus"),
        ("-c:v ffv1 -c:a libx264", "-c:a", "an encoder such as"),
        ("-c:v ffv1 -c:s dvdsub", "-c:s", "pictures"),
        ("-c:v ffv1 -c:a aac -vbrr:a 1", "-vbrr:a", "aac"),
        ("-c:v ffv1 -c:a aac -b:a lots", "-b:a", "cannot be `lots`"),
        ("-c:v ffv1 -vbr:a on", "-vbr:a", "name that one too"),
        ("-c:v ffv1 -ac 0", "-ac", "from 1"),
        ("-c:v ffv1 -c:a:x aac", "-c:a:x", "number"),
        ("-c:v ffv1 -c:a:m:language:eng aac", "-c:a:m:language:eng", "number"),
        ("-c:v ffv1 -disposition:a nonsense", "-disposition:a", "forced"),
        ("-c:v ffv1 -bsf:a null", "-bsf:a", "not supported"),
        ("-c:v ffv1 -apad 1", "-apad", "not supported"),
        ("-c:v ffv1 -c:d libx264", "-c:d", "only be copied"),
        ("-c:v ffv1 -map_chapters 3", "-map_chapters", "from the source"),
        ("-c:v ffv1 -metadata:s:1 a=b", "-metadata:s:1", "`:s:a:0`"),
    ] {
        let message = message(text);
        assert!(message.starts_with(option) && message.contains(reason), "{text}: {message}");
    }
    for (text, encodes, rips) in [
        ("-c:v ffv1 -an -sn -dn -map_chapters -1 -map_metadata -1", true, true),
        ("-c:v ffv1 -c:a copy", false, true),
        ("-c:v ffv1 -metadata:s:a:0 title=x", false, true),
        ("-c:v ffv1 -map 0:v -shortest", true, false),
        ("-c:v ffv1 -map 0 -map -0:a", true, true),
    ] {
        let streams = parse(text).streams;
        assert_eq!((streams.check_for_encode().is_ok(), streams.check_for_rip().is_ok()), (encodes, rips), "{text}");
    }
}

/// Commands out of pieces that mean something, in any order: each is read or refused, none panics or hangs.
#[test]
fn no_soup_of_words_is_too_much() {
    #[rustfmt::skip]
    const PIECES: &[&str] = &[
        "ffmpeg", "x264", "x265", "SvtAv1EncApp", "rav1e", "aomenc", "vpxenc", "-", "--", "-i", "-c:v", "-c:a", "-vf", "-b:v", "-b:v:1",
        "-crf", "-q:v", "-r", "-s", "-aspect", "-metadata:s:v", "-map", "-f", "-x265-params", "-svtav1-params",
        "-rav1e-params", "-flags", "-sws_flags", "-movflags", "-frames:v", "-tag:v", "-:", "-v:", "--crf", "--sar",
        "--zones=", "--zo", "--cq-level=9", "-x264opts", "zones=1,2,q=3/", "csv=a", "-o", "-D", "-b:a:1", "-an", "-disposition:s", "-metadata:s:a", "-ac", "-map_chapters", "flac", "-é", "libx264", "libx265", "libsvtav1", "ffv1", "rav1e", "copy", "hevc", "16", "-1",
        "1e999", "NaN", "0x7fffffffffffffff", "4M", "16:9", "1/0", "while(1,1)", "(((((", "a=b", "crf=18", "x=y:z",
        "+faststart", "hd720", "'un closed", "\"", "\\", "日本", "a b", "out.mkv", "", "=", ":", "--=", "-=",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut accepted = 0;
    for _ in 0..5000 {
        let words: Vec<_> = (0..=next(9)).map(|_| PIECES[next(PIECES.len())]).collect();
        accepted +=
            usize::from(EncodeCommand::parse(&words.join(" ")).is_ok_and(|command| !format!("{command:?}").is_empty()));
    }
    assert!(accepted > 0, "the pieces make no command at all, and the test shows nothing");
}

/// A name in two lists would be read by whichever comes first.
#[test]
fn every_option_of_the_program_has_one_meaning() {
    let mut names: Vec<_> = ffmpeg::all_names().collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}
