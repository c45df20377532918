//! What the newest blocks of the best chain tell of how they were mined.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use quarry_core::network::Network;
use quarry_core::store::Store as _;
use quarry_core::units::{AccountId, Hash, Height};
use serde::{Deserialize, Serialize};

use crate::query;
use crate::store::Snapshot;

/// The most blocks that are looked at.
pub const BLOCKS_MAX: u32 = 100_000;

/// How the newest blocks of the best chain were mined. The first block and the one after it are left out: nobody mined
/// the former, so nobody knows how long the latter took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenAnswer {
    /// The height of the tip.
    pub height: Height,
    /// How many blocks the store has beside the best chain.
    pub side_blocks: u64,
    /// How many blocks the rest is about.
    pub blocks: u64,
    /// The mean number of hashes that their targets take.
    pub hashes: f64,
    /// The sum over the blocks of the time since the block before, divided by the hashes that its target takes.
    pub seconds_per_hash: f64,
    /// The mean time from block to block, by their timestamps.
    pub mean_s: f64,
    /// Half of these times are below it.
    pub median_s: f64,
    /// 90 % of them are.
    pub p90_s: f64,
    /// 99 % of them are.
    pub p99_s: f64,
    /// How many of the blocks name each miner; nobody where a block names none.
    pub miners: BTreeMap<String, u64>,
}

/// Looks at the newest blocks, up to `count`.
pub(super) fn answer(store: &Snapshot, network: &Network, count: u32) -> Result<SeenAnswer> {
    let height = query::height(store)?;
    let side_blocks = store.records_len()?.saturating_sub(height.0 + 1);
    let mut seen = SeenAnswer { height, side_blocks, ..SeenAnswer::default() };
    let oldest = height.0.saturating_sub(u64::from(count.min(BLOCKS_MAX))).max(1);
    let mut intervals_s = Vec::new();
    let mut parent_us = None;
    for entry in store.path_range(Height(oldest)..=height)? {
        let header = header(store, &entry?.1)?;
        let time_us = header.timestamp.micros();
        if let Some(parent_us) = parent_us.replace(time_us) {
            // Timestamps grow from block to block.
            let interval_s = time_us.saturating_sub(parent_us) as f64 / 1e6;
            let hashes = header.bits.target()?.work().as_f64();
            intervals_s.push(interval_s);
            seen.hashes += hashes;
            seen.seconds_per_hash += interval_s / hashes;
            let miner = match header.miner == AccountId::default() {
                true => String::new(),
                false => network.account_text(&header.miner),
            };
            *seen.miners.entry(miner).or_default() += 1;
        }
    }
    intervals_s.sort_by(f64::total_cmp);
    let at = |percent: usize| intervals_s.get(intervals_s.len() * percent / 100).copied().unwrap_or_default();
    (seen.median_s, seen.p90_s, seen.p99_s) = (at(50), at(90), at(99));
    if !intervals_s.is_empty() {
        let count = intervals_s.len() as f64;
        seen.blocks = u64::try_from(intervals_s.len())?;
        seen.hashes /= count;
        seen.mean_s = intervals_s.iter().sum::<f64>() / count;
    }
    Ok(seen)
}

fn header(store: &Snapshot, hash: &Hash) -> Result<quarry_core::header::Header> {
    let record = store.record(hash)?.with_context(|| format!("block {hash} has no record"))?;
    Ok(record.header)
}
