//! What a message looks like in a queue.
//! Invariant: equal payloads have equal bodies, whoever sends them, so that the queue itself drops copies.

use std::collections::HashMap;

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use quarry_core::units::NodeId;

use crate::transport::sqs::names;
use crate::transport::{Format, Kind};

/// The group of all transactions in an inbox, whoever sends them. A queue hands out nothing more of a group while a
/// message of it is being worked on, so transactions occupy a node with one batch, and blocks pass by.
const TRANSACTIONS: &str = "transactions";
/// The attribute with the number of the node that sends.
const FROM: &str = "from";
/// The attribute with which a process says that it runs the node.
const CLAIM: &str = "quarry-claim";
/// The attributes of the original system's messages.
const ORIGINAL_TYPE: &str = "type";
const ORIGINAL_CONTENTS: &str = "contents";

/// Who sends.
#[derive(Debug, Clone)]
pub(super) enum Sender {
    Node(NodeId),
    Client(String),
}

/// What a received message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// For the node.
    Payload { from: Option<NodeId>, kind: Kind, format: Format, payload: String },
    /// A process says that it runs this node.
    Claim(String),
    /// Nothing that this network sends, and why.
    Poison(String),
}

/// A payload as an entry of a batch.
pub(super) fn entry(
    position: usize,
    sender: &Sender,
    kind: Kind,
    payload: &str,
) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let (group, from) = match sender {
        Sender::Node(id) => (id.to_string(), Some(id)),
        Sender::Client(name) => (name.clone(), None),
    };
    let group = if kind == Kind::Transactions { TRANSACTIONS.to_owned() } else { group };
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(position.to_string())
        .message_body(payload)
        .message_group_id(group);
    if let Some(id) = from {
        entry = entry.message_attributes(FROM, attribute("Number", &id.to_string())?);
    }
    entry.build()
}

/// A claim of `instance`; `number` tells one from another, which would else be dropped as a copy.
pub(super) fn claim(instance: &str, number: u64) -> Result<SendMessageBatchRequestEntry, BuildError> {
    SendMessageBatchRequestEntry::builder()
        .id("0")
        .message_body(format!("{instance} runs this node ({number:016x})"))
        // A group of its own, which no other message holds up.
        .message_group_id(format!("{CLAIM}-{number:016x}"))
        .message_attributes(CLAIM, attribute("String", instance)?)
        .build()
}

fn attribute(data_type: &str, value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build()
}

/// Whether SQS has handed it out before.
pub(super) fn is_again(message: &Message) -> bool {
    system(message, &MessageSystemAttributeName::ApproximateReceiveCount).is_some_and(|count| count != "1")
}

/// Tells what a message is.
pub(super) fn read(message: Message, payload_bytes_max: usize) -> Content {
    let group = system(&message, &MessageSystemAttributeName::MessageGroupId).map(ToOwned::to_owned);
    let body = message.body.unwrap_or_default();
    let attributes = message.message_attributes.unwrap_or_default();
    let payload = |from, kind, format, payload: String| match payload.len() {
        0 => Content::Poison("it is empty".to_owned()),
        bytes if payload_bytes_max < bytes => {
            Content::Poison(format!("its {bytes} bytes exceed the limit of {payload_bytes_max}"))
        }
        _ => Content::Payload { from, kind, format, payload },
    };
    if let Some(instance) = attributes.get(CLAIM) {
        return instance.string_value().map_or_else(
            || Content::Poison(format!("its attribute `{CLAIM}` is no text")),
            |instance| Content::Claim(instance.to_owned()),
        );
    }
    if let Some(kind) = attributes.get(ORIGINAL_TYPE) {
        return match (kind.string_value(), attributes.get(ORIGINAL_CONTENTS).and_then(|it| it.string_value()))
        {
            (Some("Transaction"), Some(contents)) => {
                payload(None, Kind::Transactions, Format::Original, contents.to_owned())
            }
            (Some("Transaction"), None) => {
                Content::Poison(format!("it has no attribute `{ORIGINAL_CONTENTS}`"))
            }
            (kind, _) => Content::Poison(format!("its type is `{}`", shown(kind.unwrap_or_default()))),
        };
    }
    let kind = if group.as_deref() == Some(TRANSACTIONS) { Kind::Transactions } else { Kind::Chain };
    match from(&attributes) {
        Ok(from) => payload(from, kind, Format::Quarry, body),
        Err(reason) => Content::Poison(reason),
    }
}

fn from(attributes: &HashMap<String, MessageAttributeValue>) -> Result<Option<NodeId>, String> {
    let mut from = None;
    for (name, value) in attributes {
        if name != FROM {
            return Err(format!("it has an unknown attribute `{}`", shown(name)));
        }
        let text = value.string_value().unwrap_or_default();
        let id =
            names::number(text).ok_or_else(|| format!("it is from `{}`, which is no node", shown(text)))?;
        from = Some(id);
    }
    Ok(from)
}

/// As much of a text from outside as a line of a log takes.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    text.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect()
}

fn system<'a>(message: &'a Message, name: &MessageSystemAttributeName) -> Option<&'a str> {
    message.attributes.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a queue makes of an entry.
    fn received(entry: SendMessageBatchRequestEntry) -> Message {
        Message::builder()
            .body(entry.message_body)
            .attributes(MessageSystemAttributeName::MessageGroupId, entry.message_group_id.unwrap())
            .set_message_attributes(entry.message_attributes)
            .build()
    }

    fn with(attributes: &[(&str, &str)]) -> Content {
        let mut message = Message::builder().body("body");
        for (name, value) in attributes {
            message = message.message_attributes(*name, attribute("String", value).unwrap());
        }
        read(message.build(), 100)
    }

    #[test]
    fn a_message_reads_back_as_it_was_sent() {
        let client = Sender::Client("cli-1-2".to_owned());
        for (sender, from) in [(Sender::Node(NodeId(3)), Some(NodeId(3))), (client, None)] {
            for kind in [Kind::Chain, Kind::Transactions] {
                let sent = entry(0, &sender, kind, "text").unwrap();
                assert_eq!(sent.message_body, "text", "the body depends on the payload alone");
                let payload = "text".to_owned();
                let expected = Content::Payload { from, kind, format: Format::Quarry, payload };
                assert_eq!(read(received(sent), 4), expected);
            }
        }
        assert_eq!(read(received(claim("me", 7).unwrap()), 1), Content::Claim("me".to_owned()));
    }

    #[test]
    fn a_transaction_of_the_original_is_read() {
        let (kind, format) = (Kind::Transactions, Format::Original);
        let expected = Content::Payload { from: None, kind, format, payload: "{}".to_owned() };
        assert_eq!(with(&[("type", "Transaction"), ("contents", "{}")]), expected);
    }

    #[test]
    fn what_no_network_sends_is_poison() {
        let check = |content: Content, reason: &str| assert_eq!(content, Content::Poison(reason.to_owned()));
        check(with(&[("from", "x")]), "it is from `x`, which is no node");
        check(with(&[("from", "01")]), "it is from `01`, which is no node");
        check(with(&[("from", "70000")]), "it is from `70000`, which is no node");
        check(with(&[("hops", "1")]), "it has an unknown attribute `hops`");
        check(with(&[("type", "Block\n")]), "its type is `Block\\n`");
        check(with(&[("type", "Transaction")]), "it has no attribute `contents`");
        check(with(&[("type", "Transaction"), ("contents", "")]), "it is empty");
        check(read(Message::builder().build(), 100), "it is empty");
        let long = Message::builder().body("x".repeat(101)).build();
        check(read(long, 100), "its 101 bytes exceed the limit of 100");
    }
}
