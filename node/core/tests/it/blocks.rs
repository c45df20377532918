//! Every rule of a block that is none of its header's or of one transaction, and what becomes of good blocks.

use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice};
use quarry_core::header::Header;
use quarry_core::memory::MemoryStore;
use quarry_core::message::Message;
use quarry_core::network::{Network, NetworkFile};
use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::store::Status;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, Hash, Height};

use crate::rig::{PEER, Rig, SECOND_US, network_file, remade, search};

/// A block is refused for this reason, and leaves no trace.
#[track_caller]
fn check(make: impl Fn(&Rig) -> Block, error: impl Fn(&Block) -> BlockError) {
    let mut rig = Rig::new();
    let block = make(&rig);
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error: error(&block) };
    let bytes = Message::Block(block.into()).encode(rig.network());
    rig.assert_refused(Event::Message { from: Some(PEER), bytes }, &[refused]);
}

/// A block with some good transactions, its proof of work and then something changed.
fn changed(rig: &Rig, change: impl Fn(&mut Block)) -> Block {
    let mut block = rig.next((1..=5).map(|cents| rig.pay("open0", "alice", cents)).collect());
    change(&mut block);
    block
}

#[test]
fn a_block_holds_at_most_so_many_transactions() {
    let full = |rig: &Rig, count| rig.next((1..=count).map(|cents| rig.pay("open0", "bob", cents)).collect());
    check(|rig| full(rig, 21), |_| BlockError::TooManyTransactions { count: 21, max: 20 });
    let mut rig = Rig::new();
    let block = full(&rig, 20);
    rig.push(&block);
    assert_eq!(rig.node.tip().hash, block.header.hash());
}

#[test]
fn the_header_commits_to_the_body() {
    let changes: [&dyn Fn(&mut Block); 8] = [
        &|block| block.extra_nonce += 1,
        &|block| block.transactions.truncate(4),
        &|block| block.transactions.clear(),
        &|block| block.transactions.swap(0, 1),
        // The way in which Bitcoin's Merkle tree once took a block with its end repeated for the block itself.
        &|block| block.transactions.push(block.transactions[4].clone()),
        &|block| block.transactions.extend_from_within(3..),
        &|block| block.header = search(Header { tx_root: Hash::default(), ..block.header }),
        &|block| block.transactions[2] = block.transactions[1].clone(),
    ];
    for change in changes {
        check(
            |rig| changed(rig, change),
            |block| BlockError::TxRoot { claimed: block.header.tx_root, computed: block.tx_root() },
        );
    }
}

#[test]
fn a_changed_signature_changes_the_root() {
    check(
        |rig| {
            let good = rig.pay("alice", "bob", 1);
            let mut block = rig.next(vec![good.clone()]);
            block.transactions[0] = rig.with_authorization(&good, |it| it.signature[0] ^= 1);
            block
        },
        |block| BlockError::TxRoot { claimed: block.header.tx_root, computed: block.tx_root() },
    );
}

#[test]
fn a_transaction_stands_once_in_a_block() {
    check(
        |rig| {
            let twice = rig.pay("open0", "alice", 1);
            rig.next(vec![twice.clone(), rig.pay("open0", "alice", 2), twice])
        },
        |block| BlockError::DuplicateTransaction(block.transactions[0].id()),
    );
    // Another signature does not make another transaction of it.
    check(
        |rig| {
            let good = rig.pay("alice", "bob", 1);
            let other = rig.with_authorization(&good, |it| it.signature[0] ^= 1);
            rig.next(vec![good, other])
        },
        |block| BlockError::DuplicateTransaction(block.transactions[0].id()),
    );
}

#[test]
fn an_id_at_the_edge_of_the_network_is_an_id_like_any_other() {
    let mut rig = Rig::new();
    for (from, to) in [("open0", "#0"), ("open0", "#255"), ("alice", "#0")] {
        let block = rig.next(vec![rig.pay(from, to, 1)]);
        rig.push(&block);
        assert_eq!(rig.node.tip().hash, block.header.hash());
        rig.advance(SECOND_US);
    }
    assert_eq!(rig.balance("#0"), Some(2));
}

#[test]
fn the_rewards_stop_where_an_amount_ends() {
    let file = NetworkFile { reward: Amount(u64::MAX / 2).to_string(), ..network_file() };
    let mut rig = Rig::with(&file);
    let first = rig.next(Vec::new());
    rig.push(&first);
    assert_eq!(rig.node.tip().hash, first.header.hash());
    let miner = AccountId::open("somebody");
    assert_eq!(rig.store().balances.get(&miner), Some(&Amount(u64::MAX / 2)));
    rig.advance(SECOND_US);
    let before = rig.state();
    let second = rig.next(vec![rig.pay("open0", "alice", 1)]);
    let error = BlockError::Supply(Height(2));
    let refused = Notice::BlockRefused { from: Some(PEER), hash: second.header.hash(), error };
    assert_eq!(rig.push(&second).notices, [refused]);
    assert_eq!(rig.state(), before);
}

