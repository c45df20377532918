//! The command line. Invariant: what clap hands on has been parsed into the types that the program works with.

mod examples;
mod medium;
mod name;
mod queues;
mod tune;
mod values;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use quarry_core::units::{Amount, NodeId, TxId};

use examples::{
    COMPLETIONS_EXAMPLES, DEVNET_EXAMPLES, EXAMPLES, GENERATE_EXAMPLES, INIT_EXAMPLES, MAN_EXAMPLES,
    PEERS_EXAMPLES, QUEUES_EXAMPLES, SEND_EXAMPLES, TUNE_EXAMPLES, TX_EXAMPLES,
};
pub use medium::{MediumArgs, TransportChoice};
pub use name::command;
pub use queues::{DestroyArgs, ListArgs, QueuesArgs, QueuesCommand};
pub use tune::TuneArgs;
pub use values::{
    BackendChoice, BlockRef, HashRate, HttpChoice, KernelChoice, LimitChoice, Midstates, PeerList, Rate,
};

/// A proof-of-work ledger whose nodes talk through message queues.
///
/// `node 0` runs node 0 of the network in this directory; start as many nodes as you like, each in its own terminal and
/// in any order. `node devnet` runs a whole network with a generator of transactions, to look at.
#[derive(Debug, Parser)]
#[command(name = "node", version, max_term_width = 110)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true)]
#[command(override_usage = "node [OPTIONS] <ID>\n       node [OPTIONS] <COMMAND>")]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    /// What to do, where it is not to run one node.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run one node.
    #[command(flatten)]
    pub run: RunArgs,
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

const BLOCK_EXAMPLES: &str = "\
Examples:
  node block 1                     block 1 of the best chain
  node block 1 --json              with all fields and signatures
  node block 1 --raw | sha256sum   the hash of block 1, by another program";

/// What all commands share.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Files and logs")]
pub struct CommonArgs {
    /// Where the network's files are: network.toml, quarry/ with stores and messages, and blockchain<ID>.txt and
    /// ledger<ID>.txt of each node [default: here; devnet: ./devnet]
    #[arg(long, global = true, env = "QUARRY_DIR", hide_env_values = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The network file [default: network.toml in DIR; without one, the built-in network `demo`]
    #[arg(long, global = true, env = "QUARRY_NETWORK", hide_env_values = true, value_name = "FILE")]
    pub network: Option<PathBuf>,
    /// How log lines look: human, or json for one object a line
    #[arg(long, global = true, env = "QUARRY_LOG_FORMAT", hide_env_values = true, value_enum)]
    #[arg(hide_possible_values = true, default_value_t = LogFormat::Human, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, global = true, env = "QUARRY_LOG", hide_env_values = true)]
    #[arg(default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How messages travel.
    #[command(flatten)]
    pub medium: MediumArgs,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

/// How to run one node.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The node's number
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    pub id: Option<NodeId>,
    /// What mines
    #[command(flatten)]
    pub mining: MiningArgs,
    /// The account named as miner of its blocks, which gets the reward, by name or id
    /// [default: the account node<ID>, if the network has one]
    #[arg(long, value_name = "ACCOUNT")]
    pub miner: Option<String>,
    /// Mine blocks without transactions, too
    #[arg(long)]
    pub mine_empty: bool,
    /// The other nodes: a list such as 0,1,2, or `none` to be cut off [default: all that have an inbox]
    #[arg(long, value_name = "IDS")]
    pub peers: Option<PeerList>,
    /// Where the web pages, the JSON API and the metrics are: an address such as 127.0.0.1:8080, off, or auto for port
    /// 8080 + ID of this machine alone, if that is free. Elsewhere than on this machine, changes need the token in
    /// QUARRY_HTTP_TOKEN
    #[cfg(feature = "http")]
    #[arg(long, env = "QUARRY_HTTP", hide_env_values = true, default_value = "auto", value_name = "ADDRESS")]
    pub http: HttpChoice,
    /// Take each message so many milliseconds after it has come, to study what a slow network does
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u32).range(..=60_000))]
    pub delay: u32,
    /// The names by which browsers may ask for the web pages, besides localhost and addresses
    #[cfg(feature = "http")]
    #[arg(
        long,
        env = "QUARRY_HTTP_NAMES",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub http_names: Vec<String>,
    /// Leave the network for good when told to stop: say goodbye, and remove the own inbox with all that waits in it
    #[arg(long)]
    pub leave: bool,
    /// Stop when standard input ends, so that the node ends with the program that started it
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// The word at the place of the node's number: whoever mistypes a command ends up here, too.
fn parse_id(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|_| "neither a node's number from 0 to 65535 nor a command".to_owned())
}

