//! The rules of the chain, one error variant each.
//!
//! A block is checked in three stages, cheapest first: [`check_block`] needs nothing but the block, [`check_context`]
//! its parent and the clock, and [`crate::ledger`] the balances. Invariant: a [`CheckedBlock`] has passed the first.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use crate::block::Block;
use crate::header::Header;
use crate::network::Network;
use crate::retarget::{AHEAD_BLOCK_TIMES_MAX, Window};
use crate::target::{Bits, BitsError, Work};
use crate::transaction::Transaction;
use crate::units::{AccountId, Amount, Hash, Height, Timestamp, TxId};

/// How far a block's timestamp may be ahead of the local clock where the difficulty is fixed, in microseconds.
pub const AHEAD_MAX_US: u64 = 120 * 1_000_000;

/// Why a header is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The version is unknown.
    #[error("header version {0} is unknown")]
    Version(u32),
    /// The compact target is none.
    #[error(transparent)]
    Bits(#[from] BitsError),
    /// The hash is not below the target.
    #[error("hash {hash} is not below the target of bits {bits}")]
    ProofOfWork {
        /// The header's hash.
        hash: Hash,
        /// The target that it claims.
        bits: Bits,
    },
    /// The height is not one above the parent's.
    #[error("index {index} follows {parent}")]
    Index {
        /// The header's.
        index: Height,
        /// The parent's.
        parent: Height,
    },
    /// The difficulty is not the one that its place in the chain has.
    #[error("bits {bits}, but they should be {expected}")]
    WrongBits {
        /// The header's.
        bits: Bits,
        /// As they should be.
        expected: Bits,
    },
    /// So little work proves nothing about a block whose parent is unknown.
    #[error("bits {bits} are too easy for a block with an unknown parent; the tip has {tip}")]
    TooEasy {
        /// The header's.
        bits: Bits,
        /// The tip's.
        tip: Bits,
    },
    /// The timestamp is not after the parent's.
    #[error("timestamp {timestamp} is not after the parent's {parent}")]
    NotAfterParent {
        /// The header's.
        timestamp: Timestamp,
        /// The parent's.
        parent: Timestamp,
    },
    /// The timestamp is too far in the future. The block may be welcome later.
    #[error("timestamp {timestamp} is more than {max} s ahead of the clock, {now}")]
    TooFarAhead {
        /// The header's.
        timestamp: Timestamp,
        /// The local clock.
        now: Timestamp,
        /// How far it may be, in seconds.
        max: u64,
    },
}

/// Why a transaction is refused, alone or in a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// It moves nothing.
    #[error("the amount is 0.00")]
    ZeroAmount,
    /// It moves money nowhere.
    #[error("sender and receiver are the same account")]
    SelfTransfer,
    /// The sender's account needs a signature.
    #[error("account {0} is not open: a signature is needed")]
    Unsigned(AccountId),
    /// The sender's account takes no signature.
    #[error("account {0} is open: a signature has no place")]
    SignedOpen(AccountId),
    /// The key is not the sender's.
    #[error("the public key is not that of account {0}")]
    WrongKey(AccountId),
    /// The signature is not the key's.
    #[error("the signature is invalid")]
    BadSignature,
    /// The timestamp is too long before that of the block, or before now.
    #[error("timestamp {timestamp} is more than the window of {window} s before {time}")]
    TooOld {
        /// The transaction's.
        timestamp: Timestamp,
        /// The block's, or now.
        time: Timestamp,
        /// The network's limit.
        window: u32,
    },
    /// The timestamp is too long after that of the block, or after now.
    #[error("timestamp {timestamp} is more than the window of {window} s after {time}")]
    TooNew {
        /// The transaction's.
        timestamp: Timestamp,
        /// The block's, or now.
        time: Timestamp,
        /// The network's limit.
        window: u32,
    },
    /// It is in the chain already.
    #[error("already in the chain at height {0}")]
    AlreadyMined(Height),
    /// The sender's account never had any money.
    #[error("sender {0} is unknown: it never received anything")]
    UnknownSender(AccountId),
    /// The sender's account has too little money.
    #[error("sender has {balance}, which is less than {amount}")]
    Overspend {
        /// What is there.
        balance: Amount,
        /// What is to be paid.
        amount: Amount,
    },
    /// It waits to be mined already.
    #[error("already pending")]
    AlreadyPending,
    /// Too many transactions wait already.
    #[error("{0} transactions are pending already")]
    MempoolFull(usize),
}

/// Why a block is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The header breaks a rule.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// More transactions than the network allows.
    #[error("{count} transactions, but a block has at most {max}")]
    TooManyTransactions {
        /// How many.
        count: usize,
        /// The network's limit.
        max: u32,
    },
    /// The header does not commit to these transactions.
    #[error("tx_root is {claimed}, but that of the transactions is {computed}")]
    TxRoot {
        /// The header's.
        claimed: Hash,
        /// As it should be.
        computed: Hash,
    },
    /// The same transaction twice.
    #[error("transaction {0} stands twice in the block")]
    DuplicateTransaction(TxId),
    /// A transaction breaks a rule.
    #[error("transaction {id}: {error}")]
    Transaction {
        /// Which.
        id: TxId,
        /// The rule.
        error: TransactionError,
    },
    /// A block signature does not hold; which one was not asked.
    #[error("a signature is invalid")]
    BadSignature,
    /// The rewards add up to more than an amount can say.
    #[error("at height {0} the rewards make the supply exceed 184467440737095516.15")]
    Supply(Height),
    /// Its branch has so much less work than the best chain that it is not kept: the works of both.
    #[error("its branch has a work of {}, far below the {} of the best chain", .0.0, .0.1)]
    TooLittleWork(Box<(Work, Work)>),
    /// It is known to break a rule, or stands on a block that does.
    #[error("block {0} of its branch is invalid")]
    InvalidBranch(Hash),
}

