//! Everything together, driven by one agenda.
//! Invariant: whatever happens follows from the seed, the options and the calls made on the world.

mod events;
mod faults;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use quarry_core::effect::Event;
use quarry_core::memory::MemoryStore;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Hash, NodeId};

use crate::adversary::Adversary;
use crate::counts::Counts;
use crate::dice::Dice;
use crate::machine::{Batch, Input, Machine, Process, utc};
use crate::network::{Cut, Mail, Network};
use crate::options::{Options, SECOND_US};
use crate::traffic::Traffic;
use crate::violation::Violation;
use crate::watch::Watch;

/// For how many seconds nothing may be left to do: between two blocks a node searches nothing for a moment, and one that
/// has transactions and cannot mine them looks again after ten.
const SETTLED_S: u64 = 12;

/// A simulated network and its clients.
pub struct World {
    /// What it is like.
    pub options: Options,
    /// The honest nodes.
    pub machines: Vec<Machine>,
    /// What happened so far.
    pub counts: Counts,
    /// What is checked at every commit.
    pub watch: Watch,
    /// The first thing that did not hold; nothing happens any more after it.
    pub violation: Option<Violation>,
    /// Which node has asked which where it stands, from when that is watched.
    pub asked: Option<BTreeSet<(NodeId, NodeId)>>,
    /// Until when a node leaves a listed peer alone with which a sync has failed.
    left_alone_until_us: BTreeMap<(usize, NodeId), u64>,
    network: Arc<quarry_core::network::Network>,
    wires: Network,
    traffic: Traffic,
    adversaries: Vec<Adversary>,
    dice: Dice,
    faults: Faults,
    agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    now_us: u64,
    is_mining_on: bool,
    /// How much faster all nodes search than the options say, in thousandths.
    pace_per_mille: u64,
}

/// The state of what goes wrong. Each kind has dice of its own, so that a run without one kind is else the same.
struct Faults {
    are_on: bool,
    crashes: Dice,
    cuts: Dice,
    clocks: Dice,
    restores: Dice,
    absences: Dice,
    memberships: Dice,
    attacks: Dice,
    /// Where in its next round each process is going to crash.
    dooms: Vec<Option<Doom>>,
    /// Until when each machine stays switched off.
    absent_until_us: Vec<u64>,
    /// Which nodes belong to the network now.
    members: BTreeSet<NodeId>,
    /// Old states of disks.
    backups: Vec<Option<MemoryStore>>,
}

/// Something that is going to happen, first by time, then by order of planning.
#[derive(Debug)]
struct Entry {
    time_us: u64,
    number: u64,
    doing: Doing,
}

#[derive(Debug)]
enum Doing {
    /// A hostile node sends a message.
    Post(Mail),
    Arrive(Mail),
    /// A process, by machine and life, has written its changes to the disk.
    Commit(usize, u64),
    /// A process's search, by number, has a hit.
    Hit(usize, u64, u64),
    /// A process has a deadline.
    Wake(usize, u64),
    /// What a process has announced is durable elsewhere.
    Announced(usize, u64, u64),
    Start(usize),
    Join,
    Pay,
    Fault(Fault),
    /// A hostile node does something.
    Attack(usize),
    /// A hostile node finds a block.
    AttackHit(usize),
    /// A node that left joins again.
    Return(usize),
}

/// What goes wrong from time to time.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Crash,
    Cut,
    ClockStep,
    Backup,
    Restore,
    Absence,
    Departure,
}

/// Where in its next round a process is going to crash.
#[derive(Debug, Clone, Copy)]
enum Doom {
    BeforeCommit,
    AfterEffects(u64),
    BeforeAcknowledgement,
    /// After all of it, and what was committed last is lost: the disk lied.
    LostCommit,
}

impl World {
    /// All nodes running, nothing said yet.
    pub fn new(seed: u64, options: Options) -> Self {
        let network = Arc::new(options.network());
        let machine = |number| Machine::new(NodeId(number), &network, &options);
        let machines: Vec<_> = (0..options.nodes).map(machine).collect();
        let kinds = options.adversaries.iter().zip(options.nodes..);
        let adversary = |(attack, number): (&_, _)| Adversary::new(seed, NodeId(number), *attack, &network);
        let mut world = Self {
            wires: Network::new(seed, &options),
            traffic: Traffic::new(seed, &network, options.signed_per_mille),
            adversaries: kinds.map(adversary).collect(),
            faults: Faults::new(seed, &options),
            watch: Watch::new(&network, machines.len()),
            machines,
            network,
            dice: Dice::new(seed, 3),
            options,
            counts: Counts::default(),
            violation: None,
            asked: None,
            left_alone_until_us: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            entries: 0,
            now_us: 0,
            is_mining_on: true,
            pace_per_mille: 1000,
        };
        if world.options.block_time_s != 0 {
            world.counts.count("network with a block time");
        }
        if world.options.miners() < world.options.nodes {
            world.counts.count("network where some do not mine");
        }
        world.skew_clocks();
        for index in 0..world.machines.len() {
            world.start(index);
        }
        world.plan_faults();
        world
    }

