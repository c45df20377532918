//! Commits of single blocks, and opening a long chain's store after a crash.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

use benches::chain::{Chain, Senders};
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group};
use node::store::{Reader, RedbStore};
use quarry_core::node::Node;
use quarry_core::units::Height;

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

criterion_group!(all, short_chain, long_chain);

fn commits() -> usize {
    benches::size(1000, 10)
}

fn long() -> usize {
    benches::size(100_000, 2000)
}

/// Blocks of one signed transaction, each with a commit of its own.
fn short_chain(criterion: &mut Criterion) {
    let mut chain = Chain::new(Senders::Keyed, 100);
    let messages: Vec<_> = (0..commits()).map(|_| chain.message(1)).collect();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let path = directory.path().join("store");
    measure_commits(criterion, "commit/single blocks", &chain, &messages, || {
        let _ = fs::remove_file(&path);
        path.clone()
    });
}

/// A node that starts on the store of a long chain whose last process was killed, and goes on there.
fn long_chain(criterion: &mut Criterion) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let (killed, copy) = (directory.path().join("killed"), directory.path().join("copy"));
    build_in_child(&killed);
    // Opening puts the file in order, so each time needs a copy as the crash left it.
    let copied = || {
        fs::copy(&killed, &copy).expect("there is room");
        File::open(&copy).and_then(|file| file.sync_all()).expect("the disk takes it");
        copy.clone()
    };
    let mut chain = Chain::new(Senders::Open, 100);
    let mut group = criterion.benchmark_group("reopen");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    group.bench_function("100,000 blocks after a kill", |bencher| {
        let run = |path: PathBuf| {
            let node = open(&chain, &path);
            assert_eq!(node.tip().header.index, Height(long() as u64));
            node
        };
        bencher.iter_batched(copied, run, BatchSize::PerIteration);
    });
    group.bench_function("100,000 blocks to read", |bencher| {
        let run = || Reader::open(&killed, &chain.network().id).expect("nobody else has it");
        bencher.iter_with_large_drop(run);
    });
    group.finish();
    for _ in 0..long() {
        chain.block(1);
    }
    let messages: Vec<_> = (0..commits()).map(|_| chain.message(1)).collect();
    measure_commits(criterion, "commit/single unsigned blocks on 100,000", &chain, &messages, copied);
}

/// Measures how a node takes in blocks with a commit each; `path` makes the store that it starts on.
fn measure_commits(
    criterion: &mut Criterion,
    name: &str,
    chain: &Chain,
    messages: &[Vec<u8>],
    path: impl Fn() -> PathBuf,
) {
    let (group, name) = name.split_once('/').expect("both are given");
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(messages.len() as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        let start = || (open(chain, &path()), messages.to_vec());
        let run = |(mut node, messages)| {
            chain.import(&mut node, messages, |store: &mut RedbStore, changes| {
                store.apply(&changes).expect("the disk takes it");
            });
            node
        };
        bencher.iter_batched(start, run, BatchSize::PerIteration);
    });
    group.finish();
}

fn open(chain: &Chain, path: &Path) -> Node<RedbStore> {
    chain.node(RedbStore::open(path, &chain.network().id).expect("nobody else has it"))
}

/// Builds the long chain's store in a process that dies without closing it.
fn build_in_child(path: &Path) {
    let program = env::current_exe().expect("it is running");
    let status = Command::new(program)
        .args(env::args().skip(1))
        .env(CHILD_STORE, path)
        .status()
        .expect("it can be started again");
    assert!(!status.success() && path.exists(), "it dies when it is done: {status}");
}

fn build_and_die(path: &Path) -> ! {
    let mut chain = Chain::new(Senders::Open, 100);
    let mut node = open(&chain, path);
    for _ in 0..long() / BATCH {
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
