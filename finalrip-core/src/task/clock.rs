//! The two times that a ledger needs: one to measure with, one to show.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a ledger takes the time from.
///
/// Leases are measured with [`Clock::elapsed`], which nobody can set. [`Clock::unix_millis`] is only ever shown, never
/// compared: a wall clock that is set back or forward neither ends a lease nor makes it eternal.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since an origin that stays the same for as long as the clock lives. Never goes back.
    ///
    /// It means nothing to another process; a ledger that finds such times at its start has to end their leases.
    fn elapsed(&self) -> Duration;

    /// The wall clock: milliseconds since 1970, negative before.
    fn unix_millis(&self) -> i64;
}

/// The machine's clocks.
///
/// While the machine is suspended, [`SystemClock::elapsed`] stands still on Linux: workers that slept as well do not
/// lose their leases by it.
#[derive(Debug, Clone)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_millis(&self) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(|early| -millis(early.duration()), millis)
    }
}

/// A clock that moves when it is told to: for tests of leases, and of clocks that go wrong.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<(Duration, i64)>);

impl ManualClock {
    /// A clock at its origin, at the given wall time in milliseconds since 1970.
    #[must_use]
    pub fn new(unix_millis: i64) -> Self {
        Self(Mutex::new((Duration::ZERO, unix_millis)))
    }

    /// Lets time pass, for both of the clock's times.
    pub fn advance(&self, by: Duration) {
        self.change(|(elapsed, wall)| {
            *elapsed += by;
            *wall = wall.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
        });
    }

    /// Sets the wall clock, as an administrator or a time server would; no time passes.
    pub fn set_wall(&self, unix_millis: i64) {
        self.change(|(_, wall)| *wall = unix_millis);
    }

    fn change<T>(&self, change: impl FnOnce(&mut (Duration, i64)) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        self.change(|(elapsed, _)| *elapsed)
    }

    fn unix_millis(&self) -> i64 {
        self.change(|(_, wall)| *wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_counts_up_and_knows_the_century() {
        let clock = SystemClock::new();
        let before = clock.elapsed();
        assert!(clock.elapsed() >= before);
        assert!(clock.unix_millis() > 1_700_000_000_000);
    }

    #[test]
    fn setting_the_wall_clock_lets_no_time_pass() {
        let clock = ManualClock::new(1_000);
        clock.advance(Duration::from_millis(5));
        clock.set_wall(-7);
        assert_eq!((clock.elapsed(), clock.unix_millis()), (Duration::from_millis(5), -7));
    }
}
