//! What a node tells its peers, and how much.

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice};
use quarry_core::header::Header;
use quarry_core::message::{Message, Request, Status};
use quarry_core::network::Limits;
use quarry_core::peers::REQUESTS_PER_MINUTE_MAX;
use quarry_core::target::Work;
use quarry_core::transaction::Transaction;
use quarry_core::units::{Hash, Height, NodeId};

use crate::rig::{BYSTANDER, PEER, Rig, SECOND_US, SELF, network_file};

#[test]
fn a_peer_may_ask_only_so_much() {
    let mut rig = Rig::new();
    let ask = Message::GetHeaders(Request { from: PEER, nonce: 1, hashes: Vec::new() });
    for _ in 0..REQUESTS_PER_MINUTE_MAX {
        let outcome = rig.receive(Some(PEER), &ask);
        assert!(matches!(outcome.to_peer()[..], [Message::Headers { nonce: 1, more: false, .. }]));
    }
    let too_much = rig.receive(Some(PEER), &ask);
    assert_eq!(too_much.notices, [Notice::TooManyRequests(PEER)]);
    assert!(too_much.sent.is_empty());
    let blocks = Message::GetBlocks(Request { from: PEER, nonce: 1, hashes: Vec::new() });
    assert_eq!(rig.receive(Some(PEER), &blocks).notices, [Notice::TooManyRequests(PEER)]);
    let other = Message::GetHeaders(Request { from: BYSTANDER, nonce: 1, hashes: Vec::new() });
    assert_eq!(rig.receive(Some(BYSTANDER), &other).sent.len(), 1, "others are not concerned");
    rig.advance(60 * SECOND_US);
    rig.step(Event::Tick);
    assert_eq!(rig.receive(Some(PEER), &ask).sent.len(), 1);
}

#[test]
fn requests_are_answered_from_the_best_chain() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 4, 1);
    let side = rig.branch(&rig.network().genesis, 2, 2);
    for block in chain.iter().chain(&side) {
        rig.push(block);
    }
    let mut ask = |hashes: Vec<Hash>| {
        let request = Request { from: PEER, nonce: 3, hashes };
        match &rig.receive(Some(PEER), &Message::GetHeaders(request)).sent[..] {
            [(PEER, Message::Headers { from: SELF, nonce: 3, headers, more: false })] => headers.clone(),
            other => panic!("{other:?}"),
        }
    };
    let expected: Vec<Header> = chain.iter().map(|block| block.header).collect();
    let hash = |block: &Block| block.header.hash();
    assert_eq!(ask(Vec::new()), expected, "from the start where nothing is common");
    assert_eq!(ask(vec![Hash([9; 32])]), expected);
    assert_eq!(ask(vec![hash(&side[1]), hash(&side[0])]), expected, "a side branch is not common");
    assert_eq!(ask(vec![hash(&side[1]), hash(&chain[1]), hash(&chain[2])]), expected[2..]);
    assert_eq!(ask(vec![hash(&chain[3])]), []);

    let hashes = vec![hash(&chain[2]), hash(&side[0]), Hash([9; 32]), hash(&chain[0])];
    let outcome = rig.receive(Some(PEER), &Message::GetBlocks(Request { from: PEER, nonce: 4, hashes }));
    let blocks = vec![chain[2].clone(), side[0].clone()];
    assert_eq!(
        outcome.sent,
        [(PEER, Message::Blocks { from: SELF, nonce: 4, blocks })],
        "up to the first gap"
    );
}

#[test]
fn replies_keep_the_networks_limit() {
    let mut file = network_file();
    file.limits = Limits { block_transactions: 28, message_bytes: 16 * 1024, ..Limits::default() };
    let mut rig = Rig::with(&file);
    let names = "#250";
    for _ in 0..4 {
        rig.advance(SECOND_US);
        let transactions: Vec<Transaction> =
            (0..28).map(|later_us| rig.pay_at("alice", names, 1, later_us)).collect();
        rig.push(&rig.next(transactions));
    }
    assert_eq!(rig.node.tip().header.index, Height(4));
    let hashes = rig.store().path.values().skip(1).copied().collect();
    // The rig itself asserts that no message is larger than the limit.
    let outcome = rig.receive(Some(PEER), &Message::GetBlocks(Request { from: PEER, nonce: 1, hashes }));
    assert!(matches!(&outcome.sent[..], [(PEER, Message::Blocks { blocks, .. })] if blocks.len() == 1));
}

#[test]
fn peers_come_and_go() {
    let mut rig = Rig::new();
    let outcome = rig.step(Event::Peers(vec![SELF, BYSTANDER, NodeId(7)]));
    assert_eq!(outcome.notices, [Notice::PeerLeft(PEER), Notice::PeerJoined(NodeId(7))]);
    let [(NodeId(7), Message::Status(status))] = &outcome.sent[..] else { panic!("{outcome:?}") };
    assert!(status.reply_wanted);
    assert_eq!((status.tip, status.height), (rig.node.tip().hash, Height(0)));
    let again = rig.step(Event::Peers(vec![SELF, BYSTANDER, NodeId(7)]));
    assert_eq!((again.notices.len(), again.sent.len()), (0, 0));
    let stopping = rig.step_without_timers(Event::Stopping);
    assert!(matches!(
        stopping.sent[..],
        [(BYSTANDER, Message::Bye { .. }), (NodeId(7), Message::Bye { .. })]
    ));
}

/// A peer whose message came before the transport's list was taken for one that had been greeted already: after a
/// start with a full inbox nobody was asked how far the network is until the next round of statuses.
#[test]
fn a_peer_that_speaks_before_it_is_listed_is_greeted_when_it_is() {
    let mut rig = Rig::new().reopened_without_peers();
    rig.receive(Some(PEER), &Message::Bye { from: PEER, nonce: 1 });
    let outcome = rig.step(Event::Peers(vec![SELF, PEER]));
    assert_eq!(outcome.notices, [Notice::PeerJoined(PEER)]);
    assert!(matches!(&outcome.sent[..], [(PEER, Message::Status(status))] if status.reply_wanted));
    // One that is never listed is forgotten without a word.
    rig.receive(Some(BYSTANDER), &Message::Bye { from: BYSTANDER, nonce: 1 });
    assert_eq!(rig.step(Event::Peers(vec![SELF, PEER])).notices, []);
    assert_eq!(rig.node.peers().ids(), [PEER]);
}

#[test]
fn a_status_is_answered_where_that_is_wanted() {
    let mut rig = Rig::new();
    let mut status = Status {
        from: PEER,
        nonce: 1,
        tip: rig.node.tip().hash,
        height: Height(0),
        work: Work::default(),
        reply_wanted: true,
        reply_to: None,
    };
    let outcome = rig.receive(Some(PEER), &Message::Status(status.clone()));
    let [(PEER, Message::Status(reply))] = &outcome.sent[..] else { panic!("{outcome:?}") };
    assert_eq!(reply.reply_to, Some(1));
    assert!(!reply.reply_wanted, "or the two would answer each other for ever");
    status.reply_wanted = false;
    assert!(rig.receive(Some(PEER), &Message::Status(status)).sent.is_empty());
}
