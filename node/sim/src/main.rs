//! `quarry-sim SEED [COUNT]`: runs seeds and prints what happened.

use std::process::ExitCode;

use quarry_sim::counts::Counts;
use quarry_sim::run::run;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u64>> = arguments.iter().map(|argument| argument.parse().ok()).collect();
    let (seed, count) = match numbers.as_deref() {
        Some([seed]) => (*seed, 1),
        Some([seed, count]) => (*seed, *count),
        _ => {
            eprintln!("usage: quarry-sim SEED [COUNT]");
            return ExitCode::from(2);
        }
    };
    let mut counts = Counts::default();
    let mut failures = 0;
    for seed in seed..seed.saturating_add(count) {
        match run(seed) {
            Ok(of_seed) => counts.add(&of_seed),
            Err(violation) => {
                failures += 1;
                eprintln!("seed {seed}: {violation}");
            }
        }
    }
    print!("{counts}");
    println!("{} of {count} seeds kept every rule", count - failures);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
