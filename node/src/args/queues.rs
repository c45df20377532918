//! What is to be done to the queues of a network.

use clap::{Args, Subcommand};
use quarry_core::units::NodeId;

/// What to do to queues.
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// Create the queues of some nodes, and correct the settings of those that exist; nodes do so by themselves
    Create(QueuesArgs),
    /// Show queues: what waits in them and who reads them [default: all of the network]
    List(ListArgs),
    /// Delete what waits in queues; SQS allows it once a minute
    Purge(DestroyArgs),
    /// Delete queues with all that waits in them; SQS blocks their names for a minute
    Delete(DestroyArgs),
}

/// Which queues.
#[derive(Debug, Clone, Args)]
pub struct QueuesArgs {
    /// Those of nodes 0 to N-1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub nodes: Option<u16>,
    /// That of this node; may be given several times
    #[arg(long, value_name = "ID", conflicts_with = "nodes")]
    pub node: Vec<NodeId>,
}

/// Which queues to show.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which queues
    #[command(flatten)]
    pub queues: QueuesArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which queues to purge or to delete.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Which queues
    #[command(flatten)]
    pub queues: QueuesArgs,
    /// All queues of the network
    #[arg(long, conflicts_with_all = ["nodes", "node"])]
    pub all: bool,
    /// Do it even if a running node reads from one of them
    #[arg(long)]
    pub yes: bool,
}
