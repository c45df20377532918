//! What can be wrong with a store.

use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::store::{Status, StoreError};
use quarry_core::target::Work;
use quarry_core::units::{AccountId, Amount, Hash, Height, TxId};

/// The first inconsistency found in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Nothing has been stored yet.
    #[error("the store is empty")]
    Empty,
    /// There are blocks, but none is the tip.
    #[error("no block is the tip")]
    NoTip,
    /// Bytes cannot be read, or do not mean anything.
    #[error("height {height}: {error}")]
    Unreadable {
        /// How far the check had come.
        height: Height,
        /// What cannot be read.
        error: StoreError,
    },
    /// The tip is a block that nothing is known of.
    #[error("the tip {0} has no record")]
    UnknownTip(Hash),
    /// The tip is not the end of the best chain.
    #[error("height {height}: the tip is {tip}, but the best chain ends with {end}")]
    Tip {
        /// The tip's height.
        height: Height,
        /// The tip.
        tip: Hash,
        /// The block of the best chain at that height.
        end: Hash,
    },
    /// The best chain has a gap.
    #[error("height {0}: the best chain has no block")]
    PathGap(Height),
    /// The best chain goes on above the tip.
    #[error("height {0}: the best chain goes on above the tip")]
    AboveTip(Height),
    /// The first block is not the network's.
    #[error("height 0: the first block is {found}, not {expected}")]
    Genesis {
        /// What is there.
        found: Hash,
        /// The network's.
        expected: Hash,
    },
    /// A block of the best chain has no record.
    #[error("height {height}: block {hash} has no record")]
    NoRecord {
        /// Where.
        height: Height,
        /// Which block.
        hash: Hash,
    },
    /// A block's transactions are missing.
    #[error("height {height}: block {hash} is missing")]
    NoBlock {
        /// Where.
        height: Height,
        /// Which block.
        hash: Hash,
    },
    /// A header stands under a hash that is not its own.
    #[error("height {height}: the header of block {hash} hashes to {computed}")]
    WrongHash {
        /// Where.
        height: Height,
        /// The hash that it stands under.
        hash: Hash,
        /// Its own.
        computed: Hash,
    },
    /// A block's parent is not the block below.
    #[error("height {height}: the block names {found} as its parent, but {expected} is below it")]
    NotLinked {
        /// Where.
        height: Height,
        /// The parent that it names.
        found: Hash,
        /// The block below.
        expected: Hash,
    },
    /// A block breaks a rule.
    #[error("height {height}: {error}")]
    Block {
        /// Where.
        height: Height,
        /// The rule.
        error: BlockError,
    },
    /// The work of the chain up to a block is wrong.
    #[error("height {height}: the work is {found}, not {expected}")]
    Work {
        /// Where.
        height: Height,
        /// As it is recorded.
        found: Work,
        /// As it should be.
        expected: Work,
    },
    /// A block of the best chain is not recorded as valid.
    #[error("height {height}: the block is on the best chain, but recorded as {found:?}")]
    Status {
        /// Where.
        height: Height,
        /// As it is recorded.
        found: Status,
    },
    /// The undo data of a block of the best chain is missing.
    #[error("height {0}: the undo data is missing")]
    NoUndo(Height),
    /// The undo data of a block of the best chain would not restore what was there.
    #[error("height {0}: the undo data is wrong")]
    WrongUndo(Height),
    /// There is undo data of a block that is not on the best chain above the first block.
    #[error("there is undo data of block {0}, which has nothing to undo")]
    StrayUndo(Hash),
    /// The index of mined transactions lacks one, or says it is elsewhere.
    #[error("height {height}: transaction {id} is not indexed here, but {}", place(*found))]
    NotIndexed {
        /// The height of its block.
        height: Height,
        /// Which transaction.
        id: TxId,
        /// Where the index says it is.
        found: Option<Height>,
    },
    /// The index has a transaction that it should not have.
    #[error("height {height}: transaction {id} is indexed here, but should not be")]
    StrayIndexed {
        /// The height that the index gives.
        height: Height,
        /// Which transaction.
        id: TxId,
    },
    /// The index starts at the wrong height.
    #[error("height {height}: transactions are indexed from height {found} on, not {expected}")]
    IndexedFrom {
        /// The tip's height.
        height: Height,
        /// As it is recorded.
        found: Height,
        /// As it should be.
        expected: Height,
    },
    /// There is more or less money than there should be.
    #[error("height {height}: the balances add up to {found} cents, not {}", expected.0)]
    Money {
        /// The tip's height.
        height: Height,
        /// What there is.
        found: u128,
        /// What there should be.
        expected: Amount,
    },
    /// An account's balance is wrong.
    #[error("height {height}: account {account} has {}, not {}", amount(*found), amount(*expected))]
    Balance {
        /// The tip's height.
        height: Height,
        /// Which account.
        account: AccountId,
        /// What it has.
        found: Option<Amount>,
        /// What it should have.
        expected: Option<Amount>,
    },
    /// A block beside the best chain has no parent.
    #[error("height {height}: block {hash} beside the best chain has no parent")]
    NoParent {
        /// Where.
        height: Height,
        /// Which block.
        hash: Hash,
    },
    /// A block beside the best chain breaks a rule.
    #[error("height {height}: block {hash} beside the best chain: {error}")]
    SideBlock {
        /// Where.
        height: Height,
        /// Which block.
        hash: Hash,
        /// The rule.
        error: BlockError,
    },
    /// A branch is better than the best chain, and not known to be invalid.
    #[error("height {height}: block {hash} beside the best chain ends a better one")]
    BetterBranch {
        /// The height of its end.
        height: Height,
        /// Its last block.
        hash: Hash,
    },
    /// There are transactions of a block that nothing else is known of.
    #[error("block {0} has no record")]
    StrayBlock(Hash),
    /// A waiting transaction should not be waiting.
    #[error("waiting transaction {id}: {error}")]
    Waiting {
        /// Which.
        id: TxId,
        /// Why it should not.
        error: TransactionError,
    },
    /// A block that is to be announced is not there.
    #[error("block {0} is to be announced, but missing")]
    NothingToAnnounce(Hash),
}

fn place(height: Option<Height>) -> String {
    height.map_or("nowhere".into(), |height| format!("at height {height}"))
}

fn amount(amount: Option<Amount>) -> String {
    amount.map_or("no balance".into(), |amount| amount.to_string())
}
