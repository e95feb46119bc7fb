//! The life of tasks, through the service without HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod service;

use std::time::Duration;

use finalrip_core::task::{Event, Happening, LedgerError, Overrides, TaskError, TaskFilter, TaskState, WorkId};
use service::{LOSSLESS, Running, assert_frames, film, request, temporal, video};

const KEY: &str = "[Group] Täst 01 & more (1080p)+x%20\"quoted\" 片名🎬.mkv";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_from_upload_to_result_and_nothing_is_left_when_it_is_cleared() {
    let running = Running::start(2).await;
    let service = &running.service;
    let film = film();
    let presigned = service.presign(KEY, "http://here/objects").await.unwrap();
    assert!(!presigned.exist && presigned.url.starts_with("http://here/objects/"), "{presigned:?}");
    assert!(matches!(service.create(KEY).await, Err(TaskError::NoSource)));
    let unknown = service.start(KEY, request(&temporal())).await.unwrap_err();
    assert_eq!(unknown.to_string(), "Task not found, please upload video first.");
    running.upload(KEY, &film).await;
    assert!(matches!(service.create(KEY).await, Err(TaskError::Ledger(LedgerError::TaskExists))));

    running.begin(KEY, &temporal()).await;
    let again = service.start(KEY, request(&temporal())).await.unwrap_err();
    assert_eq!(again.to_string(), "Task already started.");
    assert!(matches!(service.presign(KEY, "").await, Err(TaskError::SourceInUse { .. })));
    let events = running.follow(KEY, 0, TaskState::Completed).await;
    let result = running.result(KEY).await;
    assert_frames(&result, &temporal(), &film);
    let streams = common::probe(&result);
    assert_eq!(streams["streams"][1]["codec_name"], "aac");
    assert_eq!(streams["streams"][1]["tags"]["language"], "jpn");

    let view = service.progress(KEY).await.unwrap();
    assert_eq!(view.progress.clips.len(), 5);
    assert_eq!((view.progress.frames(), view.progress.frames_total()), (100, 100));
    assert_eq!(view.source_bytes, Some(std::fs::metadata(&film).unwrap().len()));
    assert_eq!(view.result_bytes, Some(std::fs::metadata(&result).unwrap().len()));
    check_events(&events);
    // Following goes on after any entry, over the end of the task.
    let logged = |event: &Event| if let Event::Log(entry) = event { Some(entry.id) } else { None };
    let ids: Vec<u64> = events.iter().filter_map(logged).collect();
    let rest = running.follow(KEY, ids[3], TaskState::Completed).await;
    assert_eq!(rest.iter().filter_map(logged).collect::<Vec<_>>(), ids[4..]);

    service.clear(KEY).await.unwrap();
    let cleared = service.clear(KEY).await.unwrap_err();
    assert_eq!(cleared.to_string(), "Task not found, please check the video key");
    assert!(service.store().task_objects(&video(KEY)).await.unwrap().is_empty());
    assert!(service.list(TaskFilter::states(TaskState::ALL)).await.unwrap().is_empty());
    running.stop().await;
}

