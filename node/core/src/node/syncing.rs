//! How a node fetches a better chain, and how it serves its own.

use alloc::vec::Vec;

use super::Node;
use crate::block::Block;
use crate::effect::{Effect, Notice, Now, SyncFailure};
use crate::header::Header;
use crate::message::{BlocksReply, HASHES_MAX, Message, Request, headers_max};
use crate::rules::check_block;
use crate::store::{Store, StoreError};
use crate::sync::{self, Next, PACE_US, Sync};
use crate::units::NodeId;

/// How long a peer that could not be synced with is left alone.
const BACK_OFF_US: u64 = 30_000_000;
/// How long a peer may send headers the first time, where another claims as much as they have proven so far.
const HEADERS_US: u64 = 60_000_000;
/// How often that time is doubled at most for a peer that was too slow, so up to 64 minutes: what its headers led to is
/// lost each time, and where all are slow, as our own link is, a long branch must come to its end some time.
const DOUBLINGS_MAX: u32 = 6;

impl<S: Store> Node<S> {
    /// Asks a peer for what its chain has and ours has not, unless a sync runs already.
    pub(super) fn start_sync(
        &mut self,
        now: Now,
        peer: NodeId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        if self.sync.is_some() || !self.peers.is_syncable(peer, now.elapsed_us) {
            return Ok(());
        }
        effects.push(Effect::Tell(Notice::SyncStarted(peer)));
        self.ask(now, Sync::new(peer), Next::Headers(None), effects)
    }

    /// Ends a sync that waits in vain, and starts one with a peer that claims to be ahead.
    pub(super) fn check_sync(&mut self, now: Now, effects: &mut Vec<Effect>) -> Result<(), StoreError> {
        if let Some(sync) = self.sync.take_if(|sync| sync.deadline_us <= now.elapsed_us) {
            self.sync_failed(now, sync.peer, SyncFailure::TimedOut, effects);
        }
        self.review_sync(now, effects);
        match self.peers.best(&self.tip, now.elapsed_us) {
            Some(peer) => self.start_sync(now, peer, effects),
            None => Ok(()),
        }
    }

    /// Ends a sync that comes on too slowly, where another peer claims as much as this one has proven. What it claims
    /// itself does not count, as it may claim anything.
    fn review_sync(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let is_due = |sync: &&mut Sync| sync.review_us.is_some_and(|due_us| due_us <= now.elapsed_us);
        let Some(sync) = self.sync.as_mut().filter(is_due) else { return };
        let (peer, proven) = (sync.peer, sync.proven());
        if sync.review(now.elapsed_us + PACE_US)
            && self.peers.has_other(peer, proven, &self.tip, now.elapsed_us)
        {
            self.sync = None;
            self.peers.too_slow(peer);
            self.sync_failed(now, peer, SyncFailure::TooSlow, effects);
        }
    }

    /// Takes the reply to a request for headers.
    pub(super) fn sync_headers(
        &mut self,
        now: Now,
        from: NodeId,
        nonce: u64,
        headers: &[Header],
        more: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let Some(mut sync) = self.take_sync(from, nonce, effects) else { return Ok(()) };
        match sync.headers(headers, more, &self.tip, &self.overlay(), &self.network, now.utc)? {
            Ok(next) => self.ask(now, sync, next, effects),
            Err(failure) => {
                self.sync_failed(now, from, failure, effects);
                Ok(())
            }
        }
    }

    /// Takes the reply to a request for blocks.
    pub(super) fn sync_blocks(
        &mut self,
        now: Now,
        from: NodeId,
        nonce: u64,
        blocks: Vec<Block>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let Some(mut sync) = self.take_sync(from, nonce, effects) else { return Ok(()) };
        if blocks.is_empty() {
            self.sync_failed(now, from, SyncFailure::Incoherent, effects);
            return Ok(());
        }
        for block in blocks {
            let hash = block.header.hash();
            if let Err(failure) = sync.block(&hash) {
                self.sync_failed(now, from, failure, effects);
                return Ok(());
            }
            let result = match check_block(block, &self.network) {
                Ok(block) => self.accept(now, Some(from), block, effects)?,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.sync_failed(now, from, SyncFailure::Refused(error), effects);
                return Ok(());
            }
        }
        let next = sync.wanted();
        self.ask(now, sync, next, effects)
    }