#[test]
fn the_reward_goes_to_the_miner_and_can_be_spent_in_the_next_block_only() {
    let file = NetworkFile { reward: "0.50".into(), ..network_file() };
    let mined_by_open1 = |rig: &Rig, transactions| {
        let mut block = rig.next(transactions);
        block.header.miner = rig.account("open1");
        remade(block)
    };
    let mut rig = Rig::with(&file);
    let too_soon = rig.pay("open1", "alice", 1050);
    let block = mined_by_open1(&rig, vec![too_soon.clone()]);
    let error = TransactionError::Overspend { balance: Amount(1000), amount: Amount(1050) };
    let error = BlockError::Transaction { id: too_soon.id(), error };
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
    assert_eq!(rig.push(&block).notices, [refused]);
    rig.push(&mined_by_open1(&rig, Vec::new()));
    assert_eq!(rig.balance("open1"), Some(1050));
    rig.advance(SECOND_US);
    rig.push(&rig.next(vec![too_soon]));
    assert_eq!(rig.balance("open1"), Some(0));
    assert_eq!(rig.balance("alice"), Some(2050));
}

#[test]
fn what_stands_on_an_invalid_block_is_invalid() {
    let mut rig = Rig::new();
    let overspend = rig.pay("empty", "bob", 1);
    let bad = rig.next(vec![overspend.clone()]);
    let error = TransactionError::Overspend { balance: Amount(0), amount: Amount(1) };
    let error = BlockError::Transaction { id: overspend.id(), error };
    let hash = bad.header.hash();
    let refused = Notice::BlockRefused { from: Some(PEER), hash, error };
    assert_eq!(rig.push(&bad).notices, [refused]);
    for (block, named) in [(rig.child(&bad.header, Vec::new()), hash), (bad, hash)] {
        let error = BlockError::InvalidBranch(named);
        let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
        let bytes = Message::Block(block.into()).encode(rig.network());
        let before = rig.state();
        assert_eq!(rig.step(Event::Message { from: Some(PEER), bytes }).notices, [refused]);
        assert_eq!(rig.state(), before);
    }
    rig.assert_works();
}

#[test]
fn an_invalid_block_deep_in_a_side_branch_spoils_all_that_stands_on_it() {
    let mut rig = Rig::new();
    let genesis = rig.network().genesis;
    let main = rig.branch(&genesis, 3, 1);
    for block in &main {
        rig.push(block);
    }
    let good = rig.child(&genesis, Vec::new());
    let bad = rig.child(&good.header, vec![rig.pay("empty", "bob", 1)]);
    let third = rig.child(&bad.header, Vec::new());
    let other_third = rig.branch(&bad.header, 1, 7).remove(0);
    for block in [&good, &bad] {
        let (height, hash) = (block.header.index, block.header.hash());
        assert_eq!(rig.push(block).notices, [Notice::SideBranch { height, hash }]);
    }
    // Each has as much work as the tip, so whether it is tried out depends on its hash.
    rig.push(&third);
    rig.push(&other_third);
    for parent in [&third, &other_third] {
        let fourth = rig.child(&parent.header, Vec::new());
        rig.push(&fourth);
        assert_eq!(rig.node.tip().hash, main[2].header.hash());
        let status = |hash| rig.store().records.get(&hash).map(|record| record.status);
        assert_eq!(status(bad.header.hash()), Some(Status::Invalid));
        assert_ne!(status(fourth.header.hash()), Some(Status::Valid));
    }
    assert_eq!(rig.balance("bob"), Some(1000));
    // The good block below the bad one is still good.
    let mut better = rig.branch(&good.header, 3, 9);
    for block in better.drain(..) {
        rig.push(&block);
    }
    assert_eq!(rig.node.tip().header.index, Height(4));
    rig.assert_works();
}

/// Whoever sends a body that does not belong to a header must not keep the block that has that header out.
#[test]
fn a_wrong_body_does_not_censor_the_right_one() {
    let mut rig = Rig::new();
    let good = rig.next(vec![rig.pay("open0", "alice", 1), rig.pay("alice", "bob", 2)]);
    let mut wrong_bodies = vec![good.clone(), good.clone(), good.clone()];
    wrong_bodies[0].transactions.pop();
    wrong_bodies[1].transactions[0] = rig.pay("empty", "alice", 1);
    wrong_bodies[2].extra_nonce = 9;
    for wrong in wrong_bodies {
        let error = BlockError::TxRoot { claimed: wrong.header.tx_root, computed: wrong.tx_root() };
        let refused = Notice::BlockRefused { from: Some(PEER), hash: wrong.header.hash(), error };
        assert_eq!(rig.push(&wrong).notices, [refused]);
    }
    rig.push(&good);
    assert_eq!(rig.node.tip().hash, good.header.hash());
}

