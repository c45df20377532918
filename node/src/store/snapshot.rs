//! Reading a store's file: a [`Snapshot`] is what one commit left, and a [`Reader`] takes snapshots on any thread.
//! Invariant: a snapshot never changes, whatever is committed after it.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::codec::{self, CodecError, RECORD_LEN};
use quarry_core::store::{Record, Store, StoreError, Undo};
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, Hash, Height, NetworkId, TxId};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
    StorageBackend, TableDefinition, Value,
};

use super::scratch::Scratch;
use super::tables::{BALANCES, BODIES, INDEXED_FROM, MEMPOOL, META, MINED, OUTBOX, PATH, RECORDS, TIP, UNDO};
use super::{NO_FILE, OpenError};

/// Takes snapshots of a store, on any thread and without holding up the one that writes.
#[derive(Clone)]
pub struct Reader {
    database: Arc<Database>,
    network: NetworkId,
}

impl Reader {
    /// Opens a store to read only; it must exist, and no node may be running on it. Every page is checked against its
    /// checksum. The file need not be writable, and is left as it is, even if the node on it was killed.
    pub fn open(path: &Path, network: &NetworkId) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::Missing(path.into()));
        }
        let opened = File::open(path).map_err(DatabaseError::from).and_then(FileBackend::new);
        Self::read(opened.map_err(|error| OpenError::of(path, error))?, path, network)
    }

    /// Opens a store that is not in a file of its own.
    pub fn on(backend: impl StorageBackend, network: &NetworkId) -> Result<Self, OpenError> {
        Self::read(backend, Path::new(NO_FILE), network)
    }

    /// What the last commit left. Snapshots are for short use: the file cannot reuse the space of what is deleted
    /// or replaced while one that still shows it is alive.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(&self.database, self.network)
    }

    pub(super) fn new(database: &Arc<Database>, network: NetworkId) -> Self {
        Self { database: Arc::clone(database), network }
    }

    fn read(backend: impl StorageBackend, path: &Path, network: &NetworkId) -> Result<Self, OpenError> {
        let opened = Scratch::new(backend).map_err(DatabaseError::from);
        let opened = opened.and_then(|scratch| super::builder().create_with_backend(scratch));
        let database = Arc::new(opened.map_err(|error| OpenError::of(path, error))?);
        super::contents(path, &database, network)?;
        Ok(Self::new(&database, *network))
    }
}

/// A store as one commit left it. It holds its tables open, because opening one costs more than a look-up.
pub struct Snapshot {
    network: NetworkId,
    meta: ReadOnlyTable<&'static str, &'static [u8]>,
    records: ReadOnlyTable<&'static [u8; 32], &'static [u8; RECORD_LEN]>,
    bodies: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    undo: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    path: ReadOnlyTable<u64, &'static [u8; 32]>,
    balances: ReadOnlyTable<&'static [u8; 20], u64>,
    mined: ReadOnlyTable<&'static [u8; 32], u64>,
    mempool: ReadOnlyTable<u64, &'static [u8]>,
    outbox: ReadOnlyTable<u64, &'static [u8; 32]>,
    /// Dropped last: it takes what is read with it.
    _database: Arc<Database>,
}

