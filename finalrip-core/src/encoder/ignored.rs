//! What encoders say of options that they do not follow. For their own programs it is a warning; here the user asked for
//! the option, and gets an error.
//!
//! A warning counts when it is about an option that the command gives. What merely makes an encode slower, such as
//! threads that do not pay, stays a warning; and so does a number that was moved within its bounds.

use super::command::params;

/// What a warning says, in part and in lower case, and the options that it is about.
type Warning = (&'static str, &'static [&'static str]);

/// Of x264 and x265, which share many.
const X26X: &[Warning] = &[
    ("vbv is incompatible with constant qp", &["vbv-maxrate", "vbv-bufsize", "maxrate", "bufsize"]),
    ("vbv bufsize set but maxrate unspecified", &["vbv-bufsize", "bufsize"]),
    ("vbv maxrate specified, but no bufsize", &["vbv-maxrate", "maxrate"]),
    ("vbv-end requires vbv", &["vbv-end"]),
    ("hrd parameters require vbv", &["hrd", "nal-hrd"]),
    ("cbr hrd requires constant bitrate", &["nal-hrd"]),
    ("strict cbr set without", &["strict-cbr"]),
    ("ignoring tune", &["tune"]),
    ("interlace + weightp is not implemented", &["weightp"]),
    ("interlace + me=esa is not implemented", &["me", "motion-est"]),
    ("slice-min-mbs", &["slice-min-mbs"]),
    ("direct=temporal is not supported", &["direct", "direct-pred"]),
    ("b-pyramid normal + intra-refresh", &["b-pyramid"]),
    ("ref > 1 + intra-refresh", &["ref", "refs"]),
    ("max references > 1 + intra-refresh", &["ref", "refs"]),
    ("intra-refresh is not compatible with open-gop", &["open-gop"]),
    ("intra refresh is not compatible with opengop", &["open-gop"]),
    ("lookaheadless mb-tree requires", &["mbtree"]),
    ("scenecut is disabled", &["scenecut"]),
    ("cutree disabled", &["cutree"]),
    ("disabling other aq-modes", &["aq-mode"]),
    ("b pyramid cannot be enabled", &["b-pyramid"]),
    ("limit reference options", &["limit-refs"]),
    ("disabling limittu", &["limit-tu"]),
    ("disabling hme", &["hme", "hme-search", "hme-range"]),
    ("temporal sublayer disabled", &["temporal-layers"]),
    ("disabling dynamic refine", &["dynamic-refine"]),
    ("disabling adaptive b-frames", &["b-adapt"]),
    ("disabling scenecut aware", &["scenecut-aware-qp", "masking-strength"]),
    ("cannot be used with sea motion search", &[]),
];

/// Of SVT-AV1.
const SVT_AV1: &[Warning] = &[
    ("tune will be forced", &["tune"]),
    ("tune 0 is not applicable", &["tune"]),
    ("film grain denoise apply signal is going to be ignored", &["film-grain-denoise"]),
    ("is ignored in vbr mode", &["qp", "crf"]),
    ("forcing rc mode to", &["rc"]),
    ("switching to vbr", &["rc"]),
    ("forcing encoder mode to", &["preset"]),
    ("maximum bit rate only supported", &["mbr", "maxrate"]),
    ("quantization matrices will be forced off", &["enable-qm"]),
    ("fast decode option is not supported", &["fast-decode"]),
    ("tpl is disabled", &["enable-tpl-la"]),
    ("tpl will be disabled", &["enable-tpl-la"]),
    ("tiles will be disabled", &["tile-rows", "tile-columns", "tile_rows", "tile_columns"]),
    ("adaptive quantization mode 1 has been disabled", &["aq-mode"]),
    ("forced low delay mode to use hierarchicallevels", &["hierarchical-levels"]),
];

/// Options whose loss costs time and nothing else.
const OF_SPEED: &[&str] = &["wpp", "pmode", "pme", "lookahead-slices", "opencl", "asm"];

/// The first of the warnings that is about an option of the command.
pub(super) fn find<'a>(encoder: &str, options: &[(String, String)], warnings: &'a [String]) -> Option<&'a str> {
    let table = match encoder {
        "libx264" | "libx264rgb" | "libx265" => X26X,
        "libsvtav1" => SVT_AV1,
        _ => return None,
    };
    let asked = asked(options);
    let is_asked = |name: &str| !OF_SPEED.contains(&name) && asked.iter().any(|asked| asked == name);
    warnings.iter().map(String::as_str).find(|line| {
        let line = line.to_ascii_lowercase();
        match table.iter().find(|(part, _)| line.contains(part)) {
            Some((_, names)) => names.iter().any(|name| is_asked(name)),
            None => turned_off(&line).any(is_asked),
        }
    })
}

/// The options that the command gives, and does not turn off: libav's own, and those inside `-x265-params` and its like.
fn asked(options: &[(String, String)]) -> Vec<String> {
    let listed = |(option, value): &(String, String)| {
        if params::is_list(option) { params::turned_on(option, value) } else { vec![option.clone()] }
    };
    options.iter().flat_map(listed).collect()
}

/// What a line says is turned off: the word before `disabled`, and the one behind `disabling`.
fn turned_off(line: &str) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches([',', '.', ':', ';', '-'])).collect();
    let pairs: Vec<(&str, &str)> = words.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.into_iter().filter_map(|pair| match pair {
        (name, "disabled") => Some(name),
        ("disabling", name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(encoder: &str, options: &[(&str, &str)], line: &str) -> bool {
        let options: Vec<_> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        find(encoder, &options, &[line.to_owned()]).is_some()
    }

    #[test]
    fn a_warning_counts_when_it_is_about_an_option_of_the_command() {
        let params = |list| [("x265-params", list)];
        for (list, line, counts) in [
            ("dhdr10-info=a", "x265 [warning]: --dhdr10-info disabled. Enable HDR10_PLUS in cmake.", true),
            ("rd-refine=1", "x265 [warning]: --rd-refine disabled, requires RD level > 4 and adaptive quant", true),
            ("no-rd-refine=1", "x265 [warning]: --rd-refine disabled, requires RD level > 4 and adaptive quant", false),
            ("dynamic-rd=2", "x265 [warning]: Dynamic-rd disabled, requires RD <= 4, VBV and aq-mode enabled", true),
            ("radl=2", "x265 [warning]: Radl requires closed gop structure. Disabling radl.", true),
            (
                "intra-refresh=1",
                "x265 [warning]: Max References > 1 + intra-refresh is not supported , setting max",
                false,
            ),
            ("ref=4", "x265 [warning]: Max References > 1 + intra-refresh is not supported , setting max", true),
            ("crf=20", "x265 [warning]: Source height < 720p; disabling lookahead-slices", false),
            ("lookahead-slices=4", "x265 [warning]: Source height < 720p; disabling lookahead-slices", false),
            ("hme_search=1,1,1", "x265 [warning]: Source height < 540p is too low for HME. Disabling HME.", true),
        ] {
            assert_eq!(found("libx265", &params(list), line), counts, "{list}: {line}");
        }
        let line = "[libx264 @ 0x1] VBV maxrate specified, but no bufsize, ignored";
        assert!(found("libx264", &[("maxrate", "500k")], line));
        assert!(!found("libx264", &[("crf", "20")], line));
        assert!(!found("ffv1", &[("maxrate", "500k")], line));
        let line = "Svt[warn]: Quantization matrices will be forced off since both min and max quant matrix levels are set to 15";
        assert!(found("libsvtav1", &[("svtav1-params", "enable-qm=1:qm-min=15")], line));
    }
}
