//! Nodes that mine, block by block: what the formulas leave out, forks of forks above all.
//!
//! Each node searches on top of the best block that it knows: the highest, and of equally high ones that with the lower
//! hash, as the chain's rule has it. A block reaches every other node after a delay of that node's own draw.
//! Invariant: the same seed gives the same figures.

use std::cmp::Reverse;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use super::estimate::Estimate;
use super::model::{Conditions, mean};

/// How many runs there are, each a sample of its own.
const RUNS: u64 = 40;
/// How many blocks are found in each.
const BLOCKS: usize = 2_500;

/// What came of the blocks of all runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulated {
    /// How many blocks were found.
    pub blocks: u64,
    /// The share of them that is not in the chain in the end.
    pub stale: Estimate,
    /// The mean time between blocks of the chain, in seconds.
    pub mean_s: Estimate,
    /// Half of the blocks of the chain came within it.
    pub median_s: f64,
    /// 90 % of them came within it.
    pub p90_s: f64,
    /// 99 % of them came within it.
    pub p99_s: f64,
}

/// A block, of which times are in mean intervals between any two blocks.
#[derive(Debug, Clone, Copy)]
struct Block {
    parent: usize,
    height: usize,
    hash: u64,
    finder: usize,
    found: f64,
}

/// A network as a run leaves it.
struct Run<'a> {
    shares: &'a [f64],
    /// The delays in mean intervals.
    delays: &'a [f64],
    delay_max: f64,
    rng: StdRng,
    /// What delays are drawn by.
    salt: u64,
    blocks: Vec<Block>,
    /// All blocks before this one have reached everybody.
    spreading: usize,
    /// The best of those.
    common: usize,
}

/// Lets the nodes mine with so many hashes a block.
pub fn simulate(conditions: &Conditions, hashes: f64, seed: u64) -> Simulated {
    let chains = chains(conditions, hashes, seed);
    let stale: Vec<f64> = chains.iter().map(|chain| 1.0 - chain.len() as f64 / BLOCKS as f64).collect();
    let stale = Estimate::of_mean(&stale);
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let mut intervals_s = chains.concat();
    intervals_s.sort_by(f64::total_cmp);
    // Some hundreds of blocks at least: there is one at each of these places.
    let at = |percent: usize| intervals_s[intervals_s.len() * percent / 100];
    Simulated {
        blocks: RUNS * BLOCKS as u64,
        stale: Estimate { low: stale.low.max(0.0), ..stale },
        mean_s: Estimate::of_mean(&means),
        median_s: at(50),
        p90_s: at(90),
        p99_s: at(99),
    }
}

/// The times between blocks of each run's best chain in seconds, the newest first.
pub(super) fn chains(conditions: &Conditions, hashes: f64, seed: u64) -> Vec<Vec<f64>> {
    // Runs know no seconds: whatever the units are, a time keeps all of its bits.
    let interval_s = conditions.interval_of_all_s(hashes);
    let delays: Vec<f64> = conditions.delays_s.iter().map(|delay_s| delay_s / interval_s).collect();
    let run = |number| {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(RUNS).wrapping_add(number));
        let intervals = Run::new(&conditions.shares, &delays, rng).mine().intervals();
        intervals.into_iter().map(|interval| interval * interval_s).collect()
    };
    (0..RUNS).map(run).collect()
}

impl<'a> Run<'a> {
    fn new(shares: &'a [f64], delays: &'a [f64], mut rng: StdRng) -> Self {
        let first = Block { parent: 0, height: 0, hash: 0, finder: 0, found: 0.0 };
        let delay_max = delays.iter().fold(0.0, |most: f64, delay| most.max(*delay));
        let salt = rng.random();
        Self { shares, delays, delay_max, rng, salt, blocks: vec![first], spreading: 1, common: 0 }
    }

    /// Finds the blocks of a run.
    fn mine(mut self) -> Self {
        let mut now = 0.0;
        while self.blocks.len() <= BLOCKS {
            now -= (1.0 - self.rng.random::<f64>()).ln();
            while self.blocks.get(self.spreading).is_some_and(|it| it.found + self.delay_max <= now) {
                self.common = self.better(self.common, self.spreading);
                self.spreading += 1;
            }
            let finder = self.draw_finder();
            let parent = self.tip(finder, now);
            let height = self.blocks[parent].height + 1;
            self.blocks.push(Block { parent, height, hash: self.rng.random(), finder, found: now });
        }
        self
    }

    /// The best block that a node knows. Only whoever finds a block needs one, so that a run of many nodes takes no
    /// longer than one of few.
    fn tip(&self, node: usize, now: f64) -> usize {
        let is_known = |block: &usize| {
            let Block { finder, found, .. } = self.blocks[*block];
            finder == node || found + self.delay(*block, node) <= now
        };
        let spreading = (self.spreading..self.blocks.len()).filter(is_known);
        spreading.fold(self.common, |best, block| self.better(best, block))
    }