    /// Answers a request for headers.
    pub(super) fn serve_headers(
        &mut self,
        now: Now,
        request: &Request,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        if !self.may_ask(now, request.from, effects) {
            return Ok(());
        }
        let count_max = headers_max(&self.network.limits);
        let (headers, more) = sync::headers_after(&self.overlay(), &request.hashes, &self.tip, count_max)?;
        let reply = Message::Headers { from: self.options.id, nonce: request.nonce, headers, more };
        self.send(request.from, &reply, effects);
        Ok(())
    }

    /// Answers a request for blocks, up to the first that is not here or does not fit.
    pub(super) fn serve_blocks(
        &mut self,
        now: Now,
        request: &Request,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        if !self.may_ask(now, request.from, effects) {
            return Ok(());
        }
        let overlay = self.overlay();
        let mut reply = BlocksReply::new(&self.network);
        for hash in &request.hashes {
            match overlay.block(hash)? {
                Some(block) if reply.push(&block) => {}
                _ => break,
            }
        }
        let bytes = reply.encode(self.options.id, request.nonce).into();
        effects.push(Effect::Send { to: request.from, bytes, bulk: false, announcement: None });
        Ok(())
    }

    /// Whether to answer a peer, which may have asked too much lately.
    pub(super) fn may_ask(&mut self, now: Now, peer: NodeId, effects: &mut Vec<Effect>) -> bool {
        let allowed = self.peers.may_ask(peer, now.elapsed_us);
        if !allowed {
            effects.push(Effect::Tell(Notice::TooManyRequests(peer)));
        }
        allowed
    }

    /// The running sync, if the reply is the one that it waits for.
    fn take_sync(&mut self, from: NodeId, nonce: u64, effects: &mut Vec<Effect>) -> Option<Sync> {
        let sync = self.sync.take_if(|sync| sync.peer == from && sync.nonce == nonce);
        if sync.is_none() {
            effects.push(Effect::Tell(Notice::Unsolicited(from)));
        }
        sync
    }

    /// Sends a sync's next request, and waits for the reply; or ends it.
    fn ask(
        &mut self,
        now: Now,
        mut sync: Sync,
        next: Next,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let (from, nonce, peer) = (self.options.id, self.fresh_nonce(), sync.peer);
        let message = match next {
            Next::Finished => {
                self.peers.synced(peer, now.elapsed_us);
                effects.push(Effect::Tell(Notice::SyncFinished(peer)));
                return Ok(());
            }
            Next::Headers(after) => {
                let locator = sync::locator(&self.overlay(), &self.tip)?;
                let hashes = after.into_iter().chain(locator).take(HASHES_MAX).collect();
                Message::GetHeaders(Request { from, nonce, hashes })
            }
            Next::Blocks(hashes) => Message::GetBlocks(Request { from, nonce, hashes }),
        };
        sync.nonce = nonce;
        sync.deadline_us = now.elapsed_us + self.options.reply_timeout_us;
        let review_in_us = match sync.is_fetching() {
            true => PACE_US,
            false => HEADERS_US << self.peers.times_too_slow(peer).min(DOUBLINGS_MAX),
        };
        sync.review_us.get_or_insert(now.elapsed_us + review_in_us);
        self.sync = Some(sync);
        self.send(peer, &message, effects);
        Ok(())
    }

    fn sync_failed(&mut self, now: Now, peer: NodeId, reason: SyncFailure, effects: &mut Vec<Effect>) {
        // A block may be too far ahead of a clock that is a little slow: that is worth asking again soon. A chain that
        // ours has overtaken is no fault of the peer: its next status tells. One that it claims and has not is.
        let is_overtaken = reason == SyncFailure::NoBetter && !self.peers.is_ahead(peer, &self.tip);
        let until_us = if is_overtaken { 0 } else { now.elapsed_us + BACK_OFF_US };
        self.peers.back_off(peer, until_us);
        effects.push(Effect::Tell(Notice::SyncFailed { peer, reason }));
    }
}
