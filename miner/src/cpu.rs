//! The CPU backend: threads that claim runs of nonces from one cursor.
//! Invariant: every claim handed out is searched to its end, so the lowest hit among the claims is the lowest there is.

mod lanes;
mod plain;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

pub mod kernel;

pub mod calibrate;
pub mod duty;

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::cpu::calibrate::{Calibration, SelfTestError};
use crate::cpu::duty::{CpuLimit, Debt};
use crate::cpu::kernel::Kernel;
use crate::job::Job;
use crate::measure::Stopwatch;
use crate::search::{Hit, NonceSearch, Outcome, Report, SearchError};

/// How long a claim takes. It bounds how late a search notices that it is cancelled, and leaves room for the
/// operating system in the millisecond that is promised; shorter claims gain nothing that can be measured.
const CLAIM_S: f64 = 0.000_25;

/// Nonces that the widest kernel takes at a time.
const VECTORS: u64 = 32;

/// Searches on the CPU.
#[derive(Debug)]
pub struct CpuSearch {
    name: String,
    calibration: Calibration,
    limit: CpuLimit,
    /// One per thread.
    debts: Vec<Mutex<Debt>>,
    hashes: AtomicU64,
}

impl CpuSearch {
    /// A backend of `threads` threads, or as many as the machine offers, on one kernel, or on the fastest.
    pub fn open(
        threads: Option<NonZeroUsize>,
        kernel: Option<Kernel>,
        limit: CpuLimit,
    ) -> Result<Self, SelfTestError> {
        let calibration = kernel.map_or_else(|| Ok(calibrate::fastest()), calibrate::calibrate)?;
        let threads = threads.or(thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let name = format!(
            "cpu ({}, {threads} {})",
            calibration.kernel,
            if threads == 1 { "thread" } else { "threads" }
        );
        let debts = (0..threads).map(|_| Mutex::new(Debt::none(limit))).collect();
        Ok(Self { name, calibration, limit, debts, hashes: AtomicU64::new(0) })
    }

    /// The kernel in use, and how it was found to do.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// How many threads search.
    pub fn threads(&self) -> usize {
        self.debts.len()
    }
}

impl NonceSearch for CpuSearch {
    fn name(&self) -> &str {
        &self.name
    }

    fn preferred_heads(&self) -> usize {
        self.calibration.heads
    }

    fn search(
        &self,
        job: &Job,
        nonces: RangeInclusive<u64>,
        cancel: &AtomicBool,
    ) -> Result<Report, SearchError> {
        let hashes = calibrate::hashes_in(self.calibration.hashes_per_s, CLAIM_S);
        let claims = Claims::new(&nonces, hashes / job.heads() as u64);
        let run = Run { backend: self, job, claims, cancel, lowest: AtomicU64::new(u64::MAX) };
        let (own, others) = self.debts.split_first().expect("there is at least one thread");
        // A range of few claims needs few threads.
        let others = others.iter().zip(1..run.claims.total);
        let ends = thread::scope(|scope| {
            let helpers: Vec<_> = others.map(|(debt, _)| scope.spawn(|| run.work(debt))).collect();
            let mut ends = vec![run.work(own)];
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
    fn work(&self, debt: &Mutex<Debt>) -> End {
        let mut end = End::default();
        let _guard = StopOthers(&self.lowest);
        loop {
            self.rest(debt);
            // The flag comes before the claim, because a claim once taken must be searched.
            if self.cancel.load(Relaxed) {
                return end;
            }
            let Some(nonces) = self.claims.next() else { return end };
            let (first, last) = (*nonces.start(), *nonces.end());
            if self.lowest.load(Relaxed) < first {
                return end;
            }
            end.hit = self.compute(debt, nonces);
            let searched = end.hit.map_or(last, |hit| hit.nonce) - first + 1;
            let hashes = searched * self.job.heads() as u64;
            end.hashes += hashes;
            self.backend.hashes.fetch_add(hashes, Relaxed);
            if let Some(hit) = end.hit {
                self.lowest.fetch_min(hit.nonce, Relaxed);
                return end;
            }
        }
    }

    fn rest(&self, debt: &Mutex<Debt>) {
        if self.backend.limit != CpuLimit::NONE {
            // A copy, so that the lock is not held asleep.
            let debt = *debt.lock().unwrap_or_else(PoisonError::into_inner);
            debt.pay(self.cancel);
        }
    }

    fn compute(&self, debt: &Mutex<Debt>, nonces: RangeInclusive<u64>) -> Option<Hit> {
        let kernel = self.backend.calibration.kernel;
        if self.backend.limit == CpuLimit::NONE {
            return kernel.search(self.job, nonces);
        }
        let stopwatch = Stopwatch::start();
        let hit = kernel.search(self.job, nonces);
        debt.lock().unwrap_or_else(PoisonError::into_inner).add(stopwatch.elapsed().cpu);
        hit
    }
}

/// Ends the other threads' work when this thread panics, rather than let them search for ages before anybody hears of it.
struct StopOthers<'a>(&'a AtomicU64);

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(0, Relaxed);
        }
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
        // Whole vectors, and more than one nonce, lest the number of claims be 2^64.
        let len = len.next_multiple_of(VECTORS).max(VECTORS);
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
