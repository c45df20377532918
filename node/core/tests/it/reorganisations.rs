//! Moves from one branch to another, and that no transaction is mined twice, before, across or after one.

use std::collections::BTreeSet;
use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice};
use quarry_core::header::Header;
use quarry_core::memory::MemoryStore;
use quarry_core::mempool::MEMPOOL_MAX;
use quarry_core::message::Message;
use quarry_core::network::{Limits, NetworkFile};
use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Height, TxId};

use crate::rig::{BYSTANDER, HOUR_US, PEER, Rig, SECOND_US, network_file, remade};

/// A window of a minute, so that ids are forgotten after two.
fn forgetful() -> Rig {
    Rig::with(&NetworkFile {
        limits: Limits { transaction_window: 60, ..network_file().limits },
        ..network_file()
    })
}

/// A good block on top of another, dated so many microseconds after it.
fn later(rig: &Rig, parent: &Header, micros: u64, transactions: Vec<Transaction>) -> Block {
    let mut block = rig.child(parent, transactions);
    block.header.timestamp = parent.timestamp.saturating_add(micros);
    remade(block)
}

#[track_caller]
fn assert_already_mined(rig: &mut Rig, block: &Block, id: TxId, height: u64) {
    let before = rig.state();
    let error = TransactionError::AlreadyMined(Height(height));
    let error = BlockError::Transaction { id, error };
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
    assert_eq!(rig.push(block).notices, [refused]);
    assert_eq!(rig.state(), before);
}

fn waiting(rig: &Rig) -> Vec<TxId> {
    rig.node.mempool().iter().map(|it| it.id()).collect()
}

fn ids(transactions: &[Transaction]) -> Vec<TxId> {
    transactions.iter().map(Transaction::id).collect()
}

/// The original's sample output shows one transaction mined in three blocks.
#[test]
fn a_transaction_sent_a_hundred_times_by_everybody_is_mined_once() {
    let mut rig = Rig::mining();
    let transactions = [rig.pay("open0", "bob", 10), rig.pay("alice", "bob", 10)];
    let send = |rig: &mut Rig| {
        for round in 0..100 {
            for from in [None, Some(PEER), Some(BYSTANDER)] {
                let message = Message::Transactions(transactions[round % 2..].to_vec());
                rig.receive(from, &message);
            }
        }
    };
    send(&mut rig);
    assert_eq!(rig.node.mempool().len(), 2);
    rig.wait();
    rig.find();
    send(&mut rig);
    assert_eq!(rig.node.tip().header.index, Height(1));
    assert_eq!(rig.store().blocks[&rig.node.tip().hash].transactions.len(), 2);
    assert!(rig.node.mempool().is_empty());
    rig.wait();
    assert!(rig.node.template().is_none(), "there is nothing left to mine");
    assert_eq!(rig.balance("bob"), Some(1020));
}

#[test]
fn a_reorganisation_undoes_and_applies() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    let (first, second) = (rig.pay("open0", "alice", 100), rig.pay("alice", "bob", 1100));
    let old = rig.child(&genesis, vec![first.clone(), second.clone()]);
    rig.push(&old);
    assert_eq!((rig.balance("alice"), rig.balance("bob")), (Some(0), Some(2100)));
    let third = rig.pay("open1", "#9", 7);
    let new_first = later(&rig, &genesis, 2 * SECOND_US, vec![third.clone()]);
    let new_second = rig.child(&new_first.header, vec![first.clone()]);
    rig.push(&new_first);
    let outcome = rig.push(&new_second);
    let reorganised = Notice::Reorganised {
        height: Height(2),
        hash: new_second.header.hash(),
        abandoned: 1,
        applied: 2,
        returned: 1,
        dropped: 0,
    };
    // Where the hash of the first new block wins the tie it is the tip already.
    if outcome.notices != [reorganised] {
        assert!(matches!(outcome.notices[..], [Notice::Extended { height: Height(2), .. }]), "{outcome:?}");
    }
    assert_eq!(rig.node.tip().hash, new_second.header.hash());
    assert_eq!(waiting(&rig), [second.id()]);
    assert_eq!(rig.balance("open0"), Some(900));
    assert_eq!(rig.balance("open1"), Some(993));
    assert_eq!(rig.balance("alice"), Some(1100));
    assert_eq!(rig.balance("bob"), Some(1000));
    assert_eq!(rig.balance("#9"), Some(7));
    let mined: BTreeSet<TxId> = rig.store().mined.keys().copied().collect();
    assert_eq!(mined, BTreeSet::from([first.id(), third.id()]));
    assert_eq!(waiting(&rig.reopened()), [second.id()], "on disk, too");
}

