//! A crash loses nothing that was durable, and how many steps share a commit makes no difference.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::effect::Event;
use quarry_core::memory::MemoryStore;
use quarry_core::message::Message;
use quarry_core::network::Network;
use quarry_core::transaction::Transaction;
use quarry_core::units::TxId;

use crate::recipes::recipe;
use crate::rig::{BYSTANDER, PEER, Rig, SELF, search};

/// Something that happens to a node.
#[derive(Debug, Clone)]
enum Happening {
    Block(Block),
    Transaction(Transaction),
    Find,
    Tick,
}

fn happenings() -> impl Strategy<Value = (Arc<Network>, Vec<Happening>)> {
    recipe(16).prop_flat_map(|recipe| {
        let network = Arc::new(recipe.network());
        let blocks = recipe.blocks(&network).into_iter().map(Happening::Block);
        let transactions = recipe.transactions(&network).into_iter().map(Happening::Transaction);
        let others = [Happening::Find, Happening::Tick, Happening::Find, Happening::Tick];
        (Just(network), Just(blocks.chain(transactions).chain(others).collect::<Vec<_>>()).prop_shuffle())
    })
}

fn open(network: &Arc<Network>, store: MemoryStore) -> Rig {
    let mut rig = Rig::open(Arc::clone(network), store, |options| options.mine = true);
    rig.now.utc = network.genesis.timestamp.saturating_add(100_000_000);
    rig
}

fn event(rig: &Rig, happening: &Happening) -> Event {
    let message = match happening {
        Happening::Block(block) => Message::Block(block.clone().into()),
        Happening::Transaction(transaction) => Message::Transactions(vec![transaction.clone()]),
        Happening::Find => {
            let Some(template) = rig.node.template() else { return Event::Tick };
            let nonce = search(template.header(1, 0)).nonce;
            return Event::Found { template: template.id, extra_nonce: 1, nonce };
        }
        Happening::Tick => return Event::Peers(vec![SELF, PEER, BYSTANDER]),
    };
    Event::Message { from: Some(PEER), bytes: message.encode(rig.network()) }
}

fn happens(rig: &mut Rig, happening: &Happening) {
    rig.advance(100_000);
    let event = event(rig, happening);
    rig.step(event);
}

fn waiting(rig: &Rig) -> Vec<TxId> {
    rig.node.mempool().iter().map(|it| it.id()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_after_any_commit_loses_nothing((network, happenings) in happenings()) {
        let mut rig = open(&network, MemoryStore::default());
        let mut snapshots = Vec::new();
        for happening in &happenings {
            happens(&mut rig, happening);
            snapshots.push((rig.store().clone(), *rig.node.tip(), waiting(&rig)));
        }
        let tree: Vec<Block> = rig.store().blocks.values().map(|block| Block::clone(block)).collect();
        for (number, (store, tip, waited)) in snapshots.into_iter().enumerate() {
            let mut reopened = open(&network, store.clone());
            prop_assert_eq!(reopened.node.tip(), &tip);
            prop_assert_eq!(&waiting(&reopened), &waited);
            // To open a store is no change to it.
            prop_assert_eq!(reopened.store(), &store);
            // It goes on to the same end, once it has been told again what it kept in memory only, and what it mined
            // in its other life.
            for happening in &happenings[number + 1..] {
                if !matches!(happening, Happening::Find) {
                    happens(&mut reopened, happening);
                }
            }
            for block in happenings.iter().rev().chain(&happenings) {
                if let Happening::Block(block) = block {
                    reopened.push(block);
                }
            }
            let mut blocks = tree.clone();
            blocks.sort_by_key(|block| block.header.index);
            for block in &blocks {
                reopened.push(block);
            }
            prop_assert_eq!(reopened.node.tip(), rig.node.tip());
            prop_assert_eq!(&reopened.store().path, &rig.store().path);
            prop_assert_eq!(&reopened.store().balances, &rig.store().balances);
            prop_assert_eq!(&reopened.store().mined, &rig.store().mined);
            let stored: Vec<TxId> = reopened.store().mempool.values().map(|it| it.id()).collect();
            prop_assert_eq!(waiting(&reopened), stored);
            let kept: BTreeSet<TxId> = waiting(&reopened).into_iter().collect();
            let mined: BTreeSet<TxId> = tree_of(&reopened);
            prop_assert!(waited.iter().all(|id| kept.contains(id) || mined.contains(id)));
        }
    }

    #[test]
    fn many_steps_may_share_a_commit((network, happenings) in happenings(), per_commit in 2..7_usize) {
        let mut one_by_one = open(&network, MemoryStore::default());
        let mut grouped = open(&network, MemoryStore::default());
        for group in happenings.chunks(per_commit) {
            for happening in group {
                happens(&mut one_by_one, happening);
                grouped.advance(100_000);
                let event = event(&grouped, happening);
                grouped.step_without_commit(event);
            }
            grouped.commit();
            prop_assert_eq!(grouped.store(), one_by_one.store());
        }
        prop_assert_eq!(waiting(&grouped), waiting(&one_by_one));
    }
}

fn tree_of(rig: &Rig) -> BTreeSet<TxId> {
    let blocks = rig.store().path.values().map(|hash| &rig.store().blocks[hash]);
    blocks.flat_map(|block| block.transactions.iter().map(Transaction::id)).collect()
}
