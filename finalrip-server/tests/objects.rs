//! The local store's objects by signed links: what a link opens and what not, ranges and conditions, uploads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Live, Reply, TOKEN, raw, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KEY: &str = "[Group] Täst 01 & more (1080p)+x.mkv";

async fn link_to(live: &Live, key: &str) -> String {
    live.about("progress", key).await.data()["url"].as_str().unwrap().to_owned()
}

async fn upload_link(live: &Live, key: &str) -> String {
    live.about("oss/presigned", key).await.data()["url"].as_str().unwrap().to_owned()
}

/// A link with the value of one field of its query replaced.
fn altered(link: &str, name: &str, value: &str) -> String {
    let (path, query) = link.split_once('?').unwrap();
    let fields = query.split('&').map(|field| match field.split_once('=') {
        Some((known, _)) if known == name => format!("{name}={value}"),
        _ => field.to_owned(),
    });
    format!("{path}?{}", fields.collect::<Vec<_>>().join("&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_what_it_was_made_for_and_nothing_else() {
    let live = Live::start().await;
    live.task(KEY).await;
    live.task("other.mkv").await;
    let (link, other) = (link_to(&live, KEY).await, link_to(&live, "other.mkv").await);
    let put = upload_link(&live, "third.mkv").await;
    assert_eq!(live.follow("GET", &link, &[], "").await.text(), "a film");
    let (path, query) = link.split_once('?').unwrap();
    let (other_path, _) = other.split_once('?').unwrap();
    let refused = [
        ("PUT", link.clone()),
        ("GET", put.clone()),
        ("HEAD", put.clone()),
        ("GET", path.to_owned()),
        ("GET", format!("{path}?{}", query.rsplit_once('&').unwrap().0)),
        ("GET", format!("{other_path}?{query}")),
        ("GET", altered(&link, "e", "99999999999")),
        ("GET", altered(&link, "e", "1")),
        ("GET", altered(&link, "d", "inline")),
        ("GET", altered(&link, "m", "PUT")),
        ("PUT", altered(&link, "m", "PUT")),
        ("GET", altered(&link, "s", &"A".repeat(43))),
        ("GET", link.replace("/objects/", "/objects/%2e%2e%2f")),
    ];
    for (method, link) in refused {
        let reply = live.follow(method, &link, &[("token", TOKEN)], "new").await;
        assert_eq!(reply.status, 403, "{method} {link}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        if method != "HEAD" {
            assert_eq!(reply.refusal(403), "the link is not valid, or no longer");
        }
    }
    for method in ["POST", "DELETE", "PATCH"] {
        let reply = live.follow(method, &link, &[], "").await;
        assert_eq!(reply.header("allow"), "GET, HEAD, PUT, OPTIONS");
        reply.refusal(405);
    }
    assert_eq!(live.follow("GET", &link, &[], "").await.text(), "a film", "nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_holds_for_its_time_and_over_a_restart() {
    let live = Live::start().await;
    live.task(KEY).await;
    let link = link_to(&live, KEY).await;
    let expires: u64 = link.split("&e=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hours = 3600 * 48;
    assert!((now + hours..=now + hours + 660).contains(&expires), "48 hours, and not much more");
    let target = live.target(&link).to_owned();
    let data = live.stop().await;
    let again = Live::over(data, "").await;
    assert_eq!(again.get(&target).await.text(), "a film");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_link_cannot_hurt_a_task() {
    let live = Live::start().await;
    let (source, clip) = (upload_link(&live, KEY).await, upload_link(&live, &format!("{KEY}-clip-0.mkv")).await);
    for content in ["first", "a film"] {
        let reply = live.follow("PUT", &source, &[("content-type", "")], content).await;
        reply.ok();
        assert!(reply.header("etag").starts_with('"'));
    }
    live.post("new", &[("video_key", KEY)]).await.ok();
    live.planned("run.mkv", 1).await;
    // A replay of the link after its task was started, and a link to what became a task's clip.
    let job = live.ledger.task("run.mkv").await.unwrap().job.unwrap();
    live.ledger.start(KEY, job).await.unwrap();
    for link in [source, clip] {
        for headers in [&[][..], &[("expect", "100-continue")]] {
            let message = live.follow("PUT", &link, headers, vec![7; 300_000]).await.refusal(409);
            assert!(message.contains(KEY), "{message}");
        }
    }
    assert_eq!(live.follow("GET", &link_to(&live, KEY).await, &[], "").await.text(), "a film");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_begins_while_its_source_arrives_keeps_the_old_one() {
    let live = Live::start().await;
    live.task(KEY).await;
    let link = upload_link(&live, KEY).await;
    let mut stream = TcpStream::connect(live.address).await.unwrap();
    let head =
        format!("PUT {} HTTP/1.1\r\nhost: {}\r\ncontent-length: 200000\r\n\r\n", live.target(&link), live.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[1; 150_000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    live.planned("other.mkv", 1).await;
    let job = live.ledger.task("other.mkv").await.unwrap().job.unwrap();
    live.ledger.start(KEY, job).await.unwrap();
    stream.write_all(&[1; 50_000]).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert_eq!(live.follow("GET", &link_to(&live, KEY).await, &[], "").await.text(), "a film");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_conditions_are_those_of_the_rfc() {
    let live = Live::start().await;
    let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    live.upload(KEY, content.clone()).await;
    live.post("new", &[("video_key", KEY)]).await.ok();
    let link = link_to(&live, KEY).await;
    let get = async |headers: &[(&str, &str)]| live.follow("GET", &link, headers, "").await;
    let whole = get(&[]).await;
    assert_eq!(
        (whole.status.as_u16(), whole.header("accept-ranges"), whole.header("content-length")),
        (200, "bytes", "100000")
    );
    assert_eq!(whole.header("content-type"), "video/x-matroska");
    assert_eq!(
        whole.header("content-disposition"),
        "attachment; filename=\"[Group] T_st 01 & more (1080p)+x.mkv\"; \
         filename*=UTF-8''%5BGroup%5D%20T%C3%A4st%2001%20&%20more%20%281080p%29+x.mkv"
    );
    assert_eq!(whole.body, content);
    let (tag, date) = (whole.header("etag"), whole.header("last-modified"));
    assert!(tag.starts_with('"') && date.ends_with(" GMT"));

    for (range, covered) in [
        ("bytes=0-0", 0..1),
        ("bytes=10-19", 10..20),
        ("bytes=99990-", 99_990..100_000),
        ("bytes=99990-2000000", 99_990..100_000),
        ("bytes=-7", 99_993..100_000),
        ("bytes=-2000000", 0..100_000),
        ("Bytes=5-18446744073709551617", 5..100_000),
    ] {
        let part = get(&[("range", range)]).await;
        let said = format!("bytes {}-{}/100000", covered.start, covered.end - 1);
        assert_eq!((part.status.as_u16(), part.header("content-range")), (206, said.as_str()), "{range}");
        assert_eq!(part.header("content-length"), covered.len().to_string());
        assert_eq!((part.header("etag"), part.header("accept-ranges")), (tag, "bytes"));
        assert!(part.body == content[covered], "{range}");
    }
    for range in ["bytes=100000-", "bytes=-0", "bytes=99999999999999999999-"] {
        let reply = get(&[("range", range)]).await;
        assert_eq!(reply.header("content-range"), "bytes */100000", "{range}");
        reply.refusal(416);
    }
    for range in
        ["bytes=1-0", "bytes=0-1,5-6", "items=0-1", "bytes=", "bytes=-", "bytes=a-b", "bytes 0-1", "bytes=+1-2"]
    {
        assert_eq!(get(&[("range", range)]).await.status, 200, "{range}");
    }
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (headers, status) in [
        (&[("if-range", tag)][..], 206),
        (&[("if-range", date)], 206),
        (&[("if-range", "\"other\"")], 200),
        (&[("if-range", &format!("W/{tag}"))], 200),
        (&[("if-range", old)], 200),
        (&[("if-none-match", tag)], 304),
        (&[("if-none-match", &format!("\"a\", W/{tag}"))], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"a\""), ("if-modified-since", date)], 206),
        (&[("if-modified-since", date)], 304),
        (&[("if-modified-since", old)], 206),
        (&[("if-match", tag)], 206),
        (&[("if-match", "\"a\"")], 412),
        (&[("if-unmodified-since", date)], 206),
        (&[("if-unmodified-since", old)], 412),
    ] {
        let headers = [headers, &[("range", "bytes=1-2")]].concat();
        let reply = get(&headers).await;
        assert_eq!(reply.status, status, "{headers:?}");
        if status == 304 {
            assert_eq!((reply.header("etag"), reply.body.len()), (tag, 0));
        }
    }
    let head = live.follow("HEAD", &link, &[("range", "bytes=1-2")], "").await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.header("etag")), (200, "100000", tag));
    assert!(head.body.is_empty());
    // Another content has another tag, and a range of the old one is not given.
    live.follow("PUT", &upload_link(&live, KEY).await, &[], "short").await.ok();
    let reply = get(&[("range", "bytes=1-2"), ("if-range", tag)]).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "short"));
    live.upload("empty", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_whole_or_nothing() {
    let live = Live::with("[limits]\nidle_seconds = 1\n").await;
    let link = upload_link(&live, KEY).await;
    let target = live.target(&link).to_owned();
    let head = |more: &str| format!("PUT {target} HTTP/1.1\r\nhost: {}\r\n{more}\r\n\r\n", live.address).into_bytes();
    let exists = async || live.about("oss/presigned", KEY).await.data()["exist"].clone();

    // A client that stands still is sent away; one that goes away leaves nothing.
    let stalled = raw(live.address, &[head("content-length: 1000000"), vec![1; 600_000]].concat()).await;
    assert!(stalled.starts_with("HTTP/1.1 408 ") && stalled.contains("access-control-allow-origin: *"), "{stalled}");
    let mut stream = TcpStream::connect(live.address).await.unwrap();
    stream.write_all(&[head("content-length: 1000000"), vec![1; 600_000]].concat()).await.unwrap();
    drop(stream);
    // So is one that sends a byte now and then.
    let mut trickle = TcpStream::connect(live.address).await.unwrap();
    trickle.write_all(&head("content-length: 1000000")).await.unwrap();
    let begun = Instant::now();
    while trickle.write_all(b"x").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "a byte now and then keeps a connection for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A broken chunk.
    let broken =
        raw(live.address, &[head("transfer-encoding: chunked"), b"5\r\nhello\r\nxyz\r\n".to_vec()].concat()).await;
    assert!(broken.starts_with("HTTP/1.1 400 ") || broken.is_empty(), "{broken}");
    let part = live.follow("PUT", &link, &[("content-range", "bytes 0-4/10")], "hello").await.refusal(400);
    assert!(part.contains("Content-Range"), "{part}");
    assert_eq!(exists().await, false);
    let partial = live.data.path().join("store/partial");
    for _ in 0..50 {
        if std::fs::read_dir(&partial).unwrap().next().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0, "what is not finished is removed");

    // Without a length it works too.
    let chunked = raw(
        live.address,
        &[head("connection: close\r\ntransfer-encoding: chunked"), b"5\r\nhello\r\n0\r\n\r\n".to_vec()].concat(),
    )
    .await;
    assert!(chunked.starts_with("HTTP/1.1 200 "), "{chunked}");
    assert_eq!(exists().await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_film_passes_through_unchanged_in_pieces() {
    let live = Live::start().await;
    let content: Bytes = (0..24_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    live.upload(KEY, content.clone()).await;
    live.post("new", &[("video_key", KEY)]).await.ok();
    let link = link_to(&live, KEY).await;
    let replies: Vec<Reply> = futures_util::future::join_all(
        [(0, 7_999_999), (8_000_000, 15_999_999), (16_000_000, 23_999_999)]
            .map(|(first, last)| (first, format!("bytes={first}-{last}")))
            .map(|(_, range)| {
                let link = &link;
                let live = &live;
                async move { live.follow("GET", link, &[("range", &range)], "").await }
            }),
    )
    .await;
    let joined: Vec<u8> = replies.iter().flat_map(|reply| reply.body.to_vec()).collect();
    assert!(joined == content);
    let reply = live.send(request("PUT", "/objects/x").body(Bytes::new()).unwrap()).await;
    reply.refusal(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_have_the_configured_limit() {
    let live = Live::with("[limits]\nupload_gib = 0\n").await;
    let link = upload_link(&live, KEY).await;
    let reply = live.follow("PUT", &link, &[], "more than nothing").await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.refusal(413), "an upload may have 0 bytes at most");
}
