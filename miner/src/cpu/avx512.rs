//! Sixteen lanes on AVX-512: rotations and three-way logic are one instruction each.
//! Invariant: a value of [`V`] exists only inside [`search`], which the caller enters only where AVX-512F is.

use std::arch::x86_64::*;
use std::ops::RangeInclusive;

use crate::cpu::lanes::{self, Lanes};
use crate::search::Hit;
use crate::window::Window;

/// The lowest hit; see [`lanes::search`].
#[target_feature(enable = "avx512f")]
pub(super) fn search<const STREAMS: usize>(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    lanes::search::<V, STREAMS>(window, lows)
}

#[derive(Clone, Copy)]
struct V(__m512i);

// Truth tables of vpternlogd: bit (a << 2 | b << 1 | c) is the result.
const XOR: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

impl Lanes for V {
    const N: u32 = 16;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: only `search` names this type, and it has the feature.
        Self(unsafe { _mm512_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    fn iota() -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn rotr<const BITS: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_ror_epi32::<BITS>(self.0) })
    }

    #[inline(always)]
    fn shr<const BITS: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_srl_epi32(self.0, _mm_cvtsi32_si128(BITS)) })
    }

    #[inline(always)]
    fn xor3(a: Self, b: Self, c: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_ternarylogic_epi32::<XOR>(a.0, b.0, c.0) })
    }

    #[inline(always)]
    fn ch(e: Self, f: Self, g: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_ternarylogic_epi32::<CHOOSE>(e.0, f.0, g.0) })
    }

    #[inline(always)]
    fn maj(a: Self, b: Self, c: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { _mm512_ternarylogic_epi32::<MAJORITY>(a.0, b.0, c.0) })
    }

    #[inline(always)]
    fn le(self, bound: Self) -> u32 {
        // SAFETY: as in `splat`.
        u32::from(unsafe { _mm512_cmple_epu32_mask(self.0, bound.0) })
    }
}