/// What mines.
#[derive(Debug, Clone, Args)]
pub struct MiningArgs {
    /// What searches for nonces: auto (the GPUs, or else the CPU), cpu, gpu, hybrid (both), or none to take part without
    /// mining
    #[arg(long, default_value = "auto", value_name = "BACKEND")]
    pub backend: BackendChoice,
    /// How many threads the CPU searches with [default: all; devnet: each node an equal share]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// The CPU's code: auto for the fastest by a short calibration, or a name that `node bench` lists
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub kernel: KernelChoice,
    /// How many midstates share each message schedule; 1 turns the sharing off [default: the fastest number]
    #[arg(long, value_name = "M")]
    pub midstates: Option<Midstates>,
    /// The GPUs to search with, by PCI bus or by part of their names, as `node devices` lists them [default: all that
    /// are cards of their own]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub device: Vec<String>,
    /// Take a program on the CPU for a GPU where there is no other, for tests
    #[arg(long)]
    pub allow_software_gpu: bool,
    /// The share of each thread's time that mining may use, in per cent; auto is the baseline of a burstable EC2
    /// instance (t2, t3, t3a, t4g), and 100 elsewhere
    #[arg(long, default_value = "100", value_name = "PERCENT")]
    pub cpu_limit: LimitChoice,
}

impl MiningArgs {
    /// The options that say the same, for another process of this program.
    pub fn options(&self) -> Vec<String> {
        // By name, so that no field can be forgotten.
        let Self { backend, threads, kernel, midstates, device, allow_software_gpu, cpu_limit } = self;
        let mut options = vec![format!("--backend={backend}")];
        options.extend(threads.map(|threads| format!("--threads={threads}")));
        options.extend(kernel.0.map(|kernel| format!("--kernel={kernel}")));
        options.extend(midstates.map(|midstates| format!("--midstates={}", midstates.0)));
        options.extend(device.iter().map(|device| format!("--device={device}")));
        options.extend(allow_software_gpu.then(|| "--allow-software-gpu".to_owned()));
        options.push(format!("--cpu-limit={cpu_limit}"));
        options
    }
}

/// What to do, where it is not to run one node.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole network on this machine: nodes as processes of their own, and a generator of transactions
    #[command(after_help = DEVNET_EXAMPLES)]
    Devnet(DevnetArgs),
    /// Send random transactions between the open accounts, each to all nodes but a random one
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(GenerateArgs),
    /// Send one transaction
    #[command(after_help = SEND_EXAMPLES)]
    Send(SendArgs),
    /// Make or look at a key
    #[command(subcommand)]
    Key(KeyCommand),
    /// Write a network file
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Show the newest blocks
    Chain(ChainArgs),
    /// Show a block
    #[command(after_help = BLOCK_EXAMPLES)]
    Block(BlockArgs),
    /// Tell where a transaction stands and why: pending, mined, refused, expired or unknown
    #[command(after_help = TX_EXAMPLES)]
    Tx(TxArgs),
    /// Show balances
    Balance(BalanceArgs),
    /// Show where a running node stands
    Status(NodeArgs),
    /// Show the other nodes as a running node sees them: state, tip, when last heard, delay
    #[command(after_help = PEERS_EXAMPLES)]
    Peers(NodeArgs),
    /// Create, list, purge or delete the SQS queues of a network
    #[command(subcommand, after_help = QUEUES_EXAMPLES)]
    Queues(QueuesCommand),
    /// Replay a stopped node's chain from its first block and check every rule
    Verify(NodeArgs),
    /// Measure the nonce search on this machine, its answers checked first
    Bench(BenchArgs),
    /// Choose a difficulty: what it brings in intervals and stale blocks, by formula and by simulation
    #[command(after_help = TUNE_EXAMPLES)]
    Tune(TuneArgs),
    /// List the GPUs of this machine, or say why none can be used
    Devices(DevicesArgs),
    /// Print what makes a shell complete this program's commands and options
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write manual pages of this program and its commands
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

/// A shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory to write them to, made where it is missing
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
}

/// GPUs.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What: auto (the CPU, and GPUs if there are any), cpu, or gpu
    #[arg(long, default_value = "auto", value_name = "BACKEND", value_parser = ["auto", "cpu", "gpu"])]
    pub backend: String,
    /// Only these GPUs, by PCI bus or by part of their names [default: all that are cards of their own]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub device: Vec<String>,
    /// Take a program on the CPU for a GPU where there is no other, for tests
    #[arg(long)]
    pub allow_software_gpu: bool,
    /// Only these kernels [default: all that this CPU has]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub kernel: Vec<KernelChoice>,
    /// With so many midstates sharing each message schedule
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64", value_name = "M,M,...")]
    pub midstates: Vec<Midstates>,
    /// Sweep over these numbers of threads [default: 1 and all]
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    pub threads: Vec<NonZeroUsize>,
    /// How many samples of each variant
    #[arg(long, default_value = "11", value_name = "N")]
    pub rounds: NonZeroU32,
    /// Print JSON, with every sample
    #[arg(long)]
    pub json: bool,
    /// Write the JSON to a file, too
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Compare with a saved report
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Fail if a variant reaches less than so many per cent of its saved rate
    #[arg(long, value_name = "PERCENT", requires = "compare")]
    pub fail_under: Option<f64>,
}

