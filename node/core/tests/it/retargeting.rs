//! The difficulty rule: compared with a second implementation over unbounded integers, and driven through a node.

use num_bigint::BigUint;
use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::effect::Notice;
use quarry_core::header::Header;
use quarry_core::network::{Difficulty, Network, NetworkFile};
use quarry_core::retarget::Window;
use quarry_core::rules::{BlockError, HeaderError};
use quarry_core::store::Store;
use quarry_core::target::Bits;
use quarry_core::units::{AccountId, Hash, Height, Timestamp};

use crate::rig::{Rig, SECOND_US, network_file, remade};

/// Ten-second blocks that begin with so many hex zeros.
fn network(zeros: u32) -> Network {
    let difficulty = Difficulty::Zeros(zeros);
    Network::new(&NetworkFile { difficulty, block_time: 10, ..network_file() }).unwrap()
}

/// The rule once more, as its text says it, over the whole chain: first block first, timestamps in microseconds.
fn expected_bits(network: &Network, chain: &[Header], timestamp: u64) -> Bits {
    let t = i128::from(network.block_time_us);
    let time = |height: usize| i128::from(chain[height].timestamp.micros());
    let tip = chain.len() - 1;
    let (mut sum, mut weighted) = (BigUint::ZERO, BigUint::ZERO);
    for position in 1..=60_usize {
        let height = (tip + position).checked_sub(60).filter(|height| 1 <= *height);
        let (target, solve_time) = match height {
            None => (decoded(network.bits), t),
            Some(1) => (decoded(chain[1].bits), t),
            Some(height) => (decoded(chain[height].bits), (time(height) - time(height - 1)).min(6 * t)),
        };
        sum += target / 60_u32;
        weighted += BigUint::from(position) * BigUint::from(u128::try_from(solve_time).unwrap());
    }
    let easiest: BigUint = BigUint::from(1_u32) << 252;
    let perfect = BigUint::from(u128::try_from(t).unwrap()) * 1830_u32;
    let target = (sum * weighted / perfect).max(BigUint::from(1_u32)).min(easiest.clone());
    let age = i128::from(timestamp) - time(tip);
    let is_late = |times: i128| 0 < tip && times * t <= age;
    let factor = [(14, 16_u32), (12, 8), (10, 4), (8, 2)].into_iter().find(|(times, _)| is_late(*times));
    encoded(&(target * factor.map_or(1, |(_, factor)| factor)).min(easiest))
}

fn decoded(bits: Bits) -> BigUint {
    let (size, mantissa) = (bits.0 >> 24, BigUint::from(bits.0 & 0x7f_ffff));
    if 3 <= size { mantissa << (8 * (size - 3)) } else { mantissa >> (8 * (3 - size)) }
}

/// The largest compact form that does not exceed the target.
fn encoded(target: &BigUint) -> Bits {
    let mut size = u32::try_from(target.bits().div_ceil(8)).unwrap();
    let top = |size: u32| {
        if 3 <= size { target >> (8 * (size - 3)) } else { target << (8 * (3 - size)) }
    };
    if top(size).bit(23) {
        size += 1;
    }
    let digits = top(size).to_u32_digits();
    Bits(size << 24 | digits.first().copied().unwrap_or(0))
}

/// A header after the others that keeps the difficulty rule; nobody looks for its nonce.
fn header(parent: &Header, bits: Bits, timestamp: u64) -> Header {
    Header {
        prev_hash: parent.hash(),
        tx_root: Hash::default(),
        version: Header::VERSION,
        bits,
        index: Height(parent.index.0 + 1),
        timestamp: Timestamp::from_micros(timestamp).unwrap(),
        miner: AccountId::default(),
        nonce: 0,
    }
}

/// Grows a chain with these gaps between its blocks, in milliseconds, and compares each step with the second
/// implementation.
fn check_chain(zeros: u32, gaps_ms: &[u64]) -> Vec<Header> {
    let network = network(zeros);
    let mut chain = vec![network.genesis];
    let mut window = Window::ending_with(&network.genesis, &network, |_| unreachable!()).unwrap();
    for gap_ms in gaps_ms {
        let parent = chain[chain.len() - 1];
        let timestamp = parent.timestamp.micros() + (gap_ms * 1000).max(1);
        let bits = window.next_bits(Timestamp::from_micros(timestamp).unwrap(), &network);
        assert_eq!(bits, expected_bits(&network, &chain, timestamp), "at height {}", chain.len());
        let next = header(&parent, bits, timestamp);
        window.push(&next);
        chain.push(next);
    }
    chain
}

fn work_of_last(chain: &[Header]) -> f64 {
    chain[chain.len() - 1].bits.target().unwrap().work().as_f64()
}

proptest! {
    #[test]
    fn the_rule_is_what_its_text_says(
        zeros in 1_u32..=62,
        gaps in prop::collection::vec(
            prop_oneof![0_u64..20_000, 0_u64..=0, 59_999_u64..60_002, 79_999_u64..80_002, 0_u64..200_000], 1..200),
    ) {
        check_chain(zeros, &gaps);
    }
}

#[test]
fn punctual_blocks_leave_the_difficulty_alone() {
    let chain = check_chain(6, &[10_000; 150]);
    // Rounding down at every step costs a little.
    let ratio = work_of_last(&chain) / f64::from(1 << 24);
    assert!((1.0..1.001).contains(&ratio), "{ratio}");
}

#[test]
fn fast_and_slow_blocks_move_the_difficulty_both_ways_without_bound_but_the_limits() {
    assert!(1e9 < work_of_last(&check_chain(2, &[1_000; 700])));
    let chain = check_chain(6, &[60_000; 700]);
    assert_eq!(chain[700].bits, Bits::from_zeros(1).unwrap(), "never easier than one zero");
}

