//! Peers that send their chain, but slowly: one chain is fetched at a time, so whoever is slow keeps others waiting.

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice, SyncFailure};
use quarry_core::message::{HASHES_MAX, HEADERS_MAX, Message, Request};
use quarry_core::units::NodeId;

use crate::rig::{BYSTANDER, Outcome, PEER, Rig, SECOND_US};
use crate::sync::claim;

/// A peer with the whole chain that keeps claiming it.
struct Server {
    id: NodeId,
    /// How many blocks it claims.
    claims: u64,
    /// How long it takes for a reply.
    delay_s: u64,
    /// How many blocks it puts into a reply.
    blocks: usize,
    /// After how many headers it says that there are no more.
    slice: usize,
}

impl Server {
    /// One that answers just before it is given up, with as little as it may.
    fn slow(id: NodeId, claims: u64) -> Self {
        Self { id, claims, delay_s: 9, blocks: 1, slice: usize::MAX }
    }

    fn fast(id: NodeId, claims: u64) -> Self {
        Self { id, claims, delay_s: 1, blocks: HASHES_MAX, slice: usize::MAX }
    }

    fn answer(&self, rig: &Rig, chain: &[Block], message: &Message) -> Option<Message> {
        let from = self.id;
        let place = |hash| chain.iter().position(|block| block.header.hash() == hash);
        match message {
            Message::GetHeaders(Request { nonce, hashes, .. }) => {
                let genesis = rig.network().genesis.hash();
                let known = hashes.iter().find(|hash| **hash == genesis || place(**hash).is_some())?;
                let rest = &chain[place(*known).map_or(0, |place| place + 1)..];
                let rest = &rest[..rest.len().min(self.slice)];
                let headers = rest.iter().take(HEADERS_MAX).map(|block| block.header).collect();
                let more = HEADERS_MAX < rest.len();
                Some(Message::Headers { from, nonce: *nonce, headers, more })
            }
            Message::GetBlocks(Request { nonce, hashes, .. }) => {
                let wanted = hashes.iter().take(self.blocks);
                let blocks = wanted.map(|hash| chain[place(*hash).unwrap()].clone()).collect();
                Some(Message::Blocks { from, nonce: *nonce, blocks })
            }
            _ => None,
        }
    }
}

/// Lets so much time pass; answers what was noted about syncs, and after how many seconds.
fn watch(rig: &mut Rig, chain: &[Block], servers: &[Server], seconds: u64) -> Vec<(u64, Notice)> {
    let mut noted = Vec::new();
    let mut replies: Vec<(u64, NodeId, Message)> = Vec::new();
    for second in 0..seconds {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let is_due = |reply: &mut (u64, NodeId, Message)| reply.0 <= second;
        for (_, from, reply) in replies.extract_if(.., is_due) {
            outcomes.push(rig.receive(Some(from), &reply));
        }
        for server in servers.iter().filter(|_| second.is_multiple_of(5)) {
            outcomes.push(claim(rig, server.id, server.claims));
        }
        outcomes.push(rig.step(Event::Tick));
        for outcome in outcomes {
            for (to, message) in &outcome.sent {
                let server = servers.iter().find(|server| server.id == *to);
                let reply = server.and_then(|it| Some((it.delay_s, it.answer(rig, chain, message)?)));
                replies.extend(reply.map(|(delay_s, reply)| (second + delay_s, *to, reply)));
            }
            let is_of_syncs = |notice: &Notice| {
                matches!(notice, Notice::SyncStarted(_) | Notice::SyncFinished(_) | Notice::SyncFailed { .. })
            };
            noted.extend(outcome.notices.into_iter().filter(is_of_syncs).map(|notice| (second, notice)));
        }
        rig.advance(SECOND_US);
    }
    noted
}

fn too_slow(peer: NodeId) -> Notice {
    Notice::SyncFailed { peer, reason: SyncFailure::TooSlow }
}