impl Snapshot {
    /// The blocks of the best chain at these heights, as far as there are any; `rev()` gives the newest first.
    pub fn path_range(
        &self,
        heights: RangeInclusive<Height>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(Height, Hash), StoreError>> + use<>, StoreError> {
        let range = self.path.range(heights.start().0..=heights.end().0).map_err(unreadable)?;
        Ok(range.map(|entry| {
            let (height, hash) = entry.map_err(unreadable)?;
            Ok((Height(height.value()), Hash(*hash.value())))
        }))
    }

    /// Up to `count_max` balances by ascending account, those after `after` where it is given.
    pub fn balances(
        &self,
        after: Option<&AccountId>,
        count_max: usize,
    ) -> Result<Vec<(AccountId, Amount)>, StoreError> {
        let start = match after {
            Some(account) => std::ops::Bound::Excluded(&account.0),
            None => std::ops::Bound::Unbounded,
        };
        let range = self.balances.range::<&[u8; 20]>((start, std::ops::Bound::Unbounded));
        let entries = range.map_err(unreadable)?.take(count_max).map(|entry| {
            let (account, balance) = entry.map_err(unreadable)?;
            Ok((AccountId(*account.value()), Amount(balance.value())))
        });
        entries.collect()
    }

    /// How many accounts have or had money.
    pub fn balances_len(&self) -> Result<u64, StoreError> {
        self.balances.len().map_err(unreadable)
    }

    /// The newest of the transactions that wait, newest first.
    pub fn newest_waiting(&self, count_max: usize) -> Result<Vec<Transaction>, StoreError> {
        let range = self.mempool.range::<u64>(..).map_err(unreadable)?;
        let entries = range.rev().take(count_max).map(|entry| {
            let (sequence, bytes) = entry.map_err(unreadable)?;
            self.waiting(sequence.value(), bytes.value())
        });
        entries.collect()
    }

    fn waiting(&self, sequence: u64, bytes: &[u8]) -> Result<Transaction, StoreError> {
        let mut reader = codec::Reader::new(bytes);
        codec::take_transaction(&mut reader, &self.network)
            .and_then(|transaction| reader.finish().map(|()| transaction))
            .map_err(|error| malformed("waiting transaction", &sequence, error))
    }

    /// How many blocks there are, those beside the best chain included.
    pub fn records_len(&self) -> Result<u64, StoreError> {
        self.records.len().map_err(unreadable)
    }

    pub(super) fn records(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Hash, Record), StoreError>>, StoreError> {
        let range = self.records.range::<&[u8; 32]>(..).map_err(unreadable)?;
        Ok(range.map(|entry| {
            let (hash, bytes) = entry.map_err(unreadable)?;
            let hash = Hash(*hash.value());
            let record = codec::decode_record(bytes.value());
            Ok((hash, record.map_err(|error| malformed("record of block", &hash, error))?))
        }))
    }

    pub(super) fn bodies(&self) -> Result<impl Iterator<Item = Result<Hash, StoreError>>, StoreError> {
        keys(&self.bodies)
    }

    pub(super) fn bodies_len(&self) -> Result<u64, StoreError> {
        self.bodies.len().map_err(unreadable)
    }

    pub(super) fn undo_hashes(&self) -> Result<impl Iterator<Item = Result<Hash, StoreError>>, StoreError> {
        keys(&self.undo)
    }

    pub(super) fn undo_len(&self) -> Result<u64, StoreError> {
        self.undo.len().map_err(unreadable)
    }

    pub(super) fn index(
        &self,
    ) -> Result<impl Iterator<Item = Result<(TxId, Height), StoreError>>, StoreError> {
        let range = self.mined.range::<&[u8; 32]>(..).map_err(unreadable)?;
        Ok(range.map(|entry| {
            let (id, height) = entry.map_err(unreadable)?;
            Ok((TxId(Hash(*id.value())), Height(height.value())))
        }))
    }

    pub(super) fn index_len(&self) -> Result<u64, StoreError> {
        self.mined.len().map_err(unreadable)
    }

    pub(super) fn new(database: &Arc<Database>, network: NetworkId) -> Result<Self, StoreError> {
        let read = database.begin_read().map_err(unreadable)?;
        Ok(Self {
            network,
            meta: table(&read, META)?,
            records: table(&read, RECORDS)?,
            bodies: table(&read, BODIES)?,
            undo: table(&read, UNDO)?,
            path: table(&read, PATH)?,
            balances: table(&read, BALANCES)?,
            mined: table(&read, MINED)?,
            mempool: table(&read, MEMPOOL)?,
            outbox: table(&read, OUTBOX)?,
            _database: Arc::clone(database),
        })
    }
}

impl Store for Snapshot {
    fn tip(&self) -> Result<Option<Hash>, StoreError> {
        let tip = self.meta.get(TIP).map_err(unreadable)?;
        tip.map(|bytes| fixed("tip", bytes.value()).map(Hash)).transpose()
    }

