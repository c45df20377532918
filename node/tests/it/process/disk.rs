//! Disks that are full or read only, and files that may not grow: the program says what it could not write and why, and
//! damages nothing; once it can write, it goes on with everything that it had said it has.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use node::transport::local;
use node::transport::{Incoming, Kind, Outgoing, Transport as _, TransportError};
use quarry_core::message::Message;
use quarry_core::units::{NodeId, TxId};

use super::payments::{Payments, lost};
use super::{Place, Process, eventually, program, run};

/// Nothing is mined.
const HARD: u32 = 12;
const NO_SPACE: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";

/// A place on a small disk of its own. Dropped in this order.
struct SmallDisk {
    place: Place,
    mount: Mount,
    _at: tempfile::TempDir,
}

struct Mount(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed: then only the tests without a disk of their own are left.
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        if !mount(&["-t", "tmpfs", "-o", "size=8m", "quarry-test"], at.path()) {
            eprintln!("not tested: no disk can be mounted here");
            return None;
        }
        let mount = Mount(at.path().into());
        let place = Place { directory: tempfile::TempDir::new_in(at.path()).unwrap(), ..Place::new() };
        Some(Self { place, mount, _at: at })
    }

    fn ballast(&self) -> PathBuf {
        self.mount.0.join("ballast")
    }

    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let error = loop {
            if let Err(error) = ballast.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn remount(&self, how: &str) {
        assert!(mount(&["-o", &format!("remount,{how}")], &self.mount.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_node_on_a_full_disk_says_so_and_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = &disk.place;
    let payments = Payments::found(place, HARD);
    let node = place.start(0, &["--backend", "none"]);
    let mut accepted: Vec<_> = (0..3).map(|_| payments.submit(place, 0).unwrap()).collect();
    disk.fill();
    accepted.extend(std::iter::from_fn(|| payments.submit(place, 0)));
    ends(node, &["store ", "node0.redb cannot be written", NO_SPACE, "hint: once the disk has room"]);

    // Still full: neither does it start, nor is anything taken for it, and nobody is told otherwise.
    ends(place.spawn(0, &["--backend", "none"]), &[&place.path().display().to_string(), NO_SPACE]);
    let send = ["send", "--from", "node0", "--to", "node1", "--amount", "0.01"];
    place.run(send).exits(1).says(NO_SPACE);
    place.run(["verify"]).succeeds();

    disk.make_room();
    goes_on(place, &payments, &accepted);
}

#[test]
fn on_a_read_only_disk_no_node_starts_but_all_can_be_read() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = &disk.place;
    let payments = Payments::found(place, HARD);
    let node = place.start(0, &["--backend", "none"]);
    let accepted: Vec<_> = (0..3).map(|_| payments.submit(place, 0).unwrap()).collect();
    node.stop();
    disk.remount("ro");
    ends(place.spawn(0, &["--backend", "none"]), &[&place.path().display().to_string(), READ_ONLY]);
    ends(place.spawn(1, &["--backend", "none"]), &[&place.path().display().to_string(), READ_ONLY]);
    let send = ["send", "--from", "node0", "--to", "node1", "--amount", "0.01"];
    place.run(send).exits(1).says(READ_ONLY);
    let another = place.path().join("another.toml");
    place.run(["init", "--open", another.to_str().unwrap()]).exits(2).says(READ_ONLY);
    for command in ["verify", "chain", "balance"] {
        place.run([command]).succeeds();
    }
    disk.remount("rw");
    // What a node that is killed leaves is put in order without writing.
    place.start(0, &["--backend", "none"]).kill();
    disk.remount("ro");
    for command in ["verify", "chain", "balance"] {
        place.run([command]).succeeds();
    }
    disk.remount("rw");
    goes_on(place, &payments, &accepted);
}

/// A limit of the user's shell, which is answered with a deadly signal where a program does not see to it.
#[test]
fn a_node_whose_files_may_not_grow_says_so_and_goes_on_once_they_may() {
    let place = Place::new();
    let payments = Payments::found(&place, HARD);
    let node = place.start(0, &["--backend", "none"]);
    let accepted: Vec<_> = (0..3).map(|_| payments.submit(&place, 0).unwrap()).collect();
    let store = place.directory().store(NodeId(0));
    let limit = format!("--fsize={}", fs::metadata(&store).unwrap().len());
    let limited = Command::new("prlimit").args(["--pid", &node.child.id().to_string(), &limit]).status();
    assert!(limited.unwrap().success());
    // In its inbox is more than its store has room for.
    let (client, mut posted) = (place.client(), Vec::new());
    for _ in 0..40 {
        let some: Vec<_> = (0..400).map(|_| payments.payment()).collect();
        posted.extend(some.iter().map(|payment| payment.id()));
        super::deliver(
            &client,
            0,
            Kind::Transactions,
            &Message::Transactions(some).encode(payments.network()),
        );
    }
    ends(node, &["node0.redb cannot be written", "File too large", "hint: once the disk has room"]);
    let node = place.start(0, &["--backend", "none"]);
    eventually("it takes all", || place.status(0).filter(|it| it.mempool == accepted.len() + posted.len()));
    node.stop();
    goes_on(&place, &payments, &[accepted, posted].concat());
}

#[test]
fn a_full_inbox_disk_refuses_what_it_cannot_keep_and_keeps_the_rest() {
    let Some(disk) = SmallDisk::mount() else { return };
    let spool = disk.mount.0.join("net");
    let options = || local::Options { segment_bytes: 100_000, ..local::Options::default() };
    let (receiver, sender) = (
        local::join(&spool, NodeId(0), options()).unwrap(),
        local::client(&spool, "test", options()).unwrap(),
    );
    let send = |number: u32| {
        let payload: Vec<u8> = number.to_be_bytes().into_iter().chain([7; 3_001]).collect();
        sender.send(NodeId(0), Outgoing { kind: Kind::Chain, payload: payload.into(), ticket: 0 })
    };
    let (mut sent, mut refusals) = (Vec::new(), 0);
    for number in 0..120 {
        match number {
            10 | 70 => disk.fill(),
            40 | 100 => disk.make_room(),
            _ => {}
        }
        match send(number) {
            Ok(_) => sent.push(number),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(NO_SPACE) && text.contains("/net/0/"), "{text}");
                refusals += 1;
            }
        }
    }
    assert!(30 < refusals && 30 < sent.len(), "{refusals} refused, {} sent", sent.len());
    for number in sent {
        let delivery = loop {
            match receiver.incoming().recv_timeout(super::PATIENCE).unwrap() {
                Incoming::Delivery(delivery) => break delivery,
                // It could not note how far it is.
                Incoming::Peers(_) | Incoming::Trouble(TransportError::Io { .. }) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(delivery.payload[..4], number.to_be_bytes());
        receiver.acknowledge(vec![delivery.receipt]).unwrap();
    }
}

#[test]
fn a_full_log_stops_no_node_and_a_full_output_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let place = Place::open(HARD);
    let mut command = place.command(["0", "--until-stdin-closes", "--backend", "none"]);
    let mut child = command.stdin(Stdio::piped()).stdout(full()).stderr(full()).spawn().unwrap();
    let stdin = child.stdin.take();
    let node = Process { name: "node 0".into(), child, stdin, log: "/dev/null".into() };
    eventually("it runs", || place.status(0));
    place.run(["send", "--from", "node0", "--to", "node1", "--amount", "0.01"]).succeeds();
    assert_eq!(place.status(0).unwrap().mempool, 1);
    node.stop();
    for command in ["chain", "balance", "verify"] {
        let mut program = program();
        program.args([command, "--dir"]).arg(place.path());
        let mut child = program.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let text = io::read_to_string(stderr).unwrap();
        assert!(text.contains("writing to standard output") && text.contains(NO_SPACE), "{text}");
    }
}

/// Waits until a node has ended with an error that says all of this.
#[track_caller]
fn ends(mut node: Process, parts: &[&str]) {
    let code = node.wait().code();
    let log = node.log();
    assert_eq!(code, Some(1), "{log}");
    let error = log.split_once("error: ").map_or("", |(_, error)| error);
    assert!(parts.iter().all(|part| error.contains(part)), "not {parts:?} but:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Checks that a node starts on what is left, takes one payment more and has lost none.
#[track_caller]
fn goes_on(place: &Place, payments: &Payments, accepted: &[TxId]) {
    let node = place.start(0, &["--backend", "none"]);
    let accepted: Vec<_> = accepted.iter().copied().chain(payments.submit(place, 0)).collect();
    node.stop();
    place.run(["verify"]).succeeds();
    assert_eq!(lost(&payments.left(place, 0), &accepted), [].into());
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(arguments).arg(at).stdin(Stdio::null());
    // Where there is no such program, or it may not.
    which(&command).is_some() && run(command).code == Some(0)
}

fn which(command: &Command) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|at| at.join(command.get_program())).find(|it| it.exists())
}
