//! What is checked at every commit of every honest node, against the plain ledger.
//! Invariant: the watch sees what is durable and when, and nothing of how a node came to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use num_bigint::BigUint;
use quarry_core::block::Block;
use quarry_core::memory::MemoryStore;
use quarry_core::network::Network;
use quarry_core::store::{Changes, Status};
use quarry_core::transaction::Transaction;
use quarry_core::units::{Hash, Height, Timestamp, TxId};

use crate::history::History;
use crate::violation::{Checker, Violation};

/// What is checked at every commit.
pub struct Watch {
    /// All blocks there ever were.
    pub history: History,
    /// Every transaction that a node once had durably waiting or mined, and that need not have been lost.
    pub admitted: BTreeMap<TxId, Transaction>,
    nodes: Vec<Seen>,
}

/// What one node has stored.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The best valid block there: its chain's work and its hash.
    best: Option<(BigUint, Hash)>,
}

impl Watch {
    /// A watch on so many nodes with empty disks.
    pub fn new(network: &Arc<Network>, nodes: usize) -> Self {
        Self {
            history: History::new(network),
            admitted: BTreeMap::new(),
            nodes: vec![Seen::default(); nodes],
        }
    }

    /// A node has made changes durable; `store` holds them. No block that is new there may be later than `limit`.
    pub fn commit(
        &mut self,
        node: usize,
        changes: &Changes,
        store: &MemoryStore,
        limit: Timestamp,
    ) -> Result<(), Violation> {
        let waiting = changes.mempool.values().flatten();
        self.admitted.extend(waiting.map(|it| (it.id(), Transaction::clone(it))));
        for hash in changes.path.values().flatten() {
            let block = store.blocks.get(hash).into_iter();
            let mined = block.flat_map(|block| &block.transactions);
            self.admitted.extend(mined.map(|it| (it.id(), it.clone())));
        }
        let mut blocks: Vec<_> = changes.blocks.iter().collect();
        blocks.sort_by_key(|(_, block)| block.header.index);
        for (hash, block) in blocks {
            if block.header.index != Height(0) {
                self.history.insert(*hash, block).map_err(Checker::History.violation(node))?;
                check_new(block, store, limit)
                    .map_err(|(checker, text)| checker.violation(node)(format!("block {hash} {text}")))?;
            }
            self.see(node, *hash);
        }
        let refused = changes.records.iter().filter(|(_, record)| record.status == Status::Invalid);
        for (hash, _) in refused {
            if self.history.entry(hash).is_some_and(|entry| entry.balances.is_ok()) {
                let text = format!("valid block {hash} is taken for invalid");
                return Err(Checker::Verdict.violation(node)(text));
            }
        }
        if changes.tip.is_some() || !changes.path.is_empty() || !changes.balances.is_empty() {
            self.check_tip(node, changes, store)?;
        }
        self.check_best(node, store)
    }

    /// A node goes on from an old state of its disk.
    pub fn restored(&mut self, node: usize, store: &MemoryStore) {
        self.nodes[node].best = None;
        for hash in store.blocks.keys() {
            self.see(node, *hash);
        }
    }

    /// Transactions that nobody needs to have any more.
    pub fn forgive(&mut self, is_gone: impl Fn(&TxId) -> bool) {
        self.admitted.retain(|id, _| !is_gone(id));
    }

    fn see(&mut self, node: usize, hash: Hash) {
        let Some(entry) = self.history.entry(&hash) else { return };
        // More work wins, and of equal work the lower hash.
        let best = &mut self.nodes[node].best;
        let is_better =
            |(work, other): &(BigUint, Hash)| *work < entry.work || (*work == entry.work && hash < *other);
        if entry.balances.is_ok() && best.as_ref().is_none_or(is_better) {
            *best = Some((entry.work.clone(), hash));
        }
    }

    /// The ledger is that of the tip, and the path leads there.
    fn check_tip(&self, node: usize, changes: &Changes, store: &MemoryStore) -> Result<(), Violation> {
        let violation = |checker: Checker, text: String| Err(checker.violation(node)(text));
        let Some(tip) = store.tip else { return violation(Checker::History, "there is no tip".into()) };
        let Some(entry) = self.history.entry(&tip) else {
            return violation(Checker::History, format!("tip {tip} is not a block"));
        };
        let balances = match &entry.balances {
            Ok(balances) => balances,
            Err(rule) => return violation(Checker::Verdict, format!("tip {tip} is invalid: {rule}")),
        };
        let stored = store.balances.iter().map(|(id, amount)| (id, &amount.0));
        if !stored.eq(balances.iter()) {
            let text = format!("at {tip} balances are {:?}, not {balances:?}", store.balances);
            return violation(Checker::Balances, text);
        }
        if store.path.last_key_value() != Some((&Height(entry.height), &tip)) {
            return violation(Checker::Path, format!("the path does not end with {tip}"));
        }
        for (height, hash) in changes.path.iter().filter_map(|(height, hash)| Some((height, (*hash)?))) {
            let header = self.history.entry(&hash).map(|entry| entry.block.header);
            let below = height.0.checked_sub(1).and_then(|height| store.path.get(&Height(height)));
            let is_linked = header.is_some_and(|header| {
                header.index == *height && (*height == Height(0) || below == Some(&header.prev_hash))
            });
            if !is_linked {
                return violation(Checker::Path, format!("block {hash} of the path hangs in the air"));
            }
        }
        Ok(())
    }

    /// The tip is the best that the node has stored.
    fn check_best(&self, node: usize, store: &MemoryStore) -> Result<(), Violation> {
        let best = self.nodes[node].best.as_ref().map(|(_, hash)| *hash);
        if best == store.tip {
            return Ok(());
        }
        Err(Checker::ForkChoice.violation(node)(format!(
            "its tip is {:?}, but {best:?} is better",
            store.tip
        )))
    }
}

/// A block that has come to a disk follows another there, and was not too far ahead of the clock.
fn check_new(block: &Block, store: &MemoryStore, limit: Timestamp) -> Result<(), (Checker, String)> {
    let header = block.header;
    if !store.blocks.contains_key(&header.prev_hash) {
        return Err((Checker::History, "is stored without its parent".into()));
    }
    if limit < header.timestamp {
        let text = format!("has timestamp {}, but none may be later than {limit}", header.timestamp);
        return Err((Checker::Verdict, text));
    }
    Ok(())
}
