//! The tables of a store's file, one per field of [`quarry_core::store::Changes`], in the forms of
//! [`quarry_core::codec`].

use quarry_core::codec::RECORD_LEN;
use redb::TableDefinition;

/// The version of everything in this file and of the codec; a store of another one is refused.
pub(super) const FORMAT_VERSION: u8 = 1;

/// [`FORMAT`], [`NETWORK`], [`TIP`] and [`INDEXED_FROM`].
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// In [`META`]: one byte, [`FORMAT_VERSION`]. It is there in every version.
pub(super) const FORMAT: &str = "format";
/// In [`META`]: the network's id.
pub(super) const NETWORK: &str = "network";
/// In [`META`]: the hash of the last block of the best chain, missing in an empty store.
pub(super) const TIP: &str = "tip";
/// In [`META`]: a height, big-endian, missing in an empty store.
pub(super) const INDEXED_FROM: &str = "indexed_from";

/// A block's hash to its record.
pub(super) const RECORDS: TableDefinition<&[u8; 32], &[u8; RECORD_LEN]> = TableDefinition::new("records");
/// A block's hash to the block without its header, which is in [`RECORDS`].
pub(super) const BODIES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("bodies");
/// A block's hash to its undo data.
pub(super) const UNDO: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("undo");
/// A height to the hash of the block of the best chain there.
pub(super) const PATH: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("path");
/// An account to its balance in cents.
pub(super) const BALANCES: TableDefinition<&[u8; 20], u64> = TableDefinition::new("balances");
/// A transaction's id to the height of the block of the best chain that holds it.
pub(super) const MINED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("mined");
/// The order of arrival to a transaction that waits.
pub(super) const MEMPOOL: TableDefinition<u64, &[u8]> = TableDefinition::new("mempool");
/// The order of acceptance to the hash of a block to announce.
pub(super) const OUTBOX: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("outbox");