#[test]
fn an_account_that_only_an_abandoned_block_paid_is_unknown_again() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    rig.push(&rig.child(&genesis, vec![rig.pay("open0", "#9", 100)]));
    assert_eq!(rig.balance("#9"), Some(100));
    for block in rig.branch(&genesis, 2, 3) {
        rig.push(&block);
    }
    assert_eq!(rig.balance("#9"), None);
    assert_eq!(rig.store().undo.len(), 2, "one for every block of the best chain but the first");
}

#[test]
fn abandoned_transactions_wait_again_in_their_old_order() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    let transactions: Vec<_> = (0..9).map(|later_us| rig.pay_at("open0", "bob", 1, later_us)).collect();
    let mut parent = genesis;
    for three in transactions.chunks(3) {
        let block = rig.child(&parent, three.to_vec());
        parent = block.header;
        rig.push(&block);
    }
    for block in rig.branch(&genesis, 4, 3) {
        rig.push(&block);
    }
    assert_eq!(rig.node.tip().header.index, Height(4));
    assert_eq!(waiting(&rig), ids(&transactions));
    assert_eq!(waiting(&rig.reopened()), ids(&transactions));
    rig.advance(SECOND_US);
    rig.push(&rig.next(transactions));
    assert!(rig.node.mempool().is_empty());
    assert!(rig.reopened().node.mempool().is_empty());
}

#[test]
fn a_transaction_may_change_its_block_but_not_be_in_two() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    let moved = rig.pay("alice", "bob", 1);
    let old = rig.branch(&genesis, 1, 1);
    rig.push(&old[0]);
    rig.push(&rig.child(&old[0].header, vec![moved.clone()]));
    assert_already_mined_at(&rig, &moved, 2);
    let mut new = rig.branch(&genesis, 2, 2);
    new.insert(0, later(&rig, &genesis, 5 * SECOND_US, vec![moved.clone()]));
    new[1] = rig.child(&new[0].header, Vec::new());
    new[2] = rig.child(&new[1].header, Vec::new());
    for block in &new {
        rig.push(block);
    }
    assert_eq!(rig.node.tip().hash, new[2].header.hash());
    assert_already_mined_at(&rig, &moved, 1);
    assert!(rig.node.mempool().is_empty());
    let again = rig.child(&new[2].header, vec![moved.clone()]);
    assert_already_mined(&mut rig, &again, moved.id(), 1);
    assert_eq!(rig.balance("bob"), Some(1001));
    rig.assert_works();
}

#[track_caller]
fn assert_already_mined_at(rig: &Rig, transaction: &Transaction, height: u64) {
    assert_eq!(rig.store().mined.get(&transaction.id()), Some(&Height(height)));
}

#[test]
fn a_branch_that_mines_a_transaction_twice_is_invalid_as_a_whole() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    let main = rig.branch(&genesis, 3, 1);
    for block in &main {
        rig.push(block);
    }
    let twice = rig.pay("open0", "bob", 1);
    let first = rig.child(&genesis, vec![twice.clone()]);
    let second = rig.child(&first.header, vec![twice.clone()]);
    let rest = rig.branch(&second.header, 3, 2);
    for block in [&first, &second].into_iter().chain(&rest) {
        rig.push(block);
        assert_eq!(rig.node.tip().hash, main[2].header.hash());
        assert_eq!(rig.balance("bob"), Some(1000));
    }
    rig.assert_works();
}

