//! Where hash rate, shares and delay come from: the command line, this machine, or a node.

use anyhow::{Result, anyhow, ensure};

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
use crate::tune::model::{Conditions, equal_shares};

/// How many nodes there are where nothing says it, as in a devnet.
const NODES: usize = 4;

/// What is known of a network.
pub(super) struct Inputs {
    pub(super) conditions: Conditions,
    pub(super) hash_rate: Estimate,
    pub(super) hash_rate_from: String,
    pub(super) delays_from: String,
    pub(super) seen: Option<SeenAnswer>,
}

/// What a node knows.
struct Source {
    seen: SeenAnswer,
    status: Option<NodeStatus>,
}

impl Inputs {
    pub(super) fn gather(common: &CommonArgs, args: &TuneArgs) -> Result<Self> {
        let source = Source::ask(common, args)?;
        let (delays_s, delays_from) = delays(common, args, source.as_ref())?;
        let shares = shares(args, source.as_ref())?;
        let mut conditions = Conditions { hash_rate: 1.0, shares, delays_s };
        let (hash_rate, hash_rate_from) = match (&source, args.hash_rate) {
            (_, Some(rate)) => (Estimate::exact(rate.0), "as given".to_owned()),
            (Some(source), None) => source.hash_rate(conditions.lost_s())?,
            (None, None) => measured(args)?,
        };
        conditions.hash_rate = hash_rate.value;
        let seen = source.map(|source| source.seen);
        Ok(Self { conditions, hash_rate, hash_rate_from, delays_from, seen })
    }
}

impl Source {
    fn ask(common: &CommonArgs, args: &TuneArgs) -> Result<Option<Self>> {
        let Some(id) = args.node else { return Ok(None) };
        let which = NodeArgs { id: Some(id), json: false };
        let answer = inspect::ask(common, &which, Query::Seen { blocks: args.blocks })?;
        let seen: SeenAnswer = serde_json::from_str(answer.get())?;
        let found = seen.blocks;
        if found < BLOCKS_MIN || seen.seconds_per_hash <= 0.0 {
            let error =
                anyhow!("the chain of node {id} has {found} blocks to look at: too few to tell anything");
            return Err(Exit::Usage.hinted(error, "let it mine for a while, or give --hash-rate"));
        }
        let status = control::status(&Directory::new(common, ".").socket(id))?;
        Ok(Some(Self { seen, status }))
    }

    /// The hash rate that the blocks tell of. They are those of the chain, so the time is added in which the network
    /// searched for what became stale.
    fn hash_rate(&self, lost_s: f64) -> Result<(Estimate, String)> {
        let SeenAnswer { blocks, hashes, seconds_per_hash, .. } = self.seen;
        let of_chain = estimate::rate(blocks, seconds_per_hash);
        let of_all = |rate: f64| hashes / (hashes / rate - lost_s);
        let bounds = [of_chain.low, of_chain.value, of_chain.high].map(of_all);
        if bounds.iter().any(|rate| *rate <= 0.0 || !rate.is_finite()) {
            let error = anyhow!("blocks come faster than a delay of {lost_s:.3} s allows");
            return Err(Exit::Usage.hinted(error, "give a shorter --delay, or --hash-rate"));
        }
        let [low, value, high] = bounds;
        Ok((Estimate { value, low, high }, format!("as the last {blocks} blocks tell")))
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
        if named == self.seen.blocks {
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
