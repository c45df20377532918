//! What this machine and its queue tell: how fast it hashes, and how long a message takes.
//! Invariant: a queue that is measured is one of its own, which no node of the network sees.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use miner::NonceSearch;
use quarry_core::units::NodeId;

use crate::bench;
use crate::connection;
#[cfg(feature = "sqs")]
use crate::transport::sqs;
use crate::transport::{Incoming, Kind, Medium, Outgoing, Transport};

/// How long a search runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long a sample takes.
const SAMPLE: Duration = Duration::from_millis(80);
/// How many samples there are.
const SAMPLES: usize = 11;
/// How many messages are timed.
const MESSAGES: u64 = 15;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The median of some samples and how far they spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    sorted: Vec<f64>,
}

impl Samples {
    /// The lowest, the median and the highest.
    pub fn spread(&self) -> [f64; 3] {
        let last = self.sorted.len() - 1;
        [self.sorted[0], self.sorted[self.sorted.len() / 2], self.sorted[last]]
    }

    /// All of them, the lowest first.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { sorted: samples }
    }
}

/// Hashes a second by the clock on the wall, as a node on this machine would have them now.
pub fn hash_rate(search: &dyn NonceSearch, midstates: Option<usize>) -> Result<Samples> {
    let job = bench::job(midstates.unwrap_or(search.preferred_heads()), bench::NO_HIT);
    let cancel = AtomicBool::new(false);
    let samples = std::thread::scope(|scope| {
        let searching = scope.spawn(|| search.search(&job, 0..=u64::MAX, &cancel));
        std::thread::sleep(WARM_UP);
        let samples: Vec<f64> = (0..SAMPLES).map(|_| sample(search)).collect();
        cancel.store(true, Ordering::Relaxed);
        searching.join().expect("a search does not panic")?;
        anyhow::Ok(samples)
    })?;
    let samples = Samples::new(samples);
    ensure!(0.0 < samples.spread()[1], "{} has not searched", search.name());
    Ok(samples)
}

fn sample(search: &dyn NonceSearch) -> f64 {
    let (started, before) = (Instant::now(), search.hashes());
    std::thread::sleep(SAMPLE);
    // What f64 lacks of bits does not show.
    (search.hashes() - before) as f64 / started.elapsed().as_secs_f64()
}

/// How many seconds a message takes through such a queue as `medium` has.
pub fn delay(medium: &Medium) -> Result<Samples> {
    let own = NodeId(0);
    let queue = Queue::open(medium, own)?;
    // The first one finds everything cold, and tells nothing of those that follow.
    time_message(&*queue.transport, own, 0)?;
    let timed = (1..=MESSAGES).map(|number| time_message(&*queue.transport, own, number));
    let samples = timed.collect::<Result<Vec<f64>>>()?;
    queue.transport.leave().map_err(connection::failed).context("removing the queue that was measured")?;
    Ok(Samples::new(samples))
}

/// A queue that nobody else uses, removed at the end.
struct Queue {
    transport: Box<dyn Transport>,
    directory: Option<PathBuf>,
}

impl Queue {
    fn open(medium: &Medium, own: NodeId) -> Result<Self> {
        let (private, directory) = match medium {
            Medium::Local { dir, options } => {
                let dir = dir.with_file_name(format!("tune-{}", std::process::id()));
                (Medium::Local { dir: dir.clone(), options: options.clone() }, Some(dir))
            }
            #[cfg(feature = "sqs")]
            Medium::Sqs(options) => {
                // A name of its own each time: that of a queue which was deleted is blocked for a minute.
                let prefix = format!("{}tune-{}-", options.prefix, std::process::id());
                (Medium::Sqs(sqs::Options { prefix, discover: false, ..options.clone() }), None)
            }
        };
        Ok(Self { transport: private.join(own).map_err(connection::failed)?, directory })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let Some(directory) = &self.directory else { return };
        // What is left is in nobody's way; the folder around it stays if anything else is in there.
        let _ = fs::remove_dir_all(directory);
        let _ = directory.parent().map(fs::remove_dir);
    }
}

/// Sends a message to the own queue, and waits until it comes out.
fn time_message(queue: &dyn Transport, own: NodeId, number: u64) -> Result<f64> {
    // Equal messages would be taken for copies of one.
    let payload: Arc<[u8]> = format!("delay {number} {:016x}", rand::random::<u64>()).into_bytes().into();
    let started = Instant::now();
    let message = Outgoing { kind: Kind::Chain, payload: Arc::clone(&payload), ticket: number };
    queue.send(own, message).map_err(connection::failed)?;
    while let Some(left) = PATIENCE.checked_sub(started.elapsed()) {
        match queue.incoming().recv_timeout(left) {
            Ok(Incoming::Delivery(delivery)) => {
                let elapsed_s = started.elapsed().as_secs_f64();
                queue.acknowledge(vec![delivery.receipt]).map_err(connection::failed)?;
                if *delivery.payload == *payload {
                    return Ok(elapsed_s);
                }
            }
            Ok(Incoming::Ended(error)) => return Err(connection::failed(error)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    bail!("no message came out of the own queue within {PATIENCE:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::local;

    #[test]
    fn a_queue_is_measured_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("quarry").join("net");
        let delay = delay(&Medium::Local { dir, options: local::Options::default() }).unwrap();
        assert!(delay.sorted().iter().all(|it| 0.0 < *it), "{delay:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_search_is_measured() {
        let one = std::num::NonZeroUsize::MIN;
        let search = miner::Options { threads: Some(one), ..miner::Options::default() }.open_cpu().unwrap();
        let [low, median, high] = hash_rate(&search, None).unwrap().spread();
        assert!(0.0 < median && low <= median && median <= high);
    }
}
