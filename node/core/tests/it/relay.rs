//! How transactions get from node to node, and that this comes to rest.

use quarry_core::effect::{Event, Notice};
use quarry_core::message::Message;
use quarry_core::network::{Limits, NetworkFile};
use quarry_core::transaction::Transaction;
use quarry_core::units::{NodeId, TxId};

use crate::liveness::status;
use crate::rig::{BYSTANDER, Outcome, PEER, Rig, SECOND_US, network_file};

/// How often each transaction was sent to the peer.
fn relayed(outcome: &Outcome) -> Vec<TxId> {
    let lists = outcome.sent.iter().filter_map(|(to, message)| match message {
        Message::Transactions(list) if *to == PEER => Some(list),
        _ => None,
    });
    lists.flatten().map(Transaction::id).collect()
}

/// Steps at every deadline for so long, and what was sent to the peer meanwhile, which is heard of now and then.
fn relayed_during(rig: &mut Rig, micros: u64) -> Vec<TxId> {
    let end = rig.now.elapsed_us + micros;
    let mut ids = Vec::new();
    while rig.node.deadline() <= end {
        ids.extend(relayed(&rig.wait()));
        let word = status(rig, PEER, None);
        ids.extend(relayed(&rig.receive(Some(PEER), &word)));
    }
    rig.advance(end - rig.now.elapsed_us);
    ids
}

#[test]
fn a_clients_transaction_is_sent_on_soon_and_then_seldom() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    let outcome = rig.receive(None, &Message::Transactions(vec![transaction.clone()]));
    assert_eq!(outcome.notices, [Notice::Pending(transaction.id())]);
    assert_eq!(relayed_during(&mut rig, 2 * SECOND_US), [transaction.id()]);
    assert_eq!(relayed_during(&mut rig, 100 * SECOND_US), []);
    assert_eq!(relayed_during(&mut rig, 3600 * SECOND_US).len(), 30, "every two minutes");
    let block = rig.next(vec![transaction]);
    rig.push(&block);
    assert_eq!(relayed_during(&mut rig, 3600 * SECOND_US), []);
}

#[test]
fn a_peers_transaction_is_not_sent_on_for_now() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    rig.relay(vec![transaction.clone()]);
    assert_eq!(relayed_during(&mut rig, 100 * SECOND_US), []);
    assert_eq!(relayed_during(&mut rig, 30 * SECOND_US), [transaction.id()]);
}

#[test]
fn who_hears_a_transaction_from_a_peer_need_not_tell_it() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    rig.receive(None, &Message::Transactions(vec![transaction.clone()]));
    rig.receive(Some(BYSTANDER), &Message::Transactions(vec![transaction.clone()]));
    assert_eq!(relayed_during(&mut rig, 100 * SECOND_US), []);
    // A client that repeats itself neither puts it off nor brings it forward.
    rig.receive(None, &Message::Transactions(vec![transaction.clone()]));
    assert_eq!(relayed_during(&mut rig, 30 * SECOND_US), [transaction.id()]);
}

/// Each time that a peer sent a transaction it was put off for two minutes more: one that did so every minute kept it
/// from all the others until it was too old.
#[test]
fn a_peer_that_repeats_a_transaction_does_not_keep_it_from_others() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    rig.receive(None, &Message::Transactions(vec![transaction.clone()]));
    let mut times = Vec::new();
    for second in 0..3600 {
        rig.receive(Some(PEER), &Message::Transactions(vec![transaction.clone()]));
        if !relayed_during(&mut rig, SECOND_US).is_empty() {
            times.push(second);
        }
    }
    assert!(times[0] < 130, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 250), "{times:?}");
    assert!(times.len() <= 16, "{times:?}");
}

/// Each batch costs a message for each peer, however little is in it.
#[test]
fn a_node_sends_transactions_at_most_once_in_a_window() {
    let mut rig = Rig::new();
    let mut arrived = std::collections::BTreeMap::new();
    let mut sent_us = Vec::new();
    for step in 0..100 {
        if step < 80 {
            let transaction = rig.pay("alice", "bob", 1);
            arrived.insert(transaction.id(), rig.now.elapsed_us);
            assert_eq!(rig.submit(transaction), Ok(()));
        }
        rig.advance(SECOND_US / 20);
        let outcome = rig.step(Event::Tick);
        let ids = relayed(&outcome);
        if !ids.is_empty() {
            sent_us.push(rig.now.elapsed_us);
        }
        for id in ids {
            let waited_us = rig.now.elapsed_us - arrived.remove(&id).expect("each is sent once");
            assert!(waited_us <= SECOND_US + SECOND_US / 20);
        }
    }
    assert!(arrived.is_empty());
    assert!((4..=5).contains(&sent_us.len()), "{sent_us:?}: four seconds of transactions");
}

