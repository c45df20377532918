//! The difficulty rule once more, over whole numbers of any size and whole chains, for the plain ledger.
//!
//! Invariant: it shares nothing with `quarry_core::retarget` but the text at the top of that module.

use num_bigint::BigUint;
use quarry_core::header::Header;
use quarry_core::network::Network;
use quarry_core::units::Hash;

/// How many blocks the rule looks back.
const WINDOW: usize = 60;

/// The bits that a header must have, by its timestamp and its ancestors; none where an ancestor is missing.
pub fn next_bits(
    network: &Network,
    header: &Header,
    ancestor: impl Fn(&Hash) -> Option<Header>,
) -> Option<u32> {
    if network.block_time_us == 0 {
        return Some(network.bits.0);
    }
    let mut recent = Vec::new();
    let mut hash = header.prev_hash;
    while recent.len() <= WINDOW && recent.last() != Some(&network.genesis) {
        let known = ancestor(&hash)?;
        recent.push(known);
        hash = known.prev_hash;
    }
    recent.reverse();
    Some(after(network, &recent, header.timestamp.micros()))
}

/// The bits of a block with this timestamp, in microseconds, after the last blocks of its branch, the newest last.
fn after(network: &Network, recent: &[Header], micros: u64) -> u32 {
    let block_time = network.block_time_us;
    let time = |index: usize| recent[index].timestamp.micros();
    let last = recent.len() - 1;
    let (mut targets, mut weighted) = (BigUint::ZERO, BigUint::ZERO);
    for position in 1..=WINDOW {
        // Where the chain is short, blocks that never were stand for what comes before its first.
        let index = (last + position).checked_sub(WINDOW).filter(|index| recent[*index].index.0 != 0);
        let (bits, solve_time) = match index {
            None => (network.bits.0, block_time),
            Some(index) if recent[index].index.0 == 1 => (recent[index].bits.0, block_time),
            Some(index) => (recent[index].bits.0, (time(index) - time(index - 1)).min(6 * block_time)),
        };
        targets += target(bits) / 60_u32;
        weighted += BigUint::from(position) * BigUint::from(solve_time);
    }
    let easiest: BigUint = BigUint::from(1_u32) << 252;
    let average = targets * weighted / (BigUint::from(block_time) * 1830_u32);
    let late = micros.saturating_sub(time(last)) / block_time;
    let ease: u32 = match late {
        _ if recent[last].index.0 == 0 => 1,
        0..8 => 1,
        8..10 => 2,
        10..12 => 4,
        12..14 => 8,
        _ => 16,
    };
    compact(&(average.clamp(BigUint::from(1_u32), easiest.clone()) * ease).min(easiest))
}

/// The hashes that a block with these bits stands for: 2^256 over the target, rounded down.
pub fn work(bits: u32) -> BigUint {
    (BigUint::from(1_u32) << 256) / target(bits)
}

/// The number that compact bits stand for.
pub fn target(bits: u32) -> BigUint {
    let (size, mantissa) = (bits >> 24, BigUint::from(bits & 0x7f_ffff));
    if 3 <= size { mantissa << (8 * (size - 3)) } else { mantissa >> (8 * (3 - size)) }
}

/// The largest number in compact form that does not exceed this one.
fn compact(target: &BigUint) -> u32 {
    let bytes = target.to_bytes_be();
    // A leading one would be a sign, so a zero goes before it.
    let digits: Vec<u8> = if bytes[0] < 0x80 { bytes } else { [vec![0], bytes].concat() };
    let digit = |index: usize| u32::from(digits.get(index).copied().unwrap_or(0));
    let size = u32::try_from(digits.len()).expect("at most 33");
    size << 24 | digit(0) << 16 | digit(1) << 8 | digit(2)
}
