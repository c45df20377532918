//! What is to be told to the node, and the task that tells it, the most urgent first.
//! Invariant: it never waits for the node in a way that keeps other tasks from running.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::Sender;
use quarry_core::units::NodeId;
use tokio::sync::Notify;

use crate::transport::{Delivery, Incoming, Kind};

/// What the node has been handed and not taken.
pub(super) const AHEAD_MAX: usize = 128;
/// Transactions are handed over only while less than this is ahead, so that a block waits for few of them.
const AHEAD_TRANSACTIONS_MAX: usize = 8;
/// How often to look whether the node has taken something: the channel does not say.
const PAUSE: Duration = Duration::from_millis(2);
/// No poll begins while so many messages wait.
const WAITING_MAX: usize = 20;
/// Nothing is sent while so much that was not heard waits.
const NOTICES_MAX: usize = 16_384;

/// The way to the node; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Pump {
    out: Sender<Incoming>,
    waiting: Arc<Mutex<Waiting>>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    peers: Option<BTreeSet<NodeId>>,
    notices: VecDeque<Incoming>,
    chain: VecDeque<Delivery>,
    transactions: VecDeque<Delivery>,
}

impl Pump {
    pub(super) fn new(out: Sender<Incoming>) -> Self {
        Self { out, waiting: Arc::default(), wake: Arc::default() }
    }

    /// Tells something that is no delivery, if there is something.
    pub(super) fn tell(&self, notice: impl Into<Option<Incoming>>) {
        if let Some(notice) = notice.into() {
            self.waiting().notices.push_back(notice);
            self.wake.notify_one();
        }
    }

    /// Tells who the peers are now; of several changes the node hears the last.
    pub(super) fn tell_peers(&self, peers: BTreeSet<NodeId>) {
        self.waiting().peers = Some(peers);
        self.wake.notify_one();
    }

    /// Delivers a message.
    pub(super) fn deliver(&self, kind: Kind, delivery: Delivery) {
        let mut waiting = self.waiting();
        match kind {
            Kind::Chain => waiting.chain.push_back(delivery),
            Kind::Transactions => waiting.transactions.push_back(delivery),
        }
        self.wake.notify_one();
    }

    /// Hands over whatever there is, for ever.
    pub(super) async fn run(&self) {
        loop {
            if self.hand_over() {
                self.wake.notified().await;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Hands over what there is room for.
    pub(super) fn flush(&self) {
        self.hand_over();
    }

    /// Waits until all notices are handed over.
    pub(super) async fn drained(&self) {
        while !self.waiting().notices.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until there is room for the messages of another poll.
    pub(super) async fn room(&self) {
        let full = || {
            let waiting = self.waiting();
            WAITING_MAX <= waiting.chain.len() + waiting.transactions.len()
        };
        while full() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until there is room for the notices that sending causes.
    pub(super) async fn room_for_notices(&self) {
        while NOTICES_MAX <= self.waiting().notices.len() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Fills the channel; whether nothing is left.
    fn hand_over(&self) -> bool {
        let mut waiting = self.waiting();
        while !self.out.is_full() {
            let peers = waiting.peers.take().map(Incoming::Peers);
            let urgent = peers
                .or_else(|| waiting.notices.pop_front())
                .or_else(|| waiting.chain.pop_front().map(Incoming::Delivery));
            let next = match urgent {
                None if self.out.len() < AHEAD_TRANSACTIONS_MAX => {
                    waiting.transactions.pop_front().map(Incoming::Delivery)
                }
                urgent => urgent,
            };
            let Some(next) = next else { break };
            // Nobody else sends, so there still is room; without a receiver there is nobody to tell.
            let _ = self.out.try_send(next);
        }
        let Waiting { peers, notices, chain, transactions } = &*waiting;
        peers.is_none() && notices.is_empty() && chain.is_empty() && transactions.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing that holds the lock panics")
    }
}
