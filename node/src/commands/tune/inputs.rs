//! Where hash rate, shares and delay come from: the command line, this machine, or a node.

use anyhow::{Result, anyhow, ensure};
use quarry_core::retarget;
use quarry_core::units::NodeId;

use crate::args::{CommonArgs, NodeArgs, TuneArgs};
use crate::commands::inspect;
use crate::commands::node::open_search;
use crate::config::{self, Directory};
use crate::connection::Connection;
use crate::control::{self, NodeStatus, PeerState};
use crate::exit::{Exit, OrExit as _};
use crate::query::{Query, SeenAnswer};
use crate::tune::estimate::{self, BLOCKS_MIN, Estimate};
use crate::tune::measure;
use crate::tune::model::{Conditions, Goal, equal_shares};
use crate::tune::solve;

/// How many nodes there are where nothing says it, as in a devnet.
const NODES: usize = 4;
/// How many blocks are looked at where nothing says it.
const BLOCKS: u32 = 1000;
/// How many those are that the present difficulty follows, where it does follow blocks.
const PACED_BLOCKS: u32 = retarget::WINDOW as u32;

/// What is known of a network.
pub(super) struct Inputs {
    pub(super) conditions: Conditions,
    pub(super) hash_rate: Estimate,
    pub(super) hash_rate_from: String,
    pub(super) delays_from: String,
    /// Blocks that were looked at, if there are enough of them.
    pub(super) seen: Option<SeenAnswer>,
    /// Why the hash rate may be wrong.
    pub(super) warnings: Vec<String>,
}

/// What a node knows.
struct Source {
    id: NodeId,
    seen: SeenAnswer,
    status: Option<NodeStatus>,
}

impl Inputs {
    pub(super) fn gather(common: &CommonArgs, args: &TuneArgs) -> Result<Self> {
        let source = Source::ask(common, args)?;
        if let (Some(source), None) = (&source, args.hash_rate) {
            source.ensure_enough()?;
        }
        let (delays_s, delays_from) = delays(common, args, source.as_ref())?;
        let shares = shares(args, source.as_ref())?;
        let mut conditions = Conditions { hash_rate: 1.0, shares, delays_s };
        let (hash_rate, hash_rate_from) = match (&source, args.hash_rate) {
            (_, Some(rate)) => (Estimate::exact(rate.0), "as given".to_owned()),
            (Some(source), None) => source.hash_rate(&conditions, args.seed)?,
            (None, None) => measured(args)?,
        };
        conditions.hash_rate = hash_rate.value;
        let warnings = match &source {
            Some(source) if args.hash_rate.is_none() => source.warnings(hash_rate),
            _ => Vec::new(),
        };
        let seen = source.filter(Source::has_enough).map(|source| source.seen);
        Ok(Self { conditions, hash_rate, hash_rate_from, delays_from, seen, warnings })
    }
}

impl Source {
    fn ask(common: &CommonArgs, args: &TuneArgs) -> Result<Option<Self>> {
        let Some(id) = args.node else { return Ok(None) };
        let which = NodeArgs { id: Some(id), json: false };
        let (network, directory, _) = inspect::locate(common, &which)?;
        let count = args.blocks.unwrap_or(if 0 < network.block_time_us { PACED_BLOCKS } else { BLOCKS });
        let answer = inspect::ask(common, &which, Query::Seen { blocks: count })?;
        let seen: SeenAnswer = serde_json::from_str(answer.get())?;
        let status = control::status(&directory.socket(id))?;
        Ok(Some(Self { id, seen, status }))
    }

    fn has_enough(&self) -> bool {
        BLOCKS_MIN <= self.seen.effective_blocks && 0.0 < self.seen.mean_s
    }

    /// An error unless the blocks tell of a hash rate.
    fn ensure_enough(&self) -> Result<()> {
        if self.has_enough() {
            return Ok(());
        }
        let (id, SeenAnswer { blocks, effective_blocks, .. }) = (self.id, &self.seen);
        let worth =
            if 0 < *blocks { format!(", worth {effective_blocks:.1} of equal work") } else { String::new() };
        let error =
            anyhow!("the chain of node {id} has {blocks} blocks to look at{worth}: too few to tell anything");
        Err(Exit::Usage.hinted(error, "let it mine for a while, or give --hash-rate"))
    }

    /// The hash rate that the blocks tell of. They are those of the chain, so the time is left out that delays add to
    /// its intervals.
    fn hash_rate(&self, conditions: &Conditions, seed: u64) -> Result<(Estimate, String)> {
        let SeenAnswer { blocks, effective_blocks, hashes, mean_s, .. } = self.seen;
        let all_s = solve::interval_of_all_for(conditions, Goal::Interval(mean_s), seed)
            .or_exit(Exit::Usage)
            .or_hint(|| "the blocks came faster: give a shorter --delay, or --hash-rate".into())?;
        let rate = estimate::rate(effective_blocks, effective_blocks * all_s / hashes);
        Ok((rate, format!("as the last {blocks} blocks tell")))
    }

