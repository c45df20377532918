//! The embedded transport: deliveries a second among four processes, latency to an idle node, and what idling costs.
//!
//! `cargo bench -p benches --bench transport`; without `--bench` (under `cargo test`) a small run that only must pass.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use node::transport::local::{self, Options};
use node::transport::{Incoming, Kind, Outgoing, Transport, TransportError};
use quarry_core::units::NodeId;

const NODES: u16 = 4;
const MESSAGE_BYTES: usize = 1024;
/// Tells a child process what it is: its node id, the directory and the number of messages to each other node.
const CHILD: &str = "QUARRY_BENCH_CHILD";

fn main() {
    if let Ok(arguments) = std::env::var(CHILD) {
        let [id, each, dir] = arguments.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("not an id, a number and a directory: {arguments}");
        };
        return mesh_node(id.parse().expect("an id"), each.parse().expect("a number"), Path::new(dir));
    }
    let full = std::env::args().any(|argument| argument == "--bench");
    let (rounds, each, pings, idle) =
        if full { (7, 20_000, 400, Duration::from_secs(4)) } else { (1, 100, 5, Duration::from_millis(100)) };

    let rates: Vec<_> = (0..rounds).map(|_| mesh(each)).collect();
    let deliveries = u32::from(NODES) * u32::from(NODES - 1) * each;
    print(&format!("mesh of {NODES} processes, {MESSAGE_BYTES} B, {deliveries} deliveries, 1000/s"), rates);
    print("latency to an idle node, microseconds", latencies(pings));
    print("processor time of an idle node, microseconds per second", vec![idle_cost(idle)]);
}

fn print(name: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| figures[(figures.len() - 1) * part / 100];
    println!("{name}: median {:.0}, least {:.0}, p99 {:.0}, most {:.0}", at(50), at(0), at(99), at(100));
}

/// Thousands of deliveries a second when each of four processes sends `each` messages to each other one.
fn mesh(each: u32) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let spawn = |id: u16| {
        let program = std::env::current_exe().expect("this program");
        Command::new(program)
            .env(CHILD, format!("{id} {each} {}", dir.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process")
    };
    let mut children: Vec<Child> = (0..NODES).map(spawn).collect();
    let mut lines: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("it is piped")).lines())
        .collect();
    let mut hear = |wanted: &str| {
        for lines in &mut lines {
            let line = lines.next().expect("a line").expect("a readable line");
            assert_eq!(line, wanted);
        }
    };
    hear("ready");
    let start = Instant::now();
    for child in &mut children {
        writeln!(child.stdin.as_ref().expect("it is piped"), "go").expect("it reads");
    }
    hear("done");
    let seconds = start.elapsed().as_secs_f64();
    for mut child in children {
        drop(child.stdin.take());
        assert!(child.wait().expect("it ends").success());
    }
    f64::from(u32::from(NODES) * u32::from(NODES - 1) * each) / seconds / 1000.0
}

/// One process of the mesh: says `ready`, begins at the first line it reads, says `done` when it has all messages,
/// and ends at the end of its input.
fn mesh_node(id: u16, each: u32, dir: &Path) {
    let node = local::join(dir, NodeId(id), Options::default()).expect("the inbox is free");
    loop {
        if let Incoming::Peers(peers) = node.incoming().recv().expect("the transport lives")
            && peers.len() == usize::from(NODES - 1)
        {
            break;
        }
    }
    let mut input = std::io::stdin().lines();
    println!("ready");
    input.next();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..each {
                for to in (0..NODES).filter(|to| *to != id) {
                    send(&node, to, u64::from(id) << 32 | u64::from(number));
                }
            }
        });
        let mut left = u32::from(NODES - 1) * each;
        let mut receipts = Vec::new();
        while 0 < left {
            let mut next = Some(node.incoming().recv().expect("the transport lives"));
            while let Some(incoming) = next {
                match incoming {
                    Incoming::Delivery(delivery) => receipts.push(delivery.receipt),
                    Incoming::Trouble(trouble) | Incoming::Ended(trouble) => panic!("{trouble}"),
                    Incoming::Peers(_) | Incoming::Sent(_) | Incoming::Recovered(_) => {}
                }
                next = if receipts.len() < 256 { node.incoming().try_recv().ok() } else { None };
            }
            left -= receipts.len() as u32;
            node.acknowledge(std::mem::take(&mut receipts)).expect("the disk has room");
        }
    });
    println!("done");
    assert!(input.next().is_none());
}

/// Sends a message that no other is equal to; waits where the inbox is full.
fn send(sender: &impl Transport, to: u16, number: u64) {
    let mut payload = [0; MESSAGE_BYTES];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    let payload = Arc::from(payload);
    let message = Outgoing { kind: Kind::Transactions, payload, ticket: 0 };
    loop {
        match sender.send(NodeId(to), message.clone()) {
            Ok(_) => return,
            Err(TransportError::InboxFull { .. }) => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Microseconds from `send` to the receiver's loop, for messages that find it asleep.
fn latencies(pings: u32) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = local::join(dir.path(), NodeId(0), Options::default()).expect("the inbox is free");
    let sender = local::client(dir.path(), "bench", Options::default()).expect("a name");
    let ping = |number: u32| {
        thread::sleep(Duration::from_millis(5));
        let start = Instant::now();
        send(&sender, 0, number.into());
        loop {
            if let Incoming::Delivery(delivery) = receiver.incoming().recv().expect("the transport lives") {
                let elapsed = start.elapsed();
                receiver.acknowledge(vec![delivery.receipt]).expect("the disk has room");
                return elapsed.as_secs_f64() * 1e6;
            }
        }
    };
    (0..pings).map(ping).collect()
}

/// Microseconds of processor time a second of a node that four others have written to and that now waits.
fn idle_cost(time: Duration) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let nodes: Vec<_> = (0..NODES)
        .map(|id| local::join(dir.path(), NodeId(id), Options::default()).expect("the inbox is free"))
        .collect();
    for (from, to) in (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))) {
        send(&nodes[usize::from(from)], to, from.into());
    }
    for node in &nodes {
        let deliveries = node.incoming().iter().filter_map(|incoming| match incoming {
            Incoming::Delivery(delivery) => Some(delivery.receipt),
            _ => None,
        });
        node.acknowledge(deliveries.take(NODES.into()).collect()).expect("the disk has room");
    }
    let before = processor_time();
    thread::sleep(time);
    (processor_time() - before).as_secs_f64() * 1e6 / f64::from(NODES) / time.as_secs_f64()
}

/// What the threads of this process have used so far; zero where the system does not say.
fn processor_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
