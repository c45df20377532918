//! The run loop: one thread owns the protocol core, waits for an event, steps the core, and does what it says.
//!
//! Events that wait already are stepped together and share one commit. Then, in this order, the changes are made
//! durable, the effects are performed, and the messages that caused them are acknowledged; so a crash anywhere loses
//! nothing, and repeats only what the core recognises as known. Invariant: nothing else touches the core.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crossbeam_channel::{Receiver, Sender, never, select_biased};
use miner::rate::Rates;
use quarry_core::effect::{Effect, Event};
use quarry_core::node::Node;
use quarry_core::peers::Liveness;
use quarry_core::retarget;
use quarry_core::rules::TransactionError;
use quarry_core::store::Store as _;
use quarry_core::units::NodeId;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::connection;
use crate::control::{self, Ask, Asked, Asks, NodeStatus, PeerState, PeerStatus};
use crate::exit::OrExit as _;
use crate::fates::Fates;
use crate::feed::Publisher;
use crate::mining::{Mined, Mining};
use crate::notices::{self, Journal};
use crate::printout::Printout;
use crate::store::RedbStore;
use crate::transport::{Format, Handover, Incoming, Kind, Outgoing, Receipt, Transport};

/// The most events that share a commit.
const BATCH_MAX: usize = 1024;
/// The most peers of a node that is cut off whose last words are kept.
const UNHEARD_MAX: usize = 64;
/// The ticket of a message whose arrival nobody waits for.
const NO_TICKET: u64 = u64::MAX;

/// Everything around a node's core. What a node holds is let go of in this order: its inbox, which keeps others from
/// being the same node, comes last.
pub struct Runtime {
    /// Questions of this machine's user; both ends, so that it stays open.
    pub asks: (Asks, Asked),
    /// Where they come from.
    pub server: control::Server,
    /// What searches for nonces, if anything does.
    pub mining: Option<Mining>,
    /// Writes the files for people.
    pub printout: Printout,
    /// Shows the node to the web pages, where there are any.
    pub publisher: Option<Publisher>,
    /// The core.
    pub node: Node<RedbStore>,
    /// Where messages come from and go to.
    pub transport: Box<dyn Transport>,
    /// What became of transactions, for those who ask.
    pub fates: Fates,
    /// Where peers are fixed: who they are.
    pub static_peers: Option<Vec<NodeId>>,
    /// Where its web pages are, if anywhere.
    pub pages: Option<SocketAddr>,
    /// Closed, or told something, when the node is to stop.
    pub stop: Receiver<()>,
    /// Whether the node's inbox is removed then.
    pub leave: bool,
    /// The clocks.
    pub clock: Clock,
    /// What has happened.
    pub state: State,
}

/// What the loop remembers between turns.
#[derive(Default)]
pub struct State {
    journal: Journal,
    /// How many messages of each announcement are not durable yet.
    announcements: BTreeMap<u64, usize>,
    /// The announcements that are, and that the core has not been told of.
    announced: Vec<u64>,
    rates: Rates,
    /// Whether other nodes neither hear it nor are heard, because it was asked to.
    is_cut_off: bool,
    /// What each of them said last meanwhile.
    unheard: BTreeMap<NodeId, Event>,
    hash_rate_due_us: u64,
}

/// What is said about a submitted transaction.
type Verdict = Result<(), String>;

/// What one turn of the loop gathers before it commits.
#[derive(Default)]
struct Turn {
    effects: Vec<Effect>,
    receipts: Vec<Receipt>,
    verdicts: Vec<(Sender<Verdict>, Verdict)>,
    questions: Vec<Sender<NodeStatus>>,
}

/// What the loop waits for.
enum Input {
    Transport(Incoming),
    TransportGone,
    Mined(Mined),
    MinerGone,
    Ask(Ask),
    Tick,
    Stop,
}

