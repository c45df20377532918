//! A store's whole file, which something other than the store has written to.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use node::store::{OpenError, Reader, RedbStore, Summary, verify};
use quarry_core::store::{Changes, Store as _};
use quarry_core::units::{AccountId, Amount};
use redb::StorageBackend;

use crate::world::world;

/// How large the disk is: far more than a sound store of this size asks for.
const DISK_BYTES: u64 = 8 << 20;
/// The most that is done to a file.
const EDITS_MAX: usize = 64;
/// A kind, a place, and how much.
const EDIT_BYTES: usize = 6;

/// Stores as a node leaves them.
#[derive(Debug)]
pub struct Files {
    /// Of a node that stopped, and of one that was killed.
    pub images: [Vec<u8>; 2],
    /// What each commit made of the chain.
    summaries: Vec<Summary>,
}

/// The files that are damaged.
pub fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(Files::new)
}

impl Files {
    fn new() -> Self {
        let network = &world().network;
        let disk = Disk::default();
        let mut store = RedbStore::on(disk.clone(), &network.id).expect("an empty disk takes a store");
        let mut summaries = Vec::new();
        for changes in world().commits() {
            store.apply(&changes).expect("the disk is large enough");
            let summary = verify(store.snapshot(), network, &mut |_, _| {});
            summaries.push(summary.expect("a node leaves a sound store"));
        }
        let killed = disk.bytes().clone();
        drop(store);
        let stopped = disk.bytes().clone();
        Self { images: [stopped, killed], summaries }
    }
}

/// Edits of a store's file: the first byte says which file, the others what is done to it. Whatever that is, the store
/// says what is wrong or holds a chain that the node had; who only reads it finds the same and leaves it as it is.
pub fn store(script: &[u8]) -> bool {
    let Some((which, edits)) = script.split_first() else { return false };
    let files = files();
    let mut image = files.images[usize::from(which % 2)].clone();
    edit(&mut image, edits);
    let network = &world().network;
    let disk = Disk::new(image.clone());
    let read = Reader::on(disk.clone(), &network.id).map(|reader| {
        let snapshot = reader.snapshot().expect("every page has been checked");
        verify(&snapshot, network, &mut |_, _| {})
    });
    assert!(*disk.bytes() == image, "reading writes");
    if image.is_empty() {
        // Here a node founds a new store.
        assert!(matches!(read, Err(OpenError::NotAStore(_))), "{read:?}");
        return false;
    }
    let mut store = match RedbStore::on(Disk::new(image), &network.id) {
        Ok(store) => store,
        Err(error) => {
            assert_eq!(read.as_ref(), Err(&error));
            return refuse(&error);
        }
    };
    let verdict = verify(store.snapshot(), network, &mut |_, _| {});
    assert_eq!(read.as_ref(), Ok(&verdict));
    let balances = [(AccountId::default(), Some(Amount(1)))].into();
    store.apply(&Changes { balances, ..Changes::default() }).expect("every page has been checked");
    assert_eq!(store.balance(&AccountId::default()), Ok(Some(Amount(1))));
    match verdict {
        Ok(summary) => files.accept(summary),
        Err(error) => refuse(&error),
    }
}

impl Files {
    fn accept(&self, found: Summary) -> bool {
        // What waits is not part of the chain, and an unsigned payment is nobody's word.
        let is_same = |known: &Summary| {
            *known == Summary { waiting: known.waiting, side_blocks: known.side_blocks, ..found }
        };
        assert!(self.summaries.iter().any(is_same), "a chain from nowhere: {found:?}");
        true
    }
}

fn refuse(error: &dyn Error) -> bool {
    assert_ne!(error.to_string(), "");
    false
}

/// Does to a file what a script says.
fn edit(image: &mut Vec<u8>, mut script: &[u8]) {
    for _ in 0..EDITS_MAX {
        let Some((head, rest)) = script.split_first_chunk::<EDIT_BYTES>() else { return };
        let [kind, place @ .., count] = *head;
        let (place, count) = (u32::from_be_bytes(place) as usize, usize::from(count));
        let start = place.min(image.len());
        match kind % 6 {
            kind @ 0..=2 => {
                let (data, after) = rest.split_at(count.min(rest.len()));
                script = after;
                for (byte, data) in image[start..].iter_mut().zip(data) {
                    *byte = if kind == 0 { *byte ^ data } else { *data };
                }
                continue;
            }
            3 => image.iter_mut().skip(start).take(count * 16).for_each(|byte| *byte = 0),
            4 => image.truncate(start),
            // What was to be written further on, or an older page.
            _ => {
                let page = 4096;
                let (from, to) = (start / page * page, count * page);
                if from + page <= image.len() && to + page <= image.len() {
                    image.copy_within(from..from + page, to);
                }
            }
        }
        script = rest;
    }
}

/// A disk in memory; clones are the same one.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Vec<u8>>>);

impl Disk {
    fn new(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(image)))
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if DISK_BYTES < len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes().resize(usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::StorageFull)?;
        bytes.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}
