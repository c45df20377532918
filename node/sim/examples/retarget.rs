//! How the difficulty answers when the hash rate changes, in whole networks of nodes with a delay between them:
//! `cargo run --release -p quarry-sim --example retarget` prints the table of `record/retarget.md`.

use quarry_sim::options::{Options, SECOND_US};
use quarry_sim::world::World;

/// The block time, in seconds.
const T: u64 = 10;
/// How many runs each case has.
const RUNS: u64 = 11;
/// How many block times a network has to find its pace in.
const WARM: u64 = 100;

/// A network that mines blocks without transactions at its block time.
struct Chain {
    world: World,
    /// The height after each second.
    heights: Vec<u64>,
}

impl Chain {
    fn new(seed: u64, zeros: u32) -> Self {
        let options = Options {
            block_time_s: u32::try_from(T).expect("ten"),
            block_interval_us: T * SECOND_US,
            zeros,
            mine_empty: true,
            delay_min_us: SECOND_US / 10,
            delay_max_us: SECOND_US,
            ..Options::calm()
        };
        let mut chain = Self { world: World::new(seed, options), heights: Vec::new() };
        chain.go_on(WARM, 1000);
        chain
    }

    /// Lets so many block times pass at so many thousandths of the first hash rate; answers the heights at their seconds.
    fn go_on(&mut self, block_times: u64, pace_per_mille: u64) -> Vec<u64> {
        self.world.set_pace(pace_per_mille);
        let from = self.heights.len();
        for _ in 0..block_times * T {
            self.world.run_for(SECOND_US);
            assert_eq!(self.world.violation, None);
            self.heights.push(self.world.machines[0].disk.read().path.len() as u64);
        }
        self.heights[from..].to_vec()
    }
}

/// How many blocks were added while these heights were seen.
fn blocks(heights: &[u64]) -> u64 {
    heights.last().zip(heights.first()).map_or(0, |(last, first)| last - first)
}

/// The longest time without a block, in block times.
fn longest_gap(heights: &[u64]) -> f64 {
    let same = heights.chunk_by(|before, after| before == after).map(<[u64]>::len);
    same.max().unwrap_or(0) as f64 / T as f64
}

/// How many block times it takes until 20 blocks in a row took 10 to 30 of them.
fn settled_after(heights: &[u64]) -> f64 {
    let second_of = |height: u64| heights.iter().position(|other| height <= *other);
    let first = heights.first().copied().unwrap_or(0);
    let is_steady = |height: &u64| match (second_of(*height), second_of(height + 20)) {
        (Some(from), Some(to)) => (10 * T..=30 * T).contains(&((to - from) as u64)),
        _ => false,
    };
    let steady = (first..first + blocks(heights)).find(is_steady);
    steady.and_then(second_of).map_or(f64::INFINITY, |second| second as f64 / T as f64)
}

/// Prints the median of all runs, and the least and most of them.
fn row(name: &str, case: impl Fn(u64) -> f64) {
    let mut values: Vec<f64> = (0..RUNS).map(case).collect();
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    println!("| {name} | {median:.2} ({least:.2} to {most:.2}) |");
}

fn main() {
    println!("| case | median (least to most) of {RUNS} networks |\n|---|---|");
    row("steady: mean interval over 300 T, T", |seed| {
        300.0 / blocks(&Chain::new(seed, 2).go_on(300, 1000)) as f64
    });
    row("steady: found blocks that are stale, %", |seed| {
        let mut chain = Chain::new(seed, 2);
        chain.go_on(300, 1000);
        let (found, height) = (chain.world.counts.found, chain.heights[chain.heights.len() - 1] - 1);
        100.0 * (found - height) as f64 / found as f64
    });
    row("hash rate x100: blocks in the first 60 T", |seed| {
        blocks(&Chain::new(seed, 2).go_on(60, 100_000)) as f64
    });
    row("x100: until 20 blocks take 20 T within half, T", |seed| {
        settled_after(&Chain::new(seed, 2).go_on(120, 100_000))
    });
    row("hash rate /100: longest gap in 300 T, T", |seed| longest_gap(&Chain::new(seed, 3).go_on(300, 10)));
    row("/100: until 20 blocks take 20 T within half, T", |seed| {
        settled_after(&Chain::new(seed, 3).go_on(600, 10))
    });
    row("all off for 3,000 T, then back: blocks in 60 T", |seed| {
        let mut chain = Chain::new(seed, 2);
        chain.go_on(3000, 0);
        blocks(&chain.go_on(60, 1000)) as f64
    });
    row("x100 on and off every 30 T: longest gap in 300 T, T", |seed| {
        let mut chain = Chain::new(seed, 2);
        let mut heights = Vec::new();
        for _ in 0..5 {
            heights.extend(chain.go_on(30, 100_000));
            heights.extend(chain.go_on(30, 1000));
        }
        longest_gap(&heights)
    });
}
