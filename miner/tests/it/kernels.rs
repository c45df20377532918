//! Every kernel of this CPU against a textbook SHA-256, for every number of heads that is handled differently.

use std::ops::RangeInclusive;

use miner::cpu::kernel::KernelError;
use miner::{Hit, Job, Kernel};

use crate::oracle;

const HEADS: [usize; 6] = [1, 2, 3, 4, 8, 16];

/// Nonces of the widest vector, twice: each lane of each stream has its turn.
const WIDEST: u64 = 32;

#[test]
fn random_jobs() {
    let mut random = Random(1);
    for kernel in Kernel::available() {
        for heads in HEADS {
            for bits in [0, 1, 4, 7] {
                let first = random.next();
                let job = random.job(heads, u32::MAX >> bits);
                check_all_hits(
                    kernel,
                    &job,
                    first..=first.saturating_add(3 * WIDEST + random.next() % WIDEST),
                );
            }
        }
    }
}

#[test]
fn ranges_across_windows_and_at_the_ends() {
    let mut random = Random(2);
    for kernel in Kernel::available() {
        for heads in HEADS {
            let job = random.job(heads, u32::MAX >> 5);
            let wrap = (random.next() % 1000 + 1) << 32;
            for before in [1, 7, WIDEST] {
                check_all_hits(kernel, &job, wrap - before..=wrap + 2 * WIDEST + 5);
            }
            check_all_hits(kernel, &job, 0..=WIDEST + 3);
            check_all_hits(kernel, &job, u64::MAX - WIDEST - 3..=u64::MAX);
            check_all_hits(kernel, &job, u64::MAX..=u64::MAX);
            assert_eq!(kernel.search(&job, RangeInclusive::new(9, 8)), None);
        }
    }
}

#[test]
fn target_edges_in_every_lane() {
    let mut random = Random(3);
    for kernel in Kernel::available() {
        for heads in HEADS {
            let first = random.next() >> 1;
            let header = random.job(heads, 0);
            let nonces = first..=first + WIDEST - 1;
            let all = nonces.clone().flat_map(|nonce| (0..heads).map(move |head| Hit { nonce, head }));
            let hashes: Vec<(Hit, [u8; 32])> =
                all.map(|hit| (hit, oracle::sha256(&header.header(hit)))).collect();
            for (edge, hash) in &hashes {
                // The hash as the target is no hit, one more is; lower hashes before it hit in both cases.
                for target in [*hash, plus_one(*hash)] {
                    let job = with_target(&header, target);
                    let expected = hashes.iter().find(|(_, hash)| *hash < target).map(|(hit, _)| *hit);
                    assert_eq!(kernel.search(&job, nonces.clone()), expected, "{kernel}, {edge:?}");
                    let alone = hashes.iter().find(|(hit, hash)| hit.nonce == edge.nonce && *hash < target);
                    let found = kernel.search(&job, edge.nonce..=edge.nonce);
                    assert_eq!(found, alone.map(|(hit, _)| *hit), "{kernel}, {edge:?}");
                }
            }
            let (lowest, hash) = hashes.iter().min_by_key(|(_, hash)| *hash).expect("there are hashes");
            assert_eq!(kernel.search(&with_target(&header, *hash), nonces.clone()), None);
            let job = with_target(&header, plus_one(*hash));
            assert_eq!(kernel.search(&job, nonces), Some(*lowest), "{kernel}, {heads} heads");
        }
    }
}

