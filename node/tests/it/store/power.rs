//! A disk whose power is cut at every write and sync of a chain's commits, and again while the store is opened.
//! What is left must be what the commits that had returned made, and perhaps the one under way, whole.
//!
//! `QUARRY_IMAGES=250000 cargo test --release -p node --test it power_cut -- --nocapture` makes as many images.

mod disk;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use node::store::{RedbStore, verify};
use quarry_core::block::Block;
use quarry_core::effect::{Event, Now};
use quarry_core::memory::MemoryStore;
use quarry_core::message::Message;
use quarry_core::network::Network;
use quarry_core::node::{MESH_MAX, Node, Options};
use quarry_core::store::{Changes, Store};
use quarry_core::units::{AccountId, NodeId, TxId};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::disk::{Disk, Fate, Operation, apply, cut};
use super::left::{MINER, network, next_block, pay};

const IMAGES: usize = 1000;
const BLOCKS: usize = 8;

/// What was found of the images of one fate.
#[derive(Debug, Default)]
struct Row {
    images: u64,
    /// With the commit that was under way.
    ahead: u64,
    bad: u64,
    first: Option<String>,
}

#[test]
fn what_was_applied_survives_a_power_cut() {
    let images = match std::env::var("QUARRY_IMAGES") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => IMAGES,
    };
    let rows = History::new(Disk::default()).cut_power(images);
    print(&rows);
    assert!(rows.values().all(|row| 0 < row.images && row.bad == 0), "{rows:?}");
    assert!(rows.values().map(|row| row.images).sum::<u64>() >= images as u64);
    assert!(rows.values().any(|row| 0 < row.ahead), "a commit is never left whole before it returns");
}

/// The control: without syncs commits get lost, and the check notices.
#[test]
fn a_power_cut_on_a_disk_whose_syncs_lie_is_noticed() {
    let rows = History::new(Disk::lying()).cut_power(600);
    print(&rows);
    let bad: u64 = rows.values().map(|row| row.bad).sum();
    assert!(100 < bad, "{rows:?}");
    assert_eq!(rows[&("commit", Fate::Kept)].bad, 0, "the disk itself is all right");
}

