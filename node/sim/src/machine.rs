//! One node with its disk and its search, and the order in which it does things: step, commit, perform, acknowledge.

use std::collections::VecDeque;
use std::sync::Arc;

use quarry_core::effect::{Effect, Event, Now};
use quarry_core::header::Header;
use quarry_core::network::Network;
use quarry_core::node::{Node, Options};
use quarry_core::store::Changes;
use quarry_core::template::Template;
use quarry_core::units::{AccountId, NodeId, Timestamp};

use crate::disk::Disk;
use crate::network::Delivery;
use crate::options::{self as sim, GENESIS_US, HEAD_START_US, SECOND_US};

/// How long a node waits for a reply.
pub const REPLY_TIMEOUT_US: u64 = 10 * SECOND_US;
/// How long it leaves a peer alone that could not be synced with.
pub const BACK_OFF_US: u64 = 30 * SECOND_US;

/// One node with its disk and its search.
pub struct Machine {
    /// Its number.
    pub id: NodeId,
    /// What survives a crash.
    pub disk: Disk,
    /// How far its clock is ahead.
    pub offset_us: i64,
    /// The running node, if it does run.
    pub process: Option<Process>,
    network: Arc<Network>,
    status_interval_us: u64,
    status_interval_max_us: u64,
    relay_window_us: u64,
    mesh_max: usize,
    mines: bool,
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
    /// The latest time of a step whose changes are to be committed, by the machine's clock.
    pub latest: Timestamp,
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
    pub fn new(id: NodeId, network: &Arc<Network>, options: &sim::Options) -> Self {
        Self {
            id,
            disk: Disk::default(),
            offset_us: 0,
            process: None,
            network: Arc::clone(network),
            status_interval_us: options.status_interval_us,
            status_interval_max_us: options.status_interval_max_us,
            relay_window_us: options.relay_window_us,
            mesh_max: options.mesh_max,
            mines: id.0 < options.miners(),
            mine_empty: options.mine_empty,
            lives: 0,
        }
    }

    /// Starts the node from what is on the disk; the first commit is still to be made.
    pub fn start(&mut self, now_us: u64, seed: u64) -> &mut Process {
        let options = self.node_options(seed);
        let now = now(now_us, now_us, self.offset_us);
        let network = Arc::clone(&self.network);
        let node = Node::open(network, options, self.disk.clone(), now).expect("the disk can be read");
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

    /// The node that would start from what is on the disk now.
    pub fn twin(&self, now_us: u64) -> Node<Disk> {
        let now = now(now_us, now_us, self.offset_us);
        let (network, disk) = (Arc::clone(&self.network), self.disk.clone());
        Node::open(network, self.node_options(0), disk, now).expect("the disk can be read")
    }

    fn node_options(&self, seed: u64) -> Options {
        Options {
            id: self.id,
            miner: AccountId::open("open0"),
            mine: self.mines,
            mine_empty: self.mine_empty,
            seed,
            status_interval_us: self.status_interval_us,
            status_interval_max_us: self.status_interval_max_us,
            relay_window_us: self.relay_window_us,
            reply_timeout_us: REPLY_TIMEOUT_US,
            mesh_max: self.mesh_max,
        }
    }

    /// Ends the process; what was not committed is lost.
    pub fn crash(&mut self) {
        self.process = None;
    }

    /// Steps through the next inputs. They wait for a commit then.
    pub fn work(&mut self, now_us: u64, inputs_max: u64) {
        let offset_us = self.offset_us;
        let Some(process) = &mut self.process else { return };
        let now = now(now_us, process.started_us, offset_us);
        // What another batch has changed is committed with this one where a node has to go at once.
        let latest = process.batch.as_ref().map_or(now.utc, |batch| batch.latest.max(now.utc));
        let mut batch = Batch { latest, ..Batch::default() };
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
            let is_last = matches!(event, Event::Stopping);
            process.node.step(now, event, &mut effects).expect("the disk can be read");
            batch.steps += 1;
            let is_ahead = is_last || now.elapsed_us < process.node.deadline();
            assert!(is_ahead, "a deadline that is not ahead is a busy loop");
        }
        batch.effects = effects.into();
        process.batch = Some(batch);
    }

    /// Makes durable what the steps since the last commit have changed; answers what that was.
    pub fn commit(&mut self) -> (Changes, Batch) {
        let Some(process) = &mut self.process else { return Default::default() };
        let changes = process.node.take_changes();
        self.disk.apply(changes.clone());
        (changes, process.batch.take().unwrap_or_default())
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

/// The time by a machine's two clocks.
fn now(now_us: u64, started_us: u64, offset_us: i64) -> Now {
    Now { utc: utc(now_us, offset_us), elapsed_us: now_us - started_us }
}

/// The time by a clock that is ahead by `offset_us`.
pub fn utc(now_us: u64, offset_us: i64) -> Timestamp {
    let micros = (GENESIS_US + HEAD_START_US + now_us).saturating_add_signed(offset_us);
    Timestamp::from_micros(micros).expect("runs are shorter than centuries")
}
