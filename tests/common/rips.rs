//! What the tests of rips share: sources made by the distribution's ffmpeg, rips with their events, and the times of
//! packets.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use finalrip_core::{EncodeCommand, Error, Rip, RipEvent, RipOptions, RipReport, Script};
use serde_json::Value;

use super::{run, text_script};

/// Reads the source that the rip names; every script here begins with it.
pub const READ: &str = "import os\nclip = core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])";

/// A script over the source: `body` works on `clip`.
pub fn over_source(body: &str) -> String {
    text_script(&format!("{READ}\n{body}"))
}

/// A video of 100 small frames, no two of them the same, made by ffmpeg once a process: `arguments` come after the input
/// `testsrc2`, and `name` has the extension that names the container.
pub fn source(name: &str, input: &str, arguments: &[&str]) -> PathBuf {
    static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !made.contains(&path) {
        let partial = path.with_file_name(format!("{}-{name}", std::process::id()));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-f", "lavfi", "-i", input]).args(arguments);
        // The same bytes every time.
        ffmpeg.args(["-fflags", "+bitexact", "-flags:v", "+bitexact"]).arg(&partial);
        run(&mut ffmpeg);
        std::fs::rename(&partial, &path).expect("the source gets its name");
        made.push(path.clone());
    }
    path
}

/// 100 frames of 320x180 at 25 fps in a picture that moves, with noise on it.
pub const NOISY: &str = "testsrc2=s=320x180:r=25,noise=alls=12:allf=t:all_seed=7,trim=end_frame=100";

/// [`NOISY`] as H.264 with open groups of pictures: a seek lands on pictures that need the group before.
pub fn open_gop_h264() -> PathBuf {
    let params = "open-gop=1:keyint=24:min-keyint=24:bframes=3:b-adapt=0";
    source(
        "open-gop-h264.mkv",
        NOISY,
        &["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-x264-params", params],
    )
}

/// Tries a rip, and returns what happened in it as well.
pub fn try_rip(
    script: &Script,
    command: &str,
    output: &Path,
    options: &RipOptions,
) -> (Result<RipReport, Error>, Vec<RipEvent>) {
    let mut events = Vec::new();
    let command = EncodeCommand::parse(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    let rip = Rip::new(script.clone(), command, output).options(options.clone());
    let ended = rip.run(|event| events.push(event.clone()));
    (ended, events)
}

/// A rip that has to succeed, and has to leave nothing but the file.
pub fn rip(script: &Script, command: &str, output: &Path, options: &RipOptions) -> RipReport {
    let report = try_rip(script, command, output, options).0;
    let report = report.unwrap_or_else(|error| panic!("{}: {}", output.display(), whole_text(&error)));
    assert!(!state_of(output).exists(), "the state is still there");
    report
}

/// Where a rip keeps its state.
pub fn state_of(output: &Path) -> PathBuf {
    let mut name = output.file_name().expect("a file name").to_owned();
    name.push(".finalrip");
    output.with_file_name(name)
}

/// The chunks that a rip's state holds, in order.
pub fn finished_chunks(output: &Path) -> Vec<usize> {
    let names = super::files_in(&state_of(output));
    let number = |name: &String| name.strip_prefix("chunk-")?.strip_suffix(".json")?.parse().ok();
    names.iter().filter_map(number).collect()
}

/// The whole text that a user sees: the error and its causes.
pub fn whole_text(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A packet's times in ticks of its stream, as ffprobe shows them; containers without decode times have `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PacketTimes {
    pub pts: i64,
    pub dts: Option<i64>,
}

/// The times of the video's packets in the order of the file, and the time base as numerator and denominator.
pub fn packets(path: &Path) -> (Vec<PacketTimes>, (i64, i64)) {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-of", "json"]);
    ffprobe.args(["-show_entries", "packet=pts,dts:stream=time_base"]).arg(path);
    let shown: Value = serde_json::from_slice(&run(&mut ffprobe)).expect("JSON from ffprobe");
    let times = |packet: &Value| {
        let pts = packet["pts"].as_i64().unwrap_or_else(|| panic!("a packet without a time: {packet}"));
        PacketTimes { pts, dts: packet["dts"].as_i64() }
    };
    let base = shown["streams"][0]["time_base"].as_str().expect("a time base").split_once('/').expect("a fraction");
    let base = (base.0.parse().expect("a number"), base.1.parse().expect("a number"));
    (shown["packets"].as_array().expect("packets").iter().map(times).collect(), base)
}

/// Checks that a player finds the packets in order: decode times grow, and no picture is shown before it is decoded.
/// Returns the presentation times in seconds, in order.
pub fn sane_times(path: &Path) -> Vec<f64> {
    let (packets, (num, den)) = packets(path);
    let decoded: Vec<i64> = packets.iter().filter_map(|packet| packet.dts).collect();
    assert!(decoded.windows(2).all(|pair| pair[0] < pair[1]), "{}: decode times {decoded:?}", path.display());
    for packet in &packets {
        assert!(packet.dts.is_none_or(|dts| dts <= packet.pts), "{}: {packet:?}", path.display());
    }
    let mut shown: Vec<i64> = packets.iter().map(|packet| packet.pts).collect();
    shown.sort_unstable();
    shown.iter().map(|&pts| pts as f64 * num as f64 / den as f64).collect()
}
