//! The logs of one inbox: finding them, reading them in turn, and clearing away what is done with.
//! Invariant: a file is deleted only when everything in it is acknowledged and nobody can write to it any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::transport::local::Options;
use crate::transport::local::cursor::Cursor;
use crate::transport::local::frame;
use crate::transport::local::log::{Log, Message};
use crate::transport::local::names::{self, LogName, Segments, Sender};
use crate::transport::local::progress::{Position, Progress};
use crate::transport::local::recent::Recent;
use crate::transport::{Delivery, Format, Kind, Receipt, ReceiptInner, TransportError};

/// Past so many logs their files are opened for each look, so that clients cannot use the handles up.
const OPEN_LOGS_MAX: usize = 64;
const READ_BYTES_MIN: usize = 64 << 10;
/// After so long a file that is still being created belongs to a writer that was killed.
const UNFINISHED_MAX: Duration = Duration::from_secs(60);

/// A node's inbox as the delivering thread sees it.
#[derive(Debug)]
pub(super) struct Inbox {
    path: PathBuf,
    message_bytes_max: usize,
    fsync: bool,
    progress: Arc<Progress>,
    listed: Segments,
    logs: BTreeMap<Arc<LogName>, Log>,
    chain: Due,
    transactions: Due,
    recent: Recent,
    buffer: Vec<u8>,
}

impl Inbox {
    pub(super) fn new(path: &Path, options: &Options, progress: Arc<Progress>) -> Self {
        Self {
            path: path.to_owned(),
            message_bytes_max: options.message_bytes_max,
            fsync: options.fsync,
            progress,
            listed: Segments::new(),
            logs: BTreeMap::new(),
            chain: Due::default(),
            transactions: Due::default(),
            recent: Recent::default(),
            buffer: vec![0; READ_BYTES_MIN.max(frame::HEADER_BYTES + options.message_bytes_max)],
        }
    }

    /// Takes note of new logs and segments; every log is due for a look afterwards.
    pub(super) fn discover(&mut self, troubles: &mut Vec<TransportError>) {
        match self.list() {
            Ok(listed) if listed != self.listed => self.update(listed, troubles),
            Ok(_) => {}
            Err(error) => troubles.push(error),
        }
        for log in self.logs.keys() {
            match log.kind {
                Kind::Chain => self.chain.insert(log),
                Kind::Transactions => self.transactions.insert(log),
            }
        }
    }

    /// Reads messages of a kind until there are some, or none are left. Equal ones are left out.
    pub(super) fn read(
        &mut self,
        kind: Kind,
        deliveries: &mut VecDeque<Delivery>,
        troubles: &mut Vec<TransportError>,
    ) {
        let mut messages = Vec::new();
        while deliveries.is_empty() && !self.due(kind).is_empty() && !self.progress.is_paused(kind) {
            let name = self.due(kind).next().expect("a log is due");
            let more = self.read_log(&name, &mut messages, troubles);
            deliveries.extend(messages.drain(..).map(|message| delivery(&name, message)));
            if more {
                self.due(kind).insert(&name);
            }
        }
    }

    /// Deletes what is acknowledged, and the logs of clients that are gone.
    pub(super) fn tidy(&mut self, troubles: &mut Vec<TransportError>) {
        let names: Vec<_> = self.logs.keys().cloned().collect();
        for name in names {
            troubles.extend(self.tidy_log(&name).err());
        }
    }

