//! Makes a failing run smaller: fewer nodes, fewer faults, shorter; whatever still fails in the same way is kept.

use serde_json::{Map, Value};

use crate::options::{Options, SECOND_US, Shares};
use crate::run::run;
use crate::violation::{Checker, Violation};

/// How many runs are spent on it, at most.
const RUNS_MAX: usize = 200;

/// The smallest run found that fails as the given one does.
pub fn shrink(seed: u64, options: &Options, violation: &Violation) -> (Options, Violation) {
    let (mut smallest, mut last) = (options.clone(), violation.clone());
    let mut runs = 0;
    loop {
        let candidates = smaller(&smallest);
        let next = candidates.into_iter().filter(|candidate| *candidate != smallest).find_map(|candidate| {
            runs += 1;
            let failed = (runs <= RUNS_MAX).then(|| run(seed, &candidate)).and_then(Result::err)?;
            is_like(violation.checker, &failed).then_some((candidate, failed))
        });
        match next {
            Some(found) if runs <= RUNS_MAX => (smallest, last) = found,
            _ => return (smallest, last),
        }
    }
}

/// The settings in which options differ from others, as JSON.
pub fn difference(options: &Options, from: &Options) -> Value {
    let fields = |options: &Options| match serde_json::to_value(options) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let old = fields(from);
    Value::Object(fields(options).into_iter().filter(|(name, value)| old.get(name) != Some(value)).collect())
}

fn is_like(checker: Checker, violation: &Violation) -> bool {
    violation.checker == checker
}

fn smaller(options: &Options) -> Vec<Options> {
    let changes: [fn(&mut Options); 28] = [
        |it| it.faults_us /= 2,
        |it| it.nodes = (it.nodes / 2).max(1),
        |it| it.nodes = (it.nodes - 1).max(1),
        |it| it.non_miners = 0,
        |it| it.adversaries.clear(),
        |it| it.adversaries.truncate(it.adversaries.len().saturating_sub(1)),
        |it| it.adversaries = it.adversaries.iter().skip(1).copied().collect(),
        |it| it.crash_interval_us = 0,
        |it| it.partition_interval_us = 0,
        |it| it.restore_interval_us = 0,
        |it| it.absence_interval_us = 0,
        |it| it.membership_interval_us = 0,
        |it| it.clock_step_interval_us = 0,
        |it| it.skew_max_us = 0,
        |it| it.doubled_per_mille = 0,
        |it| it.lost_per_mille = 0,
        |it| it.one_way_per_mille = 0,
        |it| it.reorders = false,
        |it| it.deduplicates = false,
        |it| it.loses = false,
        |it| it.mine_empty = false,
        |it| it.reward = 0,
        |it| it.shares = Shares::Equal,
        |it| it.batch_max = 1,
        |it| it.transaction_interval_us = (it.transaction_interval_us * 4).min(it.faults_us),
        |it| it.commit_max_us = 10,
        |it| (it.delay_min_us, it.delay_max_us) = (100, 20_000),
        |it| it.faults_us -= (it.faults_us / 4).min(it.faults_us.saturating_sub(SECOND_US)),
    ];
    let change = |change: fn(&mut Options)| {
        let mut smaller = options.clone();
        change(&mut smaller);
        smaller
    };
    changes.map(change).into_iter().collect()
}
