//! The difficulty that a block must have: the network's own, or, where the network has a block time, one that follows
//! the recent blocks.
//!
//! # Consensus
//! With a block time T, the target of a block is computed from the last [`WINDOW`] = 60 blocks before it (LWMA, the
//! linearly weighted moving average of solve times), in integers:
//!
//! 1. The blocks have positions 1 to 60, the parent 60. Where there are fewer, the first positions are taken by blocks
//!    with the network's first target and a solve time of T.
//! 2. The solve time of a block is its timestamp less its parent's, at most 6 T; that of block 1 is T, because nobody
//!    mined the block before it.
//! 3. A = the sum of floor(target / 60); L = the sum of position x solve time; D = T x 1830, the L of a perfect window.
//! 4. The target is floor(A x L / D), at least 1 and at most 2^252 ([`EASIEST_LOG2`]).
//! 5. *Late decay*: a block whose own timestamp is 8, 10, 12 or 14 T or more after its parent's has 2, 4, 8 or 16 times
//!    that target, at most 2^252; not so block 1. Its work counts for what it is, so it loses against a punctual block.
//! 6. The target is rounded down to what compact bits can say.
//!
//! Times are in microseconds. Timestamps grow from block to block and are at most 3 T ahead of the clock of whoever
//! checks them, so that a liar alone reaches no decay; that is why 3 is less than 6.

use alloc::collections::VecDeque;

use ethnum::U256;

use crate::header::Header;
use crate::network::Network;
use crate::store::{Record, StoreError, missing};
use crate::target::{Bits, Target};
use crate::units::{Hash, Timestamp};

/// How many blocks the average is over.
pub const WINDOW: usize = 60;
/// How many block times a solve time counts at most, and how late a block is before its target begins to decay.
const SOLVE_TIMES_MAX: u64 = 6;
/// How many block times make each further step of the decay.
const DECAY_STEP: u64 = 2;
/// How often the target is doubled at most.
const DECAY_STEPS_MAX: u64 = 4;
/// 1 + 2 + ... + 60.
const WEIGHTS: u64 = 1830;
/// How many block times a timestamp may be ahead of the clock.
pub const AHEAD_BLOCK_TIMES_MAX: u64 = 3;
const _: () = assert!(AHEAD_BLOCK_TIMES_MAX < SOLVE_TIMES_MAX, "a liar alone must not reach the decay");
/// log2 of the easiest target of a network with a block time: one hex zero.
pub const EASIEST_LOG2: u32 = 252;

/// The recent blocks of a branch, as far as the difficulty of the next one depends on them.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Timestamps and targets, the newest last; one more than the window, for the first solve time.
    recent: VecDeque<Recent>,
}

#[derive(Debug, Clone, Copy)]
struct Recent {
    timestamp: Timestamp,
    target: Target,
    is_genesis: bool,
}

impl Window {
    /// The window that ends with a header whose ancestors can be looked up.
    pub fn ending_with(
        last: &Header,
        network: &Network,
        record: impl Fn(&Hash) -> Result<Option<Record>, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut window = Self::default();
        if network.block_time_us == 0 {
            return Ok(window);
        }
        let mut header = *last;
        window.recent.push_front(Recent::of(&header));
        while window.recent.len() <= WINDOW && header.index.0 != 0 {
            let parent =
                record(&header.prev_hash)?.ok_or_else(|| missing("record of block", &header.prev_hash))?;
            header = parent.header;
            window.recent.push_front(Recent::of(&header));
        }
        Ok(window)
    }

    /// Moves on to a block whose parent was the last one.
    pub fn push(&mut self, header: &Header) {
        if self.recent.is_empty() {
            return;
        }
        if WINDOW < self.recent.len() {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent::of(header));
    }

    /// The bits that a block with this timestamp must have after the last one.
    pub fn next_bits(&self, timestamp: Timestamp, network: &Network) -> Bits {
        let Some(parent) = self.recent.back() else { return network.bits };
        let block_time_us = network.block_time_us;
        let target = self.next_target(network);
        let late_us = timestamp
            .micros()
            .saturating_sub(parent.timestamp.micros())
            .saturating_sub(SOLVE_TIMES_MAX * block_time_us);
        let steps = if parent.is_genesis { 0 } else { late_us / (DECAY_STEP * block_time_us) };
        target
            .shifted_left(u32::try_from(steps.min(DECAY_STEPS_MAX)).expect("at most four"), EASIEST_LOG2)
            .bits()
    }

    fn next_target(&self, network: &Network) -> Target {
        let first = network.bits.target().expect("a network's bits have a target");
        let block_time_us = network.block_time_us;
        // The genesis block itself was not mined: it only is where the first solve time would begin.
        let mined = self.recent.len() - 1;
        let padding = WINDOW - mined;
        let share = |target: Target| target.value() / U256::from(60_u8);
        let mut targets = share(first) * U256::from(u64::try_from(padding).expect("at most 60"));
        let mut weighted = U256::ZERO;
        for position in 1..=WINDOW {
            let solve_time_us = match position.checked_sub(padding + 1) {
                None => block_time_us,
                Some(index) => {
                    let (parent, block) = (self.recent[index], self.recent[index + 1]);
                    targets += share(block.target);
                    match parent.is_genesis {
                        true => block_time_us,
                        false => (block.timestamp.micros() - parent.timestamp.micros())
                            .min(SOLVE_TIMES_MAX * block_time_us),
                    }
                }
            };
            let weight = u64::try_from(position).expect("at most 60");
            weighted += U256::from(weight) * U256::from(solve_time_us);
        }
        let perfect = U256::from(WEIGHTS) * U256::from(block_time_us);
        // floor(targets x weighted / perfect) without the product's 300 bits.
        let value = targets / perfect * weighted + targets % perfect * weighted / perfect;
        Target::clamped(value, EASIEST_LOG2)
    }
}

impl Recent {
    fn of(header: &Header) -> Self {
        let target = header.bits.target().expect("a header in the chain has a target");
        Self { timestamp: header.timestamp, target, is_genesis: header.index.0 == 0 }
    }
}
