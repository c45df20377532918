//! The formulas: see the module above. They hold for delays up to [`FORMULA_DELAY_MAX`] of an interval.

use serde::Serialize;

/// Up to which share of the time between any two blocks a delay may be for the formulas: they leave out forks of forks,
/// which makes the share of stale blocks wrong by at most 0.7 points up to there, and by many beyond.
pub const FORMULA_DELAY_MAX: f64 = 0.2;

/// Half of all exponential times are below so many means.
const MEDIAN: f64 = std::f64::consts::LN_2;
/// 90 % of them are.
const P90: f64 = std::f64::consts::LN_10;
/// And 99 %.
const P99: f64 = 2.0 * std::f64::consts::LN_10;

/// A network of which a difficulty makes something.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Hashes a second of all nodes together.
    pub hash_rate: f64,
    /// Each node's share of them; the sum is 1.
    pub shares: Vec<f64>,
    /// How many seconds a block takes to another node: one of these, all as likely.
    pub delays_s: Vec<f64>,
}

/// What blocks are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// One in so many seconds.
    Interval(f64),
    /// So often that this share of them is stale.
    Stale(f64),
}

/// Why no difficulty brings what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unattainable {
    /// Blocks would have to spread faster.
    #[error("blocks cannot come every {wanted_s:.3} s: one takes {delay_s:.3} s to another node")]
    TooShort {
        /// The interval that is wanted.
        wanted_s: f64,
        /// The mean delay.
        delay_s: f64,
    },
    /// No block goes stale.
    #[error("no block goes stale whatever the difficulty, as one node mines alone or blocks take no time")]
    NeverStale,
    /// However many forks there are, the chain of the largest node stays.
    #[error("no more than {:.1} % of all blocks go stale even where a block takes {delays} times as long to another \
             node as to be found", most * 100.0)]
    NeverSoStale {
        /// The share of blocks that goes stale there.
        most: f64,
        /// How many times the interval a delay is there.
        delays: f64,
    },
    /// The smallest difficulty is too much.
    #[error("that is a block every {hashes:.1} hashes, fewer than the 16 of the smallest difficulty in use")]
    TooEasy {
        /// The hashes for a block.
        hashes: f64,
    },
}

/// What a difficulty brings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The difficulty in leading hex zeros.
    pub zeros: f64,
    /// The mean number of hashes until a block.
    pub hashes: f64,
    /// The mean time between blocks of the chain, in seconds.
    pub mean_s: f64,
    /// Half of the blocks come within it.
    pub median_s: f64,
    /// 90 % of the blocks come within it.
    pub p90_s: f64,
    /// 99 % of the blocks come within it.
    pub p99_s: f64,
    /// The share of all blocks that is not in the chain in the end.
    pub stale: f64,
    /// Whether this comes from a simulation, because a delay is too long for the formulas.
    pub by_simulation: bool,
}

impl Conditions {
    /// How much longer the interval of the chain is for the delays, in seconds: d (1 - sum of p^2).
    pub fn lost_s(&self) -> f64 {
        let together: f64 = self.shares.iter().map(|share| share * share).sum();
        mean(&self.delays_s) * (1.0 - together)
    }

    /// The mean time from one block to the next, stale ones included, in seconds.
    pub fn interval_of_all_s(&self, hashes: f64) -> f64 {
        hashes / self.hash_rate
    }

    /// Whether the formulas hold where the mean time between any two blocks is this.
    pub fn formulas_hold(&self, all_s: f64) -> bool {
        self.lost_s() == 0.0 || mean(&self.delays_s) <= FORMULA_DELAY_MAX * all_s
    }

    /// What so many hashes a block bring, by the formulas.
    pub fn outcome(&self, hashes: f64) -> Outcome {
        let (all_s, lost_s) = (self.interval_of_all_s(hashes), self.lost_s());
        // An interval of the chain is about what is lost and then an exponential time.
        let within = |means: f64| lost_s + means * all_s;
        Outcome {
            zeros: hashes.log2() / 4.0,
            hashes,
            mean_s: all_s + lost_s,
            median_s: within(MEDIAN),
            p90_s: within(P90),
            p99_s: within(P99),
            stale: lost_s / (all_s + lost_s),
            by_simulation: false,
        }
    }

    /// The mean time from one block to the next, stale ones included, that brings what is wanted by the formulas; not
    /// positive where they know none.
    pub fn interval_of_all_for(&self, goal: Goal) -> f64 {
        let lost_s = self.lost_s();
        match goal {
            Goal::Interval(wanted_s) => wanted_s - lost_s,
            Goal::Stale(share) => lost_s * (1.0 / share - 1.0),
        }
    }
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    // Counts are far below 2^53.
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The shares of so many equal nodes.
pub fn equal_shares(nodes: usize) -> Vec<f64> {
    vec![1.0 / nodes as f64; nodes]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of nodes with these shares of a million hashes a second, so far apart.
    pub(in crate::tune) fn conditions(shares: &[f64], delay_s: f64) -> Conditions {
        Conditions { hash_rate: 1e6, shares: shares.to_vec(), delays_s: vec![delay_s] }
    }

    #[test]
    fn goals_and_outcomes_are_inverse() {
        let four = conditions(&equal_shares(4), 0.4);
        assert!((four.lost_s() - 0.3).abs() < 1e-12);
        let all_s = four.interval_of_all_for(Goal::Interval(10.0));
        let outcome = four.outcome(1e6 * all_s);
        assert!((outcome.mean_s - 10.0).abs() < 1e-9, "{outcome:?}");
        assert!((outcome.stale - 0.03).abs() < 1e-9, "{outcome:?}");
        assert!((all_s - 9.7).abs() < 1e-9);
        assert!((four.interval_of_all_for(Goal::Stale(0.03)) - 9.7).abs() < 1e-9);
    }

    #[test]
    fn formulas_hold_up_to_a_fifth_of_an_interval() {
        let four = conditions(&equal_shares(4), 0.4);
        assert!(four.formulas_hold(2.0) && !four.formulas_hold(1.99));
        // Nothing is lost whatever the delay.
        assert!(conditions(&[1.0], 0.4).formulas_hold(0.01));
    }
}
