//! Creating, listing, purging and deleting queues, and the ways in which a queue can be the wrong one.

use std::collections::{BTreeMap, BTreeSet};

use node::transport::sqs::queues::{self, Outcome};
use node::transport::sqs::{Options, SqsError};
use node::transport::{Kind, TransportError};
use quarry_core::units::NodeId;

use super::super::{Fixture as _, join, receive, send, send_all, text};
use super::Queues;
use super::inbox::Stranger;

fn all(ids: &[u16], outcome: Outcome) -> BTreeMap<NodeId, Outcome> {
    ids.iter().map(|id| (NodeId(*id), outcome)).collect()
}

#[test]
fn each_command_may_be_repeated() {
    let network = Queues::start();
    let (options, ids) = (&network.options, (0..3).map(NodeId).collect::<BTreeSet<_>>());
    assert_eq!(queues::create(options, &ids).unwrap(), all(&[0, 1, 2], Outcome::Created));
    assert_eq!(queues::create(options, &ids).unwrap(), all(&[0, 1, 2], Outcome::Unchanged));
    let listed = queues::list(options).unwrap();
    assert_eq!(listed.iter().map(|queue| queue.id).collect::<BTreeSet<_>>(), ids);

    send_all(&*network.client("cli"), 1, Kind::Chain, 15);
    let contents = queues::contents(options, &BTreeSet::from([NodeId(1), NodeId(8)])).unwrap();
    assert_eq!(contents.keys().copied().collect::<Vec<_>>(), [NodeId(1)]);
    assert_eq!((contents[&NodeId(1)].waiting, contents[&NodeId(1)].in_flight), (15, 0));
    let some = BTreeSet::from([NodeId(1), NodeId(8)]);
    let expected = BTreeMap::from([(NodeId(1), Outcome::Purged), (NodeId(8), Outcome::Missing)]);
    assert_eq!(queues::purge(options, &some).unwrap(), expected);
    assert_eq!(queues::contents(options, &some).unwrap()[&NodeId(1)].waiting, 0);

    assert_eq!(queues::delete(options, &ids).unwrap(), all(&[0, 1, 2], Outcome::Deleted));
    assert_eq!(queues::delete(options, &ids).unwrap(), all(&[0, 1, 2], Outcome::Missing));
    assert_eq!(queues::list(options).unwrap(), []);
}

#[test]
fn a_queue_has_the_attributes_that_the_options_say() {
    let network = Queues::start();
    let stranger = Stranger::new(&network);
    let ids = BTreeSet::from([NodeId(0)]);
    queues::create(&network.options, &ids).unwrap();
    let url = stranger.url(&network, 0);
    let check = |expected: &[(&str, &str)]| {
        for (name, value) in expected {
            assert_eq!(stranger.attribute(&url, name).as_deref(), Some(*value), "{name}");
        }
    };
    check(&[
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "true"),
        ("VisibilityTimeout", "2"),
        ("MessageRetentionPeriod", "3600"),
        ("ReceiveMessageWaitTimeSeconds", "20"),
        ("MaximumMessageSize", "262144"),
        ("DeduplicationScope", "queue"),
        ("FifoThroughputLimit", "perQueue"),
    ]);
    let fast = Options { high_throughput: true, ..network.options.clone() };
    assert_eq!(queues::create(&fast, &ids).unwrap(), all(&[0], Outcome::Updated));
    check(&[("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId")]);
    assert_eq!(queues::create(&fast, &ids).unwrap(), all(&[0], Outcome::Unchanged));
}

#[test]
fn in_high_throughput_mode_equal_messages_of_several_senders_all_arrive() {
    let mut network = Queues::start();
    network.options.high_throughput = true;
    let (receiver, senders) = (join(&network, 0), [join(&network, 1), join(&network, 2)]);
    for sender in &senders {
        send(&**sender, 0, Kind::Chain, "block");
        send(&**sender, 0, Kind::Chain, "block");
    }
    let from: BTreeSet<_> = (0..2).map(|_| receive(&*receiver)).map(|it| (it.from, text(&it))).collect();
    assert_eq!(from, [1, 2].map(|id| (Some(NodeId(id)), "block".to_owned())).into());
}

#[test]
fn a_queue_of_another_network_is_left_alone() {
    let network = Queues::start();
    drop(join(&network, 0));
    let mut other = Queues::like(&network, network.options.access.clone());
    other.options.network = "other".to_owned();
    let queue = format!("{}0.fifo", network.options.prefix);
    let foreign =
        TransportError::Sqs(SqsError::ForeignQueue { queue, network: network.options.network.clone() });
    let ids = BTreeSet::from([NodeId(0)]);
    assert_eq!(other.join(0).err(), Some(foreign.clone()));
    assert_eq!(queues::create(&other.options, &ids), Err(foreign.clone()));
    assert_eq!(queues::purge(&other.options, &ids), Err(foreign.clone()));
    assert_eq!(queues::delete(&other.options, &ids), Err(foreign));
    drop(join(&network, 0));
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let mut network = Queues::start();
    network.options.prefix = "no dots. ".to_owned();
    let name = TransportError::Sqs(SqsError::QueueName("no dots. 0.fifo".to_owned()));
    assert_eq!(network.join(0).err(), Some(name.clone()));
    let mut network = Queues::start();
    network.options.message_bytes_max = 1 << 20;
    let limit = SqsError::MessageLimit { wanted: 1 << 20, carried: (1 << 20) - 1024 };
    assert_eq!(network.join(0).err(), Some(TransportError::Sqs(limit)));
    let refused = node::transport::sqs::client("../x", Queues::start().options.clone()).err();
    assert_eq!(refused, Some(TransportError::ClientName("../x".to_owned())));
}

#[test]
fn all_queues_are_found_however_many_there_are() {
    let network = Queues::start();
    let stranger = Stranger::new(&network);
    let prefix = &network.options.prefix;
    let attributes = [("FifoQueue", "true")];
    // More than a page.
    let urls: Vec<_> =
        (0..1005).map(|id| stranger.create(&format!("{prefix}{id}.fifo"), &attributes)).collect();
    assert_eq!(network.inboxes(), (0..1005).map(NodeId).collect());
    urls.iter().skip(1).for_each(|url| stranger.delete(url));
    stranger.tag(&urls[0], "quarry-network", "other");
    assert!(matches!(network.join(0).err(), Some(TransportError::Sqs(SqsError::ForeignQueue { .. }))));
    stranger.tag(&urls[0], "quarry-network", &network.options.network);
}
