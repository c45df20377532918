//! `bench`: measures the nonce search on this machine.

use std::fs;
use std::num::NonZeroUsize;

use anyhow::{Context as _, Result, anyhow, ensure};
use crossbeam_channel::Receiver;
use indicatif::{ProgressBar, ProgressStyle};
use miner::cpu::kernel::Kernel;

use crate::args::BenchArgs;
use crate::bench::report::{Report, SCHEMA};
use crate::bench::{self, Plan, Watcher, cards};
use crate::commands::node::stop_signal;
use crate::commands::output::say;
use crate::exit::{Exit, OrExit as _};

/// Shows how far the measurement is, and ends it on Ctrl-C.
struct Progress {
    bar: ProgressBar,
    stop: Receiver<()>,
    is_stopped: bool,
}

impl Watcher for Progress {
    fn step(&mut self, done: u64, all: u64) -> bool {
        self.bar.set_length(all);
        self.bar.set_position(done);
        // For good: what is left to measure ends, too.
        self.is_stopped |= self.stop.try_recv().is_ok();
        !self.is_stopped
    }
}

/// Measures, prints, saves and compares.
pub fn run(args: &BenchArgs) -> Result<Exit> {
    let former = args.compare.as_deref().map(read).transpose()?;
    let mut kernels: Vec<_> = args.kernel.iter().filter_map(|kernel| kernel.0).collect();
    if kernels.is_empty() {
        kernels = Kernel::available();
    }
    let plan = Plan {
        kernels,
        midstates: args.midstates.iter().map(|it| it.0.get()).collect(),
        threads: if args.threads.is_empty() { all_threads() } else { args.threads.clone() },
        rounds: args.rounds.get(),
    };
    let style = ProgressStyle::with_template("measuring {bar:40} {percent} %, {eta} left")
        .context("the bar's look")?;
    let bar = ProgressBar::new(1).with_style(style);
    let mut progress = Progress { bar: bar.clone(), stop: stop_signal(false)?, is_stopped: false };
    // Before what takes long, because it may not be there.
    let cards = match args.backend.as_str() {
        "cpu" => Vec::new(),
        backend => cards::choose(&args.device, args.allow_software_gpu, backend == "gpu")?,
    };
    let mut report = if args.backend == "gpu" { Report::empty() } else { bench::run(&plan, &mut progress)? };
    report.cards = cards::measure(&cards, &mut progress)?;
    bar.finish_and_clear();
    if args.json {
        say!("{}", serde_json::to_string(&report)?)?;
    } else {
        say!("{}", report.table().trim_end())?;
    }
    if let Some(path) = &args.save {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    former.map_or(Ok(Exit::Done), |former| compare(args, &report, &former))
}

/// One thread, and all of them.
fn all_threads() -> Vec<NonZeroUsize> {
    let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    if all == NonZeroUsize::MIN { vec![all] } else { vec![NonZeroUsize::MIN, all] }
}

fn compare(args: &BenchArgs, report: &Report, former: &Report) -> Result<Exit> {
    let ratios = report.compare(former);
    if ratios.is_empty() {
        return Err(Exit::Usage.error(anyhow!("the saved report has no variant in common with this one")));
    }
    if !args.json {
        say!("\nagainst {} of {}:", former.revision, former.time)?;
        for (name, percent) in &ratios {
            say!("{name:<16}{percent:.1} %")?;
        }
    }
    let floor = args.fail_under.unwrap_or(0.0);
    let slower: Vec<_> =
        ratios.iter().filter(|(_, percent)| *percent < floor).map(|(name, _)| name.as_str()).collect();
    if slower.is_empty() {
        return Ok(Exit::Done);
    }
    Err(anyhow!("below {floor} % of the saved rate: {}", slower.join(", ")))
}

fn read(path: &std::path::Path) -> Result<Report> {
    let parse = || -> Result<Report> {
        let report: Report = serde_json::from_slice(&fs::read(path)?)?;
        ensure!(report.schema == SCHEMA, "it has schema {}, this program writes {SCHEMA}", report.schema);
        Ok(report)
    };
    parse().with_context(|| format!("reading the saved report {}", path.display())).or_exit(Exit::Usage)
}
