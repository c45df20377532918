//! The nonce search on threads of its own.
//! Invariant: at most one search runs, and it is for the last template given; giving another cancels it at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use miner::{Job, NonceSearch, Outcome, SearchError};
use quarry_core::effect::Event;
use quarry_core::header::Header;
use quarry_core::template::Template;

/// Over how much searching the hash rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// The most samples it is averaged over.
const RATE_SAMPLES_MAX: usize = 60;

/// What a search has to say.
#[derive(Debug)]
pub enum Mined {
    /// A nonce: an [`Event::Found`].
    Found(Event),
    /// The backend has failed and does not search any more.
    Failed(SearchError),
}

/// A backend at work.
pub struct Mining {
    backend: Arc<dyn NonceSearch>,
    work: Sender<Work>,
    results: Receiver<Mined>,
    cancel: Arc<AtomicBool>,
    stopwatch: Arc<Stopwatch>,
    rate: HashRate,
}

struct Work {
    template: Arc<Template>,
    cancel: Arc<AtomicBool>,
}

/// For how long there has been a search under way.
#[derive(Debug, Default)]
struct Stopwatch(Mutex<Lap>);

#[derive(Debug, Default)]
struct Lap {
    /// All searches that have ended.
    before: Duration,
    /// When the one under way began.
    since: Option<Instant>,
}

/// A moving average of a counter over the time that it could grow in.
#[derive(Debug, Default)]
struct HashRate(VecDeque<(Duration, u64)>);

impl Mining {
    /// Gets a backend ready.
    pub fn start(backend: Box<dyn NonceSearch>) -> std::io::Result<Self> {
        let backend: Arc<dyn NonceSearch> = backend.into();
        let (work, inbox) = unbounded();
        let (outbox, results) = unbounded();
        let (searcher, stopwatch) = (Arc::clone(&backend), Arc::<Stopwatch>::default());
        let watch = Arc::clone(&stopwatch);
        std::thread::Builder::new().name("mining".into()).spawn(move || {
            for work in inbox {
                watch.set(true);
                let result = search(&*searcher, &work);
                watch.set(false);
                match result {
                    Ok(Some(event)) => drop(outbox.send(Mined::Found(event))),
                    Ok(None) => {}
                    Err(error) => {
                        drop(outbox.send(Mined::Failed(error)));
                        return;
                    }
                }
            }
        })?;
        let (cancel, rate) = (Arc::default(), HashRate::default());
        Ok(Self { backend, work, results, cancel, stopwatch, rate })
    }

    /// Searches this template instead of the one before.
    pub fn mine(&mut self, template: Arc<Template>) {
        self.rest();
        self.cancel = Arc::default();
        // It only fails after a `Mined::Failed`.
        let _ = self.work.send(Work { template, cancel: Arc::clone(&self.cancel) });
    }

    /// Searches no more.
    pub fn rest(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// Where results come out.
    pub fn results(&self) -> &Receiver<Mined> {
        &self.results
    }

    /// The backend's name.
    pub fn name(&self) -> &str {
        self.backend.name()
    }

    /// Hashes a second over the last ten seconds of searching; to be called about once a second. A node that mostly
    /// waits for transactions has the same rate as one that searches all the time.
    pub fn hash_rate(&mut self) -> f64 {
        self.rate.sample(self.stopwatch.elapsed(), self.backend.hashes())
    }
}

impl Drop for Mining {
    fn drop(&mut self) {
        self.rest();
    }
}

impl Stopwatch {
    fn set(&self, running: bool) {
        let mut lap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = lap.since.map_or(Duration::ZERO, |since| since.elapsed());
        lap.before += done;
        lap.since = running.then(Instant::now);
    }

    fn elapsed(&self) -> Duration {
        let lap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lap.before + lap.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl HashRate {
    fn sample(&mut self, searched: Duration, hashes: u64) -> f64 {
        let samples = &mut self.0;
        if samples.back().is_none_or(|(last, _)| *last < searched) {
            samples.push_back((searched, hashes));
        }
        while 2 < samples.len()
            && (RATE_WINDOW < searched.saturating_sub(samples[1].0) || RATE_SAMPLES_MAX < samples.len())
        {
            samples.pop_front();
        }
        let (first_searched, first_hashes) = samples[0];
        let seconds = searched.saturating_sub(first_searched).as_secs_f64();
        // A rate is for people: the bits that f64 lacks do not show.
        if seconds == 0.0 { 0.0 } else { (hashes - first_hashes) as f64 / seconds }
    }
}

/// Searches a template until a nonce is found or the search is cancelled.
fn search(backend: &dyn NonceSearch, work: &Work) -> Result<Option<Event>, SearchError> {
    let Work { template, cancel } = work;
    let heads_count = u64::try_from(backend.preferred_heads()).unwrap_or(1).max(1);
    let mut extra_nonce = template.extra_nonce;
    while !cancel.load(Ordering::Relaxed) {
        let headers: Vec<[u8; Header::LEN]> = (0..heads_count)
            .map(|head| template.header(extra_nonce.wrapping_add(head), 0).to_bytes())
            .collect();
        let heads: Vec<[u8; 64]> = headers.iter().map(|header| part(&header[..64])).collect();
        let job = Job::new(&heads, part(&headers[0][64..]), template.target())
            .expect("a backend prefers a number of heads that a job can have");
        match backend.search(&job, 0..=u64::MAX, cancel)?.outcome {
            Outcome::Found(hit) => {
                let head = u64::try_from(hit.head).expect("a head is one of the job's few");
                return Ok(Some(Event::Found {
                    template: template.id,
                    extra_nonce: extra_nonce.wrapping_add(head),
                    nonce: hit.nonce,
                }));
            }
            Outcome::Cancelled => return Ok(None),
            Outcome::Exhausted => extra_nonce = extra_nonce.wrapping_add(heads_count),
        }
    }
    Ok(None)
}

fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the parts of a header have fixed lengths")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_rate_is_that_of_the_time_spent_searching() {
        let mut rate = HashRate::default();
        let seconds = Duration::from_secs;
        assert_eq!(rate.sample(seconds(0), 0), 0.0);
        assert_eq!(rate.sample(seconds(2), 200), 100.0);
        for _ in 0..1000 {
            assert_eq!(rate.sample(seconds(2), 200), 100.0, "idle");
        }
        assert!(rate.0.len() <= 2);
        for second in 3..=30 {
            rate.sample(seconds(second), 200 + (second - 2) * 50);
        }
        assert_eq!(rate.sample(seconds(31), 200 + 29 * 50), 50.0, "the beginning is forgotten");
        for milli in 0..1000 {
            rate.sample(seconds(31) + Duration::from_millis(milli), 1650 + milli);
        }
        assert!(rate.0.len() <= RATE_SAMPLES_MAX, "bounded however little is searched between samples");
    }
}
