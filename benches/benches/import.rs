//! A node that takes in a chain of 5,000-transaction blocks: messages, ids, Merkle trees, signatures, ledger, commits.

use benches::chain::{Chain, Senders};
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use node::store::RedbStore;
use quarry_core::memory::MemoryStore;

const TRANSACTIONS: usize = 5000;
/// As many as a block has transactions: then no two signatures of a block share a key, which would save work.
const ACCOUNTS: u64 = 5000;

fn import(criterion: &mut Criterion) {
    let mut chain = Chain::new(Senders::Keyed, ACCOUNTS);
    let blocks = benches::size(20, 1);
    let messages: Vec<_> = (0..blocks).map(|_| chain.message(TRANSACTIONS)).collect();
    let mut group = criterion.benchmark_group("import");
    group.throughput(Throughput::Elements((blocks * TRANSACTIONS) as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("durable", |bencher| {
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
    group.bench_function("in memory", |bencher| {
        let start = || (chain.node(MemoryStore::default()), messages.clone());
        let run = |(mut node, messages)| {
            chain.import(&mut node, messages, MemoryStore::apply);
            node
        };
        bencher.iter_batched(start, run, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(all, import);
criterion_main!(all);
