//! The node program's integration tests, in one binary.

mod store;
mod tidy;
mod transport;
