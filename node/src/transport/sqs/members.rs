//! Who the peers are: the queues that there are.
//! Invariant: without discovery nothing is listed, and nothing told.

use std::collections::BTreeSet;
use std::time::Duration;

use quarry_core::units::NodeId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::transport::sqs::backoff::Backoff;
use crate::transport::sqs::client::{self, Failure, Link};
use crate::transport::sqs::names;
use crate::transport::sqs::pump::Pump;

/// Pauses between the first listings: nodes that are started together find each other soon.
const FIRST: &[u64] = &[2, 3, 10, 45];
/// The pause between later ones. A node that joins makes itself known by a message long before.
const LATER: Duration = Duration::from_secs(300);
/// The most names that SQS returns at a time.
const PAGE: i32 = 1000;
/// More nodes than this cannot be peers of each other.
const MEMBERS_MAX: usize = 10_000;

/// What others have noticed of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sighting {
    /// A message of it has come.
    Seen(NodeId),
    /// Its queue does not exist.
    Gone(NodeId),
}

/// A queue of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) url: String,
}

/// Lists the queues with the network's prefix.
pub(super) async fn list(link: &Link) -> Result<Vec<Member>, Failure> {
    let prefix = &link.options.prefix;
    let wanted = (!prefix.is_empty()).then(|| prefix.clone());
    let (mut members, mut token) = (Vec::new(), None);
    loop {
        let request = link.sdk.list_queues().set_queue_name_prefix(wanted.clone()).max_results(PAGE);
        let answer = request.set_next_token(token).send().await;
        let answer = answer.map_err(client::failed("ListQueues", &format!("{prefix}*")))?;
        for url in answer.queue_urls.unwrap_or_default() {
            members.extend(names::node(prefix, &url).map(|id| Member { id, url }));
        }
        token = answer.next_token;
        if token.is_none() || MEMBERS_MAX <= members.len() {
            return Ok(members);
        }
    }
}

/// What the task works with that keeps the list of peers.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) link: Link,
    pub(super) own: NodeId,
    pub(super) pump: Pump,
    pub(super) sightings: mpsc::UnboundedReceiver<Sighting>,
    pub(super) known: BTreeSet<NodeId>,
}

impl Members {
    /// Tells who the peers are, and goes on to look for changes.
    pub(super) async fn run(mut self) {
        self.known.remove(&self.own);
        self.pump.tell_peers(self.known.clone());
        let mut backoff = Backoff::new("listing queues");
        let mut pauses = FIRST.iter().map(|seconds| Duration::from_secs(*seconds));
        let mut due = Instant::now() + pauses.next().unwrap_or(LATER);
        loop {
            let mut found = self.known.clone();
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    due = Instant::now() + pauses.next().unwrap_or(LATER);
                    match list(&self.link).await {
                        Ok(members) => {
                            self.pump.tell(backoff.worked());
                            found = members.into_iter().map(|member| member.id).collect();
                        }
                        Err(failure) => self.pump.tell(backoff.failed(&failure).1),
                    }
                }
                sighting = self.sightings.recv() => match sighting {
                    Some(Sighting::Seen(id)) => _ = (found.len() < MEMBERS_MAX).then(|| found.insert(id)),
                    Some(Sighting::Gone(id)) => _ = found.remove(&id),
                    None => return,
                },
            }
            found.remove(&self.own);
            if found != self.known {
                self.known = found;
                self.pump.tell_peers(self.known.clone());
            }
        }
    }
}
