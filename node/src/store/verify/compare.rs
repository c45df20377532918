//! Compares what a store holds with the outcome of the replay, table by table.

use std::collections::BTreeSet;

use quarry_core::retarget::Window;
use quarry_core::rules::{self, TransactionError};
use quarry_core::store::{Record, Status, Store, StoreError};
use quarry_core::transaction::{Transaction, are_signatures_valid};
use quarry_core::units::{Amount, Hash, Height, Timestamp};

use super::{Replay, VerifyError};

/// How many balances are read at once.
const PAGE_LEN: usize = 1024;

/// The balances; answers their sum.
pub(super) fn balances(replay: &Replay<'_>) -> Result<Amount, VerifyError> {
    let (height, at) = (replay.header.index, at_tip(replay));
    let (mut sum, mut count, mut last, mut wrong) = (0, 0, None, None);
    loop {
        let page = replay.snapshot.balances(last.as_ref(), PAGE_LEN).map_err(&at)?;
        let Some((account, _)) = page.last() else { break };
        last = Some(*account);
        count += page.len();
        for (account, balance) in page {
            sum += u128::from(balance.0);
            let (found, expected) = (Some(balance), replay.balances.get(&account).copied());
            if found != expected {
                wrong = wrong.or(Some(VerifyError::Balance { height, account, found, expected }));
            }
        }
    }
    let expected = replay.network.supply_at(height).expect("it was asked when the last block was replayed");
    if sum != u128::from(expected.0) {
        return Err(VerifyError::Money { height, found: sum, expected });
    }
    if let Some(error) = wrong {
        return Err(error);
    }
    if count < replay.balances.len() {
        for (account, balance) in &replay.balances {
            let found = replay.snapshot.balance(account).map_err(&at)?;
            if found.is_none() {
                let (account, expected) = (*account, Some(*balance));
                return Err(VerifyError::Balance { height, account, found, expected });
            }
        }
    }
    Ok(expected)
}

/// The best chain, which the replay has followed up to the tip.
pub(super) fn path(replay: &Replay<'_>) -> Result<(), VerifyError> {
    let (height, at) = (replay.header.index, at_tip(replay));
    match replay.snapshot.path_range(height.next()..=Height(u64::MAX)).map_err(&at)?.next() {
        Some(entry) => Err(VerifyError::AboveTip(entry.map_err(&at)?.0)),
        None => Ok(()),
    }
}

/// The index of mined transactions. The replay has found each that should be there, so it is enough to count.
pub(super) fn index(replay: &Replay<'_>) -> Result<(), VerifyError> {
    let (height, at) = (replay.header.index, at_tip(replay));
    let (found, expected) = (replay.index_start, replay.indexed_from);
    if found != expected {
        return Err(VerifyError::IndexedFrom { height, found, expected });
    }
    if replay.snapshot.index_len().map_err(&at)? == replay.indexed {
        return Ok(());
    }
    let mut ids = BTreeSet::new();
    for entry in replay.snapshot.path_range(found..=height).map_err(&at)? {
        let (height, hash) = entry.map_err(&at)?;
        let block = replay.snapshot.block(&hash).map_err(&at)?;
        let block = block.ok_or(VerifyError::NoBlock { height, hash })?;
        ids.extend(block.transactions.iter().map(Transaction::id));
    }
    for entry in replay.snapshot.index().map_err(&at)? {
        let (id, height) = entry.map_err(&at)?;
        if !ids.contains(&id) {
            return Err(VerifyError::StrayIndexed { height, id });
        }
    }
    Err(at(miscounted("mined")))
}

