//! The thread that delivers: it takes messages out of the inbox and offers them to the node, the most urgent first.
//! Invariant: it waits only for the node or for the bell, and never spins.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Select, SendError, Sender};
use quarry_core::units::NodeId;

use crate::transport::local::inbox::Inbox;
use crate::transport::local::names;
use crate::transport::{Delivery, Incoming, Kind, TransportError};

/// How often everything is looked at, rung for or not.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Messages that the node has been handed and not taken: a block waits behind so many transactions at most.
/// At 8 a mesh of four processes did half as many messages a second, for the switching between threads.
pub(super) const AHEAD_MAX: usize = 128;
/// The same in bytes of transactions: what a node checks in some tens of milliseconds.
const AHEAD_BYTES_MAX: usize = 256 << 10;
/// How long to wait for the node when it has so many bytes ahead.
const AHEAD_PAUSE: Duration = Duration::from_millis(1);
/// Troubles that wait to be told; more at a time would tell nothing new.
const TROUBLES_MAX: usize = 64;
/// A trouble that persists is told again after this time.
const TROUBLE_AGAIN: Duration = Duration::from_secs(60);

/// What the delivering thread works on.
#[derive(Debug)]
pub(super) struct Pump {
    inbox: Inbox,
    out: Sender<Incoming>,
    wake: Receiver<()>,
    stop: Arc<AtomicBool>,
    peers: Peers,
    troubles: Troubles,
    chain: VecDeque<Delivery>,
    transactions: VecDeque<Delivery>,
    ahead: Ahead,
    ticked: Option<Instant>,
}

/// The other end of a channel is gone, and with it the reason to go on.
struct Abandoned;

impl Pump {
    pub(super) fn new(
        dir: &Path,
        id: NodeId,
        inbox: Inbox,
        out: Sender<Incoming>,
        wake: Receiver<()>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let peers = Peers { dir: dir.to_owned(), own: id, known: None, untold: None };
        Self {
            inbox,
            out,
            wake,
            stop,
            peers,
            troubles: Troubles::default(),
            chain: VecDeque::new(),
            transactions: VecDeque::new(),
            ahead: Ahead::default(),
            ticked: None,
        }
    }

    /// Delivers until `stop` is set and the pump woken.
    pub(super) fn run(mut self) {
        let swept = self.inbox.sweep();
        self.troubles.extend(swept.err());
        self.look();
        while !self.stop.load(Ordering::Relaxed) && self.step().is_ok() {}
    }

    fn step(&mut self) -> Result<(), Abandoned> {
        if self.wake.try_recv().is_ok() {
            self.look();
            return Ok(());
        }
        self.read();
        if self.is_empty() {
            self.wake.recv()?;
            self.look();
            return Ok(());
        }
        if !self.is_urgent() && AHEAD_BYTES_MAX <= self.ahead.bytes(&self.out) {
            match self.wake.recv_timeout(AHEAD_PAUSE) {
                Ok(()) => self.look(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Abandoned),
            }
            return Ok(());
        }
        self.offer()
    }

    /// Waits until the node takes the most urgent message, or until there may be a more urgent one.
    fn offer(&mut self) -> Result<(), Abandoned> {
        if !self.out.is_full() {
            // No other thread sends, so this does not wait.
            let next = self.take();
            return Ok(self.out.send(next)?);
        }
        let (out, wake) = (self.out.clone(), self.wake.clone());
        let mut select = Select::new();
        let sends = select.send(&out);
        select.recv(&wake);
        let ready = select.select();
        if ready.index() == sends {
            let next = self.take();
            return Ok(ready.send(&out, next)?);
        }
        ready.recv(&wake)?;
        self.look();
        Ok(())
    }

    /// Notes what has come to the inbox, and now and then who else is there and what can be deleted.
    fn look(&mut self) {
        let mut troubles = Vec::new();
        let now = Instant::now();
        if self.ticked.is_none_or(|ticked| TICK <= now.saturating_duration_since(ticked)) {
            self.ticked = Some(now);
            troubles.extend(self.peers.look().err());
            self.inbox.tidy(&mut troubles);
        }
        self.inbox.discover(&mut troubles);
        self.troubles.extend(troubles);
    }

