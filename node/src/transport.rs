//! How messages travel between nodes: one trait, one file per transport.
//! Invariant: a transport never looks into a payload and never drops a message that it has accepted.

pub mod delayed;
pub mod local;
#[cfg(feature = "sqs")]
pub mod sqs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use quarry_core::units::NodeId;

/// At-least-once delivery of messages to the inboxes of nodes, in order per sender and kind.
///
/// A transport works on threads of its own; the caller sees only channels and calls that do not wait on a network.
pub trait Transport: Send + Sync {
    /// Hands a message over for the inbox of `to`, which may be down for now.
    fn send(&self, to: NodeId, message: Outgoing) -> Result<Handover, TransportError>;

    /// What has arrived, in order per sender and kind. Bounded: who does not drain it stops the delivery.
    /// A client that has no inbox never receives anything here.
    fn incoming(&self) -> &Receiver<Incoming>;

    /// Says that everything the messages caused is durable, so that they need not be delivered again.
    fn acknowledge(&self, receipts: Vec<Receipt>) -> Result<(), TransportError>;

    /// Stops taking part and removes this node's inbox with all that waits in it; nothing is delivered any more.
    /// Messages that were queued for others are sent first. Does nothing for a client.
    fn leave(&self) -> Result<(), TransportError>;

    /// What it has used and met since it was started.
    fn usage(&self) -> Usage;
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Keeps bulk traffic from holding back urgent traffic.
    pub kind: Kind,
    /// The message's bytes; equal bytes within a few minutes reach an inbox once.
    pub payload: Arc<[u8]>,
    /// Comes back in [`Incoming::Sent`] where [`Transport::send`] answers [`Handover::Queued`].
    pub ticket: u64,
}

/// Traffic classes; order is kept within a class, not between classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Blocks, requests and replies: latency matters.
    Chain,
    /// Transactions: may be many.
    Transactions,
}

/// How far a message handed to [`Transport::send`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// It survives a crash of this process.
    Durable,
    /// It waits in memory; [`Incoming::Sent`] follows once it is durable.
    Queued,
}

/// What a transport has to say.
#[derive(Debug)]
pub enum Incoming {
    /// A message for this node.
    Delivery(Delivery),
    /// The queued message with this ticket is durable now.
    Sent(u64),
    /// The inboxes that exist now, this node's own left out; told at the start and after every change.
    Peers(BTreeSet<NodeId>),
    /// Something the operator should know; the transport goes on.
    Trouble(TransportError),
    /// A trouble that was told before is over.
    Recovered(Recovery),
    /// The transport has stopped for good and why: nothing follows.
    Ended(TransportError),
}

/// The end of a trouble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing} works again after {:.1} s and {attempts} attempts", after.as_secs_f64())]
pub struct Recovery {
    /// What had failed.
    pub doing: String,
    /// For how long.
    pub after: Duration,
    /// How often it was tried in that time.
    pub attempts: u64,
}

/// What a transport has used and met. Empty for a transport that costs nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Billed requests by the name of the operation.
    pub requests: BTreeMap<&'static str, u64>,
    /// What these requests cost, estimated by list price.
    pub cost_usd: f64,
    /// How often other things have happened, such as messages deleted as poison.
    pub events: BTreeMap<&'static str, u64>,
}

/// A message that has arrived. It is delivered again, to this process or the next, until it is acknowledged.
#[derive(Debug)]
pub struct Delivery {
    /// Which node sent it, as the transport knows it; `None` for a client such as the generator.
    pub from: Option<NodeId>,
    /// How to read the payload.
    pub format: Format,
    /// The message's bytes.
    pub payload: Vec<u8>,
    /// To acknowledge it with.
    pub receipt: Receipt,
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A message of this program.
    Quarry,
    /// The `contents` of a message of the original system's transaction generator: one unsigned transaction.
    Original,
}

/// Names a delivery to the transport that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub(crate) ReceiptInner);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReceiptInner {
    Local(local::Position),
    #[cfg(feature = "sqs")]
    Sqs(sqs::Handle),
}

pub use error::TransportError;
pub use medium::Medium;

mod error;
mod medium;
