//! Targets that do what no decoder may: the driver says so, and keeps the input.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use quarry_fuzz::drive::{Finding, Limits, Problem, Source, Target, Until};

use super::turn;

/// Says to this very program, started anew, where the input that has no end is to be kept.
const CHILD_FINDINGS: &str = "QUARRY_TEST_FINDINGS";
const SEED: u64 = 7;

/// What a bad target does it does to no input of the corpus, and to one in so many of the others.
fn is_bad(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first == b'b') && bytes.len() == 3
}

fn source(run: fn(&[u8]) -> bool) -> Source {
    let generate = |dice: &mut quarry_fuzz::dice::Dice| {
        if dice.once_in(50) { b"bad".to_vec() } else { b"good".to_vec() }
    };
    Source::new(Target { name: "text", run, generate }, SEED).unwrap()
}

/// Runs a bad target; the finding's input is the one that was kept.
fn finding(run: fn(&[u8]) -> bool) -> Finding {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let source = source(run).with_findings(directory.path().join("findings"));
    let finding = source.run(Until::Inputs(10_000), Limits::default()).unwrap_err();
    let name = format!("text-{SEED}-{}", finding.number);
    let kept = fs::read(directory.path().join("findings").join(name)).unwrap();
    assert_eq!(kept, source.input(finding.number));
    assert!(is_bad(&kept), "{kept:?}");
    finding
}

#[test]
fn a_panic_is_noticed() {
    let finding = finding(|bytes| {
        assert!(!is_bad(bytes), "it is bad");
        true
    });
    assert_eq!(finding.problem, Problem::Panic("it is bad".into()));
}

#[test]
fn an_allocation_of_more_than_64_mib_is_noticed() {
    let finding = finding(|bytes| {
        let len = if is_bad(bytes) { 65 << 20 } else { 10 << 20 };
        std::hint::black_box(Vec::<u8>::with_capacity(len)).is_empty()
    });
    assert!(matches!(finding.problem, Problem::Memory(bytes) if 65 << 20 <= bytes), "{finding}");
}

#[test]
fn more_than_100_ms_of_cpu_time_is_noticed() {
    let finding = finding(|bytes| {
        let rounds = if is_bad(bytes) { 600_000_000_u64 } else { 0 };
        (0..rounds).fold(1, |sum, round| std::hint::black_box(sum ^ round)) == 1
    });
    assert!(matches!(finding.problem, Problem::Slow(_)), "{finding}");
}

/// Nothing stops a thread from outside, so the driver ends its process.
#[test]
fn an_input_without_end_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "alarms::child_that_never_ends", "--nocapture"])
        .env(CHILD_FINDINGS, directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("it has not ended after 1s"), "{said}");
    let kept: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{said}");
    assert!(is_bad(&fs::read(&kept[0]).unwrap()));
}

/// Is part of [`an_input_without_end_is_noticed`]; alone it has nothing to do.
#[test]
fn child_that_never_ends() {
    let Some(findings) = env::var_os(CHILD_FINDINGS) else { return };
    let source = source(|bytes| {
        while is_bad(bytes) {
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    });
    let limits = Limits { patience: Duration::from_secs(1), ..Limits::default() };
    source.with_findings(findings).run(Until::Inputs(10_000), limits).unwrap();
}
