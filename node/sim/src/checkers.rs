//! What must hold of a network, found out without the code that is to keep it.

use std::collections::{BTreeMap, BTreeSet};

use quarry_core::memory::MemoryStore;
use quarry_core::network::Network;
use quarry_core::store::Status;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Height, TxId};

use crate::counts::Counts;
use crate::options::{GENESIS_US, SECOND_US};
use crate::world::World;

/// How long a network may take to agree after the last fault, and how long it is watched then.
pub const SETTLED_WITHIN_US: u64 = 600 * SECOND_US;
/// How long a network is watched for its idle rate.
pub const IDLE_US: u64 = 30 * SECOND_US;

/// What did not hold.
pub type Violation = String;

/// The chain on a disk keeps the rules, and what the disk says of it is what a plain replay says.
pub fn check_ledger(store: &MemoryStore, network: &Network) -> Result<(), Violation> {
    let mut balances: BTreeMap<AccountId, u64> =
        network.accounts.iter().map(|account| (account.id, account.balance.0)).collect();
    let mut mined: BTreeMap<TxId, Height> = BTreeMap::new();
    let mut last = network.genesis;
    for (height, hash) in store.path.iter().skip(1) {
        let block = store.blocks.get(hash).ok_or_else(|| format!("block {hash} is missing"))?;
        let header = block.header;
        let is_linked = header.prev_hash == last.hash() && header.index == *height;
        let is_later = last.timestamp < header.timestamp && height.0 == last.index.0 + 1;
        let leading = hash.to_string().starts_with('0');
        if !(is_linked && is_later && leading && header.hash() == *hash && header.tx_root == block.tx_root())
        {
            return Err(format!("block {height} does not follow"));
        }
        for transaction in &block.transactions {
            let payment = transaction.payment();
            let (from, amount) = (payment.from, payment.amount.0);
            let balance = balances.get(&from).copied().unwrap_or(0);
            let rest = balance.checked_sub(amount).filter(|_| 0 < amount);
            balances.insert(from, rest.ok_or_else(|| format!("block {height} overspends {from}"))?);
            *balances.entry(payment.to).or_default() += amount;
            if mined.insert(transaction.id(), *height).is_some() {
                return Err(format!("transaction {} is mined twice", transaction.id()));
            }
        }
        if network.reward.0 != 0 {
            *balances.entry(header.miner).or_default() += network.reward.0;
        }
        last = header;
    }
    if store.tip != Some(last.hash()) {
        return Err("the tip is not the end of the path".into());
    }
    let stored: BTreeMap<_, _> = store.balances.iter().map(|(id, amount)| (*id, amount.0)).collect();
    if stored != balances {
        return Err(format!("balances are {stored:?}, but a replay says {balances:?}"));
    }
    let supply: u64 = network.accounts.iter().map(|account| account.balance.0).sum();
    if balances.values().sum::<u64>() != supply + network.reward.0 * last.index.0 {
        return Err("money was made or lost".into());
    }
    let indexed = |height: &Height| store.indexed_from <= *height;
    if store.mined != mined.iter().filter(|(_, height)| indexed(height)).map(|(id, it)| (*id, *it)).collect()
    {
        return Err("the index of transactions is not that of the chain".into());
    }
    match store.mempool.values().find(|it| mined.contains_key(&it.id())) {
        Some(both) => Err(format!("transaction {} waits though it is mined", both.id())),
        None => Ok(()),
    }
}

/// Every transaction that a node once held is in the chain or waits somewhere, unless it has become too old.
pub fn check_conservation(world: &World) -> Result<(), Violation> {
    let mut kept: BTreeSet<TxId> = BTreeSet::new();
    let mut held: BTreeMap<TxId, Transaction> = world.admitted.clone();
    for machine in &world.machines {
        let store = machine.disk.read();
        kept.extend(store.mempool.values().map(|it| it.id()));
        for hash in store.path.values() {
            kept.extend(store.blocks[hash].transactions.iter().map(Transaction::id));
        }
        let once_best = store.records.iter().filter(|(_, record)| record.status == Status::Valid);
        for transaction in once_best.flat_map(|(hash, _)| &store.blocks[hash].transactions) {
            held.insert(transaction.id(), transaction.clone());
        }
    }
    let now_us = GENESIS_US + 3600 * SECOND_US + world.now_us() + world.options.skew_max_us;
    let oldest_us = now_us.saturating_sub(u64::from(world.options.window_s) * SECOND_US);
    let is_lost = |(id, it): &(&TxId, &Transaction)| {
        !kept.contains(*id) && oldest_us <= it.payment().timestamp.micros()
    };
    match held.iter().find(is_lost) {
        Some((id, _)) => Err(format!("transaction {id} is lost")),
        None => Ok(()),
    }
}

/// Nobody said anything that honest nodes give no cause to.
pub fn check_complaints(world: &World) -> Result<(), Violation> {
    world.complaints.first().map_or(Ok(()), |complaint| Err(complaint.clone()))
}

/// The nodes agree.
pub fn check_agreement(world: &World) -> Result<(), Violation> {
    let tips = world.tips();
    if tips.len() == 1 { Ok(()) } else { Err(format!("{} tips: {tips:?}", tips.len())) }
}

/// Between two counts, [`IDLE_US`] apart, nothing was said but how the nodes do, and what waits in vain.
pub fn check_idle(world: &World, before: &Counts, after: &Counts) -> Result<(), Violation> {
    let nodes = u64::from(world.options.nodes);
    let links = nodes * (nodes - 1);
    let waiting: usize = world.machines.iter().map(|machine| machine.disk.read().mempool.len()).sum();
    for (kind, count) in &after.messages {
        let sent = count - before.messages.get(kind).unwrap_or(&0);
        let most = match kind.as_str() {
            // Each node asks one peer in turn for a reply.
            "status" => (links + nodes) * (IDLE_US / (5 * SECOND_US) + 1),
            "transactions" => (nodes - 1) * waiting as u64,
            _ => 0,
        };
        if most < sent {
            return Err(format!("{sent} messages of kind {kind} in {} s of rest", IDLE_US / SECOND_US));
        }
    }
    let steps = after.steps - before.steps;
    let messages = after.messages_total() - before.messages_total();
    let most = 2 * messages + nodes * IDLE_US / SECOND_US;
    if steps <= most { Ok(()) } else { Err(format!("{steps} steps, but only {messages} messages at rest")) }
}
