//! The transactions that wait to be mined.
//! Invariant: every entry keeps the rules that need no ledger, its signature is valid, and it is not in the chain.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use crate::store::Changes;
use crate::transaction::Transaction;
use crate::units::{AccountId, Amount, Timestamp, TxId};

/// The most transactions that may wait.
pub const MEMPOOL_MAX: usize = 50_000;

/// The transactions that wait, by id and by order of arrival.
#[derive(Debug, Default)]
pub struct Mempool {
    sequences: BTreeMap<TxId, u64>,
    order: BTreeMap<u64, Arc<Transaction>>,
    by_time: BTreeSet<(Timestamp, TxId)>,
    flows: BTreeMap<AccountId, Flow>,
    next: u64,
}

/// What the waiting transactions would move to and from an account.
#[derive(Debug, Default, Clone, Copy)]
struct Flow {
    incoming: u128,
    outgoing: u128,
}

impl Mempool {
    /// The mempool that a store kept.
    pub fn restore(entries: impl Iterator<Item = (u64, Arc<Transaction>)>) -> Self {
        let mut mempool = Self::default();
        for (sequence, transaction) in entries {
            mempool.next = sequence;
            mempool.insert(transaction, &mut Changes::default());
        }
        mempool
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The waiting transaction with this id.
    pub fn transaction(&self, id: &TxId) -> Option<&Arc<Transaction>> {
        self.order.get(self.sequences.get(id)?)
    }

    /// Where it stands in the order of arrival, if it waits.
    pub fn arrival(&self, id: &TxId) -> Option<u64> {
        self.sequences.get(id).copied()
    }

    /// All of them, by order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.order.values()
    }

    /// What the account would have after all waiting transactions, if it holds `balance` now.
    pub fn available(&self, account: &AccountId, balance: Amount) -> Amount {
        let flow = self.flows.get(account).copied().unwrap_or_default();
        let sum = (u128::from(balance.0) + flow.incoming).saturating_sub(flow.outgoing);
        Amount(u64::try_from(sum).unwrap_or(u64::MAX))
    }

    /// Adds a transaction; `false` where it waits already.
    pub fn insert(&mut self, transaction: Arc<Transaction>, changes: &mut Changes) -> bool {
        let (id, payment) = (transaction.id(), *transaction.payment());
        if self.sequences.contains_key(&id) {
            return false;
        }
        let sequence = self.next;
        self.next += 1;
        self.flows.entry(payment.from).or_default().outgoing += u128::from(payment.amount.0);
        self.flows.entry(payment.to).or_default().incoming += u128::from(payment.amount.0);
        self.by_time.insert((payment.timestamp, id));
        self.sequences.insert(id, sequence);
        changes.mempool.insert(sequence, Some(Arc::clone(&transaction)));
        self.order.insert(sequence, transaction);
        true
    }

    /// Takes a transaction out, if it waits.
    pub fn remove(&mut self, id: &TxId, changes: &mut Changes) -> Option<Arc<Transaction>> {
        let sequence = self.sequences.remove(id)?;
        let transaction = self.order.remove(&sequence).expect("both maps have the same entries");
        let payment = transaction.payment();
        self.by_time.remove(&(payment.timestamp, *id));
        let amount = u128::from(payment.amount.0);
        self.change_flow(payment.from, |flow| flow.outgoing -= amount);
        self.change_flow(payment.to, |flow| flow.incoming -= amount);
        changes.mempool.insert(sequence, None);
        Some(transaction)
    }

    /// Takes out the oldest transaction if its timestamp is before `horizon`.
    pub fn remove_expired(&mut self, horizon: Timestamp, changes: &mut Changes) -> Option<Arc<Transaction>> {
        let (timestamp, id) = *self.by_time.first()?;
        if timestamp < horizon { self.remove(&id, changes) } else { None }
    }

    fn change_flow(&mut self, account: AccountId, change: impl FnOnce(&mut Flow)) {
        let flow = self.flows.entry(account).or_default();
        change(flow);
        if flow.incoming == 0 && flow.outgoing == 0 {
            self.flows.remove(&account);
        }
    }
}
