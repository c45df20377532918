//! What happened in a run, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use quarry_core::effect::Notice;

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Crashes of nodes.
    pub crashes: u64,
    /// Partitions of the network.
    pub partitions: u64,
    /// Messages that were delivered once more because they had not been acknowledged.
    pub redeliveries: u64,
    /// Messages that the network doubled.
    pub doubled: u64,
    /// Messages that an inbox did not take because it had taken an equal one.
    pub deduplicated: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Steps that nodes took.
    pub steps: u64,
    /// Commits.
    pub commits: u64,
    /// Transactions that clients made.
    pub transactions: u64,
    /// Nonces found.
    pub found: u64,
    /// Sent messages by kind.
    pub messages: BTreeMap<String, u64>,
    /// Their bytes by kind.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Reorganisations by how many blocks were abandoned.
    pub reorganisations: BTreeMap<usize, u64>,
    /// Notices by kind, and for failures by reason.
    pub notices: BTreeMap<String, u64>,
    /// Faults and attacks by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// How long it took to settle after the last fault: all runs together, and the longest.
    pub settled_us: (u64, u64),
    /// How many runs settled.
    pub settled: u64,
}

impl Counts {
    /// Counts what a node had to say.
    pub fn notice(&mut self, notice: &Notice) {
        if let Notice::Reorganised { abandoned, .. } = notice {
            *self.reorganisations.entry(*abandoned).or_default() += 1;
        }
        *self.notices.entry(kind(notice)).or_default() += 1;
    }

    /// Counts a fault or attack.
    pub fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// Counts a message.
    pub fn message(&mut self, bytes: &[u8]) {
        let kind = message_kind(bytes);
        *self.bytes.entry(kind).or_default() += bytes.len() as u64;
        match self.messages.get_mut(kind) {
            Some(count) => *count += 1,
            None => *self.messages.entry(kind.to_string()).or_default() += 1,
        }
    }

    /// How many messages there were.
    pub fn messages_total(&self) -> u64 {
        self.messages.values().sum()
    }

    /// Counts a network that settled after its last fault.
    pub fn settled(&mut self, took_us: u64) {
        self.settled += 1;
        self.settled_us = (self.settled_us.0 + took_us, self.settled_us.1.max(took_us));
    }

    /// Messages and transactions since an earlier time.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.clone();
        counts.transactions -= earlier.transactions;
        counts.found -= earlier.found;
        subtract_all(&mut counts.messages, &earlier.messages);
        subtract_all(&mut counts.bytes, &earlier.bytes);
        counts
    }

    /// These counts and others.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.crashes, other.crashes),
            (&mut self.partitions, other.partitions),
            (&mut self.redeliveries, other.redeliveries),
            (&mut self.doubled, other.doubled),
            (&mut self.deduplicated, other.deduplicated),
            (&mut self.lost, other.lost),
            (&mut self.steps, other.steps),
            (&mut self.commits, other.commits),
            (&mut self.transactions, other.transactions),
            (&mut self.found, other.found),
            (&mut self.virtual_us, other.virtual_us),
            (&mut self.settled, other.settled),
            (&mut self.settled_us.0, other.settled_us.0),
        ];
        for (sum, count) in sums {
            *sum += count;
        }
        self.settled_us.1 = self.settled_us.1.max(other.settled_us.1);
        add_all(&mut self.messages, &other.messages);
        add_all(&mut self.bytes, &other.bytes);
        add_all(&mut self.reorganisations, &other.reorganisations);
        add_all(&mut self.notices, &other.notices);
        add_all(&mut self.events, &other.events);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("steps", self.steps),
            ("commits", self.commits),
            ("crashes", self.crashes),
            ("partitions", self.partitions),
            ("redeliveries", self.redeliveries),
            ("doubled", self.doubled),
            ("deduplicated", self.deduplicated),
            ("lost", self.lost),
            ("transactions", self.transactions),
            ("nonces found", self.found),
        ] {
            writeln!(f, "{name:<24}{count:>12}")?;
        }
        writeln!(f, "{:<24}{:>12}", "virtual hours", self.virtual_us / 3_600_000_000)?;
        let mean_s = self.settled_us.0 / self.settled.max(1) / 1_000_000;
        let longest_s = self.settled_us.1 / 1_000_000;
        writeln!(f, "{:<24}{mean_s:>10} s, {longest_s} s at most", "settled within")?;
        writeln!(f, "faults and attacks")?;
        for (event, count) in &self.events {
            writeln!(f, "  {event:<38}{count:>12}")?;
        }
        writeln!(f, "messages by kind")?;
        for (kind, count) in &self.messages {
            writeln!(f, "  {kind:<22}{count:>12}")?;
        }
        writeln!(f, "reorganisations by depth")?;
        for (depth, count) in &self.reorganisations {
            writeln!(f, "  {depth:<22}{count:>12}")?;
        }
        writeln!(f, "notices")?;
        for (kind, count) in &self.notices {
            writeln!(f, "  {kind:<22}{count:>12}")?;
        }
        Ok(())
    }
}

/// The `type` that stands in a message's envelope: those of nodes have it near the start.
pub fn message_kind(bytes: &[u8]) -> &'static str {
    const KINDS: [&str; 8] =
        ["transactions", "block", "getHeaders", "headers", "getBlocks", "blocks", "status", "bye"];
    let start = &bytes[..bytes.len().min(200)];
    let text = std::str::from_utf8(start).unwrap_or_default();
    let (_, rest) = text.split_once("\"type\":\"").unwrap_or_default();
    let kind = rest.split_once('"').map_or("", |(kind, _)| kind);
    KINDS.iter().find(|known| **known == kind).copied().unwrap_or("unknown")
}

fn add_all<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sums.entry(key.clone()).or_default() += count;
    }
}

fn subtract_all<K: Ord>(counts: &mut BTreeMap<K, u64>, earlier: &BTreeMap<K, u64>) {
    for (key, count) in earlier {
        if let Some(it) = counts.get_mut(key) {
            *it -= count;
        }
    }
}

/// The first words of a notice's debug form: its variant, and where an error is what counts, the error's.
fn kind(notice: &Notice) -> String {
    let debug = |value: &dyn fmt::Debug| {
        let text = format!("{value:?}");
        text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string()
    };
    match notice {
        Notice::SyncFailed { reason, .. } => format!("SyncFailed {}", debug(reason)),
        Notice::TransactionRefused { error, .. } => format!("Refused {}", debug(error)),
        other => debug(other),
    }
}
