//! What a message may look like, and what becomes of one that does not.

use std::sync::Arc;

use quarry_core::effect::{Event, Notice};
use quarry_core::header::TimestampOutOfRange;
use quarry_core::json::JsonError;
use quarry_core::message::{HASHES_MAX, HEADERS_MAX, Message, MessageError, Request, Status};
use quarry_core::network::{Network, NetworkFile, UnknownAccount};
use quarry_core::units::{Hash, Height, NodeId, Timestamp};

use crate::rig::{BYSTANDER, PEER, Rig, SELF, network_file};

/// The text is refused for this reason, whoever sends it, and nothing else happens.
#[track_caller]
fn check(text: &str, error: MessageError) {
    for from in [Some(PEER), None] {
        let refused = Notice::MessageRefused { from, error: error.clone() };
        Rig::new().assert_refused(Event::Message { from, bytes: text.as_bytes().to_vec() }, &[refused]);
    }
}

#[track_caller]
fn check_malformed(bytes: &[u8]) {
    let mut rig = Rig::new();
    let before = rig.state();
    let outcome = rig.step(Event::Message { from: Some(PEER), bytes: bytes.to_vec() });
    let [Notice::MessageRefused { from: Some(PEER), error }] = &outcome.notices[..] else {
        panic!("{:?}", outcome.notices)
    };
    let is_malformed =
        matches!(error, MessageError::Malformed(_) | MessageError::Json(JsonError::Malformed(_)));
    assert!(is_malformed, "{error:?}");
    assert!(error.to_string().len() < 1000, "what is logged is bounded");
    assert_eq!(rig.state(), before);
    rig.assert_works();
}

fn text(rig: &Rig, message: &Message) -> String {
    String::from_utf8(message.encode(rig.network())).unwrap()
}

/// A good message of every kind.
fn messages(rig: &Rig) -> Vec<Message> {
    let transactions = vec![rig.pay("open0", "bob", 1), rig.pay("alice", "#9", 123)];
    let block = rig.next(transactions.clone());
    let request = Request { from: PEER, nonce: u64::MAX, hashes: vec![Hash([1; 32]), Hash([2; 32])] };
    let status = Status {
        from: PEER,
        nonce: 5,
        tip: block.header.hash(),
        height: Height(1),
        work: rig.network().bits.target().unwrap().work(),
        reply_wanted: true,
        reply_to: Some(u64::MAX),
    };
    vec![
        Message::Transactions(transactions),
        Message::Block(Arc::new(block.clone())),
        Message::GetHeaders(request.clone()),
        Message::Headers { from: PEER, nonce: 1, headers: vec![block.header; 2], more: true },
        Message::GetBlocks(request),
        Message::Blocks { from: PEER, nonce: 1, blocks: vec![block.clone(), block] },
        Message::Status(status),
        Message::Bye { from: PEER, nonce: 2 },
    ]
}

#[test]
fn every_kind_of_message_comes_back_as_it_was() {
    let rig = Rig::new();
    for message in messages(&rig) {
        assert_eq!(Message::decode(&message.encode(rig.network()), rig.network()), Ok(message));
    }
}

#[test]
fn garbage_is_refused() {
    let rig = Rig::new();
    for bytes in [&b""[..], b"\0", b"\xff\xfe\xfd", b"null", b"[]", b"{}", b"0", b"\"", b"{\"quarry\":2}"] {
        check_malformed(bytes);
    }
    for message in messages(&rig) {
        let good = text(&rig, &message);
        check_malformed(&good.as_bytes()[..good.len() - 1]);
        check_malformed(&good.as_bytes()[1..]);
        check_malformed(format!("{good} x").as_bytes());
        check_malformed(good.replacen("\"quarry\":2", "\"quarry\":2,\"quarry\":2", 1).as_bytes());
        check_malformed(good.replacen("\"quarry\":2", "\"quarry\":2,\"more\":1", 1).as_bytes());
        check_malformed(good.replacen("\"quarry\":2", "\"quarry\":-1", 1).as_bytes());
        check_malformed(good.replacen("\"quarry\":2", "\"quarry\":4294967296", 1).as_bytes());
        let (head, _) = good.split_once("\"body\":").unwrap();
        for body in ["null", "{}", "[{}]", "[null]", "1", "\"\"", "{\"from\":1}", "[[]]"] {
            check_malformed(format!("{head}\"body\":{body}}}").as_bytes());
        }
    }
}

#[test]
fn unknown_and_repeated_fields_are_refused() {
    let rig = Rig::new();
    for (message, field) in messages(&rig).iter().zip([
        "\"amount\":",
        "\"prevHash\":",
        "\"hashes\":",
        "\"more\":",
        "\"hashes\":",
        "\"nonce\":",
        "\"work\":",
        "\"nonce\":",
    ]) {
        let good = text(&rig, message);
        assert!(good.contains(field), "{good}");
        check_malformed(good.replacen(field, &format!("\"extra\":0,{field}"), 1).as_bytes());
        check_malformed(good.replacen(field, &format!("\"x{}", &field[1..]), 1).as_bytes());
    }
}

