//! The durable store: one redb file that takes everything a step changes in one commit.
//! Invariant: after a crash at any point the file holds exactly the commits whose `apply` returned, and perhaps the
//! one that was under way, whole.

mod scratch;
mod snapshot;
mod tables;
mod verify;

use std::borrow::Borrow;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quarry_core::block::Block;
use quarry_core::codec;
use quarry_core::store::{Changes, Record, Store, StoreError, Undo};
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Amount, Hash, Height, NetworkId, TxId};
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, Durability, Key, ReadTransaction, ReadableDatabase, StorageBackend};
use redb::{StorageError, TableDefinition, TableError, Value, WriteTransaction};

pub use snapshot::{Reader, Snapshot};
pub use verify::{Summary, VerifyError, verify};

use tables::{
    BALANCES, BODIES, FORMAT, FORMAT_VERSION, INDEXED_FROM, MEMPOOL, META, MINED, NETWORK, OUTBOX, PATH,
    RECORDS, TIP, UNDO,
};

/// What redb may keep of the file in memory; it takes no more than the file has.
const CACHE_BYTES: usize = 128 << 20;

/// Stands for the path of a store that is not in a file of its own.
const NO_FILE: &str = "(no file)";

/// The durable store of one node. It answers from a snapshot that each [`RedbStore::apply`] renews.
pub struct RedbStore {
    path: PathBuf,
    database: Arc<Database>,
    network: NetworkId,
    snapshot: Snapshot,
}

/// Why a store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its directory does not exist.
    #[error("the directory of store {} does not exist", .0.display())]
    NoDirectory(PathBuf),
    /// It does not exist, and was to be read only.
    #[error("there is no store {}: no node has run here yet", .0.display())]
    Missing(PathBuf),
    /// The operating system refuses.
    #[error("store {} cannot be opened: {reason}", path.display())]
    Io {
        /// The store.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// A node is running on it.
    #[error("store {} is in use: a node that is running holds it", .0.display())]
    Locked(PathBuf),
    /// Another kind of file.
    #[error("{} is not a store", .0.display())]
    NotAStore(PathBuf),
    /// Another version's store.
    #[error("store {} has format {found}, but this program reads format {FORMAT_VERSION}", path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
    /// Another network's store.
    #[error("store {} is for network {found}, not for {expected}", path.display())]
    ForeignNetwork {
        /// The store.
        path: PathBuf,
        /// The network that it is for.
        found: NetworkId,
        /// The network that it should be for.
        expected: NetworkId,
    },
    /// The file contradicts itself.
    #[error("store {} is damaged: {reason}", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl RedbStore {
    /// Opens the store of a network, and creates it where there is none. Until the store is dropped no other process
    /// can open it.
    pub fn open(path: &Path, network: &NetworkId) -> Result<Self, OpenError> {
        // An empty parent is the current directory.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        if !directory.is_dir() {
            return Err(OpenError::NoDirectory(path.into()));
        }
        if path.exists() {
            let opened = builder().create(path).map_err(|error| OpenError::of(path, error))?;
            return Self::start(opened, path, network);
        }
        let io = |error: io::Error| OpenError::Io { path: path.into(), reason: error.to_string() };
        let draft = path.with_extension("redb.new");
        let created = FileBackend::new(empty(&draft, path)?)
            .and_then(|file| builder().create_with_backend(file))
            .map_err(|error| OpenError::of(path, error))?;
        let store = Self::start(created, path, network)?;
        // Only what is whole gets the name: a file whose creation was cut short looks like no store at all.
        fs::rename(&draft, path).map_err(io)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        Ok(store)
    }

    /// Opens a store that is not in a file of its own, such as one on a disk that a test cuts the power of.
    pub fn on(backend: impl StorageBackend, network: &NetworkId) -> Result<Self, OpenError> {
        let path = Path::new(NO_FILE);
        let created = builder().create_with_backend(backend);
        Self::start(created.map_err(|error| OpenError::of(path, error))?, path, network)
    }

    /// Makes the changes durable, whole or not at all: once this returns they survive a crash.
    pub fn apply(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        commit(&self.database, |write| put(write, changes)).map_err(|error| {
            StoreError(format!("store {} cannot be written: {error}", self.path.display()))
        })?;
        self.snapshot = self.reader().snapshot()?;
        Ok(())
    }

    /// Read access for other threads, or at other points in time than this store's own.
    pub fn reader(&self) -> Reader {
        Reader::new(&self.database, self.network)
    }

    /// What the last [`RedbStore::apply`] left.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn start(database: Database, path: &Path, network: &NetworkId) -> Result<Self, OpenError> {
        let damaged = |error: redb::Error| OpenError::damaged(path, error);
        let read = database.begin_read().map_err(|error| damaged(error.into()))?;
        if read.list_tables().map_err(|error| damaged(error.into()))?.next().is_none() {
            initialise(&database, network).map_err(damaged)?;
        }
        drop(read);
        let database = Arc::new(database);
        let snapshot = contents(path, &database, network)?;
        Ok(Self { path: path.into(), database, network: *network, snapshot })
    }
}