#[test]
fn the_age_of_the_genesis_block_does_not_count() {
    let (soon, late) = (check_chain(6, &[10_000, 10_000]), check_chain(6, &[9_000_000_000, 10_000]));
    assert_eq!(soon[2].bits, late[2].bits);
}

#[test]
fn a_late_block_is_easier_step_by_step() {
    let bits_after =
        |gap_ms: u64| check_chain(6, &[10_000, gap_ms])[2].bits.target().unwrap().work().as_f64();
    let full = bits_after(10_000);
    for (gap_ms, factor) in
        [(79_999, 1.0), (80_000, 2.0), (100_000, 4.0), (120_000, 8.0), (140_000, 16.0), (9_000_000, 16.0)]
    {
        let ratio = full / bits_after(gap_ms);
        assert!((ratio / factor - 1.0).abs() < 1e-4, "{gap_ms} ms: {ratio}");
    }
}

#[test]
fn a_node_mines_follows_and_refuses_by_the_rule() {
    let file = NetworkFile { block_time: 10, ..network_file() };
    let mut rig = Rig::with(&file);
    let mut chain = vec![rig.network().genesis];
    // Four times as fast as wanted: harder and harder.
    for _ in 0..30 {
        rig.advance(SECOND_US * 5 / 2);
        let mut block = rig.next(Vec::new());
        let timestamp = block.header.timestamp.micros();
        let bits = expected_bits(rig.network(), &chain, timestamp);
        block.header.bits = Bits(bits.0 + 1);
        let wrong = remade(block.clone());
        let error = HeaderError::WrongBits { bits: Bits(bits.0 + 1), expected: bits };
        let outcome = rig.push(&wrong);
        let refusal = BlockError::Header(error);
        // The silent bystander is noted some time, too.
        let is_refusal = |it: &Notice| matches!(it, Notice::BlockRefused { error, .. } if *error == refusal);
        assert!(outcome.notices.iter().any(is_refusal), "{outcome:?}");
        block.header.bits = bits;
        let block = remade(block);
        rig.push(&block);
        assert_eq!(rig.node.tip().hash, block.header.hash());
        chain.push(block.header);
    }
    assert!(2.0 * 16.0 < work_of_last(&chain));
}

#[test]
fn a_timestamp_is_at_most_three_block_times_ahead() {
    let mut rig = Rig::with(&NetworkFile { block_time: 10, ..network_file() });
    let mut block = rig.next(Vec::new());
    block.header.timestamp = rig.now.utc.saturating_add(30 * SECOND_US + 1);
    block.header.bits =
        expected_bits(rig.network(), &[rig.network().genesis], block.header.timestamp.micros());
    let block = remade(block);
    let outcome = rig.push(&block);
    let (timestamp, now) = (block.header.timestamp, rig.now.utc);
    let error = HeaderError::TooFarAhead { timestamp, now, max: 30 };
    assert!(
        matches!(&outcome.notices[..], [Notice::BlockRefused { error: BlockError::Header(it), .. }] if *it == error),
        "{outcome:?}"
    );
    rig.advance(1);
    rig.push(&block);
    assert_eq!(rig.node.tip().hash, block.header.hash());
}

/// Blocks with ten seconds between them after the last of a chain, found and appended.
fn grow(rig: &Rig, chain: &mut Vec<Header>, count: usize, salt: u8) -> Vec<Block> {
    let mut blocks = Vec::new();
    for _ in 0..count {
        let mut block = rig.child(&chain[chain.len() - 1], Vec::new());
        let timestamp = chain[chain.len() - 1].timestamp.saturating_add(10 * SECOND_US);
        block.header.timestamp = timestamp;
        block.header.bits = expected_bits(rig.network(), chain, timestamp.micros());
        block.header.miner = AccountId([salt; 20]);
        let block = remade(block);
        chain.push(block.header);
        blocks.push(block);
    }
    blocks
}

#[test]
fn pushed_blocks_of_a_branch_that_is_far_behind_are_not_kept() {
    // The difficulty of a branch whose blocks are slow goes down until a disk full of them costs nothing.
    let mut rig = Rig::with(&NetworkFile { block_time: 10, ..network_file() });
    let genesis = rig.network().genesis;
    for block in grow(&rig, &mut vec![genesis], 300, 1) {
        rig.push(&block);
    }
    let tip = *rig.node.tip();
    assert_eq!(tip.header.index, Height(300));
    let side = grow(&rig, &mut vec![genesis], 20, 2);
    let refused = |block: &Block, rig: &mut Rig| {
        let outcome = rig.push(block);
        matches!(outcome.notices[..], [Notice::BlockRefused { error: BlockError::TooLittleWork(_), .. }])
    };
    assert!(refused(&side[0], &mut rig), "299 blocks behind");
    assert_eq!(rig.node.store().record(&side[0].header.hash()).unwrap(), None);
    // On the best chain's block 15 a side block is 284 behind.
    let best: Vec<_> = (0..=15)
        .map(|height| rig.node.store().path(Height(height)).unwrap().unwrap())
        .map(|hash| rig.node.store().record(&hash).unwrap().unwrap().header)
        .collect();
    let near = grow(&rig, &mut best.clone(), 1, 3);
    assert!(!refused(&near[0], &mut rig));
    assert!(rig.node.store().record(&near[0].header.hash()).unwrap().is_some());
    assert_eq!(rig.node.tip().hash, tip.hash);
}
