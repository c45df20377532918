//! `tune`: recommends a difficulty, and says what it and its neighbours bring.

mod inputs;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use miner::NonceSearch;
use quarry_core::target::{Bits, Work};
use serde::Serialize;

use crate::args::{CommonArgs, TuneArgs};
use crate::commands::inspect::{align_right, hash_rate, print_table, table};
use crate::commands::output::say;
use crate::config;
use crate::exit::{Exit, OrExit as _};
use crate::query::SeenAnswer;
use crate::tune::estimate::{self, Estimate};
use crate::tune::measure;
use crate::tune::model::{Conditions, Goal, Outcome};
use crate::tune::network_file;
use crate::tune::simulate::{Simulated, simulate};
use crate::tune::solve;
use inputs::Inputs;

/// How many whole numbers of zeros below and above the recommendation are shown.
const NEIGHBOURS: u32 = 2;

/// All there is to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Advice {
    /// Hashes a second of the network.
    hash_rate: Estimate,
    /// Where that comes from.
    hash_rate_from: String,
    /// Each node's share of it.
    shares: Vec<f64>,
    /// How long a block takes to another node, in milliseconds: one of these.
    delays_ms: Vec<f64>,
    /// Where that comes from.
    delays_from: String,
    /// The difficulty to take.
    bits: Bits,
    /// What it brings.
    recommended: Prediction,
    /// What whole numbers of hex zeros near it bring.
    neighbours: Vec<Outcome>,
    /// What it brings by simulation.
    simulated: Option<Simulated>,
    /// What the difficulty of the blocks that were looked at brings.
    now: Option<Prediction>,
    /// What it has brought.
    seen: Option<Seen>,
    /// Why the hash rate may be wrong.
    warnings: Vec<String>,
}

/// What a difficulty brings, and how much that depends on what is not known exactly of the hash rate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Prediction {
    #[serde(flatten)]
    outcome: Outcome,
    mean_bounds_s: [f64; 2],
    stale_bounds: [f64; 2],
}

/// Blocks that were looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// The blocks.
    blocks: SeenAnswer,
    /// The mean time between them.
    mean_s: Estimate,
    /// The share of all blocks in the store that are stale.
    stale: Estimate,
}

/// Recommends a difficulty.
pub fn run(common: &CommonArgs, args: &TuneArgs) -> Result<Exit> {
    let inputs = Inputs::gather(common, args)?;
    let goal = match (args.stale, args.interval) {
        (Some(percent), _) => Goal::Stale(percent / 100.0),
        (None, interval) => Goal::Interval(interval.unwrap_or(10.0)),
    };
    let work = solve::hashes_for(&inputs.conditions, goal, args.seed).or_exit(Exit::Usage)?;
    let advice = advise(inputs, work, args);
    if args.json {
        say!("{}", serde_json::to_string(&advice)?)?;
    } else {
        print(&advice)?;
    }
    if let Some(path) = &args.write {
        write(path, advice.bits)?;
        if !args.json {
            let program = config::program();
            say!(
                "\nwritten to {}, which describes another network now: its nodes need an empty",
                path.display()
            )?;
            say!("directory, such as with `{program} 0 --network {} --dir DIR`", path.display())?;
        }
    }
    Ok(Exit::Done)
}

/// The difficulty that lets one search find a block in so many seconds, and its hashes a second.
pub(super) fn suggest(search: &dyn NonceSearch, interval_s: f64) -> Result<(Bits, f64)> {
    let [_, hash_rate, _] = measure::hash_rate(search, None)?.spread();
    let alone = Conditions { hash_rate, shares: vec![1.0], delays_s: Vec::new() };
    Ok((solve::hashes_for(&alone, Goal::Interval(interval_s), 0)?.target().bits(), hash_rate))
}

