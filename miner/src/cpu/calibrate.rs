//! Which kernel to trust and which to take, found out by trying.
//! Invariant: a kernel is used for a search only after it has agreed with the sha2 crate in this very process.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

use crate::cpu::kernel::Kernel;
use crate::job::Job;
use crate::measure;
use crate::search::Hit;

/// How a kernel does on this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The kernel.
    pub kernel: Kernel,
    /// The number of heads at which it is at its fastest, or so close that more are not worth preparing.
    pub heads: usize,
    /// Hashes per second of one thread at that number of heads.
    pub hashes_per_s: f64,
}

/// A kernel that does not compute SHA-256 here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kernel '{kernel}' fails its self-test: among the nonces {nonces:?} of {heads} heads \
     it finds {found:?} where {expected:?} is right"
)]
pub struct SelfTestError {
    kernel: &'static str,
    heads: usize,
    nonces: RangeInclusive<u64>,
    expected: Option<Hit>,
    found: Option<Hit>,
}

/// The fastest kernel that passes its self-test. Takes about a tenth of a second once per process.
pub fn fastest() -> Calibration {
    static FASTEST: OnceLock<Calibration> = OnceLock::new();
    *FASTEST.get_or_init(|| {
        let trusted = Kernel::available().into_iter().filter(|kernel| is_trusted(*kernel));
        // A glance at each, then a closer look at those that may win.
        let glances: Vec<(Kernel, f64)> = trusted.map(|kernel| (kernel, glance(kernel))).collect();
        let best = glances.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let close = glances.into_iter().filter(|(_, rate)| 0.75 * best <= *rate);
        let calibrations = close.filter_map(|(kernel, _)| calibrate(kernel).ok());
        calibrations
            .max_by(|a, b| a.hashes_per_s.total_cmp(&b.hashes_per_s))
            .expect("the sha2 kernel agrees with the sha2 crate")
    })
}

/// How one kernel does, if it passes its self-test. Takes some 30 milliseconds once per kernel and process.
pub fn calibrate(kernel: Kernel) -> Result<Calibration, SelfTestError> {
    static CALIBRATIONS: [OnceLock<Calibration>; Kernel::COUNT] = [const { OnceLock::new() }; Kernel::COUNT];
    self_test(kernel)?;
    Ok(*CALIBRATIONS[kernel.index()].get_or_init(|| measure_heads(kernel)))
}

/// Compares a kernel with the sha2 crate, once per process.
pub fn self_test(kernel: Kernel) -> Result<(), SelfTestError> {
    static VERDICTS: [OnceLock<Result<(), SelfTestError>>; Kernel::COUNT] =
        [const { OnceLock::new() }; Kernel::COUNT];
    VERDICTS[kernel.index()]
        .get_or_init(|| compare(kernel.name(), |job, nonces| kernel.search(job, nonces)))
        .clone()
}

/// Says it loudly where a kernel is not.
fn is_trusted(kernel: Kernel) -> bool {
    match self_test(kernel) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "a kernel is refused; please report this with the model of your CPU");
            false
        }
    }
}

/// Walks from hit to hit through a stretch that has many, and compares each with the sha2 crate's.
fn compare(
    kernel: &'static str,
    search: impl Fn(&Job, RangeInclusive<u64>) -> Option<Hit>,
) -> Result<(), SelfTestError> {
    // A hit in sixteen: some vectors have several, most lanes have one at some time. The stretch has a change of the
    // nonce's high word in it and ends in the middle of a vector.
    let mut target = [0xff; 32];
    target[0] = 0x0f;
    let (start, last) = ((7 << 32) - 75, (7 << 32) + 150);
    for heads in [1, 3, 16] {
        let mut first = start;
        let job = job(heads, target);
        let all = (first..=last).flat_map(|nonce| (0..heads).map(move |head| Hit { nonce, head }));
        let mut hits = all.filter(|hit| job.check(*hit)).peekable();
        loop {
            let nonces = first..=last;
            while hits.next_if(|hit| hit.nonce < first).is_some() {}
            let (expected, found) = (hits.peek().copied(), search(&job, nonces.clone()));
            if expected != found {
                return Err(SelfTestError { kernel, heads, nonces, expected, found });
            }
            let Some(hit) = expected else { break };
            first = hit.nonce + 1;
        }
    }
    Ok(())
}

