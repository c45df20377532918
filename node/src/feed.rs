//! What the run loop shows to the web pages: a [`View`] of where the node stands, renewed a few times a second.
//! Invariant: publishing never waits for a reader, and what is kept has limits, so readers cannot hold up the loop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use quarry_core::effect::{Notice, Now};
use quarry_core::units::{Hash, Height, NodeId, Timestamp};

use crate::control::NodeStatus;

/// The most arrivals of blocks that are remembered, and once more of blocks that others sent.
pub const ARRIVALS_MAX: usize = 256;
/// The most samples of the hash rate.
pub const SAMPLES_MAX: usize = 300;
/// The shortest time between two views.
const INTERVAL_MIN_US: u64 = 250_000;
/// The longest, so that ages on a page go on.
const INTERVAL_MAX_US: u64 = 1_000_000;
/// The time between two samples of the hash rate.
const SAMPLE_INTERVAL_US: u64 = 2_000_000;

/// Where a node stands, and what has happened lately.
#[derive(Debug, Clone)]
pub struct View {
    /// Counts the views.
    pub version: u64,
    /// When it was published, by [`Now::elapsed_us`].
    pub elapsed_us: u64,
    /// Where the node stands.
    pub status: NodeStatus,
    /// The blocks that have come in since the node's start, oldest first.
    pub arrivals: VecDeque<Arrival>,
    /// Those of them that peers have sent, further back: a node that mines most blocks itself has few.
    pub received: VecDeque<Arrival>,
    /// Hashes a second, oldest first, over the last ten minutes; 0 where there was nothing to search for.
    pub samples: VecDeque<Sample>,
}

/// A block that has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// When, by this node's clock.
    pub time: Timestamp,
    /// Who sent it; `None` for the node's own, and where that is not known.
    pub from: Option<NodeId>,
}

/// The hash rate at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// Hashes a second.
    pub hash_rate: f64,
}

/// Where readers find the newest view.
#[derive(Debug, Clone, Default)]
pub struct Feed(Arc<Mutex<Option<Arc<View>>>>);

/// What the run loop keeps to make the next view of.
#[derive(Debug, Default)]
pub struct Publisher {
    feed: Feed,
    version: u64,
    arrivals: VecDeque<Arrival>,
    received: VecDeque<Arrival>,
    samples: VecDeque<Sample>,
    sample_due_us: u64,
    published_us: Option<u64>,
    is_outdated: bool,
}

impl Feed {
    /// The newest view; `None` before the first.
    pub fn view(&self) -> Option<Arc<View>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Publisher {
    /// What publishes to a feed.
    pub fn new(feed: Feed) -> Self {
        Self { feed, ..Self::default() }
    }

    /// Remembers what pages want to know.
    pub fn note(&mut self, notice: &Notice, now: Now) {
        self.is_outdated = true;
        let (height, hash, from) = match notice {
            Notice::Extended { height, hash, from, .. } => (*height, *hash, *from),
            Notice::SideBranch { height, hash } | Notice::Reorganised { height, hash, .. } => {
                (*height, *hash, None)
            }
            _ => return,
        };
        // A block of a branch that wins later came in with its first notice.
        if self.arrivals.iter().any(|arrival| arrival.hash == hash) {
            return;
        }
        let arrival = Arrival { height, hash, time: now.utc, from };
        push(&mut self.arrivals, arrival, ARRIVALS_MAX);
        if from.is_some() {
            push(&mut self.received, arrival, ARRIVALS_MAX);
        }
    }

    /// When the next view is due, by [`Now::elapsed_us`].
    pub fn due_us(&self) -> u64 {
        let interval_us = if self.is_outdated { INTERVAL_MIN_US } else { INTERVAL_MAX_US };
        self.published_us.map_or(0, |published_us| published_us + interval_us)
    }

    /// Publishes where the node stands.
    pub fn publish(&mut self, status: NodeStatus, now: Now) {
        if self.sample_due_us <= now.elapsed_us {
            let hash_rate = if status.searching { status.hash_rate.over_10_s } else { 0.0 };
            let sample = Sample { time: now.utc, hash_rate };
            push(&mut self.samples, sample, SAMPLES_MAX);
            self.sample_due_us = now.elapsed_us + SAMPLE_INTERVAL_US;
        }
        self.version += 1;
        (self.published_us, self.is_outdated) = (Some(now.elapsed_us), false);
        let view = Arc::new(View {
            version: self.version,
            elapsed_us: now.elapsed_us,
            status,
            arrivals: self.arrivals.clone(),
            received: self.received.clone(),
            samples: self.samples.clone(),
        });
        *self.feed.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T, len_max: usize) {
    if len_max <= ring.len() {
        ring.pop_front();
    }
    ring.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(elapsed_us: u64) -> Now {
        Now { utc: Timestamp::default().saturating_add(elapsed_us), elapsed_us }
    }

    fn extended(number: u8) -> Notice {
        let hash = Hash([number; 32]);
        Notice::Extended { height: Height(u64::from(number)), hash, transactions: 0, from: None }
    }

    #[test]
    fn a_block_that_wins_later_arrives_once() {
        let mut publisher = Publisher::default();
        publisher.note(&Notice::SideBranch { height: Height(1), hash: Hash([1; 32]) }, now(1));
        publisher.note(&extended(1), now(2));
        assert_eq!(publisher.arrivals.len(), 1);
        assert_eq!(publisher.arrivals[0].time, now(1).utc);
    }

    /// A node that mines nearly all blocks used to say that none had come from a peer.
    #[test]
    fn what_peers_sent_is_remembered_behind_many_own_blocks() {
        let mut publisher = Publisher::default();
        let hash = |number: u64| Hash::of(&[&number.to_be_bytes()]);
        let extended = |number, from| Notice::Extended {
            height: Height(number),
            hash: hash(number),
            transactions: 0,
            from,
        };
        publisher.note(&extended(0, Some(NodeId(1))), now(0));
        for number in 1..2 * u64::try_from(ARRIVALS_MAX).unwrap() {
            publisher.note(&extended(number, None), now(number));
        }
        assert_eq!(publisher.received.iter().map(|it| it.hash).collect::<Vec<_>>(), [hash(0)]);
    }

    #[test]
    fn arrivals_are_bounded_and_the_newest_kept() {
        let mut publisher = Publisher::default();
        for number in 0..2 * u64::try_from(ARRIVALS_MAX).unwrap() {
            let hash = Hash::of(&[&number.to_be_bytes()]);
            publisher.note(&Notice::SideBranch { height: Height(number), hash }, now(number));
        }
        assert_eq!(publisher.arrivals.len(), ARRIVALS_MAX);
        assert_eq!(publisher.arrivals.back().map(|it| it.height), Some(Height(511)));
    }
}
