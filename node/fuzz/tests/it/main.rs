//! The corpus through every target, a slice of fresh inputs, and proof that the driver notices what no input may cause.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alarms;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peak_alloc::PeakAlloc;
use quarry_core::units::Hash;
use quarry_fuzz::corpus;
use quarry_fuzz::drive::{Limits, Source, TARGETS, Until};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, so the tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A build without optimisation is no measure of CPU time.
fn limits() -> Limits {
    Limits { cpu: Duration::from_secs(20), ..Limits::default() }
}

#[test]
fn the_corpus_breaks_nothing() {
    let _turn = turn();
    for target in TARGETS {
        let count = corpus::load(target.name).unwrap().len() as u64;
        assert!(1 < count, "{} has a corpus", target.name);
        let report = Source::new(*target, 0).unwrap().run(Until::Inputs(count), limits()).unwrap();
        assert_eq!(report.inputs, count);
        assert!(0 < report.taken, "something in the corpus of {} is right", target.name);
    }
}

#[test]
fn names_in_the_corpus_are_digests() {
    for target in TARGETS {
        for entry in fs::read_dir(corpus::directory(target.name)).unwrap() {
            let path = entry.unwrap().path();
            let digest = Hash::of(&[&fs::read(&path).unwrap()]).to_string();
            assert_eq!(path.file_name().unwrap().to_str(), Some(&digest[..12]), "{}", path.display());
        }
    }
}

/// `QUARRY_SEED` repeats a run.
#[test]
fn fresh_inputs_break_nothing() {
    let _turn = turn();
    let seed = std::env::var("QUARRY_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("QUARRY_SEED={seed}");
    let findings = tempfile::tempdir().unwrap();
    for target in TARGETS {
        let source = Source::new(*target, seed).unwrap().with_findings(findings.path());
        let report = source.run(Until::Inputs(500), limits());
        let report = report.unwrap_or_else(|finding| panic!("{finding}"));
        assert!(0 < report.taken, "no input of {} gets past the first check: {report:?}", target.name);
    }
}
