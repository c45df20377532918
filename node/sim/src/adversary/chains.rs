//! Chains that are mined in secret, claimed without being there, or served otherwise than asked for.

use std::sync::Arc;

use quarry_core::header::Header;
use quarry_core::message::{BlocksReply, Message, Request, headers_max};
use quarry_core::target::Work;
use quarry_core::units::Hash;

use super::{Adversary, View};
use crate::network::Mail;
use crate::options::Attack;

/// From how deep a long fork starts, at most.
const FORK_DEPTH_MAX: u64 = 12;

impl Adversary {
    /// Claims far more work than there is.
    pub(super) fn claim_much(&mut self, view: &View<'_>) -> Vec<Mail> {
        let mut work = [0; 32];
        work[usize::try_from(self.dice.between(1, 31)).expect("small")] = 1;
        let tip = self.dice.pick(&[Hash([0; 32]), view.below_tip(1).header.hash()]);
        let height = self.dice.below(1 << 40);
        let status = self.status(tip, height, Work::from_be_bytes(work), false);
        self.mail_all(view, &Message::Status(status))
    }

    /// Answers a request with something else than what was asked for.
    pub(super) fn lie(&mut self, view: &View<'_>, request: &Request, wants_headers: bool) -> Vec<Mail> {
        let headers: Vec<Header> = match self.dice.below(5) {
            0 => Vec::new(),
            1 => view.store.path.values().take(400).map(|hash| view.block(hash).header).collect(),
            2 => vec![view.below_tip(0).header; 3],
            3 => vec![view.below_tip(1).header, view.below_tip(0).header],
            _ => self.barren_branch(view),
        };
        let nonce = request.nonce.wrapping_add(u64::from(self.dice.chance(200)));
        let block = view.below_tip(self.dice.below(4));
        let message = match self.dice.below(6) {
            0 => return Vec::new(),
            1 | 2 if !wants_headers => {
                let blocks = vec![block.as_ref().clone(); usize::from(self.dice.chance(800))];
                Message::Blocks { from: self.id, nonce, blocks }
            }
            _ => Message::Headers { from: self.id, nonce, headers, more: self.dice.chance(300) },
        };
        vec![self.mail(request.from, message.encode(&self.network))]
    }

    /// Has found a block: it goes on top of its secret branch, or begins a new one.
    pub(super) fn mine_in_secret(&mut self, view: &View<'_>) -> Vec<Mail> {
        let depth = match self.attack {
            Attack::LongFork => self.dice.below(FORK_DEPTH_MAX),
            _ => 0,
        };
        let parent = match self.secret.last() {
            Some(last) => last.header,
            None => view.below_tip(depth).header,
        };
        let mut block = self.child(&parent, Vec::new());
        block.header.timestamp = view.now.max(parent.timestamp.saturating_add(1));
        let block = self.sealed(view, block);
        self.secret.push(Arc::new(block));
        self.consider_release(view)
    }

    /// Releases its branch if that pays, and gives it up if it never will.
    pub(super) fn consider_release(&mut self, view: &View<'_>) -> Vec<Mail> {
        let Some(last) = self.secret.last() else { return Vec::new() };
        let (ours, theirs) = (last.header.index.0, view.below_tip(0).header.index.0);
        if ours + 3 * FORK_DEPTH_MAX < theirs {
            self.secret.clear();
            return Vec::new();
        }
        let pays = match self.attack {
            // At the last moment at which they still fall for it, or when it has become long.
            Attack::Selfish => ours <= theirs + 1 && theirs <= ours,
            _ => theirs < ours && self.dice.chance(300),
        };
        if !pays { Vec::new() } else { self.release(view) }
    }

