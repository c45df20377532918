//! What an operator does to the queues of a network: create, list, purge and delete them.
//! Invariant: each call may be repeated, and changes no queue that is tagged with another network.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sqs::types::QueueAttributeName;
use quarry_core::units::NodeId;

use crate::transport::TransportError;
use crate::transport::sqs::client::{self, Failure, FailureKind, Link};
use crate::transport::sqs::queue::{self, Done, OWNER_TAG};
use crate::transport::sqs::{Options, engine, members, names};

/// A queue that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Whose inbox it is.
    pub id: NodeId,
    /// Where it is.
    pub url: String,
}

/// What is in a queue, as far as SQS knows: it counts approximately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// How many messages wait.
    pub waiting: u64,
    /// How many are received and not deleted yet.
    pub in_flight: u64,
    /// What its tag says of who runs the node; `-` after a clean stop.
    pub owner: Option<String>,
}

/// What was done to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did not exist and does now.
    Created,
    /// It existed; some attributes were not as they should be, and are now.
    Updated,
    /// It was as it should be.
    Unchanged,
    /// Its messages are gone.
    Purged,
    /// It is gone.
    Deleted,
    /// There was none.
    Missing,
}

/// Creates the queues of these nodes, and corrects the attributes of those that exist.
pub fn create(
    options: &Options,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    queue::check_limit(options)?;
    each(options, ids, async |link, name| {
        let opened = queue::patiently(|| queue::ensure(link, name, None)).await?;
        Ok(match opened.done {
            Done::Created => Outcome::Created,
            Done::Updated => Outcome::Updated,
            Done::Nothing => Outcome::Unchanged,
        })
    })
}

/// The queues that have a name of this network.
pub fn list(options: &Options) -> Result<Vec<Queue>, TransportError> {
    engine::runtime()?.block_on(async {
        let link = Link::open(options.clone()).await?;
        let members = queue::patiently(|| members::list(&link)).await?;
        Ok(members.into_iter().map(|member| Queue { id: member.id, url: member.url }).collect())
    })
}

/// What is in the queues of these nodes; those that do not exist are left out.
pub fn contents(
    options: &Options,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Contents>, TransportError> {
    let found = each(options, ids, async |link, name| match contents_of(link, name).await {
        Ok(contents) => Ok(Some(contents)),
        Err(failure) if failure.kind == FailureKind::Missing => Ok(None),
        Err(failure) => Err(failure),
    })?;
    Ok(found.into_iter().filter_map(|(id, contents)| Some((id, contents?))).collect())
}

/// Deletes all messages in the queues of these nodes. SQS does so once a minute: a repetition may wait for that.
pub fn purge(options: &Options, ids: &BTreeSet<NodeId>) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    change(options, ids, Outcome::Purged, async |link, name, url| {
        let answer = link.sdk.purge_queue().queue_url(url).send().await;
        answer.map(drop).map_err(client::failed("PurgeQueue", name))
    })
}

/// Deletes the queues of these nodes.
pub fn delete(
    options: &Options,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    change(options, ids, Outcome::Deleted, queue::delete)
}

/// Does something to each queue that exists and is not another network's.
fn change(
    options: &Options,
    ids: &BTreeSet<NodeId>,
    outcome: Outcome,
    work: impl AsyncFn(&Link, &str, &str) -> Result<(), Failure>,
) -> Result<BTreeMap<NodeId, Outcome>, TransportError> {
    each(options, ids, async |link, name| {
        let work = || async {
            let url = queue::url(link, name).await?;
            queue::tags(link, name, &url).await?;
            work(link, name, &url).await
        };
        match queue::patiently(work).await {
            Ok(()) => Ok(outcome),
            Err(failure) if failure.kind == FailureKind::Missing => Ok(Outcome::Missing),
            Err(failure) => Err(failure),
        }
    })
}

/// Does something to the queue of each node, one after the other; the first error ends it.
fn each<T>(
    options: &Options,
    ids: &BTreeSet<NodeId>,
    work: impl AsyncFn(&Link, &str) -> Result<T, Failure>,
) -> Result<BTreeMap<NodeId, T>, TransportError> {
    engine::runtime()?.block_on(async {
        let link = Link::open(options.clone()).await?;
        let mut results = BTreeMap::new();
        for id in ids {
            let name = names::queue(&options.prefix, *id)?;
            results.insert(*id, work(&link, &name).await?);
        }
        Ok(results)
    })
}

async fn contents_of(link: &Link, name: &str) -> Result<Contents, Failure> {
    let url = queue::patiently(|| queue::url(link, name)).await?;
    let mut tags = queue::tags(link, name, &url).await?;
    let (waiting, in_flight) = (
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    );
    let request = link.sdk.get_queue_attributes().queue_url(&url);
    let request = request.attribute_names(waiting.clone()).attribute_names(in_flight.clone());
    let answer = request.send().await.map_err(client::failed("GetQueueAttributes", name))?;
    let number = |name| answer.attributes()?.get(&name)?.parse().ok();
    Ok(Contents {
        waiting: number(waiting).unwrap_or_default(),
        in_flight: number(in_flight).unwrap_or_default(),
        owner: tags.remove(OWNER_TAG),
    })
}
