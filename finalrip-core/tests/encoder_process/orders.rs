//! Orders carried out, against what the library does in this process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use finalrip_core::task::{Answer, EncodedClip, EncoderProcess, Order, TaskPlan};
use finalrip_core::{ChunkLength, EncodeCommand, Rip, RipOptions, Script, Staged};
use serde_json::Value;

use crate::shared::{Place, failed, job};

pub(crate) async fn a_script_is_compiled_and_not_run() {
    let place = Place::new();
    let mut process = place.start().await;
    let mut check =
        async |script: &str| process.perform(&Order::Check { script: script.to_owned() }, &mut |_| {}).await;
    assert_eq!(check("import os\r\nos._exit(1)\r\n").await.unwrap(), Answer::Checked);
    assert_eq!(check("").await.unwrap(), Answer::Checked);
    assert_eq!(check("名 = '東京 🎬'").await.unwrap(), Answer::Checked);
    let failure = failed(check("a = 1\nclip = core.std.(a\n").await);
    assert!(failure.permanent);
    let expected =
        "  File \"<string>\", line 2\n    clip = core.std.(a\n                    ^\nSyntaxError: invalid syntax";
    assert_eq!(failure.reason, format!("the script is not valid Python:\n{expected}"));
    let failure = failed(check("\tif").await);
    assert!(failure.reason.contains("IndentationError: unexpected indent"), "{}", failure.reason);
    assert!(failed(check("a\0b").await).permanent);
    let failure = failed(check(&"(".repeat(100_000)).await);
    assert!(failure.permanent && failure.reason.len() < 4096, "{}", failure.reason);
    process.kill().await;
}

/// Each file below `folder` and when it was written.
fn files(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            if kind.is_dir() {
                open.push(path);
            } else {
                found.insert(path, kind.modified().unwrap());
            }
        }
    }
    found
}

pub(crate) async fn an_index_is_made_once() {
    let place = Place::new();
    let before = files(&place.cache());
    let mut process = place.start().await;
    let index = Order::Index { source: place.source() };
    assert_eq!(process.perform(&index, &mut |_| {}).await.unwrap(), Answer::Indexed);
    process.kill().await;
    let indexed = files(&place.cache());
    assert_eq!(indexed.len(), before.len() + 1, "{indexed:?}");
    // Another process, and a script that reads the source.
    let mut process = place.start().await;
    let script = "import os, vapoursynth as vs\nvs.core.bs.VideoSource(os.environ['FINALRIP_SOURCE']).set_output()";
    let planned = place.outcome(&mut process, script).await.unwrap();
    assert!(matches!(&planned, Answer::Planned(plan) if plan.clips.last().unwrap().end == 132), "{planned:?}");
    assert_eq!(process.perform(&index, &mut |_| {}).await.unwrap(), Answer::Indexed);
    process.kill().await;
    assert_eq!(files(&place.cache()), indexed, "nothing was written again");

    let mut place = Place::new();
    place.scope.source = Some(place.folder.join("secret"));
    let mut process = place.start().await;
    let failure = failed(process.perform(&Order::Index { source: place.source() }, &mut |_| {}).await);
    assert!(failure.reason.contains("VideoSource"), "{}", failure.reason);
    process.kill().await;
}

const COMMAND: &str = "ffmpeg -i - -vcodec libx264 -preset ultrafast -crf 30 -f mp4 -movflags +faststart";

/// Half of the clip, small; notes each time that it is evaluated.
const SCRIPT: &str = r"
import os, vapoursynth as vs
with open(os.environ['XDG_CACHE_HOME'] + '/evaluated', 'a') as note: note.write('x')
clip = vs.core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])[:60]
clip.resize.Bilinear(320, 180).set_output()
";

