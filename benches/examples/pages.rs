//! What the web pages cost: how long a page of a long chain takes, and what open pages take from the nonce search.
//!
//! `cargo run --release -p benches --example pages -- target/release/node` starts that program on a chain of 100,000
//! blocks, asks for each kind of page again and again while the chain rests, while it moves and while many transactions
//! wait, and then lets it mine with and without 20 open pages in turn.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use benches::chain::{Chain, Senders};
use node::clock::utc;
use node::config;
use node::store::RedbStore;
use quarry_core::json::TransactionJson;
use quarry_core::network::Network;
use quarry_core::store::Changes;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, TxId};

/// How long the chain is, and how often each page is asked for.
const BLOCKS: usize = 100_000;
const REQUESTS: usize = 2000;
/// How many blocks share a commit while the chain is made.
const BATCH: usize = 1000;
/// How many accounts there are, and how many transactions wait where many do.
const ACCOUNTS: u64 = 100;
const WAITING: u64 = 20_000;
/// The time between two requests, of which the node answers 2000 a second, and between two blocks where the chain moves.
const PACE: Duration = Duration::from_millis(5);
const BLOCK_PACE: Duration = Duration::from_millis(250);
/// How many open pages a node bears.
const PAGES: usize = 20;
/// How long each turn with or without them lasts, and how many turns of each there are.
const TURN: Duration = Duration::from_secs(10);
const TURNS: usize = 8;
/// How many zeros are never found, and how many every few seconds.
const ZEROS: [(&str, &str); 2] = [("a chain that rests", "12"), ("a chain that moves", "7")];

fn main() {
    let program = std::env::args().nth(1).expect("give the path of the program");
    let directory = tempfile::tempdir().expect("there is room");
    let mut chain = Chain::new(Senders::Open, ACCOUNTS);
    make_chain(directory.path(), &mut chain);

    let block = format!("/block/{}", BLOCKS / 2);
    let paths = ["/", &block, "/account/account1", "/search?q=1", "/api/v1/blocks", "/metrics"];
    println!("{BLOCKS} blocks; milliseconds a page, one after another, {REQUESTS} each");
    let node = Node::start(&program, directory.path(), &["--backend", "none"]);
    node.time_pages("the chain rests", &paths);
    drop(node);

    let node = Node::start(&program, directory.path(), &["--backend", "cpu", "--threads", "1"]);
    // A panic of the one ends the other: the channel's sender is gone then.
    let (is_going_on, is_over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (node, chain) = (&node, &chain);
        scope.spawn(move || {
            let mut numbers = 0..;
            while is_over.recv_timeout(BLOCK_PACE) == Err(RecvTimeoutError::Timeout) {
                let number = numbers.next().expect("there is no end");
                node.send(&transaction(chain, number), chain.network());
            }
        });
        node.time_pages("four blocks a second", &paths);
        drop(is_going_on);
    });
    drop(node);

    let last = let_wait(directory.path(), &chain);
    let node = Node::start(&program, directory.path(), &["--backend", "none"]);
    let [page, answer] = ["/tx/", "/api/v1/transactions/"].map(|path| format!("{path}{last}"));
    node.time_pages(&format!("{WAITING} wait"), &["/", &page, &answer]);
    drop(node);

    println!("\none mining thread, {TURNS} turns of {TURN:?} each way, taken in turn; medians and extremes");
    for (name, zeros) in ZEROS {
        println!("{name}");
        time_mining(&program, zeros);
    }
}

/// Lets a node mine with and without open pages: an empty block after the other, so that the search never pauses.
fn time_mining(program: &str, zeros: &str) {
    let directory = tempfile::tempdir().expect("there is room");
    let init = ["init", "--open", "--difficulty", zeros, "--dir"];
    let outcome = Command::new(program).args(init).arg(directory.path()).output().expect("the program runs");
    assert!(outcome.status.success());
    let options = ["--backend", "cpu", "--threads", "1", "--mine-empty"];
    let node = Node::start(program, directory.path(), &options);
    std::thread::sleep(TURN);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(node.turn(0));
        with.push(node.turn(PAGES));
    }
    for (name, turns) in [("no page open", &without), ("20 pages open", &with)] {
        let (rate, low, high) = spread(turns, |turn| turn.rate_mhs / turn.search);
        let (others, others_low, others_high) = spread(turns, |turn| 100.0 * turn.others);
        println!("{name:<14} {rate:.2} MH ({low:.2} to {high:.2}) per CPU second of the search");
        println!(
            "{:<14} {others:.2} % of a CPU ({others_low:.2} to {others_high:.2}) in all other threads",
            ""
        );
    }
    let ratio = spread(&with, |turn| turn.rate_mhs / turn.search).0
        / spread(&without, |turn| turn.rate_mhs / turn.search).0;
    println!("ratio of the rates {ratio:.4}");
}

/// What a turn of mining has shown.
struct Turn {
    /// By the node's own account, over its last ten seconds.
    rate_mhs: f64,
    /// CPU seconds a second of the thread that searches, and of all others together.
    search: f64,
    others: f64,
}

/// The median and the extremes of a figure.
fn spread(turns: &[Turn], figure: impl Fn(&Turn) -> f64) -> (f64, f64, f64) {
    let mut all: Vec<f64> = turns.iter().map(figure).collect();
    all.sort_unstable_by(f64::total_cmp);
    (all[all.len() / 2], all[0], all[all.len() - 1])
}

