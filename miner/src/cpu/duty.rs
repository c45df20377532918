//! Keeps a thread's share of CPU time at a limit, for machines that pay for what they compute.
//! Invariant: over any stretch of seconds a thread computes for no more than its share, however often searches begin.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How late a sleeping thread may notice that its search is cancelled.
const SLICE: Duration = Duration::from_micros(500);

/// Time that a thread was late for work may be worked off later, but no more than this.
const CREDIT_MAX: Duration = Duration::from_millis(20);

/// The share of each thread's time that a search may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuLimit {
    permille: u16,
}

impl CpuLimit {
    /// No limit.
    pub const NONE: Self = Self { permille: 1000 };

    /// A limit of 0.1 to 100 per cent, in steps of 0.1.
    pub fn percent(percent: f64) -> Option<Self> {
        let permille = (percent * 10.0).round();
        // In the range, the number is whole and fits.
        (1.0..=1000.0).contains(&permille).then_some(Self { permille: permille as u16 })
    }

    /// The limit in per cent.
    pub fn as_percent(self) -> f64 {
        f64::from(self.permille) / 10.0
    }

    /// How long a thread may not begin anew after it began to compute for `busy`.
    fn turn(self, busy: Duration) -> Duration {
        busy * 1000 / u32::from(self.permille)
    }
}

impl Default for CpuLimit {
    fn default() -> Self {
        Self::NONE
    }
}

/// What one thread still owes. It outlives searches, so that many short ones do not add up to more than the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debt {
    limit: CpuLimit,
    free_at: Instant,
}

impl Debt {
    /// A thread that may start at once.
    pub(super) fn none(limit: CpuLimit) -> Self {
        Self { limit, free_at: Instant::now() }
    }

    /// Notes that the thread has computed for `busy`.
    pub(super) fn add(&mut self, busy: Duration) {
        self.add_at(busy, Instant::now());
    }

    fn add_at(&mut self, busy: Duration, now: Instant) {
        // Without the credit each sleep that lasts too long would be lost, some per cent of a low limit.
        let credited = now.checked_sub(CREDIT_MAX).unwrap_or(now);
        self.free_at = self.free_at.max(credited) + self.limit.turn(busy);
    }

    /// Sleeps until the debt is paid or `cancel` is true.
    pub(super) fn pay(&self, cancel: &AtomicBool) {
        while !cancel.load(Relaxed)
            && let Some(left) = self.free_at.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            thread::sleep(left.min(SLICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_in_range() {
        for (percent, expected) in [
            (100.0, Some(100.0)),
            (0.1, Some(0.1)),
            (22.5, Some(22.5)),
            (0.0, None),
            (0.04, None),
            (100.1, None),
            (-5.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(CpuLimit::percent(percent).map(CpuLimit::as_percent), expected, "{percent}");
        }
    }

    #[test]
    fn share_of_time_is_the_limit() {
        for percent in [5.0, 20.0, 90.0, 100.0] {
            let start = Instant::now();
            let mut now = start;
            let mut debt = Debt::none(CpuLimit::percent(percent).unwrap());
            let mut busy = Duration::ZERO;
            while now - start < Duration::from_secs(10) {
                // Claims of 0.25 ms, and sleeps that last 60 us too long.
                if now < debt.free_at {
                    now = debt.free_at + Duration::from_micros(60);
                }
                let claim = Duration::from_micros(250);
                busy += claim;
                now += claim;
                debt.add_at(claim, now);
            }
            let share = 100.0 * busy.as_secs_f64() / (now - start).as_secs_f64();
            assert!((0.98 * percent..=1.01 * percent).contains(&share), "{share} % for {percent} %");
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut debt = Debt::none(CpuLimit::percent(10.0).unwrap());
        let later = start + Duration::from_secs(60);
        debt.add_at(Duration::from_millis(5), later);
        assert_eq!(debt.free_at, later - CREDIT_MAX + Duration::from_millis(50));
    }

    #[test]
    fn a_cancelled_sleeper_wakes() {
        let mut debt = Debt::none(CpuLimit::percent(1.0).unwrap());
        debt.add(Duration::from_secs(60));
        debt.pay(&AtomicBool::new(true));
    }
}
