//! The network that the inputs are about, and a node that takes them.
//! Invariant: it is the same in every run, so that an input means the same in every run.

use std::sync::{Arc, OnceLock};

use quarry_core::block::Block;
use quarry_core::effect::{Effect, Event, Now};
use quarry_core::header::Header;
use quarry_core::memory::MemoryStore;
use quarry_core::message::{Message, Status};
use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::node::{MESH_MAX, Node, Options};
use quarry_core::store::Changes;
use quarry_core::target::{Bits, Work};
use quarry_core::transaction::{Payment, Transaction, public_key};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId, Timestamp};

const GENESIS_US: u64 = 1_767_225_600_000_000;
const SECOND_US: u64 = 1_000_000;
/// How long the chain is that the node has.
const BLOCKS: u64 = 24;
/// How long the branch is that its peer has, from the middle of the node's chain on.
const BRANCH: usize = 20;
const SECRET_KEY: [u8; 32] = [1; 32];

/// The node that is fed.
pub const SELF: NodeId = NodeId(0);
/// The node that the inputs come from.
pub const PEER: NodeId = NodeId(1);

/// A small network, a chain of it, and what a generator makes inputs from.
#[derive(Debug)]
pub struct World {
    /// Two open accounts and a keyed one, one hex zero, at most 20 transactions in a block.
    pub network: Arc<Network>,
    /// The node's chain, the first block first.
    pub chain: Vec<Block>,
    /// A better chain: what follows a block in the middle of the node's.
    pub branch: Vec<Block>,
    /// Transactions that can be mined on the tip, signed and not.
    pub payable: Vec<Transaction>,
    /// The nonce of the request that the node waits for a reply to.
    pub sync_nonce: u64,
    store: MemoryStore,
    now: Now,
}

/// The world.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let network = Arc::new(Network::new(&network_file()).expect("it keeps every rule"));
        let utc = network.genesis.timestamp.saturating_add(3600 * SECOND_US);
        let now = Now { utc, elapsed_us: 0 };
        let chain = vec![network.genesis_block()];
        let store = MemoryStore::default();
        let (branch, payable, sync_nonce) = (Vec::new(), Vec::new(), 0);
        let mut world = Self { network, chain, branch, payable, sync_nonce, store, now };
        world.payable = (0..40).map(|number| world.transaction(number)).collect();
        let mut node = world.open();
        for height in 0..BLOCKS {
            let parent = world.chain.last().expect("it begins with the first block").header;
            let block = world.child(&parent, vec![world.transaction(100 + height)]);
            step(&mut node, now, message(None, &Message::Block(Arc::new(block.clone())), &world.network));
            world.chain.push(block);
        }
        assert_eq!(node.tip().header.index, Height(BLOCKS), "every block is good");
        world.store = node.store().clone();
        let mut parent = world.chain[world.chain.len() / 2].header;
        for _ in 0..BRANCH {
            let block = world.child(&parent, Vec::new());
            parent = block.header;
            world.branch.push(block);
        }
        world.sync_nonce = world.first_request();
        world
    }

    /// A node that has the chain, knows its peer, and fetches the peer's better chain.
    pub fn node(&self) -> (Node<MemoryStore>, Now) {
        let (node, _) = self.syncing();
        (node, self.now)
    }

    fn syncing(&self) -> (Node<MemoryStore>, Vec<Effect>) {
        let mut node = self.open();
        step(&mut node, self.now, Event::Peers(vec![SELF, PEER]));
        let tip = self.branch.last().expect("it has blocks").header;
        let status = Status {
            from: PEER,
            nonce: 1,
            tip: tip.hash(),
            height: tip.index,
            work: Work::from_be_bytes([1; 32]),
            reply_wanted: false,
            reply_to: None,
        };
        let status = message(Some(PEER), &Message::Status(status), &self.network);
        let effects = step(&mut node, self.now, status);
        (node, effects)
    }

    fn first_request(&self) -> u64 {
        let (_, effects) = self.syncing();
        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Send { bytes, .. } => Message::decode(bytes, &self.network).ok(),
            _ => None,
        });
        let mut nonces = sent.filter_map(|message| match message {
            Message::GetHeaders(request) => Some(request.nonce),
            _ => None,
        });
        nonces.next_back().expect("the peer claims to be ahead, so it is asked")
    }

    /// A good block on top of another.
    pub fn child(&self, parent: &Header, transactions: Vec<Transaction>) -> Block {
        let header = Header {
            prev_hash: parent.hash(),
            tx_root: Hash::default(),
            version: Header::VERSION,
            bits: self.network.bits,
            index: Height(parent.index.0.wrapping_add(1)),
            timestamp: parent.timestamp.saturating_add(SECOND_US),
            miner: AccountId::open("somebody"),
            nonce: 0,
        };
        mined(Block { header, extra_nonce: 0, transactions })
    }

    /// What such a node commits from its first start on: its chain, blocks beside it, and transactions that wait.
    pub fn commits(&self) -> Vec<Changes> {
        let (mut node, changes) = self.open_on(MemoryStore::default());
        let mut commits = vec![changes];
        let chain = self.chain[1..].iter().chain(&self.branch[..2]);
        let blocks = chain.map(|block| Message::Block(Arc::new(block.clone())));
        let waiting = Message::Transactions(self.payable[..12].to_vec());
        for message in blocks.chain([waiting]) {
            let mut effects = Vec::new();
            let event = self::message(None, &message, &self.network);
            node.step(self.now, event, &mut effects).expect("a store in memory can be read");
            let changes = node.take_changes();
            node.store_mut().apply(changes.clone());
            commits.push(changes);
        }
        commits
    }

    fn open(&self) -> Node<MemoryStore> {
        let (node, _) = self.open_on(self.store.clone());
        node
    }

    fn open_on(&self, store: MemoryStore) -> (Node<MemoryStore>, Changes) {
        let options = Options {
            id: SELF,
            miner: AccountId::open("miner"),
            mine: true,
            mine_empty: false,
            seed: 7,
            status_interval_us: 5 * SECOND_US,
            status_interval_max_us: 5 * SECOND_US,
            relay_window_us: SECOND_US,
            reply_timeout_us: 10 * SECOND_US,
            mesh_max: MESH_MAX,
        };
        let node = Node::open(Arc::clone(&self.network), options, store, self.now);
        let mut node = node.expect("a store in memory can be read");
        let changes = node.take_changes();
        node.store_mut().apply(changes.clone());
        (node, changes)
    }

    fn transaction(&self, number: u64) -> Transaction {
        let account = |name| self.network.account(name).expect("the network has it");
        let is_signed = number.is_multiple_of(2);
        let payment = Payment {
            from: account(if is_signed { "alice" } else { "open0" }),
            to: account("open1"),
            amount: Amount(1 + number % 7),
            timestamp: self.network.genesis.timestamp.saturating_add(number),
        };
        let id = &self.network.id;
        if is_signed {
            Transaction::signed(id, payment, &SECRET_KEY)
        } else {
            Transaction::new(id, payment, None)
        }
    }
}

