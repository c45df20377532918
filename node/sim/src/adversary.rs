//! Hostile nodes: they keep no rule, see the disk of an honest node whenever they act, and mine as fast as they like.
//! Invariant: what one does follows from its dice and what it sees.

mod chains;
mod forge;
mod payments;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::memory::MemoryStore;
use quarry_core::message::{HASHES_MAX, Message, Request, Status};
use quarry_core::network::Network;
use quarry_core::target::Work;
use quarry_core::units::{Hash, Height, NodeId, Timestamp};

use crate::dice::Dice;
use crate::network::Mail;
use crate::options::Attack;

/// How many of the messages it heard a hostile node keeps.
const HEARD_MAX: usize = 32;

/// A hostile node.
pub struct Adversary {
    id: NodeId,
    attack: Attack,
    dice: Dice,
    network: Arc<Network>,
    heard: VecDeque<Arc<[u8]>>,
    /// The branch that it mines in secret, from the block after the fork on.
    secret: Vec<Arc<Block>>,
    /// The headers that it has searched nonces for, where later ones depend on them.
    sealed: BTreeMap<Hash, Header>,
    /// Its blocks that others may know of.
    released: BTreeMap<Hash, Arc<Block>>,
    /// The tip that it claims.
    claimed: Option<Hash>,
    /// Fresh accounts that it has paid, by number of their keys.
    fresh: u8,
    nonces: u64,
}

/// What a hostile node sees when it acts.
pub struct View<'a> {
    /// The disk of an honest node.
    pub store: &'a MemoryStore,
    /// The true time.
    pub now: Timestamp,
    /// How far ahead of a clock a block may be.
    pub ahead_max_us: u64,
    /// How many honest nodes there are; their numbers come first.
    pub nodes: u16,
}

impl View<'_> {
    fn block(&self, hash: &Hash) -> &Arc<Block> {
        &self.store.blocks[hash]
    }

    /// The block so many blocks below the tip, or the first.
    fn below_tip(&self, depth: u64) -> &Arc<Block> {
        let (height, tip) = self.store.path.last_key_value().expect("a disk holds the first block at least");
        let hash = self.store.path.get(&Height(height.0.saturating_sub(depth)));
        self.block(hash.unwrap_or(tip))
    }
}

impl Adversary {
    /// A hostile node that does one thing.
    pub fn new(seed: u64, id: NodeId, attack: Attack, network: &Arc<Network>) -> Self {
        Self {
            id,
            attack,
            dice: Dice::new(seed, 100 + u64::from(id.0)),
            network: Arc::clone(network),
            heard: VecDeque::new(),
            secret: Vec::new(),
            sealed: BTreeMap::new(),
            released: BTreeMap::new(),
            claimed: None,
            fresh: 0,
            nonces: 0,
        }
    }

    /// Does something.
    pub fn act(&mut self, view: &View<'_>) -> Vec<Mail> {
        match self.attack {
            Attack::Blocks => self.bad_blocks(view),
            Attack::Timestamps => self.bad_times(view),
            Attack::Transactions => self.bad_payments(view),
            Attack::Garbage => self.garbage(view),
            Attack::Orphans => self.orphans(view),
            Attack::Requests => self.requests(view),
            Attack::Lies => self.claim_much(view),
            Attack::LongFork | Attack::Selfish => self.consider_release(view),
            Attack::Spam => self.spam(view),
            Attack::Slow => self.claim_the_tip(view),
        }
    }

    /// Has found a block.
    pub fn find(&mut self, view: &View<'_>) -> Vec<Mail> {
        match self.attack {
            Attack::LongFork | Attack::Selfish => self.mine_in_secret(view),
            _ => Vec::new(),
        }
    }

    /// Takes a message, and may answer.
    pub fn hear(&mut self, view: &View<'_>, mail: &Mail) -> Vec<Mail> {
        if HEARD_MAX <= self.heard.len() {
            self.heard.pop_front();
        }
        self.heard.push_back(Arc::clone(&mail.bytes));
        // Nearly all messages are of no use here, and none need be read to know that.
        if !matches!(self.attack, Attack::Lies | Attack::LongFork | Attack::Selfish | Attack::Slow) {
            return Vec::new();
        }
        match (self.attack, Message::decode(&mail.bytes, &self.network)) {
            (Attack::Lies, Ok(Message::GetHeaders(request))) => self.lie(view, &request, true),
            (Attack::Lies, Ok(Message::GetBlocks(request))) => self.lie(view, &request, false),
            (Attack::Slow, Ok(Message::GetHeaders(request))) => self.serve_all_headers(view, &request),
            (Attack::Slow, Ok(Message::GetBlocks(request))) => self.serve_one_block(view, &request),
            (_, Ok(Message::GetHeaders(request))) => self.serve_headers(view, &request),
            (_, Ok(Message::GetBlocks(request))) => self.serve_blocks(&request),
            _ => Vec::new(),
        }
    }