    /// The network's rules.
    pub fn rules(&self) -> &Arc<quarry_core::network::Network> {
        &self.network
    }

    /// The time since the start.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Lets time pass.
    pub fn run_for(&mut self, micros: u64) {
        let end_us = self.now_us + micros;
        while self.violation.is_none()
            && self.agenda.peek().is_some_and(|Reverse(entry)| entry.time_us <= end_us)
        {
            self.take_one();
        }
        self.now_us = end_us;
    }

    /// Lets time pass until all nodes have one tip and nothing is left to mine, or for so long; answers whether they do.
    pub fn run_until_settled(&mut self, bound_us: u64) -> bool {
        let end_us = self.now_us + bound_us;
        let mut settled_s = 0;
        while self.now_us < end_us && self.violation.is_none() && settled_s < SETTLED_S {
            self.run_for(SECOND_US);
            settled_s = if self.is_settled() { settled_s + 1 } else { 0 };
        }
        settled_s == SETTLED_S
    }

    /// The tips of all nodes by their disks.
    pub fn tips(&self) -> BTreeSet<Option<Hash>> {
        self.machines.iter().map(|machine| machine.disk.read().tip).collect()
    }

    /// Starts a machine that is switched off.
    pub fn start(&mut self, index: usize) {
        let id = self.machines[index].id;
        if self.machines[index].process.is_some() || !self.faults.members.contains(&id) {
            return;
        }
        let seed = self.dice.number();
        let waiting = self.wires.redeliver(id, &mut self.counts);
        let members = self.faults.members.iter().copied().collect();
        let process = self.machines[index].start(self.now_us, seed);
        process.inbox.push_back(Input::Event(Event::Peers(members)));
        process.inbox.extend(waiting.into_iter().map(Input::Delivery));
        self.faults.dooms[index] = None;
        self.left_alone_until_us.retain(|(node, _), _| *node != index);
        // What a node wants to write at its start is written at once.
        drop(self.write(index));
        self.work(index);
    }

    /// Makes durable what a machine's steps have changed, and has that judged.
    fn write(&mut self, index: usize) -> Batch {
        let (changes, batch) = self.machines[index].commit();
        let store = self.machines[index].disk.read();
        // The clock may have stepped since the steps, which is not the node's concern.
        let limit = batch.latest.saturating_add(self.options.ahead_max_us());
        let verdict = self.watch.commit(index, &changes, &store, limit);
        drop(store);
        self.note(verdict);
        batch
    }

    /// Takes the power from a machine.
    pub fn crash(&mut self, index: usize) {
        if self.machines[index].process.is_some() {
            self.machines[index].crash();
            self.counts.crashes += 1;
        }
    }

    /// Cuts the network in two: the side of each node.
    pub fn cut(&mut self, sides: Vec<bool>) {
        self.cut_as(Cut { sides, is_one_way: false });
    }

    /// Joins the network again.
    pub fn join(&mut self) {
        for (time_us, mail) in self.wires.join(self.now_us) {
            self.plan(time_us, Doing::Arrive(mail));
        }
    }

    /// From here on no nonce is found but by [`World::find`].
    pub fn end_mining(&mut self) {
        self.is_mining_on = false;
    }

    /// From the next template on all nodes search so many thousandths as fast as the options say.
    pub fn set_pace(&mut self, per_mille: u64) {
        self.pace_per_mille = per_mille;
    }

    /// A client makes a transaction and tells most nodes.
    pub fn pay(&mut self) -> Transaction {
        let transaction = self.traffic.transaction(self.now_us);
        let mails = self.traffic.tell(transaction.clone(), self.options.nodes);
        self.counts.transactions += 1;
        for mail in mails {
            self.send(mail);
        }
        transaction
    }

