//! The node program's integration tests, in one binary.

mod store;
mod transport;
