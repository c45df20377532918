//! Who takes part. All hash the same 116 bytes but for nonce and extra nonce, and none finds anything.

use std::hint::black_box;
#[cfg(target_arch = "x86_64")]
use std::num::NonZeroU8;

use bitcoin_hashes::HashEngine;
use miner::{Hit, Job, Kernel};
#[cfg(target_arch = "x86_64")]
use pow_buster::{
    message::BinaryMessage,
    solver::{SOLVE_TYPE_LT, Solver, avx512},
};
use sha2::digest::generic_array::GenericArray;
use sha2::{Digest, Sha256};

const HEADS: [usize; 5] = [1, 4, 16, 32, 64];

/// Hashes per run: a few milliseconds for the fastest.
const HASHES: u64 = 1 << 19;
const HASHES_OF_SLOW: u64 = 1 << 16;

/// One way to search.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) heads: usize,
    /// The least cycles per hash that its instructions allow.
    pub(crate) ceiling: Option<f64>,
    hashes: u64,
    search: Box<dyn FnMut(u64)>,
    /// The hash of nonce 0, to show that it is the right function.
    sample: Option<Box<dyn Fn() -> [u8; 32]>>,
}

impl Contestant {
    /// Searches, and says how many hashes that took.
    pub(crate) fn run(&mut self) -> u64 {
        (self.search)(black_box(self.hashes));
        self.hashes
    }

    /// Stops everything if the contestant hashes something else.
    pub(crate) fn check(&self) {
        if let Some(sample) = &self.sample {
            assert_eq!(
                sample(),
                job(1).hash(Hit { nonce: 0, head: 0 }),
                "{} hashes something else",
                self.name
            );
        }
    }
}

/// The job of everybody, which no hash hits.
pub(crate) fn job(heads: usize) -> Job {
    let heads: Vec<[u8; 64]> = (0..heads)
        .map(|head| {
            let mut block = first_block();
            // The end of the Merkle root, as an extra nonce would have it.
            block[60..].copy_from_slice(&(head as u32).to_be_bytes());
            block
        })
        .collect();
    Job::new(&heads, tail(0), [0; 32]).expect("1 to 64 heads")
}

fn first_block() -> [u8; 64] {
    let mut block = std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x5c);
    block[60..].fill(0);
    block
}

fn tail(nonce: u64) -> [u8; 52] {
    let mut tail = std::array::from_fn(|i| (i as u8).wrapping_mul(59) ^ 0xc5);
    tail[44..].copy_from_slice(&nonce.to_be_bytes());
    tail
}

pub(crate) fn all() -> Vec<Contestant> {
    let mut all = vec![compress_loop(), cloned_sha2(), cloned_ring(), cloned_bitcoin_hashes()];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        all.push(pow_buster());
    }
    for kernel in Kernel::available() {
        all.extend(HEADS.into_iter().filter(|heads| *heads == 1 || kernel.name() != "sha2").map(|heads| {
            let job = job(heads);
            Contestant {
                name: format!("quarry {kernel}"),
                heads,
                ceiling: kernel.ceiling(heads).map(|ceiling| ceiling.cycles()),
                hashes: if kernel.ceiling(heads).is_none() { HASHES_OF_SLOW } else { HASHES },
                search: Box::new(move |hashes| {
                    black_box(kernel.search(&job, 0..=hashes / heads as u64 - 1));
                }),
                sample: None,
            }
        }));
    }
    all
}

fn peer(
    name: &str,
    hashes: u64,
    search: impl FnMut(u64) + 'static,
    sample: impl Fn() -> [u8; 32] + 'static,
) -> Contestant {
    let (search, sample) = (Box::new(search), Box::new(sample));
    Contestant { name: name.to_owned(), heads: 1, ceiling: None, hashes, search, sample: Some(sample) }
}

