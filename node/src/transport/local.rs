//! The embedded transport: a spool of append-only files that the nodes of one machine share, without a daemon.
//! Invariant: a message that `send` has accepted is delivered until it is acknowledged, whoever is killed meanwhile.

use std::collections::BTreeSet;
use std::path::Path;

use crossbeam_channel::Receiver;
use quarry_core::units::NodeId;

use crate::transport::{Handover, Incoming, Outgoing, Receipt, Transport, TransportError};

/// The limits of a spool; the default suits a network of a few nodes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest payload that is sent or received.
    pub message_bytes_max: usize,
    /// What may wait in one inbox; transactions may take half of it, so that they never crowd out blocks.
    pub inbox_bytes_max: u64,
    /// The size at which a log goes on in a new file.
    pub segment_bytes: u64,
    /// Flush every message and every acknowledgement to the disk: also survives power cuts, and costs most of the speed.
    pub fsync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes_max: 256 << 10,
            inbox_bytes_max: 256 << 20,
            segment_bytes: 1 << 20,
            fsync: false,
        }
    }
}

/// Opens the inbox of node `id` under `dir`, creating both where they are missing, and delivers from it.
///
/// Fails with [`TransportError::InboxTaken`] while another process or instance runs under this id.
pub fn join(dir: &Path, id: NodeId, options: Options) -> Result<Local, TransportError> {
    unimplemented!()
}

/// A sender without an inbox, such as the generator: it never receives anything.
///
/// `name` begins its file names, which are made unique, so any number of clients may share a name.
pub fn client(dir: &Path, name: &str, options: Options) -> Result<Local, TransportError> {
    unimplemented!()
}

/// The inboxes that exist under `dir`; none where there is no such directory yet.
pub fn inboxes(dir: &Path) -> Result<BTreeSet<NodeId>, TransportError> {
    unimplemented!()
}

/// A node's or a client's end of the spool.
#[derive(Debug)]
pub struct Local {}

impl Transport for Local {
    fn send(&self, to: NodeId, message: Outgoing) -> Result<Handover, TransportError> {
        unimplemented!()
    }

    fn incoming(&self) -> &Receiver<Incoming> {
        unimplemented!()
    }

    fn acknowledge(&self, receipts: Vec<Receipt>) -> Result<(), TransportError> {
        unimplemented!()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position;
