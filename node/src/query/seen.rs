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
/// How many of the newest are looked into for transactions: headers do not tell whether there are any.
const LOOKED_INTO_MAX: usize = 100;

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
    /// How many blocks of equal difficulty would tell as much: see [`effective_blocks`].
    pub effective_blocks: f64,
    /// Whether a block without transactions is among the newest of them: if not, the nodes may wait for transactions.
    pub mines_empty: bool,
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
    let (mut intervals_s, mut works, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    let mut parent_us = None;
    for entry in store.path_range(Height(oldest)..=height)? {
        let hash = entry?.1;
        let header = header(store, &hash)?;
        let time_us = header.timestamp.micros();
        if let Some(parent_us) = parent_us.replace(time_us) {
            // Timestamps grow from block to block.
            intervals_s.push(time_us.saturating_sub(parent_us) as f64 / 1e6);
            works.push(header.bits.target()?.work().as_f64());
            hashes.push(hash);
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
        seen.hashes = works.iter().sum::<f64>() / count;
        seen.effective_blocks = effective_blocks(works.iter().copied());
        seen.mean_s = intervals_s.iter().sum::<f64>() / count;
    }
    for hash in hashes.iter().rev().take(LOOKED_INTO_MAX) {
        let block = store.block(hash)?.with_context(|| format!("block {hash} is missing"))?;
        seen.mines_empty |= block.transactions.is_empty();
    }
    Ok(seen)
}

/// How many blocks of equal difficulty tell as much of the hash rate as blocks that take so many hashes each do together:
/// (sum of h)^2 / sum of h^2, 0 for no blocks.
///
/// The hash rate of blocks is the sum of their hashes over the sum of their times. Each time is exponential with a mean
/// of h / rate, so that the sum of them has a relative variance of sum of h^2 / (sum of h)^2, and one divided by that is
/// how many equal exponential times have as much.
pub fn effective_blocks(works: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = works.fold((0.0, 0.0), |(sum, squares), work| (sum + work, squares + work * work));
    if 0.0 < squares { sum * sum / squares } else { 0.0 }
}

fn header(store: &Snapshot, hash: &Hash) -> Result<quarry_core::header::Header> {
    let record = store.record(hash)?.with_context(|| format!("block {hash} has no record"))?;
    Ok(record.header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_by_their_share_of_the_hashes() {
        let check = |works: &[f64], expected: f64| {
            let count = effective_blocks(works.iter().copied());
            assert!((count - expected).abs() < 1e-3, "{works:?}: {count}");
        };
        check(&[], 0.0);
        check(&[5e7], 1.0);
        check(&[5e7; 60], 60.0);
        check(&[1.0, 3.0], 1.6);
        // A hundred blocks of next to no work tell nothing beside sixty real ones.
        check(&[[4096.0; 100].as_slice(), &[5e8; 60]].concat(), 60.002);
    }
}
