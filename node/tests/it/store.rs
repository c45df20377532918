//! The durable store against the store in plain maps, across crashes, and on files that are not its own.

use node::store::{OpenError, Reader, RedbStore};
use quarry_core::chain;
use quarry_core::network::Network;
use quarry_core::store::Store;
use quarry_core::units::Height;

#[test]
fn what_is_applied_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let network = Network::demo();
    let mut store = RedbStore::open(&path, &network.id).unwrap();
    assert_eq!(store.tip(), Ok(None));
    store.apply(&chain::genesis(&network)).unwrap();
    let genesis = network.genesis.hash();
    assert_eq!(store.tip(), Ok(Some(genesis)));
    assert_eq!(RedbStore::open(&path, &network.id).err(), Some(OpenError::Locked(path.clone())));
    assert_eq!(Reader::open(&path, &network.id).err(), Some(OpenError::Locked(path.clone())));
    drop(store);
    let reader = Reader::open(&path, &network.id).unwrap();
    assert_eq!(reader.snapshot().unwrap().path(Height(0)), Ok(Some(genesis)));
    drop(reader);
    let store = RedbStore::open(&path, &network.id).unwrap();
    assert_eq!(store.tip(), Ok(Some(genesis)));
    assert_eq!(store.snapshot().balances(None, 10).unwrap().len(), 4);
}
