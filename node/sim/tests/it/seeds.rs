//! Random networks under random faults. A seed that fails becomes a named test.

use quarry_sim::counts::Counts;
use quarry_sim::options::{Options, SECOND_US};
use quarry_sim::run::run;
use quarry_sim::world::World;

/// Runs seeds, and wants them to have been worth the while.
#[track_caller]
fn check(seeds: std::ops::Range<u64>) {
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for seed in seeds {
        match run(seed) {
            Ok(of_seed) => counts.add(&of_seed),
            Err(violation) => failures.push(format!("seed {seed}: {violation}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let notice = |kind: &str| counts.notices.get(kind).copied().unwrap_or(0);
    for (what, count) in [
        ("crashes", counts.crashes),
        ("partitions", counts.partitions),
        ("redeliveries", counts.redeliveries),
        ("doubled messages", counts.doubled),
        ("lost messages", counts.lost),
        ("reorganisations", counts.reorganisations.values().sum()),
        ("orphans", notice("Orphan")),
        ("finished syncs", notice("SyncFinished")),
        ("timed out syncs", notice("SyncFailed TimedOut")),
        ("stale results", notice("StaleResult")),
        ("overspends", notice("Refused Overspend")),
        ("parked peers", notice("PeerSilent")),
        ("peers that came back", notice("PeerBack")),
        ("expired transactions", notice("Expired")),
    ] {
        assert!(0 < count, "no {what} in all these seeds");
    }
}

// Four tests rather than one, so that they share the processor.

#[test]
fn seeds_0() {
    check(0..75);
}

#[test]
fn seeds_1() {
    check(1000..1075);
}

#[test]
fn seeds_2() {
    check(2000..2075);
}

#[test]
fn seeds_3() {
    check(3000..3075);
}

#[test]
fn a_seed_tells_everything() {
    let history = |seed: u64| {
        let mut world = World::new(seed, Options::from_seed(seed));
        world.run_for(60 * SECOND_US);
        (world.counts.clone(), world.tips(), world.admitted.len())
    };
    for seed in [5, 6, 7] {
        assert_eq!(history(seed), history(seed));
    }
    assert_ne!(history(5).0, history(6).0);
}