#[test]
fn ids_are_forgotten_after_two_windows_and_remembered_when_that_is_undone() {
    let mut rig = forgetful();
    let genesis = rig.network().genesis;
    // Dated as late as it may be, so that it is valid for as long as possible.
    rig.now.utc = genesis.timestamp.saturating_add(SECOND_US);
    let transaction = rig.pay_at("alice", "bob", 1, 60 * SECOND_US.cast_signed());
    rig.now.utc = genesis.timestamp.saturating_add(HOUR_US);
    let mined = later(&rig, &genesis, SECOND_US, vec![transaction.clone()]);
    rig.push(&mined);
    let unpruned = rig.state();
    let second = later(&rig, &mined.header, 120 * SECOND_US, vec![transaction.clone()]);
    assert_already_mined(&mut rig, &second, transaction.id(), 1);
    // It could stand in this block, so its id must still be known; a microsecond later it could not.
    let second = later(&rig, &mined.header, 120 * SECOND_US, Vec::new());
    rig.push(&second);
    assert_already_mined_at(&rig, &transaction, 1);
    assert_eq!(rig.store().indexed_from, Height(1));
    let third = later(&rig, &second.header, 1, Vec::new());
    rig.push(&third);
    assert_eq!(rig.store().indexed_from, Height(2));
    assert!(rig.store().mined.is_empty());
    let replay = rig.child(&third.header, vec![transaction.clone()]);
    let notices = rig.push(&replay).notices;
    let is_too_old = |error: &TransactionError| matches!(error, TransactionError::TooOld { .. });
    assert!(matches!(
        &notices[..],
        [Notice::BlockRefused { error: BlockError::Transaction { error, .. }, .. }] if is_too_old(error)
    ));
    // Another branch goes back to when the transaction was young.
    let young = rig.branch(&mined.header, 3, 4);
    for block in &young {
        rig.push(block);
    }
    assert_eq!(rig.node.tip().hash, young[2].header.hash());
    assert_already_mined_at(&rig, &transaction, 1);
    assert_eq!(rig.store().indexed_from, Height(0));
    let replay = rig.child(&young[2].header, vec![transaction.clone()]);
    assert_already_mined(&mut rig, &replay, transaction.id(), 1);
    assert_ne!(rig.state(), unpruned);
    assert_eq!(rig.balance("bob"), Some(1001));
    rig.advance(61 * SECOND_US);
    rig.assert_works();
}

/// After a night without blocks the first one forgot the ids of the whole evening at once, and kept all of them in
/// memory while it did, and again when it was undone.
#[test]
fn a_block_forgets_the_ids_of_a_bounded_number_of_others() {
    use quarry_core::ledger::PRUNED_BLOCKS_MAX;
    let mut rig = forgetful();
    let evening = rig.branch(&rig.network().genesis, 4 * usize::try_from(PRUNED_BLOCKS_MAX).unwrap(), 1);
    for block in &evening {
        rig.push(block);
    }
    let mut expected = rig.store().indexed_from.0;
    for _ in 0..4 {
        rig.advance(HOUR_US);
        rig.push(&rig.next(Vec::new()));
        expected = (expected + PRUNED_BLOCKS_MAX).min(rig.node.tip().header.index.0);
        assert_eq!(rig.store().indexed_from, Height(expected));
    }
    rig.advance(HOUR_US);
    rig.push(&rig.next(Vec::new()));
    assert_eq!(rig.store().indexed_from, rig.node.tip().header.index, "it catches up");
}

/// The chain may be a little ahead of the clock: then an id is forgotten by the chain's time while the clock still
/// takes the transaction for young, and nodes took it once more. Once a reorganisation brought the id back, every block
/// that a node made of what waits was refused. A store that was written then may hold such a transaction still.
#[test]
fn what_waits_though_it_was_mined_spoils_no_block() {
    let mut rig = Rig::open(Arc::clone(forgetful().node.network()), MemoryStore::default(), |options| {
        options.mine = true
    });
    let genesis = rig.network().genesis;
    let start = genesis.timestamp.saturating_add(SECOND_US);
    rig.now.utc = start;
    let twice = rig.pay_at("alice", "bob", 1, 60 * SECOND_US.cast_signed());
    let first = later(&rig, &genesis, SECOND_US, vec![twice.clone()]);
    // The chain is 119 s ahead of the clock.
    rig.now.utc = start.saturating_add(5 * SECOND_US);
    let second = later(&rig, &first.header, 121 * SECOND_US, Vec::new());
    rig.push(&first);
    rig.push(&second);
    assert!(rig.store().mined.is_empty());
    let mut store = rig.store().clone();
    store.mempool.insert(0, Arc::new(twice.clone()));
    let now = rig.now;
    let mut rig = Rig::open(Arc::clone(rig.node.network()), store, |options| options.mine = true);
    rig.now = now;
    assert_eq!(waiting(&rig), [twice.id()]);
    // This branch is level with the clock.
    let branch = rig.branch(&first.header, 2, 9);
    for block in &branch {
        rig.push(block);
    }
    assert_eq!(rig.node.tip().hash, branch[1].header.hash());
    let honest = rig.pay("open0", "bob", 5);
    rig.relay(vec![honest.clone()]);
    rig.wait();
    let outcome = rig.find();
    assert!(
        matches!(outcome.notices[..], [Notice::Extended { transactions: 1, .. }]),
        "{:?}",
        outcome.notices
    );
    assert_eq!(rig.store().mined.get(&honest.id()), Some(&Height(4)));
}