    /// Why the hash rate that the blocks tell of may be too low.
    fn warnings(&self, hash_rate: Estimate) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.seen.mines_empty {
            let waits = "no empty block is among the newest: if nodes wait for transactions, the pauses count as slow";
            warnings.push(format!("{waits} mining (see --mine-empty)"));
        }
        let own = self.status.as_ref().map_or(0.0, |status| status.hash_rate.over_60_s);
        if hash_rate.high < own {
            let own = inspect::hash_rate(own);
            warnings.push(format!("node {} alone does {own} now, so that the blocks tell of less", self.id));
        }
        warnings
    }

    /// The delays to the peers that answer, in milliseconds.
    fn delays_ms(&self) -> Vec<f64> {
        let peers = self.status.iter().flat_map(|status| &status.peers);
        let alive = peers.filter(|peer| peer.state == PeerState::Alive);
        let mut delays_ms: Vec<f64> = alive.filter_map(|peer| peer.delay_ms).collect();
        delays_ms.sort_by(f64::total_cmp);
        delays_ms
    }

    /// The shares of the miners that the blocks name; where they name none, of as many equal nodes as there are.
    fn shares(&self) -> Result<Vec<f64>> {
        let named: u64 =
            self.seen.miners.iter().filter(|(name, _)| !name.is_empty()).map(|(_, count)| count).sum();
        if 0 < named && named == self.seen.blocks {
            return Ok(self.seen.miners.values().map(|count| *count as f64 / named as f64).collect());
        }
        let alive = |status: &NodeStatus| {
            status.peers.iter().filter(|peer| peer.state == PeerState::Alive).count() + 1
        };
        let nodes = self.status.as_ref().map(alive);
        nodes
            .map(equal_shares)
            .ok_or_else(|| anyhow!("the blocks do not name who mined them"))
            .or_exit(Exit::Usage)
            .or_hint(|| "say how many nodes mine with --nodes, or their --shares".into())
    }
}

fn shares(args: &TuneArgs, source: Option<&Source>) -> Result<Vec<f64>> {
    let sum: f64 = args.shares.iter().sum();
    match (args.nodes, source) {
        _ if !args.shares.is_empty() => Ok(args.shares.iter().map(|share| share / sum).collect()),
        (Some(nodes), _) => Ok(equal_shares(usize::from(nodes))),
        (None, Some(source)) => source.shares(),
        (None, None) => Ok(equal_shares(NODES)),
    }
}

/// How many seconds a block takes, and who says so.
fn delays(common: &CommonArgs, args: &TuneArgs, source: Option<&Source>) -> Result<(Vec<f64>, String)> {
    let seconds = |delays_ms: &[f64]| delays_ms.iter().map(|delay_ms| delay_ms / 1e3).collect();
    if !args.delay.is_empty() {
        return Ok((seconds(&args.delay), "as given".to_owned()));
    }
    if let Some(source) = source {
        let delays_ms = source.delays_ms();
        if !delays_ms.is_empty() {
            let from = format!("to {} peers, by half of the round trip", delays_ms.len());
            return Ok((seconds(&delays_ms), from));
        }
    }
    let directory = Directory::new(common, ".");
    let network = config::network(common, &directory)?;
    let connection = Connection::new(common, &directory, &network)?;
    let samples = measure::delay(&connection.medium).or_hint(|| "or give it with --delay".into())?;
    Ok((samples.sorted().to_vec(), "as measured through a queue of its own".to_owned()))
}

/// What this machine does, or several like it.
fn measured(args: &TuneArgs) -> Result<(Estimate, String)> {
    let search = open_search(&args.mining)?
        .ok_or_else(|| anyhow!("without a backend there is no hash rate to measure"))
        .or_exit(Exit::Usage)
        .or_hint(|| "give it with --hash-rate".into())?;
    let midstates = args.mining.midstates.map(|it| it.0.get());
    let [low, value, high] = measure::hash_rate(&*search, midstates)?.spread();
    ensure!(0.0 < low, "{} stood still while it was measured", search.name());
    let machines = args.machines.map_or(1, std::num::NonZeroU32::get);
    let rate = Estimate { value, low, high }.scaled(f64::from(machines));
    let count = if machines == 1 {
        "measured here".to_owned()
    } else {
        format!("{machines} times what was measured here")
    };
    Ok((rate, format!("{count} on {}: median, lowest and highest of some samples", search.name())))
}
