//! The search that all vector kernels share, written once over lanes of 32-bit words.
//! Invariant: what depends on the nonce but not on the head is computed once per vector of nonces, for all heads.
//!
//! Rounds 0 to 11 and the known parts of the schedule come with the [`Window`]. Per vector of nonces the rest of the
//! schedule takes 422 operations, and per head the rounds take 816: 1238 in all for one head, 823 each for 64.

use std::ops::RangeInclusive;

use crate::search::Hit;
use crate::sha256::{self, K};
use crate::window::{Window, WindowHead};

/// A vector of 32-bit words. Each operation is one or a few instructions.
///
/// The CPU feature is enabled only in the entry function of a kernel, into which everything has to melt: operations and
/// whatever calls them are `#[inline(always)]`, and no closure calls them, because a closure cannot be told so and is
/// now and then compiled on its own, without the feature, at twice the cost.
pub(super) trait Lanes: Copy {
    /// Words per vector; at most 32, so that a comparison fits a mask of 32 bits.
    const N: u32;

    /// The same word in every lane.
    fn splat(word: u32) -> Self;
    /// 0, 1, 2, and so on.
    fn iota() -> Self;
    /// Sums modulo 2^32.
    fn add(self, other: Self) -> Self;
    /// Rotation to the right.
    fn rotr<const BITS: i32>(self) -> Self;
    /// Shift to the right.
    fn shr<const BITS: i32>(self) -> Self;
    /// a ^ b ^ c.
    fn xor3(a: Self, b: Self, c: Self) -> Self;
    /// The bits of f where e is set, those of g elsewhere.
    fn ch(e: Self, f: Self, g: Self) -> Self;
    /// The majority of each bit.
    fn maj(a: Self, b: Self, c: Self) -> Self;
    /// Bit i says whether lane i is at most `bound`, unsigned.
    fn le(self, bound: Self) -> u32;
}

/// The lowest hit of a window among nonces whose low words are in a range that is not empty.
///
/// `STREAMS` vectors of nonces go through the rounds side by side. Where one round's results come too late to keep the
/// vector units busy, two streams gain up to a quarter; more do not fit the registers.
#[inline(always)]
pub(super) fn search<L: Lanes, const STREAMS: usize>(
    window: &Window,
    lows: RangeInclusive<u32>,
) -> Option<Hit> {
    let step = const { L::N * STREAMS as u32 };
    const { assert!(L::N as usize * STREAMS <= 32, "a mask has 32 bits") };
    let heads: Vec<Head> = window.heads.iter().map(|head| Head::new(window, head)).collect();
    let bound = L::splat(window.bound);
    let (mut low, last) = lows.into_inner();
    // Filled anew per vector, but for the words that no nonce changes.
    let mut kw = [known_words(window); STREAMS];
    loop {
        let mut w12 = [L::iota(); STREAMS];
        for s in 0..STREAMS {
            w12[s] = w12[s].add(L::splat(low.wrapping_add(s as u32 * L::N)));
            schedule(window, w12[s], &mut kw[s]);
        }
        let mut hit = None;
        for (index, head) in heads.iter().enumerate() {
            let words = first_words(head, w12, &kw);
            let mut candidates = 0;
            for (s, word) in words.iter().enumerate() {
                candidates |= word.le(bound) << (s as u32 * L::N);
            }
            if candidates != 0 {
                hit = window.lower(hit, index, low, last, candidates);
            }
        }
        if hit.is_some() || last - low < step {
            return hit;
        }
        low += step;
    }
}

/// A head with round 12 done but for w12, which is then added to the first and the fifth word.
struct Head {
    state: [u32; 8],
    /// h + K + w of rounds 13 to 15, where h is not yet touched by the nonce.
    hkw: [u32; 3],
    /// What the digest's first word lacks after the last round: the midstate's, and that round's constant.
    feed: u32,
}

impl Head {
    fn new(window: &Window, head: &WindowHead) -> Self {
        let state = sha256::round(head.state, K[12]);
        let hkw = [(13, state[7]), (14, state[6]), (15, state[5])];
        let hkw = hkw.map(|(t, h)| h.wrapping_add(K[t]).wrapping_add(window.fixed[t]));
        Self { state, hkw, feed: head.feed.wrapping_add(K[63]) }
    }
}

/// K + w of rounds 16 to 63.
type Words<L> = [L; 48];

#[inline(always)]
fn known_words<L: Lanes>(window: &Window) -> Words<L> {
    let mut kw = [L::splat(0); 48];
    for t in [16, 17, 18, 20, 22, 24] {
        kw[t - 16] = L::splat(window.fixed[t].wrapping_add(K[t]));
    }
    kw
}

/// Calls a macro with each number: the compiler may leave a loop over them rolled, and then all vectors in memory.
macro_rules! unroll {
    ($step:ident: $($t:literal)*) => { $( $step!($t); )* };
}

