//! Which messages have arrived lately, so that an equal one is delivered once, as a FIFO queue does.
//! Invariant: bounded memory; past the bound the oldest are forgotten, and an equal message passes again.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use quarry_core::units::Hash;

/// How long an equal message is taken for the same one.
pub(super) const WINDOW: Duration = Duration::from_secs(5 * 60);
/// About 25 MB, and some 800 messages a second over the whole window.
const ENTRIES_MAX: usize = 1 << 18;

/// The digests of the messages that arrived within the window. It is not stored: after a restart an equal message
/// may come again, as an unacknowledged one does.
#[derive(Debug, Default)]
pub(super) struct Recent {
    seen: HashSet<Hash>,
    arrivals: VecDeque<(Instant, Hash)>,
}

impl Recent {
    /// Notes a message that arrives at `now`; false where an equal one did within the window before.
    pub(super) fn is_new(&mut self, payload: &[u8], now: Instant) -> bool {
        self.expire(now);
        let hash = Hash::of(&[payload]);
        if !self.seen.insert(hash) {
            return false;
        }
        self.arrivals.push_back((now, hash));
        if ENTRIES_MAX < self.arrivals.len() {
            self.forget_oldest();
        }
        true
    }

    fn expire(&mut self, now: Instant) {
        while self
            .arrivals
            .front()
            .is_some_and(|(arrival, _)| WINDOW <= now.saturating_duration_since(*arrival))
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, hash)) = self.arrivals.pop_front() {
            self.seen.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_message_is_new_again_after_the_window() {
        let mut recent = Recent::default();
        let start = Instant::now();
        assert!(recent.is_new(b"a", start));
        assert!(!recent.is_new(b"a", start + WINDOW / 2));
        assert!(recent.is_new(b"b", start + WINDOW / 2));
        assert!(recent.is_new(b"a", start + WINDOW), "counted from the first arrival");
        assert!(!recent.is_new(b"b", start + WINDOW));
    }

    #[test]
    fn past_the_bound_the_oldest_is_forgotten() {
        let mut recent = Recent::default();
        let now = Instant::now();
        for number in 0..=ENTRIES_MAX {
            assert!(recent.is_new(&number.to_be_bytes(), now));
        }
        assert_eq!(recent.seen.len(), ENTRIES_MAX);
        assert!(!recent.is_new(&1_usize.to_be_bytes(), now));
        assert!(recent.is_new(&0_usize.to_be_bytes(), now));
    }
}
