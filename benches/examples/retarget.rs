//! How the difficulty rule answers to changes of the hash rate and to lying timestamps: the production rule, blocks drawn
//! at random, no network. `cargo run --release -p benches --example retarget` prints the table of `record/`.

use quarry_core::header::Header;
use quarry_core::network::{Difficulty, Network, NetworkFile};
use quarry_core::retarget::Window;
use quarry_core::target::Bits;
use quarry_core::units::{Height, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Seconds between blocks.
const T: f64 = 10.0;
const RUNS: u64 = 61;

/// A chain that grows by the rule.
struct Chain {
    network: Network,
    window: Window,
    tip: Header,
    /// The real time, in seconds since the first block.
    now: f64,
    rng: StdRng,
    /// Whether late blocks are easier, as the rule says.
    decays: bool,
    /// The share of the hash rate whose timestamps lie as far ahead as is allowed.
    liars: f64,
    /// How many blocks the liars have found.
    lies: u32,
}

impl Chain {
    fn new(seed: u64, decays: bool, liars: f64) -> Self {
        let file = NetworkFile { difficulty: Difficulty::Zeros(6), block_time: 10, ..NetworkFile::demo() };
        let network = Network::new(&file).expect("it keeps every rule");
        let window =
            Window::ending_with(&network.genesis, &network, |_| unreachable!("genesis has no parent"))
                .expect("nothing is looked up");
        let (tip, rng) = (network.genesis, StdRng::seed_from_u64(seed));
        Self { network, window, tip, now: 0.0, rng, decays, liars, lies: 0 }
    }

    fn stamp(&self, seconds: f64) -> Timestamp {
        let genesis = self.network.genesis.timestamp;
        // Microseconds are fine enough for a simulation.
        genesis.saturating_add((seconds.max(0.0) * 1e6) as u64).max(self.tip.timestamp.saturating_add(1))
    }

    fn bits(&self, timestamp: Timestamp) -> Bits {
        let timestamp = if self.decays { timestamp } else { self.tip.timestamp.saturating_add(1) };
        self.window.next_bits(timestamp, &self.network)
    }

    /// Finds the next block with so many hashes a second; answers how long that took.
    fn mine(&mut self, hash_rate: f64) -> f64 {
        let began = self.now;
        let step = T / 4.0;
        loop {
            // The difficulty may change while the search lasts, so time goes on in short steps.
            let honest = self.stamp(self.now);
            let lie = self.stamp(self.now + 3.0 * T - 0.001);
            let chance =
                |bits: Bits, rate: f64| rate / bits.target().expect("the rule's own").work().as_f64();
            let rates = [
                chance(self.bits(honest), hash_rate * (1.0 - self.liars)),
                chance(self.bits(lie), hash_rate * self.liars),
            ];
            let wait = -(1.0 - self.rng.random::<f64>()).ln() / (rates[0] + rates[1]);
            if step < wait {
                self.now += step;
                continue;
            }
            self.now += wait;
            let is_lie = self.rng.random::<f64>() * (rates[0] + rates[1]) < rates[1];
            self.lies += u32::from(is_lie);
            let timestamp = self.stamp(if is_lie { self.now + 3.0 * T - 0.001 } else { self.now });
            let bits = self.bits(timestamp);
            self.tip = Header {
                prev_hash: self.tip.hash(),
                index: Height(self.tip.index.0 + 1),
                timestamp,
                bits,
                ..self.tip
            };
            self.window.push(&self.tip);
            return self.now - began;
        }
    }

    fn mine_blocks(&mut self, count: u32, hash_rate: f64) -> Vec<f64> {
        (0..count).map(|_| self.mine(hash_rate)).collect()
    }

    /// How many blocks come, and the longest gap, in so many block times.
    fn mine_for(&mut self, times: f64, hash_rate: f64) -> (u32, f64) {
        let end = self.now + times * T;
        let (mut count, mut longest) = (0, 0.0_f64);
        while self.now < end {
            longest = longest.max(self.mine(hash_rate));
            count += 1;
        }
        (count, longest / T)
    }
}

fn main() {
    // The rate at which six hex zeros take one block time.
    let rate = 16_f64.powi(6) / T;
    println!("| | without late decay | with it |\n|---|---|---|");
    type Figure = fn(&mut Chain, f64) -> f64;
    let rows: [(&str, f64, Figure); 12] = [
        ("steady: mean interval, T", 0.0, |chain, rate| mean(&chain.mine_blocks(2000, rate)) / T),
        ("steady: spread of the means of 60 blocks, %", 0.0, |chain, rate| {
            let all = chain.mine_blocks(6000, rate);
            100.0 * deviation(&all.chunks(60).map(mean).collect::<Vec<_>>()) / T
        }),
        ("hash rate x100: blocks in the first 60 T", 0.0, |chain, rate| {
            f64::from(chain.mine_for(60.0, 100.0 * rate).0)
        }),
        ("x100: blocks until the mean of 20 is within 50 % of T", 0.0, |chain, rate| {
            settling(chain, 100.0 * rate)
        }),
        ("hash rate /100: longest gap in 200 T, T", 0.0, |chain, rate| chain.mine_for(200.0, rate / 100.0).1),
        ("/100: blocks until the mean of 20 is within 50 % of T", 0.0, |chain, rate| {
            settling(chain, rate / 100.0)
        }),
        ("all off for 3,000 T, then back: blocks in 60 T", 0.0, |chain, rate| {
            chain.now += 3000.0 * T;
            f64::from(chain.mine_for(60.0, rate).0)
        }),
        ("x100 on and off every 30 T: longest gap in 300 T, T", 0.0, |chain, rate| {
            let gaps = (0..5).map(|_| chain.mine_for(30.0, 100.0 * rate).1.max(chain.mine_for(30.0, rate).1));
            gaps.fold(0.0, f64::max)
        }),
        ("34 % stamp 3 T ahead: mean interval, T", 0.34, |chain, rate| {
            mean(&chain.mine_blocks(2000, rate)) / T
        }),
        ("34 % stamp 3 T ahead: their share of blocks, %", 0.34, share),
        ("51 % stamp 3 T ahead: mean interval, T", 0.51, |chain, rate| {
            mean(&chain.mine_blocks(2000, rate)) / T
        }),
        ("51 % stamp 3 T ahead: their share of blocks, %", 0.51, share),
    ];
    for (name, liars, figure) in rows {
        let cells = [false, true].map(|decays| {
            let mut results: Vec<f64> = (0..RUNS)
                .map(|seed| {
                    let mut chain = Chain::new(seed, decays, liars);
                    chain.mine_blocks(200, rate);
                    figure(&mut chain, rate)
                })
                .collect();
            results.sort_by(f64::total_cmp);
            let at = |part: usize| results[results.len() * part / 100];
            format!("{:.2} ({:.2} to {:.2})", at(50), at(10), at(90))
        });
        println!("| {name} | {} | {} |", cells[0], cells[1]);
    }
}

fn share(chain: &mut Chain, rate: f64) -> f64 {
    chain.lies = 0;
    chain.mine_blocks(2000, rate);
    f64::from(chain.lies) / 20.0
}

/// How many blocks it takes until the last 20 came at about the right pace.
fn settling(chain: &mut Chain, rate: f64) -> f64 {
    let mut intervals = Vec::new();
    loop {
        intervals.push(chain.mine(rate));
        let recent = &intervals[intervals.len().saturating_sub(20)..];
        if recent.len() == 20 && (mean(recent) / T - 1.0).abs() < 0.5 {
            return f64::from(u32::try_from(intervals.len()).expect("it settles long before"));
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    // Counts are far below 2^53.
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}
