//! Runs a target on one input after the other and watches for what no input may cause.
//! Invariant: whatever is found is named by seed and number, from which the input can be made again.

use std::fs;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::corpus;
use crate::dice::Dice;
use crate::mutate;
use crate::{generate, targets};

/// A decoder, and where its inputs come from.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called on the command line and in the corpus.
    pub name: &'static str,
    /// The decoder: true where the bytes stood for something.
    pub run: fn(&[u8]) -> bool,
    /// Makes bytes that do.
    pub generate: fn(&mut Dice) -> Vec<u8>,
}

/// All there are.
pub const TARGETS: &[Target] = &[
    Target { name: "message", run: targets::message, generate: generate::message },
    Target { name: "block-json", run: targets::block_json, generate: generate::block_json },
    Target { name: "transaction-json", run: targets::transaction_json, generate: generate::transaction_json },
    Target { name: "original", run: targets::original, generate: generate::original },
    Target { name: "network-file", run: targets::network_file, generate: generate::network_file },
    Target { name: "control", run: targets::control, generate: generate::control },
    Target { name: "text", run: targets::text, generate: generate::text },
    Target { name: "header", run: targets::header, generate: generate::header },
    Target { name: "record", run: targets::record, generate: generate::record },
    Target { name: "body", run: targets::body, generate: generate::body },
    Target { name: "transaction", run: targets::transaction, generate: generate::transaction },
    Target { name: "undo", run: targets::undo, generate: generate::undo },
    Target { name: "frames", run: targets::frames, generate: generate::frames },
    Target { name: "cursor", run: targets::cursor, generate: generate::cursor },
    Target { name: "store", run: targets::store, generate: generate::store },
    Target { name: "node", run: targets::node, generate: generate::conversation },
];

/// What no input may cause. Memory is what the whole process holds beyond what it held before the input, as counted where
/// [`PeakAlloc`] is its allocator.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// CPU time for one input.
    pub cpu: Duration,
    /// Bytes allocated at one time.
    pub live_bytes: usize,
    /// How long an input may take by the clock before the run is given up: nothing else ends an endless loop.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu: Duration::from_millis(100), live_bytes: 64 << 20, patience: Duration::from_secs(60) }
    }
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many inputs.
    Inputs(u64),
    /// After so long.
    Elapsed(Duration),
}

/// What happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// How many inputs there were.
    pub inputs: u64,
    /// How many stood for something.
    pub taken: u64,
    /// How many bytes they had together.
    pub bytes: u64,
    /// The most CPU time that one took.
    pub cpu_max: Duration,
    /// The CPU time of all of them, their making included.
    pub cpu: Duration,
    /// The most memory that was held at one time.
    pub live_bytes_max: usize,
}

/// An input that caused what none may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input {number} of target {target}, seed {seed}: {problem}")]
pub struct Finding {
    /// What it was fed to.
    pub target: &'static str,
    /// The seed.
    pub seed: u64,
    /// The input's number.
    pub number: u64,
    /// What it caused.
    pub problem: Problem,
}

/// What no input may cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A panic, or an oracle that disagrees.
    #[error("it panics: {0}")]
    Panic(String),
    /// Too much CPU time.
    #[error("it takes {0:?} of CPU time")]
    Slow(Duration),
    /// No end.
    #[error("it has not ended after {0:?}")]
    Endless(Duration),
    /// Too much memory.
    #[error("{0} bytes are allocated at one time")]
    Memory(usize),
}

/// A target with its corpus: what makes its inputs.
#[derive(Debug, Clone)]
pub struct Source {
    target: Target,
    corpus: Vec<Vec<u8>>,
    seed: u64,
    findings: PathBuf,
}

impl Source {
    /// The inputs of a target that follow from a seed.
    pub fn new(target: Target, seed: u64) -> Result<Self> {
        Ok(Self { target, corpus: corpus::load(target.name)?, seed, findings: "findings".into() })
    }

    /// Writes what is found to this directory; it is made when there is something.
    pub fn with_findings(self, findings: impl Into<PathBuf>) -> Self {
        Self { findings: findings.into(), ..self }
    }

