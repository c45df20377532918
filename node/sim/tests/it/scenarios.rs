//! Situations with a name.

use std::collections::BTreeSet;

use quarry_core::target::Work;
use quarry_core::units::{Hash, TxId};
use quarry_sim::checkers::{Resting, check_agreement, check_idle};
use quarry_sim::options::{Options, SECOND_US};
use quarry_sim::run::settle;
use quarry_sim::world::World;

const MINUTE_US: u64 = 60 * SECOND_US;

/// A network with the options, seeds of which differ in everything that is left to chance.
#[track_caller]
fn check(options: &Options, scenario: impl Fn(&mut World)) {
    for seed in 0..3 {
        let mut world = World::new(seed, options.clone());
        scenario(&mut world);
        if let Err(violation) = settle(&mut world) {
            panic!("seed {seed}: {violation}");
        }
    }
}

fn tip(world: &World, index: usize) -> (Work, Hash) {
    let store = world.machines[index].disk.read();
    let tip = store.tip.unwrap();
    (store.records[&tip].work, tip)
}

fn height(world: &World, index: usize) -> u64 {
    world.machines[index].disk.read().path.len() as u64 - 1
}

fn is_on_path(world: &World, index: usize, hash: &Hash) -> bool {
    world.machines[index].disk.read().path.values().any(|other| other == hash)
}

/// The transactions of a node's best chain.
fn mined(world: &World, index: usize) -> BTreeSet<TxId> {
    let store = world.machines[index].disk.read();
    let blocks = store.path.values().map(|hash| &store.blocks[hash]);
    blocks.flat_map(|block| block.transactions.iter().map(|it| it.id())).collect()
}

#[test]
fn four_nodes_converge() {
    let options = Options { transaction_interval_us: SECOND_US, ..Options::calm() };
    check(&options, |world| {
        world.run_for(2 * MINUTE_US);
        assert!(10 < height(world, 0));
        assert!(20 < mined(world, 0).len());
    });
}

#[test]
fn a_network_without_transactions_only_says_how_it_does() {
    let mut world = World::new(1, Options::calm());
    world.run_for(MINUTE_US);
    assert_eq!(height(&world, 0), 0);
    let before = Resting::of(&world);
    world.run_for(quarry_sim::checkers::IDLE_US);
    assert_eq!(check_idle(&world, &before), Ok(()));
}

/// Both halves mine, then meet: all end on the chain with more work, and no transaction of the other is lost.
#[test]
fn two_halves_join() {
    for loses in [false, true] {
        let options = Options { transaction_interval_us: SECOND_US, loses, ..Options::calm() };
        check(&options, |world| {
            world.run_for(MINUTE_US / 2);
            let common = height(world, 0);
            world.cut(vec![false, false, true, true]);
            world.run_for(2 * MINUTE_US);
            assert!(check_agreement(world).is_err(), "the halves have drifted apart");
            assert!(common + 3 < height(world, 0) && common + 3 < height(world, 2));
            world.end_mining();
            world.run_for(10 * SECOND_US);
            let (left, right) = (tip(world, 0), tip(world, 2));
            let (winner, loser) = if left.0 < right.0 { (right, 0) } else { (left, 2) };
            let abandoned = mined(world, loser);
            if left.0 != right.0 {
                settle(world).unwrap();
                let kept: BTreeSet<TxId> = (0..4).flat_map(|index| waiting(world, index)).collect();
                for index in 0..4 {
                    assert!(is_on_path(world, index, &winner.1), "more work wins");
                    let chain = mined(world, index);
                    assert!(abandoned.iter().all(|id| chain.contains(id) || kept.contains(id)));
                }
            }
        });
    }
}

fn waiting(world: &World, index: usize) -> Vec<TxId> {
    world.machines[index].disk.read().mempool.values().map(|it| it.id()).collect()
}

#[test]
fn a_node_that_was_long_absent_comes_back() {
    for loses in [false, true] {
        let options =
            Options { mine_empty: true, block_interval_us: SECOND_US / 2, loses, ..Options::calm() };
        check(&options, |world| {
            world.run_for(MINUTE_US);
            world.crash(3);
            world.run_for(10 * MINUTE_US);
            let (absent, present) = (height(world, 3), height(world, 0));
            assert!(absent + 700 < present, "{absent} {present}");
            world.start(3);
            world.run_for(MINUTE_US);
            let (absent, present) = (height(world, 3), height(world, 0));
            assert!(present < absent + 10, "{absent} {present}");
        });
    }
}