/// The sums K + w of rounds 16 to 63, but for those that no nonce changes.
#[inline(always)]
fn schedule<L: Lanes>(window: &Window, w12: L, kw: &mut Words<L>) {
    macro_rules! known {
        ($t:literal) => {
            L::splat(window.fixed[$t])
        };
    }
    // Only the words that depend on w12 are ever read.
    let mut w = [w12; 64];
    w[19] = known!(19).add(w12);
    w[21] = known!(21).add(sigma1(w[19]));
    w[23] = known!(23).add(sigma1(w[21]));
    w[25] = known!(25).add(sigma1(w[23]));
    w[26] = known!(26).add(w[19]);
    w[27] = known!(27).add(sigma0(w12)).add(sigma1(w[25]));
    w[28] = known!(28).add(w12).add(w[21]).add(sigma1(w[26]));
    w[29] = known!(29).add(sigma1(w[27]));
    w[30] = known!(30).add(w[23]).add(sigma1(w[28]));
    w[31] = known!(31).add(sigma1(w[29]));
    w[32] = known!(32).add(w[25]).add(sigma1(w[30]));
    w[33] = known!(33).add(w[26]).add(sigma1(w[31]));
    w[34] = known!(34).add(sigma0(w[19])).add(w[27]).add(sigma1(w[32]));
    w[35] = known!(35).add(w[19]).add(w[28]).add(sigma1(w[33]));
    w[36] = known!(36).add(sigma0(w[21])).add(w[29]).add(sigma1(w[34]));
    w[37] = known!(37).add(w[21]).add(w[30]).add(sigma1(w[35]));
    w[38] = known!(38).add(sigma0(w[23])).add(w[31]).add(sigma1(w[36]));
    w[39] = known!(39).add(w[23]).add(w[32]).add(sigma1(w[37]));
    w[40] = known!(40).add(sigma0(w[25])).add(w[33]).add(sigma1(w[38]));
    macro_rules! step {
        ($t:literal) => {
            w[$t] = w[$t - 16].add(sigma0(w[$t - 15])).add(w[$t - 7]).add(sigma1(w[$t - 2]));
        };
    }
    unroll!(step: 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    macro_rules! store {
        ($t:literal) => {
            kw[$t - 16] = w[$t].add(L::splat(K[$t]));
        };
    }
    unroll!(store: 19 21 23 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41);
    unroll!(store: 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62);
    // The last constant reaches the digest's first word by additions only, so each head adds it beforehand.
    kw[63 - 16] = w[63];
}

/// The first word of the digest, per stream.
#[inline(always)]
fn first_words<L: Lanes, const STREAMS: usize>(
    head: &Head,
    w12: [L; STREAMS],
    kw: &[Words<L>; STREAMS],
) -> [L; STREAMS] {
    let [a, b, c, d, e, f, g, h] = head.state;
    let [a, b, c, d] = [L::splat(a), L::splat(b), L::splat(c), L::splat(d)];
    let [e, f, g, h] = [L::splat(e), L::splat(f), L::splat(g), L::splat(h)];
    let mut states = [[a, b, c, d, e, f, g, h]; STREAMS];
    for s in 0..STREAMS {
        states[s][0] = a.add(w12[s]);
        states[s][4] = e.add(w12[s]);
    }
    for hkw in head.hkw {
        for state in &mut states {
            *state = round(*state, L::splat(hkw));
        }
    }
    macro_rules! step {
        ($t:literal) => {
            for s in 0..STREAMS {
                states[s] = round(states[s], states[s][7].add(kw[s][$t - 16]));
            }
        };
    }
    unroll!(step: 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    unroll!(step: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62);
    let mut words = w12;
    for s in 0..STREAMS {
        let (t1, t2) = sums(states[s], states[s][7].add(kw[s][63 - 16]));
        words[s] = t1.add(t2).add(L::splat(head.feed));
    }
    words
}

/// One round with the sum h + K + w; h itself is not read.
#[inline(always)]
fn round<L: Lanes>(state: [L; 8], hkw: L) -> [L; 8] {
    let (t1, t2) = sums(state, hkw);
    let [a, b, c, d, e, f, g, _] = state;
    [t1.add(t2), a, b, c, d.add(t1), e, f, g]
}

/// T1 and T2 of a round.
#[inline(always)]
fn sums<L: Lanes>([a, b, c, _, e, f, g, _]: [L; 8], hkw: L) -> (L, L) {
    (hkw.add(big_sigma1(e)).add(L::ch(e, f, g)), big_sigma0(a).add(L::maj(a, b, c)))
}

#[inline(always)]
fn sigma0<L: Lanes>(x: L) -> L {
    L::xor3(x.rotr::<7>(), x.rotr::<18>(), x.shr::<3>())
}

#[inline(always)]
fn sigma1<L: Lanes>(x: L) -> L {
    L::xor3(x.rotr::<17>(), x.rotr::<19>(), x.shr::<10>())
}

#[inline(always)]
fn big_sigma0<L: Lanes>(x: L) -> L {
    L::xor3(x.rotr::<2>(), x.rotr::<13>(), x.rotr::<22>())
}

#[inline(always)]
fn big_sigma1<L: Lanes>(x: L) -> L {
    L::xor3(x.rotr::<6>(), x.rotr::<11>(), x.rotr::<25>())
}

/// How often each operation of [`Lanes`] is needed; splats cost nothing where they come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operations {
    pub(super) add: u32,
    pub(super) rotr: u32,
    pub(super) shr: u32,
    pub(super) xor3: u32,
    pub(super) ch: u32,
    pub(super) maj: u32,
    pub(super) le: u32,
}

/// Per vector of nonces: 422.
pub(super) const PER_VECTOR: Operations =
    Operations { add: 150, rotr: 136, shr: 68, xor3: 68, ch: 0, maj: 0, le: 0 };
/// Per vector of nonces and head: 816.
pub(super) const PER_HEAD: Operations =
    Operations { add: 305, rotr: 306, shr: 0, xor3: 102, ch: 51, maj: 51, le: 1 };

impl Operations {
    /// The number of instructions, where each operation takes as many as `cost` says.
    pub(super) const fn at(&self, cost: &Self) -> u32 {
        self.add * cost.add
            + self.rotr * cost.rotr
            + self.shr * cost.shr
            + self.xor3 * cost.xor3
            + self.ch * cost.ch
            + self.maj * cost.maj
            + self.le * cost.le
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::job::Job;

    const NONE: Operations = Operations { add: 0, rotr: 0, shr: 0, xor3: 0, ch: 0, maj: 0, le: 0 };
    const ONE_EACH: Operations = Operations { add: 1, rotr: 1, shr: 1, xor3: 1, ch: 1, maj: 1, le: 1 };

    thread_local! {
        static COUNTS: Cell<Operations> = const { Cell::new(NONE) };
    }

    /// Computes nothing and counts the operations.
    #[derive(Clone, Copy)]
    struct Counted;

    impl Counted {
        fn count(note: impl FnOnce(&mut Operations)) -> Self {
            let mut counts = COUNTS.get();
            note(&mut counts);
            COUNTS.set(counts);
            Self
        }
    }

    impl Lanes for Counted {
        const N: u32 = 16;

        fn splat(_: u32) -> Self {
            Self
        }

        fn iota() -> Self {
            Self
        }

        fn add(self, _: Self) -> Self {
            Self::count(|counts| counts.add += 1)
        }

        fn rotr<const BITS: i32>(self) -> Self {
            Self::count(|counts| counts.rotr += 1)
        }

        fn shr<const BITS: i32>(self) -> Self {
            Self::count(|counts| counts.shr += 1)
        }

        fn xor3(_: Self, _: Self, _: Self) -> Self {
            Self::count(|counts| counts.xor3 += 1)
        }

        fn ch(_: Self, _: Self, _: Self) -> Self {
            Self::count(|counts| counts.ch += 1)
        }

        fn maj(_: Self, _: Self, _: Self) -> Self {
            Self::count(|counts| counts.maj += 1)
        }

        fn le(self, _: Self) -> u32 {
            Self::count(|counts| counts.le += 1);
            0
        }
    }

    fn operations<const STREAMS: usize>(heads: usize, vectors: u32) -> Operations {
        let job = Job::new(&vec![[0; 64]; heads], [0; 52], [0; 32]).unwrap();
        COUNTS.set(NONE);
        search::<Counted, STREAMS>(&Window::new(&job, 0), 0..=16 * vectors - 1);
        COUNTS.get()
    }

    #[test]
    fn operations_are_as_few_as_known() {
        assert_eq!(operations::<1>(1, 1).at(&ONE_EACH), 1238);
        assert_eq!(PER_VECTOR.at(&ONE_EACH), 422);
        assert_eq!(PER_HEAD.at(&ONE_EACH), 816);
        for (heads, vectors) in [(1, 2), (2, 2), (16, 4), (64, 2)] {
            let expected = Operations {
                add: vectors * (PER_VECTOR.add + heads * PER_HEAD.add),
                rotr: vectors * (PER_VECTOR.rotr + heads * PER_HEAD.rotr),
                shr: vectors * (PER_VECTOR.shr + heads * PER_HEAD.shr),
                xor3: vectors * (PER_VECTOR.xor3 + heads * PER_HEAD.xor3),
                ch: vectors * (PER_VECTOR.ch + heads * PER_HEAD.ch),
                maj: vectors * (PER_VECTOR.maj + heads * PER_HEAD.maj),
                le: vectors * (PER_VECTOR.le + heads * PER_HEAD.le),
            };
            assert_eq!(operations::<1>(heads as usize, vectors), expected);
            assert_eq!(operations::<2>(heads as usize, vectors), expected);
        }
    }
}