    fn read(&mut self) {
        let mut troubles = Vec::new();
        if self.chain.is_empty() {
            self.inbox.read(Kind::Chain, &mut self.chain, &mut troubles);
        }
        if self.transactions.is_empty() && self.chain.is_empty() {
            self.inbox.read(Kind::Transactions, &mut self.transactions, &mut troubles);
        }
        self.troubles.extend(troubles);
    }

    /// Whether there is something that must not wait behind transactions.
    fn is_urgent(&self) -> bool {
        self.peers.untold.is_some() || !self.troubles.waiting.is_empty() || !self.chain.is_empty()
    }

    fn is_empty(&self) -> bool {
        !self.is_urgent() && self.transactions.is_empty()
    }

    /// The most urgent thing to tell.
    fn take(&mut self) -> Incoming {
        let transaction_bytes = if self.is_urgent() { 0 } else { self.transactions[0].payload.len() };
        self.ahead.push(transaction_bytes);
        let peers = self.peers.untold.take().map(Incoming::Peers);
        peers
            .or_else(|| self.troubles.waiting.pop_front().map(Incoming::Trouble))
            .or_else(|| self.chain.pop_front().map(Incoming::Delivery))
            .or_else(|| self.transactions.pop_front().map(Incoming::Delivery))
            .expect("the caller found something")
    }
}

/// How many bytes of transactions are in the channel.
#[derive(Debug, Default)]
struct Ahead {
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Ahead {
    fn push(&mut self, bytes: usize) {
        self.sizes.push_back(bytes);
        self.bytes += bytes;
        if AHEAD_MAX < self.sizes.len() {
            self.pop();
        }
    }

    fn bytes(&mut self, channel: &Sender<Incoming>) -> usize {
        while channel.len() < self.sizes.len() {
            self.pop();
        }
        self.bytes
    }

    fn pop(&mut self) {
        self.bytes -= self.sizes.pop_front().unwrap_or(0);
    }
}

impl From<RecvError> for Abandoned {
    fn from(_: RecvError) -> Self {
        Self
    }
}

impl From<SendError<Incoming>> for Abandoned {
    fn from(_: SendError<Incoming>) -> Self {
        Self
    }
}

/// The other inboxes of the spool.
#[derive(Debug)]
struct Peers {
    dir: PathBuf,
    own: NodeId,
    known: Option<BTreeSet<NodeId>>,
    /// The last change, until the node has taken it.
    untold: Option<BTreeSet<NodeId>>,
}

impl Peers {
    fn look(&mut self) -> Result<(), TransportError> {
        let mut found = names::inboxes(&self.dir)?;
        found.remove(&self.own);
        if self.known.as_ref() != Some(&found) {
            self.known = Some(found.clone());
            self.untold = Some(found);
        }
        Ok(())
    }
}

/// What went wrong and is still to be told, each thing once a minute.
#[derive(Debug, Default)]
struct Troubles {
    waiting: VecDeque<TransportError>,
    told: VecDeque<(Instant, TransportError)>,
}

impl Troubles {
    fn extend(&mut self, troubles: impl IntoIterator<Item = TransportError>) {
        let now = Instant::now();
        for trouble in troubles {
            self.told.retain(|(since, _)| now.saturating_duration_since(*since) < TROUBLE_AGAIN);
            if self.told.iter().any(|(_, told)| *told == trouble) {
                continue;
            }
            if TROUBLES_MAX <= self.waiting.len() {
                tracing::warn!(%trouble, "too many troubles to pass on");
                continue;
            }
            if TROUBLES_MAX <= self.told.len() {
                self.told.pop_front();
            }
            self.told.push_back((now, trouble.clone()));
            self.waiting.push_back(trouble);
        }
    }
}
