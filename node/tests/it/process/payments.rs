//! Payments that no node ever has a reason to refuse, and what has become of them.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use node::clock;
use node::config;
use node::control::{self, Refused, Request};
use node::store::{Reader, Snapshot};
use quarry_core::json::TransactionJson;
use quarry_core::network::{AccountEntry, Difficulty, Network, NetworkFile};
use quarry_core::store::Store as _;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, NodeId, TxId};
use rand::seq::IndexedRandom as _;
use serde_json::value::to_raw_value;

use super::Place;

/// More than is ever spent.
const BALANCE: Amount = Amount(100_000_000);
const ACCOUNTS: u64 = 4;

/// Makes payments of a cent between rich accounts.
pub(super) struct Payments {
    network: Network,
    /// No two of them are the same, whoever makes them.
    count: AtomicU64,
}

impl Payments {
    /// Founds a network with such accounts.
    pub(super) fn found(place: &Place, zeros: u32) -> Self {
        let file = NetworkFile {
            name: "rich".into(),
            difficulty: Difficulty::Zeros(zeros),
            accounts: (0..ACCOUNTS).map(|id| AccountEntry::open(&format!("node{id}"), BALANCE)).collect(),
            ..NetworkFile::demo()
        };
        fs::write(place.path().join("network.toml"), config::network_text(&file).unwrap()).unwrap();
        Self { network: place.network(), count: AtomicU64::new(0) }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn payment(&self) -> Transaction {
        let mut pair = self.network.accounts.sample(&mut rand::rng(), 2).map(|account| account.id);
        let (from, to) = (pair.next().unwrap(), pair.next().unwrap());
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let payment = Payment { from, to, amount: Amount(1), timestamp: clock::utc().saturating_add(number) };
        Transaction::new(&self.network.id, payment, None)
    }

    /// Gives a node a payment; answers its id if the node says that it has it.
    pub(super) fn submit(&self, place: &Place, node: u16) -> Option<TxId> {
        let payment = self.payment();
        let json = to_raw_value(&TransactionJson::new(&payment, &self.network)).unwrap();
        match control::ask(&place.directory().socket(NodeId(node)), &Request::Submit(json)) {
            Ok(Some(_)) => Some(payment.id()),
            Ok(None) => None,
            Err(error) => {
                assert!(!error.is::<Refused>(), "{error:#}");
                None
            }
        }
    }

    /// What a node that does not run has in its store.
    pub(super) fn left(&self, place: &Place, node: u16) -> Snapshot {
        let path = place.directory().store(NodeId(node));
        Reader::open(&path, &self.network.id).unwrap().snapshot().unwrap()
    }

    /// Checks that a store holds all the money.
    pub(super) fn check_sum(&self, store: &Snapshot) {
        let balances = store.balances(None, usize::MAX).unwrap();
        assert_eq!(balances.iter().map(|(_, balance)| balance.0).sum::<u64>(), BALANCE.0 * ACCOUNTS);
    }
}

/// Those of some transactions that are neither mined nor waiting.
pub(super) fn lost(store: &Snapshot, promised: &[TxId]) -> BTreeSet<TxId> {
    let waiting: BTreeSet<_> = store.mempool().unwrap().iter().map(|(_, it)| it.id()).collect();
    let is_there = |id: &TxId| waiting.contains(id) || store.mined(id).unwrap().is_some();
    promised.iter().filter(|id| !is_there(id)).copied().collect()
}
