//! Deaths of the whole server: the real program, killed in the middle of its work and started again over the same folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "common/mod.rs"]
mod http;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use finalrip_core::task::{Happening, WorkId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use service::{LOSSLESS, assert_frames, film, ledger_in, store_in, temporal, video};
use tempfile::TempDir;

/// How often the server is killed.
const KILLS: usize = 25;

/// How many clips a film has.
const CLIPS: u32 = 10;

/// How long what a server started may outlive it.
const AFTERLIFE: Duration = Duration::from_secs(5);

/// How long anything else may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// [`temporal`], with some milliseconds for each frame.
fn slow(milliseconds: u32) -> String {
    let slow = format!(
        "import time\ndef slow(n, f):\n    time.sleep({milliseconds} / 1000)\n    return f\n\
         clip = clip.std.ModifyFrame(clip, slow)\nclip.set_output()\n"
    );
    temporal() + &slow
}

/// A folder for servers that run one after the other.
struct Site {
    folder: TempDir,
    data: PathBuf,
}

impl Site {
    /// With clips of 10 frames.
    fn new() -> Self {
        let folder = common::scratch();
        let data = folder.path().canonicalize().unwrap().join("data");
        let settings = format!(
            "data = {data:?}\nlisten = \"127.0.0.1:0\"\nworkers = 2\ntoken = {:?}\n\
             [tasks]\nclip_seconds = 0.4\n[log]\nformat = \"json\"\n",
            http::TOKEN
        );
        std::fs::write(folder.path().join("finalrip.toml"), settings).unwrap();
        Self { folder, data }
    }

    /// A server that has just been started. What it logs is in the file beside.
    fn spawn(&self) -> Server {
        let log = tempfile::Builder::new().prefix("log-").tempfile_in(self.folder.path()).unwrap();
        let (log, path) = log.keep().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_finalrip-server"));
        command.arg("serve").arg("--config").arg(self.folder.path().join("finalrip.toml"));
        let child = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        Server { child, log: path, address: None }
    }

    /// A server that listens.
    async fn serve(&self) -> Server {
        let mut server = self.spawn();
        let begin = Instant::now();
        while server.address.is_none() {
            assert!(server.child.try_wait().unwrap().is_none(), "{}", server.said());
            assert!(begin.elapsed() < PATIENCE, "it does not listen: {}", server.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
            server.address = server.listens_on();
        }
        server
    }

    /// Encoder processes, their guardians, and what scripts have started: everything whose home is in the scratch folder.
    fn descendants(&self) -> BTreeSet<u32> {
        let home = [b"HOME=", self.data.join("scratch").as_os_str().as_bytes()].concat();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable.starts_with(&home))
        };
        pids.filter(ours).collect()
    }

