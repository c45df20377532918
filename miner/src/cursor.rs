//! A range of nonces that several devices search together.
//! Invariant: nonces are handed out in ascending order, and whoever takes some searches them or says that it did not;
//! so the lowest hit is the lowest of the range, unless something below it was left.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::search::{Hit, Outcome, Report};

/// What is still to be searched of a range, and the lowest hit so far.
#[derive(Debug)]
pub(crate) struct Cursor {
    next: Mutex<Option<u64>>,
    last: u64,
    /// The nonce of the lowest hit: nonces beyond it need no search.
    lowest: AtomicU64,
    closed: AtomicBool,
}

/// What one device brings home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Its lowest hit.
    pub(crate) hit: Option<Hit>,
    /// The first nonce that it took and did not search.
    pub(crate) left: Option<u64>,
    /// Hashes computed.
    pub(crate) hashes: u64,
}

impl Cursor {
    pub(crate) fn new(nonces: &RangeInclusive<u64>) -> Self {
        let next = (!nonces.is_empty()).then_some(*nonces.start());
        Self {
            next: Mutex::new(next),
            last: *nonces.end(),
            lowest: AtomicU64::new(u64::MAX),
            closed: AtomicBool::new(false),
        }
    }

    /// The next `len` nonces, or fewer: never across a change of the nonce's high word, none where no search is needed.
    pub(crate) fn claim(&self, len: u64) -> Option<RangeInclusive<u64>> {
        if self.closed.load(Relaxed) {
            return None;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (*next).filter(|first| self.is_needed(*first))?;
        let last = first.saturating_add(len.max(1) - 1).min(first | u64::from(u32::MAX)).min(self.last);
        *next = if last < self.last { Some(last + 1) } else { None };
        Some(first..=last)
    }

    /// Whether a hit at `nonce` could still be the lowest.
    pub(crate) fn is_needed(&self, nonce: u64) -> bool {
        nonce <= self.lowest.load(Relaxed)
    }

    /// Notes a hit, so that nobody searches beyond it.
    pub(crate) fn note(&self, hit: Hit) {
        self.lowest.fetch_min(hit.nonce, Relaxed);
    }

    /// Hands out no more, because the search has failed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// The answer, once every device is back.
    pub(crate) fn report(&self, ends: &[End]) -> Report {
        let left = ends.iter().filter_map(|end| end.left).min();
        let hit = ends.iter().filter_map(|end| end.hit).min();
        let is_taken = self.next.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let outcome = match (hit, left) {
            (Some(hit), None) => Outcome::Found(hit),
            (Some(hit), Some(left)) if hit.nonce < left => Outcome::Found(hit),
            (None, None) if is_taken => Outcome::Exhausted,
            _ => Outcome::Cancelled,
        };
        Report { outcome, hashes: ends.iter().map(|end| end.hashes).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_cover_the_range_and_keep_to_windows() {
        let edge = 5 << 32;
        for (nonces, len, expected) in [
            (3..=10, 4, vec![3..=6, 7..=10]),
            (3..=11, 4, vec![3..=6, 7..=10, 11..=11]),
            (edge - 3..=edge + 2, 100, vec![edge - 3..=edge - 1, edge..=edge + 2]),
            (u64::MAX - 1..=u64::MAX, 1, vec![u64::MAX - 1..=u64::MAX - 1, u64::MAX..=u64::MAX]),
            (7..=7, 0, vec![7..=7]),
            (RangeInclusive::new(8, 7), 5, vec![]),
        ] {
            let cursor = Cursor::new(&nonces);
            let claims: Vec<_> = std::iter::from_fn(|| cursor.claim(len)).collect();
            assert_eq!(claims, expected);
            assert_eq!(cursor.report(&[]).outcome, Outcome::Exhausted);
        }
    }

    #[test]
    fn nothing_is_handed_out_behind_a_hit_or_a_failure() {
        let cursor = Cursor::new(&(0..=1000));
        assert_eq!(cursor.claim(100), Some(0..=99));
        cursor.note(Hit { nonce: 150, head: 0 });
        assert_eq!(cursor.claim(100), Some(100..=199));
        assert_eq!(cursor.claim(100), None);
        cursor.note(Hit { nonce: 500, head: 0 });
        assert_eq!(cursor.claim(100), None);
        let cursor = Cursor::new(&(0..=1000));
        cursor.close();
        assert_eq!(cursor.claim(100), None);
    }

    #[test]
    fn a_hit_counts_only_if_nothing_below_it_was_left() {
        let end = |nonce: Option<u64>, left| End {
            hit: nonce.map(|nonce| Hit { nonce, head: 1 }),
            left,
            hashes: 10,
        };
        for (ends, expected) in [
            ([end(Some(5), None), end(Some(3), None)], Outcome::Found(Hit { nonce: 3, head: 1 })),
            ([end(Some(5), None), end(None, Some(6))], Outcome::Found(Hit { nonce: 5, head: 1 })),
            ([end(Some(5), None), end(None, Some(4))], Outcome::Cancelled),
            ([end(None, None), end(None, Some(4))], Outcome::Cancelled),
            ([end(None, None), end(None, None)], Outcome::Cancelled),
        ] {
            let cursor = Cursor::new(&(0..=1000));
            cursor.claim(10);
            assert_eq!(cursor.report(&ends), Report { outcome: expected, hashes: 20 });
        }
    }
}
