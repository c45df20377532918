//! Writing to the inboxes of others.
//! Invariant: a file is only appended to, by the one writer that created and locked it, so what is written stays.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use quarry_core::units::NodeId;

use crate::transport::local::Options;
use crate::transport::local::bell::{self, Doorbell};
use crate::transport::local::cursor::{Cursor, Place};
use crate::transport::local::frame;
use crate::transport::local::names::{self, LogName, Sender};
use crate::transport::{Kind, Outgoing, TransportError};

/// Files held open for writing. A log whose file had to be closed goes on in a new segment.
const WRITERS_MAX: usize = 256;
/// What a small file takes on the file systems at hand, so that many small ones fill an inbox too.
const FILE_BYTES_MIN: u64 = 4096;
/// How long an inbox that was full is taken to be full without looking.
const FULL_FOR: Duration = Duration::from_millis(50);

/// A sender's logs in the inboxes of others.
#[derive(Debug)]
pub(super) struct Outbox {
    dir: PathBuf,
    sender: Sender,
    options: Options,
    bell: UnixDatagram,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    routes: BTreeMap<(NodeId, Kind), Route>,
    frame: Vec<u8>,
}

/// The way of one kind of message to one inbox.
#[derive(Debug, Default)]
struct Route {
    writer: Option<Writer>,
    /// When the inbox was last found full, and with how many bytes.
    full: Option<(Instant, u64)>,
    /// Messages refused since one was last accepted.
    refused: u64,
}

/// A segment that is being written.
#[derive(Debug)]
struct Writer {
    /// Locked, which tells the receiver that there may be more to come.
    file: File,
    path: PathBuf,
    doorbell: Doorbell,
    /// What may be written before the space in the inbox is looked at again.
    budget: u64,
    /// When the receiver was last told to look.
    rung: Option<Instant>,
}

impl Outbox {
    pub(super) fn new(dir: &Path, sender: Sender, options: Options) -> Result<Self, TransportError> {
        let bell = UnixDatagram::unbound()
            .and_then(|bell| bell.set_nonblocking(true).map(|()| bell))
            .map_err(TransportError::io("open a socket for", dir))?;
        Ok(Self { dir: dir.to_owned(), sender, options, bell, state: Mutex::default() })
    }

    /// Writes a message, creating the inbox where it is missing.
    pub(super) fn send(&self, to: NodeId, message: &Outgoing) -> Result<(), TransportError> {
        let bytes_max = self.options.message_bytes_max;
        if bytes_max < message.payload.len() {
            return Err(TransportError::Oversize { bytes: message.payload.len(), bytes_max });
        }
        let mut state = self.state.lock().expect("nothing that holds the lock panics");
        let State { routes, frame } = &mut *state;
        frame.clear();
        frame::encode(&message.payload, frame);

        let key = (to, message.kind);
        let route = routes.entry(key).or_default();
        let usable = route.writer.as_ref().is_some_and(|writer| writer.takes(frame.len() as u64));
        if !usable {
            // Only afterwards is the former segment let go of: its lock says that the log goes on.
            route.writer = Some(self.open(key, route, frame.len() as u64)?);
        }
        let writer = route.writer.as_mut().expect("it is open");
        if let Err(error) = writer.append(frame, self.options.fsync) {
            // What may be half a message ends its segment.
            let error = TransportError::io("write", &writer.path)(error);
            route.writer = None;
            return Err(error);
        }
        writer.ring(&self.bell);
        if !usable {
            close_another(routes, key);
        }
        Ok(())
    }

    /// Begins a segment that has room for a message of `len` bytes, unless the inbox is full.
    fn open(
        &self,
        (to, kind): (NodeId, Kind),
        route: &mut Route,
        len: u64,
    ) -> Result<Writer, TransportError> {
        let inbox = names::inbox(&self.dir, to);
        let bytes_max = match kind {
            Kind::Chain => self.options.inbox_bytes_max,
            Kind::Transactions => self.options.inbox_bytes_max / 2,
        };
        let bytes = match route.full {
            Some((seen, bytes)) if seen.elapsed() < FULL_FOR => bytes,
            _ => {
                fs::create_dir_all(&inbox).map_err(TransportError::io("create", &inbox))?;
                waiting_bytes(&inbox)?
            }
        };
        let room = bytes_max.saturating_sub(bytes);
        if room < len {
            let still_full = route.full.filter(|(seen, _)| seen.elapsed() < FULL_FOR);
            route.full = still_full.or(Some((Instant::now(), bytes)));
            route.refused = route.refused.saturating_add(1);
            return Err(TransportError::InboxFull { to, bytes, bytes_max, refused: route.refused });
        }
        let log = LogName { sender: self.sender.clone(), kind };
        let budget = self.options.segment_bytes.min(room).max(len);
        let writer = Writer::create(&inbox, &log, budget, self.options.fsync)?;
        route.full = None;
        route.refused = 0;
        Ok(writer)
    }
}

