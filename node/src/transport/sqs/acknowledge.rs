//! Deleting messages that the node is done with.
//! Invariant: a message whose deletion fails for good is only counted: it comes again and is recognised.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::transport::Kind;
use crate::transport::sqs::backoff::Backoff;
use crate::transport::sqs::client::{self, Failure, FailureKind};
use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::held::{Deletion, Held};
use crate::transport::sqs::lease::Lease;
use crate::transport::sqs::pump::Pump;
use crate::transport::sqs::receive::BATCH_MAX;

/// How long the deletion of a transaction waits for others to share a request. Until it, no more transactions are
/// handed out, so those that arrive meanwhile share a request, too.
const SHARE: Duration = Duration::from_millis(500);

/// What the deleting task works with.
#[derive(Debug)]
pub(super) struct Deleting {
    pub(super) lease: Lease,
    pub(super) pump: Pump,
    pub(super) deletions: mpsc::UnboundedReceiver<Deletion>,
    pub(super) finish: oneshot::Receiver<()>,
    pub(super) held: Arc<Held>,
    /// Told when all that was received is deleted, so that the queue may hand out more of every group.
    pub(super) all_deleted: Arc<Notify>,
    pub(super) backoff: Backoff,
}

impl Deleting {
    /// Deletes until told to finish, and then what is left.
    pub(super) async fn run(mut self) {
        let (mut urgent, mut patient) = (Vec::new(), Vec::new());
        let (mut due, mut open) = (None, true);
        while open {
            let mut next = tokio::select! {
                next = self.deletions.recv() => next,
                () = until(due) => None,
                _ = &mut self.finish => {
                    open = false;
                    self.deletions.try_recv().ok()
                }
            };
            let share_no_more = next.is_none();
            while let Some(deletion) = next {
                match deletion.kind {
                    Kind::Transactions if !deletion.hurry => patient.push(deletion),
                    _ => urgent.push(deletion),
                }
                next = self.deletions.try_recv().ok();
            }
            // A request that is made anyway takes the others along.
            if share_no_more || !open || !urgent.is_empty() || BATCH_MAX <= patient.len() {
                urgent.append(&mut patient);
                self.delete(&mut urgent).await;
                if patient.is_empty() && self.deletions.is_empty() && self.held.is_empty() {
                    self.all_deleted.notify_one();
                }
            }
            due = if patient.is_empty() { None } else { due.or_else(|| Some(Instant::now() + SHARE)) };
        }
    }

    async fn delete(&mut self, deletions: &mut Vec<Deletion>) {
        for batch in deletions.chunks(BATCH_MAX) {
            let mut left = batch.to_vec();
            while !left.is_empty() {
                left = match self.request(&left).await {
                    Ok(left) => {
                        self.pump.tell(self.backoff.worked());
                        left
                    }
                    // With the queue its messages are gone, and the receiving task makes a new one.
                    Err(failure) if failure.kind == FailureKind::Missing => break,
                    Err(failure) => {
                        let (pause, tell) = self.backoff.failed(&failure);
                        self.pump.tell(tell);
                        tokio::time::sleep(pause).await;
                        left
                    }
                };
            }
        }
        deletions.clear();
    }

    /// Deletes up to ten messages: those to try again.
    async fn request(&self, batch: &[Deletion]) -> Result<Vec<Deletion>, Failure> {
        let entries = batch.iter().enumerate().map(|(position, deletion)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(position.to_string());
            entry.receipt_handle(&deletion.handle).build().expect("all its parts are given")
        });
        let request = self.lease.link.sdk.delete_message_batch().queue_url(&self.lease.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        let answer = answer.map_err(client::failed("DeleteMessageBatch", &self.lease.queue))?;
        let mut again = Vec::new();
        for failed in answer.failed {
            let deletion = failed.id.parse::<usize>().ok().and_then(|position| batch.get(position));
            match deletion {
                Some(deletion) if !failed.sender_fault => again.push(deletion.clone()),
                // It came too late: the message was handed out again meanwhile, and is deleted by its new handle.
                _ => self.lease.link.meter.count("deletions_too_late"),
            }
        }
        if again.len() == batch.len() {
            let (queue, code) = (self.lease.queue.clone(), "BatchEntryFailed".to_owned());
            let message = "each entry failed".to_owned();
            let error = SqsError::Service { action: "DeleteMessageBatch", queue, code, message };
            return Err(Failure { kind: FailureKind::Passing, error });
        }
        Ok(again)
    }
}

/// Makes messages that the node is not done with visible again at once.
pub(super) async fn release(lease: &Lease, messages: &[Deletion]) {
    for batch in messages.chunks(BATCH_MAX) {
        let entries = batch.iter().enumerate().map(|(position, message)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(position.to_string());
            let entry = entry.receipt_handle(&message.handle).visibility_timeout(0);
            entry.build().expect("all its parts are given")
        });
        let request = lease.link.sdk.change_message_visibility_batch().queue_url(&lease.url);
        // What fails comes back by itself, a little later.
        let _ = request.set_entries(Some(entries.collect())).send().await;
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
