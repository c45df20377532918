//! Every rule of a header, broken alone: in a pushed block and in the headers of a sync.

use quarry_core::block::Block;
use quarry_core::effect::{Event, Notice, SyncFailure};
use quarry_core::header::Header;
use quarry_core::message::{Message, Status};
use quarry_core::rules::{AHEAD_MAX_US, BlockError, HeaderError};
use quarry_core::target::{Bits, BitsError};
use quarry_core::units::{Hash, Height, Timestamp};

use crate::rig::{PEER, Rig, SECOND_US, remade, search, search_miss};

/// Changes a good header, finds it a nonce again and expects the error.
#[track_caller]
fn check(change: impl Fn(&Rig, &mut Header), expected: impl Fn(&Rig, &Header) -> HeaderError) {
    let broken = |rig: &Rig| {
        let mut header = rig.next(Vec::new()).header;
        change(rig, &mut header);
        if header.bits.target().is_ok() { search(header) } else { header }
    };
    check_both_ways(broken, expected);
}

#[track_caller]
fn check_both_ways(broken: impl Fn(&Rig) -> Header, expected: impl Fn(&Rig, &Header) -> HeaderError) {
    let mut rig = Rig::new();
    let header = broken(&rig);
    let error = BlockError::Header(expected(&rig, &header));
    let refused = Notice::BlockRefused { from: Some(PEER), hash: header.hash(), error: error.clone() };
    let block = Message::Block(Block { header, extra_nonce: 0, transactions: Vec::new() }.into());
    let bytes = block.encode(rig.network());
    rig.assert_refused(Event::Message { from: Some(PEER), bytes }, &[refused]);

    let mut rig = Rig::new();
    let header = broken(&rig);
    let nonce = start_sync(&mut rig);
    let reply = Message::Headers { from: PEER, nonce, headers: vec![header], more: false };
    let failed = Notice::SyncFailed { peer: PEER, reason: SyncFailure::Refused(error) };
    let bytes = reply.encode(rig.network());
    rig.assert_refused(Event::Message { from: Some(PEER), bytes }, &[failed]);
}

/// The peer claims to be far ahead; answers the nonce of the request that follows.
fn start_sync(rig: &mut Rig) -> u64 {
    let (height, work) = (Height(9), serde_json::from_str("\"999999\"").unwrap());
    let status = Status {
        from: PEER,
        nonce: 0,
        tip: Hash([9; 32]),
        height,
        work,
        reply_wanted: false,
        reply_to: None,
    };
    let outcome = rig.receive(Some(PEER), &Message::Status(status));
    match outcome.to_peer()[..] {
        [Message::GetHeaders(request)] => request.nonce,
        _ => panic!("{outcome:?}"),
    }
}

fn moved(timestamp: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(timestamp.micros().checked_add_signed(micros).unwrap()).unwrap()
}

#[test]
fn only_version_one_is_known() {
    for version in [0, 2, u32::MAX] {
        check(|_, header| header.version = version, |_, _| HeaderError::Version(version));
    }
}

#[test]
fn bits_must_be_a_canonical_target() {
    for (bits, error) in [
        (0x1d80_0001, BitsError::Negative(0x1d80_0001)),
        (0x2000_0000, BitsError::Zero(0x2000_0000)),
        (0x0000_0000, BitsError::Zero(0)),
        (0xff12_3456, BitsError::Overflow(0xff12_3456)),
        (0x2200_ffff, BitsError::Overflow(0x2200_ffff)),
        (0x2100_0fff, BitsError::NotCanonical(0x2100_0fff)),
    ] {
        check(|_, header| header.bits = Bits(bits), |_, _| HeaderError::Bits(error));
    }
}

#[test]
fn the_hash_must_be_below_the_target() {
    check_both_ways(
        |rig| search_miss(rig.next(Vec::new()).header),
        |_, header| HeaderError::ProofOfWork { hash: header.hash(), bits: header.bits },
    );
}

#[test]
fn the_index_is_one_above_the_parents() {
    for index in [0, 2, u64::MAX] {
        check(
            |_, header| header.index = Height(index),
            |_, _| HeaderError::Index { index: Height(index), parent: Height(0) },
        );
    }
}

#[test]
fn the_bits_are_the_networks() {
    // Easier and harder alike: more work than wanted is no excuse.
    for bits in [Bits(0x2100_ffff), Bits(0x2010_0001), Bits::from_zeros(2).unwrap()] {
        check(
            |_, header| header.bits = bits,
            |rig, _| HeaderError::WrongBits { bits, expected: rig.network().bits },
        );
    }
}

#[test]
fn the_timestamp_is_after_the_parents() {
    for micros in [0, -1, -1_000_000] {
        check(
            |rig, header| header.timestamp = moved(rig.network().genesis.timestamp, micros),
            |rig, header| HeaderError::NotAfterParent {
                timestamp: header.timestamp,
                parent: rig.network().genesis.timestamp,
            },
        );
    }
    check(
        |_, header| header.timestamp = Timestamp::default(),
        |rig, header| HeaderError::NotAfterParent {
            timestamp: header.timestamp,
            parent: rig.network().genesis.timestamp,
        },
    );
}

#[test]
fn the_timestamp_is_at_most_two_minutes_ahead_of_the_clock() {
    let too_far = |rig: &Rig, header: &Header| HeaderError::TooFarAhead {
        timestamp: header.timestamp,
        now: rig.now.utc,
        max: 120,
    };
    check(|rig, header| header.timestamp = rig.now.utc.saturating_add(AHEAD_MAX_US + 1), too_far);
    check(|_, header| header.timestamp = Timestamp::MAX, too_far);
}

#[test]
fn a_block_that_was_too_far_ahead_is_welcome_later() {
    let mut rig = Rig::new();
    let mut block = rig.next(Vec::new());
    block.header.timestamp = rig.now.utc.saturating_add(AHEAD_MAX_US + 1);
    let block = remade(block);
    let error =
        HeaderError::TooFarAhead { timestamp: block.header.timestamp, now: rig.now.utc, max: 120 }.into();
    let refused = Notice::BlockRefused { from: Some(PEER), hash: block.header.hash(), error };
    assert_eq!(rig.push(&block).notices, [refused]);
    rig.advance(1);
    rig.push(&block);
    assert_eq!(rig.node.tip().hash, block.header.hash());
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let mut rig = Rig::new();
    let mut first = rig.next(Vec::new());
    first.header.timestamp = moved(rig.network().genesis.timestamp, 1);
    let first = remade(first);
    rig.push(&first);
    assert_eq!(rig.node.tip().hash, first.header.hash());
    let mut second = rig.next(Vec::new());
    second.header.timestamp = rig.now.utc.saturating_add(AHEAD_MAX_US);
    let second = remade(second);
    rig.push(&second);
    assert_eq!(rig.node.tip().hash, second.header.hash());
    rig.advance(AHEAD_MAX_US + SECOND_US);
    rig.assert_works();
}
