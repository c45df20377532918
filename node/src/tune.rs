//! What a difficulty brings: how long blocks take and how many of them go stale, by formula, by simulation and as seen.
//!
//! Blocks come at random at the rate hash rate / work. For the delay d after a block, everybody but its finder still
//! searches for a rival of it, so every block of the chain has x = (d / T)(1 - sum of p^2) stale ones beside it, where T
//! is the time between any two blocks and the p are the nodes' shares of the hash rate. So x / (1 + x) of all blocks are
//! stale, and the chain grows by one in T (1 + x), of which T is random and exponential. Where d is more than a fifth of
//! T, forks of forks make that wrong, and the simulation takes the formulas' place.
//! Invariant: nothing here but `measure` looks at a clock or at this machine.

pub mod estimate;
pub mod measure;
pub mod model;
pub mod network_file;
pub mod simulate;
pub mod solve;
