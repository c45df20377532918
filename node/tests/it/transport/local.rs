//! The embedded transport: the contract, and what its files promise when they are damaged, full or left over.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use node::transport::local::{self, Options};
use node::transport::{Incoming, Kind, Transport, TransportError};
use quarry_core::units::NodeId;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::{
    Fixture, PATIENCE, contract, every_contract_test, expect, join, outgoing, receive, send, text, wait_for,
};

pub(super) struct Spool {
    pub(super) dir: TempDir,
    options: Options,
}

impl Fixture for Spool {
    const MESSAGE_BYTES_MAX: usize = 256 << 10;
    const SOME: u32 = 200;
    const BACKLOG: u32 = 10_000;

    fn start() -> Self {
        Self::with(Options::default())
    }

    fn join(&self, id: u16) -> Result<Box<dyn Transport>, TransportError> {
        Ok(Box::new(local::join(self.dir.path(), NodeId(id), self.options.clone())?))
    }

    fn client(&self, name: &str) -> Box<dyn Transport> {
        Box::new(local::client(self.dir.path(), name, self.options.clone()).unwrap())
    }

    fn create_inbox(&self, _: u16) {
        // Whoever sends to it first does.
    }

    fn inboxes(&self) -> BTreeSet<NodeId> {
        local::inboxes(self.dir.path()).unwrap()
    }
}

every_contract_test!(Spool);

