//! One lane: plain words, for any CPU.
//! Invariant: no `unsafe`; this is the kernel that the others are read against.

use std::ops::RangeInclusive;

use crate::cpu::lanes::{self, Lanes};
use crate::search::Hit;
use crate::window::Window;

/// The lowest hit; see [`lanes::search`].
pub(super) fn search(window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
    lanes::search::<u32, 2>(window, lows)
}

impl Lanes for u32 {
    const N: u32 = 1;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        word
    }

    #[inline(always)]
    fn iota() -> Self {
        0
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn rotr<const BITS: i32>(self) -> Self {
        self.rotate_right(BITS.cast_unsigned())
    }

    #[inline(always)]
    fn shr<const BITS: i32>(self) -> Self {
        self >> BITS
    }

    #[inline(always)]
    fn xor3(a: Self, b: Self, c: Self) -> Self {
        a ^ b ^ c
    }

    #[inline(always)]
    fn ch(e: Self, f: Self, g: Self) -> Self {
        g ^ (e & (f ^ g))
    }

    #[inline(always)]
    fn maj(a: Self, b: Self, c: Self) -> Self {
        b ^ ((a ^ b) & (b ^ c))
    }

    #[inline(always)]
    fn le(self, bound: Self) -> u32 {
        u32::from(self <= bound)
    }
}
