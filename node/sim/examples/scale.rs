//! Measures what news costs and how long it takes in networks of several sizes, and prints `record/scale.md`'s tables.

use std::process::ExitCode;

use clap::Parser;
use peak_alloc::PeakAlloc;
use quarry_core::node::{MESH_MAX, fan_out};
use quarry_sim::scale::{Report, Setting, measure, quantile};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Measures what news costs and how long it takes, by the number of nodes.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many nodes there are, one network after another
    #[arg(required = true)]
    nodes: Vec<u16>,
    /// Up to how many peers a node tells all of them what is new; as often as there are ways to compare
    #[arg(long, default_values_t = [0, 65535])]
    mesh_max: Vec<usize>,
    /// How many messages in a thousand are lost; as often as there are rates to compare
    #[arg(long, default_values_t = [0, 10])]
    lost: Vec<u64>,
    /// For how many minutes each network is measured
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The milliseconds between two transactions; 0 for none
    #[arg(long, default_value_t = 5000)]
    transactions: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    println!(
        "Blocks: messages and KiB that a node sends for each; syncs: such messages; seconds to 50, 90, 99 and 100 % \
         of nodes: median (worst). Transactions: messages and KiB that a node sends for each; seconds to 50, 90 and \
         99 %: median. Statuses, and all messages, of a node in an hour. The node uses a mesh up to {MESH_MAX} peers.\n"
    );
    println!(
        "| nodes | told | lost | blocks | stale | block msgs | KiB | syncs | 50 % | 90 % | 99 % | 100 % | tx msgs | KiB \
         | 50 % | 90 % | 99 % | statuses | all | memory KiB |"
    );
    println!("|{}", "---|".repeat(20));
    for nodes in &arguments.nodes {
        for lost in &arguments.lost {
            for mesh_max in &arguments.mesh_max {
                let setting = Setting {
                    nodes: *nodes,
                    mesh_max: *mesh_max,
                    minutes: arguments.minutes,
                    lost_per_mille: *lost,
                    transaction_interval_us: arguments.transactions * 1000,
                };
                match measure(arguments.seed, &setting, || ALLOCATOR.current_usage()) {
                    Ok(report) => println!("{}", row(&setting, &report)),
                    Err(violation) => {
                        eprintln!("{setting:?}: {violation}");
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn row(setting: &Setting, report: &Report) -> String {
    let peers = usize::from(setting.nodes) - 1;
    let told = if peers <= setting.mesh_max { peers } else { fan_out(peers) };
    let nodes = report.nodes as f64;
    let per = |amount: u64, things: u64| amount as f64 / nodes / things.max(1) as f64;
    let messages = |kind: &str| report.counts.messages.get(kind).copied().unwrap_or(0);
    let kib = |kind: &str| report.counts.bytes.get(kind).copied().unwrap_or(0) / 1024;
    let syncs = ["getHeaders", "headers", "getBlocks", "blocks"].map(messages).iter().sum();
    let hourly = |count| per(count, 1) * 3600.0 / report.seconds as f64;
    let (found, transactions) = (report.counts.found, report.counts.transactions);
    let blocks: Vec<_> = [500, 900, 990, 1000].map(|share| spread(&report.blocks, share, true)).into();
    let ways: Vec<_> = [500, 900, 990].map(|share| spread(&report.transactions, share, false)).into();
    format!(
        "| {} | {told} | {} % | {} | {:.2} % | {:.2} | {:.1} | {:.2} | {} | {:.2} | {:.2} | {} | {:.0} | {:.0} | {} |",
        setting.nodes,
        setting.lost_per_mille as f64 / 10.0,
        report.found,
        100.0 * (report.found - report.height) as f64 / report.found.max(1) as f64,
        per(messages("block"), found),
        per(kib("block"), found),
        per(syncs, found),
        blocks.join(" | "),
        per(messages("transactions") - transactions, transactions),
        per(kib("transactions"), transactions),
        ways.join(" | "),
        hourly(messages("status")),
        // What clients sent is not the nodes'.
        hourly(report.counts.messages_total() - transactions),
        report.bytes_per_node / 1024,
    )
}

/// The median, and the worst, of the seconds to a share of the nodes.
fn spread(times_us: &[Vec<u64>], share: usize, with_worst: bool) -> String {
    let mut of_share: Vec<u64> = times_us.iter().filter_map(|times| quantile(times, share)).collect();
    of_share.sort_unstable();
    let seconds = |per_mille| quantile(&of_share, per_mille).map_or(f64::NAN, |us| us as f64 / 1e6);
    match with_worst {
        true => format!("{:.2} ({:.2})", seconds(500), seconds(1000)),
        false => format!("{:.1}", seconds(500)),
    }
}
