//! The search as the sha2 crate does it: one compression from the midstate per hash.
//! Invariant: shares nothing with the other kernels, so that each checks the other.

use std::ops::RangeInclusive;

use sha2::compress256;
use sha2::digest::generic_array::GenericArray;

use crate::job::{Job, NONCE_AT};
use crate::search::Hit;

/// The lowest hit in a range that is not empty.
pub(super) fn search(job: &Job, nonces: RangeInclusive<u64>) -> Option<Hit> {
    let midstates: Vec<[u32; 8]> = job.midstates().copied().collect();
    let target = words(job.target());
    let mut block = GenericArray::from(job.last_block());
    for nonce in nonces {
        block[NONCE_AT..NONCE_AT + 8].copy_from_slice(&nonce.to_be_bytes());
        for (head, midstate) in midstates.iter().enumerate() {
            let mut state = *midstate;
            compress256(&mut state, std::slice::from_ref(&block));
            if state < target {
                return Some(Hit { nonce, head });
            }
        }
    }
    None
}

fn words(bytes: &[u8; 32]) -> [u32; 8] {
    std::array::from_fn(|i| {
        u32::from_be_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
    })
}