    /// How long a block takes to a node, the same however often it is asked for.
    fn delay(&self, block: usize, node: usize) -> f64 {
        if let [delay] = self.delays {
            return *delay;
        }
        // The finalizer of SplitMix64: a generator for each pair would take ten times as long. The casts lose nothing.
        let mut mixed = self.salt ^ ((block as u64) << 32 | node as u64);
        for multiplier in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb_u64] {
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(multiplier);
        }
        let draw = (mixed ^ (mixed >> 31)) % self.delays.len() as u64;
        self.delays[draw as usize]
    }

    /// The better of two blocks: the higher one or that with the lower hash.
    fn better(&self, one: usize, other: usize) -> usize {
        let rank = |block: usize| (self.blocks[block].height, Reverse(self.blocks[block].hash));
        if rank(one) < rank(other) { other } else { one }
    }

    fn draw_finder(&mut self) -> usize {
        let mut point: f64 = self.rng.random();
        let last = self.shares.len() - 1;
        for (node, share) in self.shares.iter().enumerate() {
            point -= share;
            if point < 0.0 {
                return node;
            }
        }
        last
    }

    /// The times between the blocks of the best chain, the newest first.
    fn intervals(&self) -> Vec<f64> {
        let mut block = (0..self.blocks.len()).fold(0, |best, it| self.better(best, it));
        let mut intervals = Vec::new();
        while block != 0 {
            let Block { parent, found, .. } = self.blocks[block];
            intervals.push(found - self.blocks[parent].found);
            block = parent;
        }
        intervals
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::equal_shares;
    use super::*;

    /// As of the record that the formula comes from: at most 0.7 points off where a delay is up to a fifth of an interval.
    #[test]
    fn formula_and_simulation_agree() {
        for shares in [equal_shares(4), equal_shares(8), vec![0.97, 0.01, 0.01, 0.01], vec![0.5, 0.3, 0.2]] {
            for part in [0.02, 0.1, 0.2] {
                let conditions =
                    Conditions { hash_rate: 1e6, shares: shares.clone(), delays_s: vec![part * 10.0] };
                let (expected, seen) = (conditions.outcome(1e7), simulate(&conditions, 1e7, 1));
                let off = (expected.stale - seen.stale.value).abs();
                assert!(
                    off < 0.007 + seen.stale.high - seen.stale.value,
                    "{shares:?} {part}: {expected:?} {seen:?}"
                );
                for (expected, seen) in [
                    (expected.mean_s, seen.mean_s.value),
                    (expected.median_s, seen.median_s),
                    (expected.p90_s, seen.p90_s),
                    (expected.p99_s, seen.p99_s),
                ] {
                    assert!((expected / seen - 1.0).abs() < 0.05, "{shares:?} {part}: {expected} {seen}");
                }
            }
        }
    }

    /// Runs of more than 584 years once wrapped, as 64 bits count no more nanoseconds, and the figures made no sense.
    #[test]
    fn the_unit_of_time_makes_no_difference() {
        let at = |factor: f64| {
            let conditions = Conditions {
                hash_rate: 1e6,
                shares: equal_shares(4),
                delays_s: vec![0.1 * factor, 0.3 * factor],
            };
            simulate(&conditions, 1e6 * factor, 1)
        };
        let seconds = at(1.0);
        for factor in [1e-9, 1e7, 1e12] {
            let other = at(factor);
            assert!((other.stale.value - seconds.stale.value).abs() < 1e-9, "{factor}: {other:?}");
            assert!(
                (other.mean_s.value / factor / seconds.mean_s.value - 1.0).abs() < 1e-9,
                "{factor}: {other:?}"
            );
            assert!((other.p99_s / factor / seconds.p99_s - 1.0).abs() < 1e-9, "{factor}: {other:?}");
        }
    }

    /// Each node mines alone for most of a run, so the chain is that of the largest node.
    #[test]
    fn with_endless_delays_the_largest_node_wins() {
        let conditions = Conditions { hash_rate: 1e6, shares: vec![0.5, 0.3, 0.2], delays_s: vec![1e9] };
        let seen = simulate(&conditions, 1e6, 1);
        assert!((seen.stale.value - 0.5).abs() < 0.01, "{seen:?}");
        assert!((seen.mean_s.value - 2.0).abs() < 0.05, "{seen:?}");
    }

    #[test]
    fn without_delay_nothing_is_stale_and_intervals_are_exponential() {
        let conditions = Conditions { hash_rate: 1e6, shares: equal_shares(4), delays_s: vec![0.0] };
        let (expected, seen) = (conditions.outcome(1e7), simulate(&conditions, 1e7, 2));
        assert_eq!(seen.stale, Estimate::exact(0.0));
        assert_eq!(seen, simulate(&conditions, 1e7, 2), "repeatable");
        assert!(seen.mean_s.low < 10.0 && 10.0 < seen.mean_s.high, "{seen:?}");
        for (expected, seen) in
            [(expected.median_s, seen.median_s), (expected.p90_s, seen.p90_s), (expected.p99_s, seen.p99_s)]
        {
            assert!((seen / expected - 1.0).abs() < 0.05, "{expected} {seen}");
        }
    }
}
