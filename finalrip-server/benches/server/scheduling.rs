//! Scheduling: workers that encode nothing take clip after clip from a ledger on the disk.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use finalrip_core::task::{Ledger, TaskFilter, TaskState, Work, WorkProgress};

use crate::tasks;

/// Clips of a task.
const CLIPS: u32 = 1000;

/// What came of it.
pub(crate) struct Drained {
    pub(crate) workers: usize,
    pub(crate) clips: u64,
    pub(crate) seconds: f64,
}

impl std::fmt::Display for Drained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { workers, clips, seconds } = self;
        write!(f, "{clips} clips by {workers} of them in {seconds:.1} s: {:.0} a second", *clips as f64 / seconds)
    }
}

/// Has so many tasks' clips leased, renewed and completed by workers, each of which waits for every answer.
pub(crate) async fn drain(tasks: u32, workers: usize, folder: &std::path::Path) -> Result<Drained> {
    let folder = tempfile::Builder::new().prefix("scheduling-").tempdir_in(folder)?;
    let ledger = tasks::open(folder.path())?;
    let keys: Vec<String> = (0..tasks).map(|task| format!("film {task}.mkv")).collect();
    for key in &keys {
        ledger.create(key).await?;
    }
    finish(&*ledger, tasks).await?;
    for key in &keys {
        ledger.start(key, tasks::job()).await?;
    }
    finish(&*ledger, tasks).await?;
    let begin = Instant::now();
    let running = (0..workers).map(|worker| tokio::spawn(work(Arc::clone(&ledger), format!("worker {worker}"))));
    let mut clips = 0;
    for worker in running.collect::<Vec<_>>() {
        clips += worker.await??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let done = ledger.list(TaskFilter::states([TaskState::Completed])).await?;
    ensure!(done.len() == tasks as usize && clips == u64::from(tasks * CLIPS), "{} tasks, {clips} clips", done.len());
    Ok(Drained { workers, clips, seconds })
}

/// Leases all of so many pieces of work before the first is completed: what that makes possible would go first.
async fn finish(ledger: &dyn Ledger, pieces: u32) -> Result<()> {
    let mut leases = Vec::new();
    for _ in 0..pieces {
        leases.push(ledger.lease_next("bench").await?.context("there is no work")?);
    }
    for lease in leases {
        ensure!(!matches!(lease.work, Work::Clip { .. }), "a clip before its time: {lease:?}");
        ledger.complete(lease.token, tasks::outcome(&lease.work, CLIPS)).await?;
    }
    Ok(())
}

async fn work(ledger: Arc<dyn Ledger>, name: String) -> Result<u64> {
    let mut clips = 0;
    while let Some(lease) = ledger.lease_next(&name).await? {
        if matches!(lease.work, Work::Clip { .. }) {
            clips += 1;
            ledger.heartbeat(lease.token, WorkProgress { frames: 100, fps: 25.0 }).await?;
        }
        ledger.complete(lease.token, tasks::outcome(&lease.work, CLIPS)).await?;
    }
    Ok(clips)
}
