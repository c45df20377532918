//! Nodes that are killed while they mine.

use std::collections::BTreeMap;

use quarry_core::units::Amount;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::{Place, Process, eventually, files};

const IDS: [u16; 4] = [0, 1, 2, 3];
const KILLS: u32 = 6;

#[test]
fn killed_nodes_come_back_and_agree() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::open(4);
    let mut nodes: BTreeMap<u16, Process> = IDS.iter().map(|id| (*id, place.spawn(*id, &[]))).collect();
    for id in IDS {
        eventually("the nodes start", || place.status(id));
    }
    let generator = place.process("generator", ["generate", "--rate", "20", "--until-stdin-closes"]);
    for _ in 0..KILLS {
        let id = rng.random_range(IDS[0]..=IDS[3]);
        // Any moment of its life will do; that it has mined something makes it an interesting one.
        let height = place.status(id).unwrap().height.0 + rng.random_range(1..=3);
        eventually("the chain grows", || place.status(id).filter(|status| height <= status.height.0));
        nodes.remove(&id).unwrap().kill();

        let others: Vec<_> = IDS.into_iter().filter(|other| *other != id).collect();
        let height = place.status(others[0]).unwrap().height.0 + rng.random_range(0..=3);
        let reaches = |id: u16| move |place: &Place| place.status(id).filter(|it| height <= it.height.0);
        eventually("the others go on", || reaches(others[0])(&place));
        nodes.insert(id, place.spawn(id, &[]));
        eventually("it catches up", || reaches(id)(&place));
    }
    generator.stop();
    let tip = place.settle(&IDS);
    for (_, node) in nodes {
        node.stop();
    }

    for id in IDS {
        let chain = place.chain(id);
        assert_eq!(chain[0]["hash"], tip.to_string(), "node {id}");
        let transactions = |block: &Value| block["transactions"].as_array().unwrap().clone();
        let transactions: Vec<_> = chain.iter().map(transactions).collect();
        let ledger = files::ledger(&place, id);
        assert_eq!(files::total(&ledger), Amount(4000));
        assert_eq!(files::replay(transactions.iter().map(Vec::as_slice)), ledger);
        place.run(["verify", "--node", &id.to_string()]).succeeds();
    }
}
