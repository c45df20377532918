//! The shader's algebra in Rust, function by function under the same names, on the words that the shader reads.
//! Invariant: differs from shaders/search.wgsl only in that a `Word` is one lane and the invocations take turns.

use crate::gpu::layout::{self, NONE};
use crate::gpu::shader::Width;
use crate::sha256::K;

const W13: u32 = 0x8000_0000;
const W14: u32 = 0;
const W15: u32 = 928;

/// The lowest key that one dispatch finds.
pub(super) fn search(words: &[u32], width: Width) -> u32 {
    let lanes = width.heads();
    let scalars: Vec<Job> = (0..lanes).map(|lane| Job::read(words, width, lane)).collect();
    let mut best = NONE;
    for offset in 0..scalars[0].len {
        let key = offset * scalars[0].heads + scalars[0].head;
        for (lane, job) in (0u32..).zip(&scalars) {
            let digest = hash(job, job.first.wrapping_add(offset));
            if digest[0] < job.bound0 || (digest[0] == job.bound0 && digest[1] <= job.bound1) {
                best = best.min(key + lane);
            }
        }
    }
    best
}

/// The shader's `Job`, as one lane sees it.
struct Job {
    w16: u32,
    w17: u32,
    w18: u32,
    w20: u32,
    w22: u32,
    w24: u32,
    k19: u32,
    k21: u32,
    k23: u32,
    k25: u32,
    k26: u32,
    k27: u32,
    k31: u32,
    k32: u32,
    k33: u32,
    bound0: u32,
    bound1: u32,
    one: u32,
    first: u32,
    len: u32,
    heads: u32,
    head: u32,
    state: State,
    feed0: u32,
    feed1: u32,
}

type State = [u32; 8];

impl Job {
    fn read(words: &[u32], width: Width, lane: usize) -> Self {
        let (scalars, states) = words.split_at(layout::states_at(width));
        let mut scalars = scalars.iter().copied();
        let mut next = || scalars.next().expect("as many scalars as fields");
        let state = |word: usize| states[word * width.heads() + lane];
        Self {
            w16: next(),
            w17: next(),
            w18: next(),
            w20: next(),
            w22: next(),
            w24: next(),
            k19: next(),
            k21: next(),
            k23: next(),
            k25: next(),
            k26: next(),
            k27: next(),
            k31: next(),
            k32: next(),
            k33: next(),
            bound0: next(),
            bound1: next(),
            one: next(),
            first: next(),
            len: next(),
            heads: next(),
            head: next(),
            state: std::array::from_fn(state),
            feed0: state(8),
            feed1: state(9),
        }
    }
}

fn plus(job: &Job, x: u32, y: u32) -> u32 {
    x.wrapping_mul(job.one).wrapping_add(y)
}

fn sum(terms: &[u32]) -> u32 {
    terms.iter().fold(0, |sum, term| sum.wrapping_add(*term))
}

fn big_sigma0(x: u32) -> u32 {
    x.rotate_right(2) ^ x.rotate_right(13) ^ x.rotate_right(22)
}

fn big_sigma1(x: u32) -> u32 {
    x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25)
}

fn sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

fn sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

fn ch(e: u32, f: u32, g: u32) -> u32 {
    g ^ (e & (f ^ g))
}

fn maj(a: u32, b: u32, c: u32) -> u32 {
    (a & b) | (c & (a | b))
}

fn scheduled(job: &Job, w2: u32, w7: u32, w15: u32, w16: u32) -> u32 {
    plus(job, plus(job, plus(job, w16, sigma0(w15)), w7), sigma1(w2))
}

fn round(job: &Job, [a, b, c, d, e, f, g, h]: State, kw: u32) -> State {
    let t1 = plus(job, plus(job, plus(job, kw, h), big_sigma1(e)), ch(e, f, g));
    let next = plus(job, plus(job, t1, big_sigma0(a)), maj(a, b, c));
    [next, a, b, c, plus(job, t1, d), e, f, g]
}

