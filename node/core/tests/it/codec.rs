//! What is encoded comes back as it was, and what is no encoding of anything is refused without a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::codec::{self, CodecError, Reader};
use quarry_core::effect::Event;
use quarry_core::header::{Header, TimestampOutOfRange};
use quarry_core::json::{BlockJson, TransactionJson};
use quarry_core::message::{Message, Request, Status};
use quarry_core::network::{MESSAGE_OVERHEAD, Network, TRANSACTION_JSON_MAX};
use quarry_core::target::{Bits, Work};
use quarry_core::transaction::{Authorization, Payment, Transaction};
use quarry_core::units::{AccountId, Amount, Hash, Height, NodeId, Timestamp};

use crate::rig::{PEER, Rig, network_file};

fn network() -> Network {
    Network::new(&network_file()).unwrap()
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn account() -> impl Strategy<Value = AccountId> {
    let named = (0..5_usize).prop_map(|number| network().accounts[number].id);
    prop_oneof![named, any::<[u8; 20]>().prop_map(AccountId)]
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    let micros = prop_oneof![0..=Timestamp::MAX.micros(), Just(Timestamp::MAX.micros()), 0..10_u64];
    micros.prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..300_u64, Just(u64::MAX)]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let authorization = proptest::option::of((any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>()));
    (account(), account(), number(), timestamp(), authorization).prop_map(
        |(from, to, amount, timestamp, auth)| {
            let payment = Payment { from, to, amount: Amount(amount), timestamp };
            let authorization = auth.map(|(public_key, first, second)| {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&first);
                signature[32..].copy_from_slice(&second);
                Authorization { public_key, signature }
            });
            Transaction::new(&network().id, payment, authorization)
        },
    )
}

fn header() -> impl Strategy<Value = Header> {
    (hash(), hash(), any::<u32>(), any::<u32>(), number(), timestamp(), account(), number()).prop_map(
        |(prev_hash, tx_root, version, bits, index, timestamp, miner, nonce)| {
            let (bits, index) = (Bits(bits), Height(index));
            Header { prev_hash, tx_root, version, bits, index, timestamp, miner, nonce }
        },
    )
}

fn block() -> impl Strategy<Value = Block> {
    (header(), number(), vec(transaction(), 0..5)).prop_map(|(header, extra_nonce, transactions)| Block {
        header,
        extra_nonce,
        transactions,
    })
}

