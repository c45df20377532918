//! `quarry-sim SEED [COUNT]`: runs seeds, prints what happened, and of a failure the smallest run that still fails.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use quarry_sim::counts::Counts;
use quarry_sim::options::{Options, SECOND_US};
use quarry_sim::run::run;
use quarry_sim::shrink::{difference, shrink};
use quarry_sim::violation::Violation;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// Runs whole networks in virtual time, each from a seed, and checks that they keep every rule.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The first seed.
    seed: u64,
    /// How many seeds to run.
    #[arg(default_value_t = 1)]
    count: u64,
    /// How many seeds run at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: u64,
    /// Let faults go on for so many virtual hours, at a pace that suits them.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=1000))]
    hours: Option<u64>,
    /// Settings to use instead of those of the seed, as a JSON object: what a failure prints.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    with: String,
    /// Print the settings of the first seed as JSON, and run nothing.
    #[arg(long)]
    settings: bool,
    /// Start no more seeds after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = u64::MAX)]
    within: u64,
    /// Stop at the first failure, and do not look for a smaller one.
    #[arg(long)]
    first: bool,
}

/// What several threads add up.
#[derive(Default)]
struct Totals {
    counts: Counts,
    seeds: u64,
    failures: u64,
    slowest: (Duration, u64),
    /// The longest time that a network took to settle, and its seed.
    longest: (u64, u64),
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the seeds; answers how many failed.
fn start(arguments: &Arguments) -> anyhow::Result<u64> {
    let options = options(arguments, arguments.seed)?;
    if arguments.settings {
        println!("{}", serde_json::to_string_pretty(&options)?);
        return Ok(0);
    }
    // A panic is a violation and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let (next, totals) = (AtomicU64::new(0), Mutex::new(Totals::default()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| work(arguments, start, &next, &totals));
        }
    });
    let totals = totals.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let cpu = cpu_time(ClockId::ProcessCPUTime);
    print!("{}", totals.counts);
    let last =
        arguments.seed.saturating_add(next.load(Ordering::Relaxed).min(arguments.count)).saturating_sub(1);
    if let (longest_us @ 1.., seed) = totals.longest {
        println!("the last to settle, {seed}, took {} s", longest_us / SECOND_US);
    }
    println!(
        "{} of {} seeds from {} to {last} kept every rule",
        totals.seeds - totals.failures,
        totals.seeds,
        arguments.seed
    );
    println!(
        "{:.1} s, {:.1} s of processor time, {} ms of it a seed; the slowest, {}, took {} ms",
        start.elapsed().as_secs_f64(),
        cpu.as_secs_f64(),
        cpu.as_millis() / u128::from(totals.seeds.max(1)),
        totals.slowest.1,
        totals.slowest.0.as_millis()
    );
    Ok(totals.failures)
}

fn work(arguments: &Arguments, start: Instant, next: &AtomicU64, totals: &Mutex<Totals>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if arguments.count <= number || arguments.within <= start.elapsed().as_secs() {
            return;
        }
        let seed = arguments.seed.wrapping_add(number);
        let Ok(options) = options(arguments, seed) else { return };
        let began = cpu_time(ClockId::ThreadCPUTime);
        let result = run(seed, &options);
        let took = cpu_time(ClockId::ThreadCPUTime).saturating_sub(began);
        if let Err(violation) = &result {
            report(arguments, seed, &options, violation);
        }
        let mut totals = totals.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        totals.seeds += 1;
        totals.slowest = totals.slowest.max((took, seed));
        match result {
            Ok(counts) => {
                totals.longest = totals.longest.max((counts.settled_us.1, seed));
                totals.counts.add(&counts);
            }
            Err(_) => {
                totals.failures += 1;
                if arguments.first {
                    next.fetch_max(arguments.count, Ordering::Relaxed);
                }
            }
        }
    }
}

/// How much time the processor has spent, by one of its clocks.
fn cpu_time(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// The options of a seed, with what the command line says instead.
fn options(arguments: &Arguments, seed: u64) -> anyhow::Result<Options> {
    let options = match arguments.hours {
        Some(hours) => Options::lasting(seed, hours),
        None => Options::from_seed(seed),
    };
    let mut value = serde_json::to_value(&options)?;
    let changes: Value = serde_json::from_str(&arguments.with).context("--with is not JSON")?;
    let (Value::Object(fields), Value::Object(changes)) = (&mut value, changes) else {
        anyhow::bail!("--with is not a JSON object");
    };
    fields.extend(changes);
    serde_json::from_value(value).context("--with")
}

/// Prints a failure, and the smallest run that still fails.
fn report(arguments: &Arguments, seed: u64, options: &Options, violation: &Violation) {
    eprintln!("seed {seed} failed: {violation}");
    if arguments.first {
        return;
    }
    let (smallest, violation) = shrink(seed, options, violation);
    let hours = arguments.hours.map(|hours| format!(" --hours {hours}")).unwrap_or_default();
    let original = match arguments.hours {
        Some(hours) => Options::lasting(seed, hours),
        None => Options::from_seed(seed),
    };
    eprintln!("  smaller: {violation}");
    eprintln!("  quarry-sim {seed}{hours} --with '{}'", difference(&smallest, &original));
}
