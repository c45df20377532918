//! The result of a measurement: a table for people, JSON for records and comparisons.

use std::fmt::{self, Write as _};
use std::num::NonZeroUsize;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use miner::cpu::kernel::Kernel;
use miner::measure::Elapsed;
use quarry_core::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bench::cards::Card;
use crate::bench::machine::Machine;
use crate::clock;

/// The version of the JSON form.
pub const SCHEMA: u32 = 1;
/// What all ratios are against.
const BASELINE: &str = "sha2";

/// The result of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it was made.
    pub time: Timestamp,
    /// The program's revision.
    pub revision: String,
    /// On which machine.
    pub machine: Machine,
    /// The kernels whose answers were compared with known ones.
    pub verified: Vec<String>,
    /// The core's frequency in Hz, once a round.
    pub frequencies_hz: Vec<f64>,
    /// One thread, by kernel and number of midstates.
    pub variants: Vec<Variant>,
    /// All at once, by number of threads.
    pub threads: Vec<Threads>,
    /// How long a search takes to end once it is cancelled.
    pub cancel: Option<Latency>,
    /// The GPUs.
    pub cards: Vec<Card>,
}

/// A kernel with a number of midstates on one thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// The kernel.
    pub kernel: String,
    /// How many midstates share a message schedule.
    pub midstates: usize,
    /// The least cycles that a hash can take by the kernel's count of operations, where that is known.
    pub limit_cycles: Option<f64>,
    /// What was measured.
    pub samples: Vec<Sample>,
}

/// The fastest kernel on a number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Threads {
    /// How many.
    pub threads: usize,
    /// What was measured; the CPU time is that of all threads.
    pub samples: Vec<Sample>,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// How many hashes were computed.
    pub hashes: u64,
    /// In how many seconds of CPU time.
    pub cpu_s: f64,
    /// In how many seconds.
    pub wall_s: f64,
}

/// How long something takes to happen, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How often it was tried.
    pub samples: usize,
    /// Half of the times it takes no longer.
    pub p50_s: f64,
    /// 99 times of 100 it takes no longer.
    pub p99_s: f64,
    /// The longest.
    pub max_s: f64,
}

/// The middle of some figures, with the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Report {
    /// A report without figures yet.
    pub fn new(machine: Machine, verified: Vec<String>) -> Self {
        Self {
            schema: SCHEMA,
            time: clock::utc(),
            revision: env!("QUARRY_REVISION").to_owned(),
            machine,
            verified,
            frequencies_hz: Vec::new(),
            variants: Vec::new(),
            threads: Vec::new(),
            cancel: None,
            cards: Vec::new(),
        }
    }

    /// A report of this machine in which nothing is measured yet.
    pub fn empty() -> Self {
        Self::new(Machine::this(), Vec::new())
    }

    /// The figures as text.
    pub fn table(&self) -> String {
        let Machine { cpu, threads, arch, os, features, .. } = &self.machine;
        let frequency = Spread::of(self.frequencies_hz.iter().copied()).map(|it| it.median);
        let mut text = format!("{cpu}, {threads} threads, {arch} {os}, {}\n", features.join(" "));
        if !self.variants.is_empty() {
            let ghz = frequency.map_or_else(|| "unknown".to_owned(), |hz| format!("{:.2} GHz", hz / 1e9));
            let _ = writeln!(text, "frequency {ghz}; answers verified: {}\n", self.verified.join(", "));
            let _ = writeln!(text, "{}", self.variants_table(frequency));
        }
        if !self.threads.is_empty() {
            let _ = writeln!(text, "\n{}", self.threads_table());
        }
        if let Some(latency) = self.cancel {
            let _ = writeln!(text, "\n{latency}");
        }
        for card in &self.cards {
            let _ =
                writeln!(text, "\n{}, {}; answers verified\n\n{}", card.name, card.driver, cards_table(card));
            if let Some(latency) = card.cancel {
                let _ = writeln!(text, "\n{latency}");
            }
        }
        text
    }

    /// The rate of each variant against that of the same variant of another report, in per cent.
    pub fn compare(&self, other: &Self) -> Vec<(String, f64)> {
        let mut ratios = Vec::new();
        for variant in &self.variants {
            let is_same = |it: &&Variant| it.kernel == variant.kernel && it.midstates == variant.midstates;
            let former = other.variants.iter().find(is_same).and_then(Variant::cpu_rate);
            if let (Some(now), Some(former)) = (variant.cpu_rate(), former) {
                ratios.push((
                    format!("{} x{}", variant.kernel, variant.midstates),
                    100.0 * now.median / former.median,
                ));
            }
        }
        ratios
    }

    fn variants_table(&self, frequency: Option<f64>) -> Table {
        let baseline = self.variants.iter().find(|it| it.kernel == BASELINE && it.midstates == 1);
        let baseline = baseline.and_then(Variant::cpu_rate).map(|rate| rate.median);
        let mut table = table(&[
            "kernel",
            "midstates",
            "MH per CPU-s",
            "min",
            "max",
            "MH/s (clock)",
            "cycles/hash",
            "of limit",
            "x sha2",
        ]);
        for variant in &self.variants {
            let Some(cpu) = variant.cpu_rate() else { continue };
            let wall = Spread::of(variant.samples.iter().map(|it| it.hashes as f64 / it.wall_s));
            let cycles = frequency.map(|hz| hz / cpu.median);
            let of_limit = variant.limit_cycles.zip(cycles).map(|(limit, cycles)| 100.0 * limit / cycles);
            let mega = |rate: f64| format!("{:.1}", rate / 1e6);
            let optional = |value: Option<f64>, unit: &str| {
                value.map_or_else(String::new, |it| format!("{it:.1}{unit}"))
            };
            table.add_row([
                variant.kernel.clone(),
                variant.midstates.to_string(),
                mega(cpu.median),
                mega(cpu.min),
                mega(cpu.max),
                wall.map_or_else(String::new, |wall| mega(wall.median)),
                optional(cycles, ""),
                optional(of_limit, " %"),
                baseline.map_or_else(String::new, |baseline| format!("{:.2}", cpu.median / baseline)),
            ]);
        }
        table
    }

    fn threads_table(&self) -> Table {
        let mut table = table(&["threads", "MH/s", "min", "max", "MH per CPU-s", "x one thread"]);
        let one = self.threads.first().and_then(|it| Spread::of(it.samples.iter().map(Sample::cpu_rate)));
        for row in &self.threads {
            let Some(wall) = Spread::of(row.samples.iter().map(|it| it.hashes as f64 / it.wall_s)) else {
                continue;
            };
            let cpu = Spread::of(row.samples.iter().map(Sample::cpu_rate));
            // By CPU time, one thread's rate times the threads, less what they lose to each other.
            let scale = cpu.zip(one).map(|(cpu, one)| row.threads as f64 * cpu.median / one.median);
            let mega = |rate: f64| format!("{:.1}", rate / 1e6);
            table.add_row([
                row.threads.to_string(),
                mega(wall.median),
                mega(wall.min),
                mega(wall.max),
                cpu.map_or_else(String::new, |cpu| mega(cpu.median)),
                scale.map_or_else(String::new, |scale| format!("{scale:.2}")),
            ]);
        }
        table
    }
}

