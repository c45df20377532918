//! What every transport promises, as tests that know only the trait and a way to start a network.

mod crash;
mod local;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use node::transport::{Delivery, Handover, Incoming, Kind, Outgoing, Receipt, Transport, TransportError};
use quarry_core::units::NodeId;

/// Far more than anything here takes: it only bounds a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A network of one transport, without nodes at first.
trait Fixture: Sync {
    /// The largest message that the network carries.
    const MESSAGE_BYTES_MAX: usize;
    /// How many messages of a kind make an order worth looking at.
    const SOME: u32;
    /// A backlog that takes much longer to work through than a block may wait.
    const BACKLOG: u32;

    fn start() -> Self;
    fn join(&self, id: u16) -> Result<Box<dyn Transport>, TransportError>;
    fn client(&self, name: &str) -> Box<dyn Transport>;
    /// Makes the inbox of a node that has not run yet, as an operator may have to.
    fn create_inbox(&self, id: u16);
    /// The nodes that have one.
    fn inboxes(&self) -> BTreeSet<NodeId>;
}

macro_rules! contract {
    ($fixture:ty: $($test:ident)*) => {$(
        #[test]
        fn $test() {
            super::$test::<$fixture>();
        }
    )*};
}
/// Names the whole contract for a transport's own test module.
macro_rules! every_contract_test {
    ($fixture:ty) => {
        contract! { $fixture:
            order_is_kept_per_sender_and_kind
            threads_may_share_a_transport
            an_equal_message_arrives_once
            an_unacknowledged_message_comes_again_after_a_restart
            acknowledgements_may_come_in_any_order
            a_second_node_with_the_same_id_is_refused
            a_node_that_was_down_gets_what_was_sent_meanwhile
            a_node_gets_what_was_sent_before_it_ever_started
            a_node_may_send_to_itself
            a_message_over_the_limit_is_refused
            a_block_overtakes_a_backlog_of_transactions
            a_block_overtakes_transactions_that_are_being_delivered
            peers_are_told_at_the_start_and_on_change
            every_queued_message_is_told_to_be_sent
            a_node_that_leaves_takes_its_inbox_with_it
        }
    };
}
use {contract, every_contract_test};

fn order_is_kept_per_sender_and_kind<F: Fixture>() {
    let network = F::start();
    let receiver = join(&network, 0);
    let senders = [(Some(NodeId(1)), join(&network, 1)), (Some(NodeId(2)), join(&network, 2))];
    let senders = senders.into_iter().chain([(None, network.client("generator"))]).collect::<Vec<_>>();
    for number in 0..F::SOME {
        for (from, sender) in &senders {
            for kind in [Kind::Chain, Kind::Transactions] {
                send(&**sender, 0, kind, &format!("{from:?} {kind:?} {number}"));
            }
        }
    }
    let mut streams: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..F::SOME * 6 {
        let delivery = take(&*receiver);
        let text = text(&delivery);
        let (stream, number) = text.rsplit_once(' ').unwrap();
        assert_eq!(stream.rsplit_once(' ').unwrap().0, format!("{:?}", delivery.from));
        let next = streams.entry(stream.to_owned()).or_default();
        assert_eq!(number, next.to_string(), "in {stream}");
        *next += 1;
    }
    assert_eq!(streams.into_values().collect::<Vec<_>>(), [F::SOME; 6]);
}

fn threads_may_share_a_transport<F: Fixture>() {
    let network = F::start();
    let (receiver, sender) = (join(&network, 0), network.client("shared"));
    thread::scope(|scope| {
        for name in 0..4_usize {
            let sender = &sender;
            scope.spawn(move || {
                for number in 0..F::SOME {
                    send(&**sender, 0, Kind::Transactions, &format!("{name} {number}"));
                }
            });
        }
    });
    let mut next = [0; 4];
    for _ in 0..F::SOME * 4 {
        let text = text(&take(&*receiver));
        let (name, number) = text.split_once(' ').unwrap();
        let next = &mut next[name.parse::<usize>().unwrap()];
        assert_eq!(number, next.to_string());
        *next += 1;
    }
    assert_eq!(next, [F::SOME; 4]);
}

fn an_equal_message_arrives_once<F: Fixture>() {
    let network = F::start();
    let (receiver, other) = (join(&network, 0), join(&network, 1));
    let senders = [join(&network, 2), network.client("one"), network.client("two")];
    for (number, sender) in senders.iter().enumerate() {
        for to in [0, 1] {
            send(&**sender, to, Kind::Chain, "same");
            send(&**sender, to, Kind::Chain, "same");
            send(&**sender, to, Kind::Chain, &format!("last of {number}"));
        }
    }
    for receiver in [receiver, other] {
        let mut arrived: Vec<_> = (0..4).map(|_| text(&receive(&*receiver))).collect();
        arrived.sort();
        assert_eq!(arrived, ["last of 0", "last of 1", "last of 2", "same"]);
    }
}