    /// The input with this number: the corpus comes first, then fresh ones, most of them damaged.
    pub fn input(&self, number: u64) -> Vec<u8> {
        if let Some(input) = usize::try_from(number).ok().and_then(|number| self.corpus.get(number)) {
            return input.clone();
        }
        let mut dice = Dice::new(self.seed, number);
        let mut input = self.fresh(&mut dice);
        if !dice.once_in(8) {
            let other = if dice.once_in(4) { self.fresh(&mut dice) } else { Vec::new() };
            mutate::damage(&mut input, &other, &mut dice);
        }
        input
    }

    fn fresh(&self, dice: &mut Dice) -> Vec<u8> {
        if self.corpus.is_empty() || !dice.once_in(4) {
            (self.target.generate)(dice)
        } else {
            dice.pick(&self.corpus).clone()
        }
    }

    /// Runs the inputs from the first until it is time to stop or one causes what none may.
    pub fn run(&self, until: Until, limits: Limits) -> Result<Report, Finding> {
        let finding = |number, problem| {
            let finding = Finding { target: self.target.name, seed: self.seed, number, problem };
            self.keep(&finding);
            finding
        };
        let number = AtomicU64::new(0);
        let (done, ended) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let result = self.work(until, limits, &number);
                let _nobody_waits_for_a_run_that_was_given_up = done.send(result);
            });
            let mut last = number.load(Ordering::Relaxed);
            loop {
                match ended.recv_timeout(limits.patience) {
                    Ok(result) => return result.map_err(|(number, problem)| finding(number, problem)),
                    Err(RecvTimeoutError::Disconnected) => {
                        unreachable!("a sender waits outside of the thread")
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let now = number.load(Ordering::Relaxed);
                if now == last {
                    // No thread can be stopped from outside, so the whole process goes.
                    eprintln!("{}", finding(now, Problem::Endless(limits.patience)));
                    std::process::abort();
                }
                last = now;
            }
        })
    }

    /// Writes the input that caused something; where that fails, seed and number still say how to make it again.
    fn keep(&self, finding: &Finding) {
        let path = self.findings.join(format!("{}-{}-{}", finding.target, finding.seed, finding.number));
        let written =
            fs::create_dir_all(&self.findings).and_then(|()| fs::write(&path, self.input(finding.number)));
        match written {
            Ok(()) => eprintln!("the input is in {}", path.display()),
            Err(error) => eprintln!("the input cannot be written to {}: {error}", path.display()),
        }
    }

    fn work(&self, until: Until, limits: Limits, number: &AtomicU64) -> Result<Report, (u64, Problem)> {
        let mut report = Report::default();
        let (started, cpu_started) = (Instant::now(), cpu());
        loop {
            let is_over = match until {
                Until::Inputs(count) => count <= report.inputs,
                // The clock is looked at now and then: it is slower than a small decoder.
                Until::Elapsed(time) => report.inputs.is_multiple_of(64) && time <= started.elapsed(),
            };
            if is_over {
                report.cpu = cpu() - cpu_started;
                return Ok(report);
            }
            let now = report.inputs;
            number.store(now, Ordering::Relaxed);
            let input = self.input(now);
            let problem = |problem| (now, problem);
            report.taken += u64::from(self.feed(&input, limits, &mut report).map_err(problem)?);
            report.bytes += input.len() as u64;
            report.inputs += 1;
        }
    }

    /// Runs the target on one input.
    fn feed(&self, input: &[u8], limits: Limits, report: &mut Report) -> Result<bool, Problem> {
        PeakAlloc.reset_peak_usage();
        let held = PeakAlloc.current_usage();
        let before = cpu();
        let result = panic::catch_unwind(|| (self.target.run)(input));
        let took = cpu() - before;
        let live = PeakAlloc.peak_usage().saturating_sub(held);
        report.cpu_max = report.cpu_max.max(took);
        report.live_bytes_max = report.live_bytes_max.max(live);
        let taken = result.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Problem::Panic(text.unwrap_or_default())
        })?;
        if limits.cpu < took {
            return Err(Problem::Slow(took));
        }
        if limits.live_bytes < live {
            return Err(Problem::Memory(live));
        }
        Ok(taken)
    }
}

/// The CPU time of this thread: a busy machine makes no input slow by it.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |part: i64| u64::try_from(part).expect("a thread's CPU time is not negative");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
