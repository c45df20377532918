//! What is fuzzed: each decoder as a function of bytes, with what must hold for whatever it takes.
//! Invariant: a target answers whether the bytes stood for something, and panics where a decoder breaks a promise.

mod spool;
mod storage;
mod store;

use std::collections::BTreeMap;

use node::config;
use node::control;
use quarry_core::block::Block;
use quarry_core::effect::{Effect, Event};
use quarry_core::json::{BlockJson, TransactionJson};
use quarry_core::message::Message;
use quarry_core::network::NetworkFile;
use quarry_core::original;
use quarry_core::rules;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, Hash, NodeId, Timestamp};
use serde_json::value::RawValue;

pub use spool::{cursor, frames};
pub use storage::{body, header, record, transaction, undo};
pub use store::{files, store};

use crate::world::{PEER, step, world};

/// The most messages of one input that a node takes.
const MESSAGES_MAX: usize = 8;
/// The most that a node does about one message: it has one peer.
const EFFECTS_MAX: usize = 64;

/// A message from a peer. What is taken comes back from its own encoding, which is the only one that is ever sent.
pub fn message(bytes: &[u8]) -> bool {
    let network = &world().network;
    let Ok(message) = Message::decode(bytes, network) else { return false };
    let encoded = message.encode(network);
    let again = Message::decode(&encoded, network).expect("what a node sends can be read");
    assert_eq!(again, message);
    assert_eq!(again.encode(network), encoded);
    true
}

/// A block's JSON form, and the block's own rules.
pub fn block_json(bytes: &[u8]) -> bool {
    let network = &world().network;
    let parse = |bytes: &[u8]| -> Option<Block> {
        serde_json::from_slice::<BlockJson<'_>>(bytes).ok()?.parse(network).ok()
    };
    let Some(block) = parse(bytes) else { return false };
    let text = serde_json::to_vec(&BlockJson::new(&block, network)).expect("a block has a JSON form");
    assert_eq!(parse(&text).as_ref(), Some(&block));
    let hash = block.header.hash();
    match rules::check_block(block, network) {
        Ok(checked) => assert_eq!(checked.hash(), hash),
        Err(error) => assert_ne!(error.to_string(), ""),
    }
    true
}

/// A transaction's JSON form, and the transaction's own rules.
pub fn transaction_json(bytes: &[u8]) -> bool {
    let network = &world().network;
    let parse = |bytes: &[u8]| -> Option<Transaction> {
        serde_json::from_slice::<TransactionJson<'_>>(bytes).ok()?.parse(network).ok()
    };
    let Some(transaction) = parse(bytes) else { return false };
    let text = serde_json::to_vec(&TransactionJson::new(&transaction, network));
    let text = text.expect("a transaction has a JSON form");
    assert_eq!(parse(&text).as_ref(), Some(&transaction));
    if let Err(error) = rules::check_transaction(&transaction, network) {
        assert_ne!(error.to_string(), "");
    }
    true
}

/// A transaction of the original system. Its id is computed again, from its fields as another parser reads them.
pub fn original(bytes: &[u8]) -> bool {
    let network = &world().network;
    let Ok(transaction) = original::transaction(bytes, network) else { return false };
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(bytes).expect("it has just been read");
    let text = |name: &str| -> String {
        serde_json::from_str(fields[name].get()).expect("every field but the amount is a text")
    };
    let amount = fields["amount"].get();
    let names = ["to_node", "from_node", "timestamp"].map(text);
    let [to, from, time] = names.each_ref().map(|name| python(name));
    let hashed =
        format!(r#"{{"to_node": {to}, "from_node": {from}, "amount": {amount}, "timestamp": {time}}}"#);
    assert_eq!(Hash::of(&[hashed.as_bytes()]).to_string(), text("unique_id").to_lowercase());
    let payment = transaction.payment();
    assert_eq!(amount.parse(), Ok(payment.amount));
    assert_eq!(network.account(&names[0]), Ok(payment.to));
    assert_eq!(network.account(&names[1]), Ok(payment.from));
    assert!(payment.timestamp.to_string().starts_with(&names[2]));
    assert_eq!(rules::check_transaction(&transaction, network), Ok(()));
    true
}

/// A text as Python's `json.dumps` prints it.
pub fn python(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a text has a JSON form");
    let mut ascii = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ 0..0x7f) => ascii.push(char::from(byte)),
            _ => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    ascii
}

/// A network file. What is taken has a text that describes the same network.
pub fn network_file(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(network) = config::parse_network(text) else { return false };
    let file: NetworkFile = toml::from_str(text).expect("it has just been read");
    let text = config::network_text(&file).expect("a network file has a text");
    assert_eq!(config::parse_network(&text).ok().as_ref(), Some(&network));
    true
}

/// Lines of messages that arrive at a node whose peer has a better chain.
pub fn node(bytes: &[u8]) -> bool {
    let network = &world().network;
    let (mut node, now) = world().node();
    let mut work = node.tip().work;
    let mut taken = false;
    for line in bytes.split(|byte| *byte == b'\n').take(MESSAGES_MAX) {
        taken |= Message::decode(line, network).is_ok();
        let event = Event::Message { from: Some(PEER), bytes: line.to_vec() };
        let effects = step(&mut node, now, event);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects", effects.len());
        for effect in effects {
            if let Effect::Send { bytes, .. } = effect {
                assert!(Message::decode(&bytes, network).is_ok(), "what a node sends can be read");
            }
        }
        assert!(work <= node.tip().work, "a node never moves to a chain with less work");
        work = node.tip().work;
    }
    taken
}

/// A request on a node's socket.
pub fn control(bytes: &[u8]) -> bool {
    let Ok(request) = serde_json::from_slice::<control::Request>(bytes) else { return false };
    let text = serde_json::to_vec(&request).expect("a request has a JSON form");
    let again: control::Request = serde_json::from_slice(&text).expect("what a client sends can be read");
    assert_eq!(serde_json::to_vec(&again).expect("a request has a JSON form"), text);
    true
}

/// The texts of amounts, times, digests, accounts and node numbers: a text that is taken comes back the same.
pub fn text(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut taken = false;
    macro_rules! comes_back {
        ($($kind:ty),*) => {$(
            if let Ok(value) = text.parse::<$kind>() {
                assert_eq!(value.to_string().parse::<$kind>(), Ok(value));
                taken = true;
            }
        )*};
    }
    comes_back!(Amount, Timestamp, Hash, AccountId, NodeId);
    taken
}
