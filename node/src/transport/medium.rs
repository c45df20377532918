//! The choice between the transports, as data.
//! Invariant: whoever names no transport in particular goes through [`Medium`].

use std::collections::BTreeSet;
use std::path::PathBuf;

use quarry_core::units::NodeId;

#[cfg(feature = "sqs")]
use crate::transport::sqs;
use crate::transport::{Transport, TransportError, local};

/// What the nodes of a network exchange messages through.
#[derive(Debug, Clone)]
pub enum Medium {
    /// A directory that processes of one machine share.
    Local {
        /// The directory.
        dir: PathBuf,
        /// Its limits.
        options: local::Options,
    },
    /// Amazon SQS, or what speaks its protocol.
    #[cfg(feature = "sqs")]
    Sqs(sqs::Options),
}

impl Medium {
    /// Opens the inbox of node `id`, creating it where it is missing, and delivers from it.
    pub fn join(&self, id: NodeId) -> Result<Box<dyn Transport>, TransportError> {
        Ok(match self {
            Self::Local { dir, options } => Box::new(local::join(dir, id, options.clone())?),
            #[cfg(feature = "sqs")]
            Self::Sqs(options) => Box::new(sqs::join(id, options.clone())?),
        })
    }

    /// A sender without an inbox. Any number of clients may share a name.
    pub fn client(&self, name: &str) -> Result<Box<dyn Transport>, TransportError> {
        Ok(match self {
            Self::Local { dir, options } => Box::new(local::client(dir, name, options.clone())?),
            #[cfg(feature = "sqs")]
            Self::Sqs(options) => Box::new(sqs::client(name, options.clone())?),
        })
    }

    /// The nodes that have an inbox. Over SQS each call is at least one request, and not a quick one.
    pub fn inboxes(&self) -> Result<BTreeSet<NodeId>, TransportError> {
        match self {
            Self::Local { dir, .. } => local::inboxes(dir),
            #[cfg(feature = "sqs")]
            Self::Sqs(options) => Ok(sqs::queues::list(options)?.into_iter().map(|queue| queue.id).collect()),
        }
    }
}
