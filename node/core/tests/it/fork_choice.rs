//! Whatever the order in which blocks arrive: one tip, one ledger, no money gained, no transaction lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::memory::MemoryStore;
use quarry_core::message::Message;
use quarry_core::network::Network;
use quarry_core::units::{Height, TxId};

use crate::oracle;
use crate::recipes::{Recipe, recipe};
use crate::rig::{PEER, Rig};

fn rig(network: &Arc<Network>) -> Rig {
    Rig::open(Arc::clone(network), MemoryStore::default(), |_| {})
}

/// The transactions of the best chain, from its blocks.
fn on_chain(rig: &Rig) -> Vec<TxId> {
    let blocks = rig.store().path.values().map(|hash| &rig.store().blocks[hash]);
    blocks.flat_map(|block| block.transactions.iter().map(|it| it.id())).collect()
}

/// The node's ledger is the one that the oracle computes from the same chain.
fn assert_ledger(rig: &Rig, expected: &oracle::Oracle) {
    let store = rig.store();
    assert_eq!(store.balances, expected.balances);
    let indexed = expected.mined.iter().filter(|(_, height)| store.indexed_from.0 <= **height);
    let indexed: Vec<_> = indexed.map(|(id, height)| (*id, Height(*height))).collect();
    assert_eq!(store.mined.clone().into_iter().collect::<Vec<_>>(), indexed);
    assert_eq!(store.undo.len() + 1, store.path.len());
}

fn assert_sound(rig: &Rig) {
    let supply: u64 = rig.store().balances.values().map(|amount| amount.0).sum();
    let expected = rig.network().supply_at(rig.node.tip().header.index);
    assert_eq!(expected.map(|amount| amount.0), Some(supply), "money is neither made nor lost");
    let chain = on_chain(rig);
    let unique: BTreeSet<_> = chain.iter().collect();
    assert_eq!(unique.len(), chain.len(), "no transaction is mined twice");
    assert_eq!(rig.store().path.len() as u64, rig.node.tip().header.index.0 + 1);
}

fn shuffled(blocks_max: usize) -> impl Strategy<Value = (Recipe, Vec<Block>, Vec<Block>)> {
    recipe(blocks_max).prop_flat_map(|recipe| {
        let blocks = recipe.blocks(&recipe.network());
        (Just(recipe), Just(blocks.clone()), Just(blocks).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_does_not_matter((recipe, blocks, arrivals) in shuffled(24)) {
        let network = Arc::new(recipe.network());
        let (tip, ledger) = oracle::best(&network, &blocks);
        for arrivals in [&blocks, &arrivals] {
            let mut rig = rig(&network);
            for block in arrivals {
                rig.push(block);
                assert_sound(&rig);
            }
            prop_assert_eq!(rig.node.tip().hash, tip);
            assert_ledger(&rig, &ledger);
        }
    }

    #[test]
    fn no_transaction_is_lost((recipe, blocks, arrivals) in shuffled(24)) {
        let network = Arc::new(recipe.network());
        let transactions = recipe.transactions(&network);
        let mut rig = rig(&network);
        let mut known: BTreeSet<TxId> = BTreeSet::new();
        for (number, block) in arrivals.iter().enumerate() {
            if let Some(transaction) = transactions.get(number) {
                rig.relay(vec![transaction.clone()]);
            }
            rig.push(block);
            let chain: BTreeSet<TxId> = on_chain(&rig).into_iter().collect();
            let waiting: BTreeSet<TxId> = rig.node.mempool().iter().map(|it| it.id()).collect();
            prop_assert!(chain.is_disjoint(&waiting), "what is mined does not wait");
            known.extend(chain.iter().chain(&waiting));
            prop_assert!(known.iter().all(|id| chain.contains(id) || waiting.contains(id)));
        }
        // Waiting transactions are kept in the store in the same order.
        let waiting: Vec<_> = rig.node.mempool().iter().map(|it| it.id()).collect();
        let stored: Vec<_> = rig.store().mempool.values().map(|it| it.id()).collect();
        prop_assert_eq!(waiting, stored);
        drop(blocks);
    }

    #[test]
    fn a_template_is_always_a_good_block((recipe, _, arrivals) in shuffled(16)) {
        let network = Arc::new(recipe.network());
        let mut rig = Rig::open(Arc::clone(&network), MemoryStore::default(), |options| options.mine = true);
        rig.now.utc = network.genesis.timestamp.saturating_add(100_000_000);
        let transactions = recipe.transactions(&network);
        for (number, block) in arrivals.iter().enumerate() {
            if let Some(transaction) = transactions.get(number) {
                rig.receive(Some(PEER), &Message::Transactions(vec![transaction.clone()]));
            }
            rig.push(block);
            if number % 3 == 0 {
                rig.wait();
            }
            if rig.node.template().is_some() {
                let height = rig.node.tip().header.index.0;
                let outcome = rig.find();
                prop_assert_eq!(rig.node.tip().header.index.0, height + 1, "{:?}", outcome.notices);
                assert_sound(&rig);
            }
        }
    }
}
