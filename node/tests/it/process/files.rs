//! Reading `blockchain<ID>.txt` and `ledger<ID>.txt` as a stranger would, by their look alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use quarry_core::units::Amount;
use serde_json::Value;

use super::Place;

/// A block as it is printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Printed {
    pub(super) index: u64,
    pub(super) prev_hash: String,
    pub(super) timestamp: String,
    pub(super) transactions: Vec<Value>,
    pub(super) hash: String,
}

/// The blocks of a node's file, which must have exactly the documented look, newest first.
pub(super) fn blockchain(place: &Place, id: u16) -> Vec<Printed> {
    let text = fs::read_to_string(place.path().join(format!("blockchain{id}.txt"))).unwrap();
    let rule = "-".repeat(75);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(&*format!("Node {id} Blockchain:")));
    assert_eq!(lines.next(), Some(&*rule));
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let mut names = Vec::new();
        let mut fields = BTreeMap::new();
        for line in std::iter::once(line).chain(lines.by_ref().take_while(|line| *line != rule)) {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("`{line}`"));
            names.push(name);
            fields.insert(name, value);
        }
        assert_eq!(names[..4], ["index", "prevHash", "timestamp", "nonce"]);
        assert_eq!(names[names.len() - 2..], ["transactions", "hash"]);
        let transactions = fields["transactions"];
        let first = ["[]", r#"[{"to_node":"#].iter().any(|start| transactions.starts_with(start));
        assert!(first, "{transactions}");
        blocks.push(Printed {
            index: fields["index"].parse().unwrap(),
            prev_hash: fields["prevHash"].into(),
            timestamp: fields["timestamp"].into(),
            transactions: serde_json::from_str(transactions).unwrap(),
            hash: fields["hash"].into(),
        });
    }
    for pair in blocks.windows(2) {
        assert_eq!(pair[0].index, pair[1].index + 1);
        assert_eq!(pair[0].prev_hash, pair[1].hash);
        assert!(pair[1].timestamp < pair[0].timestamp);
    }
    blocks
}

/// The balances of a node's file, by account.
pub(super) fn ledger(place: &Place, id: u16) -> BTreeMap<String, Amount> {
    let text = fs::read_to_string(place.path().join(format!("ledger{id}.txt"))).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with(&format!("Node {id} Ledger at height ")));
    assert_eq!(lines.next(), Some(&*"-".repeat(75)));
    lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(account, balance)| (account.to_owned(), balance.parse().unwrap()))
        .collect()
}

/// All the money in a ledger.
pub(super) fn total(ledger: &BTreeMap<String, Amount>) -> Amount {
    ledger.values().fold(Amount(0), |sum, balance| sum.checked_add(*balance).unwrap())
}

/// What four accounts of 10.00 hold after the transactions of a whole chain, newest block first, by the plainest
/// reckoning; and that no transaction stands there twice.
pub(super) fn replay<'a>(chain: impl DoubleEndedIterator<Item = &'a [Value]>) -> BTreeMap<String, Amount> {
    let mut balances: BTreeMap<_, _> = (0..4).map(|id| (format!("node{id}"), Amount(1000))).collect();
    let mut ids = BTreeSet::new();
    for transaction in chain.rev().flatten() {
        let text = |name: &str| transaction[name].as_str().unwrap().to_owned();
        assert!(ids.insert(text("unique_id")), "{transaction} is there twice");
        // The number's own digits: a float would do for a test, but is what the program must not use.
        let amount: Amount = transaction["amount"].to_string().parse().unwrap();
        let from = balances.get_mut(&text("from_node")).unwrap();
        *from = from.checked_sub(amount).unwrap_or_else(|| panic!("{transaction} overspends"));
        let to = balances.get_mut(&text("to_node")).unwrap();
        *to = to.checked_add(amount).unwrap();
    }
    balances
}
