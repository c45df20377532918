//! How a node fetches a better chain, and every way in which a reply can end that.

use std::collections::VecDeque;

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice, SyncFailure};
use quarry_core::message::{HASHES_MAX, HEADERS_MAX, Message, Request, Status};
use quarry_core::network::{Limits, NetworkFile};
use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::target::Work;
use quarry_core::units::{Amount, Hash, Height, NodeId};

use crate::rig::{BYSTANDER, Outcome, PEER, Rig, SECOND_US, SELF, network_file};

pub(crate) fn failed(reason: SyncFailure) -> Vec<Notice> {
    vec![Notice::SyncFailed { peer: PEER, reason }]
}

/// A peer says that it has so much work.
pub(crate) fn claim(rig: &mut Rig, from: NodeId, blocks: u64) -> Outcome {
    let work = (0..blocks).map(|_| rig.network().bits.target().unwrap().work()).sum::<Work>();
    let status = Status {
        from,
        nonce: blocks,
        tip: Hash([0xff; 32]),
        height: Height(blocks),
        work,
        reply_wanted: false,
        reply_to: None,
    };
    rig.receive(Some(from), &Message::Status(status))
}

/// The one request that was sent to this peer.
#[track_caller]
pub(crate) fn request(outcome: &Outcome, to: NodeId) -> Request {
    let requests: Vec<_> = outcome
        .sent
        .iter()
        .filter_map(|(it, message)| match message {
            Message::GetHeaders(request) | Message::GetBlocks(request) if *it == to => Some(request),
            _ => None,
        })
        .collect();
    assert_eq!(requests.len(), 1, "{outcome:?}");
    requests[0].clone()
}

pub(crate) fn asks(outcome: &Outcome) -> bool {
    let is_request = |message: &Message| matches!(message, Message::GetHeaders(_) | Message::GetBlocks(_));
    outcome.sent.iter().any(|(_, message)| is_request(message))
}

pub(crate) fn headers(rig: &mut Rig, nonce: u64, blocks: &[Block], more: bool) -> Outcome {
    let headers = blocks.iter().map(|block| block.header).collect();
    rig.receive(Some(PEER), &Message::Headers { from: PEER, nonce, headers, more })
}

pub(crate) fn blocks(rig: &mut Rig, nonce: u64, blocks: &[Block]) -> Outcome {
    rig.receive(Some(PEER), &Message::Blocks { from: PEER, nonce, blocks: blocks.to_vec() })
}

/// A sync whose headers are in and whose first request for blocks waits for its reply.
fn fetching(rig: &mut Rig, chain: &[Block]) -> Request {
    let asked = request(&claim(rig, PEER, 1000), PEER);
    let outcome = headers(rig, asked.nonce, chain, false);
    let asked = request(&outcome, PEER);
    assert_eq!(asked.hashes, chain.iter().map(|block| block.header.hash()).collect::<Vec<_>>());
    asked
}

/// Passes messages to and fro until none is left; answers how many there were.
fn converse(left: &mut Rig, right: &mut Rig, first: Outcome) -> usize {
    let mut queue: VecDeque<(NodeId, Message)> = first.sent.into();
    let mut count = 0;
    while let Some((to, message)) = queue.pop_front() {
        let (receiver, sender) = match to {
            SELF => (&mut *left, PEER),
            PEER => (&mut *right, SELF),
            _ => continue,
        };
        count += 1;
        assert!(count < 10_000, "the two talk for ever");
        queue.extend(receiver.receive(Some(sender), &message).sent);
    }
    count
}

/// Another node, under the peer's number.
fn peer(file: &NetworkFile) -> Rig {
    let mut rig = Rig::open(
        std::sync::Arc::new(quarry_core::network::Network::new(file).unwrap()),
        Default::default(),
        |options| (options.id, options.seed) = (PEER, 1 << 32),
    );
    rig.step(Event::Peers(vec![SELF, PEER]));
    rig
}

