//! Random draws, the same on every machine.
//! Invariant: the input with a number follows from seed, target and number alone, so that one can be made again.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// A stream of random draws.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream that makes the input with this number.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// Any bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.0.random()
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(..end)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of a list, which is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Numbers at which something may change more often than others.
    pub fn edge(&mut self) -> u64 {
        match self.below(4) {
            0 => self.number(),
            1 => self.number() % 300,
            2 => *self.pick(&[0, 1, 253_402_207_199_999_999, u64::MAX / 2, u64::MAX - 1, u64::MAX]),
            _ => (1_u64 << self.below(64)).wrapping_sub(self.number() % 2),
        }
    }
}