/// Hashes per second from a millisecond of work or a few.
fn glance(kernel: Kernel) -> f64 {
    let job = job(16, [0; 32]);
    // The first of them finds cold caches and clocks.
    (0..3).map(|_| rate(kernel, &job, 1 << 14)).fold(0.0, f64::max)
}

fn measure_heads(kernel: Kernel) -> Calibration {
    const ROUNDS: usize = 3;
    // The gain from M to 4 M heads falls with 1/M, and beyond 64 it drowns in noise.
    const HEADS: [usize; 3] = [1, 16, 64];
    let jobs = HEADS.map(|heads| job(heads, [0; 32]));
    let hashes = hashes_in(glance(kernel), 0.003);
    let mut rates = [0.0; HEADS.len()];
    for _ in 0..ROUNDS {
        for (best, job) in rates.iter_mut().zip(&jobs) {
            // What else the machine does makes a run slower, never faster.
            *best = f64::max(*best, rate(kernel, job, hashes));
        }
    }
    let best = rates.iter().copied().fold(0.0, f64::max);
    let mut enough = HEADS.into_iter().zip(rates).filter(|(_, rate)| 0.99 * best <= *rate);
    let (heads, hashes_per_s) = enough.next().expect("the best is at least 0.99 of itself");
    Calibration { kernel, heads, hashes_per_s }
}

fn rate(kernel: Kernel, job: &Job, hashes: u64) -> f64 {
    let nonces = (hashes / job.heads() as u64).max(1);
    let elapsed = measure::kernel(kernel, job, 0..=nonces - 1);
    (nonces * job.heads() as u64) as f64 / elapsed.cpu.as_secs_f64().max(1e-9)
}

/// How many hashes take `seconds` at a rate.
pub(super) fn hashes_in(hashes_per_s: f64, seconds: f64) -> u64 {
    // Positive and far below 2^64, and what is cut off is less than a hash.
    (hashes_per_s * seconds) as u64
}

/// A job whose heads differ.
fn job(heads: usize, target: [u8; 32]) -> Job {
    let heads: Vec<[u8; 64]> = (0..heads).map(|head| [head as u8 ^ 0x5a; 64]).collect();
    let tail = std::array::from_fn(|i| i as u8 * 5);
    Job::new(&heads, tail, target).expect("1 to 64 heads")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_agree_with_sha2() {
        for kernel in Kernel::available() {
            assert_eq!(self_test(kernel), Ok(()));
        }
    }

    #[test]
    fn wrong_kernels_are_refused() {
        let right = |job: &Job, nonces: RangeInclusive<u64>| Kernel::available()[0].search(job, nonces);
        assert_eq!(compare("right", right), Ok(()));
        let refused = |search: &dyn Fn(&Job, RangeInclusive<u64>) -> Option<Hit>| {
            compare("wrong", search).expect_err("a wrong answer")
        };
        refused(&|_, _| None);
        refused(&|job, nonces| right(job, nonces.clone()).map(|hit| Hit { nonce: hit.nonce + 1, ..hit }));
        // The last lane is not looked at.
        refused(&|job, nonces| {
            right(job, nonces.clone()).filter(|hit| (hit.nonce - nonces.start()) % 16 != 15)
        });
        // The nonce's high word is taken from the start of the range.
        refused(&|job, nonces| {
            let hit = right(job, nonces.clone())?;
            Some(Hit { nonce: nonces.start() >> 32 << 32 | hit.nonce & 0xffff_ffff, ..hit })
        });
        // The end of the range is rounded up to a whole vector.
        refused(&|job, nonces| right(job, *nonces.start()..=(nonces.end() | 15)));
        let error = refused(&|_, _| None).to_string();
        assert!(error.starts_with("kernel 'wrong' fails its self-test: among the nonces 3006477"), "{error}");
    }

    #[test]
    fn fastest_is_cached_and_plausible() {
        let calibration = fastest();
        assert!(1e5 < calibration.hashes_per_s && calibration.hashes_per_s < 1e10);
        assert_eq!(calibration, fastest());
    }
}
