//! Why SQS could not do what it was asked.
//! Invariant: each variant is one reason, and its text names the queue or action and, where it helps, what to do.

use quarry_core::units::NodeId;

/// What is particular to SQS among the reasons of a [`TransportError`](crate::transport::TransportError).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqsError {
    /// No region is set.
    #[error("no AWS region: set AWS_REGION, or `region` in the profile that AWS_PROFILE names")]
    NoRegion,
    /// No credentials are to be found.
    #[error(
        "no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the instance a role \
         ({0})"
    )]
    NoCredentials(String),
    /// The credentials are not accepted.
    #[error("SQS refuses these AWS credentials ({code}: {message}): renew them, or check the clock")]
    CredentialsRefused {
        /// The service's word for it.
        code: String,
        /// The service's explanation.
        message: String,
    },
    /// A right is missing.
    #[error(
        "access denied: these credentials lack the right to sqs:{action} on {queue}: allow it in their IAM policy"
    )]
    Denied {
        /// The IAM action, without `sqs:`.
        action: &'static str,
        /// The queue, or what else it was to be done to.
        queue: String,
    },
    /// The right to list queues is missing.
    #[error(
        "access denied: these credentials lack the right to sqs:ListQueues, which finding peers needs: allow it in their \
         IAM policy, or name the peers with --peers"
    )]
    ListDenied,
    /// There is no such queue.
    #[error("there is no queue {0}")]
    QueueMissing(String),
    /// A queue has the right name and is of the wrong type.
    #[error("wrong queue type: {0} is not a FIFO queue; delete it, or use another prefix")]
    WrongQueueType(String),
    /// A queue has the right name and is another network's.
    #[error("queue {queue} belongs to network {network}; use another prefix, or delete it")]
    ForeignQueue {
        /// The queue.
        queue: String,
        /// The id of the network that it is tagged with.
        network: String,
    },
    /// SQS does not allow this name for a queue.
    #[error("not a queue name of at most 80 letters, digits, dashes and underscores before `.fifo`: `{0}`")]
    QueueName(String),
    /// The network's messages are larger than SQS carries.
    #[error(
        "the network's messages may have {wanted} bytes, but SQS carries {carried}: lower limits.message_bytes in its file"
    )]
    MessageLimit {
        /// The network's limit.
        wanted: usize,
        /// The largest payload that SQS carries.
        carried: usize,
    },
    /// A payload is not what SQS carries.
    #[error("a message that is no text cannot be sent")]
    NotText,
    /// Too much waits to be sent.
    #[error(
        "{messages} messages ({bytes} bytes) wait to be sent to node {to}; {refused} messages refused so far"
    )]
    OutgoingFull {
        /// Whom they are for.
        to: NodeId,
        /// How many there are.
        messages: usize,
        /// How large they are together.
        bytes: usize,
        /// How many have been refused since one was last accepted, this one included.
        refused: u64,
    },
    /// Messages were given up before they reached a queue.
    #[error("{count} messages to node {to} given up: {reason}")]
    GivenUp {
        /// Whom they were for.
        to: NodeId,
        /// How many.
        count: usize,
        /// Why.
        reason: Box<Self>,
    },
    /// A message that cannot be one of the network's was deleted.
    #[error("message {id} in {queue} deleted: {reason}")]
    Poison {
        /// The queue it was in.
        queue: String,
        /// The message's id in SQS.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process runs the node now.
    #[error("queue {queue} was taken over by another process that runs this node: {owner}")]
    TakenOver {
        /// The queue.
        queue: String,
        /// The other process.
        owner: String,
    },
    /// The service cannot be reached.
    #[error("cannot reach SQS for {action}: {reason}")]
    Unreachable {
        /// The action that was tried.
        action: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The service does not answer in time.
    #[error("SQS does not answer {action} in time")]
    Timeout {
        /// The action that was tried.
        action: &'static str,
    },
    /// The service answers with an error that has no variant of its own.
    #[error("SQS answers {action} on {queue} with {code}: {message}")]
    Service {
        /// The action that was tried.
        action: &'static str,
        /// The queue, or what else it was to be done to.
        queue: String,
        /// The service's word for it.
        code: String,
        /// The service's explanation.
        message: String,
    },
    /// The transport was told to stop, or has stopped.
    #[error("the transport has stopped")]
    Stopped,
}
