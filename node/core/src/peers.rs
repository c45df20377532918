//! The other nodes: who is there and listens, where each stands, how far away it is, and how much each may ask.
//! Invariant: what is kept of nodes that the transport has not listed is bounded, whoever they say they are.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::chain::{Tip, is_better};
use crate::message::Status;
use crate::target::Work;
use crate::units::{Hash, Height, NodeId};

/// The most requests of one peer that are answered in a minute.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 6000;
/// The most nodes that are known by their messages alone.
pub const UNLISTED_MAX: usize = 16;
/// After how many of our statuses without a word from it a peer is asked for a reply.
pub const SUSPECT_ROUNDS: u32 = 3;
/// After how many of them nothing more is sent to it.
pub const PARK_ROUNDS: u32 = 6;
/// How long a peer must have been silent at least before nothing more is sent to it.
pub const PARK_AFTER_US: u64 = 30_000_000;
/// How often a parked peer is asked whether it is back, at most.
pub const PROBE_INTERVAL_US: u64 = 60_000_000;
/// How many parked peers are asked that in one round, at most: the queues of nodes long gone may be many.
pub const PROBES_MAX: usize = 16;
/// How many more peers are asked in one round for those that have not answered, at most.
pub const REPLACEMENTS_MAX: usize = 16;
const MINUTE_US: u64 = 60_000_000;

/// The other nodes.
#[derive(Debug)]
pub struct Peers {
    all: BTreeMap<NodeId, Peer>,
    /// Whose turn it was last to be asked for a reply.
    turn: Option<NodeId>,
}

/// Another node.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Its tip by its last status; `None` before the first.
    pub claim: Option<Claim>,
    /// When it was last heard of, by [`crate::effect::Now::elapsed_us`].
    pub heard_us: Option<u64>,
    /// Whether it has said that it stops.
    pub stopped: bool,
    /// Whether it seems to listen.
    pub liveness: Liveness,
    /// How long it takes to answer; `None` before the first reply.
    pub round_trip: Option<RoundTrip>,
    /// Whether the transport has said that it is there; its messages may come first.
    is_listed: bool,
    /// Since when its silence counts.
    silent_since_us: u64,
    /// How many of our statuses that is.
    silent_rounds: u32,
    /// When it was parked or, since then, asked whether it is back.
    probed_us: u64,
    asked: Option<Asked>,
    /// Whether transactions were sent to others while it was parked.
    has_missed: bool,
    /// Before when it is not sent again what it has missed.
    fed_until_us: u64,
    sync_after_us: u64,
    /// How often another was asked for its chain because it was too slow.
    times_too_slow: u32,
    minute_start_us: u64,
    requests: u32,
}

/// Whether a peer seems to listen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Liveness {
    /// It was heard of lately, or is new.
    #[default]
    Alive,
    /// It has been silent for a while and is asked for a reply.
    Suspect,
    /// It has been silent for long or has said that it stops: nothing is sent to it but a question now and then.
    Parked,
}

/// Where a peer says that it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its tip.
    pub tip: Hash,
    /// The tip's height.
    pub height: Height,
    /// The chain's work.
    pub work: Work,
}

/// How long a peer takes to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// Smoothed as TCP does (RFC 6298): each new one counts an eighth.
    pub smoothed_us: u64,
    /// The last one.
    pub last_us: u64,
}

/// A status that wants a reply.
#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: u64,
    at_us: u64,
}

/// What is due to a peer when our status is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The status.
    Tell,
    /// The status, with a wish for a reply.
    Ask,
    /// Nothing more from here on.
    Park,
}

impl Peer {
    /// How long a message takes from here to there: half the smoothed round trip.
    pub fn delay_us(&self) -> Option<u64> {
        self.round_trip.map(|it| it.smoothed_us / 2)
    }

    /// Counts a round; answers what its silence gives cause to.
    fn silent_round(&mut self, elapsed_us: u64) -> Option<Due> {
        // The first round after a word from it, or after its arrival, follows no silence yet.
        let rounds = self.silent_rounds;
        self.silent_rounds += 1;
        let silent_us = elapsed_us.saturating_sub(self.silent_since_us);
        if PARK_ROUNDS <= rounds && PARK_AFTER_US <= silent_us {
            self.park(elapsed_us);
            return Some(Due::Park);
        }
        (SUSPECT_ROUNDS <= rounds).then(|| {
            self.liveness = Liveness::Suspect;
            Due::Ask
        })
    }