    /// Answers a request for headers with its own chain.
    pub(super) fn serve_headers(&mut self, view: &View<'_>, request: &Request) -> Vec<Mail> {
        let mut headers = Vec::new();
        let mut next = self.claimed;
        // From the end back to what the asker knows.
        while let Some(hash) = next {
            if request.hashes.contains(&hash) || headers.len() == headers_max(&self.network.limits) {
                break;
            }
            let block = self.released.get(&hash).or_else(|| view.store.blocks.get(&hash));
            headers.extend(block.map(|block| block.header));
            next = block.map(|block| block.header.prev_hash);
        }
        headers.reverse();
        let reply = Message::Headers { from: self.id, nonce: request.nonce, headers, more: false };
        vec![self.mail(request.from, reply.encode(&self.network))]
    }

    /// Answers a request for blocks.
    pub(super) fn serve_blocks(&mut self, request: &Request) -> Vec<Mail> {
        let mut reply = BlocksReply::new(&self.network);
        for block in request.hashes.iter().map_while(|hash| self.released.get(hash)) {
            if !reply.push(block) {
                break;
            }
        }
        vec![self.mail(request.from, reply.encode(self.id, request.nonce))]
    }

    /// Claims the honest chain.
    pub(super) fn claim_the_tip(&mut self, view: &View<'_>) -> Vec<Mail> {
        let header = view.below_tip(0).header;
        let work = view.store.records[&header.hash()].work;
        let status = self.status(header.hash(), header.index.0, work, false);
        self.mail_all(view, &Message::Status(status))
    }

    /// Answers a request for headers with those of the honest chain.
    pub(super) fn serve_all_headers(&mut self, view: &View<'_>, request: &Request) -> Vec<Mail> {
        let path = &view.store.path;
        let on_path = |hash: &Hash| path.iter().rfind(|(_, it)| *it == hash).map(|(height, _)| *height);
        let fork = request.hashes.iter().find_map(on_path).unwrap_or_default();
        let mut rest = path.range(fork.next()..).map(|(_, hash)| view.block(hash).header);
        let headers = rest.by_ref().take(headers_max(&self.network.limits)).collect();
        let more = rest.next().is_some();
        let reply = Message::Headers { from: self.id, nonce: request.nonce, headers, more };
        vec![self.mail(request.from, reply.encode(&self.network))]
    }

    /// Answers a request for blocks with the first.
    pub(super) fn serve_one_block(&mut self, view: &View<'_>, request: &Request) -> Vec<Mail> {
        let Some(block) = request.hashes.first().and_then(|hash| view.store.blocks.get(hash)) else {
            return Vec::new();
        };
        let reply =
            Message::Blocks { from: self.id, nonce: request.nonce, blocks: vec![block.as_ref().clone()] };
        vec![self.mail(request.from, reply.encode(&self.network))]
    }

    fn release(&mut self, view: &View<'_>) -> Vec<Mail> {
        let secret = std::mem::take(&mut self.secret);
        let Some(last) = secret.last().cloned() else { return Vec::new() };
        let hash = last.header.hash();
        self.released.extend(secret.iter().map(|block| (block.header.hash(), Arc::clone(block))));
        self.claimed = Some(hash);
        // What it claims is so, or 0 where it asks a node that does not know the fork.
        let before = view.store.records.get(&secret[0].header.prev_hash).map(|record| record.work);
        let own = secret.iter().map(|block| block.header.bits.target().expect("they were met").work());
        let work = before.map_or(Work::default(), |before| own.fold(before, |sum, it| sum + it));
        let status = self.status(hash, last.header.index.0, work, false);
        let mut mails = self.mail_all(view, &Message::Status(status));
        if self.dice.chance(500) {
            for block in secret {
                mails.extend(self.mail_all(view, &Message::Block(block)));
            }
        }
        mails
    }

    /// Good headers on top of the tip whose blocks there never will be.
    fn barren_branch(&mut self, view: &View<'_>) -> Vec<Header> {
        let mut parent = view.below_tip(0).header;
        let mut headers = Vec::new();
        for _ in 0..self.dice.between(1, 5) {
            let child = self.child(&parent, Vec::new());
            parent = self.sealed(view, child).header;
            headers.push(parent);
        }
        headers
    }
}