/// A locator of the active chain and fixed batches never finish where the fork is more than a batch below both tips.
#[test]
fn a_fork_of_many_batches_heals() {
    for loses in [false, true] {
        let options = Options {
            nodes: 3,
            mine_empty: true,
            block_interval_us: SECOND_US / 3,
            transaction_interval_us: 20 * SECOND_US,
            loses,
            ..Options::calm()
        };
        check(&options, |world| {
            world.run_for(MINUTE_US);
            let common = height(world, 0);
            // Two nodes against one: one side is twice as fast.
            world.cut(vec![false, false, true]);
            world.run_for(10 * MINUTE_US);
            let (left, right) = (height(world, 0), height(world, 2));
            assert!(common + 510 < right && right + 140 < left, "{common} {left} {right}");
            let winner = tip(world, 0);
            world.join();
            world.run_for(MINUTE_US);
            assert!(is_on_path(world, 2, &winner.1), "healed within a minute");
        });
    }
}

#[test]
fn a_power_cut_everywhere_at_once_loses_nothing() {
    let options = Options { transaction_interval_us: SECOND_US, commit_max_us: 100_000, ..Options::calm() };
    check(&options, |world| {
        for _ in 0..10 {
            world.run_for(10 * SECOND_US);
            (0..4).for_each(|index| world.crash(index));
            world.run_for(SECOND_US);
            (0..4).for_each(|index| world.start(index));
        }
    });
}

#[test]
fn a_node_alone_is_a_network() {
    let options = Options {
        nodes: 1,
        block_interval_us: 8 * SECOND_US,
        transaction_interval_us: SECOND_US,
        ..Options::calm()
    };
    check(&options, |world| {
        world.run_for(MINUTE_US);
        world.crash(0);
        world.start(0);
        world.run_for(MINUTE_US);
        assert!(3 < height(world, 0));
        assert!(world.machines[0].disk.read().outbox.is_empty());
    });
}

/// Nothing that was announced stays on the list once the network is at rest.
#[test]
fn announcements_end() {
    let options = Options {
        transaction_interval_us: SECOND_US,
        crash_interval_us: 3 * SECOND_US,
        commit_max_us: 50_000,
        ..Options::calm()
    };
    check(&options, |world| {
        world.run_for(2 * MINUTE_US);
        world.end_faults();
        world.run_for(MINUTE_US);
        for machine in &world.machines {
            assert!(machine.disk.read().outbox.is_empty());
        }
    });
}

/// The plain ledger says for each block what its difficulty must be; a hash rate ten times as high, and then the first
/// one again, change it many times.
#[test]
fn the_difficulty_follows_the_hash_rate() {
    let options = Options {
        block_time_s: 4,
        block_interval_us: 4 * SECOND_US,
        zeros: 2,
        mine_empty: true,
        ..Options::calm()
    };
    check(&options, |world| {
        let work_of_tip = |world: &World| {
            let store = world.machines[0].disk.read();
            let header = store.records[&store.tip.unwrap()].header;
            header.bits.target().unwrap().work().as_f64()
        };
        world.set_pace(10_000);
        world.run_for(20 * MINUTE_US);
        let fast = work_of_tip(world);
        assert!((1_000.0..6_000.0).contains(&fast), "ten times 256: {fast}");
        world.set_pace(1_000);
        world.run_for(20 * MINUTE_US);
        let slow = work_of_tip(world);
        assert!((100.0..600.0).contains(&slow), "256: {slow}");
    });
}

/// For how many of these seconds the tips of the first nodes differed.
fn seconds_apart(world: &mut World, live: usize, seconds: u64) -> usize {
    let is_apart = |_: &u64| {
        world.run_for(SECOND_US);
        (1..live).any(|index| tip(world, index) != tip(world, 0))
    };
    (0..seconds).filter(is_apart).count()
}

/// Queues outlive their nodes. Where most of those on the list are read by nobody, telling the logarithm of their number
/// would reach nobody, so the few that are left find each other and tell each other all.
#[test]
fn few_who_are_left_of_many_hear_each_other_at_once() {
    for (nodes, live) in [(20, 4), (60, 4), (60, 10), (100, 20)] {
        let options = Options {
            nodes,
            mine_empty: true,
            block_interval_us: MINUTE_US * live as u64 / u64::from(nodes),
            status_interval_max_us: 300 * SECOND_US,
            delay_min_us: 20_000,
            delay_max_us: 300_000,
            ..Options::calm()
        };
        let mut world = World::new(1, options);
        for index in live..usize::from(nodes) {
            world.crash(index);
        }
        world.run_for(10 * MINUTE_US);
        let apart = seconds_apart(&mut world, live, 3600);
        assert!(30 < height(&world, 0) && apart < 180, "{live} of {nodes}: {apart} s of 3600");
        world.end_mining();
        world.run_for(MINUTE_US);
        assert_eq!(seconds_apart(&mut world, live, 1), 0);
    }
}
