//! How nodes start, stop, and start again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use quarry_core::units::NodeId;

use super::{PATIENCE, Place, Process, eventually};

/// Much longer than a stop takes, and much shorter than anybody waits for one.
const PROMPTLY: Duration = Duration::from_secs(10);

#[test]
fn a_node_stops_promptly_whoever_asks() {
    // Difficult enough to be in the middle of a search.
    let place = Place::open(12);
    for signal in ["INT", "TERM", "HUP"] {
        let mut node = place.start(0, &[]);
        place.run(["send", "--from", "node0", "--to", "node1", "--amount", "0.01"]).succeeds();
        eventually("it searches", || place.status(0).filter(|status| status.searching));
        let asked = Instant::now();
        node.signal(signal);
        assert_eq!(node.wait().code(), Some(0), "{signal}: {}", node.log());
        assert!(asked.elapsed() < PROMPTLY, "{signal}: {:?}", asked.elapsed());
        assert!(node.log().contains("stopped"), "{}", node.log());
        assert!(!place.path().join("quarry/node0.sock").exists(), "{signal}");
    }
    // The end of standard input does it, too, and so does the end of whoever holds it.
    place.start(0, &[]).stop();
    // A clean stop leaves a store that opens without repair, and nothing that waits is lost.
    let node = place.start(0, &["--backend", "none"]);
    assert_eq!(place.status(0).unwrap().mempool, 3);
    node.kill();
    let node = place.start(0, &["--backend", "none"]);
    assert_eq!(place.status(0).unwrap().mempool, 3, "nor by a crash");
    node.stop();
}

#[test]
fn a_devnet_leaves_nothing_running() {
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let place = Place::new();
        let arguments = [
            "devnet",
            "--nodes",
            "2",
            "--difficulty",
            "12",
            "--backend",
            "cpu",
            "--threads",
            "1",
            "--rate",
            "50",
        ];
        let mut devnet = place.process("devnet", arguments);
        let pids = [0, 1].map(|id| {
            let answers = || place.status(id).filter(|status| 0 < status.mempool);
            eventually("the devnet is busy", answers).pid
        });
        let asked = Instant::now();
        devnet.signal(signal);
        let code = devnet.wait().code();
        if signal != "KILL" {
            assert_eq!(code, Some(0), "{signal}: {}", devnet.log());
            assert!(asked.elapsed() < PROMPTLY, "{signal}: {:?}", asked.elapsed());
        }
        for pid in pids {
            eventually("its nodes end", || (!is_running(pid)).then_some(()));
        }
        for id in [0, 1] {
            assert!(place.run(["verify", "--node", &id.to_string()]).succeeds().stderr.is_empty());
        }
    }
}

#[test]
fn a_devnet_stops_when_nobody_reads_it() {
    let place = Place::new();
    let mut command = super::program();
    command.args([
        "devnet",
        "--nodes",
        "2",
        "--difficulty",
        "12",
        "--backend",
        "cpu",
        "--threads",
        "1",
        "--dir",
    ]);
    let stderr = place.path().join("stderr");
    let child = command
        .arg(place.path())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let mut devnet = Process { name: "devnet".into(), child, stdin: None, log: stderr };
    // The first line comes when its nodes run.
    let mut output = devnet.child.stdout.take().unwrap();
    output.read_exact(&mut [0; 10]).unwrap();
    let pids = [0, 1].map(|id| place.status(id).unwrap().pid);
    drop(output);
    assert_eq!(devnet.wait().code(), Some(0), "{}", devnet.log());
    assert_eq!(devnet.log(), "");
    assert!(!pids.into_iter().any(is_running));
}

#[test]
fn a_devnet_says_why_a_node_does_not_start() {
    let place = Place::new();
    let place_of_store = place.path().join("quarry/node1.redb");
    fs::create_dir_all(place_of_store.parent().unwrap()).unwrap();
    fs::write(place_of_store, "this is no store").unwrap();
    let outcome = place.run(["devnet", "--nodes", "2", "--duration", "1"]);
    outcome.exits(1).says("node1 did not start: ").says("is not a store");
    assert!(place.status(0).is_none(), "nor does the other one go on");
}

