//! The contract of [`NonceSearch`], checked on the CPU backend at several numbers of threads.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use miner::{
    Backend, CpuLimit, HEADS_MAX, Hit, Job, JobError, Kernel, NonceSearch, Options, Outcome, Report,
};

use crate::oracle;

const IMPOSSIBLE: [u8; 32] = [0; 32];
const TRIVIAL: [u8; 32] = [0xff; 32];

#[test]
fn finds_the_lowest_hit_whatever_the_threads() {
    for heads in [1, 2, 3, 7] {
        for bits in [1, 5, 9, 12] {
            let job = job(heads, bits);
            for nonces in [0..=3000, 77..=77, u64::from(u32::MAX) - 40..=u64::from(u32::MAX) + 4000, {
                u64::MAX - 900..=u64::MAX
            }] {
                let expected = oracle::hits(&job, nonces.clone()).next();
                check(&job, nonces, expected.map_or(Outcome::Exhausted, Outcome::Found));
            }
        }
    }
}

/// A thread may find a hit while another is still in an earlier claim that has a lower one.
#[test]
fn finds_the_lowest_hit_across_claims() {
    // A hit in some 2^14 hashes, and claims of about 2^11 on the slowest kernel.
    let job = job(2, 14);
    let [plain, slow] = ["sha2", "portable"].map(|name| name.parse::<Kernel>().unwrap());
    let options = Options { threads: NonZeroUsize::new(8), kernel: Some(slow), ..Options::default() };
    let search = options.open_cpu().unwrap();
    let mut first = 0;
    for _ in 0..300 {
        let hit = plain.search(&job, first..=u64::MAX).expect("hits do not run out");
        let report = run(&search, &job, first..=u64::MAX);
        assert_eq!(report.outcome, Outcome::Found(hit));
        first = hit.nonce + 1;
    }
}

#[test]
fn goes_on_behind_a_hit() {
    let job = job(3, 6);
    let expected: Vec<u64> = oracle::hits(&job, 0..=500).map(|hit| hit.nonce).collect();
    let mut found = Vec::new();
    let mut first = 0;
    while let Outcome::Found(hit) = run(&*backend(2), &job, first..=500).outcome {
        found.push(hit.nonce);
        first = hit.nonce + 1;
    }
    let mut distinct = expected.clone();
    distinct.dedup();
    assert_eq!(found, distinct);
}

#[test]
fn target_is_strict() {
    let easy = job(1, 0);
    let hash = easy.hash(Hit { nonce: 9, head: 0 });
    let with_target = |target| Job::of_header(&easy.header(Hit { nonce: 0, head: 0 }), target);
    check(&with_target(hash), 9..=9, Outcome::Exhausted);
    check(&with_target(plus_one(hash)), 9..=9, Outcome::Found(Hit { nonce: 9, head: 0 }));
}

#[test]
fn extreme_targets() {
    let heads = [[3; 64], [4; 64]];
    let impossible = Job::new(&heads, [5; 52], IMPOSSIBLE).unwrap();
    check(&impossible, 0..=5000, Outcome::Exhausted);
    let trivial = Job::new(&heads, [5; 52], TRIVIAL).unwrap();
    check(&trivial, 12..=u64::MAX, Outcome::Found(Hit { nonce: 12, head: 0 }));
    check(&trivial, u64::MAX..=u64::MAX, Outcome::Found(Hit { nonce: u64::MAX, head: 0 }));
}

#[test]
fn empty_range_is_exhausted() {
    let job = job(2, 0);
    for (first, last) in [(5, 4), (u64::MAX, 0)] {
        let report = run(&*backend(2), &job, first..=last);
        assert_eq!(report, Report { outcome: Outcome::Exhausted, hashes: 0 });
    }
}

#[test]
fn counts_hashes() {
    let job = Job::new(&[[1; 64]; 3], [0; 52], IMPOSSIBLE).unwrap();
    let search = backend(2);
    assert_eq!(run(&*search, &job, 1..=20_000).hashes, 60_000);
    assert_eq!(search.hashes(), 60_000);
    assert_eq!(run(&*search, &job, 7..=7).hashes, 3);
    assert_eq!(search.hashes(), 60_003);
}

