//! Clocks for measuring kernels on a machine that does other work, too.
//! Invariant: a measured time is time that this thread spent computing, where the system can tell.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::cpu::kernel::Kernel;
use crate::job::Job;
use crate::search::{NonceSearch, SearchError};

/// Times one piece of work on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    cpu: Duration,
    wall: Instant,
}

impl Stopwatch {
    /// Begins to measure.
    pub fn start() -> Self {
        let wall = Instant::now();
        Self { cpu: thread_cpu_time(), wall }
    }

    /// What has passed since the start, on the same thread.
    pub fn elapsed(&self) -> Elapsed {
        let cpu = thread_cpu_time().saturating_sub(self.cpu);
        Elapsed { cpu, wall: self.wall.elapsed() }
    }
}

/// How long a piece of work took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// Time the thread was on a CPU; the same as `wall` on systems that cannot tell.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
}

/// CPU time that all threads of this process have used so far; none where the system cannot tell.
pub fn process_cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    return Some(cpu_time(rustix::time::ClockId::ProcessCPUTime));
    #[cfg(not(unix))]
    None
}

/// Measures one kernel on this thread over `nonces`, of which none should hit lest the search end early.
pub fn kernel(kernel: Kernel, job: &Job, nonces: RangeInclusive<u64>) -> Elapsed {
    let stopwatch = Stopwatch::start();
    black_box(kernel.search(black_box(job), nonces));
    stopwatch.elapsed()
}

/// The frequency at which this core computes at the moment, in Hz, from about a millisecond of work.
///
/// It takes a chain of operations that every CPU of the last decade does in one cycle each; it is low where the system
/// cannot tell CPU time and the machine is busy.
pub fn core_frequency() -> f64 {
    const STEPS: u32 = 1 << 20;
    let stopwatch = Stopwatch::start();
    let mut x = black_box(1u64);
    for step in 0..STEPS {
        // Each step waits for the one before: one xor, one rotation.
        x = (x ^ u64::from(step)).rotate_left(7);
    }
    black_box(x);
    2.0 * f64::from(STEPS) / stopwatch.elapsed().cpu.as_secs_f64()
}

/// How long a search in full flight takes to return after it is cancelled. The job must be one that no hash hits.
pub fn cancel_latency(search: &dyn NonceSearch, job: &Job) -> Result<Duration, SearchError> {
    let cancel = AtomicBool::new(false);
    let before = search.hashes();
    thread::scope(|scope| {
        let searching = scope.spawn(|| {
            let report = search.search(job, 0..=u64::MAX, &cancel);
            (report, Instant::now())
        });
        // Past the start, and at no fixed distance from the end of a claim.
        while search.hashes() == before && !searching.is_finished() {
            thread::sleep(Duration::from_micros(700));
        }
        let cancelled = Instant::now();
        cancel.store(true, Relaxed);
        let (report, returned) = searching.join().expect("a search does not panic");
        report.map(|_| returned.saturating_duration_since(cancelled))
    })
}

#[cfg(unix)]
fn thread_cpu_time() -> Duration {
    cpu_time(rustix::time::ClockId::ThreadCPUTime)
}

#[cfg(unix)]
fn cpu_time(clock: rustix::time::ClockId) -> Duration {
    Duration::try_from(rustix::time::clock_gettime(clock)).expect("CPU time is not negative")
}

#[cfg(not(unix))]
fn thread_cpu_time() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