    /// Sends a message.
    pub fn send(&mut self, mail: Mail) {
        for (time_us, mail) in self.wires.send(self.now_us, mail, &mut self.counts) {
            self.plan(time_us, Doing::Arrive(mail));
        }
    }

    /// How many messages wait for the node that most wait for, or are on their way there, and how many bytes for the one
    /// that those are most for.
    pub fn backlog(&self) -> (u64, u64) {
        let mut waiting = vec![(0, 0); self.machines.len()];
        let mut count = |index: usize, mail: &Mail| {
            if let Some((messages, bytes)) = waiting.get_mut(index) {
                *messages += 1;
                *bytes += mail.bytes.len() as u64;
            }
        };
        for (index, machine) in self.machines.iter().enumerate() {
            for input in machine.process.iter().flat_map(|process| &process.inbox) {
                if let Input::Delivery(delivery) = input {
                    count(index, &delivery.mail);
                }
            }
        }
        for Reverse(entry) in &self.agenda {
            if let Doing::Arrive(mail) = &entry.doing {
                count(usize::from(mail.to.0), mail);
            }
        }
        let most = |figure: fn(&(u64, u64)) -> u64| waiting.iter().map(figure).max().unwrap_or(0);
        (most(|it| it.0), most(|it| it.1))
    }

    fn is_settled(&self) -> bool {
        // Who is fetching a chain does not mine meanwhile, and perhaps goes on after it. Of many nodes one always writes,
        // but not what changes the chain or what waits. Where a clock was set back, a transaction may wait that is too new
        // for any block until it has caught up.
        let is_idle = |machine: &Machine, process: &Process| {
            let (node, store) = (&process.node, machine.disk.read());
            let is_searching = process.search.is_some() && self.is_mining_on;
            let is_durable =
                Some(node.tip().hash) == store.tip && node.mempool().len() == store.mempool.len();
            let has_worked_off = process.inbox.len() <= 2 * usize::from(self.options.members());
            let newest = utc(self.now_us, machine.offset_us).saturating_add(self.network.limits.window_us());
            let is_for_later = store.mempool.values().any(|it| newest < it.payment().timestamp);
            is_durable && has_worked_off && !is_searching && !is_for_later && node.syncing().is_none()
        };
        let are_idle =
            self.machines.iter().all(|it| it.process.as_ref().is_some_and(|process| is_idle(it, process)));
        are_idle && self.tips().len() == 1
    }

    /// Whether something waits at a node that does not mine and could be mined if all that do had it; where only that
    /// counts which they would take, not what they refuse because others have to be paid first.
    pub fn is_kept_from_miners(&self, would_take: bool) -> bool {
        let (miners, others) = self.machines.split_at(usize::from(self.options.miners()));
        others.iter().any(|other| {
            let store = other.disk.read();
            let balance = |account: &AccountId| store.balances.get(account).copied().unwrap_or_default();
            let is_payable = |it: &Transaction| it.payment().amount <= balance(&it.payment().from);
            let mut payable = store.mempool.values().filter(|it| is_payable(it));
            payable.any(|it| miners.iter().any(|miner| self.is_missing(miner, it, would_take)))
        })
    }

    /// Whether a node has not got a transaction that is in time, and would take it, if that is asked for.
    fn is_missing(&self, machine: &Machine, transaction: &Transaction, would_take: bool) -> bool {
        let Some(process) = &machine.process else { return false };
        let (node, payment) = (&process.node, transaction.payment());
        // A chain may be ahead of the clock.
        let now = utc(self.now_us, machine.offset_us).max(node.tip().header.timestamp);
        let is_in_time = now.micros().abs_diff(payment.timestamp.micros()) <= self.network.limits.window_us();
        let balance = machine.disk.read().balances.get(&payment.from).copied().unwrap_or_default();
        let is_paid_for = payment.amount <= node.mempool().available(&payment.from, balance);
        let is_here = node.mempool().transaction(&transaction.id()).is_some();
        is_in_time && !is_here && (is_paid_for || !would_take)
    }

    fn plan(&mut self, time_us: u64, doing: Doing) {
        self.entries += 1;
        self.agenda.push(Reverse(Entry { time_us, number: self.entries, doing }));
    }

    /// Notes the first thing that does not hold.
    fn note(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict
            && self.violation.is_none()
        {
            let text = format!("after {} s: {}", self.now_us / SECOND_US, violation.text);
            self.violation = Some(Violation { text, ..violation });
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time_us, self.number).cmp(&(other.time_us, other.number))
    }
}
