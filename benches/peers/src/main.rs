//! Quarry's kernels and the best that the registry has, over the same header in interleaved rounds.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [ROUNDS]` prints a record for `benches/record/`.

mod contestants;

use std::env;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use miner::measure::{self, Stopwatch};
use miner::{Job, Kernel, NonceSearch, Options};

use crate::contestants::{Contestant, job};

fn main() {
    let rounds: usize = env::args().nth(1).map_or(31, |rounds| rounds.parse().expect("a number of rounds"));
    let mut contestants = contestants::all();
    for contestant in &mut contestants {
        contestant.check();
    }
    let samples = measure_all(&mut contestants, rounds.max(3));
    println!("{}\n", machine());
    println!(
        "{rounds} interleaved rounds, thread CPU time; spread is that of the middle 80 %, MH/s and ratio at the median, \
         cycles at the 10th percentile\n"
    );
    print_table(&contestants, &samples);
    println!();
    print_threads();
    println!();
    print_cancel_latency();
}

/// What one contestant took per hash, in ascending order.
struct Samples {
    ns: Vec<f64>,
    cycles: Vec<f64>,
}

fn measure_all(contestants: &mut [Contestant], rounds: usize) -> Vec<Samples> {
    let mut all: Vec<_> =
        contestants.iter().map(|_| Samples { ns: Vec::new(), cycles: Vec::new() }).collect();
    // The frequency is a maximum: whatever disturbs its measurement makes it look lower.
    let hz = (0..200).map(|_| measure::core_frequency()).fold(0.0, f64::max);
    for _ in 0..rounds {
        for (contestant, samples) in contestants.iter_mut().zip(&mut all) {
            let stopwatch = Stopwatch::start();
            let hashes = contestant.run();
            let seconds = stopwatch.elapsed().cpu.as_secs_f64() / hashes as f64;
            samples.ns.push(seconds * 1e9);
            samples.cycles.push(seconds * hz);
        }
    }
    for samples in &mut all {
        samples.ns.sort_by(f64::total_cmp);
        samples.cycles.sort_by(f64::total_cmp);
    }
    all
}

fn print_table(contestants: &[Contestant], samples: &[Samples]) {
    println!("| what | heads | MH/s | spread | cycles per hash | of ceiling | x sha2 loop |");
    println!("|---|---|---|---|---|---|---|");
    let median = |samples: &Samples| percentile(&samples.ns, 50);
    let base = contestants.iter().position(|contestant| contestant.name == "sha2 compress256 loop");
    let base = median(&samples[base.expect("the base of all ratios takes part")]);
    for (contestant, samples) in contestants.iter().zip(samples) {
        let ns = median(samples);
        let spread = 100.0 * (percentile(&samples.ns, 90) - percentile(&samples.ns, 10)) / ns;
        let cycles = percentile(&samples.cycles, 10);
        let ceiling =
            contestant.ceiling.map_or("".to_owned(), |ceiling| format!("{:.0} %", 100.0 * ceiling / cycles));
        let (name, heads) = (&contestant.name, contestant.heads);
        println!(
            "| {name} | {heads} | {:.1} | {spread:.0} % | {cycles:.1} | {ceiling} | {:.2} |",
            1e3 / ns,
            base / ns
        );
    }
}

/// What several threads do together. By CPU time it does not matter what else the machine does, but for what its cores
/// share.
fn print_threads() {
    println!("| threads | kernel | MH/s by CPU time | x one thread | MH/s by wall time | x one thread |");
    println!("|---|---|---|---|---|---|");
    let available = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut single = None;
    for threads in (0..).map(|i| 1 << i).take_while(|threads| *threads <= available) {
        let search = Options { threads: NonZeroUsize::new(threads), ..Options::default() }
            .open_cpu()
            .expect("a kernel passes its self-test");
        let job = job(search.preferred_heads());
        let (mut by_cpu, mut by_wall): (Vec<_>, Vec<_>) = (0..15).map(|_| rates(&search, &job)).unzip();
        by_cpu.sort_by(f64::total_cmp);
        by_wall.sort_by(f64::total_cmp);
        let (cpu, wall) = (percentile(&by_cpu, 50) * threads as f64, percentile(&by_wall, 50));
        let (one_cpu, one_wall) = *single.get_or_insert((cpu, wall));
        let kernel = search.calibration().kernel;
        println!(
            "| {threads} | {kernel} | {:.1} | {:.2} | {:.1} | {:.2} |",
            cpu / 1e6,
            cpu / one_cpu,
            wall / 1e6,
            wall / one_wall
        );
    }
}

/// Hashes per second of CPU time and of wall time.
fn rates(search: &dyn NonceSearch, job: &Job) -> (f64, f64) {
    let (cpu, wall) = (measure::process_cpu_time(), Instant::now());
    let report =
        search.search(job, 0..=(1 << 19) - 1, &AtomicBool::new(false)).expect("a CPU does not get lost");
    let wall = wall.elapsed().as_secs_f64();
    let cpu = measure::process_cpu_time().zip(cpu).map_or(wall, |(end, start)| (end - start).as_secs_f64());
    (report.hashes as f64 / cpu, report.hashes as f64 / wall)
}

fn print_cancel_latency() {
    const TRIES: usize = 1000;
    let search = Options::default().open_cpu().expect("a kernel passes its self-test");
    let job = job(search.preferred_heads());
    let mut all: Vec<f64> = (0..TRIES)
        .map(|_| measure::cancel_latency(&search, &job).expect("a CPU does not get lost"))
        .map(|latency: Duration| latency.as_secs_f64() * 1e3)
        .collect();
    all.sort_by(f64::total_cmp);
    println!(
        "Cancel latency of {}, {TRIES} tries: p50 {:.3} ms, p99 {:.3} ms, maximum {:.3} ms",
        search.name(),
        percentile(&all, 50),
        percentile(&all, 99),
        all[TRIES - 1]
    );
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name| info.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let kernels: Vec<_> = Kernel::available().iter().map(|kernel| kernel.name()).collect();
    format!(
        "CPU: {} (family {}, model {}), {cores} threads\nKernels: {}",
        field("model name").unwrap_or("unknown"),
        field("cpu family").unwrap_or("?"),
        field("model\t").unwrap_or("?"),
        kernels.join(", ")
    )
}
