//! What the core needs from durable storage: a [`Store`] to read, and [`Changes`] that it wants written at once.
//! Invariant: changes are applied whole or not at all, and the core reads its own changes before they are applied.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::Block;
use crate::header::Header;
use crate::target::Work;
use crate::transaction::Transaction;
use crate::units::{AccountId, Amount, Hash, Height, TxId};

/// Read access to what has been made durable.
pub trait Store {
    /// The last block of the best chain; `None` in a store that is still empty.
    fn tip(&self) -> Result<Option<Hash>, StoreError>;
    /// What is known of a block.
    fn record(&self, hash: &Hash) -> Result<Option<Record>, StoreError>;
    /// A block with its transactions; `None` for blocks that were refused.
    fn block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, StoreError>;
    /// How to take a block of the best chain off the ledger.
    fn undo(&self, hash: &Hash) -> Result<Option<Undo>, StoreError>;
    /// The block of the best chain at a height.
    fn path(&self, height: Height) -> Result<Option<Hash>, StoreError>;
    /// An account's balance; `None` for an account that never had any money.
    fn balance(&self, account: &AccountId) -> Result<Option<Amount>, StoreError>;
    /// Where a transaction stands in the best chain, if it does and [`Store::indexed_from`] is not above that.
    fn mined(&self, id: &TxId) -> Result<Option<Height>, StoreError>;
    /// The lowest height whose transactions [`Store::mined`] knows.
    fn indexed_from(&self) -> Result<Height, StoreError>;
    /// The transactions that wait to be mined, by order of arrival.
    fn mempool(&self) -> Result<Vec<(u64, Arc<Transaction>)>, StoreError>;
    /// The blocks that have not been announced to everybody yet, by order of acceptance.
    fn outbox(&self) -> Result<Vec<(u64, Hash)>, StoreError>;
}

/// Storage cannot be read. A node cannot go on then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("storage: {0}")]
pub struct StoreError(pub String);

/// The error that something which must be there is not.
pub(crate) fn missing(what: &str, which: &dyn core::fmt::Display) -> StoreError {
    StoreError(alloc::format!("{what} {which} is missing; `verify` can tell more"))
}

/// What is known of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its header.
    pub header: Header,
    /// The work of the chain that ends with it.
    pub work: Work,
    /// How far it has been checked.
    pub status: Status,
}

/// How far a block has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// In itself and against its parent.
    Stored,
    /// Against the ledger too: it is, or once was, on the best chain.
    Valid,
    /// It breaks a rule, or stands on a block that does.
    Invalid,
}

/// How to take a block of the best chain off the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// The balances that it changed, as they were before.
    pub balances: BTreeMap<AccountId, Option<Amount>>,
    /// [`Store::indexed_from`] as it was before.
    pub indexed_from: Height,
}

/// Changes to a store, to be applied whole or not at all. A `None` deletes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The new tip.
    pub tip: Option<Hash>,
    /// New or updated records of blocks.
    pub records: BTreeMap<Hash, Record>,
    /// New blocks.
    pub blocks: BTreeMap<Hash, Arc<Block>>,
    /// Undo data of blocks.
    pub undo: BTreeMap<Hash, Option<Undo>>,
    /// The best chain.
    pub path: BTreeMap<Height, Option<Hash>>,
    /// Balances.
    pub balances: BTreeMap<AccountId, Option<Amount>>,
    /// Where transactions stand in the best chain.
    pub mined: BTreeMap<TxId, Option<Height>>,
    /// The new [`Store::indexed_from`].
    pub indexed_from: Option<Height>,
    /// Transactions that wait.
    pub mempool: BTreeMap<u64, Option<Arc<Transaction>>>,
    /// Blocks to announce.
    pub outbox: BTreeMap<u64, Option<Hash>>,
}

impl Changes {
    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        let Self { tip, records, blocks, undo, path, balances, mined, indexed_from, mempool, outbox } = self;
        (tip.is_none() && indexed_from.is_none())
            && (records.is_empty() && blocks.is_empty() && undo.is_empty() && path.is_empty())
            && (balances.is_empty() && mined.is_empty() && mempool.is_empty() && outbox.is_empty())
    }

    /// These changes followed by others.
    pub fn append(&mut self, mut later: Self) {
        self.tip = later.tip.or(self.tip);
        self.indexed_from = later.indexed_from.or(self.indexed_from);
        self.records.append(&mut later.records);
        self.blocks.append(&mut later.blocks);
        self.undo.append(&mut later.undo);
        self.path.append(&mut later.path);
        self.balances.append(&mut later.balances);
        self.mined.append(&mut later.mined);
        self.mempool.append(&mut later.mempool);
        self.outbox.append(&mut later.outbox);
    }
}

/// A store as it will be once two layers of changes are applied: `base`, which is certain, and `top`, which is being
/// tried out and can be dropped.
pub struct Overlay<'a> {
    store: &'a dyn Store,
    base: &'a Changes,
    /// The changes being tried out.
    pub top: Changes,
}

impl<'a> Overlay<'a> {
    /// Nothing tried out yet.
    pub fn new(store: &'a dyn Store, base: &'a Changes) -> Self {
        Self { store, base, top: Changes::default() }
    }

    /// See [`Store::record`].
    pub fn record(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        match self.top.records.get(hash).or_else(|| self.base.records.get(hash)) {
            Some(record) => Ok(Some(*record)),
            None => self.store.record(hash),
        }
    }

    /// See [`Store::block`].
    pub fn block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, StoreError> {
        match self.top.blocks.get(hash).or_else(|| self.base.blocks.get(hash)) {
            Some(block) => Ok(Some(Arc::clone(block))),
            None => self.store.block(hash),
        }
    }

    /// See [`Store::undo`].
    pub fn undo(&self, hash: &Hash) -> Result<Option<Undo>, StoreError> {
        match self.top.undo.get(hash).or_else(|| self.base.undo.get(hash)) {
            Some(undo) => Ok(undo.clone()),
            None => self.store.undo(hash),
        }
    }

    /// See [`Store::path`].
    pub fn path(&self, height: Height) -> Result<Option<Hash>, StoreError> {
        match self.top.path.get(&height).or_else(|| self.base.path.get(&height)) {
            Some(hash) => Ok(*hash),
            None => self.store.path(height),
        }
    }

    /// See [`Store::balance`].
    pub fn balance(&self, account: &AccountId) -> Result<Option<Amount>, StoreError> {
        match self.top.balances.get(account).or_else(|| self.base.balances.get(account)) {
            Some(balance) => Ok(*balance),
            None => self.store.balance(account),
        }
    }

    /// See [`Store::mined`].
    pub fn mined(&self, id: &TxId) -> Result<Option<Height>, StoreError> {
        match self.top.mined.get(id).or_else(|| self.base.mined.get(id)) {
            Some(height) => Ok(*height),
            None => self.store.mined(id),
        }
    }

    /// See [`Store::indexed_from`].
    pub fn indexed_from(&self) -> Result<Height, StoreError> {
        match self.top.indexed_from.or(self.base.indexed_from) {
            Some(height) => Ok(height),
            None => self.store.indexed_from(),
        }
    }

    /// Whether the block is on the best chain.
    pub fn is_on_path(&self, hash: &Hash, height: Height) -> Result<bool, StoreError> {
        Ok(self.path(height)?.as_ref() == Some(hash))
    }
}
