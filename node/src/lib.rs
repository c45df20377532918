//! The node program: one loop around the protocol core.
#![forbid(unsafe_code)]
pub mod store;
pub mod transport;
