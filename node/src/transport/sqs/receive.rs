//! Polling the own queue.
//! Invariant: polls wait neither for the node's work nor for deletions, only for room to put messages in.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::transport::sqs::backoff::Backoff;
use crate::transport::sqs::client::{self, Failure, FailureKind};
use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::held::{Arrival, Deletion, Held};
use crate::transport::sqs::lease::Lease;
use crate::transport::sqs::members::Sighting;
use crate::transport::sqs::message::{self, Content};
use crate::transport::sqs::pump::Pump;
use crate::transport::sqs::queue::{self, POLL_WAIT};
use crate::transport::sqs::{Handle, stopped};
use crate::transport::{Delivery, Format, Incoming, Kind, Receipt, ReceiptInner};

/// The most messages that SQS hands out at a time.
pub(super) const BATCH_MAX: usize = 10;
/// The most polls at a time.
const POLLS_MAX: usize = 2;
/// How long a poll that was ended by a claim may take to return.
const LAST_POLL: Duration = Duration::from_secs(1);
/// How long a retried poll may use the name of the lost one, with some to spare to SQS's five minutes.
const ATTEMPT_LIFE: Duration = Duration::from_secs(240);

/// What the receiving task works with.
#[derive(Debug, Clone)]
pub(super) struct Receiving {
    pub(super) lease: Lease,
    pub(super) pump: Pump,
    pub(super) held: Arc<Held>,
    pub(super) all_deleted: Arc<Notify>,
    pub(super) deletions: mpsc::UnboundedSender<Deletion>,
    pub(super) members: mpsc::UnboundedSender<Sighting>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) backoff: Arc<Mutex<Backoff>>,
}

impl Receiving {
    /// Receives until told to stop.
    pub(super) async fn run(self) {
        let (mut polls, mut backlog) = (JoinSet::new(), false);
        let mut stop = self.stop.clone();
        while !*stop.borrow() {
            if polls.is_empty() {
                self.start(&mut polls);
            }
            let done = tokio::select! {
                done = polls.join_next() => done,
                // The poll that waits began while its groups were held up, and a service may look again only now and
                // then: behind a backlog another one brings what is free now.
                () = self.all_deleted.notified(), if backlog && polls.len() < POLLS_MAX => {
                    self.start(&mut polls);
                    continue;
                }
                () = stopped(&mut stop) => break,
            };
            match done {
                Some(Ok(Ok(messages))) => {
                    // Only a full batch is a sign that more waits.
                    backlog = messages.len() == BATCH_MAX;
                    self.take(messages).await;
                }
                Some(Ok(Err(failure))) => self.mend(failure).await,
                Some(Err(_)) | None => {}
            }
        }
        self.end(polls).await;
    }

    fn start(&self, polls: &mut JoinSet<Result<Vec<Message>, Failure>>) {
        let this = self.clone();
        polls.spawn(async move { this.poll().await });
    }

