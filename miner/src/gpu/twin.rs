//! The shader's algebra in Rust.