#[test]
fn what_does_not_fit_the_mempool_is_counted() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    let abandoned: Vec<_> = (0..3).map(|later_us| rig.pay_at("open0", "bob", 1, later_us)).collect();
    rig.push(&rig.child(&genesis, abandoned.clone()));
    // As many as waited when the last reorganisation was over.
    let mut store: MemoryStore = rig.store().clone();
    for number in 0..2 * MEMPOOL_MAX as u64 - 1 {
        let waiting = rig.pay_at("open1", "alice", 1, number.cast_signed() - 1_000_000);
        store.mempool.insert(number, Arc::new(waiting));
    }
    let mut rig = Rig::open(Arc::clone(rig.node.network()), store, |_| {});
    let mut notices = Vec::new();
    for block in rig.branch(&genesis, 2, 1) {
        notices.extend(rig.push(&block).notices);
    }
    let (returned, dropped) = (1, 2);
    assert!(notices.iter().any(|notice| matches!(
        notice,
        Notice::Reorganised { abandoned: 1, returned: it, dropped: other, .. }
            if (*it, *other) == (returned, dropped)
    )));
    assert!(rig.node.mempool().transaction(&abandoned[0].id()).is_some());
    assert_eq!(rig.node.mempool().len(), 2 * MEMPOOL_MAX);
}

#[test]
fn equal_branches_end_the_same_way_in_any_order() {
    let make = || {
        let rig = Rig::new();
        let genesis = rig.network().genesis;
        let blocks: Vec<Block> = (1..9).flat_map(|salt| rig.branch(&genesis, 2, salt)).collect();
        (rig, blocks)
    };
    let (mut rig, blocks) = make();
    for block in &blocks {
        rig.push(block);
    }
    let lowest = blocks.iter().skip(1).step_by(2).map(|block| block.header.hash()).min();
    assert_eq!(Some(rig.node.tip().hash), lowest, "the lower hash wins a tie");
    let (mut other, blocks) = make();
    for block in blocks.iter().rev() {
        other.push(block);
    }
    assert_eq!(other.node.tip().hash, rig.node.tip().hash);
    assert_eq!(other.store().path, rig.store().path);
}

#[test]
fn a_reorganisation_far_below_the_tip_is_no_different() {
    let file = NetworkFile { reward: "0.01".into(), ..network_file() };
    let mut rig = Rig::with(&file);
    let genesis = rig.network().genesis;
    for block in rig.branch(&genesis, 900, 1) {
        rig.push(&block);
    }
    let deep = rig.branch(&genesis, 901, 2);
    for block in &deep {
        rig.push(block);
    }
    assert_eq!(rig.node.tip().hash, deep[900].header.hash());
    assert_eq!(rig.store().balances.get(&AccountId([1; 20])), None);
    assert_eq!(rig.store().balances.get(&AccountId([2; 20])).map(|amount| amount.0), Some(901));
    assert_eq!(rig.store().path.len(), 902);
    rig.step(Event::Tick);
}

/// A hostile block ahead of the clock made the index forget a transaction that was young by the clock. A node took it
/// once more, and after a switch to a branch that is not ahead it waited though the index knew it as mined.
#[test]
fn what_a_chain_ahead_of_the_clock_has_forgotten_does_not_wait_again() {
    let mut rig = forgetful();
    let transaction = rig.pay_at("open0", "bob", 1, -10 * SECOND_US.cast_signed());
    let timestamp = transaction.payment().timestamp;
    let genesis = rig.network().genesis;
    let first = later(&rig, &genesis, HOUR_US - 10 * SECOND_US, vec![transaction.clone()]);
    let ahead = later(&rig, &first.header, 125 * SECOND_US, Vec::new());
    rig.push(&first);
    rig.push(&ahead);
    assert!(rig.store().mined.is_empty(), "it is forgotten");

    let too_old = TransactionError::TooOld { timestamp, time: ahead.header.timestamp, window: 60 };
    assert_eq!(rig.submit(transaction.clone()), Err(too_old));

    for block in rig.branch(&first.header, 2, 1) {
        rig.push(&block);
    }
    assert_eq!(waiting(&rig), []);
    assert_eq!(rig.submit(transaction), Err(TransactionError::AlreadyMined(Height(1))));
}