/// The loop that one writes with the sha2 crate: the base of all ratios. Where it stands in the table, the kernel
/// `sha2` is the same loop without its store that is narrower than the load after it.
fn compress_loop() -> Contestant {
    let mut midstate = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    sha2::compress256(&mut midstate, &[GenericArray::from(first_block())]);
    let mut block = [0; 64];
    block[..52].copy_from_slice(&tail(0));
    block[52] = 0x80;
    block[56..].copy_from_slice(&(116u64 * 8).to_be_bytes());
    let mut block = GenericArray::from(block);
    let sample = move || {
        let mut state = midstate;
        sha2::compress256(&mut state, &[block]);
        let mut hash = [0; 32];
        hash.chunks_mut(4).zip(state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
        hash
    };
    let search = move |hashes: u64| {
        for nonce in 0..hashes {
            block[44..52].copy_from_slice(&nonce.to_be_bytes());
            let mut state = midstate;
            sha2::compress256(&mut state, std::slice::from_ref(&block));
            if state[0] == 0 && state[1] == 0 {
                black_box(nonce);
            }
        }
    };
    peer("sha2 compress256 loop", HASHES_OF_SLOW, search, sample)
}

fn cloned_sha2() -> Contestant {
    let midstate = Sha256::new().chain_update(first_block());
    let sample = midstate.clone();
    let search = move |hashes| {
        for nonce in 0..hashes {
            black_box(midstate.clone().chain_update(tail(nonce)).finalize());
        }
    };
    peer("sha2 digest, cloned midstate", HASHES_OF_SLOW, search, move || {
        sample.clone().chain_update(tail(0)).finalize().into()
    })
}

fn cloned_ring() -> Contestant {
    let hash = |nonce| {
        let mut context = ring_midstate();
        context.update(&tail(nonce));
        context.finish()
    };
    let midstate = ring_midstate();
    let search = move |hashes| {
        for nonce in 0..hashes {
            let mut context = midstate.clone();
            context.update(&tail(nonce));
            black_box(context.finish());
        }
    };
    peer("ring, cloned midstate", HASHES_OF_SLOW, search, move || {
        hash(0).as_ref().try_into().expect("32 bytes")
    })
}

fn ring_midstate() -> ring::digest::Context {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&first_block());
    context
}

fn cloned_bitcoin_hashes() -> Contestant {
    let mut midstate = bitcoin_hashes::sha256::HashEngine::new();
    midstate.input(&first_block());
    let sample = midstate.clone();
    let hash = |midstate: &bitcoin_hashes::sha256::HashEngine, nonce| {
        let mut engine = midstate.clone();
        engine.input(&tail(nonce));
        engine.finalize().to_byte_array()
    };
    let search = move |hashes| {
        for nonce in 0..hashes {
            black_box(hash(&midstate, nonce));
        }
    };
    peer("bitcoin_hashes, cloned midstate", HASHES_OF_SLOW, search, move || hash(&sample, 0))
}

/// Its nonce is little-endian, in the four bytes where ours varies, too: its best case for this header.
#[cfg(target_arch = "x86_64")]
fn pow_buster() -> Contestant {
    let solver = |limit| {
        let message = [&first_block()[..], &tail(0)[..48]].concat();
        let four = NonZeroU8::new(4).expect("not zero");
        let mut solver = avx512::BinarySolver::from(BinaryMessage::new(&message, four));
        solver.set_limit(limit);
        solver
    };
    let search = move |hashes| {
        let mut solver = solver(hashes);
        // A target that the compiler knows makes it drop the comparison, or more.
        assert_eq!(solver.solve::<SOLVE_TYPE_LT>(black_box(0), u64::MAX), None);
        assert_eq!(solver.get_attempted_nonces(), hashes);
    };
    let sample = move || {
        let (nonce, state) =
            solver(16).solve::<SOLVE_TYPE_LT>(black_box(u64::MAX), u64::MAX).expect("all hit");
        assert_eq!(nonce, 0);
        let mut hash = [0; 32];
        hash.chunks_mut(4).zip(state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
        hash
    };
    peer("pow-buster 0.2 (AVX-512)", HASHES, search, sample)
}
