//! Many uploads at once.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::server::Server;

/// The length of a piece that a client sends.
const PIECE: usize = 64 << 10;

/// What many uploads took.
pub(crate) struct Uploaded {
    pub(crate) uploads: usize,
    pub(crate) mebibytes: usize,
    pub(crate) seconds: f64,
    /// The most that was resident before, and in all.
    pub(crate) before: u64,
    pub(crate) most: u64,
}

impl std::fmt::Display for Uploaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { uploads, mebibytes, seconds, before, most } = self;
        let rate = (uploads * mebibytes) as f64 / seconds;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(f, "{uploads} of {mebibytes} MiB in {seconds:.1} s, {rate:.0} MiB/s; ")?;
        write!(f, "resident at most {:.0} MiB, {:.0} MiB before", mib(*most), mib(*before))
    }
}

/// So many clients put a file of so many MiB each by a signed link.
pub(crate) async fn run(server: &Server, uploads: usize, mebibytes: usize) -> Result<Uploaded> {
    let (_, before) = server.process().resident()?;
    let mut clients = Vec::with_capacity(uploads);
    for number in 0..uploads {
        let mut client = Client::connect(server.address).await?;
        let link = client.upload_link(&format!("upload {number}.mkv")).await?;
        clients.push((client, link));
    }
    let piece = Bytes::from(vec![0x5a; PIECE]);
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for (mut client, link) in clients {
        let piece = piece.clone();
        running.spawn(async move { client.put(&link, piece, (mebibytes << 20) / PIECE).await.context(link) });
    }
    while let Some(upload) = running.join_next().await {
        upload??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut client = Client::connect(server.address).await?;
    for number in 0..uploads {
        let found = client.ask(&crate::client::about("oss/presigned", &format!("upload {number}.mkv"))).await?;
        ensure!(found["exist"] == true, "upload {number} is not there");
    }
    let (_, most) = server.process().resident()?;
    Ok(Uploaded { uploads, mebibytes, seconds, before, most })
}
