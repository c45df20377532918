//! Random networks under random faults. A seed that fails becomes a named test.

use quarry_sim::counts::Counts;
use quarry_sim::options::{Attack, Options, SECOND_US};
use quarry_sim::run::run;
use quarry_sim::world::World;

/// Runs networks; answers what happened in all of them.
#[track_caller]
fn check(runs: impl Iterator<Item = (u64, Options)>) -> Counts {
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for (seed, options) in runs {
        match run(seed, &options) {
            Ok(of_seed) => counts.add(&of_seed),
            Err(violation) => {
                let settings = serde_json::to_string(&options).unwrap();
                failures.push(format!("quarry-sim {seed} --with '{settings}': {violation}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    counts
}

/// What a seed has drawn, as it was before there were nodes that do not mine and slow peers.
fn among_themselves(seed: u64) -> (u64, Options) {
    let mut options = Options { non_miners: 0, ..Options::from_seed(seed) };
    options.adversaries.retain(|attack| *attack != Attack::Slow);
    (seed, options)
}

/// Runs seeds that are the same every time, and wants them to have been worth the while.
#[track_caller]
fn check_known(seeds: std::ops::Range<u64>) {
    let counts = check(seeds.map(|seed| (seed, Options::from_seed(seed))));
    let notice = |kind: &str| counts.notices.get(kind).copied().unwrap_or(0);
    let event = |kind: &str| counts.events.get(kind).copied().unwrap_or(0);
    for (what, count) in [
        ("crashes", counts.crashes),
        ("crashes between two effects", event("crash between two effects")),
        ("crashes before a commit", event("crash before the commit")),
        ("partitions", counts.partitions),
        ("partitions of one direction", event("partition of one direction")),
        ("restored backups", event("restored from a backup")),
        ("steps of a clock", event("clock stepped")),
        ("nodes that left", event("node left")),
        ("attacks", event("attacks")),
        ("networks with a block time", event("network with a block time")),
        ("networks where some do not mine", event("network where some do not mine")),
        ("redeliveries", counts.redeliveries),
        ("doubled messages", counts.doubled),
        ("lost messages", counts.lost),
        ("reorganisations", counts.reorganisations.values().sum()),
        ("orphans", notice("Orphan")),
        ("refused blocks", notice("BlockRefused")),
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

/// The first of the seeds that are more than a sample of the known ones; another in `QUARRY_SEED` makes all of them fresh.
fn further(part: u64, count: u64) -> std::ops::Range<u64> {
    let first = std::env::var("QUARRY_SEED")
        .map_or(20_261_126, |seed| seed.parse().expect("QUARRY_SEED is a number"));
    let first = (first << 20) + (part << 18);
    println!("{count} seeds from {first}");
    first..first + count
}

// Several tests rather than one, so that they share the processor.

#[test]
fn seeds_0() {
    check_known(0..60);
}

#[test]
fn seeds_1() {
    check_known(1000..1060);
}

/// Large networks are few, and in most of them blocks are followed.
#[test]
fn large_seeds() {
    let seeds = (0..200).map(|seed| (seed, Options::from_seed(seed)));
    let counts = check(seeds.filter(|(_, options)| options.gossips() && 20 <= options.nodes));
    assert!(20 < counts.events["block followed"], "{counts}");
}

#[test]
fn further_seeds() {
    check(further(0, 80).map(|seed| (seed, Options::from_seed(seed))));
}

#[test]
fn further_seeds_of_six_hours() {
    check(further(1, 40).map(|seed| (seed, Options::lasting(seed, 6))));
}

/// The end of the faults sets a clock back. What its node took before was too new for a block by then, and was mined when
/// the network already counted as settled; in the second, because the node looked again only when something happened.
#[test]
fn what_is_too_new_to_be_mined_is_waited_for() {
    check([10_019_992, 500_200, 20_004_269].map(among_themselves).into_iter());
}

/// What had been sent to a node that was away was a thousand payments, of which each takes a block.
#[test]
fn what_is_on_its_way_to_be_mined_is_waited_for() {
    check(std::iter::once(among_themselves(800_375)));
}

/// Rounds of statuses that begin and end a time at rest, and a reply to one before it, are no chatter.
#[test]
fn seven_rounds_and_a_reply_are_rest() {
    check(std::iter::once(among_themselves(601_446)));
}

/// Where four nodes gossip and one mines, each that has a transaction tells two at random; it may take ten minutes to come
/// to the one that mines.
#[test]
fn what_waits_comes_to_the_only_miner_in_time() {
    check(std::iter::once((90_143_811, Options::from_seed(90_143_811))));
}

#[test]
fn a_seed_tells_everything() {
    let history = |seed: u64| {
        let mut world = World::new(seed, Options::from_seed(seed));
        world.run_for(60 * SECOND_US);
        (world.counts.clone(), world.tips(), world.watch.admitted.len())
    };
    for seed in [5, 6, 7] {
        assert_eq!(history(seed), history(seed));
    }
    assert_ne!(history(5).0, history(6).0);
}
