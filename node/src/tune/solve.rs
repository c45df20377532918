//! What a difficulty brings, and which one brings what is wanted: by the formulas where they hold, else by simulation.
//! Invariant: the same seed gives the same figures.

use quarry_core::target::Work;

use super::model::{Conditions, Goal, Outcome, Unattainable, mean};
use super::simulate::{Simulated, simulate};

/// How many intervals a delay is at least where one is looked for by simulation: the formulas and it agree there.
const DELAY_MIN: f64 = 0.1;
/// How many are tried at least before there is none: a simulated run is to last many delays.
const DELAY_MAX: f64 = 50.0;
/// How often a factor of two between which it is is halved, to 0.07 %: more than a simulation tells.
const HALVINGS: u32 = 10;
/// The fewest hashes for a block that a difficulty in use has.
const HASHES_MIN: f64 = 16.0;

/// What so many hashes a block bring.
pub fn outcome(conditions: &Conditions, hashes: f64, seed: u64) -> Outcome {
    let by_formula = conditions.outcome(hashes);
    if conditions.formulas_hold(conditions.interval_of_all_s(hashes)) {
        return by_formula;
    }
    let seen = simulate(conditions, hashes, seed);
    Outcome {
        mean_s: seen.mean_s.value,
        median_s: seen.median_s,
        p90_s: seen.p90_s,
        p99_s: seen.p99_s,
        stale: seen.stale.value,
        by_simulation: true,
        ..by_formula
    }
}

/// The hashes a block that bring what is wanted, as a compact target says it.
pub fn hashes_for(conditions: &Conditions, goal: Goal, seed: u64) -> Result<Work, Unattainable> {
    let hashes = interval_of_all_for(conditions, goal, seed)? * conditions.hash_rate;
    if hashes < HASHES_MIN {
        return Err(Unattainable::TooEasy { hashes });
    }
    let rounded = Work::from_f64(hashes).target().bits().target();
    Ok(rounded.expect("what a target gives has a target").work())
}

/// The mean time from one block to the next, stale ones included, that brings what is wanted.
pub fn interval_of_all_for(conditions: &Conditions, goal: Goal, seed: u64) -> Result<f64, Unattainable> {
    if let (Goal::Stale(_), true) = (goal, conditions.lost_s() == 0.0) {
        return Err(Unattainable::NeverStale);
    }
    let all_s = conditions.interval_of_all_for(goal);
    if conditions.formulas_hold(all_s) {
        return Ok(all_s);
    }
    // The more intervals a delay is, the shorter they are and the more blocks go stale.
    let delay_s = mean(&conditions.delays_s);
    let seen_at = |intervals: f64| simulate(conditions, delay_s / intervals * conditions.hash_rate, seed);
    let is_enough = |seen: &Simulated| match goal {
        Goal::Interval(wanted_s) => seen.mean_s.value <= wanted_s,
        Goal::Stale(share) => share <= seen.stale.value,
    };
    let (mut too_few, mut enough) = (DELAY_MIN, 2.0 * DELAY_MIN);
    loop {
        let seen = seen_at(enough);
        if is_enough(&seen) {
            break;
        }
        if DELAY_MAX < enough {
            return Err(match goal {
                Goal::Interval(wanted_s) => Unattainable::TooShort { wanted_s, delay_s },
                Goal::Stale(_) => Unattainable::NeverSoStale { most: seen.stale.value, delays: enough },
            });
        }
        (too_few, enough) = (enough, 2.0 * enough);
    }
    for _ in 0..HALVINGS {
        let middle = (too_few * enough).sqrt();
        *if is_enough(&seen_at(middle)) { &mut enough } else { &mut too_few } = middle;
    }
    Ok(delay_s / enough)
}

#[cfg(test)]
mod tests {
    use super::super::estimate;
    use super::super::model::equal_shares;
    use super::super::model::tests::conditions;
    use super::super::simulate::chains;
    use super::*;

