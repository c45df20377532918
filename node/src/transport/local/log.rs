//! Reading one log: its segments in order, message by message.
//! Invariant: a segment is left only at its end and when a later one exists, so nothing is passed over unread.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::transport::TransportError;
use crate::transport::local::cursor::Place;
use crate::transport::local::frame::{self, Decoded};
use crate::transport::local::names::LogName;

/// How long bytes must look damaged before they are: a system may show a file's new length before its new bytes.
const DAMAGE_SETTLES: Duration = Duration::from_millis(100);

/// A log as its receiver reads it.
#[derive(Debug)]
pub(super) struct Log {
    name: Arc<LogName>,
    inbox: PathBuf,
    segments: BTreeSet<u64>,
    at: Place,
    file: Option<File>,
    doubt: Doubt,
}

/// What one look into a log brought.
#[derive(Debug)]
pub(super) struct Turn {
    /// Whether another look at once may bring more.
    pub(super) more: bool,
    /// What was found wrong and skipped.
    pub(super) trouble: Option<TransportError>,
}

/// A message and where it was.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) place: Place,
    pub(super) payload: Vec<u8>,
}

/// What is known about damage in the current segment.
#[derive(Debug, Default)]
struct Doubt {
    /// Everything before this offset is what it will ever be.
    settled: u64,
    /// The end of the segment when damage was first seen, and when that was.
    suspect: Option<(u64, Instant)>,
    /// Whether the last thing read was damaged, and told.
    told: bool,
}

impl Log {
    /// A log with these segments, read up to `cursor`.
    pub(super) fn new(name: Arc<LogName>, inbox: &Path, segments: BTreeSet<u64>, cursor: Place) -> Self {
        let mut log =
            Self { name, inbox: inbox.to_owned(), segments, at: cursor, file: None, doubt: Doubt::default() };
        if !log.segments.contains(&cursor.segment) {
            log.advance();
        }
        log
    }

    /// Where the next message is read.
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// Takes over which segments there are; false where they are not a continuation of those before.
    pub(super) fn update(&mut self, segments: BTreeSet<u64>) -> bool {
        self.segments = segments;
        self.segments.last().is_some_and(|last| self.at.segment <= *last)
    }

    /// Reads the messages that fit into `buffer`, which must have room for the largest.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        payload_max: usize,
        messages: &mut Vec<Message>,
    ) -> Result<Turn, TransportError> {
        let later = self.later().is_some();
        let len = match self.fill(buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => {
                self.file = None;
                return Err(TransportError::io("read", &self.path())(error));
            }
        };
        let at_end = len < buffer.len();
        let start = self.at.offset;
        let (doubtful, trouble) = self.take(&buffer[..len], later, payload_max, messages);
        let moved = start < self.at.offset;
        if at_end && later && !doubtful {
            self.advance();
            return Ok(Turn { more: true, trouble });
        }
        Ok(Turn { more: moved && !at_end, trouble })
    }

    /// Whether the file that is being read has been deleted, which only somebody else can have done.
    pub(super) fn is_deleted(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0))
    }

    /// Closes the file; the next look opens it again.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Locks the current segment where its writer is gone and nothing more is to be read, now or later.
    pub(super) fn lock_finished(
        &mut self,
        buffer: &mut [u8],
        payload_max: usize,
    ) -> Result<Option<File>, TransportError> {
        let path = self.path();
        let lock = || -> io::Result<Option<File>> {
            let file = File::open(&path)?;
            Ok(file.try_lock().is_ok().then_some(file))
        };
        let Some(lock) = lock().map_err(TransportError::io("lock", &path))? else {
            return Ok(None);
        };
        // A writer opens the next segment before it lets go of the last.
        let next = self.at.segment.checked_add(1).map(|number| self.name.segment(&self.inbox, number));
        if next.is_some_and(|next| next.exists()) {
            return Ok(None);
        }
        let len = self.fill(buffer).map_err(TransportError::io("read", &path))?;
        Ok((frame::decode(&buffer[..len], payload_max) == Decoded::Incomplete).then_some(lock))
    }

    /// The file that is being read.
    pub(super) fn path(&self) -> PathBuf {
        self.name.segment(&self.inbox, self.at.segment)
    }

    /// Reads up to the end of the file or the buffer.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.file = Some(File::open(self.path())?);
        }
        let file = self.file.as_ref().expect("it is open");
        let mut len = 0;
        while len < buffer.len() {
            let offset = self.at.offset.saturating_add(len as u64);
            if i64::try_from(offset).is_err() {
                break;
            }
            match file.read_at(&mut buffer[len..], offset) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len)
    }

    /// Goes through `bytes`, which begin where the log is at. True where it stops at what may yet prove undamaged.
    fn take(
        &mut self,
        bytes: &[u8],
        later: bool,
        payload_max: usize,
        messages: &mut Vec<Message>,
    ) -> (bool, Option<TransportError>) {
        let end = self.at.offset.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        let mut trouble = None;
        loop {
            let (skip, damage) = match frame::decode(rest, payload_max) {
                Decoded::Incomplete => return (false, trouble),
                Decoded::Message(payload) => {
                    messages.push(Message { place: self.at, payload: payload.to_vec() });
                    (frame::HEADER_BYTES as u64 + payload.len() as u64, None)
                }
                Decoded::Oversize { bytes, payload } => {
                    (bytes, Some(TransportError::Oversize { bytes: payload, bytes_max: payload_max }))
                }
                Decoded::Damaged(skip) => {
                    let skip = skip as u64;
                    if !later && !self.doubt.is_settled(self.at.offset.saturating_add(skip), end) {
                        return (true, trouble);
                    }
                    (skip, Some(TransportError::Damaged { log: self.path(), offset: self.at.offset }))
                }
            };
            if !self.doubt.told {
                trouble = trouble.or(damage.clone());
            }
            self.doubt.told = damage.is_some();
            self.at.offset = self.at.offset.saturating_add(skip);
            rest = usize::try_from(skip).ok().and_then(|skip| rest.get(skip..)).unwrap_or_default();
        }
    }

    fn later(&self) -> Option<u64> {
        let after = (Bound::Excluded(self.at.segment), Bound::Unbounded);
        self.segments.range(after).next().copied()
    }

    fn advance(&mut self) {
        if let Some(segment) = self.later() {
            self.at = Place { segment, offset: 0 };
            self.file = None;
            self.doubt = Doubt::default();
        }
    }
}

impl Doubt {
    fn is_settled(&mut self, damage_end: u64, read_end: u64) -> bool {
        if damage_end <= self.settled {
            return true;
        }
        let (end, since) = *self.suspect.get_or_insert_with(|| (read_end, Instant::now()));
        if DAMAGE_SETTLES <= since.elapsed() {
            self.settled = end;
            self.suspect = None;
        }
        damage_end <= self.settled
    }
}
