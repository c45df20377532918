//! The task that brings one peer its messages.
//! Invariant: a message is taken from the buffer only after those before it are in the queue or given up.

use std::sync::Arc;

use aws_sdk_sqs::types::BatchResultErrorEntry;
use quarry_core::units::NodeId;
use tokio::sync::mpsc;

use crate::transport::sqs::backoff::Backoff;
use crate::transport::sqs::client::{self, Failure, FailureKind, Link};
use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::members::Sighting;
use crate::transport::sqs::message::{self, Sender};
use crate::transport::sqs::pump::Pump;
use crate::transport::sqs::send::Outbox;
use crate::transport::sqs::{names, queue};
use crate::transport::{Incoming, Outgoing};

/// What a courier works with; each peer has one of its own.
#[derive(Debug, Clone)]
pub(super) struct Couriers {
    pub(super) link: Link,
    pub(super) sender: Sender,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pump: Pump,
    pub(super) members: mpsc::UnboundedSender<Sighting>,
}

struct Courier {
    all: Couriers,
    to: NodeId,
    queue: String,
    url: Option<String>,
    backoff: Backoff,
}

impl Couriers {
    /// Sends to one peer until the outbox is stopped and empty.
    pub(super) async fn serve(self, to: NodeId) {
        let prefix = &self.link.options.prefix;
        // The prefix was checked with the own name; a longer number may still be too long.
        let queue = match names::queue(prefix, to) {
            Ok(queue) => queue,
            Err(error) => {
                while let Some(batch) = self.outbox.next(to).await {
                    self.give_up(to, batch, error.clone());
                }
                return;
            }
        };
        let backoff = Backoff::new(format!("sending to node {to}"));
        Courier { all: self, to, queue, url: None, backoff }.run().await;
    }

    fn sent(&self, to: NodeId, message: &Outgoing) {
        self.outbox.done(to, message);
        self.pump.tell(Incoming::Sent(message.ticket));
    }

    /// Says that messages will not be sent, and lets go of them.
    fn give_up(&self, to: NodeId, messages: Vec<Outgoing>, reason: SqsError) {
        let (count, reason) = (messages.len(), Box::new(reason));
        for message in &messages {
            self.link.meter.count("messages_given_up");
            self.sent(to, message);
        }
        self.pump.tell(Incoming::Trouble(SqsError::GivenUp { to, count, reason }.into()));
    }
}

impl Courier {
    async fn run(mut self) {
        while let Some(mut batch) = self.all.outbox.next(self.to).await {
            while !batch.is_empty() {
                self.all.pump.room_for_notices().await;
                batch = self.bring(batch).await;
            }
        }
    }

    /// Tries to send a batch: those to try again.
    async fn bring(&mut self, mut batch: Vec<Outgoing>) -> Vec<Outgoing> {
        match self.request(&batch).await {
            Ok(failed) => self.sort_out(batch, failed).await,
            Err(failure) => {
                if failure.kind == FailureKind::Missing {
                    self.url = None;
                }
                if failure.kind == FailureKind::Refused {
                    return self.isolate(batch, failure).await;
                }
                let final_ = matches!(failure.kind, FailureKind::Missing | FailureKind::Denied);
                if final_ && self.all.link.options.give_up_after < self.backoff.failing_for() {
                    batch.extend(self.all.outbox.take_all(self.to));
                    self.all.give_up(self.to, batch, failure.error);
                    if failure.kind == FailureKind::Missing {
                        // Without discovery nobody listens.
                        let _ = self.all.members.send(Sighting::Gone(self.to));
                    }
                    self.backoff = Backoff::new(format!("sending to node {}", self.to));
                    return Vec::new();
                }
                self.pause(&failure).await;
                batch
            }
        }
    }

    async fn request(&mut self, batch: &[Outgoing]) -> Result<Vec<BatchResultErrorEntry>, Failure> {
        let link = &self.all.link;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => queue::url(link, &self.queue).await?,
        };
        let entries = batch.iter().enumerate().map(|(position, outgoing)| {
            let payload = str::from_utf8(&outgoing.payload).expect("the outbox takes nothing else");
            message::entry(position, &self.all.sender, outgoing.kind, payload)
                .expect("all its parts are given")
        });
        let request = link.sdk.send_message_batch().queue_url(&url).set_entries(Some(entries.collect()));
        let answer = request.send().await.map_err(client::failed("SendMessageBatch", &self.queue));
        self.url = Some(url);
        Ok(answer?.failed)
    }

    /// After an answer: tells what was sent, gives up what was refused, and keeps the rest, in order.
    async fn sort_out(&mut self, batch: Vec<Outgoing>, failed: Vec<BatchResultErrorEntry>) -> Vec<Outgoing> {
        let (mut again, mut reason) = (Vec::new(), None);
        for (position, outgoing) in batch.into_iter().enumerate() {
            match failed.iter().find(|entry| entry.id == position.to_string()) {
                None => self.all.sent(self.to, &outgoing),
                Some(entry) => {
                    let error = self.service_error(entry);
                    if entry.sender_fault {
                        self.all.give_up(self.to, vec![outgoing], error);
                    } else {
                        reason = Some(error);
                        again.push(outgoing);
                    }
                }
            }
        }
        match reason {
            Some(error) => self.pause(&Failure { kind: FailureKind::Passing, error }).await,
            None => self.all.pump.tell(self.backoff.worked()),
        }
        again
    }

    /// A request that is refused as a whole may be so for one message: then each goes alone, and that one is given up.
    async fn isolate(&mut self, batch: Vec<Outgoing>, failure: Failure) -> Vec<Outgoing> {
        if let [_] = &batch[..] {
            self.all.give_up(self.to, batch, failure.error);
            return Vec::new();
        }
        let mut rest = batch.into_iter();
        while let Some(outgoing) = rest.next() {
            let one = std::slice::from_ref(&outgoing);
            match self.request(one).await {
                Ok(failed) if failed.is_empty() => self.all.sent(self.to, &outgoing),
                Err(failure) if failure.kind == FailureKind::Refused => {
                    self.all.give_up(self.to, vec![outgoing], failure.error);
                }
                _ => return std::iter::once(outgoing).chain(rest).collect(),
            }
        }
        Vec::new()
    }

    async fn pause(&mut self, failure: &Failure) {
        let (pause, tell) = self.backoff.failed(failure);
        self.all.pump.tell(tell);
        tokio::time::sleep(pause).await;
    }

    fn service_error(&self, entry: &BatchResultErrorEntry) -> SqsError {
        SqsError::Service {
            action: "SendMessageBatch",
            queue: self.queue.clone(),
            code: entry.code.clone(),
            message: entry.message.clone().unwrap_or_default(),
        }
    }
}