    #[test]
    fn goals_and_outcomes_are_inverse() {
        let check = |shares: &[f64], delay_s, goal, by_simulation: bool| {
            let conditions = conditions(shares, delay_s);
            let hashes = hashes_for(&conditions, goal, 1).unwrap().as_f64();
            let outcome = outcome(&conditions, hashes, 1);
            let off = match goal {
                Goal::Interval(wanted_s) => outcome.mean_s / wanted_s - 1.0,
                Goal::Stale(share) => outcome.stale / share - 1.0,
            };
            assert!(off.abs() < 0.003, "{shares:?} {goal:?}: {outcome:?}");
            assert_eq!(outcome.by_simulation, by_simulation, "{shares:?} {goal:?}");
        };
        check(&equal_shares(4), 0.4, Goal::Interval(10.0), false);
        check(&equal_shares(4), 0.4, Goal::Stale(0.03), false);
        check(&equal_shares(4), 0.0, Goal::Interval(0.1), false);
        // By the formula it would be 0.3 s alone that are lost.
        check(&equal_shares(4), 0.4, Goal::Interval(0.3), true);
        check(&equal_shares(4), 0.4, Goal::Stale(0.5), true);
        check(&[0.9, 0.1], 0.5, Goal::Stale(0.05), true);
    }

    #[test]
    fn what_no_difficulty_brings_is_said() {
        let four = conditions(&equal_shares(4), 0.4);
        let short = hashes_for(&four, Goal::Interval(0.01), 1);
        assert_eq!(short, Err(Unattainable::TooShort { wanted_s: 0.01, delay_s: 0.4 }));
        let check_stale = |shares: &[f64], wanted, expected| match hashes_for(
            &conditions(shares, 0.5),
            Goal::Stale(wanted),
            1,
        ) {
            Err(Unattainable::NeverSoStale { most, .. }) => {
                assert!((expected..wanted).contains(&most), "{shares:?}: {most}");
            }
            other => panic!("{shares:?}: {other:?}"),
        };
        check_stale(&equal_shares(4), 0.76, 0.65);
        check_stale(&[0.97, 0.01, 0.01, 0.01], 0.05, 0.025);
        let slow = Conditions { hash_rate: 10.0, ..four };
        assert!(matches!(hashes_for(&slow, Goal::Interval(1.0), 1), Err(Unattainable::TooEasy { .. })));
        for alone in [conditions(&[1.0], 0.4), conditions(&equal_shares(4), 0.0)] {
            assert_eq!(hashes_for(&alone, Goal::Stale(0.03), 1), Err(Unattainable::NeverStale));
            assert_eq!(outcome(&alone, 1e6, 1).stale, 0.0);
        }
    }

    /// A hash rate that is told by the interval of the chain has its bounds where the chain's own hash rate is meant:
    /// the interval must be between those that the bounds of the hash rate would bring.
    #[test]
    fn bounds_of_the_hash_rate_hold_it_whatever_the_delay() {
        const BLOCKS: usize = 60;
        let unit = estimate::rate(60.0, 60.0);
        for delay in [0.0, 0.1, 0.5, 3.0] {
            let conditions = conditions(&equal_shares(4), delay);
            let mean_at = |faster: f64| outcome(&conditions, 1e6 / faster, 7).mean_s;
            // A rate is taken for k times what it is where the interval is what k times the hash rate would bring.
            let (short, long) = (mean_at(1.0 / unit.low), mean_at(1.0 / unit.high));
            let chains = chains(&conditions, 1e6, 3);
            let means: Vec<f64> = chains.iter().flat_map(|it| it.chunks_exact(BLOCKS)).map(mean).collect();
            let held = means.iter().filter(|it| short < **it && **it < long).count();
            let share = held as f64 / means.len() as f64;
            assert!((0.93..=0.985).contains(&share), "{delay}: {share} of {}", means.len());
        }
    }
}