#[test]
fn windows_end_at_different_times_on_different_nodes() {
    let network = std::sync::Arc::clone(Rig::new().node.network());
    let mut times = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut rig = Rig::open(std::sync::Arc::clone(&network), Default::default(), |options| {
            options.seed = seed;
        });
        let transaction = rig.pay("alice", "bob", 1);
        assert_eq!(rig.submit(transaction), Ok(()));
        assert_eq!(relayed(&rig.wait()).len(), 1);
        times.insert(rig.now.elapsed_us);
    }
    assert_eq!(times.len(), 20);
    let (first, last) = (times.first().unwrap(), times.last().unwrap());
    assert!(SECOND_US / 2 < last - first && *last <= SECOND_US, "all over the window");
}

/// Sent by their ids, half of such pairs came in the wrong order, and the second was refused for want of money.
#[test]
fn who_is_paid_and_pays_is_sent_in_that_order() {
    let mut rig = Rig::new();
    let mut expected = Vec::new();
    for later_us in 0..20 {
        let paid = rig.pay_at("alice", "empty", 1, later_us);
        let pays = rig.pay_at("empty", "bob", 1, later_us);
        expected.extend([paid.id(), pays.id()]);
        assert_eq!((rig.submit(paid), rig.submit(pays)), (Ok(()), Ok(())));
    }
    assert_eq!(relayed(&rig.wait()), expected);
}

#[test]
fn what_waited_is_sent_on_after_a_restart() {
    let mut rig = Rig::new();
    let transaction = rig.pay("alice", "bob", 1);
    rig.relay(vec![transaction.clone()]);
    let mut reopened = rig.reopened();
    assert_eq!(relayed_during(&mut reopened, 2 * SECOND_US), [transaction.id()]);
}

#[test]
fn many_transactions_travel_in_few_messages() {
    let mut file = network_file();
    file.limits = Limits { block_transactions: 20, message_bytes: 16 * 1024, ..Limits::default() };
    let mut rig = Rig::with(&NetworkFile { ..file });
    // The longest that there are.
    for later_us in 0..100 {
        assert_eq!(rig.submit(rig.pay_at("alice", "#255", 1, later_us)), Ok(()));
    }
    rig.advance(SECOND_US);
    let outcome = rig.step(Event::Tick);
    assert_eq!(relayed(&outcome).len(), 100);
    let messages = outcome.to_peer().len();
    assert!(messages <= 4, "{messages} messages, each within the limit");
}

/// Four nodes that all hear of a transaction from a client: one or two speak, the others hold their tongues.
#[test]
fn a_transaction_does_not_storm_through_the_network() {
    let network = std::sync::Arc::new(quarry_core::network::Network::new(&network_file()).unwrap());
    let members: Vec<NodeId> = (0..4).map(NodeId).collect();
    let mut rigs: Vec<Rig> = members
        .iter()
        .map(|id| {
            let mut rig = Rig::open(std::sync::Arc::clone(&network), Default::default(), |options| {
                (options.id, options.seed) = (*id, u64::from(id.0) * 1_000_003);
            });
            rig.step(Event::Peers(members.clone()));
            rig
        })
        .collect();
    let transactions: Vec<_> = (0..50).map(|later_us| rigs[0].pay_at("open0", "bob", 1, later_us)).collect();
    for rig in &mut rigs {
        rig.receive(None, &Message::Transactions(transactions.clone()));
    }
    let mut sent = 0;
    for _ in 0..100 {
        let mut mail = Vec::new();
        for (rig, from) in rigs.iter_mut().zip(&members) {
            rig.advance(SECOND_US / 50);
            let outcome = rig.step(Event::Tick);
            mail.extend(outcome.sent.into_iter().map(|(to, message)| (*from, to, message)));
        }
        for (from, to, message) in mail {
            if let Message::Transactions(list) = &message {
                sent += list.len();
            }
            rigs[usize::from(to.0)].receive(Some(from), &message);
        }
    }
    // Everybody telling everybody would be 600.
    assert!((150..300).contains(&sent), "{sent}");
}