fn an_unacknowledged_message_comes_again_after_a_restart<F: Fixture>() {
    let network = F::start();
    let sender = join(&network, 1);
    let receiver = join(&network, 0);
    for number in 0..10 {
        send(&*sender, 0, Kind::Chain, &number.to_string());
    }
    let receipts = expect(&*receiver, 0..10);
    receiver.acknowledge(receipts[..4].to_vec()).unwrap();
    drop(receiver);

    let receiver = join(&network, 0);
    let receipts = expect(&*receiver, 4..10);
    receiver.acknowledge(receipts).unwrap();
    drop(receiver);

    let receiver = join(&network, 0);
    send(&*sender, 0, Kind::Chain, "10");
    expect(&*receiver, 10..11);
}

fn acknowledgements_may_come_in_any_order<F: Fixture>() {
    let network = F::start();
    let (sender, receiver) = (network.client("cli"), join(&network, 0));
    for number in 0..10 {
        send(&*sender, 0, Kind::Chain, &number.to_string());
    }
    let mut receipts = expect(&*receiver, 0..10);
    let missing = receipts.remove(5);
    receipts.reverse();
    for receipt in &receipts {
        receiver.acknowledge(vec![receipt.clone()]).unwrap();
    }
    receiver.acknowledge(receipts).unwrap();
    drop(receiver);

    let receiver = join(&network, 0);
    let delivery = receive(&*receiver);
    assert_eq!(text(&delivery), "5", "the acknowledged ones before it do not come again");
    assert_eq!(delivery.receipt, missing);
}

fn a_second_node_with_the_same_id_is_refused<F: Fixture>() {
    let network = F::start();
    let first = join(&network, 3);
    let Err(refused) = network.join(3) else {
        panic!("two nodes with one id");
    };
    assert!(matches!(refused, TransportError::InboxTaken { id: NodeId(3), .. }), "{refused}");
    assert!(refused.to_string().starts_with("node 3 is already running"), "{refused}");

    let client = network.client("cli");
    send(&*client, 3, Kind::Chain, "0");
    expect(&*first, 0..1);
    drop(first);
    expect(&*join(&network, 3), 0..1);
}

fn a_node_that_was_down_gets_what_was_sent_meanwhile<F: Fixture>() {
    let network = F::start();
    network.create_inbox(0);
    let sender = join(&network, 1);
    for round in 0..3 {
        send(&*sender, 0, Kind::Chain, &(2 * round).to_string());
        let receiver = join(&network, 0);
        send(&*sender, 0, Kind::Chain, &(2 * round + 1).to_string());
        let receipts = expect(&*receiver, 2 * round..2 * round + 2);
        receiver.acknowledge(receipts).unwrap();
    }
}

fn a_node_gets_what_was_sent_before_it_ever_started<F: Fixture>() {
    let network = F::start();
    network.create_inbox(7);
    let client = network.client("generator");
    for number in 0..3 {
        send(&*client, 7, Kind::Transactions, &number.to_string());
    }
    drop(client);
    expect(&*join(&network, 7), 0..3);
}

fn a_node_may_send_to_itself<F: Fixture>() {
    let network = F::start();
    let node = join(&network, 0);
    send(&*node, 0, Kind::Chain, "hello");
    let delivery = receive(&*node);
    assert_eq!((text(&delivery).as_str(), delivery.from), ("hello", Some(NodeId(0))));
}

fn a_message_over_the_limit_is_refused<F: Fixture>() {
    let network = F::start();
    let (sender, receiver) = (join(&network, 1), join(&network, 0));
    let largest = "x".repeat(F::MESSAGE_BYTES_MAX);
    let (bytes, bytes_max) = (F::MESSAGE_BYTES_MAX + 1, F::MESSAGE_BYTES_MAX);
    let refused = sender.send(NodeId(0), outgoing(Kind::Chain, &format!("{largest}x"), 0));
    assert_eq!(refused, Err(TransportError::Oversize { bytes, bytes_max }));
    send(&*sender, 0, Kind::Chain, &largest);
    assert_eq!(text(&receive(&*receiver)), largest);
}

fn a_block_overtakes_a_backlog_of_transactions<F: Fixture>() {
    overtake_a_backlog(&F::start(), F::BACKLOG);
}

fn overtake_a_backlog(network: &impl Fixture, backlog: u32) {
    network.create_inbox(0);
    let client = network.client("generator");
    send_all(&*client, 0, Kind::Transactions, backlog);
    send(&*join(network, 1), 0, Kind::Chain, "block");
    let before = transactions_before_block(&*join(network, 0), Duration::ZERO);
    assert!(before < 100, "{before} transactions came before the block");
}

fn a_block_overtakes_transactions_that_are_being_delivered<F: Fixture>() {
    let network = F::start();
    let (client, sender, receiver) = (network.client("generator"), join(&network, 1), join(&network, 0));
    send_all(&*client, 0, Kind::Transactions, F::BACKLOG);
    for number in 0..10 {
        assert_eq!(text(&take(&*receiver)), number.to_string());
    }
    send(&*sender, 0, Kind::Chain, "block");
    // At a node's pace. One that takes hundreds a millisecond could be through before a busy machine notices the block.
    let before = transactions_before_block(&*receiver, Duration::from_micros(100));
    assert!(before < F::BACKLOG / 4, "{before} transactions came before the block");
}

