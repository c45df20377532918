//! Nodes that are killed at any moment of their lives, alone or all at once: while they create their files, mine, take
//! transactions, and catch up. After each kill `verify` must find the store sound, with every transaction in it that
//! the node had said it has; at the end all agree, every such transaction is mined, and no money is missing.
//!
//! `QUARRY_KILLS=1000 cargo test --release -p node --test it killed_nodes -- --nocapture` kills so often. The seed decides
//! who is killed and when; what a node is doing then also depends on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use node::transport::{Kind, Outgoing, Transport as _};
use quarry_core::message::Message;
use quarry_core::store::Store as _;
use quarry_core::units::{Height, NodeId, TxId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::payments::{Payments, lost};
use super::{Place, Process, eventually};

const KILLS: u32 = 24;
/// After so many a new network begins, so that chains stay short and first starts are many.
const KILLS_PER_NETWORK: u32 = 40;
/// The nodes that are there from the start; later there is one more.
const NODES: u16 = 3;
/// Between two payments of a client.
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn killed_nodes_lose_nothing_and_agree() {
    let kills = std::env::var("QUARRY_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = crate::seed(rand::random());
    println!("seed {seed}");
    let (mut random, mut tally) = (StdRng::seed_from_u64(seed), Tally::default());
    let started = Instant::now();
    while tally.kills < kills {
        let end = kills.min(tally.kills + KILLS_PER_NETWORK);
        live(&mut StdRng::seed_from_u64(random.random()), end, &mut tally);
        println!("{:.0?}: {tally:?}", started.elapsed());
    }
}

/// What was done and seen.
#[derive(Debug, Default)]
struct Tally {
    networks: u32,
    kills: u32,
    /// Of these, how many hit a node that had not stored the first block yet.
    before_genesis: u32,
    /// How many hit one that was catching up.
    behind: u32,
    /// How many were of all nodes at once.
    of_all_at_once: u32,
    verified_blocks: u64,
    mined_blocks: u64,
    /// Transactions that a node said it has.
    accepted: usize,
    /// Transactions put into an inbox.
    posted: usize,
}

/// One network's life, until there were so many kills.
fn live(random: &mut StdRng, end: u32, tally: &mut Tally) {
    let zeros = random.random_range(4..=5);
    let mines_empty = zeros == 5 && random.random();
    let life = Life::new(zeros, if mines_empty { &["--mine-empty"] } else { &[] });
    thread::scope(|scope| {
        let _stop = Stop(&life.clients.stop);
        for seed in [random.random(), random.random()] {
            let life = &life;
            scope.spawn(move || life.pay(StdRng::seed_from_u64(seed)));
        }
        life.be_killed(random, end, tally);
    });
    life.end(tally);
}

/// A network whose nodes are killed.
struct Life {
    place: Place,
    payments: Payments,
    nodes: Mutex<BTreeMap<u16, Process>>,
    arguments: &'static [&'static str],
    clients: Clients,
}

/// Who pays meanwhile, and what has been promised to them.
#[derive(Default)]
struct Clients {
    stop: AtomicBool,
    promises: Mutex<Promises>,
}

/// Transactions that must not be lost.
#[derive(Default)]
struct Promises {
    /// Those that a node has said it has taken.
    accepted: BTreeMap<u16, Vec<TxId>>,
    /// Those that are in an inbox.
    posted: Vec<TxId>,
}

/// Ends the clients, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Life {
    fn new(zeros: u32, arguments: &'static [&'static str]) -> Self {
        let place = Place::new();
        let payments = Payments::found(&place, zeros);
        Self { place, payments, nodes: Mutex::default(), arguments, clients: Clients::default() }
    }

    fn be_killed(&self, random: &mut StdRng, end: u32, tally: &mut Tally) {
        tally.networks += 1;
        (0..NODES).for_each(|id| self.start(id));
        while tally.kills < end {
            // Somewhere in the life of this network there is a new node, which has to ask for all there is.
            let ids = if random.random_ratio(1, 4) { NODES + 1 } else { NODES };
            let id = random.random_range(0..ids);
            match random.random_range(0..10) {
                0..=5 => self.kill_after(random, &[id], tally),
                6..=8 => self.kill_while_it_catches_up(random, id, tally),
                _ => {
                    let all: Vec<_> = (0..NODES).collect();
                    self.kill_after(random, &all, tally);
                    tally.of_all_at_once += u32::from(NODES);
                }
            }
        }
    }

    /// Kills nodes at some moment, mostly a near one, and starts them again.
    fn kill_after(&self, random: &mut StdRng, ids: &[u16], tally: &mut Tally) {
        ids.iter().for_each(|id| self.start(*id));
        thread::sleep(Duration::from_secs_f64(random.random_range(-10.0_f64..0.0).exp2()));
        let best = self.best_height(ids);
        let killed: Vec<_> = ids.iter().map(|id| (*id, self.nodes().remove(id).unwrap())).collect();
        killed.into_iter().for_each(|(_, node)| node.kill());
        for id in ids {
            self.check(*id, best, tally);
            self.start(*id);
        }
    }

    /// Keeps a node down until it has missed something, and kills it again while it fetches that.
    fn kill_while_it_catches_up(&self, random: &mut StdRng, id: u16, tally: &mut Tally) {
        if let Some(node) = self.nodes().remove(&id) {
            node.kill();
            self.check(id, None, tally);
        }
        let blocks = random.random_range(5..60);
        let other = if id == 0 { 1 } else { 0 };
        let height = eventually("another node runs", || self.place.status(other)).height.0;
        eventually("the others go on", || {
            self.place.status(other).filter(|status| height + blocks <= status.height.0)
        });
        self.start(id);
        if random.random() {
            // It has a long way yet.
            eventually("it begins", || self.place.status(id));
        }
        self.kill_after(random, &[id], tally);
    }

    /// Starts a node that is not running.
    fn start(&self, id: u16) {
        self.nodes().entry(id).or_insert_with(|| self.place.spawn(id, self.arguments));
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<u16, Process>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The height that the others are at.
    fn best_height(&self, ids: &[u16]) -> Option<Height> {
        let others = (0..=NODES).filter(|id| !ids.contains(id));
        others.filter_map(|id| self.place.status(id)).map(|status| status.height).max()
    }

    /// Checks what a killed node has left.
    fn check(&self, id: u16, best: Option<Height>, tally: &mut Tally) {
        tally.kills += 1;
        let outcome = self.place.run(["verify", "--json", "--node", &id.to_string()]);
        let accepted = self.clients.promises().accepted.get(&id).cloned().unwrap_or_default();
        if outcome.code == Some(6) {
            assert!(outcome.stderr.contains("no node has run here yet"), "{}", outcome.stderr);
            assert_eq!(accepted, [], "node {id} had no store");
            tally.before_genesis += 1;
            return;
        }
        let verdict: serde_json::Value = serde_json::from_slice(&outcome.succeeds().stdout).unwrap();
        let height = verdict["height"].as_u64().unwrap();
        tally.verified_blocks += height;
        // Others may be some blocks ahead for a moment, or on another branch.
        tally.behind += u32::from(best.is_some_and(|best| height + 3 < best.0));
        let lost = lost(&self.payments.left(&self.place, id), &accepted);
        assert!(lost.is_empty(), "node {id} had said it has {lost:?}");
    }

    /// Lets all come to rest, and compares.
    fn end(self, tally: &mut Tally) {
        // Once more, and no more than what waits is mined.
        let nodes = std::mem::take(&mut *self.nodes());
        nodes.into_values().for_each(Process::kill);
        let promises = std::mem::take(&mut *self.clients.promises());
        let promised: Vec<_> =
            promises.accepted.values().flatten().chain(&promises.posted).copied().collect();
        let ids: Vec<_> = (0..=NODES).collect();
        let mut missing = BTreeSet::new();
        // What is in an inbox may be read only after everything else has come to rest.
        for _ in 0..5 {
            let nodes: Vec<_> = ids.iter().map(|id| self.place.start(*id, &[])).collect();
            let tip = eventually("the nodes agree and nothing waits", || {
                let all = self.place.statuses(&ids);
                let at_rest = all.iter().all(|it| it.tip == all[0].tip && it.mempool == 0);
                at_rest.then_some(all[0].tip)
            });
            nodes.into_iter().for_each(Process::stop);
            let snapshots: Vec<_> = ids.iter().map(|id| self.payments.left(&self.place, *id)).collect();
            assert!(snapshots.iter().all(|snapshot| snapshot.tip() == Ok(Some(tip))));
            missing = lost(&snapshots[0], &promised);
            if missing.is_empty() {
                break;
            }
        }
        assert!(missing.is_empty(), "{} of {} promises: {missing:?}", missing.len(), promised.len());
        for id in &ids {
            self.place.run(["verify", "--node", &id.to_string()]).succeeds();
            self.payments.check_sum(&self.payments.left(&self.place, *id));
        }
        let left = self.payments.left(&self.place, 0);
        let tip = left.tip().unwrap().unwrap();
        tally.mined_blocks += left.record(&tip).unwrap().unwrap().header.index.0;
        tally.accepted += promises.accepted.values().map(Vec::len).sum::<usize>();
        tally.posted += promises.posted.len();
    }

    /// Pays now and then, told to a node or posted to its inbox.
    fn pay(&self, mut random: StdRng) {
        let post = self.place.client();
        while !self.clients.stop.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
            let node = random.random_range(0..=NODES);
            if random.random_ratio(1, 8) {
                let payment = self.payments.payment();
                let id = payment.id();
                let payload = Message::Transactions(vec![payment]).encode(self.payments.network()).into();
                let message = Outgoing { kind: Kind::Transactions, payload, ticket: 0 };
                post.send(NodeId(node), message).unwrap();
                self.clients.promises().posted.push(id);
            } else if let Some(id) = self.payments.submit(&self.place, node) {
                self.clients.promises().accepted.entry(node).or_default().push(id);
            }
        }
    }
}

impl Clients {
    fn promises(&self) -> MutexGuard<'_, Promises> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
