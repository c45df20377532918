//! Inputs that are well-formed: what a peer, a client or this node's own former self might have written, with values
//! at the edges of their types. Digests and checksums are right, so that damage elsewhere is what gets noticed.

use std::sync::Arc;

use node::config;
use node::transport::local::cursor::{self, Place};
use node::transport::local::frame;
use quarry_core::block::Block;
use quarry_core::codec;
use quarry_core::header::Header;
use quarry_core::json::{BlockJson, TransactionJson};
use quarry_core::message::{Message, Request, Status};
use quarry_core::network::{AccountEntry, Difficulty, Limits, NetworkFile};
use quarry_core::store::{Record, Status as Checked, Undo};
use quarry_core::target::{Bits, Work};
use quarry_core::transaction::{Authorization, Payment, Transaction};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId, Timestamp};

use crate::dice::Dice;
use crate::targets::{files, python};
use crate::world::{self, PEER, mined, world};

/// A message of any kind.
pub fn message(dice: &mut Dice) -> Vec<u8> {
    any_message(dice).encode(&world().network)
}

/// A few messages that follow each other, some of them what the node waits for.
pub fn conversation(dice: &mut Dice) -> Vec<u8> {
    let world = world();
    let mut lines = Vec::new();
    if dice.once_in(2) {
        let headers = world.branch[..dice.below(world.branch.len() + 1)].iter().map(|block| block.header);
        let (headers, nonce) = (headers.collect(), world.sync_nonce);
        lines.push(Message::Headers { from: PEER, nonce, headers, more: dice.once_in(4) });
        let blocks = world.branch[..dice.below(world.branch.len() + 1)].to_vec();
        lines.push(Message::Blocks { from: PEER, nonce: nonce.wrapping_add(1), blocks });
    }
    for _ in 0..dice.below(3) {
        lines.push(any_message(dice));
    }
    let lines: Vec<_> = lines.iter().map(|message| message.encode(&world.network)).collect();
    lines.join(&b'\n')
}

/// A block as JSON.
pub fn block_json(dice: &mut Dice) -> Vec<u8> {
    let block = block(dice);
    serde_json::to_vec(&BlockJson::new(&block, &world().network)).expect("a block has a JSON form")
}

/// A transaction as JSON.
pub fn transaction_json(dice: &mut Dice) -> Vec<u8> {
    let transaction = any_transaction(dice);
    let json = serde_json::to_vec(&TransactionJson::new(&transaction, &world().network));
    json.expect("a transaction has a JSON form")
}

