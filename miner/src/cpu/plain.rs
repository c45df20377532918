//! The search as the sha2 crate does it: one compression from the midstate per hash, with whatever SHA instructions
//! that crate finds. It is the yardstick of the other kernels, and the fastest where only such instructions are.
//! Invariant: shares no arithmetic with the other kernels.

use std::ops::RangeInclusive;

use sha2::compress256;
use sha2::digest::generic_array::GenericArray;

use crate::job::NONCE_AT;
use crate::search::Hit;
use crate::window::Window;

/// The lowest hit of a window among nonces whose low words are in a range that is not empty.
pub(super) fn search(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    let job = window.job;
    let mut block = GenericArray::from(job.last_block());
    block[NONCE_AT..NONCE_AT + 4].copy_from_slice(&window.high.to_be_bytes());
    for low in lows {
        block[NONCE_AT + 4..NONCE_AT + 8].copy_from_slice(&low.to_be_bytes());
        let mut hit = None;
        for (head, midstate) in job.midstates().enumerate() {
            let mut state = *midstate;
            compress256(&mut state, std::slice::from_ref(&block));
            if state[0] <= window.bound {
                hit = window.lower(hit, head, low, low, 1);
            }
        }
        if hit.is_some() {
            return hit;
        }
    }
    None
}
