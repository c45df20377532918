//! To whom a node sends what everybody is to hear.
//!
//! Where there are few peers, whoever has news tells all of them: everybody hears it at once, and once. What that costs
//! grows with the square of their number, as all have something to say. So where more than
//! [`Options::mesh_max`](super::Options::mesh_max) listen, a node tells as many as the logarithm of their number, drawn
//! afresh each time, and each of these does the same when it hears it first. Of n nodes some n^-0.44 hear nothing of a
//! message; what they miss of the chain they learn from the statuses that each node exchanges with two others in turn.
//! Invariant: with more peers than that no news is sent to more than [`fan_out`] others.

use alloc::vec::Vec;

use rand_chacha::rand_core::Rng;

use super::Node;
use crate::effect::{Effect, Now};
use crate::message::Message;
use crate::store::{Store, StoreError};
use crate::units::{Hash, NodeId};

/// Up to how many peers a node tells all of them itself.
pub const MESH_MAX: usize = 16;
/// How many peers a node exchanges statuses with at a time where it does not tell all.
pub const EXCHANGES: usize = 2;
/// How old a block may be by its timestamp to be news: a node that has been away finds older ones in its inbox.
const NEWS_AGE_MAX_US: u64 = 300_000_000;

impl<S: Store> Node<S> {
    /// Whether so few peers listen that each is told by whoever has news. The queues of nodes long gone do not count, or
    /// the few that are left would tell each other too little.
    pub(super) fn is_mesh(&self) -> bool {
        self.peers.listed() <= self.options.mesh_max
    }

    /// The peers to send news to: all that listen, or some of them.
    pub(super) fn audience(&mut self) -> Vec<NodeId> {
        let listening = self.peers.listening();
        if self.is_mesh() {
            return listening;
        }
        let count = fan_out(listening.len());
        self.draw(listening, count)
    }

    /// So many of a list at random.
    pub(super) fn draw(&mut self, mut list: Vec<NodeId>, count: usize) -> Vec<NodeId> {
        for place in 0..count.min(list.len()) {
            let rest = u64::try_from(list.len() - place).expect("a list's length fits 64 bits");
            let drawn = usize::try_from(self.draws.next_u64() % rest).expect("an index of the list");
            list.swap(place, place + drawn);
        }
        list.truncate(count);
        list
    }

    /// Sends the tip on if a peer's message has just moved it, where its finder has not told everybody.
    pub(super) fn pass_on(
        &mut self,
        now: Now,
        before: &Hash,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let is_news = now.utc <= self.tip.header.timestamp.saturating_add(NEWS_AGE_MAX_US);
        if self.tip.hash == *before || !is_news || self.is_mesh() {
            return Ok(());
        }
        let Some(block) = self.overlay().block(&self.tip.hash)? else { return Ok(()) };
        let audience = self.audience();
        self.send_all(audience, &Message::Block(block), None, effects);
        Ok(())
    }
}

/// How many peers of so many a node tells.
pub fn fan_out(peers: usize) -> usize {
    peers.checked_ilog2().map_or(0, |log| usize::try_from(log).expect("at most 64").max(1))
}
