//! Processes that are killed at any moment, senders and receivers: nothing is missing, nothing is out of order.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use node::transport::local::{self, Local, Options};
use node::transport::{Incoming, Kind, Transport};
use quarry_core::units::NodeId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{receive, send, text};

/// Tells this test binary, started by itself, that it is a process to kill: what to do, where, and from which number.
const CHILD: &str = "QUARRY_TEST_CHILD";
const KILLS: u32 = 60;
/// How many messages the receiving process acknowledges together.
const BATCH: u32 = 10;

#[test]
fn killed_senders_leave_no_gap_and_no_disorder() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = join(dir.path(), 0);
    let mut random = SmallRng::seed_from_u64(1);
    let mut accepted = 0;
    for _ in 0..KILLS {
        let mut process = Process::start("send", dir.path(), accepted + 1);
        process.hear(random.random_range(0..100), |number| accepted = number);
        process.kill(|number| accepted = number);
    }
    assert!(KILLS < accepted, "only {accepted} messages");
    let last = join(dir.path(), 1);
    send(&last, 0, Kind::Chain, &message(&format!("the last begins at {accepted}"), accepted + 1));

    let (mut number, mut beginning) = (0, String::new());
    while number <= accepted {
        let text = text(&receive(&receiver));
        let (arrived, rest) = text.trim_end().split_once(' ').unwrap();
        let arrived: u32 = arrived.parse().unwrap();
        // A process may be killed between sending a message and saying so; then the next sends that one again.
        let again = arrived == number && rest != beginning;
        assert!(again || arrived == number + 1, "{arrived} after {number}");
        number = arrived;
        beginning = rest.to_owned();
    }
}

#[test]
fn killed_receivers_miss_nothing_and_repeat_little() {
    let dir = tempfile::tempdir().unwrap();
    let sender = join(dir.path(), 1);
    let mut random = SmallRng::seed_from_u64(2);
    let (mut sent, received) = (0, Cell::new(0));
    for round in 0..=KILLS {
        for _ in 0..random.random_range(0..150) {
            sent += 1;
            send(&sender, 0, Kind::Chain, &message("", sent));
        }
        let begun = Cell::new(false);
        let check = |number| {
            let last = received.replace(number);
            let again = !begun.replace(true) && number <= last && last < number + BATCH;
            assert!(again || number == last + 1, "{number} after {last}");
        };
        let left = sent - received.get();
        let mut process = Process::start("receive", dir.path(), 0);
        process.hear(if round < KILLS { random.random_range(0..=left) } else { left }, check);
        process.kill(check);
    }
    assert!(sent - BATCH < received.get());
}

/// What the started processes do; as a test of its own it does nothing.
#[test]
fn process() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let [work, first, dir] = arguments.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("not a work, a number and a directory: {arguments}");
    };
    match work {
        "send" => keep_sending(Path::new(dir), first.parse().unwrap()),
        _ => keep_receiving(Path::new(dir)),
    }
}

fn keep_sending(dir: &Path, first: u32) {
    let sender = join(dir, 1);
    for number in first.. {
        send(&sender, 0, Kind::Chain, &message(&std::process::id().to_string(), number));
        say(number);
    }
}

fn keep_receiving(dir: &Path) {
    let receiver = join(dir, 0);
    let mut receipts = Vec::new();
    for incoming in receiver.incoming() {
        let Incoming::Delivery(delivery) = incoming else {
            continue;
        };
        say(text(&delivery).split_once(' ').unwrap().0.parse().unwrap());
        receipts.push(delivery.receipt);
        if receipts.len() == BATCH as usize {
            receiver.acknowledge(std::mem::take(&mut receipts)).unwrap();
        }
    }
}

/// Tells the test a number, in one write; a test that has failed no longer listens.
fn say(number: u32) {
    std::io::stderr().write_all(format!("{number}\n").as_bytes()).unwrap();
}

/// A process that says numbers until it is killed.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Process {
    fn start(work: &str, dir: &Path, first: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transport::crash::process", "--nocapture"])
            .env(CHILD, format!("{work} {first} {}", dir.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    fn hear(&mut self, count: u32, heard: impl FnMut(u32)) {
        let number = |_| self.lines.next().expect("the process lives").unwrap().parse::<u32>().unwrap();
        (0..count).map(number).for_each(heard);
    }

    /// Kills the process wherever it is, and hears what it still said.
    fn kill(mut self, heard: impl FnMut(u32)) {
        self.child.kill().unwrap();
        let rest = self.lines.by_ref().map(|line| line.unwrap().parse::<u32>().unwrap());
        rest.for_each(heard);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _it_may_be_dead = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// A number, what else is to be said, and a length that makes messages begin and end anywhere in a page.
fn message(rest: &str, number: u32) -> String {
    format!("{number} {rest}{}", " ".repeat(number as usize * 97 % 3_000))
}

/// Small segments, so that processes are also killed while they begin one.
fn join(dir: &Path, id: u16) -> Local {
    let options = Options { segment_bytes: 50_000, ..Options::default() };
    local::join(dir, NodeId(id), options).unwrap()
}
