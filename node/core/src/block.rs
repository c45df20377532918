//! Blocks, and the digest by which a header commits to its transactions.

use alloc::vec::Vec;

use crate::header::Header;
use crate::transaction::Transaction;
use crate::units::Hash;

/// A header with the transactions that it commits to, and the extra nonce that the miner chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What the proof of work covers.
    pub header: Header,
    /// What the miner varies to get another `tx_root`, so that one search has many midstates.
    pub extra_nonce: u64,
    /// The transactions, in the order in which they move money.
    pub transactions: Vec<Transaction>,
}

/// The digest of a block's transactions and extra nonce.
///
/// # Consensus
/// SHA-256 of a tag, the extra nonce, the count of transactions and the [`merkle_root`], integers big-endian.
pub fn tx_root(extra_nonce: u64, transaction_count: u32, merkle_root: &Hash) -> Hash {
    let (extra_nonce, count) = (extra_nonce.to_be_bytes(), transaction_count.to_be_bytes());
    Hash::of(&[b"quarry transactions\0", &extra_nonce, &count, &merkle_root.0])
}

/// The root of the Merkle tree over the transactions' [`Transaction::leaf`] digests.
///
/// # Consensus
/// A node is SHA-256 of a one byte and its two children; the last node of an odd level moves up as it is, and no
/// node is ever paired with itself. Without transactions the root is 32 zero bytes.
pub fn merkle_root<'a>(transactions: impl Iterator<Item = &'a Transaction>) -> Hash {
    let mut level: Vec<Hash> = transactions.map(Transaction::leaf).collect();
    while 1 < level.len() {
        let parents = level.chunks(2).map(|pair| match pair {
            [left, right] => Hash::of(&[&[1], &left.0, &right.0]),
            _ => pair[0],
        });
        level = parents.collect();
    }
    level.first().copied().unwrap_or_default()
}

impl Block {
    /// The `tx_root` that the header should have.
    pub fn tx_root(&self) -> Hash {
        let count = u32::try_from(self.transactions.len()).unwrap_or(u32::MAX);
        tx_root(self.extra_nonce, count, &merkle_root(self.transactions.iter()))
    }
}
