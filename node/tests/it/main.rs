//! The node program's integration tests, in one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod process;
mod store;
mod tidy;
mod transport;

/// Where a test's random choices come from: `QUARRY_SEED`, or else a default.
fn seed(default: u64) -> u64 {
    std::env::var("QUARRY_SEED").map_or(default, |seed| seed.parse().unwrap())
}
