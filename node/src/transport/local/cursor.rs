//! How far a receiver is in a log, on disk.
//! Invariant: being killed while storing leaves the former place or the new one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::transport::TransportError;

/// The length of one of the two records of a cursor's file.
pub const RECORD_BYTES: usize = 32;

/// A byte of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In which segment. They count from 1, so the default is before everything.
    pub segment: u64,
    /// Where in it.
    pub offset: u64,
}

/// The place before which everything is acknowledged. Two records take turns, so a torn one is never the last.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    place: Place,
    stores: u64,
    fsync: bool,
}

impl Cursor {
    /// The stored place; the beginning where none is stored.
    pub(super) fn load(path: PathBuf, fsync: bool) -> Result<Self, TransportError> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(TransportError::io("read", &path)(error)),
        };
        if bytes.is_empty() {
            return Ok(Self::beginning(path, fsync));
        }
        match decode(&bytes) {
            Some((stores, place)) => Ok(Self { path, place, stores, fsync }),
            None => Err(TransportError::CursorLost { cursor: path }),
        }
    }

    /// The beginning, for a log without a usable cursor.
    pub(super) fn beginning(path: PathBuf, fsync: bool) -> Self {
        Self { path, place: Place::default(), stores: 0, fsync }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Stores the place where it is a new one.
    ///
    /// The file is opened each time: a few microseconds per batch, and no file handle for each of many clients.
    pub(super) fn store(&mut self, place: Place) -> Result<(), TransportError> {
        if place == self.place {
            return Ok(());
        }
        let stores = self.stores.wrapping_add(1);
        let write = || -> io::Result<()> {
            let file = open(&self.path)?;
            file.write_all_at(&record(stores, place), stores % 2 * RECORD_BYTES as u64)?;
            if self.fsync { file.sync_data() } else { Ok(()) }
        };
        match write() {
            // The whole inbox was deleted: nothing is left that could come again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written.map_err(TransportError::io("write", &self.path))?,
        }
        self.stores = stores;
        self.place = place;
        Ok(())
    }
}

/// How often a place has been stored, and the last one, by a cursor's file.
pub fn decode(bytes: &[u8]) -> Option<(u64, Place)> {
    let records = bytes.chunks_exact(RECORD_BYTES).take(2).filter_map(parse);
    records.max_by_key(|(stores, _)| *stores)
}

/// One of the two records of a cursor's file: the count of stores 8, segment 8, offset 8, 4 that are 0, and a checksum.
pub fn record(stores: u64, place: Place) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&stores.to_be_bytes());
    record[8..16].copy_from_slice(&place.segment.to_be_bytes());
    record[16..24].copy_from_slice(&place.offset.to_be_bytes());
    let check = crc32fast::hash(&record[..28]);
    record[28..].copy_from_slice(&check.to_be_bytes());
    record
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

fn parse(bytes: &[u8]) -> Option<(u64, Place)> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u64::from_be_bytes(*word));
    let (stores, place) = (word(0)?, Place { segment: word(8)?, offset: word(16)? });
    (record(stores, place)[..] == *bytes).then_some((stores, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_record_leaves_the_former_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let load = || Cursor::load(path.clone(), true);
        assert_eq!(load().unwrap().place(), Place::default());
        let places: Vec<_> = (1..=5).map(|segment| Place { segment, offset: 7 * segment }).collect();
        for place in &places {
            load().unwrap().store(*place).unwrap();
            assert_eq!(load().unwrap().place(), *place);
        }
        let whole = fs::read(&path).unwrap();
        for byte in RECORD_BYTES..2 * RECORD_BYTES {
            let mut torn = whole.clone();
            torn[byte] ^= 1;
            fs::write(&path, torn).unwrap();
            assert_eq!(load().unwrap().place(), places[3], "byte {byte}");
        }
        fs::write(&path, b"rubbish").unwrap();
        assert_eq!(load().unwrap_err(), TransportError::CursorLost { cursor: path.clone() });
    }
}