#[test]
fn the_same_block_again_is_no_news() {
    let mut rig = Rig::new();
    let block = rig.next(vec![rig.pay("open0", "alice", 1)]);
    rig.push(&block);
    let before = rig.state();
    for _ in 0..3 {
        assert_eq!(rig.push(&block).notices, []);
    }
    let genesis = rig.network().genesis_block();
    assert!(
        matches!(rig.push(&genesis).notices[..], [Notice::BlockRefused { .. }]),
        "it has no proof of work"
    );
    assert_eq!(rig.state(), before);
    rig.assert_works();
}

#[test]
fn a_clients_block_counts_like_any_other() {
    let mut rig = Rig::new();
    let block = rig.next(Vec::new());
    let (height, hash) = (Height(1), block.header.hash());
    let outcome = rig.receive(None, &Message::Block(block.into()));
    assert_eq!(outcome.notices, [Notice::Extended { height, hash, transactions: 0, from: None }]);
}

#[test]
fn orphans_wait_for_their_parents() {
    let mut rig = Rig::new();
    let blocks = rig.branch(&rig.network().genesis, 5, 1);
    for block in blocks[1..].iter().rev() {
        let outcome = rig.push(block);
        assert_eq!(outcome.notices[0], Notice::Orphan(block.header.hash()));
        assert_eq!(rig.push(block).notices, [], "it waits already");
    }
    assert_eq!(rig.node.orphans().len(), 4);
    rig.push(&blocks[0]);
    assert_eq!(rig.node.tip().hash, blocks[4].header.hash());
    assert!(rig.node.orphans().is_empty());
}

#[test]
fn a_bad_orphan_is_refused_when_its_parent_comes() {
    let mut rig = Rig::new();
    let parent = rig.next(Vec::new());
    let mut child = rig.child(&parent.header, Vec::new());
    child.header.index = Height(7);
    let child = remade(child);
    let good = rig.child(&parent.header, vec![rig.pay("open0", "bob", 1)]);
    rig.push(&child);
    rig.push(&good);
    let notices = rig.push(&parent).notices;
    let error = quarry_core::rules::HeaderError::Index { index: Height(7), parent: Height(1) }.into();
    let refused = Notice::BlockRefused { from: Some(PEER), hash: child.header.hash(), error };
    assert!(notices.contains(&refused), "{notices:?}");
    assert_eq!(rig.node.tip().hash, good.header.hash());
}

#[test]
fn orphans_are_bounded() {
    use quarry_core::orphans::ORPHANS_MAX;
    let mut rig = Rig::new();
    let blocks = rig.branch(&rig.network().genesis, 1 + 2 * ORPHANS_MAX, 1);
    for block in blocks[1..].iter().rev() {
        rig.push(block);
        assert!(rig.node.orphans().len() <= ORPHANS_MAX);
    }
    // The last ones in are the ones near the root, and they are the ones that stayed.
    rig.push(&blocks[0]);
    assert_eq!(rig.node.tip().header.index, Height(1 + ORPHANS_MAX as u64));
}

#[test]
fn a_store_of_another_network_is_refused() {
    let rig = Rig::new();
    let other = Network::new(&NetworkFile { name: "other".into(), ..network_file() }).unwrap();
    let options = quarry_core::node::Options {
        id: crate::rig::SELF,
        miner: AccountId::default(),
        mine: false,
        mine_empty: false,
        seed: 0,
        status_interval_us: SECOND_US,
        status_interval_max_us: SECOND_US,
        relay_window_us: SECOND_US,
        reply_timeout_us: SECOND_US,
        mesh_max: quarry_core::node::MESH_MAX,
    };
    let store: MemoryStore = rig.store().clone();
    let error = quarry_core::node::Node::open(Arc::new(other), options, store, rig.now).err().unwrap();
    assert_eq!(error.to_string(), "storage: it holds the chain of another network");
}

#[test]
fn equal_payments_at_different_times_are_different_transactions() {
    let mut rig = Rig::new();
    let transactions: Vec<Transaction> =
        (0..5).map(|later_us| rig.pay_at("open0", "bob", 10, later_us)).collect();
    let block = rig.next(transactions);
    rig.push(&block);
    assert_eq!(rig.balance("bob"), Some(1050));
}
