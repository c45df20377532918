//! How this machine's user talks to a running node: one JSON request and one JSON answer over a Unix socket.
//!
//! The store of a running node is locked, so commands that look at it ask the node itself; what only reads is answered
//! on the socket's own thread from a snapshot, the rest by the run loop. Invariant: nothing here can hold up the loop.

mod status;

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded, select_biased};
use quarry_core::network::Network;
use quarry_core::transaction::Transaction;
use quarry_core::units::TxId;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::exit::{self, Exit, OrExit as _};
use crate::fates::Fates;
use crate::query::{self, Query};
use crate::standing;
use crate::store::Reader;
pub use status::{HashRates, NodeStatus, PeerState, PeerStatus, UsageStatus};

/// The most bytes of a request.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// How long a client waits for an answer, and the node for its own loop.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the node waits for a client, which keeps all others waiting.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// The most questions that wait for the run loop.
const ASKS_MAX: usize = 16;
/// The longest address that a socket can have on every system.
const ADDRESS_BYTES_MAX: usize = 100;

/// What a node can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Where it stands.
    Status,
    /// To take a transaction, in its JSON form.
    Submit(Box<RawValue>),
    /// To mine no more, so that a network that is about to stop comes to rest first.
    StopMining,
    /// Whether to be cut off from all other nodes: it hears its clients only, such as the generator, as if the network
    /// were parted between it and the others.
    CutOff(bool),
    /// Something from its store.
    Query(Query),
    /// Where a transaction stands: a [`crate::standing::Standing`].
    Transaction(TxId),
}

/// What the run loop is asked, with where to put the answer.
#[derive(Debug)]
pub enum Ask {
    /// Where the node stands.
    Status(Sender<NodeStatus>),
    /// To take a transaction; the answer is the rule that it breaks.
    Submit(Transaction, Sender<Result<(), String>>),
    /// To mine no more.
    StopMining(Sender<()>),
    /// Whether to be cut off.
    CutOff(bool, Sender<()>),
}

/// Where the run loop is asked.
#[derive(Debug, Clone)]
pub struct Asks {
    queue: Sender<Ask>,
    /// Closed when the loop ends: nobody answers what is in the queue then, and it would be waited for in vain.
    end: Receiver<Infallible>,
}

/// What the run loop is asked, until this is dropped.
#[derive(Debug)]
pub struct Asked {
    /// The questions.
    pub queue: Receiver<Ask>,
    _end: Sender<Infallible>,
}

/// Both ends of the way to the run loop.
pub fn asks() -> (Asks, Asked) {
    let ((asks, asked), (is_alive, end)) = (bounded(ASKS_MAX), bounded(0));
    (Asks { queue: asks, end }, Asked { queue: asked, _end: is_alive })
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

/// The node has not answered; it may still do what it was asked, as soon as it comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct NoAnswer(pub Duration);

/// The run loop has ended; who asks is to find nobody there.
#[derive(Debug, thiserror::Error)]
#[error("the node has stopped")]
struct Stopped;

/// What a node's clients are answered from.
pub struct Desk {
    /// The node's network.
    pub network: Arc<Network>,
    /// Its store.
    pub reader: Reader,
    /// What it has noted of transactions.
    pub fates: Fates,
    /// Its run loop.
    pub asks: Asks,
}

/// The socket of a running node. Dropping this removes it and lets go of the store.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    line: Arc<Mutex<Line>>,
    thread: Option<JoinHandle<()>>,
}

/// Who is being served. One at a time: a client that stalls is dropped by the time-out.
#[derive(Debug, Default)]
struct Line {
    client: Option<UnixStream>,
    is_closed: bool,
}

impl Server {
    /// Starts to answer on a socket. The caller holds the node's inbox, so what lies at `path` is a dead node's.
    pub fn start(path: PathBuf, desk: Desk) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(Address::of(&path)?.path)?;
        let line = Arc::<Mutex<Line>>::default();
        let clients = Arc::clone(&line);
        let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if !take(&clients, stream.try_clone().ok()) {
                    return;
                }
                if let Err(error) = desk.serve(&stream) {
                    tracing::debug!("control socket: {error:#}");
                }
                take(&clients, None);
            }
        })?;
        Ok(Self { path, line, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(client) = close(&self.line) {
            // It may have gone by itself.
            let _ = client.shutdown(Shutdown::Both);
        }
        // The thread sees only with the next client that there are to be no more.
        let woken = Address::of(&self.path).and_then(|address| UnixStream::connect(address.path));
        // A leftover is replaced at the next start.
        let _ = fs::remove_file(&self.path);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            // A panic of the thread has been printed by then.
            let _ = thread.join();
        }
    }
}

/// Notes who is served, if anybody is; `false` where nobody is to be any more.
fn take(line: &Mutex<Line>, client: Option<UnixStream>) -> bool {
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    line.client = client;
    !line.is_closed
}

fn close(line: &Mutex<Line>) -> Option<UnixStream> {
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    line.is_closed = true;
    line.client.take()
}

/// A path that fits a socket's address.
struct Address {
    path: PathBuf,
    /// Keeps a path through `/proc/self/fd` valid.
    _directory: Option<File>,
}

impl Address {
    fn of(path: &Path) -> io::Result<Self> {
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) if ADDRESS_BYTES_MAX < path.as_os_str().len() => {
                let directory = File::open(directory)?;
                let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
                Ok(Self { path, _directory: Some(directory) })
            }
            _ => Ok(Self { path: path.into(), _directory: None }),
        }
    }
}