    fn park(&mut self, elapsed_us: u64) {
        self.liveness = Liveness::Parked;
        self.probed_us = elapsed_us;
        self.asked = None;
    }
}

impl RoundTrip {
    fn with(before: Option<Self>, last_us: u64) -> Self {
        let smoothed_us = match before {
            None => last_us,
            Some(Self { smoothed_us, .. }) => smoothed_us - smoothed_us / 8 + last_us / 8,
        };
        Self { smoothed_us, last_us }
    }
}

impl Peers {
    /// None yet; the turn begins after the node's own number, so that not all nodes ask the same ones at once.
    pub fn new(own: NodeId) -> Self {
        Self { all: BTreeMap::new(), turn: Some(own) }
    }

    /// All of them by number.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.all.iter().map(|(id, peer)| (*id, peer))
    }

    /// How many of those that something is sent to the transport has listed, which strangers cannot change.
    pub fn listed(&self) -> usize {
        self.all.values().filter(|peer| peer.is_listed && peer.liveness != Liveness::Parked).count()
    }

    /// Their numbers.
    pub fn ids(&self) -> Vec<NodeId> {
        self.all.keys().copied().collect()
    }

    /// The numbers of those that something is sent to.
    pub fn listening(&self) -> Vec<NodeId> {
        let listening = self.all.iter().filter(|(_, peer)| peer.liveness != Liveness::Parked);
        listening.map(|(id, _)| *id).collect()
    }

    /// Takes over the transport's list; answers who is new and who has gone.
    pub fn update(&mut self, members: &[NodeId], elapsed_us: u64) -> (Vec<NodeId>, Vec<NodeId>) {
        let mut gone = Vec::new();
        self.all.retain(|id, peer| {
            let is_there = members.contains(id);
            if !is_there && peer.is_listed {
                gone.push(*id);
            }
            is_there
        });
        let mut joined = Vec::new();
        for id in members {
            let new = Peer { silent_since_us: elapsed_us, ..Peer::default() };
            let peer = self.all.entry(*id).or_insert(new);
            if !core::mem::replace(&mut peer.is_listed, true) {
                joined.push(*id);
            }
        }
        (joined, gone)
    }

    /// Notes that a peer has been heard of; answers whether it was parked.
    pub fn heard(&mut self, id: NodeId, elapsed_us: u64) -> bool {
        if !self.all.contains_key(&id) {
            let unlisted = self.all.values().filter(|peer| !peer.is_listed).count();
            if UNLISTED_MAX <= unlisted {
                return false;
            }
        }
        let peer = self.all.entry(id).or_default();
        peer.heard_us = Some(elapsed_us);
        peer.stopped = false;
        (peer.silent_since_us, peer.silent_rounds) = (elapsed_us, 0);
        core::mem::take(&mut peer.liveness) == Liveness::Parked
    }

    /// Notes where a peer says that it stands.
    pub fn claimed(&mut self, status: &Status) {
        if let Some(peer) = self.all.get_mut(&status.from) {
            let claim = Claim { tip: status.tip, height: status.height, work: status.work };
            peer.claim = Some(claim);
        }
    }

    /// Notes that a peer has said that it stops; answers whether that is news.
    pub fn stopped(&mut self, id: NodeId, elapsed_us: u64) -> bool {
        let Some(peer) = self.all.get_mut(&id) else { return false };
        let is_news = !core::mem::replace(&mut peer.stopped, true);
        if peer.liveness != Liveness::Parked {
            peer.park(elapsed_us);
        }
        is_news
    }

    /// Counts a round of our statuses; answers what is due to whom. Besides those whose silence gives cause to it, one
    /// peer in turn is asked for a reply, so that all delays stay fresh.
    pub fn round(&mut self, elapsed_us: u64) -> Vec<(NodeId, Due)> {
        let listening = self.listening();
        let is_next = |id: &&NodeId| self.turn.is_none_or(|turn| turn < **id);
        self.turn = listening.iter().find(is_next).or(listening.first()).copied();
        let mut due = self.probes(elapsed_us, PROBES_MAX);
        let listening = self.all.iter_mut().filter(|(_, peer)| peer.liveness != Liveness::Parked);
        for (id, peer) in listening {
            let is_in_turn = self.turn == Some(*id);
            let otherwise = if is_in_turn { Due::Ask } else { Due::Tell };
            due.push((*id, peer.silent_round(elapsed_us).unwrap_or(otherwise)));
        }
        self.forget_unlisted();
        due
    }

    /// Counts a round in which only the next few peers in turn are asked where they stand, besides those who were and
    /// have been silent since, and one that is parked. Silence counts from the first question, as nobody tells everybody
    /// anything. For each that has left two questions without an answer another is asked: so a node among many dead ones
    /// soon finds the others, and a slow network does not talk the more.
    pub fn exchanges(&mut self, elapsed_us: u64, count: usize) -> Vec<(NodeId, Due)> {
        let listening = || self.all.iter().filter(|(_, peer)| peer.liveness != Liveness::Parked);
        let rested: Vec<_> =
            listening().filter(|(_, peer)| peer.silent_rounds == 0).map(|(id, _)| *id).collect();
        let silent = listening().filter(|(_, peer)| 2 <= peer.silent_rounds).count();
        let count = count + silent.min(REPLACEMENTS_MAX);
        let next = rested.partition_point(|id| self.turn.is_some_and(|turn| *id <= turn));
        let in_turn: Vec<_> =
            rested.iter().cycle().skip(next).take(count.min(rested.len())).copied().collect();
        self.turn = in_turn.last().copied().or(self.turn);
        let mut due = self.probes(elapsed_us, 1);
        let listening = self.all.iter_mut().filter(|(_, peer)| peer.liveness != Liveness::Parked);
        for (id, peer) in listening.filter(|(id, peer)| 0 < peer.silent_rounds || in_turn.contains(id)) {
            if peer.silent_rounds == 0 {
                peer.silent_since_us = elapsed_us;
            }
            due.push((*id, peer.silent_round(elapsed_us).unwrap_or(Due::Ask)));
        }
        self.forget_unlisted();
        due
    }

    /// The parked peers to ask whether they are back: of those for whom it is time, the ones who were asked longest ago.
    fn probes(&mut self, elapsed_us: u64, count_max: usize) -> Vec<(NodeId, Due)> {
        let is_due = |peer: &Peer| {
            peer.liveness == Liveness::Parked
                && PROBE_INTERVAL_US <= elapsed_us.saturating_sub(peer.probed_us)
        };
        let mut parked: Vec<_> = self.all.iter_mut().filter(|(_, peer)| is_due(peer)).collect();
        parked.sort_by_key(|(_, peer)| peer.probed_us);
        let probed = parked.into_iter().take(count_max);
        probed
            .map(|(id, peer)| {
                peer.probed_us = elapsed_us;
                (*id, Due::Ask)
            })
            .collect()
    }

    /// Who was never on the transport's list is not there to come back.
    fn forget_unlisted(&mut self) {
        self.all.retain(|_, peer| peer.is_listed || peer.liveness != Liveness::Parked);
    }

    /// Notes that a status that wants a reply is on its way. One that is waited for already is not given up for it, or
    /// a peer further away than our statuses are apart would have no delay.
    pub fn asked(&mut self, id: NodeId, nonce: u64, elapsed_us: u64, timeout_us: u64) {
        let Some(peer) = self.all.get_mut(&id) else { return };
        let is_waiting = |asked: Asked| elapsed_us.saturating_sub(asked.at_us) <= timeout_us;
        if !peer.asked.is_some_and(is_waiting) {
            peer.asked = Some(Asked { nonce, at_us: elapsed_us });
        }
    }

    /// Takes the time of a reply, if it is the one that is waited for. One that comes after the time-out tells how long
    /// the peer was away, not how far away it is.
    pub fn answered(&mut self, id: NodeId, nonce: u64, elapsed_us: u64, timeout_us: u64) {
        let Some(peer) = self.all.get_mut(&id) else { return };
        let Some(asked) = peer.asked.take_if(|asked| asked.nonce == nonce) else { return };
        let last_us = elapsed_us.saturating_sub(asked.at_us);
        if last_us <= timeout_us {
            peer.round_trip = Some(RoundTrip::with(peer.round_trip, last_us));
        }
    }

    /// Notes that transactions were sent to all that listen.
    pub fn transactions_sent(&mut self) {
        let parked = self.all.values_mut().filter(|peer| peer.liveness == Liveness::Parked);
        parked.for_each(|peer| peer.has_missed = true);
    }

    /// Those that listen again and have missed transactions, which are sent to each at most once in `pause_us`.
    pub fn hungry(&mut self, elapsed_us: u64, pause_us: u64) -> Vec<NodeId> {
        let mut hungry = Vec::new();
        for (id, peer) in &mut self.all {
            let may = peer.liveness != Liveness::Parked && peer.fed_until_us <= elapsed_us;
            if may && core::mem::take(&mut peer.has_missed) {
                peer.fed_until_us = elapsed_us + pause_us;
                hungry.push(*id);
            }
        }
        hungry
    }

    /// Forgets the peer's claim and leaves it alone until `until_us`.
    pub fn back_off(&mut self, id: NodeId, until_us: u64) {
        if let Some(peer) = self.all.get_mut(&id) {
            peer.claim = None;
            peer.sync_after_us = until_us;
        }
    }

    /// Notes that a sync with the peer has ended well. Its next claim is believed, but others come first, or a peer
    /// that gives its chain in slices, each of them a sync, would keep them out.
    pub fn synced(&mut self, id: NodeId, elapsed_us: u64) {
        if let Some(peer) = self.all.get_mut(&id) {
            peer.sync_after_us = elapsed_us;
        }
    }

    /// Notes that the peer was too slow with its chain.
    pub fn too_slow(&mut self, id: NodeId) {
        if let Some(peer) = self.all.get_mut(&id) {
            peer.times_too_slow = peer.times_too_slow.saturating_add(1);
        }
    }

    /// How often that was.
    pub fn times_too_slow(&self, id: NodeId) -> u32 {
        self.all.get(&id).map_or(0, |peer| peer.times_too_slow)
    }

    /// Whether the peer may be asked for its chain.
    pub fn is_syncable(&self, id: NodeId, elapsed_us: u64) -> bool {
        self.all.get(&id).is_some_and(|peer| peer.sync_after_us <= elapsed_us)
    }

    /// Whether the peer claims a better chain than that of `tip`.
    pub fn is_ahead(&self, id: NodeId, tip: &Tip) -> bool {
        let claim = self.all.get(&id).and_then(|peer| peer.claim);
        claim.is_some_and(|claim| is_better(claim.work, &claim.tip, tip))
    }

    /// The peer to fetch a better chain than that of `tip` from: of those that listen, claim one and are not left alone,
    /// the one whose last sync is longest ago, so that peers whose claims come to nothing cannot keep out the others;
    /// of equals the one that claims most.
    pub fn best(&self, tip: &Tip, elapsed_us: u64) -> Option<NodeId> {
        let ahead = self.ahead(tip, elapsed_us);
        let preferred = ahead.max_by_key(|(_, peer, claim)| (Reverse(peer.sync_after_us), claim.work))?;
        Some(preferred.0)
    }

    /// Whether a better chain than that of `tip`, with at least so much work, can be fetched from another peer.
    pub fn has_other(&self, id: NodeId, work: Work, tip: &Tip, elapsed_us: u64) -> bool {
        self.ahead(tip, elapsed_us).any(|(other, _, claim)| other != id && work <= claim.work)
    }

    /// Those that listen, claim a better chain than that of `tip` and are not left alone.
    fn ahead(&self, tip: &Tip, elapsed_us: u64) -> impl Iterator<Item = (NodeId, &Peer, Claim)> {
        let is_candidate =
            move |peer: &Peer| peer.liveness != Liveness::Parked && peer.sync_after_us <= elapsed_us;
        let candidates = self.all.iter().filter(move |(_, peer)| is_candidate(peer));
        let claims = candidates.filter_map(|(id, peer)| Some((*id, peer, peer.claim?)));
        claims.filter(|(.., claim)| is_better(claim.work, &claim.tip, tip))
    }

    /// Counts a request; `false` where the peer has asked too much lately, or there are too many like it.
    pub fn may_ask(&mut self, id: NodeId, elapsed_us: u64) -> bool {
        let Some(peer) = self.all.get_mut(&id) else { return false };
        if MINUTE_US <= elapsed_us.saturating_sub(peer.minute_start_us) {
            (peer.minute_start_us, peer.requests) = (elapsed_us, 0);
        }
        peer.requests = peer.requests.saturating_add(1);
        peer.requests <= REQUESTS_PER_MINUTE_MAX
    }
}
