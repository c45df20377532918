//! The nonce search: every kernel of this CPU, and what a job costs before its first hash.
//!
//! `cargo bench -p benches --bench miner`; comparisons with other people's code are in `peers/`.

use std::hint::black_box;
use std::time::Duration;

use benches::mining_job;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use miner::{Job, Kernel, measure};

/// Per kernel: how much the schedule's being shared gains.
fn kernels(criterion: &mut Criterion) {
    const NONCES: u64 = 1 << 11;
    let mut group = criterion.benchmark_group("kernel");
    group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    for kernel in Kernel::available() {
        for heads in [1, 16, 64] {
            let job = mining_job(heads);
            group.throughput(Throughput::Elements(NONCES * heads as u64));
            group.bench_with_input(BenchmarkId::new(kernel.name(), heads), &job, |bencher, job| {
                // CPU time, because a kernel's speed is not that of the other processes.
                bencher.iter_custom(|iterations| {
                    (0..iterations).map(|_| measure::kernel(kernel, job, 0..=NONCES - 1).cpu).sum()
                });
            });
        }
    }
    group.finish();
}

/// A new tip or template costs this much on top of the heads' hashing.
fn job_setup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("job");
    for heads in [1, 16, 64] {
        let blocks: Vec<[u8; 64]> = (0..heads).map(|head| [head as u8; 64]).collect();
        group.throughput(Throughput::Elements(heads));
        group.bench_with_input(BenchmarkId::new("setup", heads), &blocks, |bencher, blocks| {
            bencher.iter(|| Job::new(black_box(blocks), black_box([7; 52]), black_box([0; 32])));
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, job_setup);
criterion_main!(benches);
