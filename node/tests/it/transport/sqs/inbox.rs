//! What comes out of a queue: the original system's messages, and what is no message of any network.

use std::thread;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_sqs::types::MessageAttributeValue;
use node::transport::sqs::{Access, SqsError};
use node::transport::{Format, Incoming, Kind, TransportError};
use quarry_core::units::NodeId;

use super::super::{Fixture as _, join, outgoing, receive, send, take, text, wait_for};
use super::Queues;

/// Somebody else's program, which sends what it likes.
pub(crate) struct Stranger {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Stranger {
    pub(crate) fn new(network: &Queues) -> Self {
        let Access::Emulator(endpoint) = &network.options.access else {
            panic!("tests run against an emulator");
        };
        let config = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(endpoint);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { client: Client::from_conf(config.build()), runtime }
    }

    pub(crate) fn url(&self, network: &Queues, id: u16) -> String {
        let name = format!("{}{id}.fifo", network.options.prefix);
        let answer = self.runtime.block_on(self.client.get_queue_url().queue_name(name).send());
        answer.unwrap().queue_url.unwrap()
    }

    pub(crate) fn send(&self, url: &str, body: &str, attributes: &[(&str, &str)]) {
        let mut request =
            self.client.send_message().queue_url(url).message_body(body).message_group_id("stranger");
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build();
            request = request.message_attributes(*name, value.unwrap());
        }
        self.runtime.block_on(request.send()).unwrap();
    }

    pub(crate) fn tag(&self, url: &str, name: &str, value: &str) {
        self.runtime.block_on(self.client.tag_queue().queue_url(url).tags(name, value).send()).unwrap();
    }

    pub(crate) fn create(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        let mut request = self.client.create_queue().queue_name(name);
        for (name, value) in attributes {
            request = request.attributes((*name).into(), *value);
        }
        self.runtime.block_on(request.send()).unwrap().queue_url.unwrap()
    }

    pub(crate) fn attribute(&self, url: &str, name: &str) -> Option<String> {
        let request = self.client.get_queue_attributes().queue_url(url).attribute_names("All".into());
        self.runtime.block_on(request.send()).unwrap().attributes.unwrap().remove(&name.into())
    }

    pub(crate) fn delete(&self, url: &str) {
        self.runtime.block_on(self.client.delete_queue().queue_url(url).send()).unwrap();
    }
}

#[test]
fn a_message_of_the_original_system_is_delivered_as_such() {
    const CONTENTS: &str = r#"{"to_node": "node2", "from_node": "node3", "amount": 0.13,
        "timestamp": "2020-05-08 08:40:07.405769",
        "unique_id": "f6383268404d95beda79dfb7b675b5fadb661a690cdab46215c85798ceec8f44"}"#;
    let network = Queues::start();
    let (receiver, stranger) = (join(&network, 0), Stranger::new(&network));
    let url = stranger.url(&network, 0);
    stranger.send(&url, "a transaction", &[("type", "Transaction"), ("contents", CONTENTS)]);
    let delivery = take(&*receiver);
    assert_eq!(
        (text(&delivery).as_str(), delivery.from, delivery.format),
        (CONTENTS, None, Format::Original)
    );
    send(&*join(&network, 1), 0, Kind::Chain, "ours");
    assert_eq!(receive(&*receiver).format, Format::Quarry);
    assert_eq!(receiver.usage().events.get("messages_of_the_original"), Some(&1));
}

#[test]
fn poison_is_deleted_counted_and_told() {
    let network = Queues::start();
    let (receiver, stranger) = (join(&network, 0), Stranger::new(&network));
    let url = stranger.url(&network, 0);
    let poison: &[(&str, &str)] = &[
        ("from", "70000"),
        ("from", "-1"),
        ("from", "one"),
        ("hops", "1"),
        ("type", "Block"),
        ("type", "Transaction"),
    ];
    for (number, attribute) in poison.iter().enumerate() {
        stranger.send(&url, &format!("poison {number}"), &[*attribute]);
    }
    stranger.send(&url, "good", &[]);
    let mut told = Vec::new();
    wait_for(&*receiver, |incoming| match incoming {
        Incoming::Trouble(TransportError::Sqs(SqsError::Poison { reason, .. })) => {
            told.push(reason);
            None
        }
        Incoming::Delivery(delivery) => {
            assert_eq!(text(&delivery), "good");
            receiver.acknowledge(vec![delivery.receipt]).unwrap();
            Some(())
        }
        _ => None,
    });
    assert_eq!(told.len(), poison.len(), "{told:?}");
    assert_eq!(receiver.usage().events.get("messages_poison"), Some(&6));
    drop(receiver);
    let receiver = join(&network, 0);
    send(&*network.client("cli"), 0, Kind::Chain, "after");
    assert_eq!(text(&receive(&*receiver)), "after", "nothing of it is left");
}

#[test]
fn a_message_that_is_not_acknowledged_in_time_is_delivered_once() {
    let network = Queues::start();
    let (receiver, sender) = (join(&network, 0), join(&network, 1));
    send(&*sender, 0, Kind::Chain, "0");
    let delivery = receive(&*receiver);
    // The queue hands it out again meanwhile, as often as it likes.
    while !receiver.usage().events.contains_key("messages_received_again") {
        thread::sleep(Duration::from_millis(20));
    }
    receiver.acknowledge(vec![delivery.receipt]).unwrap();
    send(&*sender, 0, Kind::Chain, "1");
    assert_eq!(text(&take(&*receiver)), "1");
    drop(receiver);
    let receiver = join(&network, 0);
    send(&*sender, 0, Kind::Chain, "2");
    assert_eq!(text(&take(&*receiver)), "2", "its deletion used the last handle");
}

#[test]
fn messages_to_a_queue_that_does_not_exist_are_given_up() {
    let mut network = Queues::start();
    network.options.give_up_after = Duration::from_secs(1);
    let sender = join(&network, 1);
    sender.send(NodeId(9), outgoing(Kind::Chain, "lost", 5)).unwrap();
    let queue = format!("{}9.fifo", network.options.prefix);
    let missing = || SqsError::QueueMissing(queue.clone());
    let mut expected =
        vec![missing(), SqsError::GivenUp { to: NodeId(9), count: 1, reason: Box::new(missing()) }];
    let mut sent = false;
    while !sent || !expected.is_empty() {
        wait_for(&*sender, |incoming| match incoming {
            Incoming::Trouble(TransportError::Sqs(trouble)) => {
                assert_eq!(trouble, expected.remove(0));
                Some(())
            }
            Incoming::Sent(5) => {
                sent = true;
                Some(())
            }
            _ => None,
        });
    }
    // It may be sent to once it is there.
    network.create_inbox(9);
    send(&*sender, 9, Kind::Chain, "found");
    assert_eq!(text(&take(&*join(&network, 9))), "found");
}
