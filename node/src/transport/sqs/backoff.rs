//! How long to wait after failures, and what to tell of them.
//! Invariant: a trouble is told once when it has begun and once when it is over.

use std::time::{Duration, Instant};

use crate::transport::sqs::client::{Failure, FailureKind};
use crate::transport::{Incoming, Recovery};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A right that is missing is not given within seconds.
const LONGEST_DENIED: Duration = Duration::from_secs(60);
/// A single failure in passing is everyday and not worth a line.
const TELL_AT: u64 = 2;

/// The failures in a row of one kind of work.
#[derive(Debug)]
pub(super) struct Backoff {
    doing: String,
    row: Option<Row>,
}

#[derive(Debug)]
struct Row {
    since: Instant,
    attempts: u64,
    told: bool,
}

impl Backoff {
    /// For work that is named so, as in "receiving".
    pub(super) fn new(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), row: None }
    }

    /// Notes a failure: how long to wait now, and what to tell.
    pub(super) fn failed(&mut self, failure: &Failure) -> (Duration, Option<Incoming>) {
        let row = self.row.get_or_insert_with(|| Row { since: Instant::now(), attempts: 0, told: false });
        row.attempts += 1;
        let worth_telling = failure.kind != FailureKind::Passing || TELL_AT <= row.attempts;
        let tell = (worth_telling && !row.told).then(|| Incoming::Trouble(failure.error.clone().into()));
        row.told |= tell.is_some();
        let longest = if failure.kind == FailureKind::Denied { LONGEST_DENIED } else { LONGEST };
        let doublings = u32::try_from(row.attempts - 1).unwrap_or(u32::MAX).min(16);
        let ceiling = FIRST.saturating_mul(1 << doublings).min(longest);
        // Full jitter: those who failed together do not come back together.
        (ceiling.mul_f64(rand::random()), tell)
    }

    /// Notes a success: what to tell.
    pub(super) fn worked(&mut self) -> Option<Incoming> {
        let row = self.row.take().filter(|row| row.told)?;
        let (doing, after) = (self.doing.clone(), row.since.elapsed());
        Some(Incoming::Recovered(Recovery { doing, after, attempts: row.attempts + 1 }))
    }

    /// For how long it has failed; nothing where it works.
    pub(super) fn failing_for(&self) -> Duration {
        self.row.as_ref().map_or(Duration::ZERO, |row| row.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use crate::transport::TransportError;
    use crate::transport::sqs::error::SqsError;

    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_its_end_once() {
        let failure =
            Failure { kind: FailureKind::Passing, error: SqsError::Timeout { action: "SendMessage" } };
        let mut backoff = Backoff::new("sending");
        assert!(backoff.failed(&failure).1.is_none());
        assert!(backoff.worked().is_none(), "what was not told is not over");
        let told = (0..40).filter_map(|_| {
            let (pause, tell) = backoff.failed(&failure);
            assert!(pause <= LONGEST);
            tell
        });
        let told: Vec<_> = told.collect();
        let [Incoming::Trouble(TransportError::Sqs(error))] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(*error, failure.error);
        let Some(Incoming::Recovered(Recovery { attempts: 41, doing, .. })) = backoff.worked() else {
            panic!("its end is told");
        };
        assert_eq!(doing, "sending");
        assert!(backoff.worked().is_none());
    }

    #[test]
    fn a_missing_right_is_told_at_once() {
        let failure = Failure { kind: FailureKind::Denied, error: SqsError::ListDenied };
        assert!(Backoff::new("listing").failed(&failure).1.is_some());
    }
}