impl Writer {
    /// Begins the log's next segment. It gets its name only when it is locked, so nobody takes it for a left one.
    fn create(inbox: &Path, log: &LogName, budget: u64, fsync: bool) -> Result<Self, TransportError> {
        let path = log.segment(inbox, next_segment(inbox, log)?);
        let create = || -> io::Result<File> {
            let mut unfinished = path.clone().into_os_string();
            unfinished.push(names::UNFINISHED);
            let file = OpenOptions::new().append(true).create(true).open(&unfinished)?;
            file.try_lock()?;
            file.set_len(0)?;
            fs::rename(&unfinished, &path)?;
            if fsync {
                File::open(inbox)?.sync_all()?;
            }
            Ok(file)
        };
        let file = create().map_err(TransportError::io("create", &path))?;
        let doorbell = Doorbell::at(inbox).map_err(TransportError::io("open", inbox))?;
        Ok(Self { file, path, doorbell, budget, rung: None })
    }

    /// Whether there is room for `len` bytes, and the file has not been deleted under the writer.
    fn takes(&self, len: u64) -> bool {
        let there = || self.file.metadata().is_ok_and(|metadata| 0 < metadata.nlink());
        len <= self.budget && (self.rang_lately() || there())
    }

    /// Rings, unless the receiver is bound to look again because of an earlier ring.
    fn ring(&mut self, socket: &UnixDatagram) {
        if !self.rang_lately() {
            self.rung = Some(Instant::now());
            self.doorbell.ring(socket);
        }
    }

    fn rang_lately(&self) -> bool {
        self.rung.is_some_and(|rung| rung.elapsed() < bell::HEARD_FOR)
    }

    fn append(&mut self, frame: &[u8], fsync: bool) -> io::Result<()> {
        self.file.write_all(frame)?;
        self.budget = self.budget.saturating_sub(frame.len() as u64);
        if fsync { self.file.sync_data() } else { Ok(()) }
    }
}

/// What waits in an inbox: not what is acknowledged and not deleted yet, of which each sender may have a segment.
fn waiting_bytes(inbox: &Path) -> Result<u64, TransportError> {
    let mut done = BTreeMap::new();
    let mut sum = 0_u64;
    for (log, segment, bytes) in names::sizes(inbox)? {
        let done = *done.entry(log).or_insert_with_key(|log| place(inbox, log));
        let waiting = match segment.cmp(&done.segment) {
            Ordering::Less => 0,
            Ordering::Equal => bytes.saturating_sub(done.offset),
            Ordering::Greater => bytes,
        };
        if 0 < waiting {
            sum = sum.saturating_add(waiting.max(FILE_BYTES_MIN));
        }
    }
    Ok(sum)
}

/// How far the receiver is in a log; the beginning where it cannot be told.
fn place(inbox: &Path, log: &LogName) -> Place {
    Cursor::load(log.cursor(inbox), false).map_or(Place::default(), |cursor| cursor.place())
}

/// The number after all that the log has ever had: the cursor remembers those that are deleted.
fn next_segment(inbox: &Path, log: &LogName) -> Result<u64, TransportError> {
    let last = names::segments(inbox)?.get(log).and_then(|numbers| numbers.last().copied()).unwrap_or(0);
    let next = last.max(place(inbox, log).segment).checked_add(1);
    next.ok_or_else(|| {
        let path = log.segment(inbox, u64::MAX);
        TransportError::io("write after", &path)(io::Error::other("no segment number is left"))
    })
}

/// Closes some other route's file where too many are open.
fn close_another(routes: &mut BTreeMap<(NodeId, Kind), Route>, keep: (NodeId, Kind)) {
    let open = routes.iter().filter(|(_, route)| route.writer.is_some()).count();
    if open <= WRITERS_MAX {
        return;
    }
    if let Some((_, route)) = routes.iter_mut().find(|(key, route)| **key != keep && route.writer.is_some()) {
        route.writer = None;
    }
}
