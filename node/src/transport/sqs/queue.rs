//! One node's queue: that it exists, is of the right kind, and belongs to this network.
//! Invariant: a queue that is tagged with another network is never changed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;

use crate::transport::sqs::Options;
use crate::transport::sqs::backoff::Backoff;
use crate::transport::sqs::client::{self, Failure, FailureKind, Link};
use crate::transport::sqs::error::SqsError;

/// The tag with the id of the network that a queue belongs to.
pub(super) const NETWORK_TAG: &str = "quarry-network";
/// The tag that names the process which runs the node.
pub(super) const OWNER_TAG: &str = "quarry-owner";
/// The largest message that SQS carries, attributes included.
const SQS_BYTES_MAX: usize = 1 << 20;
/// What of a message's limit its attributes may take.
pub(super) const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// How long a message is kept for a node that is down; what it misses then it fetches from its peers.
const RETENTION_S: u32 = 3600;
/// How long a poll waits for messages, the longest that SQS allows.
pub(super) const POLL_WAIT: Duration = Duration::from_secs(20);
/// How long a name that was deleted stays blocked, and a purge keeps another away, with some to spare.
const BLOCKED: Duration = Duration::from_secs(75);
const BLOCKED_LOOK: Duration = Duration::from_secs(2);
/// How long a start tries to get through.
const START: Duration = Duration::from_secs(10);

/// A queue that exists and is as it should be.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) url: String,
    pub(super) done: Done,
    /// What its owner tag says.
    pub(super) owner: Option<String>,
}

/// What had to be done to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Created,
    Updated,
    Nothing,
}

/// The largest payload that fits: the network's limit, if SQS carries that.
pub(super) fn check_limit(options: &Options) -> Result<(), SqsError> {
    let (wanted, carried) = (options.message_bytes_max, SQS_BYTES_MAX - ATTRIBUTE_BYTES_MAX);
    if wanted <= carried { Ok(()) } else { Err(SqsError::MessageLimit { wanted, carried }) }
}

/// Repeats `work` while what fails may pass, for as long as somebody may wait at a start.
pub(super) async fn patiently<T, F>(mut work: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (start, mut backoff) = (Instant::now(), Backoff::new("starting"));
    loop {
        match work().await {
            Err(failure) if failure.kind == FailureKind::Passing && start.elapsed() < START => {
                tokio::time::sleep(backoff.failed(&failure).0).await;
            }
            Err(failure) if failure.kind.is_once_a_minute() && start.elapsed() < BLOCKED => {
                tokio::time::sleep(BLOCKED_LOOK).await;
            }
            result => return result,
        }
    }
}

/// Makes sure that the queue exists, with the attributes it should have. A new one is given to `owner`.
pub(super) async fn ensure(link: &Link, name: &str, owner: Option<&str>) -> Result<Opened, Failure> {
    match url(link, name).await {
        Ok(url) => check(link, name, url).await,
        Err(failure) if failure.kind == FailureKind::Missing => match create(link, name, owner).await {
            // Somebody else was faster; with other attributes, they are corrected.
            Err(failure) if failure.kind == FailureKind::Exists => {
                check(link, name, url(link, name).await?).await
            }
            created => created,
        },
        Err(failure) => Err(failure),
    }
}

/// Where a queue is.
pub(super) async fn url(link: &Link, name: &str) -> Result<String, Failure> {
    let answer = link.sdk.get_queue_url().queue_name(name).send().await;
    let answer = answer.map_err(client::failed("GetQueueUrl", name))?;
    Ok(answer.queue_url.unwrap_or_default())
}

/// What a queue's tags say; an error where it belongs to another network.
pub(super) async fn tags(link: &Link, name: &str, url: &str) -> Result<HashMap<String, String>, Failure> {
    let answer = link.sdk.list_queue_tags().queue_url(url).send().await;
    let tags = answer.map_err(client::failed("ListQueueTags", name))?.tags.unwrap_or_default();
    match tags.get(NETWORK_TAG) {
        Some(network) if !link.options.network.is_empty() && *network != link.options.network => {
            let error = SqsError::ForeignQueue { queue: name.to_owned(), network: network.clone() };
            Err(Failure { kind: FailureKind::Refused, error })
        }
        _ => Ok(tags),
    }
}

