//! The server's program over a folder, and a client of its API.

#![allow(dead_code, reason = "each test file is a program of its own and uses a part of this")]
#![allow(unreachable_pub, reason = "a module of several programs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::service::{LOSSLESS, assert_frames, film, store_in, temporal, video};
use crate::{common, http};

/// How many clips a film has.
pub const CLIPS: u32 = 10;

/// How long what a server started may outlive it.
const AFTERLIFE: Duration = Duration::from_secs(30);

/// How long anything else may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// [`temporal`], with some milliseconds for each frame.
pub fn slow(milliseconds: u32) -> String {
    let slow = format!(
        "import time\ndef slow(n, f):\n    time.sleep({milliseconds} / 1000)\n    return f\n\
         clip = clip.std.ModifyFrame(clip, slow)\nclip.set_output()\n"
    );
    temporal() + &slow
}

/// A folder for servers that run one after the other.
pub struct Site {
    folder: TempDir,
    pub data: PathBuf,
}

impl Site {
    /// With clips of 10 frames.
    pub fn new() -> Self {
        Self::with("")
    }

    /// With these sections of settings as well.
    pub fn with(sections: &str) -> Self {
        let folder = common::scratch();
        let data = folder.path().canonicalize().unwrap().join("data");
        let settings = format!(
            "data = {data:?}\nlisten = \"127.0.0.1:0\"\nworkers = 2\ntoken = {:?}\n\
             [tasks]\nclip_seconds = 0.4\n[log]\nformat = \"json\"\n{sections}",
            http::TOKEN
        );
        std::fs::write(folder.path().join("finalrip.toml"), settings).unwrap();
        Self { folder, data }
    }

    /// A server that has just been started. What it logs is in the file beside.
    pub fn spawn(&self) -> Server {
        let log = tempfile::Builder::new().prefix("log-").tempfile_in(self.folder.path()).unwrap();
        let (log, path) = log.keep().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_finalrip-server"));
        command.arg("serve").arg("--config").arg(self.folder.path().join("finalrip.toml"));
        let child = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        Server { child, log: path, address: None }
    }

    /// A server that listens.
    pub async fn serve(&self) -> Server {
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
    pub fn descendants(&self) -> BTreeSet<u32> {
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
    pub async fn without(&self, processes: &BTreeSet<u32>) {
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
    pub async fn alone(&self) -> Duration {
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
    pub async fn assert_tidy(&self, keys: &[impl AsRef<str>]) {
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
pub struct Server {
    pub child: Child,
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
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a server that listens")
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn listens_on(&self) -> Option<SocketAddr> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut serving = lines.filter(|line| line["fields"]["message"] == "serving");
        serving.find_map(|line| line["fields"]["address"].as_str()?.parse().ok())
    }

    /// Kills the one process, as `kill -9` does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub async fn wait(&mut self) -> ExitStatus {
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
    pub async fn stop(&mut self) {
        signal("TERM", self.child.id());
        let status = self.wait().await;
        assert!(status.success(), "{status}: {}", self.said());
    }

    pub async fn call(&self, method: &str, target: &str, body: impl Into<bytes::Bytes>) -> http::Reply {
        let request = http::request(method, target)
            .header("token", http::TOKEN)
            .header("content-type", "application/x-www-form-urlencoded");
        http::send(self.address(), request.body(body.into()).unwrap()).await
    }

    pub async fn about(&self, route: &str, key: &str) -> Value {
        let query = http::urlencoded(&[("video_key", key)]);
        self.call("GET", &format!("/api/v1/task/{route}?{query}"), "").await.data()
    }

    /// Uploads the film as clients do, and starts a task of it.
    pub async fn begin(&self, key: &str, script: &str) {
        let link = self.about("oss/presigned", key).await["url"].clone();
        let uploaded = follow("PUT", &link, &[], std::fs::read(film()).unwrap()).await;
        assert_eq!(uploaded.status, 200, "{}", uploaded.text());
        let start = [("video_key", key), ("script", script), ("encode_param", LOSSLESS)];
        for (route, fields) in [("new", &start[..1]), ("start", &start[..])] {
            self.call("POST", &format!("/api/v1/task/{route}"), http::urlencoded(fields)).await.ok();
        }
    }

    /// Waits until so many clips of a task are done, and gives their indexes; nothing once the whole task is.
    pub async fn done(&self, key: &str, wanted: usize) -> Option<BTreeSet<u64>> {
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
    pub async fn assert_completes(&self, key: &str) {
        // There are never so many.
        assert_eq!(self.done(key, usize::MAX).await, None);
        let link = self.about("progress", key).await["encode_url"].clone();
        let result = follow("GET", &link, &[], "").await;
        assert_eq!(result.status, 200, "{}", result.text());
        let folder = common::scratch();
        let file = folder.path().join("result.mkv");
        std::fs::write(&file, result.body).unwrap();
        assert_frames(&file, &temporal(), &film());
    }
}

pub fn signal(name: &str, process: u32) {
    let kill = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(kill.success());
}

/// A request to wherever a link leads, without the token: the link is all that it takes.
pub async fn follow(
    method: &str,
    link: &Value,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> http::Reply {
    let link: hyper::Uri = link.as_str().unwrap().parse().unwrap();
    let mut request = http::request(method, link.path_and_query().unwrap().as_str());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let address = link.authority().unwrap().as_str().parse().unwrap();
    http::send(address, request.body(body.into()).unwrap()).await
}
