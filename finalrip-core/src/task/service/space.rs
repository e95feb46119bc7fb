//! Room on the disk of the data folder.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::{TaskError, TaskResult};

/// With less than this free, in bytes, nothing is begun: a ledger, a log and an index need some room before any frame.
const LEAST: u64 = 64 << 20;

/// How often the disk is looked at while there is no room.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether something can be written in `folder`: there is room, and a file can be made.
///
/// # Errors
/// [`TaskError::Full`], [`TaskError::Folder`].
pub(super) fn check(folder: &Path) -> TaskResult<()> {
    let failed = |error: io::Error| TaskError::at("cannot write to", folder)(error);
    let disk = rustix::fs::statvfs(folder).map_err(|error| failed(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < LEAST {
        return Err(TaskError::Full { free, least: LEAST });
    }
    // A folder that lost its mode, or a disk that became read-only, has room all the same.
    tempfile::tempfile_in(folder).map(drop).map_err(failed)
}

/// Waits until there is room in `folder`, as long as `patience`: an attempt that begins without would fail, and so would the
/// next ones.
///
/// # Errors
/// As [`check`], once the time is over.
pub(super) async fn wait(folder: &Path, patience: Duration) -> TaskResult<()> {
    let begin = Instant::now();
    loop {
        match check(folder) {
            Err(error) if begin.elapsed() < patience => {
                tracing::warn!("waiting for room on the disk: {error}");
                sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_to_is_told_from_one_that_can() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path()).unwrap();
        wait(folder.path(), Duration::ZERO).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let gone = folder.path().join("gone");
        assert!(matches!(check(&gone), Err(TaskError::Folder { .. })));
        assert!(matches!(wait(&gone, Duration::ZERO).await, Err(TaskError::Folder { .. })));
    }
}