/// Lets servers of a chain of so many blocks be asked for so long, wants this to be noted first, and the tip to be the last
/// block of whom the last of it names.
#[track_caller]
fn check(blocks: usize, servers: &[Server], seconds: u64, expected: &[(u64, Notice)]) {
    let mut rig = Rig::new();
    let chain = rig.branch(&rig.network().genesis, blocks, 1);
    let noted = watch(&mut rig, &chain, servers, seconds);
    assert_eq!(noted[..expected.len().min(noted.len())], *expected);
    let Some((_, Notice::SyncFinished(last))) = expected.last() else { panic!("no sync is to end well") };
    let claims = servers.iter().find(|server| server.id == *last).unwrap().claims;
    assert_eq!(rig.node.tip().header.index.0, claims.min(blocks as u64));
}

/// Each reply moved on by one block, just in time. So for an hour nobody else was asked for the 400 blocks, and nothing
/// was mined.
#[test]
fn a_peer_that_sends_block_by_block_makes_room_for_another() {
    let servers = [Server::slow(PEER, 400), Server::fast(BYSTANDER, 400)];
    let expected = [
        (0, Notice::SyncStarted(PEER)),
        // The headers took 9 s, and the pace is looked at every 30 s from then on.
        (39, too_slow(PEER)),
        (39, Notice::SyncStarted(BYSTANDER)),
        (44, Notice::SyncFinished(BYSTANDER)),
    ];
    check(400, &servers, 60, &expected);
}

/// Full replies with headers that cost next to nothing, each just in time: up to four million of them.
#[test]
fn a_peer_that_strings_out_its_headers_makes_room_for_another() {
    // Whatever it claims to have.
    let servers = [Server::slow(PEER, 100_000), Server::fast(BYSTANDER, 3500)];
    let expected = [
        (0, Notice::SyncStarted(PEER)),
        (60, too_slow(PEER)),
        (60, Notice::SyncStarted(BYSTANDER)),
        (95, Notice::SyncFinished(BYSTANDER)),
    ];
    check(7 * HEADERS_MAX, &servers, 110, &expected);
}

/// A chain in slices of one block: each was a sync of its own that ended well, and the next was with the same peer.
#[test]
fn a_peer_that_slices_its_chain_makes_room_for_another() {
    let servers = [Server { slice: 1, ..Server::slow(PEER, 1000) }, Server::fast(BYSTANDER, 400)];
    let expected = [
        (0, Notice::SyncStarted(PEER)),
        (18, Notice::SyncFinished(PEER)),
        (18, Notice::SyncStarted(BYSTANDER)),
        (23, Notice::SyncFinished(BYSTANDER)),
    ];
    check(400, &servers, 60, &expected);
}

/// What counts is what the headers prove, so the claim of a peer that has less ends nothing.
#[test]
fn a_slow_peer_is_borne_with_where_nobody_else_has_as_much() {
    let servers = [Server::slow(PEER, 20), Server::fast(BYSTANDER, 19)];
    check(20, &servers, 200, &[(0, Notice::SyncStarted(PEER)), (189, Notice::SyncFinished(PEER))]);
}

#[test]
fn slow_headers_are_waited_for_where_nobody_else_has_any() {
    let servers = [Server { blocks: HASHES_MAX, ..Server::slow(PEER, 3500) }];
    let expected = [(0, Notice::SyncStarted(PEER)), (315, Notice::SyncFinished(PEER))];
    check(7 * HEADERS_MAX, &servers, 350, &expected);
}

#[test]
fn a_peer_that_keeps_the_pace_is_not_left_for_another() {
    let servers = [Server { blocks: 8, ..Server::slow(PEER, 100) }, Server::fast(BYSTANDER, 100)];
    check(100, &servers, 130, &[(0, Notice::SyncStarted(PEER)), (126, Notice::SyncFinished(PEER))]);
}

/// The headers of an ended sync are lost. Peers that are all too slow for the first limit get more time in turn, or a
/// node with a slow link would begin again for ever.
#[test]
fn where_all_are_slow_a_long_chain_is_fetched_all_the_same() {
    let servers = [PEER, BYSTANDER].map(|id| Server { blocks: HASHES_MAX, ..Server::slow(id, 3500) });
    let expected = [
        (0, Notice::SyncStarted(PEER)),
        (60, too_slow(PEER)),
        (60, Notice::SyncStarted(BYSTANDER)),
        (120, too_slow(BYSTANDER)),
        (120, Notice::SyncStarted(PEER)),
        (435, Notice::SyncFinished(PEER)),
    ];
    check(7 * HEADERS_MAX, &servers, 450, &expected);
}
