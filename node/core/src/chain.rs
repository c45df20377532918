//! The tree of blocks and its best branch.
//! Invariant: the ledger always is that of the tip, and no known valid branch is better than the tip's.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::Block;
use crate::header::Header;
use crate::ledger;
use crate::network::Network;
use crate::retarget::{EASIEST_LOG2, Window};
use crate::rules::{self, BlockError, CheckedBlock, HeaderError};
use crate::store::{Changes, Overlay, Record, Status, Store, StoreError, missing};
use crate::target::Work;
use crate::transaction::Transaction;
use crate::units::{Hash, Height, Timestamp};

/// How much easier than the tip an orphan may be, in powers of two: difficulties move apart on branches.
const ORPHAN_EASIER_LOG2_MAX: u32 = 6;

/// The last block of the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its hash.
    pub hash: Hash,
    /// Its header.
    pub header: Header,
    /// The work of the whole chain.
    pub work: Work,
}

/// What became of a block.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// It was known.
    Known,
    /// Its parent is unknown.
    Orphan,
    /// It is on a branch that is not the best.
    SideBranch,
    /// It is the new tip.
    NewTip(Switch),
}

/// A move from one tip to another.
#[derive(Debug, Clone, Default)]
pub struct Switch {
    /// The blocks that left the best chain, last one first.
    pub abandoned: Vec<Arc<Block>>,
    /// The blocks that joined it, first one first.
    pub applied: Vec<Arc<Block>>,
}

/// The order of branches.
///
/// # Consensus
/// More work is better; of two branches with equal work the one whose last hash is lower. Nodes mine only while
/// transactions wait, so a tie that went by order of arrival could last for ever.
pub fn is_better(work: Work, hash: &Hash, than: &Tip) -> bool {
    (than.work, hash) < (work, &than.hash)
}

/// The changes that turn an empty store into one that holds the first block.
pub fn genesis(network: &Network) -> Changes {
    let hash = network.genesis.hash();
    let record = Record { header: network.genesis, work: Work::default(), status: Status::Valid };
    let mut changes = Changes { tip: Some(hash), indexed_from: Some(Height(0)), ..Changes::default() };
    changes.records.insert(hash, record);
    changes.blocks.insert(hash, Arc::new(network.genesis_block()));
    changes.path.insert(Height(0), Some(hash));
    let balances = network.accounts.iter().map(|account| (account.id, Some(account.balance)));
    changes.balances.extend(balances);
    changes
}

/// The tip that a store holds.
pub fn tip(store: &dyn Store) -> Result<Option<Tip>, StoreError> {
    let Some(hash) = store.tip()? else { return Ok(None) };
    let record = store.record(&hash)?.ok_or_else(|| missing("record of block", &hash))?;
    Ok(Some(Tip { hash, header: record.header, work: record.work }))
}

/// Adds a block to the tree and moves to its branch if that is the best now. On success the changes are appended to
/// `pending`; a refusal leaves at most the note that the block is invalid.
pub fn accept(
    store: &dyn Store,
    pending: &mut Changes,
    tip: &mut Tip,
    block: &CheckedBlock,
    context: &Context<'_>,
) -> Result<Result<Accepted, BlockError>, StoreError> {
    let (hash, header) = (block.hash(), block.block().header);
    let mut overlay = Overlay::new(store, pending);
    match overlay.record(&hash)?.map(|record| record.status) {
        Some(Status::Invalid) => return Ok(Err(BlockError::InvalidBranch(hash))),
        Some(Status::Stored | Status::Valid) => return Ok(Ok(Accepted::Known)),
        None => {}
    }
    let Some(parent) = overlay.record(&header.prev_hash)? else {
        return Ok(check_orphan(&header, tip, context.network)
            .map(|()| Accepted::Orphan)
            .map_err(Into::into));
    };
    if parent.status == Status::Invalid {
        return Ok(Err(BlockError::InvalidBranch(header.prev_hash)));
    }
    let window = Window::ending_with(&parent.header, context.network, |hash| overlay.record(hash))?;
    if let Err(error) = rules::check_context(&header, &parent.header, &window, context.now, context.network) {
        return Ok(Err(error.into()));
    }
    let record = Record { header, work: parent.work + block.work(), status: Status::Stored };
    overlay.top.records.insert(hash, record);
    overlay.top.blocks.insert(hash, Arc::clone(block.block()));
    if !is_better(record.work, &hash, tip) {
        let changes = overlay.top;
        pending.append(changes);
        return Ok(Ok(Accepted::SideBranch));
    }
    let branch = branch(&overlay, hash)?;
    match switch(&mut overlay, tip, &branch, context)? {
        Ok(switch) => {
            let changes = overlay.top;
            pending.append(changes);
            *tip = Tip { hash, header, work: record.work };
            Ok(Ok(Accepted::NewTip(switch)))
        }
        Err((position, error)) => {
            let records = invalidated(&overlay, &branch[position..])?;
            pending.records.extend(records);
            Ok(Err(error))
        }
    }
}

