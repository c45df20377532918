//! Commits of single blocks, and opening a long chain's store after a crash.

use std::path::Path;
use std::process::{self, Command};
use std::time::Duration;
use std::{env, fs};

use benches::chain::{Chain, Senders};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use node::store::RedbStore;
use quarry_core::units::Height;

const COMMITS: usize = 1000;
const LONG_CHAIN: usize = 100_000;
/// How many blocks of the long chain share a commit.
const BATCH: usize = 1000;
/// Says to this very program, started anew, which store to build and to leave behind by dying.
const CHILD_STORE: &str = "QUARRY_BENCH_CHILD_STORE";

fn main() {
    if let Some(path) = env::var_os(CHILD_STORE) {
        build_and_die(Path::new(&path));
    }
    all();
    Criterion::default().configure_from_args().final_summary();
}

criterion_group!(all, commit, reopen);

/// Blocks of one signed transaction, each with a commit of its own.
fn commit(criterion: &mut Criterion) {
    let mut chain = Chain::new(Senders::Keyed, 100);
    let messages: Vec<_> = (0..COMMITS).map(|_| chain.message(1)).collect();
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(COMMITS as u64));
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    group.bench_function("single blocks", |bencher| {
        let start = || {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
            let store = RedbStore::open(&directory.path().join("store"), &chain.network().id);
            (chain.node(store.expect("a new store opens")), messages.clone(), directory)
        };
        let run = |(mut node, messages, directory)| {
            chain.import(&mut node, messages, |store: &mut RedbStore, changes| {
                store.apply(&changes).expect("the disk takes it");
            });
            (node, directory)
        };
        bencher.iter_batched(start, run, BatchSize::PerIteration);
    });
    group.finish();
}

/// A node that starts on the store of a long chain whose last process was killed.
fn reopen(criterion: &mut Criterion) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let (killed, copy) = (directory.path().join("killed"), directory.path().join("copy"));
    build_in_child(&killed);
    let chain = Chain::new(Senders::Open, 100);
    let mut group = criterion.benchmark_group("reopen");
    group.sample_size(20);
    group.bench_function("100,000 blocks after a kill", |bencher| {
        // Opening puts the file in order, so each time needs a copy as the crash left it.
        let start = || fs::copy(&killed, &copy).expect("there is room");
        let run = |_| {
            let store = RedbStore::open(&copy, &chain.network().id).expect("a killed store opens");
            let node = chain.node(store);
            assert_eq!(node.tip().header.index, Height(LONG_CHAIN as u64));
            node
        };
        bencher.iter_batched(start, run, BatchSize::PerIteration);
    });
    group.finish();
}

/// Builds the long chain's store in a process that dies without closing it.
fn build_in_child(path: &Path) {
    let program = env::current_exe().expect("it is running");
    let status = Command::new(program).env(CHILD_STORE, path).status().expect("it can be started again");
    assert!(!status.success() && path.exists(), "it dies when it is done: {status}");
}

fn build_and_die(path: &Path) -> ! {
    let mut chain = Chain::new(Senders::Open, 100);
    let store = RedbStore::open(path, &chain.network().id).expect("a new store opens");
    let mut node = chain.node(store);
    for _ in 0..LONG_CHAIN / BATCH {
        for _ in 0..BATCH {
            let message = chain.message(1);
            chain.deliver(&mut node, message);
        }
        let changes = node.take_changes();
        node.store_mut().apply(&changes).expect("the disk takes it");
    }
    assert_eq!(node.tip().header.index, chain.height(), "every block is valid");
    process::abort()
}
