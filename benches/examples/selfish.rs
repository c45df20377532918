//! What selfish mining gains where the difficulty follows a block time, and whether lying timestamps or late decay add to
//! it: the production rule, blocks drawn at random, news without delay.
//! `cargo run --release -p benches --example selfish` prints the table of `record/selfish.md`.

use quarry_core::header::Header;
use quarry_core::network::{Difficulty, Network, NetworkFile};
use quarry_core::retarget::Window;
use quarry_core::target::{Bits, Work};
use quarry_core::units::{Height, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Seconds between blocks.
const T: f64 = 10.0;
const RUNS: u64 = 31;
/// How many blocks of the best chain a run has.
const BLOCKS: u32 = 3000;
/// How far ahead of the clock a block may be, and a moment less.
const AHEAD: f64 = 3.0 * T - 0.001;

/// How the difficulty of a block is found.
#[derive(Clone, Copy)]
enum Rule {
    Fixed,
    WithoutDecay,
    WithDecay,
}

/// One side of a fork.
#[derive(Clone)]
struct Branch {
    window: Window,
    tip: Header,
    work: Work,
    /// How many blocks there are since the fork.
    len: u32,
}

/// Honest miners, and a selfish one who begins a branch with each block it finds.
struct Race {
    network: Network,
    rule: Rule,
    /// The selfish miner's share of the hash rate.
    share: f64,
    /// By how much its clock is ahead.
    ahead: f64,
    now: f64,
    public: Branch,
    private: Branch,
    /// Whether all of the private branch is known and as long as the public one, which the others stay with.
    is_tied: bool,
    rng: StdRng,
    /// Blocks of the best chain by the selfish miner, and by the others.
    mined: [u32; 2],
}

impl Race {
    fn new(seed: u64, rule: Rule, share: f64, ahead: f64) -> Self {
        let file = NetworkFile { difficulty: Difficulty::Zeros(6), block_time: 10, ..NetworkFile::demo() };
        let network = Network::new(&file).expect("it keeps every rule");
        let window =
            Window::ending_with(&network.genesis, &network, |_| unreachable!("genesis has no parent"))
                .expect("nothing is looked up");
        let public = Branch { window, tip: network.genesis, work: Work::default(), len: 0 };
        let (private, rng) = (public.clone(), StdRng::seed_from_u64(seed));
        Self { network, rule, share, ahead, now: 0.0, public, private, is_tied: false, rng, mined: [0; 2] }
    }

    /// The header that would follow a branch now, by a clock that is so much ahead.
    fn next(&self, branch: &Branch, ahead: f64) -> Header {
        let parent = branch.tip;
        let earliest = parent.timestamp.saturating_add(1);
        // Microseconds are fine enough for a simulation.
        let clock = self.network.genesis.timestamp.saturating_add(((self.now + ahead) * 1e6) as u64);
        let timestamp: Timestamp = clock.max(earliest);
        let bits: Bits = match self.rule {
            Rule::Fixed => self.network.bits,
            Rule::WithoutDecay => branch.window.next_bits(earliest, &self.network),
            Rule::WithDecay => branch.window.next_bits(timestamp, &self.network),
        };
        let index = Height(parent.index.0 + 1);
        Header { prev_hash: parent.hash(), index, timestamp, bits, ..parent }
    }

    /// Waits for the next block, whoever finds it, and lets the selfish miner answer to it.
    fn go_on(&mut self) {
        // The rate at which six hex zeros take one block time. The difficulty may change while the search lasts, so time
        // goes on in short steps.
        let (rate, step) = (16_f64.powi(6) / T, T / 4.0);
        let chance = |header: &Header, rate: f64| rate / work(header).as_f64();
        loop {
            let (honest, selfish) = (self.next(&self.public, 0.0), self.next(&self.private, self.ahead));
            let rates = [chance(&selfish, rate * self.share), chance(&honest, rate * (1.0 - self.share))];
            let wait = -(1.0 - self.rng.random::<f64>()).ln() / (rates[0] + rates[1]);
            self.now += wait.min(step);
            if step < wait {
                continue;
            }
            let is_selfish = self.rng.random::<f64>() * (rates[0] + rates[1]) < rates[0];
            let mut header = if is_selfish { selfish } else { honest };
            // Hashes are as good as drawn.
            header.nonce = self.rng.random();
            if is_selfish {
                self.private.push(header);
                // With the first block more than the others' branch, the one that all know is decided.
                if self.is_tied {
                    self.release();
                }
            } else {
                self.public.push(header);
                self.answer();
            }
            return;
        }
    }

    /// The selfish miner hears of a block: it gives up, releases what it has, or waits.
    fn answer(&mut self) {
        match self.private.len.checked_sub(self.public.len) {
            None => {
                self.mined[1] += self.public.len;
                self.public.len = 0;
                self.private = self.public.clone();
                self.is_tied = false;
            }
            Some(0 | 1) => self.release(),
            Some(_) => {}
        }
    }

    /// All hear of the private branch, and take it if it is better: more work, or as much and the lower hash.
    fn release(&mut self) {
        let (private, public) = (&self.private, &self.public);
        let is_lower = private.tip.hash() < public.tip.hash();
        if public.work < private.work || (public.work == private.work && is_lower) {
            self.mined[0] += self.private.len;
            self.private.len = 0;
            self.public = self.private.clone();
        }
        self.is_tied = 0 < self.private.len;
    }
}

impl Branch {
    fn push(&mut self, header: Header) {
        self.window.push(&header);
        self.work = self.work + work(&header);
        self.tip = header;
        self.len += 1;
    }
}

fn work(header: &Header) -> Work {
    header.bits.target().expect("the rule's own").work()
}

/// The selfish miner's share of the best chain, in per cent, and how many of its blocks it gets in a hundred block times.
fn run(seed: u64, rule: Rule, share: f64, ahead: f64) -> [f64; 2] {
    let mut race = Race::new(seed, rule, share, ahead);
    while race.mined[0] + race.mined[1] < BLOCKS {
        race.go_on();
    }
    let [selfish, honest] = race.mined.map(f64::from);
    [100.0 * selfish / (selfish + honest), 100.0 * selfish * T / race.now]
}

fn main() {
    println!(
        "| hash rate | stamps | difficulty | of the blocks, % | blocks in 100 T |\n|---|---|---|---|---|"
    );
    for share in [0.2, 0.25, 0.34, 0.45] {
        for (stamps, ahead) in [("true", 0.0), ("3 T ahead", AHEAD)] {
            let rules = [
                ("fixed", Rule::Fixed),
                ("without late decay", Rule::WithoutDecay),
                ("with late decay", Rule::WithDecay),
            ];
            for (name, rule) in rules {
                let runs: Vec<[f64; 2]> = (0..RUNS).map(|seed| run(seed, rule, share, ahead)).collect();
                let cells = [0, 1].map(|figure| {
                    let mut results: Vec<f64> = runs.iter().map(|run| run[figure]).collect();
                    results.sort_by(f64::total_cmp);
                    let at = |part: usize| results[results.len() * part / 100];
                    format!("{:.1} ({:.1} to {:.1})", at(50), at(10), at(90))
                });
                println!("| {:.0} % | {stamps} | {name} | {} | {} |", 100.0 * share, cells[0], cells[1]);
            }
        }
    }
}
