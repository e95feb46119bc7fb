//! HDR10 metadata in the bitstream, for the encoders that take it through their own parameters.
//!
//! FFmpeg before 7.0 has no way to hand mastering display and content light level to an encoder, so they are written
//! as the encoder's own parameters. What the command says wins.

use crate::frames::{HdrMetadata, MasteringDisplay};

/// How an encoder spells the two: its parameter option, and the keys in it.
struct Spelling {
    encoder: &'static str,
    option: &'static str,
    mastering: &'static str,
    light: &'static str,
    /// Integer units (x264, x265: 0.00002 and 0.0001 cd/m²) or decimals (SVT-AV1).
    integers: bool,
    /// Whether writing the messages needs one more switch.
    extra: Option<&'static str>,
}

const SPELLINGS: [Spelling; 3] = [
    Spelling {
        encoder: "libx264",
        option: "x264-params",
        mastering: "mastering-display",
        light: "cll",
        integers: true,
        extra: None,
    },
    Spelling {
        encoder: "libx265",
        option: "x265-params",
        mastering: "master-display",
        light: "max-cll",
        integers: true,
        extra: Some("hdr10=1"),
    },
    Spelling {
        encoder: "libsvtav1",
        option: "svtav1-params",
        mastering: "mastering-display",
        light: "content-light",
        integers: false,
        extra: None,
    },
];

/// `options` with the metadata added to the encoder's parameters, where the encoder takes it and the command is silent.
pub(super) fn with_metadata(encoder: &str, options: &[(String, String)], hdr: &HdrMetadata) -> Vec<(String, String)> {
    let mut options = options.to_vec();
    let Some(spelling) = SPELLINGS.iter().find(|spelling| spelling.encoder == encoder) else {
        return options;
    };
    let given = options.iter().rev().find(|(key, _)| key == spelling.option).map_or("", |(_, value)| value.as_str());
    let silent = |key: &str| !given.split(':').any(|pair| pair.split('=').next() == Some(key));
    let mut parameters: Vec<String> = Vec::new();
    if let Some(mastering) = hdr.mastering.as_ref().filter(|_| silent(spelling.mastering)) {
        parameters.push(format!("{}={}", spelling.mastering, mastering_text(mastering, spelling.integers)));
    }
    if let Some(light) = hdr.light.as_ref().filter(|_| silent(spelling.light)) {
        parameters.push(format!("{}={},{}", spelling.light, light.max_content, light.max_frame_average));
    }
    if parameters.is_empty() {
        return options;
    }
    parameters.extend(spelling.extra.map(str::to_owned));
    // The command's own text goes last, so that it wins over what is added here.
    parameters.extend((!given.is_empty()).then(|| given.to_owned()));
    options.push((spelling.option.to_owned(), parameters.join(":")));
    options
}

/// `G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`, the notation that x264, x265 and SVT-AV1 share.
fn mastering_text(mastering: &MasteringDisplay, integers: bool) -> String {
    let [red, green, blue] = mastering.primaries;
    let chromaticity = |[x, y]: [f64; 2]| {
        if integers { format!("({:.0},{:.0})", x * 50_000.0, y * 50_000.0) } else { format!("({x:.5},{y:.5})") }
    };
    let luminance = |value: f64| if integers { format!("{:.0}", value * 10_000.0) } else { format!("{value:.4}") };
    format!(
        "G{}B{}R{}WP{}L({},{})",
        chromaticity(green),
        chromaticity(blue),
        chromaticity(red),
        chromaticity(mastering.white_point),
        luminance(mastering.max_luminance),
        luminance(mastering.min_luminance),
    )
}
