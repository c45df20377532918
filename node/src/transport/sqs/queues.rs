//! What an operator does to the queues of a network: create, list, purge and delete them.
//! Invariant: each call may be repeated; it touches no queue of another network.

use std::collections::{BTreeMap, BTreeSet};

use quarry_core::units::NodeId;

use crate::transport::TransportError;
use crate::transport::sqs::Options;

/// A queue that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Whose inbox it is.
    pub id: NodeId,
    /// Where it is.
    pub url: String,
}

/// A queue, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// About how many messages wait.
    pub waiting: u64,
    /// About how many are received and not deleted yet.
    pub in_flight: u64,
    /// The process that last ran the node, if any did.
    pub owner: Option<String>,
}

/// What was done to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did not exist and does now.
    Created,
    /// It existed; some attributes were not as they should be, and are now.
    Updated,
    /// It was as it should be.
    Unchanged,
    /// Its messages are gone.
    Purged,
    /// It is gone.
    Deleted,
    /// There was none.
    Missing,
}

/// Creates the queues of these nodes, and corrects the attributes of those that exist.
pub fn create(
    options: &Options,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    let _ = (options, ids);
    Err(TransportError::Unfinished)
}

/// The queues that have a name of this network.
pub fn list(options: &Options) -> Result<Vec<Queue>, TransportError> {
    let _ = options;
    Err(TransportError::Unfinished)
}

/// What is in these queues; those that do not exist are left out.
pub fn contents(
    options: &Options,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Contents>, TransportError> {
    let _ = (options, ids);
    Err(TransportError::Unfinished)
}

/// Deletes all messages in the queues of these nodes.
pub fn purge(options: &Options, ids: &BTreeSet<NodeId>) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    let _ = (options, ids);
    Err(TransportError::Unfinished)
}

/// Deletes the queues of these nodes.
pub fn delete(
    options: &Options,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    let _ = (options, ids);
    Err(TransportError::Unfinished)
}
