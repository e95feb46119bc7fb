//! The routes of the API document and `task/cancel`: every field, its type, and every message.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Seek, Write};
use std::process::Command;

use bytes::Bytes;
use common::{Live, NASTY, SCRIPT, TOKEN, multipart, request, urlencoded};
use finalrip_core::task::{Failure, Queue, TaskFilter, TaskState, Work, WorkProgress};
use serde_json::{Value, json};

const COMMAND: &str = "ffmpeg -i - -c:v libx264 -crf 16";

/// A field's name, and whether a value is of its type.
type Field = (&'static str, fn(&Value) -> bool);

/// Whether a value has exactly these fields, each of its type.
fn has_shape(value: &Value, shape: &[Field]) {
    let mut names: Vec<&str> = shape.iter().map(|(name, _)| *name).collect();
    let mut found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, names);
    for (name, is) in shape {
        assert!(is(&value[name]), "{name}: {}", value[name]);
    }
}

fn text_or_null(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

fn number_or_null(value: &Value) -> bool {
    value.is_u64() || value.is_null()
}

const TASK: [Field; 9] = [
    ("key", Value::is_string),
    ("url", Value::is_string),
    ("encode_key", Value::is_string),
    ("encode_url", Value::is_string),
    ("encode_param", Value::is_string),
    ("script", Value::is_string),
    ("status", Value::is_string),
    ("create_at", Value::is_i64),
    ("error", text_or_null),
];

const CLIP: [Field; 12] = [
    ("completed", Value::is_boolean),
    ("index", Value::is_u64),
    ("clip_key", Value::is_string),
    ("clip_url", Value::is_string),
    ("encode_key", Value::is_string),
    ("encode_url", Value::is_string),
    ("status", Value::is_string),
    ("frames", Value::is_u64),
    ("frames_total", Value::is_u64),
    ("fps", Value::is_f64),
    ("attempts", Value::is_u64),
    ("error", text_or_null),
];

fn has_progress_shape(data: &Value) {
    let more: [Field; 8] = [
        ("progress", Value::is_array),
        ("size", Value::is_string),
        ("encode_size", Value::is_string),
        ("frames", Value::is_u64),
        ("frames_total", Value::is_u64),
        ("fps", Value::is_f64),
        ("eta_seconds", number_or_null),
        ("log", text_or_null),
    ];
    has_shape(data, &[&TASK[..], &more[..]].concat());
    for clip in data["progress"].as_array().unwrap() {
        has_shape(clip, &CLIP);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_described_in_every_state() {
    let live = Live::start().await;
    let key = "show/a.mkv";
    live.task(key).await;
    let pending = live.about("progress", key).await.data();
    has_progress_shape(&pending);
    assert_eq!(
        (&pending["status"], &pending["progress"], &pending["size"]),
        (&json!("pending"), &json!([]), &json!("6 B"))
    );
    assert_eq!(
        (&pending["script"], &pending["encode_url"], &pending["encode_size"]),
        (&json!(""), &json!(""), &json!(""))
    );
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
        - pending["create_at"].as_i64().unwrap();
    assert!((0..60).contains(&age), "seconds since 1970");

    live.planned("b.mkv", 3).await;
    let lease = live.ledger.lease_next("test").await.unwrap().unwrap();
    assert!(matches!(lease.work, Work::Clip { index: 0, .. }));
    live.ledger.heartbeat(lease.token, WorkProgress { frames: 4, fps: 2.0 }).await.unwrap();
    let running = live.about("progress", "b.mkv").await.data();
    has_progress_shape(&running);
    assert_eq!(
        (&running["status"], &running["frames"], &running["frames_total"]),
        (&json!("running"), &json!(4), &json!(30))
    );
    assert_eq!((&running["eta_seconds"], &running["script"]), (&json!(13), &json!(SCRIPT)));
    let clip = &running["progress"][0];
    assert_eq!((&clip["status"], &clip["frames"], &clip["attempts"]), (&json!("running"), &json!(4), &json!(1)));
    assert_eq!(
        (&clip["clip_key"], &clip["encode_key"]),
        (&json!("b.mkv-clip-0.mkv"), &json!("b.mkv-clip-encoded-0.mkv"))
    );
    assert_eq!((&clip["encode_url"], &running["progress"][1]["status"]), (&json!(""), &json!("pending")));

    let failure = Failure { reason: "no such filter".to_owned(), log: "line 1\nline 2".to_owned(), permanent: true };
    live.ledger.fail(lease.token, failure).await.unwrap();
    let failed = live.about("progress", "b.mkv").await.data();
    has_progress_shape(&failed);
    assert_eq!((&failed["status"], &failed["log"]), (&json!("failed"), &json!("line 1\nline 2")));
    assert!(failed["error"].as_str().unwrap().contains("no such filter"));
    assert_eq!(
        (&failed["progress"][0]["status"], &failed["progress"][1]["status"]),
        (&json!("failed"), &json!("stopped"))
    );

    live.completed("c.mkv", 2).await;
    let completed = live.about("progress", "c.mkv").await.data();
    has_progress_shape(&completed);
    assert_eq!(
        (&completed["status"], &completed["encode_size"], &completed["error"]),
        (&json!("completed"), &json!("1.5 KiB"), &Value::Null)
    );
    for (url, content) in [
        (&completed["url"], "a film"),
        (&completed["encode_url"], "c.mkv-Encoded.mkv"),
        (&completed["progress"][1]["encode_url"], "c.mkv-clip-encoded-1.mkv"),
    ] {
        assert_eq!(live.follow("GET", url.as_str().unwrap(), &[], "").await.text(), content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_the_newest_first_and_what_the_flags_say() {
    let live = Live::start().await;
    live.completed("done.mkv", 1).await;
    live.planned("cancelled.mkv", 1).await;
    live.post("cancel", &[("video_key", "cancelled.mkv")]).await.ok();
    live.planned("running.mkv", 1).await;
    live.task("pending.mkv").await;
    let keys = async |query: &str| -> Vec<(String, String)> {
        let data = live.get(&format!("/api/v1/task/list{query}")).await.data();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        data.as_array().unwrap().iter().map(|task| (text(&task["key"]), text(&task["status"]))).collect()
    };
    let pair = |key: &str, status: &str| (format!("{key}.mkv"), status.to_owned());
    let (pending, running) = (pair("pending", "pending"), pair("running", "running"));
    let (cancelled, done) = (pair("cancelled", "failed"), pair("done", "completed"));
    assert_eq!(
        keys("?pending=true&running=1&completed=T").await,
        [pending.clone(), running.clone(), cancelled.clone(), done.clone()]
    );
    assert_eq!(keys("?pending=true").await, [pending]);
    assert_eq!(keys("?running=TRUE&pending=0").await, [running, cancelled.clone()]);
    assert_eq!(keys("?completed=t").await, [done]);
    assert_eq!(keys("").await, []);
    assert_eq!(live.get("/api/v1/task/list?running=maybe").await.refusal(200), "`running` is neither true nor false");

    let data = live.get("/api/v1/task/list?completed=true&running=true").await.data();
    for task in data.as_array().unwrap() {
        has_shape(task, &TASK);
    }
    assert_eq!(data[1]["error"], "cancelled");
    assert_eq!(
        live.follow("GET", data[2]["encode_url"].as_str().unwrap(), &[], "").await.text(),
        "done.mkv-Encoded.mkv"
    );

    // The answer is kept, but never longer than it is true.
    live.post("clear", &[("video_key", "running.mkv")]).await.ok();
    assert_eq!(keys("?running=true&pending=0").await, [cancelled]);
    live.ledger.clear("done.mkv").await.unwrap();
    assert_eq!(keys("?completed=1").await, [], "what is being cleared is not listed");
    assert_eq!(live.about("progress", "done.mkv").await.data()["error"], "being deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_list_is_told_when_it_is_another() {
    let live = Live::start().await;
    let list = "/api/v1/task/list?pending=true&running=true&completed=true";
    let ask = async |known: &str| {
        live.send(
            request("GET", list).header("token", TOKEN).header("if-none-match", known).body(Bytes::new()).unwrap(),
        )
        .await
    };
    let tag = async || live.get(list).await.header("etag").to_owned();
    let mut known = tag().await;
    assert!(known.starts_with('"') && known == tag().await);
    let mut is_new = async |what: &str, expected: bool| {
        let reply = ask(&known).await;
        assert_eq!(reply.status, if expected { 200 } else { 304 }, "{what}");
        assert_eq!((reply.header("cache-control"), reply.body.is_empty()), ("private, no-cache", !expected));
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        known = reply.header("etag").to_owned();
    };
    live.upload("a.mkv", "a film").await;
    is_new("an upload", false).await;
    live.post("new", &[("video_key", "a.mkv")]).await.ok();
    is_new("new", true).await;
    live.planned("b.mkv", 2).await;
    is_new("a task that encodes", true).await;
    let lease = live.ledger.lease_next("test").await.unwrap().unwrap();
    is_new("a lease", false).await;
    live.ledger.give_back(lease.token).await.unwrap();
    live.ledger.lease_next("test").await.unwrap().unwrap();
    is_new("a lease that was given back", false).await;
    live.post("retry/encode", &[("video_key", "b.mkv"), ("index", "1"), ("encode_param", "-c:v libx264 -crf 30")])
        .await
        .ok();
    is_new("a retry that changes a clip alone", false).await;
    live.post("cancel", &[("video_key", "b.mkv")]).await.ok();
    is_new("cancel", true).await;
    live.post("retry/encode", &[("video_key", "b.mkv"), ("index", "1")]).await.ok();
    is_new("a retry", true).await;
    live.post("clear", &[("video_key", "b.mkv")]).await.ok();
    is_new("clear", true).await;

    // Of a long list only the part is made anew in which something has changed.
    for number in 0..100 {
        live.ledger.create(&format!("{number}.mkv")).await.unwrap();
    }
    for key in ["99.mkv", "40.mkv", "7.mkv"] {
        let id = live.ledger.clear(key).await.unwrap();
        for gone in [false, true] {
            let listed = live.get(list).await.data();
            let states = [TaskState::Pending, TaskState::Encoding];
            let expected = live.ledger.list(TaskFilter::states(states)).await.unwrap();
            let keys: Vec<&str> = expected.iter().map(|task| task.key.as_str()).collect();
            assert_eq!(
                listed.as_array().unwrap().iter().map(|task| &task["key"]).collect::<Vec<_>>(),
                keys,
                "{key} {gone}"
            );
            live.ledger.forget(id).await.unwrap();
        }
    }

    let last = tag().await;
    for known in [&format!("\"x\", W/{last}"), "*"] {
        assert_eq!(ask(known).await.status, 304, "{known}");
    }
    assert_eq!(ask("\"x\"").await.data()[0]["key"], "98.mkv");
    let stranger = request("GET", list).header("if-none-match", last).body(Bytes::new()).unwrap();
    live.send(stranger).await.refusal(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_gzip_gets_the_same_list() {
    let live = Live::start().await;
    let list = "/api/v1/task/list?pending=true&running=true&completed=true";
    let ask = async |known: &str| {
        let request = request("GET", list).header("token", TOKEN).header("accept-encoding", "br, gzip");
        live.send(request.header("if-none-match", known).body(Bytes::new()).unwrap()).await
    };
    for wanted in [0, 1, 100, 101] {
        for number in live.get(list).await.data().as_array().unwrap().len()..wanted {
            live.ledger.create(&format!("{number} 映画.mkv")).await.unwrap();
        }
        if wanted == 101 {
            // In the middle: the parts after and before it stay.
            live.ledger.forget(live.ledger.clear("50 映画.mkv").await.unwrap()).await.unwrap();
        }
        let (plain, packed) = (live.get(list).await, ask("\"x\"").await);
        assert_eq!((plain.header("vary"), plain.header("content-encoding")), ("accept-encoding", ""));
        assert_eq!((packed.header("vary"), packed.header("content-encoding")), ("accept-encoding", "gzip"));
        assert_eq!(packed.header("content-length"), packed.body.len().to_string());
        assert_eq!(gunzip(&packed.body), plain.body, "{wanted} tasks");
        assert!(wanted < 100 || packed.body.len() * 2 < plain.body.len(), "{} bytes", packed.body.len());

        // Each form has a name of its own.
        assert_eq!(ask(packed.header("etag")).await.status, 304);
        let other = ask(plain.header("etag")).await;
        assert_eq!((other.status.as_u16(), &other.body), (200, &packed.body));
    }
}

/// What gzip makes of a file of its own.
fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(packed).unwrap();
    file.rewind().unwrap();
    let done = Command::new("gzip").args(["--decompress", "--stdout"]).stdin(file).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn each_body_encoding_starts_a_task() {
    let live = Live::start().await;
    let fields = |key: &'static str| {
        [
            ("video_key", key),
            ("script", SCRIPT),
            ("encode_param", "ffmpeg -i - -c:v libx264 -crf 16 \n"),
            ("slice", "f"),
            ("timeout", "5"),
            ("queue", "priority"),
        ]
    };
    let (form, body) = multipart(&fields("multipart.mkv"));
    let json = json!({ "video_key": "json.mkv", "script": SCRIPT.replace('\n', "\r\n"), "encode_param": COMMAND, "timeout": 5, "slice": "true", "queue": null });
    let bodies = [
        ("multipart.mkv", form, body),
        (
            "urlencoded.mkv",
            "application/x-www-form-urlencoded".to_owned(),
            urlencoded(&fields("urlencoded.mkv")).into(),
        ),
        ("json.mkv", "application/json; charset=utf-8".to_owned(), json.to_string().into()),
    ];
    for (key, content_type, body) in bodies {
        live.task(key).await;
        let request = request("POST", "/api/v1/task/start").header("token", TOKEN).header("content-type", content_type);
        live.send(request.body(body).unwrap()).await.ok();
        let job = live.ledger.task(key).await.unwrap().job.unwrap();
        assert_eq!((job.script.as_str(), job.command.as_str()), (SCRIPT, COMMAND), "{key}");
        let (slice, minutes, queue) =
            if key == "json.mkv" { (true, 5, Queue::Default) } else { (false, 48 * 60, Queue::Priority) };
        assert_eq!((job.slice, job.timeout.as_secs() / 60, job.queue), (slice, minutes, queue), "{key}");
    }
    for (timeout, minutes) in [("", 20), ("1", 20), ("-3", 20), ("2", 2), ("90", 90)] {
        let key = format!("timeout {timeout}");
        live.task(&key).await;
        let fields = [("video_key", key.as_str()), ("script", SCRIPT), ("encode_param", COMMAND), ("timeout", timeout)];
        live.post("start", &fields).await.ok();
        assert_eq!(live.ledger.task(&key).await.unwrap().job.unwrap().timeout.as_secs(), minutes * 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_says_what_clients_know() {
    let live = Live::start().await;
    live.planned("run.mkv", 2).await;
    live.task("new.mkv").await;
    live.upload("empty.mkv", "").await;
    let (run, new, none) = (("video_key", "run.mkv"), ("video_key", "new.mkv"), ("video_key", "none.mkv"));
    let (script, command) = (("script", SCRIPT), ("encode_param", COMMAND));
    for (route, fields, message) in [
        ("new", &[new][..], "Task already exists, please wait for it to complete or delete it."),
        ("new", &[none], "OSS video file does not exist."),
        ("new", &[("video_key", "empty.mkv")], "OSS video file does not exist."),
        ("new", &[], "`video_key` is missing"),
        ("new", &[("video_key", "")], "`video_key` is empty"),
        ("new", &[none, none], "`video_key` is there twice"),
        ("start", &[none, script, command], "Task not found, please upload video first."),
        ("start", &[run, script, command], "Task already started."),
        ("start", &[new, command], "`script` is missing"),
        ("start", &[new, script], "`encode_param` is missing"),
        ("start", &[new, script, ("encode_param", "\n ")], "`encode_param` is empty"),
        (
            "start",
            &[new, script, ("encode_param", "ffmpeg -i -\n-crf 16")],
            "`encode_param` has a line break in it; it is one line",
        ),
        ("start", &[new, script, command, ("slice", "perhaps")], "`slice` is neither true nor false"),
        ("start", &[new, script, command, ("timeout", "soon")], "`timeout` is not a whole number"),
        ("start", &[new, script, command, ("timeout", "99999999")], "`timeout` is more than 527040 minutes"),
        ("start", &[new, script, command, ("queue", "first")], "`queue` is neither `default` nor `priority`"),
        ("retry/encode", &[run, ("index", "2")], "Encode clip not exist"),
        ("retry/encode", &[none, ("index", "0")], "Encode clip not exist"),
        ("retry/encode", &[run], "`index` is missing"),
        ("retry/encode", &[run, ("index", "-1")], "`index` is not a clip's number, which count from 0"),
        ("retry/merge", &[run], "Some clips are not finished yet."),
        ("retry/merge", &[none], "Task not found, please check the video key"),
        ("clear", &[none], "Task not found, please check the video key"),
    ] {
        assert_eq!(live.post(route, fields).await.refusal(200), message, "{route} {fields:?}");
    }
    for (route, key, message) in [
        ("progress", "none.mkv", "Task not found, please check the video key"),
        ("progress", "", "`video_key` is empty"),
        ("oss/presigned", "", "`video_key` is empty"),
    ] {
        assert_eq!(live.about(route, key).await.refusal(200), message, "{route}");
    }
    for (key, part) in [
        ("../etc/passwd", "`..`"),
        ("a\\b", "backslashes"),
        ("run.mkv-clip-0.mkv", "belongs to the task"),
        ("run.mkv", "run.mkv"),
    ] {
        let message = live.about("oss/presigned", key).await.refusal(200);
        assert!(message.contains(part), "{message}");
    }
    let no_python = ("script", "import vapoursynth as vs\ndef (:\n");
    let message = live.post("start", &[new, no_python, command]).await.refusal(200);
    assert!(message.starts_with("script: ") && message.contains("line 2"), "{message}");
    let message = live.post("start", &[new, script, ("encode_param", "rm -rf /")]).await.refusal(200);
    assert!(message.contains("rm"), "{message}");
    assert_eq!(live.ledger.task("new.mkv").await.unwrap().state, TaskState::Pending, "nothing was started");
    // The route that the document does not have says it by its status as well.
    assert_eq!(live.post("cancel", &[none]).await.refusal(404), "Task not found, please check the video key");
    let message = live.post("cancel", &[new]).await.refusal(409);
    assert!(message.contains("pending"), "{message}");
    assert_eq!(live.post("cancel", &[]).await.refusal(400), "`video_key` is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_what_a_start_would_be_refused_for_and_changes_nothing() {
    let live = Live::start().await;
    live.completed("done.mkv", 1).await;
    let (script, command) = (("script", SCRIPT), ("encode_param", COMMAND));
    for fields in [&[script, command][..], &[script, command, ("video_key", "new.mkv")], &[script], &[command], &[]] {
        assert_eq!(live.post("check", fields).await.data(), json!({"errors": []}), "{fields:?}");
    }
    for (fields, field, line, part) in [
        (&[("script", "a = 1\nx = (\n"), command][..], "script", json!(2), "never closed"),
        (&[("script", "import os\r\n\r\n  x = 1\r\n"), command], "script", json!(3), "IndentationError"),
        (&[("script", " \n"), command], "script", Value::Null, "it is empty"),
        (&[script, ("encode_param", "-c:v libx264 -crff 3")], "encode_param", Value::Null, "-crff"),
        (&[script, ("encode_param", "-c:v libx264\n-crf 3")], "encode_param", Value::Null, "line break"),
        (&[script, ("encode_param", "rm -rf /")], "encode_param", Value::Null, "rm"),
        (&[script, command, ("video_key", "../x.mkv")], "video_key", Value::Null, "`..`"),
        (&[script, command, ("video_key", "done.mkv-Encoded.mkv")], "video_key", Value::Null, "belongs to the task"),
    ] {
        let data = live.post("check", fields).await.data();
        let errors = data["errors"].as_array().unwrap();
        assert_eq!((errors.len(), &errors[0]["field"], &errors[0]["line"]), (1, &json!(field), &line), "{data}");
        assert!(errors[0]["message"].as_str().unwrap().contains(part), "{data}");
    }
    let all = [("script", "("), ("encode_param", "-c:v libx266"), ("video_key", "../x.mkv")];
    assert_eq!(live.post("check", &all).await.data()["errors"].as_array().unwrap().len(), 3);
    assert_eq!(live.post("check", &[script, script]).await.refusal(400), "`script` is there twice");
    assert_eq!(live.ledger.list(TaskFilter::states(TaskState::ALL)).await.unwrap().len(), 1, "no task was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_deleted_without_its_source() {
    let live = Live::start().await;
    live.completed("kept.mkv", 2).await;
    live.post("clear", &[("video_key", "kept.mkv"), ("keep_source", "perhaps")]).await.refusal(200);
    live.post("clear", &[("video_key", "kept.mkv"), ("keep_source", "true")]).await.ok();
    let gone = live.about("progress", "kept.mkv").await.refusal(200);
    assert_eq!(gone, "Task not found, please check the video key");
    assert_eq!(live.about("oss/presigned", "kept.mkv").await.data()["exist"], true, "the source stays");
    live.post("new", &[("video_key", "kept.mkv")]).await.ok();
    live.post("clear", &[("video_key", "kept.mkv"), ("keep_source", "0")]).await.ok();
    assert_eq!(live.about("oss/presigned", "kept.mkv").await.data()["exist"], false, "the source went with it");
    assert_eq!(
        live.post("clear", &[("video_key", "none.mkv"), ("keep_source", "1")]).await.refusal(200),
        "Task not found, please check the video key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_take_what_is_new_and_leave_the_rest() {
    let live = Live::start().await;
    let key = "a.mkv";
    live.completed(key, 2).await;
    let fields = [
        ("video_key", key),
        ("index", "1"),
        ("script", ""),
        ("encode_param", "ffmpeg -i - -c:v libx264 -crf 9\r\n"),
        ("timeout", "7"),
    ];
    live.post("retry/encode", &fields).await.ok();
    assert_eq!(live.about("progress", key).await.data()["status"], "running");
    let lease = live.ledger.lease_next("test").await.unwrap().unwrap();
    let Work::Clip { index: 1, job, .. } = lease.work else { panic!("{:?}", lease.work) };
    assert_eq!(
        (job.command.as_str(), job.script.as_str(), job.timeout.as_secs()),
        ("ffmpeg -i - -c:v libx264 -crf 9", SCRIPT, 420)
    );

    live.completed("b.mkv", 1).await;
    live.post("retry/merge", &[("video_key", "b.mkv")]).await.ok();
    assert_eq!(live.ledger.task("b.mkv").await.unwrap().state, TaskState::Merging);
    live.post("clear", &[("video_key", "b.mkv")]).await.ok();
    assert_eq!(live.about("oss/presigned", "b.mkv").await.data()["exist"], false, "the source went with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_key_goes_through_every_route_and_every_link() {
    let live = Live::start().await;
    for key in NASTY {
        live.completed(key, 1).await;
        assert_eq!(live.about("oss/presigned", key).await.data()["exist"], true, "{key}");
        let data = live.about("progress", key).await.data();
        assert_eq!(data["key"], *key);
        assert_eq!(data["encode_key"], format!("{key}-Encoded.mkv"));
        for (url, content) in [
            (&data["url"], "a film".to_owned()),
            (&data["encode_url"], format!("{key}-Encoded.mkv")),
            (&data["progress"][0]["encode_url"], format!("{key}-clip-encoded-0.mkv")),
        ] {
            let url = url.as_str().unwrap();
            let reply = live.follow("GET", url, &[], "").await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, content), "{url}");
            assert!(reply.header("content-disposition").starts_with("attachment; filename=\""), "{key}");
            assert_eq!(live.follow("HEAD", url, &[], "").await.status, 200);
        }
        let listed = live.get("/api/v1/task/list?completed=true").await.data();
        assert_eq!(listed[0]["key"], *key, "newest first");
        live.post("retry/encode", &[("video_key", key), ("index", "0")]).await.ok();
        live.post("cancel", &[("video_key", key)]).await.ok();
        live.post("retry/merge", &[("video_key", key)]).await.refusal(200);
        live.post("clear", &[("video_key", key)]).await.ok();
        assert_eq!(live.about("progress", key).await.refusal(200), "Task not found, please check the video key");
        let link = data["url"].as_str().unwrap();
        assert_eq!(live.follow("GET", link, &[], "").await.status, 404, "the object is gone, the link is not");
    }
    // Dashboards leave brackets and more as they are.
    live.upload("[G] a:b$c,d+e.mkv", "x").await;
    let data = live.get("/api/v1/task/oss/presigned?video_key=[G]+a:b$c,d%2Be.mkv").await.data();
    assert_eq!(data["exist"], true);
}
