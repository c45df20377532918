//! SHA-256 as FIPS 180-4 writes it, and the search as a beginner would write it.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use miner::{Hit, Job};

/// The digest of a message, one step per line of section 6.2.2.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let k = &*K;
    let mut hash = INITIAL.clone();

    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());

    for block in padded.chunks(64) {
        let mut w: Vec<u32> = block.chunks(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        for t in 16..64 {
            let s0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ (w[t - 15] >> 3);
            let s1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ (w[t - 2] >> 10);
            w.push(s1.wrapping_add(w[t - 7]).wrapping_add(s0).wrapping_add(w[t - 16]));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = hash[..] else { unreachable!() };
        for t in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let ch = (e & f) ^ (!e & g);
            let t1 = h.wrapping_add(s1).wrapping_add(ch).wrapping_add(k[t]).wrapping_add(w[t]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let maj = (a & b) ^ (a & c) ^ (b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
            (d, c, b, a) = (c, b, a, t1.wrapping_add(s0).wrapping_add(maj));
        }
        for (sum, word) in hash.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(word);
        }
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_mut(4).zip(hash) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

static PRIMES: LazyLock<Vec<u64>> =
    LazyLock::new(|| (2..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect());
static K: LazyLock<Vec<u32>> =
    LazyLock::new(|| PRIMES.iter().map(|prime| fraction_of_root(*prime, 3)).collect());
static INITIAL: LazyLock<Vec<u32>> =
    LazyLock::new(|| PRIMES[..8].iter().map(|prime| fraction_of_root(*prime, 2)).collect());

/// The first 32 bits behind the point of a number's square or cube root, by bisection in integers.
fn fraction_of_root(number: u64, power: u32) -> u32 {
    let scaled = u128::from(number) << (32 * power);
    let (mut low, mut high) = (0u128, 1 << 40);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if middle.pow(power) <= scaled {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low & 0xffff_ffff) as u32
}

/// Every hit of a range, lowest first.
pub(crate) fn hits(job: &Job, nonces: RangeInclusive<u64>) -> impl Iterator<Item = Hit> {
    nonces.flat_map(|nonce| (0..job.heads()).map(move |head| Hit { nonce, head })).filter(|hit| {
        let hash = sha256(&job.header(*hit));
        hash < *job.target()
    })
}

#[test]
fn agrees_with_the_standard() {
    let text = |message: &[u8]| sha256(message).map(|byte| format!("{byte:02x}")).concat();
    assert_eq!(text(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(text(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(
        text(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
}
