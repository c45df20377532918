//! One node with its disk and its search, and the order in which it does things: step, commit, perform, acknowledge.

use std::collections::VecDeque;
use std::sync::Arc;

use quarry_core::effect::{Effect, Event, Now};
use quarry_core::header::Header;
use quarry_core::network::Network;
use quarry_core::node::{Node, Options};
use quarry_core::template::Template;
use quarry_core::units::{AccountId, NodeId, Timestamp};

use crate::disk::Disk;
use crate::network::Delivery;
use crate::options::{GENESIS_US, SECOND_US};

/// One node with its disk and its search.
pub struct Machine {
    /// Its number.
    pub id: NodeId,
    /// What survives a crash.
    pub disk: Disk,
    /// How far its clock is ahead.
    pub skew_us: u64,
    /// The running node, if it does run.
    pub process: Option<Process>,
    network: Arc<Network>,
    mine_empty: bool,
    lives: u64,
}

/// A node from its start to its stop or crash.
pub struct Process {
    /// Tells one life of a machine from the next.
    pub life: u64,
    /// The node.
    pub node: Node<Disk>,
    /// What it has not looked at yet.
    pub inbox: VecDeque<Input>,
    /// What it has stepped through and not committed yet.
    pub batch: Option<Batch>,
    /// What it searches.
    pub search: Option<Search>,
    /// For when a wake-up is on the agenda.
    pub wake_us: Option<u64>,
    started_us: u64,
}

/// Something for a node to look at.
#[derive(Debug)]
pub enum Input {
    /// A message.
    Delivery(Delivery),
    /// Anything else.
    Event(Event),
}

/// Steps that share a commit.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is to be done after it.
    pub effects: VecDeque<Effect>,
    /// What is to be acknowledged after that.
    pub receipts: Vec<u64>,
    /// How many steps there were.
    pub steps: u64,
}

/// A nonce search.
#[derive(Debug, Clone)]
pub struct Search {
    /// Tells one search of a process from the next.
    pub number: u64,
    /// What is searched.
    pub template: Arc<Template>,
}

impl Machine {
    /// A machine that is switched off, with an empty disk.
    pub fn new(id: NodeId, network: &Arc<Network>, mine_empty: bool, skew_us: u64) -> Self {
        Self {
            id,
            disk: Disk::default(),
            skew_us,
            process: None,
            network: Arc::clone(network),
            mine_empty,
            lives: 0,
        }
    }

    /// Starts the node from what is on the disk. What it wants to write at its start is written at once.
    pub fn start(&mut self, now_us: u64, seed: u64) -> &mut Process {
        let options = Options {
            id: self.id,
            miner: AccountId::open("open0"),
            mine: true,
            mine_empty: self.mine_empty,
            seed,
            status_interval_us: 5 * SECOND_US,
            status_interval_max_us: 5 * SECOND_US,
            relay_window_us: SECOND_US,
            reply_timeout_us: 10 * SECOND_US,
        };
        let now = now(now_us, now_us, self.skew_us);
        let network = Arc::clone(&self.network);
        let mut node = Node::open(network, options, self.disk.clone(), now).expect("the disk can be read");
        self.disk.apply(node.take_changes());
        self.lives += 1;
        self.process.insert(Process {
            life: self.lives,
            node,
            inbox: VecDeque::new(),
            batch: None,
            search: None,
            wake_us: None,
            started_us: now_us,
        })
    }

    /// Ends the process; what was not committed is lost.
    pub fn crash(&mut self) {
        self.process = None;
    }

    /// Steps through the next inputs. They wait for a commit then.
    pub fn work(&mut self, now_us: u64, inputs_max: u64) {
        let skew_us = self.skew_us;
        let Some(process) = &mut self.process else { return };
        let now = now(now_us, process.started_us, skew_us);
        let mut batch = Batch::default();
        let mut effects = Vec::new();
        while batch.steps < inputs_max {
            let event = match process.inbox.pop_front() {
                Some(Input::Event(event)) => event,
                Some(Input::Delivery(Delivery { receipt, mail })) => {
                    batch.receipts.push(receipt);
                    Event::Message { from: mail.from, bytes: mail.bytes.to_vec() }
                }
                None => break,
            };
            process.node.step(now, event, &mut effects).expect("the disk can be read");
            batch.steps += 1;
            assert!(now.elapsed_us < process.node.deadline(), "a deadline that is not ahead is a busy loop");
        }
        batch.effects = effects.into();
        process.batch = Some(batch);
    }

    /// Makes durable what the steps since the last commit have changed.
    pub fn commit(&mut self) -> Batch {
        let Some(process) = &mut self.process else { return Batch::default() };
        self.disk.apply(process.node.take_changes());
        process.batch.take().unwrap_or_default()
    }
}

impl Process {
    /// When the node wants to be woken, by the world's clock.
    pub fn deadline_us(&self) -> u64 {
        self.started_us + self.node.deadline()
    }

    /// Searches the current template to the end.
    pub fn find(&self, extra_nonce: u64) -> Option<Event> {
        let Search { template, .. } = self.search.as_ref()?;
        let header = template.header(extra_nonce, 0);
        let target = header.bits.target().expect("a template's bits have a target");
        let is_hit = |nonce: &u64| target.is_met_by(&Header { nonce: *nonce, ..header }.hash());
        let nonce = (0..).find(is_hit)?;
        Some(Event::Found { template: template.id, extra_nonce, nonce })
    }
}

fn now(now_us: u64, started_us: u64, skew_us: u64) -> Now {
    // An hour after the first block, so that clocks may be behind.
    let utc = Timestamp::from_micros(GENESIS_US + 3600 * SECOND_US + now_us + skew_us);
    Now { utc: utc.expect("runs are shorter than centuries"), elapsed_us: now_us - started_us }
}
