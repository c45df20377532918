//! What a simulated network is like; all of it can be drawn from a seed, so that seeds differ in kind, too.

use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{AccountId, Amount, Timestamp};

use crate::dice::Dice;

/// A second in the unit of all times here.
pub const SECOND_US: u64 = 1_000_000;

/// When the virtual world begins, in microseconds since the Unix epoch.
pub const GENESIS_US: u64 = 1_767_225_600 * SECOND_US;

/// What a simulated network is like. An interval of 0 stands for never.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes there are.
    pub nodes: u16,
    /// Whether they mine blocks without transactions.
    pub mine_empty: bool,
    /// The mean time that one node takes for a block.
    pub block_interval_us: u64,
    /// What a block pays, in cents.
    pub reward: u64,
    /// The window for transactions, in seconds.
    pub window_s: u32,
    /// How far a node's clock is off, at most.
    pub skew_max_us: u64,
    /// How long a message takes, at least.
    pub delay_min_us: u64,
    /// How long a message takes, at most.
    pub delay_max_us: u64,
    /// How many messages in a thousand are delivered twice.
    pub doubled_per_mille: u64,
    /// Whether an inbox takes equal messages within five minutes once, as FIFO queues do.
    pub deduplicates: bool,
    /// Whether what is sent over a cut, or to a node that is down, is lost; else it waits.
    pub loses: bool,
    /// How long a commit takes, at most.
    pub commit_max_us: u64,
    /// How many events share a commit, at most.
    pub batch_max: u64,
    /// The mean time between two transactions.
    pub transaction_interval_us: u64,
    /// The mean time between two crashes.
    pub crash_interval_us: u64,
    /// The mean time until a crashed node is started again.
    pub down_us: u64,
    /// The mean time between two partitions.
    pub partition_interval_us: u64,
    /// The mean time that a partition lasts.
    pub partition_us: u64,
    /// How long transactions, crashes and partitions go on.
    pub faults_us: u64,
}

impl Options {
    /// Four nodes, two-second blocks on the whole, a good network, no faults, no transactions.
    pub fn calm() -> Self {
        Self {
            nodes: 4,
            mine_empty: false,
            block_interval_us: 8 * SECOND_US,
            reward: 0,
            window_s: 7200,
            skew_max_us: 0,
            delay_min_us: 1_000,
            delay_max_us: 20_000,
            doubled_per_mille: 0,
            deduplicates: false,
            loses: false,
            commit_max_us: 2_000,
            batch_max: 8,
            transaction_interval_us: 0,
            crash_interval_us: 0,
            down_us: SECOND_US,
            partition_interval_us: 0,
            partition_us: SECOND_US,
            faults_us: 0,
        }
    }

    /// Whatever the seed wants.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let nodes = dice.between(2, 6);
        let second = SECOND_US;
        Self {
            nodes: u16::try_from(nodes).expect("at most 6"),
            mine_empty: dice.chance(200),
            block_interval_us: nodes * dice.pick(&[second, 4 * second, 15 * second]),
            reward: dice.pick(&[0, 0, 1]),
            window_s: dice.pick(&[7200, 7200, 60]),
            skew_max_us: dice.pick(&[0, second, 25 * second]),
            delay_min_us: dice.pick(&[100, 10_000]),
            delay_max_us: dice.pick(&[20_000, 300_000, 3 * second]),
            doubled_per_mille: dice.pick(&[0, 20, 200]),
            deduplicates: dice.chance(500),
            loses: dice.chance(500),
            commit_max_us: dice.pick(&[10, 5_000, 200_000]),
            batch_max: dice.pick(&[1, 4, 64]),
            transaction_interval_us: dice.pick(&[second / 2, 2 * second, 10 * second]),
            crash_interval_us: dice.pick(&[0, 5 * second, 20 * second, 60 * second]),
            down_us: dice.pick(&[second, 10 * second, 60 * second]),
            partition_interval_us: dice.pick(&[0, 20 * second, 60 * second]),
            partition_us: dice.pick(&[2 * second, 20 * second, 60 * second]),
            faults_us: dice.between(30, 150) * second,
        }
    }

    /// The rules of the network: one hex zero, so that nonces are really searched, and accounts for the traffic.
    pub fn network(&self) -> Network {
        let balance = Amount(10_000);
        let open = (0..3).map(|number| AccountEntry::open(&format!("open{number}"), balance));
        let keyed = (0..3).map(|number| {
            AccountEntry::keyed(&format!("keyed{number}"), balance, &public_key(&secret_key(number)))
        });
        let file = NetworkFile {
            name: "sim".into(),
            genesis_time: Timestamp::from_micros(GENESIS_US).expect("it is 2026"),
            difficulty: Difficulty::Zeros(1),
            block_time: 0,
            reward: Amount(self.reward).to_string(),
            limits: Limits { block_transactions: 50, transaction_window: self.window_s, ..Limits::default() },
            accounts: open.chain(keyed).collect(),
        };
        Network::new(&file).expect("it keeps every rule")
    }
}

/// The secret key of the account `keyed` and this number.
pub fn secret_key(number: u8) -> [u8; 32] {
    [number + 1; 32]
}

fn public_key(secret_key: &[u8; 32]) -> [u8; 32] {
    let nobody = AccountId::default();
    let payment = Payment { from: nobody, to: nobody, amount: Amount(1), timestamp: Timestamp::default() };
    let signed = Transaction::signed(&Network::demo().id, payment, secret_key);
    signed.authorization().expect("it has just been signed").public_key
}
