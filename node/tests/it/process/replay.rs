//! The same transaction over and over.

use node::clock;
use node::control::NodeStatus;
use node::transport::Kind;
use quarry_core::message::Message;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, Height};
use serde_json::Value;

use super::{Place, deliver, eventually};

const IDS: [u16; 3] = [0, 1, 2];
const TIMES: usize = 100;

#[test]
fn a_transaction_that_comes_a_hundred_times_is_mined_once() {
    let place = Place::open(3);
    let nodes = IDS.map(|id| place.start(id, &[]));
    let network = place.network();
    let [from, to] = ["node0", "node1"].map(|name| network.account(name).unwrap());
    let payment = Payment { from, to, amount: Amount(150), timestamp: clock::utc() };
    let transaction = Transaction::new(&network.id, payment, None);
    let bytes = Message::Transactions(vec![transaction.clone()]).encode(&network);

    let client = place.client();
    for time in 0..TIMES {
        for id in IDS {
            // Equal messages are delivered once as it is; blanks at the end make these different ones.
            let mut bytes = bytes.clone();
            bytes.extend(std::iter::repeat_n(b' ', time));
            deliver(&client, id, Kind::Transactions, &bytes);
            deliver(&client, id, Kind::Transactions, &bytes);
        }
    }
    for id in IDS {
        eventually("all are looked at", || {
            let counters = place.status(id).unwrap().counters;
            let counter = |name| counters.get(name).copied().unwrap_or(0);
            (TIMES as u64 <= counter("transactions_accepted") + counter("transactions_known")).then_some(())
        });
        let is_mined = |status: &NodeStatus| status.mempool == 0 && Height(0) < status.height;
        eventually("it is mined", || place.status(id).filter(is_mined));
    }
    place.settle(&IDS);
    nodes.into_iter().for_each(super::Process::stop);
    for id in IDS {
        let chain = place.chain(id);
        let transactions: Vec<&Value> =
            chain.iter().flat_map(|block| block["transactions"].as_array().unwrap()).collect();
        assert_eq!(transactions.len(), 1, "node {id}");
        assert_eq!(transactions[0]["unique_id"], transaction.id().to_string());
        let balance = place.json(["balance", "node1", "--json", "--node", &id.to_string()]);
        assert_eq!(balance["balances"][0]["balance"], "11.50");
    }
}
