//! The search as the sha2 crate does it: one compression from the midstate per hash, with whatever SHA instructions
//! that crate finds. It is the yardstick of the other kernels, and the fastest where only such instructions are.
//! Invariant: shares no arithmetic with the other kernels.

use std::ops::RangeInclusive;

use sha2::compress256;
use sha2::digest::generic_array::GenericArray;

use crate::job::NONCE_AT;
use crate::search::Hit;
use crate::window::Window;

/// Blocks that are written before the first of them is hashed. A block hashed at once has to wait until its store of
/// four bytes can be loaded as part of sixteen, a third of the whole time.
const BLOCKS: usize = 16;

/// The lowest hit of a window among nonces whose low words are in a range that is not empty.
pub(super) fn search(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    let midstates: Vec<[u32; 8]> = window.job.midstates().copied().collect();
    let mut block = GenericArray::from(window.job.last_block());
    block[NONCE_AT..NONCE_AT + 4].copy_from_slice(&window.high.to_be_bytes());
    let mut blocks = [block; BLOCKS];
    let (mut low, last) = lows.into_inner();
    loop {
        let count = BLOCKS.min((last - low) as usize + 1);
        for (block, low) in blocks[..count].iter_mut().zip(low..=last) {
            block[NONCE_AT + 4..NONCE_AT + 8].copy_from_slice(&low.to_be_bytes());
        }
        for (block, low) in blocks[..count].iter().zip(low..=last) {
            let mut hit = None;
            for (head, midstate) in midstates.iter().enumerate() {
                let mut state = *midstate;
                compress256(&mut state, std::slice::from_ref(block));
                if state[0] <= window.bound {
                    hit = window.lower(hit, head, low, low, 1);
                }
            }
            if hit.is_some() {
                return hit;
            }
        }
        low = low.checked_add(count as u32).filter(|low| *low <= last)?;
    }
}