/// Writes the tags that name the network and who runs the node.
pub(super) async fn tag(link: &Link, name: &str, url: &str, owner: &str) -> Result<(), Failure> {
    let request = link.sdk.tag_queue().queue_url(url);
    let request = request.tags(NETWORK_TAG, &link.options.network).tags(OWNER_TAG, owner);
    request.send().await.map(drop).map_err(client::failed("TagQueue", name))
}

/// Deletes a queue with all that is in it.
pub(super) async fn delete(link: &Link, name: &str, url: &str) -> Result<(), Failure> {
    let answer = link.sdk.delete_queue().queue_url(url).send().await;
    answer.map(drop).map_err(client::failed("DeleteQueue", name))
}

async fn create(link: &Link, name: &str, owner: Option<&str>) -> Result<Opened, Failure> {
    let mut request =
        link.sdk.create_queue().queue_name(name).attributes(QueueAttributeName::FifoQueue, "true");
    for (attribute, value) in attributes(&link.options) {
        request = request.attributes(attribute, value);
    }
    if !link.options.network.is_empty() {
        request = request.tags(NETWORK_TAG, &link.options.network);
    }
    if let Some(owner) = owner {
        request = request.tags(OWNER_TAG, owner);
    }
    let answer = request.send().await.map_err(client::failed("CreateQueue", name))?;
    Ok(Opened { url: answer.queue_url.unwrap_or_default(), done: Done::Created, owner: None })
}

/// Compares a queue that exists with what it should be, and corrects it.
async fn check(link: &Link, name: &str, url: String) -> Result<Opened, Failure> {
    let tags = tags(link, name, &url).await?;
    let request = link.sdk.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
    let answer = request.send().await.map_err(client::failed("GetQueueAttributes", name))?;
    let found = answer.attributes.unwrap_or_default();
    if found.get(&QueueAttributeName::FifoQueue).is_none_or(|value| value != "true") {
        let error = SqsError::WrongQueueType(name.to_owned());
        return Err(Failure { kind: FailureKind::Refused, error });
    }
    let mut wrong = attributes(&link.options);
    wrong.retain(|(attribute, value)| found.get(attribute) != Some(value));
    if found.get(&QueueAttributeName::KmsMasterKeyId).is_some_and(|key| !key.is_empty()) {
        // Encrypted with a key of the operator's choice.
        wrong.retain(|(attribute, _)| *attribute != QueueAttributeName::SqsManagedSseEnabled);
    }
    let done = if wrong.is_empty() { Done::Nothing } else { Done::Updated };
    if !wrong.is_empty() {
        let request = link.sdk.set_queue_attributes().queue_url(&url);
        let request = request.set_attributes(Some(wrong.into_iter().collect()));
        request.send().await.map_err(client::failed("SetQueueAttributes", name))?;
    }
    Ok(Opened { url, done, owner: tags.get(OWNER_TAG).cloned() })
}

/// What can be changed of a queue, as it should be.
fn attributes(options: &Options) -> Vec<(QueueAttributeName, String)> {
    let (scope, limit) = match options.high_throughput {
        true => ("messageGroup", "perMessageGroupId"),
        false => ("queue", "perQueue"),
    };
    let bytes_max = (options.message_bytes_max + ATTRIBUTE_BYTES_MAX).min(SQS_BYTES_MAX);
    vec![
        (QueueAttributeName::ContentBasedDeduplication, "true".to_owned()),
        (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned()),
        (QueueAttributeName::MessageRetentionPeriod, RETENTION_S.to_string()),
        (QueueAttributeName::VisibilityTimeout, options.visibility_timeout.as_secs().max(1).to_string()),
        (QueueAttributeName::ReceiveMessageWaitTimeSeconds, POLL_WAIT.as_secs().to_string()),
        (QueueAttributeName::MaximumMessageSize, bytes_max.to_string()),
        (QueueAttributeName::DeduplicationScope, scope.to_owned()),
        (QueueAttributeName::FifoThroughputLimit, limit.to_owned()),
    ]
}
