//! The thread that delivers: it takes messages out of the inbox and offers them to the node, the most urgent first.
//! Invariant: it waits only for the node or for the bell, and never spins.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, Select, SendError, Sender};
use quarry_core::units::NodeId;

use crate::transport::local::inbox::Inbox;
use crate::transport::local::names;
use crate::transport::{Delivery, Incoming, Kind, TransportError};

/// How often everything is looked at, rung for or not.
pub(super) const TICK: Duration = Duration::from_millis(250);
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
        if !self.out.is_full() {
            // No other thread sends, so this does not wait.
            let next = self.take().expect("it is not empty");
            return Ok(self.out.send(next)?);
        }
        self.offer()
    }

    /// Waits until the node takes the most urgent message, or until there may be a more urgent one.
    fn offer(&mut self) -> Result<(), Abandoned> {
        let (out, wake) = (self.out.clone(), self.wake.clone());
        let mut select = Select::new();
        let sends = select.send(&out);
        select.recv(&wake);
        let ready = select.select();
        if ready.index() == sends {
            let next = self.take().expect("it is not empty");
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

    fn is_empty(&self) -> bool {
        self.peers.untold.is_none()
            && self.troubles.waiting.is_empty()
            && self.chain.is_empty()
            && self.transactions.is_empty()
    }

    fn take(&mut self) -> Option<Incoming> {
        let peers = self.peers.untold.take().map(Incoming::Peers);
        peers
            .or_else(|| self.troubles.waiting.pop_front().map(Incoming::Trouble))
            .or_else(|| self.chain.pop_front().map(Incoming::Delivery))
            .or_else(|| self.transactions.pop_front().map(Incoming::Delivery))
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
