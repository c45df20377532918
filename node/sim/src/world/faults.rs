//! What goes wrong, and how it ends.

use std::collections::BTreeSet;

use quarry_core::effect::Event;
use quarry_core::memory::MemoryStore;
use quarry_core::transaction::Transaction;
use quarry_core::units::{NodeId, TxId};

use super::{Doing, Doom, Fault, Faults, World};
use crate::adversary::{Adversary, View};
use crate::dice::Dice;
use crate::machine::{Input, REPLY_TIMEOUT_US, utc};
use crate::network::{Cut, Mail};
use crate::options::{Options, SECOND_US};

/// How much of the time between two restores a backup is old, at most, in thousandths.
const BACKUP_AGE_PER_MILLE: u64 = 800;

/// The time between two blocks once faults have ended, at most, so that what waits is mined soon.
const BLOCK_SETTLED_US: u64 = 2 * SECOND_US;

impl Faults {
    pub(super) fn new(seed: u64, options: &Options) -> Self {
        let nodes = usize::from(options.nodes);
        Self {
            are_on: true,
            crashes: Dice::new(seed, 10),
            cuts: Dice::new(seed, 11),
            clocks: Dice::new(seed, 12),
            restores: Dice::new(seed, 13),
            absences: Dice::new(seed, 14),
            memberships: Dice::new(seed, 15),
            attacks: Dice::new(seed, 16),
            dooms: vec![None; nodes],
            absent_until_us: vec![0; nodes],
            members: (0..options.members()).map(NodeId).collect(),
            backups: vec![None; nodes],
        }
    }

    fn dice(&mut self, fault: Fault) -> &mut Dice {
        match fault {
            Fault::Crash => &mut self.crashes,
            Fault::Cut => &mut self.cuts,
            Fault::ClockStep => &mut self.clocks,
            Fault::Backup | Fault::Restore => &mut self.restores,
            Fault::Absence => &mut self.absences,
            Fault::Departure => &mut self.memberships,
        }
    }
}

impl World {
    /// Ends all faults, the attacks and the traffic, sets the clocks about right, starts what is down, and lets all mine
    /// at a good pace.
    pub fn end_faults(&mut self) {
        self.faults.are_on = false;
        self.faults.dooms.fill(None);
        self.faults.absent_until_us.fill(0);
        self.wires.calm_down();
        // Where the difficulty follows a block time, more pace would only raise it.
        if self.options.block_time_s == 0 {
            self.options.block_interval_us = self.options.block_interval_us.min(BLOCK_SETTLED_US);
        }
        self.join();
        let limit = i64::try_from(self.options.skew_settled_us()).expect("a day");
        for index in 0..self.machines.len() {
            let offset_us = &mut self.machines[index].offset_us;
            *offset_us = (*offset_us).clamp(-limit, limit);
            self.enter(index);
        }
    }

    pub(super) fn skew_clocks(&mut self) {
        for index in 0..self.machines.len() {
            self.machines[index].offset_us = self.offset_us(self.options.skew_max_us);
        }
    }

    pub(super) fn plan_faults(&mut self) {
        self.plan_pay();
        for fault in [
            Fault::Crash,
            Fault::Cut,
            Fault::ClockStep,
            Fault::Backup,
            Fault::Restore,
            Fault::Absence,
            Fault::Departure,
        ] {
            self.plan_fault(fault);
        }
        for index in 0..self.adversaries.len() {
            self.plan_attack(index);
            self.plan_attack_hit(index);
        }
    }

    pub(super) fn plan_pay(&mut self) {
        let mean_us = self.options.transaction_interval_us;
        if mean_us != 0 {
            let time_us = self.now_us + self.traffic.wait_us(mean_us);
            self.plan(time_us, Doing::Pay);
        }
    }