impl Variant {
    /// A variant without figures yet.
    pub fn new(kernel: Kernel, midstates: usize) -> Self {
        let limit_cycles = kernel.ceiling(midstates).map(|ceiling| ceiling.cycles());
        Self { kernel: kernel.to_string(), midstates, limit_cycles, samples: Vec::new() }
    }

    /// Hashes per second of CPU time.
    pub fn cpu_rate(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(Sample::cpu_rate))
    }
}

impl Threads {
    /// A number of threads without figures yet.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self { threads: threads.get(), samples: Vec::new() }
    }
}

impl Sample {
    /// So many hashes in so much time.
    pub fn new(hashes: u64, elapsed: Elapsed) -> Self {
        Self { hashes, cpu_s: elapsed.cpu.as_secs_f64(), wall_s: elapsed.wall.as_secs_f64() }
    }

    fn cpu_rate(&self) -> f64 {
        self.hashes as f64 / self.cpu_s
    }
}

impl Latency {
    /// The percentiles of some samples; `None` of none.
    pub fn new(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let at = |per_cent: usize| {
            samples.get((samples.len() * per_cent / 100).min(samples.len().checked_sub(1)?))
        };
        let seconds = |duration: &Duration| duration.as_secs_f64();
        Some(Self {
            samples: samples.len(),
            p50_s: at(50).map(seconds)?,
            p99_s: at(99).map(seconds)?,
            max_s: samples.last().map(seconds)?,
        })
    }
}

impl Spread {
    /// The spread of some figures; `None` of none.
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        Some(Self { min: *figures.first()?, median: figures[figures.len() / 2], max: *figures.last()? })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50_s, p99_s, max_s } = self;
        let [p50, p99, max] = [p50_s, p99_s, max_s].map(|seconds| seconds * 1e6);
        write!(f, "cancel latency of {samples}: p50 {p50:.0} us, p99 {p99:.0} us, max {max:.0} us")
    }
}

fn cards_table(card: &Card) -> Table {
    let mut table = table(&["variant", "GH/s (device)", "GH/s (clock)", "batches", "hashes a batch"]);
    for row in &card.variants {
        table.add_row([
            row.variant.clone(),
            row.by_device_clock.map_or_else(|| "no clock".into(), |rate| format!("{:.3}", rate / 1e9)),
            format!("{:.3}", row.by_wall / 1e9),
            row.batches.to_string(),
            row.batch_hashes.to_string(),
        ]);
    }
    table
}

fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(columns.iter().copied());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_latencies_are_of_sorted_figures() {
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!(spread, Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(std::iter::empty()), None);
        let latency = Latency::new((0..200).rev().map(Duration::from_secs).collect()).unwrap();
        assert_eq!((latency.p50_s, latency.p99_s, latency.max_s), (100.0, 198.0, 199.0));
        assert_eq!(Latency::new(Vec::new()), None);
    }

    #[test]
    fn reports_compare_by_variant_and_survive_json() {
        let elapsed =
            |millis| Elapsed { cpu: Duration::from_millis(millis), wall: Duration::from_millis(millis) };
        let kernel = Kernel::available()[0];
        let report = |millis| {
            let mut report = Report::new(Machine::this(), Vec::new());
            report.variants.push(Variant::new(kernel, 1));
            report.variants[0].samples.push(Sample::new(1000, elapsed(millis)));
            report
        };
        let (fast, slow) = (report(500), report(1000));
        assert_eq!(fast.compare(&slow), [(format!("{kernel} x1"), 200.0)]);
        assert!(fast.compare(&Report::new(Machine::this(), Vec::new())).is_empty());
        let json = serde_json::to_string(&fast).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), fast);
    }
}
