//! The seam between who wants a nonce and what finds one.
//! Invariant: the answer depends on the job and the range only, never on the backend, its threads or their timing.

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;

use crate::job::Job;

/// A device, or several, that search nonces.
///
/// One value serves one search at a time at full speed; concurrent calls are correct and share the device.
pub trait NonceSearch: Send + Sync {
    /// What searches, for logs and tables: backend, kernel or device, width.
    fn name(&self) -> &str;

    /// How many heads a job should have for this backend to be at its fastest. Any other number works, too.
    fn preferred_heads(&self) -> usize;

    /// Hashes every (nonce, head) of `nonces` x the job's heads until one is below the target.
    ///
    /// `Found` carries the lowest hit by nonce, then by head. An empty range is `Exhausted` at once. When `cancel`
    /// turns true the search ends within about a millisecond, with `Found` if the lowest hit is certain by then.
    fn search(
        &self,
        job: &Job,
        nonces: RangeInclusive<u64>,
        cancel: &AtomicBool,
    ) -> Result<Report, SearchError>;

    /// Hashes computed since the backend was opened, by all searches; grows while a search runs.
    fn hashes(&self) -> u64;
}

/// A header of a job that is below the target, or is claimed to be: see [`Job::check`].
///
/// The order is the order of preference among hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// The header's last eight bytes.
    pub nonce: u64,
    /// Which of the job's heads the header begins with.
    pub head: usize,
}

/// How a search ended, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub outcome: Outcome,
    /// Hashes computed; past the hit, too, where work was done in parallel.
    pub hashes: u64,
}

/// The answer of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The lowest hit of the range.
    Found(Hit),
    /// The range holds no hit.
    Exhausted,
    /// The caller's flag ended the search before an answer was certain.
    Cancelled,
}

/// Why a backend could not answer. The search may be given to another backend as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The device went away or failed in the middle of the search; the backend may have to be opened anew.
    #[error("{backend} is lost: {reason}")]
    DeviceLost {
        /// [`NonceSearch::name`].
        backend: String,
        /// The driver's words.
        reason: String,
    },
    /// The device reported a hit that is none: it, its driver or its kernel cannot be trusted.
    #[error("{backend} reported nonce {} on head {}, which is not below the target", .hit.nonce, .hit.head)]
    FalseHit {
        /// [`NonceSearch::name`].
        backend: String,
        /// What was reported.
        hit: Hit,
    },
}
