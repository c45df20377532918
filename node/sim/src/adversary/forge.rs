//! Blocks that break a rule and else are good, proof of work included.

use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::message::Message;
use quarry_core::target::Bits;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Hash, NodeId, Timestamp};

use super::{Adversary, View};
use crate::difficulty;
use crate::network::Mail;
use crate::options::SECOND_US;

/// What is wrong with a block before the search for its nonce.
const FLAWS: u64 = 7;

impl Adversary {
    /// A block that breaks a rule, or a branch that begins with one.
    pub(super) fn bad_blocks(&mut self, view: &View<'_>) -> Vec<Mail> {
        let parent = view.below_tip(self.dice.below(3)).header;
        let mut bad = self.child(&parent, Vec::new());
        let pick = self.dice.below(FLAWS + 1 + Self::BAD_PAYMENTS);
        match pick {
            0 => bad.header.version = 2,
            2 => bad.header.index = parent.index,
            3 => bad.header.index = bad.header.index.next(),
            4 => bad.transactions = self.too_many(view),
            5 => bad.header.timestamp = parent.timestamp,
            // Bits, root and nonce come last.
            1 | 6 | FLAWS => {}
            _ => bad.transactions = self.bad_list(view, pick - FLAWS - 1),
        }
        bad.header.bits = self.right_bits(view, &bad.header);
        bad.header.tx_root = bad.tx_root();
        match pick {
            1 => bad.header.bits = Bits(self.dice.pick(&[0x2020_0000, 0x2008_0000, 0x1f10_0000])),
            6 => bad.header.tx_root = Hash([7; 32]),
            _ => {}
        }
        bad.header = self.search(bad.header, pick != FLAWS);
        let mut blocks = vec![bad];
        // Blocks on top of it make an attempt to switch to it worth while.
        for _ in 0..self.dice.pick(&[0, 0, 2, 4]) {
            let header = blocks[blocks.len() - 1].header;
            let next = self.child(&header, Vec::new());
            blocks.push(self.sealed(view, next));
        }
        self.push_all(view, blocks)
    }

    /// A block with a timestamp at or past a limit.
    pub(super) fn bad_times(&mut self, view: &View<'_>) -> Vec<Mail> {
        let parent = view.below_tip(self.dice.below(2)).header;
        let mut block = self.child(&parent, Vec::new());
        let limit = view.now.saturating_add(view.ahead_max_us);
        block.header.timestamp = match self.dice.below(7) {
            0 => parent.timestamp,
            1 => parent.timestamp.saturating_sub(1),
            2 => parent.timestamp.saturating_add(1),
            3 => limit,
            4 => limit.saturating_add(SECOND_US),
            5 => limit.saturating_add(3600 * SECOND_US),
            _ => Timestamp::MAX,
        };
        let block = self.sealed(view, block);
        self.push_all(view, vec![block])
    }

    /// Many blocks whose parents nobody knows.
    pub(super) fn orphans(&mut self, view: &View<'_>) -> Vec<Mail> {
        let count = self.dice.pick(&[1, 1, 1, 3, 3, 3, 10, 10, 120]);
        let mut mails = Vec::new();
        for _ in 0..count {
            let mut header = view.below_tip(0).header;
            header.prev_hash = Hash::of(&[&self.dice.number().to_be_bytes()]);
            let mut orphan = Block { header, extra_nonce: 0, transactions: Vec::new() };
            orphan.header.tx_root = orphan.tx_root();
            orphan.header = self.search(orphan.header, true);
            mails.extend(self.push_all(view, vec![orphan]));
        }
        mails
    }

    /// A good block on top of another, not sealed yet.
    pub(super) fn child(&mut self, parent: &Header, transactions: Vec<Transaction>) -> Block {
        let header = Header {
            prev_hash: parent.hash(),
            tx_root: Hash::default(),
            version: Header::VERSION,
            bits: self.network.bits,
            index: parent.index.next(),
            timestamp: parent.timestamp.saturating_add(1 + self.dice.below(SECOND_US)),
            miner: AccountId::open("mallory"),
            nonce: 0,
        };
        Block { header, extra_nonce: self.dice.number(), transactions }
    }

    fn push_all(&mut self, view: &View<'_>, blocks: Vec<Block>) -> Vec<Mail> {
        let told: Vec<_> = (0..view.nodes).filter(|_| self.dice.chance(600)).collect();
        let mut mails = Vec::new();
        for block in blocks {
            let bytes = Message::Block(Arc::new(block)).encode(&self.network);
            let bytes: Arc<[u8]> = bytes.into();
            let mail =
                |to| Mail { from: Some(self.id), to: NodeId(to), bytes: Arc::clone(&bytes), bulk: false };
            mails.extend(told.iter().copied().map(mail));
        }
        mails
    }

    /// The block with its bits, its root and proof of work.
    pub(super) fn sealed(&mut self, view: &View<'_>, mut block: Block) -> Block {
        block.header.bits = self.right_bits(view, &block.header);
        block.header.tx_root = block.tx_root();
        block.header = self.search(block.header, true);
        block
    }

    /// The bits that a header must have, or any where that cannot be known.
    fn right_bits(&self, view: &View<'_>, header: &Header) -> Bits {
        let stored = |hash: &Hash| Some(view.store.records.get(hash)?.header);
        let ancestor = |hash: &Hash| self.sealed.get(hash).copied().or_else(|| stored(hash));
        difficulty::next_bits(&self.network, header, ancestor).map_or(self.network.bits, Bits)
    }

    /// The header with the first nonce whose hash is below the target, or is not.
    fn search(&mut self, mut header: Header, wants_hit: bool) -> Header {
        let target = header.bits.target().expect("these bits have a target");
        let is_hit = |nonce: &u64| target.is_met_by(&Header { nonce: *nonce, ..header }.hash()) == wants_hit;
        header.nonce = (0..).find(is_hit).expect("some nonce does");
        if self.network.block_time_us != 0 {
            self.sealed.insert(header.hash(), header);
        }
        header
    }
}
