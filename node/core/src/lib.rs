//! Quarry's network protocol as a pure state machine: see [`node::Node::step`].
//!
//! Nothing here reads a clock, opens a file, starts a thread or draws a random number; time and seeds are arguments.
//! A module imports only from modules above it in this list.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod units;

pub mod target;

pub mod header;

pub mod transaction;

pub mod block;

pub mod network;

pub mod json;

pub mod message;

pub mod store;

pub mod retarget;

pub mod rules;

pub mod original;

pub mod codec;

pub mod memory;

pub mod ledger;

pub mod chain;

pub mod mempool;

pub mod template;

pub mod effect;

pub mod orphans;

pub mod peers;

pub mod sync;

pub mod node;
