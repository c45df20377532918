//! `quarry-fuzz [TARGET...]`: feeds decoders and prints a table of what happened.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use peak_alloc::PeakAlloc;
use quarry_fuzz::drive::{Limits, Report, Source, TARGETS, Target, Until};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Feeds Quarry's decoders with inputs that are almost right.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// What to feed [default: everything]
    targets: Vec<String>,
    /// How many inputs each target gets
    #[arg(long, default_value_t = 100_000, conflicts_with = "seconds")]
    inputs: u64,
    /// How long each target is fed instead
    #[arg(long)]
    seconds: Option<u64>,
    /// Where the inputs come from; a fresh one each time where it is left out
    #[arg(long)]
    seed: Option<u64>,
    /// Where an input that caused what none may is written to
    #[arg(long, default_value = "findings")]
    findings: std::path::PathBuf,
    /// Print the one input with this number instead of running any
    #[arg(long, requires = "seed")]
    print: Option<u64>,
    /// Feed this file once instead, as other fuzzers do and to repeat a panic that they have found
    #[arg(long, value_name = "FILE", conflicts_with_all = ["print", "export"])]
    read: Option<std::path::PathBuf>,
    /// Write inputs to this directory instead of running any, for another fuzzer to begin with
    #[arg(long, requires = "seed", conflicts_with = "print")]
    export: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let targets = chosen(&args.targets)?;
    if let Some(path) = &args.read {
        let input = std::fs::read(path).with_context(|| path.display().to_string())?;
        for target in targets {
            let word = if (target.run)(&input) { "taken" } else { "refused" };
            println!("{}: {word}", target.name);
        }
        return Ok(true);
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    if let Some(number) = args.print {
        for target in targets {
            std::io::stdout().write_all(&Source::new(*target, seed)?.input(number))?;
        }
        return Ok(true);
    }
    if let Some(directory) = &args.export {
        std::fs::create_dir_all(directory)?;
        for target in targets {
            let source = Source::new(*target, seed)?;
            for number in 0..args.inputs {
                std::fs::write(directory.join(format!("{}-{number}", target.name)), source.input(number))?;
            }
        }
        return Ok(true);
    }
    let until = args.seconds.map_or(Until::Inputs(args.inputs), |it| Until::Elapsed(Duration::from_secs(it)));
    println!("seed {seed}");
    println!("| target | inputs | taken | mean bytes | CPU per input, mean | max | live memory, max |");
    println!("|---|---|---|---|---|---|---|");
    let mut is_good = true;
    for target in targets {
        match Source::new(*target, seed)?.with_findings(&args.findings).run(until, Limits::default()) {
            Ok(report) => println!("{}", row(target, &report)),
            Err(finding) => {
                is_good = false;
                println!("| {} | found: {finding} |", target.name);
            }
        }
    }
    Ok(is_good)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => Ok(target),
        None => bail!("there is no target `{name}`, but {}", all_names()),
    };
    names.iter().map(find).collect()
}

fn all_names() -> String {
    TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ")
}

fn row(target: &Target, report: &Report) -> String {
    let inputs = report.inputs.max(1);
    let share = 100 * report.taken / inputs;
    format!(
        "| {} | {} | {share} % | {} | {:.1} us | {:.2} ms | {:.1} MiB |",
        target.name,
        report.inputs,
        report.bytes / inputs,
        report.cpu.as_secs_f64() * 1e6 / inputs as f64,
        report.cpu_max.as_secs_f64() * 1e3,
        report.live_bytes_max as f64 / f64::from(1 << 20),
    )
}
