//! A service that throttles, is out of order, loses replies or forgets everything: the network goes on as soon as it
//! can, loses and repeats nothing, and says what happened.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use node::transport::sqs::{self, Access, Options, SqsError};
use node::transport::{Incoming, Kind, Recovery, Transport, TransportError};
use quarry_core::units::NodeId;

use super::super::{Fixture as _, PATIENCE, join, outgoing, send, take, text, wait_for};
use super::Queues;
use super::emulator::{self, Emulator};
use super::proxy::{Fault, Proxy};

/// Enough for several batches.
const MESSAGES: u32 = 25;

/// A network whose requests go through a proxy.
fn proxied() -> (Proxy, Queues) {
    let proxy = Proxy::start(emulator::endpoint());
    let network = Queues::at(&proxy.endpoint());
    (proxy, network)
}

/// Sends numbered messages of both kinds without waiting.
fn send_numbers(sender: &dyn Transport, to: u16, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for kind in [Kind::Chain, Kind::Transactions] {
            sender.send(NodeId(to), outgoing(kind, &format!("{kind:?} {number}"), 0)).unwrap();
        }
    }
}

/// What a node hears until all these numbers have come once and in order, and a little longer.
fn hear_numbers(receiver: &dyn Transport, numbers: std::ops::Range<u32>) -> Vec<Incoming> {
    let mut next = [numbers.start; 2];
    let mut others = Vec::new();
    while next != [numbers.end; 2] {
        let incoming = receiver.incoming().recv_timeout(PATIENCE).expect("it arrives in time");
        let Incoming::Delivery(delivery) = incoming else {
            others.push(incoming);
            continue;
        };
        let text = text(&delivery);
        let (kind, number) = text.split_once(' ').unwrap();
        let next = &mut next[usize::from(kind == "Transactions")];
        assert_eq!(number, next.to_string(), "{kind}");
        *next += 1;
        receiver.acknowledge(vec![delivery.receipt]).unwrap();
    }
    while let Ok(incoming) = receiver.incoming().recv_timeout(Duration::from_millis(300)) {
        assert!(!matches!(incoming, Incoming::Delivery(_)), "{incoming:?} has come twice");
        others.push(incoming);
    }
    others
}

fn troubles(heard: &[Incoming]) -> Vec<String> {
    let told = heard.iter().filter_map(|incoming| match incoming {
        Incoming::Trouble(trouble) => Some(trouble.to_string()),
        _ => None,
    });
    told.collect()
}

fn recovered(transport: &dyn Transport) -> Recovery {
    wait_for(transport, |incoming| match incoming {
        Incoming::Recovered(recovery) => Some(recovery),
        _ => None,
    })
}

#[test]
fn errors_in_passing_lose_and_repeat_nothing() {
    let faults = [
        Fault::Answer(400, "RequestThrottled"),
        Fault::Answer(503, "ServiceUnavailable"),
        Fault::Answer(500, "InternalFailure"),
        Fault::Delay(Duration::from_millis(300)),
        Fault::LoseReply,
    ];
    let meet = |fault| {
        let (proxy, network) = proxied();
        let (sender, receiver) = (join(&network, 1), join(&network, 0));
        proxy.fault("SendMessageBatch", 3, fault);
        proxy.fault("DeleteMessageBatch", 2, fault);
        proxy.fault("ReceiveMessage", 4, fault);
        send_numbers(&*sender, 0, 0..MESSAGES);
        hear_numbers(&*receiver, 0..MESSAGES);
        // The service may still hold back what a lost reply handed out; it is known when it comes.
        send_numbers(&*sender, 0, MESSAGES..MESSAGES + 5);
        hear_numbers(&*receiver, MESSAGES..MESSAGES + 5);
        proxy.heal();
    };
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || meet(fault));
        }
    });
}

#[test]
fn an_outage_is_told_once_and_its_end_once() {
    let (proxy, network) = proxied();
    let (sender, receiver) = (join(&network, 1), join(&network, 0));
    // Once a poll waits at the emulator it takes a message to end it.
    while proxy.seen("ReceiveMessage") < 2 {
        thread::sleep(Duration::from_millis(5));
    }
    proxy.fault("", u32::MAX, Fault::Answer(503, "ServiceUnavailable"));
    let direct = Queues::like(&network, Access::Emulator(emulator::endpoint().to_owned()));
    send(&*direct.client("cli"), 0, Kind::Chain, "wake up");
    assert_eq!(text(&take(&*receiver)), "wake up");
    send_numbers(&*sender, 0, 0..MESSAGES);
    // Deleting may have failed twice before receiving has.
    let heard = wait_for(&*receiver, |incoming| match incoming {
        Incoming::Trouble(trouble) => Some(trouble.to_string()).filter(|it| it.contains("ReceiveMessage")),
        _ => None,
    });
    assert!(heard.contains("ServiceUnavailable"), "{heard}");
    wait_for(&*sender, |incoming| matches!(incoming, Incoming::Trouble(_)).then_some(()));
    proxy.heal();
    let recovery = recovered(&*sender);
    assert_eq!(recovery.doing, "sending to node 0");
    assert!(2 <= recovery.attempts, "{recovery}");
    let heard = hear_numbers(&*receiver, 0..MESSAGES);
    let is_over = |incoming: &&Incoming| match incoming {
        Incoming::Recovered(recovery) => recovery.doing.starts_with("receiving from"),
        _ => false,
    };
    assert_eq!(heard.iter().filter(is_over).count(), 1, "{heard:?}");
}

