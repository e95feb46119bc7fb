//! A server of its own for each test, over a real socket, and a client that sends what it is told to.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use finalrip_core::FrameRange;
use finalrip_core::store::{LocalConfig, Store, StoreConfig, VideoKey};
use finalrip_core::task::{EncodedClip, EncoderProgram, Ledger, Outcome, Queue, TaskJob, TaskPlan, TaskState, Work};
use finalrip_server::config::Layers;
use finalrip_server::{App, Opened, Server, open};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const TOKEN: &str = "open-sesame";

pub(crate) const SCRIPT: &str = "import vapoursynth as vs\nvs.core.std.BlankClip().set_output()\n";

/// Keys that have broken programs before.
pub(crate) const NASTY: &[&str] = &[
    "[Group] Täst 01 & more (1080p)+x.mkv",
    "show/season 1/01.mkv",
    " leading and trailing ",
    "100% %2e%2e%2f %zz.mkv",
    "\"double\" 'single' `back`",
    "semi;colon,comma:colon?question#hash=equals&amp;.mkv",
    "动画 第01話「終わり」.mkv",
    "🎬🇯🇵 e\u{301}.mkv",
    "a.mkv-clip-x.mkv",
    "$(touch x) <b> | ^ ~ {0} *!@.mkv",
];

/// A running server.
pub(crate) struct Live {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) data: TempDir,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
}

impl Live {
    /// One with the usual settings, and no workers.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// One with these settings on top.
    pub(crate) async fn with(settings: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::over(data, settings).await
    }

    /// One over this data folder.
    pub(crate) async fn over(data: TempDir, settings: &str) -> Self {
        let base = format!("data = {:?}\nlisten = \"127.0.0.1:0\"\nworkers = 0\ntoken = {TOKEN:?}\n", data.path());
        let file = Path::new("test.toml");
        let layers = Layers::default().text(&base, file).unwrap().text(settings, file).unwrap();
        let (stop, stopped) = watch::channel(false);
        let program = EncoderProgram {
            program: env!("CARGO_BIN_EXE_finalrip-server").into(),
            arguments: vec!["encoder-process".into()],
        };
        let Opened { app, .. } = open(layers.config().unwrap(), program, stopped.clone()).await.unwrap();
        let ledger = Arc::clone(App::service(&app).ledger());
        let server = Server::bind(app).await.unwrap();
        let address = server.address().unwrap();
        let serving = tokio::spawn(async move { server.run(stopped).await.unwrap() });
        Self { address, ledger, data, stop, serving: Some(serving) }
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.send_replace(true);
        self.serving.take().unwrap().await.unwrap();
        self.data
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn begin_to_stop(&mut self) -> JoinHandle<()> {
        self.stop.send_replace(true);
        self.serving.take().unwrap()
    }

    /// A request as it is told.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Reply {
        send(self.address, request).await
    }

    /// A request with the token and without a body.
    pub(crate) async fn call(&self, method: &str, target: &str) -> Reply {
        self.send(request(method, target).header("token", TOKEN).body(Bytes::new()).unwrap()).await
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.call("GET", target).await
    }