/// Wants of a block with an unknown parent, whose difficulty cannot be checked, a work that is worth something, or else
/// orphans would cost nothing to make.
fn check_orphan(header: &Header, tip: &Tip, network: &Network) -> Result<(), HeaderError> {
    let (bits, expected) = (header.bits, network.bits);
    if network.block_time_us == 0 {
        return if bits == expected { Ok(()) } else { Err(HeaderError::WrongBits { bits, expected }) };
    }
    let easiest = tip.header.bits.target()?.shifted_left(ORPHAN_EASIER_LOG2_MAX, EASIEST_LOG2);
    if bits.target()? <= easiest { Ok(()) } else { Err(HeaderError::TooEasy { bits, tip: tip.header.bits }) }
}

/// What the acceptance of a block depends on besides the chain.
pub struct Context<'a> {
    /// The network's parameters.
    pub network: &'a Network,
    /// The clock.
    pub now: Timestamp,
    /// Says of a transaction that its signature has been found valid before.
    pub is_verified: &'a dyn Fn(&Transaction) -> bool,
}

/// The hashes from the first block that is not on the best chain up to `hash`.
fn branch(overlay: &Overlay<'_>, mut hash: Hash) -> Result<Vec<Hash>, StoreError> {
    let mut branch = Vec::new();
    loop {
        let record = overlay.record(&hash)?.ok_or_else(|| missing("record of block", &hash))?;
        if overlay.is_on_path(&hash, record.header.index)? {
            branch.reverse();
            return Ok(branch);
        }
        branch.push(hash);
        hash = record.header.prev_hash;
    }
}

/// Moves the ledger from the tip to the end of a branch, or says which block of the branch breaks which rule; the
/// overlay's top is spoilt then.
fn switch(
    overlay: &mut Overlay<'_>,
    tip: &Tip,
    branch: &[Hash],
    context: &Context<'_>,
) -> Result<Result<Switch, (usize, BlockError)>, StoreError> {
    let mut switch = Switch::default();
    let fork = match branch.first() {
        Some(first) => block(overlay, first)?.header.prev_hash,
        None => tip.hash,
    };
    let mut hash = tip.hash;
    while hash != fork {
        let block = block(overlay, &hash)?;
        ledger::undo(overlay, &hash, &block)?;
        hash = block.header.prev_hash;
        switch.abandoned.push(block);
    }
    for (position, hash) in branch.iter().enumerate() {
        let block = block(overlay, hash)?;
        let mut record = overlay.record(hash)?.ok_or_else(|| missing("record of block", hash))?;
        if record.status == Status::Invalid {
            return Ok(Err((position, BlockError::InvalidBranch(*hash))));
        }
        let is_verified = |it: &Transaction| record.status == Status::Valid || (context.is_verified)(it);
        if let Err(error) = ledger::apply(overlay, context.network, hash, &block, &is_verified)? {
            return Ok(Err((position, error)));
        }
        record.status = Status::Valid;
        overlay.top.records.insert(*hash, record);
        switch.applied.push(block);
    }
    Ok(Ok(switch))
}

/// The records of the blocks of a branch, from the one that breaks a rule on, marked as invalid.
fn invalidated(overlay: &Overlay<'_>, branch: &[Hash]) -> Result<Vec<(Hash, Record)>, StoreError> {
    let mut records = Vec::new();
    for hash in branch {
        let record = overlay.record(hash)?.ok_or_else(|| missing("record of block", hash))?;
        records.push((*hash, Record { status: Status::Invalid, ..record }));
    }
    Ok(records)
}

fn block(overlay: &Overlay<'_>, hash: &Hash) -> Result<Arc<Block>, StoreError> {
    overlay.block(hash)?.ok_or_else(|| missing("block", hash))
}
