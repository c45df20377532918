//! A disk that survives the process that writes to it.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::memory::MemoryStore;
use quarry_core::store::{Changes, Record, Store, StoreError, Undo};
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, Hash, Height, TxId};

/// A handle on a disk; clones are handles on the same one.
#[derive(Debug, Clone, Default)]
pub struct Disk(Rc<RefCell<MemoryStore>>);

impl Disk {
    /// Makes changes durable.
    pub fn apply(&self, changes: Changes) {
        self.0.borrow_mut().apply(changes);
    }

    /// Brings back an old state.
    pub fn restore(&self, old: MemoryStore) {
        *self.0.borrow_mut() = old;
    }

    /// What is durable.
    pub fn read(&self) -> Ref<'_, MemoryStore> {
        self.0.borrow()
    }
}

impl Store for Disk {
    fn tip(&self) -> Result<Option<Hash>, StoreError> {
        self.read().tip()
    }

    fn record(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        self.read().record(hash)
    }

    fn block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, StoreError> {
        self.read().block(hash)
    }

    fn undo(&self, hash: &Hash) -> Result<Option<Undo>, StoreError> {
        self.read().undo(hash)
    }

    fn path(&self, height: Height) -> Result<Option<Hash>, StoreError> {
        self.read().path(height)
    }

    fn balance(&self, account: &AccountId) -> Result<Option<Amount>, StoreError> {
        self.read().balance(account)
    }

    fn mined(&self, id: &TxId) -> Result<Option<Height>, StoreError> {
        self.read().mined(id)
    }

    fn indexed_from(&self) -> Result<Height, StoreError> {
        self.read().indexed_from()
    }

    fn mempool(&self) -> Result<Vec<(u64, Arc<Transaction>)>, StoreError> {
        self.read().mempool()
    }

    fn outbox(&self) -> Result<Vec<(u64, Hash)>, StoreError> {
        self.read().outbox()
    }
}
