//! Re-checks a whole store from the first block on.
//!
//! The chain is replayed by the plainest means there are, and what the store holds is compared with the outcome.
//! Invariant: nothing here shares code with the ledger and the choice of the best chain, so that their mistakes show.

mod compare;
mod error;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::ledger::PRUNED_BLOCKS_MAX;
use quarry_core::network::Network;
use quarry_core::retarget::Window;
use quarry_core::rules::{self, BlockError, TransactionError};
use quarry_core::store::{Status, Store, StoreError, Undo};
use quarry_core::target::Work;
use quarry_core::transaction::{Transaction, are_signatures_valid};
use quarry_core::units::{AccountId, Amount, Hash, Height, Timestamp, TxId};

pub use error::VerifyError;

use super::snapshot::Snapshot;

/// How many signatures are checked at once: enough for a batch to pay.
const BATCH_LEN: usize = 4096;

/// What a store that is in order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The tip.
    pub tip: Hash,
    /// The tip's height.
    pub height: Height,
    /// How many transactions the best chain holds.
    pub transactions: u64,
    /// How many accounts have or had money.
    pub accounts: usize,
    /// All the money there is.
    pub supply: Amount,
    /// How many blocks there are beside the best chain.
    pub side_blocks: u64,
    /// How many transactions wait.
    pub waiting: usize,
}

/// Replays the best chain from the first block and compares everything that the store holds with the outcome.
/// `progress` is told each height as it is done, and the tip's.
pub fn verify(
    snapshot: &Snapshot,
    network: &Network,
    progress: &mut dyn FnMut(Height, Height),
) -> Result<Summary, VerifyError> {
    let start = |error| VerifyError::Unreadable { height: Height(0), error };
    let Some(tip) = snapshot.tip().map_err(start)? else {
        let holds_blocks = snapshot.records().map_err(start)?.next().is_some();
        return Err(if holds_blocks { VerifyError::NoTip } else { VerifyError::Empty });
    };
    let record = snapshot.record(&tip).map_err(start)?.ok_or(VerifyError::UnknownTip(tip))?;
    let height = record.header.index;
    let mut replay = Replay::new(snapshot, network).map_err(start)?;
    for expected in (0..=height.0).map(Height) {
        let at = |error| VerifyError::Unreadable { height: expected, error };
        let hash = snapshot.path(expected).map_err(at)?.ok_or(VerifyError::PathGap(expected))?;
        replay.block(expected, hash)?;
        progress(expected, height);
    }
    if replay.hash != tip {
        return Err(VerifyError::Tip { height, tip, end: replay.hash });
    }
    replay.check_signatures()?;
    compare::path(&replay)?;
    let supply = compare::balances(&replay)?;
    compare::index(&replay)?;
    let side_blocks = compare::blocks(&replay)?;
    compare::mempool(&replay)?;
    compare::outbox(&replay)?;
    let (transactions, accounts, waiting) =
        (replay.transactions, replay.balances.len(), replay.waiting.len());
    Ok(Summary { tip, height, transactions, accounts, supply, side_blocks, waiting })
}

/// The chain up to some height.
struct Replay<'a> {
    snapshot: &'a Snapshot,
    network: &'a Network,
    waiting: BTreeSet<TxId>,
    hash: Hash,
    header: Header,
    /// What the difficulty of the next block depends on.
    window: Window,
    work: Work,
    balances: BTreeMap<AccountId, Amount>,
    transactions: u64,
    /// The transactions that the window would let into a next block, and the heights of their blocks: no others need
    /// be remembered.
    recent: BTreeMap<(Timestamp, TxId), Height>,
    /// The height that the index should start from now.
    indexed_from: Height,
    /// The timestamps of the blocks from there on.
    timestamps: VecDeque<Timestamp>,
    /// The height that the index says it starts from at the end.
    index_start: Height,
    /// How many transactions the blocks from there on hold.
    indexed: u64,
    /// The transactions whose signatures have not been checked yet.
    signed: Vec<(Height, Transaction)>,
}

impl<'a> Replay<'a> {
    fn new(snapshot: &'a Snapshot, network: &'a Network) -> Result<Self, StoreError> {
        let waiting = snapshot.mempool()?.iter().map(|(_, transaction)| transaction.id()).collect();
        Ok(Self {
            snapshot,
            network,
            waiting,
            hash: Hash::default(),
            header: network.genesis,
            window: Window::ending_with(&network.genesis, network, |hash| snapshot.record(hash))?,
            work: Work::default(),
            balances: network.accounts.iter().map(|account| (account.id, account.balance)).collect(),
            transactions: 0,
            recent: BTreeMap::new(),
            indexed_from: Height(0),
            timestamps: VecDeque::new(),
            index_start: snapshot.indexed_from()?,
            indexed: 0,
            signed: Vec::new(),
        })
    }

    /// Goes on by one block.
    fn block(&mut self, height: Height, hash: Hash) -> Result<(), VerifyError> {
        let at = |error| VerifyError::Unreadable { height, error };
        let record =
            self.snapshot.record(&hash).map_err(at)?.ok_or(VerifyError::NoRecord { height, hash })?;
        let computed = record.header.hash();
        if computed != hash {
            return Err(VerifyError::WrongHash { height, hash, computed });
        }
        let block = self.snapshot.block(&hash).map_err(at)?.ok_or(VerifyError::NoBlock { height, hash })?;
        if height == Height(0) {
            let expected = self.network.genesis.hash();
            if hash != expected || *block != self.network.genesis_block() {
                return Err(VerifyError::Genesis { found: hash, expected });
            }
        } else {
            self.check_block(height, &block)?;
            let undo = self.transfer(height, &block)?;
            match self.snapshot.undo(&hash).map_err(at)? {
                Some(found) if found == undo => {}
                Some(_) => return Err(VerifyError::WrongUndo(height)),
                None => return Err(VerifyError::NoUndo(height)),
            }
        }
        if record.work != self.work {
            return Err(VerifyError::Work { height, found: record.work, expected: self.work });
        }
        if record.status != Status::Valid {
            return Err(VerifyError::Status { height, found: record.status });
        }
        self.timestamps.push_back(record.header.timestamp);
        (self.hash, self.header) = (hash, record.header);
        Ok(())
    }