#[test]
fn cancelled_before_and_during() {
    let job = Job::new(&[[1; 64]; 4], [0; 52], IMPOSSIBLE).unwrap();
    let search = backend(2);
    let report = search.search(&job, 0..=u64::MAX, &AtomicBool::new(true)).unwrap();
    assert_eq!(report, Report { outcome: Outcome::Cancelled, hashes: 0 });

    let cancel = AtomicBool::new(false);
    thread::scope(|scope| {
        let searching = scope.spawn(|| search.search(&job, 0..=u64::MAX, &cancel).unwrap());
        while search.hashes() < 100_000 {
            thread::yield_now();
        }
        let cancelled = Instant::now();
        cancel.store(true, Relaxed);
        let report = searching.join().unwrap();
        assert_eq!(report.outcome, Outcome::Cancelled);
        assert_eq!(report.hashes, search.hashes());
        // Generous, because the machine may be busy; the benchmark measures the millisecond that is promised.
        assert!(cancelled.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn every_kernel_serves_as_a_backend() {
    let job = job(3, 9);
    let expected = oracle::hits(&job, 100..=4000).next().map_or(Outcome::Exhausted, Outcome::Found);
    for kernel in Kernel::available() {
        let options = Options { threads: NonZeroUsize::new(2), kernel: Some(kernel), ..Options::default() };
        let search = options.open_cpu().unwrap();
        assert_eq!(search.name(), format!("cpu ({kernel}, 2 threads)"));
        assert_eq!((search.threads(), search.calibration().kernel), (2, kernel));
        assert!((1..=HEADS_MAX).contains(&search.preferred_heads()));
        assert_eq!(run(&search, &job, 100..=4000).outcome, expected);
    }
}

#[test]
fn limited_search_keeps_to_its_share() {
    let options = Options {
        threads: NonZeroUsize::new(1),
        cpu_limit: CpuLimit::percent(5.0).unwrap(),
        ..Options::default()
    };
    let search = options.open_cpu().unwrap();
    let job = Job::new(&[[1; 64]; 4], [0; 52], IMPOSSIBLE).unwrap();
    let mut elapsed = Duration::ZERO;
    // Many short searches must not get more than one long search does.
    for _ in 0..20 {
        let cancel = AtomicBool::new(false);
        thread::scope(|scope| {
            let searching = scope.spawn(|| search.search(&job, 0..=u64::MAX, &cancel).unwrap());
            let start = Instant::now();
            thread::sleep(Duration::from_millis(10));
            cancel.store(true, Relaxed);
            assert_eq!(searching.join().unwrap().outcome, Outcome::Cancelled);
            elapsed += start.elapsed();
        });
    }
    // The credit for being late is 20 ms. What else the machine does makes the share smaller, never greater; the
    // calibration may have been too low, though.
    let possible = search.calibration().hashes_per_s * (elapsed.as_secs_f64() + 0.02);
    let share = search.hashes() as f64 / possible;
    assert!(share < 0.15, "{:.1} % of the time", 100.0 * share);
}

#[test]
fn heads_are_bounded() {
    let refused = |heads| Job::new(&vec![[0; 64]; heads], [0; 52], TRIVIAL).unwrap_err();
    assert_eq!(refused(0), JobError::NoHeads);
    assert_eq!(refused(HEADS_MAX + 1), JobError::TooManyHeads { heads: HEADS_MAX + 1 });
    assert!(Job::new(&[[0; 64]; HEADS_MAX], [0; 52], TRIVIAL).is_ok());
}

#[test]
fn job_checks_in_the_plainest_way() {
    let job = job(2, 0);
    let hit = Hit { nonce: 0x0102_0304_0506_0708, head: 1 };
    let header = job.header(hit);
    assert_eq!(header[108..], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(job.hash(hit), oracle::sha256(&header));
    assert!(job.check(hit));
    assert!(!job.check(Hit { head: 2, ..hit }));
}

#[test]
fn backends_by_name() {
    for backend in Backend::ALL {
        assert_eq!(backend.name().parse(), Ok(*backend));
    }
    for backend in [Backend::Auto, Backend::Cpu] {
        assert!(!backend.open(&Options::default()).unwrap().name().is_empty());
    }
    let unknown = "abacus".parse::<Backend>().unwrap_err();
    assert_eq!(unknown.to_string(), "no backend is named 'abacus'; there are auto, cpu, gpu, hybrid");
}

/// A job of distinct bytes whose target has `bits` leading zeros, below ff..ff for none.
fn job(heads: u8, bits: u32) -> Job {
    let heads: Vec<[u8; 64]> =
        (0..heads).map(|i| std::array::from_fn(|j| i.wrapping_mul(89) ^ j as u8)).collect();
    let mut target = TRIVIAL;
    target[..4].copy_from_slice(&(u32::MAX >> bits).to_be_bytes());
    Job::new(&heads, std::array::from_fn(|i| 200 - i as u8), target).expect("a few heads")
}

fn backend(threads: usize) -> Box<dyn NonceSearch> {
    let options = Options { threads: NonZeroUsize::new(threads), ..Options::default() };
    Backend::Cpu.open(&options).expect("a CPU is always there")
}

fn run(search: &dyn NonceSearch, job: &Job, nonces: RangeInclusive<u64>) -> Report {
    search.search(job, nonces, &AtomicBool::new(false)).expect("a CPU does not get lost")
}

fn check(job: &Job, nonces: RangeInclusive<u64>, expected: Outcome) {
    for threads in [1, 2, 5] {
        let report = run(&*backend(threads), job, nonces.clone());
        assert_eq!(report.outcome, expected, "{threads} threads, {nonces:?}");
    }
}

fn plus_one(mut number: [u8; 32]) -> [u8; 32] {
    for byte in number.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    number
}
