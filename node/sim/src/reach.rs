//! That news reaches everybody in a network that gossips, and that each node asks each other in turn.
//! Invariant: this holds of any network at rest, whatever was wrong with it before.

use quarry_core::units::{Hash, NodeId};

use crate::machine::utc;
use crate::options::SECOND_US;
use crate::violation::{Checker, Violation};
use crate::world::World;

/// How long a peer that was silent may be left alone until its turn counts again.
const PROBE_INTERVAL_US: u64 = 60 * SECOND_US;
/// From how many nodes on it is no matter of chance that a block reaches most of them: each tells four others or more.
const NODES_MIN: u16 = 20;
/// How many blocks are followed.
const BLOCKS: usize = 6;
/// From node to node how often a block goes on, at most, until most have it.
const HOPS: u64 = 5;
/// How many of all nodes and blocks, in hundredths: about 98 have it, and where it is not passed on, about 30.
const REACHED_MIN_PERCENT: usize = 75;

/// Within a turn each node asks each other where it stands. The network may have waited for a while already, in which
/// it was watched who asked whom.
pub fn check_turns(world: &mut World) -> Result<(), Violation> {
    if !world.options.gossips() {
        return Ok(());
    }
    // Two are asked in a round, but of those that were silent perhaps one.
    let (rounds, interval_us) = (u64::from(world.options.members()) + 2, world.options.status_interval_us);
    let end_us = world.now_us() + PROBE_INTERVAL_US + rounds * interval_us;
    while world.now_us() < end_us && world.violation.is_none() && unasked(world).is_some() {
        world.run_for(interval_us);
    }
    match unasked(world).filter(|_| world.violation.is_none()) {
        Some((from, to)) => Err(Checker::Reach.violation(usize::from(from.0))(format!(
            "it does not ask {to} within {rounds} rounds"
        ))),
        None => Ok(()),
    }
}

/// Two nodes of which the one has not asked the other.
fn unasked(world: &World) -> Option<(NodeId, NodeId)> {
    let nodes = world.options.nodes;
    let mut pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (NodeId(from), NodeId(to))));
    pairs.find(|(from, to)| from != to && !world.asked.as_ref().is_some_and(|it| it.contains(&(*from, *to))))
}

/// What one node finds most have long before they could have learned it from each other's statuses. Nobody mines here
/// but who is told to, so that no other block is in the way.
pub fn check_blocks(world: &mut World) -> Result<(), Violation> {
    let within_us = HOPS * world.options.hop_us();
    let is_slow = world.options.status_interval_us < 3 * within_us;
    if !world.options.gossips() || world.options.nodes < NODES_MIN || is_slow {
        return Ok(());
    }
    world.end_mining();
    let (mut reached, mut most) = (0, 0);
    for number in 0..BLOCKS {
        world.pay();
        world.run_for(world.options.hop_us() + SECOND_US);
        if let Some(hash) = find(world, number, within_us) {
            world.counts.count("block followed");
            reached += world.machines.iter().filter(|it| it.disk.read().tip == Some(hash)).count();
            most += world.machines.len();
        }
        wait_for_agreement(world);
    }
    if most * REACHED_MIN_PERCENT <= reached * 100 || world.violation.is_some() {
        return Ok(());
    }
    let text = format!("blocks have come to {reached} of {most} nodes after {} ms", within_us / 1000);
    Err(Checker::Reach.failed(text))
}

/// Lets one node find a block and waits for so long; answers which it is. None where nobody had anything to mine, or
/// where the chain is ahead of a clock, so that not everybody may take it.
fn find(world: &mut World, number: usize, within_us: u64) -> Option<Hash> {
    let (nodes, before) = (world.machines.len(), world.tips());
    let clocks = world.machines.iter().map(|it| utc(world.now_us(), it.offset_us));
    let limit = clocks.min()?.saturating_add(world.options.ahead_max_us());
    let mut finders = (0..nodes).map(|place| (5 * number + place) % nodes);
    let finder = finders.find(|index| world.find(*index, number as u64))?;
    world.run_for(within_us);
    let store = world.machines[finder].disk.read();
    let hash = store.tip.filter(|hash| !before.contains(&Some(*hash)))?;
    (store.blocks[&hash].header.timestamp <= limit).then_some(hash)
}

/// The few whom a block has not reached learn of it from others' statuses.
fn wait_for_agreement(world: &mut World) {
    let mut rounds = world.options.members();
    while 0 < rounds && 1 < world.tips().len() && world.violation.is_none() {
        world.run_for(world.options.status_interval_us);
        rounds -= 1;
    }
}
