//! A disk that remembers all that was done to it, and what a power cut may leave of that.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt;
use rand::rngs::SmallRng;
use redb::StorageBackend;

/// What a disk writes whole, if it is a good one.
const SECTOR: usize = 512;

/// What becomes of what was written since the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// All of it is there; so at a place right after a sync all that is certain, and nothing else.
    Kept,
    /// The first writes are there, the one after them only up to a sector.
    TornAtSector,
    /// The first writes are there, the one after them only up to a byte.
    TornAtByte,
    /// Any of the writes are there, whole.
    Reordered,
    /// Any of the sectors are there.
    Shuffled,
}

impl Fate {
    pub(super) const ALL: [Self; 5] =
        [Self::Kept, Self::TornAtSector, Self::TornAtByte, Self::Reordered, Self::Shuffled];
}

/// Something done to a disk.
#[derive(Debug, Clone)]
pub(in crate::store) enum Operation {
    Resize(u64),
    Write(u64, Vec<u8>),
    Sync,
}

/// A disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Disk {
    live: Arc<Mutex<Vec<u8>>>,
    operations: Arc<Mutex<Vec<Operation>>>,
    /// Whether it says that it has synced and has not.
    lies: bool,
    /// After how many operations it fails, and with what.
    end: Option<(usize, io::ErrorKind)>,
}

impl Disk {
    /// One that begins with these bytes.
    pub(in crate::store) fn new(image: Vec<u8>) -> Self {
        Self { live: Arc::new(Mutex::new(image)), ..Self::default() }
    }

    /// One whose syncs do nothing.
    pub(super) fn lying() -> Self {
        Self { lies: true, ..Self::default() }
    }

    /// The same disk, which now takes so many operations more and then fails; the first write that fails it takes half of.
    pub(in crate::store) fn failing(&self, after: usize, kind: io::ErrorKind) -> Self {
        Self { end: Some((self.operations().len() + after, kind)), ..self.clone() }
    }

    pub(in crate::store) fn image(&self) -> Vec<u8> {
        self.live().clone()
    }

    pub(in crate::store) fn operations(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.operations.lock().unwrap()
    }

    fn live(&self) -> MutexGuard<'_, Vec<u8>> {
        self.live.lock().unwrap()
    }

    fn work(&self, operation: Operation) -> Result<(), io::Error> {
        let mut operations = self.operations();
        match self.end {
            Some((end, kind)) if end <= operations.len() => {
                if let (Operation::Write(offset, bytes), true) = (&operation, end == operations.len()) {
                    write(&mut self.live(), *offset, &bytes[..bytes.len() / 2]);
                    // It counts, so that only the first of them is taken in part.
                    operations.push(Operation::Write(*offset, bytes[..bytes.len() / 2].to_vec()));
                }
                Err(kind.into())
            }
            _ => {
                apply(&mut self.live(), &operation);
                operations.push(operation);
                Ok(())
            }
        }
    }
}

/// What a power cut may leave: `durable` is certain, `doubtful` was done since.
pub(super) fn cut(durable: &[u8], doubtful: &[Operation], fate: Fate, random: &mut SmallRng) -> Vec<u8> {
    let mut image = durable.to_vec();
    let torn = random.random_range(0..=doubtful.len());
    for (position, operation) in doubtful.iter().enumerate() {
        let whole = match fate {
            Fate::Kept => true,
            Fate::TornAtSector | Fate::TornAtByte => position < torn,
            Fate::Reordered | Fate::Shuffled => random.random(),
        };
        match operation {
            Operation::Write(offset, bytes) if fate == Fate::Shuffled => {
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if random.random() {
                        write(&mut image, offset + (number * SECTOR) as u64, sector);
                    }
                }
            }
            Operation::Write(offset, bytes) if position == torn && fate == Fate::TornAtSector => {
                let sectors = random.random_range(0..=bytes.len() / SECTOR);
                write(&mut image, *offset, &bytes[..sectors * SECTOR]);
            }
            Operation::Write(offset, bytes) if position == torn && fate == Fate::TornAtByte => {
                write(&mut image, *offset, &bytes[..random.random_range(0..=bytes.len())]);
            }
            operation if whole => apply(&mut image, operation),
            _ => {}
        }
    }
    image
}

/// Does to an image what was done to a disk.
pub(super) fn apply(image: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Resize(len) => image.resize(usize::try_from(*len).unwrap(), 0),
        Operation::Write(offset, bytes) => write(image, *offset, bytes),
        Operation::Sync => {}
    }
}

/// Where the file never grew, what was to lie past its end is lost.
fn write(image: &mut [u8], offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    if let Some(place) = image.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.live().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let offset = usize::try_from(offset).unwrap();
        match self.live().get(offset..offset + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.work(Operation::Resize(len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.lies { Ok(()) } else { self.work(Operation::Sync) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.work(Operation::Write(offset, data.to_vec()))
    }
}
