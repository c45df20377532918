//! A store as a node leaves it, and ways to damage a copy of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use node::store::{Reader, RedbStore, Summary, VerifyError, verify};
use quarry_core::block::Block;
use quarry_core::codec::{self, RECORD_LEN};
use quarry_core::effect::{Event, Now};
use quarry_core::header::Header;
use quarry_core::message::Message;
use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::node::{MESH_MAX, Node, Options};
use quarry_core::rules::{BlockError, TransactionError};
use quarry_core::store::{Changes, Record, Status};
use quarry_core::target::Work;
use quarry_core::transaction::{Payment, Transaction, public_key};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId, Timestamp};
use redb::{Database, TableDefinition, WriteTransaction};
use tempfile::TempDir;

pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(super) const RECORDS: TableDefinition<&[u8; 32], &[u8; RECORD_LEN]> = TableDefinition::new("records");
pub(super) const BODIES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("bodies");
pub(super) const UNDO: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("undo");
pub(super) const PATH: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("path");
pub(super) const BALANCES: TableDefinition<&[u8; 20], u64> = TableDefinition::new("balances");
pub(super) const MINED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("mined");
pub(super) const MEMPOOL: TableDefinition<u64, &[u8]> = TableDefinition::new("mempool");
pub(super) const OUTBOX: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("outbox");

pub(super) const SECRET: [u8; 32] = [7; 32];
pub(super) const MINER: AccountId = AccountId([0xaa; 20]);
/// Between two blocks. With the shortest window there is, the index covers the last twelve.
pub(super) const BLOCK_TIME_US: u64 = 10_000_000;
pub(super) const HEIGHT: u64 = 30;

/// A store that a node has left behind: a chain whose index has been pruned, with a reorganisation behind it, a branch
/// beside it, a block that was refused, and transactions that wait.
pub(super) struct Left {
    pub(super) directory: TempDir,
    pub(super) network: Arc<Network>,
    /// The best chain.
    pub(super) chain: Vec<Block>,
    /// A block beside it, of the same height as the last.
    pub(super) abandoned: Block,
    /// The earlier block beside it.
    pub(super) side: Block,
    pub(super) waiting: Transaction,
}

impl Left {
    pub(super) fn new() -> Self {
        let (directory, network) = (tempfile::tempdir().unwrap(), Arc::new(network()));
        let (bob, carol) = (network.account("bob").unwrap(), network.account("carol").unwrap());
        let mut chain = vec![network.genesis_block()];
        let tip = |chain: &[Block]| chain.last().unwrap().header;
        for height in 1..=HEIGHT {
            let parent = tip(&chain);
            let at = |micros| parent.timestamp.saturating_add(micros);
            let mut transactions = vec![
                pay(&network, alice(), AccountId([height as u8 % 4; 20]), height, at(1)),
                pay(&network, bob, alice(), 1, at(2)),
            ];
            if height == 3 {
                transactions.push(pay(&network, carol, alice(), 1, at(3)));
            }
            chain.push(next_block(&network, &parent, transactions));
        }
        let mut abandoned = next_block(&network, &chain[HEIGHT as usize - 1].header, vec![]);
        while abandoned.header.hash() < tip(&chain).hash() {
            abandoned.extra_nonce += 1;
            abandoned = mined(abandoned);
        }
        let side = next_block(&network, &chain[5].header, vec![]);
        let late = tip(&chain).timestamp;
        let overspent = next_block(&network, &tip(&chain), vec![pay(&network, bob, alice(), 1000, late)]);
        let waiting = pay(&network, alice(), bob, 5, late);

        let mut blocks = chain[1..].to_vec();
        // The worse of the two last blocks comes first, and leaves the best chain again.
        blocks.insert(blocks.len() - 1, abandoned.clone());
        blocks.extend([side.clone(), overspent]);
        let blocks = blocks.into_iter().map(|block| Message::Block(Arc::new(block)));
        let messages = blocks.chain([Message::Transactions(vec![waiting.clone()])]).collect();
        let mut store = leave(directory.path(), &network, late, messages);
        let outbox = [(0, Some(tip(&chain).hash()))].into();
        store.apply(&Changes { outbox, ..Changes::default() }).unwrap();
        Self { directory, network, chain, abandoned, side, waiting }
    }

    pub(super) fn hash(&self, height: u64) -> Hash {
        self.chain[height as usize].header.hash()
    }

    pub(super) fn tip(&self) -> Block {
        self.chain[HEIGHT as usize].clone()
    }

    pub(super) fn account(&self, name: &str) -> AccountId {
        self.network.account(name).unwrap()
    }

    /// The verdict on a copy that was changed behind the node's back.
    pub(super) fn verdict(&self, change: impl FnOnce(&WriteTransaction)) -> Result<Summary, VerifyError> {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("store");
        fs::copy(self.directory.path().join("store"), &path).unwrap();
        let database = Database::open(&path).unwrap();
        let mut write = database.begin_write().unwrap();
        write.set_quick_repair(true);
        change(&write);
        write.commit().unwrap();
        drop(database);
        let snapshot = Reader::open(&path, &self.network.id).unwrap().snapshot().unwrap();
        verify(&snapshot, &self.network, &mut |_, _| {})
    }

