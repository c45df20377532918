//! Four lanes on NEON, for ARM CPUs without SHA instructions; where those are, the sha2 kernel uses them.
//! Invariant: a value of [`V`] exists only inside [`search`], which the caller enters only where NEON is.

use std::arch::aarch64::*;
use std::ops::RangeInclusive;

use crate::cpu::lanes::{self, Lanes};
use crate::search::Hit;
use crate::window::Window;

/// The lowest hit; see [`lanes::search`].
#[target_feature(enable = "neon")]
pub(super) fn search(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    lanes::search::<V, 2>(window, lows)
}

#[derive(Clone, Copy)]
struct V(uint32x4_t);

impl Lanes for V {
    const N: u32 = 4;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: only `search` names this type, and it has the feature.
        Self(unsafe { vdupq_n_u32(word) })
    }

    #[inline(always)]
    fn iota() -> Self {
        // SAFETY: as in `splat`, and four words are there to be read.
        Self(unsafe { vld1q_u32([0, 1, 2, 3].as_ptr()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { vaddq_u32(self.0, other.0) })
    }

    #[inline(always)]
    fn rotr<const BITS: i32>(self) -> Self {
        // A shift by a vector takes any count; the compiler makes immediates, or a rotation, of it.
        // SAFETY: as in `splat`.
        Self(unsafe {
            let right = vshlq_u32(self.0, vdupq_n_s32(-BITS));
            let left = vshlq_u32(self.0, vdupq_n_s32(32 - BITS));
            vorrq_u32(right, left)
        })
    }

    #[inline(always)]
    fn shr<const BITS: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { vshrq_n_u32::<BITS>(self.0) })
    }

    #[inline(always)]
    fn xor3(a: Self, b: Self, c: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { veorq_u32(veorq_u32(a.0, b.0), c.0) })
    }

    #[inline(always)]
    fn ch(e: Self, f: Self, g: Self) -> Self {
        // SAFETY: as in `splat`.
        Self(unsafe { vbslq_u32(e.0, f.0, g.0) })
    }

    #[inline(always)]
    fn maj(a: Self, b: Self, c: Self) -> Self {
        // Where a and b differ, c decides.
        // SAFETY: as in `splat`.
        Self(unsafe { vbslq_u32(veorq_u32(a.0, b.0), c.0, b.0) })
    }

    #[inline(always)]
    fn le(self, bound: Self) -> u32 {
        // SAFETY: as in `splat`, and four words are there to be read.
        unsafe {
            let bits = vld1q_u32([1, 2, 4, 8].as_ptr());
            vaddvq_u32(vandq_u32(vcleq_u32(self.0, bound.0), bits))
        }
    }
}
