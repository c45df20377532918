//! A disk whose power is cut at every write and sync of a chain's commits, and again while the store is opened.
//! What is left must be what the commits that had returned made, and perhaps the one under way, whole; and the store
//! must go on from there.
//!
//! `QUARRY_IMAGES=250000 cargo test --release -p node --test it power_cut -- --nocapture` makes as many images.

pub(super) mod disk;

use std::collections::{BTreeMap, BTreeSet};
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
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt, SeedableRng};

use self::disk::{Disk, Fate, Operation, apply, cut};
use super::left::{MINER, alice, network, next_block, pay};

const IMAGES: u64 = 1000;
/// How often an image is drawn until it is one that the history has not had.
const DRAWS_MAX: usize = 4;

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
    let seed = crate::seed(0);
    let (mut rows, mut made, mut histories) = (Rows::new(), 0, 0);
    while made < images {
        History::new(seed.wrapping_add(histories), Disk::default()).cut_power(&mut rows);
        histories += 1;
        made = rows.values().map(|row| row.images).sum();
    }
    println!("{histories} histories, of seed {seed} and the next:");
    print(&rows);
    assert!(rows.values().all(|row| 0 < row.images && row.bad == 0), "seed {seed}: {rows:?}");
    assert!(rows.values().any(|row| 0 < row.ahead), "a commit is never left whole before it returns");
}

/// The control: without syncs commits get lost, and the check notices.
#[test]
fn a_power_cut_on_a_disk_whose_syncs_lie_is_noticed() {
    let mut rows = Rows::new();
    History::new(0, Disk::lying()).cut_power(&mut rows);
    print(&rows);
    let bad: u64 = rows.values().map(|row| row.bad).sum();
    assert!(100 < bad, "{rows:?}");
    assert_eq!(rows[&("commit", Fate::Kept)].bad, 0, "the disk itself is all right");
}

