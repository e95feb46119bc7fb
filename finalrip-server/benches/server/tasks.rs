//! A ledger with many tasks, made through the trait as the service and its workers would.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use finalrip_core::FrameRange;
use finalrip_core::task::{
    EncodedClip, Ledger, LedgerOptions, Outcome, Queue, SqliteLedger, SystemClock, TaskJob, TaskPlan, Work,
};

use crate::client::{COMMAND, SCRIPT};

/// A folder in memory, where a commit does not wait for a disk.
const MEMORY: &str = "/dev/shm";

/// The ledger in this folder, as a server opens it.
pub(crate) fn open(folder: &Path) -> Result<Arc<dyn Ledger>> {
    let clock = Arc::new(SystemClock::new());
    Ok(Arc::new(SqliteLedger::open(folder.join("ledger.sqlite"), LedgerOptions::default(), clock)?))
}

/// Makes the ledger of a server that has done nine tasks of ten; the others were uploaded and not started.
pub(crate) async fn make(count: u32, data: &Path) -> Result<()> {
    let memory = Path::new(MEMORY);
    let folder = if memory.is_dir() { memory } else { data.parent().context("no folder")? };
    let folder = tempfile::Builder::new().prefix("finalrip-bench-").tempdir_in(folder)?;
    let ledger = open(folder.path())?;
    for number in 0..count {
        let key = format!("[Group] A film of many parts - {number:05} (BD 1920x1080 x265 FLAC).mkv");
        ledger.create(&key).await?;
        work(&*ledger, 1, 1).await?;
        if number % 10 > 0 {
            ledger.start(&key, job()).await?;
            work(&*ledger, 3, 1).await?;
        }
    }
    // What is left of it when it is closed is one file.
    drop(ledger);
    fs::create_dir_all(data)?;
    fs::copy(folder.path().join("ledger.sqlite"), data.join("ledger.sqlite"))?;
    Ok(())
}

/// A task's job, with the script and the command of all of them.
pub(crate) fn job() -> TaskJob {
    TaskJob {
        script: SCRIPT.to_owned(),
        command: COMMAND.to_owned(),
        slice: true,
        timeout: Duration::from_secs(1200),
        queue: Queue::Default,
    }
}

/// Does so many pieces of work without doing them.
async fn work(ledger: &dyn Ledger, pieces: u32, clips: u32) -> Result<()> {
    for _ in 0..pieces {
        let lease = ledger.lease_next("bench").await?.context("there is no work")?;
        ledger.complete(lease.token, outcome(&lease.work, clips)).await?;
    }
    Ok(())
}

/// What a worker comes back with that did nothing.
pub(crate) fn outcome(work: &Work, clips: u32) -> Outcome {
    match work {
        Work::Index => Outcome::Indexed,
        Work::Plan { .. } => {
            let clips = (0..clips).map(|clip| FrameRange { start: clip * 250, end: clip * 250 + 250 }).collect();
            Outcome::Planned(TaskPlan { clips, record: "{}".to_owned() })
        }
        // As long as the record of a clip of ten seconds.
        Work::Clip { .. } => Outcome::Encoded(EncodedClip { bytes: 1 << 20, record: format!("{:2000}", "{}") }),
        Work::Merge { .. } => Outcome::Merged { bytes: 1 << 30 },
    }
}
