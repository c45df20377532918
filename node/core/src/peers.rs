//! The other nodes: who is there, where each stands, and how much each may ask.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::chain::{Tip, is_better};
use crate::message::Status;
use crate::target::Work;
use crate::units::{Hash, Height, NodeId};

/// The most requests of one peer that are answered in a minute.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 6000;
const MINUTE_US: u64 = 60_000_000;

/// The other nodes.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<NodeId, Peer>);

/// Another node.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Its tip by its last status; `None` before the first.
    pub claim: Option<Claim>,
    /// When it was last heard of, by [`crate::effect::Now::elapsed_us`].
    pub heard_us: Option<u64>,
    /// Whether it has said that it stops.
    pub stopped: bool,
    /// Whether the transport has said that it is there; its messages may come first.
    is_listed: bool,
    sync_after_us: u64,
    minute_start_us: u64,
    requests: u32,
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

impl Peers {
    /// All of them by number.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.0.iter().map(|(id, peer)| (*id, peer))
    }

    /// Their numbers.
    pub fn ids(&self) -> Vec<NodeId> {
        self.0.keys().copied().collect()
    }

    /// Takes over the transport's list; answers who is new and who has gone.
    pub fn update(&mut self, members: &[NodeId]) -> (Vec<NodeId>, Vec<NodeId>) {
        let mut gone = Vec::new();
        self.0.retain(|id, peer| {
            let is_there = members.contains(id);
            if !is_there && peer.is_listed {
                gone.push(*id);
            }
            is_there
        });
        let mut joined = Vec::new();
        for id in members {
            let peer = self.0.entry(*id).or_default();
            if !core::mem::replace(&mut peer.is_listed, true) {
                joined.push(*id);
            }
        }
        (joined, gone)
    }

    /// Notes that a peer has been heard of.
    pub fn heard(&mut self, id: NodeId, elapsed_us: u64) {
        let peer = self.0.entry(id).or_default();
        peer.heard_us = Some(elapsed_us);
        peer.stopped = false;
    }

    /// Notes where a peer says that it stands.
    pub fn claimed(&mut self, status: &Status) {
        let claim = Claim { tip: status.tip, height: status.height, work: status.work };
        self.0.entry(status.from).or_default().claim = Some(claim);
    }

    /// Notes that a peer has said that it stops.
    pub fn stopped(&mut self, id: NodeId) {
        if let Some(peer) = self.0.get_mut(&id) {
            peer.stopped = true;
        }
    }

    /// Forgets the peer's claim and leaves it alone until `until_us`.
    pub fn back_off(&mut self, id: NodeId, until_us: u64) {
        if let Some(peer) = self.0.get_mut(&id) {
            peer.claim = None;
            peer.sync_after_us = until_us;
        }
    }

    /// Whether the peer may be asked for its chain.
    pub fn is_syncable(&self, id: NodeId, elapsed_us: u64) -> bool {
        self.0.get(&id).is_none_or(|peer| peer.sync_after_us <= elapsed_us)
    }

    /// Whether the peer claims a better chain than that of `tip`.
    pub fn is_ahead(&self, id: NodeId, tip: &Tip) -> bool {
        let claim = self.0.get(&id).and_then(|peer| peer.claim);
        claim.is_some_and(|claim| is_better(claim.work, &claim.tip, tip))
    }

    /// The peer to fetch a better chain than that of `tip` from: of those that claim one and are not left alone, the
    /// one whose last failure is longest ago, so that peers whose claims come to nothing cannot keep out the others;
    /// of equals the one that claims most.
    pub fn best(&self, tip: &Tip, elapsed_us: u64) -> Option<NodeId> {
        let candidates = self.0.iter().filter(|(_, peer)| !peer.stopped && peer.sync_after_us <= elapsed_us);
        let claims = candidates.filter_map(|(id, peer)| Some((peer.claim?, peer.sync_after_us, *id)));
        let better = claims.filter(|(claim, ..)| is_better(claim.work, &claim.tip, tip));
        let preferred = better.max_by_key(|(claim, failed_us, _)| (Reverse(*failed_us), claim.work));
        preferred.map(|(.., id)| id)
    }

    /// Counts a request; `false` where the peer has asked too much lately.
    pub fn may_ask(&mut self, id: NodeId, elapsed_us: u64) -> bool {
        let peer = self.0.entry(id).or_default();
        if MINUTE_US <= elapsed_us.saturating_sub(peer.minute_start_us) {
            (peer.minute_start_us, peer.requests) = (elapsed_us, 0);
        }
        peer.requests = peer.requests.saturating_add(1);
        peer.requests <= REQUESTS_PER_MINUTE_MAX
    }
}
