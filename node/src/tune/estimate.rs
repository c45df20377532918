//! What blocks that were seen tell of the hash rate and of stale blocks, and how surely.
//! Invariant: an interval holds the true value in 95 % of the cases.

use serde::{Deserialize, Serialize};

/// The normal quantile of 97.5 %.
const Z: f64 = 1.959_964;
/// The fewest blocks that anything is said by: below, the approximation is off by more than 1 %.
pub const BLOCKS_MIN: u64 = 5;

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
/// distribution with 2 x `count` degrees of freedom.
pub fn rate(count: u64, time: f64) -> Estimate {
    let doubled = 2.0 * count as f64;
    let at = |z| chi_squared(doubled, z) / (2.0 * time);
    Estimate { value: count as f64 / time, low: at(-Z), high: at(Z) }
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
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

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
            let found = rate(12, time);
            rates += u32::from(found.low < 3.0 && 3.0 < found.high);
            let count = (0..200).filter(|_| rng.random::<f64>() < 0.06).count();
            let found = share(u64::try_from(count).unwrap(), 200);
            shares += u32::from(found.low < 0.06 && 0.06 < found.high);
        }
        assert!((9400..9600).contains(&rates), "{rates}");
        assert!((9300..9700).contains(&shares), "{shares}");
    }
}
