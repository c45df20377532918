//! When a node mines, on what, and how its own blocks get about.

use std::sync::Arc;

use quarry_core::effect::{Event, Notice};
use quarry_core::memory::MemoryStore;
use quarry_core::message::Message;
use quarry_core::network::{Network, NetworkFile};
use quarry_core::rules::{BlockError, HeaderError};
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, Hash, Height};

use crate::rig::{
    BYSTANDER, HOUR_US, Outcome, PEER, Rig, SECOND_US, SELF, network_file, search, search_miss,
};

fn mining(file: &NetworkFile, store: MemoryStore, empty: bool) -> Rig {
    Rig::open(Arc::new(Network::new(file).unwrap()), store, |options| {
        (options.mine, options.mine_empty) = (true, empty);
    })
}

/// The block that was announced, and that everybody was told of it.
#[track_caller]
fn announced(outcome: &Outcome) -> (Hash, u64) {
    let [(PEER, Message::Block(first)), (BYSTANDER, Message::Block(second))] = &outcome.sent[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(first, second);
    assert_eq!(outcome.announcements.len(), 2);
    assert_eq!(outcome.announcements[0], outcome.announcements[1]);
    (first.header.hash(), outcome.announcements[0])
}

#[test]
fn a_node_mines_while_transactions_wait() {
    let mut rig = Rig::mining();
    assert!(rig.node.template().is_none());
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    let template = rig.wait().template.unwrap();
    assert_eq!(template.transaction_count(), 1);
    assert_eq!(template.target(), rig.network().bits.target().unwrap().to_be_bytes());
    let outcome = rig.find();
    let hash = rig.node.tip().hash;
    let extended = Notice::Extended { height: Height(1), hash, transactions: 1, from: None };
    assert_eq!(outcome.notices, [extended]);
    assert!(outcome.template.is_none() && !outcome.rested, "the search is over by itself");
    assert!(rig.node.template().is_none());
    assert_eq!(announced(&outcome).0, hash);
}

#[test]
fn a_node_that_mines_empty_blocks_never_rests() {
    let mut rig = mining(&network_file(), MemoryStore::default(), true);
    for height in 1..=5 {
        rig.advance(SECOND_US);
        let outcome = rig.find();
        assert!(outcome.template.is_some());
        assert_eq!(rig.node.tip().header.index, Height(height));
    }
    assert_eq!(rig.store().blocks[&rig.node.tip().hash].header.miner, AccountId::open("miner"));
}

#[test]
fn a_new_tip_ends_the_search_at_once() {
    let mut rig = Rig::mining();
    let (mined, left) = (rig.pay("alice", "bob", 1), rig.pay("bob", "alice", 1));
    rig.relay(vec![mined.clone(), left.clone()]);
    let old = rig.wait().template.unwrap();
    let outcome = rig.push(&rig.next(vec![mined]));
    let new = outcome.template.unwrap();
    assert!(old.id < new.id);
    assert_eq!((new.transaction_count(), new.header(0, 0).prev_hash), (1, rig.node.tip().hash));
    rig.advance(SECOND_US);
    let outcome = rig.push(&rig.next(vec![left]));
    assert!(outcome.rested && outcome.template.is_none(), "nothing is left to mine");
    // The hit for either comes too late.
    let before = rig.state();
    for template in [old, new] {
        let nonce = search(template.header(9, 0)).nonce;
        let outcome = rig.step(Event::Found { template: template.id, extra_nonce: 9, nonce });
        assert_eq!(outcome.notices, [Notice::StaleResult]);
    }
    assert_eq!(rig.state(), before);
}

#[test]
fn a_result_counts_once() {
    let mut rig = Rig::mining();
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    rig.wait();
    let template = Arc::clone(rig.node.template().unwrap());
    rig.find();
    let nonce = search(template.header(template.extra_nonce, 0)).nonce;
    let event = Event::Found { template: template.id, extra_nonce: template.extra_nonce, nonce };
    assert_eq!(rig.step(event).notices, [Notice::StaleResult]);
    let event = Event::Found { template: u64::MAX, extra_nonce: 0, nonce: 0 };
    assert_eq!(rig.step(event).notices, [Notice::StaleResult]);
}

#[test]
fn a_wrong_result_of_the_search_is_refused_and_the_search_goes_on() {
    let mut rig = Rig::mining();
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    let template = rig.wait().template.unwrap();
    let header = search_miss(template.header(5, 0));
    let found = Event::Found { template: template.id, extra_nonce: 5, nonce: header.nonce };
    let outcome = rig.step(found);
    let error: BlockError = HeaderError::ProofOfWork { hash: header.hash(), bits: header.bits }.into();
    assert_eq!(outcome.notices, [Notice::BlockRefused { from: None, hash: header.hash(), error }]);
    assert!(outcome.sent.is_empty());
    assert!(outcome.template.is_some());
    assert!(announced(&rig.find()).0 == rig.node.tip().hash);
}

#[test]
fn any_extra_nonce_will_do() {
    for extra_nonce in [0, 1, u64::MAX] {
        let mut rig = Rig::mining();
        rig.relay(vec![rig.pay("alice", "bob", 1)]);
        let template = rig.wait().template.unwrap();
        let nonce = search(template.header(extra_nonce, 0)).nonce;
        rig.step(Event::Found { template: template.id, extra_nonce, nonce });
        assert_eq!(rig.node.tip().header.index, Height(1));
    }
}

#[test]
fn a_template_follows_the_mempool_and_the_clock_but_not_too_often() {
    let mut rig = Rig::mining();
    rig.relay(vec![rig.pay_at("alice", "bob", 1, 0)]);
    let first = rig.wait().template.unwrap();
    for later_us in 1..=5 {
        let outcome = rig.relay(vec![rig.pay_at("alice", "bob", 1, later_us)]);
        assert!(outcome.template.is_none(), "not for every transaction");
    }
    let second = rig.wait().template.unwrap();
    assert_eq!((first.transaction_count(), second.transaction_count()), (1, 6));
    let mut third = None;
    for _ in 0..9 {
        third = third.or(rig.wait().template);
    }
    let third = third.unwrap();
    assert!(second.header(0, 0).timestamp < third.header(0, 0).timestamp, "its timestamp keeps up");
}

/// Nothing but time makes it old enough: no other transaction, no block and nobody's word.
#[test]
fn what_a_clock_set_back_makes_too_new_is_mined_in_time() {
    let mut file = network_file();
    file.limits.transaction_window = 60;
    let mut rig = mining(&file, MemoryStore::default(), false);
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    assert_eq!(rig.wait().template.unwrap().transaction_count(), 1);
    let window_us = rig.network().limits.window_us();
    rig.now.utc = rig.now.utc.saturating_sub(window_us + 60 * SECOND_US);
    let mut waited_us = 0;
    let mut is_resting = false;
    while !(is_resting && rig.node.template().is_some()) {
        let until_due_us = rig.node.deadline() - rig.now.elapsed_us;
        rig.advance(until_due_us);
        waited_us += until_due_us;
        is_resting |= rig.step(Event::Tick).rested;
        assert!(waited_us < 80 * SECOND_US);
    }
    assert!(50 * SECOND_US < waited_us);
}

#[test]
fn a_template_takes_what_can_be_paid_in_order_of_arrival() {
    let mut rig = Rig::mining();
    let transactions = [
        rig.pay("open0", "empty", 1000),
        rig.pay("empty", "bob", 400),
        rig.pay("empty", "bob", 600),
        rig.pay("bob", "alice", 2000),
    ];
    rig.relay(transactions.to_vec());
    // Somebody else mines another expense of the same money, so that none of the chain but the last is covered.
    rig.push(&rig.next(vec![rig.pay("open0", "#9", 1000)]));
    assert_eq!(rig.node.mempool().len(), 4);
    assert!(rig.node.template().is_none());
    let small = rig.pay_at("bob", "alice", 1, 1);
    rig.relay(vec![small.clone()]);
    assert_eq!(rig.node.mempool().len(), 4, "what waits counts against bob");
    rig.advance(SECOND_US);
    rig.push(&rig.next(vec![rig.pay("#9", "open0", 1000)]).clone());
    assert!(rig.node.template().is_none(), "nobody can spend from #9 but who has its key");
    rig.push(&rig.next(vec![rig.pay("open1", "open0", 1000)]));
    assert_eq!(rig.node.template().unwrap().transaction_count(), 4, "new money covers them all");
    rig.find();
    assert_eq!(rig.balance("alice"), Some(3000));
}

#[test]
fn a_full_template_is_a_full_block() {
    let mut rig = Rig::mining();
    let transactions: Vec<Transaction> =
        (0..50).map(|later_us| rig.pay_at("alice", "bob", 1, later_us)).collect();
    rig.relay(transactions);
    rig.wait();
    for left in [30, 10, 0] {
        rig.advance(SECOND_US);
        rig.find();
        assert_eq!(rig.node.mempool().len(), left);
    }
    assert_eq!(rig.balance("bob"), Some(1050));
}

#[test]
fn a_template_follows_a_tip_that_is_ahead_of_the_clock() {
    let mut rig = Rig::mining();
    let mut ahead = rig.next(Vec::new());
    ahead.header.timestamp = rig.now.utc.saturating_add(100 * SECOND_US);
    rig.push(&crate::rig::remade(ahead));
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    rig.wait();
    rig.find();
    assert_eq!(rig.node.tip().header.index, Height(2));
}

/// A network with a reward ends where an amount ends. From there on a node searched for one block after another that
/// it then refused itself.
#[test]
fn nothing_is_mined_where_no_block_can_follow() {
    let file = NetworkFile { reward: Amount(u64::MAX / 2).to_string(), ..network_file() };
    let mut rig = mining(&file, MemoryStore::default(), true);
    rig.find();
    assert_eq!(rig.node.tip().header.index, Height(1));
    assert!(rig.node.template().is_none());
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    assert!(rig.wait().template.is_none());
}

#[test]
fn an_announcement_is_repeated_until_it_is_durable() {
    let mut rig = Rig::mining();
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    rig.wait();
    let (hash, number) = announced(&rig.find());
    assert_eq!(rig.store().outbox.len(), 1);
    // The node is stopped before the transport has taken the block.
    let mut reopened = Rig::open(Arc::clone(rig.node.network()), rig.store().clone(), |_| {});
    assert_eq!(reopened.store().outbox.get(&number), Some(&hash));
    let outcome = reopened.step(Event::Announced(number));
    assert!(outcome.notices.is_empty());
    assert!(reopened.store().outbox.is_empty());
    reopened.step(Event::Announced(number));
    reopened.step(Event::Announced(99));
}

#[test]
fn a_restart_announces_what_was_not_durable() {
    let mut rig = Rig::mining();
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    rig.wait();
    let (hash, number) = announced(&rig.find());
    let mut reopened = rig.reopened_without_peers();
    let outcome = reopened.step(Event::Peers(vec![SELF, PEER, BYSTANDER]));
    let blocks: Vec<_> =
        outcome.sent.iter().filter(|(_, message)| matches!(message, Message::Block(_))).collect();
    assert_eq!(blocks.len(), 2);
    assert!(blocks.iter().all(|(_, it)| matches!(it, Message::Block(it) if it.header.hash() == hash)));
    assert_eq!(outcome.announcements, [number, number]);
    let outcome = reopened.step(Event::Peers(vec![SELF, PEER]));
    assert!(outcome.sent.is_empty(), "once is enough");
}

/// A node that was started alone kept its old announcements for ever: nobody was there to make them to, and the next
/// list of peers was not the first.
#[test]
fn an_announcement_to_nobody_is_done() {
    let mut rig = Rig::mining();
    rig.relay(vec![rig.pay("alice", "bob", 1)]);
    rig.wait();
    announced(&rig.find());
    let mut reopened = rig.reopened_without_peers();
    reopened.step(Event::Peers(vec![SELF]));
    assert!(reopened.store().outbox.is_empty());
}

#[test]
fn a_node_alone_mines_for_itself() {
    let mut rig = Rig::mining();
    rig.step(Event::Peers(vec![SELF]));
    assert_eq!(rig.submit(rig.pay("alice", "bob", 1)), Ok(()));
    rig.wait();
    let outcome = rig.find();
    assert!(outcome.sent.is_empty() && outcome.announcements.is_empty());
    assert!(rig.store().outbox.is_empty());
    assert_eq!(rig.node.tip().header.index, Height(1));
}

/// Whoever had two thousand payments wait that cannot be paid, say by spending the money that covers them elsewhere,
/// kept every later transaction out of the blocks of a node for hours: only so many were looked at for a template.
#[test]
fn what_cannot_be_paid_does_not_keep_others_from_being_mined() {
    let mut rig = Rig::mining();
    let mut junk = vec![rig.pay("open0", "empty", 1000)];
    for number in 0..500 {
        let (from, to) = if number % 2 == 0 { ("empty", "open1") } else { ("open1", "empty") };
        junk.push(rig.pay_at(from, to, 1000 * (1 + number % 2), number.cast_signed()));
    }
    let (cover, rest) = junk.split_first().unwrap();
    rig.relay(vec![cover.clone()]);
    for part in rest.chunks(100) {
        rig.relay(part.to_vec());
    }
    let waiting = rig.node.mempool().len();
    assert!(200 < waiting, "{waiting}");
    rig.push(&rig.next(vec![rig.pay("open0", "#9", 1000), rig.pay("open1", "#9", 1000)]));
    let honest = rig.pay("alice", "bob", 1);
    rig.relay(vec![honest.clone()]);
    for _ in 0..20 {
        if rig.node.template().is_some() {
            break;
        }
        rig.wait();
    }
    rig.find();
    assert!(rig.store().mined.contains_key(&honest.id()));
    // And once nothing is left that can be paid, the node comes to rest.
    let started = rig.now.elapsed_us;
    let mut steps = 0;
    while rig.now.elapsed_us < started + HOUR_US / 60 {
        rig.wait();
        steps += 1;
    }
    assert!(steps < 60, "{steps} steps in a minute");
}
