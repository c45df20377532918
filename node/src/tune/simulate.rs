//! Nodes that mine, block by block: what the formulas leave out, forks of forks above all.
//!
//! Each node searches on top of the best block that it knows: the highest, and of equally high ones that with the lower
//! hash, as the chain's rule has it. A block reaches every other node after a delay of that node's own draw.
//! Invariant: the same seed gives the same figures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

#[derive(Debug, Clone, Copy)]
struct Block {
    parent: usize,
    height: usize,
    hash: u64,
    found_ns: u64,
}

/// A network as a run leaves it.
struct Run<'a> {
    conditions: &'a Conditions,
    rng: StdRng,
    blocks: Vec<Block>,
    /// Each node's tip.
    tips: Vec<usize>,
    /// Blocks on their way, the first to arrive first: when, to which node, which block.
    arrivals: BinaryHeap<Reverse<(u64, usize, usize)>>,
}

/// Lets the nodes mine with so many hashes a block.
pub fn simulate(conditions: &Conditions, hashes: f64, seed: u64) -> Simulated {
    let (mut stale, mut means, mut intervals) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..RUNS {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(RUNS).wrapping_add(number));
        let run = Run::new(conditions, rng).mine(conditions.interval_of_all_s(hashes));
        let chain = run.intervals_s();
        stale.push(1.0 - chain.len() as f64 / BLOCKS as f64);
        means.push(mean(&chain));
        intervals.extend(chain);
    }
    intervals.sort_by(f64::total_cmp);
    // Some thousands of blocks: there is one at each of these places.
    let at = |percent: usize| intervals[intervals.len() * percent / 100];
    Simulated {
        blocks: RUNS * BLOCKS as u64,
        stale: Estimate::of_mean(&stale),
        mean_s: Estimate::of_mean(&means),
        median_s: at(50),
        p90_s: at(90),
        p99_s: at(99),
    }
}

impl<'a> Run<'a> {
    fn new(conditions: &'a Conditions, rng: StdRng) -> Self {
        let first = Block { parent: 0, height: 0, hash: 0, found_ns: 0 };
        let tips = vec![0; conditions.shares.len()];
        Self { conditions, rng, blocks: vec![first], tips, arrivals: BinaryHeap::new() }
    }

    /// Finds the blocks of a run, one in so many seconds on average.
    fn mine(mut self, interval_s: f64) -> Self {
        let mut now_ns = 0;
        while self.blocks.len() <= BLOCKS {
            let wait_s = -(1.0 - self.rng.random::<f64>()).ln() * interval_s;
            now_ns += nanoseconds(wait_s);
            while let Some(Reverse((at_ns, node, block))) = self.arrivals.peek().copied() {
                if now_ns < at_ns {
                    break;
                }
                self.arrivals.pop();
                self.learn(node, block);
            }
            let finder = self.draw_finder();
            self.find(finder, now_ns);
        }
        self
    }

    fn find(&mut self, finder: usize, now_ns: u64) {
        let parent = self.tips[finder];
        let height = self.blocks[parent].height + 1;
        let block = self.blocks.len();
        self.blocks.push(Block { parent, height, hash: self.rng.random(), found_ns: now_ns });
        self.tips[finder] = block;
        for node in (0..self.tips.len()).filter(|node| *node != finder) {
            let delays_s = &self.conditions.delays_s;
            let delay_s = delays_s[self.rng.random_range(0..delays_s.len())];
            self.arrivals.push(Reverse((now_ns + nanoseconds(delay_s), node, block)));
        }
    }

    fn learn(&mut self, node: usize, block: usize) {
        if self.is_better(block, self.tips[node]) {
            self.tips[node] = block;
        }
    }

    fn is_better(&self, one: usize, other: usize) -> bool {
        let rank = |block: usize| (self.blocks[block].height, Reverse(self.blocks[block].hash));
        rank(other) < rank(one)
    }

    fn draw_finder(&mut self) -> usize {
        let mut point: f64 = self.rng.random();
        let last = self.conditions.shares.len() - 1;
        for (node, share) in self.conditions.shares.iter().enumerate() {
            point -= share;
            if point < 0.0 {
                return node;
            }
        }
        last
    }

    /// The times between the blocks of the best chain.
    fn intervals_s(&self) -> Vec<f64> {
        let mut block =
            (0..self.blocks.len()).fold(0, |best, it| if self.is_better(it, best) { it } else { best });
        let mut intervals_s = Vec::new();
        while block != 0 {
            let Block { parent, found_ns, .. } = self.blocks[block];
            intervals_s.push((found_ns - self.blocks[parent].found_ns) as f64 / 1e9);
            block = parent;
        }
        intervals_s
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    // The cast saturates; what is lost is less than a nanosecond.
    (seconds * 1e9) as u64
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
