//! Feeds everything that reads foreign bytes with inputs that are almost right, and watches what it does to them.
//!
//! A target is a plain function of bytes, so that other fuzzers can drive it, too: see `node/fuzz/README.md`.
//! A module imports only from modules above it in this list.
#![forbid(unsafe_code)]

pub mod dice;

pub mod world;

pub mod targets;

pub mod generate;

pub mod mutate;

pub mod corpus;

pub mod drive;
