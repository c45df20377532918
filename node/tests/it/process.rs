//! The real program: processes of the built binary, their files, their exit codes and what they print.
//! Invariant: nothing that a test starts outlives it, and every wait has an end.

mod commands;
mod damage;
mod devnet;
mod disk;
mod files;
mod fork;
#[cfg(feature = "http")]
mod http;
mod kill;
mod lifecycle;
mod payments;
mod refusals;
mod replay;
#[cfg(feature = "sqs")]
mod sqs;
mod tune;
mod tx;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use node::args::{CommonArgs, LogFormat, MediumArgs};
use node::config::{self, Directory};
use node::control::{self, NodeStatus, Request};
use node::transport::local::{self, Local};
use node::transport::{Kind, Outgoing, Transport as _};
use quarry_core::network::Network;
use quarry_core::units::{Hash, NodeId};
use serde_json::Value;

/// Far more than anything here takes on a busy machine: it only bounds a test that fails.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often something that is about to happen is looked for.
const POLL: Duration = Duration::from_millis(5);

/// A directory for a network's files, deleted with the value.
struct Place {
    directory: tempfile::TempDir,
    /// Where its programs log to, so that they can also do so when the other is full.
    logs: tempfile::TempDir,
    /// What its programs find in their environment.
    environment: Vec<(&'static str, String)>,
}

/// A running process of the program. It is killed when this is dropped; if even the test is killed, its standard input
/// ends and it stops by itself.
struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

/// What a command that has ended has left.
struct Outcome {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Place {
    /// An empty one.
    fn new() -> Self {
        let [directory, logs] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        Self { directory, logs, environment: Vec::new() }
    }

    /// One with a network of four open accounts.
    fn open(difficulty: u32) -> Self {
        let place = Self::new();
        place.run(["init", "--open", "--difficulty", &difficulty.to_string()]).succeeds();
        place
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn directory(&self) -> Directory {
        Directory::new(&self.common(), ".")
    }

    fn network(&self) -> Network {
        config::network(&self.common(), &self.directory()).unwrap()
    }

    /// Runs a command of the program on this directory to its end.
    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        run(self.command(arguments))
    }

    /// What a command prints as JSON.
    fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Value {
        serde_json::from_slice(&self.run(arguments).succeeds().stdout).unwrap()
    }

    /// Starts a node that mines with one thread of the CPU, and waits until it answers.
    fn start(&self, id: u16, arguments: &[&str]) -> Process {
        let process = self.spawn(id, arguments);
        eventually(&process.name, || self.status(id));
        process
    }

    /// Starts a node.
    fn spawn(&self, id: u16, arguments: &[&str]) -> Process {
        let id = id.to_string();
        let mut all = vec![id.as_str(), "--until-stdin-closes"];
        let pages: &[_] = if cfg!(feature = "http") { &[["--http", "off"]] } else { &[] };
        for pair in [["--threads", "1"], ["--backend", "cpu"]].iter().chain(pages) {
            if !arguments.contains(&pair[0]) {
                all.extend(pair);
            }
        }
        self.process(&format!("node {id}"), all.into_iter().chain(arguments.iter().copied()))
    }

