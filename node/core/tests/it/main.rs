//! The protocol core as its caller sees it: events into [`quarry_core::node::Node::step`], effects out of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_peers;
mod blocks;
mod codec;
mod crashes;
mod fork_choice;
mod gossip;
mod headers;
mod ledger;
mod liveness;
mod messages;
mod mining;
mod oracle;
mod original;
mod recipes;
mod relay;
mod reorganisations;
mod retargeting;
mod rig;
mod serving;
mod slow_peers;
mod sync;
mod transactions;
