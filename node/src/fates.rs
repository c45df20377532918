//! What became of transactions that a node does not have: refused by which rule, or expired; and which others wait, and
//! since when. The store has what waits only by its order, in which looking for one among many takes long.
//! Invariant: it has limits, is forgotten at the node's end, and holds up nobody for more than a few milliseconds: the
//! store knows all that counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quarry_core::effect::Notice;
use quarry_core::mempool::MEMPOOL_MAX;
use quarry_core::rules::TransactionError;
use quarry_core::transaction::Transaction;
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
    /// What waits, by the order of arrival.
    waiting: BTreeMap<u64, Arc<Transaction>>,
    /// Where in that order each stands.
    numbers: BTreeMap<TxId, u64>,
}

/// The newest entries of a map.
#[derive(Debug)]
struct Recent<T> {
    /// With the number of their coming.
    entries: BTreeMap<TxId, (u64, T)>,
    order: BTreeMap<u64, TxId>,
    next: u64,
}

impl Fates {
    /// Notes what a notice tells.
    pub fn note(&self, notice: &Notice, time: Timestamp) {
        match notice {
            Notice::Pending(id) => {
                let mut kept = self.kept();
                kept.arrivals.insert(*id, time, MEMPOOL_MAX);
                kept.ends.remove(id);
            }
            Notice::TransactionRefused { id, error, .. } => self.refuse(*id, error, time),
            Notice::Expired(id) => self.kept().ends.insert(*id, End { time, refused: None }, ENDS_MAX),
            _ => {}
        }
    }

    /// Notes that a transaction breaks a rule. That it is here already is no such rule; nor is its age, for it may have
    /// been mined so long ago that nobody knows of it any more.
    pub fn refuse(&self, id: TxId, error: &TransactionError, time: Timestamp) {
        use TransactionError::{AlreadyMined, AlreadyPending, TooOld};
        if matches!(error, AlreadyMined(_) | AlreadyPending | TooOld { .. }) {
            return;
        }
        let refused = Some(error.to_string());
        self.kept().ends.insert(id, End { time, refused }, ENDS_MAX);
    }

    /// Notes that a transaction is in the best chain: however it ended before, that was not its end.
    pub fn mined(&self, ids: impl Iterator<Item = TxId>) {
        let mut kept = self.kept();
        ids.for_each(|id| kept.ends.remove(&id));
    }

    /// Notes who waits by changes that are about to be durable. Nobody has been promised anything of them yet; but who
    /// looks for a transaction that a reorganisation returns finds it in the chain or here at any time.
    pub fn come(&self, changes: &BTreeMap<u64, Option<Arc<Transaction>>>) {
        let come = changes.iter().filter_map(|(number, transaction)| Some((number, transaction.as_ref()?)));
        let mut kept = self.kept();
        for (number, transaction) in come {
            kept.waiting.insert(*number, Arc::clone(transaction));
            kept.numbers.insert(transaction.id(), *number);
        }
    }

    /// Notes who waits no more by changes that are durable.
    pub fn go(&self, changes: &BTreeMap<u64, Option<Arc<Transaction>>>) {
        let gone = changes.iter().filter(|(_, transaction)| transaction.is_none());
        let mut kept = self.kept();
        for (number, _) in gone {
            let Some(transaction) = kept.waiting.remove(number) else { continue };
            // It may have come again since.
            if kept.numbers.get(&transaction.id()) == Some(number) {
                kept.numbers.remove(&transaction.id());
            }
        }
    }

    /// Whether a transaction waits.
    pub fn is_waiting(&self, id: &TxId) -> bool {
        self.kept().numbers.contains_key(id)
    }

    /// The transactions that wait, by the order of arrival, up to the one with this id; none where that does not wait.
    pub fn waiting_until(&self, id: &TxId) -> Vec<Arc<Transaction>> {
        let kept = self.kept();
        let until = kept.numbers.get(id).map(|number| kept.waiting.range(..=number));
        until.into_iter().flatten().map(|(_, transaction)| Arc::clone(transaction)).collect()
    }

    /// Since when a transaction waits, if it came since the node's start.
    pub fn arrival(&self, id: &TxId) -> Option<Timestamp> {
        self.kept().arrivals.entries.get(id).map(|(_, time)| *time)
    }

    /// How a transaction ended.
    pub fn end(&self, id: &TxId) -> Option<End> {
        self.kept().ends.entries.get(id).map(|(_, end)| end.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Recent<T> {
    fn insert(&mut self, id: TxId, value: T, len_max: usize) {
        self.remove(&id);
        self.entries.insert(id, (self.next, value));
        self.order.insert(self.next, id);
        self.next += 1;
        if len_max < self.order.len()
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    fn remove(&mut self, id: &TxId) {
        if let Some((number, _)) = self.entries.remove(id) {
            self.order.remove(&number);
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), next: 0 }
    }
}

#[cfg(test)]
mod tests {
    use quarry_core::units::{Amount, Hash};

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
    /// A payment that was refused for want of money, came again with it and was mined was told of as refused once the
    /// index had forgotten it: whoever believed that would have paid twice.
    #[test]
    fn what_comes_to_wait_or_is_mined_was_not_refused() {
        let (fates, time) = (Fates::default(), Timestamp::default());
        let poor =
            |number| refused(number, TransactionError::Overspend { balance: Amount(0), amount: Amount(1) });
        for number in 0..3 {
            fates.note(&poor(number), time);
        }
        fates.note(&Notice::Pending(id(0)), time);
        fates.mined([id(1), id(7)].into_iter());
        assert_eq!([0, 1, 2].map(|number| fates.end(&id(number)).is_some()), [false, false, true]);
        assert_eq!(fates.kept().ends.order.len(), 1);
        let too_old = TransactionError::TooOld { timestamp: time, time, window: 60 };
        fates.note(&refused(1, too_old.clone()), time);
        fates.note(&refused(2, too_old), time);
        assert_eq!(fates.end(&id(1)), None, "it was mined, and may be forgotten");
        assert!(fates.end(&id(2)).unwrap().refused.unwrap().contains("less than"), "the first word counts");
    }
}
