//! One seed from its first fault to its last check.

use crate::checkers::{
    IDLE_US, SETTLED_WITHIN_US, Violation, check_agreement, check_complaints, check_conservation, check_idle,
    check_ledger,
};
use crate::counts::Counts;
use crate::options::{Options, SECOND_US};
use crate::world::World;

/// How often a node's ledger is checked while faults last.
const AUDIT_US: u64 = 20 * SECOND_US;

/// Runs what a seed stands for; answers what happened, or what did not hold.
pub fn run(seed: u64) -> Result<Counts, Violation> {
    let mut world = World::new(seed, Options::from_seed(seed));
    let end_us = world.options.faults_us;
    while world.now_us() < end_us {
        world.run_for(AUDIT_US.min(end_us - world.now_us()));
        audit(&world)?;
    }
    settle(&mut world)?;
    Ok(world.counts)
}

/// Ends all faults and wants agreement, rest, and sound ledgers.
pub fn settle(world: &mut World) -> Result<(), Violation> {
    world.end_faults();
    if world.options.mine_empty {
        world.run_for(60 * SECOND_US);
        world.end_mining();
    }
    let is_settled = world.run_until_settled(SETTLED_WITHIN_US);
    audit(world)?;
    check_agreement(world)?;
    if !is_settled {
        return Err(format!("no rest within {} s after the last fault", SETTLED_WITHIN_US / SECOND_US));
    }
    // Late news of what is settled already.
    world.run_for(IDLE_US);
    let before = world.counts.clone();
    world.run_for(IDLE_US);
    check_idle(world, &before, &world.counts)?;
    check_agreement(world)?;
    audit(world)
}

fn audit(world: &World) -> Result<(), Violation> {
    check_complaints(world)?;
    for machine in &world.machines {
        check_ledger(&machine.disk.read(), world.rules())
            .map_err(|violation| format!("node {}: {violation}", machine.id))?;
    }
    check_conservation(world)
}
