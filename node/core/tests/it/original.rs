//! The original system's transactions. The texts and their ids are those that Python's `json` and `hashlib` printed.

use quarry_core::effect::{Event, Notice};
use quarry_core::message::Message;
use quarry_core::network::{AccountEntry, Network, NetworkFile, UnknownAccount};
use quarry_core::original::{ORIGINAL_BYTES_MAX, OriginalError, transaction};
use quarry_core::rules::TransactionError;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, ParseError, Timestamp};

use crate::rig::{ALICE, PEER, Rig, SECOND_US, network_file, public_key};

const HALF_PAST: &str = "2026-01-01 00:30:00";

/// Accounts with the original's names, and a keyed one.
fn file() -> NetworkFile {
    let open = ["node2", "node3"].map(|name| AccountEntry::open(name, Amount(1000)));
    let keyed = AccountEntry::keyed("alice", Amount(1000), &public_key(&ALICE));
    NetworkFile { accounts: open.into_iter().chain([keyed]).collect(), ..network_file() }
}

fn network() -> Network {
    Network::new(&file()).unwrap()
}

fn text(to: &str, from: &str, amount: &str, timestamp: &str, id: &str) -> String {
    format!(
        r#"{{"to_node": "{to}", "from_node": "{from}", "amount": {amount}, "timestamp": "{timestamp}", "unique_id": "{id}"}}"#
    )
}

/// A payment from node3 to node2 of this amount at this time.
fn read(amount: &str, timestamp: &str, id: &str) -> Result<Payment, OriginalError> {
    let text = text("node2", "node3", amount, timestamp, id);
    transaction(text.as_bytes(), &network()).map(|it| *it.payment())
}

#[track_caller]
fn check(amount: &str, timestamp: &str, id: &str, cents: u64, micros: u64) {
    let payment = read(amount, timestamp, id).unwrap();
    let network = network();
    assert_eq!(network.account_text(&payment.from), "node3");
    assert_eq!(network.account_text(&payment.to), "node2");
    assert_eq!((payment.amount, payment.timestamp.micros()), (Amount(cents), micros));
}

#[test]
fn what_the_original_sends_is_read() {
    let half_past_us = 1_767_227_400_000_000;
    check(
        "0.13",
        "2020-05-08 08:40:07.405769",
        "f6383268404d95beda79dfb7b675b5fadb661a690cdab46215c85798ceec8f44",
        13,
        1_588_927_207_405_769,
    );
    check(
        "0.1",
        HALF_PAST,
        "0ccd5bdfa6ea7bb2908a0235297e4548f5f4bb8a376886a66bed5911ea092c42",
        10,
        half_past_us,
    );
    check(
        "2.0",
        "2026-01-01 00:30:00.000001",
        "edf3420060b993ec0e928821aa67e2377492efac8b96e05646dca407a3d201de",
        200,
        half_past_us + 1,
    );
    check(
        "7",
        HALF_PAST,
        "3d45da36174e8cf77ff1c7f22eb9f069136317e06a6647da0068862c67516b90",
        700,
        half_past_us,
    );
}

#[test]
fn amounts_that_are_no_cents_are_refused() {
    for (amount, id) in [
        ("1e-05", "eb0ff1ea3e172a3b91ce6af2a4d04081fc9a8296cc6fc0092ebb12549457e5a0"),
        ("0.123", "f3971270189d3bc533fe65fc65a8ef01b76e8c6e58b5eff557d5ea7d4d139ea7"),
        ("39.99999999999999", "cd019a629506592a4cd845709cba692264458b28975f86c3a0d744e99a27de02"),
        ("-1.5", "919955485eaa6b66d8e1b6c14297438929dbd58bbb22ccca0620d4fb52545889"),
        ("\"0.13\"", "a64972759d649e61beff2a2e31f307f9635637744f0033da0c3a8b9db9cc9a5f"),
    ] {
        assert_eq!(
            read(amount, HALF_PAST, id),
            Err(OriginalError::Amount(ParseError::Amount(amount.into())))
        );
    }
    let nan = read("NaN", HALF_PAST, "63ec49b203d8ad79f42fd259741d0df7744474e600939cfb0fc80cc68ca9e08d");
    assert!(matches!(nan, Err(OriginalError::Malformed(_))), "JSON has no such number");
}

#[test]
fn times_that_python_would_not_print_are_refused() {
    for (time, id) in [
        ("2026-01-01 00:30:00+02:00", "c9b0188d9e27efbc9e97eb1dda3495d11c728f779f4c2c07d0e8cc259df73b46"),
        ("2026-01-01T00:30:00", "55bcac1e827597b65302f34953b5cd5b9a1d26958ac583baf3507d64d30b96b4"),
        ("2026-01-01 00:30:00.5", "3f4dc7e58fada1b1ae2f1fd9a073643e225f911e20e2a31e69e65e84302e3305"),
    ] {
        let error = OriginalError::Timestamp(ParseError::Timestamp(time.into()));
        assert_eq!(read("0.13", time, id), Err(error));
    }
}

