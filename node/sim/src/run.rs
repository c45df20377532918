//! One run from its first fault to its last check.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checkers::{
    IDLE_US, Resting, check_agreement, check_bounds, check_conservation, check_durability, check_idle,
    check_ledger, claims_end_within_us, has_claims, settled_within_us, told_within_us,
};
use crate::counts::Counts;
use crate::options::{Options, SECOND_US};
use crate::reach::{check_blocks, check_turns};
use crate::violation::{Checker, Violation};
use crate::world::World;

/// How often the nodes are looked at in full while faults last.
const AUDITS: u64 = 4;

/// Runs a network; answers what happened, or what did not hold.
pub fn run(seed: u64, options: &Options) -> Result<Counts, Violation> {
    let run = || {
        let mut world = World::new(seed, options.clone());
        for _ in 0..AUDITS {
            world.run_for(world.options.faults_us / AUDITS);
            audit(&world)?;
        }
        settle(&mut world)?;
        world.counts.virtual_us = world.now_us();
        Ok(world.counts)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Checker::Panic.failed(text.unwrap_or_default()))
    })
}

/// Ends all faults and wants agreement, rest, and sound ledgers.
pub fn settle(world: &mut World) -> Result<(), Violation> {
    world.end_faults();
    if world.options.mine_empty {
        world.run_for(60 * SECOND_US);
        world.end_mining();
    }
    let (bound_us, began_us) = (settled_within_us(world), world.now_us());
    wait_for_agreement(world, bound_us)?;
    world.counts.settled(world.now_us() - began_us);
    wait_for_miners(world)?;
    // What is refused for others' sake is mined once those have expired, or expires itself; by a clock that may be behind,
    // and when a status is due.
    let slack_us = world.options.skew_settled_us() + 2 * world.options.status_interval_us;
    let until_us = world.now_us() + u64::from(world.options.window_s) * SECOND_US + slack_us;
    while world.is_kept_from_miners(false) && world.now_us() < until_us {
        world.run_for(SECOND_US);
    }
    wait_for_agreement(world, bound_us)?;
    // What has been mined may let something else be paid.
    while world.is_kept_from_miners(true) {
        wait_for_miners(world)?;
        wait_for_agreement(world, bound_us)?;
    }
    // Late news of what is settled already, and a word from everybody, so that nobody seems silent.
    world.asked = Some(BTreeSet::new());
    world.run_for(IDLE_US.max(2 * world.options.status_interval_us));
    check_turns(world)?;
    world.asked = None;
    let claimed_until_us = world.now_us() + claims_end_within_us(world);
    while has_claims(world) && world.now_us() < claimed_until_us {
        world.run_for(SECOND_US);
    }
    let before = Resting::of(world);
    world.run_for(IDLE_US);
    check_idle(world, &before)?;
    check_agreement(world)?;
    check_blocks(world)?;
    check_agreement(world)?;
    audit(world)
}

fn wait_for_agreement(world: &mut World, bound_us: u64) -> Result<(), Violation> {
    let is_settled = world.run_until_settled(bound_us);
    audit(world)?;
    check_agreement(world)?;
    if is_settled {
        return Ok(());
    }
    let text = format!("no rest within {} s after the last fault", bound_us / SECOND_US);
    Err(Checker::Agreement.failed(text))
}

/// What waits at nodes that do not mine comes to those that do.
fn wait_for_miners(world: &mut World) -> Result<(), Violation> {
    let within_us = told_within_us(world);
    let until_us = world.now_us() + within_us;
    while world.is_kept_from_miners(true) && world.now_us() < until_us && world.violation.is_none() {
        world.run_for(SECOND_US);
    }
    if world.is_kept_from_miners(true) {
        let text =
            format!("something waits that has not come to all miners within {} s", within_us / SECOND_US);
        return Err(Checker::Agreement.failed(text));
    }
    Ok(())
}

fn audit(world: &World) -> Result<(), Violation> {
    if let Some(violation) = &world.violation {
        return Err(violation.clone());
    }
    let members = usize::from(world.options.members());
    for (index, machine) in world.machines.iter().enumerate() {
        check_ledger(&machine.disk.read(), world.rules()).map_err(Checker::Replay.violation(index))?;
        check_durability(machine, world.now_us()).map_err(Checker::Durability.violation(index))?;
        check_bounds(machine, world.rules(), members).map_err(Checker::Bounds.violation(index))?;
    }
    check_conservation(world)
}