/// Which node is asked.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Which node's files to look at [default: the lowest number there is]
    #[arg(long = "node", value_name = "ID")]
    pub id: Option<NodeId>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A whole network on this machine.
#[derive(Debug, Args)]
pub struct DevnetArgs {
    /// How many nodes, from 1 to 64
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// Leading hex zeros of every block's hash, from 1 to 63 [default: as in an earlier run, or else 5; with
    /// --block-time what this machine is measured to need at first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=63))]
    pub difficulty: Option<u32>,
    /// Transactions a second: a number, 0 for none, or `max`
    #[arg(long, default_value_t = Rate(1.0), value_name = "TX/S")]
    pub rate: Rate,
    /// Stop after so many seconds [default: run until Ctrl-C]
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<NonZeroU32>,
    /// Delete what an earlier devnet left in the directory and, over SQS, its queues
    #[arg(long)]
    pub fresh: bool,
    /// Make the generator's choices repeatable
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Seconds between blocks: the difficulty follows the hash rate, and blocks without transactions are mined, too
    /// [default: as in an earlier run, or else a fixed difficulty]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub block_time: Option<u32>,
    /// Mine blocks without transactions, too
    #[arg(long)]
    pub mine_empty: bool,
    /// Let each message take so many milliseconds longer, to study what a slow network does
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u32).range(..=60_000))]
    pub delay: u32,
    /// Where the page with all nodes and their buttons is: an address of this machine, off for no pages at all, or auto
    /// for 127.0.0.1:8079, if that is free
    #[cfg(feature = "http")]
    #[arg(long, default_value = "auto", value_name = "ADDRESS")]
    pub http: HttpChoice,
    /// What mines
    #[command(flatten)]
    pub mining: MiningArgs,
}

/// Random transactions.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Transactions a second: a number, or `max` for as fast as possible
    #[arg(long, default_value_t = Rate(1.0), value_name = "TX/S")]
    pub rate: Rate,
    /// Stop after so many transactions [default: run until Ctrl-C]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Make the choices repeatable
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The nodes to send to, such as 0,1,2 [default: all that have an inbox]
    #[arg(long, value_name = "IDS")]
    pub peers: Option<PeerList>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// One transaction.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The open account to pay from, by name or id
    #[arg(long, value_name = "ACCOUNT", required_unless_present = "key", conflicts_with = "key")]
    pub from: Option<String>,
    /// The key file of the account to pay from
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The account to pay, by name or id
    #[arg(long, value_name = "ACCOUNT")]
    pub to: String,
    /// How much, such as 0.50
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    pub amount: Amount,
    /// Only to this node [default: to all; one that is down gets it when it starts]
    #[arg(long, value_name = "ID")]
    pub node: Option<NodeId>,
}

/// Keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and write it to a file that only you can read
    New {
        /// The file, which must not exist
        #[arg(default_value = "key.toml")]
        file: PathBuf,
    },
    /// Show a key file's public key and account id
    Show {
        /// The file
        #[arg(default_value = "key.toml")]
        file: PathBuf,
    },
}

/// A network file.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The file to write, which must not exist [default: network.toml in the directory]
    pub file: Option<PathBuf>,
    /// The network's name
    #[arg(long, default_value = "quarry")]
    pub name: String,
    /// Leading hex zeros of every block's hash [default: 5; with --block-time what this machine is measured to need at
    /// first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=63))]
    pub difficulty: Option<u32>,
    /// Seconds between blocks: the difficulty follows the hash rate, which suits nodes with --mine-empty
    /// [default: a fixed difficulty]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub block_time: Option<u32>,
    /// What a block pays to its miner
    #[arg(long, default_value = "0.00", value_name = "AMOUNT", allow_hyphen_values = true)]
    pub reward: Amount,
    /// Accounts node0, node1, ... that anybody may spend from, as in the original [default: accounts with new keys,
    /// written beside the network file]
    #[arg(long)]
    pub open: bool,
    /// How many accounts
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub accounts: u16,
    /// What each account holds in the first block
    #[arg(long, default_value = "10.00", value_name = "AMOUNT", allow_hyphen_values = true)]
    pub balance: Amount,
}

/// The newest blocks.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// Which node
    #[command(flatten)]
    pub node: NodeArgs,
    /// How many, up to 1000
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
}

/// A block.
#[derive(Debug, Args)]
pub struct BlockArgs {
    /// The block's height or hash
    pub block: BlockRef,
    /// Which node
    #[command(flatten)]
    pub node: NodeArgs,
    /// Print the header's 116 bytes, whose SHA-256 is the block's hash
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

/// A transaction.
#[derive(Debug, Args)]
pub struct TxArgs {
    /// The transaction's id, as `send` prints it
    #[arg(value_name = "ID")]
    pub transaction: TxId,
    /// Which node
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Balances.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// The account, by name or id [default: all]
    pub account: Option<String>,
    /// Which node
    #[command(flatten)]
    pub node: NodeArgs,
}

#[cfg(test)]
mod tests;
