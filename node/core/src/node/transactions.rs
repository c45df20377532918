//! How a node takes transactions and sends them on.
//!
//! Every waiting transaction has a time at which it is sent to all peers: soon where a client brought it, much later
//! where a peer did, who then has told everybody. Hearing it from a peer puts that off, so that of the nodes a client
//! told only one or two speak; and because it is repeated until the transaction is mined, no loss is for good.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Node, Relay};
use crate::effect::{Effect, Notice, Now};
use crate::mempool::MEMPOOL_MAX;
use crate::message::Message;
use crate::network::{MESSAGE_OVERHEAD, TRANSACTION_JSON_MAX};
use crate::rules::{TransactionError, check_transaction, check_window};
use crate::store::{Store, StoreError};
use crate::transaction::{Transaction, are_signatures_valid};
use crate::units::{Hash, NodeId, TxId};

/// How long after a transaction was last heard of it is sent again, while it waits.
const RELAY_AGAIN_US: u64 = 120_000_000;
/// How many transactions of abandoned blocks may wait beside [`MEMPOOL_MAX`] others.
const RETURNED_MAX: usize = MEMPOOL_MAX;

impl<S: Store> Node<S> {
    /// Takes a transaction from this machine's user, with the verdict.
    pub fn submit(
        &mut self,
        now: Now,
        transaction: Transaction,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<(), TransactionError>, StoreError> {
        let result = self.admit(now, None, transaction, None, effects)?;
        self.run_timers(now, effects)?;
        Ok(result)
    }

    /// Takes the transactions of a message.
    pub(super) fn transactions(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        transactions: Vec<Transaction>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let mut prechecked = Vec::with_capacity(transactions.len());
        for transaction in &transactions {
            prechecked.push(self.precheck(now, transaction)?.is_ok());
        }
        let batch = transactions.iter().zip(&prechecked).filter(|(_, is_in)| **is_in).map(|(it, _)| it);
        // Most messages hold only valid signatures: then one look at all of them is enough.
        let all_valid = are_signatures_valid(batch);
        for (transaction, was_in_batch) in transactions.into_iter().zip(prechecked) {
            let id = transaction.id();
            // Money of the same message may let in what broke a rule just now; nobody has looked at its signature.
            let verified = (all_valid && was_in_batch).then_some(());
            if let Err(error) = self.admit(now, from, transaction, verified, effects)? {
                if error == TransactionError::AlreadyPending && from.is_some() {
                    self.schedule_relay(id, now, false);
                    continue;
                }
                effects.push(Effect::Tell(Notice::TransactionRefused { from, id, error }));
            }
        }
        Ok(())
    }

    /// Puts a transaction of an abandoned block back; `false` where too many wait.
    pub(super) fn take_back(&mut self, now: Now, transaction: &Transaction) -> bool {
        if MEMPOOL_MAX + RETURNED_MAX <= self.mempool.len() {
            return false;
        }
        self.mempool.insert(Arc::new(transaction.clone()), &mut self.pending);
        self.schedule_relay(transaction.id(), now, false);
        true
    }

    /// Takes out what has become too old to be mined.
    pub(super) fn expire(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let horizon = now.utc.saturating_sub(self.network.limits.window_us());
        while let Some(transaction) = self.mempool.remove_expired(horizon, &mut self.pending) {
            self.forget_relay(&transaction.id());
            self.mining.outdated = true;
            effects.push(Effect::Tell(Notice::Expired(transaction.id())));
        }
    }

    /// Says when a waiting transaction is sent to all peers next.
    pub(super) fn schedule_relay(&mut self, id: TxId, now: Now, soon: bool) {
        let window_us = self.options.relay_window_us;
        // Each node waits another while, so that one speaks first and the others, hearing it, need not.
        let seed = self.options.seed.to_be_bytes();
        let draw = Hash::of(&[&seed, &id.0.0]).0[0];
        let jitter_us = window_us / 256 * u64::from(draw);
        let delay_us = if soon { jitter_us } else { RELAY_AGAIN_US + jitter_us };
        self.relay.schedule(id, now.elapsed_us + delay_us);
    }

    pub(super) fn forget_relay(&mut self, id: &TxId) {
        self.relay.forget(id);
    }

    /// The most transactions that fit into a message, whatever they are.
    pub(super) fn transactions_max(&self) -> usize {
        let room = self.network.limits.message_bytes - MESSAGE_OVERHEAD;
        usize::try_from(room / TRANSACTION_JSON_MAX).unwrap_or(usize::MAX)
    }

    /// Sends on what is due.
    pub(super) fn flush_relay(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let count_max = self.transactions_max();
        let mut batch = Vec::new();
        while let Some(id) = self.relay.next_due(now.elapsed_us) {
            self.schedule_relay(id, now, false);
            batch.extend(self.mempool.transaction(&id).map(|it| Transaction::clone(it)));
            if batch.len() == count_max {
                self.broadcast_transactions(core::mem::take(&mut batch), effects);
            }
        }
        if !batch.is_empty() {
            self.broadcast_transactions(batch, effects);
        }
    }

    fn broadcast_transactions(&mut self, batch: Vec<Transaction>, effects: &mut Vec<Effect>) {
        self.broadcast(&Message::Transactions(batch), None, effects);
        self.peers.transactions_sent();
    }

    /// Adds a transaction to the mempool if it keeps the rules. `verified` says that its signature is known to be valid.
    fn admit(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        transaction: Transaction,
        verified: Option<()>,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<(), TransactionError>, StoreError> {
        if let Err(error) = self.precheck(now, &transaction)? {
            return Ok(Err(error));
        }
        if verified.is_none() && !transaction.is_signature_valid() {
            return Ok(Err(TransactionError::BadSignature));
        }
        let id = transaction.id();
        self.mempool.insert(Arc::new(transaction), &mut self.pending);
        self.mining.outdated = true;
        self.schedule_relay(id, now, from.is_none());
        effects.push(Effect::Tell(Notice::Pending(id)));
        Ok(Ok(()))
    }

    /// Every rule except for the signature.
    fn precheck(
        &self,
        now: Now,
        transaction: &Transaction,
    ) -> Result<Result<(), TransactionError>, StoreError> {
        let cheap = check_transaction(transaction, &self.network)
            .and_then(|()| check_window(transaction, now.utc, &self.network));
        if cheap.is_err() {
            return Ok(cheap);
        }
        if self.mempool.transaction(&transaction.id()).is_some() {
            return Ok(Err(TransactionError::AlreadyPending));
        }
        let overlay = self.overlay();
        if let Some(height) = overlay.mined(&transaction.id())? {
            return Ok(Err(TransactionError::AlreadyMined(height)));
        }
        let payment = transaction.payment();
        let confirmed = overlay.balance(&payment.from)?;
        let balance = self.mempool.available(&payment.from, confirmed.unwrap_or_default());
        if balance < payment.amount {
            return Ok(Err(match confirmed {
                None if balance.0 == 0 => TransactionError::UnknownSender(payment.from),
                _ => TransactionError::Overspend { balance, amount: payment.amount },
            }));
        }
        if MEMPOOL_MAX <= self.mempool.len() {
            return Ok(Err(TransactionError::MempoolFull(MEMPOOL_MAX)));
        }
        Ok(Ok(()))
    }
}

impl Relay {
    fn schedule(&mut self, id: TxId, due_us: u64) {
        self.forget(&id);
        self.due.insert(id, due_us);
        self.order.insert((due_us, id));
    }

    fn forget(&mut self, id: &TxId) {
        if let Some(due_us) = self.due.remove(id) {
            self.order.remove(&(due_us, *id));
        }
    }

    fn next_due(&self, elapsed_us: u64) -> Option<TxId> {
        self.order.first().filter(|(due_us, _)| *due_us <= elapsed_us).map(|(_, id)| *id)
    }
}
