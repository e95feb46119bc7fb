//! What the encoders' own command lines mean.

use crate::encoder::command::rav1e_options::{Rav1eOptions, Rav1eTune};
use crate::encoder::command::{EncodeCommand, EncoderChoice};
use crate::units::Rational;

fn parse(text: &str) -> EncodeCommand {
    EncodeCommand::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn options(text: &str) -> Vec<(String, String)> {
    parse(text).encoder_options().to_vec()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Only some wrappers of SVT-AV1 need to be told the program's default.
fn without_default_levels(mut options: Vec<(String, String)>) -> Vec<(String, String)> {
    for (_, value) in &mut options {
        *value = value.replace(":hierarchical-levels=5", "");
    }
    options
}

#[test]
fn commands_in_use_become_options_of_libav() {
    for (text, encoder, expected) in [
        (
            "x265 --y4m --profile main10 --crf 16 -o FINALRIP_ENCODED_CLIP.mkv -",
            "libx265",
            vec![("profile", "main10"), ("x265-params", "crf=16")],
        ),
        ("x265 --y4m --crf 16 -o OUT -", "libx265", vec![("x265-params", "crf=16")]),
        ("x264 --demuxer y4m --crf 18 -o OUT -", "libx264", vec![("x264-params", "crf=18")]),
        (
            "SvtAv1EncApp -i stdin --preset 6 --crf 30 -b OUT",
            "libsvtav1",
            vec![("preset", "6"), ("svtav1-params", "crf=30")],
        ),
        ("rav1e - -s 6 --quantizer 80 -o OUT", "rav1e", vec![("speed", "6"), ("qp", "80")]),
    ] {
        let command = parse(text);
        assert_eq!(command.encoder_name(), Some(encoder), "{text}");
        assert_eq!(without_default_levels(options(text)), pairs(&expected), "{text}");
        assert!(command.output().is_some(), "{text}");
    }
}

#[test]
fn x265_depth_comes_from_the_option_or_else_from_the_profile() {
    for (text, depth) in [
        ("x265 --crf 16 -", None),
        ("x265 --profile main10 -", Some(10)),
        ("x265 -P main444-12 -", Some(12)),
        ("x265 --profile main -", Some(8)),
        ("x265 -D10 --profile main12 -", Some(10)),
    ] {
        assert_eq!(parse(text).bit_depth(), depth, "{text}");
    }
}

#[test]
fn options_are_written_as_getopt_allows() {
    let expected = pairs(&[("preset", "slow"), ("x265-params", "no-sao=1:bframes=8:deblock=-1\\:-1:keyint=240")]);
    for text in [
        "x265 -p slow --no-sao -b 8 --deblock -1:-1 -I 240 -",
        "x265 -pslow --no-sao -b8 --deblock=-1:-1 --keyint=240 -",
        "/opt/x265 --input - --preset slow --no-sao --bframes 8 --deblock -1:-1 -I240",
    ] {
        assert_eq!(options(text), expected, "{text}");
    }
    assert_eq!(
        options("x265 --sao --no-sao --sao -"),
        pairs(&[("x265-params", "no-sao=1:sao=1")]),
        "the last one wins"
    );
}

#[test]
fn libav_reads_back_what_was_handed_over() {
    let display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)";
    let text = format!("x265 --hdr10 --max-cll 1000,400 --master-display '{display}' --zones 0,9,q=20 -");
    let expected = format!("hdr10=1:max-cll=1000,400:master-display={display}:zones=0,9,q\\=20");
    assert_eq!(options(&text), pairs(&[("x265-params", &expected)]));
}

#[test]
fn colours_reach_the_container_as_well() {
    let text =
        "x265 --colorprim bt2020 --transfer smpte2084 --colormatrix bt2020nc --range limited --chromaloc 2 --sar 4:3 -";
    let expected = [
        ("color_primaries", "bt2020"),
        ("color_trc", "smpte2084"),
        ("colorspace", "bt2020nc"),
        ("color_range", "tv"),
        ("chroma_sample_location", "3"),
        ("aspect", "4:3"),
        ("x265-params", "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:chromaloc=2"),
    ];
    assert_eq!(options(text), pairs(&expected));
    let text = "x264 --colormatrix GBR --transfer bt470m --range pc --sar 1:1 -";
    let expected = [
        ("colorspace", "rgb"),
        ("color_trc", "gamma22"),
        ("color_range", "pc"),
        ("aspect", "1:1"),
        ("x264-params", "colormatrix=GBR:transfer=bt470m:fullrange=on"),
    ];
    assert_eq!(options(text), pairs(&expected));
    let text = "rav1e - --primaries BT2020 --transfer HLG --matrix BT2020NCL --range Full -o OUT";
    let settings = Rav1eOptions::from_options(parse(text).encoder_options()).unwrap();
    let colours = (settings.color_primaries, settings.color_trc, settings.colorspace, settings.color_range);
    assert_eq!(colours, (Some(9), Some(18), Some(9), Some(2)));
    assert_eq!(options("SvtAv1EncApp -i - --color-primaries 9")[0], ("color_primaries".to_owned(), "9".to_owned()));
}

#[test]
fn what_concerns_the_command_goes_to_the_command() {
    let x264 = parse("x264 --fps 24000/1001 --frames 100 --muxer mkv --output-csp i444 --output-depth 10 - -o a.mkv");
    assert_eq!(x264.input_rate(), Rational::new(24000, 1001));
    assert_eq!((x264.frame_limit(), x264.format()), (Some(100), Some("matroska")));
    assert_eq!((x264.pixel_format(), x264.bit_depth()), (Some("yuv444p10le"), None));
    assert_eq!(parse("x264 --output-csp rgb -").encoder_name(), Some("libx264rgb"));
    assert_eq!(parse("x265 -f 0 - out.hevc").frame_limit(), None, "0 is all frames");
    assert_eq!(parse("x265 - out.hevc").output(), Some("out.hevc"));
    let rav1e = parse("rav1e - --time-scale 1001 --frame-rate 24000 --bitrate 2500 --tune psnr --low-latency -o a.ivf");
    assert_eq!(rav1e.encoder(), &EncoderChoice::Rav1e);
    assert_eq!(rav1e.input_rate(), Rational::new(24000, 1001));
    let settings = Rav1eOptions::from_options(rav1e.encoder_options()).unwrap();
    assert_eq!((settings.bitrate, settings.tune), (Some(2_500_000), Some(Rav1eTune::Psnr)));
    assert_eq!(settings.low_latency, Some(true));
    let svt = options("SvtAv1EncApp -i - -n 10 --keyint 10s -q 30 -lp 4 --svtav1-params tune=0:scd=1 -b o.ivf");
    assert_eq!(without_default_levels(svt), pairs(&[("svtav1-params", "keyint=10s:qp=30:lp=4:tune=0:scd=1")]));
}

#[test]
fn mistakes_are_named_with_the_right_spelling() {
    for (text, message) in [
        ("x265 --prest slow -", "unknown option --prest; did you mean --preset?"),
        ("x265 --no-soa -", "unknown option --no-soa; did you mean --no-sao?"),
        ("x264 --crff 18 -", "unknown option --crff; did you mean --crf?"),
        ("x265 -X -", "unknown option -X"),
        ("x265 --crf high -", "--crf cannot be `high`; allowed: a number"),
        ("x265 --keyint 2.5 -", "--keyint cannot be `2.5`; allowed: a whole number"),
        ("x265 --crf", "--crf needs a value after it"),
        ("x265 --sao=1 -", "--sao cannot be `1`; allowed: no value; it is a flag"),
        ("x265 --crf 16 -o a.mkv b.y4m", "the input can only be the script's clip (`-`), not `b.y4m`"),
        ("x265 --input a.y4m", "the input can only be the script's clip (`-`), not `a.y4m`"),
        (
            "x265 - a.mkv b.mkv",
            "there can be only one output, but `a.mkv` and `b.mkv` are both named; does one of them lack its option?",
        ),
        (
            "x264 --seek 10 -",
            "--seek cannot be used here: a part of the clip is chosen in the script (`clip[100:200]`) or by the frame range of the call",
        ),
        (
            "x264 --pass 2 -",
            "--pass cannot be used here: an encode reads the script once, so there is one pass; choose a quality or a bitrate",
        ),
        ("x264 --demuxer lavf -", "--demuxer cannot be `lavf`; allowed: y4m; the input is the clip"),
        (
            "SvtAv1EncApp -i - --passes 2",
            "--passes cannot be used here: an encode reads the script once, so there is one pass; choose a quality or a bitrate",
        ),
        ("SvtAv1EncApp -i - --presett 6", "unknown option --presett; did you mean --preset?"),
        ("rav1e - --speed 11 -o a", "--speed cannot be `11`; allowed: a whole number from 0 to 10"),
        ("rav1e - --photon-noise 65 -o a", "--photon-noise cannot be `65`; allowed: a whole number from 0 to 64"),
        ("rav1e - --quantiser 80 -o a", "unknown option --quantiser; did you mean --quantizer?"),
        (
            "x256 --crf 16",
            "it begins with `x256`, which is not understood; did you mean x265?; begin with ffmpeg, x264, x265, SvtAv1EncApp, rav1e, aomenc, vpxenc, or ffmpeg's options such as `-c:v libx265 -crf 16`",
        ),
    ] {
        assert_eq!(EncodeCommand::parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn a_name_may_be_shortened_where_the_program_takes_that() {
    for (short, long) in [
        ("x265 --level 4.1 --bitr 500 --no-sa -", None),
        ("x265 --level 4.1 --bitr 500 --no-open -", Some("x265 --level-idc 4.1 --bitrate 500 --no-open-gop -")),
        ("x264 --bitr=500 --keyi 24 --no-mbt -", Some("x264 --bitrate=500 --keyint 24 --no-mbtree -")),
        // The whole name goes before longer ones.
        ("x264 --level 4.1 --ref 3 --no-psy -", Some("x264 --level 4.1 --ref 3 --no-psy -")),
    ] {
        match long {
            Some(long) => assert_eq!(options(short), options(long), "{short}"),
            None => assert_eq!(
                EncodeCommand::parse(short).unwrap_err().to_string(),
                "--no-sa cannot be used here: it may mean --no-sao or --no-sao-non-deblock; write the name out"
            ),
        }
    }
    for text in ["SvtAv1EncApp -i - --pres 6", "rav1e - --spee 6 -o a", "aomenc --cpu=6 -o a -", "x264 --zzz -"] {
        let error = EncodeCommand::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("unknown option"), "{text}: {error}");
    }
    let error = EncodeCommand::parse("x265 --qpf a -").unwrap_err().to_string();
    assert_eq!(error, "--qpf cannot be used here: no other files are read");
}

#[test]
fn levels_and_ranges_are_what_the_programs_take() {
    for (text, expected) in [("4.0", "level=40"), ("4", "level=40"), ("5.1", "level=51"), ("0", "level=0")] {
        let options = without_default_levels(options(&format!("SvtAv1EncApp -i - --level {text} -b o.ivf")));
        assert_eq!(options, pairs(&[("svtav1-params", expected)]));
    }
    assert!(EncodeCommand::parse("SvtAv1EncApp -i - --level 40").is_err(), "the program takes no such level either");
    for (text, range, full) in [("tv", "tv", "off"), ("pc", "pc", "on")] {
        let expected = [("color_range", range), ("x264-params", &format!("fullrange={full}"))];
        let command = parse(&format!("x264 --range {text} -"));
        assert_eq!(command.encoder_options(), pairs(&expected));
        assert_eq!(command.filters(), Some(format!("scale=out_range={range}").as_str()));
    }
    assert_eq!(options("x264 --range auto -"), []);
}

#[test]
fn what_crashes_the_library_is_refused_in_both_dialects() {
    for text in [
        "x265 --frame-dup -",
        "x265 --dup-threshold 50 -",
        "x265 --no-copy-pic -",
        "-c:v libx265 -x265-params frame-dup=1",
        "-c:v libx265 -x265-params no_frame_dup=0",
        "-c:v libx265 -x265-params nocopy-pic=1",
        "-c:v libx265 -x265-params dup-threshold=50",
        "-c:v libx265 -x265-params copy-pic=0",
        "-c:v libx265 -x265-params ctu-info=2",
    ] {
        let error = EncodeCommand::parse(text).unwrap_err().to_string();
        assert!(error.contains("cannot be used here"), "{text}: {error}");
    }
}

#[test]
fn aomenc_and_vpxenc_become_options_of_libav() {
    for (text, encoder, expected) in [
        (
            "aomenc --passes=1 --good --cpu-used=6 --end-usage=q --cq-level=30 --row-mt=1 --tune=ssim -t 4 -o OUT.webm -",
            "libaom-av1",
            vec![
                ("usage", "good"),
                ("cpu-used", "6"),
                ("threads", "4"),
                ("crf", "30"),
                ("b", "0"),
                ("aom-params", "row-mt=1:tune=ssim"),
            ],
        ),
        ("aomenc -o OUT -", "libaom-av1", vec![("cpu-used", "0"), ("b", "256000")]),
        (
            "aomenc --end-usage=cbr --target-bitrate=800 --buf-sz=2000 --buf-optimal-sz=1666 --kf-max-dist=48 --cpu-used=8 - -o OUT",
            "libaom-av1",
            vec![
                ("g", "48"),
                ("cpu-used", "8"),
                ("b", "800000"),
                ("minrate", "800000"),
                ("maxrate", "800000"),
                ("bufsize", "1600000"),
                ("rc_init_occupancy", "3200000"),
            ],
        ),
        (
            "vpxenc --codec=vp9 --end-usage=cq --cq-level=20 --target-bitrate=900 --best --bias-pct=75 -o OUT -",
            "libvpx-vp9",
            vec![("deadline", "best"), ("qcomp", "0.75"), ("cpu-used", "0"), ("crf", "20"), ("b", "900000")],
        ),
        ("vpxenc --codec=vp8 --cpu-used=4 -o OUT -", "libvpx", vec![("cpu-used", "4"), ("b", "256000")]),
    ] {
        assert_eq!(parse(text).encoder_name(), Some(encoder), "{text}");
        assert_eq!(options(text), pairs(&expected), "{text}");
    }
    let command = parse("aomenc --ivf --fps=24000/1001 --limit=10 -b 10 --skip=0 -o OUT -");
    assert_eq!((command.format(), command.frame_limit(), command.bit_depth()), (Some("ivf"), Some(10), Some(10)));
    assert_eq!(command.input_rate(), Rational::new(24000, 1001));
    for (text, message) in [
        ("aomenc --cpu-used 6 -o a -", "--cpu-used needs a value after it"),
        ("aomenc --passes=2 -o a -", "--passes cannot be used here: an encode reads the script once"),
        ("aomenc --skip=5 -o a -", "--skip cannot be used here: a part of the clip"),
        ("aomenc --resize-mode=1 -o a -", "--resize-mode cannot be used here: pictures of another size"),
        ("aomenc --film-grain-table=a -o a -", "--film-grain-table cannot be used here: no other files are read"),
        ("aomenc --codec=vp9 -o a -", "--codec cannot be `vp9`; allowed: av1"),
        (
            "aomenc --buf-sz=2000 -o a -",
            "--buf-sz cannot be used here: libav aims at five sixths of the buffer: say --buf-optimal-sz=1666",
        ),
        ("vpxenc --codec=av1 -o a -", "--codec cannot be `av1`; allowed: vp8 or vp9"),
        ("vpxenc --min-gf-interval=4 -o a -", "--min-gf-interval cannot be used here: libav has no such setting"),
        ("vpxenc --codec=vp8 --row-mt=1 -o a -", "--row-mt cannot be used here: this build's libvpx has no -row-mt"),
        ("vpxenc --cpu-usd=2 -o a -", "unknown option --cpu-usd; did you mean --cpu-used?"),
    ] {
        let error = EncodeCommand::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

/// A name in two lists would be read by whichever comes first.
#[test]
fn every_option_is_in_one_list() {
    for tool in super::TOOLS {
        let lists = [tool.flags, tool.whole, tool.numbers, tool.texts].into_iter().flatten().copied();
        let mut names: Vec<_> = lists.chain(tool.special.iter().map(|&(name, ..)| name)).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{}", tool.name);
        for (letter, name) in tool.short {
            assert!(names.contains(name), "{} -{letter}", tool.name);
        }
    }
}
