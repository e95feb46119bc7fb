//! A bucket over a real connection, with a server that says what the test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::store::{Credentials, S3Config};

/// Answers one request, given as `METHOD /path?query`, with a status, headers and a body; `None`: hangs up.
type Answer = Box<dyn Fn(&str, usize) -> Option<(u16, String, String)> + Send + Sync>;

struct Server {
    requests: Arc<Mutex<Vec<String>>>,
    store: Store,
}

async fn server(answer: Answer) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&seen)));
        }
    });
    let retries = Retries { time_out: Duration::from_secs(2), ..impatient() };
    Server { requests, store: store_at(address, retries) }
}

/// A store over the bucket that is served at an address, or should be.
fn store_at(address: SocketAddr, retries: Retries) -> Store {
    let credentials = Credentials { access_key: "id".into(), secret_key: "hidden".into(), session_token: None };
    let config = S3Config {
        endpoint: Some(format!("http://{address}")),
        public_endpoint: None,
        region: "garage".into(),
        bucket: "films".into(),
        path_style: true,
        allow_http: true,
        credentials,
        retries,
    };
    Store::open(&StoreConfig::S3(Box::new(config))).unwrap()
}

async fn serve(mut stream: TcpStream, answer: Arc<Answer>, seen: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break String::from_utf8(request[..end].to_vec()).ok()?;
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    while request.len() < head.len() + 4 + length.unwrap_or(0) {
        stream.read_buf(&mut request).await.ok()?;
    }
    let line = head.lines().next()?.strip_suffix(" HTTP/1.1")?.to_owned();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(line.clone());
        seen.len()
    };
    let (status, headers, body) = answer(&line, number)?;
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let body = if line.starts_with("HEAD") { "" } else { &body };
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

const META: &str = "etag: \"abc\"\r\nlast-modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n";

#[tokio::test]
async fn it_is_asked_again_after_errors_that_may_pass() {
    let server = server(Box::new(|_, number| match number {
        1 => Some((503, String::new(), "<Error><Code>SlowDown</Code></Error>".into())),
        2 => None,
        3 => Some((500, String::new(), String::new())),
        _ => Some((200, META.into(), "content".into())),
    }))
    .await;
    let found = server.store.head(&video("a b+c.mkv").source()).await.unwrap().unwrap();
    assert_eq!((found.size, found.e_tag.as_deref()), (7, Some("\"abc\"")));
    assert_eq!(*server.requests.lock().unwrap(), ["HEAD /films/a%20b%2Bc.mkv"; 4]);
}

#[tokio::test]
async fn a_refusal_is_final_and_tells_no_secret() {
    let server =
        server(Box::new(|_, _| Some((403, String::new(), "<Error><Code>AccessDenied</Code></Error>".into())))).await;
    let key = video("a.mkv").source();
    let content = || pieces(&noise(10, 1), 10);
    let errors = [
        server.store.head(&key).await.unwrap_err(),
        server.store.put_stream(&key, content(), None).await.unwrap_err(),
        server.store.delete(&key).await.unwrap_err(),
        server.store.task_objects(key.video()).await.unwrap_err(),
        server.store.remove_unfinished(Duration::ZERO).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hidden") && !text.contains("X-Amz-Signature"), "{text}");
    }
    assert_eq!(server.requests.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut server = server(Box::new(|_, _| None)).await;
    let error = server.store.probe().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { attempts: 10, .. }), "{error:?}");
    let text = format!("{error:?}");
    assert!(!text.contains("hidden") && !text.contains("X-Amz-Signature"), "{text}");
    server.store = store_at(free, impatient());
    assert!(server.store.head(&video("a").source()).await.unwrap_err().is_retriable());
}

#[tokio::test]
async fn a_tasks_objects_are_found_on_all_pages() {
    let server = server(Box::new(|line, _| {
        let entry = |key: &str| {
            format!("<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><Size>3</Size></Contents>")
        };
        let (entries, next) = if line.contains("continuation-token=t%2B1") {
            (entry("%20a-clip-encoded-1.mkv") + &entry("%20a%2Bother"), "")
        } else {
            (entry("%20a") + &entry("%20a-Encoded.mkv"), "<NextContinuationToken>t+1</NextContinuationToken>")
        };
        Some((200, String::new(), format!("<ListBucketResult>{entries}{next}</ListBucketResult>")))
    }))
    .await;
    let video = video(" a");
    let found: Vec<_> = server.store.task_objects(&video).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, [video.source(), video.result(), video.encoded_clip(1)]);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for line in &*requests {
        assert!(line.starts_with("GET /films/?list-type=2&encoding-type=url&prefix=%20a&"), "{line}");
        assert!(line.contains("X-Amz-Signature="));
    }
}

#[tokio::test]
async fn unfinished_uploads_of_tasks_are_aborted_by_age() {
    let server = server(Box::new(|line, _| {
        if line.starts_with("DELETE") {
            return Some((204, String::new(), String::new()));
        }
        let upload = |key: &str, begun: &str| {
            format!("<Upload><Key>{key}</Key><UploadId>id-{key}</UploadId><Initiated>{begun}</Initiated></Upload>")
        };
        let uploads = upload("old-Encoded.mkv", "2020-01-02T03:04:05Z")
            + &upload("new-Encoded.mkv", "2999-01-02T03:04:05Z")
            + &upload("backup.tar", "2020-01-02T03:04:05Z");
        Some((200, String::new(), format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>")))
    }))
    .await;
    assert_eq!(server.store.remove_unfinished(Duration::from_secs(3600)).await.unwrap(), 1);
    let requests = server.requests.lock().unwrap();
    assert!(requests[0].starts_with("GET /films/?uploads=&encoding-type=url&"), "{}", requests[0]);
    assert_eq!(requests[1..], ["DELETE /films/old-Encoded.mkv?uploadId=id-old-Encoded.mkv"]);
}

#[tokio::test]
async fn an_upload_in_parts_speaks_the_protocol() {
    let server = server(Box::new(|line, number| {
        let answer = |headers: &str, body: &str| Some((200, headers.to_owned(), body.to_owned()));
        let complete = number == 7;
        match line.split_once(' ').unwrap() {
            ("POST", path) if path.ends_with("?uploads") || path.ends_with("?uploads=") => {
                answer("", "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
            }
            // The first attempt at the second part fails.
            ("PUT", path) if path.contains("partNumber=2") && number <= 4 => Some((500, String::new(), String::new())),
            ("PUT", _) => answer("etag: \"part\"\r\n", ""),
            ("POST", _) => {
                answer("", "<CompleteMultipartUploadResult><ETag>\"abc\"</ETag></CompleteMultipartUploadResult>")
            }
            ("HEAD", _) if !complete => Some((404, String::new(), String::new())),
            ("HEAD", _) => answer(META, &"x".repeat(9 << 20)),
            _ => None,
        }
    }))
    .await;
    let content = noise(9 << 20, 1);
    let stored =
        server.store.put_stream(&video("a.mkv").source(), pieces(&content, 1 << 20), Some(9 << 20)).await.unwrap();
    assert_eq!(stored.size, 9 << 20);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 7, "{requests:?}");
    assert_eq!(requests.iter().filter(|line| line.starts_with("PUT")).count(), 3, "two parts, one of them twice");
    assert!(requests.last().unwrap().starts_with("HEAD /films/a.mkv"));
}
