//! The 116 bytes that a block's proof of work covers.

use crate::target::Bits;
use crate::units::{AccountId, Hash, Height, Timestamp};

/// A block's header. Its [`Header::to_bytes`] are laid out so that a nonce search finds everything that another
/// extra nonce changes in the first 64 bytes, and everything that it varies itself in the last 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The hash of the block before.
    pub prev_hash: Hash,
    /// Commits to the transactions and the extra nonce: [`crate::block::tx_root`].
    pub tx_root: Hash,
    /// The rules that the block follows.
    pub version: u32,
    /// The difficulty, as a compact target.
    pub bits: Bits,
    /// The block's height.
    pub index: Height,
    /// When the block was made, by its miner's clock.
    pub timestamp: Timestamp,
    /// Who mined it, and gets the reward.
    pub miner: AccountId,
    /// What the search varies.
    pub nonce: u64,
}

/// The header's bytes hold a timestamp without a text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp of {0} microseconds is past the year 9999")]
pub struct TimestampOutOfRange(pub u64);

impl Header {
    /// The only version there is.
    pub const VERSION: u32 = 1;
    /// The length of a header's bytes.
    pub const LEN: usize = 116;

    /// The bytes that are hashed, all integers big-endian.
    ///
    /// # Consensus
    /// prev_hash 32, tx_root 32, version 4, bits 4, index 8, timestamp 8 (microseconds), miner 20, nonce 8.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..32].copy_from_slice(&self.prev_hash.0);
        bytes[32..64].copy_from_slice(&self.tx_root.0);
        bytes[64..68].copy_from_slice(&self.version.to_be_bytes());
        bytes[68..72].copy_from_slice(&self.bits.0.to_be_bytes());
        bytes[72..80].copy_from_slice(&self.index.0.to_be_bytes());
        bytes[80..88].copy_from_slice(&self.timestamp.micros().to_be_bytes());
        bytes[88..108].copy_from_slice(&self.miner.0);
        bytes[108..].copy_from_slice(&self.nonce.to_be_bytes());
        bytes
    }

    /// The header that the bytes stand for. Whether it keeps any rule is for [`crate::rules`] to say.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, TimestampOutOfRange> {
        let micros = u64::from_be_bytes(part(bytes, 80));
        Ok(Self {
            prev_hash: Hash(part(bytes, 0)),
            tx_root: Hash(part(bytes, 32)),
            version: u32::from_be_bytes(part(bytes, 64)),
            bits: Bits(u32::from_be_bytes(part(bytes, 68))),
            index: Height(u64::from_be_bytes(part(bytes, 72))),
            timestamp: Timestamp::from_micros(micros).ok_or(TimestampOutOfRange(micros))?,
            miner: AccountId(part(bytes, 88)),
            nonce: u64::from_be_bytes(part(bytes, 108)),
        })
    }

    /// The block's hash: one SHA-256 of the 116 bytes.
    pub fn hash(&self) -> Hash {
        Hash::of(&[&self.to_bytes()])
    }
}

fn part<const N: usize>(bytes: &[u8; Header::LEN], start: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[start..start + N]);
    part
}
