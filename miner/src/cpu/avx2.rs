//! Eight lanes on AVX2.
//! Invariant: a value of [`V`] exists only inside [`search`], which the caller enters only where AVX2 is.

use std::arch::x86_64::*;
use std::ops::RangeInclusive;

use crate::cpu::lanes::{self, Lanes};
use crate::search::Hit;
use crate::window::Window;

/// The lowest hit; see [`lanes::search`].
#[target_feature(enable = "avx2")]
pub(super) fn search<const STREAMS: usize>(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    lanes::search::<V, STREAMS>(window, lows)
}

#[derive(Clone, Copy)]
struct V(__m256i);

impl Lanes for V {
    const N: u32 = 8;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: only `search` names this type, and it has the feature.
        Self(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    fn iota() -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn rotr<const BITS: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe {
            let right = _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(BITS));
            let left = _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(32 - BITS));
            _mm256_or_si256(right, left)
        })
    }

    #[inline(always)]
    fn shr<const BITS: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(BITS)) })
    }

    #[inline(always)]
    fn xor3(a: Self, b: Self, c: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm256_xor_si256(_mm256_xor_si256(a.0, b.0), c.0) })
    }

    #[inline(always)]
    fn ch(e: Self, f: Self, g: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm256_xor_si256(g.0, _mm256_and_si256(e.0, _mm256_xor_si256(f.0, g.0))) })
    }

    #[inline(always)]
    fn maj(a: Self, b: Self, c: Self) -> Self {
        // In this form the next round's b ^ c is this round's a ^ b, and the compiler computes it once.
        // SAFETY: as in `splat`.
        Self(unsafe {
            let ab = _mm256_xor_si256(a.0, b.0);
            let bc = _mm256_xor_si256(b.0, c.0);
            _mm256_xor_si256(b.0, _mm256_and_si256(ab, bc))
        })
    }

    #[inline(always)]
    fn le(self, bound: Self) -> u32 {
        // SAFETY: as in `splat`.
        unsafe {
            let le = _mm256_cmpeq_epi32(_mm256_min_epu32(self.0, bound.0), self.0);
            _mm256_movemask_ps(_mm256_castsi256_ps(le)).cast_unsigned()
        }
    }
}
