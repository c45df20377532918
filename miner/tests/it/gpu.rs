//! The GPU backend on Mesa's software adapter, against the CPU backend.

use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use miner::backend::OpenError;
use miner::gpu::adapters::{self, Adapter, Kind, SelectError};
use miner::gpu::diagnosis::Unusable;
use miner::gpu::shader::Variant;
use miner::gpu::{GpuError, calibrate};
use miner::{
    Backend, CpuLimit, CpuSearch, GpuSearch, Hit, Hybrid, Job, NonceSearch, Options, Outcome, Report,
};

use crate::oracle;

const IMPOSSIBLE: [u8; 32] = [0; 32];

/// Calibrated once, as a program would; used by several tests at a time.
static GPU: LazyLock<GpuSearch> = LazyLock::new(|| GpuSearch::open(&software()).expect("lavapipe works"));
static CPU: LazyLock<CpuSearch> =
    LazyLock::new(|| CpuSearch::open(None, None, CpuLimit::NONE).expect("a CPU is always there"));

#[test]
fn random_jobs_of_two_to_four_zeros() {
    let mut random = Random(1);
    for (zeros, rounds) in [(2, 12), (3, 12), (4, 6)] {
        for round in 0..rounds {
            let heads = [1, 2, 3, 4, 5, 9][round % 6];
            let job = random.job(heads, u32::MAX >> (4 * zeros));
            check(&*GPU, &job, random.next()..=u64::MAX);
        }
    }
}

#[test]
fn ranges_across_windows_and_at_the_ends() {
    let mut random = Random(2);
    for heads in [1, 2, 4, 6] {
        for bits in [6, 12, 40] {
            let job = random.job(heads, u32::MAX.checked_shr(bits).unwrap_or(0));
            let wrap = (random.next() % 1000 + 1) << 32;
            check_all_hits(&job, wrap - 150..=wrap + 150);
            check(&*GPU, &job, wrap - 5000..=wrap + 3000);
            check(&*GPU, &job, 0..=700);
            check(&*GPU, &job, u64::MAX - 700..=u64::MAX);
            check(&*GPU, &job, u64::MAX..=u64::MAX);
        }
    }
}

#[test]
fn target_edges() {
    let mut random = Random(3);
    for heads in [1, 2, 3, 4] {
        let header = random.job(heads, 0);
        let first = random.next() >> 1;
        let nonces = first..=first + 40;
        for edge in [Hit { nonce: first, head: 0 }, Hit { nonce: first + 7, head: heads - 1 }] {
            // The hash as the target is no hit, though the card cannot tell; one more is, and so is what lies behind.
            let hash = header.hash(edge);
            for target in [hash, plus_one(hash)] {
                let job = with_target(&header, target);
                check(&*GPU, &job, nonces.clone());
                check(&*GPU, &job, edge.nonce..=edge.nonce);
                check(&*GPU, &job, edge.nonce..=edge.nonce + 5000);
            }
        }
    }
}

#[test]
fn empty_ranges_and_counts() {
    let search = GpuSearch::with_variants(&software(), &Variant::ALL[..1]).unwrap();
    let job = Job::new(&[[1; 64]; 3], [0; 52], IMPOSSIBLE).unwrap();
    let opened = search.hashes();
    let report = run(&search, &job, RangeInclusive::new(5, 4));
    assert_eq!(report, Report { outcome: Outcome::Exhausted, hashes: 0 });
    let report = run(&search, &job, 1..=20_000);
    assert_eq!(report, Report { outcome: Outcome::Exhausted, hashes: 60_000 });
    assert_eq!(search.hashes() - opened, 60_000);
    assert_eq!(run(&search, &job, 7..=7).hashes, 3);
}

