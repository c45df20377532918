//! A small network, a way to make blocks for it, and one node to feed them to.

use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::effect::{Effect, Event, Notice, Now};
use quarry_core::header::Header;
use quarry_core::memory::MemoryStore;
use quarry_core::message::Message;
use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::node::{MESH_MAX, Node, Options};
use quarry_core::template::Template;
use quarry_core::transaction::{Authorization, Payment, Transaction};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId, Timestamp, TxId};

/// The node under test.
pub(crate) const SELF: NodeId = NodeId(0);
/// The peer that sends what the tests send.
pub(crate) const PEER: NodeId = NodeId(1);
/// The peer that does not.
pub(crate) const BYSTANDER: NodeId = NodeId(2);

/// Secret keys of the keyed accounts `alice` and `bob`.
pub(crate) const ALICE: [u8; 32] = [1; 32];
pub(crate) const BOB: [u8; 32] = [2; 32];

pub(crate) const SECOND_US: u64 = 1_000_000;
pub(crate) const HOUR_US: u64 = 3600 * SECOND_US;

const GENESIS_US: u64 = 1_767_225_600_000_000;

/// Two open accounts and two keyed ones of 10.00 each, an open one that is empty, one hex zero, at most 20
/// transactions in a block.
pub(crate) fn network_file() -> NetworkFile {
    let ten = Amount(1000);
    NetworkFile {
        name: "test".into(),
        genesis_time: Timestamp::from_micros(GENESIS_US).unwrap(),
        difficulty: Difficulty::Zeros(1),
        block_time: 0,
        reward: "0.00".into(),
        limits: Limits { block_transactions: 20, ..Limits::default() },
        accounts: vec![
            AccountEntry::open("open0", ten),
            AccountEntry::open("open1", ten),
            AccountEntry::open("empty", Amount(0)),
            AccountEntry::keyed("alice", ten, &public_key(&ALICE)),
            AccountEntry::keyed("bob", ten, &public_key(&BOB)),
        ],
    }
}

pub(crate) fn public_key(secret_key: &[u8; 32]) -> [u8; 32] {
    let payment = Payment {
        from: AccountId::default(),
        to: AccountId::default(),
        amount: Amount(1),
        timestamp: Timestamp::default(),
    };
    Transaction::signed(&Network::demo().id, payment, secret_key).authorization().unwrap().public_key
}

/// A node that does not mine, with two peers, an hour after the first block.
pub(crate) struct Rig {
    pub(crate) node: Node<MemoryStore>,
    pub(crate) now: Now,
}

/// What a step had for effects.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) notices: Vec<Notice>,
    pub(crate) sent: Vec<(NodeId, Message)>,
    pub(crate) announcements: Vec<u64>,
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) rested: bool,
}

