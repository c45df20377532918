//! The closed set of kernels, and which of them this CPU can run.
//! Invariant: a [`Kernel`] in hand proves that the CPU has what the kernel needs.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::cpu::lanes::{Operations, PER_HEAD, PER_VECTOR};
#[cfg(target_arch = "aarch64")]
use crate::cpu::neon;
#[cfg(target_arch = "x86_64")]
use crate::cpu::{avx2, avx512, sha_ni};
use crate::cpu::{plain, portable};
use crate::job::Job;
use crate::search::Hit;
use crate::window::Window;

/// One way of hashing that this CPU is known to support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Isa);

/// All kernels of all CPUs, so that a name is known everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Sha2,
    Portable,
    ShaNi,
    Avx2,
    Avx2x2,
    Avx512,
    Avx512x2,
    Neon,
}

impl Kernel {
    /// The kernels that this CPU supports, the plainest first.
    pub fn available() -> Vec<Self> {
        Isa::ALL.iter().copied().filter(|isa| isa.is_supported()).map(Self).collect()
    }

    /// The name that [`Kernel::from_str`] reads.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The lowest hit by nonce, then by head, searched on this thread alone and to the end.
    pub fn search(self, job: &Job, nonces: RangeInclusive<u64>) -> Option<Hit> {
        if nonces.is_empty() {
            return None;
        }
        let (first, last) = nonces.into_inner();
        let (first_window, last_window) = (high_word(first), high_word(last));
        (first_window..=last_window).find_map(|high| {
            let first_low = if high == first_window { low_word(first) } else { 0 };
            let last_low = if high == last_window { low_word(last) } else { u32::MAX };
            self.search_window(&Window::new(job, high), first_low..=last_low)
        })
    }

    fn search_window(self, window: &Window, lows: RangeInclusive<u32>) -> Option<Hit> {
        match self.0 {
            Isa::Sha2 => plain::search(window, lows),
            Isa::Portable => portable::search(window, lows),
            // SAFETY: a `Kernel` of this kind exists only where `is_supported` found SHA, SSSE3 and SSE4.1.
            #[cfg(target_arch = "x86_64")]
            Isa::ShaNi => unsafe { sha_ni::search(window, lows) },
            // SAFETY: a `Kernel` of this kind exists only where `is_supported` found AVX2.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::search::<1>(window, lows) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2x2 => unsafe { avx2::search::<2>(window, lows) },
            // SAFETY: a `Kernel` of this kind exists only where `is_supported` found AVX-512F.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512::search::<1>(window, lows) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512x2 => unsafe { avx512::search::<2>(window, lows) },
            // SAFETY: a `Kernel` of this kind exists only where `is_supported` found NEON.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon::search(window, lows) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::ShaNi | Isa::Avx2 | Isa::Avx2x2 | Isa::Avx512 | Isa::Avx512x2 => {
                unreachable!("{self} is of another architecture")
            }
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Neon => unreachable!("{self} is of another architecture"),
        }
    }

    /// What bounds the kernel's speed whatever the order of its instructions; none where others wrote them.
    pub fn ceiling(self, heads: usize) -> Option<Ceiling> {
        let vectors = |lanes: u32, cost: Operations, per_cycle: f64| {
            let instructions = f64::from(PER_HEAD.at(&cost)) + f64::from(PER_VECTOR.at(&cost)) / heads as f64;
            Some(Ceiling { instructions: instructions / f64::from(lanes), per_cycle })
        };
        match self.0 {
            Isa::Sha2 | Isa::Portable | Isa::Neon => None,
            // Rounds 12 to 63, two per instruction. One in three cycles is Intel's rate up to Emerald Rapids.
            Isa::ShaNi => {
                Some(Ceiling { instructions: 26.0, per_cycle: if is_amd() { 1.0 } else { 1.0 / 3.0 } })
            }
            // Rotations are two shifts and an or; maj shares one of its four with the round before.
            Isa::Avx2 | Isa::Avx2x2 => {
                let cost = Operations { add: 1, rotr: 3, shr: 1, xor3: 2, ch: 3, maj: 3, le: 2 };
                vectors(8, cost, if is_amd() { 4.0 } else { 3.0 })
            }
            Isa::Avx512 | Isa::Avx512x2 => {
                let cost = Operations { add: 1, rotr: 1, shr: 1, xor3: 1, ch: 1, maj: 1, le: 1 };
                vectors(16, cost, 2.0)
            }
        }
    }

    /// Where this kernel stands among all, available or not: an index below [`Kernel::COUNT`].
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) const COUNT: usize = Isa::ALL.len();
}

/// What a hash takes at least of the instructions that its kernel mostly consists of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    /// Instructions per hash.
    pub instructions: f64,
    /// How many of them the CPU can begin in one cycle.
    pub per_cycle: f64,
}

impl Ceiling {
    /// The least cycles that a hash can take.
    pub fn cycles(self) -> f64 {
        self.instructions / self.per_cycle
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, KernelError> {
        let Some(isa) = Isa::ALL.iter().copied().find(|isa| isa.name() == name) else {
            return Err(KernelError::Unknown { name: name.to_owned() });
        };
        if isa.is_supported() { Ok(Self(isa)) } else { Err(KernelError::Unsupported { name: isa.name() }) }
    }
}

/// Why a name does not stand for a kernel of this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No CPU has a kernel of this name.
    #[error("no kernel is named '{name}'; this CPU has {}", Available)]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The kernel needs instructions that this CPU or its operating system does not offer.
    #[error("this CPU cannot run the kernel '{name}'; it has {}", Available)]
    Unsupported {
        /// What was asked for.
        name: &'static str,
    },
}

impl Isa {
    const ALL: &[Self] = &[
        Self::Sha2,
        Self::Portable,
        Self::ShaNi,
        Self::Avx2,
        Self::Avx2x2,
        Self::Avx512,
        Self::Avx512x2,
        Self::Neon,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Sha2 => "sha2",
            Self::Portable => "portable",
            Self::ShaNi => "sha-ni",
            Self::Avx2 => "avx2",
            Self::Avx2x2 => "avx2x2",
            Self::Avx512 => "avx512",
            Self::Avx512x2 => "avx512x2",
            Self::Neon => "neon",
        }
    }

    fn is_supported(self) -> bool {
        match self {
            Self::Sha2 | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => {
                is_x86_feature_detected!("sha")
                    && is_x86_feature_detected!("ssse3")
                    && is_x86_feature_detected!("sse4.1")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::Avx2x2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512x2 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::ShaNi | Self::Avx2 | Self::Avx2x2 | Self::Avx512 | Self::Avx512x2 => false,
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon => false,
        }
    }
}

/// The names of this CPU's kernels, for error messages.
struct Available;

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Kernel::available().iter().map(|kernel| kernel.name()).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

fn high_word(nonce: u64) -> u32 {
    (nonce >> 32) as u32
}

fn low_word(nonce: u64) -> u32 {
    // The low word is what is asked for.
    nonce as u32
}
