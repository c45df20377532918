//! A store in plain maps, for simulations and as the model that a real store is compared with.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::Block;
use crate::store::{Changes, Record, Store, StoreError, Undo};
use crate::transaction::Transaction;
use crate::units::{AccountId, Amount, Hash, Height, TxId};

/// A store in plain maps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemoryStore {
    /// See [`Store::tip`].
    pub tip: Option<Hash>,
    /// See [`Store::record`].
    pub records: BTreeMap<Hash, Record>,
    /// See [`Store::block`].
    pub blocks: BTreeMap<Hash, Arc<Block>>,
    /// See [`Store::undo`].
    pub undo: BTreeMap<Hash, Undo>,
    /// See [`Store::path`].
    pub path: BTreeMap<Height, Hash>,
    /// See [`Store::balance`].
    pub balances: BTreeMap<AccountId, Amount>,
    /// See [`Store::mined`].
    pub mined: BTreeMap<TxId, Height>,
    /// See [`Store::indexed_from`].
    pub indexed_from: Height,
    /// See [`Store::mempool`].
    pub mempool: BTreeMap<u64, Arc<Transaction>>,
    /// See [`Store::outbox`].
    pub outbox: BTreeMap<u64, Hash>,
}

impl MemoryStore {
    /// Applies changes.
    pub fn apply(&mut self, changes: Changes) {
        self.tip = changes.tip.or(self.tip);
        self.indexed_from = changes.indexed_from.unwrap_or(self.indexed_from);
        self.records.extend(changes.records);
        self.blocks.extend(changes.blocks);
        merge(&mut self.undo, changes.undo);
        merge(&mut self.path, changes.path);
        merge(&mut self.balances, changes.balances);
        merge(&mut self.mined, changes.mined);
        merge(&mut self.mempool, changes.mempool);
        merge(&mut self.outbox, changes.outbox);
    }
}

impl Store for MemoryStore {
    fn tip(&self) -> Result<Option<Hash>, StoreError> {
        Ok(self.tip)
    }

    fn record(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        Ok(self.records.get(hash).copied())
    }

    fn block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, StoreError> {
        Ok(self.blocks.get(hash).cloned())
    }

    fn undo(&self, hash: &Hash) -> Result<Option<Undo>, StoreError> {
        Ok(self.undo.get(hash).cloned())
    }

    fn path(&self, height: Height) -> Result<Option<Hash>, StoreError> {
        Ok(self.path.get(&height).copied())
    }

    fn balance(&self, account: &AccountId) -> Result<Option<Amount>, StoreError> {
        Ok(self.balances.get(account).copied())
    }

    fn mined(&self, id: &TxId) -> Result<Option<Height>, StoreError> {
        Ok(self.mined.get(id).copied())
    }

    fn indexed_from(&self) -> Result<Height, StoreError> {
        Ok(self.indexed_from)
    }

    fn mempool(&self) -> Result<Vec<(u64, Arc<Transaction>)>, StoreError> {
        Ok(self.mempool.iter().map(|(sequence, transaction)| (*sequence, Arc::clone(transaction))).collect())
    }

    fn outbox(&self) -> Result<Vec<(u64, Hash)>, StoreError> {
        Ok(self.outbox.iter().map(|(number, hash)| (*number, *hash)).collect())
    }
}

fn merge<K: Ord, V>(map: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}