fn advise(inputs: Inputs, work: Work, args: &TuneArgs) -> Advice {
    let Inputs { conditions, hash_rate, hash_rate_from, delays_from, seen, warnings } = inputs;
    let hashes = work.as_f64();
    let predict = |hashes| predict(&conditions, hash_rate, hashes, args.seed);
    let recommended = predict(hashes);
    // There are from 1 to 63 zeros, so the casts lose only fractions.
    let zeros = recommended.outcome.zeros.floor().clamp(1.0, 63.0) as u32;
    let neighbours = (zeros.saturating_sub(NEIGHBOURS - 1).max(1)..=(zeros + NEIGHBOURS).min(63))
        .map(|zeros| solve::outcome(&conditions, 16_f64.powi(zeros.cast_signed()), args.seed));
    Advice {
        hash_rate,
        hash_rate_from,
        bits: work.target().bits(),
        recommended,
        neighbours: neighbours.collect(),
        simulated: args.simulate.then(|| simulate(&conditions, hashes, args.seed)),
        now: seen.as_ref().map(|seen| predict(seen.hashes)),
        seen: seen.map(Seen::new),
        warnings,
        delays_ms: conditions.delays_s.iter().map(|delay_s| delay_s * 1e3).collect(),
        delays_from,
        shares: conditions.shares,
    }
}

fn predict(conditions: &Conditions, hash_rate: Estimate, hashes: f64, seed: u64) -> Prediction {
    let at = |hash_rate| solve::outcome(&Conditions { hash_rate, ..conditions.clone() }, hashes, seed);
    let outcome = at(hash_rate.value);
    // A simulation takes a while, so there is none for bounds that are no others.
    let at_bound = |bound: f64| if bound == hash_rate.value { outcome } else { at(bound) };
    let (slow, fast) = (at_bound(hash_rate.low), at_bound(hash_rate.high));
    Prediction { outcome, mean_bounds_s: [fast.mean_s, slow.mean_s], stale_bounds: [slow.stale, fast.stale] }
}

impl Seen {
    fn new(blocks: SeenAnswer) -> Self {
        // Intervals are about exponential, so that their sum tells as much as a hash rate does.
        let rate = estimate::rate(blocks.effective_blocks, blocks.mean_s * blocks.effective_blocks);
        let mean_s = Estimate { value: blocks.mean_s, low: 1.0 / rate.high, high: 1.0 / rate.low };
        let stale = estimate::share(blocks.side_blocks, blocks.side_blocks + blocks.height.0);
        Self { blocks, mean_s, stale }
    }
}

/// Changes a network file, all or nothing.
fn write(path: &Path, bits: Bits) -> Result<()> {
    let place = || format!("network file {}", path.display());
    let hint = || format!("write one: {} init {}", config::program(), path.display());
    let text = fs::read_to_string(path).with_context(place).or_exit(Exit::Usage).or_hint(hint)?;
    let changed = network_file::with_difficulty(&text, bits).with_context(place).or_exit(Exit::Usage)?;
    let network = config::parse_network(&changed).with_context(place).or_exit(Exit::Usage)?;
    if network.block_time_us != 0 {
        let block_time_s = network.block_time_us / 1_000_000;
        return Err(anyhow!("its difficulty follows a block_time of {block_time_s} s, not this"))
            .with_context(place)
            .or_exit(Exit::Usage)
            .or_hint(|| "change block_time in the file instead".to_owned());
    }
    // A link stays one, and who may read the file may go on to.
    let path = path.canonicalize().with_context(place)?;
    let new = path.with_extension("toml.new");
    let permissions = fs::metadata(&path).with_context(place)?.permissions();
    fs::write(&new, changed)
        .and_then(|()| fs::set_permissions(&new, permissions))
        .and_then(|()| fs::rename(&new, &path))
        .with_context(place)
}

