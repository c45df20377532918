//! The transport over Amazon SQS: one FIFO queue per node.
//! Invariant: a message is deleted from a queue only after it was acknowledged, or could never be.

pub mod queues;

use std::time::Duration;

use crossbeam_channel::Receiver;
use quarry_core::units::NodeId;

use crate::transport::{Handover, Incoming, Outgoing, Receipt, Transport, TransportError, Usage};

/// How a network uses SQS.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where SQS is and who asks.
    pub access: Access,
    /// The network's id, with which its queues are tagged: those of another network are refused.
    pub network: String,
    /// Begins the names of the queues: node 0's is `<prefix>0.fifo`. May be empty.
    pub prefix: String,
    /// The largest payload that is sent: the network's own limit.
    pub message_bytes_max: usize,
    /// Find peers by listing queues; without it the caller knows them, and no right to list is needed.
    pub discover: bool,
    /// Create queues in high-throughput mode: more requests a second, but equal messages of several senders all arrive.
    pub high_throughput: bool,
    /// How long a message that was received and not acknowledged stays away before it comes again.
    pub visibility_timeout: Duration,
}

/// Where SQS is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// As the standard AWS environment variables and files say: region, profile, credentials, endpoint.
    Environment,
    /// An emulator at this address, with credentials that mean nothing, whatever the environment says.
    Emulator(String),
}

/// Opens the queue of node `id`, creating it where it is missing, and delivers from it.
///
/// Fails with [`TransportError::InboxTaken`] while another process runs under this id.
pub fn join(id: NodeId, options: Options) -> Result<Sqs, TransportError> {
    let _ = (id, options);
    Err(TransportError::Unfinished)
}

/// A sender without a queue, such as the generator; what it hears of is only the fate of its own messages.
pub fn client(name: &str, options: Options) -> Result<Sqs, TransportError> {
    let _ = (name, options);
    Err(TransportError::Unfinished)
}

/// A node's or a client's end of the queues.
#[derive(Debug)]
pub struct Sqs {
    incoming: Receiver<Incoming>,
}

impl Transport for Sqs {
    fn send(&self, _to: NodeId, _message: Outgoing) -> Result<Handover, TransportError> {
        Err(TransportError::Unfinished)
    }

    fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    fn acknowledge(&self, _receipts: Vec<Receipt>) -> Result<(), TransportError> {
        Err(TransportError::Unfinished)
    }

    fn leave(&self) -> Result<(), TransportError> {
        Err(TransportError::Unfinished)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Names a delivery to the queue that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle {}

impl Options {
    /// What suits the network `network` (its id, as text) of this name, whose messages have so many bytes at most.
    pub fn new(name: &str, network: String, message_bytes_max: usize) -> Self {
        Self {
            access: Access::Environment,
            network,
            prefix: format!("{name}-"),
            message_bytes_max,
            discover: true,
            high_throughput: false,
            visibility_timeout: Duration::from_secs(15),
        }
    }
}
