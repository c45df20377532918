//! Where a transaction stands, and why.
//! Invariant: the store has the first word; what was noted beside it counts for transactions that are not in there.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use quarry_core::json::TransactionJson;
use quarry_core::network::Network;
use quarry_core::store::Store as _;
use quarry_core::transaction::Transaction;
use quarry_core::units::{Amount, Hash, Height, Timestamp, TxId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::exit::Exit;
use crate::fates::{ENDS_MAX, Fates};
use crate::query;
use crate::store::{Reader, Snapshot};

/// Where a transaction stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// In a word.
    pub state: State,
    /// Its JSON form, where the node has it.
    pub transaction: Option<Box<RawValue>>,
    /// Since when it is so, as far as that is known: when it came, or when it ended.
    pub since: Option<Timestamp>,
    /// What it waits for, or the rule that it breaks.
    pub reason: Option<String>,
    /// When it becomes too old to be mined, while it waits.
    pub expires: Option<Timestamp>,
    /// The height of its block.
    pub height: Option<Height>,
    /// The hash of its block.
    pub block: Option<Hash>,
    /// How many blocks of the best chain it is deep, its own included.
    pub confirmations: u64,
}

/// Where a transaction stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It waits to be mined.
    Pending,
    /// It is in the best chain.
    Mined,
    /// It breaks a rule.
    Refused,
    /// It waited until it was too old.
    Expired,
}

impl State {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Mined => "mined",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    fn alone(self) -> Standing {
        Standing {
            state: self,
            transaction: None,
            since: None,
            reason: None,
            expires: None,
            height: None,
            block: None,
            confirmations: 0,
        }
    }
}

/// Where a transaction stands; an error with [`Exit::NotFound`] where nothing is known of it. `fates` is what a running
/// node has noted.
pub fn of(reader: &Reader, network: &Network, fates: Option<&Fates>, id: &TxId) -> Result<Standing> {
    let mut store = reader.snapshot()?;
    let mut waiting = Vec::new();
    if store.mined(id)?.is_none() {
        waiting = match fates {
            Some(fates) => fates.waiting_until(id),
            None => query::waiting_until(&store, id)?,
        };
        // What has been mined between the two looks is found by a third.
        store = reader.snapshot()?;
    }
    if let Some((transaction, before)) = waiting.split_last()
        && store.mined(id)?.is_none()
    {
        return Ok(Standing {
            transaction: Some(to_raw_value(&TransactionJson::new(transaction, network))?),
            since: fates.and_then(|fates| fates.arrival(id)),
            reason: Some(obstacle(&store, network, transaction, before)?),
            expires: Some(transaction.payment().timestamp.saturating_add(network.limits.window_us())),
            ..State::Pending.alone()
        });
    }
    if let Some((transaction, height, block)) = query::find_mined(&store, id)? {
        return Ok(Standing {
            transaction: Some(to_raw_value(&TransactionJson::new(&transaction, network))?),
            height: Some(height),
            block: Some(block),
            confirmations: query::height(&store)?.0.saturating_sub(height.0) + 1,
            ..State::Mined.alone()
        });
    }
    let Some(end) = fates.and_then(|fates| fates.end(id)) else {
        return Err(Exit::NotFound.error(anyhow!("{}; {}", query::unknown(&store)?, forgotten(fates))));
    };
    let state = if end.refused.is_some() { State::Refused } else { State::Expired };
    let window_s = network.limits.transaction_window;
    let too_old = || format!("it was not mined within the {window_s} s for which a transaction is valid");
    let reason = Some(end.refused.unwrap_or_else(too_old));
    Ok(Standing { since: Some(end.time), reason, ..state.alone() })
}

/// Whether a running node knows anything of a transaction.
pub fn is_known(reader: &Reader, fates: &Fates, id: &TxId) -> Result<bool> {
    // In this order: what is mined meanwhile is in the snapshot.
    let is_noted = fates.is_waiting(id) || fates.end(id).is_some();
    Ok(is_noted || reader.snapshot()?.mined(id)?.is_some())
}

/// What else could be said of it, and is not known.
fn forgotten(fates: Option<&Fates>) -> String {
    match fates {
        Some(_) => format!("nor is it one of the last {ENDS_MAX} that the node has refused since its start"),
        None => "what the node refused it forgot when it stopped".to_owned(),
    }
}

/// What a transaction waits for that has come after those before it.
fn obstacle(
    store: &Snapshot,
    network: &Network,
    transaction: &Transaction,
    before: &[Arc<Transaction>],
) -> Result<String> {
    let payment = transaction.payment();
    let mut left = i128::from(store.balance(&payment.from)?.unwrap_or_default().0);
    // Memory may still have what has just been mined, or this one's earlier place.
    let is_other = |it: &&Arc<Transaction>| it.id() != transaction.id();
    for it in before.iter().filter(is_other) {
        let other = it.payment();
        if (other.from != payment.from && other.to != payment.from) || store.mined(&it.id())?.is_some() {
            continue;
        }
        let amount = i128::from(other.amount.0);
        left += if other.to == payment.from { amount } else { 0 };
        left -= if other.from == payment.from { amount } else { 0 };
    }
    if left < i128::from(payment.amount.0) {
        let there = Amount(u64::try_from(left.max(0)).unwrap_or(u64::MAX));
        return Ok(format!(
            "for money: of {} only {there} is there when its turn comes, the rest with payments that wait behind it",
            payment.amount
        ));
    }
    let most = network.limits.block_transactions;
    Ok(format!("for a block: {} before it, and a block holds up to {most} transactions", before.len()))
}