    pub(super) fn plan_fault(&mut self, fault: Fault) {
        let mean_us = match fault {
            Fault::Crash => self.options.crash_interval_us,
            Fault::Cut => self.options.partition_interval_us,
            Fault::ClockStep => self.options.clock_step_interval_us,
            Fault::Backup => self.options.restore_interval_us * BACKUP_AGE_PER_MILLE / 1000,
            Fault::Restore => self.options.restore_interval_us,
            Fault::Absence => self.options.absence_interval_us,
            Fault::Departure => self.options.membership_interval_us,
        };
        if mean_us != 0 {
            let time_us = self.now_us + self.faults.dice(fault).wait_us(mean_us);
            self.plan(time_us, Doing::Fault(fault));
        }
    }

    pub(super) fn plan_attack(&mut self, index: usize) {
        if self.options.attack_interval_us != 0 {
            let mean_us = self.harder_us(self.options.attack_interval_us);
            let wait_us = self.faults.attacks.wait_us(mean_us);
            self.plan(self.now_us + wait_us, Doing::Attack(index));
        }
    }

    pub(super) fn plan_attack_hit(&mut self, index: usize) {
        if self.options.attack_block_interval_us != 0 {
            let mean_us = self.harder_us(self.options.attack_block_interval_us);
            let wait_us = self.faults.attacks.wait_us(mean_us);
            self.plan(self.now_us + wait_us, Doing::AttackHit(index));
        }
    }

    /// How long that takes at the difficulty of today which takes so long at the first: hostile nodes have to search, too.
    fn harder_us(&self, first_us: u64) -> u64 {
        let store = self.machines[0].disk.read();
        let tip = store.tip.map(|tip| store.blocks[&tip].header.bits);
        self.searched_us(first_us, tip.unwrap_or(self.network.bits)).max(first_us)
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let nodes = self.machines.len() as u64;
        let index = usize::try_from(self.faults.dice(fault).below(nodes)).expect("an index");
        match fault {
            Fault::Crash => self.doom(index),
            Fault::Cut => self.cut_somehow(),
            Fault::ClockStep => {
                self.counts.count("clock stepped");
                self.machines[index].offset_us = self.offset_us(self.options.clock_step_max_us);
            }
            Fault::Backup => {
                self.faults.backups[index] = Some(self.machines[index].disk.read().clone());
            }
            Fault::Restore => {
                if let Some(old) = self.faults.backups[index].take() {
                    self.counts.count("restored from a backup");
                    self.crash(index);
                    self.go_back(index, old);
                    self.start(index);
                }
            }
            Fault::Absence => {
                let end_us = self.now_us + self.faults.absences.wait_us(self.options.absence_us);
                self.faults.absent_until_us[index] = end_us;
                self.counts.count("long absence");
                self.crash(index);
                self.plan(end_us, Doing::Start(index));
            }
            Fault::Departure => {
                let wait_us = self.faults.memberships.wait_us(self.options.membership_interval_us);
                self.leave(index);
                self.plan(self.now_us + wait_us, Doing::Return(index));
            }
        }
    }

    pub(super) fn cut_as(&mut self, cut: Cut) {
        self.counts.partitions += 1;
        if cut.is_one_way {
            self.counts.count("partition of one direction");
        }
        self.wires.cut(cut);
    }

    /// A node's disk is what it was before. What it held and no other disk holds need not be found again.
    pub(super) fn go_back(&mut self, index: usize, old: MemoryStore) {
        let lost = held(&self.machines[index].disk.read());
        self.machines[index].disk.restore(old);
        self.watch.restored(index, &self.machines[index].disk.read());
        let kept: BTreeSet<TxId> = self.machines.iter().flat_map(|it| held(&it.disk.read())).collect();
        self.watch.forgive(|id| lost.contains(id) && !kept.contains(id));
    }

    /// A node that left is a member again.
    pub(super) fn enter(&mut self, index: usize) {
        if self.faults.members.insert(self.machines[index].id) {
            self.counts.count("node joined");
            self.tell_members();
        }
        self.start(index);
    }

