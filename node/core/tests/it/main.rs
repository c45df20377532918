//! The protocol core as its caller sees it: events into [`quarry_core::node::Node::step`], effects out of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blocks;
mod headers;
mod messages;
mod mining;
mod relay;
mod reorganisations;
mod rig;
mod sync;
mod transactions;
