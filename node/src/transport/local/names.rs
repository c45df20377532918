//! What the files of a spool are called, and which of them exist.
//! Invariant: a name is read back only where it is exactly what would have been written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quarry_core::units::NodeId;

use crate::transport::{Kind, TransportError};

/// Locked by the node whose inbox it is, as long as it runs.
pub(super) const LOCK: &str = "lock";
/// The socket that a sender rings after it has written.
pub(super) const BELL: &str = "bell";
/// Ends the name of a segment that is not yet locked by its writer.
pub(super) const UNFINISHED: &str = ".new";

const CLIENT_NAME_MAX: usize = 32;
const SENDER_NAME_MAX: usize = 80;

/// The segments of each log that exist, by number.
pub(super) type Segments = BTreeMap<Arc<LogName>, BTreeSet<u64>>;

/// One sender's messages of one kind in one inbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    pub(super) sender: Sender,
    pub(super) kind: Kind,
}

/// Who writes a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sender {
    Node(NodeId),
    Client(String),
}

impl Sender {
    /// A name that no other client has, now or later.
    pub(super) fn client(name: &str) -> Result<Self, TransportError> {
        if name.len() <= CLIENT_NAME_MAX && is_client(name) {
            return Ok(Self::Client(format!("{name}-{}-{:016x}", std::process::id(), rand::random::<u64>())));
        }
        Err(TransportError::ClientName(name.chars().take(SENDER_NAME_MAX).collect()))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() <= SENDER_NAME_MAX && is_client(text) {
            return Some(Self::Client(text.to_owned()));
        }
        node(text).map(Self::Node)
    }
}

impl LogName {
    /// The file of one segment: `0.chain.0000000001.log`.
    pub(super) fn segment(&self, inbox: &Path, number: u64) -> PathBuf {
        inbox.join(format!("{self}.{number:010}.log"))
    }

    /// The file that says how far the receiver is: `0.chain.cursor`.
    pub(super) fn cursor(&self, inbox: &Path) -> PathBuf {
        inbox.join(format!("{self}.cursor"))
    }

    fn parse(sender: &str, kind: &str) -> Option<Self> {
        let kind = match kind {
            "chain" => Kind::Chain,
            "transactions" => Kind::Transactions,
            _ => return None,
        };
        Some(Self { sender: Sender::parse(sender)?, kind })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sender {
            Sender::Node(id) => write!(f, "{id}.")?,
            Sender::Client(name) => write!(f, "{name}.")?,
        }
        f.write_str(match self.kind {
            Kind::Chain => "chain",
            Kind::Transactions => "transactions",
        })
    }
}

/// The inbox of a node.
pub(super) fn inbox(dir: &Path, id: NodeId) -> PathBuf {
    dir.join(id.to_string())
}

/// The nodes that have an inbox under `dir`.
pub(super) fn inboxes(dir: &Path) -> Result<BTreeSet<NodeId>, TransportError> {
    let mut found = BTreeSet::new();
    let listing = each_file(dir, |name, entry| {
        if let Some(id) = node(name)
            && entry.file_type()?.is_dir()
        {
            found.insert(id);
        }
        Ok(())
    });
    match listing {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TransportError::io("list", dir)(error)),
        _ => Ok(found),
    }
}

/// The segments in an inbox. Those that come or go meanwhile may be missing.
pub(super) fn segments(inbox: &Path) -> Result<Segments, TransportError> {
    let mut found = Segments::new();
    each_file(inbox, |name, entry| {
        if let Some((log, number)) = parse_segment(name)
            && entry.file_type()?.is_file()
        {
            found.entry(Arc::new(log)).or_default().insert(number);
        }
        Ok(())
    })
    .map_err(TransportError::io("list", inbox))?;
    Ok(found)
}

/// The cursors in an inbox.
pub(super) fn cursors(inbox: &Path) -> Result<Vec<LogName>, TransportError> {
    let mut found = Vec::new();
    each_file(inbox, |name, _| {
        found.extend(parse_cursor(name));
        Ok(())
    })
    .map_err(TransportError::io("list", inbox))?;
    Ok(found)
}

