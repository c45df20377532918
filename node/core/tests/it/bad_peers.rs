//! Peers that claim, send and answer what only costs others, and what it costs them.

use quarry_core::effect::{Event, Notice, SyncFailure};
use quarry_core::header::Header;
use quarry_core::message::{HEADERS_MAX, Message};
use quarry_core::network::NetworkFile;
use quarry_core::rules::BlockError;
use quarry_core::target::{Bits, Work};
use quarry_core::units::NodeId;

use crate::rig::{BYSTANDER, PEER, Rig, SECOND_US, SELF, network_file, remade};
use crate::sync::{asks, claim, failed, headers, request};

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
fn a_peer_that_has_stopped_is_not_asked() {
    let mut rig = Rig::new();
    let asked = request(&claim(&mut rig, PEER, 9), PEER);
    headers(&mut rig, asked.nonce, &[], true);
    rig.advance(31 * SECOND_US);
    rig.receive(Some(PEER), &Message::Bye { from: PEER, nonce: 1 });
    assert!(!asks(&rig.step(Event::Tick)));
    assert!(asks(&claim(&mut rig, PEER, 9)), "until it is heard of again");
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