/// The id is looked at first: what was changed on its way is not judged by anything else.
#[test]
fn an_id_that_is_not_the_contents_is_refused() {
    let id = "0ccd5bdfa6ea7bb2908a0235297e4548f5f4bb8a376886a66bed5911ea092c42";
    for amount in ["0.10", "0.2", "1e5", "null", "[0.1]"] {
        let Err(OriginalError::UniqueId { claimed, computed }) = read(amount, HALF_PAST, id) else {
            panic!("{amount}")
        };
        assert_eq!(claimed.to_string(), id);
        assert_ne!(computed, claimed);
    }
}

#[test]
fn names_are_hashed_as_python_escapes_them() {
    let name = r#"n\u00f6de\ud83d\ude00\"\\\u007f\n\t\u0001/"#;
    let id = "3e2d23b9a7e8922c0b66b815be1c29ae76256dc80bb9ae3c365d901a47380226";
    let unknown = UnknownAccount("nöde😀\"\\\u{7f}\n\t\u{1}/".into());
    let text = text(name, "node3", "0.13", HALF_PAST, id);
    assert_eq!(transaction(text.as_bytes(), &network()), Err(unknown.into()));
}

#[test]
fn garbage_is_refused() {
    let good = text("node2", "node3", "0.1", HALF_PAST, &"0".repeat(64));
    let bad = [
        String::new(),
        "null".into(),
        "[".repeat(1000),
        good.replace("unique_id", "id"),
        good.replace("\"amount\"", "\"more\": 1, \"amount\""),
        good.replace("\"node2\"", "2"),
        good.replace("\"node2\"", "\"\\ud800\""),
        good.replace(&"0".repeat(64), "0"),
    ];
    for text in bad {
        let error = transaction(text.as_bytes(), &network()).unwrap_err();
        assert!(matches!(error, OriginalError::Malformed(_)), "{text}: {error}");
    }
    let long = vec![b' '; ORIGINAL_BYTES_MAX + 1];
    assert_eq!(transaction(&long, &network()), Err(OriginalError::TooLarge(long.len())));
}

/// Whoever can write to a queue could spend from a keyed account if this way in asked for no signature.
#[test]
fn a_keyed_account_does_not_pay_this_way() {
    // SHA-256 of `{"to_node": "node2", "from_node": "alice", "amount": 0.1, "timestamp": "2026-01-01 00:30:00"}`.
    let id = "68c5e95f3eebb617ac45a6eb8c22f2c84957149e14efdc2d67240c10bede1ba4";
    let text = text("node2", "alice", "0.1", HALF_PAST, id);
    let mut rig = Rig::with(&file());
    let unsigned = TransactionError::Unsigned(rig.account("alice"));
    let outcome = rig.step(Event::Original { bytes: text.into_bytes() });
    assert_eq!(outcome.notices, [Notice::OriginalRefused(unsigned.into())]);
    assert!(rig.node.mempool().is_empty());
}

#[test]
fn a_node_takes_one_as_a_clients() {
    let mut rig = Rig::with(&file());
    let id = "0ccd5bdfa6ea7bb2908a0235297e4548f5f4bb8a376886a66bed5911ea092c42";
    let bytes = text("node2", "node3", "0.1", HALF_PAST, id).into_bytes();
    let expected = Transaction::new(
        &rig.network().id,
        Payment {
            from: rig.account("node3"),
            to: rig.account("node2"),
            amount: Amount(10),
            timestamp: HALF_PAST.parse::<Timestamp>().unwrap(),
        },
        None,
    );
    let outcome = rig.step(Event::Original { bytes: bytes.clone() });
    assert_eq!(outcome.notices, [Notice::Pending(expected.id())]);
    // Its generator tells several nodes, and a queue may deliver twice.
    let again = rig.step(Event::Original { bytes });
    let (from, id, error) = (None, expected.id(), TransactionError::AlreadyPending);
    assert_eq!(again.notices, [Notice::TransactionRefused { from, id, error }]);
    rig.advance(SECOND_US);
    let outcome = rig.step(Event::Tick);
    assert!(outcome.sent.contains(&(PEER, Message::Transactions(vec![expected]))), "it is relayed soon");
}

#[test]
fn an_old_one_is_refused_by_the_rule_about_time() {
    let mut rig = Rig::with(&file());
    let id = "f6383268404d95beda79dfb7b675b5fadb661a690cdab46215c85798ceec8f44";
    let bytes = text("node2", "node3", "0.13", "2020-05-08 08:40:07.405769", id).into_bytes();
    let outcome = rig.step(Event::Original { bytes });
    let [Notice::TransactionRefused { from: None, error: TransactionError::TooOld { .. }, .. }] =
        &outcome.notices[..]
    else {
        panic!("{outcome:?}")
    };
}