fn print(advice: &Advice) -> Result<()> {
    let rate = bounded(advice.hash_rate, hash_rate);
    say!("hash rate    {rate}, {}", advice.hash_rate_from)?;
    for warning in &advice.warnings {
        say!("             warning: {warning}")?;
    }
    say!("shares       {}", shares(&advice.shares))?;
    say!("delay        {}, {}", delays(&advice.delays_ms), advice.delays_from)?;
    if let Some(seen) = &advice.seen {
        print_seen(seen)?;
    }
    let Outcome { zeros, hashes, .. } = advice.recommended.outcome;
    let (bits, [short, long]) = (advice.bits, advice.recommended.mean_bounds_s);
    say!("difficulty   \"{bits}\": {zeros:.2} hex zeros, {hashes:.3e} hashes a block\n")?;
    let mut rows = table(&["", "zeros", "mean", "median", "90 % within", "99 % within", "stale"]);
    align_right(&mut rows, &[1, 2, 3, 4, 5, 6]);
    let mut all: Vec<(&str, Outcome)> = advice.neighbours.iter().map(|it| ("", *it)).collect();
    all.push(("recommended", advice.recommended.outcome));
    all.extend(advice.now.as_ref().map(|now| ("now", now.outcome)));
    all.sort_by(|one, other| one.1.zeros.total_cmp(&other.1.zeros));
    let is_any_simulated = all.iter().any(|(_, it)| it.by_simulation);
    for (name, it) in all {
        let mark = if it.by_simulation { "*" } else { "" };
        let times = [it.mean_s, it.median_s, it.p90_s, it.p99_s].map(duration);
        let [mean, median, p90, p99] = times;
        let [zeros, stale] = [format!("{:.2}", it.zeros), percent(it.stale)];
        rows.add_row([format!("{name}{mark}"), zeros, mean, median, p90, p99, stale]);
    }
    print_table(&rows)?;
    if is_any_simulated {
        say!(
            "\n* by simulation: a block takes more than a fifth of an interval to another node, and the formulas"
        )?;
        say!("  leave out what forks of forks do")?;
    }
    if short < long {
        let [low, high] = advice.recommended.stale_bounds.map(percent);
        let (short, long) = (duration(short), duration(long));
        say!("\nas the hash rate is not known better: a block in {short} to {long}, {low} to {high} stale")?;
    }
    if let Some(it) = &advice.simulated {
        let (mean, stale) = (bounded(it.mean_s, duration), bounded(it.stale, percent));
        let [median, p90, p99] = [it.median_s, it.p90_s, it.p99_s].map(duration);
        say!(
            "\nsimulated, {} blocks: mean {mean}, median {median}, 90 % {p90}, 99 % {p99}; stale {stale}",
            it.blocks
        )?;
    }
    Ok(())
}

fn print_seen(seen: &Seen) -> Result<()> {
    let SeenAnswer { blocks, median_s, p90_s, p99_s, side_blocks, height, .. } = &seen.blocks;
    let [median, p90, p99] = [*median_s, *p90_s, *p99_s].map(duration);
    let mean = bounded(seen.mean_s, duration);
    say!("seen         {blocks} intervals: mean {mean}, median {median}, 90 % {p90}, 99 % {p99}")?;
    let all = side_blocks + height.0;
    say!("             {side_blocks} of all {all} blocks stale: {}", bounded(seen.stale, percent))
}

/// A value with its bounds, where they differ from it.
fn bounded(estimate: Estimate, show: impl Fn(f64) -> String) -> String {
    let Estimate { value, low, high } = estimate;
    let bounds = if low < high { format!(" ({} to {})", show(low), show(high)) } else { String::new() };
    format!("{}{bounds}", show(value))
}

fn shares(shares: &[f64]) -> String {
    let first = shares.first().copied().unwrap_or_default();
    if shares.iter().all(|share| (share - first).abs() < 1e-9) {
        return match shares.len() {
            1 => "one node".to_owned(),
            count => format!("{count} equal nodes"),
        };
    }
    let texts: Vec<_> = shares.iter().map(|share| format!("{:.1} %", share * 100.0)).collect();
    texts.join(", ")
}

fn delays(delays_ms: &[f64]) -> String {
    let texts: Vec<_> = delays_ms.iter().map(|delay_ms| format!("{delay_ms:.1}")).collect();
    match texts.as_slice() {
        [first, .., last] if 4 < texts.len() => {
            format!("{first} to {last} ms, {} in the middle", texts[texts.len() / 2])
        }
        _ => format!("{} ms", texts.join(", ")),
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 100.0 => format!("{seconds:.2} s"),
        seconds if seconds < 6000.0 => format!("{:.1} min", seconds / 60.0),
        seconds if seconds < 360_000.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.1} d", seconds / 86_400.0),
    }
}
