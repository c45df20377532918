//! What a difficulty is chosen by.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use quarry_core::units::NodeId;

use super::{HashRate, MiningArgs};

/// A difficulty to choose.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// Seconds between blocks to aim at [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub interval: Option<f64>,
    /// The share of stale blocks to aim at instead, in per cent: those that lost because another was found before they
    /// had spread
    #[arg(long, value_name = "PERCENT", value_parser = stale, conflicts_with = "interval")]
    pub stale: Option<f64>,
    /// The hashes a second of all nodes together, such as 250M or 1.5G [default: what this machine does when measured]
    #[arg(long, value_name = "RATE", conflicts_with = "machines")]
    pub hash_rate: Option<HashRate>,
    /// Take the hash rate and the shares from this node's newest blocks, and the delay from its peers. Right where the
    /// nodes mine all the time, as with --mine-empty: pauses count as slow mining
    #[arg(long, value_name = "ID", conflicts_with = "machines")]
    pub node: Option<NodeId>,
    /// How many of its blocks to look at: more say it more exactly, fewer say how it is now [default: 1000, or 60 where
    /// the difficulty follows a block time]
    #[arg(long, value_name = "N", requires = "node")]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub blocks: Option<u32>,
    /// How many machines like this one mine, where its hash rate is measured [default: 1]
    #[arg(long, value_name = "N")]
    pub machines: Option<NonZeroU32>,
    /// How many nodes mine, with equal shares [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: Option<u16>,
    /// The shares of the nodes in the hash rate, such as 50,30,20
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = share, conflicts_with = "nodes")]
    pub shares: Vec<f64>,
    /// How many milliseconds a block takes to another node; several are all as likely. Where more than 17 nodes gossip it
    /// takes several hops, and the default is that of one [default: those of the node's peers, or else measured through
    /// a queue of its own]
    #[arg(long, value_name = "MS,MS,...", value_delimiter = ',', value_parser = delay)]
    pub delay: Vec<f64>,
    /// Simulate 100,000 blocks, too
    #[arg(long)]
    pub simulate: bool,
    /// Another simulation, also of what is simulated because a block takes more than a fifth of an interval to another
    /// node
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the difficulty into a network file, which then describes another network
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What is measured
    #[command(flatten)]
    pub mining: MiningArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 1e-3, 1e7)
}

fn stale(text: &str) -> Result<f64, String> {
    within(text, 1e-3, 90.0)
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 1e-6, 1e6)
}

fn delay(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1e7)
}

fn within(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("not a number from {min} to {max}")),
    }
}