impl Store for RedbStore {
    fn tip(&self) -> Result<Option<Hash>, StoreError> {
        self.snapshot.tip()
    }

    fn record(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        self.snapshot.record(hash)
    }

    fn block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, StoreError> {
        self.snapshot.block(hash)
    }

    fn undo(&self, hash: &Hash) -> Result<Option<Undo>, StoreError> {
        self.snapshot.undo(hash)
    }

    fn path(&self, height: Height) -> Result<Option<Hash>, StoreError> {
        self.snapshot.path(height)
    }

    fn balance(&self, account: &AccountId) -> Result<Option<Amount>, StoreError> {
        self.snapshot.balance(account)
    }

    fn mined(&self, id: &TxId) -> Result<Option<Height>, StoreError> {
        self.snapshot.mined(id)
    }

    fn indexed_from(&self) -> Result<Height, StoreError> {
        self.snapshot.indexed_from()
    }

    fn mempool(&self) -> Result<Vec<(u64, Arc<Transaction>)>, StoreError> {
        self.snapshot.mempool()
    }

    fn outbox(&self) -> Result<Vec<(u64, Hash)>, StoreError> {
        self.snapshot.outbox()
    }
}

impl OpenError {
    fn of(path: &Path, error: DatabaseError) -> Self {
        let path = path.into();
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked(path),
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Self::NotAStore(path)
            }
            // The operating system refuses no byte of a file that is as long as it says.
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Self::Damaged { path, reason: "it ends too early".into() }
            }
            DatabaseError::Storage(StorageError::Io(error)) => Self::Io { path, reason: error.to_string() },
            other => Self::Damaged { path, reason: other.to_string() },
        }
    }

    fn damaged(path: &Path, error: impl Into<redb::Error>) -> Self {
        Self::Damaged { path: path.into(), reason: error.into().to_string() }
    }
}

