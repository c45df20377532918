//! What the nonce search works on: a block that lacks only its extra nonce and nonce.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::{self, Block};
use crate::chain::Tip;
use crate::header::Header;
use crate::mempool::Mempool;
use crate::network::Network;
use crate::retarget::Window;
use crate::rules::check_window;
use crate::store::{Overlay, StoreError};
use crate::transaction::Transaction;
use crate::units::{AccountId, Amount, Hash, Timestamp};

/// A block that lacks only its extra nonce and nonce.
#[derive(Debug)]
pub struct Template {
    /// Grows with every template of a node.
    pub id: u64,
    /// The first extra nonce to try; any later one does as well.
    pub extra_nonce: u64,
    /// How many waiting transactions were looked at.
    pub(crate) scanned: usize,
    header: Header,
    merkle_root: Hash,
    transactions: Vec<Arc<Transaction>>,
}

impl Template {
    /// The header with this extra nonce and nonce.
    pub fn header(&self, extra_nonce: u64, nonce: u64) -> Header {
        let count =
            u32::try_from(self.transactions.len()).expect("a block holds fewer than 2^32 transactions");
        Header { tx_root: block::tx_root(extra_nonce, count, &self.merkle_root), nonce, ..self.header }
    }

    /// The finished block.
    pub fn block(&self, extra_nonce: u64, nonce: u64) -> Block {
        let transactions = self.transactions.iter().map(|it| Transaction::clone(it)).collect();
        Block { header: self.header(extra_nonce, nonce), extra_nonce, transactions }
    }

    /// How many transactions the block holds.
    pub fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// The difficulty that a hash must meet.
    pub fn target(&self) -> [u8; 32] {
        let target = self.header.bits.target().expect("a network's bits have a target");
        target.to_be_bytes()
    }

    /// The template of the block after the tip, with the waiting transactions that can be paid, by order of arrival.
    pub(crate) fn assemble(
        id: u64,
        extra_nonce: u64,
        miner: AccountId,
        now: Timestamp,
        parts: &Parts<'_>,
    ) -> Result<Self, StoreError> {
        let Parts { tip, network, overlay, .. } = parts;
        let window = Window::ending_with(&tip.header, network, |hash| overlay.record(hash))?;
        let timestamp = now.max(tip.header.timestamp.saturating_add(1));
        let (transactions, scanned) = payable(timestamp, parts)?;
        let header = Header {
            prev_hash: tip.hash,
            tx_root: Hash::default(),
            version: Header::VERSION,
            bits: window.next_bits(timestamp, network),
            index: tip.header.index.next(),
            timestamp,
            miner,
            nonce: 0,
        };
        let merkle_root = block::merkle_root(transactions.iter().map(AsRef::as_ref));
        Ok(Self { id, extra_nonce, scanned, header, merkle_root, transactions })
    }
}

/// What a template is made from.
pub(crate) struct Parts<'a> {
    pub(crate) tip: &'a Tip,
    pub(crate) mempool: &'a Mempool,
    pub(crate) overlay: &'a Overlay<'a>,
    pub(crate) network: &'a Network,
}

/// The transactions for a block with this timestamp, those that can be paid one after the other, and how many were
/// looked at. All are, if need be: a limit would let payments that cannot be paid keep out those behind them.
fn payable(timestamp: Timestamp, parts: &Parts<'_>) -> Result<(Vec<Arc<Transaction>>, usize), StoreError> {
    let Parts { mempool, overlay, network, .. } = parts;
    let count_max = usize::try_from(network.limits.block_transactions).unwrap_or(usize::MAX);
    let mut balances: BTreeMap<AccountId, Amount> = BTreeMap::new();
    let mut transactions = Vec::new();
    let mut scanned = 0;
    for transaction in mempool.iter() {
        if transactions.len() == count_max {
            break;
        }
        scanned += 1;
        let payment = transaction.payment();
        if check_window(transaction, timestamp, network).is_err() {
            continue;
        }
        let balance = |account: &AccountId| match balances.get(account) {
            Some(balance) => Ok(*balance),
            None => overlay.balance(account).map(Option::unwrap_or_default),
        };
        let debited = balance(&payment.from)?.checked_sub(payment.amount);
        let credited = balance(&payment.to)?.checked_add(payment.amount);
        // The chain may be ahead of the clock: then it may have forgotten an id of which the clock says that it is
        // young, and remember it after a reorganisation.
        let is_mined = || overlay.mined(&transaction.id()).map(|height| height.is_some());
        if let (Some(debited), Some(credited)) = (debited, credited)
            && !is_mined()?
        {
            balances.insert(payment.from, debited);
            balances.insert(payment.to, credited);
            transactions.push(Arc::clone(transaction));
        }
    }
    Ok((transactions, scanned))
}
