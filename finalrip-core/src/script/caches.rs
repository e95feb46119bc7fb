//! Whether a core's caches still keep to their size.
//!
//! VapourSynth's caches (R81) lose count when frames are asked for that they had and gave up, as happens where the order of
//! requests jumps. From then on they keep every frame that comes, whatever their limit is: 11 MB a frame in a script of
//! 1440p in 16 bit, 9 GB in all where 1 GB is enough. Emptied, they count rightly again.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// After so many frames every cache is as full as it gets: they hold some twenty frames each.
const FULL: u64 = 120;

/// Growth below this is not worth making frames again, in bytes.
const WORTH: i64 = 1 << 30;

/// What is known of the caches of a core.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Frames asked for so far.
    pub(super) requests: AtomicU64,
    /// How many that were when the caches were last emptied.
    emptied_at: AtomicU64,
    /// The bytes in use when the caches were full; 0 when they are not yet.
    full: AtomicI64,
}

impl Caches {
    /// The caches are emptied.
    pub(super) fn start_over(&self) {
        self.emptied_at.store(self.requests.load(Ordering::Relaxed), Ordering::Relaxed);
        self.full.store(0, Ordering::Relaxed);
    }

    /// Whether caches that use so many bytes now have grown far beyond what they were when they were full.
    pub(super) fn have_grown(&self, bytes: i64) -> bool {
        let requests = self.requests.load(Ordering::Relaxed);
        if requests.saturating_sub(self.emptied_at.load(Ordering::Relaxed)) < FULL {
            return false;
        }
        match self.full.load(Ordering::Relaxed) {
            0 => {
                self.full.store(bytes.max(1), Ordering::Relaxed);
                false
            }
            full => bytes > full.saturating_mul(2).max(full.saturating_add(WORTH)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    #[test]
    fn only_growth_far_beyond_full_caches_counts() {
        let caches = Caches::default();
        assert!(!caches.have_grown(100 * GIB), "they are being filled");
        caches.requests.store(200, Ordering::Relaxed);
        assert!(!caches.have_grown(GIB), "now they are full");
        assert!(!caches.have_grown(2 * GIB));
        assert!(caches.have_grown(2 * GIB + 1));
        caches.start_over();
        assert!(!caches.have_grown(2 * GIB + 1));
        caches.requests.store(400, Ordering::Relaxed);
        assert!(!caches.have_grown(GIB / 8));
        assert!(!caches.have_grown(GIB) && caches.have_grown(2 * GIB));
    }
}
