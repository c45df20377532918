//! `devnet`: from the start to an agreed end.

use std::fs;

use quarry_core::units::Amount;

use super::{Place, files};

#[test]
fn a_devnet_ends_with_agreement_and_all_its_money() {
    let place = Place::new();
    let arguments = [
        "devnet",
        "--difficulty",
        "5",
        "--duration",
        "6",
        "--rate",
        "5",
        "--backend",
        "cpu",
        "--threads",
        "1",
    ];
    let outcome = place.run(arguments).succeeds();
    let text = outcome.text();
    for part in
        ["5 leading hex zeros", "node3 10.00", "stop       Ctrl-C", "all agree", "40.00, as at the start"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }

    let ledger = files::ledger(&place, 0);
    let chain = files::blockchain(&place, 0);
    assert!(3 < chain.len(), "{text}");
    assert_eq!(chain.last().unwrap().index, 0, "short enough to be printed as a whole");
    assert_eq!(files::total(&ledger), Amount(4000));
    assert_eq!(files::replay(chain.iter().map(|block| &*block.transactions)), ledger);
    for block in &chain[..chain.len() - 1] {
        assert!(block.hash.starts_with("00000"), "{block:?}");
        assert!(!block.transactions.is_empty(), "nothing is mined while nothing waits: {block:?}");
    }
    for id in 1..4 {
        let file = |id| fs::read_to_string(place.path().join(format!("blockchain{id}.txt"))).unwrap();
        assert_eq!(file(id).replacen(&format!("Node {id} "), "Node 0 ", 1), file(0));
        assert_eq!(files::ledger(&place, id), ledger);
    }
    for id in 0..4 {
        place.run(["verify", "--node", &id.to_string()]).succeeds();
    }
    // The next one goes on from there, and refuses to change what cannot be changed.
    let outcome = place
        .run(["devnet", "--duration", "1", "--rate", "0", "--backend", "cpu", "--threads", "1"])
        .succeeds();
    assert!(outcome.text().contains(&format!("height {}", chain[0].index)), "{}", outcome.text());
    place.run(["devnet", "--duration", "1", "--difficulty", "4"]).exits(5).says("--fresh");
}