#[cfg(test)]
mod tests {
    use quarry_core::effect::Notice;
    use quarry_core::store::Changes;
    use quarry_core::transaction::Payment;

    use super::*;
    use crate::exit;
    use crate::store::RedbStore;

    /// After a reorganisation payments may wait that their senders cannot make any more.
    #[test]
    fn what_waits_for_money_says_so_and_what_has_gone_says_why() {
        let (place, network, fates) = (tempfile::tempdir().unwrap(), Network::demo(), Fates::default());
        let mut store = RedbStore::open(&place.path().join("store"), &network.id).unwrap();
        let account = |name| network.account(name).unwrap();
        let timestamp = Timestamp::from_micros(1_000_000).unwrap();
        let payment = |from, to, cents| {
            let payment = Payment { from: account(from), to: account(to), amount: Amount(cents), timestamp };
            Arc::new(Transaction::new(&network.id, payment, None))
        };
        let waiting =
            [payment("node0", "node1", 900), payment("node0", "node2", 200), payment("node2", "node0", 50)];
        let changes = Changes {
            balances: network.accounts.iter().map(|it| (it.id, Some(it.balance))).collect(),
            mempool: (0..).zip(waiting.iter().cloned().map(Some)).collect(),
            ..Changes::default()
        };
        fates.come(&changes.mempool);
        store.apply(&changes).unwrap();
        let reader = store.reader();

        let reason = |number: usize| {
            let standing = of(&reader, &network, Some(&fates), &waiting[number].id()).unwrap();
            assert_eq!((standing.state, standing.since), (State::Pending, None));
            let stored = of(&reader, &network, None, &waiting[number].id()).unwrap();
            assert_eq!(standing.reason, stored.reason, "memory and store agree");
            assert_eq!(standing.expires, Some(timestamp.saturating_add(network.limits.window_us())));
            standing.reason.unwrap()
        };
        assert!(reason(0).starts_with("for a block: 0 before it"), "{}", reason(0));
        assert!(reason(1).starts_with("for money: of 2.00 only 1.00 is there"), "{}", reason(1));
        assert!(reason(2).starts_with("for a block: 2 before it"), "{}", reason(2));

        let gone = payment("node3", "node0", 1).id();
        let unknown = of(&reader, &network, Some(&fates), &gone).unwrap_err();
        assert_eq!(exit::code(&unknown), Exit::NotFound);
        fates.note(&Notice::Expired(gone), timestamp);
        fates.note(&Notice::Expired(waiting[0].id()), timestamp);
        let standing = of(&reader, &network, Some(&fates), &gone).unwrap();
        assert_eq!((standing.state, standing.since), (State::Expired, Some(timestamp)));
        assert!(standing.reason.unwrap().contains("within the 7200 s"));
        assert!(reason(0).starts_with("for a block"), "what the store has counts");
    }
    /// What waits is found by its id: looking at all that wait took a tenth of a second, whoever asked for it.
    #[test]
    fn a_waiting_transaction_is_found_until_it_goes() {
        let (place, network, fates) = (tempfile::tempdir().unwrap(), Network::demo(), Fates::default());
        let mut store = RedbStore::open(&place.path().join("store"), &network.id).unwrap();
        let account = |name| network.account(name).unwrap();
        let payment = Payment {
            from: account("node0"),
            to: account("node1"),
            amount: Amount(1),
            timestamp: Timestamp::default(),
        };
        let transaction = Arc::new(Transaction::new(&network.id, payment, None));
        let id = transaction.id();
        let mut change = |mempool: &[(u64, bool)]| {
            let entry = |is_in: bool| is_in.then(|| Arc::clone(&transaction));
            let mempool = mempool.iter().map(|(number, is_in)| (*number, entry(*is_in))).collect();
            let changes = Changes { mempool, ..Changes::default() };
            fates.come(&changes.mempool);
            store.apply(&changes).unwrap();
            fates.go(&changes.mempool);
            let reader = store.reader();
            let found = |fates| of(&reader, &network, fates, &id).is_ok();
            assert_eq!(found(Some(&fates)), found(None), "the notes agree with the store");
            assert_eq!(found(None), is_known(&reader, &fates, &id).unwrap());
            found(None)
        };
        assert!(!change(&[]));
        assert!(change(&[(0, true)]));
        assert!(change(&[(0, false), (1, true)]), "it came again");
        assert!(!change(&[(1, false)]));
        assert!(!change(&[(2, false)]));
    }
}
