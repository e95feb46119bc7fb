//! Trying again: what a store could not do now it may do in a moment.

use std::future::Future;
use std::time::Duration;

use super::error::{Operation, StoreError, StoreResult};

/// How often, and how patiently, a store's calls are tried.
///
/// Only failures that may pass are tried again: a connection that breaks, a time-out, an answer of 5xx. A missing object,
/// a refusal and a full disk are final.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// How often a call is made at most, the first time included; 0 counts as 1. Default: 6.
    pub attempts: u32,
    /// The pause before the second attempt; each further one is twice as long. Between half of it and all of it is
    /// waited, at random, so that many clients do not come back at once. Default: 200 ms.
    pub pause: Duration,
    /// The longest pause. Default: 10 s.
    pub longest_pause: Duration,
    /// How long one attempt may take, and how long the next piece of an object may keep a reader waiting. A part of an
    /// upload has 8 MiB or more, so that a slow line needs it long. A local folder has no time-out: it may be busy with
    /// an `fsync` for long. Default: 2 minutes.
    pub time_out: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 6,
            pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
            time_out: Duration::from_secs(120),
        }
    }
}

impl Retries {
    /// How long to wait after the `failures`-th failure in a row.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let full = doubled.min(self.longest_pause);
        // Without randomness everybody would wait equally long: no reason to fail.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Makes `call` until it works or fails for good.
    pub(super) async fn run<T, F, Fut>(&self, operation: Operation, key: &str, mut call: F) -> StoreResult<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = object_store::Result<T>>,
    {
        let mut attempt = 1;
        loop {
            let outcome = within(self.time_out, call()).await;
            match outcome.map_err(|error| StoreError::from_backend(operation, key, attempt, error)) {
                Err(error) if error.is_retriable() && attempt < self.attempts => {
                    tracing::debug!(%operation, key, attempt, %error, "trying again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(self.pause_after(attempt)).await;
            attempt += 1;
        }
    }
}

/// `call`, given up after `time_out`.
pub(super) async fn within<T>(
    time_out: Duration,
    call: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    match tokio::time::timeout(time_out, call).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(object_store::Error::Generic { store: "store", source: elapsed.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = Retries::default();
        for (failures, full) in [(1, 200), (2, 400), (3, 800), (6, 6_400), (7, 10_000), (40, 10_000)] {
            let (full, pause) = (Duration::from_millis(full), retries.pause_after(failures));
            assert!(pause >= full / 2 && pause <= full, "{pause:?} after {failures}");
        }
    }
}