/// A parser that follows every bracket down its own stack is brought down by a few kilobytes of them.
#[test]
fn deep_nesting_is_refused() {
    let rig = Rig::new();
    let depth = 60_000;
    check_malformed("[".repeat(depth).as_bytes());
    check_malformed("{\"a\":".repeat(depth / 4).as_bytes());
    for message in messages(&rig) {
        let good = text(&rig, &message);
        let (head, _) = good.split_once("\"body\":").unwrap();
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check_malformed(format!("{head}\"body\":{nested}}}").as_bytes());
        check_malformed(format!("{head}\"body\":{}", "[".repeat(depth)).as_bytes());
    }
    let good = text(&rig, &messages(&rig)[0]);
    let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    check_malformed(good.replacen("\"amount\":0.01", &format!("\"amount\":{nested}"), 1).as_bytes());
}

#[test]
fn oversize_is_refused_before_it_is_read() {
    let rig = Rig::new();
    let max = rig.network().limits.message_bytes;
    let padded = |message: &Message, bytes: usize| {
        let good = text(&rig, message);
        format!("{good}{}", " ".repeat(bytes - good.len()))
    };
    for message in messages(&rig) {
        let bytes = max as usize + 1;
        check(&padded(&message, bytes), MessageError::TooLarge { bytes, max });
        assert_eq!(Message::decode(padded(&message, max as usize).as_bytes(), rig.network()), Ok(message));
    }
    let bytes = 3 * max as usize;
    check(&"[".repeat(bytes), MessageError::TooLarge { bytes, max });
}

#[test]
fn another_version_or_network_is_refused() {
    let rig = Rig::new();
    let foreign = Network::new(&NetworkFile { name: "other".into(), ..network_file() }).unwrap();
    for message in messages(&rig) {
        let text = text(&rig, &message);
        for version in [0, 1, u32::MAX] {
            let other = text.replacen("\"quarry\":2", &format!("\"quarry\":{version}"), 1);
            check(&other, MessageError::Version(version));
        }
        let text = String::from_utf8(message.encode(&foreign)).unwrap();
        check(&text, MessageError::ForeignNetwork(foreign.id));
        // The network is looked at before anything that depends on it.
        let (head, _) = text.split_once("\"body\":").unwrap();
        check(&format!("{head}\"body\":[[1]]}}"), MessageError::ForeignNetwork(foreign.id));
    }
}

#[test]
fn unknown_types_are_refused() {
    let rig = Rig::new();
    let good = text(&rig, &messages(&rig)[0]);
    for (kind, named) in [("", ""), ("Block", "Block"), ("é", "é"), (&"x".repeat(50_000), &"x".repeat(40))]
    {
        let other = good.replacen("\"type\":\"transactions\"", &format!("\"type\":\"{kind}\""), 1);
        check(&other, MessageError::UnknownType(named.into()));
    }
}

#[test]
fn lists_are_bounded() {
    let rig = Rig::new();
    let hashes = vec![Hash::default(); HASHES_MAX + 1];
    let request = Request { from: PEER, nonce: 1, hashes };
    let (count, max) = (HASHES_MAX + 1, HASHES_MAX);
    for message in [Message::GetHeaders(request.clone()), Message::GetBlocks(request)] {
        check(&text(&rig, &message), MessageError::TooMany { what: "hashes", count, max });
    }
    let block = rig.next(Vec::new());
    let blocks = Message::Blocks { from: PEER, nonce: 1, blocks: vec![block.clone(); count] };
    check(&text(&rig, &blocks), MessageError::TooMany { what: "blocks", count, max });
    let (count, max) = (HEADERS_MAX + 1, HEADERS_MAX);
    let headers = Message::Headers { from: PEER, nonce: 1, headers: vec![block.header; count], more: false };
    check(&text(&rig, &headers), MessageError::TooMany { what: "headers", count, max });
}

#[test]
fn a_time_without_a_text_form_is_refused() {
    let rig = Rig::new();
    let header = rig.next(Vec::new()).header;
    let good = text(&rig, &Message::Headers { from: PEER, nonce: 1, headers: vec![header], more: false });
    let hex = |micros: u64| format!("{micros:016x}");
    for micros in [Timestamp::MAX.micros() + 1, u64::MAX] {
        let bad = good.replacen(&hex(header.timestamp.micros()), &hex(micros), 1);
        check(&bad, TimestampOutOfRange(micros).into());
    }
    let good = text(&rig, &messages(&rig)[1]);
    let time = rig.now.utc.to_string();
    for bad in ["10000-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2026-13-01 00:00:00", "", "now"] {
        check_malformed(good.replace(&time, bad).as_bytes());
    }
}

