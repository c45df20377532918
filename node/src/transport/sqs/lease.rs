//! That only one process runs a node: whoever starts writes itself into a tag of the node's queue and says so in a
//! message to it; a process that runs already hears that and writes itself back.
//! Invariant: a process whose name is not in the tag after it had time to be does not go on.

use std::time::Duration;

use crate::transport::sqs::client::{self, Failure, FailureKind, Link};
use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::message;
use crate::transport::sqs::queue::{self, Done, OWNER_TAG, Opened};

/// In the tag after a clean stop.
const NOBODY: &str = "-";
/// How long a process that runs has to answer a claim.
const ANSWER: Duration = Duration::from_secs(2);
/// When a running node looks whether it still is the owner: soon, for two may have started at once, then now and then.
pub(super) const LOOKS: &[Duration] = &[Duration::from_secs(10), Duration::from_secs(50)];
/// The time between later looks.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(600);

/// A process's claim to be a node.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) queue: String,
    pub(super) url: String,
    pub(super) instance: String,
}

impl Lease {
    /// Takes the lease. The error names the process that holds it.
    pub(super) async fn take(&self, opened: &Opened) -> Result<(), Held> {
        if opened.done == Done::Created {
            return Ok(());
        }
        queue::patiently(|| self.write(&self.instance)).await?;
        if opened.owner.as_deref().is_none_or(|owner| owner == NOBODY) {
            return Ok(());
        }
        queue::patiently(|| self.claim()).await?;
        tokio::time::sleep(ANSWER).await;
        match queue::patiently(|| self.owner()).await?.as_deref() {
            Some(owner) if owner == self.instance => Ok(()),
            // The other has just stopped.
            None | Some(NOBODY) => Ok(queue::patiently(|| self.write(&self.instance)).await?),
            Some(owner) => Err(Held::By(owner.to_owned())),
        }
    }

    /// Answers the claim of another process by claiming the queue back.
    pub(super) async fn hold(&self) -> Result<(), Failure> {
        self.write(&self.instance).await
    }

    /// An error where another process has the lease.
    pub(super) async fn look(&self) -> Result<(), Failure> {
        match self.owner().await?.as_deref() {
            Some(owner) if owner == self.instance => Ok(()),
            // Somebody has cleared the tags, or the queue is a new one.
            None => self.write(&self.instance).await,
            Some(owner) => {
                let (queue, owner) = (self.queue.clone(), owner.to_owned());
                Err(Failure { kind: FailureKind::Refused, error: SqsError::TakenOver { queue, owner } })
            }
        }
    }

    /// Says that the node has stopped, so that the next start need not wait for an answer.
    pub(super) async fn give_back(&self) -> Result<(), Failure> {
        self.write(NOBODY).await
    }

    /// Sends a claim to the own queue. To the process itself it is nothing, but it ends a poll.
    pub(super) async fn claim(&self) -> Result<(), Failure> {
        let entry = message::claim(&self.instance, rand::random()).expect("all its parts are given");
        let request = self.link.sdk.send_message_batch().queue_url(&self.url).entries(entry);
        request.send().await.map(drop).map_err(client::failed("SendMessageBatch", &self.queue))
    }

    async fn write(&self, owner: &str) -> Result<(), Failure> {
        queue::tag(&self.link, &self.queue, &self.url, owner).await
    }

    async fn owner(&self) -> Result<Option<String>, Failure> {
        Ok(queue::tags(&self.link, &self.queue, &self.url).await?.remove(OWNER_TAG))
    }
}

/// Why the lease could not be taken.
#[derive(Debug)]
pub(super) enum Held {
    /// This process holds it.
    By(String),
    /// It could not be found out.
    Failed(Failure),
}

impl From<Failure> for Held {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