    fn record(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        let Some(bytes) = self.records.get(&hash.0).map_err(unreadable)? else { return Ok(None) };
        codec::decode_record(bytes.value())
            .map(Some)
            .map_err(|error| malformed("record of block", hash, error))
    }

    fn block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, StoreError> {
        let Some(bytes) = self.bodies.get(&hash.0).map_err(unreadable)? else { return Ok(None) };
        let record = self.record(hash)?;
        let header = record.ok_or_else(|| StoreError(format!("block {hash} has no record")))?.header;
        let block = codec::decode_body(header, bytes.value(), &self.network);
        block.map(|block| Some(Arc::new(block))).map_err(|error| malformed("block", hash, error))
    }

    fn undo(&self, hash: &Hash) -> Result<Option<Undo>, StoreError> {
        let Some(bytes) = self.undo.get(&hash.0).map_err(unreadable)? else { return Ok(None) };
        codec::decode_undo(bytes.value())
            .map(Some)
            .map_err(|error| malformed("undo data of block", hash, error))
    }

    fn path(&self, height: Height) -> Result<Option<Hash>, StoreError> {
        Ok(self.path.get(height.0).map_err(unreadable)?.map(|hash| Hash(*hash.value())))
    }

    fn balance(&self, account: &AccountId) -> Result<Option<Amount>, StoreError> {
        Ok(self.balances.get(&account.0).map_err(unreadable)?.map(|balance| Amount(balance.value())))
    }

    fn mined(&self, id: &TxId) -> Result<Option<Height>, StoreError> {
        Ok(self.mined.get(&id.0.0).map_err(unreadable)?.map(|height| Height(height.value())))
    }

    fn indexed_from(&self) -> Result<Height, StoreError> {
        match self.meta.get(INDEXED_FROM).map_err(unreadable)? {
            Some(bytes) => Ok(Height(u64::from_be_bytes(fixed("indexed_from", bytes.value())?))),
            None => Ok(Height(0)),
        }
    }

    fn mempool(&self) -> Result<Vec<(u64, Arc<Transaction>)>, StoreError> {
        let entries = self.mempool.range::<u64>(..).map_err(unreadable)?.map(|entry| {
            let (sequence, bytes) = entry.map_err(unreadable)?;
            let sequence = sequence.value();
            Ok((sequence, Arc::new(self.waiting(sequence, bytes.value())?)))
        });
        entries.collect()
    }

    fn outbox(&self) -> Result<Vec<(u64, Hash)>, StoreError> {
        let entries = self.outbox.range::<u64>(..).map_err(unreadable)?.map(|entry| {
            let (number, hash) = entry.map_err(unreadable)?;
            Ok((number.value(), Hash(*hash.value())))
        });
        entries.collect()
    }
}

pub(super) fn unreadable(error: impl Into<redb::Error>) -> StoreError {
    StoreError(format!("cannot be read: {}", error.into()))
}

fn table<K: Key, V: Value>(
    read: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<ReadOnlyTable<K, V>, StoreError> {
    read.open_table(definition).map_err(unreadable)
}

fn keys<V: Value>(
    table: &ReadOnlyTable<&'static [u8; 32], V>,
) -> Result<impl Iterator<Item = Result<Hash, StoreError>> + use<V>, StoreError> {
    let range = table.range::<&[u8; 32]>(..).map_err(unreadable)?;
    Ok(range.map(|entry| entry.map(|(hash, _)| Hash(*hash.value())).map_err(unreadable)))
}

fn fixed<const N: usize>(name: &str, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    let wrong = |_| StoreError(format!("{name} has {} bytes, not {N}; `verify` can tell more", bytes.len()));
    bytes.try_into().map_err(wrong)
}

fn malformed(what: &str, which: &dyn std::fmt::Display, error: CodecError) -> StoreError {
    StoreError(format!("{what} {which} is malformed: {error}"))
}