fn request() -> impl Strategy<Value = Request> {
    (any::<u16>(), number(), vec(hash(), 0..128)).prop_map(|(from, nonce, hashes)| Request {
        from: NodeId(from),
        nonce,
        hashes,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let headers = (any::<u16>(), number(), vec(header(), 0..20), any::<bool>());
    let blocks = (any::<u16>(), number(), vec(block(), 0..4));
    let status =
        (any::<u16>(), number(), hash(), number(), any::<[u8; 32]>(), any::<bool>(), any::<Option<u64>>());
    prop_oneof![
        vec(transaction(), 0..20).prop_map(Message::Transactions),
        block().prop_map(|block| Message::Block(block.into())),
        request().prop_map(Message::GetHeaders),
        request().prop_map(Message::GetBlocks),
        headers.prop_map(|(from, nonce, headers, more)| {
            Message::Headers { from: NodeId(from), nonce, headers, more }
        }),
        blocks.prop_map(|(from, nonce, blocks)| Message::Blocks { from: NodeId(from), nonce, blocks }),
        status.prop_map(|(from, nonce, tip, height, work, reply_wanted, reply_to)| {
            let (from, height, work) = (NodeId(from), Height(height), Work::from_be_bytes(work));
            Message::Status(Status { from, nonce, tip, height, work, reply_wanted, reply_to })
        }),
        (any::<u16>(), number()).prop_map(|(from, nonce)| Message::Bye { from: NodeId(from), nonce }),
    ]
}

/// What may happen to some bytes on their way.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    // Bytes that mean something to JSON do more harm than others.
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:0123456789-+.eE\\ntf".to_vec())];
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (index(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        index().prop_map(Damage::Remove),
        index().prop_map(Damage::Truncate),
        (index(), index()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match damage {
            Damage::Flip(at, bits) => bytes[at.index(len)] ^= bits,
            Damage::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Damage::Remove(at) => drop(bytes.remove(at.index(len))),
            Damage::Truncate(at) => bytes.truncate(at.index(len)),
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_back(message in message()) {
        let network = network();
        let bytes = message.encode(&network);
        prop_assert_eq!(Message::decode(&bytes, &network), Ok(message));
    }

    #[test]
    fn a_damaged_message_does_no_harm(message in message(), damages in vec(damage(), 1..8)) {
        let mut rig = Rig::new();
        let bytes = damaged(message.encode(rig.network()), &damages);
        if let Ok(decoded) = Message::decode(&bytes, rig.network()) {
            let again = decoded.encode(rig.network());
            prop_assert_eq!(Message::decode(&again, rig.network()), Ok(decoded));
        }
        for from in [None, Some(PEER)] {
            rig.step(Event::Message { from, bytes: bytes.clone() });
        }
        rig.assert_works();
    }

    #[test]
    fn headers_come_back(header in header()) {
        let bytes = header.to_bytes();
        prop_assert_eq!(Header::from_bytes(&bytes), Ok(header));
        prop_assert_eq!(Hash::of(&[&bytes]), header.hash());
    }

    #[test]
    fn any_bytes_are_a_header_or_none(head in any::<[u8; 58]>(), tail in any::<[u8; 58]>()) {
        let mut bytes = [0; Header::LEN];
        bytes[..58].copy_from_slice(&head);
        bytes[58..].copy_from_slice(&tail);
        match Header::from_bytes(&bytes) {
            Ok(header) => prop_assert_eq!(header.to_bytes(), bytes),
            Err(TimestampOutOfRange(micros)) => prop_assert!(Timestamp::MAX.micros() < micros),
        }
    }

    #[test]
    fn transactions_come_back(transaction in transaction()) {
        let network = network();
        let mut bytes = Vec::new();
        codec::put_transaction(&mut bytes, &transaction);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(codec::take_transaction(&mut reader, &network.id), Ok(transaction.clone()));
        prop_assert_eq!(reader.finish(), Ok(()));
        for len in 0..bytes.len() {
            let result = codec::take_transaction(&mut Reader::new(&bytes[..len]), &network.id);
            let is_truncated = matches!(result, Err(CodecError::Truncated { .. }));
            prop_assert!(is_truncated);
        }
        let text = serde_json::to_string(&TransactionJson::new(&transaction, &network)).unwrap();
        prop_assert!(text.len() < TRANSACTION_JSON_MAX as usize, "{} bytes", text.len());
        let json: TransactionJson<'_> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(json.parse(&network), Ok(transaction));
    }

    #[test]
    fn blocks_come_back(block in block()) {
        let network = network();
        let bytes = codec::encode_body(&block);
        prop_assert_eq!(codec::decode_body(block.header, &bytes, &network.id), Ok(block.clone()));
        let text = serde_json::to_string(&BlockJson::new(&block, &network)).unwrap();
        let json: BlockJson<'_> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(json.parse(&network), Ok(block.clone()));
        let room = MESSAGE_OVERHEAD as usize + block.transactions.len() * TRANSACTION_JSON_MAX as usize;
        prop_assert!(Message::Block(block.clone().into()).encode(&network).len() <= room);
        let blocks = Message::Blocks { from: NodeId(u16::MAX), nonce: u64::MAX, blocks: vec![block] };
        prop_assert!(blocks.encode(&network).len() <= room);
    }

    #[test]
    fn damaged_bodies_are_refused_or_are_something_else(block in block(), damages in vec(damage(), 1..4)) {
        let id = network().id;
        let good = codec::encode_body(&block);
        let bytes = damaged(good.clone(), &damages);
        if let Ok(decoded) = codec::decode_body(block.header, &bytes, &id) {
            // No other bytes decode to the same.
            prop_assert_eq!(codec::encode_body(&decoded), bytes);
        }
    }

    #[test]
    fn texts_come_back(amount in number(), timestamp in timestamp(), hash in hash()) {
        prop_assert_eq!(Amount(amount).to_string().parse(), Ok(Amount(amount)));
        prop_assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
        prop_assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn any_text_is_a_value_or_none(text in "[-+0-9a-fA-FTZ:. \\PC]{0,40}") {
        if let Ok(amount) = text.parse::<Amount>() {
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            prop_assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
        }
        prop_assert!(text.parse::<Hash>().is_err());
    }

    /// The target again as Bitcoin's documentation tells it: three bytes of mantissa, moved by so many bytes.
    #[test]
    fn a_target_has_one_compact_form(size in 0..40_u32, mantissa in any::<[u8; 3]>()) {
        let [high, middle, low] = mantissa;
        let bits = Bits(u32::from_be_bytes([size.to_be_bytes()[3], high, middle, low]));
        let Ok(target) = bits.target() else { return Ok(()) };
        let mut bytes = vec![0; 3];
        bytes.extend(mantissa);
        bytes.extend(vec![0; 40]);
        let end = 3 + size as usize;
        let mut expected = vec![0; 40];
        expected.extend(&bytes[..end.min(bytes.len())]);
        prop_assert_eq!(&target.to_be_bytes()[..], &expected[expected.len() - 32..]);
        prop_assert_eq!(target.bits(), bits);
        prop_assert!(high & 0x80 == 0);
    }
}
