//! Blocks whose parent is unknown, kept until it arrives.
//! Invariant: never more than [`ORPHANS_MAX`].

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::rules::CheckedBlock;
use crate::units::{Hash, NodeId};

/// The most blocks that are kept; the one kept longest goes first.
pub const ORPHANS_MAX: usize = 100;

/// Blocks by the parent that they wait for.
#[derive(Debug, Default)]
pub struct Orphans {
    by_parent: BTreeMap<Hash, Vec<(CheckedBlock, Option<NodeId>)>>,
    /// Parent and hash, by order of arrival.
    order: VecDeque<(Hash, Hash)>,
}

impl Orphans {
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none are kept.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Keeps a block; `false` where it is kept already.
    pub fn insert(&mut self, block: CheckedBlock, from: Option<NodeId>) -> bool {
        let (parent, hash) = (block.block().header.prev_hash, block.hash());
        let siblings = self.by_parent.entry(parent).or_default();
        if siblings.iter().any(|(sibling, _)| sibling.hash() == hash) {
            return false;
        }
        siblings.push((block, from));
        self.order.push_back((parent, hash));
        if ORPHANS_MAX < self.order.len() {
            self.evict_oldest();
        }
        true
    }

    /// Takes out the blocks that wait for this parent.
    pub fn take_children(&mut self, parent: &Hash) -> Vec<(CheckedBlock, Option<NodeId>)> {
        let children = self.by_parent.remove(parent).unwrap_or_default();
        if !children.is_empty() {
            self.order.retain(|(other, _)| other != parent);
        }
        children
    }

    fn evict_oldest(&mut self) {
        let Some((parent, hash)) = self.order.pop_front() else { return };
        if let Some(siblings) = self.by_parent.get_mut(&parent) {
            siblings.retain(|(sibling, _)| sibling.hash() != hash);
            if siblings.is_empty() {
                self.by_parent.remove(&parent);
            }
        }
    }
}
