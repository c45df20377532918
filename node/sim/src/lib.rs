//! Whole networks in virtual time, from one seed: production nodes over a simulated disk, network, clock and search.
//!
//! A run has two parts. While faults last, messages are late, doubled or lost, nodes crash between any two of their
//! doings, and the network falls apart and comes together. When they end, [`checkers`] want all nodes on one tip
//! within a bound, the message rate back at the idle rate, and a ledger that a plain replay agrees with.
//! A module imports only from modules above it in this list.
#![forbid(unsafe_code)]

pub mod dice;

pub mod options;

pub mod disk;

pub mod counts;

pub mod network;

pub mod machine;

pub mod traffic;

pub mod difficulty;

pub mod adversary;

pub mod history;

pub mod violation;

pub mod watch;

pub mod world;

pub mod checkers;

pub mod reach;

pub mod run;

pub mod shrink;

pub mod scale;