#[test]
fn a_text_must_not_contradict_itself() {
    let rig = Rig::new();
    let [unsigned, signed] = [rig.pay("open0", "bob", 1), rig.pay("alice", "bob", 1)];
    let of =
        |it: &quarry_core::transaction::Transaction| text(&rig, &Message::Transactions(vec![it.clone()]));
    let (one, other) = (of(&unsigned), of(&signed));

    let claimed = signed.id();
    let forged = one.replace(&unsigned.id().to_string(), &claimed.to_string());
    check(&forged, JsonError::TxId { claimed, computed: unsigned.id() }.into());
    let more = one.replace("\"amount\":0.01", "\"amount\":0.02");
    let computed = rig.pay("open0", "bob", 2).id();
    check(&more, JsonError::TxId { claimed: unsigned.id(), computed }.into());

    let unknown = one.replace("\"open0\"", "\"nobody\"");
    check(&unknown, JsonError::Account(UnknownAccount("nobody".into())).into());
    let long = one.replace("\"open0\"", &format!("\"{}\"", "é".repeat(10_000)));
    check(&long, JsonError::Account(UnknownAccount("é".repeat(80))).into());
    let other_version = one.replace("{\"to_node\"", "{\"version\":2,\"to_node\"");
    check(&other_version, JsonError::Version(2).into());

    let authorization = signed.authorization().unwrap();
    let key = format!(",\"public_key\":\"{}\"", const_hex::encode(authorization.public_key));
    let signature = format!(",\"signature\":\"{}\"", const_hex::encode(authorization.signature));
    for half in [&key, &signature] {
        assert!(other.contains(half));
        check(&other.replace(half, ""), JsonError::HalfSigned(signed.id()).into());
    }
    for field in [&key, &signature] {
        let short = field.replacen(":\"", ":\"0x", 1);
        check_malformed(other.replace(field, &short).as_bytes());
        check_malformed(other.replace(field, &field.replace(&field[field.len() - 3..], "\"")).as_bytes());
    }

    let block = rig.next(vec![unsigned.clone()]);
    let good = text(&rig, &Message::Block(Arc::new(block.clone())));
    let claimed = Hash([7; 32]);
    let forged =
        good.replace(&format!("\"hash\":\"{}\"", block.header.hash()), &format!("\"hash\":\"{claimed}\""));
    check(&forged, JsonError::Hash { claimed, computed: block.header.hash() }.into());
    let forged = good.replace(&unsigned.id().to_string(), &signed.id().to_string());
    check(&forged, JsonError::TxId { claimed: signed.id(), computed: unsigned.id() }.into());
}

#[test]
fn nobody_speaks_for_another() {
    let rig = Rig::new();
    for message in &messages(&rig)[2..] {
        let bytes = message.encode(rig.network());
        for from in [None, Some(BYSTANDER)] {
            let mismatch = Notice::SenderMismatch { from, claimed: PEER };
            let mut rig = Rig::new();
            rig.assert_refused(Event::Message { from, bytes: bytes.clone() }, &[mismatch]);
            assert!(rig.node.peers().iter().all(|(_, peer)| peer.claim.is_none()));
        }
    }
}

/// A transport whose senders name themselves would let anybody send messages as from the node itself. It then joined
/// its own list of peers, and told itself about every transaction and block from there on.
#[test]
fn a_node_is_no_peer_of_its_own() {
    let mut rig = Rig::new();
    let transaction = rig.pay("open0", "bob", 1);
    rig.receive(Some(SELF), &Message::Transactions(vec![transaction]));
    assert_eq!(rig.node.mempool().len(), 1);
    for message in messages(&rig).into_iter().skip(2) {
        let mut bytes = String::from_utf8(message.encode(rig.network())).unwrap();
        bytes = bytes.replacen("\"from\":1", "\"from\":0", 1);
        let outcome = rig.step(Event::Message { from: Some(SELF), bytes: bytes.into_bytes() });
        assert_eq!(outcome.notices, [Notice::SenderMismatch { from: None, claimed: SELF }]);
        assert!(outcome.sent.is_empty());
    }
    assert_eq!(rig.node.peers().ids(), [PEER, BYSTANDER]);
    rig.step(Event::Peers(vec![SELF, PEER]));
    assert_eq!(rig.node.peers().ids(), [PEER]);
}

#[test]
fn a_node_number_has_sixteen_bits() {
    let rig = Rig::new();
    let good = text(&rig, &Message::Bye { from: PEER, nonce: 0 });
    for number in ["65536", "-1", "1.0", "\"1\"", "null"] {
        check_malformed(good.replace("\"from\":1", &format!("\"from\":{number}")).as_bytes());
    }
    let last = good.replace("\"from\":1", "\"from\":65535");
    let decoded = Message::decode(last.as_bytes(), rig.network());
    assert_eq!(decoded, Ok(Message::Bye { from: NodeId(u16::MAX), nonce: 0 }));
}
