//! What happens on the agenda: messages arrive, nodes step, commit and perform, searches hit.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use quarry_core::effect::{Effect, Event, Notice, SyncFailure};
use quarry_core::message::Message;
use quarry_core::network::Network;
use quarry_core::rules::{BlockError, HeaderError};
use quarry_core::target::Bits;
use quarry_core::units::NodeId;

use super::{Doing, Doom, Entry, World};
use crate::counts::message_kind;
use crate::difficulty;
use crate::machine::{BACK_OFF_US, Input, Process, Search};
use crate::network::Mail;
use crate::violation::Checker;

/// How many times easier than the tip a block with an unknown parent may be, as a power of two: the rule's limit, said
/// once more.
const ORPHAN_EASIER_LOG2_MAX: u32 = 6;

/// Longer than any run.
const NEVER_US: u64 = 1 << 50;

impl World {
    pub(super) fn take_one(&mut self) {
        let Some(Reverse(Entry { time_us, doing, .. })) = self.agenda.pop() else { return };
        self.now_us = time_us;
        match doing {
            Doing::Post(mail) => self.send(mail),
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
            Doing::Start(index) => {
                if self.faults.absent_until_us[index] <= self.now_us {
                    self.start(index);
                }
            }
            Doing::Join => self.join(),
            Doing::Return(index) => self.enter(index),
            Doing::Pay | Doing::Fault(_) | Doing::Attack(_) | Doing::AttackHit(_) if !self.faults.are_on => {}
            Doing::Pay => {
                self.pay();
                self.plan_pay();
            }
            Doing::Fault(fault) => {
                self.fault(fault);
                self.plan_fault(fault);
            }
            Doing::Attack(index) => {
                self.attack(index, false);
                self.plan_attack(index);
            }
            Doing::AttackHit(index) => {
                self.attack(index, true);
                self.plan_attack_hit(index);
            }
        }
    }

    fn process(&mut self, index: usize, life: u64) -> Option<&mut Process> {
        self.machines[index].process.as_mut().filter(|process| process.life == life)
    }

