//! Every kind of thing that a node refuses, sent to the real program: each is counted, logged with its own reason, and
//! does no harm.

use std::sync::Arc;

use node::clock;
use node::config;
use node::transport::local::{self, Local};
use node::transport::{Kind, Outgoing, Transport as _};
use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::message::{HEADERS_MAX, Message, Request};
use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::target::Bits;
use quarry_core::transaction::{Authorization, Payment, Transaction, public_key};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId, Timestamp};

use super::{Place, Process, deliver, eventually};

const CAROL: [u8; 32] = [7; 32];
/// Long enough for a transaction's window, which is 60 s here.
const OLD_US: u64 = 61_000_000;

/// A node that takes what it is sent and mines nothing itself.
struct Target {
    place: Place,
    network: Network,
    node: Process,
    client: Local,
}

impl Target {
    fn start() -> Self {
        let place = Place::new();
        let file = NetworkFile {
            name: "target".into(),
            difficulty: Difficulty::Zeros(1),
            block_time: 0,
            limits: Limits { block_transactions: 20, message_bytes: 16 << 10, transaction_window: 60 },
            accounts: vec![
                AccountEntry::open("alice", Amount(1000)),
                AccountEntry::open("bob", Amount(1000)),
                AccountEntry::keyed("carol", Amount(1000), &public_key(&CAROL)),
            ],
            ..NetworkFile::demo()
        };
        std::fs::write(place.path().join("network.toml"), config::network_text(&file).unwrap()).unwrap();
        let node = place.start(0, &["--backend", "none", "--log", "info,node::notices=debug"]);
        let (network, client) = (place.network(), place.client());
        Self { place, network, node, client }
    }

    fn payment(&self, from: &str, to: &str, amount: u64) -> Payment {
        let account = |name| self.network.account(name).unwrap();
        Payment { from: account(from), to: account(to), amount: Amount(amount), timestamp: clock::utc() }
    }

    fn open(&self, payment: Payment) -> Transaction {
        Transaction::new(&self.network.id, payment, None)
    }

    fn signed(&self, payment: Payment) -> Transaction {
        Transaction::signed(&self.network.id, payment, &CAROL)
    }

    /// A block on another that holds these transactions, changed in some way and then mined.
    fn block(
        &self,
        parent: &Header,
        transactions: Vec<Transaction>,
        change: impl FnOnce(&mut Block),
    ) -> Block {
        let header = Header {
            prev_hash: parent.hash(),
            tx_root: Hash::default(),
            version: Header::VERSION,
            bits: self.network.bits,
            index: parent.index.next(),
            timestamp: clock::utc(),
            miner: AccountId::default(),
            nonce: 0,
        };
        let mut block = Block { header, extra_nonce: 5, transactions };
        block.header.tx_root = block.tx_root();
        change(&mut block);
        let target = block.header.bits.target().unwrap();
        while !target.is_met_by(&block.header.hash()) {
            block.header.nonce += 1;
        }
        block
    }

    fn count(&self, counter: &str) -> u64 {
        self.place.status(0).unwrap().counters.get(counter).copied().unwrap_or(0)
    }

    /// Sends something and waits until it is counted, and the log's last word on it is the reason.
    fn refuses(&self, message: &Message, counter: &str, reason: &str) {
        self.refuses_bytes(&message.encode(&self.network), counter, reason);
    }

    fn refuses_bytes(&self, bytes: &[u8], counter: &str, reason: &str) {
        let before = self.count(counter);
        deliver(&self.client, 0, Kind::Chain, bytes);
        eventually(reason, || (before < self.count(counter)).then_some(()));
        let log = self.node.log();
        let last = log.lines().last().unwrap();
        assert!(last.contains(reason), "not `{reason}` but: {last}");
    }

    fn refuses_transaction(&self, transaction: Transaction, reason: &str) {
        self.refuses(&Message::Transactions(vec![transaction]), "transactions_refused", reason);
    }

    fn refuses_block(&self, block: Block, reason: &str) {
        self.refuses(&Message::Block(Arc::new(block)), "blocks_refused", reason);
    }