    /// Whether it takes its time, and goes on when the faults have ended.
    pub fn is_slow(&self) -> bool {
        self.attack == Attack::Slow
    }

    fn garbage(&mut self, view: &View<'_>) -> Vec<Mail> {
        let mut bytes = match self.heard.len() as u64 {
            0 => b"{\"quarry\":1,\"network\":\"".to_vec(),
            count => self.heard[usize::try_from(self.dice.below(count)).expect("an index")].to_vec(),
        };
        let len = bytes.len() as u64;
        let at = |position: u64| usize::try_from(position).expect("an index");
        match self.dice.below(7) {
            0 => bytes = (0..self.dice.below(300)).map(|_| self.dice.number().to_le_bytes()[0]).collect(),
            1 => bytes = vec![b'['; usize::try_from(self.network.limits.message_bytes).expect("small")],
            2 => bytes.resize(usize::try_from(self.network.limits.message_bytes + 1).expect("small"), b' '),
            3 => bytes.truncate(at(self.dice.below(len + 1))),
            4 => {
                let position = at(self.dice.below(len));
                bytes[position] ^= 1 << self.dice.below(8);
            }
            5 => {
                let text = String::from_utf8_lossy(&bytes).replace(':', ":-1e999,\"x\":");
                bytes = text.into_bytes();
            }
            // As it was heard: out of place, from the wrong node, once more.
            _ => {}
        }
        self.mail_some(view, &bytes)
    }

    fn requests(&mut self, view: &View<'_>) -> Vec<Mail> {
        let count = self.dice.pick(&[1, 20, 100]);
        let mut mails = Vec::new();
        for _ in 0..count {
            let hashes = match self.dice.below(3) {
                0 => Vec::new(),
                1 => (0..HASHES_MAX).map(|_| Hash([self.dice.number().to_le_bytes()[0]; 32])).collect(),
                _ => view.store.path.values().take(HASHES_MAX).copied().collect(),
            };
            let request = Request { from: self.id, nonce: self.nonce(), hashes };
            let message = match self.dice.below(3) {
                0 => Message::GetHeaders(request),
                1 => Message::GetBlocks(request),
                _ => Message::Status(self.status(view.below_tip(0).header.hash(), 0, Work::default(), true)),
            };
            let (to, bytes) = (self.one(view), message.encode(&self.network));
            mails.push(self.mail(to, bytes));
        }
        mails
    }

    fn status(&mut self, tip: Hash, height: u64, work: Work, reply_wanted: bool) -> Status {
        Status {
            from: self.id,
            nonce: self.nonce(),
            tip,
            height: Height(height),
            work,
            reply_wanted,
            reply_to: None,
        }
    }

    fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    fn one(&mut self, view: &View<'_>) -> NodeId {
        NodeId(u16::try_from(self.dice.below(u64::from(view.nodes))).expect("few nodes"))
    }

    fn mail(&self, to: NodeId, bytes: Vec<u8>) -> Mail {
        Mail { from: Some(self.id), to, bytes: bytes.into(), bulk: false }
    }

    /// The same bytes to about half of the honest nodes.
    fn mail_some(&mut self, view: &View<'_>, bytes: &[u8]) -> Vec<Mail> {
        let from = Some(self.id);
        let bytes: Arc<[u8]> = bytes.into();
        let told: Vec<_> = (0..view.nodes).filter(|_| self.dice.chance(500)).collect();
        let mail = |to| Mail { from, to: NodeId(to), bytes: Arc::clone(&bytes), bulk: false };
        told.into_iter().map(mail).collect()
    }

    /// The same bytes to all honest nodes.
    fn mail_all(&self, view: &View<'_>, message: &Message) -> Vec<Mail> {
        let bytes: Arc<[u8]> = message.encode(&self.network).into();
        let mail = |to| Mail { from: Some(self.id), to: NodeId(to), bytes: Arc::clone(&bytes), bulk: false };
        (0..view.nodes).map(mail).collect()
    }
}
