//! Why a transport could not do what it was asked.
//! Invariant: each variant is one reason, and its text names the values that the operator needs.

use std::io;
use std::path::{Path, PathBuf};

use quarry_core::units::NodeId;

#[cfg(feature = "sqs")]
use crate::transport::sqs::SqsError;

/// Why a message or an inbox was refused, or what a transport met on its way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Another process runs a node with this id.
    #[error("node {id} is already running: {holder}")]
    InboxTaken {
        /// The id that was asked for.
        id: NodeId,
        /// Who holds which inbox, as a sentence.
        holder: String,
    },
    /// The message is larger than the transport carries.
    #[error("a message of {bytes} bytes exceeds the limit of {bytes_max}")]
    Oversize {
        /// The message's size.
        bytes: usize,
        /// The largest size that is carried.
        bytes_max: usize,
    },
    /// The receiver has not read its messages for so long that no more are kept for it.
    #[error(
        "the inbox of node {to} is full: {bytes} of {bytes_max} bytes; {refused} messages refused so far"
    )]
    InboxFull {
        /// Whose inbox it is.
        to: NodeId,
        /// What waits there.
        bytes: u64,
        /// What may wait there of this kind of message.
        bytes_max: u64,
        /// How many messages this sender has been refused since one was last accepted, this one included.
        refused: u64,
    },
    /// Stored messages do not agree with their checksums and are skipped.
    #[error("damaged messages skipped in {} at byte {offset}", log.display())]
    Damaged {
        /// The file they are in.
        log: PathBuf,
        /// Where they begin.
        offset: u64,
    },
    /// The note of how far a receiver was is unreadable, so it begins again at the oldest message there is.
    #[error("damaged cursor {}: messages already handled are delivered again", cursor.display())]
    CursorLost {
        /// The file it was in.
        cursor: PathBuf,
    },
    /// A name that cannot be part of a client's file names.
    #[error(
        "not a client name of 1 to 32 lower-case letters, digits and dashes that begins with a letter: `{0}`"
    )]
    ClientName(String),
    /// What is particular to SQS.
    #[cfg(feature = "sqs")]
    #[error(transparent)]
    Sqs(SqsError),
    /// The operating system refused.
    #[error("cannot {doing} {}: {reason}", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The class of the system's answer.
        kind: io::ErrorKind,
        /// The system's answer.
        reason: String,
    },
}

impl TransportError {
    /// For `map_err`: says what was being done to which file when the system refused.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, path: path.to_owned(), kind: error.kind(), reason: error.to_string() }
    }
}
