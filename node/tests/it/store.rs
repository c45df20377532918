//! The durable store: against the store in plain maps, across crashes, and on files that are not its own.

mod full;
mod left;
mod power;
mod verify;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, fs, thread};

use node::store::{OpenError, Reader, RedbStore};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::memory::MemoryStore;
use quarry_core::network::Network;
use quarry_core::store::{Changes, Record, Status, Store, Undo};
use quarry_core::target::{Bits, Work};
use quarry_core::transaction::{Authorization, Payment, Transaction};
use quarry_core::units::{AccountId, Amount, Hash, Height, NetworkId, Timestamp, TxId};
use redb::{Database, ReadableDatabase, TableDefinition};

/// How many different hashes, heights, accounts, ids and numbers the model test knows.
const POOL: u8 = 5;
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_answers_like_the_model(steps in vec((changes(), any::<bool>()), 1..12)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let network = Network::demo().id;
        let mut store = RedbStore::open(&path, &network).unwrap();
        let mut model = MemoryStore::default();
        check_equal(&store, &model);
        for (changes, reopen) in steps {
            store.apply(&changes).unwrap();
            model.apply(changes);
            if reopen {
                drop(store);
                store = RedbStore::open(&path, &network).unwrap();
            }
            check_equal(&store, &model);
        }
    }
}

#[test]
fn a_snapshot_never_changes_and_a_reader_keeps_up_from_any_thread() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = RedbStore::open(&directory.path().join("store"), &Network::demo().id).unwrap();
    store.apply(&numbered(0)).unwrap();
    let reader = store.reader();
    let early = reader.snapshot().unwrap();
    store.apply(&numbered(1)).unwrap();
    let late = thread::spawn(move || reader.clone().snapshot().unwrap()).join().unwrap();
    assert_eq!((early.tip(), early.path(Height(1))), (Ok(Some(numbered_hash(0))), Ok(None)));
    assert_eq!((late.tip(), late.path(Height(1))), (store.tip(), Ok(store.tip().unwrap())));
}

#[test]
fn a_store_is_only_opened_where_it_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let (path, network) = (directory.path().join("store"), Network::demo().id);
    let check = |path: &Path, network: &NetworkId, expected: OpenError| {
        assert_eq!(RedbStore::open(path, network).err(), Some(expected.clone()));
        assert_eq!(Reader::open(path, network).err(), Some(expected));
    };
    assert_eq!(Reader::open(&path, &network).err(), Some(OpenError::Missing(path.clone())));
    let nowhere = directory.path().join("missing").join("store");
    assert_eq!(RedbStore::open(&nowhere, &network).err(), Some(OpenError::NoDirectory(nowhere)));
    let Some(OpenError::Io { reason, .. }) = RedbStore::open(directory.path(), &network).err() else {
        panic!("a directory is no file");
    };
    assert!(reason.contains("Is a directory"), "{reason}");

    let store = RedbStore::open(&path, &network).unwrap();
    check(&path, &network, OpenError::Locked(path.clone()));
    drop(store);
    let reader = Reader::open(&path, &network).unwrap();
    assert!(Reader::open(&path, &network).is_ok(), "several may read");
    assert_eq!(RedbStore::open(&path, &network).err(), Some(OpenError::Locked(path.clone())));
    drop(reader);

    let expected = NetworkId(hash(1));
    let foreign = OpenError::ForeignNetwork { path: path.clone(), found: network, expected };
    let text = format!("store {} is for network {network}, not for {expected}", path.display());
    assert_eq!(foreign.to_string(), text);
    check(&path, &expected, foreign);

    set_meta(&path, "format", &[2]);
    let version = OpenError::Version { path: path.clone(), found: 2 };
    let text = format!("store {} has format 2, but this program reads format 1", path.display());
    assert_eq!(version.to_string(), text);
    check(&path, &network, version);
    set_meta(&path, "format", b"text");
    check(&path, &network, OpenError::NotAStore(path.clone()));
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, network) = (directory.path().join("store"), Network::demo().id);
    let longer_than_a_header: Vec<u8> = (0..40_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    for garbage in [&b"x"[..], b"Node 0 Blockchain:", &[0; 8192], &longer_than_a_header] {
        fs::write(&path, garbage).unwrap();
        assert_eq!(RedbStore::open(&path, &network).err(), Some(OpenError::NotAStore(path.clone())));
        assert_eq!(Reader::open(&path, &network).err(), Some(OpenError::NotAStore(path.clone())));
        assert_eq!(fs::read(&path).unwrap(), garbage);
    }
    fs::remove_file(&path).unwrap();
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(TableDefinition::<u64, u64>::new("meta")).unwrap();
    write.commit().unwrap();
    drop(database);
    assert_eq!(RedbStore::open(&path, &network).err(), Some(OpenError::NotAStore(path.clone())));
    let tables = Database::open(&path).unwrap().begin_read().unwrap().list_tables().unwrap().count();
    assert_eq!(tables, 1);
}