#[test]
fn a_lost_reply_to_a_batch_delivers_it_once() {
    let (proxy, network) = proxied();
    let (sender, receiver) = (join(&network, 1), join(&network, 0));
    proxy.fault("SendMessageBatch", 2, Fault::LoseReply);
    send(&*sender, 0, Kind::Chain, "Chain 0");
    send(&*sender, 0, Kind::Transactions, "Transactions 0");
    assert_eq!(proxy.seen("SendMessageBatch"), 4, "two were lost");
    hear_numbers(&*receiver, 0..1);
}

#[test]
fn missing_rights_name_the_action() {
    let denied = |action: &'static str| SqsError::Denied { action, queue: String::new() };
    for (call, expected) in [
        ("GetQueueUrl", denied("GetQueueUrl")),
        ("CreateQueue", denied("CreateQueue")),
        ("ListQueues", SqsError::ListDenied),
    ] {
        let (proxy, network) = proxied();
        proxy.fault(call, 1, Fault::Answer(403, "AccessDeniedException"));
        let error = network.join(0).err().unwrap();
        let queue = format!("{}0.fifo", network.options.prefix);
        let expected = match expected {
            SqsError::Denied { action, .. } => SqsError::Denied { action, queue },
            other => other,
        };
        assert_eq!(error, TransportError::Sqs(expected));
        assert!(error.to_string().contains(&format!("sqs:{call}")), "{error}");
    }
    assert!(SqsError::ListDenied.to_string().contains("--peers"));

    let (proxy, network) = proxied();
    let (sender, receiver) = (join(&network, 1), join(&network, 0));
    proxy.fault("SendMessageBatch", 2, Fault::Answer(403, "AccessDenied"));
    proxy.fault("DeleteMessageBatch", 1, Fault::Answer(403, "AccessDenied"));
    send_numbers(&*sender, 0, 0..1);
    let heard = wait_for(&*sender, |incoming| match incoming {
        Incoming::Trouble(trouble) => Some(trouble.to_string()),
        _ => None,
    });
    assert!(heard.contains("sqs:SendMessage on "), "{heard}");
    recovered(&*sender);
    let heard = troubles(&hear_numbers(&*receiver, 0..1));
    assert!(heard[..].iter().all(|trouble| trouble.contains("sqs:DeleteMessage on ")), "{heard:?}");
}

#[test]
fn refused_credentials_are_told() {
    let (proxy, network) = proxied();
    proxy.fault("GetQueueUrl", 1, Fault::Answer(403, "InvalidClientTokenId"));
    let error = network.join(0).err().unwrap();
    let (code, message) = ("InvalidClientTokenId".to_owned(), "injected".to_owned());
    assert_eq!(error, TransportError::Sqs(SqsError::CredentialsRefused { code, message }));
}

#[test]
fn an_endpoint_that_does_not_answer_is_named_as_such() {
    let network = Queues::at(emulator::endpoint());
    let nowhere = format!("http://127.0.0.1:{}", emulator::free_port());
    let options = Options { access: Access::Emulator(nowhere), ..network.options.clone() };
    let start = Instant::now();
    let error = sqs::join(NodeId(0), options).err().unwrap();
    assert!(matches!(error, TransportError::Sqs(SqsError::Unreachable { .. })), "{error}");
    assert!(error.to_string().contains("GetQueueUrl"), "{error}");
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn static_peers_need_no_right_to_list() {
    let (proxy, mut network) = proxied();
    network.options.discover = false;
    proxy.fault("ListQueues", u32::MAX, Fault::Answer(403, "AccessDeniedException"));
    let (sender, receiver) = (join(&network, 1), join(&network, 0));
    send(&*sender, 0, Kind::Chain, "0");
    assert_eq!(text(&take(&*receiver)), "0");
    assert_eq!(proxy.seen("ListQueues"), 0);
    drop((sender, receiver));
    proxy.heal();
}

#[test]
fn a_service_that_forgets_everything_is_filled_again() {
    let port = emulator::free_port();
    let service = Emulator::start(port);
    let network = Queues::at(&service.endpoint());
    let nodes = [join(&network, 0), join(&network, 1)];
    send(&*nodes[0], 1, Kind::Chain, "before");
    assert_eq!(text(&take(&*nodes[1])), "before");
    drop(service);
    let service = Emulator::start(port);
    // What is sent at the very moment may be lost with the rest: the nodes ask again, as here.
    let mut heard = [Vec::new(), Vec::new()];
    for (node, to) in [(0, 1), (1, 0)] {
        let start = Instant::now();
        for number in 0.. {
            assert!(start.elapsed() < PATIENCE, "nothing arrives: {heard:?}");
            let message = outgoing(Kind::Chain, &format!("{number} after"), 0);
            nodes[node].send(NodeId(to), message).unwrap();
            thread::sleep(Duration::from_millis(100));
            let arrived: Vec<_> = nodes[usize::from(to)].incoming().try_iter().collect();
            let done = arrived.iter().any(|incoming| matches!(incoming, Incoming::Delivery(_)));
            heard[usize::from(to)].extend(arrived);
            if done {
                break;
            }
        }
    }
    for (id, node) in nodes.iter().enumerate() {
        heard[id].extend(node.incoming().try_iter());
        let troubles = troubles(&heard[id]);
        assert!(!troubles.is_empty(), "node {id} says what happened");
    }
    assert_eq!(network.inboxes(), BTreeSet::from([NodeId(0), NodeId(1)]));
    drop(nodes);
    drop(network);
    drop(service);
}
