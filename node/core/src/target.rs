//! Difficulty: the compact target of a header, the 256-bit target it stands for, and the work that a hash below it proves.
//! Invariant: a [`Target`] is between 1 and 2^256 - 1 and has exactly one compact form, [`Bits`].

use alloc::string::String;
use core::fmt;
use core::iter::Sum;
use core::ops::Add;

use ethnum::{AsU256 as _, U256};
use serde::{Deserialize, Serialize};

use crate::units::Hash;

/// A target in the compact form that a header carries: a byte of length and three of mantissa, as Bitcoin's nBits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(pub u32);

/// What a block's hash must stay below, as a 256-bit big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// The expected number of hashes that a block, or a chain of blocks, took.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

/// Why four bytes are not a compact target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BitsError {
    /// The mantissa's sign bit is set.
    #[error("bits {0:#010x} stand for a negative target")]
    Negative(u32),
    /// The target is 0, which no hash is below.
    #[error("bits {0:#010x} stand for a target of 0")]
    Zero(u32),
    /// The target has more than 256 bits.
    #[error("bits {0:#010x} stand for a target above 2^256")]
    Overflow(u32),
    /// The same target has a shorter form.
    #[error("bits {0:#010x} are not the canonical form of their target")]
    NotCanonical(u32),
}

/// A number of leading hex zeros that no target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a difficulty of {0} hex zeros is not between 1 and 63")]
pub struct ZerosError(pub u32);

impl Bits {
    /// The bits of a difficulty given as leading hex zeros: `zeros` from 1 to 63.
    pub fn from_zeros(zeros: u32) -> Result<Self, ZerosError> {
        if !(1..=63).contains(&zeros) {
            return Err(ZerosError(zeros));
        }
        Ok(Target(U256::ONE << (256 - 4 * zeros)).bits())
    }

    /// The target that these bits stand for.
    ///
    /// # Consensus
    /// Only the canonical form counts, so that one target never has two headers.
    pub fn target(self) -> Result<Target, BitsError> {
        let (size, mantissa) = (self.0 >> 24, self.0 & 0x00ff_ffff);
        if mantissa & 0x0080_0000 != 0 {
            return Err(BitsError::Negative(self.0));
        }
        if mantissa == 0 {
            return Err(BitsError::Zero(self.0));
        }
        let significant = 32 - mantissa.leading_zeros();
        if 256 < significant + 8 * size.saturating_sub(3) {
            return Err(BitsError::Overflow(self.0));
        }
        let mantissa = U256::from(mantissa);
        let value = if size < 3 { mantissa >> (8 * (3 - size)) } else { mantissa << (8 * (size - 3)) };
        if value == U256::ZERO {
            return Err(BitsError::Zero(self.0));
        }
        let target = Target(value);
        if target.bits() == self { Ok(target) } else { Err(BitsError::NotCanonical(self.0)) }
    }
}

impl Target {
    /// The target as 32 big-endian bytes, the form in which it compares with a hash.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The compact form; what does not fit its 23 bits of mantissa is rounded down.
    pub fn bits(self) -> Bits {
        let bytes = (256 - self.0.leading_zeros()).div_ceil(8);
        let mantissa = if bytes < 3 { self.0 << (8 * (3 - bytes)) } else { self.0 >> (8 * (bytes - 3)) };
        let mantissa = mantissa.as_u32();
        if mantissa & 0x0080_0000 == 0 {
            Bits(bytes << 24 | mantissa)
        } else {
            Bits((bytes + 1) << 24 | mantissa >> 8)
        }
    }

    /// Whether the hash proves the work.
    ///
    /// # Consensus
    /// A block's hash is strictly below its target.
    pub fn is_met_by(self, hash: &Hash) -> bool {
        U256::from_be_bytes(hash.0) < self.0
    }

    /// The number that hashes must stay below.
    pub(crate) fn value(self) -> U256 {
        self.0
    }

    /// The target with this value, or the nearest one from 1 to 2^`easiest_log2`.
    pub(crate) fn clamped(value: U256, easiest_log2: u32) -> Self {
        Self(value.clamp(U256::ONE, U256::ONE << easiest_log2))
    }

    /// The target that 2^`steps` times as many hashes meet, 2^`easiest_log2` at most.
    pub(crate) fn shifted_left(self, steps: u32, easiest_log2: u32) -> Self {
        let room = self.0.leading_zeros();
        let value = if steps < room { self.0 << steps } else { U256::MAX };
        Self::clamped(value, easiest_log2)
    }

    /// The expected number of hashes until one is below the target: floor(2^256 / target).
    pub fn work(self) -> Work {
        // 2^256 does not fit; 2^256 - target does, and is one target less.
        match (self.0.wrapping_neg() / self.0).checked_add(U256::ONE) {
            Some(work) => Work(work),
            None => Work(U256::MAX),
        }
    }

