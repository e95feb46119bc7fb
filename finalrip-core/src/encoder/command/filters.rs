//! Which of a command's filters look at one frame at a time.

use super::EncodeCommand;

/// libavfilter's filters whose output depends on the frame before them alone, unless an expression of theirs uses the
/// frame's number or time. Any other is taken to remember something.
const PER_FRAME: [&str; 76] = [
    "alphaextract",
    "alphamerge",
    "avgblur",
    "bilateral",
    "boxblur",
    "cas",
    "chromahold",
    "chromakey",
    "chromanr",
    "chromashift",
    "colorbalance",
    "colorchannelmixer",
    "colorcontrast",
    "colorcorrect",
    "colorhold",
    "colorize",
    "colorkey",
    "colorlevels",
    "colorspace",
    "colortemperature",
    "convolution",
    "crop",
    "curves",
    "deband",
    "deblock",
    "dctdnoiz",
    "despill",
    "dilation",
    "drawbox",
    "drawgrid",
    "edgedetect",
    "elbg",
    "epx",
    "erosion",
    "exposure",
    "extractplanes",
    "fftfilt",
    "fillborders",
    "format",
    "gblur",
    "grayworld",
    "gradfun",
    "hflip",
    "hqx",
    "hsvhold",
    "hsvkey",
    "hue",
    "il",
    "inflate",
    "deflate",
    "lenscorrection",
    "limiter",
    "lut",
    "lut1d",
    "lut3d",
    "lutrgb",
    "lutyuv",
    "median",
    "monochrome",
    "negate",
    "nlmeans",
    "noformat",
    "null",
    "pad",
    "prewitt",
    "scale",
    "setdar",
    "setfield",
    "setparams",
    "setsar",
    "smartblur",
    "tonemap",
    "transpose",
    "unsharp",
    "vflip",
    "zscale",
];

/// The frame's number, time and place in the file, as libavfilter's expressions name them.
const COUNTERS: [&str; 3] = ["n", "t", "pos"];

impl EncodeCommand {
    /// The parts of the command that look at more than one frame, by name: filters with memory, and `-r`, which repeats
    /// and drops frames. A clip that goes through them cannot be divided without the seams being seen.
    pub(crate) fn filters_with_memory(&self) -> Vec<String> {
        let filters = self.filters.as_deref().map(split).unwrap_or_default();
        let kept = filters.into_iter().filter(|filter| !filter.is_per_frame());
        kept.map(|filter| format!("filter {}", filter.name)).chain(self.frame_rate.map(|_| "-r".to_owned())).collect()
    }
}

/// One filter of a graph.
#[derive(Debug, Default)]
struct Filter {
    name: String,
    arguments: String,
}

impl Filter {
    fn is_per_frame(&self) -> bool {
        let mut words = self.arguments.split(|character: char| !character.is_alphanumeric() && character != '_');
        PER_FRAME.contains(&self.name.as_str()) && !words.any(|word| COUNTERS.contains(&word))
    }
}

/// The filters of a chain or graph, in libavfilter's syntax.
fn split(graph: &str) -> Vec<Filter> {
    let mut filters = vec![Filter::default()];
    let (mut in_name, mut quoted, mut in_label) = (true, false, false);
    let mut characters = graph.chars();
    while let Some(character) = characters.next() {
        let Some(filter) = filters.last_mut() else { break };
        match character {
            '\\' => filter.arguments.extend(characters.next()),
            '\'' => quoted = !quoted,
            '[' if !quoted => in_label = true,
            ']' if !quoted => in_label = false,
            ',' | ';' if !quoted => {
                filters.push(Filter::default());
                in_name = true;
            }
            '=' | '@' if in_name => in_name = false,
            _ if in_label || (in_name && character.is_whitespace()) => {}
            _ if in_name => filter.name.push(character),
            _ => filter.arguments.push(character),
        }
    }
    filters.retain(|filter| !filter.name.is_empty());
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_between_labels_quotes_and_escapes() {
        let graph = r"[in] scale@a=1280:720 , lut=y='if(gt(val,16),val,16)',crop=iw\,2:ih; [x]tmix=frames=3[out]";
        let names: Vec<String> = split(graph).into_iter().map(|filter| filter.name).collect();
        assert_eq!(names, ["scale", "lut", "crop", "tmix"]);
    }

    #[test]
    fn only_what_looks_at_several_frames_is_named() {
        let kept = |text: &str| EncodeCommand::parse(text).unwrap().filters_with_memory();
        assert!(kept("-c:v ffv1 -vf scale=640:360,setsar=1,format=yuv420p -s 320x180").is_empty());
        assert_eq!(kept("-c:v ffv1 -vf scale=640:360,hqdn3d -r 30"), ["filter hqdn3d", "-r"]);
        assert_eq!(kept("-c:v ffv1 -vf crop=iw/2:ih:n:0"), ["filter crop"]);
    }
}
