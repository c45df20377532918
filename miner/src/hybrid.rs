//! Several devices on one job: cards, and cards together with the CPU.
//! Invariant: all of them take nonces from one cursor, so the answer is the lowest hit whoever finds it.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::cpu::CpuSearch;
use crate::cursor::{Cursor, End};
use crate::gpu::GpuSearch;
use crate::job::Job;
use crate::search::{NonceSearch, Outcome, Report, SearchError};

/// How long the CPU takes for what it claims at a time: long enough that starting its threads is nothing, and short
/// enough that a card that is done need not wait for it.
const CPU_CLAIM_S: f64 = 0.01;

/// Searches on several devices at once.
#[derive(Debug)]
pub struct Hybrid {
    name: String,
    gpus: Vec<GpuSearch>,
    cpu: Option<CpuSearch>,
}

impl Hybrid {
    /// A backend of cards, and of the CPU if it is given.
    pub fn new(gpus: Vec<GpuSearch>, cpu: Option<CpuSearch>) -> Self {
        let names: Vec<&str> =
            gpus.iter().map(GpuSearch::name).chain(cpu.iter().map(CpuSearch::name)).collect();
        Self { name: names.join(" + "), gpus, cpu }
    }

    fn members(&self) -> impl Iterator<Item = &dyn NonceSearch> {
        let cpu = self.cpu.iter().map(|cpu| cpu as &dyn NonceSearch);
        self.gpus.iter().map(|gpu| gpu as &dyn NonceSearch).chain(cpu)
    }
}

impl NonceSearch for Hybrid {
    fn name(&self) -> &str {
        &self.name
    }

    fn preferred_heads(&self) -> usize {
        // Numbers of heads are powers of two, so the largest suits everybody.
        self.members().map(NonceSearch::preferred_heads).max().unwrap_or(1)
    }

    fn search(
        &self,
        job: &Job,
        nonces: RangeInclusive<u64>,
        cancel: &AtomicBool,
    ) -> Result<Report, SearchError> {
        let cursor = Cursor::new(&nonces);
        let cursor_ref = &cursor;
        let sharers = self.members().count();
        let ends: Result<Vec<End>, SearchError> = thread::scope(|scope| {
            let gpus = self.gpus.iter().map(|gpu| scope.spawn(|| gpu.work(job, cursor_ref, sharers, cancel)));
            let cpu = self.cpu.iter().map(|cpu| scope.spawn(|| work(cpu, job, cursor_ref, cancel)));
            let threads: Vec<_> = gpus.chain(cpu).collect();
            threads.into_iter().map(|it| it.join().expect("a search reports failures")).collect()
        });
        Ok(cursor.report(&ends?))
    }

    fn hashes(&self) -> u64 {
        self.members().map(NonceSearch::hashes).sum()
    }
}

/// The CPU's part of a search.
fn work(cpu: &CpuSearch, job: &Job, cursor: &Cursor, cancel: &AtomicBool) -> Result<End, SearchError> {
    let per_s = cpu.calibration().hashes_per_s * cpu.threads() as f64;
    // Positive and far below 2^64.
    let len = (per_s * CPU_CLAIM_S / job.heads() as f64) as u64;
    let mut end = End::default();
    while !cancel.load(Relaxed)
        && let Some(nonces) = cursor.claim(len)
    {
        let first = *nonces.start();
        let report = cpu.search(job, nonces, cancel).inspect_err(|_| cursor.close())?;
        end.hashes += report.hashes;
        match report.outcome {
            Outcome::Found(hit) => {
                cursor.note(hit);
                end.hit = Some(hit);
                break;
            }
            Outcome::Exhausted => {}
            Outcome::Cancelled => {
                end.left = Some(first);
                break;
            }
        }
    }
    Ok(end)
}