    /// Starts a long-running command.
    fn process<'a>(&self, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Process {
        let log =
            self.logs.path().join(format!("{}.{:08x}.log", name.replace(' ', "-"), rand::random::<u32>()));
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Process { name: name.to_owned(), child, stdin, log }
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = program();
        command.args(arguments).arg("--dir").arg(self.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where a node stands; `None` where it does not run.
    fn status(&self, id: u16) -> Option<NodeStatus> {
        control::status(&self.directory().socket(NodeId(id))).unwrap()
    }

    /// Pays between two open accounts on one node's word, and waits until it has mined that; answers the id.
    fn pay(&self, node: u16, from: &str, to: &str, amount: &str) -> String {
        let node_text = node.to_string();
        let sent = self
            .run(["send", "--from", from, "--to", to, "--amount", amount, "--node", &node_text])
            .succeeds();
        eventually("the payment is mined", || self.status(node).filter(|status| status.mempool == 0));
        sent.text().lines().next().unwrap().strip_prefix("transaction ").unwrap().to_owned()
    }

    /// The node's whole chain, newest block first, as `chain --json` shows it.
    fn chain(&self, id: u16) -> Vec<Value> {
        let chain = self.json(["chain", "--json", "--count", "1000", "--node", &id.to_string()]);
        let blocks = chain.as_array().unwrap().clone();
        assert_eq!(blocks.last().unwrap()["index"], 0, "the whole chain");
        blocks
    }

    /// Lets several nodes come to rest with the same tip, which nothing changes any more; answers the tip. What one
    /// node took and the chain cannot pay waits on, so the end of all waiting is no sign of rest.
    fn settle(&self, ids: &[u16]) -> Hash {
        for id in ids {
            let socket = self.directory().socket(NodeId(*id));
            control::ask(&socket, &Request::StopMining).unwrap().unwrap();
        }
        eventually("the nodes agree", || {
            let statuses = self.statuses(ids);
            statuses.iter().all(|status| status.tip == statuses[0].tip).then(|| statuses[0].tip)
        })
    }

    fn statuses(&self, ids: &[u16]) -> Vec<NodeStatus> {
        ids.iter().map(|id| self.status(*id).unwrap_or_else(|| panic!("node {id} runs"))).collect()
    }

    /// A sender without an inbox, as the generator is.
    fn client(&self) -> Local {
        local::client(&self.directory().spool(), "test", local::Options::default()).unwrap()
    }

    fn common(&self) -> CommonArgs {
        CommonArgs {
            dir: Some(self.path().into()),
            network: None,
            log_format: LogFormat::Human,
            log: String::new(),
            medium: MediumArgs::default(),
        }
    }
}

impl Process {
    /// As a crash: no chance to clean up.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let kill =
            Command::new("sh").args(["-c", "kill -$0 $1", name, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Asks it to stop and waits until it has.
    fn stop(mut self) {
        drop(self.stdin.take());
        assert_eq!(self.wait().code(), Some(0), "{}: {}", self.name, self.log());
        assert!(!self.log().contains("panicked"), "{}: {}", self.name, self.log());
    }

    fn wait(&mut self) -> ExitStatus {
        let name = format!("the end of {}", self.name);
        eventually(&name, || self.child.try_wait().unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log says something.
    fn says(&self, text: &str) {
        if wait_for(|| self.log().contains(text).then_some(())).is_none() {
            panic!("{} does not say `{text}`:\n{}", self.name, self.log());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    #[track_caller]
    fn succeeds(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.text(), self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Checks that standard error says something.
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "not `{text}` but:\n{}", self.stderr);
        self
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    for (name, _) in std::env::vars_os() {
        // Neither what a user has set for this program, nor what leads to his account.
        if ["QUARRY_", "AWS_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
fn run(mut command: Command) -> Outcome {
    let [stdout, stderr] = [(), ()].map(|()| tempfile::NamedTempFile::new().unwrap());
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout.reopen().unwrap())
        .stderr(stderr.reopen().unwrap())
        .spawn()
        .unwrap();
    let name = format!("{command:?}");
    let mut process = Process { name, child, stdin: None, log: PathBuf::new() };
    let code = process.wait().code();
    Outcome {
        code,
        stdout: fs::read(stdout.path()).unwrap(),
        stderr: fs::read_to_string(stderr.path()).unwrap(),
    }
}

/// Hands bytes to a node as a message.
fn deliver(client: &Local, to: u16, kind: Kind, bytes: &[u8]) {
    client.send(NodeId(to), Outgoing { kind, payload: bytes.into(), ticket: 0 }).unwrap();
}

/// What `look` finds, as soon as it finds it.
#[track_caller]
fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for(look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let found = look();
        if found.is_some() || PATIENCE < started.elapsed() {
            return found;
        }
        std::thread::sleep(POLL);
    }
}
