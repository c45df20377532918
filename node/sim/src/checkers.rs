//! What must hold of a network at rest or now and then, found out without the code that is to keep it.

use std::collections::{BTreeMap, BTreeSet};

use quarry_core::memory::MemoryStore;
use quarry_core::network::Network;
use quarry_core::node::EXCHANGES;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Height, NodeId, TxId};

use crate::counts::Counts;
use crate::machine::{BACK_OFF_US, Machine, REPLY_TIMEOUT_US, utc};
use crate::options::{Options, SECOND_US};
use crate::violation::{Checker, Violation};
use crate::world::World;

/// How long a network is watched for its idle rate.
pub const IDLE_US: u64 = 30 * SECOND_US;
/// The least that a transaction takes in a message.
const TRANSACTION_BYTES_MIN: u64 = 200;
/// After how long what waits is told again at the latest, as others may put it off.
const RELAY_AGAIN_MAX_US: u64 = 240 * SECOND_US;
/// How many block times a block takes at most on the average of some, where the difficulty follows a block time.
const LATE_BLOCK_TIMES: u64 = 20;
/// The most orphans that a node may keep.
const ORPHANS_MAX: usize = 100;
/// The most transactions that may wait at a node, those of abandoned blocks included.
const WAITING_MAX: usize = 100_000;
/// The most blocks whose transactions one block takes from the index.
const PRUNED_MAX: u64 = 64;

/// How long a network whose faults have ended may take to agree and to mine what can be mined.
pub fn settled_within_us(world: &World) -> u64 {
    let options = &world.options;
    // Blocks of clocks that were ahead are refused until the others' clocks have caught up, and then asked for again.
    let ahead_us = options.offset_max_us().saturating_sub(options.skew_settled_us());
    // What is on its way may be waiting transactions, too.
    let (messages, bytes) = world.backlog();
    let blocks = (waiting(world) + bytes / TRANSACTION_BYTES_MIN) / u64::from(options.block_transactions);
    // A difficulty that hostile nodes or a fast clock have raised makes blocks late until they have eased it.
    let block_us =
        options.block_interval_us.max(LATE_BLOCK_TIMES * u64::from(options.block_time_s) * SECOND_US);
    // What a flood has left is worked off in at most twice its time: a network at rest needs less than half of it.
    let backlog_us = 2 * messages * options.event_us();
    600 * SECOND_US + backlog_us + (20 + 2 * blocks) * block_us + 4 * options.status_interval_us + ahead_us
}

/// How long it may take until what waits somewhere waits at all that mine. Where a node gossips, each round tells a few at
/// random, so that in a few rounds one may be missed.
pub fn told_within_us(world: &World) -> u64 {
    let rounds = if world.options.gossips() { 20 } else { 3 };
    rounds * RELAY_AGAIN_MAX_US
}

/// The chain on a disk keeps the rules, and what the disk says of it is what a plain replay says.
pub fn check_ledger(store: &MemoryStore, network: &Network) -> Result<(), String> {
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
    for machine in &world.machines {
        let store = machine.disk.read();
        kept.extend(store.mempool.values().map(|it| it.id()));
        for hash in store.path.values() {
            kept.extend(store.blocks[hash].transactions.iter().map(Transaction::id));
        }
    }
    // By the fastest clock that there ever may have been.
    let fastest_us = i64::try_from(world.options.offset_max_us()).expect("minutes");
    let window_us = u64::from(world.options.window_s) * SECOND_US;
    let oldest = utc(world.now_us(), fastest_us).saturating_sub(window_us);
    let is_lost = |(id, it): &(&TxId, &Transaction)| !kept.contains(*id) && oldest <= it.payment().timestamp;
    match world.watch.admitted.iter().find(is_lost) {
        Some((id, _)) => Err(Checker::Conservation.failed(format!("transaction {id} is lost"))),
        None => Ok(()),
    }
}

/// A node knows what its disk knows, and so would the node that started from it.
pub fn check_durability(machine: &Machine, now_us: u64) -> Result<(), String> {
    let Some(process) = machine.process.as_ref().filter(|process| process.batch.is_none()) else {
        return Ok(());
    };
    let store = machine.disk.read();
    let (node, twin) = (&process.node, machine.twin(now_us));
    if Some(node.tip().hash) != store.tip || twin.tip() != node.tip() {
        return Err(format!("its tip is {}, but its disk's is {:?}", node.tip().hash, store.tip));
    }
    let on_disk: Vec<TxId> = store.mempool.values().map(|it| it.id()).collect();
    let ids = |mempool: &quarry_core::mempool::Mempool| mempool.iter().map(|it| it.id()).collect::<Vec<_>>();
    if ids(node.mempool()) != on_disk || ids(twin.mempool()) != on_disk {
        return Err("its disk holds other waiting transactions than it does".into());
    }
    Ok(())
}

/// Everything that a peer can make grow keeps its limit.
pub fn check_bounds(machine: &Machine, network: &Network, members: usize) -> Result<(), String> {
    let store = machine.disk.read();
    if let Some(process) = &machine.process {
        let node = &process.node;
        let sizes = [
            ("orphans", node.orphans().len(), ORPHANS_MAX),
            ("waiting transactions", node.mempool().len(), WAITING_MAX),
            ("peers", node.peers().ids().len(), members),
        ];
        if let Some((what, count, max)) = sizes.iter().find(|(_, count, max)| max < count) {
            return Err(format!("{count} {what}, which is more than {max}"));
        }
    }
    check_index_bound(&store, network)
}

