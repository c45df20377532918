//! How this machine's user talks to a running node: one JSON request and one JSON answer over a Unix socket.
//!
//! The store of a running node is locked, so commands that look at it ask the node itself; what only reads is answered
//! on the socket's own thread from a snapshot, the rest by the run loop. Invariant: nothing here can hold up the loop.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Sender, bounded};
use miner::rate::Rates;
use quarry_core::network::Network;
use quarry_core::units::{Hash, Height, NetworkId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::exit::{self, Exit, OrExit as _};
use crate::query::{self, Query};
use crate::store::Reader;

/// The most bytes of a request.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// How long either side waits for the other.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a node can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Where it stands.
    Status,
    /// To take a transaction, in its JSON form.
    Submit(Box<RawValue>),
    /// Something from its store.
    Query(Query),
}

/// What the run loop is asked, with where to put the answer.
#[derive(Debug)]
pub enum Ask {
    /// Where the node stands.
    Status(Sender<NodeStatus>),
    /// To take a transaction; the answer is the rule that it breaks.
    Submit(quarry_core::transaction::Transaction, Sender<Result<(), String>>),
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its number.
    pub id: NodeId,
    /// Its process.
    pub pid: u32,
    /// Its network.
    pub network: NetworkId,
    /// For how many seconds it has run.
    pub uptime_s: f64,
    /// Its clock.
    pub time: Timestamp,
    /// The height of its tip.
    pub height: Height,
    /// Its tip.
    pub tip: Hash,
    /// How many transactions wait.
    pub mempool: usize,
    /// Whether it mines, and has something to mine.
    pub searching: bool,
    /// What mines, if anything does.
    pub backend: Option<String>,
    /// How fast it mines.
    pub hash_rate: HashRates,
    /// The peer whose chain it fetches, if any.
    pub syncing: Option<NodeId>,
    /// The other nodes.
    pub peers: Vec<PeerStatus>,
    /// How often things have happened since its start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// Hashes a second over stretches of searching: idle times do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashRates {
    /// Over the last 10 seconds.
    pub over_10_s: f64,
    /// Over the last minute.
    pub over_60_s: f64,
    /// Over the last 15 minutes.
    pub over_15_min: f64,
    /// The most over any 10 seconds.
    pub max: f64,
}

impl From<Rates> for HashRates {
    fn from(rates: Rates) -> Self {
        Self { over_10_s: rates.short, over_60_s: rates.medium, over_15_min: rates.long, max: rates.max }
    }
}

/// Another node, as a node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its number.
    pub id: NodeId,
    /// The height of its tip, by its last status.
    pub height: Option<Height>,
    /// Its tip, by its last status.
    pub tip: Option<Hash>,
    /// How many seconds ago it was last heard of.
    pub heard_s: Option<f64>,
    /// Whether it has said that it stops.
    pub stopped: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reply {
    Done(Box<RawValue>),
    Refused(String),
    NotFound(String),
    Failed(String),
}

/// The node has refused what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(pub String);

/// The socket of a running node; it is removed when this is dropped.
#[derive(Debug)]
pub struct Server(PathBuf);

impl Server {
    /// Starts to answer on a socket. The caller holds the node's inbox, so what lies at `path` is a dead node's.
    pub fn start(
        path: PathBuf,
        network: Arc<Network>,
        reader: Reader,
        asks: Sender<Ask>,
    ) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::thread::Builder::new().name("control".into()).spawn(move || {
            // One at a time: a client that stalls is dropped by the time-out.
            for stream in listener.incoming().flatten() {
                if let Err(error) = serve(&stream, &network, &reader, &asks) {
                    tracing::debug!("control socket: {error:#}");
                }
            }
        })?;
        Ok(Self(path))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A leftover is replaced at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Asks the node at `path`; `None` where none runs there.
pub fn ask(path: &Path, request: &Request) -> Result<Option<Box<RawValue>>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("connecting to {}", path.display())),
    };
    let reply =
        exchange(&stream, request).with_context(|| format!("asking the node at {}", path.display()))?;
    match reply {
        Reply::Done(answer) => Ok(Some(answer)),
        Reply::Refused(reason) => Err(Refused(reason).into()),
        Reply::NotFound(reason) => Err(anyhow!(reason)).or_exit(Exit::NotFound),
        Reply::Failed(reason) => Err(anyhow!(reason)),
    }
}

/// Where the node at `path` stands; `None` where none runs there.
pub fn status(path: &Path) -> Result<Option<NodeStatus>> {
    let answer = ask(path, &Request::Status)?;
    Ok(answer.map(|answer| serde_json::from_str(answer.get())).transpose()?)
}

fn exchange(stream: &UnixStream, request: &Request) -> Result<Reply> {
    limit(stream)?;
    send_line(stream, request)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn serve(stream: &UnixStream, network: &Arc<Network>, reader: &Reader, asks: &Sender<Ask>) -> Result<()> {
    limit(stream)?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let reply = match answer(&line, network, reader, asks) {
        Ok(answer) => Reply::Done(answer),
        Err(error) => match error.downcast::<Refused>() {
            Ok(Refused(reason)) => Reply::Refused(reason),
            Err(error) if exit::code(&error) == Exit::NotFound => Reply::NotFound(format!("{error:#}")),
            Err(error) => Reply::Failed(format!("{error:#}")),
        },
    };
    send_line(stream, &reply)
}

fn answer(line: &str, network: &Arc<Network>, reader: &Reader, asks: &Sender<Ask>) -> Result<Box<RawValue>> {
    match serde_json::from_str(line)? {
        Request::Status => {
            let (sender, receiver) = bounded(1);
            asks.send_timeout(Ask::Status(sender), TIMEOUT)?;
            Ok(serde_json::value::to_raw_value(&receiver.recv_timeout(TIMEOUT)?)?)
        }
        Request::Submit(json) => {
            let json: quarry_core::json::TransactionJson<'_> =
                serde_json::from_str(json.get()).map_err(|error| Refused(error.to_string()))?;
            let transaction = json.parse(network).map_err(|error| Refused(error.to_string()))?;
            let (sender, receiver) = bounded(1);
            asks.send_timeout(Ask::Submit(transaction, sender), TIMEOUT)?;
            receiver.recv_timeout(TIMEOUT)?.map_err(Refused)?;
            Ok(RawValue::NULL.to_owned())
        }
        Request::Query(query) => query::answer(&reader.snapshot()?, network, &query),
    }
}

fn limit(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))
}

fn send_line(mut stream: &UnixStream, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}