    /// Has a block accepted.
    fn extend(&self, block: &Block) {
        deliver(&self.client, 0, Kind::Chain, &Message::Block(Arc::new(block.clone())).encode(&self.network));
        let hash = block.header.hash();
        eventually("the block is the new tip", || self.place.status(0).filter(|status| status.tip == hash));
    }

    /// Checks that the node still does its work, and that nothing has moved any money.
    fn ends(self, height: u64) {
        assert_eq!(self.place.status(0).unwrap().height, Height(height));
        let sent = self.place.run(["send", "--from", "alice", "--to", "bob", "--amount", "0.10"]);
        assert!(sent.succeeds().text().contains("node 0: accepted"));
        let balances = self.place.json(["balance", "--json"]);
        let text = |it: &serde_json::Value| it["balance"].as_str().unwrap().parse::<Amount>().unwrap().0;
        let total: u64 = balances["balances"].as_array().unwrap().iter().map(text).sum();
        assert_eq!(total, 3000);
        self.node.stop();
        self.place.run(["verify"]).succeeds();
    }
}

#[test]
fn transactions_that_break_a_rule_are_refused() {
    let target = Target::start();
    let mined = target.open(target.payment("alice", "bob", 100));
    let first = target.block(&target.network.genesis, vec![mined.clone()], |_| {});
    target.extend(&first);

    let refuses = |transaction, reason| target.refuses_transaction(transaction, reason);
    let pay = |from, to, amount| target.payment(from, to, amount);
    refuses(target.open(pay("alice", "bob", 901)), "sender has 9.00, which is less than 9.01");
    refuses(target.open(pay("alice", "bob", u64::MAX)), "less than 184467440737095516.15");
    refuses(target.open(pay("alice", "bob", 0)), "the amount is 0.00");
    refuses(target.open(pay("alice", "alice", 1)), "sender and receiver are the same account");
    let replay = Message::Transactions(vec![mined]);
    target.refuses(&replay, "transactions_known", "already in the chain at height 1");
    refuses(target.open(pay("carol", "bob", 1)), "a signature is needed");
    let forged = Transaction::signed(&target.network.id, pay("carol", "bob", 1), &[8; 32]);
    refuses(forged, "the public key is not that of account");
    let good = *target.signed(pay("carol", "bob", 1)).authorization().unwrap();
    let tampered = Transaction::new(&target.network.id, pay("carol", "bob", 2), Some(good));
    refuses(tampered, "the signature is invalid");
    let needless = Transaction::new(&target.network.id, pay("alice", "bob", 1), Some(good));
    refuses(needless, "a signature has no place");
    let nobody = [9; 32];
    let stranger = Payment { from: AccountId::keyed(&public_key(&nobody)), ..pay("alice", "bob", 1) };
    refuses(Transaction::signed(&target.network.id, stranger, &nobody), "it never received anything");
    let at = |timestamp| Payment { timestamp, ..pay("alice", "bob", 1) };
    refuses(target.open(at(clock::utc().saturating_sub(OLD_US))), "60 s before");
    refuses(target.open(at(clock::utc().saturating_add(2 * OLD_US))), "60 s after");
    target.ends(1);
}

