//! Everything together, driven by one agenda.
//! Invariant: whatever happens follows from the seed, the options and the calls made on the world.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use quarry_core::effect::{Effect, Event, Notice, SyncFailure};
use quarry_core::transaction::Transaction;
use quarry_core::units::{Hash, NodeId, TxId};

use crate::counts::Counts;
use crate::dice::Dice;
use crate::machine::{Input, Machine, Process, Search};
use crate::network::{Mail, Network};
use crate::options::{Options, SECOND_US};
use crate::traffic::Traffic;

/// A simulated network and its clients.
pub struct World {
    /// What it is like.
    pub options: Options,
    /// The nodes.
    pub machines: Vec<Machine>,
    /// What happened so far.
    pub counts: Counts,
    /// Every transaction that a node once had durably waiting.
    pub admitted: BTreeMap<TxId, Transaction>,
    /// What honest nodes never say of each other, and did.
    pub complaints: Vec<String>,
    network: Arc<quarry_core::network::Network>,
    wires: Network,
    traffic: Traffic,
    dice: Dice,
    agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    now_us: u64,
    dooms: Vec<Option<Doom>>,
    are_faults_on: bool,
    is_mining_on: bool,
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
    Arrive(Mail),
    /// A process, by machine and life, has written its changes to the disk.
    Commit(usize, u64),
    /// A process's search, by number, has a hit.
    Hit(usize, u64, u64),
    /// A process has a deadline.
    Wake(usize, u64),
    /// What a process has announced is durable elsewhere.
    Announced(usize, u64, u64),
    Pay,
    Crash,
    Start(usize),
    Cut,
    Join,
}

/// Where in its next round a process is going to crash.
#[derive(Debug, Clone, Copy)]
enum Doom {
    BeforeCommit,
    AfterEffects(u64),
    BeforeAcknowledgement,
}

impl World {
    /// All nodes running, nothing said yet.
    pub fn new(seed: u64, options: Options) -> Self {
        let network = Arc::new(options.network());
        let mut dice = Dice::new(seed, 3);
        let machine = |number| {
            let skew_us = dice.between(0, options.skew_max_us);
            Machine::new(NodeId(number), &network, options.mine_empty, skew_us)
        };
        let machines: Vec<_> = (0..options.nodes).map(machine).collect();
        let mut world = Self {
            wires: Network::new(seed, &options),
            traffic: Traffic::new(seed, &network),
            dooms: vec![None; machines.len()],
            machines,
            network,
            dice,
            options,
            counts: Counts::default(),
            admitted: BTreeMap::new(),
            complaints: Vec::new(),
            agenda: BinaryHeap::new(),
            entries: 0,
            now_us: 0,
            are_faults_on: true,
            is_mining_on: true,
        };
        for index in 0..world.machines.len() {
            world.start(index);
        }
        world.plan_fault(world.options.transaction_interval_us, Doing::Pay);
        world.plan_fault(world.options.crash_interval_us, Doing::Crash);
        world.plan_fault(world.options.partition_interval_us, Doing::Cut);
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
        while self.agenda.peek().is_some_and(|Reverse(entry)| entry.time_us <= end_us) {
            self.take_one();
        }
        self.now_us = end_us;
    }

    /// Lets time pass until all nodes have one tip and nothing is left to mine, or for so long; answers whether they do.
    pub fn run_until_settled(&mut self, bound_us: u64) -> bool {
        let end_us = self.now_us + bound_us;
        while self.now_us < end_us {
            self.run_for(SECOND_US);
            if self.is_settled() {
                return true;
            }
        }
        false
    }

    /// The tips of all nodes by their disks.
    pub fn tips(&self) -> BTreeSet<Option<Hash>> {
        self.machines.iter().map(|machine| machine.disk.read().tip).collect()
    }

    /// Starts a machine that is switched off.
    pub fn start(&mut self, index: usize) {
        if self.machines[index].process.is_some() {
            return;
        }
        let members = (0..self.options.nodes).map(NodeId).collect();
        let seed = self.dice.number();
        let id = self.machines[index].id;
        let waiting = self.wires.redeliver(id, &mut self.counts);
        let process = self.machines[index].start(self.now_us, seed);
        process.inbox.push_back(Input::Event(Event::Peers(members)));
        process.inbox.extend(waiting.into_iter().map(Input::Delivery));
        self.dooms[index] = None;
        self.work(index);
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
        self.counts.partitions += 1;
        self.wires.cut(sides);
    }