    fn arrive(&mut self, mail: Mail) {
        let index = usize::from(mail.to.0);
        if self.machines.len() <= index {
            return self.hear(index - self.machines.len(), &mail);
        }
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
    pub(super) fn work(&mut self, index: usize) {
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
        let search = self.process(index, life).and_then(|process| process.search.as_ref());
        if search.is_some_and(|search| search.number == number) {
            self.find(index, extra_nonce);
        }
    }

    /// Lets a node find the block that it searches; answers whether it searches one.
    pub fn find(&mut self, index: usize, extra_nonce: u64) -> bool {
        let Some(process) = &mut self.machines[index].process else { return false };
        let Some(event) = process.find(extra_nonce) else { return false };
        process.search = None;
        let life = process.life;
        self.counts.found += 1;
        self.give(index, life, Input::Event(event));
        true
    }

    /// Makes a round of steps durable, then visible, then acknowledges what caused it; or crashes in between.
    fn commit(&mut self, index: usize) {
        let doom = self.faults.dooms[index].take();
        if let Some(Doom::BeforeCommit) = doom {
            self.counts.count("crash before the commit");
            return self.crash(index);
        }
        let id = self.machines[index].id;
        let before = matches!(doom, Some(Doom::LostCommit)).then(|| self.machines[index].disk.read().clone());
        let batch = self.write(index);
        self.counts.steps += batch.steps;
        self.counts.commits += 1;
        let mut announcements = BTreeSet::new();
        for (number, effect) in batch.effects.into_iter().enumerate() {
            if matches!(doom, Some(Doom::AfterEffects(count)) if count <= number as u64) {
                self.counts.count("crash between two effects");
                return self.crash(index);
            }
            self.perform(index, effect, &mut announcements);
        }
        if let Some(before) = before {
            self.counts.count("last commit lost");
            self.crash(index);
            return self.go_back(index, before);
        }
        if doom.is_some() {
            self.counts.count("crash before the acknowledgement");
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

    pub(super) fn perform(&mut self, index: usize, effect: Effect, announcements: &mut BTreeSet<u64>) {
        let from = self.machines[index].id;
        match effect {
            Effect::Send { to, bytes, bulk, announcement } => {
                announcements.extend(announcement);
                if self.network.limits.message_bytes < u32::try_from(bytes.len()).unwrap_or(u32::MAX) {
                    let text = format!("it sends {} bytes", bytes.len());
                    self.note(Err(Checker::Bounds.violation(index)(text)));
                }
                if let Some(asked) = &mut self.asked
                    && is_question(&bytes, &self.network)
                {
                    asked.insert((from, to));
                }
                self.send(Mail { from: Some(from), to, bytes, bulk });
            }
            Effect::Mine(template) => {
                let mean_us = self.search_us(from, template.header(0, 0).bits);
                let wait_us = self.dice.wait_us(mean_us);
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

    /// The mean time that a node searches for a block of such bits.
    fn search_us(&self, node: NodeId, bits: Bits) -> u64 {
        let mean_us = u128::from(self.searched_us(self.options.node_interval_us(node.0), bits));
        let paced_us = (1000 * mean_us).checked_div(u128::from(self.pace_per_mille)).unwrap_or(u128::MAX);
        u64::try_from(paced_us).unwrap_or(NEVER_US).min(NEVER_US)
    }

    /// The mean time of a search for such bits by who searches so long for the network's first.
    pub(super) fn searched_us(&self, first_us: u64, bits: Bits) -> u64 {
        if self.options.block_time_s == 0 {
            return first_us;
        }
        let hashes = |bits: Bits| u128::try_from(difficulty::work(bits.0)).expect("some thousands of hashes");
        let mean_us = u128::from(first_us) * hashes(bits) / hashes(self.network.bits);
        u64::try_from(mean_us).unwrap_or(NEVER_US)
    }

    /// Counts a notice, and notes what no honest node says or gives cause to.
    fn listen(&mut self, index: usize, notice: &Notice) {
        self.counts.notice(notice);
        self.check_patience(index, notice);
        // An honest node took the block by a clock of its own. So it is ahead of the limit by no more than two clocks can
        // differ, which with clocks that are right is nothing.
        let apart_us = 2 * self.options.offset_max_us();
        let is_far_ahead = |error: &BlockError| match error {
            BlockError::Header(HeaderError::TooFarAhead { timestamp, now, .. }) => {
                let limit_us = now.micros() + self.options.ahead_max_us();
                timestamp.micros().checked_sub(limit_us).is_some_and(|ahead_us| ahead_us <= apart_us)
            }
            _ => false,
        };
        let culprit: Option<Option<NodeId>> = match notice {
            Notice::MessageRefused { from, .. } | Notice::SenderMismatch { from, .. } => Some(*from),
            Notice::TooManyRequests(from) => Some(Some(*from)),
            Notice::BlockRefused { error, .. } if is_far_ahead(error) => None,
            // Who was cut off long does not know how much better the others' chain has become.
            Notice::BlockRefused { error: BlockError::TooLittleWork(works), .. } if works.0 < works.1 => None,
            Notice::BlockRefused {
                error: BlockError::Header(HeaderError::TooEasy { bits, tip }), ..
            } if difficulty::work(bits.0) << ORPHAN_EASIER_LOG2_MAX <= difficulty::work(tip.0) => None,
            Notice::BlockRefused { from, .. } => Some(*from),
            Notice::SyncFailed { reason: SyncFailure::Refused(error), .. } if is_far_ahead(error) => None,
            Notice::SyncFailed { peer, reason: SyncFailure::Refused(_) | SyncFailure::TooLong(_) } => {
                Some(Some(*peer))
            }
            _ => None,
        };
        let is_honest = |culprit: &Option<NodeId>| culprit.is_none_or(|id| id.0 < self.options.nodes);
        if culprit.as_ref().is_some_and(is_honest) {
            self.note(Err(Checker::Complaint.violation(index)(format!("{notice:?}"))));
        }
    }

    /// A listed peer with which a sync has failed is left alone for a while, so that none makes a node busy. Not one whose
    /// chain was no better: perhaps it was when it said so. Nothing is kept of who leaves the list.
    fn check_patience(&mut self, index: usize, notice: &Notice) {
        let now_us = self.now_us;
        match notice {
            Notice::PeerJoined(peer) => drop(self.left_alone_until_us.insert((index, *peer), now_us)),
            Notice::PeerLeft(peer) => drop(self.left_alone_until_us.remove(&(index, *peer))),
            Notice::SyncFailed { reason: SyncFailure::NoBetter, .. } => {}
            Notice::SyncFailed { peer, .. } => {
                if let Some(until_us) = self.left_alone_until_us.get_mut(&(index, *peer)) {
                    // What is said now was stepped through before the commit.
                    *until_us = (now_us + BACK_OFF_US).saturating_sub(self.options.commit_max_us);
                }
            }
            Notice::SyncStarted(peer) => {
                let until_us = self.left_alone_until_us.get(&(index, *peer));
                if until_us.is_some_and(|until_us| now_us < *until_us) {
                    let text = format!("it asks {peer} again, with which a sync has just failed");
                    self.note(Err(Checker::Patience.violation(index)(text)));
                }
            }
            _ => {}
        }
    }
}

/// Whether a message asks a node where it stands.
fn is_question(bytes: &[u8], network: &Network) -> bool {
    let is_status = message_kind(bytes) == "status";
    is_status && matches!(Message::decode(bytes, network), Ok(Message::Status(status)) if status.reply_wanted)
}
