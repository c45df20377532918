//! Balances: how a block moves money, and how to take it back.
//! Invariant: undoing what was applied gives back every balance and index entry exactly as it was.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::block::Block;
use crate::network::Network;
use crate::rules::{BlockError, TransactionError, check_window};
use crate::store::{Overlay, StoreError, Undo, missing};
use crate::transaction::{Transaction, are_signatures_valid};
use crate::units::{AccountId, Amount, Hash, Height};

/// The most blocks whose transactions' ids one block lets be forgotten. There may be very many, after a night without
/// blocks; later blocks go on where this one ends.
pub const PRUNED_BLOCKS_MAX: u64 = 64;

/// Applies a block on top of the tip. On an error in `Ok(Err(..))` the overlay is spoilt and must be dropped.
/// `is_verified` says of a transaction that its signature has been found valid before.
///
/// # Consensus
/// Each transaction is within the window around the block's timestamp and not in the chain already; no balance goes
/// below zero at any point in the order of transactions; all signatures are valid. The reward is credited last, and
/// the money there is in all never exceeds what an amount can say.
pub fn apply(
    overlay: &mut Overlay<'_>,
    network: &Network,
    hash: &Hash,
    block: &Block,
    is_verified: &dyn Fn(&Transaction) -> bool,
) -> Result<Result<(), BlockError>, StoreError> {
    let height = block.header.index;
    let mut undo = Undo { balances: BTreeMap::new(), indexed_from: overlay.indexed_from()? };
    for transaction in &block.transactions {
        if let Err(error) = apply_transaction(overlay, network, block, transaction, &mut undo)? {
            return Ok(Err(error.of(transaction)));
        }
        overlay.top.mined.insert(transaction.id(), Some(height));
    }
    if !are_signatures_valid(block.transactions.iter().filter(|it| !is_verified(it))) {
        return Ok(Err(BlockError::BadSignature));
    }
    if network.reward != Amount(0) {
        if network.supply_at(height).is_none() {
            return Ok(Err(BlockError::Supply(height)));
        }
        credit(overlay, &mut undo, block.header.miner, network.reward)?;
    }
    prune_index(overlay, network, block)?;
    overlay.top.undo.insert(*hash, Some(undo));
    overlay.top.path.insert(height, Some(*hash));
    overlay.top.tip = Some(*hash);
    Ok(Ok(()))
}

/// Takes the tip off the ledger.
pub fn undo(overlay: &mut Overlay<'_>, hash: &Hash, block: &Block) -> Result<(), StoreError> {
    let undo = overlay.undo(hash)?.ok_or_else(|| missing("undo data of block", hash))?;
    for transaction in &block.transactions {
        overlay.top.mined.insert(transaction.id(), None);
    }
    let pruned = undo.indexed_from.0..overlay.indexed_from()?.0;
    for height in pruned.map(Height) {
        for transaction in &block_at(overlay, height)?.transactions {
            overlay.top.mined.insert(transaction.id(), Some(height));
        }
    }
    overlay.top.indexed_from = Some(undo.indexed_from);
    overlay.top.balances.extend(undo.balances);
    overlay.top.undo.insert(*hash, None);
    overlay.top.path.insert(block.header.index, None);
    overlay.top.tip = Some(block.header.prev_hash);
    Ok(())
}

fn apply_transaction(
    overlay: &mut Overlay<'_>,
    network: &Network,
    block: &Block,
    transaction: &Transaction,
    undo: &mut Undo,
) -> Result<Result<(), TransactionError>, StoreError> {
    if let Err(error) = check_window(transaction, block.header.timestamp, network) {
        return Ok(Err(error));
    }
    if let Some(height) = overlay.mined(&transaction.id())? {
        return Ok(Err(TransactionError::AlreadyMined(height)));
    }
    let payment = transaction.payment();
    let sender = overlay.balance(&payment.from)?;
    let Some(balance) = sender else {
        return Ok(Err(TransactionError::UnknownSender(payment.from)));
    };
    let Some(debited) = balance.checked_sub(payment.amount) else {
        return Ok(Err(TransactionError::Overspend { balance, amount: payment.amount }));
    };
    set_balance(overlay, undo, payment.from, sender, debited);
    credit(overlay, undo, payment.to, payment.amount)?;
    Ok(Ok(()))
}

fn credit(
    overlay: &mut Overlay<'_>,
    undo: &mut Undo,
    account: AccountId,
    amount: Amount,
) -> Result<(), StoreError> {
    let before = overlay.balance(&account)?;
    let after = before.unwrap_or_default().checked_add(amount);
    let after = after.expect("the supply fits an amount, and so does any part of it");
    set_balance(overlay, undo, account, before, after);
    Ok(())
}

fn set_balance(
    overlay: &mut Overlay<'_>,
    undo: &mut Undo,
    account: AccountId,
    before: Option<Amount>,
    after: Amount,
) {
    overlay.top.balances.insert(account, Some(after));
    undo.balances.entry(account).or_insert(before);
}

/// Forgets the ids of transactions that are too old to be valid in a block after this one.
fn prune_index(overlay: &mut Overlay<'_>, network: &Network, block: &Block) -> Result<(), StoreError> {
    // A transaction in a block of time a has a timestamp of at most a + window, and one that is still valid in a
    // block of time b has a timestamp of at least b - window.
    let horizon = block.header.timestamp.saturating_sub(2 * network.limits.window_us());
    let from = overlay.indexed_from()?;
    let end = block.header.index.min(Height(from.0.saturating_add(PRUNED_BLOCKS_MAX)));
    let mut height = from;
    while height < end {
        let hash = overlay.path(height)?.ok_or_else(|| missing("block at height", &height))?;
        let record = overlay.record(&hash)?.ok_or_else(|| missing("record of block", &hash))?;
        if horizon <= record.header.timestamp {
            break;
        }
        for transaction in &block_at(overlay, height)?.transactions {
            overlay.top.mined.insert(transaction.id(), None);
        }
        height = height.next();
    }
    if from < height {
        overlay.top.indexed_from = Some(height);
    }
    Ok(())
}

fn block_at(overlay: &Overlay<'_>, height: Height) -> Result<Arc<Block>, StoreError> {
    let hash = overlay.path(height)?.ok_or_else(|| missing("block at height", &height))?;
    overlay.block(&hash)?.ok_or_else(|| missing("block", &hash))
}