async fn plan(place: &Place, process: &mut EncoderProcess, command: &str) -> TaskPlan {
    let order = Order::Plan { source: place.source(), job: job(SCRIPT, command), workers: 2, chunk: ChunkLength::Auto };
    match process.perform(&order, &mut |_| {}).await {
        Ok(Answer::Planned(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

/// A chunk's record without the time that it took.
fn comparable(record: &str) -> Value {
    let mut record: Value = serde_json::from_str(record).unwrap();
    record.as_object_mut().unwrap().remove("elapsed");
    record
}

pub(crate) async fn clips_are_those_of_the_library() {
    let place = Place::new();
    let command = COMMAND.split(" -f ").next().unwrap();
    let mut process = place.start().await;
    let planned = plan(&place, &mut process, command).await;
    assert_eq!(planned.clips.iter().map(|range| range.len()).sum::<u32>(), 60);
    assert!(planned.clips.len() > 1, "{planned:?}");
    let mut clips = Vec::new();
    let clip = |index: u32, command: &str, output: &Path| {
        let (source, job, plan) = (place.source(), job(SCRIPT, command), planned.record.clone());
        // Every other clip is begun while the one before it ends.
        let goes_on = index.is_multiple_of(2);
        Order::Clip { source, index, job, plan, output: output.to_owned(), threads: Some(1), goes_on, like: None }
    };
    for (index, range) in (0..).zip(&planned.clips) {
        let output = process.scratch().join(format!("{index}.mkv"));
        let order = clip(index, command, &output);
        let mut last = 0;
        let answer = process.perform(&order, &mut |progress| last = progress.frames).await.unwrap();
        let Answer::Encoded(EncodedClip { bytes, record }) = answer else { panic!("{answer:?}") };
        assert_eq!(bytes, fs::metadata(&output).unwrap().len());
        assert!(last <= range.len());
        clips.push((output, record));
    }
    let evaluated = || fs::read_to_string(place.cache().join("evaluated")).unwrap().len();
    assert_eq!(evaluated(), 1, "one evaluation for the plan and all clips");

    let folder = tempfile::tempdir().unwrap();
    let script = Script::from_text(SCRIPT.replace("os.environ['XDG_CACHE_HOME']", &format!("{:?}", place.cache())));
    let options = RipOptions { workers: Some(2), ..RipOptions::default() };
    let rip = Rip::new(script, EncodeCommand::parse(command).unwrap(), folder.path().join("result.mkv"));
    let mut stages = rip.source(place.source()).options(options).stages().unwrap();
    let mut expected = stages.plan().unwrap();
    assert_eq!(planned.record, serde_json::to_string(&expected).unwrap());
    // The processes' encoders had one thread, as they were told.
    let text = serde_json::to_string(&expected).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["plan"]["threads"] = 1.into();
    expected = serde_json::from_value(value).unwrap();
    for (index, (_, record)) in clips.iter().enumerate() {
        let path = folder.path().join(format!("{index}.mkv"));
        let Staged::Done(chunk) = stages.encode(&expected, index, &path, None, &mut |_| {}).unwrap() else { panic!() };
        assert_eq!(comparable(record), comparable(&serde_json::to_string(&chunk).unwrap()), "clip {index}");
    }

    let output = process.scratch().join("result.mkv");
    // Whatever the command says, the result is Matroska.
    let job = job(SCRIPT, COMMAND);
    let (source, plan) = (place.source(), planned.record.clone());
    let first = clips[0].0.clone();
    let order = Order::Merge { source, job, plan, clips, output: output.clone() };
    let answer = process.perform(&order, &mut |_| {}).await.unwrap();
    assert_eq!(answer, Answer::Merged { bytes: fs::metadata(&output).unwrap().len() });
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-select_streams", "v", "-count_packets", "-of", "csv=p=0"]);
    probe.args(["-show_entries", "format=format_name:stream=nb_read_packets"]).arg(&output);
    let probed = String::from_utf8(probe.output().unwrap().stdout).unwrap();
    assert!(probed.contains("60") && probed.contains("matroska"), "{probed}");

    // A late worker has put another result in the place of the one that counts.
    fs::remove_file(&output).unwrap();
    process.perform(&clip(0, &format!("{command} -crf 50"), &first), &mut |_| {}).await.unwrap();
    let failure = failed(process.perform(&order, &mut |_| {}).await);
    assert!(failure.reason.contains("than its record says"), "{failure:?}");
    assert!(!output.exists());
    process.kill().await;
}

pub(crate) async fn failures_say_whether_to_try_again() {
    let place = Place::new();
    let mut process = place.start().await;
    let blank = "import vapoursynth as vs\nclip = vs.core.std.BlankClip(width=64, height=64, length=30)\n";
    let cases = [
        ("import nothing_like_this", "-c:v libx264", "No module named 'nothing_like_this'"),
        ("clip = 1", "-c:v libx264", "the script set no output 0"),
        (blank, "-c:v libnothing", "libnothing"),
        (blank, "-c:v libx264 -crf", "crf"),
    ];
    for (script, command, expected) in cases {
        let script = if script == blank { format!("{blank}clip.set_output()") } else { script.to_owned() };
        let order =
            Order::Plan { source: place.source(), job: job(&script, command), workers: 1, chunk: ChunkLength::Auto };
        let failure = failed(process.perform(&order, &mut |_| {}).await);
        assert!(failure.permanent && failure.reason.contains(expected), "{command}: {failure:?}");
    }
    // A frame that cannot be made may be made the next time.
    let script = format!(
        "{blank}import logging, sys\n\
         def make(n, f):\n    if n == 7:\n        print('on frame 7', file=sys.stderr)\n        raise ValueError('seven')\n    \
         return f\n\
         clip.resize.Point(format=vs.YUV420P8, matrix_s='709').std.ModifyFrame(clip.resize.Point(format=vs.YUV420P8, \
         matrix_s='709'), make).set_output()"
    );
    let order =
        Order::Plan { source: place.source(), job: job(&script, "-c:v libx264"), workers: 1, chunk: ChunkLength::Auto };
    let Answer::Planned(plan) = process.perform(&order, &mut |_| {}).await.unwrap() else { panic!() };
    let order = Order::Clip {
        source: place.source(),
        index: 0,
        job: job(&script, "-c:v libx264"),
        plan: plan.record,
        output: process.scratch().join("0.mkv"),
        threads: None,
        goes_on: false,
        like: None,
    };
    let failure = failed(process.perform(&order, &mut |_| {}).await);
    assert!(!failure.permanent && failure.reason.contains("frame 7 failed"), "{failure:?}");
    assert!(failure.reason.contains("ValueError: seven"), "{failure:?}");
    assert!(failure.log.contains("on frame 7"), "{failure:?}");
    let order = Order::Merge {
        source: place.source(),
        job: job(&script, "-c:v libx264"),
        plan: "{".to_owned(),
        clips: Vec::new(),
        output: process.scratch().join("result.mkv"),
    };
    let failure = failed(process.perform(&order, &mut |_| {}).await);
    assert!(failure.permanent && failure.reason.contains("the plan's record cannot be read"), "{failure:?}");
    process.kill().await;
}

pub(crate) async fn a_part_of_the_source_is_cut() {
    let place = Place::new();
    let mut process = place.start().await;
    let output = process.scratch().join("cut.mkv");
    let order = Order::Cut { source: place.source(), from: 0.25, to: 0.75, output: output.clone() };
    let answer = process.perform(&order, &mut |_| {}).await.unwrap();
    assert_eq!(answer, Answer::Cut { bytes: fs::metadata(&output).unwrap().len() });
    let order = Order::Cut { source: place.source(), from: 0.5, to: 0.25, output };
    let failure = failed(process.perform(&order, &mut |_| {}).await);
    assert!(failure.permanent, "{failure:?}");
    process.kill().await;
}