#[test]
fn a_store_whose_creation_was_cut_short_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, network) = (directory.path().join("store"), Network::demo().id);
    drop(Database::create(&path).unwrap());
    assert_eq!(RedbStore::open(&path, &network).unwrap().tip(), Ok(None));
    fs::write(&path, b"").unwrap();
    assert_eq!(RedbStore::open(&path, &network).unwrap().tip(), Ok(None));
}

/// A node that was killed within the first milliseconds of its life never started again: the file had its length, but
/// not yet the mark that redb knows its files by, so it was taken for somebody else's.
#[test]
fn a_store_has_its_name_only_once_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (path, network) = (directory.path().join("node0.redb"), Network::demo().id);
    let draft = directory.path().join("node0.redb.new");
    for left in [&b""[..], &[0; 8192], &[7; 3_000_000]] {
        fs::write(&draft, left).unwrap();
        let other = fs::File::open(&draft).unwrap();
        other.lock().unwrap();
        assert_eq!(RedbStore::open(&path, &network).err(), Some(OpenError::Locked(path.clone())));
        assert_eq!((path.exists(), &*fs::read(&draft).unwrap()), (false, left), "another process creates it");
        drop(other);
        let store = RedbStore::open(&path, &network).unwrap();
        assert_eq!((store.tip(), draft.exists()), (Ok(None), false));
        assert_eq!(RedbStore::open(&path, &network).err(), Some(OpenError::Locked(path.clone())));
        drop(store);
        assert_eq!(Reader::open(&path, &network).unwrap().snapshot().unwrap().tip(), Ok(None));
        fs::remove_file(&path).unwrap();
    }
}

/// Says to this very program, started anew, which store to commit to.
const CHILD_STORE: &str = "QUARRY_TEST_CHILD_STORE";

#[test]
fn what_was_applied_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let (path, network) = (directory.path().join("store"), Network::demo().id);
    let mut expected = 0;
    for commits in [1, 2, 17, 40] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::child_that_commits_until_it_is_killed", "--nocapture"])
            .env(CHILD_STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut applied = lines.filter_map(|line| line.split_once("applied ")?.1.parse::<u64>().ok());
        for _ in 0..commits {
            assert_eq!(applied.next(), Some(expected));
            expected += 1;
        }
        assert_eq!(RedbStore::open(&path, &network).err(), Some(OpenError::Locked(path.clone())));
        child.kill().unwrap();
        // What it managed to say between the last line read and its death counts too.
        expected += applied.count() as u64;
        child.wait().unwrap();

        let seen = Reader::open(&path, &network).unwrap().snapshot().unwrap().tip();
        let store = RedbStore::open(&path, &network).unwrap();
        assert_eq!(store.tip(), seen);
        let next = store.balance(&AccountId::default()).unwrap().unwrap().0 + 1;
        assert!(next == expected || next == expected + 1, "{next}, but {expected} were applied");
        check_numbered(&store, next);
        expected = next;
    }
}

/// Is part of [`what_was_applied_survives_a_kill`]; alone it has nothing to do.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Some(path) = env::var_os(CHILD_STORE) else { return };
    let mut store = RedbStore::open(path.as_ref(), &Network::demo().id).unwrap();
    let first = store.balance(&AccountId::default()).unwrap().map_or(0, |last| last.0 + 1);
    for number in first.. {
        store.apply(&numbered(number)).unwrap();
        println!("applied {number}");
    }
}