impl TransactionError {
    pub(crate) fn of(self, transaction: &Transaction) -> BlockError {
        BlockError::Transaction { id: transaction.id(), error: self }
    }
}

/// A block that keeps every rule that can be checked without its parent.
#[derive(Debug, Clone)]
pub struct CheckedBlock {
    hash: Hash,
    work: Work,
    block: Arc<Block>,
}

impl CheckedBlock {
    /// The block's hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The work that the block alone proves.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The block.
    pub fn block(&self) -> &Arc<Block> {
        &self.block
    }
}

/// Checks the proof of work; answers the hash and the work.
///
/// # Consensus
/// The version is 1, the compact target canonical, and the hash below the target.
pub fn check_header(header: &Header) -> Result<(Hash, Work), HeaderError> {
    if header.version != Header::VERSION {
        return Err(HeaderError::Version(header.version));
    }
    let target = header.bits.target()?;
    let hash = header.hash();
    if !target.is_met_by(&hash) {
        return Err(HeaderError::ProofOfWork { hash, bits: header.bits });
    }
    Ok((hash, target.work()))
}

/// Checks a header against its parent, the clock, and the bits that its place in the chain wants.
///
/// # Consensus
/// The height is the parent's plus one; the difficulty is that of [`crate::retarget`]; the timestamp is after the
/// parent's and at most 3 block times, or 120 s where the difficulty is fixed, ahead of the clock.
pub fn check_context(
    header: &Header,
    parent: &Header,
    window: &Window,
    now: Timestamp,
    network: &Network,
) -> Result<(), HeaderError> {
    if Some(header.index.0) != parent.index.0.checked_add(1) {
        return Err(HeaderError::Index { index: header.index, parent: parent.index });
    }
    let timestamp = header.timestamp;
    if timestamp <= parent.timestamp {
        return Err(HeaderError::NotAfterParent { timestamp, parent: parent.timestamp });
    }
    let (bits, expected) = (header.bits, window.next_bits(timestamp, network));
    if bits != expected {
        return Err(HeaderError::WrongBits { bits, expected });
    }
    let ahead_max_us = ahead_max_us(network);
    if now.saturating_add(ahead_max_us) < timestamp {
        return Err(HeaderError::TooFarAhead { timestamp, now, max: ahead_max_us / 1_000_000 });
    }
    Ok(())
}

/// How far a block's timestamp may be ahead of the local clock, in microseconds.
pub fn ahead_max_us(network: &Network) -> u64 {
    match network.block_time_us {
        0 => AHEAD_MAX_US,
        block_time_us => AHEAD_BLOCK_TIMES_MAX * block_time_us,
    }
}

/// Checks everything about a block that can be checked without its parent.
///
/// # Consensus
/// The header is as [`check_header`] wants it, the transactions are no more than the network allows, all different,
/// each as [`check_transaction`] wants it, and the header commits to them.
pub fn check_block(block: impl Into<Arc<Block>>, network: &Network) -> Result<CheckedBlock, BlockError> {
    let block = block.into();
    let (hash, work) = check_header(&block.header)?;
    let (count, max) = (block.transactions.len(), network.limits.block_transactions);
    if usize::try_from(max).is_ok_and(|max| max < count) {
        return Err(BlockError::TooManyTransactions { count, max });
    }
    let (claimed, computed) = (block.header.tx_root, block.tx_root());
    if claimed != computed {
        return Err(BlockError::TxRoot { claimed, computed });
    }
    let mut ids = BTreeSet::new();
    for transaction in &block.transactions {
        check_transaction(transaction, network).map_err(|error| error.of(transaction))?;
        if !ids.insert(transaction.id()) {
            return Err(BlockError::DuplicateTransaction(transaction.id()));
        }
    }
    Ok(CheckedBlock { hash, work, block })
}

/// Checks everything about a transaction that can be checked without the ledger, except for the signature, which is
/// checked last because it costs most.
///
/// # Consensus
/// The amount is above 0; sender and receiver differ; a transaction from an open account is unsigned, every other
/// carries the sender's key.
pub fn check_transaction(transaction: &Transaction, network: &Network) -> Result<(), TransactionError> {
    let payment = transaction.payment();
    if payment.amount == Amount(0) {
        return Err(TransactionError::ZeroAmount);
    }
    if payment.from == payment.to {
        return Err(TransactionError::SelfTransfer);
    }
    match (transaction.authorization(), network.is_open(&payment.from)) {
        (None, true) => Ok(()),
        (None, false) => Err(TransactionError::Unsigned(payment.from)),
        (Some(_), true) => Err(TransactionError::SignedOpen(payment.from)),
        (Some(authorization), false) if AccountId::keyed(&authorization.public_key) == payment.from => Ok(()),
        (Some(_), false) => Err(TransactionError::WrongKey(payment.from)),
    }
}

/// Checks a transaction's timestamp against that of the block that holds it, or against the clock while it waits.
///
/// # Consensus
/// They are at most the network's window apart, so that the ids of older transactions need not be remembered.
pub fn check_window(
    transaction: &Transaction,
    time: Timestamp,
    network: &Network,
) -> Result<(), TransactionError> {
    let timestamp = transaction.payment().timestamp;
    let (window, window_us) = (network.limits.transaction_window, network.limits.window_us());
    if timestamp < time.saturating_sub(window_us) {
        return Err(TransactionError::TooOld { timestamp, time, window });
    }
    if time.saturating_add(window_us) < timestamp {
        return Err(TransactionError::TooNew { timestamp, time, window });
    }
    Ok(())
}