type Rows = BTreeMap<(&'static str, Fate), Row>;
/// The images that there have been, each with how many commits had returned.
type Seen = BTreeSet<(usize, u32)>;

/// A store's life on a disk.
pub(super) struct History {
    seed: u64,
    pub(super) network: Network,
    operations: Vec<Operation>,
    pub(super) commits: Vec<Changes>,
    /// What the store held after so many commits.
    models: Vec<MemoryStore>,
    /// How many operations there were when each commit had returned.
    returned: Vec<usize>,
}

/// An image, and what is known of it.
struct Image {
    bytes: Vec<u8>,
    stage: &'static str,
    fate: Fate,
    /// How many commits had returned.
    certain: usize,
    /// Where the power was cut.
    place: String,
}

impl History {
    pub(super) fn new(seed: u64, disk: Disk) -> Self {
        let network = network();
        let mut store = RedbStore::on(disk.clone(), &network.id).unwrap();
        let mut models = vec![MemoryStore::default()];
        let mut returned = vec![disk.operations().len()];
        let commits = commits(&network, seed);
        for changes in &commits {
            store.apply(changes).unwrap();
            let mut model = models.last().unwrap().clone();
            model.apply(changes.clone());
            models.push(model);
            returned.push(disk.operations().len());
        }
        let operations = disk.operations().clone();
        Self { seed, network, operations, commits, models, returned }
    }

    /// Cuts at each place, and makes an image of each fate there that is unlike all others. Before the first place there is no store yet: a file
    /// gets its name only once it is one.
    fn cut_power(&self, rows: &mut Rows) {
        let (mut durable, mut synced, mut seen) = (Vec::new(), 0, Seen::new());
        let mut random = SmallRng::seed_from_u64(self.seed);
        for place in 0..=self.operations.len() {
            if place != 0 && matches!(self.operations[place - 1], Operation::Sync) {
                self.operations[synced..place].iter().for_each(|operation| apply(&mut durable, operation));
                synced = place;
            }
            if place < self.returned[0] {
                continue;
            }
            let certain = self.returned.iter().filter(|returned| **returned <= place).count() - 1;
            for fate in Fate::ALL {
                let image = fresh(&mut seen, || {
                    let bytes = cut(&durable, &self.operations[synced..place], fate, &mut random);
                    let place = format!("seed {}: cut after operation {place}, {fate:?}", self.seed);
                    Image { bytes, stage: "commit", fate, certain, place }
                });
                let Some(image) = image else { continue };
                let opening = self.reopen(&image, rows);
                if random.random_ratio(1, 4)
                    && let Some(again) = fresh(&mut seen, || cut_again(&image, &opening, &mut random))
                {
                    self.reopen(&again, rows);
                }
            }
        }
    }

    /// Opens an image, and answers what that did to the disk.
    fn reopen(&self, image: &Image, rows: &mut Rows) -> Vec<Operation> {
        let disk = Disk::new(image.bytes.clone());
        let row = rows.entry((image.stage, image.fate)).or_default();
        row.images += 1;
        let opened = catch_unwind(AssertUnwindSafe(|| self.check(&disk, image.certain)));
        let (found, opening) = opened.unwrap_or_else(|_| (Err("it panics".into()), Vec::new()));
        match found {
            Ok(found) => row.ahead += u64::from(image.certain < found),
            Err(problem) => {
                row.bad += 1;
                row.first.get_or_insert_with(|| format!("{}: {problem}", image.place));
            }
        }
        opening
    }

    /// How many commits the store on a disk holds: those that were certain, or one more. And what opening it did.
    fn check(&self, disk: &Disk, certain: usize) -> (Result<usize, String>, Vec<Operation>) {
        let opened = RedbStore::on(disk.clone(), &self.network.id);
        let opening = disk.operations().clone();
        let found = opened.map_err(|error| error.to_string()).and_then(|store| self.go_on(store, certain));
        (found, opening)
    }

    fn go_on(&self, mut store: RedbStore, certain: usize) -> Result<usize, String> {
        let last = self.commits.len();
        let found = (certain..=last.min(certain + 1)).find(|commits| self.holds(&store, *commits));
        let Some(found) = found else {
            let earlier = (0..certain).rev().find(|commits| self.holds(&store, *commits));
            return Err(format!("{certain} commits had returned, but it holds {earlier:?}"));
        };
        if found != 0 {
            let verdict = verify(store.snapshot(), &self.network, &mut |_, _| {});
            verdict.map_err(|error| format!("verify: {error}"))?;
        }
        if let Some(next) = self.commits.get(found) {
            store.apply(next).map_err(|error| format!("the next commit: {error}"))?;
            if !self.holds(&store, found + 1) {
                return Err(format!("after {found} commits the next one makes something else"));
            }
        }
        Ok(found)
    }

    /// Whether a store holds what so many commits made, of all that any of them made.
    pub(super) fn holds(&self, store: &RedbStore, commits: usize) -> bool {
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

/// An image that there has not been, unless only such are drawn.
fn fresh(seen: &mut Seen, mut draw: impl FnMut() -> Image) -> Option<Image> {
    (0..DRAWS_MAX).map(|_| draw()).find(|image| seen.insert((image.certain, crc32fast::hash(&image.bytes))))
}

/// Cuts the power once more, while an image is opened.
fn cut_again(image: &Image, opening: &[Operation], random: &mut SmallRng) -> Image {
    let place = random.random_range(0..=opening.len());
    let is_sync = |operation: &Operation| matches!(operation, Operation::Sync);
    let synced = opening[..place].iter().rposition(is_sync).map_or(0, |at| at + 1);
    let mut durable = image.bytes.clone();
    opening[..synced].iter().for_each(|operation| apply(&mut durable, operation));
    let bytes = cut(&durable, &opening[synced..place], image.fate, random);
    let place = format!("{}, then after {place} of {} of its opening", image.place, opening.len());
    Image { bytes, stage: "recovery", place, ..*image }
}

/// What a node commits that takes blocks, waiting transactions, and at the end a better branch.
fn commits(network: &Network, seed: u64) -> Vec<Changes> {
    let network = Arc::new(network.clone());
    let mut random = SmallRng::seed_from_u64(seed);
    let bob = network.account("bob").unwrap();
    let mut chain = vec![network.genesis];
    let mut messages = Vec::new();
    let block = |block: Block| Message::Block(Arc::new(block));
    let blocks = random.random_range(2..=8);
    let payments_max = *[1, 4, 20].choose(&mut random).unwrap();
    for number in 0..blocks {
        let parent = chain[number];
        let mut payments = Vec::new();
        for _ in 0..random.random_range(0..=payments_max) {
            payments.push(pay(&network, alice(), AccountId(random.random()), 1, parent.timestamp));
        }
        payments.push(pay(&network, bob, MINER, 1 + number as u64, parent.timestamp));
        let next = next_block(&network, &parent, payments);
        chain.push(next.header);
        messages.push(block(next));
        let to = AccountId([number.to_le_bytes()[0]; 20]);
        messages.push(Message::Transactions(vec![pay(&network, bob, to, 2, parent.timestamp)]));
    }
    let abandoned = random.random_range(1..blocks);
    let mut parent = chain[blocks - abandoned];
    for number in 0..=abandoned as u64 {
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
        let Row { images, ahead, bad, .. } = row;
        println!("| {stage} | {fate:?} | {images} | {ahead} | {bad} |");
        if let Some(first) = &row.first {
            println!("first: {first}");
        }
    }
}
