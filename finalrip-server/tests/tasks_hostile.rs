//! Scripts that would take a server down, if it evaluated them itself. Each costs attempts of its own task; the service
//! goes on, and so does the task of somebody else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod service;

use std::time::Duration;

use finalrip_core::store::{Retries, Store};
use finalrip_core::task::{Queue, StartRequest, TaskState};
use object_store::memory::InMemory;
use service::{LOSSLESS, Running, assert_frames, film, ledger_in, options, request, store_in, temporal, video};

/// What runs in the middle of a clip.
fn in_a_frame(body: &str) -> String {
    common::rips::over_source(&format!(
        "import ctypes, os, sys, socket, subprocess, time\ndef bad(n, f):\n    if n == 50:\n        {body}\n    return f\n\
         clip = clip.std.ModifyFrame(clip, bad)"
    ))
}

/// Starts a task whose script does that, and gives the reason why it failed.
async fn failure_of(running: &Running, key: &str, request: StartRequest) -> String {
    running.upload(key, &film()).await;
    running.service.start(key, request).await.unwrap();
    let view = running.wait_for_end(key).await;
    assert_eq!(view.progress.task.state, TaskState::Failed, "{key}");
    view.progress.task.failure.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_crashes_or_leaves_fails_its_own_task_only() {
    let running = Running::start(1).await;
    for (key, body, told) in [
        ("segfault.mkv", "ctypes.string_at(0)", "SIGSEGV"),
        ("exit.mkv", "os._exit(0)", "status 0"),
        ("kill.mkv", "os.kill(os.getpid(), 9)", "SIGKILL"),
        ("raise.mkv", "raise ValueError('frame 50')", "ValueError: frame 50"),
    ] {
        let failure = failure_of(&running, key, request(&in_a_frame(body))).await;
        assert!(failure.contains(told) && failure.starts_with("clip 2: "), "{key}: {failure}");
        let clips = running.service.progress(key).await.unwrap().progress.clips;
        assert_eq!((clips[1].frames, clips[2].attempts), (20, 3), "{key}");
    }
    // At its top it is the plan that fails.
    let failure = failure_of(&running, "top.mkv", request("import os\nos._exit(3)")).await;
    assert!(failure.contains("status 3"), "{failure}");
    running.upload("good.mkv", &film()).await;
    running.begin("good.mkv", &temporal()).await;
    assert_frames(&running.result("good.mkv").await, &temporal(), &film());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_never_ends_is_stopped_by_its_time() {
    let running = Running::start(1).await;
    let limited = |script: String| StartRequest {
        script,
        command: LOSSLESS.to_owned(),
        slice: true,
        timeout: Some(Duration::from_secs(2)),
        queue: Queue::Default,
    };
    let failure = failure_of(&running, "loop.mkv", limited(in_a_frame("while True: pass"))).await;
    assert!(failure.contains("not done within 2 seconds"), "{failure}");
    let failure = failure_of(&running, "top.mkv", limited("while True: pass".to_owned())).await;
    assert!(failure.contains("not done within 2 seconds"), "{failure}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_eats_memory_or_disk_is_stopped_by_its_limits() {
    let folder = common::scratch();
    let mut options = options(folder.path(), 1);
    options.process.limits.address_space = Some(4 << 30);
    options.process.limits.file_size = Some(64 << 20);
    let running = Running::with(ledger_in(folder.path()), store_in(folder.path()), options).await;
    let hungry = in_a_frame("kept = []\n        while True: kept.append(b'x' * (1 << 26))");
    let failure = failure_of(&running, "memory.mkv", request(&hungry)).await;
    assert!(failure.contains("MemoryError") || failure.contains("signal"), "{failure}");
    let wide =
        in_a_frame("out = open(os.environ['TMPDIR'] + '/x', 'wb')\n        while True: out.write(b'x' * (1 << 22))");
    let failure = failure_of(&running, "disk.mkv", request(&wide)).await;
    assert!(failure.contains("File too large") || failure.contains("SIGXFSZ"), "{failure}");
    running.upload("good.mkv", &film()).await;
    running.begin("good.mkv", &temporal()).await;
    assert_frames(&running.result("good.mkv").await, &temporal(), &film());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_reaches_nothing_that_is_not_its_own() {
    let running = Running::start(1).await;
    let secret = common::scratch();
    std::fs::write(secret.path().join("secret"), "hidden").unwrap();
    let path = secret.path().display();
    let parent = std::process::id();
    for (key, body) in [
        ("read.mkv", format!("open('{path}/secret')")),
        ("write.mkv", format!("open('{path}/mine', 'w')")),
        ("environ.mkv", format!("open('/proc/{parent}/environ').read()")),
        ("connect.mkv", "socket.create_connection(('127.0.0.1', 9))".to_owned()),
        ("source.mkv", "open(os.path.realpath(os.environ['FINALRIP_SOURCE']), 'ab')".to_owned()),
    ] {
        let failure = failure_of(&running, key, request(&in_a_frame(&body))).await;
        assert!(failure.contains("PermissionError"), "{key}: {failure}");
    }
    assert_eq!(common::files_in(secret.path()), ["secret"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_says_it_has_made_is_looked_at() {
    let folder = common::scratch();
    // Another place than this machine: what is made is read, by the server, and sent there.
    let store = Store::over(InMemory::new(), Retries::default());
    let running = Running::with(ledger_in(folder.path()), store, options(folder.path(), 1)).await;
    std::fs::write(folder.path().join("secret"), "hidden").unwrap();
    let secret = folder.path().join("secret").display().to_string();
    let forged = r#"b'\n{"Done":{"Encoded":{"bytes":6,"record":""}}}\n'"#;
    for (key, make) in [
        ("link.mkv", format!("os.symlink('{secret}', clip)")),
        ("pipe.mkv", "os.mkfifo(clip)".to_owned()),
        ("folder.mkv", "os.mkdir(clip)".to_owned()),
        ("nothing.mkv", "pass".to_owned()),
    ] {
        let body = format!(
            "clip = os.environ['HOME'] + '/clip.mkv'\n        {make}\n        for pipe in range(200, 300):\n            \
             try:\n                os.write(pipe, {forged})\n            except OSError:\n                pass\n        \
             time.sleep(100)"
        );
        let failure = failure_of(&running, key, request(&in_a_frame(&body))).await;
        assert!(failure.starts_with("clip 2: what was made cannot be taken: "), "{key}: {failure}");
        let task = video(key);
        assert_eq!(running.service.store().head(&task.encoded_clip(2)).await.unwrap(), None, "{key}");
    }
    running.stop().await;
    assert_eq!(common::files_in(&folder.path().join("scratch")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_locks_up_can_be_cleared() {
    let running = Running::start(1).await;
    let body = "for place in ('XDG_CACHE_HOME', 'HOME'):\n            folder = os.environ[place] + '/locked'\n            \
                os.makedirs(folder + '/inner', exist_ok=True)\n            os.chmod(folder, 0)\n        raise ValueError('locked')";
    let failure = failure_of(&running, "locked.mkv", request(&in_a_frame(body))).await;
    assert!(failure.contains("locked"), "{failure}");
    running.service.clear("locked.mkv").await.unwrap();
    assert!(running.service.progress("locked.mkv").await.is_err());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_of_a_script_die_with_it() {
    let running = Running::start(1).await;
    // A marker that no other process has in its arguments.
    let marker = format!("{}7", std::process::id());
    let forks = in_a_frame(&format!(
        "subprocess.Popen(['sleep', '{marker}'])\n        \
         subprocess.Popen(['setsid', 'sleep', '{marker}'])\n        time.sleep(0.2)\n        os._exit(0)"
    ));
    failure_of(&running, "fork.mkv", request(&forks)).await;
    assert_eq!(sleepers(&marker), 0);
    running.stop().await;
}

/// Processes with this argument.
fn sleepers(marker: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let arguments = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let has = |line: &Vec<u8>| line.split(|byte| *byte == 0).any(|word| word == marker.as_bytes());
    processes.map(arguments).filter(has).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_prints_and_closes_does_not_matter() {
    let running = Running::start(1).await;
    let script = in_a_frame(
        "print('{\"done\": true}' * 100000)\n        sys.stderr.write('x' * 5000000)\n        \
         os.close(0); os.close(1); os.close(2)",
    );
    running.upload("print.mkv", &film()).await;
    running.begin("print.mkv", &script).await;
    assert_frames(&running.result("print.mkv").await, &common::rips::over_source(""), &film());
    running.stop().await;
}