/// Leaves a network file and node 0's store in a directory.
fn make_chain(directory: &Path, chain: &mut Chain) {
    let file = config::network_text(&Chain::file(Senders::Open, ACCOUNTS)).expect("it can be written");
    fs::write(directory.join("network.toml"), file).expect("there is room");
    fs::create_dir_all(directory.join("quarry")).expect("there is room");
    let mut node = chain.node(open(directory, chain));
    for start in (0..BLOCKS).step_by(BATCH) {
        for _ in start..BLOCKS.min(start + BATCH) {
            let message = chain.message(1);
            chain.deliver(&mut node, message);
        }
        let changes = node.take_changes();
        node.store_mut().apply(&changes).expect("there is room");
    }
    assert_eq!(node.tip().header.index, chain.height());
}

fn open(directory: &Path, chain: &Chain) -> RedbStore {
    RedbStore::open(&directory.join("quarry/node0.redb"), &chain.network().id).expect("there is room")
}

/// Lets many transactions wait in the store; answers the last one's id.
fn let_wait(directory: &Path, chain: &Chain) -> TxId {
    let waiting: Vec<_> = (0..WAITING).map(|number| Arc::new(transaction(chain, number))).collect();
    let last = waiting.last().expect("many").id();
    let mempool = (0..).zip(waiting.into_iter().map(Some)).collect();
    let changes = Changes { mempool, ..Changes::default() };
    open(directory, chain).apply(&changes).expect("there is room");
    last
}

/// A payment of a cent, now.
fn transaction(chain: &Chain, number: u64) -> Transaction {
    let network = chain.network();
    let account = |number: u64| network.accounts[usize::try_from(number % ACCOUNTS).expect("few")].id;
    let (from, to, timestamp) = (account(number), account(number + 1), utc());
    Transaction::new(&network.id, Payment { from, to, amount: Amount(1), timestamp }, None)
}

/// A node with pages.
struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(program: &str, directory: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(["0", "--http", "127.0.0.1:0"])
            .args(options)
            .arg("--dir")
            .arg(directory)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut log = BufReader::new(child.stderr.take().expect("it was asked for"));
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).expect("it is text"), 0, "the node has ended");
            if let Some((_, address)) = line.split_once("http://") {
                break address.trim_end().trim_end_matches('/').to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let node = Self { child, address };
        while !node.get("/ready").0.contains(" 200 ") {
            std::thread::sleep(Duration::from_millis(20));
        }
        node
    }

    /// The head and the body of an answer, on a connection of its own.
    fn get(&self, path: &str) -> (String, String) {
        let mut text = String::new();
        self.ask(path).read_to_string(&mut text).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("it is HTTP");
        (head.to_owned(), body.to_owned())
    }

    fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the node listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("the node listens");
        stream
    }

    /// Sends a transaction.
    fn send(&self, transaction: &Transaction, network: &Network) {
        let body = serde_json::to_string(&TransactionJson::new(transaction, network)).expect("it is text");
        let mut stream = TcpStream::connect(&self.address).expect("the node listens");
        let length = body.len();
        let head = format!("host: {}\r\ncontent-length: {length}\r\nconnection: close", self.address);
        let request = format!("POST /api/v1/transactions HTTP/1.1\r\n{head}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("the node listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is text");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    /// How long each of the pages takes, with a pause after each time.
    fn time_pages(&self, name: &str, paths: &[&str]) {
        println!("{name:<32} {:>8} {:>8} {:>8}", "median", "p99", "most");
        for path in paths {
            let time = |_| {
                std::thread::sleep(PACE);
                self.time_ms(path)
            };
            let mut times: Vec<f64> = (0..REQUESTS).map(time).collect();
            times.sort_unstable_by(f64::total_cmp);
            let at = |share: usize| times[(times.len() - 1) * share / 100];
            let shown: String = path.chars().take(32).collect();
            println!("{shown:<32} {:>8.2} {:>8.2} {:>8.2}", at(50), at(99), at(100));
        }
    }

    fn time_ms(&self, path: &str) -> f64 {
        let started = Instant::now();
        let (head, _) = self.get(path);
        let time = started.elapsed();
        assert!(head.contains(" 200 ") || head.contains(" 303 "), "{path}: {head}");
        1e3 * time.as_secs_f64()
    }

    /// Lets it mine with so many open pages.
    fn turn(&self, pages: usize) -> Turn {
        let open: Vec<_> = (0..pages).map(|_| self.ask("/events")).collect();
        let read = |stream: &TcpStream| {
            let mut stream = stream.try_clone().expect("a stream");
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()))
        };
        let readers: Vec<_> = open.iter().map(read).collect();
        let (started, before) = (Instant::now(), self.cpu_s());
        // The node's rate is that of the last ten seconds.
        std::thread::sleep(TURN + Duration::from_secs(1));
        let (seconds, after) = (started.elapsed().as_secs_f64(), self.cpu_s());
        let (_, metrics) = self.get("/metrics");
        let rate = metrics
            .lines()
            .find(|line| line.starts_with("quarry_hash_rate_hashes_per_second{"))
            .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .expect("the node tells its rate");
        for stream in &open {
            // It may have been closed by the node.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        for reader in readers {
            // A stream that was cut off ends with an error.
            let _ = reader.join();
        }
        let [search, others] = [0, 1].map(|it| (after[it] - before[it]) / seconds);
        Turn { rate_mhs: rate / 1e6, search, others }
    }

    /// The CPU seconds of the node's busiest thread, which is the one that searches, and of all others together.
    fn cpu_s(&self) -> [f64; 2] {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        let times = tasks.flatten().filter_map(|task| {
            // Nanoseconds on the CPU come first.
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        });
        let times: Vec<f64> = times.map(|nanos| nanos / 1e9).collect();
        let most = times.iter().copied().fold(0.0, f64::max);
        [most, times.iter().sum::<f64>() - most]
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
