//! The node program's integration tests, in one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod process;
mod store;
mod tidy;
mod transport;