    /// The rules that need no balances.
    fn check_block(&mut self, height: Height, block: &Arc<Block>) -> Result<(), VerifyError> {
        let refused = |error| VerifyError::Block { height, error };
        if block.header.prev_hash != self.hash {
            let (found, expected) = (block.header.prev_hash, self.hash);
            return Err(VerifyError::NotLinked { height, found, expected });
        }
        // What was ahead of the clock once is not any more.
        rules::check_context(&block.header, &self.header, &self.window, Timestamp::MAX, self.network)
            .map_err(|error| refused(error.into()))?;
        self.window.push(&block.header);
        let checked = rules::check_block(Arc::clone(block), self.network).map_err(refused)?;
        self.work = self.work + checked.work();
        Ok(())
    }

    /// Moves the money of a block above the first; answers how it could be undone.
    fn transfer(&mut self, height: Height, block: &Block) -> Result<Undo, VerifyError> {
        let refused = |error| VerifyError::Block { height, error };
        let mut undo = Undo { balances: BTreeMap::new(), indexed_from: self.indexed_from };
        let oldest = block.header.timestamp.saturating_sub(self.network.limits.window_us());
        while self.recent.first_entry().is_some_and(|entry| entry.key().0 < oldest) {
            self.recent.pop_first();
        }
        for transaction in &block.transactions {
            self.transaction(height, block, transaction, &mut undo)
                .map_err(|error| refused(BlockError::Transaction { id: transaction.id(), error }))?;
            self.note_mined(height, transaction)?;
        }
        if self.network.supply_at(height).is_none() {
            return Err(refused(BlockError::Supply(height)));
        }
        if self.network.reward != Amount(0) {
            self.credit(block.header.miner, self.network.reward, &mut undo);
        }
        let two_windows_us = 2 * self.network.limits.window_us();
        let horizon = block.header.timestamp.saturating_sub(two_windows_us);
        for _ in 0..PRUNED_BLOCKS_MAX {
            if self.timestamps.pop_front_if(|timestamp| *timestamp < horizon).is_none() {
                break;
            }
            self.indexed_from = self.indexed_from.next();
        }
        Ok(undo)
    }

    fn transaction(
        &mut self,
        height: Height,
        block: &Block,
        transaction: &Transaction,
        undo: &mut Undo,
    ) -> Result<(), TransactionError> {
        rules::check_window(transaction, block.header.timestamp, self.network)?;
        let (id, payment) = (transaction.id(), transaction.payment());
        if let Some(earlier) = self.recent.insert((payment.timestamp, id), height) {
            return Err(TransactionError::AlreadyMined(earlier));
        }
        let (from, amount) = (payment.from, payment.amount);
        let balance = *self.balances.get(&from).ok_or(TransactionError::UnknownSender(from))?;
        let rest = balance.checked_sub(amount).ok_or(TransactionError::Overspend { balance, amount })?;
        undo.balances.entry(from).or_insert(Some(balance));
        self.balances.insert(from, rest);
        self.credit(payment.to, amount, undo);
        Ok(())
    }

    fn credit(&mut self, account: AccountId, amount: Amount, undo: &mut Undo) {
        let before = self.balances.get(&account).copied();
        undo.balances.entry(account).or_insert(before);
        let after = before.unwrap_or_default().checked_add(amount);
        self.balances.insert(account, after.expect("a part of a supply that fits an amount fits one"));
    }

    /// Compares what else the store says of a mined transaction, and puts its signature in line.
    fn note_mined(&mut self, height: Height, transaction: &Transaction) -> Result<(), VerifyError> {
        let id = transaction.id();
        if self.waiting.contains(&id) {
            return Err(VerifyError::Waiting { id, error: TransactionError::AlreadyMined(height) });
        }
        if self.index_start <= height {
            let found = self.snapshot.mined(&id);
            let found = found.map_err(|error| VerifyError::Unreadable { height, error })?;
            if found != Some(height) {
                return Err(VerifyError::NotIndexed { height, id, found });
            }
            self.indexed += 1;
        }
        self.transactions += 1;
        if transaction.authorization().is_some() {
            self.signed.push((height, transaction.clone()));
            if self.signed.len() == BATCH_LEN {
                self.check_signatures()?;
            }
        }
        Ok(())
    }

    fn check_signatures(&mut self) -> Result<(), VerifyError> {
        let signed = std::mem::take(&mut self.signed);
        if are_signatures_valid(signed.iter().map(|(_, transaction)| transaction)) {
            return Ok(());
        }
        let bad = signed.iter().find(|(_, transaction)| !transaction.is_signature_valid());
        let (height, transaction) = bad.expect("the batch's verdict is that of one by one");
        let error = BlockError::Transaction { id: transaction.id(), error: TransactionError::BadSignature };
        Err(VerifyError::Block { height: *height, error })
    }
}
