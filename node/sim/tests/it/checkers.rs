//! Each checker sees what it is there to see.

use std::collections::BTreeSet;
use std::sync::Arc;

use quarry_core::memory::MemoryStore;
use quarry_core::store::Changes;
use quarry_core::units::{Amount, Height};
use quarry_sim::checkers::{Resting, check_agreement, check_conservation, check_idle, check_ledger};
use quarry_sim::options::{Options, SECOND_US};
use quarry_sim::reach::{check_blocks, check_turns};
use quarry_sim::violation::Checker;
use quarry_sim::watch::Watch;
use quarry_sim::world::World;

fn busy() -> World {
    let mut world = World::new(9, Options { transaction_interval_us: SECOND_US, ..Options::calm() });
    world.run_for(90 * SECOND_US);
    world
}

/// A sound store, spoilt.
#[track_caller]
fn check(spoil: impl Fn(&mut MemoryStore), expected: &str) {
    let world = busy();
    let mut store = world.machines[0].disk.read().clone();
    assert_eq!(check_ledger(&store, world.rules()), Ok(()));
    spoil(&mut store);
    let violation = check_ledger(&store, world.rules()).unwrap_err();
    assert!(violation.contains(expected), "{violation}");
}

/// Takes what something returns, of which only that it is gone counts.
fn forget<T>(_: T) {}

#[test]
fn a_spoilt_ledger_is_seen() {
    check(|store| store.balances.values_mut().next().unwrap().0 += 1, "a replay says");
    check(|store| forget(store.balances.pop_first()), "a replay says");
    check(|store| forget(store.mined.pop_first()), "index");
    check(|store| store.indexed_from = Height(2), "index");
    check(|store| forget(store.path.pop_last()), "tip");
    check(|store| forget(store.path.remove(&Height(2))), "does not follow");
    let twice = |store: &mut MemoryStore| {
        let hash = store.path[&Height(3)];
        let mut block = store.blocks[&hash].as_ref().clone();
        let again = block.transactions[0].clone();
        block.transactions.push(again);
        store.blocks.insert(hash, Arc::new(block));
    };
    check(twice, "does not follow");
    let waits = |store: &mut MemoryStore| {
        let hash = store.path[&Height(3)];
        let transaction = store.blocks[&hash].transactions[0].clone();
        store.mempool.insert(99, transaction.into());
    };
    check(waits, "waits though it is mined");
}

#[test]
fn a_block_from_too_far_ahead_is_seen() {
    let world = busy();
    let store = world.machines[0].disk.read().clone();
    let hash = store.path[&Height(1)];
    let block = Arc::clone(&store.blocks[&hash]);
    let timestamp = block.header.timestamp;
    let changes = Changes { blocks: [(hash, block)].into(), ..Changes::default() };
    let judge = |limit| Watch::new(world.rules(), 1).commit(0, &changes, &store, limit).unwrap_err();
    let violation = judge(timestamp.saturating_sub(1));
    assert_eq!(violation.checker, Checker::Verdict);
    assert!(violation.text.contains("none may be later"), "{violation}");
    assert_eq!(
        judge(timestamp).checker,
        Checker::ForkChoice,
        "the store's tip is another, which is seen last"
    );
}

#[test]
fn a_lost_transaction_is_seen() {
    let mut world = busy();
    assert_eq!(check_conservation(&world), Ok(()));
    let lost = world.pay();
    world.watch.admitted.insert(lost.id(), lost);
    assert!(check_conservation(&world).unwrap_err().text.contains("is lost"));
}

#[test]
fn disagreement_is_seen() {
    let world = busy();
    let genesis = world.rules().genesis.hash();
    world.machines[1].disk.apply(Changes { tip: Some(genesis), ..Changes::default() });
    assert!(check_agreement(&world).is_err());
}

#[test]
fn chatter_is_seen() {
    let mut world = busy();
    let before = Resting::of(&world);
    world.run_for(30 * SECOND_US);
    assert!(check_idle(&world, &before).is_err(), "a busy network is not idle");
}

fn gossiping() -> World {
    let mut world = World::new(9, Options { nodes: 24, mesh_max: 0, ..Options::calm() });
    world.asked = Some(BTreeSet::new());
    world.run_for(90 * SECOND_US);
    world
}

#[test]
fn a_node_that_asks_nobody_is_seen() {
    assert_eq!(check_turns(&mut gossiping()), Ok(()));
    let mut world = gossiping();
    world.crash(7);
    world.asked = Some(BTreeSet::new());
    let violation = check_turns(&mut world).unwrap_err();
    assert_eq!(violation.checker, Checker::Reach);
    assert!(violation.text.contains("node 7: it does not ask 0"), "{violation}");
}

#[test]
fn news_that_stays_with_some_is_seen() {
    let mut world = gossiping();
    assert_eq!(check_blocks(&mut world), Ok(()));
    assert!(3 <= world.counts.events["block followed"]);
    let mut world = gossiping();
    world.cut((0..24).map(|node| node < 10).collect());
    let violation = check_blocks(&mut world).unwrap_err();
    assert_eq!(violation.checker, Checker::Reach);
    assert!(violation.text.contains("blocks have come to"), "{violation}");
}

#[test]
fn a_complaint_is_seen() {
    let mut world = busy();
    assert_eq!(world.violation, None);
    let stranger = Options { reward: 1, ..Options::calm() }.network();
    let mut other = World::new(9, Options::calm());
    let bytes = quarry_core::message::Message::Transactions(vec![other.pay()]).encode(&stranger);
    let to = world.machines[0].id;
    world.send(quarry_sim::network::Mail { from: None, to, bytes: bytes.into(), bulk: true });
    world.run_for(SECOND_US);
    let violation = world.violation.clone().unwrap();
    assert_eq!(violation.checker, Checker::Complaint);
    assert!(violation.text.contains("ForeignNetwork"));
    let supply: u64 = world.machines[0].disk.read().balances.values().map(|amount| amount.0).sum();
    assert_eq!(Amount(supply), Amount(60_000));
}
