//! Applying blocks and taking them back: the store is as it was, to the last entry.

use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::chain;
use quarry_core::header::Header;
use quarry_core::ledger;
use quarry_core::memory::MemoryStore;
use quarry_core::network::Network;
use quarry_core::store::{Changes, Overlay, Record, Status};
use quarry_core::transaction::Transaction;

use crate::oracle::Oracle;
use crate::recipes::recipe;
use crate::rig::{Rig, SECOND_US, remade};

/// A store that knows the blocks of a chain but has only the first one on its ledger.
fn prepared(network: &Network, chain: &[Block]) -> MemoryStore {
    let mut store = MemoryStore::default();
    store.apply(chain::genesis(network));
    for block in chain {
        let hash = block.header.hash();
        let record = Record { header: block.header, work: Default::default(), status: Status::Stored };
        store.records.insert(hash, record);
        store.blocks.insert(hash, block.clone().into());
    }
    store
}

fn apply(store: &mut MemoryStore, network: &Network, block: &Block) -> bool {
    let base = Changes::default();
    let mut overlay = Overlay::new(store, &base);
    let unverified = |_: &Transaction| false;
    let result = ledger::apply(&mut overlay, network, &block.header.hash(), block, &unverified).unwrap();
    let changes = overlay.top;
    if result.is_ok() {
        store.apply(changes);
    }
    result.is_ok()
}

fn undo(store: &mut MemoryStore, block: &Block) {
    let base = Changes::default();
    let mut overlay = Overlay::new(store, &base);
    ledger::undo(&mut overlay, &block.header.hash(), block).unwrap();
    let changes = overlay.top;
    store.apply(changes);
}

/// The block moved to another parent, its gap long enough now and then for the index to forget.
fn moved(mut block: Block, parent: &Header, gap_s: u64, network: &Network) -> Block {
    block.header.prev_hash = parent.hash();
    block.header.index = parent.index.next();
    block.header.bits = network.bits;
    block.header.timestamp = parent.timestamp.saturating_add(gap_s * SECOND_US);
    remade(block)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn undo_takes_back_what_apply_did(recipe in recipe(24), gap_s in 1..100_u64) {
        let network = recipe.network();
        // Of the tree one chain is made.
        let mut chain: Vec<Block> = Vec::new();
        let mut ledger = Oracle::new(&network);
        for block in recipe.blocks(&network) {
            let parent = chain.last().map_or(network.genesis, |block| block.header);
            let block = moved(block, &parent, gap_s, &network);
            if let Some(next) = ledger.after(&network, &block) {
                ledger = next;
                chain.push(block);
            }
        }
        let mut store = prepared(&network, &chain);
        let mut before = Vec::new();
        for block in &chain {
            before.push(store.clone());
            prop_assert!(apply(&mut store, &network, block));
        }
        prop_assert_eq!(&store.balances, &ledger.balances);
        for (block, before) in chain.iter().zip(&before).rev() {
            undo(&mut store, block);
            prop_assert_eq!(&store, before);
        }
        for block in &chain {
            prop_assert!(apply(&mut store, &network, block));
        }
        prop_assert_eq!(&store.balances, &ledger.balances);
    }

    #[test]
    fn a_block_applies_exactly_where_the_oracle_says(recipe in recipe(24), gap_s in 1..100_u64) {
        let network = recipe.network();
        let mut store = prepared(&network, &[]);
        let mut ledger = Oracle::new(&network);
        for block in recipe.blocks(&network) {
            let block = moved(block, &store.records[&store.tip.unwrap()].header, gap_s, &network);
            let next = ledger.after(&network, &block);
            let hash = block.header.hash();
            let record = Record { header: block.header, work: Default::default(), status: Status::Stored };
            store.records.insert(hash, record);
            store.blocks.insert(hash, block.clone().into());
            prop_assert_eq!(apply(&mut store, &network, &block), next.is_some());
            ledger = next.unwrap_or(ledger);
            prop_assert_eq!(&store.balances, &ledger.balances);
        }
    }
}

#[test]
fn an_account_that_is_emptied_stays_known() {
    let mut rig = Rig::new();
    let block = rig.next(vec![rig.pay("alice", "bob", 1000)]);
    rig.push(&block);
    assert_eq!(rig.balance("alice"), Some(0));
    for block in rig.branch(&rig.network().genesis, 2, 1) {
        rig.push(&block);
    }
    assert_eq!(rig.balance("alice"), Some(1000));
}
