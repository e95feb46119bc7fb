//! The real server over S3: Garage, to which clients upload, and from which they download, by the server's links.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../finalrip-core/src/store/tests/garage/server.rs"]
mod garage;
#[path = "common/mod.rs"]
mod http;
mod program;
mod service;

use std::time::{Duration, Instant};

use garage::Garage;
use program::{Site, follow, slow};
use serde_json::{Value, json};
use service::{film, temporal};

/// A task in which everything has a name that has broken programs before.
const KEY: &str = "[Group] Täst 01 & more (1080p)+x%20\"quoted\" 'it' 片名🎬.mkv";

fn starts_at(link: &Value, garage: &Garage) -> bool {
    link.as_str().unwrap().starts_with(&format!("{}/films/", garage.endpoint()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program garage; make test-long"]
async fn a_task_goes_from_upload_to_download_by_links_of_s3() {
    let garage = Garage::start();
    let site = Site::with(&garage.settings());
    let mut server = site.serve().await;
    let presigned = server.about("oss/presigned", KEY).await;
    assert!(starts_at(&presigned["url"], &garage) && presigned["exist"] == false, "{presigned}");
    server.begin(KEY, &temporal()).await;
    server.assert_completes(KEY).await;
    assert_eq!(server.about("oss/presigned", &format!("{KEY}2")).await["exist"], false);

    let film = std::fs::read(film()).unwrap();
    let task = server.about("progress", KEY).await;
    for (link, name) in [("url", KEY.to_owned()), ("encode_url", format!("{KEY}-Encoded.mkv"))] {
        let link = &task[link];
        assert!(starts_at(link, &garage), "{link}");
        let whole = follow("GET", link, &[], "").await;
        assert_eq!(whole.status, 200, "{}", whole.text());
        assert_eq!(whole.header("content-disposition"), finalrip_core::store::attachment(&name));
        let part = follow("GET", link, &[("range", "bytes=1000-1999")], "").await;
        assert_eq!((part.status.as_u16(), &part.body), (206, &whole.body.slice(1000..2000)));
        assert_eq!(part.header("content-range"), format!("bytes 1000-1999/{}", whole.body.len()));
        // A link is for what it was made for.
        let written = follow("PUT", link, &[], "something else").await;
        assert_eq!(written.status, 403, "{}", written.text());
        let other: Value = link.as_str().unwrap().replacen(".mkv", "2.mkv", 1).into();
        assert_eq!(follow("GET", &other, &[], "").await.status, 403);
    }
    assert_eq!(follow("GET", &task["url"], &[], "").await.body, film);
    clips(&garage, &task).await;
    let figures = server.call("GET", "/metrics", "").await.text();
    let fetched = figures.lines().find(|line| line.starts_with("finalrip_fetched_bytes_total ")).unwrap();
    let fetched: f64 = fetched.rsplit(' ').next().unwrap().parse().unwrap();
    // The source was brought here once, and every clip for the merge.
    assert!(fetched > film.len() as f64 && fetched < 2.0 * film.len() as f64 + 20e6, "{figures}");

    server.call("POST", "/api/v1/task/clear", http::urlencoded(&[("video_key", KEY)])).await.ok();
    for link in ["url", "encode_url"] {
        assert_eq!(follow("GET", &task[link], &[], "").await.status, 404);
    }
    assert_eq!(server.about("oss/presigned", KEY).await["exist"], false);
    server.stop().await;
    // A worker may have held the source for another piece of work; the next start finishes what it kept from being removed.
    let mut server = site.serve().await;
    let begin = Instant::now();
    for folder in ["sources", "cache", "scratch"] {
        while !common::files_in(&site.data.join(folder)).is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60), "something is left in {folder}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    server.stop().await;
}

/// Clips: the part of the source is cut when asked, the encoded clip is there.
async fn clips(garage: &Garage, task: &Value) {
    let clips = task["progress"].as_array().unwrap();
    assert_eq!(clips.len(), program::CLIPS as usize);
    let encoded = follow("GET", &clips[3]["encode_url"], &[], "").await;
    assert!(starts_at(&clips[3]["encode_url"], garage) && encoded.status == 200, "{}", encoded.text());
    // Cut when asked, and given by the server itself.
    let cut = follow("GET", &clips[3]["clip_url"], &[("range", "bytes=0-3")], "").await;
    assert_eq!(cut.status, 206, "{}", cut.text());
    assert_eq!(cut.body[..], [0x1a, 0x45, 0xdf, 0xa3], "it is no Matroska file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program garage; make test-long"]
async fn keys_that_have_broken_programs_work_in_s3() {
    let garage = Garage::start();
    let site = Site::with(&garage.settings());
    let mut server = site.serve().await;
    for key in http::NASTY {
        let presigned = server.about("oss/presigned", key).await;
        assert_eq!(presigned["exist"], false, "{key}");
        let uploaded = follow("PUT", &presigned["url"], &[], *key).await;
        assert_eq!(uploaded.status, 200, "{key}: {}", uploaded.text());
        assert_eq!(server.about("oss/presigned", key).await["exist"], true, "{key}");
        server.call("POST", "/api/v1/task/new", http::urlencoded(&[("video_key", key)])).await.ok();
    }
    let listed = server.call("GET", "/api/v1/task/list?pending=true", "").await.data();
    let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|task| task["key"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), http::NASTY.len());
    for key in http::NASTY {
        assert!(listed.contains(key), "{key}");
        let task = server.about("progress", key).await;
        assert_eq!(task["size"], format!("{} B", key.len()), "{key}");
        assert_eq!(follow("GET", &task["url"], &[], "").await.text(), *key);
        server.call("POST", "/api/v1/task/clear", http::urlencoded(&[("video_key", key)])).await.ok();
        assert_eq!(follow("GET", &task["url"], &[], "").await.status, 404, "{key}");
    }
    assert_eq!(server.call("GET", "/api/v1/task/list?pending=true", "").await.data(), json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program garage; make test-long"]
async fn a_store_that_goes_away_and_comes_back_costs_no_attempt() {
    let mut garage = Garage::start();
    let site = Site::with(&garage.settings());
    let mut server = site.serve().await;
    server.begin("film.mkv", &slow(20)).await;
    for clips in [1, 4] {
        assert!(server.done("film.mkv", clips).await.is_some());
        garage.stop();
        // The workers come to the end of their clips, and cannot store them.
        let begin = Instant::now();
        let waiting = server.said().matches("waiting for the store").count();
        while server.said().matches("waiting for the store").count() == waiting {
            assert!(begin.elapsed() < Duration::from_secs(60), "{}", server.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        garage.start_again();
    }
    server.assert_completes("film.mkv").await;
    let task = server.about("progress", "film.mkv").await;
    let attempts: Vec<&Value> = task["progress"].as_array().unwrap().iter().map(|clip| &clip["attempts"]).collect();
    assert_eq!(attempts, [1; program::CLIPS as usize]);
    server.stop().await;
}