    /// Polls until there is an answer other than that it should be tried again.
    async fn poll(&self) -> Result<Vec<Message>, Failure> {
        let mut stop = self.stop.clone();
        let (mut attempt, mut since) = (None, Instant::now());
        loop {
            self.pump.room().await;
            while !self.held.has_room() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if ATTEMPT_LIFE < since.elapsed() {
                attempt = None;
            }
            let id = attempt.get_or_insert_with(|| {
                since = Instant::now();
                format!("{:032x}", rand::random::<u128>())
            });
            match self.receive(id).await {
                Ok(messages) => {
                    self.pump.tell(self.backoff().worked());
                    return Ok(messages);
                }
                Err(failure) if matches!(failure.kind, FailureKind::Passing | FailureKind::Denied) => {
                    let pause = self.failed(&failure);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stopped(&mut stop) => return Err(failure),
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn receive(&self, attempt: &str) -> Result<Vec<Message>, Failure> {
        let request = self.lease.link.sdk.receive_message().queue_url(&self.lease.url);
        let answer = request
            .max_number_of_messages(i32::try_from(BATCH_MAX).expect("it is 10"))
            .wait_time_seconds(i32::try_from(POLL_WAIT.as_secs()).expect("it is 20"))
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_attribute_names("All")
            .receive_request_attempt_id(attempt)
            .customize()
            .config_override(client::patience(POLL_WAIT))
            .send()
            .await;
        Ok(answer.map_err(client::failed("ReceiveMessage", &self.lease.queue))?.messages.unwrap_or_default())
    }

    /// Hands new messages to the node.
    async fn take(&self, messages: Vec<Message>) {
        let hurry = messages.len() == BATCH_MAX;
        for message in messages {
            let (Some(id), Some(handle)) = (message.message_id.clone(), message.receipt_handle.clone())
            else {
                self.lease.link.meter.count("messages_without_handle");
                continue;
            };
            if message::is_again(&message) {
                self.lease.link.meter.count("messages_received_again");
            }
            let content = message::read(message, self.lease.link.options.message_bytes_max);
            let deletion = |kind| Deletion { id: id.clone(), handle: handle.clone(), kind, hurry };
            match content {
                Content::Payload { from, kind, format, payload } => {
                    if let Some(id) = from {
                        // Without discovery nobody listens.
                        let _ = self.members.send(Sighting::Seen(id));
                    }
                    self.deliver(
                        deletion(kind),
                        Delivery {
                            from,
                            format,
                            payload: payload.into_bytes(),
                            receipt: Receipt(ReceiptInner::Sqs(Handle(id))),
                        },
                    );
                }
                Content::Claim(instance) => {
                    self.delete(deletion(Kind::Chain));
                    self.answer(&instance).await;
                }
                Content::Poison(reason) => {
                    self.delete(deletion(Kind::Chain));
                    self.lease.link.meter.count("messages_poison");
                    let queue = self.lease.queue.clone();
                    self.pump.tell(Incoming::Trouble(SqsError::Poison { queue, id, reason }.into()));
                }
            }
        }
    }

    fn deliver(&self, deletion: Deletion, delivery: Delivery) {
        if delivery.format == Format::Original {
            self.lease.link.meter.count("messages_of_the_original");
        }
        let kind = deletion.kind;
        match self.held.arrive(deletion.clone()) {
            Arrival::New => self.pump.deliver(kind, delivery),
            Arrival::Again => {}
            Arrival::Done => self.delete(deletion),
        }
    }

    fn delete(&self, deletion: Deletion) {
        // The deleting task outlives this one.
        let _ = self.deletions.send(deletion);
    }

    /// Answers a claim of another process. It may be an old one, of a process that is gone: that does no harm.
    async fn answer(&self, instance: &str) {
        if instance == self.lease.instance || *self.stop.borrow() {
            return;
        }
        self.lease.link.meter.count("claims_of_others");
        if let Err(failure) = self.lease.hold().await {
            self.pump.tell(Incoming::Trouble(failure.error.into()));
        }
    }

    /// Brings the queue back where it is gone; waits where the request was refused.
    async fn mend(&self, failure: Failure) {
        let mut pause = self.failed(&failure);
        if !matches!(failure.kind, FailureKind::Missing | FailureKind::DeletedLately) {
            return self.pause(pause).await;
        }
        self.lease.link.meter.count("queue_vanished");
        while !*self.stop.borrow() {
            self.pause(pause).await;
            match queue::ensure(&self.lease.link, &self.lease.queue, Some(&self.lease.instance)).await {
                // The next poll tells whether it works.
                Ok(_) => return,
                Err(failure) => pause = self.failed(&failure),
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stop) => {}
        }
    }

    fn failed(&self, failure: &Failure) -> Duration {
        let (pause, tell) = self.backoff().failed(failure);
        self.pump.tell(tell);
        pause
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff> {
        self.backoff.lock().expect("nothing that holds the lock panics")
    }

    /// Ends the polls that wait. Cutting the connection would leave it to the service's ear whether it hands the next
    /// message to nobody; so the process sends itself a message, which the poll returns with.
    async fn end(&self, mut polls: JoinSet<Result<Vec<Message>, Failure>>) {
        while !polls.is_empty() {
            let ended = async {
                self.lease.claim().await.ok()?;
                polls.join_next().await?.ok()
            };
            match tokio::time::timeout(LAST_POLL, ended).await {
                Ok(Some(Ok(messages))) => self.take(messages).await,
                _ => return polls.shutdown().await,
            }
        }
    }
}
