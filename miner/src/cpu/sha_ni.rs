//! Two hashes at a time on the SHA instructions of x86, which do two rounds each.
//! Invariant: like the vector kernels, the schedule is computed once per nonce, for all heads.

use std::arch::x86_64::*;
use std::ops::RangeInclusive;

use crate::search::Hit;
use crate::sha256::K;
use crate::window::{Window, WindowHead};

/// Hashes in flight: the instruction takes twice as long as the unit is busy with it.
const STREAMS: usize = 2;

/// The first round that is left to do.
const FIRST: usize = 12;

/// What the rounds left to do need of the schedule, four words to a vector.
const VECTORS: usize = (64 - FIRST) / 4;

/// K + w of rounds 12 to 63.
type Words = [__m128i; VECTORS];

/// The lowest hit of a window among nonces whose low words are in a range that is not empty.
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn search(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    let heads: Vec<Head> = window.heads.iter().map(|head| Head::new(head)).collect();
    let known = Known::new(window);
    let (mut low, last) = lows.into_inner();
    loop {
        let kw = [known.schedule(low), known.schedule(low.wrapping_add(1))];
        let mut hit = None;
        for (index, head) in heads.iter().enumerate() {
            let [x, y] = first_words(head, &kw);
            let candidates = u32::from(x <= window.bound) | u32::from(y <= window.bound) << 1;
            if candidates != 0 {
                hit = window.lower(hit, index, low, last, candidates);
            }
        }
        if hit.is_some() || last - low < STREAMS as u32 {
            return hit;
        }
        low += STREAMS as u32;
    }
}

struct Head {
    abef: __m128i,
    cdgh: __m128i,
    feed: u32,
}

impl Head {
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn new(head: &WindowHead) -> Self {
        let [a, b, c, d, e, f, g, h] = head.state;
        Self { abef: vector([f, e, b, a]), cdgh: vector([h, g, d, c]), feed: head.feed }
    }
}

/// What is known of the schedule.
struct Known {
    w8: __m128i,
    w12: __m128i,
    w16: __m128i,
    /// w20 to w23 but for the sigma of the words before them.
    w20: __m128i,
}

impl Known {
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn new(window: &Window) -> Self {
        let four = |t: usize| {
            vector([window.fixed[t], window.fixed[t + 1], window.fixed[t + 2], window.fixed[t + 3]])
        };
        let (w12, w16) = (four(12), four(16));
        let w20 = _mm_add_epi32(_mm_sha256msg1_epu32(four(4), four(8)), _mm_alignr_epi8::<4>(w16, w12));
        Self { w8: four(8), w12, w16, w20 }
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn schedule(&self, low: u32) -> Words {
        let nonce = _mm_cvtsi32_si128(low.cast_signed());
        let mut w = [nonce; 16];
        w[2] = self.w8;
        w[3] = _mm_add_epi32(self.w12, nonce);
        w[4] = _mm_add_epi32(self.w16, _mm_slli_si128::<12>(nonce));
        w[5] = _mm_sha256msg2_epu32(self.w20, w[4]);
        for i in 6..16 {
            let known = _mm_sha256msg1_epu32(w[i - 4], w[i - 3]);
            let sum = _mm_add_epi32(known, _mm_alignr_epi8::<4>(w[i - 1], w[i - 2]));
            w[i] = _mm_sha256msg2_epu32(sum, w[i - 1]);
        }
        std::array::from_fn(|i| {
            let t = FIRST + 4 * i;
            _mm_add_epi32(w[3 + i], vector([K[t], K[t + 1], K[t + 2], K[t + 3]]))
        })
    }
}

/// The first word of the digest, per stream.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn first_words(head: &Head, kw: &[Words; STREAMS]) -> [u32; STREAMS] {
    let mut abef = [head.abef; STREAMS];
    let mut cdgh = [head.cdgh; STREAMS];
    for four_rounds in 0..VECTORS {
        for s in 0..STREAMS {
            cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], kw[s][four_rounds]);
        }
        for s in 0..STREAMS {
            // The upper two words are next.
            let kw = _mm_shuffle_epi32::<0b1110>(kw[s][four_rounds]);
            abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], kw);
        }
    }
    abef.map(|abef| _mm_extract_epi32::<3>(abef).cast_unsigned().wrapping_add(head.feed))
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn vector([x0, x1, x2, x3]: [u32; 4]) -> __m128i {
    _mm_setr_epi32(x0.cast_signed(), x1.cast_signed(), x2.cast_signed(), x3.cast_signed())
}