/// A transaction of the original system, its id right for whatever its fields are.
pub fn original(dice: &mut Dice) -> Vec<u8> {
    let name = |dice: &mut Dice| match dice.below(24) {
        0 => "alice".to_owned(),
        1 => account(dice).to_string(),
        2 => "no\"b\u{f6}dy\u{1f600}\n\u{7f}".to_owned(),
        _ => format!("open{}", dice.below(2)),
    };
    let (to, from) = (name(dice), name(dice));
    let amount = match dice.below(8) {
        0 => (*dice.pick(&["0.1", "1.0", "100", "1e-05", "1E2", "-0.0", "0.30000000000000004", "true"]))
            .to_owned(),
        1 => amount(dice).to_string(),
        _ => format!("{}.{}", dice.below(1000), 1 + dice.below(99)),
    };
    let mut time = timestamp(dice).to_string();
    if let Some(whole) = time.strip_suffix(".000000") {
        time = whole.to_owned();
    }
    let [to, from, time] = [to, from, time].map(|text| python(&text));
    let fields = format!(r#""to_node": {to}, "from_node": {from}, "amount": {amount}, "timestamp": {time}"#);
    let id = Hash::of(&[b"{", fields.as_bytes(), b"}"]);
    format!(r#"{{{fields}, "unique_id": "{id}"}}"#).into_bytes()
}

/// A network file.
pub fn network_file(dice: &mut Dice) -> Vec<u8> {
    let mut file = NetworkFile { genesis_time: timestamp(dice), ..world::network_file() };
    if dice.once_in(2) {
        let bits = dice.pick(&[0x2010_0000, 0x1d00_ffff, 0x2000_ffff, 0, 0xffff_ffff]);
        file.difficulty = Difficulty::Bits(Bits(*bits));
    } else {
        file.difficulty = Difficulty::Zeros(u32::try_from(dice.below(70)).unwrap_or_default());
    }
    if dice.once_in(3) {
        file.reward = amount(dice).to_string();
    }
    if dice.once_in(3) {
        let number = |dice: &mut Dice| dice.edge() as u32; // Any number will do.
        file.limits = Limits {
            block_transactions: number(dice),
            message_bytes: number(dice),
            transaction_window: number(dice),
        };
    }
    for number in 0..dice.below(4) {
        let name = format!("account{number}");
        file.accounts.push(match dice.once_in(2) {
            true => AccountEntry::open(&name, amount(dice)),
            false => AccountEntry::keyed(&name, amount(dice), &dice.bytes()),
        });
    }
    config::network_text(&file).expect("a network file has a text").into_bytes()
}

/// A request on a node's socket.
pub fn control(dice: &mut Dice) -> Vec<u8> {
    let number = dice.edge();
    let text = match dice.below(7) {
        0 => r#""status""#.into(),
        1 => r#""stopMining""#.into(),
        2 => format!(r#"{{"query":{{"chain":{{"count":{number}}}}}}}"#),
        3 => format!(r#"{{"query":{{"blockAt":{number}}}}}"#),
        4 => format!(r#"{{"query":{{"block":"{}"}}}}"#, hash(dice)),
        5 => r#"{"query":{"balances":{"account":"open0"}}}"#.into(),
        _ => format!(r#"{{"submit":{}}}"#, String::from_utf8_lossy(&transaction_json(dice))),
    };
    text.into_bytes()
}

/// A header's bytes.
pub fn header(dice: &mut Dice) -> Vec<u8> {
    any_header(dice).to_bytes().to_vec()
}

/// A record's bytes.
pub fn record(dice: &mut Dice) -> Vec<u8> {
    let status = *dice.pick(&[Checked::Stored, Checked::Valid, Checked::Invalid]);
    let record = Record { header: any_header(dice), work: Work::from_be_bytes(dice.bytes()), status };
    codec::encode_record(&record).to_vec()
}

/// A body's bytes.
pub fn body(dice: &mut Dice) -> Vec<u8> {
    let transactions = transactions(dice);
    codec::encode_body(&Block { header: world().network.genesis, extra_nonce: dice.edge(), transactions })
}

/// A transaction's bytes.
pub fn transaction(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::put_transaction(&mut bytes, &any_transaction(dice));
    bytes
}

/// Undo data's bytes.
pub fn undo(dice: &mut Dice) -> Vec<u8> {
    let balance = |dice: &mut Dice| (!dice.once_in(3)).then(|| amount(dice));
    let balances = (0..dice.below(6)).map(|_| (account(dice), balance(dice))).collect();
    codec::encode_undo(&Undo { balances, indexed_from: Height(dice.edge()) })
}

/// A log of a few frames, one of which may claim any length.
pub fn frames(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..dice.below(5) {
        if dice.once_in(8) {
            // The header's own checksum is right, so it is the length that has to be doubted.
            let start = bytes.len();
            bytes.extend(dice.bytes::<8>());
            let check = crc32fast::hash(&bytes[start..]);
            bytes.extend(check.to_be_bytes());
        }
        let payload: Vec<u8> = dice.bytes::<64>()[..dice.below(65)].to_vec();
        let times = if dice.once_in(16) { 100 } else { 1 };
        frame::encode(&payload.repeat(times), &mut bytes);
    }
    bytes
}

/// A cursor's file, one of its records perhaps torn.
pub fn cursor(dice: &mut Dice) -> Vec<u8> {
    let stores = dice.edge();
    let mut place = || Place { segment: dice.edge(), offset: dice.edge() };
    let records = [cursor::record(stores, place()), cursor::record(stores.wrapping_add(1), place())];
    let mut bytes = records.concat();
    if dice.once_in(3) {
        let at = dice.below(bytes.len());
        bytes[at] ^= 1;
    }
    bytes
}

/// What is done to a store's file: mostly small damage to the parts of it that are in use.
pub fn store(dice: &mut Dice) -> Vec<u8> {
    let which = dice.below(2);
    let image = &files().images[which];
    let mut script = vec![u8::try_from(which).unwrap_or_default()];
    for _ in 0..*dice.pick(&[0, 1, 1, 1, 2, 3, 4]) {
        let mut place = dice.below(image.len());
        while !dice.once_in(64) && image[place] == 0 {
            place = dice.below(image.len());
        }
        // The file's head is small and everything depends on it.
        if dice.once_in(4) {
            place %= 512;
        }
        let kind = *dice.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 5]);
        let longest = if dice.once_in(2) { 1 } else { 32 };
        let data = &dice.bytes::<32>()[..1 + dice.below(longest)];
        script.push(kind);
        script.extend(u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes());
        match kind {
            0 if dice.once_in(2) => script.extend([1, 1 << dice.below(8)]),
            0..=2 => {
                script.push(u8::try_from(data.len()).unwrap_or_default());
                script.extend(data);
            }
            _ => script.push(dice.bytes::<1>()[0]),
        }
    }
    script
}

/// The text of one of the small types.
pub fn text(dice: &mut Dice) -> Vec<u8> {
    let text = match dice.below(5) {
        0 => amount(dice).to_string(),
        1 => timestamp(dice).to_string(),
        2 => hash(dice).to_string(),
        3 => account(dice).to_string(),
        _ => NodeId(u16::from_be_bytes(dice.bytes())).to_string(),
    };
    text.into_bytes()
}

fn any_message(dice: &mut Dice) -> Message {
    let from = if dice.once_in(4) { NodeId(u16::from_be_bytes(dice.bytes())) } else { PEER };
    let nonce = if dice.once_in(2) { world().sync_nonce } else { dice.edge() };
    match dice.below(8) {
        0 => Message::Transactions(transactions(dice)),
        1 => Message::Block(Arc::new(block(dice))),
        2 => Message::GetHeaders(Request { from, nonce, hashes: hashes(dice) }),
        3 => {
            let headers = (0..dice.below(4)).map(|_| any_header(dice)).collect();
            Message::Headers { from, nonce, headers, more: dice.once_in(2) }
        }
        4 => Message::GetBlocks(Request { from, nonce, hashes: hashes(dice) }),
        5 => Message::Blocks { from, nonce, blocks: (0..dice.below(3)).map(|_| block(dice)).collect() },
        6 => Message::Status(Status {
            from,
            nonce,
            tip: hash(dice),
            height: Height(dice.edge()),
            work: Work::from_be_bytes(dice.bytes()),
            reply_wanted: dice.once_in(2),
            reply_to: dice.once_in(2).then(|| dice.edge()),
        }),
        _ => Message::Bye { from, nonce },
    }
}

fn block(dice: &mut Dice) -> Block {
    let world = world();
    if dice.once_in(2) {
        let parent = dice.pick(&world.chain).header;
        return world.child(&parent, payable(dice));
    }
    let block =
        Block { header: any_header(dice), extra_nonce: dice.edge(), transactions: transactions(dice) };
    if dice.once_in(2) { mined(block) } else { block }
}

fn any_header(dice: &mut Dice) -> Header {
    let world = world();
    if dice.once_in(2) {
        let blocks = if dice.once_in(2) { &world.chain } else { &world.branch };
        return dice.pick(blocks).header;
    }
    Header {
        prev_hash: hash(dice),
        tx_root: hash(dice),
        version: if dice.once_in(4) { u32::from_be_bytes(dice.bytes()) } else { Header::VERSION },
        bits: if dice.once_in(4) { Bits(u32::from_be_bytes(dice.bytes())) } else { world.network.bits },
        index: Height(dice.edge()),
        timestamp: timestamp(dice),
        miner: account(dice),
        nonce: dice.edge(),
    }
}

fn transactions(dice: &mut Dice) -> Vec<Transaction> {
    (0..dice.below(4)).map(|_| any_transaction(dice)).collect()
}

fn payable(dice: &mut Dice) -> Vec<Transaction> {
    (0..dice.below(3)).map(|_| dice.pick(&world().payable).clone()).collect()
}

fn any_transaction(dice: &mut Dice) -> Transaction {
    let world = world();
    if dice.once_in(2) {
        return dice.pick(&world.payable).clone();
    }
    let payment =
        Payment { from: account(dice), to: account(dice), amount: amount(dice), timestamp: timestamp(dice) };
    let authorization = dice
        .once_in(3)
        .then(|| Authorization { public_key: dice.bytes(), signature: [dice.bytes::<1>()[0]; 64] });
    Transaction::new(&world.network.id, payment, authorization)
}

fn hashes(dice: &mut Dice) -> Vec<Hash> {
    let count = if dice.once_in(8) { dice.below(140) } else { dice.below(6) };
    (0..count).map(|_| hash(dice)).collect()
}

fn hash(dice: &mut Dice) -> Hash {
    if dice.once_in(3) { Hash(dice.bytes()) } else { dice.pick(&world().chain).header.hash() }
}

fn account(dice: &mut Dice) -> AccountId {
    if dice.once_in(3) { AccountId(dice.bytes()) } else { dice.pick(&world().network.accounts).id }
}

fn amount(dice: &mut Dice) -> Amount {
    Amount(dice.edge())
}

fn timestamp(dice: &mut Dice) -> Timestamp {
    let near = world().network.genesis.timestamp.saturating_add(dice.edge() % 10_000_000_000);
    if dice.once_in(3) { Timestamp::from_micros(dice.edge()).unwrap_or(Timestamp::MAX) } else { near }
}
