//! The CPU backend: threads that claim runs of nonces from one cursor.
//! Invariant: every claim handed out is searched to its end, so the lowest hit among the claims is the lowest there is.

mod plain;

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::job::Job;
use crate::search::{Hit, NonceSearch, Outcome, Report, SearchError};

/// Hashes per claim: well under a millisecond, the bound on how late a search notices that it is cancelled.
const CLAIM_HASHES: u64 = 1 << 13;

/// Searches on the CPU.
#[derive(Debug)]
pub struct CpuSearch {
    name: String,
    threads: NonZeroUsize,
    hashes: AtomicU64,
}

impl CpuSearch {
    /// A backend of `threads` threads, or as many as the machine offers.
    pub fn new(threads: Option<NonZeroUsize>) -> Self {
        let threads = threads.or(thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        let name = format!("cpu (plain, {threads} threads)");
        Self { name, threads, hashes: AtomicU64::new(0) }
    }
}

impl NonceSearch for CpuSearch {
    fn name(&self) -> &str {
        &self.name
    }

    fn preferred_heads(&self) -> usize {
        1
    }

    fn search(
        &self,
        job: &Job,
        nonces: RangeInclusive<u64>,
        cancel: &AtomicBool,
    ) -> Result<Report, SearchError> {
        let claims = Claims::new(&nonces, (CLAIM_HASHES / job.heads() as u64).max(1));
        let run = Run { backend: self, job, claims, cancel, lowest: AtomicU64::new(u64::MAX) };
        let helpers = (self.threads.get() as u64).min(run.claims.total).saturating_sub(1);
        let ends = thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(|| run.work())).collect();
            let mut ends = vec![run.work()];
            ends.extend(helpers.into_iter().map(|helper| helper.join().expect("a kernel does not panic")));
            ends
        });
        let hashes = ends.iter().map(|end| end.hashes).sum();
        let outcome = match ends.iter().filter_map(|end| end.hit).min() {
            Some(hit) => Outcome::Found(hit),
            None if run.claims.are_all_taken() => Outcome::Exhausted,
            None => Outcome::Cancelled,
        };
        Ok(Report { outcome, hashes })
    }

    fn hashes(&self) -> u64 {
        self.hashes.load(Relaxed)
    }
}

/// One search, as its threads see it.
struct Run<'a> {
    backend: &'a CpuSearch,
    job: &'a Job,
    claims: Claims,
    cancel: &'a AtomicBool,
    /// The nonce of the lowest hit so far: claims beyond it need no search.
    lowest: AtomicU64,
}

/// What one thread brings home.
#[derive(Default)]
struct End {
    hit: Option<Hit>,
    hashes: u64,
}

impl Run<'_> {
    fn work(&self) -> End {
        let mut end = End::default();
        // The flag comes before the claim, because a claim once taken must be searched.
        while !self.cancel.load(Relaxed)
            && let Some(nonces) = self.claims.next()
        {
            if self.lowest.load(Relaxed) < *nonces.start() {
                break;
            }
            let first = *nonces.start();
            let last = *nonces.end();
            end.hit = plain::search(self.job, nonces);
            let searched = end.hit.map_or(last, |hit| hit.nonce) - first + 1;
            let hashes = searched * self.job.heads() as u64;
            end.hashes += hashes;
            self.backend.hashes.fetch_add(hashes, Relaxed);
            if let Some(hit) = end.hit {
                self.lowest.fetch_min(hit.nonce, Relaxed);
                break;
            }
        }
        end
    }
}

/// A range of nonces cut into equal runs, handed out in ascending order.
struct Claims {
    first: u64,
    last: u64,
    /// Nonces per claim.
    len: u64,
    /// Counts claims, not nonces: a cursor over nonces would wrap at the end of their range.
    taken: AtomicU64,
    total: u64,
}

impl Claims {
    fn new(nonces: &RangeInclusive<u64>, len: u64) -> Self {
        let (first, last) = (*nonces.start(), *nonces.end());
        // At two nonces or more per claim, the count of claims fits.
        let len = len.max(2);
        let total = if nonces.is_empty() { 0 } else { (last - first) / len + 1 };
        Self { first, last, len, taken: AtomicU64::new(0), total }
    }

    fn next(&self) -> Option<RangeInclusive<u64>> {
        // Relaxed: threads need nothing from each other but different claims.
        let claim = self.taken.fetch_add(1, Relaxed);
        (claim < self.total).then(|| {
            let first = self.first + claim * self.len;
            first..=first.saturating_add(self.len - 1).min(self.last)
        })
    }

    fn are_all_taken(&self) -> bool {
        self.total <= self.taken.load(Relaxed)
    }
}