#[test]
fn cancelled_before_and_during() {
    let job = Job::new(&[[1; 64]; 2], [0; 52], IMPOSSIBLE).unwrap();
    let report = GPU.search(&job, 0..=u64::MAX, &AtomicBool::new(true)).unwrap();
    assert_eq!(report, Report { outcome: Outcome::Cancelled, hashes: 0 });
    let before = GPU.hashes();
    for _ in 0..5 {
        let cancel = AtomicBool::new(false);
        let took = thread::scope(|scope| {
            let searching = scope.spawn(|| GPU.search(&job, 0..=u64::MAX, &cancel).unwrap());
            thread::sleep(Duration::from_millis(30));
            let cancelled = Instant::now();
            cancel.store(true, Relaxed);
            assert_eq!(searching.join().unwrap().outcome, Outcome::Cancelled);
            cancelled.elapsed()
        });
        // Generous, because the machine may be busy; the benchmark measures it.
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    // What was left under way does not disturb.
    check(&*GPU, &Random(4).job(2, u32::MAX >> 10), 0..=u64::MAX);
    assert!(before < GPU.hashes());
}

#[test]
fn every_variant_and_both_places_for_the_job() {
    let mut elsewhere = software();
    elsewhere.description.immediates_max = 0;
    for (adapter, variants) in [(software(), &Variant::ALL[3..]), (elsewhere, &Variant::ALL[..3])] {
        let search = GpuSearch::with_variants(&adapter, variants).unwrap();
        assert_eq!(search.rated().len(), 3);
        let widest = search.rated().iter().map(|it| it.variant.width.heads()).max();
        assert_eq!(widest, Some(4));
        for heads in [1, 4, 7] {
            check(&search, &Random(5).job(heads, u32::MAX >> 9), (1 << 40) - 300..=u64::MAX);
        }
    }
}

#[test]
fn several_devices_share_a_cursor() {
    let gpu = || GpuSearch::with_variants(&software(), &Variant::ALL[..1]).unwrap();
    let cpu = CpuSearch::open(None, None, CpuLimit::NONE).unwrap();
    for hybrid in [Hybrid::new(vec![gpu(), gpu()], None), Hybrid::new(vec![gpu()], Some(cpu))] {
        let mut random = Random(6);
        for bits in [1, 8, 12, 16] {
            let job = random.job(3, u32::MAX >> bits);
            check(&hybrid, &job, random.next()..=u64::MAX);
            check(&hybrid, &job, (9 << 32) - 100..=(9 << 32) + 200);
        }
        let job = Job::new(&[[1; 64]], [0; 52], IMPOSSIBLE).unwrap();
        let before = hybrid.hashes();
        let nonces = 1_000_000;
        let report = run(&hybrid, &job, 0..=nonces - 1);
        assert_eq!(report, Report { outcome: Outcome::Exhausted, hashes: nonces });
        assert_eq!(hybrid.hashes() - before, nonces);
        assert!(hybrid.name().contains(" + "), "{}", hybrid.name());
    }
}

#[test]
fn adapters_are_chosen() {
    let software = vec![software()];
    let name = software[0].description.name.clone();
    let select = |names: &[&str], allow| {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        adapters::select(software.clone(), &names, allow).map(|chosen| chosen.len())
    };
    // Not by itself; if allowed; if named, in any case of letters.
    let refused = Unusable::SoftwareOnly { names: vec![name.clone()] };
    assert_eq!(select(&[], false), Err(refused.into()));
    assert_eq!(select(&[], true), Ok(1));
    assert_eq!(select(&["LLVMpipe"], false), Ok(1));
    assert_eq!(select(&["llvmpipe", "llvmpipe"], false), Ok(1));
    let error = select(&["llvmpipe", "abacus"], true).unwrap_err();
    assert_eq!(error, SelectError::NoneCalled { wanted: "abacus".to_owned(), names: vec![name.clone()] });
    assert_eq!(error.to_string(), format!("no GPU is called 'abacus'; there are: {name}"));
    // No adapter at all, which has a cause on this machine, too.
    let none = adapters::select(Vec::new(), &["llvmpipe".to_owned()], true).unwrap_err();
    assert!(matches!(none, SelectError::Unusable(Unusable::DriverFails { .. })), "{none}");
}

#[test]
fn adapters_are_called_by_bus_or_name() {
    let mut card = software().description;
    card.name = "NVIDIA L4".to_owned();
    card.pci_bus = Some("0000:3a:00.0".to_owned());
    for (wanted, expected) in [
        ("0000:3a:00.0", true),
        ("3A:00.0", true),
        ("00000000:3A:00.0", true),
        ("00010000:3A:00.0", false),
        ("3b:00.0", false),
        ("l4", true),
        ("nvidia", true),
        ("L40S", false),
        ("0", false),
        ("", false),
    ] {
        assert_eq!(card.is_called(wanted), expected, "{wanted}");
    }
    assert_eq!(card.to_string(), "NVIDIA L4 at 0000:3a:00.0");
}

#[test]
fn products_are_for_nvidia() {
    let mut description = software().description;
    assert_eq!(calibrate::candidates(&description), Variant::ALL[..3]);
    description.vendor = 0x10de;
    assert_eq!(calibrate::candidates(&description), Variant::ALL);
}

#[test]
fn backends_with_cards_by_name() {
    let options = |device: &str| Options { devices: vec![device.to_owned()], ..Options::default() };
    for (backend, begin) in [(Backend::Gpu, "gpu (llvmpipe"), (Backend::Auto, "gpu (llvmpipe")] {
        let search = backend.open(&options("llvmpipe")).unwrap();
        assert!(search.name().starts_with(begin), "{}", search.name());
        check(&*search, &Random(7).job(search.preferred_heads(), u32::MAX >> 8), 0..=u64::MAX);
    }
    for backend in [Backend::Gpu, Backend::Auto, Backend::Hybrid] {
        let Err(error) = backend.open(&options("abacus")) else { panic!("there is no such card") };
        assert!(matches!(error, OpenError::Gpu(GpuError::Select(SelectError::NoneCalled { .. }))), "{error}");
    }
}

fn software() -> Adapter {
    let software = adapters::adapters().into_iter().find(|it| it.description.kind == Kind::Software);
    software.expect("tests need mesa-vulkan-drivers; `make setup` installs it")
}

/// Compares with the CPU backend.
fn check(search: &dyn NonceSearch, job: &Job, nonces: RangeInclusive<u64>) {
    let expected = run(&*CPU, job, nonces.clone()).outcome;
    let found = run(search, job, nonces.clone()).outcome;
    assert_eq!(found, expected, "{}, {} heads, {nonces:?}", search.name(), job.heads());
    if let Outcome::Found(hit) = found {
        assert!(job.check(hit));
    }
}

/// Goes from hit to hit.
fn check_all_hits(job: &Job, nonces: RangeInclusive<u64>) {
    let (mut first, last) = (*nonces.start(), *nonces.end());
    let mut hits: Vec<Hit> = oracle::hits(job, nonces).collect();
    hits.dedup_by_key(|hit| hit.nonce);
    for hit in hits {
        assert_eq!(run(&*GPU, job, first..=last).outcome, Outcome::Found(hit));
        first = hit.nonce + 1;
    }
}

fn run(search: &dyn NonceSearch, job: &Job, nonces: RangeInclusive<u64>) -> Report {
    search.search(job, nonces, &AtomicBool::new(false)).expect("nothing gets lost")
}

fn with_target(job: &Job, target: [u8; 32]) -> Job {
    let headers: Vec<_> = (0..job.heads()).map(|head| job.header(Hit { nonce: 0, head })).collect();
    let heads: Vec<[u8; 64]> =
        headers.iter().map(|header| header[..64].try_into().expect("64 bytes")).collect();
    Job::new(&heads, headers[0][64..].try_into().expect("52 bytes"), target).expect("as many heads as before")
}

fn plus_one(mut number: [u8; 32]) -> [u8; 32] {
    for byte in number.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    number
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A job of random bytes with a first target word.
    fn job(&mut self, heads: usize, target_word: u32) -> Job {
        let heads: Vec<[u8; 64]> = (0..heads).map(|_| std::array::from_fn(|_| self.next() as u8)).collect();
        let tail = std::array::from_fn(|_| self.next() as u8);
        let mut target: [u8; 32] = std::array::from_fn(|_| self.next() as u8);
        target[..4].copy_from_slice(&target_word.to_be_bytes());
        Job::new(&heads, tail, target).expect("a few heads")
    }
}