    pub(super) fn check(&self, change: impl FnOnce(&WriteTransaction), expected: VerifyError) {
        assert_eq!(self.verdict(change), Err(expected));
    }

    /// Checks what is said of a store whose tip is this block.
    pub(super) fn check_tip(&self, block: &Block, error: impl Into<BlockError>) {
        let (height, error) = (Height(HEIGHT), error.into());
        self.check(|write| self.replace_tip(write, block), VerifyError::Block { height, error });
    }

    /// Checks what is said of a store whose tip has this transaction besides the others.
    pub(super) fn check_transaction(&self, transaction: Transaction, error: TransactionError) {
        let mut block = self.tip();
        let id = transaction.id();
        block.transactions.push(transaction);
        self.check_tip(&mined(block), BlockError::Transaction { id, error });
    }

    /// Puts a block in the place of the last, with that one's undo data.
    pub(super) fn replace_tip(&self, write: &WriteTransaction, block: &Block) {
        let (hash, work) = (block.header.hash(), work(HEIGHT));
        put_block(write, block, Record { header: block.header, work, status: Status::Valid });
        write.open_table(PATH).unwrap().insert(HEIGHT, &hash.0).unwrap();
        let mut undo = write.open_table(UNDO).unwrap();
        let bytes = undo.remove(&self.hash(HEIGHT).0).unwrap().unwrap().value().to_vec();
        undo.insert(&hash.0, &bytes[..]).unwrap();
        write.open_table(META).unwrap().insert("tip", &hash.0[..]).unwrap();
    }
}

/// The store of a node that was sent these messages.
pub(super) fn leave(
    directory: &Path,
    network: &Arc<Network>,
    utc: Timestamp,
    messages: Vec<Message>,
) -> RedbStore {
    let store = RedbStore::open(&directory.join("store"), &network.id).unwrap();
    let now = Now { utc, elapsed_us: 0 };
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
    let mut node = Node::open(Arc::clone(network), options, store, now).unwrap();
    for message in messages {
        let bytes = message.encode(network);
        node.step(now, Event::Message { from: None, bytes }, &mut Vec::new()).unwrap();
        let changes = node.take_changes();
        node.store_mut().apply(&changes).unwrap();
    }
    drop(node);
    RedbStore::open(&directory.join("store"), &network.id).unwrap()
}

pub(super) fn network() -> Network {
    let accounts = vec![
        AccountEntry::keyed("alice", Amount(10_000), &public_key(&SECRET)),
        AccountEntry::open("bob", Amount(300)),
        AccountEntry::open("carol", Amount(1)),
    ];
    let limits = Limits { transaction_window: 60, ..Limits::default() };
    let file = NetworkFile {
        name: "verified".into(),
        difficulty: Difficulty::Zeros(1),
        reward: "0.50".into(),
        limits,
        accounts,
        ..NetworkFile::demo()
    };
    Network::new(&file).unwrap()
}

pub(super) fn alice() -> AccountId {
    AccountId::keyed(&public_key(&SECRET))
}

/// A transaction from alice, or else from an open account.
pub(super) fn pay(
    network: &Network,
    from: AccountId,
    to: AccountId,
    cents: u64,
    at: Timestamp,
) -> Transaction {
    let payment = Payment { from, to, amount: Amount(cents), timestamp: at };
    if from == alice() {
        Transaction::signed(&network.id, payment, &SECRET)
    } else {
        Transaction::new(&network.id, payment, None)
    }
}

pub(super) fn next_block(network: &Network, parent: &Header, transactions: Vec<Transaction>) -> Block {
    let header = Header {
        prev_hash: parent.hash(),
        index: parent.index.next(),
        timestamp: parent.timestamp.saturating_add(BLOCK_TIME_US),
        bits: network.bits,
        miner: MINER,
        ..*parent
    };
    mined(Block { header, extra_nonce: 0, transactions })
}

/// The block with the `tx_root` and a nonce that it needs.
pub(super) fn mined(mut block: Block) -> Block {
    block.header.tx_root = block.tx_root();
    let target = block.header.bits.target().unwrap();
    while !target.is_met_by(&block.header.hash()) {
        block.header.nonce += 1;
    }
    block
}

/// The work of a chain at a height: each block takes sixteen hashes.
pub(super) fn work(height: u64) -> Work {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&(16 * height).to_be_bytes());
    Work::from_be_bytes(bytes)
}

pub(super) fn put_block(write: &WriteTransaction, block: &Block, record: Record) {
    put_record(write, &block.header.hash(), record);
    let body = codec::encode_body(block);
    write.open_table(BODIES).unwrap().insert(&block.header.hash().0, &body[..]).unwrap();
}

pub(super) fn put_record(write: &WriteTransaction, hash: &Hash, record: Record) {
    write.open_table(RECORDS).unwrap().insert(&hash.0, &codec::encode_record(&record)).unwrap();
}

pub(super) fn put_waiting(write: &WriteTransaction, number: u64, transaction: &Transaction) {
    let mut bytes = Vec::new();
    codec::put_transaction(&mut bytes, transaction);
    write.open_table(MEMPOOL).unwrap().insert(number, &bytes[..]).unwrap();
}