    /// Waits until none of these processes is left.
    async fn without(&self, processes: &BTreeSet<u32>) {
        let begin = Instant::now();
        loop {
            let left: Vec<u32> = self.descendants().intersection(processes).copied().collect();
            if left.is_empty() {
                return;
            }
            assert!(begin.elapsed() < AFTERLIFE, "still there: {left:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing is left of what a killed server has started; how long that took.
    async fn alone(&self) -> Duration {
        let begin = Instant::now();
        loop {
            let left = self.descendants();
            if left.is_empty() {
                return begin.elapsed();
            }
            assert!(begin.elapsed() < AFTERLIFE, "still there: {left:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asserts that the folder of a server that has stopped holds these finished tasks, and nothing unfinished.
    async fn assert_tidy(&self, keys: &[impl AsRef<str>]) {
        assert_eq!(self.descendants(), BTreeSet::new());
        assert_eq!(common::files_in(&self.data.join("scratch")), Vec::<String>::new());
        assert_eq!(common::files_in(&self.data.join("store/partial")), Vec::<String>::new());
        let store = store_in(&self.data);
        let mut found = BTreeSet::new();
        for key in keys {
            let task = video(key.as_ref());
            let expected = (0..CLIPS).map(|clip| task.encoded_clip(clip)).chain([task.source(), task.result()]);
            let objects = store.task_objects(&task).await.unwrap();
            let objects: BTreeSet<String> = objects.into_iter().map(|(key, _)| key.to_string()).collect();
            assert_eq!(objects, expected.map(|key| key.to_string()).collect());
            found.extend(objects);
        }
        assert_eq!(files_below(&self.data.join("store/objects")), found.len());
    }
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// A running server, killed when it is dropped.
struct Server {
    child: Child,
    log: PathBuf,
    address: Option<SocketAddr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

impl Server {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn listens_on(&self) -> Option<SocketAddr> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut serving = lines.filter(|line| line["fields"]["message"] == "serving");
        serving.find_map(|line| line["fields"]["address"].as_str()?.parse().ok())
    }

    /// Kills the one process, as `kill -9` does.
    fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    async fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end: {}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to stop, and waits until it has.
    async fn stop(&mut self) {
        signal("TERM", self.child.id());
        let status = self.wait().await;
        assert!(status.success(), "{status}: {}", self.said());
    }

    async fn call(&self, method: &str, target: &str, body: impl Into<bytes::Bytes>) -> http::Reply {
        let request = http::request(method, target)
            .header("token", http::TOKEN)
            .header("content-type", "application/x-www-form-urlencoded");
        http::send(self.address.unwrap(), request.body(body.into()).unwrap()).await
    }

    async fn about(&self, route: &str, key: &str) -> Value {
        let query = http::urlencoded(&[("video_key", key)]);
        self.call("GET", &format!("/api/v1/task/{route}?{query}"), "").await.data()
    }

    /// What of a link, which names the server that made it, is asked.
    fn target(link: &Value) -> String {
        let uri: hyper::Uri = link.as_str().unwrap().parse().unwrap();
        uri.path_and_query().unwrap().to_string()
    }

    /// Uploads the film as clients do, and starts a task of it.
    async fn begin(&self, key: &str, script: &str) {
        let link = self.about("oss/presigned", key).await["url"].clone();
        let uploaded = self.call("PUT", &Self::target(&link), std::fs::read(film()).unwrap()).await;
        assert_eq!(uploaded.status, 200, "{}", uploaded.text());
        let start = [("video_key", key), ("script", script), ("encode_param", LOSSLESS)];
        for (route, fields) in [("new", &start[..1]), ("start", &start[..])] {
            self.call("POST", &format!("/api/v1/task/{route}"), http::urlencoded(fields)).await.ok();
        }
    }

    /// Waits until so many clips of a task are done, and gives their indexes; nothing once the whole task is.
    async fn done(&self, key: &str, wanted: usize) -> Option<BTreeSet<u64>> {
        let begin = Instant::now();
        loop {
            let task = self.about("progress", key).await;
            if task["status"] == "completed" {
                return None;
            }
            assert_eq!(task["status"], "running", "{task:#}");
            let clips = task["progress"].as_array().unwrap().iter().filter(|clip| clip["completed"] == true);
            let done: BTreeSet<u64> = clips.map(|clip| clip["index"].as_u64().unwrap()).collect();
            if done.len() >= wanted {
                return Some(done);
            }
            assert!(begin.elapsed() < PATIENCE, "{key} does not go on: {task:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the result of a task, and asserts that its frames are those of a single pass.
    async fn assert_completes(&self, key: &str) {
        // There are never so many.
        assert_eq!(self.done(key, usize::MAX).await, None);
        let link = self.about("progress", key).await["encode_url"].clone();
        let result = self.call("GET", &Self::target(&link), "").await;
        assert_eq!(result.status, 200, "{}", result.text());
        let folder = common::scratch();
        let file = folder.path().join("result.mkv");
        std::fs::write(&file, result.body).unwrap();
        assert_frames(&file, &temporal(), &film());
    }
}

fn signal(name: &str, process: u32) {
    let kill = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(kill.success());
}

/// How often work of each kind went back to the queue.
type Interrupted = BTreeMap<&'static str, usize>;

/// Asserts that each piece of work was done once and never taken up again, and that no interruption cost an attempt.
async fn assert_done_once(data: &Path, key: &str) -> Interrupted {
    let log = ledger_in(data).log(key, 0, 10_000).await.unwrap();
    assert!(!log.missed);
    let mut done = BTreeSet::new();
    let mut interrupted = Interrupted::new();
    for entry in log.entries {
        match entry.happening {
            Happening::Started { work, attempt, .. } => {
                assert_eq!(attempt, 1, "{work:?} of {key}");
                assert!(!done.contains(&work), "{work:?} of {key} was done, and begun again");
            }
            Happening::Done { work } => assert!(done.insert(work), "{work:?} of {key} was done twice"),
            Happening::Returned { work } => *interrupted.entry(kind(work)).or_default() += 1,
            Happening::Failed { work, reason, .. } => panic!("{work:?} of {key} failed: {reason}"),
            Happening::Planned { clips } => assert_eq!(clips, CLIPS),
            _ => {}
        }
    }
    let clips = (0..CLIPS).map(WorkId::Clip);
    assert_eq!(done, clips.chain([WorkId::Index, WorkId::Plan, WorkId::Merge]).collect());
    interrupted
}

fn kind(work: WorkId) -> &'static str {
    match work {
        WorkId::Index => "index",
        WorkId::Plan => "plan",
        WorkId::Clip(_) => "clip",
        WorkId::Merge => "merge",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_25_times_loses_no_finished_clip_and_no_attempt() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let site = Site::new();
    let mut server = site.serve().await;
    let mut keys = vec!["film 0.mkv".to_owned()];
    server.begin(&keys[0], &slow(50)).await;
    let (mut done, mut between, mut killed, mut slowest) = (BTreeSet::new(), 0, 0, Duration::ZERO);
    while killed < KILLS {
        let key = &keys[keys.len() - 1];
        // Few lives are long enough for a clip: every third is, however slow the machine.
        if killed % 3 == 2 {
            server.done(key, (done.len() + 1).min(CLIPS as usize)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..600))).await;
        let Some(now) = server.done(key, 0).await else {
            // The task has been faster; another one is to be hit.
            keys.push(format!("film {}.mkv", keys.len()));
            done.clear();
            server.begin(&keys[keys.len() - 1], &slow(50)).await;
            continue;
        };
        assert!(now.is_superset(&done), "{done:?} were done, now {now:?}");
        between += now.len() - done.len();
        done = now;
        server.kill();
        killed += 1;
        slowest = slowest.max(site.alone().await);
        server = site.serve().await;
    }
    for key in &keys {
        server.assert_completes(key).await;
    }
    server.stop().await;
    let mut total = Interrupted::new();
    for key in &keys {
        for (kind, count) in assert_done_once(&site.data, key).await {
            *total.entry(kind).or_default() += count;
        }
    }
    println!("{} tasks, {between} clips done between kills; interrupted: {total:?}", keys.len());
    println!("processes were gone within {slowest:?}");
    assert!(between > 0 && total.contains_key("clip"), "the kills came at the wrong moments");
    site.assert_tidy(&keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_over_the_same_folder_refuses_and_the_first_goes_on() {
    let site = Site::new();
    let mut first = site.serve().await;
    first.begin("film.mkv", &slow(20)).await;
    assert!(first.done("film.mkv", 1).await.is_some());
    let mut second = site.spawn();
    let status = second.wait().await;
    assert_eq!(status.code(), Some(1), "{}", second.said());
    let ledger = site.data.join("ledger.sqlite");
    let refusal = format!("finalrip-server: the ledger {} is in use by another process;", ledger.display());
    assert!(second.said().contains(&refusal), "{}", second.said());
    first.assert_completes("film.mkv").await;
    first.stop().await;
    let interrupted = assert_done_once(&site.data, "film.mkv").await;
    assert!(interrupted.is_empty(), "the second server has disturbed the first: {interrupted:?}");
    site.assert_tidy(&["film.mkv"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_leaves_standing_still_is_ended_by_the_next() {
    let site = Site::new();
    let mut server = site.serve().await;
    server.begin("film.mkv", &slow(50)).await;
    assert!(server.done("film.mkv", 1).await.is_some());
    let old = site.descendants();
    assert!(!old.is_empty());
    // Guardians too, so that nobody cleans up. To stopped orphans the kernel itself sends SIGHUP.
    for &process in &old {
        signal("STOP", process);
    }
    server.kill();
    assert!(!common::files_in(&site.data.join("scratch")).is_empty());
    let mut server = site.serve().await;
    site.without(&old).await;
    server.assert_completes("film.mkv").await;
    server.stop().await;
    assert!(assert_done_once(&site.data, "film.mkv").await.contains_key("clip"));
    site.assert_tidy(&["film.mkv"]).await;
}
