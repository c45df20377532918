//! How a node takes transactions and sends them on.
//!
//! Every waiting transaction has a time at which it is sent to the peers: soon where a client brought it, much later
//! where a peer did who has told everybody, and soon where it told a few (`gossip.rs`). All these times are ends of the
//! node's windows, so that it sends at most one batch in each, however many clients there are. Hearing a transaction
//! from a peer puts it off, so that of the nodes that a client told only one or two speak; and because it is repeated
//! until it is mined, no loss is for good.
//! Invariant: at most [`RELAY_AGAIN_US`] is added to a wait by what peers say.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Node, Relay, Wait};
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
                    self.heard_again(now, id);
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
        self.relay.later(transaction.id(), now.elapsed_us);
        true
    }

    /// Takes out what has become too old to be mined.
    pub(super) fn expire(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let horizon = now.utc.saturating_sub(self.network.limits.window_us());
        while let Some(transaction) = self.mempool.remove_expired(horizon, &mut self.pending) {
            self.relay.forget(&transaction.id());
            self.mining.outdated = true;
            effects.push(Effect::Tell(Notice::Expired(transaction.id())));
        }
    }

    /// The most transactions that fit into a message, whatever they are.
    pub(super) fn transactions_max(&self) -> usize {
        let room = self.network.limits.message_bytes - MESSAGE_OVERHEAD;
        usize::try_from(room / TRANSACTION_JSON_MAX).unwrap_or(usize::MAX)
    }

    /// Sends on what is due.
    pub(super) fn flush_relay(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut due = Vec::new();
        while let Some(id) = self.relay.next_due(now.elapsed_us) {
            self.relay.later(id, now.elapsed_us);
            due.extend(self.mempool.arrival(&id).map(|arrival| (arrival, id)));
        }
        // Who is paid by one and pays with another must not be refused because the other comes first.
        due.sort_unstable();
        for ids in due.chunks(self.transactions_max()) {
            let batch = ids.iter().filter_map(|(_, id)| self.mempool.transaction(id));
            let batch = batch.map(|it| Transaction::clone(it)).collect();
            self.broadcast_transactions(batch, effects);
        }
    }

    fn broadcast_transactions(&mut self, batch: Vec<Transaction>, effects: &mut Vec<Effect>) {
        let audience = self.audience();
        self.send_all(audience, &Message::Transactions(batch), None, effects);
        // Where few are told, nobody knows who has missed what; it is repeated until it is mined.
        if self.is_mesh() {
            self.peers.transactions_sent();
        }
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
        match from {
            Some(_) if self.is_mesh() => self.relay.later(id, now.elapsed_us),
            _ => self.relay.soon(id, now.elapsed_us),
        }
        effects.push(Effect::Tell(Notice::Pending(id)));
        Ok(Ok(()))
    }

    /// A peer has sent what waits already. Who told everybody need not be repeated; who told a few counts only once this
    /// node has, too.
    fn heard_again(&mut self, now: Now, id: TxId) {
        if self.is_mesh() || !self.relay.is_due_soon(&id, now.elapsed_us) {
            self.relay.put_off(id, now.elapsed_us);
        }
    }

    /// Every rule except for the signature. What is said of an id is what holds of the transaction that waits or is mined
    /// under it, if there is one, whatever a copy looks like.
    fn precheck(
        &self,
        now: Now,
        transaction: &Transaction,
    ) -> Result<Result<(), TransactionError>, StoreError> {
        // A chain may be ahead of the clock. Then what is too old for its next block cannot be mined, and may have been:
        // the index of mined transactions need not know it any more.
        let latest = now.utc.max(self.tip.header.timestamp);
        let timely = check_window(transaction, now.utc, &self.network)
            .and_then(|()| check_window(transaction, latest, &self.network));
        if timely.is_err() {
            return Ok(timely);
        }
        if self.mempool.transaction(&transaction.id()).is_some() {
            return Ok(Err(TransactionError::AlreadyPending));
        }
        let overlay = self.overlay();
        if let Some(height) = overlay.mined(&transaction.id())? {
            return Ok(Err(TransactionError::AlreadyMined(height)));
        }
        if let Err(error) = check_transaction(transaction, &self.network) {
            return Ok(Err(error));
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
    /// Windows whose ends are elsewhere for each seed, so that of the nodes that a client told one speaks first and the
    /// others, hearing it, need not.
    pub(super) fn new(window_us: u64, seed: u64) -> Self {
        let window_us = window_us.max(1);
        let draw = Hash::of(&[b"quarry relay\0", &seed.to_be_bytes()]).0;
        let [a, b, c, d, ..] = draw;
        let phase_us = u64::from(u32::from_be_bytes([a, b, c, d])) % window_us;
        Self { window_us, phase_us, waits: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sends a transaction on when this window ends.
    pub(super) fn soon(&mut self, id: TxId, elapsed_us: u64) {
        let due_us = self.end_after(elapsed_us);
        self.wait(id, due_us);
    }

    /// Sends a transaction on after a while, as everybody has just been told.
    pub(super) fn later(&mut self, id: TxId, elapsed_us: u64) {
        let due_us = self.end_after(elapsed_us + RELAY_AGAIN_US - 1);
        self.wait(id, due_us);
    }

    /// Puts a transaction off, as a peer has just told everybody; but not again and again, or a peer that only says so
    /// could keep it from the others for ever.
    pub(super) fn put_off(&mut self, id: TxId, elapsed_us: u64) {
        let Some(Wait { due_us, latest_us }) = self.waits.get(&id).copied() else { return };
        let again_us = self.end_after(elapsed_us + RELAY_AGAIN_US - 1).min(latest_us);
        self.set(id, Wait { due_us: due_us.max(again_us), latest_us });
    }

    /// Whether a transaction is sent on when this window ends.
    pub(super) fn is_due_soon(&self, id: &TxId, elapsed_us: u64) -> bool {
        self.waits.get(id).is_some_and(|wait| wait.due_us <= self.end_after(elapsed_us))
    }

    pub(super) fn forget(&mut self, id: &TxId) {
        if let Some(wait) = self.waits.remove(id) {
            self.order.remove(&(wait.due_us, *id));
        }
    }

    fn wait(&mut self, id: TxId, due_us: u64) {
        let latest_us = self.end_after(due_us + RELAY_AGAIN_US - 1);
        self.set(id, Wait { due_us, latest_us });
    }

    fn set(&mut self, id: TxId, wait: Wait) {
        self.forget(&id);
        self.waits.insert(id, wait);
        self.order.insert((wait.due_us, id));
    }

    /// The first end of a window after this time.
    fn end_after(&self, elapsed_us: u64) -> u64 {
        let since_us = (elapsed_us + self.phase_us) % self.window_us;
        elapsed_us + self.window_us - since_us
    }

    fn next_due(&self, elapsed_us: u64) -> Option<TxId> {
        self.order.first().filter(|(due_us, _)| *due_us <= elapsed_us).map(|(_, id)| *id)
    }
}
