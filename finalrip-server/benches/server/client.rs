//! A client with one connection, as a browser's page has, and what it asks for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::server::TOKEN;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The list of everything.
pub(crate) const LIST: &str = "/api/v1/task/list?pending=true&running=true&completed=true";

/// How a task is encoded: the demo's script, and a command that two cores can follow.
pub(crate) const SCRIPT: &str = include_str!("../../../examples/demo.vpy");
pub(crate) const COMMAND: &str = "ffmpeg -i - -c:v libx264 -preset veryfast -crf 20";

/// What one request took, and what came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    pub(crate) bytes: usize,
    pub(crate) e_tag: Option<HeaderValue>,
}

/// A client.
pub(crate) struct Client {
    address: SocketAddr,
    sender: SendRequest<Body>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    async fn send(&mut self, request: hyper::http::request::Builder, body: Body) -> Result<Response<Incoming>> {
        let host = HeaderValue::from_str(&self.address.to_string())?;
        let request = request.header(HOST, host).header("token", TOKEN).body(body)?;
        if self.sender.ready().await.is_err() {
            // The server closes connections that nobody uses.
            *self = Self::connect(self.address).await?;
        }
        Ok(self.sender.send_request(request).await?)
    }

    /// Asks for something and throws it away; `known` is the version that the client has.
    pub(crate) async fn fetch(&mut self, target: &str, known: Option<&HeaderValue>) -> Result<Reply> {
        self.fetch_as(target, known, true).await
    }

    /// The same, and whether the client takes gzip, which it does not unpack.
    pub(crate) async fn fetch_as(&mut self, target: &str, known: Option<&HeaderValue>, gzip: bool) -> Result<Reply> {
        let begin = Instant::now();
        let mut request = Request::get(target);
        if gzip {
            request = request.header(ACCEPT_ENCODING, "gzip, deflate");
        }
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let answer = self.send(request, empty()).await?;
        let (head, mut body) = answer.into_parts();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        let e_tag = head.headers.get(ETAG).cloned();
        Ok(Reply { status: head.status, took: begin.elapsed(), bytes, e_tag })
    }

    /// Asks for something that is JSON, and looks into it.
    pub(crate) async fn ask(&mut self, target: &str) -> Result<Value> {
        let answer = self.send(Request::get(target), empty()).await?;
        data(answer).await
    }

    /// Posts a form.
    pub(crate) async fn post(&mut self, route: &str, fields: &[(&str, &str)]) -> Result<()> {
        let request =
            Request::post(format!("/api/v1/task/{route}")).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.send(request, whole(urlencoded(fields))).await?;
        data(answer).await.map(drop)
    }

    /// A link that takes the upload of a source, as a target on this server.
    pub(crate) async fn upload_link(&mut self, key: &str) -> Result<String> {
        let data = self.ask(&about("oss/presigned", key)).await?;
        let link: hyper::Uri = data["url"].as_str().context("no link")?.parse()?;
        Ok(link.path_and_query().context("no path")?.to_string())
    }

    /// Puts so many pieces to a link.
    pub(crate) async fn put(&mut self, link: &str, piece: Bytes, count: usize) -> Result<()> {
        let request = Request::put(link).header(CONTENT_LENGTH, piece.len() * count);
        let pieces = stream::iter((0..count).map(move |_| Ok(Frame::data(piece.clone()))));
        let answer = self.send(request, StreamBody::new(pieces).boxed_unsync()).await?;
        data(answer).await.map(drop)
    }

    /// Uploads a file, and makes a task of it.
    pub(crate) async fn upload(&mut self, key: &str, file: &Path) -> Result<()> {
        let link = self.upload_link(key).await?;
        self.put(&link, std::fs::read(file)?.into(), 1).await?;
        self.post("new", &[("video_key", key)]).await
    }

    /// Waits until the server has nothing to do: the indexes of sources that were uploaded are made.
    pub(crate) async fn wait_until_idle(&mut self) -> Result<()> {
        loop {
            let answer = self.send(Request::get("/metrics"), empty()).await?;
            let text = answer.into_body().collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&text).into_owned();
            let about_work =
                |line: &&str| line.starts_with("finalrip_leases ") || line.starts_with("finalrip_queue_length{");
            let numbers: Vec<f64> =
                text.lines().filter(about_work).filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
            ensure!(numbers.len() == 4, "the metrics say nothing of the work: {text}");
            if numbers.iter().all(|&number| number == 0.0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a task and follows it to its end; how long that took.
    pub(crate) async fn encode(&mut self, key: &str) -> Result<Duration> {
        let begin = Instant::now();
        self.post("start", &[("video_key", key), ("script", SCRIPT), ("encode_param", COMMAND)]).await?;
        let mut events = self.send(Request::get(about("events", key)), empty()).await?.into_body();
        let mut text = Vec::new();
        while let Some(frame) = events.frame().await {
            text.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
            let Some(end) = text.windows(2).rposition(|pair| pair == b"\n\n") else { continue };
            let told: Vec<u8> = text.drain(..end + 2).collect();
            let states = String::from_utf8_lossy(&told).into_owned();
            ensure!(!states.contains(r#""state":"failed""#), "{key} has failed: {states}");
            if states.contains(r#""state":"completed""#) {
                let took = begin.elapsed();
                // A stream of events does not end by itself.
                *self = Self::connect(self.address).await?;
                return Ok(took);
            }
        }
        anyhow::bail!("the events of {key} have ended")
    }
}

/// What an answer of the API gives back.
async fn data(answer: Response<Incoming>) -> Result<Value> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let mut json: Value =
        serde_json::from_slice(&body).with_context(|| format!("{status}: {}", String::from_utf8_lossy(&body)))?;
    ensure!(status.is_success() && json["success"] == true, "{status}: {json}");
    Ok(json["data"].take())
}

fn empty() -> Body {
    whole("")
}

fn whole(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).boxed_unsync()
}

/// The target of a route that is about one task.
pub(crate) fn about(route: &str, key: &str) -> String {
    format!("/api/v1/task/{route}?{}", urlencoded(&[("video_key", key)]))
}

fn urlencoded(fields: &[(&str, &str)]) -> String {
    let escape =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}
