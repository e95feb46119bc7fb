//! A task through the server against the same rip through the library.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use finalrip_core::{EncodeCommand, Rip, RipOptions, Script};

use crate::client::{COMMAND, Client, SCRIPT};
use crate::content::Content;
use crate::server::{Process, Server};

/// The first argument of a child that is the library's side; its source and its output follow.
const RIP: &str = "--rip";

/// One pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// From the start of the task to its result; the server and its encoder processes.
    pub(crate) server: Took,
    /// From the start of the process to its end.
    pub(crate) library: Took,
}

/// Seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Longer than a worker keeps a process that has nothing to do. What a process took is known when it has ended.
const LET_GO: Duration = Duration::from_secs(8);

/// Both sides, in this order or the other. The source's index is there before either clock starts.
pub(crate) async fn pair(server: &Server, content: &Content, run: u32) -> Result<Pair> {
    if run.is_multiple_of(2) {
        let library = by_library(content)?;
        return Ok(Pair { server: by_server(server, content, run).await?, library });
    }
    let by_server = by_server(server, content, run).await?;
    Ok(Pair { server: by_server, library: by_library(content)? })
}

async fn by_server(server: &Server, content: &Content, run: u32) -> Result<Took> {
    let key = format!("overhead {run}.mkv");
    let mut client = Client::connect(server.address).await?;
    client.upload(&key, &content.source).await?;
    client.wait_until_idle().await?;
    tokio::time::sleep(LET_GO).await;
    let process = server.process();
    let before = process.cpu()? + process.childrens_cpu()?;
    let wall = client.encode(&key).await?.as_secs_f64();
    tokio::time::sleep(LET_GO).await;
    let cpu = process.cpu()? + process.childrens_cpu()? - before;
    let result = client.ask(&crate::client::about("progress", &key)).await?;
    ensure!(result["frames"] == content.frames, "the server made {} of {} frames", result["frames"], content.frames);
    client.post("clear", &[("video_key", &key)]).await?;
    Ok(Took { wall, cpu })
}

/// This program again, as the library's side. Where the index is, is made the first time, uncounted.
fn by_library(content: &Content) -> Result<Took> {
    let cache = content.folder.join("cache-overhead");
    if !cache.join("is-warm").exists() {
        rip(content, &cache)?;
        fs::write(cache.join("is-warm"), "")?;
    }
    rip(content, &cache)
}

fn rip(content: &Content, cache: &Path) -> Result<Took> {
    let scratch = tempfile::Builder::new().prefix("library-").tempdir_in(&content.folder)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(RIP).arg(&content.source).arg(scratch.path().join("out.mkv")).env("XDG_CACHE_HOME", cache);
    let (begin, before) = (Instant::now(), Process::own().childrens_cpu()?);
    let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
    let wall = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "the library's rip ended with {status}");
    Ok(Took { wall, cpu: Process::own().childrens_cpu()? - before })
}

/// The source and the output of the rip that this process is to make, if it is such a child.
pub(crate) fn requested() -> Option<(OsString, PathBuf)> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|kind| kind == RIP)?;
    Some((arguments.next()?, arguments.next()?.into()))
}

/// Makes it.
pub(crate) fn serve(source: OsString, output: PathBuf) -> Result<()> {
    let rip = Rip::new(Script::from_text(SCRIPT), EncodeCommand::parse(COMMAND)?, output);
    let report = rip.source(source).options(RipOptions::default()).run(|_| {}).context("the rip")?;
    ensure!(report.pictures > 0, "no pictures");
    Ok(())
}
