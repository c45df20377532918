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
    for _ in 0..10 {
        rig.receive(Some(BYSTANDER), &Message::Transactions(vec![transaction.clone()]));
        assert_eq!(relayed_during(&mut rig, 100 * SECOND_US), []);
    }
    // A client that repeats itself neither puts it off nor brings it forward.
    rig.receive(None, &Message::Transactions(vec![transaction.clone()]));
    assert_eq!(relayed_during(&mut rig, 30 * SECOND_US), [transaction.id()]);
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