type Rows = BTreeMap<(&'static str, Fate), Row>;

/// A store's life on a disk.
struct History {
    network: Network,
    operations: Vec<Operation>,
    /// What the store held after so many commits.
    models: Vec<MemoryStore>,
    /// How many operations there were when each commit had returned.
    returned: Vec<usize>,
}

impl History {
    fn new(disk: Disk) -> Self {
        let network = network();
        let mut store = RedbStore::on(disk.clone(), &network.id).unwrap();
        let mut models = vec![MemoryStore::default()];
        let mut returned = vec![disk.operations().len()];
        for changes in commits(&network) {
            store.apply(&changes).unwrap();
            let mut model = models.last().unwrap().clone();
            model.apply(changes);
            models.push(model);
            returned.push(disk.operations().len());
        }
        let operations = disk.operations().clone();
        Self { network, operations, models, returned }
    }

    /// Makes so many images or more: each place to cut at gets as many of each fate.
    fn cut_power(&self, images: usize) -> Rows {
        let mut rows = Rows::new();
        let places = self.returned[0]..=self.operations.len();
        let rounds = images.div_ceil(places.clone().count() * Fate::ALL.len());
        let mut durable = Vec::new();
        let mut synced = 0;
        for place in 0..=self.operations.len() {
            if place != 0 && matches!(self.operations[place - 1], Operation::Sync) {
                self.operations[synced..place].iter().for_each(|operation| apply(&mut durable, operation));
                synced = place;
            }
            if !places.contains(&place) {
                continue;
            }
            let certain = self.returned.iter().filter(|returned| **returned <= place).count() - 1;
            for (round, fate) in (0..rounds).flat_map(|round| Fate::ALL.map(|fate| (round, fate))) {
                let mut random = SmallRng::seed_from_u64((place * rounds + round) as u64);
                let image = cut(&durable, &self.operations[synced..place], fate, &mut random);
                let what = || format!("cut after operation {place}, {fate:?}, round {round}");
                self.reopen(image, "commit", fate, certain, &mut random, &mut rows, &what);
            }
        }
        rows
    }

    /// Opens an image; cuts the power once more meanwhile and opens what that leaves.
    #[expect(clippy::too_many_arguments, reason = "all of it goes into the table")]
    fn reopen(
        &self,
        image: Vec<u8>,
        stage: &'static str,
        fate: Fate,
        certain: usize,
        random: &mut SmallRng,
        rows: &mut Rows,
        what: &dyn Fn() -> String,
    ) {
        let disk = Disk::new(image.clone());
        let row = rows.entry((stage, fate)).or_default();
        row.images += 1;
        let opened = catch_unwind(AssertUnwindSafe(|| self.check(disk.clone(), certain)));
        match opened.unwrap_or_else(|_| Err("it panics".into())) {
            Ok(found) => row.ahead += u64::from(certain < found),
            Err(problem) => {
                row.bad += 1;
                row.first.get_or_insert_with(|| format!("{}: {problem}", what()));
            }
        }
        if stage == "commit" && row.images.is_multiple_of(4) {
            let operations = disk.operations().clone();
            let place = rand::RngExt::random_range(random, 0..=operations.len());
            let is_sync = |operation: &Operation| matches!(operation, Operation::Sync);
            let synced = operations[..place].iter().rposition(is_sync).map_or(0, |at| at + 1);
            let mut durable = image;
            operations[..synced].iter().for_each(|operation| apply(&mut durable, operation));
            let image = cut(&durable, &operations[synced..place], fate, random);
            self.reopen(image, "recovery", fate, certain, random, rows, &|| {
                format!("{}, then after {place} of its opening", what())
            });
        }
    }

    /// How many commits the store on a disk holds: those that were certain, or one more.
    fn check(&self, disk: Disk, certain: usize) -> Result<usize, String> {
        let store = RedbStore::on(disk, &self.network.id).map_err(|error| error.to_string())?;
        let last = self.models.len() - 1;
        let found = (certain..=last.min(certain + 1)).find(|commits| self.holds(&store, *commits));
        let Some(found) = found else {
            let earlier = (0..certain).rev().find(|commits| self.holds(&store, *commits));
            return Err(format!("{certain} commits had returned, but it holds {earlier:?}"));
        };
        if found != 0 {
            let verdict = verify(store.snapshot(), &self.network, &mut |_, _| {});
            verdict.map_err(|error| format!("verify: {error}"))?;
        }
        Ok(found)
    }

    /// Whether a store holds what so many commits made, of all that any of them made.
    fn holds(&self, store: &RedbStore, commits: usize) -> bool {
        let (model, all) = (&self.models[commits], &self.models[self.models.len() - 1]);
        let accounts: Vec<AccountId> = all.balances.keys().copied().collect();
        let ids: Vec<TxId> = self.models.iter().flat_map(|model| model.mined.keys().copied()).collect();
        store.tip() == model.tip()
            && store.indexed_from() == model.indexed_from()
            && store.mempool() == model.mempool()
            && store.outbox() == model.outbox()
            && all.records.keys().all(|hash| {
                (store.record(hash), store.block(hash)) == (model.record(hash), model.block(hash))
                    && store.undo(hash) == model.undo(hash)
            })
            && all.path.keys().all(|height| store.path(*height) == model.path(*height))
            && accounts.iter().all(|account| store.balance(account) == model.balance(account))
            && ids.iter().all(|id| store.mined(id) == model.mined(id))
    }
}

/// What a node commits that takes blocks, waiting transactions, and at the end a better branch.
fn commits(network: &Network) -> Vec<Changes> {
    let network = Arc::new(network.clone());
    let bob = network.account("bob").unwrap();
    let mut chain = vec![network.genesis];
    let mut messages = Vec::new();
    let block = |block: Block| Message::Block(Arc::new(block));
    for number in 0..BLOCKS {
        let parent = chain[number];
        let payment = pay(&network, bob, MINER, 1 + number as u64, parent.timestamp);
        let next = next_block(&network, &parent, vec![payment]);
        chain.push(next.header);
        messages.push(block(next));
        let waiting = pay(&network, bob, AccountId([number.to_le_bytes()[0]; 20]), 2, parent.timestamp);
        messages.push(Message::Transactions(vec![waiting]));
    }
    let mut parent = chain[BLOCKS - 2];
    for number in 0..4 {
        let payment = pay(&network, bob, AccountId([9; 20]), 7 + number, parent.timestamp);
        let next = next_block(&network, &parent, vec![payment]);
        parent = next.header;
        messages.push(block(next));
    }
    let options = Options {
        id: NodeId(0),
        miner: MINER,
        mine: false,
        mine_empty: false,
        seed: 0,
        status_interval_us: 1_000_000,
        status_interval_max_us: 1_000_000,
        relay_window_us: 1_000_000,
        reply_timeout_us: 1_000_000,
        mesh_max: MESH_MAX,
    };
    let now = Now { utc: parent.timestamp, elapsed_us: 0 };
    let mut node = Node::open(Arc::clone(&network), options, MemoryStore::default(), now).unwrap();
    let mut commits = Vec::new();
    for message in messages {
        let bytes = message.encode(&network);
        node.step(now, Event::Message { from: None, bytes }, &mut Vec::new()).unwrap();
        let changes = node.take_changes();
        node.store_mut().apply(changes.clone());
        commits.extend((!changes.is_empty()).then_some(changes));
    }
    assert_eq!(node.tip().hash, parent.hash(), "the branch has won");
    commits
}

fn print(rows: &Rows) {
    println!("| cut during | unsynced writes | images | with the commit under way | bad |");
    println!("|---|---|---|---|---|");
    for ((stage, fate), row) in rows {
        println!("| {stage} | {fate:?} | {} | {} | {} |", row.images, row.ahead, row.bad);
        if let Some(first) = &row.first {
            println!("first: {first}");
        }
    }
}
