//! What goes into a node and what comes out: events, effects and notices.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::message::MessageError;
use crate::original::OriginalError;
use crate::rules::{BlockError, TransactionError};
use crate::template::Template;
use crate::units::{Hash, Height, NodeId, Timestamp, TxId};

/// The time of a step, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, which may step back and forth; only the rules of the chain look at it.
    pub utc: Timestamp,
    /// Microseconds on a clock that never goes back; time-outs and intervals look at it.
    pub elapsed_us: u64,
}

/// Something that happened outside.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message has arrived.
    Message {
        /// Which node sent it, as the transport knows it; `None` for a client.
        from: Option<NodeId>,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A client of the original system has sent a transaction; a client's, because such messages name no node.
    Original {
        /// The text of the message's `contents`.
        bytes: Vec<u8>,
    },
    /// The other nodes of the network, whenever that changes.
    Peers(Vec<NodeId>),
    /// The nonce search has a hit.
    Found {
        /// The [`Template::id`] that it searched.
        template: u64,
        /// The extra nonce of the head.
        extra_nonce: u64,
        /// The nonce.
        nonce: u64,
    },
    /// Everything sent with this announcement number is durable.
    Announced(u64),
    /// Time has passed: [`crate::node::Node::deadline`] is reached.
    Tick,
    /// The node is about to stop.
    Stopping,
}

/// Something to be done outside, after the changes of the same step are durable.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send a message.
    Send {
        /// To whom.
        to: NodeId,
        /// The message.
        bytes: Arc<[u8]>,
        /// Whether it may wait behind others.
        bulk: bool,
        /// Where set, [`Event::Announced`] is due once all messages with this number are durable.
        announcement: Option<u64>,
    },
    /// Give up the present nonce search and start this one.
    Mine(Arc<Template>),
    /// Give up the present nonce search.
    Rest,
    /// Something to log and count.
    Tell(Notice),
}

/// Something that the operator may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A message is not one for this node.
    MessageRefused {
        /// Who sent it.
        from: Option<NodeId>,
        /// Why.
        error: MessageError,
    },
    /// A message of the original system is not a transaction that this network can take.
    OriginalRefused(OriginalError),
    /// A message names another sender than the transport, or no node sent it.
    SenderMismatch {
        /// Who sent it.
        from: Option<NodeId>,
        /// Who it says sent it.
        claimed: NodeId,
    },
    /// A reply that was not asked for, or not any more.
    Unsolicited(NodeId),
    /// A peer asks too much.
    TooManyRequests(NodeId),
    /// A transaction waits to be mined now.
    Pending(TxId),
    /// A transaction breaks a rule.
    TransactionRefused {
        /// Who sent it.
        from: Option<NodeId>,
        /// Which.
        id: TxId,
        /// Why.
        error: TransactionError,
    },
    /// A waiting transaction has become too old.
    Expired(TxId),
    /// A block breaks a rule.
    BlockRefused {
        /// Who sent it; `None` for the node's own search.
        from: Option<NodeId>,
        /// Which.
        hash: Hash,
        /// Why.
        error: BlockError,
    },
    /// A block whose parent is unknown.
    Orphan(Hash),
    /// A block that is not on the best branch.
    SideBranch {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: Hash,
    },
    /// The best chain has a new tip on top of the old one.
    Extended {
        /// The tip's height.
        height: Height,
        /// Its hash.
        hash: Hash,
        /// How many transactions it holds.
        transactions: usize,
        /// Who sent it; `None` for the node's own search.
        from: Option<NodeId>,
    },
    /// The best chain is another branch now.
    Reorganised {
        /// The tip's height.
        height: Height,
        /// Its hash.
        hash: Hash,
        /// How many blocks left the best chain.
        abandoned: usize,
        /// How many joined it.
        applied: usize,
        /// How many transactions wait again.
        returned: usize,
        /// How many could not, because too many wait already.
        dropped: usize,
    },
    /// The search found a nonce for a template that is not current any more.
    StaleResult,
    /// A peer is ahead, and its chain is being fetched.
    SyncStarted(NodeId),
    /// That has ended well.
    SyncFinished(NodeId),
    /// That has ended badly.
    SyncFailed {
        /// With whom.
        peer: NodeId,
        /// Why.
        reason: SyncFailure,
    },
    /// A node has appeared.
    PeerJoined(NodeId),
    /// A node has gone.
    PeerLeft(NodeId),
    /// A peer has been silent for so long that nothing more is sent to it.
    PeerSilent(NodeId),
    /// A peer has said that it stops, so nothing more is sent to it.
    PeerStopped(NodeId),
    /// A peer that nothing was sent to any more has been heard of.
    PeerBack(NodeId),
}

/// Why fetching a peer's chain ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncFailure {
    /// No reply in time.
    #[error("no reply in time")]
    TimedOut,
    /// Its replies come in time, but with so little that another peer is to be asked.
    #[error("it is slow, and another claims as much")]
    TooSlow,
    /// The chain turned out no better than our own.
    #[error("its chain is not better than ours")]
    NoBetter,
    /// A reply does not continue where the one before ended, or does not hold what was asked for.
    #[error("its replies do not fit together")]
    Incoherent,
    /// A block or header breaks a rule.
    #[error("{0}")]
    Refused(BlockError),
    /// Far more headers than there is any use for.
    #[error("its chain has more than {0} headers that are unknown here")]
    TooLong(usize),
}
