//! A real browser: a page of another origin uploads a film, has it encoded and downloads the result. It writes what it
//! found into its document, which the browser prints.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../finalrip-core/src/store/tests/garage/server.rs"]
mod garage;
#[path = "common/mod.rs"]
mod http;
mod program;
mod service;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use garage::Garage;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use program::{CLIPS, Server, Site, follow};
use serde_json::{Value, json};
use service::{LOSSLESS, assert_frames, film, temporal};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;

const KEY: &str = "[Group] Täst 01 & more (1080p)+x.mkv";

/// Serves the page and the film, on an address of its own: another origin.
async fn page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (done, _) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let done = done.clone();
            let answer = service_fn(move |request| give(request, done.clone()));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    address
}

async fn give(request: Request<Incoming>, done: watch::Sender<bool>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/" => include_str!("browser/page.html").into(),
        "/film" => std::fs::read(film()).unwrap().into(),
        "/loaded" => {
            drop(done.subscribe().wait_for(|done| *done).await);
            Bytes::new()
        }
        "/done" => {
            done.send_replace(true);
            Bytes::new()
        }
        _ => Bytes::new(),
    };
    Ok(Response::new(Full::new(body)))
}

/// The browser.
fn chromium() -> std::ffi::OsString {
    std::env::var_os("FINALRIP_CHROMIUM").unwrap_or_else(|| "chromium".into())
}

/// Opens the page in a browser of its own, and gives what it wrote.
async fn verdict(server: &Server) -> Value {
    let told = json!({
        "api": format!("http://{}", server.address()), "token": http::TOKEN, "key": KEY, "script": temporal(),
        "command": LOSSLESS,
    });
    let fragment: String = told.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let folder = common::scratch();
    let mut browser = tokio::process::Command::new(chromium());
    browser.args(["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--timeout=600000"]);
    // As root there is no sandbox for the page; it is ours.
    browser.arg("--no-sandbox").arg(format!("--user-data-dir={}", folder.path().display()));
    browser.arg("--dump-dom").arg(format!("http://{}/#{fragment}", page().await));
    let browser = browser.stdin(Stdio::null()).kill_on_drop(true).output();
    let printed = tokio::time::timeout(Duration::from_secs(240), browser).await.expect("the page comes to its end");
    let printed = printed.expect("chromium, or what FINALRIP_CHROMIUM names: run `scripts/setup.sh test-long`");
    let text = String::from_utf8_lossy(&printed.stdout);
    let verdict = text.split_once("<pre id=\"verdict\">").and_then(|(_, rest)| Some(rest.split_once("</pre>")?.0));
    let verdict = verdict.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&printed.stderr)));
    serde_json::from_str(&verdict.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).unwrap()
}

/// Lets the browser do all of it, and asserts that what it found is there.
async fn live(sections: &str) {
    // The first of these belongs to the section of the log.
    let site = Site::with(&format!("filter = \"info,finalrip_server=debug\"\n{sections}"));
    let mut server = site.serve().await;
    let verdict = verdict(&server).await;
    let task = server.about("progress", KEY).await;
    let result = follow("GET", &task["encode_url"], &[], "").await.body;
    let sha256: String = Sha256::digest(&result).iter().map(|byte| format!("{byte:02x}")).collect();
    let length = result.len();
    assert_eq!(
        verdict,
        json!({
            "refused": "The token is missing or wrong; send it in the header `token`.",
            "clips": CLIPS,
            "part": { "status": 206, "range": format!("bytes 10-109/{length}"), "bytes": 100 },
            "result": { "bytes": length, "sha256": sha256 },
        })
    );
    let file = site.data.join("result.mkv");
    std::fs::write(&file, result).unwrap();
    assert_frames(&file, &temporal(), &film());
    assert!(server.said().contains("\"method\":\"OPTIONS\""), "no preflight: {}", server.said());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program chromium; make test-long"]
async fn a_page_of_another_origin_uploads_encodes_and_downloads() {
    live("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the programs chromium, curl and garage; make test-long"]
async fn a_page_of_another_origin_uploads_to_s3_and_downloads_from_it() {
    let garage = Garage::start();
    garage.allow_pages();
    live(&garage.settings()).await;
}
