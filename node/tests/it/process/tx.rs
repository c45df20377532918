//! `tx`: where a transaction stands, and why.

use serde_json::Value;

use super::{Outcome, Place, eventually};

const PAYMENT: [&str; 7] = ["send", "--from", "node0", "--to", "node1", "--amount", "6.00"];

/// The id of a transaction that `send` was told to send.
fn id(sent: &Outcome) -> String {
    sent.text().lines().next().unwrap().strip_prefix("transaction ").unwrap().to_owned()
}

fn amount(cents: &str) -> [&str; 7] {
    let mut payment = PAYMENT;
    payment[6] = cents;
    payment
}

#[test]
fn a_transaction_is_told_of_from_its_coming_to_its_end() {
    let place = Place::open(3);
    let node = place.start(0, &["--backend", "none"]);
    let first = id(&place.run(amount("6.00")).succeeds());
    let refused = id(&place.run(amount("4.01")).exits(7));
    // It can be paid only with what the next one brings, which comes first.
    let money = ["send", "--from", "node2", "--to", "node0", "--amount", "1.00"];
    let money = id(&place.run(money).succeeds());
    let second = id(&place.run(amount("4.50")).succeeds());

    let text = place.run(["tx", &first]).succeeds().text();
    for part in ["pending since 20", "for a block: 0 before it", "up to 500 transactions", "expires      20"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("6.00 from node0 to node1") && text.contains("not by this node"), "{text}");
    assert!(place.run(["tx", &second]).succeeds().text().contains("for a block: 2 before it"));
    let told = place.run(["tx", &refused]).exits(7).text();
    assert!(told.contains("refused at 20"), "{told}");
    assert!(told.contains("sender has 4.00, which is less than 4.01"), "{told}");
    let unknown = "0".repeat(64);
    place.run(["tx", &unknown]).exits(6).says("neither waits").says("since its start");
    place.run(["tx", "x"]).exits(2);
    node.stop();

    // A stopped node knows what it stored, and since when no more.
    let json: Value = place.json(["tx", &first, "--json"]);
    assert_eq!((&json["state"], &json["since"]), (&"pending".into(), &Value::Null));
    place.run(["tx", &refused]).exits(6).says("forgot when it stopped");

    let node = place.start(0, &[]);
    eventually("all is mined", || place.status(0).filter(|status| status.mempool == 0));
    for id in [&first, &money, &second] {
        let json: Value = place.json(["tx", id, "--json"]);
        assert_eq!((&json["state"], &json["height"]), (&"mined".into(), &1.into()), "{json}");
        assert_eq!(json["block"], place.json(["block", "1", "--json"])["hash"]);
        assert_eq!(json["transaction"]["unique_id"], id.as_str());
    }
    assert!(place.run(["tx", &first]).succeeds().text().contains("mined in block 1, 1 confirmation"));
    node.stop();
}
