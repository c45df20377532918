//! What a node says of itself when it is asked where it stands.
//! Invariant: a program of another version can read it, so what is new has a default.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use miner::rate::Rates;
use quarry_core::units::{Hash, Height, NetworkId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::transport::Usage;

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its number.
    pub id: NodeId,
    /// Its process.
    pub pid: u32,
    /// Its network.
    pub network: NetworkId,
    /// For how many seconds it has run.
    pub uptime_s: f64,
    /// Its clock.
    pub time: Timestamp,
    /// The height of its tip.
    pub height: Height,
    /// Its tip.
    pub tip: Hash,
    /// How many hashes the next block takes on average, if it comes now.
    #[serde(default)]
    pub difficulty: f64,
    /// How many transactions wait.
    pub mempool: usize,
    /// Whether it mines, and has something to mine.
    pub searching: bool,
    /// What mines, if anything does.
    pub backend: Option<String>,
    /// How fast it mines.
    pub hash_rate: HashRates,
    /// Whether it is cut off from all others because it was asked to be.
    #[serde(default)]
    pub cut_off: bool,
    /// Where its web pages are, if anywhere.
    #[serde(default)]
    pub pages: Option<SocketAddr>,
    /// The peer whose chain it fetches, if any.
    pub syncing: Option<NodeId>,
    /// The other nodes.
    pub peers: Vec<PeerStatus>,
    /// How often things have happened since its start, by name.
    pub counters: BTreeMap<String, u64>,
    /// What its transport has used since then.
    pub usage: UsageStatus,
}

/// Hashes a second over stretches of searching: idle times do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashRates {
    /// Over the last 10 seconds.
    pub over_10_s: f64,
    /// Over the last minute.
    pub over_60_s: f64,
    /// Over the last 15 minutes.
    pub over_15_min: f64,
    /// The most over any 10 seconds.
    pub max: f64,
}

impl From<Rates> for HashRates {
    fn from(rates: Rates) -> Self {
        Self { over_10_s: rates.short, over_60_s: rates.medium, over_15_min: rates.long, max: rates.max }
    }
}

/// What a transport has used; all is empty where that costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageStatus {
    /// Billed requests by the name of the operation.
    pub requests: BTreeMap<String, u64>,
    /// How many these are.
    pub requests_total: u64,
    /// What they cost by list price, in US dollars.
    pub cost_usd: f64,
    /// How often other things have happened.
    pub events: BTreeMap<String, u64>,
}

impl From<Usage> for UsageStatus {
    fn from(usage: Usage) -> Self {
        let named = |counts: BTreeMap<&str, u64>| {
            counts.into_iter().map(|(name, it)| (name.to_owned(), it)).collect()
        };
        let requests_total = usage.requests.values().sum();
        Self {
            requests: named(usage.requests),
            requests_total,
            cost_usd: usage.cost_usd,
            events: named(usage.events),
        }
    }
}

/// Another node, as a node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its number.
    pub id: NodeId,
    /// The height of its tip, by its last status.
    pub height: Option<Height>,
    /// Its tip, by its last status.
    pub tip: Option<Hash>,
    /// How many seconds ago it was last heard of.
    pub heard_s: Option<f64>,
    /// What is thought of it.
    pub state: PeerState,
    /// How many milliseconds a message takes to it: half of the smoothed round trip.
    pub delay_ms: Option<f64>,
}

/// What a node thinks of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerState {
    /// It has been heard of lately, or is new.
    Alive,
    /// It has been silent for a while and is asked for a reply.
    Suspect,
    /// It has been silent for long: it is sent nothing but a question now and then.
    Parked,
    /// It has said that it stops.
    Stopped,
}

impl PeerState {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Parked => "parked",
            Self::Stopped => "stopped",
        }
    }
}
