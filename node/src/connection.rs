//! From the command line to a network's transport, and from a transport's failure to an exit code.
//! Invariant: every command reaches the network through [`Connection::new`], so all of them mean the same one.

use anyhow::Result;
use quarry_core::network::Network;
use quarry_core::units::NodeId;

use crate::args::{CommonArgs, TransportChoice};
use crate::config::{self, Directory, TransportFile};
use crate::exit::Exit;
#[cfg(feature = "sqs")]
use crate::transport::sqs::{self, SqsError};
use crate::transport::{Medium, TransportError, local};

/// How a network is reached, and how often it is right to send through that.
#[derive(Debug, Clone)]
pub struct Connection {
    /// What messages travel through.
    pub medium: Medium,
    /// Where that is, for people.
    pub place: String,
    /// How often nodes and clients send.
    pub cadence: Cadence,
}

/// How often nodes and clients send: often where it costs nothing, seldom where each message is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// How long a node collects transactions before it relays them.
    pub relay_window_us: u64,
    /// How soon a node tells its peers where it stands after its tip has moved.
    pub status_interval_us: u64,
    /// To what that grows while the tip rests.
    pub status_interval_max_us: u64,
    /// How long a generator gathers what it sends to a node.
    pub gather_ms: u64,
    /// How often a client looks for new inboxes.
    pub look_ms: u64,
}

const LOCAL: Cadence = Cadence {
    relay_window_us: 200_000,
    status_interval_us: 5_000_000,
    status_interval_max_us: 5_000_000,
    gather_ms: 10,
    look_ms: 1_000,
};

#[cfg(feature = "sqs")]
const SQS: Cadence = Cadence {
    relay_window_us: 2_000_000,
    status_interval_us: 5_000_000,
    status_interval_max_us: 300_000_000,
    gather_ms: 1_000,
    look_ms: 60_000,
};

impl Connection {
    /// What the command line, the environment and the directory say of this network.
    pub fn new(common: &CommonArgs, directory: &Directory, network: &Network) -> Result<Self> {
        Self::open(&config::transport(common, directory)?, directory, network)
    }

    /// What settings that are known say.
    pub fn open(settings: &TransportFile, directory: &Directory, network: &Network) -> Result<Self> {
        match settings.transport {
            TransportChoice::Local => Ok(Self {
                medium: Medium::Local { dir: directory.spool(), options: spool_options(network) },
                place: directory.path().display().to_string(),
                cadence: LOCAL,
            }),
            #[cfg(feature = "sqs")]
            TransportChoice::Sqs => {
                let options = sqs_options(settings, &network.name, network.id.to_string(), network);
                let place = format!("the queues {}<ID>.fifo", options.prefix);
                Ok(Self { medium: Medium::Sqs(options), place, cadence: SQS })
            }
            #[cfg(not(feature = "sqs"))]
            TransportChoice::Sqs => Err(without_sqs()),
        }
    }

    /// The same where the peers are known, so that finding them costs nothing and needs no right.
    pub fn without_discovery(mut self) -> Self {
        match &mut self.medium {
            Medium::Local { .. } => {}
            #[cfg(feature = "sqs")]
            Medium::Sqs(options) => options.discover = false,
        }
        self
    }

    /// Whether messages travel through files of this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.medium, Medium::Local { .. })
    }
}

/// The error of a program that was built without SQS.
#[cfg(not(feature = "sqs"))]
pub fn without_sqs() -> anyhow::Error {
    Exit::Usage.hinted(
        anyhow::anyhow!("this program was built without SQS"),
        "build it with the cargo feature `sqs`, which is on by default",
    )
}

/// How a network whose name and id are given uses SQS. Without an id its queues are neither tagged nor compared with it.
#[cfg(feature = "sqs")]
pub fn sqs_options(settings: &TransportFile, name: &str, id: String, network: &Network) -> sqs::Options {
    let mut options = sqs::Options::new(name, id, message_bytes_max(network));
    if let Some(prefix) = &settings.queue_prefix {
        options.prefix.clone_from(prefix);
    }
    options.high_throughput = settings.high_throughput_queues;
    options
}

/// Gives each way in which a transport fails its exit code.
pub fn failed(error: TransportError) -> anyhow::Error {
    exit(&error).error(error)
}

/// As [`failed`], for a node that cannot join.
pub fn join_failed(error: TransportError, id: NodeId, directory: &Directory) -> anyhow::Error {
    let (place, program) = (directory.path().display(), config::program());
    match exit(&error) {
        Exit::InUse => Exit::InUse.hinted(
            error,
            format!(
                "give this one another number; `{program} status --node {id} --dir {place}` shows that one if it runs here"
            ),
        ),
        _ => failed(error),
    }
}

/// The exit code of a transport's failure.
pub fn exit(error: &TransportError) -> Exit {
    match error {
        TransportError::InboxTaken { .. } => Exit::InUse,
        #[cfg(feature = "sqs")]
        TransportError::Sqs(error) => match error {
            SqsError::TakenOver { .. } => Exit::InUse,
            SqsError::NoRegion
            | SqsError::NoCredentials(_)
            | SqsError::CredentialsRefused { .. }
            | SqsError::Denied { .. }
            | SqsError::ListDenied => Exit::NoAccess,
            SqsError::Unreachable { .. } | SqsError::Timeout { .. } => Exit::Unreachable,
            SqsError::WrongQueueType(_) | SqsError::ForeignQueue { .. } => Exit::Foreign,
            SqsError::QueueName(_) | SqsError::MessageLimit { .. } => Exit::Usage,
            SqsError::QueueMissing(_) => Exit::NotFound,
            _ => Exit::Failed,
        },
        _ => Exit::Failed,
    }
}

fn spool_options(network: &Network) -> local::Options {
    local::Options { message_bytes_max: message_bytes_max(network), ..local::Options::default() }
}

fn message_bytes_max(network: &Network) -> usize {
    usize::try_from(network.limits.message_bytes).unwrap_or(usize::MAX)
}