/// Everything that a refused input must leave as it was.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    tip: Hash,
    store: MemoryStore,
    mempool: Vec<TxId>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(&network_file())
    }

    pub(crate) fn with(file: &NetworkFile) -> Self {
        Self::open(Arc::new(Network::new(file).unwrap()), MemoryStore::default(), |_| {})
    }

    pub(crate) fn mining() -> Self {
        let network = Arc::new(Network::new(&network_file()).unwrap());
        Self::open(network, MemoryStore::default(), |options| options.mine = true)
    }

    pub(crate) fn open(network: Arc<Network>, store: MemoryStore, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Self::options();
        change(&mut options);
        let utc = Timestamp::from_micros(GENESIS_US + HOUR_US).unwrap();
        let now = Now { utc, elapsed_us: 0 };
        let node = Node::open(network, options, store, now).unwrap();
        let mut rig = Self { node, now };
        rig.step(Event::Peers(vec![SELF, PEER, BYSTANDER]));
        rig
    }

    fn options() -> Options {
        Options {
            id: SELF,
            miner: AccountId::open("miner"),
            mine: false,
            mine_empty: false,
            seed: 7,
            status_interval_us: 5 * SECOND_US,
            status_interval_max_us: 5 * SECOND_US,
            relay_window_us: SECOND_US,
            reply_timeout_us: 10 * SECOND_US,
            mesh_max: MESH_MAX,
        }
    }

    /// The node that goes on from what is durable now.
    pub(crate) fn reopened(&self) -> Self {
        let mut rig = Self::open(Arc::clone(self.node.network()), self.node.store().clone(), |_| {});
        rig.now.utc = self.now.utc;
        rig
    }

    /// The same before its transport has said who is there.
    pub(crate) fn reopened_without_peers(&self) -> Self {
        let options = Self::options();
        let node = Node::open(Arc::clone(self.node.network()), options, self.node.store().clone(), self.now);
        Self { node: node.unwrap(), now: self.now }
    }

    pub(crate) fn network(&self) -> &Network {
        self.node.network()
    }

    pub(crate) fn store(&self) -> &MemoryStore {
        self.node.store()
    }

    pub(crate) fn advance(&mut self, micros: u64) {
        self.now.utc = self.now.utc.saturating_add(micros);
        self.now.elapsed_us += micros;
    }

    /// Takes a step and makes its changes durable.
    pub(crate) fn step(&mut self, event: Event) -> Outcome {
        let mut effects = Vec::new();
        self.node.step(self.now, event, &mut effects).unwrap();
        self.commit();
        assert!(self.now.elapsed_us < self.node.deadline(), "a deadline that is not ahead is a busy loop");
        self.outcome(effects)
    }

    /// Takes a step whose changes are not durable yet.
    pub(crate) fn step_without_commit(&mut self, event: Event) -> Outcome {
        let mut effects = Vec::new();
        self.node.step(self.now, event, &mut effects).unwrap();
        self.outcome(effects)
    }

    /// Takes the last step before a stop, after which nothing is due any more.
    pub(crate) fn step_without_timers(&mut self, event: Event) -> Outcome {
        let mut effects = Vec::new();
        self.node.step(self.now, event, &mut effects).unwrap();
        self.commit();
        self.outcome(effects)
    }

    pub(crate) fn submit(
        &mut self,
        transaction: Transaction,
    ) -> Result<(), quarry_core::rules::TransactionError> {
        let mut effects = Vec::new();
        let result = self.node.submit(self.now, transaction, &mut effects).unwrap();
        self.commit();
        assert!(self.now.elapsed_us < self.node.deadline(), "a deadline that is not ahead is a busy loop");
        result
    }

    pub(crate) fn receive(&mut self, from: Option<NodeId>, message: &Message) -> Outcome {
        self.step(Event::Message { from, bytes: message.encode(self.network()) })
    }

    pub(crate) fn receive_text(&mut self, text: &str) -> Outcome {
        self.step(Event::Message { from: Some(PEER), bytes: text.as_bytes().to_vec() })
    }

    /// The peer pushes a block.
    pub(crate) fn push(&mut self, block: &Block) -> Outcome {
        self.receive(Some(PEER), &Message::Block(Arc::new(block.clone())))
    }

    /// The peer sends transactions.
    pub(crate) fn relay(&mut self, transactions: Vec<Transaction>) -> Outcome {
        self.receive(Some(PEER), &Message::Transactions(transactions))
    }

    /// Waits until the next deadline.
    pub(crate) fn wait(&mut self) -> Outcome {
        self.advance(self.node.deadline() - self.now.elapsed_us);
        self.step(Event::Tick)
    }

    /// Finds a nonce for the current template.
    pub(crate) fn find(&mut self) -> Outcome {
        let template = Arc::clone(self.node.template().expect("something is being mined"));
        let nonce = search(template.header(template.extra_nonce, 0)).nonce;
        self.step(Event::Found { template: template.id, extra_nonce: template.extra_nonce, nonce })
    }

    /// Accounts by name, others by `#` and a number.
    pub(crate) fn account(&self, name: &str) -> AccountId {
        match name.strip_prefix('#') {
            Some(number) => AccountId([number.parse().unwrap(); 20]),
            None => self.network().account(name).unwrap(),
        }
    }

    pub(crate) fn balance(&self, name: &str) -> Option<u64> {
        self.store().balances.get(&self.account(name)).map(|amount| amount.0)
    }

    pub(crate) fn payment(&self, from: &str, to: &str, cents: u64) -> Payment {
        let (from, to) = (self.account(from), self.account(to));
        Payment { from, to, amount: Amount(cents), timestamp: self.now.utc }
    }

    /// A good transaction, signed where the account is keyed, dated now.
    pub(crate) fn pay(&self, from: &str, to: &str, cents: u64) -> Transaction {
        self.signed(from, self.payment(from, to, cents))
    }

    /// A good transaction dated so many microseconds after now.
    pub(crate) fn pay_at(&self, from: &str, to: &str, cents: u64, later_us: i64) -> Transaction {
        let micros = self.now.utc.micros().checked_add_signed(later_us).unwrap();
        let timestamp = Timestamp::from_micros(micros).unwrap();
        self.signed(from, Payment { timestamp, ..self.payment(from, to, cents) })
    }

    pub(crate) fn signed(&self, from: &str, payment: Payment) -> Transaction {
        let id = &self.network().id;
        match from {
            "alice" => Transaction::signed(id, payment, &ALICE),
            "bob" => Transaction::signed(id, payment, &BOB),
            _ => Transaction::new(id, payment, None),
        }
    }

    /// A good transaction with another authorization.
    pub(crate) fn with_authorization(
        &self,
        transaction: &Transaction,
        change: impl FnOnce(&mut Authorization),
    ) -> Transaction {
        let mut authorization = *transaction.authorization().unwrap();
        change(&mut authorization);
        Transaction::new(&self.network().id, *transaction.payment(), Some(authorization))
    }

    /// A good block on top of the tip, dated now.
    pub(crate) fn next(&self, transactions: Vec<Transaction>) -> Block {
        let block = self.child(&self.node.tip().header, transactions);
        remade(Block { header: Header { timestamp: self.now.utc, ..block.header }, ..block })
    }

    /// A good block on top of any other, dated a second later.
    pub(crate) fn child(&self, parent: &Header, transactions: Vec<Transaction>) -> Block {
        let header = Header {
            prev_hash: parent.hash(),
            tx_root: Hash::default(),
            version: Header::VERSION,
            bits: self.network().bits,
            index: Height(parent.index.0 + 1),
            timestamp: parent.timestamp.saturating_add(SECOND_US),
            miner: AccountId::open("somebody"),
            nonce: 0,
        };
        remade(Block { header, extra_nonce: 0, transactions })
    }

    /// So many good, empty blocks on top of each other; another `salt` makes other blocks.
    pub(crate) fn branch(&self, parent: &Header, count: usize, salt: u8) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for _ in 0..count {
            let parent = blocks.last().map_or(*parent, |block| block.header);
            let mut block = self.child(&parent, Vec::new());
            block.header.miner = AccountId([salt; 20]);
            blocks.push(remade(block));
        }
        blocks
    }

    pub(crate) fn state(&self) -> State {
        // Records of refused blocks may stay; they are no part of the chain.
        let mut store = self.store().clone();
        store.records.clear();
        let mempool = self.node.mempool().iter().map(|it| it.id()).collect();
        State { tip: self.node.tip().hash, store, mempool }
    }

    /// Shows that the node still takes a transaction and a block with it.
    #[track_caller]
    pub(crate) fn assert_works(&mut self) {
        self.advance(SECOND_US);
        let transaction = self.pay("open1", "#200", 1);
        let id = transaction.id();
        let outcome = self.relay(vec![transaction.clone()]);
        assert_eq!(outcome.notices, [Notice::Pending(id)]);
        let block = self.next(vec![transaction]);
        let (height, hash) = (block.header.index, block.header.hash());
        let extended = Notice::Extended { height, hash, transactions: 1, from: Some(PEER) };
        assert!(self.push(&block).notices.contains(&extended));
        assert_eq!(self.node.tip().hash, hash);
    }

    /// Takes an input that must be refused with exactly these notices, change nothing and do no harm.
    #[track_caller]
    pub(crate) fn assert_refused(&mut self, event: Event, expected: &[Notice]) {
        let before = self.state();
        let outcome = self.step(event);
        assert_eq!(outcome.notices, expected);
        assert_eq!(self.state(), before, "a refused input changes nothing");
        self.assert_works();
    }

    /// Makes the changes of all steps so far durable.
    pub(crate) fn commit(&mut self) {
        let changes = self.node.take_changes();
        self.node.store_mut().apply(changes);
    }

    fn outcome(&self, effects: Vec<Effect>) -> Outcome {
        let mut outcome = Outcome::default();
        for effect in effects {
            match effect {
                Effect::Send { to, bytes, bulk: _, announcement } => {
                    assert!(bytes.len() <= self.network().limits.message_bytes as usize);
                    let message = Message::decode(&bytes, self.network());
                    outcome.sent.push((to, message.expect("a node's own messages are good")));
                    outcome.announcements.extend(announcement);
                }
                Effect::Mine(template) => outcome.template = Some(template),
                Effect::Rest => outcome.rested = true,
                Effect::Tell(notice) => outcome.notices.push(notice),
            }
        }
        outcome
    }
}

impl Outcome {
    /// What was sent to the peer.
    pub(crate) fn to_peer(&self) -> Vec<&Message> {
        self.sent.iter().filter(|(to, _)| *to == PEER).map(|(_, message)| message).collect()
    }
}

/// The block with its `tx_root` and proof of work made anew.
pub(crate) fn remade(mut block: Block) -> Block {
    block.header.tx_root = block.tx_root();
    block.header = search(block.header);
    block
}

/// The header with the first nonce that meets its own target.
pub(crate) fn search(mut header: Header) -> Header {
    let target = header.bits.target().unwrap();
    header.nonce = (0..).find(|nonce| target.is_met_by(&Header { nonce: *nonce, ..header }.hash())).unwrap();
    header
}

/// The header with the first nonce that does not.
pub(crate) fn search_miss(mut header: Header) -> Header {
    let target = header.bits.target().unwrap();
    header.nonce = (0..).find(|nonce| !target.is_met_by(&Header { nonce: *nonce, ..header }.hash())).unwrap();
    header
}
