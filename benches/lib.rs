//! Shared inputs of the benchmarks.

pub mod chain;

use miner::Job;

/// A job that no hash hits, whose heads differ as those of different extra nonces do.
pub fn mining_job(heads: usize) -> Job {
    let blocks: Vec<[u8; 64]> = (0..heads)
        .map(|head| {
            let mut block = std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x5c);
            block[60..].copy_from_slice(&(head as u32).to_be_bytes());
            block
        })
        .collect();
    let tail = std::array::from_fn(|i| (i as u8).wrapping_mul(59) ^ 0xc5);
    Job::new(&blocks, tail, [0; 32]).expect("benchmarks ask for 1 to 256 heads")
}

/// `full` where this is a measurement, as `cargo bench` says; else `small`, for a run that only has to pass.
pub fn size(full: usize, small: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") { full } else { small }
}
