//! The network between inboxes: at least once, late, and sometimes in two parts.
//! Invariant: what an inbox has taken stays there until it is acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use quarry_core::units::{Hash, NodeId};

use crate::counts::Counts;
use crate::dice::Dice;
use crate::options::{Options, SECOND_US};

/// How long an inbox remembers what it has taken.
const DEDUPLICATION_US: u64 = 300 * SECOND_US;

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Who sent it; `None` for a client.
    pub from: Option<NodeId>,
    /// Who gets it.
    pub to: NodeId,
    /// The message.
    pub bytes: Arc<[u8]>,
    /// Whether it may wait behind others.
    pub bulk: bool,
}

/// A message that an inbox has taken, with the number to acknowledge it by.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The number.
    pub receipt: u64,
    /// The message.
    pub mail: Mail,
}

/// The network between inboxes.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    options: Options,
    /// When the last message of a sender, receiver and kind arrives: none may overtake it.
    latest_us: BTreeMap<(Option<NodeId>, NodeId, bool), u64>,
    inboxes: Vec<Inbox>,
    cut: Option<Cut>,
    /// What waits for the cut to heal.
    held: VecDeque<Mail>,
    receipts: u64,
}

/// What parts a network in two.
#[derive(Debug, Clone)]
pub struct Cut {
    /// On which side each node is.
    pub sides: Vec<bool>,
    /// Whether the first side (`false`) still hears the second.
    pub is_one_way: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    unacknowledged: BTreeMap<u64, Mail>,
    taken_us: BTreeMap<Hash, u64>,
}

impl Network {
    /// A network without a cut.
    pub fn new(seed: u64, options: &Options) -> Self {
        Self {
            dice: Dice::new(seed, 1),
            options: options.clone(),
            latest_us: BTreeMap::new(),
            inboxes: (0..options.members()).map(|_| Inbox::default()).collect(),
            cut: None,
            held: VecDeque::new(),
            receipts: 0,
        }
    }

    /// Takes a message over; answers when it arrives, or when each of its copies does.
    pub fn send(&mut self, now_us: u64, mail: Mail, counts: &mut Counts) -> Vec<(u64, Mail)> {
        counts.message(&mail.bytes);
        if self.is_cut(&mail) {
            if self.options.loses {
                counts.lost += 1;
            } else {
                self.held.push_back(mail);
            }
            return Vec::new();
        }
        if self.dice.chance(self.options.lost_per_mille) {
            counts.lost += 1;
            return Vec::new();
        }
        let mut copies = vec![self.route(now_us, mail.clone())];
        if self.dice.chance(self.options.doubled_per_mille) {
            counts.doubled += 1;
            copies.push(self.route(now_us, mail));
        }
        copies
    }

    /// A message has arrived at its inbox; `None` where that does not take it.
    pub fn arrive(&mut self, now_us: u64, mail: Mail, counts: &mut Counts) -> Option<Delivery> {
        let inbox = &mut self.inboxes[usize::from(mail.to.0)];
        if self.options.deduplicates {
            let digest = Hash::of(&[&mail.bytes]);
            let taken_us = inbox.taken_us.insert(digest, now_us);
            if let Some(taken_us) = taken_us.filter(|taken_us| now_us < taken_us + DEDUPLICATION_US) {
                inbox.taken_us.insert(digest, taken_us);
                counts.deduplicated += 1;
                return None;
            }
        }
        self.receipts += 1;
        let receipt = self.receipts;
        inbox.unacknowledged.insert(receipt, mail.clone());
        Some(Delivery { receipt, mail })
    }

    /// A message arrives at a node that is down; whether it waits there or is lost.
    pub fn arrive_at_nobody(&mut self, now_us: u64, mail: Mail, counts: &mut Counts) {
        if self.options.loses {
            counts.lost += 1;
        } else {
            drop(self.arrive(now_us, mail, counts));
        }
    }

    /// Forgets a message that need not be delivered again.
    pub fn acknowledge(&mut self, node: NodeId, receipt: u64) {
        self.inboxes[usize::from(node.0)].unacknowledged.remove(&receipt);
    }

    /// Everything that a node has not acknowledged, in order.
    pub fn redeliver(&mut self, node: NodeId, counts: &mut Counts) -> Vec<Delivery> {
        let unacknowledged = &self.inboxes[usize::from(node.0)].unacknowledged;
        counts.redeliveries += unacknowledged.len() as u64;
        let delivery = |(receipt, mail): (&u64, &Mail)| Delivery { receipt: *receipt, mail: mail.clone() };
        unacknowledged.iter().map(delivery).collect()
    }

    /// Cuts the network in two.
    pub fn cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }

    /// Joins the network again; answers when what was held back arrives.
    pub fn join(&mut self, now_us: u64) -> Vec<(u64, Mail)> {
        self.cut = None;
        let held: Vec<Mail> = self.held.drain(..).collect();
        held.into_iter().map(|mail| self.route(now_us, mail)).collect()
    }

    /// Ends all loss and doubling.
    pub fn calm_down(&mut self) {
        self.options.loses = false;
        self.options.doubled_per_mille = 0;
        self.options.lost_per_mille = 0;
    }

    fn is_cut(&self, mail: &Mail) -> bool {
        let (Some(cut), Some(from)) = (&self.cut, mail.from) else { return false };
        let side = |node: NodeId| cut.sides[usize::from(node.0)];
        let (from, to) = (side(from), side(mail.to));
        from != to && !(cut.is_one_way && from)
    }

    fn route(&mut self, now_us: u64, mail: Mail) -> (u64, Mail) {
        let arrival_us = now_us + self.dice.between(self.options.delay_min_us, self.options.delay_max_us);
        if self.options.reorders {
            return (arrival_us, mail);
        }
        let latest_us = self.latest_us.entry((mail.from, mail.to, mail.bulk)).or_default();
        *latest_us = (*latest_us).max(arrival_us);
        (*latest_us, mail)
    }
}
