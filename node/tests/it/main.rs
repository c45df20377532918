//! The program's integration tests, in one binary.

mod store;
