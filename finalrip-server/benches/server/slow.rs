//! Slow-loris clients: connections that say or take a byte now and then, beside clients that want answers.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Client, LIST, about};
use crate::latency::Latencies;
use crate::server::{Server, TOKEN};

/// Connections of each kind of slowness.
pub(crate) const OF_EACH: usize = 120;

/// Clients that want answers, and how often.
const OTHERS: u32 = 20;
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a slow client takes for a byte.
const PACE: Duration = Duration::from_secs(1);

/// How long slow clients are there before anything is measured, and then while it is.
const BEFORE: Duration = Duration::from_secs(12);
const WINDOW: Duration = Duration::from_secs(12);

/// In what a client is slow.
#[derive(Debug, Clone, Copy)]
enum Slow {
    /// It says nothing at all.
    Silent,
    /// In saying what it wants.
    Head,
    /// In sending a form.
    Form,
    /// In sending a film.
    Film,
    /// In reading the list.
    Reader,
}

impl Slow {
    const ALL: [Self; 5] = [Self::Silent, Self::Head, Self::Form, Self::Film, Self::Reader];
}

/// How many kinds there are.
pub(crate) const KINDS: usize = Slow::ALL.len();

/// What a server holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    mebibytes: f64,
    threads: u64,
    files: usize,
}

impl Held {
    fn by(server: &Server) -> Result<Self> {
        let process = server.process();
        let (threads, files) = process.threads_and_files()?;
        Ok(Self { mebibytes: process.resident()?.0 as f64 / f64::from(1 << 20), threads, files })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} MiB, {} threads, {} files", self.mebibytes, self.threads, self.files)
    }
}

/// The same clients without slow ones beside them, and with them.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) alone: Latencies,
    pub(crate) beside: Latencies,
    /// What the server held before, when the slow ones were there, at the end of that, and after they had gone.
    pub(crate) held: [Held; 4],
}

pub(crate) async fn round(server: &Server, key: &str) -> Result<Round> {
    let before = Held::by(server)?;
    let alone = others(server.address, key).await?;
    let mut client = Client::connect(server.address).await?;
    let mut slow = JoinSet::new();
    for kind in Slow::ALL {
        for number in 0..OF_EACH {
            let film = client.upload_link(&format!("slow {number}.mkv")).await?;
            slow.spawn(be_slow(server.address, kind, film));
        }
    }
    sleep(BEFORE).await;
    let there = Held::by(server)?;
    let beside = others(server.address, key).await?;
    let end = Held::by(server)?;
    slow.shutdown().await;
    sleep(Duration::from_secs(3)).await;
    Ok(Round { alone, beside, held: [before, there, end, Held::by(server)?] })
}

/// What clients get that ask at a steady pace.
async fn others(address: SocketAddr, key: &str) -> Result<Latencies> {
    let mut asking = JoinSet::new();
    let end = Instant::now() + WINDOW;
    for number in 0..OTHERS {
        let progress = about("progress", key);
        asking.spawn(async move {
            let mut client = Client::connect(address).await?;
            let mut known = client.fetch(LIST, None).await?.e_tag;
            let mut latencies = Latencies::default();
            let mut next = Instant::now() + INTERVAL * number / OTHERS;
            while next < end {
                sleep_until(next).await;
                next += INTERVAL;
                let list = client.fetch(LIST, known.as_ref()).await.context("the list")?;
                latencies.add(list.took);
                latencies.add(client.fetch(&progress, None).await.context("progress")?.took);
                known = list.e_tag;
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Latencies::default();
    while let Some(latencies) = asking.join_next().await {
        all.extend(&latencies??);
    }
    Ok(all)
}

/// Is slow for ever: when the server has had enough of it, it comes again.
async fn be_slow(address: SocketAddr, kind: Slow, film: String) {
    loop {
        // However it ends, it is not the server's fault.
        drop(connection(address, kind, &film).await);
        sleep(PACE).await;
    }
}

async fn connection(address: SocketAddr, kind: Slow, film: &str) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    let head = |line: &str, length: usize| {
        format!("{line} HTTP/1.1\r\nhost: {address}\r\ntoken: {TOKEN}\r\ncontent-length: {length}\r\n\r\n")
    };
    match kind {
        Slow::Silent => stream.read_u8().await.map(drop),
        Slow::Head => dribble(&mut stream, "GET / HTTP/1.1\r\nx: ").await,
        Slow::Form => dribble(&mut stream, &head("POST /api/v1/task/new", 1000)).await,
        Slow::Film => dribble(&mut stream, &head(&format!("PUT {film}"), 1 << 20)).await,
        Slow::Reader => {
            stream.write_all(head(&format!("GET {LIST}"), 0).as_bytes()).await?;
            loop {
                stream.read_u8().await?;
                sleep(PACE).await;
            }
        }
    }
}

/// Begins well, and then sends a byte at a time until the server closes.
async fn dribble(stream: &mut TcpStream, beginning: &str) -> std::io::Result<()> {
    stream.write_all(beginning.as_bytes()).await?;
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => if read? == 0 { return Ok(()) },
            () = sleep(PACE) => stream.write_all(b"x").await?,
        }
    }
}
