//! What it costs to bring news to everybody and how long that takes, by the size of the network.
//! Invariant: nothing is counted that happens before all nodes have started or after the last block was found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quarry_core::message::Message;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, Hash, NodeId, TxId};

use crate::checkers::{check_agreement, check_ledger};
use crate::counts::Counts;
use crate::dice::Dice;
use crate::machine::utc;
use crate::network::Mail;
use crate::options::{Options, SECOND_US};
use crate::violation::{Checker, Violation};
use crate::world::World;

/// How often the nodes are looked at.
const LOOK_US: u64 = 10_000;
/// How long the nodes run before anything is counted.
const WARM_UP_US: u64 = 120 * SECOND_US;
/// How long they may take to agree after the last block.
const SETTLED_WITHIN_US: u64 = 1200 * SECOND_US;
/// The time between two transactions whose way is followed.
const PROBE_INTERVAL_US: u64 = 20 * SECOND_US;
/// How long such a transaction is followed, at most.
const PROBE_WITHIN_US: u64 = 120 * SECOND_US;
/// How many open accounts the payments are made between.
const ACCOUNTS: u64 = 3;

/// A network to measure.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How many nodes there are.
    pub nodes: u16,
    /// Up to how many peers a node tells all of them what is new.
    pub mesh_max: usize,
    /// For how long it is measured.
    pub minutes: u64,
    /// How many messages in a thousand are lost.
    pub lost_per_mille: u64,
    /// The time between two transactions, each told to one node; 0 stands for never.
    pub transaction_interval_us: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// What happened.
    pub counts: Counts,
    /// How many nodes there were.
    pub nodes: u64,
    /// For how long.
    pub seconds: u64,
    /// How many blocks there are in the chain that all agree on in the end.
    pub height: u64,
    /// How many blocks were found.
    pub found: u64,
    /// For each block, when it was in the chain of each node, in microseconds after the first, ascending.
    pub blocks: Vec<Vec<u64>>,
    /// For each transaction that was followed, when each node had it, in microseconds after its client, ascending.
    pub transactions: Vec<Vec<u64>>,
    /// The memory that is allocated for a node, its store included.
    pub bytes_per_node: u64,
}

/// Runs a network like those over SQS: 20 to 300 ms a message, a block a minute, windows of two seconds. `allocated` says
/// how many bytes of memory are in use.
pub fn measure(seed: u64, setting: &Setting, allocated: impl Fn() -> usize) -> Result<Report, Violation> {
    let mut world = World::new(seed, options(setting));
    let mut clients = Clients::new(seed, setting);
    let mut reach = Reach::new(&world);
    let mut run_for = |world: &mut World, micros: u64| {
        let end_us = world.now_us() + micros;
        while world.now_us() < end_us {
            clients.speak(world);
            world.run_for(LOOK_US);
            reach.look(world);
            clients.look(world);
        }
    };
    run_for(&mut world, WARM_UP_US);
    let (before, start_us) = (world.counts.clone(), world.now_us());
    run_for(&mut world, setting.minutes * 60 * SECOND_US);
    let counts = world.counts.since(&before);
    world.end_mining();
    let last_us = world.now_us() + SETTLED_WITHIN_US;
    while world.now_us() < last_us && !reach.is_settled() {
        world.run_for(LOOK_US);
        reach.look(&world);
    }
    check(&world)?;
    let height = world.machines[0].disk.read().path.len() as u64 - 1;
    let (with, found) = (allocated(), world.counts.found);
    world.machines.clear();
    let bytes_per_node = with.saturating_sub(allocated()) as u64 / u64::from(setting.nodes);
    Ok(Report {
        counts,
        nodes: u64::from(setting.nodes),
        seconds: setting.minutes * 60,
        height,
        found,
        blocks: reach.times(start_us),
        transactions: clients.probes,
        bytes_per_node,
    })
}

/// The share of something at which so many in a thousand of an ascending list lie.
pub fn quantile(ascending: &[u64], per_mille: usize) -> Option<u64> {
    let index = (ascending.len() * per_mille).div_ceil(1000).saturating_sub(1);
    ascending.get(index).copied()
}

fn options(setting: &Setting) -> Options {
    Options {
        nodes: setting.nodes,
        mesh_max: setting.mesh_max,
        mine_empty: true,
        block_interval_us: 60 * SECOND_US,
        status_interval_max_us: 300 * SECOND_US,
        relay_window_us: 2 * SECOND_US,
        delay_min_us: 20_000,
        delay_max_us: 300_000,
        deduplicates: true,
        commit_max_us: 5_000,
        lost_per_mille: setting.lost_per_mille,
        ..Options::calm()
    }
}

/// All agree, and on some disks, looked at in full, everything is as a plain replay says.
fn check(world: &World) -> Result<(), Violation> {
    if let Some(violation) = &world.violation {
        return Err(violation.clone());
    }
    check_agreement(world)?;
    for index in [0, world.machines.len() / 2, world.machines.len() - 1] {
        let store = world.machines[index].disk.read();
        check_ledger(&store, world.rules()).map_err(Checker::Replay.violation(index))?;
    }
    Ok(())
}

