//! What queues, senders and processes are called.
//! Invariant: a queue's name is read back only where it is exactly what would have been written.

use std::fs;

use quarry_core::units::NodeId;

use crate::transport::TransportError;
use crate::transport::sqs::error::SqsError;

const SUFFIX: &str = ".fifo";
const QUEUE_NAME_MAX: usize = 80;
const CLIENT_NAME_MAX: usize = 32;
/// What of a host's name is shown.
const HOST_NAME_MAX: usize = 64;

/// The name of a node's queue.
pub(super) fn queue(prefix: &str, id: NodeId) -> Result<String, SqsError> {
    let name = format!("{prefix}{id}{SUFFIX}");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if prefix.bytes().all(plain) && name.len() <= QUEUE_NAME_MAX {
        Ok(name)
    } else {
        Err(SqsError::QueueName(name))
    }
}

/// The node whose queue this is: the last part of its address is its name.
pub(super) fn node(prefix: &str, url: &str) -> Option<NodeId> {
    let name = url.rsplit('/').next()?;
    let text = name.strip_prefix(prefix)?.strip_suffix(SUFFIX)?;
    number(text)
}

/// A node's number, exactly as it is printed.
pub(super) fn number(text: &str) -> Option<NodeId> {
    text.parse().ok().filter(|id: &NodeId| id.to_string() == text)
}

/// A name that no other client has.
pub(super) fn client(name: &str) -> Result<String, TransportError> {
    let letter = |byte: u8| byte.is_ascii_lowercase();
    let plain = |byte: u8| letter(byte) || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().next().is_some_and(letter) && name.bytes().all(plain) && name.len() <= CLIENT_NAME_MAX {
        return Ok(format!("{name}-{}-{:016x}", std::process::id(), rand::random::<u64>()));
    }
    Err(TransportError::ClientName(name.chars().take(QUEUE_NAME_MAX).collect()))
}

/// A name that no other instance of a node has, in letters that a tag may have; it says where to look for the process.
pub(super) fn instance() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '.';
    let host: String = host.chars().filter(plain).take(HOST_NAME_MAX).collect();
    format!("{:016x}@{host}:{}", rand::random::<u64>(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_name_reads_back_as_it_was_written() {
        for prefix in ["", "demo-", "a_B9"] {
            for id in [0, 7, 65535] {
                let name = queue(prefix, NodeId(id)).unwrap();
                assert_eq!(
                    node(prefix, &format!("http://localhost:4566/000000000000/{name}")),
                    Some(NodeId(id))
                );
            }
        }
        assert_eq!(queue("", NodeId(0)).unwrap(), "0.fifo");
    }

    #[test]
    fn other_names_are_not_queues() {
        for name in
            ["demo-0", "demo-.fifo", "demo-00.fifo", "demo-+1.fifo", "demo-65536.fifo", "other-0.fifo", ""]
        {
            assert_eq!(node("demo-", &format!("https://host/0/{name}")), None, "{name}");
        }
    }

    #[test]
    fn bad_prefixes_are_refused() {
        for prefix in ["a b", "a.b", "ä", "a/", &"x".repeat(75)] {
            let name = format!("{prefix}0.fifo");
            assert_eq!(queue(prefix, NodeId(0)), Err(SqsError::QueueName(name)));
        }
        assert!(queue(&"x".repeat(74), NodeId(0)).is_ok());
    }

    #[test]
    fn client_names_are_short_and_plain() {
        assert_ne!(client("cli").unwrap(), client("cli").unwrap());
        for name in ["", "7", "-cli", "Cli", "a.b", "ä", &"x".repeat(33)] {
            assert_eq!(client(name), Err(TransportError::ClientName(name.into())));
        }
    }
}
