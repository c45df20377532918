//! Two nodes that cannot hear each other, and then can.

use std::collections::BTreeSet;

use node::control::{self, Request};
use quarry_core::units::{Amount, Height, NodeId};
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

/// What the generator sends reaches a node that is cut off, so that two histories grow without anybody's help.
#[test]
fn two_histories_grow_while_a_node_is_cut_off() {
    let place = Place::open(3);
    let nodes = [place.start(0, &[]), place.start(1, &[])];
    let cut_off = |is_cut_off| {
        let socket = place.directory().socket(NodeId(1));
        control::ask(&socket, &Request::CutOff(is_cut_off)).unwrap().unwrap();
    };
    cut_off(true);
    for (height, count) in [(1, "6"), (2, "4")] {
        // Each goes to one of the two nodes.
        place.run(["generate", "--count", count, "--rate", "100", "--seed", "7"]).succeeds();
        for id in [0, 1] {
            eventually("its side grows", || place.status(id).filter(|it| Height(height) <= it.height));
        }
    }
    assert_ne!(place.status(0).unwrap().tip, place.status(1).unwrap().tip);
    cut_off(false);
    eventually("the fork heals", || {
        let [zero, one] = [0, 1].map(|id| place.status(id).unwrap());
        (zero.tip == one.tip && zero.mempool == 0 && one.mempool == 0).then_some(())
    });
    assert_eq!(ids(&place, 1).len(), 10);
    nodes.into_iter().for_each(super::Process::stop);
}

/// The transactions of a node's chain.
fn ids(place: &Place, id: u16) -> BTreeSet<String> {
    let chain = place.chain(id);
    let transactions = chain.iter().flat_map(|block| block["transactions"].as_array().unwrap());
    let id = |transaction: &Value| transaction["unique_id"].as_str().unwrap().to_owned();
    transactions.map(id).collect()
}
