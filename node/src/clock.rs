//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quarry_core::effect::Now;
use quarry_core::units::Timestamp;

/// This process's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time by both clocks.
    pub fn now(&self) -> Now {
        Now { utc: utc(), elapsed_us: micros(self.0.elapsed()) }
    }

    /// How long it is until a time given as [`Now::elapsed_us`]; nothing if that is past.
    pub fn until(&self, elapsed_us: u64) -> Duration {
        Duration::from_micros(elapsed_us).saturating_sub(self.0.elapsed())
    }
}

/// The wall clock. One that is set before 1970 or after 9999 reads as that limit.
pub fn utc() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(micros(since_epoch)).unwrap_or(Timestamp::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
