//! How a node fetches a better chain, how it serves its own, and every way in which that can end badly.

use std::collections::VecDeque;

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice, SyncFailure};
use quarry_core::header::Header;
use quarry_core::message::{HASHES_MAX, HEADERS_MAX, Message, Request, Status};
use quarry_core::network::{Limits, NetworkFile};
use quarry_core::peers::REQUESTS_PER_MINUTE_MAX;
use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::target::{Bits, Work};
use quarry_core::transaction::Transaction;
use quarry_core::units::{Amount, Hash, Height, NodeId};

use crate::rig::{BYSTANDER, Outcome, PEER, Rig, SECOND_US, SELF, network_file, remade};

fn failed(reason: SyncFailure) -> Vec<Notice> {
    vec![Notice::SyncFailed { peer: PEER, reason }]
}

/// A peer says that it has so much work.
fn claim(rig: &mut Rig, from: NodeId, blocks: u64) -> Outcome {
    let work = (0..blocks).map(|_| rig.network().bits.target().unwrap().work()).sum::<Work>();
    let status = Status {
        from,
        nonce: blocks,
        tip: Hash([0xff; 32]),
        height: Height(blocks),
        work,
        reply_wanted: false,
    };
    rig.receive(Some(from), &Message::Status(status))
}

/// The one request that was sent to this peer.
#[track_caller]
fn request(outcome: &Outcome, to: NodeId) -> Request {
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

fn asks(outcome: &Outcome) -> bool {
    let is_request = |message: &Message| matches!(message, Message::GetHeaders(_) | Message::GetBlocks(_));
    outcome.sent.iter().any(|(_, message)| is_request(message))
}

fn headers(rig: &mut Rig, nonce: u64, blocks: &[Block], more: bool) -> Outcome {
    let headers = blocks.iter().map(|block| block.header).collect();
    rig.receive(Some(PEER), &Message::Headers { from: PEER, nonce, headers, more })
}

fn blocks(rig: &mut Rig, nonce: u64, blocks: &[Block]) -> Outcome {
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

/// An orphan's difficulty is that of its unknown parent's chain, so it was not looked at: blocks of the easiest
/// difficulty there is, which cost nothing, filled the store of orphans and set off a sync each.
#[test]
fn an_orphan_without_the_networks_work_is_refused() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 2, 1);
    let mut block = chain[1].clone();
    block.header.bits = Bits(0x2100_ffff);
    let block = remade(block);
    let before = rig.state();
    let outcome = rig.push(&block);
    let expected = rig.network().bits;
    let error = quarry_core::rules::HeaderError::WrongBits { bits: block.header.bits, expected }.into();
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
    assert_eq!(outcome.notices, [refused]);
    assert!(!asks(&outcome));
    assert!(rig.node.orphans().is_empty());
    assert_eq!(rig.state(), before);
}

/// One sync runs at a time, with whoever claims most. A peer that claims what it does not have, and then answers that
/// its chain is no better after all, was asked again at its next claim, and so for ever, before anybody else.
#[test]
fn a_peer_that_claims_what_it_has_not_makes_room_for_others() {
    let mut rig = Rig::new();
    let asked = request(&claim(&mut rig, PEER, 1_000), PEER);
    claim(&mut rig, BYSTANDER, 5);
    let outcome = headers(&mut rig, asked.nonce, &[], false);
    assert_eq!(outcome.notices[..1], failed(SyncFailure::NoBetter)[..]);
    let asked = request(&outcome, BYSTANDER);
    assert!(!asks(&claim(&mut rig, PEER, 2_000)));
    let chain = rig.branch(&rig.network().genesis, 5, 1);
    let headers = chain.iter().map(|block| block.header).collect();
    let reply = Message::Headers { from: BYSTANDER, nonce: asked.nonce, headers, more: false };
    let asked = request(&rig.receive(Some(BYSTANDER), &reply), BYSTANDER);
    let reply = Message::Blocks { from: BYSTANDER, nonce: asked.nonce, blocks: chain };
    let outcome = rig.receive(Some(BYSTANDER), &reply);
    assert_eq!(outcome.notices.last(), Some(&Notice::SyncFinished(BYSTANDER)));
    assert!(!asks(&outcome), "the first peer has to wait");
    rig.advance(31 * SECOND_US);
    assert!(asks(&claim(&mut rig, PEER, 3_000)), "but not for ever");
}

