//! Tests of the search from the outside, against an oracle that shares no code with it.

#[cfg(feature = "gpu")]
mod gpu;
mod kernels;
mod oracle;
mod search;