/// A difficult target's first word is zero, so that in most vectors not even a candidate comes up.
#[test]
fn difficult_targets() {
    let nonce = 9_165_685;
    for kernel in Kernel::available() {
        for heads in HEADS {
            for at in [0, heads - 1] {
                let mut blocks = vec![[0x77; 64]; heads];
                blocks[at] = [10; 64];
                let job = |target| Job::new(&blocks, [0xab; 52], target).expect("a few heads");
                let hit = Hit { nonce, head: at };
                let hash = job([0; 32]).hash(hit);
                assert_eq!(hash[..5], [0, 0, 0, 0, 0x39]);
                for distance in [0, 1, 15, 16, 31] {
                    let nonces = nonce - distance..=nonce + 40;
                    assert_eq!(kernel.search(&job(hash), nonces.clone()), None);
                    assert_eq!(kernel.search(&job(plus_one(hash)), nonces.clone()), Some(hit));
                    // Equal first words, decided by the second.
                    let mut target = [0; 32];
                    target[4] = 0x39;
                    assert_eq!(kernel.search(&job(target), nonces.clone()), None);
                    target[4] = 0x3a;
                    assert_eq!(kernel.search(&job(target), nonces.clone()), Some(hit));
                    // The hit is the first beyond the range.
                    assert_eq!(kernel.search(&job(target), nonce - distance - 33..=nonce - 1), None);
                }
            }
        }
    }
}

#[test]
fn kernels_by_name() {
    let available = Kernel::available();
    for kernel in &available {
        assert_eq!(kernel.name().parse(), Ok(*kernel));
    }
    let names: Vec<_> = available.iter().map(|kernel| kernel.name()).collect();
    assert_eq!(names[..2], ["sha2", "portable"]);
    let unknown = "abacus".parse::<Kernel>().unwrap_err();
    assert_eq!(
        unknown.to_string(),
        format!("no kernel is named 'abacus'; this CPU has {}", names.join(", "))
    );
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let unsupported = foreign.parse::<Kernel>().unwrap_err();
    assert_eq!(unsupported, KernelError::Unsupported { name: foreign });
}

#[test]
fn ceilings_fall_with_the_number_of_heads() {
    for kernel in Kernel::available() {
        let cycles = |heads| kernel.ceiling(heads).map(|ceiling| ceiling.cycles());
        assert!(cycles(64) <= cycles(1), "{kernel}");
        if kernel.name().starts_with("avx512") {
            assert_eq!(cycles(1), Some(1238.0 / 16.0 / 2.0));
            assert_eq!(cycles(16), Some((816.0 + 422.0 / 16.0) / 16.0 / 2.0));
        }
    }
}

/// Goes from hit to hit; the oracle hashes the range once.
fn check_all_hits(kernel: Kernel, job: &Job, nonces: RangeInclusive<u64>) {
    let (mut first, last) = (*nonces.start(), *nonces.end());
    let mut hits: Vec<Hit> = oracle::hits(job, nonces).collect();
    hits.dedup_by_key(|hit| hit.nonce);
    for hit in hits {
        assert_eq!(
            kernel.search(job, first..=last),
            Some(hit),
            "{kernel}, {} heads, {first}..={last}",
            job.heads()
        );
        assert!(job.check(hit));
        if hit.nonce == last {
            return;
        }
        first = hit.nonce + 1;
    }
    assert_eq!(kernel.search(job, first..=last), None, "{kernel}, {} heads, {first}..={last}", job.heads());
}

fn with_target(job: &Job, target: [u8; 32]) -> Job {
    let headers: Vec<_> = (0..job.heads()).map(|head| job.header(Hit { nonce: 0, head })).collect();
    let heads: Vec<[u8; 64]> =
        headers.iter().map(|header| header[..64].try_into().expect("64 bytes")).collect();
    Job::new(&heads, headers[0][64..].try_into().expect("52 bytes"), target).expect("as many heads as before")
}

fn plus_one(mut number: [u8; 32]) -> [u8; 32] {
    for byte in number.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    number
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A job of random bytes with a first target word.
    fn job(&mut self, heads: usize, target_word: u32) -> Job {
        let heads: Vec<[u8; 64]> = (0..heads).map(|_| std::array::from_fn(|_| self.next() as u8)).collect();
        let tail = std::array::from_fn(|_| self.next() as u8);
        let mut target: [u8; 32] = std::array::from_fn(|_| self.next() as u8);
        target[..4].copy_from_slice(&target_word.to_be_bytes());
        Job::new(&heads, tail, target).expect("a few heads")
    }
}
