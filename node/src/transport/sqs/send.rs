//! Sending to the queues of others: a buffer and a task for each.
//! Invariant: each message that the buffer takes comes back as sent or given up, once, and in order of its kind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use quarry_core::units::NodeId;
use tokio::sync::{Notify, mpsc};

use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::queue::ATTRIBUTE_BYTES_MAX;
use crate::transport::sqs::receive::BATCH_MAX;
use crate::transport::{Kind, Outgoing, TransportError};

/// What may wait for one peer. Transactions may take half of each, so that they never crowd out blocks.
const MESSAGES_MAX: usize = 32_768;
const BYTES_MAX: usize = 64 << 20;

/// What waits to be sent, by whom it is for.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Tells of peers that have a buffer now and need a task.
    peers: mpsc::UnboundedSender<NodeId>,
    payload_bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    buffers: BTreeMap<NodeId, Buffer>,
    stopped: bool,
}

/// What waits for one peer.
#[derive(Debug, Default)]
struct Buffer {
    chain: VecDeque<Outgoing>,
    transactions: VecDeque<Outgoing>,
    /// With what is being sent.
    chain_size: Size,
    transactions_size: Size,
    /// Refused since one was last accepted.
    refused: u64,
    wake: Arc<Notify>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Size {
    messages: usize,
    bytes: usize,
}

impl Outbox {
    /// An outbox, and where it tells of new peers.
    pub(super) fn new(payload_bytes_max: usize) -> (Self, mpsc::UnboundedReceiver<NodeId>) {
        let (peers, new_peers) = mpsc::unbounded_channel();
        (Self { state: Mutex::default(), peers, payload_bytes_max }, new_peers)
    }

    /// Takes a message, or says why not. Does not wait.
    pub(super) fn send(&self, to: NodeId, message: Outgoing) -> Result<(), TransportError> {
        let (bytes, bytes_max) = (message.payload.len(), self.payload_bytes_max);
        if bytes_max < bytes {
            return Err(TransportError::Oversize { bytes, bytes_max });
        }
        if str::from_utf8(&message.payload).is_err() {
            return Err(SqsError::NotText.into());
        }
        let mut state = self.state();
        if state.stopped {
            return Err(SqsError::Stopped.into());
        }
        let is_new = !state.buffers.contains_key(&to);
        let buffer = state.buffers.entry(to).or_default();
        buffer.admit(to, message.kind, bytes)?;
        match message.kind {
            Kind::Chain => buffer.chain.push_back(message),
            Kind::Transactions => buffer.transactions.push_back(message),
        }
        buffer.wake.notify_one();
        if is_new {
            // Where nobody listens any more, `stopped` is set.
            let _ = self.peers.send(to);
        }
        Ok(())
    }

    /// Accepts nothing more.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.buffers.values().for_each(|buffer| buffer.wake.notify_one());
    }

    /// What to send next to a peer, the most urgent first; waits for it. Nothing where nothing will come any more.
    pub(super) async fn next(&self, to: NodeId) -> Option<Vec<Outgoing>> {
        loop {
            let wake = {
                let mut state = self.state();
                let stopped = state.stopped;
                let buffer = state.buffers.entry(to).or_default();
                let batch = buffer.batch(self.payload_bytes_max + ATTRIBUTE_BYTES_MAX);
                if !batch.is_empty() {
                    return Some(batch);
                }
                if stopped {
                    return None;
                }
                Arc::clone(&buffer.wake)
            };
            wake.notified().await;
        }
    }

    /// Everything that waits for a peer.
    pub(super) fn take_all(&self, to: NodeId) -> Vec<Outgoing> {
        let mut state = self.state();
        let buffer = state.buffers.entry(to).or_default();
        let chain = std::mem::take(&mut buffer.chain);
        chain.into_iter().chain(std::mem::take(&mut buffer.transactions)).collect()
    }

    /// Notes that a message is sent or given up, so that there is room for another.
    pub(super) fn done(&self, to: NodeId, message: &Outgoing) {
        let mut state = self.state();
        let size = state.buffers.entry(to).or_default().size(message.kind);
        size.messages -= 1;
        size.bytes -= message.payload.len();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that holds the lock panics")
    }
}

