//! The benchmark of the nonce search: checked answers first, then rounds in which every variant has its turn, so that
//! what else the machine does hits all of them alike.
//! Invariant: a figure is a median with its spread, of CPU time where it says so, and its samples are kept.

pub mod cards;
pub mod machine;
pub mod report;

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use miner::cpu::calibrate::{self, calibrate};
use miner::cpu::kernel::Kernel;
use miner::measure::{self, Elapsed};
use miner::{Hit, Job, NonceSearch as _, Options, Outcome};

use crate::bench::machine::Machine;
use crate::bench::report::{Latency, Report, Sample, Threads, Variant};

/// How long one sample takes, about.
const SAMPLE_S: f64 = 0.04;
/// How often a search is cancelled to see how long that takes.
const CANCELS: usize = 200;
/// No hash is below it, so a search runs to its end.
pub(crate) const NO_HIT: [u8; 32] = [0; 32];
/// Lowest hits of [`job`] with five hex zeros, by number of heads; computed once with the sha2 crate alone.
const ANSWERS: [(usize, Hit); 3] = [
    (1, Hit { nonce: 1617224, head: 0 }),
    (4, Hit { nonce: 235495, head: 2 }),
    (64, Hit { nonce: 14998, head: 21 }),
];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which kernels.
    pub kernels: Vec<Kernel>,
    /// With how many midstates each.
    pub midstates: Vec<usize>,
    /// With how many threads, for the sweep.
    pub threads: Vec<NonZeroUsize>,
    /// How many samples of each variant.
    pub rounds: u32,
}

/// What a measurement has to say while it runs, and whether it should go on.
pub trait Watcher {
    /// A part of all the work is done; `false` ends the measurement with what there is.
    fn step(&mut self, done: u64, all: u64) -> bool;
}

/// Measures what the plan says, as far as the watcher lets it.
pub fn run(plan: &Plan, watcher: &mut dyn Watcher) -> Result<Report> {
    for kernel in &plan.kernels {
        verify(*kernel)?;
    }
    let mut report = Report::new(Machine::this(), plan.kernels.iter().map(ToString::to_string).collect());
    let mut variants = Vec::new();
    for kernel in &plan.kernels {
        let rate = calibrate(*kernel)?.hashes_per_s;
        for &midstates in &plan.midstates {
            variants.push((*kernel, job(midstates, NO_HIT), nonces(rate, midstates)));
            report.variants.push(Variant::new(*kernel, midstates));
        }
    }
    let sweep = u64::try_from(plan.threads.len())?;
    let all = u64::from(plan.rounds) * (u64::try_from(variants.len())? + sweep) + 1;
    let mut done = 0;
    let mut go_on = |watcher: &mut dyn Watcher| {
        done += 1;
        watcher.step(done, all)
    };
    for _ in 0..plan.rounds {
        report.frequencies_hz.push(measure::core_frequency());
        for ((kernel, job, nonces), variant) in variants.iter().zip(&mut report.variants) {
            let elapsed = measure::kernel(*kernel, job, 0..=nonces - 1);
            variant.samples.push(Sample::new(nonces * job.heads() as u64, elapsed));
            if !go_on(watcher) {
                return Ok(report);
            }
        }
    }
    report.threads = plan.threads.iter().map(|count| Threads::new(*count)).collect();
    for _ in 0..plan.rounds {
        for position in 0..plan.threads.len() {
            let sample = sample_threads(plan.threads[position])?;
            report.threads[position].samples.push(sample);
            if !go_on(watcher) {
                return Ok(report);
            }
        }
    }
    report.cancel = Some(cancel_latency()?);
    go_on(watcher);
    Ok(report)
}

/// Compares a kernel's answers with known ones.
fn verify(kernel: Kernel) -> Result<()> {
    calibrate::self_test(kernel)?;
    let mut target = [0xff; 32];
    target[..3].copy_from_slice(&[0, 0, 0x0f]);
    for (heads, expected) in ANSWERS {
        let found = kernel.search(&job(heads, target), 0..=u64::from(u32::MAX));
        ensure!(found == Some(expected), "kernel {kernel} is wrong: {found:?} instead of {expected:?}");
    }
    Ok(())
}

/// One search with all the threads of a backend on its fastest kernel.
fn sample_threads(threads: NonZeroUsize) -> Result<Sample> {
    let search = Options { threads: Some(threads), ..Options::default() }.open_cpu()?;
    let calibration = search.calibration();
    let job = job(calibration.heads, NO_HIT);
    let nonces = nonces(calibration.hashes_per_s * threads.get() as f64, calibration.heads) * 5;
    let (cpu, wall) = (machine::process_cpu_time(), Instant::now());
    let report = search.search(&job, 0..=nonces - 1, &AtomicBool::new(false))?;
    let elapsed = Elapsed { cpu: machine::process_cpu_time().saturating_sub(cpu), wall: wall.elapsed() };
    ensure!(report.outcome == Outcome::Exhausted, "a search without hits ended with {:?}", report.outcome);
    Ok(Sample::new(report.hashes, elapsed))
}

fn cancel_latency() -> Result<Latency> {
    let search = Options::default().open_cpu()?;
    let job = job(search.calibration().heads, NO_HIT);
    let samples: Result<Vec<Duration>, _> =
        (0..CANCELS).map(|_| measure::cancel_latency(&search, &job)).collect();
    Latency::new(samples?).context("some searches were cancelled")
}

/// Nonces of a sample.
fn nonces(hashes_per_s: f64, midstates: usize) -> u64 {
    // Positive and far below 2^64; a fraction of a nonce is no loss.
    ((hashes_per_s * SAMPLE_S) as u64 / midstates as u64).max(1)
}

/// A fixed job.
pub(crate) fn job(heads: usize, target: [u8; 32]) -> Job {
    // At most HEADS_MAX heads, so each has another first byte.
    let heads: Vec<[u8; 64]> =
        (0..heads).map(|head| std::array::from_fn(|i| (head * 31 + i * 7) as u8)).collect();
    let tail = std::array::from_fn(|i| (i * 11) as u8);
    Job::new(&heads, tail, target).expect("between 1 and HEADS_MAX heads")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Patience(u64);

    impl Watcher for Patience {
        fn step(&mut self, done: u64, _: u64) -> bool {
            done < self.0
        }
    }

    fn plan() -> Plan {
        let kernels = Kernel::available();
        Plan { kernels, midstates: vec![1, 4], threads: vec![NonZeroUsize::MIN], rounds: 1 }
    }

    #[test]
    fn known_answers_are_those_of_the_plain_way() {
        let mut target = [0xff; 32];
        target[..3].copy_from_slice(&[0, 0, 0x0f]);
        for (heads, expected) in ANSWERS {
            let job = job(heads, target);
            let hits = (0..=expected.nonce).flat_map(|nonce| (0..heads).map(move |head| Hit { nonce, head }));
            assert_eq!(hits.into_iter().find(|hit| job.check(*hit)), Some(expected), "{heads} heads");
        }
    }

    #[test]
    fn an_interrupted_measurement_reports_what_it_has() {
        let report = run(&plan(), &mut Patience(3)).unwrap();
        assert_eq!(report.variants.iter().map(|variant| variant.samples.len()).sum::<usize>(), 3);
        assert!(report.threads.is_empty() && report.cancel.is_none());
        assert!(report.table().contains("sha2"));
    }
}
