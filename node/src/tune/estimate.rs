//! What blocks that were seen tell of the hash rate and of stale blocks, and how surely.
//!
//! The hash rate is the sum of the blocks' expected hashes over the sum of their times. Whatever the hash rate r does,
//! and however difficulties follow from earlier times or decay while a block is late: in each moment a block comes with
//! probability r dt / h and then counts h, so that hashes less the integral of r have a mean of zero. What is estimated
//! is therefore the hash rate's mean over the time. If r were constant, and the times t nothing but exponential with
//! means of h / r, n / sum of (t / h) would have the greatest likelihood and less variance. But each block also costs a
//! fixed time c, for making it, storing it and telling it, so that it has t / h too large by c / h, and a few blocks of
//! a difficulty of next to nothing outweigh all others: that estimate is low by a factor 1 + c r (mean of 1 / h), this
//! one by 1 + c r / (mean of h), which is c as a share of the time searched and never more. The price is that blocks
//! count by their hashes: [`crate::query::effective_blocks`] says how many that makes.
//! Invariant: an interval holds the true value in 95 % of the cases.

use serde::{Deserialize, Serialize};

/// The normal quantile of 97.5 %.
const Z: f64 = 1.959_964;
/// The fewest blocks that anything is said by: below, the bounds are further apart than anybody can use.
pub const BLOCKS_MIN: f64 = 5.0;

/// A value, and between which bounds it is with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Estimate {
    /// Something that is simply so.
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }

    /// The same in another unit.
    pub fn scaled(self, factor: f64) -> Self {
        Self { value: self.value * factor, low: self.low * factor, high: self.high * factor }
    }

    /// The mean of independent values that are about normal.
    pub fn of_mean(values: &[f64]) -> Self {
        let (mean, count) = (super::model::mean(values), values.len() as f64);
        let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let error = Z * (variance / count.max(1.0)).sqrt();
        Self { value: mean, low: mean - error, high: mean + error }
    }
}

/// The rate of events of which `count` took a time of `time`: twice that time at the true rate has a chi-squared
/// distribution with 2 x `count` degrees of freedom. For a sum of exponential times with different means that is an
/// approximation with the right mean and variance, where `count` is the effective one.
pub fn rate(count: f64, time: f64) -> Estimate {
    let at = |z| chi_squared(2.0 * count, z) / (2.0 * time);
    Estimate { value: count / time, low: at(-Z), high: at(Z) }
}

/// The share of something of which `count` in `all` were seen, by Wilson's score.
pub fn share(count: u64, all: u64) -> Estimate {
    let (share, all) = (count as f64 / all as f64, all as f64);
    let (z2, scale) = (Z * Z / all, 1.0 + Z * Z / all);
    let middle = (share + z2 / 2.0) / scale;
    let error = Z * (share * (1.0 - share) / all + z2 / (4.0 * all)).sqrt() / scale;
    Estimate { value: share, low: (middle - error).max(0.0), high: (middle + error).min(1.0) }
}

