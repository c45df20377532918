//! The node program's integration tests, in one binary.

mod process;
mod store;
mod transport;
