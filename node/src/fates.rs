//! What became of transactions that a node does not have: refused by which rule, or expired; and since when others wait.
//! Invariant: it has limits, is forgotten at the node's end, and holds up nobody: the store knows all that counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quarry_core::effect::Notice;
use quarry_core::mempool::MEMPOOL_MAX;
use quarry_core::rules::TransactionError;
use quarry_core::units::{Timestamp, TxId};

/// The most transactions whose end is remembered.
pub const ENDS_MAX: usize = 10_000;

/// The run loop's notes, which others can read.
#[derive(Debug, Clone, Default)]
pub struct Fates(Arc<Mutex<Kept>>);

/// How a transaction ended that is not mined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When.
    pub time: Timestamp,
    /// The rule that it breaks; `None` where it became too old.
    pub refused: Option<String>,
}

#[derive(Debug, Default)]
struct Kept {
    arrivals: Recent<Timestamp>,
    ends: Recent<End>,
}

/// The newest entries of a map.
#[derive(Debug)]
struct Recent<T> {
    entries: BTreeMap<TxId, T>,
    order: VecDeque<TxId>,
}

impl Fates {
    /// Notes what a notice tells.
    pub fn note(&self, notice: &Notice, time: Timestamp) {
        match notice {
            Notice::Pending(id) => self.kept().arrivals.insert(*id, time, MEMPOOL_MAX),
            Notice::TransactionRefused { id, error, .. } => self.refuse(*id, error, time),
            Notice::Expired(id) => self.kept().ends.insert(*id, End { time, refused: None }, ENDS_MAX),
            _ => {}
        }
    }

    /// Notes that a transaction breaks a rule. That it is here already is no such rule.
    pub fn refuse(&self, id: TxId, error: &TransactionError, time: Timestamp) {
        if matches!(error, TransactionError::AlreadyMined(_) | TransactionError::AlreadyPending) {
            return;
        }
        let refused = Some(error.to_string());
        self.kept().ends.insert(id, End { time, refused }, ENDS_MAX);
    }

    /// Since when a transaction waits, if it came since the node's start.
    pub fn arrival(&self, id: &TxId) -> Option<Timestamp> {
        self.kept().arrivals.entries.get(id).copied()
    }

    /// How a transaction ended.
    pub fn end(&self, id: &TxId) -> Option<End> {
        self.kept().ends.entries.get(id).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Recent<T> {
    fn insert(&mut self, id: TxId, value: T, len_max: usize) {
        if self.entries.insert(id, value).is_some() {
            return;
        }
        self.order.push_back(id);
        if len_max < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use quarry_core::units::Hash;

    use super::*;

    fn id(number: usize) -> TxId {
        TxId(Hash::of(&[&number.to_be_bytes()]))
    }

    fn refused(number: usize, error: TransactionError) -> Notice {
        Notice::TransactionRefused { from: None, id: id(number), error }
    }

    #[test]
    fn the_newest_ends_are_kept_and_the_last_word_counts() {
        let (fates, time) = (Fates::default(), Timestamp::default());
        for number in 0..2 * ENDS_MAX {
            fates.note(&refused(number, TransactionError::ZeroAmount), time);
        }
        assert_eq!(fates.kept().ends.entries.len(), ENDS_MAX);
        assert_eq!(fates.kept().ends.order.len(), ENDS_MAX);
        assert_eq!(fates.end(&id(ENDS_MAX - 1)), None);
        let newest = id(2 * ENDS_MAX - 1);
        assert_eq!(fates.end(&newest).unwrap().refused.as_deref(), Some("the amount is 0.00"));
        fates.note(&Notice::Expired(newest), time);
        assert_eq!(fates.end(&newest), Some(End { time, refused: None }));
    }

    #[test]
    fn what_is_known_is_not_refused() {
        let (fates, time) = (Fates::default(), Timestamp::default());
        fates.note(&refused(1, TransactionError::AlreadyPending), time);
        fates.note(&refused(1, TransactionError::AlreadyMined(quarry_core::units::Height(3))), time);
        assert_eq!(fates.end(&id(1)), None);
        fates.note(&Notice::Pending(id(1)), time);
        assert_eq!(fates.arrival(&id(1)), Some(time));
    }
}
