//! A disk whose power is cut: whatever was written since the last flush may be there, not be there, or be torn.

use std::sync::{Arc, Mutex, MutexGuard};

use node::store::RedbStore;
use quarry_core::network::Network;
use quarry_core::store::Store;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::{check_numbered, numbered};

const COMMITS: u64 = 12;
const CUTS: u64 = 300;
/// What a disk writes whole.
const SECTOR: usize = 512;

#[test]
fn what_was_applied_survives_a_power_cut() {
    let (disk, network) = (Disk::default(), Network::demo().id);
    let mut store = RedbStore::on(disk.clone(), &network).unwrap();
    let mut applied = vec![disk.operations().len()];
    for number in 0..COMMITS {
        store.apply(&numbered(number)).unwrap();
        applied.push(disk.operations().len());
    }
    for seed in 0..CUTS {
        let mut random = SmallRng::seed_from_u64(seed);
        let cut = random.random_range(applied[0]..=disk.operations().len());
        let store = RedbStore::on(disk.after_cut(cut, &mut random), &network);
        let store = store.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let certain = applied.iter().filter(|&&operations| operations <= cut).count() as u64 - 1;
        let next = store.outbox().unwrap().last().map_or(0, |(number, _)| number + 1);
        assert!(next == certain || next == certain + 1, "seed {seed}: {next}, but {certain} were applied");
        check_numbered(&store, next);
    }
}

/// A disk that remembers all that was ever done to it.
#[derive(Debug, Clone, Default)]
struct Disk {
    live: Arc<InMemoryBackend>,
    operations: Arc<Mutex<Vec<Operation>>>,
}

#[derive(Debug, Clone)]
enum Operation {
    Resize(u64),
    Write(u64, Vec<u8>),
    Flush,
}

impl Disk {
    fn operations(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.operations.lock().unwrap()
    }

    /// What may be left if the power is cut after so many operations.
    fn after_cut(&self, operations: usize, random: &mut SmallRng) -> InMemoryBackend {
        let operations = &self.operations()[..operations];
        let flushed = operations.iter().rposition(|operation| matches!(operation, Operation::Flush));
        let flushed = flushed.expect("a new store is flushed");
        let disk = InMemoryBackend::new();
        for (position, operation) in operations.iter().enumerate() {
            let certain = position < flushed;
            match operation {
                Operation::Flush => {}
                Operation::Resize(len) if certain || random.random() => disk.set_len(*len).unwrap(),
                Operation::Resize(_) => {}
                Operation::Write(offset, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        let offset = offset + (number * SECTOR) as u64;
                        let fits = offset + sector.len() as u64 <= disk.len().unwrap();
                        if certain || fits && random.random() {
                            disk.write(offset, sector).unwrap();
                        }
                    }
                }
            }
        }
        disk
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.live.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.live.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.operations().push(Operation::Resize(len));
        self.live.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.operations().push(Operation::Flush);
        self.live.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.operations().push(Operation::Write(offset, data.to_vec()));
        self.live.write(offset, data)
    }
}