/// Compares every answer, and the pages and ranges that the model has no methods for.
fn check_equal(store: &RedbStore, model: &MemoryStore) {
    assert_eq!(store.tip(), model.tip());
    assert_eq!(store.indexed_from(), model.indexed_from());
    assert_eq!(store.mempool(), model.mempool());
    assert_eq!(store.outbox(), model.outbox());
    for number in 0..POOL {
        let (hash, height, account) = (hash(number), Height(number.into()), AccountId([number; 20]));
        assert_eq!(store.record(&hash), model.record(&hash));
        assert_eq!(store.block(&hash), model.block(&hash));
        assert_eq!(store.undo(&hash), model.undo(&hash));
        assert_eq!(store.path(height), model.path(height));
        assert_eq!(store.balance(&account), model.balance(&account));
        assert_eq!(store.mined(&TxId(hash)), model.mined(&TxId(hash)));
        let page = model.balances.range(account..).filter(|(id, _)| **id != account).take(2);
        let page: Vec<_> = page.map(|(account, balance)| (*account, *balance)).collect();
        assert_eq!(store.snapshot().balances(Some(&account), 2), Ok(page));
        let newest_first = store.snapshot().path_range(Height(1)..=height).unwrap().rev();
        let newest_first: Vec<_> = newest_first.collect::<Result<_, _>>().unwrap();
        let upward = model.path.iter().filter(|(at, _)| (1..=height.0).contains(&at.0));
        assert_eq!(newest_first, upward.rev().map(|(height, hash)| (*height, *hash)).collect::<Vec<_>>());
    }
    let all: Vec<_> = model.balances.iter().map(|(account, balance)| (*account, *balance)).collect();
    assert_eq!(store.snapshot().balances(None, usize::MAX), Ok(all));
    assert_eq!(store.snapshot().balances_len(), Ok(model.balances.len() as u64));
}

prop_compose! {
    /// Changes in every combination, even those that no step makes; but a block never comes without a record.
    fn changes()(
        (tip, indexed_from) in (prop::option::of(0..POOL), any::<Option<u64>>()),
        records in btree_map(0..POOL, (record(), any::<bool>()), 0..4),
        undo in btree_map(0..POOL, prop::option::of(undo()), 0..4),
        path in btree_map(0..POOL, prop::option::of(0..POOL), 0..4),
        balances in btree_map(0..POOL, any::<Option<u64>>(), 0..4),
        mined in btree_map(0..POOL, any::<Option<u64>>(), 0..4),
        mempool in btree_map(0..POOL, prop::option::of(0..POOL), 0..4),
        outbox in btree_map(0..POOL, prop::option::of(0..POOL), 0..4),
    ) -> Changes {
        let with_block = records.iter().filter(|(_, (_, with_block))| *with_block);
        let blocks = with_block.map(|(number, _)| (hash(*number), Arc::new(block(*number)))).collect();
        let records = records.into_iter().map(|(number, ((work, status), _))| {
            (hash(number), Record { header: header(number), work, status })
        });
        let account = |id: u8| AccountId([id; 20]);
        let waiting = |number: u8| Arc::new(transaction(number));
        Changes {
            tip: tip.map(hash),
            indexed_from: indexed_from.map(Height),
            records: records.collect(),
            blocks,
            undo: undo.into_iter().map(|(number, undo)| (hash(number), undo)).collect(),
            path: path.into_iter().map(|(at, it)| (Height(at.into()), it.map(hash))).collect(),
            balances: balances.into_iter().map(|(id, it)| (account(id), it.map(Amount))).collect(),
            mined: mined.into_iter().map(|(id, at)| (TxId(hash(id)), at.map(Height))).collect(),
            mempool: mempool.into_iter().map(|(at, it)| (at.into(), it.map(waiting))).collect(),
            outbox: outbox.into_iter().map(|(at, it)| (at.into(), it.map(hash))).collect(),
        }
    }
}

