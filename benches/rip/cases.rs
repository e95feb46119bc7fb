//! What is measured.

/// One job, done by every side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// What `filter` looks at.
    pub(crate) name: &'static str,
    /// What it is, for a reader.
    pub(crate) title: &'static str,
    /// The script, which reads `FINALRIP_SOURCE`.
    pub(crate) script: &'static str,
    /// ffmpeg's parameters between the input and the output.
    pub(crate) parameters: &'static [&'static str],
    /// The same for av1an: encoder and its parameters.
    pub(crate) av1an: (&'static str, &'static str),
}

/// The demo's script: a light denoiser.
const LIGHT: &str = include_str!("../../examples/demo.vpy");

/// As slow as many encoders: a wide temporal mean, two blurs and a blend, all in 16 bit and twice the size.
const HEAVY: &str = "\
import os
import vapoursynth as vs
core = vs.core
clip = core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])
big = clip.resize.Lanczos(clip.width * 2, clip.height * 2, format=vs.YUV420P16)
mean = big.std.AverageFrames(weights=[1, 2, 3, 4, 3, 2, 1])
soft = mean.std.Convolution(matrix=[1, 2, 1, 2, 4, 2, 1, 2, 1]).std.Median()
mask = core.std.Expr([big, soft], 'x y - abs 64 * 65535 min').std.Maximum().std.Inflate()
clip = core.std.MaskedMerge(soft, big, mask)
clip = clip.resize.Spline36(clip.width // 2, clip.height // 2, format=vs.YUV420P10, dither_type='error_diffusion')
clip.set_output()
";

const X264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-crf", "20"];
const X265: &[&str] = &["-c:v", "libx265", "-preset", "medium", "-crf", "22"];
const SVT: &[&str] = &["-c:v", "libsvtav1", "-preset", "8", "-crf", "35"];

fn all() -> [Case; 4] {
    let case = |name, title, script, parameters, av1an| Case { name, title, script, parameters, av1an };
    let x264 = ("x264", "--preset veryfast --crf 20");
    [
        case("light-x264", "light script, libx264 veryfast", LIGHT, X264, x264),
        case("heavy-x264", "heavy script, libx264 veryfast", HEAVY, X264, x264),
        case("light-svtav1", "light script, libsvtav1 preset 8", LIGHT, SVT, ("svt-av1", "--preset 8 --crf 35")),
        case("light-x265", "light script, libx265 medium", LIGHT, X265, ("x265", "--preset medium --crf 22")),
    ]
}

/// The cases whose name contains `filter`.
pub(crate) fn matching(filter: Option<&str>) -> Vec<Case> {
    all().into_iter().filter(|case| filter.is_none_or(|filter| case.name.contains(filter))).collect()
}