/// The files in an inbox that their writers have not finished creating.
pub(super) fn unfinished(inbox: &Path) -> Result<Vec<PathBuf>, TransportError> {
    let mut found = Vec::new();
    each_file(inbox, |name, entry| {
        if name.strip_suffix(UNFINISHED).and_then(parse_segment).is_some() {
            found.push(entry.path());
        }
        Ok(())
    })
    .map_err(TransportError::io("list", inbox))?;
    Ok(found)
}

/// The segments in an inbox with their sizes.
pub(super) fn sizes(inbox: &Path) -> Result<Vec<(LogName, u64, u64)>, TransportError> {
    let mut found = Vec::new();
    each_file(inbox, |name, entry| {
        if let Some((log, number)) = parse_segment(name) {
            found.push((log, number, entry.metadata()?.len()));
        }
        Ok(())
    })
    .map_err(TransportError::io("list", inbox))?;
    Ok(found)
}

/// Shows each entry that has a plain name; an entry that vanishes meanwhile is passed over.
fn each_file(dir: &Path, mut show: impl FnMut(&str, &fs::DirEntry) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        match name.to_str().map_or(Ok(()), |name| show(name, &entry)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn parse_segment(name: &str) -> Option<(LogName, u64)> {
    let mut parts = name.split('.');
    let log = LogName::parse(parts.next()?, parts.next()?)?;
    let digits = parts.next()?;
    let number = digits.parse().ok()?;
    let plain = format!("{number:010}") == digits && number != 0;
    (plain && parts.next() == Some("log") && parts.next().is_none()).then_some((log, number))
}

fn parse_cursor(name: &str) -> Option<LogName> {
    let (sender, kind) = name.strip_suffix(".cursor")?.split_once('.')?;
    LogName::parse(sender, kind)
}

fn node(text: &str) -> Option<NodeId> {
    text.parse().ok().filter(|id: &NodeId| id.to_string() == text)
}

fn is_client(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase();
    let plain = |byte: u8| letter(byte) || byte.is_ascii_digit() || byte == b'-';
    name.bytes().next().is_some_and(letter) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_name_reads_back_as_it_was_written() {
        let client = Sender::client("generator").unwrap();
        for sender in [Sender::Node(NodeId(0)), Sender::Node(NodeId(65535)), client] {
            for kind in [Kind::Chain, Kind::Transactions] {
                let log = LogName { sender: sender.clone(), kind };
                for number in [1, 9_999_999_999, u64::MAX] {
                    let name = log.segment(Path::new(""), number);
                    assert_eq!(
                        parse_segment(name.to_str().unwrap()),
                        Some((log.clone(), number)),
                        "{name:?}"
                    );
                }
                assert_eq!(parse_cursor(log.cursor(Path::new("")).to_str().unwrap()), Some(log));
            }
        }
    }

    #[test]
    fn other_names_are_not_segments() {
        for name in [
            "",
            "lock",
            "0.chain.log",
            "0.chain.1.log",
            "0.chain.0000000000.log",
            "0.chain.+000000001.log",
            "0.chain.0000000001.log.new",
            "0.chain.0000000001.txt",
            "00.chain.0000000001.log",
            "+1.chain.0000000001.log",
            "65536.chain.0000000001.log",
            "0.blocks.0000000001.log",
            "../0.chain.0000000001.log",
            "Client.chain.0000000001.log",
            "-.chain.0000000001.log",
            "0.chain.99999999999999999999999.log",
        ] {
            assert_eq!(parse_segment(name), None, "{name}");
        }
    }

    #[test]
    fn client_names_are_short_and_plain() {
        assert_ne!(Sender::client("cli").unwrap(), Sender::client("cli").unwrap());
        let long = "x".repeat(CLIENT_NAME_MAX + 1);
        for name in ["", "7", "-cli", "Cli", "a.b", "a/b", "ä", &long] {
            assert_eq!(Sender::client(name), Err(TransportError::ClientName(name.into())));
        }
    }
}