#[test]
fn a_rude_client_of_the_socket_holds_up_nobody() {
    let place = Place::open(2);
    let node = place.start(0, &[]);
    let socket = place.directory().socket(NodeId(0));
    // One that says nothing, one that talks nonsense, one that does not stop talking.
    let silent = UnixStream::connect(&socket).unwrap();
    let mut nonsense = UnixStream::connect(&socket).unwrap();
    nonsense.write_all(b"hello\n").unwrap();
    let mut endless = UnixStream::connect(&socket).unwrap();
    for stream in [&nonsense, &endless] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    let asked = Instant::now();
    let talking = std::thread::spawn(move || while endless.write_all(&[b'x'; 1 << 16]).is_ok() {});
    let mut answer = String::new();
    nonsense.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("failed"), "{answer}");
    talking.join().unwrap();
    assert!(asked.elapsed() < PATIENCE / 2, "each is hung up on: {:?}", asked.elapsed());
    place.pay(0, "node0", "node1", "1.00");
    drop(silent);
    // Nor does one that is there at the end hold up a stop.
    let _silent = UnixStream::connect(&socket).unwrap();
    let asked = Instant::now();
    node.stop();
    assert!(asked.elapsed() < PROMPTLY, "{:?}", asked.elapsed());
}

#[test]
fn a_node_killed_by_hand_comes_back_by_hand() {
    let place = Place::new();
    let arguments =
        ["devnet", "--nodes", "3", "--difficulty", "3", "--backend", "cpu", "--threads", "1", "--rate", "10"];
    let mut devnet = place.process("devnet", arguments);
    let height = |id| place.status(id).map_or(0, |status| status.height.0);
    eventually("blocks are mined", || (3 < height(1)).then_some(()));
    let killed = place.status(1).unwrap();
    std::process::Command::new("sh").args(["-c", "kill -KILL $0", &killed.pid.to_string()]).status().unwrap();
    eventually("it is gone", || place.status(1).is_none().then_some(()));
    eventually("the others go on", || (killed.height.0 + 3 < height(0)).then_some(()));
    let node = place.start(1, &[]);
    eventually("it catches up", || (height(0) <= height(1)).then_some(()));
    devnet.signal("INT");
    assert_eq!(devnet.wait().code(), Some(0), "{}", devnet.log());
    assert!(place.status(1).is_some(), "what the devnet did not start it does not stop");
    node.stop();
    for id in ["0", "1", "2"] {
        place.run(["verify", "--node", id]).succeeds();
    }
}

#[test]
fn nodes_that_were_off_for_a_thousand_blocks_catch_up_within_seconds() {
    const BLOCKS: u64 = 1000;
    let place = Place::open(1);
    place.start(1, &[]).stop();
    let miner = place.start(0, &["--mine-empty"]);
    eventually("a thousand blocks are mined", || place.status(0).filter(|status| BLOCKS <= status.height.0));
    miner.stop();
    let miner = place.start(0, &["--backend", "none"]);
    let tip = place.status(0).unwrap().tip;
    // Node 1 finds every block in its inbox; node 2, which is new, has to ask for them.
    for id in [1, 2] {
        let started = Instant::now();
        let node = place.start(id, &["--backend", "none"]);
        let status = eventually("it catches up", || place.status(id).filter(|status| status.tip == tip));
        let took = started.elapsed();
        println!("node {id}: {BLOCKS} blocks in {took:?}");
        assert!(took < Duration::from_secs(20), "node {id}: {took:?}");
        assert!(id == 1 || 0 < status.counters["syncs_started"], "{:?}", status.counters);
        node.stop();
        place.run(["verify", "--node", &id.to_string()]).succeeds();
    }
    miner.stop();
}

#[test]
fn a_long_path_is_no_obstacle() {
    let place = Place::new();
    let deep = place.path().join("long-directory-name".repeat(6)).join("another-one".repeat(10));
    fs::create_dir_all(&deep).unwrap();
    let deep = Place { directory: tempfile::TempDir::new_in(&deep).unwrap(), ..Place::new() };
    assert!(200 < deep.path().as_os_str().len());
    deep.run(["init", "--open", "--difficulty", "2"]).succeeds();
    let nodes = [deep.start(0, &[]), deep.start(1, &[])];
    deep.pay(0, "node0", "node1", "1.00");
    eventually("the other node hears of it", || deep.status(1).filter(|status| status.height.0 == 1));
    // By a path that is written otherwise, too.
    let mut command = super::program();
    command.args(["status", "--node", "1"]).current_dir(deep.path());
    assert!(super::run(command).succeeds().text().contains("at height 1"));
    nodes.into_iter().for_each(Process::stop);
}

fn is_running(pid: u32) -> bool {
    let check =
        std::process::Command::new("sh").args(["-c", "kill -0 $0 2>/dev/null", &pid.to_string()]).status();
    check.unwrap().success()
}
