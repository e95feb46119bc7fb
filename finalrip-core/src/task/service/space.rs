//! Room on the disk of the data folder.

use std::io;
use std::path::Path;

use super::error::{TaskError, TaskResult};

/// With less than this free, in bytes, a server is not ready: a ledger, a log and an index need some room before any frame.
const LEAST: u64 = 64 << 20;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_from_one_that_can() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let gone = folder.path().join("gone");
        assert!(matches!(check(&gone), Err(TaskError::Folder { .. })));
    }
}