    /// A hostile node does something on its own.
    pub(super) fn attack(&mut self, index: usize, has_block: bool) {
        self.counts.count("attacks");
        let act = |adversary: &mut Adversary, view: &View<'_>| {
            if has_block { adversary.find(view) } else { adversary.act(view) }
        };
        for mail in self.with_adversary(index, act) {
            self.send(mail);
        }
    }

    /// A hostile node gets a message.
    pub(super) fn hear(&mut self, index: usize, mail: &Mail) {
        let is_slow = self.adversaries[index].is_slow();
        // So long that the answer just comes in time.
        let in_time_us = REPLY_TIMEOUT_US.saturating_sub(2 * self.options.hop_us() + SECOND_US);
        let time_us = self.now_us + if is_slow { in_time_us } else { 0 };
        if self.faults.are_on || is_slow {
            for mail in self.with_adversary(index, |adversary, view| adversary.hear(view, mail)) {
                self.plan(time_us, Doing::Post(mail));
            }
        }
    }

    fn with_adversary(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Adversary, &View<'_>) -> Vec<Mail>,
    ) -> Vec<Mail> {
        let victims = self.machines.len() as u64;
        let victim = usize::try_from(self.faults.attacks.below(victims)).expect("an index");
        let store = self.machines[victim].disk.read();
        let (now, ahead_max_us) = (utc(self.now_us, 0), self.options.ahead_max_us());
        let view = View { store: &store, now, ahead_max_us, nodes: self.options.nodes };
        act(&mut self.adversaries[index], &view)
    }

    fn doom(&mut self, index: usize) {
        let doom = match self.faults.crashes.below(9) {
            0 | 1 => None,
            2 | 3 => Some(Doom::BeforeCommit),
            4 | 5 => Some(Doom::AfterEffects(self.faults.crashes.below(8))),
            6 | 7 => Some(Doom::BeforeAcknowledgement),
            _ => Some(Doom::LostCommit).filter(|_| self.options.restore_interval_us != 0),
        };
        let down_us = self.faults.crashes.wait_us(self.options.down_us);
        match doom {
            None => self.crash(index),
            doom => self.faults.dooms[index] = doom,
        }
        self.plan(self.now_us + down_us, Doing::Start(index));
    }

    fn cut_somehow(&mut self) {
        let dice = &mut self.faults.cuts;
        let sides = (0..self.options.members()).map(|_| dice.chance(500)).collect();
        let is_one_way = dice.chance(self.options.one_way_per_mille);
        let wait_us = dice.wait_us(self.options.partition_us);
        self.cut_as(Cut { sides, is_one_way });
        self.plan(self.now_us + wait_us, Doing::Join);
    }

    /// A node says goodbye and is no member any more.
    fn leave(&mut self, index: usize) {
        if self.machines[index].process.is_none() {
            return;
        }
        self.counts.count("node left");
        if let Some(process) = &mut self.machines[index].process {
            process.inbox.clear();
            process.inbox.push_back(Input::Event(Event::Stopping));
        }
        // What was stepped through and not committed is dropped, as in a crash; the goodbye goes out.
        self.machines[index].work(self.now_us, 1);
        let batch = self.write(index);
        for effect in batch.effects {
            self.perform(index, effect, &mut Default::default());
        }
        self.machines[index].crash();
        self.faults.members.remove(&self.machines[index].id);
        self.tell_members();
    }

    fn tell_members(&mut self) {
        let members: Vec<_> = self.faults.members.iter().copied().collect();
        for index in 0..self.machines.len() {
            if let Some(process) = &mut self.machines[index].process {
                process.inbox.push_back(Input::Event(Event::Peers(members.clone())));
                self.work(index);
            }
        }
    }

    /// A clock's offset of at most so much to either side.
    fn offset_us(&mut self, most_us: u64) -> i64 {
        let most = i64::try_from(most_us).expect("minutes");
        let drawn = self.faults.clocks.between(0, 2 * most_us);
        i64::try_from(drawn).expect("minutes") - most
    }
}

/// The transactions that a disk holds, mined or waiting.
fn held(store: &MemoryStore) -> BTreeSet<TxId> {
    let blocks = store.path.values().map(|hash| &store.blocks[hash]);
    let mined = blocks.flat_map(|block| &block.transactions).map(Transaction::id);
    mined.chain(store.mempool.values().map(|it| it.id())).collect()
}