/// Asks the node at `path`; `None` where none runs there.
pub fn ask(path: &Path, request: &Request) -> Result<Option<Box<RawValue>>> {
    ask_within(path, request, TIMEOUT)
}

/// Where the node at `path` stands; `None` where none runs there.
pub fn status(path: &Path) -> Result<Option<NodeStatus>> {
    status_within(path, TIMEOUT)
}

/// As [`status`], but an error where the answer takes longer.
pub fn status_within(path: &Path, patience: Duration) -> Result<Option<NodeStatus>> {
    let answer = ask_within(path, &Request::Status, patience)?;
    Ok(answer.map(|answer| serde_json::from_str(answer.get())).transpose()?)
}

/// As [`ask`], but [`NoAnswer`] where the answer takes longer.
pub fn ask_within(path: &Path, request: &Request, patience: Duration) -> Result<Option<Box<RawValue>>> {
    let connecting = || format!("connecting to {}", path.display());
    let stream = match Address::of(path).and_then(|address| UnixStream::connect(address.path)) {
        Ok(stream) => stream,
        Err(error) if is_nobody_there(&error) => return Ok(None),
        Err(error) => return Err(error).with_context(connecting),
    };
    let line = exchange(&stream, request, patience)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => anyhow::Error::new(NoAnswer(patience)),
            _ => error.into(),
        })
        .with_context(|| format!("asking the node at {}", path.display()))?;
    if line.is_empty() {
        // It stopped before it came to the question.
        return Ok(None);
    }
    match serde_json::from_str(&line)? {
        Reply::Done(answer) => Ok(Some(answer)),
        Reply::Refused(reason) => Err(Refused(reason).into()),
        Reply::NotFound(reason) => Err(anyhow!(reason)).or_exit(Exit::NotFound),
        Reply::Failed(reason) => Err(anyhow!(reason)),
    }
}

fn is_nobody_there(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused)
}

/// The line that answers a request; an empty one where the node hangs up.
fn exchange(stream: &UnixStream, request: &Request, patience: Duration) -> io::Result<String> {
    limit(stream, patience)?;
    let mut line = String::new();
    let answered = send_line(stream, request).and_then(|()| BufReader::new(stream).read_line(&mut line));
    match answered {
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Ok(String::new())
        }
        answered => answered.map(|_| line),
    }
}

impl Desk {
    fn serve(&self, stream: &UnixStream) -> Result<()> {
        limit(stream, CLIENT_TIMEOUT)?;
        let mut line = String::new();
        BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
        let reply = match self.answer(&line) {
            Ok(answer) => Reply::Done(answer),
            Err(error) => match error.downcast::<Refused>() {
                Ok(Refused(reason)) => Reply::Refused(reason),
                Err(error) if error.is::<Stopped>() => return Ok(()),
                Err(error) if exit::code(&error) == Exit::NotFound => Reply::NotFound(format!("{error:#}")),
                Err(error) => Reply::Failed(format!("{error:#}")),
            },
        };
        Ok(send_line(stream, &reply)?)
    }

    fn answer(&self, line: &str) -> Result<Box<RawValue>> {
        let Self { network, reader, fates, asks } = self;
        match serde_json::from_str(line)? {
            Request::Status => Ok(to_raw_value(&put(asks, Ask::Status)?)?),
            Request::Submit(json) => {
                let json: quarry_core::json::TransactionJson<'_> =
                    serde_json::from_str(json.get()).map_err(|error| Refused(error.to_string()))?;
                let transaction = json.parse(network).map_err(|error| Refused(error.to_string()))?;
                submit(asks, transaction)?;
                Ok(RawValue::NULL.to_owned())
            }
            Request::StopMining => {
                put(asks, Ask::StopMining)?;
                Ok(RawValue::NULL.to_owned())
            }
            Request::CutOff(is_cut) => {
                put(asks, |answer| Ask::CutOff(is_cut, answer))?;
                Ok(RawValue::NULL.to_owned())
            }
            Request::Query(query) => query::answer(&reader.snapshot()?, network, &query),
            Request::Transaction(id) => Ok(to_raw_value(&standing::of(reader, network, Some(fates), &id)?)?),
        }
    }
}

/// Gives the run loop a transaction; [`Refused`] says which rule it breaks.
pub fn submit(asks: &Asks, transaction: Transaction) -> Result<()> {
    Ok(put(asks, |answer| Ask::Submit(transaction, answer))?.map_err(Refused)?)
}

/// Puts something to the run loop and waits for what it says.
fn put<T>(asks: &Asks, ask: impl FnOnce(Sender<T>) -> Ask) -> Result<T> {
    let (sender, answer) = bounded(1);
    match asks.queue.send_timeout(ask(sender), TIMEOUT) {
        Ok(()) => {}
        Err(SendTimeoutError::Disconnected(_)) => return Err(Stopped.into()),
        Err(SendTimeoutError::Timeout(_)) => bail!("the node is too busy to answer"),
    }
    select_biased! {
        recv(answer) -> answer => answer.map_err(|_| Stopped.into()),
        // It may have answered just before.
        recv(asks.end) -> _ => answer.try_recv().map_err(|_| Stopped.into()),
        default(TIMEOUT) => bail!("the node is too busy to answer"),
    }
}

fn limit(stream: &UnixStream, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))
}

fn send_line(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}