/// The blocks beside the best chain, and what should belong to a block; answers how many those beside it are.
pub(super) fn blocks(replay: &Replay<'_>) -> Result<u64, VerifyError> {
    let (snapshot, height, at) = (replay.snapshot, replay.header.index, at_tip(replay));
    let (mut side_blocks, mut side_bodies) = (0, 0);
    for entry in snapshot.records().map_err(&at)? {
        let (hash, record) = entry.map_err(&at)?;
        if snapshot.path(record.header.index).map_err(&at)? != Some(hash) {
            side_blocks += 1;
            side_bodies += u64::from(side_block(replay, hash, &record)?);
        }
    }
    if snapshot.bodies_len().map_err(&at)? != height.0 + 1 + side_bodies {
        for entry in snapshot.bodies().map_err(&at)? {
            let hash = entry.map_err(&at)?;
            snapshot.record(&hash).map_err(&at)?.ok_or(VerifyError::StrayBlock(hash))?;
        }
        return Err(at(miscounted("bodies")));
    }
    if snapshot.undo_len().map_err(&at)? != height.0 {
        for entry in snapshot.undo_hashes().map_err(&at)? {
            let hash = entry.map_err(&at)?;
            let record = snapshot.record(&hash).map_err(&at)?.ok_or(VerifyError::StrayUndo(hash))?;
            let index = record.header.index;
            if index == Height(0) || snapshot.path(index).map_err(&at)? != Some(hash) {
                return Err(VerifyError::StrayUndo(hash));
            }
        }
        return Err(at(miscounted("undo")));
    }
    Ok(side_blocks)
}

/// Whether the transactions of the block beside the best chain are there.
fn side_block(replay: &Replay<'_>, hash: Hash, record: &Record) -> Result<bool, VerifyError> {
    let (height, header) = (record.header.index, &record.header);
    let at = |error| VerifyError::Unreadable { height, error };
    let refused = |error| VerifyError::SideBlock { height, hash, error };
    let computed = header.hash();
    if computed != hash {
        return Err(VerifyError::WrongHash { height, hash, computed });
    }
    let parent = replay.snapshot.record(&header.prev_hash).map_err(at)?;
    let parent = parent.ok_or(VerifyError::NoParent { height, hash })?;
    let (_, work) = rules::check_header(header).map_err(|error| refused(error.into()))?;
    let window = Window::ending_with(&parent.header, replay.network, |hash| replay.snapshot.record(hash));
    rules::check_context(header, &parent.header, &window.map_err(at)?, Timestamp::MAX, replay.network)
        .map_err(|error| refused(error.into()))?;
    let (found, expected) = (record.work, parent.work + work);
    if found != expected {
        return Err(VerifyError::Work { height, found, expected });
    }
    let block = replay.snapshot.block(&hash).map_err(at)?;
    if record.status != Status::Invalid {
        let block = block.clone().ok_or(VerifyError::NoBlock { height, hash })?;
        rules::check_block(block, replay.network).map_err(refused)?;
        if (replay.work, hash) < (record.work, replay.hash) {
            return Err(VerifyError::BetterBranch { height, hash });
        }
    }
    Ok(block.is_some())
}

/// The transactions that wait. The replay has seen that none of them is mined.
pub(super) fn mempool(replay: &Replay<'_>) -> Result<(), VerifyError> {
    let entries = replay.snapshot.mempool().map_err(at_tip(replay))?;
    let mut ids = BTreeSet::new();
    for (_, transaction) in &entries {
        let id = transaction.id();
        rules::check_transaction(transaction, replay.network)
            .map_err(|error| VerifyError::Waiting { id, error })?;
        if !ids.insert(id) {
            return Err(VerifyError::Waiting { id, error: TransactionError::AlreadyPending });
        }
    }
    if !are_signatures_valid(entries.iter().map(|(_, transaction)| transaction.as_ref())) {
        let bad = entries.iter().find(|(_, transaction)| !transaction.is_signature_valid());
        let (_, transaction) = bad.expect("the batch's verdict is that of one by one");
        return Err(VerifyError::Waiting { id: transaction.id(), error: TransactionError::BadSignature });
    }
    Ok(())
}

/// The blocks that are to be announced.
pub(super) fn outbox(replay: &Replay<'_>) -> Result<(), VerifyError> {
    let at = at_tip(replay);
    for (_, hash) in replay.snapshot.outbox().map_err(&at)? {
        replay.snapshot.block(&hash).map_err(&at)?.ok_or(VerifyError::NothingToAnnounce(hash))?;
    }
    Ok(())
}

fn at_tip(replay: &Replay<'_>) -> impl Fn(StoreError) -> VerifyError + use<> {
    let height = replay.header.index;
    move |error| VerifyError::Unreadable { height, error }
}

/// For a table whose count is wrong although each of its entries is in order.
fn miscounted(table: &str) -> StoreError {
    StoreError(format!("table {table} has another number of entries than it says"))
}
