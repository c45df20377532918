//! A hash rate that a person can believe: hashes over time, for windows that are named.
//! Invariant: every rate is a difference of counts over a difference of times; nothing is smoothed or extrapolated.

use std::collections::VecDeque;
use std::time::Duration;

const SHORT: Duration = Duration::from_secs(10);
const MEDIUM: Duration = Duration::from_mins(1);
const LONG: Duration = Duration::from_mins(15);

/// Counts closer together than this are dropped, so that [`LONG`] takes 9000 of them.
const STEP: Duration = Duration::from_millis(100);

/// Turns a count of hashes into rates.
#[derive(Clone, Debug, Default)]
pub struct HashRate {
    /// Time and count, oldest first; the first lies beyond the longest window, if there is one.
    counts: VecDeque<(Duration, u64)>,
    max: f64,
}

/// Hashes per second over the last stretch of time, or since the start where that is later.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Over 10 seconds.
    pub short: f64,
    /// Over a minute.
    pub medium: f64,
    /// Over 15 minutes.
    pub long: f64,
    /// The highest that `short` has been since it spanned 10 seconds.
    pub max: f64,
}

impl HashRate {
    /// Takes a count, as from [`NonceSearch::hashes`](crate::NonceSearch::hashes), at a time since any fixed moment.
    ///
    /// Times and counts must not decrease.
    pub fn record(&mut self, now: Duration, hashes: u64) {
        if self.counts.back().is_some_and(|(last, _)| now < *last + STEP) {
            return;
        }
        self.counts.push_back((now, hashes));
        // The second oldest still spans the longest window.
        while 2 <= self.counts.len() && LONG <= now.saturating_sub(self.counts[1].0) {
            self.counts.pop_front();
        }
        if self.counts.front().is_some_and(|(first, _)| SHORT <= now.saturating_sub(*first)) {
            self.max = self.max.max(self.over(SHORT));
        }
    }

    /// The rates up to the last count that was recorded.
    pub fn rates(&self) -> Rates {
        Rates { short: self.over(SHORT), medium: self.over(MEDIUM), long: self.over(LONG), max: self.max }
    }

    fn over(&self, window: Duration) -> f64 {
        let Some((now, hashes)) = self.counts.back() else { return 0.0 };
        // The latest count that is old enough, or else the oldest.
        let begin = self.counts.partition_point(|(time, _)| window <= now.saturating_sub(*time));
        let (then, before) = self.counts[begin.saturating_sub(1)];
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds == 0.0 { 0.0 } else { hashes.saturating_sub(before) as f64 / seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_look_back_as_far_as_they_say() {
        let mut rate = HashRate::default();
        assert_eq!(rate.rates(), Rates::default());
        let mut hashes = 0;
        // 20 minutes at 100 a second, then 30 seconds at 10.
        for second in 0..=1230 {
            rate.record(Duration::from_secs(second), hashes);
            rate.record(Duration::from_millis(second * 1000 + 50), hashes + 1);
            hashes += if second < 1200 { 100 } else { 10 };
        }
        let expected = Rates { short: 10.0, medium: 55.0, long: 97.0, max: 100.0 };
        assert_eq!(rate.rates(), expected);
        assert_eq!(rate.counts.len(), 901);
    }

    #[test]
    fn a_young_rate_covers_what_there_is() {
        let mut rate = HashRate::default();
        rate.record(Duration::from_secs(100), 5_000);
        assert_eq!(rate.rates(), Rates::default());
        rate.record(Duration::from_secs(102), 6_000);
        assert_eq!(rate.rates(), Rates { short: 500.0, medium: 500.0, long: 500.0, max: 0.0 });
    }
}