fn check_events(events: &[Event]) {
    let mut states = Vec::new();
    let mut done = Vec::new();
    let mut last = 0;
    for event in events {
        match event {
            Event::Log(entry) => {
                assert!(entry.id > last);
                last = entry.id;
                match &entry.happening {
                    Happening::State { state, .. } => states.push(*state),
                    Happening::Done { work } => done.push(*work),
                    _ => {}
                }
            }
            Event::Progress(view) => assert!(view.progress.frames() <= 100),
        }
    }
    let expected =
        [TaskState::Pending, TaskState::Planning, TaskState::Encoding, TaskState::Merging, TaskState::Completed];
    assert_eq!(states, expected);
    done.sort();
    let clips = (0..5).map(WorkId::Clip);
    assert_eq!(done, [WorkId::Index, WorkId::Plan].into_iter().chain(clips).chain([WorkId::Merge]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_and_commands_are_checked_before_a_task_starts() {
    let running = Running::start(1).await;
    running.upload("a.mkv", &film()).await;
    let refused = async |script: &str, command: &str| {
        let request = finalrip_core::task::StartRequest { command: command.to_owned(), ..request(script) };
        running.service.start("a.mkv", request).await.unwrap_err().to_string()
    };
    let error = refused("import vapoursynth as vs\nclip = = 3\n", LOSSLESS).await;
    assert!(error.contains("SyntaxError") && error.contains("line 2"), "{error}");
    let error = refused(" \n", LOSSLESS).await;
    assert!(error.contains("empty"), "{error}");
    let error = refused("x = 1", "ffmpeg -i - -c:v libx256").await;
    assert!(error.contains("libx256"), "{error}");
    assert_eq!(running.service.progress("a.mkv").await.unwrap().progress.task.state, TaskState::Pending);
    // Compiled, and not run.
    running.begin("a.mkv", "raise SystemError('it was run')").await;
    let view = running.wait_for_end("a.mkv").await;
    let failure = view.progress.task.failure.unwrap();
    assert!(failure.contains("SystemError: it was run"), "{failure}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clip_that_turns_out_to_be_variable_keeps_its_times_and_is_planned_once() {
    let running = Running::start(2).await;
    let film = film();
    // Nothing at the boundaries shows it: only the frames 50 to 54 last longer.
    let script = common::rips::over_source(
        "def longer(n, f):\n    f = f.copy()\n    long = 50 <= n < 55\n    \
         f.props['_DurationNum'], f.props['_DurationDen'] = (3 if long else 1), 25\n    return f\n\
         clip = clip.std.ModifyFrame(clip, longer)",
    );
    running.upload("v.mkv", &film).await;
    running.begin("v.mkv", &script).await;
    let result = running.result("v.mkv").await;
    let planned = running.log("v.mkv").await;
    let planned = planned.iter().filter(|happening| matches!(happening, Happening::Planned { .. })).count();
    assert_eq!(planned, 1, "clips were encoded again");
    let folder = common::scratch();
    let single = folder.path().join("single.mkv");
    let whole = finalrip_core::Script::from_text(script.as_str()).source(&film);
    common::encode(&whole, "-c:v ffv1", &single);
    assert_eq!(common::frame_hashes(&result, "yuv420p"), common::frame_hashes(&single, "yuv420p"));
    // In milliseconds from the first picture; the sound of the source begins before it.
    let video_times = |path: &std::path::Path| -> Vec<i64> {
        let mut ffprobe = std::process::Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]);
        let text = String::from_utf8(common::run(ffprobe.arg(path))).unwrap();
        let seconds: Vec<f64> = text.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
        seconds.iter().map(|time| ((time - seconds[0]) * 1000.0).round() as i64).collect()
    };
    assert_eq!(video_times(&result), video_times(&single));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retried_clip_is_encoded_by_its_own_script_and_merged_again() {
    let running = Running::start(1).await;
    let film = film();
    running.upload("r.mkv", &film).await;
    let missing = running.service.retry_encode("r.mkv", 1, Overrides::default()).await.unwrap_err();
    assert_eq!(missing.to_string(), "Encode clip not exist");
    running.begin("r.mkv", &temporal()).await;
    let early = running.service.retry_merge("r.mkv").await.unwrap_err();
    assert_eq!(early.to_string(), "Some clips are not finished yet.");
    running.wait_for("r.mkv", |view| view.progress.clips.len() == 5).await;
    // Also while it runs.
    let inverted = format!("{}\nclip = clip.std.Invert()\nclip.set_output()\n", temporal());
    let overrides = Overrides { script: Some(inverted.clone()), ..Overrides::default() };
    running.service.retry_encode("r.mkv", 2, overrides).await.unwrap();
    let result = running.result("r.mkv").await;
    let mixed = common::rips::over_source(
        "clip = clip.std.AverageFrames([1, 2, 1]).std.Convolution([1, 2, 1, 2, 4, 2, 1, 2, 1])\n\
         clip = clip[:40] + clip[40:60].std.Invert() + clip[60:]",
    );
    assert_frames(&result, &mixed, &film);

    let before = std::fs::read(&result).unwrap();
    running.service.retry_merge("r.mkv").await.unwrap();
    assert_eq!(std::fs::read(running.result("r.mkv").await).unwrap(), before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_stops_at_once_and_a_retry_goes_on() {
    let running = Running::start(1).await;
    let film = film();
    running.upload("c.mkv", &film).await;
    assert!(running.service.cancel("c.mkv").await.is_err());
    // Slow enough to be caught in the middle, for one clip.
    let script = common::rips::over_source(
        "import time\ndef slow(n, f):\n    if n >= 40:\n        time.sleep(0.05)\n    return f\n\
         clip = clip.std.ModifyFrame(clip, slow)",
    );
    running.begin("c.mkv", &script).await;
    running.wait_for("c.mkv", |view| view.progress.clips.get(2).is_some_and(|clip| clip.frames > 2)).await;
    assert!(running.processes() > 0);
    running.service.cancel("c.mkv").await.unwrap();
    let begin = std::time::Instant::now();
    running.service.cancel("c.mkv").await.unwrap();
    while running.processes() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "its process still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let view = running.service.progress("c.mkv").await.unwrap();
    assert_eq!(view.progress.task.state, TaskState::Cancelled);
    assert_eq!(view.progress.clips[0].frames, 20);
    let done = running.log("c.mkv").await;
    running.service.retry_encode("c.mkv", 4, Overrides::default()).await.unwrap();
    let result = running.result("c.mkv").await;
    assert_frames(&result, &common::rips::over_source(""), &film);
    let again = running.log("c.mkv").await.split_off(done.len());
    let clips = |happening: &Happening| matches!(happening, Happening::Done { work: WorkId::Clip(0 | 1) });
    assert!(!again.iter().any(clips), "finished clips are kept");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_can_be_cleared_in_every_state_and_made_again() {
    let running = Running::start(1).await;
    let film = film();
    let slow = common::rips::over_source(
        "import time\ndef slow(n, f):\n    time.sleep(0.02)\n    return f\nclip = clip.std.ModifyFrame(clip, slow)",
    );
    type Reached = fn(&finalrip_core::task::TaskView) -> bool;
    let states: [Reached; 5] = [
        |_| true,
        |view| view.progress.task.state == TaskState::Planning,
        |view| view.progress.clips.iter().any(|clip| clip.frames > 0),
        |view| matches!(view.progress.task.state, TaskState::Merging | TaskState::Completed),
        |view| view.progress.task.state == TaskState::Completed,
    ];
    for (number, reached) in states.into_iter().enumerate() {
        running.upload("s.mkv", &film).await;
        if number > 0 {
            running.begin("s.mkv", &slow).await;
        }
        running.wait_for("s.mkv", reached).await;
        running.service.clear("s.mkv").await.unwrap();
        let left = running.service.store().task_objects(&video("s.mkv")).await.unwrap();
        assert!(left.is_empty(), "state {number}: {left:?}");
        assert!(matches!(running.service.progress("s.mkv").await, Err(TaskError::Ledger(LedgerError::UnknownTask))));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_starts_at_once_start_it_once() {
    let running = Running::start(1).await;
    running.upload("t.mkv", &film()).await;
    let script = temporal();
    let starts = (0..4).map(|_| running.service.start("t.mkv", request(&script)));
    let started = futures_util::future::join_all(starts).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(started, 1);
    assert_frames(&running.result("t.mkv").await, &script, &film());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_tasks_objects_are_refused() {
    let running = Running::start(0).await;
    running.upload("k.mkv", &film()).await;
    for key in ["k.mkv-Encoded.mkv", "k.mkv-clip-0.mkv", "k.mkv-clip-encoded-17.mkv"] {
        let refused = running.service.presign(key, "").await;
        assert!(matches!(refused, Err(TaskError::KeyTaken { .. })), "{key}: {refused:?}");
        assert!(matches!(running.service.create(key).await, Err(TaskError::KeyTaken { .. })), "{key}");
    }
    // Before it is started, its source may be replaced; and what only looks like a task's object is a key like others.
    assert!(running.service.presign("k.mkv", "").await.unwrap().exist);
    assert!(!running.service.presign("other.mkv-Encoded.mkv", "").await.unwrap().exist);
    // A task whose result would replace another video is refused.
    running.upload("other.mkv-Encoded.mkv", &film()).await;
    running.service.store().put_file(&video("other.mkv").source(), &film()).await.unwrap();
    assert!(matches!(running.service.create("other.mkv").await, Err(TaskError::KeyTaken { .. })));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_part_of_the_source_that_a_clip_covers_is_cut_when_asked() {
    let running = Running::start(1).await;
    let service = &running.service;
    running.upload("p.mkv", &film()).await;
    assert!(matches!(service.clip("p.mkv", 0).await, Err(TaskError::Ledger(LedgerError::NoSuchClip))));
    running.begin("p.mkv", &temporal()).await;
    running.wait_for("p.mkv", |view| view.progress.clips.len() == 5).await;
    let (one, two) = tokio::join!(service.clip("p.mkv", 3), service.clip("p.mkv", 3));
    let key = one.unwrap();
    assert_eq!((key.to_string().as_str(), &two.unwrap()), ("p.mkv-clip-3.mkv", &key));
    let file = service.store().local_path(&key).await.unwrap().unwrap();
    let streams = common::probe(&file);
    assert_eq!(streams["streams"][0]["codec_name"], "h264");
    assert_eq!(streams["streams"][1]["codec_name"], "aac");
    let (video, base) = (video("p.mkv"), "http://here/");
    let link = service.clip_link(&video, 3, base);
    let query = link.split_once('?').unwrap().1;
    assert!(link.starts_with("http://here/api/v1/task/clip?video_key=p.mkv&index=3&"), "{link}");
    assert!(service.check_clip_link(&video, 3, query) && !service.check_clip_link(&video, 2, query));
    running.result("p.mkv").await;
    service.clear("p.mkv").await.unwrap();
    assert!(service.store().task_objects(&video).await.unwrap().is_empty());
    running.stop().await;
}

/// README's own example: the parameter sets of x264 and x265 hold what `-crf` decides. The first result stays until the second is
/// in place, and what could not be joined is refused before it is encoded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clip_retried_with_other_settings_is_joined_to_the_rest() {
    let running = Running::start(1).await;
    let (film, script) = (film(), common::rips::over_source(""));
    for (key, command) in [
        ("h.mkv", "ffmpeg -i - -c:v libx265 -preset ultrafast -x265-params log-level=none -crf"),
        ("a.mkv", "ffmpeg -i - -c:v libx264 -preset ultrafast -crf"),
    ] {
        running.upload(key, &film).await;
        let start = finalrip_core::task::StartRequest { command: format!("{command} 30"), ..request(&script) };
        running.service.start(key, start).await.unwrap();
        let first = std::fs::read(running.result(key).await).unwrap();
        let retry = async |index: u32, command: &str| {
            let overrides = Overrides { command: Some(command.to_owned()), ..Overrides::default() };
            running.service.retry_encode(key, index, overrides).await
        };
        // Another codec is refused at once, and nothing changes.
        let refused = retry(1, "ffmpeg -i - -c:v ffv1").await.unwrap_err();
        assert!(refused.to_string().contains("the command makes ffv1"), "{refused}");
        assert_eq!(running.service.progress(key).await.unwrap().progress.task.state, TaskState::Completed);

        retry(1, &format!("{command} 12 -g 5")).await.unwrap();
        let view = running.service.progress(key).await.unwrap();
        assert!(view.result_bytes.is_some(), "{key} has a result all the time");
        let result = running.result(key).await;
        assert!(std::fs::read(&result).unwrap() != first, "{key} is merged again");
        let mut ffmpeg = std::process::Command::new("ffmpeg");
        ffmpeg.args(["-v", "warning", "-i"]).arg(&result).args(["-map", "0:v", "-f", "framemd5", "-"]);
        let judged = ffmpeg.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&judged.stderr), "", "{key}");
        assert_eq!(common::hashes_of(&judged.stdout).len(), 100, "{key}");

        // Another size shows when the script is evaluated: no frame of it is encoded, and the result is still there.
        let joined = std::fs::metadata(&result).unwrap().len();
        retry(0, &format!("{command} 30 -s 64x64")).await.unwrap();
        let view = running.wait_for_end(key).await;
        let failure = view.progress.task.failure.unwrap();
        assert!(failure.starts_with("clip 0: ") && failure.contains("the size is 64x64"), "{failure}");
        assert_eq!((view.progress.clips[0].attempts, view.result_bytes), (1, Some(joined)));
        retry(0, &format!("{command} 30")).await.unwrap();
        running.result(key).await;
    }
    running.stop().await;
}