prop_compose! {
    fn undo()(
        balances in btree_map(0..POOL, any::<Option<u64>>(), 0..4),
        indexed_from: u64,
    ) -> Undo {
        let balances = balances.into_iter().map(|(id, cents)| (AccountId([id; 20]), cents.map(Amount)));
        Undo { balances: balances.collect(), indexed_from: Height(indexed_from) }
    }
}

prop_compose! {
    fn record()(
        work: u64,
        status in prop::sample::select(&[Status::Stored, Status::Valid, Status::Invalid]),
    ) -> (Work, Status) {
        let mut bytes = [0; 32];
        bytes[8..16].copy_from_slice(&work.to_be_bytes());
        (Work::from_be_bytes(bytes), status)
    }
}

/// The commit with this number: a piece for each table.
fn numbered(number: u64) -> Changes {
    let (hash, block) = (numbered_hash(number), block(4));
    let record = Record { header: block.header, work: Work::default(), status: Status::Valid };
    let undo = Undo {
        balances: [(AccountId::default(), Some(Amount(number)))].into(),
        indexed_from: Height(number),
    };
    Changes {
        tip: Some(hash),
        records: [(hash, record)].into(),
        blocks: [(hash, Arc::new(block))].into(),
        undo: [(hash, Some(undo))].into(),
        path: [(Height(number), Some(hash))].into(),
        balances: [(AccountId::default(), Some(Amount(number)))].into(),
        mined: [(TxId(hash), Some(Height(number)))].into(),
        indexed_from: Some(Height(number)),
        mempool: [(number, Some(Arc::new(transaction(2)))), (number.wrapping_sub(3), None)].into(),
        outbox: [(number, Some(hash)), (number.wrapping_sub(3), None)].into(),
    }
}

fn numbered_hash(number: u64) -> Hash {
    Hash::of(&[&number.to_be_bytes()])
}

/// Checks that the store is as the commits up to `next` left it.
fn check_numbered(store: &RedbStore, next: u64) {
    let mut model = MemoryStore::default();
    (0..next).for_each(|number| model.apply(numbered(number)));
    assert_eq!(store.tip(), model.tip());
    assert_eq!(store.indexed_from(), model.indexed_from());
    assert_eq!(store.mempool(), model.mempool());
    assert_eq!(store.outbox(), model.outbox());
    assert_eq!(store.path(Height(next)), Ok(None));
    for number in 0..next {
        let hash = numbered_hash(number);
        assert_eq!(store.path(Height(number)), model.path(Height(number)));
        assert_eq!(store.record(&hash), model.record(&hash));
        assert_eq!(store.block(&hash), model.block(&hash));
        assert_eq!(store.undo(&hash), model.undo(&hash));
        assert_eq!(store.mined(&TxId(hash)), model.mined(&TxId(hash)));
    }
}

fn set_meta(path: &Path, name: &str, value: &[u8]) {
    let database = Database::open(path).unwrap();
    let mut write = database.begin_write().unwrap();
    write.set_quick_repair(true);
    write.open_table(META).unwrap().insert(name, value).unwrap();
    write.commit().unwrap();
}

fn hash(number: u8) -> Hash {
    Hash::of(&[&[number]])
}

fn transaction(number: u8) -> Transaction {
    let payment = Payment {
        from: AccountId([number; 20]),
        to: AccountId([number + 1; 20]),
        amount: Amount(u64::from(number)),
        timestamp: Timestamp::default(),
    };
    let authorization = Authorization { public_key: [number; 32], signature: [number; 64] };
    Transaction::new(&Network::demo().id, payment, number.is_multiple_of(2).then_some(authorization))
}

fn block(number: u8) -> Block {
    let transactions = (0..number).map(transaction).collect();
    Block { header: header(number), extra_nonce: u64::from(number), transactions }
}

fn header(number: u8) -> Header {
    Header {
        prev_hash: hash(number.wrapping_sub(1)),
        tx_root: hash(number),
        version: Header::VERSION,
        bits: Bits(u32::from(number)),
        index: Height(u64::from(number)),
        timestamp: Timestamp::default(),
        miner: AccountId([number; 20]),
        nonce: u64::MAX,
    }
}