impl Runtime {
    /// Runs until told to stop.
    pub fn run(mut self) -> Result<()> {
        self.commit(Turn::default())?;
        if let Some(peers) = self.static_peers.clone() {
            self.turn(|runtime, turn| runtime.step(Event::Peers(peers), turn))?;
        }
        loop {
            let input = self.wait();
            if matches!(input, Input::Stop) {
                self.turn(|runtime, turn| runtime.step(Event::Stopping, turn))?;
                return self.part();
            }
            self.turn(|runtime, turn| {
                runtime.take(input, turn)?;
                // What waits already shares the commit, unless somebody waits for an answer.
                for _ in 1..BATCH_MAX {
                    let Ok(incoming) = runtime.transport.incoming().try_recv() else { break };
                    runtime.take(Input::Transport(incoming), turn)?;
                }
                Ok(())
            })?;
        }
    }

    /// Removes the inbox of a node that leaves for good; the others have been told.
    fn part(&self) -> Result<()> {
        if self.leave {
            self.transport.leave().map_err(connection::failed).context("removing the inbox")?;
            info!("left the network: the inbox is removed");
        }
        Ok(())
    }

    fn wait(&mut self) -> Input {
        let never_mined = never();
        let mined = self.mining.as_ref().map_or(&never_mined, Mining::results);
        let view_due_us = self.publisher.as_ref().map_or(u64::MAX, Publisher::due_us);
        let due_us = self.node.deadline().min(self.state.hash_rate_due_us).min(view_due_us);
        select_biased! {
            recv(self.stop) -> _ => Input::Stop,
            recv(mined) -> mined => mined.map_or(Input::MinerGone, Input::Mined),
            recv(self.asks.1.queue) -> ask => ask.map_or(Input::Tick, Input::Ask),
            recv(self.transport.incoming()) -> it => it.map_or(Input::TransportGone, Input::Transport),
            default(self.clock.until(due_us)) => Input::Tick,
        }
    }

    /// Gathers, commits, performs, acknowledges.
    fn turn(&mut self, gather: impl FnOnce(&mut Self, &mut Turn) -> Result<()>) -> Result<()> {
        let mut turn = Turn::default();
        // Written with this commit or a later one: announcing a block once more after a crash does no harm.
        for number in std::mem::take(&mut self.state.announced) {
            self.step(Event::Announced(number), &mut turn)?;
        }
        gather(self, &mut turn)?;
        self.commit(turn)
    }