    /// Joins the network again.
    pub fn join(&mut self) {
        for (time_us, mail) in self.wires.join(self.now_us) {
            self.plan(time_us, Doing::Arrive(mail));
        }
    }

    /// Ends all faults and the traffic, and starts what is down.
    pub fn end_faults(&mut self) {
        self.are_faults_on = false;
        self.dooms.fill(None);
        self.wires.calm_down();
        self.join();
        for index in 0..self.machines.len() {
            self.start(index);
        }
    }

    /// From here on no nonce is found.
    pub fn end_mining(&mut self) {
        self.is_mining_on = false;
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

    fn is_settled(&self) -> bool {
        let is_idle =
            |process: &Process| process.batch.is_none() && (process.search.is_none() || !self.is_mining_on);
        let are_idle = self.machines.iter().all(|it| it.process.as_ref().is_some_and(is_idle));
        are_idle && self.tips().len() == 1
    }

    fn plan(&mut self, time_us: u64, doing: Doing) {
        self.entries += 1;
        self.agenda.push(Reverse(Entry { time_us, number: self.entries, doing }));
    }

    fn plan_fault(&mut self, mean_us: u64, doing: Doing) {
        if mean_us != 0 {
            let time_us = self.now_us + self.dice.wait_us(mean_us);
            self.plan(time_us, doing);
        }
    }

    fn take_one(&mut self) {
        let Some(Reverse(Entry { time_us, doing, .. })) = self.agenda.pop() else { return };
        self.now_us = time_us;
        match doing {
            Doing::Arrive(mail) => self.arrive(mail),
            Doing::Commit(index, life) => {
                if self.process(index, life).is_some() {
                    self.commit(index);
                }
            }
            Doing::Hit(index, life, number) => self.hit(index, life, number),
            Doing::Wake(index, life) => self.wake(index, life),
            Doing::Announced(index, life, number) => {
                self.give(index, life, Input::Event(Event::Announced(number)));
            }
            Doing::Start(index) => self.start(index),
            Doing::Join => self.join(),
            Doing::Pay | Doing::Crash | Doing::Cut if !self.are_faults_on => {}
            Doing::Pay => {
                self.pay();
                self.plan_fault(self.options.transaction_interval_us, Doing::Pay);
            }
            Doing::Crash => {
                self.crash_somewhere();
                self.plan_fault(self.options.crash_interval_us, Doing::Crash);
            }
            Doing::Cut => {
                let sides = (0..self.options.nodes).map(|_| self.dice.chance(500)).collect();
                self.cut(sides);
                self.plan_fault(self.options.partition_us, Doing::Join);
                self.plan_fault(self.options.partition_interval_us, Doing::Cut);
            }
        }
    }

    fn process(&mut self, index: usize, life: u64) -> Option<&mut Process> {
        self.machines[index].process.as_mut().filter(|process| process.life == life)
    }

    fn arrive(&mut self, mail: Mail) {
        let index = usize::from(mail.to.0);
        if self.machines[index].process.is_none() {
            self.wires.arrive_at_nobody(self.now_us, mail, &mut self.counts);
            return;
        }
        if let Some(delivery) = self.wires.arrive(self.now_us, mail, &mut self.counts)
            && let Some(process) = &mut self.machines[index].process
        {
            process.inbox.push_back(Input::Delivery(delivery));
            self.work(index);
        }
    }

    fn give(&mut self, index: usize, life: u64, input: Input) {
        if let Some(process) = self.process(index, life) {
            process.inbox.push_back(input);
            self.work(index);
        }
    }

    /// Lets a node step through what is in its inbox, unless it waits for its disk.
    fn work(&mut self, index: usize) {
        let Some(process) = &mut self.machines[index].process else { return };
        if process.batch.is_some() {
            return;
        }
        let life = process.life;
        if process.inbox.is_empty() {
            let deadline_us = process.deadline_us().max(self.now_us);
            if process.wake_us.is_none_or(|wake_us| deadline_us < wake_us) {
                process.wake_us = Some(deadline_us);
                self.plan(deadline_us, Doing::Wake(index, life));
            }
            return;
        }
        let inputs_max = self.dice.between(1, self.options.batch_max);
        self.machines[index].work(self.now_us, inputs_max);
        let time_us = self.now_us + self.dice.between(1, self.options.commit_max_us);
        self.plan(time_us, Doing::Commit(index, life));
    }

    fn wake(&mut self, index: usize, life: u64) {
        let now_us = self.now_us;
        let Some(process) = self.process(index, life) else { return };
        if process.wake_us.is_none_or(|wake_us| now_us < wake_us) {
            return;
        }
        process.wake_us = None;
        if process.batch.is_none() && process.deadline_us() <= now_us {
            process.inbox.push_back(Input::Event(Event::Tick));
        }
        self.work(index);
    }

    fn hit(&mut self, index: usize, life: u64, number: u64) {
        if !self.is_mining_on {
            return;
        }
        let extra_nonce = self.dice.number();
        let Some(process) = self.process(index, life) else { return };
        let is_current = process.search.as_ref().is_some_and(|search| search.number == number);
        if let Some(event) = process.find(extra_nonce).filter(|_| is_current) {
            process.search = None;
            self.counts.found += 1;
            self.give(index, life, Input::Event(event));
        }
    }

    /// Makes a round of steps durable, then visible, then acknowledges what caused it; or crashes in between.
    fn commit(&mut self, index: usize) {
        let doom = self.dooms[index].take();
        if let Some(Doom::BeforeCommit) = doom {
            return self.crash(index);
        }
        let id = self.machines[index].id;
        let batch = self.machines[index].commit();
        self.counts.steps += batch.steps;
        self.counts.commits += 1;
        let mut announcements = BTreeSet::new();
        for (number, effect) in batch.effects.into_iter().enumerate() {
            if matches!(doom, Some(Doom::AfterEffects(count)) if count <= number as u64) {
                return self.crash(index);
            }
            self.perform(index, effect, &mut announcements);
        }
        if doom.is_some() {
            return self.crash(index);
        }
        for receipt in batch.receipts {
            self.wires.acknowledge(id, receipt);
        }
        if let Some(life) = self.machines[index].process.as_ref().map(|process| process.life) {
            for number in announcements {
                let time_us = self.now_us + self.dice.between(1, self.options.delay_max_us);
                self.plan(time_us, Doing::Announced(index, life, number));
            }
        }
        self.work(index);
    }

    fn perform(&mut self, index: usize, effect: Effect, announcements: &mut BTreeSet<u64>) {
        let from = self.machines[index].id;
        match effect {
            Effect::Send { to, bytes, bulk, announcement } => {
                announcements.extend(announcement);
                self.send(Mail { from: Some(from), to, bytes, bulk });
            }
            Effect::Mine(template) => {
                let wait_us = self.dice.wait_us(self.options.block_interval_us);
                let number = self.entries;
                if let Some(process) = &mut self.machines[index].process {
                    process.search = Some(Search { number, template });
                    let doing = Doing::Hit(index, process.life, number);
                    self.plan(self.now_us + wait_us, doing);
                }
            }
            Effect::Rest => {
                if let Some(process) = &mut self.machines[index].process {
                    process.search = None;
                }
            }
            Effect::Tell(notice) => self.listen(index, &notice),
        }
    }

    /// Counts a notice, and notes what no honest node gives cause to.
    fn listen(&mut self, index: usize, notice: &Notice) {
        self.counts.notice(notice);
        let is_a_complaint = matches!(
            notice,
            Notice::MessageRefused { .. }
                | Notice::SenderMismatch { .. }
                | Notice::TooManyRequests(_)
                | Notice::BlockRefused { .. }
                | Notice::SyncFailed { reason: SyncFailure::Refused(_) | SyncFailure::TooLong(_), .. }
        );
        if is_a_complaint {
            let seconds = self.now_us / SECOND_US;
            self.complaints.push(format!("node {index} after {seconds} s: {notice:?}"));
        }
        if let Notice::Pending(id) = notice {
            let mempool = &self.machines[index].disk.read().mempool;
            if let Some(transaction) = mempool.values().find(|it| it.id() == *id) {
                self.admitted.insert(*id, Transaction::clone(transaction));
            }
        }
    }

    fn crash_somewhere(&mut self) {
        let count = self.machines.len() as u64;
        let index = usize::try_from(self.dice.below(count)).expect("an index");
        let doom = match self.dice.below(4) {
            0 => None,
            1 => Some(Doom::BeforeCommit),
            2 => Some(Doom::AfterEffects(self.dice.below(8))),
            _ => Some(Doom::BeforeAcknowledgement),
        };
        let down_us = self.dice.wait_us(self.options.down_us);
        match doom {
            None => self.crash(index),
            doom => self.dooms[index] = doom,
        }
        self.plan(self.now_us + down_us, Doing::Start(index));
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
