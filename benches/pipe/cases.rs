//! What is measured, and what each case is to reach.

/// One piece of work, done by every side.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What `filter` looks at.
    pub(crate) name: &'static str,
    /// What it is, for a reader.
    pub(crate) title: &'static str,
    /// Where frames come from.
    pub(crate) content: Content,
    /// Frames to encode.
    pub(crate) frames: u32,
    /// ffmpeg's parameters between the input and the output.
    pub(crate) parameters: &'static [&'static str],
    /// What the median is to reach against the pipe.
    pub(crate) goal: Goal,
}

/// Where the frames of a case come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    /// One blank frame, made once: whatever is not the encoder is the way to it.
    Blank { format: &'static str, width: u32, height: u32 },
    /// The demo's script over a longer source without two frames alike.
    Demo,
}

/// What the median of the ratios is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// At least this many times the pipe's frames a second.
    pub(crate) speed: f64,
    /// At most this share of the pipe's CPU time.
    pub(crate) cpu: Option<f64>,
}

/// At most this many times the CPU time of the filter graph alone and the encoder alone.
pub(crate) const CPU_OF_SUM: f64 = 1.03;

/// Frames of the longer source, and so the most that a [`Content::Demo`] case can have.
pub(crate) const DEMO_FRAMES: u32 = 600;

const HD: Content = Content::Blank { format: "YUV420P8", width: 1920, height: 1080 };
const UHD: Content = Content::Blank { format: "YUV420P8", width: 3840, height: 2160 };
const UHD_10: Content = Content::Blank { format: "YUV420P10", width: 3840, height: 2160 };
const ULTRAFAST: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast"];
const FFV1: &[&str] = &["-c:v", "ffv1"];

/// Faster than the pipe by a factor; what blank clips show.
const fn faster(speed: f64) -> Goal {
    Goal { speed, cpu: None }
}

/// Where the encoder does nearly all the work: never slower, and with less CPU time.
const CHEAPER: Goal = Goal { speed: 1.0, cpu: Some(0.97) };

fn all() -> Vec<Case> {
    let case = |name, title, content, frames, parameters, goal| Case { name, title, content, frames, parameters, goal };
    vec![
        case("x264-1080p", "blank 1080p 8-bit, libx264 ultrafast", HD, 1500, ULTRAFAST, faster(2.5)),
        case("ffv1-1080p", "blank 1080p 8-bit, ffv1", HD, 300, FFV1, faster(1.5)),
        case("ffv1-2160p10", "blank 2160p 10-bit, ffv1", UHD_10, 80, FFV1, faster(1.8)),
        case("x264-2160p", "blank 2160p 8-bit, libx264 ultrafast", UHD, 250, ULTRAFAST, faster(1.1)),
        case(
            "demo-x264",
            "demo script 720p, libx264 veryfast",
            Content::Demo,
            360,
            &["-c:v", "libx264", "-preset", "veryfast", "-crf", "20"],
            CHEAPER,
        ),
        case(
            "demo-x265",
            "demo script 720p, libx265 medium",
            Content::Demo,
            90,
            &["-c:v", "libx265", "-preset", "medium", "-crf", "22"],
            CHEAPER,
        ),
        case(
            "demo-svtav1",
            "demo script 720p, libsvtav1 preset 8",
            Content::Demo,
            120,
            &["-c:v", "libsvtav1", "-preset", "8", "-crf", "35"],
            CHEAPER,
        ),
    ]
}

/// The cases whose name contains `filter`; `quick` ones have fewer frames.
pub(crate) fn matching(filter: Option<&str>, quick: bool) -> Vec<Case> {
    let mut cases = all();
    cases.retain(|case| filter.is_none_or(|filter| case.name.contains(filter)));
    if quick {
        cases.iter_mut().for_each(|case| case.frames /= 4);
    }
    cases
}

impl Case {
    /// The script, evaluated as it is by every side.
    pub(crate) fn script(&self) -> String {
        let frames = self.frames;
        match self.content {
            Content::Blank { format, width, height } => format!(
                "import vapoursynth as vs\n\
                 clip = vs.core.std.BlankClip(width={width}, height={height}, format=vs.{format}, length={frames}, \
                 fpsnum=25, fpsden=1, keep=True)\n\
                 clip.set_output()\n"
            ),
            Content::Demo => format!("{}\nclip[:{frames}].set_output()\n", include_str!("../../examples/demo.vpy")),
        }
    }
}