/// The index of transactions forgets those that no block can hold any more, unless there were too many at once.
fn check_index_bound(store: &MemoryStore, network: &Network) -> Result<(), String> {
    let Some(tip) = store.tip.map(|tip| store.blocks[&tip].header) else { return Ok(()) };
    let horizon = tip.timestamp.saturating_sub(2 * network.limits.window_us());
    let below_tip = store.path.range(store.indexed_from..tip.index);
    let is_stale = |hash| store.blocks[hash].header.timestamp < horizon;
    let stale = below_tip.filter(|(_, hash)| is_stale(hash)).count();
    let before = store.undo.get(&tip.hash()).map(|undo| undo.indexed_from);
    let is_catching_up = before.is_some_and(|before| before.0 + PRUNED_MAX == store.indexed_from.0);
    if stale == 0 || is_catching_up {
        Ok(())
    } else {
        Err(format!("the index holds {stale} blocks' transactions too many"))
    }
}

/// The nodes agree.
pub fn check_agreement(world: &World) -> Result<(), Violation> {
    let tips = world.tips();
    if tips.len() == 1 {
        return Ok(());
    }
    Err(Checker::Agreement.failed(format!("{} tips: {tips:?}", tips.len())))
}

/// What a network at rest is compared with some time later.
pub struct Resting {
    counts: Counts,
    waiting: u64,
}

impl Resting {
    /// The network as it is now.
    pub fn of(world: &World) -> Self {
        Self { counts: world.counts.clone(), waiting: waiting(world) }
    }
}

/// How long nodes may still ask hostile ones, who have fallen silent, for what those have claimed: each once, and in
/// vain, when the time that it was left alone for after a failure has passed and something wakes the node.
pub fn claims_end_within_us(world: &World) -> u64 {
    let each_us = REPLY_TIMEOUT_US * world.options.adversaries.len() as u64;
    BACK_OFF_US + each_us + world.options.status_interval_us
}

/// Whether a node may still ask a hostile one for a chain that is better than its own.
pub fn has_claims(world: &World) -> bool {
    let is_hostile = |id: &NodeId| world.options.nodes <= id.0;
    let nodes = world.machines.iter().filter_map(|machine| Some(&machine.process.as_ref()?.node));
    let mut claims = nodes.flat_map(|node| {
        let ahead = node.peers().ids().into_iter().filter(|id| node.peers().is_ahead(*id, node.tip()));
        ahead.chain(node.syncing())
    });
    claims.any(|id| is_hostile(&id))
}

/// Since [`IDLE_US`] ago nothing was said but how the nodes do, and what waits in vain.
pub fn check_idle(world: &World, before: &Resting) -> Result<(), Violation> {
    let rest = |text: String| Err(Checker::Rest.failed(text));
    let nodes = u64::from(world.options.nodes);
    let others = u64::from(world.options.members()) - 1;
    let rounds = IDLE_US / world.options.status_interval_us + 1;
    let (counts, earlier) = (&world.counts, &before.counts);
    for (kind, count) in &counts.messages {
        let sent = count - earlier.messages.get(kind).unwrap_or(&0);
        let most = match kind.as_str() {
            // Of the last round before, replies may still have been due.
            "status" => nodes * (statuses(&world.options) * rounds + EXCHANGES as u64),
            "transactions" => others * before.waiting.max(waiting(world)),
            _ => 0,
        };
        if most < sent {
            return rest(format!("{sent} messages of kind {kind} in {} s of rest", IDLE_US / SECOND_US));
        }
    }
    let steps = counts.steps - earlier.steps;
    let messages = counts.messages_total() - earlier.messages_total();
    // What waits is due once in a while, also where nobody is there to be told.
    let most =
        2 * messages + nodes * (IDLE_US / SECOND_US + renewals(world)) + before.waiting.max(waiting(world));
    if steps <= most { Ok(()) } else { rest(format!("{steps} steps, but only {messages} messages at rest")) }
}

/// How many statuses a node sends in a round at rest, on the average.
fn statuses(options: &Options) -> u64 {
    // It asks some, who reply, and as many ask it. Hostile ones, who are silent, are asked again and again, or whether they
    // are back, and for each of them another is asked, who replies.
    let asked = 2 * EXCHANGES as u64 + 3 * options.adversaries.len() as u64;
    // Whose answer takes longer than a round is asked again meanwhile.
    let of_gossip = asked * (1 + 2 * options.hop_us() / options.status_interval_us);
    // It tells all, and asks one of them in turn for a reply.
    let of_mesh = u64::from(options.members());
    if options.gossips() { of_gossip } else { of_mesh.max(of_gossip) }
}

/// How often a node that mines blocks without transactions, and so always, takes a new template for the time in it.
fn renewals(world: &World) -> u64 {
    let block_time_us = u64::from(world.options.block_time_s) * SECOND_US;
    match world.options.mine_empty {
        true => (2 * IDLE_US).checked_div(block_time_us).unwrap_or(0),
        false => 0,
    }
}

fn waiting(world: &World) -> u64 {
    world.machines.iter().map(|machine| machine.disk.read().mempool.len() as u64).sum()
}
