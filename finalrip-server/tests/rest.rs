//! Events, clips, health, metrics, the OpenAPI document, and the program's own command line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use common::{Live, NASTY, SCRIPT, TOKEN, request, urlencoded};
use finalrip_server::OPENAPI;
use finalrip_server::routes::{Access, Errors, ROUTES};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A stream of events that is being read.
struct Followed {
    body: Incoming,
    text: String,
}

impl Followed {
    /// A stream that stays open after its task has ended.
    async fn start(live: &Live, key: &str, header: Option<&str>) -> Self {
        Self::with(live, &[("video_key", key), ("keep_open", "true")], header).await
    }

    async fn with(live: &Live, query: &[(&str, &str)], header: Option<&str>) -> Self {
        let stream = TcpStream::connect(live.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let target = format!("/api/v1/task/events?{}", urlencoded(query));
        let mut request = request("GET", &target).header("host", "x").header("token", TOKEN);
        if let Some(id) = header {
            request = request.header("last-event-id", id);
        }
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        tokio::spawn(async move {
            // The connection lives as long as its sender.
            tokio::time::sleep(Duration::from_secs(20)).await;
            drop(sender);
        });
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event: its id, name and data; `None` at the end.
    async fn next(&mut self) -> Option<(Option<u64>, String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                if let Some(data) = field("data") {
                    let id = field("id").map(|id| id.parse().unwrap());
                    return Some((id, field("event").unwrap().to_owned(), serde_json::from_str(data).unwrap()));
                }
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(5), self.body.frame()).await.expect("an event in time");
            let data = frame?.ok()?.into_data().unwrap();
            self.text += std::str::from_utf8(&data).unwrap();
        }
    }

