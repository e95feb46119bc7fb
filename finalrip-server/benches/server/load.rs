//! Answers while a task encodes, and what they cost it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, LIST, about};
use crate::content::Content;
use crate::latency::Latencies;
use crate::server::{Process, Server};

/// Pages that are open.
pub(crate) const CLIENTS: u32 = 50;

/// How often each of them asks for the list, and for the task's progress. FinalRip's dashboard asks when a page is opened;
/// pages that keep themselves up to date usually ask every few seconds.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// What clients do meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Nothing: the task is alone.
    None,
    /// As browsers poll: they keep the list, and ask whether it is still the same.
    Pages,
    /// As scripts poll: the whole list each time.
    Scripts,
    /// As scripts that do not take gzip.
    Plain,
    /// As browsers, but the next request follows at once.
    Hurry,
}

impl Load {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Pages, Self::Scripts, Self::Plain, Self::Hurry];
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "alone",
            Self::Pages => "50 pages, every 5 s",
            Self::Scripts => "50 scripts, every 5 s",
            Self::Plain => "50 scripts without gzip, every 5 s",
            Self::Hurry => "50 pages, at once again",
        })
    }
}

/// What was answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    /// Progress of the task that encodes.
    pub(crate) progress: Latencies,
    /// Lists as a whole.
    pub(crate) whole: Latencies,
    /// Lists that had not changed.
    pub(crate) same: Latencies,
    /// Bytes of the longest list.
    pub(crate) list_bytes: usize,
}

impl Answered {
    pub(crate) fn extend(&mut self, other: &Self) {
        self.progress.extend(&other.progress);
        self.whole.extend(&other.whole);
        self.same.extend(&other.same);
        self.list_bytes = self.list_bytes.max(other.list_bytes);
    }
}

/// One task under one load.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Seconds from the start of the task to its result.
    pub(crate) wall: f64,
    /// CPU seconds of the server itself, and of the clients.
    pub(crate) server: f64,
    pub(crate) clients: f64,
    pub(crate) answered: Answered,
}

/// What it takes until the first list after the server's start is there, plain and then as gzip.
pub(crate) async fn first_lists(server: &Server) -> Result<String> {
    let mut client = Client::connect(server.address).await?;
    let plain = client.fetch_as(LIST, None, false).await?.took;
    let gzip = client.fetch_as(LIST, None, true).await?.took;
    Ok(format!("{plain:.0?}, as gzip {gzip:.0?} more"))
}

/// Encodes the source once more, under a load.
pub(crate) async fn run(server: &Server, content: &Content, key: &str, load: Load) -> Result<Run> {
    let mut client = Client::connect(server.address).await?;
    client.upload(key, &content.source).await?;
    client.wait_until_idle().await?;
    let (process, own) = (server.process(), Process::own());
    let before = (process.cpu()?, own.cpu()?);
    let stop = Arc::new(Notify::new());
    let mut pages = JoinSet::new();
    if load != Load::None {
        for number in 0..CLIENTS {
            pages.spawn(page(server.address, key.to_owned(), (load, number), Arc::clone(&stop)));
        }
    }
    let wall = client.encode(key).await?.as_secs_f64();
    let (server_cpu, clients_cpu) = (process.cpu()? - before.0, own.cpu()? - before.1);
    stop.notify_waiters();
    let mut answered = Answered::default();
    while let Some(page) = pages.join_next().await {
        answered.extend(&page??);
    }
    client.post("clear", &[("video_key", key)]).await?;
    Ok(Run { wall, server: server_cpu, clients: clients_cpu, answered })
}

/// A page: asks for the list and for the task's progress, until it is told to stop.
async fn page(address: SocketAddr, key: String, (load, number): (Load, u32), stop: Arc<Notify>) -> Result<Answered> {
    let mut client = Client::connect(address).await?;
    let mut stopped = std::pin::pin!(stop.notified());
    stopped.as_mut().enable();
    let (mut answered, mut known) = (Answered::default(), None);
    // Not all of them in the same moment.
    let mut next = Instant::now() + INTERVAL * number / CLIENTS;
    loop {
        if load != Load::Hurry {
            tokio::select! { () = sleep_until(next) => {}, () = &mut stopped => return Ok(answered) }
            next += INTERVAL;
        }
        let asking = async {
            let list = client.fetch_as(LIST, known.as_ref(), load != Load::Plain).await.context("the list")?;
            let progress = client.fetch(&about("progress", &key), None).await.context("progress")?;
            anyhow::Ok((list, progress))
        };
        let (list, progress) =
            tokio::select! { replies = asking => replies?, () = &mut stopped => return Ok(answered) };
        ensure!(progress.status == StatusCode::OK, "progress: {}", progress.status);
        answered.progress.add(progress.took);
        match list.status {
            StatusCode::NOT_MODIFIED => answered.same.add(list.took),
            StatusCode::OK => answered.whole.add(list.took),
            status => anyhow::bail!("the list: {status}"),
        }
        answered.list_bytes = answered.list_bytes.max(list.bytes);
        known = if matches!(load, Load::Scripts | Load::Plain) { None } else { list.e_tag };
    }
}
