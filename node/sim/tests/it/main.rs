//! Whole networks of the production node, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checkers;
mod mutations;
mod scale;
mod scenarios;
mod seeds;