    /// The next entry of the log.
    async fn entry(&mut self) -> Option<(u64, String, Value)> {
        loop {
            if let (Some(id), name, data) = self.next().await? {
                return Some((id, name, data));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_followed_and_taken_up_again() {
    let live = Live::start().await;
    let key = NASTY[0];
    live.completed(key, 1).await;
    let mut followed = Followed::start(&live, key, None).await;
    let mut seen = Vec::new();
    let mut names = BTreeSet::new();
    loop {
        let (id, name, data) = followed.entry().await.unwrap();
        assert!(seen.last().is_none_or(|(before, _)| *before < id), "numbers grow");
        assert!(data["at"].as_i64().unwrap() > 1_600_000_000_000);
        assert_eq!(data["event"], name.as_str());
        let ended = data["state"] == "completed";
        names.insert(name);
        seen.push((id, data));
        if ended {
            break;
        }
    }
    for name in ["state", "planned", "started", "done"] {
        assert!(names.contains(name), "{names:?}");
    }
    // How far it is comes as well.
    let data = loop {
        let (id, name, data) = followed.next().await.unwrap();
        if name == "progress" {
            assert_eq!((id, &data["status"]), (None, &json!("completed")));
            break data;
        }
    };
    assert_eq!((&data["frames_total"], &data["progress"][0]["completed"]), (&json!(10), &Value::Null));

    // From the middle, by header and by query, on this server and the next one.
    let (middle, next) = (seen[2].0, &seen[3]);
    let mut resumed = Followed::start(&live, key, Some(&middle.to_string())).await;
    let (id, _, data) = resumed.entry().await.unwrap();
    assert_eq!((id, &data), (next.0, &next.1));

    live.post("retry/merge", &[("video_key", key)]).await.ok();
    let retried = loop {
        let (_, name, data) = followed.entry().await.unwrap();
        if name == "retried" {
            break data;
        }
    };
    assert_eq!(retried["work"]["kind"], "merge");
    live.post("clear", &[("video_key", key)]).await.ok();
    while followed.next().await.is_some() {}
    for (id, status) in [("x", 400), ("1", 404)] {
        let request =
            request("GET", "/api/v1/task/events?video_key=none").header("token", TOKEN).header("last-event-id", id);
        live.send(request.body(Bytes::new()).unwrap()).await.refusal(status);
    }
    live.get("/api/v1/task/events?video_key=none&last_event_id=-1").await.refusal(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_ends_with_its_task() {
    let live = Live::start().await;
    let key = "ended.mkv";
    live.completed(key, 1).await;
    let mut followed = Followed::with(&live, &[("video_key", key)], None).await;
    let (mut last, mut states) = (0, Vec::new());
    while let Some((id, name, data)) = followed.next().await {
        last = id.unwrap_or(last);
        states.extend((name == "progress").then(|| data["status"].clone()));
    }
    assert_eq!(states.last(), Some(&json!("completed")));
    // A browser that comes back is told not to.
    let query = urlencoded(&[("video_key", key), ("last_event_id", &last.to_string())]);
    let again = live.get(&format!("/api/v1/task/events?{query}")).await;
    assert_eq!(again.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_is_opened_by_its_link_or_the_token() {
    let live = Live::start().await;
    for key in [NASTY[0], NASTY[6]] {
        live.planned(key, 2).await;
        let data = live.about("progress", key).await.data();
        let links: Vec<&str> = (0..2).map(|index| data["progress"][index]["clip_url"].as_str().unwrap()).collect();
        // The source is no film, so there is nothing to cut: what is there is what an earlier request has cut.
        live.put_object(&format!("{key}-clip-1.mkv")).await;
        let clip = live.follow("GET", links[1], &[("range", "bytes=0-2")], "").await;
        assert_eq!((clip.status.as_u16(), clip.body.len()), (206, 3), "{}", clip.text());
        assert!(clip.header("content-disposition").contains("-clip-1.mkv"));
        let target = format!("/api/v1/task/clip?{}", urlencoded(&[("video_key", key), ("index", "1")]));
        assert_eq!(live.get(&target).await.text(), format!("{key}-clip-1.mkv"));
        for link in [
            target.clone(),
            live.target(links[1]).replace("index=1", "index=0"),
            live.target(links[0]).replace("index=0", "index=1"),
            format!("{}x", live.target(links[1])),
        ] {
            live.send(request("GET", &link).body(Bytes::new()).unwrap()).await.refusal(401);
        }
        let missing = format!("/api/v1/task/clip?{}", urlencoded(&[("video_key", key), ("index", "2")]));
        assert_eq!(live.get(&missing).await.refusal(404), "Encode clip not exist");
        assert_eq!(live.get("/api/v1/task/clip?video_key=a").await.refusal(400), "`index` is missing");
        let uncut = format!("/api/v1/task/clip?{}", urlencoded(&[("video_key", key), ("index", "0")]));
        let refusal = live.get(&uncut).await.refusal(400);
        assert!(refusal.starts_with(&format!("clip 0 cannot be cut: cannot read the source {key}: ")), "{refusal}");
        live.post("clear", &[("video_key", key)]).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_how_it_is() {
    let live = Live::start().await;
    live.get("/healthz").await.ok();
    live.get("/readyz").await.ok();
    live.completed("a.mkv", 2).await;
    live.planned("b.mkv", 3).await;
    live.ledger.lease_next("test").await.unwrap().unwrap();
    live.get("/nowhere").await;
    let reply = live.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"));
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(value("finalrip_queue_length{queue=\"priority\"}"), 2.0);
    assert_eq!(
        (value("finalrip_leases "), value("finalrip_workers "), value("finalrip_retries_total")),
        (1.0, 0.0, 0.0)
    );
    assert!(value("finalrip_work_completed_total") >= 7.0);
    assert!(value("finalrip_http_received_bytes_total") > 100.0 && value("finalrip_http_sent_bytes_total") > 100.0);
    let series = "finalrip_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/task/oss/presigned\",status=\"200\"}";
    assert_eq!(value(series), 2.0);
    assert_eq!(value("finalrip_http_request_duration_seconds_count{method=\"GET\",route=\"\",status=\"404\"}"), 1.0);
    // The disk is gone: it lives, but is not ready.
    let store = live.data.path().join("store/objects");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::write(&store, "").unwrap();
    live.get("/readyz").await.refusal(503);
    live.get("/healthz").await.ok();
}

#[test]
fn the_document_describes_the_routes_and_no_others() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|name| !matches!(name.as_str(), "parameters" | "head")) {
            described.insert((path.as_str(), method.to_uppercase()));
        }
    }
    let routes: BTreeSet<_> = ROUTES.iter().map(|route| (route.path, route.method.to_string())).collect();
    assert_eq!(described, routes);
    for route in &ROUTES {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let schemes: Vec<&str> = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|scheme| scheme.as_object().unwrap().keys().map(String::as_str))
            .collect();
        let expected: &[&str] = match route.access {
            Access::Open => &[],
            Access::Token => &["token", "bearer"],
            Access::TokenOrLink => &["token", "bearer", "link"],
            Access::Link => &["link"],
        };
        assert_eq!(schemes, expected, "{}", route.path);
        let refuses_in_body =
            operation["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"].is_array();
        assert_eq!(refuses_in_body, route.errors == Errors::InBody, "{}", route.path);
    }
    for reference in OPENAPI.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served() {
    let live = Live::start().await;
    let reply = live.send(request("GET", "/openapi.json").body(Bytes::new()).unwrap()).await;
    assert_eq!((reply.header("content-type"), reply.text().as_str()), ("application/json", OPENAPI));
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finalrip-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FINALRIP_")) {
        command.env_remove(name);
    }
    command
}

#[test]
fn the_effective_configuration_is_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("finalrip.toml"),
        "workers = 2\ntoken = \"from-the-file\"\n[limits]\nbody_mib = 3\n",
    )
    .unwrap();
    let mut check = program();
    check
        .arg("check")
        .current_dir(folder.path())
        .env("FINALRIP_LIMITS_BODY_MIB", "4")
        .env("FINALRIP_TOKEN", "from-the-environment");
    let output = check.args(["--workers", "6", "--encoder-network", "--listen", "0.0.0.0:1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: toml::Table = text.parse().unwrap();
    assert_eq!((shown["workers"].as_integer(), shown["token"].as_str()), (Some(6), Some("(hidden)")));
    assert_eq!(
        (shown["limits"]["body_mib"].as_integer(), shown["encoder"]["network"].as_bool()),
        (Some(4), Some(true))
    );
    assert!(!text.contains("from-the"), "{text}");
    for (arguments, part) in [
        (&["check", "--listen", "0.0.0.0:1"][..], "can be reached from other machines"),
        (&["check", "--workers", "many"], "--workers cannot be used"),
        (&["check", "--config", "none.toml"], "none.toml"),
        (&["serve", "--no-such-flag"], "--no-such-flag"),
    ] {
        let output = program().args(arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn the_program_serves_with_a_token_of_its_own_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = program();
    serve.args(["serve", "--data", "data", "--listen", "127.0.0.1:0", "--workers", "0", "--log-format", "json"]);
    let mut server = serve.current_dir(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap())
        .lines()
        .map(|line| -> Value { serde_json::from_str(&line.unwrap()).unwrap() });
    let address = lines.find_map(|line| line["fields"]["address"].as_str().map(ToOwned::to_owned)).unwrap();
    let said = lines.next().unwrap().to_string();
    let file = folder.path().join("data/token");
    assert!(said.contains("data/token"), "{said}");
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!said.contains(&token));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ping = |token: &str| {
        let request = request("GET", "/").header("token", token).body(Bytes::new()).unwrap();
        runtime.block_on(common::send(address.parse().unwrap(), request)).status.as_u16()
    };
    assert_eq!((ping(&token), ping("something-else")), (200, 401));
    let second = program()
        .args(["serve", "--data", "data", "--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && message.contains("in use by another process"), "{message}");
    let killed = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(killed.success() && server.wait().unwrap().success());
    let log: String = lines.map(|line| line.to_string()).collect();
    assert!(log.contains("stopped") && !log.contains(&token) && !log.contains(SCRIPT), "{log}");
}

#[test]
fn the_server_outlives_a_want_of_file_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    let serve = "ulimit -n 64; exec \"$0\" serve --data data --listen 127.0.0.1:0 --workers 0 --log-format json";
    limited.args(["-c", serve, env!("CARGO_BIN_EXE_finalrip-server")]).current_dir(folder.path());
    let mut server = limited.env("FINALRIP_TOKEN", TOKEN).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| {
        let line: Value = serde_json::from_str(&line).unwrap();
        line["fields"]["address"].as_str().map(|address| address.parse::<std::net::SocketAddr>().unwrap())
    });
    let address = address.unwrap();
    let many: Vec<_> = (0..80).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    assert!(lines.any(|line| line.contains("cannot accept a connection")), "there are not enough for all");
    drop(many);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let request = request("GET", "/").header("token", TOKEN).body(Bytes::new()).unwrap();
    runtime.block_on(common::send(address, request)).ok();
    server.kill().unwrap();
    server.wait().unwrap();
}
