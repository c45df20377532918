//! Two nodes that cannot hear each other, and then can.

use std::collections::BTreeSet;

use quarry_core::units::Amount;
use serde_json::Value;

use super::{Place, eventually, files};

#[test]
fn a_fork_heals_and_loses_no_transaction() {
    let place = Place::open(3);
    let cut_off = ["--peers", "none"];
    let nodes = [place.start(0, &cut_off), place.start(1, &cut_off)];
    // On one side: two payments, and one that the other side contradicts. On the other, more blocks.
    let abandoned = [place.pay(0, "node0", "node1", "1.00"), place.pay(0, "node1", "node3", "2.00")];
    let contradicted = place.pay(0, "node2", "node3", "8.00");
    let kept = [
        place.pay(1, "node2", "node0", "7.00"),
        place.pay(1, "node3", "node0", "0.01"),
        place.pay(1, "node3", "node0", "0.02"),
        place.pay(1, "node3", "node0", "0.03"),
        place.pay(1, "node3", "node0", "0.04"),
    ];
    let heights = [0, 1].map(|id| place.status(id).unwrap().height.0);
    assert_eq!(heights, [3, 5]);
    let better = place.status(1).unwrap().tip;
    nodes.into_iter().for_each(super::Process::stop);
    assert_eq!(ids(&place, 0), BTreeSet::from_iter(abandoned.iter().chain([&contradicted]).cloned()));
    assert_eq!(ids(&place, 1), BTreeSet::from_iter(kept.clone()));

    // Joined, and not mining yet: the abandoned transactions wait.
    let nodes = [place.start(0, &["--backend", "none"]), place.start(1, &["--backend", "none"])];
    for id in [0, 1] {
        eventually("both are on the better chain", || place.status(id).filter(|it| it.tip == better));
    }
    assert_eq!(place.status(0).unwrap().mempool, 3);
    nodes[0].says("moved to a better branch");
    nodes.into_iter().for_each(super::Process::stop);

    // Mining, they get into the new chain, but for the one that is contradicted: that waits on.
    let nodes = [place.start(0, &[]), place.start(1, &[])];
    for id in [0, 1] {
        let mined = || BTreeSet::from_iter(abandoned.clone()).is_subset(&ids(&place, id)).then_some(());
        eventually("the abandoned transactions are mined", mined);
    }
    eventually("all else is mined", || place.status(0).filter(|status| status.mempool == 1));
    nodes.into_iter().for_each(super::Process::stop);
    let all: BTreeSet<_> = abandoned.into_iter().chain(kept).collect();
    for id in [0, 1] {
        assert_eq!(ids(&place, id), all);
        assert_eq!(files::total(&files::ledger(&place, id)), Amount(4000));
        place.run(["verify", "--node", &id.to_string()]).succeeds();
    }
}

/// The transactions of a node's chain.
fn ids(place: &Place, id: u16) -> BTreeSet<String> {
    let chain = place.chain(id);
    let transactions = chain.iter().flat_map(|block| block["transactions"].as_array().unwrap());
    let id = |transaction: &Value| transaction["unique_id"].as_str().unwrap().to_owned();
    transactions.map(id).collect()
}