fn peers_are_told_at_the_start_and_on_change<F: Fixture>() {
    let network = F::start();
    let first = join(&network, 0);
    assert_eq!(peers(&*first), BTreeSet::new());
    let second = join(&network, 1);
    assert_eq!(peers(&*second), BTreeSet::from([NodeId(0)]));
    assert_eq!(peers(&*first), BTreeSet::from([NodeId(1)]));
}

fn every_queued_message_is_told_to_be_sent<F: Fixture>() {
    let network = F::start();
    let (_receiver, sender) = (join(&network, 0), join(&network, 1));
    let queued: BTreeSet<u64> = (0..100)
        .filter(|ticket| {
            let message = outgoing(Kind::Chain, &ticket.to_string(), *ticket);
            sender.send(NodeId(0), message).unwrap() == Handover::Queued
        })
        .collect();
    let sent = queued.iter().map(|_| {
        wait_for(&*sender, |incoming| match incoming {
            Incoming::Sent(ticket) => Some(ticket),
            _ => None,
        })
    });
    assert_eq!(sent.collect::<BTreeSet<_>>(), queued);
}

fn a_node_that_leaves_takes_its_inbox_with_it<F: Fixture>() {
    let network = F::start();
    let (first, second) = (join(&network, 0), join(&network, 1));
    send(&*first, 1, Kind::Chain, "0");
    expect(&*second, 0..1);
    second.leave().unwrap();
    second.leave().unwrap();
    drop(second);
    let left = BTreeSet::from([NodeId(0)]);
    let start = Instant::now();
    while network.inboxes() != left {
        assert!(start.elapsed() < PATIENCE, "{:?}", network.inboxes());
        thread::sleep(Duration::from_millis(10));
    }
    let client = network.client("cli");
    client.leave().unwrap();
    assert_eq!(network.inboxes(), left, "a client has none");
}

fn join(network: &impl Fixture, id: u16) -> Box<dyn Transport> {
    network.join(id).unwrap()
}

fn outgoing(kind: Kind, text: &str, ticket: u64) -> Outgoing {
    Outgoing { kind, payload: Arc::from(text.as_bytes()), ticket }
}

/// Sends, and waits until the message survives a crash.
fn send(sender: &dyn Transport, to: u16, kind: Kind, text: &str) {
    const TICKET: u64 = 7;
    if sender.send(NodeId(to), outgoing(kind, text, TICKET)).unwrap() == Handover::Queued {
        wait_for(sender, |incoming| matches!(incoming, Incoming::Sent(TICKET)).then_some(()));
    }
}

/// Sends the numbers below `count`, and waits until all survive a crash.
fn send_all(sender: &dyn Transport, to: u16, kind: Kind, count: u32) {
    let mut waiting = 0;
    for number in 0..count {
        let handover = sender.send(NodeId(to), outgoing(kind, &number.to_string(), 0)).unwrap();
        waiting += u32::from(handover == Handover::Queued);
    }
    for _ in 0..waiting {
        wait_for(sender, |incoming| matches!(incoming, Incoming::Sent(_)).then_some(()));
    }
}

/// Receives a message and is done with it.
fn take(receiver: &dyn Transport) -> Delivery {
    let delivery = receive(receiver);
    receiver.acknowledge(vec![delivery.receipt.clone()]).unwrap();
    delivery
}

fn receive(receiver: &dyn Transport) -> Delivery {
    wait_for(receiver, |incoming| match incoming {
        Incoming::Delivery(delivery) => Some(delivery),
        Incoming::Trouble(trouble) => panic!("{trouble}"),
        Incoming::Ended(error) => panic!("{error}"),
        Incoming::Sent(_) | Incoming::Peers(_) | Incoming::Recovered(_) => None,
    })
}

fn peers(receiver: &dyn Transport) -> BTreeSet<NodeId> {
    wait_for(receiver, |incoming| match incoming {
        Incoming::Peers(peers) => Some(peers),
        _ => None,
    })
}

/// Receives these numbers, in order.
fn expect(receiver: &dyn Transport, numbers: std::ops::Range<u32>) -> Vec<Receipt> {
    let next = |number: u32| {
        let delivery = receive(receiver);
        assert_eq!(text(&delivery), number.to_string());
        delivery.receipt
    };
    numbers.map(next).collect()
}

/// How many transactions come before the block where each takes the receiver so long.
fn transactions_before_block(receiver: &dyn Transport, pace: Duration) -> u32 {
    let is_block = |_: &u32| {
        thread::sleep(pace);
        text(&take(receiver)) == "block"
    };
    (0..).find(is_block).unwrap()
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.payload.clone()).unwrap()
}

fn wait_for<T>(receiver: &dyn Transport, mut wanted: impl FnMut(Incoming) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let incoming = receiver.incoming().recv_deadline(deadline).expect("it arrives in time");
        if let Some(found) = wanted(incoming) {
            return found;
        }
    }
}