/// Checks every page against its checksum when a store is opened: redb trusts a file as it stands, and where something
/// else has written to it, panics.
fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// An empty file to create a store in, whatever a process that was killed has left of one.
fn empty(draft: &Path, path: &Path) -> Result<File, OpenError> {
    let io = |error: io::Error| OpenError::Io { path: path.into(), reason: error.to_string() };
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(draft).map_err(io)?;
    match file.try_lock() {
        // Whoever held the lock may have given the file its name meanwhile: then it must not be emptied.
        Ok(()) if path.exists() => Err(OpenError::Locked(path.into())),
        Ok(()) => file.set_len(0).map(|()| file).map_err(io),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(path.into())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// What is in a database, which must be a store of this version and network.
fn contents(path: &Path, database: &Arc<Database>, network: &NetworkId) -> Result<Snapshot, OpenError> {
    let read = database.begin_read().map_err(|error| OpenError::damaged(path, error))?;
    check_identity(path, &read, network)?;
    Snapshot::new(database, *network)
        .map_err(|StoreError(reason)| OpenError::Damaged { path: path.into(), reason })
}

fn check_identity(path: &Path, read: &ReadTransaction, network: &NetworkId) -> Result<(), OpenError> {
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(OpenError::damaged(path, error)),
        Err(_) => return Err(OpenError::NotAStore(path.into())),
    };
    let value = |name: &str| meta.get(name).map_err(|error| OpenError::damaged(path, error));
    match value(FORMAT)?.as_ref().map(|value| value.value()) {
        Some([FORMAT_VERSION]) => {}
        Some([found]) => return Err(OpenError::Version { path: path.into(), found: *found }),
        _ => return Err(OpenError::NotAStore(path.into())),
    }
    let found = value(NETWORK)?.and_then(|value| value.value().try_into().ok().map(Hash));
    match found.map(NetworkId) {
        Some(found) if found == *network => Ok(()),
        Some(found) => Err(OpenError::ForeignNetwork { path: path.into(), found, expected: *network }),
        None => Err(OpenError::NotAStore(path.into())),
    }
}

/// Makes an empty file a store.
fn initialise(database: &Database, network: &NetworkId) -> Result<(), redb::Error> {
    commit(database, |write| {
        let mut meta = write.open_table(META)?;
        meta.insert(FORMAT, &[FORMAT_VERSION][..])?;
        meta.insert(NETWORK, &network.0.0[..])?;
        // A snapshot opens all tables.
        write.open_table(RECORDS)?;
        write.open_table(BODIES)?;
        write.open_table(UNDO)?;
        write.open_table(PATH)?;
        write.open_table(BALANCES)?;
        write.open_table(MINED)?;
        write.open_table(MEMPOOL)?;
        write.open_table(OUTBOX)?;
        Ok(())
    })
}

/// The only way to write. Every commit saves what a quick repair needs: a file on which some commits did and others
/// did not is the one case that damage after a power cut has been seen in.
fn commit(
    database: &Database,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    write.set_quick_repair(true);
    fill(&write)?;
    write.commit()?;
    Ok(())
}

fn put(write: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    // By name, so that no field can be forgotten.
    let Changes { tip, records, blocks, undo, path, balances, mined, indexed_from, mempool, outbox } =
        changes;
    let tip = tip.as_ref().map(|hash| (TIP, hash.0.to_vec()));
    let indexed_from = indexed_from.map(|height| (INDEXED_FROM, height.0.to_be_bytes().to_vec()));
    let meta = tip.iter().chain(&indexed_from);
    merge(write, META, meta.map(|(name, bytes)| (*name, Some(&bytes[..]))))?;

    let records: Vec<_> = records.iter().map(|(hash, it)| (hash, codec::encode_record(it))).collect();
    merge(write, RECORDS, records.iter().map(|(hash, bytes)| (&hash.0, Some(bytes))))?;
    let bodies: Vec<_> = blocks.iter().map(|(hash, it)| (hash, codec::encode_body(it))).collect();
    merge(write, BODIES, bodies.iter().map(|(hash, bytes)| (&hash.0, Some(&bytes[..]))))?;
    let undo: Vec<_> = undo.iter().map(|(hash, it)| (hash, it.as_ref().map(codec::encode_undo))).collect();
    merge(write, UNDO, undo.iter().map(|(hash, bytes)| (&hash.0, bytes.as_deref())))?;
    merge(write, PATH, path.iter().map(|(height, hash)| (height.0, hash.as_ref().map(|hash| &hash.0))))?;

    merge(write, BALANCES, balances.iter().map(|(id, balance)| (&id.0, balance.map(|it| it.0))))?;
    merge(write, MINED, mined.iter().map(|(id, height)| (&id.0.0, height.map(|it| it.0))))?;
    let waiting: Vec<_> = mempool.iter().map(|(number, it)| (number, it.as_deref().map(encode))).collect();
    merge(write, MEMPOOL, waiting.iter().map(|(number, bytes)| (*number, bytes.as_deref())))?;
    merge(write, OUTBOX, outbox.iter().map(|(number, hash)| (*number, hash.as_ref().map(|hash| &hash.0))))
}

fn encode(transaction: &Transaction) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::put_transaction(&mut bytes, transaction);
    bytes
}

/// Inserts entries into a table, and removes those without a value.
fn merge<'a, K: Key, V: Value>(
    write: &WriteTransaction,
    definition: TableDefinition<'_, K, V>,
    entries: impl Iterator<Item = (impl Borrow<K::SelfType<'a>>, Option<impl Borrow<V::SelfType<'a>>>)>,
) -> Result<(), redb::Error> {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return Ok(());
    }
    let mut table = write.open_table(definition)?;
    for (key, value) in entries {
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
    }
    Ok(())
}