    fn take(&mut self, input: Input, turn: &mut Turn) -> Result<()> {
        match input {
            Input::Transport(incoming) => self.incoming(incoming, turn),
            Input::Mined(Mined::Found(event)) => self.step(event, turn),
            Input::Mined(Mined::Failed(failure)) => {
                error!("mining has stopped: {failure}");
                self.mining = None;
                Ok(())
            }
            Input::MinerGone => {
                error!("mining has stopped: its thread is gone");
                self.mining = None;
                Ok(())
            }
            Input::TransportGone => bail!("the transport has stopped"),
            Input::Ask(Ask::Status(answer)) => {
                turn.questions.push(answer);
                Ok(())
            }
            Input::Ask(Ask::Submit(transaction, answer)) => {
                let (id, now) = (transaction.id(), self.clock.now());
                let verdict = match self.node.submit(now, transaction, &mut turn.effects)? {
                    // Another node may have been faster to bring it: it waits, as was asked for.
                    Ok(()) | Err(TransactionError::AlreadyPending) => Ok(()),
                    Err(error) => {
                        self.fates.refuse(id, &error, now.utc);
                        Err(error.to_string())
                    }
                };
                turn.verdicts.push((answer, verdict));
                Ok(())
            }
            Input::Ask(Ask::StopMining(answer)) => {
                if self.mining.take().is_some() {
                    info!("mines no more");
                }
                // Who asked may have gone.
                let _ = answer.send(());
                Ok(())
            }
            Input::Ask(Ask::CutOff(is_cut_off, answer)) => {
                if self.state.is_cut_off != is_cut_off {
                    info!("{}", if is_cut_off { "cut off from all others" } else { "no longer cut off" });
                    self.state.is_cut_off = is_cut_off;
                }
                if !is_cut_off {
                    for event in std::mem::take(&mut self.state.unheard).into_values() {
                        self.step(event, turn)?;
                    }
                }
                // Who asked may have gone.
                let _ = answer.send(());
                Ok(())
            }
            Input::Tick | Input::Stop => {
                self.sample_hash_rate();
                self.step(Event::Tick, turn)
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming, turn: &mut Turn) -> Result<()> {
        match incoming {
            Incoming::Delivery(delivery) => {
                turn.receipts.push(delivery.receipt);
                let is_peer = |id| self.static_peers.as_ref().is_none_or(|peers| peers.contains(&id));
                if !delivery.from.is_none_or(is_peer) {
                    self.state.journal.count("messages_from_strangers");
                    return Ok(());
                }
                let event = match delivery.format {
                    Format::Quarry => Event::Message { from: delivery.from, bytes: delivery.payload },
                    Format::Original => Event::Original { bytes: delivery.payload },
                };
                match delivery.from.filter(|_| self.state.is_cut_off) {
                    Some(peer) => {
                        self.leave_unheard(peer, event);
                        Ok(())
                    }
                    None => self.step(event, turn),
                }
            }
            Incoming::Sent(ticket) => {
                self.sent(ticket);
                Ok(())
            }
            Incoming::Peers(peers) if self.static_peers.is_none() => {
                self.step(Event::Peers(peers.into_iter().collect()), turn)
            }
            Incoming::Peers(_) => Ok(()),
            Incoming::Trouble(trouble) => {
                self.state.journal.trouble(&trouble, self.clock.now().elapsed_us);
                Ok(())
            }
            Incoming::Recovered(recovery) => {
                info!("{recovery}");
                Ok(())
            }
            Incoming::Ended(error) => Err(connection::failed(error)).context("the transport has stopped"),
        }
    }

    /// Loses what a peer says, as a partition would, but for its last words: by these the two find each other at once
    /// when the cut ends, also where they have given each other up.
    fn leave_unheard(&mut self, peer: NodeId, event: Event) {
        self.state.journal.count("messages_unheard");
        let unheard = &mut self.state.unheard;
        if unheard.len() < UNHEARD_MAX || unheard.contains_key(&peer) {
            unheard.insert(peer, event);
        }
    }

    fn step(&mut self, event: Event, turn: &mut Turn) -> Result<()> {
        self.node.step(self.clock.now(), event, &mut turn.effects).context("the node cannot go on")
    }

    fn commit(&mut self, turn: Turn) -> Result<()> {
        let changes = self.node.take_changes();
        let moved = changes.tip.is_some();
        self.fates.come(&changes.mempool);
        if !changes.is_empty() {
            self.node.store_mut().apply(&changes).context("the node cannot go on").or_hint(|| {
                "once the disk has room and works, start it again: the store is as it last was".into()
            })?;
        }
        for effect in &turn.effects {
            if let Effect::Send { announcement: Some(number), .. } = effect {
                *self.state.announcements.entry(*number).or_default() += 1;
            }
        }
        for effect in turn.effects {
            self.perform(effect);
        }
        self.fates.go(&changes.mempool);
        // After the effects, which may tell of a refusal before the block.
        self.fates.mined(changes.mined.iter().filter(|(_, height)| height.is_some()).map(|(id, _)| *id));
        if !turn.receipts.is_empty() {
            // Unacknowledged messages come again and are recognised.
            if let Err(error) = self.transport.acknowledge(turn.receipts) {
                warn!("{error}");
            }
        }
        if moved {
            self.printout.refresh();
        }
        for (answer, verdict) in turn.verdicts {
            // Who asked may have gone.
            let _ = answer.send(verdict);
        }
        for answer in turn.questions {
            self.sample_hash_rate();
            let _ = answer.send(self.status());
        }
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        if self.publisher.as_ref().is_some_and(|publisher| publisher.due_us() <= now.elapsed_us) {
            let status = self.status();
            if let Some(publisher) = &mut self.publisher {
                publisher.publish(status, now);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { announcement, .. } if self.state.is_cut_off => {
                self.state.journal.count("messages_unsent");
                self.sent(announcement.unwrap_or(NO_TICKET));
            }
            Effect::Send { to, bytes, bulk, announcement } => {
                let kind = if bulk { Kind::Transactions } else { Kind::Chain };
                let ticket = announcement.unwrap_or(NO_TICKET);
                match self.transport.send(to, Outgoing { kind, payload: bytes, ticket }) {
                    Ok(Handover::Queued) => {}
                    Ok(Handover::Durable) => self.sent(ticket),
                    Err(error) => {
                        // What a peer misses it fetches once it is back: see `quarry_core::sync`.
                        if notices::is_worth_a_line(&error) {
                            warn!(%to, "message not sent: {error}");
                        }
                        self.state.journal.count("messages_unsent");
                        self.sent(ticket);
                    }
                }
            }
            Effect::Mine(template) => {
                if let Some(mining) = &mut self.mining {
                    mining.mine(template);
                }
            }
            Effect::Rest => {
                if let Some(mining) = &self.mining {
                    mining.rest();
                }
            }
            Effect::Tell(notice) => {
                let now = self.clock.now();
                self.state.journal.note(&notice, now.elapsed_us);
                self.fates.note(&notice, now.utc);
                if let Some(publisher) = &mut self.publisher {
                    publisher.note(&notice, now);
                }
            }
        }
    }

    /// Notes that a message with a ticket is durable, or given up.
    fn sent(&mut self, ticket: u64) {
        if let Some(waiting) = self.state.announcements.get_mut(&ticket) {
            *waiting -= 1;
            if *waiting == 0 {
                self.state.announcements.remove(&ticket);
                self.state.announced.push(ticket);
            }
        }
    }

    fn sample_hash_rate(&mut self) {
        let Some(mining) = &mut self.mining else {
            self.state.hash_rate_due_us = u64::MAX;
            self.state.rates = Rates::default();
            return;
        };
        let now_us = self.clock.now().elapsed_us;
        if self.state.hash_rate_due_us <= now_us {
            self.state.rates = mining.rates();
            self.state.hash_rate_due_us = now_us + 1_000_000;
        }
    }

    /// How many hashes the next block takes on average.
    fn difficulty(&self) -> f64 {
        let (network, tip, store) = (self.node.network(), &self.node.tip().header, self.node.store());
        let window = retarget::Window::ending_with(tip, network, |hash| store.record(hash));
        let now = self.clock.now().utc.max(tip.timestamp);
        // A store that cannot be read ends the node elsewhere.
        let bits = window.map_or(tip.bits, |window| window.next_bits(now, network));
        bits.target().map_or(0.0, |target| target.work().as_f64())
    }

    fn status(&self) -> NodeStatus {
        let (now, tip) = (self.clock.now(), self.node.tip());
        let peers = self.node.peers().iter().map(|(id, peer)| PeerStatus {
            id,
            height: peer.claim.map(|claim| claim.height),
            tip: peer.claim.map(|claim| claim.tip),
            heard_s: peer.heard_us.map(|heard_us| seconds(now.elapsed_us.saturating_sub(heard_us))),
            state: match peer.liveness {
                _ if peer.stopped => PeerState::Stopped,
                Liveness::Alive => PeerState::Alive,
                Liveness::Suspect => PeerState::Suspect,
                Liveness::Parked => PeerState::Parked,
            },
            delay_ms: peer.round_trip.map(|trip| seconds(trip.smoothed_us / 2) * 1e3),
        });
        NodeStatus {
            id: self.node.id(),
            pid: std::process::id(),
            network: self.node.network().id,
            uptime_s: seconds(now.elapsed_us),
            time: now.utc,
            height: tip.header.index,
            tip: tip.hash,
            difficulty: self.difficulty(),
            mempool: self.node.mempool().len(),
            searching: self.node.template().is_some() && self.mining.is_some(),
            backend: self.mining.as_ref().map(|mining| mining.name().to_owned()),
            hash_rate: self.state.rates.into(),
            cut_off: self.state.is_cut_off,
            pages: self.pages,
            syncing: self.node.syncing(),
            peers: peers.collect(),
            counters: self.state.journal.counters(),
            usage: self.transport.usage().into(),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        notices::log_usage(&self.transport.usage());
        info!(height = %self.node.tip().header.index, "stopped");
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
