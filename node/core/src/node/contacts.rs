//! Who a node talks to: it tells its peers where it stands, notes who does not answer, and stops feeding those.
//!
//! A queue whose reader is gone fills up for as long as it keeps messages, and each of them costs. So a silent peer is
//! first asked for a reply and then parked. Both sides of a cut park each other and both go on asking from time to
//! time, so that either's question ends it for both.

use alloc::vec::Vec;

use super::{EXCHANGES, Node, fan_out};
use crate::effect::{Effect, Notice, Now};
use crate::message::{Message, Status};
use crate::peers::{Due, PROBE_INTERVAL_US};
use crate::store::{Store, StoreError};
use crate::transaction::Transaction;
use crate::units::NodeId;

/// The most messages with transactions that a peer gets when it listens again; [`Node`] repeats the rest in time.
const RETURN_MESSAGES_MAX: usize = 4;

impl<S: Store> Node<S> {
    /// Takes over the transport's list of nodes.
    pub(super) fn members(
        &mut self,
        now: Now,
        members: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let others: Vec<_> = members.iter().copied().filter(|id| *id != self.options.id).collect();
        let (joined, gone) = self.peers.update(&others, now.elapsed_us);
        effects.extend(gone.into_iter().map(|id| Effect::Tell(Notice::PeerLeft(id))));
        effects.extend(joined.iter().map(|id| Effect::Tell(Notice::PeerJoined(*id))));
        for id in self.newcomers_to_ask(joined) {
            self.ask_status(now, &[id], effects);
        }
        if core::mem::take(&mut self.reannounce) {
            let outbox: Vec<_> = self.outbox.iter().map(|(number, hash)| (*number, *hash)).collect();
            for (number, hash) in outbox {
                self.announce(number, &hash, effects)?;
            }
        }
        Ok(())
    }

    /// Which of the nodes that are new here to ask where they stand. Of many, those who come to a network ask some; those
    /// who were there wait for their turn, or each that comes would be asked by all.
    fn newcomers_to_ask(&mut self, joined: Vec<NodeId>) -> Vec<NodeId> {
        if self.is_mesh() {
            joined
        } else if joined.len() == self.peers.listed() {
            let count = fan_out(joined.len());
            self.draw(joined, count)
        } else {
            Vec::new()
        }
    }

    /// Notes that a peer has sent a message, before that is looked at. One that was parked learns where this node
    /// stands, and fetches what it has missed of the chain.
    pub(super) fn heard(
        &mut self,
        now: Now,
        peer: NodeId,
        message: &Message,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        if !self.peers.heard(peer, now.elapsed_us) {
            return Ok(());
        }
        effects.push(Effect::Tell(Notice::PeerBack(peer)));
        let gets_reply = matches!(message, Message::Status(status) if status.reply_wanted);
        if !gets_reply && self.may_ask(now, peer, effects) {
            let status = self.status(false, None);
            self.send(peer, &status, effects);
        }
        self.feed_returned(now, effects);
        Ok(())
    }

    /// Takes a peer's status.
    pub(super) fn take_status(&mut self, now: Now, status: &Status, effects: &mut Vec<Effect>) {
        self.peers.claimed(status);
        if let Some(nonce) = status.reply_to {
            self.peers.answered(status.from, nonce, now.elapsed_us, self.options.reply_timeout_us);
        }
        if status.reply_wanted && self.may_ask(now, status.from, effects) {
            let reply = self.status(false, Some(status.nonce));
            self.send(status.from, &reply, effects);
        }
    }

    /// Notes that a peer stops.
    pub(super) fn take_bye(&mut self, now: Now, peer: NodeId, effects: &mut Vec<Effect>) {
        if self.peers.stopped(peer, now.elapsed_us) {
            effects.push(Effect::Tell(Notice::PeerStopped(peer)));
        }
    }

    /// How long to wait for the next status if the tip does not move.
    pub(super) fn next_status_wait(&self) -> u64 {
        let (least_us, most_us) = (self.options.status_interval_us, self.options.status_interval_max_us);
        self.status_wait_us.saturating_mul(2).min(most_us).max(least_us)
    }

    /// Brings the next status forward, as the tip has moved.
    pub(super) fn hasten_status(&mut self, now: Now) {
        self.status_wait_us = self.options.status_interval_us;
        self.status_due_us = self.status_due_us.min(now.elapsed_us + self.status_wait_us);
    }

    /// Tells the peers where this node stands, and parks those that have been silent for too long.
    pub(super) fn status_round(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let (mut told, mut asked) = (Vec::new(), Vec::new());
        let round = match self.is_mesh() {
            true => self.peers.round(now.elapsed_us),
            false => self.peers.exchanges(now.elapsed_us, EXCHANGES),
        };
        for (id, due) in round {
            match due {
                Due::Tell => told.push(id),
                Due::Ask => asked.push(id),
                Due::Park => effects.push(Effect::Tell(Notice::PeerSilent(id))),
            }
        }
        if !told.is_empty() {
            let status = self.status(false, None);
            self.send_all(told, &status, None, effects);
        }
        self.ask_status(now, &asked, effects);
        self.feed_returned(now, effects);
    }

    /// Sends the transactions that wait to the peers that were parked when others got them.
    fn feed_returned(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let hungry = self.peers.hungry(now.elapsed_us, PROBE_INTERVAL_US);
        if hungry.is_empty() || self.mempool.is_empty() {
            return;
        }
        let count = self.transactions_max();
        let oldest: Vec<Transaction> =
            self.mempool.iter().take(RETURN_MESSAGES_MAX * count).map(|it| Transaction::clone(it)).collect();
        for batch in oldest.chunks(count) {
            self.send_all(hungry.clone(), &Message::Transactions(batch.to_vec()), None, effects);
        }
    }

    fn ask_status(&mut self, now: Now, peers: &[NodeId], effects: &mut Vec<Effect>) {
        if peers.is_empty() {
            return;
        }
        let status = self.status(true, None);
        for peer in peers {
            self.peers.asked(*peer, self.last_nonce(), now.elapsed_us, self.options.reply_timeout_us);
        }
        self.send_all(peers.to_vec(), &status, None, effects);
    }

    fn status(&mut self, reply_wanted: bool, reply_to: Option<u64>) -> Message {
        Message::Status(Status {
            from: self.options.id,
            nonce: self.fresh_nonce(),
            tip: self.tip.hash,
            height: self.tip.header.index,
            work: self.tip.work,
            reply_wanted,
            reply_to,
        })
    }
}