#[test]
fn a_better_chain_is_fetched_headers_first() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 3, 1);
    let outcome = claim(&mut rig, PEER, 3);
    assert_eq!(outcome.notices, [Notice::SyncStarted(PEER)]);
    let asked = request(&outcome, PEER);
    assert_eq!(asked.hashes, [rig.network().genesis.hash()]);
    let outcome = headers(&mut rig, asked.nonce, &chain, false);
    assert_eq!(outcome.notices, []);
    let asked = request(&outcome, PEER);
    // A reply may hold fewer blocks than asked for.
    let outcome = blocks(&mut rig, asked.nonce, &chain[..1]);
    assert_eq!(rig.node.tip().hash, chain[0].header.hash());
    let asked = request(&outcome, PEER);
    let outcome = blocks(&mut rig, asked.nonce, &chain[1..]);
    assert_eq!(outcome.notices.last(), Some(&Notice::SyncFinished(PEER)));
    assert_eq!(rig.node.tip().hash, chain[2].header.hash());
    assert_eq!(rig.node.syncing(), None);
}

#[test]
fn only_what_proves_more_work_is_fetched() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 3, 1);
    for block in &chain {
        rig.push(block);
    }
    let shorter = rig.branch(&rig.network().genesis, 2, 2);
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    let before = rig.state();
    let outcome = headers(&mut rig, asked.nonce, &shorter, false);
    assert_eq!(outcome.notices, failed(SyncFailure::NoBetter));
    assert!(!asks(&outcome), "not one block of it");
    assert_eq!(rig.state(), before);
    rig.assert_works();
}

#[test]
fn a_reply_that_does_not_come_is_not_waited_for() {
    let mut rig = Rig::new();
    claim(&mut rig, PEER, 9);
    let mut notices = Vec::new();
    for _ in 0..3 {
        notices.extend(rig.wait().notices);
    }
    assert_eq!(notices, failed(SyncFailure::TimedOut));
    // The peer is left alone for a while, whatever it claims, and others are not.
    assert!(!asks(&claim(&mut rig, PEER, 9)));
    assert_eq!(request(&claim(&mut rig, BYSTANDER, 8), BYSTANDER).from, SELF);
    rig.advance(31 * SECOND_US);
    let outcome = rig.step(Event::Tick);
    assert_eq!(outcome.notices.len(), 2, "{:?}", outcome.notices);
    assert_eq!(outcome.notices[1], Notice::SyncStarted(PEER));
}

