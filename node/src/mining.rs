//! The nonce search on threads of its own.
//! Invariant: at most one search runs, and it is for the last template given; giving another cancels it at once.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use miner::rate::{HashRate, Rates};
use miner::{Job, NonceSearch, Outcome, SearchError};
use quarry_core::effect::Event;
use quarry_core::header::Header;
use quarry_core::template::Template;

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

impl Mining {
    /// Gets a backend ready, with as many midstates a job as it prefers, or as are given.
    pub fn start(backend: Box<dyn NonceSearch>, midstates: Option<NonZeroUsize>) -> std::io::Result<Self> {
        let backend: Arc<dyn NonceSearch> = backend.into();
        let heads = midstates.map_or(backend.preferred_heads(), NonZeroUsize::get);
        let (work, inbox) = unbounded();
        let (outbox, results) = unbounded();
        let (searcher, stopwatch) = (Arc::clone(&backend), Arc::<Stopwatch>::default());
        let watch = Arc::clone(&stopwatch);
        std::thread::Builder::new().name("mining".into()).spawn(move || {
            for work in inbox {
                watch.set(true);
                let result = search(&*searcher, heads, &work);
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

    /// Hashes a second, over several stretches of searching; to be called about once a second. A node that mostly
    /// waits for transactions has the same rates as one that searches all the time.
    pub fn rates(&mut self) -> Rates {
        let (searched, hashes) = (self.stopwatch.elapsed(), self.backend.hashes());
        self.rate.record(searched, hashes);
        let rates = self.rate.rates();
        if 0.0 < rates.short || searched == Duration::ZERO {
            return rates;
        }
        // Easy blocks take a long while to fill the shortest stretch; all there has been is better than nothing.
        // The bits that f64 lacks do not show.
        let all = hashes as f64 / searched.as_secs_f64();
        Rates { short: all, medium: all, long: all, ..rates }
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

/// Searches a template until a nonce is found or the search is cancelled.
fn search(backend: &dyn NonceSearch, heads: usize, work: &Work) -> Result<Option<Event>, SearchError> {
    let Work { template, cancel } = work;
    let heads_count = u64::try_from(heads).expect("a job has few heads");
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