/// The peer that claims most was asked first whenever it was not being left alone. Four peers that claim much and never
/// answer, ten seconds each, took turns at being asked: nobody else ever was.
#[test]
fn peers_that_never_answer_do_not_keep_others_from_being_asked() {
    let mut rig = Rig::new();
    let liars: Vec<NodeId> = (10..15).map(NodeId).collect();
    rig.step(Event::Peers([&[SELF, PEER], &liars[..]].concat()));
    let end = rig.now.elapsed_us + 120 * SECOND_US;
    let mut asked = 0;
    while rig.now.elapsed_us < end {
        for liar in &liars {
            claim(&mut rig, *liar, 1000);
        }
        claim(&mut rig, PEER, 5);
        asked += usize::from(rig.node.syncing() == Some(PEER));
        let step = (rig.node.deadline() - rig.now.elapsed_us).min(SECOND_US);
        rig.advance(step);
        rig.step(Event::Tick);
    }
    assert!(0 < asked);
}

#[test]
fn a_peer_that_we_overtook_is_not_to_blame() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 3, 1);
    let asked = request(&claim(&mut rig, PEER, 2), PEER);
    for block in &chain {
        rig.push(block);
    }
    let outcome = headers(&mut rig, asked.nonce, &chain[..2], false);
    assert_eq!(outcome.notices, failed(SyncFailure::NoBetter));
    assert!(asks(&claim(&mut rig, PEER, 4)), "its next claim is believed");
}

/// Headers that stand on a block known to be invalid were followed, and their blocks fetched, all in vain.
#[test]
fn headers_on_an_invalid_block_are_refused_at_once() {
    let mut rig = Rig::new();
    let bad = rig.next(vec![rig.pay("empty", "bob", 1)]);
    rig.push(&bad);
    let on_it = rig.branch(&bad.header, 3, 1);
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    let outcome = headers(&mut rig, asked.nonce, &on_it, false);
    let error = BlockError::InvalidBranch(bad.header.hash());
    assert_eq!(outcome.notices, failed(SyncFailure::Refused(error)));
}

/// A peer could hold the only sync there is by sending our own chain back, one header in a reply, each just in time.
#[test]
fn a_reply_that_is_not_the_last_is_full() {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, 3, 1);
    for block in &chain {
        rig.push(block);
    }
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    let outcome = headers(&mut rig, asked.nonce, &chain[..1], true);
    assert_eq!(outcome.notices, failed(SyncFailure::Incoherent));
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

#[test]
fn a_peer_that_has_stopped_is_not_asked() {
    let mut rig = Rig::new();
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    headers(&mut rig, asked.nonce, &[], true);
    rig.advance(31 * SECOND_US);
    rig.receive(Some(PEER), &Message::Bye { from: PEER, nonce: 1 });
    assert!(!asks(&rig.step(Event::Tick)));
    assert!(asks(&claim(&mut rig, PEER, 9)), "until it is heard of again");
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
    };
    let outcome = rig.receive(Some(PEER), &Message::Status(status.clone()));
    let [(PEER, Message::Status(reply))] = &outcome.sent[..] else { panic!("{outcome:?}") };
    assert!(!reply.reply_wanted, "or the two would answer each other for ever");
    status.reply_wanted = false;
    assert!(rig.receive(Some(PEER), &Message::Status(status)).sent.is_empty());
}

/// Headers are followed in the hope that they prove more work in the end, but not for ever.
#[test]
fn a_chain_that_never_gets_better_is_given_up() {
    use quarry_core::chain::Tip;
    use quarry_core::network::Difficulty;
    use quarry_core::store::{Changes, Overlay};
    use quarry_core::sync::{Next, SYNC_HEADERS_MAX, Sync};

    // The easiest difficulty there is, so that millions of headers can be made; and a tip that no such chain reaches.
    let difficulty = Difficulty::Bits(Bits(0x2100_ffff));
    let rig = Rig::with(&NetworkFile { difficulty, ..network_file() });
    let network = rig.network();
    let tip = Tip { work: Work::from_be_bytes([0xff; 32]), ..*rig.node.tip() };
    let (base, now) = (Changes::default(), quarry_core::units::Timestamp::MAX);
    let overlay = Overlay::new(rig.store(), &base);
    let mut sync = Sync::new(PEER);
    let mut last = network.genesis;
    let mut hash = last.hash();
    let target = network.bits.target().unwrap();
    for batch in 1.. {
        let mut headers = Vec::with_capacity(HEADERS_MAX);
        for _ in 0..HEADERS_MAX {
            let index = last.index.next();
            let timestamp = last.timestamp.saturating_add(1);
            last = Header { prev_hash: hash, index, timestamp, nonce: 0, ..last };
            hash = last.hash();
            while !target.is_met_by(&hash) {
                last.nonce += 1;
                hash = last.hash();
            }
            headers.push(last);
        }
        let next = sync.headers(&headers, true, &tip, &overlay, network, now).unwrap();
        if batch * HEADERS_MAX < SYNC_HEADERS_MAX {
            assert_eq!(next, Ok(Next::Headers(Some(hash))));
        } else {
            assert_eq!(next, Err(SyncFailure::TooLong(SYNC_HEADERS_MAX)));
            break;
        }
    }
}