/// Takes a step and applies its changes.
///
/// # Panics
/// Where the node breaks one of its promises.
pub fn step(node: &mut Node<MemoryStore>, now: Now, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    node.step(now, event, &mut effects).expect("a store in memory can be read");
    let changes = node.take_changes();
    node.store_mut().apply(changes);
    assert!(now.elapsed_us < node.deadline(), "a deadline that is not ahead is a busy loop");
    effects
}

/// The arrival of a message.
pub fn message(from: Option<NodeId>, message: &Message, network: &Network) -> Event {
    Event::Message { from, bytes: message.encode(network) }
}

/// The block with the `tx_root` that belongs to it and a nonce that meets the network's target.
pub fn mined(mut block: Block) -> Block {
    block.header.tx_root = block.tx_root();
    if Ok(block.header.bits) == Bits::from_zeros(1)
        && let Ok(target) = block.header.bits.target()
    {
        while !target.is_met_by(&block.header.hash()) {
            block.header.nonce = block.header.nonce.wrapping_add(1);
        }
    }
    block
}

/// Two open accounts and a keyed one of 100.00 each, one hex zero, at most 20 transactions in a block.
pub fn network_file() -> NetworkFile {
    let balance = Amount(10_000);
    NetworkFile {
        name: "fuzz".into(),
        genesis_time: Timestamp::from_micros(GENESIS_US).expect("it is 2026"),
        difficulty: Difficulty::Zeros(1),
        block_time: 0,
        reward: "0.01".into(),
        limits: Limits { block_transactions: 20, ..Limits::default() },
        accounts: vec![
            AccountEntry::open("open0", balance),
            AccountEntry::open("open1", balance),
            AccountEntry::keyed("alice", balance, &public_key(&SECRET_KEY)),
        ],
    }
}
