//! The transport over Amazon SQS: one FIFO queue per node.
//! Invariant: a message is deleted from a queue only after it was acknowledged, or if it could never be.
//!
//! Why it is as it is, is in `sqs/README.md`.

mod acknowledge;
mod backoff;
mod client;
mod courier;
mod engine;
mod error;
mod held;
mod lease;
mod members;
mod message;
mod meter;
mod names;
mod pump;
mod queue;
pub mod queues;
mod receive;
mod send;

use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::Receiver;
use quarry_core::units::NodeId;
use tokio::sync::watch;

use crate::transport::sqs::engine::{Engine, Order, Role, Shared};
use crate::transport::{
    Handover, Incoming, Outgoing, Receipt, ReceiptInner, Transport, TransportError, Usage,
};

pub use error::SqsError;

/// How a network uses SQS.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where SQS is and who asks.
    pub access: Access,
    /// The network's id, with which its queues are tagged: those of another network are refused. Empty where an operator
    /// knows the queues by name alone: they are not tagged and none is refused. A node always says it.
    pub network: String,
    /// Begins the names of the queues: node 0's is `<prefix>0.fifo`. May be empty.
    pub prefix: String,
    /// The largest payload that is sent: the network's own limit.
    pub message_bytes_max: usize,
    /// Find peers by listing queues; without it the caller knows them, and no right to list is needed.
    pub discover: bool,
    /// Create queues in high-throughput mode: more requests a second, but equal messages of several senders all arrive.
    pub high_throughput: bool,
    /// How long a message that was received and not acknowledged stays away before it comes again; whole seconds.
    pub visibility_timeout: Duration,
    /// How long to keep trying to send to a queue that does not exist, or that may not be sent to.
    pub give_up_after: Duration,
}

impl Options {
    /// What suits the network of this name, whose id (as text) and largest message are given.
    pub fn new(name: &str, network: String, message_bytes_max: usize) -> Self {
        Self {
            access: Access::Environment,
            network,
            prefix: format!("{name}-"),
            message_bytes_max,
            discover: true,
            high_throughput: false,
            visibility_timeout: Duration::from_secs(15),
            give_up_after: Duration::from_secs(30),
        }
    }
}

/// Where SQS is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// As the standard AWS environment variables and files say: region, profile, credentials, endpoint.
    Environment,
    /// An emulator at this address, with credentials that mean nothing, whatever the environment says.
    Emulator(String),
}

/// Opens the queue of node `id`, creating it where it is missing, and delivers from it. Takes two seconds where the
/// node was not stopped cleanly, for another process may run it.
///
/// Fails with [`TransportError::InboxTaken`] while another process runs under this id.
pub fn join(id: NodeId, options: Options) -> Result<Sqs, TransportError> {
    Sqs::start(Role::Node(id), options)
}

/// A sender without a queue, such as the generator. It hears only what becomes of its own messages; when it does not
/// listen to that, it is refused after some ten thousand messages.
pub fn client(name: &str, options: Options) -> Result<Sqs, TransportError> {
    Sqs::start(Role::Client(name.to_owned()), options)
}

/// A node's or a client's end of the queues. When it is dropped, what waits is sent yet, for three seconds at most.
#[derive(Debug)]
pub struct Sqs {
    incoming: Receiver<Incoming>,
    shared: Shared,
    engine: Mutex<Option<Engine>>,
}

impl Sqs {
    fn start(role: Role, options: Options) -> Result<Self, TransportError> {
        let (out, incoming) = crossbeam_channel::bounded(pump::AHEAD_MAX);
        let (engine, shared) = Engine::start(role, options, out)?;
        Ok(Self { incoming, shared, engine: Mutex::new(Some(engine)) })
    }

    fn end(&self, order: Order) -> Result<(), TransportError> {
        let engine = self.engine.lock().expect("nothing that holds the lock panics").take();
        engine.map_or(Ok(()), |engine| engine.end(order))
    }
}

impl Transport for Sqs {
    fn send(&self, to: NodeId, message: Outgoing) -> Result<Handover, TransportError> {
        self.shared.outbox.send(to, message).map(|()| Handover::Queued)
    }

    fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    fn acknowledge(&self, receipts: Vec<Receipt>) -> Result<(), TransportError> {
        for Receipt(receipt) in receipts {
            if let ReceiptInner::Sqs(Handle(id)) = receipt
                && let Some(deletion) = self.shared.held.acknowledge(&id)
            {
                // After the end it comes again.
                let _ = self.shared.deletions.send(deletion);
            }
        }
        Ok(())
    }

    fn leave(&self) -> Result<(), TransportError> {
        self.end(Order::Leave)
    }

    fn usage(&self) -> Usage {
        self.shared.meter.usage()
    }
}

impl Drop for Sqs {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = self.end(Order::Stop);
    }
}

/// Names a delivery by its message's id, which stays the same when it is delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle(String);

/// Waits for the signal to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender there is nothing to go on for.
    let _ = stop.wait_for(|stop| *stop).await;
}
