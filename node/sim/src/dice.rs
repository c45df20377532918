//! Random draws that are the same everywhere: whole numbers only, because logarithms differ between machines.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random draws.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// One of the many independent streams of a seed, so that a draw more in one place changes nothing elsewhere.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which is not 0. The bias is below 2^-32 for ends that fit 32 bits.
    pub fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(end);
        (product >> 64) as u64 // The upper half of a product of two 64-bit numbers fits 64 bits.
    }

    /// A number from `low` to `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let index = self.below(list.len() as u64);
        list[usize::try_from(index).expect("an index below a length")]
    }

    /// An exponentially distributed time, by von Neumann's method: comparisons only.
    pub fn wait_us(&mut self, mean_us: u64) -> u64 {
        let mut whole = 0;
        loop {
            let first = self.number();
            let (mut last, mut is_odd) = (first, true);
            loop {
                let next = self.number();
                if last <= next {
                    break;
                }
                (last, is_odd) = (next, !is_odd);
            }
            if is_odd {
                let fraction = (u128::from(first) * u128::from(mean_us)) >> 64;
                return whole * mean_us + fraction as u64; // Below `mean_us`, so it fits.
            }
            whole += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_the_mean_and_the_tail_of_an_exponential() {
        let mut dice = Dice::new(1, 0);
        let waits: Vec<u64> = (0..20_000).map(|_| dice.wait_us(1000)).collect();
        let mean = waits.iter().sum::<u64>() / 20_000;
        assert!((980..1020).contains(&mean), "{mean}");
        let beyond = waits.iter().filter(|wait| 2303 < **wait).count();
        assert!((1850..2150).contains(&beyond), "a tenth lies beyond 2.303 means: {beyond}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| Dice::new(seed, stream).number();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
