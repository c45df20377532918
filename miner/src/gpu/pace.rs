//! How many hashes go into a batch.
//! Invariant: a batch takes about [`BATCH`] at most, and no more hashes than the target makes worth it.

use std::time::Duration;

use crate::gpu::layout::BATCH_MAX;
use crate::job::Job;

/// How long a batch should take: long enough that the pause between two is nothing, short enough that what is under
/// way when a search ends is not much.
pub const BATCH: Duration = Duration::from_millis(20);

/// Below this the time to start a batch counts, however few hashes are expected to be needed.
const BATCH_MIN: Duration = Duration::from_micros(500);

/// Sets the size of the batches of one search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    hashes: f64,
    /// The number that makes a hit likely enough.
    enough: f64,
}

impl Pace {
    /// For a card of a known speed, one of `sharers` that search a job together.
    pub(super) fn new(job: &Job, hashes_per_s: f64, sharers: usize) -> Self {
        // Two batches are under way at a time.
        let enough = expected_hashes(job.target()) / 2.0 / sharers as f64;
        Self { hashes: hashes_per_s * BATCH.as_secs_f64(), enough }
    }

    /// Nonces of the next batch, for a job of so many heads.
    pub(super) fn nonces(self, heads: usize) -> u64 {
        let floor = self.hashes * (BATCH_MIN.as_secs_f64() / BATCH.as_secs_f64());
        let hashes = self.hashes.min(self.enough).max(floor).min(BATCH_MAX as f64);
        // Positive, at most BATCH_MAX.
        ((hashes / heads as f64) as u64).max(1)
    }

    /// Learns from a batch that took so long.
    ///
    /// A batch grows or shrinks by a factor of two at most, lest one odd measurement lead to one that never ends.
    pub(super) fn note(&mut self, hashes: u64, time: Duration) {
        let right = hashes as f64 * BATCH.as_secs_f64() / time.as_secs_f64().max(1e-6);
        self.hashes = right.clamp(self.hashes / 2.0, self.hashes * 2.0).clamp(1024.0, BATCH_MAX as f64);
    }
}

/// Hashes that it takes on average to get below a target.
fn expected_hashes(target: &[u8; 32]) -> f64 {
    let first = target.first_chunk::<8>().expect("a target has 32 bytes");
    2f64.powi(64) / (u64::from_be_bytes(*first) as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(zeros: usize) -> Job {
        let mut target = [0xff; 32];
        target[..zeros].fill(0);
        Job::new(&[[0; 64]], [0; 52], target).unwrap()
    }

    #[test]
    fn batches_follow_time_and_difficulty() {
        let per_s = 1e9;
        // A batch of 20 ms, whatever more the target asks for; two that make 2^16 hashes; half a millisecond.
        assert_eq!(Pace::new(&job(8), per_s, 1).nonces(1), 20_000_000);
        assert_eq!(Pace::new(&job(8), per_s, 1).nonces(4), 5_000_000);
        assert_eq!(Pace::new(&job(3), per_s, 1).nonces(1), 1 << 23);
        assert_eq!(Pace::new(&job(3), per_s, 2).nonces(1), 1 << 22);
        assert_eq!(Pace::new(&job(2), per_s, 1).nonces(1), 500_000);
        assert_eq!(Pace::new(&job(0), 1.0, 1).nonces(256), 1);
        assert_eq!(Pace::new(&job(32), 1e15, 1).nonces(1), BATCH_MAX);
    }

    #[test]
    fn odd_measurements_do_little_harm() {
        let mut pace = Pace::new(&job(32), 1e9, 1);
        pace.note(20_000_000, Duration::from_millis(10));
        assert_eq!(pace.nonces(1), 40_000_000);
        pace.note(40_000_000, Duration::ZERO);
        assert_eq!(pace.nonces(1), 80_000_000);
        pace.note(80_000_000, Duration::from_secs(1000));
        assert_eq!(pace.nonces(1), 40_000_000);
        for _ in 0..50 {
            pace.note(1 << 30, Duration::ZERO);
        }
        assert_eq!(pace.nonces(1), BATCH_MAX);
        for _ in 0..50 {
            pace.note(1, Duration::from_secs(1000));
        }
        assert_eq!(pace.nonces(1), 1024);
    }
}