    /// A form, urlencoded, with the token, to a route of tasks.
    pub(crate) async fn post(&self, route: &str, fields: &[(&str, &str)]) -> Reply {
        let request = request("POST", &format!("/api/v1/task/{route}"))
            .header("token", TOKEN)
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(urlencoded(fields).into()).unwrap()).await
    }

    /// A call to a route of tasks that answers about one.
    pub(crate) async fn about(&self, route: &str, key: &str) -> Reply {
        self.get(&format!("/api/v1/task/{route}?{}", urlencoded(&[("video_key", key)]))).await
    }

    /// A link's answer; links lead here.
    pub(crate) async fn follow(
        &self,
        method: &str,
        link: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let target = self.target(link);
        let mut request = request(method, target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// What of a link is asked of this server.
    pub(crate) fn target<'a>(&self, link: &'a str) -> &'a str {
        link.strip_prefix(&format!("http://{}", self.address)).unwrap_or_else(|| panic!("{link} leads elsewhere"))
    }

    /// A source, uploaded as clients do.
    pub(crate) async fn upload(&self, key: &str, content: impl Into<Bytes>) {
        let link = self.about("oss/presigned", key).await.data()["url"].as_str().unwrap().to_owned();
        let reply = self.follow("PUT", &link, &[], content).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    /// A task of a small source.
    pub(crate) async fn task(&self, key: &str) {
        self.upload(key, "a film").await;
        self.post("new", &[("video_key", key)]).await.ok();
    }

    /// A task that runs, with this many clips of 10 frames. No script was looked at for it.
    pub(crate) async fn planned(&self, key: &str, clips: u32) {
        self.task(key).await;
        let job = TaskJob {
            script: SCRIPT.to_owned(),
            command: "ffmpeg -i - -c:v libx264".to_owned(),
            slice: true,
            timeout: Duration::from_secs(1200),
            queue: Queue::Priority,
        };
        self.ledger.start(key, job).await.unwrap();
        while self.ledger.task(key).await.unwrap().state == TaskState::Planning {
            let lease = self.ledger.lease_next("test").await.unwrap().unwrap();
            let ranges = (0..clips).map(|clip| FrameRange { start: clip * 10, end: clip * 10 + 10 });
            let outcome = match lease.work {
                Work::Index => Outcome::Indexed,
                _ => Outcome::Planned(TaskPlan { clips: ranges.collect(), record: "{}".to_owned() }),
            };
            self.ledger.complete(lease.token, outcome).await.unwrap();
        }
    }

    /// A task that is done: clips and result are what they are called.
    pub(crate) async fn completed(&self, key: &str, clips: u32) {
        self.planned(key, clips).await;
        while self.ledger.task(key).await.unwrap().state != TaskState::Completed {
            let lease = self.ledger.lease_next("test").await.unwrap().unwrap();
            let outcome = match lease.work {
                Work::Clip { index, .. } => {
                    self.put_object(&format!("{key}-clip-encoded-{index}.mkv")).await;
                    Outcome::Encoded(EncodedClip { bytes: 5, record: "{}".to_owned() })
                }
                _ => {
                    self.put_object(&format!("{key}-Encoded.mkv")).await;
                    Outcome::Merged { bytes: 1536 }
                }
            };
            self.ledger.complete(lease.token, outcome).await.unwrap();
        }
    }

    /// Puts an object into the store's folder, past the server, as a worker does. It holds its own key.
    pub(crate) async fn put_object(&self, key: &str) {
        let folder = self.data.path().join("store");
        let store = Store::open(&StoreConfig::Local(LocalConfig { folder })).unwrap();
        let content = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(key.to_owned()))]);
        store.put_stream(&VideoKey::new(key).unwrap().source(), content, None).await.unwrap();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A call that was done, and gives nothing back.
    pub(crate) fn ok(&self) {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.json(), serde_json::json!({ "success": true }));
    }

    /// What a call gave back.
    pub(crate) fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status.as_u16(), &json["success"]), (200, &Value::Bool(true)), "{json}");
        json["data"].clone()
    }

    /// The message of a refusal, of exactly the promised shape, with this status.
    pub(crate) fn refusal(&self, status: u16) -> String {
        let json = self.json();
        assert_eq!(self.status, status, "{json}");
        assert_eq!(json["success"], false, "{json}");
        assert_eq!(json.as_object().unwrap().len(), 2, "{json}");
        assert_eq!(json["error"].as_object().unwrap().len(), 1, "{json}");
        json["error"]["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn request(method: &str, target: &str) -> hyper::http::request::Builder {
    Request::builder().method(method.parse::<Method>().unwrap()).uri(target)
}

pub(crate) async fn send(address: SocketAddr, request: Request<Bytes>) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    head.headers.entry("host").or_insert_with(|| address.to_string().parse().unwrap());
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    Reply { status: head.status, headers: head.headers, body }
}

/// Sends bytes as they are, and gives what comes back until the server closes, or has said nothing for a while.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough closes while we still send.
    let _closed = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _silent = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn urlencoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        let byte = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn multipart(fields: &[(&str, &str)]) -> (String, Bytes) {
    let mut body = String::new();
    for (name, value) in fields {
        let value = value.replace('\n', "\r\n");
        body += &format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    ("multipart/form-data; boundary=x-y".to_owned(), (body + "--x-y--\r\n").into())
}