#[test]
fn replies_that_do_not_fit_together_end_a_sync() {
    type Reply<'a> = &'a dyn Fn(&mut Rig, &[Block], &Request) -> Outcome;
    let while_headers_are_due: [(&str, Reply<'_>); 6] = [
        ("nothing, and more", &|rig, _, asked| headers(rig, asked.nonce, &[], true)),
        ("a gap at the start", &|rig, chain, asked| headers(rig, asked.nonce, &chain[1..], false)),
        ("a gap", &|rig, chain, asked| {
            headers(rig, asked.nonce, &[chain[0].clone(), chain[2].clone()], false)
        }),
        ("a repetition", &|rig, chain, asked| {
            headers(rig, asked.nonce, &[chain[0].clone(), chain[0].clone()], true)
        }),
        ("the first block, which has no parent", &|rig, _, asked| {
            let genesis = rig.network().genesis_block();
            headers(rig, asked.nonce, &[genesis], false)
        }),
        ("blocks instead of headers", &|rig, chain, asked| blocks(rig, asked.nonce, &chain[..1])),
    ];
    for (what, reply) in while_headers_are_due {
        let mut rig = Rig::new();
        let chain = rig.branch(&rig.network().genesis, 3, 1);
        let asked = request(&claim(&mut rig, PEER, 9), PEER);
        let before = rig.state();
        assert_eq!(reply(&mut rig, &chain, &asked).notices, failed(SyncFailure::Incoherent), "{what}");
        assert_eq!(rig.state(), before, "{what}");
        rig.assert_works();
    }
    let while_blocks_are_due: [(&str, Reply<'_>); 4] = [
        ("nothing", &|rig, _, asked| blocks(rig, asked.nonce, &[])),
        ("another block", &|rig, _, asked| {
            let other = rig.branch(&rig.network().genesis, 1, 9);
            blocks(rig, asked.nonce, &other)
        }),
        ("the wrong order", &|rig, chain, asked| blocks(rig, asked.nonce, &[chain[1].clone()])),
        ("headers instead of blocks", &|rig, chain, asked| headers(rig, asked.nonce, chain, false)),
    ];
    for (what, reply) in while_blocks_are_due {
        let mut rig = Rig::new();
        let chain = rig.branch(&rig.network().genesis, 3, 1);
        let asked = fetching(&mut rig, &chain);
        let before = rig.state();
        assert_eq!(reply(&mut rig, &chain, &asked).notices, failed(SyncFailure::Incoherent), "{what}");
        assert_eq!(rig.state(), before, "{what}");
        rig.assert_works();
    }
}

#[test]
fn a_sync_ends_with_the_first_block_that_breaks_a_rule() {
    let mut rig = Rig::new();
    let overspend = rig.pay("empty", "bob", 1);
    let first = rig.next(vec![rig.pay("open0", "bob", 1)]);
    let second = rig.child(&first.header, vec![overspend.clone()]);
    let third = rig.child(&second.header, Vec::new());
    let chain = [first.clone(), second.clone(), third];
    let asked = fetching(&mut rig, &chain);
    let outcome = blocks(&mut rig, asked.nonce, &chain);
    let error = TransactionError::Overspend { balance: Amount(0), amount: Amount(1) };
    let error = BlockError::Transaction { id: overspend.id(), error };
    let [Notice::Extended { .. }, Notice::BlockRefused { .. }, last] = &outcome.notices[..] else {
        panic!("{:?}", outcome.notices)
    };
    assert_eq!(std::slice::from_ref(last), failed(SyncFailure::Refused(error)));
    assert_eq!(rig.node.tip().hash, first.header.hash(), "what is good of it stays");
    // The next time it is refused by its headers.
    rig.advance(31 * SECOND_US);
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    let outcome = headers(&mut rig, asked.nonce, &chain, false);
    let error = BlockError::InvalidBranch(second.header.hash());
    assert_eq!(outcome.notices, failed(SyncFailure::Refused(error)));
    rig.assert_works();
}

#[test]
fn a_body_that_is_not_the_headers_ends_a_sync_and_not_the_block() {
    let mut rig = Rig::new();
    let good = rig.next(vec![rig.pay("open0", "bob", 1)]);
    let asked = fetching(&mut rig, std::slice::from_ref(&good));
    let wrong = Block { transactions: Vec::new(), ..good.clone() };
    let error = BlockError::TxRoot { claimed: wrong.header.tx_root, computed: wrong.tx_root() };
    assert_eq!(blocks(&mut rig, asked.nonce, &[wrong]).notices, failed(SyncFailure::Refused(error)));
    rig.push(&good);
    assert_eq!(rig.node.tip().hash, good.header.hash());
}

#[test]
fn replies_that_nobody_waits_for_are_unsolicited() {
    let check = |rig: &mut Rig, from: NodeId, nonce: u64| {
        let chain = rig.branch(&rig.network().genesis, 2, 1);
        for message in [
            Message::Headers { from, nonce, headers: vec![chain[0].header], more: false },
            Message::Blocks { from, nonce, blocks: chain },
        ] {
            let before = rig.state();
            assert_eq!(rig.receive(Some(from), &message).notices, [Notice::Unsolicited(from)]);
            assert_eq!(rig.state(), before);
        }
    };
    let mut rig = Rig::new();
    check(&mut rig, PEER, 0);
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    check(&mut rig, PEER, asked.nonce + 1);
    check(&mut rig, BYSTANDER, asked.nonce);
    assert_eq!(rig.node.syncing(), Some(PEER), "the sync goes on");
    let chain = rig.branch(&rig.network().genesis, 2, 1);
    let outcome = headers(&mut rig, asked.nonce, &chain, false);
    assert!(asks(&outcome));
    let outcome = headers(&mut rig, asked.nonce, &chain, false);
    assert_eq!(outcome.notices, [Notice::Unsolicited(PEER)], "a reply counts once");
    assert_eq!(rig.node.syncing(), Some(PEER));
}

/// A reply of 500 headers has 118 kB. In a network whose messages are smaller it was refused by whoever had asked for
/// it, so that a node more than a few dozen blocks behind never caught up.
#[test]
fn a_long_chain_is_fetched_in_the_smallest_messages() {
    let mut file = network_file();
    file.limits = Limits { block_transactions: 1, message_bytes: 16 * 1024, ..Limits::default() };
    let (mut rig, mut ahead) = (Rig::with(&file), peer(&file));
    for block in ahead.branch(&ahead.network().genesis, 300, 1) {
        ahead.receive(None, &Message::Block(block.into()));
    }
    let outcome = claim(&mut rig, PEER, 300);
    let count = converse(&mut rig, &mut ahead, outcome);
    assert_eq!(rig.node.tip().hash, ahead.node.tip().hash);
    assert!(count < 100, "{count} messages");
}

#[test]
fn a_node_that_comes_back_after_long_catches_up_and_falls_silent() {
    let file = network_file();
    let (mut rig, mut ahead) = (Rig::new(), peer(&file));
    let blocks = 3 * HEADERS_MAX as u64 + 7;
    for block in ahead.branch(&ahead.network().genesis, usize::try_from(blocks).unwrap(), 1) {
        ahead.receive(None, &Message::Block(block.into()));
    }
    let outcome = claim(&mut rig, PEER, blocks);
    let count = converse(&mut rig, &mut ahead, outcome);
    assert_eq!(rig.node.tip().hash, ahead.node.tip().hash);
    let requests = 2 * (4 + blocks.div_ceil(HASHES_MAX as u64)) + 2;
    assert!((count as u64) <= requests, "{count} messages");
    assert!(rig.wait().sent.iter().all(|(_, message)| matches!(message, Message::Status(_))));
}

/// A locator of the best chain with fixed batches never finishes where the better fork leaves it more than one batch
/// below the tip: the first batch always has less work than ours.
#[test]
fn a_better_fork_that_is_many_batches_below_both_tips_is_fetched() {
    let file = network_file();
    let (mut rig, mut ahead) = (Rig::new(), peer(&file));
    let common = rig.branch(&rig.network().genesis, 40, 1);
    let tip = common[39].header;
    let (ours, theirs) = (rig.branch(&tip, 1300, 2), rig.branch(&tip, 1301, 3));
    for block in common.iter().chain(&ours) {
        rig.receive(None, &Message::Block(block.clone().into()));
    }
    for block in common.iter().chain(&theirs) {
        ahead.receive(None, &Message::Block(block.clone().into()));
    }
    let outcome = claim(&mut rig, PEER, 1341);
    let count = converse(&mut rig, &mut ahead, outcome);
    assert_eq!(rig.node.tip().hash, ahead.node.tip().hash);
    assert_eq!(rig.node.tip().header.index, Height(1341));
    assert!(count < 60, "{count} messages");
    // And the other way round nothing happens at all.
    let outcome = claim(&mut ahead, SELF, 1340);
    assert!(!asks(&outcome));
}

#[test]
fn an_orphan_starts_a_sync_with_its_sender() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 3, 1);
    let outcome = rig.push(&chain[2]);
    let orphan = Notice::Orphan(chain[2].header.hash());
    assert_eq!(outcome.notices, [orphan, Notice::SyncStarted(PEER)]);
    let asked = request(&outcome, PEER);
    let outcome = headers(&mut rig, asked.nonce, &chain, false);
    let asked = request(&outcome, PEER);
    blocks(&mut rig, asked.nonce, &chain);
    assert_eq!(rig.node.tip().hash, chain[2].header.hash());
}

#[test]
fn a_block_that_arrives_in_the_meantime_does_not_disturb_a_sync() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 4, 1);
    let asked = fetching(&mut rig, &chain);
    rig.push(&chain[0]);
    rig.push(&chain[1]);
    rig.push(&chain[3]);
    let outcome = blocks(&mut rig, asked.nonce, &chain);
    assert!(outcome.notices.contains(&Notice::SyncFinished(PEER)));
    assert_eq!(rig.node.tip().hash, chain[3].header.hash());
}