impl Spool {
    fn with(options: Options) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options }
    }

    /// The segments in the inbox of node 0, in order of their names.
    fn segments(&self) -> Vec<PathBuf> {
        let mut found = self.files();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        found
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("0")).into_iter().flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    /// A log in the inbox of node 0 as a node 9 would have written it.
    fn write(&self, segment: u32, bytes: &[u8]) -> PathBuf {
        let inbox = self.dir.path().join("0");
        fs::create_dir_all(&inbox).unwrap();
        let path = inbox.join(format!("9.chain.{segment:010}.log"));
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// The format, said a second time.
fn frame(payload: &str) -> Vec<u8> {
    let mut header = (payload.len() as u32).to_be_bytes().to_vec();
    header.extend(crc32fast::hash(payload.as_bytes()).to_be_bytes());
    header.extend(crc32fast::hash(&header).to_be_bytes());
    [header, payload.into()].concat()
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn eventually(wanted: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {wanted}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Receives these numbers, in order, and something wrong at any time before the last.
fn expect_trouble(receiver: &dyn Transport, numbers: impl Iterator<Item = u32>) -> TransportError {
    let mut trouble = None;
    for number in numbers {
        wait_for(receiver, |incoming| match incoming {
            Incoming::Trouble(told) => {
                assert_eq!(trouble.replace(told), None);
                None
            }
            Incoming::Delivery(delivery) => {
                assert_eq!(text(&delivery), number.to_string());
                Some(())
            }
            Incoming::Ended(error) => panic!("{error}"),
            Incoming::Sent(_) | Incoming::Peers(_) | Incoming::Recovered(_) => None,
        });
    }
    trouble.unwrap()
}

#[test]
fn a_torn_tail_is_passed_over_when_its_sender_comes_back() {
    let network = Spool::start();
    let receiver = join(&network, 0);
    for (number, torn) in [0, 1, 11, 12, 13, 200].into_iter().enumerate() {
        let sender = join(&network, 1);
        send(&*sender, 0, Kind::Chain, &number.to_string());
        drop(sender);
        append(network.segments().last().unwrap(), &frame(&"torn ".repeat(50))[..torn]);
    }
    expect(&*receiver, 0..6);
}

#[test]
fn an_incomplete_message_is_waited_for() {
    let network = Spool::start();
    let (first, second) = (frame("0"), frame("1"));
    let path = network.write(1, &[&first[..], &second[..5]].concat());
    let (receiver, other) = (join(&network, 0), network.client("cli"));
    expect(&*receiver, 0..1);
    for byte in &second[5..second.len() - 1] {
        append(&path, &[*byte]);
        send(&*other, 0, Kind::Chain, &format!("after byte {byte} of {:?}", Instant::now()));
        assert!(text(&receive(&*receiver)).starts_with("after byte"));
    }
    append(&path, &second[second.len() - 1..]);
    expect(&*receiver, 1..2);
}

#[test]
fn damaged_messages_are_skipped_and_told() {
    let frames = || (0..5).map(|number| frame(&number.to_string())).collect::<Vec<_>>();
    let len = frames()[0].len();
    let check = |name: &str, bytes: Vec<u8>, after: u32, segment_of_last: u32| {
        let network = Spool::start();
        let log = network.write(1, &bytes);
        if segment_of_last == 2 {
            network.write(2, &frame("5"));
        }
        let receiver = join(&network, 0);
        let damaged = TransportError::Damaged { log: log.clone(), offset: 2 * len as u64 };
        assert_eq!(expect_trouble(&*receiver, (0..2).chain(after..5)), damaged, "{name}");
        if segment_of_last == 1 {
            append(&log, &frame("5"));
        }
        // The damage is not in the way of what comes later, nor told again.
        expect(&*receiver, 5..6);
    };
    for byte in 0..len {
        let mut frames = frames();
        frames[2][byte] ^= 0x40;
        check(&format!("byte {byte}"), frames.concat(), 3, 2);
    }
    let mut zeros = frames();
    zeros[2] = vec![0; 5_000];
    zeros[3].clear();
    check("zeros", zeros.concat(), 4, 1);
    let mut cut = frames();
    cut[2].pop();
    check("a byte lost", cut.concat(), 4, 1);
}

#[test]
fn hostile_files_do_no_harm() {
    let network = Spool::start();
    let mut noise = rand::rngs::SmallRng::seed_from_u64(1);
    for segment in 1..20 {
        let len = noise.random_range(0..3_000);
        network.write(segment, &(0..len).map(|_| noise.random()).collect::<Vec<u8>>());
    }
    let inbox = network.dir.path().join("0");
    // A message of 4 GiB is announced, and a segment has the last number there is.
    let mut endless = [&u32::MAX.to_be_bytes()[..], &[0; 4]].concat();
    endless.extend(crc32fast::hash(&endless).to_be_bytes());
    fs::write(inbox.join("8.chain.0000000001.log"), endless).unwrap();
    fs::write(inbox.join(format!("1.chain.{}.log", u64::MAX)), "").unwrap();
    for directory in ["7.chain.0000000001.log", "7.chain.cursor", "3.chain.0000000001.log.new", "bell"] {
        fs::create_dir(inbox.join(directory)).unwrap();
    }
    for file in ["6.chain.cursor", ".chain.0000000001.log", "99999.chain.0000000001.log", "\u{ff}", "-1"] {
        fs::write(inbox.join(file), "rubbish").unwrap();
    }
    std::os::unix::fs::symlink("/dev/zero", inbox.join("5.chain.0000000001.log")).unwrap();
    fs::write(network.dir.path().join("4"), "not an inbox").unwrap();

    let receiver = join(&network, 0);
    let client = network.client("cli");
    for number in 0..20 {
        send(&*client, 0, Kind::Chain, &format!("{number}"));
    }
    let mut numbers = 0..20;
    while !numbers.is_empty() {
        wait_for(&*receiver, |incoming| match incoming {
            Incoming::Delivery(delivery) => {
                assert_eq!(text(&delivery), numbers.next().unwrap().to_string());
                Some(())
            }
            _ => None,
        });
    }
    let refused = join(&network, 1).send(NodeId(0), outgoing(Kind::Chain, "no number is left", 0));
    assert!(matches!(refused, Err(TransportError::Io { kind: ErrorKind::Other, .. })), "{refused:?}");
}

#[test]
fn a_message_larger_than_the_receiver_allows_is_skipped_and_told() {
    let network = Spool::with(Options { message_bytes_max: 10, ..Options::default() });
    network.write(1, &[frame("0"), frame("0123456789 and more"), frame("1")].concat());
    let receiver = join(&network, 0);
    assert_eq!(expect_trouble(&*receiver, 0..2), TransportError::Oversize { bytes: 19, bytes_max: 10 });
}

#[test]
fn a_damaged_cursor_is_told_and_repeats_messages_rather_than_losing_them() {
    let network = Spool::start();
    let (receiver, sender) = (join(&network, 0), join(&network, 1));
    for number in 0..5 {
        send(&*sender, 0, Kind::Chain, &number.to_string());
    }
    let receipts = expect(&*receiver, 0..5);
    receiver.acknowledge(receipts).unwrap();
    drop(receiver);
    let cursor = network.dir.path().join("0/1.chain.cursor");
    fs::write(&cursor, "rubbish").unwrap();
    let receiver = join(&network, 0);
    assert_eq!(expect_trouble(&*receiver, 0..5), TransportError::CursorLost { cursor });
}

#[test]
fn segments_are_deleted_behind_the_acknowledgements() {
    const MESSAGES: u32 = 1_000;
    let network = Spool::with(Options { segment_bytes: 500, ..Options::default() });
    let sender = join(&network, 1);
    for number in 0..MESSAGES {
        send(&*sender, 0, Kind::Chain, &number.to_string());
    }
    let all = network.segments().len();
    assert!(20 < all, "{all} segments");
    let receiver = join(&network, 0);
    let receipts = expect(&*receiver, 0..MESSAGES);
    receiver.acknowledge(receipts[..500].to_vec()).unwrap();
    eventually("half of the segments are deleted", || network.segments().len() <= all * 2 / 3);
    drop(receiver);

    let receiver = join(&network, 0);
    let receipts = expect(&*receiver, 500..MESSAGES);
    assert!(all / 3 <= network.segments().len());
    receiver.acknowledge(receipts).unwrap();
    eventually("one segment is left", || network.segments().len() == 1);
    send(&*sender, 0, Kind::Chain, &MESSAGES.to_string());
    expect(&*receiver, MESSAGES..MESSAGES + 1);
}

#[test]
fn a_full_inbox_refuses_and_keeps_what_it_has() {
    let options = Options { inbox_bytes_max: 100_000, segment_bytes: 10_000, ..Options::default() };
    let network = Spool::with(options);
    let (sender, client) = (join(&network, 1), network.client("generator"));
    let fill = |sender: &dyn Transport, kind| {
        let refusal = |number: u32| {
            let text = format!("{kind:?} {number:04}{}", " ".repeat(500));
            sender.send(NodeId(0), outgoing(kind, &text, 0)).err().map(|error| (number, error))
        };
        (0..1_000).find_map(refusal).unwrap()
    };
    let (transactions, refused) = fill(&*client, Kind::Transactions);
    let TransportError::InboxFull { to: NodeId(0), bytes_max: 50_000, refused: 1, .. } = refused else {
        panic!("{refused:?}");
    };
    assert!((50..100).contains(&transactions), "{transactions} transactions");
    let again = client.send(NodeId(0), outgoing(Kind::Transactions, &"x".repeat(600), 0)).unwrap_err();
    assert!(matches!(again, TransportError::InboxFull { refused: 2, .. }), "{again}");
    assert!(again.to_string().ends_with("2 messages refused so far"), "{again}");

    let (blocks, _) = fill(&*sender, Kind::Chain);
    assert!((50..100).contains(&blocks), "{blocks} blocks");

    let receiver = join(&network, 0);
    let mut receipts = Vec::new();
    for (kind, count) in [(Kind::Chain, blocks), (Kind::Transactions, transactions)] {
        for number in 0..count {
            let delivery = receive(&*receiver);
            assert_eq!(text(&delivery).trim_end(), format!("{kind:?} {number:04}"));
            receipts.push(delivery.receipt);
        }
    }
    receiver.acknowledge(receipts).unwrap();
    eventually("there is room again", || {
        client.send(NodeId(0), outgoing(Kind::Transactions, "0", 0)).is_ok()
    });
    expect(&*receiver, 0..1);
}

#[test]
fn a_block_overtakes_large_transactions() {
    let network = Spool::start();
    let (client, sender, receiver) = (network.client("generator"), join(&network, 1), join(&network, 0));
    for number in 0..100 {
        send(&*client, 0, Kind::Transactions, &format!("{number}{}", " ".repeat(200_000)));
    }
    receive(&*receiver);
    send(&*sender, 0, Kind::Chain, "block");
    // Two are ahead; a few more are taken before the block is noticed, for this node does nothing with them.
    let before = (0..).find(|_| text(&receive(&*receiver)) == "block").unwrap();
    assert!(before < 30, "{before} large messages came before the block");
}

#[test]
fn clients_that_are_gone_leave_nothing_behind() {
    const CLIENTS: u32 = 300;
    let network = Spool::start();
    let lasting = network.client("lasting");
    send(&*lasting, 0, Kind::Chain, "0");
    let receiver = join(&network, 0);
    let receipts = expect(&*receiver, 0..1);
    receiver.acknowledge(receipts).unwrap();

    for number in 2..CLIENTS + 2 {
        let client = network.client("cli");
        send(&*client, 0, Kind::Transactions, &number.to_string());
        drop(client);
        if number % 2 == 0 {
            // As if it had been killed while writing.
            let path = network
                .segments()
                .into_iter()
                .find(|path| fs::read(path).unwrap() == frame(&number.to_string()));
            append(&path.unwrap(), &frame("never finished")[..13]);
        }
    }
    let mut receipts = Vec::new();
    for _ in 0..CLIENTS {
        receipts.push(receive(&*receiver).receipt);
    }
    receiver.acknowledge(receipts).unwrap();
    let expected = |name: &str| name == "lock" || name == "bell" || name.starts_with("lasting-");
    let names =
        || network.files().into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    eventually("only the lasting client's files are left", || names().all(|name| expected(&name)));

    send(&*lasting, 0, Kind::Chain, "1");
    expect(&*receiver, 1..2);
}

#[test]
fn an_idle_node_wakes_at_once_however_long_its_path() {
    let mut network = Spool::start();
    for _ in 0..2 {
        let (receiver, sender) = (join(&network, 0), join(&network, 1));
        let mut times: Vec<_> = (0..15)
            .map(|number| {
                let start = Instant::now();
                send(&*sender, 0, Kind::Chain, &number.to_string());
                receive(&*receiver);
                start.elapsed()
            })
            .collect();
        times.sort();
        // A look without a ring comes every quarter of a second.
        assert!(times[7] < Duration::from_millis(50), "{times:?}");
        drop((receiver, sender));
        let long = network.dir.path().join("long".repeat(30));
        fs::create_dir(&long).unwrap();
        network.dir = TempDir::new_in(long).unwrap();
    }
}

#[test]
fn an_inbox_deleted_under_a_running_node_works_again() {
    let network = Spool::start();
    let (receiver, sender) = (join(&network, 0), join(&network, 1));
    for round in 0..3 {
        let mut number = 0;
        // What is sent at the very moment may be deleted with the rest.
        eventually("a message arrives", || {
            number += 1;
            send(&*sender, 0, Kind::Chain, &format!("{round} {number}"));
            let deadline = Instant::now() + Duration::from_millis(300);
            while let Ok(incoming) = receiver.incoming().recv_deadline(deadline) {
                if let Incoming::Delivery(delivery) = incoming
                    && text(&delivery).starts_with(&round.to_string())
                {
                    receiver.acknowledge(vec![delivery.receipt]).unwrap();
                    return true;
                }
            }
            false
        });
        fs::remove_dir_all(network.dir.path().join("0")).unwrap();
    }
}

#[test]
fn client_names_cannot_leave_the_inbox() {
    let network = Spool::start();
    for name in ["", "../x", "a.b", "7"] {
        let refused = local::client(network.dir.path(), name, Options::default()).unwrap_err();
        assert_eq!(refused, TransportError::ClientName(name.into()));
    }
}
