//! Locks on files, which keep other processes away.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

/// How long a lock is tried for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes the lock on a file, if nobody holds it, or lets go of it within a second.
///
/// Nobody may really hold it for a moment longer: a process that is being started has everything that its parent has open,
/// until it becomes another program, and a lock is let go only when the last of them has closed the file.
///
/// # Errors
/// [`TryLockError::WouldBlock`] when somebody holds it; the operating system's reason.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_let_go_soon_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("lock")).unwrap();
        let (first, second, third) = (open(), open(), open());
        try_lock(&first).unwrap();
        assert!(matches!(try_lock(&second), Err(TryLockError::WouldBlock)));
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(first);
        });
        try_lock(&third).unwrap();
        holder.join().unwrap();
    }
}