/// When which block was in the chain of which node.
struct Reach {
    tips: Vec<Option<Hash>>,
    seen: Vec<BTreeSet<Hash>>,
    times_us: BTreeMap<Hash, Vec<u64>>,
}

impl Reach {
    fn new(world: &World) -> Self {
        let nodes = world.machines.len();
        let genesis = BTreeSet::from([world.rules().genesis.hash()]);
        Self { tips: vec![None; nodes], seen: vec![genesis; nodes], times_us: BTreeMap::new() }
    }

    fn look(&mut self, world: &World) {
        for (index, machine) in world.machines.iter().enumerate() {
            let store = machine.disk.read();
            if store.tip == self.tips[index] {
                continue;
            }
            self.tips[index] = store.tip;
            let mut next = store.tip;
            while let Some(hash) = next.filter(|hash| self.seen[index].insert(*hash)) {
                self.times_us.entry(hash).or_default().push(world.now_us());
                next = store.blocks.get(&hash).map(|block| block.header.prev_hash);
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.tips.iter().all(|tip| *tip == self.tips[0])
    }

    /// How long each block that came after a time and is in every chain took.
    fn times(self, start_us: u64) -> Vec<Vec<u64>> {
        let nodes = self.tips.len();
        let whole = self.times_us.into_values().filter(|times| times.len() == nodes && start_us < times[0]);
        whole.map(|times| times.iter().map(|time_us| time_us - times[0]).collect()).collect()
    }
}

/// Clients that tell one node each, and what became of some of their transactions.
struct Clients {
    dice: Dice,
    interval_us: u64,
    next_us: u64,
    probe: Option<Probe>,
    next_probe_us: u64,
    probes: Vec<Vec<u64>>,
}

/// A transaction that is followed.
struct Probe {
    id: TxId,
    sent_us: u64,
    missing: BTreeSet<usize>,
    times_us: Vec<u64>,
}

impl Clients {
    fn new(seed: u64, setting: &Setting) -> Self {
        let interval_us = setting.transaction_interval_us;
        let next_us = if interval_us == 0 { u64::MAX } else { 0 };
        let dice = Dice::new(seed, 20);
        Self { dice, interval_us, next_us, probe: None, next_probe_us: WARM_UP_US, probes: Vec::new() }
    }

    fn speak(&mut self, world: &mut World) {
        while self.next_us <= world.now_us() {
            self.next_us += self.dice.wait_us(self.interval_us).max(1);
            let transaction = self.transaction(world);
            let id = transaction.id();
            let bytes: Arc<[u8]> = Message::Transactions(vec![transaction]).encode(world.rules()).into();
            let nodes = world.machines.len();
            let to = NodeId(u16::try_from(self.dice.below(nodes as u64)).expect("a node's number"));
            world.send(Mail { from: None, to, bytes, bulk: true });
            world.counts.transactions += 1;
            if self.probe.is_none() && self.next_probe_us <= world.now_us() {
                self.next_probe_us = world.now_us() + PROBE_INTERVAL_US;
                let missing = (0..nodes).collect();
                self.probe = Some(Probe { id, sent_us: world.now_us(), missing, times_us: Vec::new() });
            }
        }
    }

    fn look(&mut self, world: &World) {
        let Some(Probe { id, sent_us, missing, times_us }) = &mut self.probe else { return };
        let waited_us = world.now_us() - *sent_us;
        let before = missing.len();
        missing.retain(|index| {
            let store = world.machines[*index].disk.read();
            let is_waiting = world.machines[*index]
                .process
                .as_ref()
                .is_some_and(|process| process.node.mempool().transaction(id).is_some());
            !is_waiting && !store.mined.contains_key(id)
        });
        times_us.extend(std::iter::repeat_n(waited_us, before - missing.len()));
        if missing.is_empty() || PROBE_WITHIN_US <= waited_us {
            // Those that still have not got it count with what they have waited; what nobody got was lost by the client.
            if !times_us.is_empty() {
                times_us.extend(missing.iter().map(|_| waited_us));
                self.probes.push(std::mem::take(times_us));
            }
            self.probe = None;
        }
    }

    /// A payment of a cent between open accounts.
    fn transaction(&mut self, world: &World) -> Transaction {
        let from = self.dice.below(ACCOUNTS);
        let to = (from + 1 + self.dice.below(ACCOUNTS - 1)) % ACCOUNTS;
        let account = |number: u64| world.rules().account(&format!("open{number}")).expect("it is there");
        let timestamp = utc(world.now_us(), 0);
        let payment = Payment { from: account(from), to: account(to), amount: Amount(1), timestamp };
        Transaction::new(&world.rules().id, payment, None)
    }
}
