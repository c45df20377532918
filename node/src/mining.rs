//! The nonce search on threads of its own.
//! Invariant: at most one search runs, and it is for the last template given; giving another cancels it at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use miner::{Job, NonceSearch, Outcome, SearchError};
use quarry_core::effect::Event;
use quarry_core::header::Header;
use quarry_core::template::Template;

/// Over what time the hash rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(10);

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
    rate: HashRate,
}

struct Work {
    template: Arc<Template>,
    cancel: Arc<AtomicBool>,
}

/// A moving average of a counter.
#[derive(Debug, Default)]
struct HashRate(VecDeque<(Instant, u64)>);

impl Mining {
    /// Gets a backend ready.
    pub fn start(backend: Box<dyn NonceSearch>) -> std::io::Result<Self> {
        let backend: Arc<dyn NonceSearch> = backend.into();
        let (work, inbox) = unbounded();
        let (outbox, results) = unbounded();
        let searcher = Arc::clone(&backend);
        std::thread::Builder::new().name("mining".into()).spawn(move || {
            for work in inbox {
                match search(&*searcher, &work) {
                    Ok(Some(event)) => drop(outbox.send(Mined::Found(event))),
                    Ok(None) => {}
                    Err(error) => {
                        drop(outbox.send(Mined::Failed(error)));
                        return;
                    }
                }
            }
        })?;
        Ok(Self { backend, work, results, cancel: Arc::default(), rate: HashRate::default() })
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

    /// Hashes a second over the last ten seconds; to be called about once a second.
    pub fn hash_rate(&mut self) -> f64 {
        self.rate.sample(Instant::now(), self.backend.hashes())
    }
}

impl Drop for Mining {
    fn drop(&mut self) {
        self.rest();
    }
}

impl HashRate {
    fn sample(&mut self, now: Instant, hashes: u64) -> f64 {
        self.0.push_back((now, hashes));
        while 2 < self.0.len() && RATE_WINDOW < now - self.0[1].0 {
            self.0.pop_front();
        }
        let (first_time, first_hashes) = self.0[0];
        let seconds = (now - first_time).as_secs_f64();
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