    /// Deletes what former processes left: cursors without a log, and files whose creation was broken off.
    pub(super) fn sweep(&self) -> Result<(), TransportError> {
        let logs = names::segments(&self.path)?;
        for log in names::cursors(&self.path)? {
            if matches!(log.sender, Sender::Client(_)) && !logs.contains_key(&log) {
                remove(&log.cursor(&self.path))?;
            }
        }
        for path in names::unfinished(&self.path)? {
            let age = fs::metadata(&path).and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if let Ok(Ok(age)) = age
                && UNFINISHED_MAX < age
            {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Lists the segments so that none is missing before one that is listed.
    ///
    /// A directory read while files are added may show the later of two and not the earlier; but whatever a first
    /// reading shows was preceded by files that a second reading cannot miss.
    fn list(&self) -> Result<Segments, TransportError> {
        let first = names::segments(&self.path)?;
        if first == self.listed {
            return Ok(first);
        }
        let mut second = names::segments(&self.path)?;
        second.retain(|log, numbers| {
            let last = first.get(log).and_then(BTreeSet::last);
            numbers.retain(|number| Some(number) <= last);
            !numbers.is_empty()
        });
        Ok(second)
    }

    fn update(&mut self, listed: Segments, troubles: &mut Vec<TransportError>) {
        let gone: Vec<_> = self.logs.keys().filter(|name| !listed.contains_key(*name)).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
        for (name, segments) in &listed {
            if let Some(log) = self.logs.get_mut(name)
                && !log.update(segments.clone())
            {
                self.forget(name);
            }
            if !self.logs.contains_key(name) {
                self.begin(name, segments.clone(), troubles);
            }
        }
        self.listed = listed;
    }

    fn begin(&mut self, name: &Arc<LogName>, segments: BTreeSet<u64>, troubles: &mut Vec<TransportError>) {
        let path = name.cursor(&self.path);
        let cursor = Cursor::load(path.clone(), self.fsync).unwrap_or_else(|error| {
            troubles.push(error);
            Cursor::beginning(path, self.fsync)
        });
        let log = Log::new(name.clone(), &self.path, segments, cursor.place());
        self.progress.begin(name, cursor);
        self.logs.insert(name.clone(), log);
    }

    /// Reads what fits into the buffer, and notes it as being delivered. True where more may be there.
    fn read_log(
        &mut self,
        name: &LogName,
        messages: &mut Vec<Message>,
        troubles: &mut Vec<TransportError>,
    ) -> bool {
        let keep_open = self.logs.len() <= OPEN_LOGS_MAX;
        let Some(log) = self.logs.get_mut(name) else {
            return false;
        };
        let before = log.at();
        let more = match log.read(&mut self.buffer, self.message_bytes_max, messages) {
            Ok(turn) => {
                troubles.extend(turn.trouble);
                turn.more
            }
            Err(error) => {
                troubles.push(error);
                false
            }
        };
        if !keep_open {
            log.close();
        }
        if before != log.at() {
            let now = Instant::now();
            messages.retain(|message| self.recent.is_new(&message.payload, now));
            self.progress.deliver(name, messages.iter().map(|message| message.place), log.at());
        }
        more
    }

    fn tidy_log(&mut self, name: &Arc<LogName>) -> Result<(), TransportError> {
        if self.logs.get(name).is_some_and(Log::is_deleted) {
            self.listed.remove(name);
            self.forget(name);
            return Ok(());
        }
        let done = self.progress.settle(name)?;
        for number in self.listed.get(name).into_iter().flat_map(|numbers| numbers.range(..done.segment)) {
            remove(&name.segment(&self.path, *number))?;
        }
        let Some(log) = self.logs.get_mut(name) else {
            return Ok(());
        };
        if matches!(name.sender, Sender::Node(_)) || done != log.at() {
            return Ok(());
        }
        if let Some(_lock) = log.lock_finished(&mut self.buffer, self.message_bytes_max)? {
            // The cursor goes last: without it a segment left by a crash here would be delivered again.
            remove(&log.path())?;
            remove(&name.cursor(&self.path))?;
            self.forget(name);
        }
        Ok(())
    }

    fn forget(&mut self, name: &LogName) {
        self.logs.remove(name);
        if self.progress.forget(name) {
            // Should they be found again, they must not be taken for repetitions and count as done.
            self.recent = Recent::default();
        }
    }

    fn due(&mut self, kind: Kind) -> &mut Due {
        match kind {
            Kind::Chain => &mut self.chain,
            Kind::Transactions => &mut self.transactions,
        }
    }
}

/// Logs to look into, each in its turn however often it is named.
#[derive(Debug, Default)]
struct Due {
    logs: BTreeSet<Arc<LogName>>,
    last: Option<Arc<LogName>>,
}

impl Due {
    fn insert(&mut self, log: &Arc<LogName>) {
        self.logs.insert(log.clone());
    }

    fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    fn next(&mut self) -> Option<Arc<LogName>> {
        let after = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let log = self.logs.range((after, Bound::Unbounded)).next().or(self.logs.first())?.clone();
        self.logs.remove(&log);
        self.last = Some(log.clone());
        Some(log)
    }
}

fn delivery(log: &Arc<LogName>, message: Message) -> Delivery {
    let from = match log.sender {
        Sender::Node(id) => Some(id),
        Sender::Client(_) => None,
    };
    let position = Position { log: log.clone(), place: message.place };
    let receipt = Receipt(ReceiptInner::Local(position));
    Delivery { from, format: Format::Quarry, payload: message.payload, receipt }
}

fn remove(path: &Path) -> Result<(), TransportError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(TransportError::io("delete", path)(error))
        }
        _ => Ok(()),
    }
}