/// The quantile of the chi-squared distribution where the normal one has `z`, as Wilson and Hilferty approximate it.
fn chi_squared(freedom: f64, z: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + z * spread.sqrt()).max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use quarry_core::retarget::Window;
    use quarry_core::units::Timestamp;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::config;
    use crate::query::effective_blocks;

    /// Blocks by their hashes and seconds.
    type Blocks = Vec<(f64, f64)>;

    fn exponential(rng: &mut StdRng) -> f64 {
        -(1.0 - rng.random::<f64>()).ln()
    }

    fn hash_rate(blocks: &[(f64, f64)]) -> Estimate {
        let (hashes, time): (f64, f64) =
            blocks.iter().fold((0.0, 0.0), |sums, it| (sums.0 + it.0, sums.1 + it.1));
        let count = effective_blocks(blocks.iter().map(|it| it.0));
        rate(count, count * time / hashes)
    }

    /// The share of the samples of which the bounds hold `true_rate`.
    fn coverage(true_rate: f64, samples: &[Blocks]) -> f64 {
        let found = samples.iter().map(|it| hash_rate(it));
        let held = found.filter(|it| it.low < true_rate && true_rate < it.high).count();
        held as f64 / samples.len() as f64
    }

    fn median(samples: &[Blocks], estimate: impl Fn(&[(f64, f64)]) -> f64) -> f64 {
        let mut found: Vec<f64> = samples.iter().map(|it| estimate(it)).collect();
        found.sort_by(f64::total_cmp);
        found[found.len() / 2]
    }

    /// The blocks of a network that begins far too easy, as the rule of the difficulty has them, each `cost_s` later
    /// than it is found.
    fn retargeted(true_rate: f64, cost_s: f64, count: usize, rng: &mut StdRng) -> Blocks {
        const STEP_S: f64 = 2.0;
        let text = "name = \"a\"\ngenesis_time = \"2026-01-01 00:00:00\"\ndifficulty = 3\nblock_time = 1\naccounts = []\n";
        let network = config::parse_network(text).unwrap();
        let mut header = network.genesis;
        let mut window = Window::ending_with(&header, &network, |_| Ok(None)).unwrap();
        let mut blocks = Blocks::new();
        while blocks.len() < count {
            let parent_us = header.timestamp.micros();
            let at = |seconds: f64| Timestamp::from_micros(parent_us + (seconds * 1e6) as u64 + 1).unwrap();
            let (mut left, mut begun_s) = (exponential(rng), 0.0);
            // The difficulty changes only at even seconds, where it decays.
            let seconds = loop {
                let work = window.next_bits(at(begun_s), &network).target().unwrap().work().as_f64();
                let needed_s = left * work / true_rate;
                if needed_s < STEP_S {
                    break begun_s + needed_s + cost_s;
                }
                left -= STEP_S * true_rate / work;
                begun_s += STEP_S;
            };
            header.index.0 += 1;
            header.timestamp = at(seconds);
            header.bits = window.next_bits(header.timestamp, &network);
            window.push(&header);
            blocks.push((header.bits.target().unwrap().work().as_f64(), seconds));
        }
        blocks
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, z, expected) in
            [(10.0, -Z, 3.247), (10.0, Z, 20.483), (20.0, -Z, 9.591), (20.0, Z, 34.170), (100.0, Z, 129.561)]
        {
            let ratio = chi_squared(freedom, z) / expected;
            assert!((ratio - 1.0).abs() < 0.01, "{freedom} {z}: {ratio}");
        }
    }

    #[test]
    fn bounds_hold_the_truth_in_95_of_100_cases() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut rates, mut shares) = (0, 0);
        for _ in 0..10_000 {
            let time: f64 = (0..12).map(|_| -(1.0 - rng.random::<f64>()).ln() / 3.0).sum();
            let found = rate(12.0, time);
            rates += u32::from(found.low < 3.0 && 3.0 < found.high);
            let count = (0..200).filter(|_| rng.random::<f64>() < 0.06).count();
            let found = share(u64::try_from(count).unwrap(), 200);
            shares += u32::from(found.low < 0.06 && 0.06 < found.high);
        }
        assert!((9400..9600).contains(&rates), "{rates}");
        assert!((9300..9700).contains(&shares), "{shares}");
    }

    #[test]
    fn bounds_hold_the_hash_rate_at_equal_and_at_rising_difficulty() {
        let mut rng = StdRng::seed_from_u64(2);
        for growth in [1.0, 1.02, 1.1, 1.3] {
            let works: Vec<f64> = (0..60).map(|block| 1e4 * f64::powi(growth, block)).collect();
            let sample = |_| works.iter().map(|work| (*work, exponential(&mut rng) * work / 5e7)).collect();
            let samples: Vec<Blocks> = (0..4000).map(sample).collect();
            let held = coverage(5e7, &samples);
            assert!((0.94..0.965).contains(&held), "{growth}: {held}");
        }
    }

    /// A devnet that began with 4096 hashes a block was told to have a tenth of its hash rate, with bounds of 15 %: its
    /// first blocks took the 10 ms that any block takes, whatever its difficulty.
    #[test]
    fn first_blocks_of_no_difficulty_do_not_drown_the_others() {
        const RATE: f64 = 5e7;
        let mut rng = StdRng::seed_from_u64(3);
        let mut samples =
            |cost_s| (0..400).map(|_| retargeted(RATE, cost_s, 184, &mut rng)).collect::<Vec<_>>();
        let (ideal, real) = (samples(0.0), samples(0.01));
        let newest = |samples: &[Blocks]| samples.iter().map(|it| it[124..].to_vec()).collect::<Vec<_>>();
        for (what, samples) in
            [("all", &ideal), ("the newest 60", &newest(&ideal)), ("the newest", &newest(&real))]
        {
            let held = coverage(RATE, samples);
            assert!((0.92..0.98).contains(&held), "{what}: {held}");
        }
        let off = median(&real, |it| hash_rate(it).value) / RATE;
        assert!((0.95..1.02).contains(&off), "by hashes: {off}");
        let most_likely =
            |it: &[(f64, f64)]| it.len() as f64 / it.iter().map(|(work, time)| time / work).sum::<f64>();
        assert!(
            (median(&ideal, most_likely) / RATE - 1.0).abs() < 0.05,
            "right where nothing else takes time"
        );
        let off = median(&real, most_likely) / RATE;
        assert!(off < 0.2, "the most likely one if blocks cost nothing: {off}");
    }
}