#[test]
fn blocks_that_break_a_rule_are_refused() {
    let target = Target::start();
    let genesis = target.network.genesis;
    let transaction = target.open(target.payment("alice", "bob", 100));
    let first = target.block(&genesis, vec![transaction.clone()], |_| {});
    target.extend(&first);

    let refuses = |block, reason| target.refuses_block(block, reason);
    let block = |change: fn(&mut Block)| target.block(&first.header, Vec::new(), change);
    let mut unworked = block(|_| {});
    let bits = unworked.header.bits.target().unwrap();
    while bits.is_met_by(&unworked.header.hash()) {
        unworked.header.nonce += 1;
    }
    refuses(unworked, "is not below the target");
    refuses(block(|it| it.header.tx_root = Hash([1; 32])), "but that of the transactions is");
    refuses(block(|it| it.header.bits = Bits::from_zeros(2).unwrap()), "but they should be 20100000");
    refuses(block(|it| it.header.version = 2), "header version 2 is unknown");
    refuses(block(|it| it.header.index = Height(9)), "index 9 follows 1");
    let future = |it: &mut Block| it.header.timestamp = clock::utc().saturating_add(200_000_000);
    refuses(block(future), "is more than 120 s ahead of the clock");
    refuses(
        block(|it| it.header.timestamp = Timestamp::from_micros(1).unwrap()),
        "is not after the parent's",
    );

    let with = |transactions| target.block(&first.header, transactions, |_| {});
    refuses(with(vec![transaction]), "already in the chain at height 1");
    let other = target.open(target.payment("alice", "bob", 1));
    refuses(with(vec![other.clone(), other]), "stands twice in the block");
    let all = |amount| target.open(target.payment("alice", "bob", amount));
    refuses(with(vec![all(500), all(401)]), "sender has 4.00, which is less than 4.01");
    refuses(with((0..21).map(|cent| all(cent + 1)).collect()), "21 transactions, but a block has at most 20");
    let old = Payment { timestamp: genesis.timestamp, ..target.payment("alice", "bob", 1) };
    refuses(with(vec![target.open(old)]), "60 s before");
    let good = *target.signed(target.payment("carol", "bob", 1)).authorization().unwrap();
    let forged = Transaction::new(
        &target.network.id,
        target.payment("carol", "bob", 2),
        Some(Authorization { signature: [3; 64], ..good }),
    );
    let invalid = with(vec![forged]);
    refuses(invalid.clone(), "a signature is invalid");
    refuses(target.block(&invalid.header, Vec::new(), |_| {}), "of its branch is invalid");

    target.extend(&with(Vec::new()));
    target.ends(2);
}

#[test]
fn messages_that_are_none_are_refused() {
    let target = Target::start();
    let refuses = |bytes: &[u8], reason: &str| target.refuses_bytes(bytes, "messages_refused", reason);
    let garbage: Vec<u8> = (0..1000).map(|_| rand::random()).collect();
    refuses(&garbage, "malformed");
    refuses(b"", "malformed");
    refuses(&[b'['; 10_000], "malformed");
    let demo = Network::demo();
    refuses(&Message::Transactions(Vec::new()).encode(&demo), &format!("for network {}", demo.id));

    let payment = Message::Transactions(vec![target.open(target.payment("alice", "bob", 123))]);
    let text = String::from_utf8(payment.encode(&target.network)).unwrap();
    let refuses_text = |from: &str, to: &str, reason: &str| {
        assert!(text.contains(from), "{text}");
        refuses(text.replacen(from, to, 1).as_bytes(), reason);
    };
    refuses_text("1.23", "-1.23", "not an amount from 0.00 to 184467440737095516.15");
    refuses_text("1.23", "184467440737095516.16", "not an amount");
    refuses_text("1.23", "1.234", "with at most two decimals");
    refuses_text("1.23", "1.24", "unique_id is");
    refuses_text("\"alice\"", "\"mallory\"", "no account of this network is named `mallory`");
    refuses_text("\"quarry\":2", "\"quarry\":1", "protocol version 1");
    refuses_text("\"transactions\"", "\"transaction\"", "unknown type `transaction`");
    let headers = vec![target.network.genesis; HEADERS_MAX + 1];
    let many = Message::Headers { from: NodeId(1), nonce: 1, headers, more: false };
    // It would not fit this network's messages either, but nobody looks into one that is too large.
    target.oversized(&many.encode(&target.network));
    let request = Message::GetHeaders(Request { from: NodeId(3), nonce: 1, hashes: Vec::new() });
    target.refuses(&request, "messages_refused", "it claims to be from node 3");
    target.ends(0);
}

impl Target {
    /// Sends more than a message may have, past the limit that the sender's own side keeps.
    fn oversized(&self, bytes: &[u8]) {
        let options = local::Options { message_bytes_max: 1 << 20, ..local::Options::default() };
        let client = local::client(&self.place.directory().spool(), "large", options).unwrap();
        let before = self.count("transport_troubles");
        client.send(NodeId(0), Outgoing { kind: Kind::Chain, payload: bytes.into(), ticket: 0 }).unwrap();
        eventually("an oversized message is noticed", || {
            (before < self.count("transport_troubles")).then_some(())
        });
        self.node.says("bytes exceeds the limit of 16384");
    }
}
