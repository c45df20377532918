//! Searches for the nonce of a proof of work: one SHA-256 over a header of 116 bytes.
//! Invariant: the crate knows header bytes and a 256-bit target, and nothing of blocks or chains.
//!
//! The first 64 bytes of a header carry what a miner may vary freely (through the extra nonce), the last 52 end in the
//! nonce. So a [`Job`] is any number of heads and one tail, and a [`NonceSearch`] looks through nonces x heads:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use miner::{Backend, Job, Options, Outcome};
//!
//! let heads = [[1; 64], [2; 64]];
//! let mut target = [0xff; 32];
//! target[0] = 0; // two hex zeros
//! let job = Job::new(&heads, [0; 52], target).expect("one to HEADS_MAX heads");
//! let search = Backend::Cpu.open(&Options::default()).expect("a CPU is always there");
//! let report = search.search(&job, 0..=u64::MAX, &AtomicBool::new(false)).expect("a CPU does not get lost");
//! let Outcome::Found(hit) = report.outcome else { panic!("one nonce in 256 hits") };
//! assert!(job.check(hit));
//! ```

mod sha256;

pub mod job;
pub mod search;

mod window;

pub mod cpu;
pub mod measure;

#[cfg(feature = "gpu")]
mod cursor;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "gpu")]
pub mod hybrid;

#[cfg(feature = "gpu")]
pub mod fallback;

pub mod backend;
pub mod burstable;
pub mod rate;

pub use backend::{Backend, Options};
pub use cpu::CpuSearch;
pub use cpu::duty::CpuLimit;
pub use cpu::kernel::Kernel;
#[cfg(feature = "gpu")]
pub use gpu::GpuSearch;
#[cfg(feature = "gpu")]
pub use hybrid::Hybrid;
pub use job::{HEADS_MAX, Job, JobError};
pub use rate::HashRate;
pub use search::{Hit, NonceSearch, Outcome, Report, SearchError};
