//! Chains of blocks, mined at the lowest difficulty and unknown to whoever is to take them.

use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::effect::{Effect, Event, Now};
use quarry_core::header::Header;
use quarry_core::message::Message;
use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::node::{MESH_MAX, Node, Options};
use quarry_core::store::{Changes, Store};
use quarry_core::transaction::{Payment, Transaction, public_key};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId};

const BLOCK_TIME_US: u64 = 1_000_000;
const MINER: AccountId = AccountId([1; 20]);

/// Who sends the transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// Accounts that sign.
    Keyed,
    /// Accounts that need not.
    Open,
}

/// Makes block after block, each full of transactions from all accounts in turn.
pub struct Chain {
    network: Arc<Network>,
    senders: Senders,
    parent: Header,
    transactions: u64,
}

impl Chain {
    /// A chain on a network of its own, with so many accounts.
    pub fn new(senders: Senders, accounts: u64) -> Self {
        let network =
            Arc::new(Network::new(&Self::file(senders, accounts)).expect("the file keeps every rule"));
        let parent = network.genesis;
        Self { network, senders, parent, transactions: 0 }
    }

    /// The network's file.
    pub fn file(senders: Senders, accounts: u64) -> NetworkFile {
        let entry = |number: u64| {
            let (name, balance) = (format!("account{number}"), Amount(1_000_000));
            match senders {
                Senders::Keyed => AccountEntry::keyed(&name, balance, &public_key(&secret_key(number))),
                Senders::Open => AccountEntry::open(&name, balance),
            }
        };
        NetworkFile {
            difficulty: Difficulty::Zeros(1),
            limits: Limits { block_transactions: 5000, message_bytes: 4 << 20, ..Limits::default() },
            accounts: (0..accounts).map(entry).collect(),
            ..NetworkFile::demo()
        }
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The next block, with so many transactions.
    pub fn block(&mut self, transaction_count: usize) -> Block {
        let header = Header {
            prev_hash: self.parent.hash(),
            tx_root: Hash::default(),
            index: self.parent.index.next(),
            timestamp: self.parent.timestamp.saturating_add(BLOCK_TIME_US),
            miner: MINER,
            nonce: 0,
            ..self.parent
        };
        let transactions = (0..transaction_count).map(|_| self.transaction(&header)).collect();
        let mut block = Block { header, extra_nonce: 0, transactions };
        block.header.tx_root = block.tx_root();
        let target = header.bits.target().expect("a network's bits have a target");
        while !target.is_met_by(&block.header.hash()) {
            block.header.nonce += 1;
        }
        self.parent = block.header;
        block
    }

    /// The next block as the message that brings it.
    pub fn message(&mut self, transaction_count: usize) -> Vec<u8> {
        let block = self.block(transaction_count);
        Message::Block(Arc::new(block)).encode(&self.network)
    }

    /// How many blocks there are above the first.
    pub fn height(&self) -> Height {
        self.parent.index
    }

    /// A node of this network that has only what the store has.
    pub fn node<S: Store>(&self, store: S) -> Node<S> {
        let options = Options {
            id: NodeId(0),
            miner: MINER,
            mine: false,
            mine_empty: false,
            seed: 0,
            status_interval_us: 1_000_000,
            status_interval_max_us: 1_000_000,
            relay_window_us: 1_000_000,
            reply_timeout_us: 1_000_000,
            mesh_max: MESH_MAX,
        };
        Node::open(Arc::clone(&self.network), options, store, self.now()).expect("the store can be read")
    }

    /// Hands a message to a node; what is to be made durable is left pending.
    pub fn deliver<S: Store>(&self, node: &mut Node<S>, message: Vec<u8>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let event = Event::Message { from: None, bytes: message };
        node.step(self.now(), event, &mut effects).expect("the store can be read");
        effects
    }

    /// Hands messages to a node, each with a commit of its own, and checks that the node has followed the chain.
    pub fn import<S: Store>(
        &self,
        node: &mut Node<S>,
        messages: Vec<Vec<u8>>,
        apply: impl Fn(&mut S, Changes),
    ) {
        for message in messages {
            self.deliver(node, message);
            let changes = node.take_changes();
            apply(node.store_mut(), changes);
        }
        assert_eq!(node.tip().hash, self.parent.hash(), "every block is valid");
    }

    /// After all blocks.
    fn now(&self) -> Now {
        Now { utc: self.parent.timestamp, elapsed_us: 0 }
    }

    fn transaction(&mut self, header: &Header) -> Transaction {
        let number = self.transactions;
        self.transactions += 1;
        let accounts = &self.network.accounts;
        let count = accounts.len() as u64;
        let (from, step) = (number % count, 1 + number / count % (count - 1));
        let id = |number: u64| accounts[usize::try_from(number).expect("few")].id;
        let payment = Payment {
            from: id(from),
            to: id((from + step) % count),
            amount: Amount(1 + number % 100),
            // Each differs from the others of the block, and is within the window.
            timestamp: header.timestamp.saturating_sub(number % BLOCK_TIME_US),
        };
        match self.senders {
            Senders::Keyed => Transaction::signed(&self.network.id, payment, &secret_key(from)),
            Senders::Open => Transaction::new(&self.network.id, payment, None),
        }
    }
}

fn secret_key(number: u64) -> [u8; 32] {
    Hash::of(&[&number.to_be_bytes()]).0
}