fn hash(job: &Job, w12: u32) -> [u32; 2] {
    let mut s = job.state;
    s[0] = s[0].wrapping_add(w12);
    s[4] = s[4].wrapping_add(w12);
    let mut w = [0; 64];
    (w[12], w[13], w[14], w[15]) = (w12, W13, W14, W15);
    (w[16], w[17], w[18], w[20], w[22], w[24]) = (job.w16, job.w17, job.w18, job.w20, job.w22, job.w24);
    w[19] = sum(&[job.k19, w12]);
    w[21] = sum(&[job.k21, sigma1(w[19])]);
    w[23] = sum(&[job.k23, sigma1(w[21])]);
    w[25] = sum(&[job.k25, sigma1(w[23])]);
    w[26] = sum(&[job.k26, w[19]]);
    w[27] = sum(&[job.k27, sigma0(w12), sigma1(w[25])]);
    w[28] = sum(&[sigma0(W13), w12, w[21], sigma1(w[26])]);
    w[29] = sum(&[W13, sigma0(W14), w[22], sigma1(w[27])]);
    w[30] = sum(&[W14, sigma0(W15), w[23], sigma1(w[28])]);
    w[31] = sum(&[job.k31, sigma1(w[29])]);
    w[32] = sum(&[job.k32, w[25], sigma1(w[30])]);
    w[33] = sum(&[job.k33, w[26], sigma1(w[31])]);
    for t in 34..64 {
        w[t] = scheduled(job, w[t - 2], w[t - 7], w[t - 15], w[t - 16]);
    }
    for t in 13..64 {
        s = round(job, s, K[t].wrapping_add(w[t]));
    }
    [s[0].wrapping_add(job.feed0), s[1].wrapping_add(job.feed1)]
}

mod tests {
    use super::*;
    use crate::gpu::device::Device;
    use crate::gpu::layout::Run;
    use crate::gpu::shader::{Multiply, Variant};
    use crate::gpu::tests::software;
    use crate::job;
    use crate::search::Hit;
    use crate::window::Window;

    /// Jobs of bytes that differ, at several numbers of heads, and some of their nonces.
    fn cases() -> impl Iterator<Item = (job::Job, u32, Run)> {
        [(1, 7), (2, 4), (3, 9), (5, 6), (8, 11)].into_iter().enumerate().map(|(case, (heads, bits))| {
            let byte = |i: usize| (i * 73 + case * 31) as u8;
            let blocks: Vec<[u8; 64]> =
                (0..heads).map(|head| std::array::from_fn(|i| byte(i + 100 * head))).collect();
            let mut target = [0x55; 32];
            target[..4].copy_from_slice(&(u32::MAX >> bits).to_be_bytes());
            let job = job::Job::new(&blocks, std::array::from_fn(|i| byte(i + 7)), target).unwrap();
            (job, case as u32 * 0x0102_0304, Run { first: u32::MAX - 900 * case as u32, len: 700 })
        })
    }

    #[test]
    fn twin_agrees_with_sha2() {
        let mut hits = 0;
        for (job, high, run) in cases() {
            let window = Window::new(&job, high);
            for width in Width::ALL {
                for group in 0..layout::groups(job.heads(), width) {
                    let words = layout::encode(&window, width, group, run);
                    let key = search(&words, width);
                    let found = layout::decode(&job, width, high, run, key);
                    let heads = group * width.heads()..job.heads().min((group + 1) * width.heads());
                    let nonces =
                        (0..run.len).map(|i| u64::from(high) << 32 | u64::from(run.first.wrapping_add(i)));
                    let mut all = nonces.flat_map(|nonce| heads.clone().map(move |head| Hit { nonce, head }));
                    assert_eq!(found, all.find(|hit| job.check(*hit)), "{width:?}, {high}, {run:?}");
                    hits += usize::from(found.is_some());
                }
            }
        }
        assert!(10 < hits, "{hits}");
    }

    #[test]
    fn shader_agrees_with_twin() {
        let variants = Width::ALL.map(|width| Variant { width, multiply: Multiply::No });
        let device = Device::open(&software(), &variants).unwrap();
        for (job, high, run) in cases() {
            let window = Window::new(&job, high);
            for variant in variants {
                let groups = 0..layout::groups(job.heads(), variant.width);
                let keys = groups
                    .map(|group| search(&layout::encode(&window, variant.width, group, run), variant.width));
                let dispatch = device.search(&window, variant, run).unwrap();
                let key = device.wait_for(dispatch).unwrap().key;
                assert_eq!(Some(key), keys.min(), "{variant}, {high}, {run:?}");
            }
        }
    }
}
