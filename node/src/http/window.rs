//! The part of the chain that pages show: the newest blocks, and those beside the best chain.
//! Invariant: how long the chain is makes no difference to what this reads.

use std::collections::BTreeMap;

use quarry_core::header::Header;
use quarry_core::network::Network;
use quarry_core::store::{Store as _, StoreError};
use quarry_core::units::{Amount, Hash, Height};

use crate::feed::View;
use crate::query::effective_blocks;
use crate::store::Snapshot;

/// The newest blocks whose headers are looked at.
pub(super) const HEADERS_MAX: u64 = 512;
/// The newest blocks that are listed.
const LISTED_MAX: usize = 15;
/// The most accounts that are listed.
const ACCOUNTS_MAX: usize = 32;

/// A look at the chain.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The newest blocks of the best chain, oldest first.
    pub(super) headers: Vec<(Hash, Header)>,
    /// Blocks that this node has seen and that are not on the best chain, by height.
    pub(super) beside: Vec<(Hash, Header)>,
    /// How many transactions the newest blocks hold, newest first.
    pub(super) transactions: Vec<usize>,
    /// Who has what: the accounts of the network file first.
    pub(super) balances: Vec<(String, Amount)>,
    /// From a received block's timestamp to its arrival, in microseconds, ascending.
    pub(super) delays_us: Vec<u64>,
}

impl Window {
    /// Looks at a snapshot.
    pub(super) fn look(store: &Snapshot, network: &Network, view: &View) -> Result<Self, StoreError> {
        let Some(tip) = store.tip()? else { return Ok(Self::default()) };
        let height = store.record(&tip)?.map_or(Height(0), |record| record.header.index);
        let lowest = Height(height.0.saturating_sub(HEADERS_MAX - 1));
        let mut window = Self::default();
        for entry in store.path_range(lowest..=height)? {
            let (_, hash) = entry?;
            if let Some(record) = store.record(&hash)? {
                window.headers.push((hash, record.header));
            }
        }
        let mut beside = BTreeMap::new();
        for arrival in &view.received {
            let Some(record) = store.record(&arrival.hash)? else { continue };
            let made_us = record.header.timestamp.micros();
            window.delays_us.push(arrival.time.micros().saturating_sub(made_us));
        }
        for arrival in &view.arrivals {
            let Some(record) = store.record(&arrival.hash)? else { continue };
            if lowest <= arrival.height && store.path(arrival.height)? != Some(arrival.hash) {
                beside.insert((arrival.height, arrival.hash), record.header);
            }
        }
        window.delays_us.sort_unstable();
        window.beside = beside.into_iter().map(|((_, hash), header)| (hash, header)).collect();
        for (hash, _) in window.headers.iter().rev().take(LISTED_MAX) {
            window.transactions.push(store.block(hash)?.map_or(0, |block| block.transactions.len()));
        }
        for account in network.accounts.iter().take(ACCOUNTS_MAX) {
            let balance = store.balance(&account.id)?.unwrap_or_default();
            window.balances.push((account.name.clone(), balance));
        }
        Ok(window)
    }

    /// The times between blocks in seconds, oldest first; the first block's time is only agreed upon, not measured.
    pub(super) fn intervals_s(&self) -> Vec<f64> {
        let mined: Vec<_> = self.headers.iter().filter(|(_, header)| Height(0) < header.index).collect();
        let micros = |pair: &[&(Hash, Header)]| {
            pair[1].1.timestamp.micros().saturating_sub(pair[0].1.timestamp.micros())
        };
        mined.windows(2).map(|pair| std::time::Duration::from_micros(micros(pair)).as_secs_f64()).collect()
    }

    /// The mean time between blocks in seconds, where there are two.
    pub(super) fn mean_s(&self) -> Option<f64> {
        let intervals = self.intervals_s();
        (!intervals.is_empty()).then(|| intervals.iter().sum::<f64>() / intervals.len() as f64)
    }

    /// The hash rate that the newest blocks prove, and its 95 % margin as a share of it.
    pub(super) fn network_hash_rate(&self) -> Option<(f64, f64)> {
        let intervals = self.intervals_s();
        let time: f64 = intervals.iter().sum();
        let works = self.headers.iter().rev().take(intervals.len());
        let works: Vec<f64> =
            works.filter_map(|(_, it)| it.bits.target().ok()).map(|it| it.work().as_f64()).collect();
        let margin = 1.96 / effective_blocks(works.iter().copied()).sqrt();
        (0.0 < time).then(|| (works.iter().sum::<f64>() / time, margin))
    }

    /// The share of the blocks seen lately that are beside the best chain.
    pub(super) fn stale_rate(&self, view: &View) -> Option<f64> {
        let seen = view.arrivals.len();
        (0 < seen).then(|| self.beside.len() as f64 / seen as f64)
    }
}

#[cfg(test)]
mod tests {
    use quarry_core::target::Bits;
    use quarry_core::units::Timestamp;

    use super::*;

    #[test]
    fn the_margin_counts_blocks_by_their_hashes() {
        let text = "name = \"a\"\ngenesis_time = \"2026-01-01 00:00:00\"\ndifficulty = 3\naccounts = []\n";
        let mut header = crate::config::parse_network(text).unwrap().genesis;
        let mut window = Window::default();
        // The first block and the one after it count for nothing; then come 100 of 4096 hashes and 60 of 2^24.
        for zeros in [3; 102].into_iter().chain([6; 60]) {
            window.headers.push((Hash::default(), header));
            header.index.0 += 1;
            header.bits = Bits::from_zeros(zeros).unwrap();
            header.timestamp = Timestamp::from_micros(header.timestamp.micros() + 1_000_000).unwrap();
        }
        window.headers.push((Hash::default(), header));
        let (rate, margin) = window.network_hash_rate().unwrap();
        let hashes = 101.0 * 4096.0 + 60.0 * 16_777_216.0;
        assert!((rate / (hashes / 161.0) - 1.0).abs() < 1e-9, "{rate}");
        assert!((margin - 1.96 / 60_f64.sqrt()).abs() < 1e-3, "{margin}");
    }
}
