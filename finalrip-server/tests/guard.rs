//! What stands before the routes: the token, CORS, limits, slow clients, and the end of the server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Live, SCRIPT, TOKEN, raw, request};
use finalrip_server::routes::{Access, Errors, ROUTES};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_the_token() {
    let live = Live::start().await;
    let near = [
        None,
        Some(("token", "")),
        Some(("token", "open-sesam")),
        Some(("token", "open-sesame-")),
        Some(("token", "OPEN-SESAME")),
        Some(("authorization", "open-sesame")),
        Some(("authorization", "Basic open-sesame")),
        Some(("cookie", "token=open-sesame")),
    ];
    for route in &ROUTES {
        let path = route.path.replace("{key}", "a.mkv")
            + if route.path.ends_with("clip") { "?video_key=a&index=0" } else { "" };
        for header in near {
            let mut request = request(route.method.as_str(), &path);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let reply = live.send(request.body(Bytes::new()).unwrap()).await;
            assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
            match (route.access, route.errors) {
                (Access::Open, _) => assert_eq!(reply.status, 200, "{path}"),
                (Access::Link, _) => drop(reply.refusal(403)),
                (_, Errors::InBody) => {
                    assert!(reply.refusal(200).starts_with("The token is missing or wrong"), "{path}")
                }
                (_, Errors::ByStatus) => {
                    assert_eq!(reply.header("www-authenticate"), "Bearer");
                    reply.refusal(401);
                }
            }
        }
    }
    live.get("/").await.ok();
    let bearer = request("GET", "/").header("authorization", format!("Bearer {TOKEN}"));
    live.send(bearer.body(Bytes::new()).unwrap()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_call_and_read_everything() {
    let live = Live::start().await;
    for path in ["/", "/api/v1/task/start", "/objects/%F0%9F%8E%AC?m=PUT", "/nowhere"] {
        let preflight = request("OPTIONS", path)
            .header("origin", "https://dash.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "token,content-type");
        let reply = live.send(preflight.body(Bytes::new()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, "*"), "{path}");
        let headers = reply.header("access-control-allow-headers");
        for name in ["token", "content-type", "authorization", "range"] {
            assert!(headers.split(", ").any(|known| known == name), "{headers}");
        }
        for method in ["GET", "POST", "PUT", "HEAD"] {
            assert!(reply.header("access-control-allow-methods").contains(method));
        }
        assert!(reply.header("access-control-max-age").parse::<u32>().unwrap() > 0);
        assert!(!reply.headers.contains_key("access-control-allow-credentials"));
    }
    let long = "x".repeat(40 << 10);
    for (method, path, header, status) in [
        ("GET", "/nowhere", ("a", "b"), 404),
        ("DELETE", "/api/v1/task/list", ("a", "b"), 405),
        ("GET", "/api/v1/task/list", ("a", "b"), 200),
        ("GET", "/", ("x-long", long.as_str()), 431),
        ("GET", "/api/v1/task/events?video_key=a", ("token", TOKEN), 404),
    ] {
        let request = request(method, path).header("origin", "https://dash.example").header(header.0, header.1);
        let reply = live.send(request.body(Bytes::new()).unwrap()).await;
        reply.refusal(status);
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
        let exposed = reply.header("access-control-expose-headers");
        for name in ["etag", "content-range", "content-disposition", "content-length", "accept-ranges", "x-request-id"]
        {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_configured_pages_may_call() {
    let live = Live::with("cors_origins = [\"https://dash.example\"]\n").await;
    for (origin, allowed) in
        [("https://dash.example", "https://dash.example"), ("https://evil.example", ""), ("null", "")]
    {
        for method in ["GET", "OPTIONS"] {
            let request = request(method, "/").header("origin", origin).header("token", TOKEN);
            let reply = live.send(request.body(Bytes::new()).unwrap()).await;
            assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (allowed, "origin"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id() {
    let live = Live::start().await;
    let with = async |id: &str| {
        let request = request("GET", "/healthz").header("x-request-id", id);
        live.send(request.body(Bytes::new()).unwrap()).await.header("x-request-id").to_owned()
    };
    assert_eq!(with("abc-1.2_Z").await, "abc-1.2_Z");
    for id in ["", "a b", "x\"y", &"x".repeat(65)] {
        let made = with(id).await;
        assert!(made != id && made.len() > 8, "{made}");
    }
    assert_ne!(with("").await, with("").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_before_they_go_off() {
    let live = Live::with("[limits]\nbody_mib = 1\nheader_seconds = 60\n").await;
    let post = |more: &str| {
        format!(
            "POST /api/v1/task/new HTTP/1.1\r\nhost: x\r\ntoken: {TOKEN}\r\ncontent-type: application/json\r\n{more}\r\n\r\n"
        )
    };
    // Declared too long, too long without being declared, and never ending.
    let answer = raw(live.address, post("content-length: 20000000").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("access-control-allow-origin: *"), "{answer}");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(20);
    let answer = raw(live.address, (post("transfer-encoding: chunked") + &chunk).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let hurried = Live::with("[limits]\nrequest_seconds = 1\n").await;
    let answer = raw(hurried.address, (post("content-length: 100") + "{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("access-control-allow-origin: *"), "{answer}");
    // Headers: one that is large, many, one that never ends. Who still sends when all is said may not hear it.
    for (headers, must_hear) in [
        (format!("x: {}\r\n\r\n", "y".repeat(40 << 10)), true),
        (format!("{}\r\n", "x: y\r\n".repeat(500)), true),
        (format!("x: {}", "y".repeat(1 << 20)), false),
        ("x: y\r\n".repeat(20_000), false),
    ] {
        let begun = Instant::now();
        let answer =
            raw(live.address, format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") || (answer.is_empty() && !must_hear), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not waited for the end");
    }
    let answer = raw(
        live.address,
        format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "y".repeat(100_000)).as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    for nonsense in ["\r\n\r\n\r\n\0\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\0\x01\0\x01"] {
        let answer = raw(live.address, nonsense.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    // Deep JSON is no way to the end of the stack.
    let (open, close) = ("[".repeat(500_000), "]".repeat(500_000));
    for (deep, refused) in [
        (format!("{{\"video_key\":{open}"), "the body is not a JSON object"),
        (format!("{{\"video_key\":{open}{close}}}"), "`video_key` is not a text"),
    ] {
        let post =
            request("POST", "/api/v1/task/new").header("token", TOKEN).header("content-type", "application/json");
        let reply = live.send(post.body(deep.into()).unwrap()).await;
        assert!(reply.refusal(200).contains(refused), "{}", reply.text());
    }
    live.get("/healthz").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go_and_harm_nobody() {
    let live = Live::with("[limits]\nconnections = 40\nheader_seconds = 1\nidle_seconds = 1\n").await;
    let mut slow = Vec::new();
    for kind in 0..36 {
        let mut stream = TcpStream::connect(live.address).await.unwrap();
        let begun: &[u8] = match kind % 4 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nx: ",
            2 => b"PRI * HTTP/2.0\r\n",
            _ => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        };
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
    }
    // Others are served meanwhile.
    live.get("/healthz").await.ok();
    // Now all room is taken; it is given back soon.
    let mut more = Vec::new();
    for _ in 0..10 {
        more.push(TcpStream::connect(live.address).await.unwrap());
    }
    live.get("/healthz").await.ok();
    for stream in &mut slow {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a client that says nothing is let go");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_let_go() {
    let live = Live::with("[limits]\nidle_seconds = 1\n").await;
    live.upload("a.mkv", vec![1; 30_000_000]).await;
    live.post("new", &[("video_key", "a.mkv")]).await.ok();
    let url = live.about("progress", "a.mkv").await.data()["url"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(live.address).await.unwrap();
    let get = format!("GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", live.target(&url));
    stream.write_all(get.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut got = Vec::new();
    let _cut_off = stream.read_to_end(&mut got).await;
    assert!(got.len() < 30_000_000, "{} bytes", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_too() {
    let live = Live::start().await;
    live.task("a.mkv").await;
    let stream = TcpStream::connect(live.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for method in ["GET", "HEAD"] {
        let target = format!("http://{}/api/v1/task/progress?video_key=a.mkv", live.address);
        let request = Request::builder().method(method).uri(target).header("token", TOKEN);
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == "HEAD");
        if method == "GET" {
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let url = json["data"]["url"].as_str().unwrap();
            assert_eq!(live.follow("GET", url, &[], "").await.text(), "a film", "links are made without a Host header");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_lets_answers_finish_but_does_not_wait_for_ever() {
    let mut live = Live::with("[limits]\nshutdown_seconds = 60\n").await;
    live.task("a.mkv").await;
    let link = live.about("oss/presigned", "b.mkv").await.data()["url"].as_str().unwrap().to_owned();
    let put =
        |length: usize| format!("PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n", live.target(&link));
    let mut upload = TcpStream::connect(live.address).await.unwrap();
    upload.write_all(put(2000).as_bytes()).await.unwrap();
    upload.write_all(&[1; 1000]).await.unwrap();
    let mut follower = TcpStream::connect(live.address).await.unwrap();
    let events = format!("GET /api/v1/task/events?video_key=a.mkv HTTP/1.1\r\nhost: x\r\ntoken: {TOKEN}\r\n\r\n");
    follower.write_all(events.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (begun, ended) = (Instant::now(), live.begin_to_stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(live.address).await.is_err(), "nothing is accepted any more");
    upload.write_all(&[1; 1000]).await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "what had begun is finished: {answer}");
    let mut events = String::new();
    follower.read_to_string(&mut events).await.unwrap();
    assert!(events.contains("event: state"), "{events}");
    ended.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(50), "nothing was left to wait for: {:?}", begun.elapsed());

    let mut live = Live::with("[limits]\nshutdown_seconds = 1\n").await;
    let link = live.about("oss/presigned", "c.mkv").await.data()["url"].as_str().unwrap().to_owned();
    let mut upload = TcpStream::connect(live.address).await.unwrap();
    let put = format!("PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\nx", live.target(&link));
    upload.write_all(put.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (begun, ended) = (Instant::now(), live.begin_to_stop());
    ended.await.unwrap();
    assert!((1..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_undo_what_it_asked_for() {
    let live = Live::start().await;
    live.task("a.mkv").await;
    let body =
        common::urlencoded(&[("video_key", "a.mkv"), ("script", SCRIPT), ("encode_param", "ffmpeg -i - -c:v libx264")]);
    let mut stream = TcpStream::connect(live.address).await.unwrap();
    let head = format!(
        "POST /api/v1/task/start HTTP/1.1\r\nhost: x\r\ntoken: {TOKEN}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    for _ in 0..100 {
        if live.ledger.task("a.mkv").await.unwrap().state.is_running() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the task was not started");
}
