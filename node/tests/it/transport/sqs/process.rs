//! Processes: two with one id, one that is killed while it works, and one without an AWS environment.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use node::transport::sqs::{self, Access, Options, SqsError};
use node::transport::{Incoming, Kind, Transport as _, TransportError};
use quarry_core::units::NodeId;

use super::super::{Fixture as _, PATIENCE, join, outgoing, receive, send, send_all, take, text, wait_for};
use super::emulator;
use super::inbox::Stranger;
use super::{Queues, TEST_VISIBILITY};

/// Tells this test binary, started by itself, which network to join as node 0.
const CHILD: &str = "QUARRY_TEST_SQS_CHILD";

/// A process that runs node 0 and says what it receives, acknowledging nothing.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Process {
    fn start(network: &Queues, environment: &[(&str, &str)]) -> Self {
        let Options { prefix, network, access, .. } = &network.options;
        let endpoint = match access {
            Access::Emulator(endpoint) => endpoint,
            Access::Environment => "",
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transport::sqs::process::process", "--nocapture"])
            .env_clear()
            .env(CHILD, format!("{prefix} {network} {endpoint}"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the process lives").unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _it_may_be_dead = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// What the started processes do; as a test of its own it does nothing.
#[test]
fn process() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let [prefix, network, endpoint] = arguments.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("not a prefix, a network and an endpoint: {arguments}");
    };
    let mut options = Options::new("", network.to_owned(), Queues::MESSAGE_BYTES_MAX);
    options.prefix = prefix.to_owned();
    options.visibility_timeout = TEST_VISIBILITY;
    if !endpoint.is_empty() {
        options.access = Access::Emulator(endpoint.to_owned());
    }
    let node = match sqs::join(NodeId(0), options) {
        Ok(node) => node,
        Err(error) => return eprintln!("{error}"),
    };
    eprintln!("joined");
    for incoming in node.incoming() {
        match incoming {
            Incoming::Delivery(delivery) => eprintln!("{}", text(&delivery)),
            Incoming::Ended(error) => eprintln!("ended: {error}"),
            _ => {}
        }
    }
}

#[test]
fn what_a_killed_process_did_not_acknowledge_comes_again() {
    let network = Queues::start();
    network.create_inbox(0);
    let sender = join(&network, 1);
    send_all(&*sender, 0, Kind::Chain, 5);
    let mut process = Process::start(&network, &[]);
    assert_eq!(process.line(), "joined");
    for number in 0..5 {
        assert_eq!(process.line(), number.to_string());
    }
    drop(process);
    // Nobody answers the claim, so the node starts after a short wait.
    let start = Instant::now();
    let receiver = join(&network, 0);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for number in 0..5 {
        assert_eq!(text(&take(&*receiver)), number.to_string());
    }
    send(&*sender, 0, Kind::Chain, "5");
    assert_eq!(text(&take(&*receiver)), "5", "nothing is repeated");
}

#[test]
fn a_second_process_is_refused_and_the_first_goes_on() {
    let network = Queues::start();
    let mut process = Process::start(&network, &[]);
    assert_eq!(process.line(), "joined");
    let start = Instant::now();
    let refused = network.join(0).err().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let (pid, queue) = (process.child.id(), format!("{}0.fifo", network.options.prefix));
    let TransportError::InboxTaken { id: NodeId(0), holder } = &refused else {
        panic!("{refused}");
    };
    assert!(holder.contains(&format!(":{pid} ")) && holder.contains(&queue), "{refused}");
    send(&*network.client("cli"), 0, Kind::Chain, "0");
    assert_eq!(process.line(), "0");
}

#[test]
fn of_two_that_start_at_once_one_runs() {
    let network = Queues::start();
    // As after a crash: with the name of a process that is gone.
    network.create_inbox(0);
    let stranger = Stranger::new(&network);
    stranger.tag(&stranger.url(&network, 0), "quarry-owner", "0123456789abcdef@gone:1");
    let results = std::thread::scope(|scope| {
        let start = || scope.spawn(|| network.join(0));
        [start(), start()].map(|thread| thread.join().unwrap())
    });
    let refused = results.iter().filter_map(|result| result.as_ref().err()).collect::<Vec<_>>();
    let [TransportError::InboxTaken { id: NodeId(0), .. }] = refused[..] else {
        panic!("{refused:?}");
    };
    let node = results.into_iter().find_map(Result::ok).unwrap();
    send(&*network.client("cli"), 0, Kind::Chain, "0");
    assert_eq!(text(&receive(&*node)), "0");
}

#[test]
fn a_node_that_was_taken_over_stops_and_says_so() {
    let network = Queues::start();
    let node = join(&network, 0);
    let stranger = Stranger::new(&network);
    // As by a process whose claim this one did not hear.
    stranger.tag(&stranger.url(&network, 0), "quarry-owner", "other");
    let ended = wait_for(&*node, |incoming| match incoming {
        Incoming::Ended(error) => Some(error),
        _ => None,
    });
    let queue = format!("{}0.fifo", network.options.prefix);
    assert_eq!(ended, TransportError::Sqs(SqsError::TakenOver { queue, owner: "other".to_owned() }));
    assert!(node.incoming().recv_timeout(PATIENCE).is_err(), "nothing follows");
    let refused = node.send(NodeId(1), outgoing(Kind::Chain, "late", 0));
    assert_eq!(refused, Err(TransportError::Sqs(SqsError::Stopped)));
}

#[test]
fn the_standard_environment_is_used_and_its_lack_told() {
    let mut network = Queues::start();
    let Access::Emulator(endpoint) = std::mem::replace(&mut network.options.access, Access::Environment)
    else {
        panic!("tests run against an emulator");
    };
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let (region, url) = (("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL_SQS", endpoint.as_str()));
    let said = |environment: &[(&str, &str)]| Process::start(&network, environment).line();
    assert_eq!(said(&[keys[0], keys[1], region, url]), "joined");
    assert!(said(&[keys[0], keys[1], url]).starts_with("no AWS region: set AWS_REGION"));
    let no_credentials = said(&[region, url]);
    assert!(no_credentials.starts_with("no AWS credentials: set AWS_PROFILE"), "{no_credentials}");
    network.options.access = Access::Emulator(emulator::endpoint().to_owned());
}