    /// The difficulty as a count of leading hex zeros with a fraction: log16 of the work.
    pub fn zeros(self) -> f64 {
        let bits = 256 - self.0.leading_zeros();
        // The loss of low bits is the point: an f64 is precise enough for people.
        let top = if 64 < bits { (self.0 >> (bits - 64)).as_u64() } else { self.0.as_u64() << (64 - bits) };
        let fraction = log2_of_one_to_two((top as f64) / (1_u64 << 63) as f64);
        (256.0 - f64::from(bits - 1) - fraction) / 4.0
    }
}

impl Work {
    /// The work as 32 big-endian bytes.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The work that 32 big-endian bytes stand for.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// The number of hashes as a float, for rates and charts.
    pub fn as_f64(self) -> f64 {
        self.0.as_f64()
    }

    /// So many hashes, as well as an integer can say it.
    pub fn from_f64(hashes: f64) -> Self {
        Self(hashes.as_u256())
    }

    /// The target that takes so many hashes: floor(2^256 / work), 2^256 - 1 at most.
    pub fn target(self) -> Target {
        // The same division as that of `Target::work`.
        Target(Target(self.0.max(U256::ONE)).work().0)
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // 2^256 hashes are out of reach, but headers with a claimed work may be made for less: stay in range.
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), Add::add)
    }
}

/// log2 of a number from 1 to 2 by squaring, which `core` offers no function for; 20 bits are plenty for display.
fn log2_of_one_to_two(mut value: f64) -> f64 {
    let (mut result, mut bit) = (0.0, 0.5);
    for _ in 0..20 {
        value *= value;
        if 2.0 <= value {
            value /= 2.0;
            result += bit;
        }
        bit /= 2.0;
    }
    result
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hash(self.to_be_bytes()), f)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Bits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u32::from_str_radix(&text, 16) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(serde::de::Error::custom("bits are eight hex digits")),
        }
    }
}

impl Serialize for Work {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Work {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match U256::from_str_radix(&text, 10) {
            Ok(work) if digits => Ok(Self(work)),
            _ => Err(serde::de::Error::custom("work is a decimal number below 2^256")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_exact_powers_of_sixteen() {
        for zeros in 1..=63 {
            let target = Bits::from_zeros(zeros).unwrap().target().unwrap();
            assert_eq!(target.0, U256::ONE << (256 - 4 * zeros));
            assert_eq!(target.work(), Work(U256::ONE << (4 * zeros)));
            assert!((target.zeros() - f64::from(zeros)).abs() < 1e-6);
            let mut hash = [0xff; 32];
            for digit in 0..zeros {
                hash[digit as usize / 2] &= if digit % 2 == 0 { 0x0f } else { 0xf0 };
            }
            assert!(target.is_met_by(&Hash(hash)), "{zeros} zeros, then all ones");
            assert!(!target.is_met_by(&Hash(target.to_be_bytes())), "strictly below");
        }
        assert_eq!(Bits::from_zeros(0), Err(ZerosError(0)));
        assert_eq!(Bits::from_zeros(64), Err(ZerosError(64)));
    }

    #[test]
    fn only_canonical_bits_have_a_target() {
        let check = |bits, expected: Result<u64, BitsError>| {
            let target = Bits(bits).target().map(|target| (target.0 >> 208_u32).as_u64());
            assert_eq!(target, expected, "{bits:08x}");
        };
        check(0x1d00_ffff, Ok(0xffff));
        check(0x1d80_0000, Err(BitsError::Negative(0x1d80_0000)));
        check(0x2000_0000, Err(BitsError::Zero(0x2000_0000)));
        check(0x0100_0001, Err(BitsError::Zero(0x0100_0001)));
        check(0x2300_0001, Err(BitsError::Overflow(0x2300_0001)));
        check(0xff12_3456, Err(BitsError::Overflow(0xff12_3456)));
        check(0x1e00_00ff, Err(BitsError::NotCanonical(0x1e00_00ff)));
        check(0x0212_3456, Err(BitsError::NotCanonical(0x0212_3456)));
    }

    #[test]
    fn work_counts_expected_hashes() {
        assert_eq!(Target(U256::MAX).work(), Work(U256::ONE));
        assert_eq!(Target(U256::ONE).work(), Work(U256::MAX));
        assert_eq!(Target(U256::from(3_u32)).work(), Work(U256::MAX / 3));
    }

    #[test]
    fn a_number_of_hashes_has_a_target() {
        for zeros in 1..=63 {
            let hashes = 16_f64.powi(i32::try_from(zeros).unwrap());
            assert_eq!(Work::from_f64(hashes).target().bits(), Bits::from_zeros(zeros).unwrap());
        }
        let work = Work::from_f64(123_456_789.0);
        let ratio = work.target().bits().target().unwrap().work().as_f64() / work.as_f64();
        assert!((ratio - 1.0).abs() < 1e-4, "{ratio}");
        for nothing in [0.0, -1.0, f64::NAN] {
            assert_eq!(Work::from_f64(nothing).target(), Target(U256::MAX));
        }
        assert_eq!(Work::from_f64(f64::INFINITY).target(), Target(U256::ONE));
    }
}
