//! What the nodes of a network exchange messages through.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// How messages travel.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Messages")]
pub struct MediumArgs {
    /// How messages travel: local (between the processes of this machine that share a directory), or sqs (Amazon SQS,
    /// with region, credentials and endpoint from the standard AWS environment)
    /// [default: as devnet noted in DIR/transport.toml, or else local]
    #[arg(long, global = true, env = "QUARRY_TRANSPORT", hide_env_values = true, value_enum)]
    #[arg(hide_possible_values = true, value_name = "TRANSPORT")]
    pub transport: Option<TransportChoice>,
    /// Begins the names of the queues: node 0's is <TEXT>0.fifo; may be empty [default: the network's name and a dash]
    #[arg(long, global = true, env = "QUARRY_QUEUE_PREFIX", hide_env_values = true, value_name = "TEXT")]
    pub queue_prefix: Option<String>,
    /// Have queues in high-throughput mode: beyond 300 calls a second each, but a block that several nodes relay then
    /// arrives from each of them, which costs requests; all programs of a network must say the same
    #[arg(long, global = true)]
    pub high_throughput_queues: bool,
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportChoice {
    /// Through files, between processes of one machine.
    Local,
    /// Through Amazon SQS.
    Sqs,
}

impl TransportChoice {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Sqs => "sqs",
        }
    }
}