impl Buffer {
    fn size(&mut self, kind: Kind) -> &mut Size {
        match kind {
            Kind::Chain => &mut self.chain_size,
            Kind::Transactions => &mut self.transactions_size,
        }
    }

    /// Counts a message in, unless there is no room for it.
    fn admit(&mut self, to: NodeId, kind: Kind, bytes: usize) -> Result<(), SqsError> {
        let size = self.size(kind);
        // Each kind has half: what one leaves over the other does not take.
        if MESSAGES_MAX / 2 <= size.messages || BYTES_MAX / 2 < size.bytes + bytes {
            let Size { messages, bytes } = *size;
            self.refused = self.refused.saturating_add(1);
            return Err(SqsError::OutgoingFull { to, messages, bytes, refused: self.refused });
        }
        size.messages += 1;
        size.bytes += bytes;
        self.refused = 0;
        Ok(())
    }

    /// As many messages as go into one request.
    fn batch(&mut self, bytes_max: usize) -> Vec<Outgoing> {
        let (mut batch, mut room) = (Vec::new(), bytes_max);
        for queue in [&mut self.chain, &mut self.transactions] {
            while let Some(message) = queue.front() {
                // Attributes take some tens of bytes: the reserve is for each message's own limit.
                let bytes = message.payload.len() + ATTRIBUTE_BYTES_MAX / 8;
                if BATCH_MAX <= batch.len() || room < bytes {
                    return batch;
                }
                room -= bytes;
                batch.extend(queue.pop_front());
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, text: &str) -> Outgoing {
        Outgoing { kind, payload: Arc::from(text.as_bytes()), ticket: 0 }
    }

    fn take(outbox: &Outbox) -> Vec<String> {
        let batch =
            outbox.state().buffers.get_mut(&NodeId(1)).unwrap().batch(outbox.payload_bytes_max + 1024);
        batch.iter().map(|it| String::from_utf8(it.payload.to_vec()).unwrap()).collect()
    }

    #[test]
    fn batches_keep_the_limits_and_blocks_come_first() {
        let (outbox, _peers) = Outbox::new(4000);
        let to = NodeId(1);
        for number in 0..12 {
            outbox.send(to, message(Kind::Transactions, &format!("{number}"))).unwrap();
        }
        outbox.send(to, message(Kind::Chain, "block")).unwrap();
        assert_eq!(take(&outbox), ["block", "0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(take(&outbox), ["9", "10", "11"]);
        let large = "x".repeat(4000);
        outbox.send(to, message(Kind::Chain, &large)).unwrap();
        outbox.send(to, message(Kind::Chain, &"y".repeat(900))).unwrap();
        assert_eq!(take(&outbox), [large]);
        assert_eq!(take(&outbox), ["y".repeat(900)]);
        assert_eq!(take(&outbox), [""; 0]);
    }

    #[test]
    fn a_full_buffer_refuses_and_keeps_room_for_blocks() {
        let (outbox, _peers) = Outbox::new(4000);
        let to = NodeId(1);
        for _ in 0..MESSAGES_MAX / 2 {
            outbox.send(to, message(Kind::Transactions, "x")).unwrap();
        }
        for refused in 1..3 {
            let (messages, bytes) = (MESSAGES_MAX / 2, MESSAGES_MAX / 2);
            let error = SqsError::OutgoingFull { to, messages, bytes, refused };
            assert_eq!(outbox.send(to, message(Kind::Transactions, "x")), Err(error.into()));
        }
        outbox.send(to, message(Kind::Chain, "block")).unwrap();
        outbox.done(to, &message(Kind::Transactions, "x"));
        outbox.send(to, message(Kind::Transactions, "x")).unwrap();
        outbox.stop();
        assert_eq!(outbox.send(to, message(Kind::Chain, "x")), Err(SqsError::Stopped.into()));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let (outbox, _peers) = Outbox::new(3);
        let refused = outbox.send(NodeId(1), message(Kind::Chain, "four"));
        assert_eq!(refused, Err(TransportError::Oversize { bytes: 4, bytes_max: 3 }));
        let payload = Arc::from(&[0xff_u8][..]);
        let refused = outbox.send(NodeId(1), Outgoing { kind: Kind::Chain, payload, ticket: 0 });
        assert_eq!(refused, Err(SqsError::NotText.into()));
    }
}
