//! The GPU backend: batches of nonces on a card, through Vulkan.
//! Invariant: what a card reports is told to the caller only after the sha2 crate has confirmed it.

mod device;
mod layout;
#[cfg(test)]
mod twin;

pub mod adapters;
pub mod diagnosis;
pub mod pace;
pub mod shader;

pub mod calibrate;

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::cursor::{Cursor, End};
use crate::gpu::adapters::{Adapter, Description, SelectError};
use crate::gpu::calibrate::Rated;
use crate::gpu::device::{Device, Dispatch, Lost};
use crate::gpu::layout::Run;
use crate::gpu::pace::Pace;
use crate::gpu::shader::Variant;
use crate::job::Job;
use crate::search::{Hit, NonceSearch, Report, SearchError};
use crate::window::Window;

/// Batches on a card at a time: one computes while the answer of the other is looked at.
const UNDER_WAY: usize = 2;

/// How late a search may notice that it is cancelled.
const SLICE: Duration = Duration::from_millis(1);

/// Searches on one card.
#[derive(Debug)]
pub struct GpuSearch {
    name: String,
    description: Description,
    device: Device,
    /// The fastest variant of each width, the fastest first.
    rated: Vec<Rated>,
    hashes: AtomicU64,
}

/// Why a card cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// There is no such card.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The driver does not open the card, or fails in the middle of the self-test.
    #[error("{adapter} cannot be used: {reason}")]
    Broken {
        /// The card.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The card does not compute SHA-256.
    #[error("{adapter} fails its self-test with {variant}: it finds {found:?} where {expected:?} is right")]
    SelfTest {
        /// The card.
        adapter: String,
        /// How the shader was compiled.
        variant: Variant,
        /// The lowest hit.
        expected: Option<Hit>,
        /// What the card takes for it.
        found: Option<Hit>,
    },
}

impl GpuSearch {
    /// Opens a card, tests it and finds out which variants are its fastest.
    pub fn open(adapter: &Adapter) -> Result<Self, GpuError> {
        Self::with_variants(adapter, &calibrate::candidates(&adapter.description))
    }

    /// Opens a card for the fastest of these variants only.
    ///
    /// # Panics
    /// If there is none.
    pub fn with_variants(adapter: &Adapter, variants: &[Variant]) -> Result<Self, GpuError> {
        assert!(!variants.is_empty(), "there is no search without a variant");
        let description = adapter.description.clone();
        let broken = |Lost(reason)| GpuError::Broken { adapter: description.to_string(), reason };
        let device = Device::open(adapter, variants).map_err(broken)?;
        let rated = calibrate::rate(&device, &description, variants)?;
        let name = format!("gpu ({description}, {})", rated[0].variant);
        Ok(Self { name, description, device, rated, hashes: AtomicU64::new(0) })
    }

    /// What the driver says of the card.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The fastest variant of each width, the fastest first.
    pub fn rated(&self) -> &[Rated] {
        &self.rated
    }

    /// Searches what it gets of a cursor that `sharers` devices share.
    pub(crate) fn work(
        &self,
        job: &Job,
        cursor: &Cursor,
        sharers: usize,
        cancel: &AtomicBool,
    ) -> Result<End, SearchError> {
        let rated = calibrate::fastest_for(&self.rated, job.heads());
        let pace = Pace::new(job, rated.hashes_per_s, sharers);
        let mut batches = Batches {
            card: self,
            variant: rated.variant,
            job,
            cursor,
            cancel,
            pace,
            window: Window::new(job, 0),
            under_way: VecDeque::with_capacity(UNDER_WAY),
            started: Instant::now(),
            searched: 0,
        };
        let end = batches.search();
        for batch in batches.under_way {
            self.device.abandon(batch.dispatch);
        }
        end.map_err(|failure| {
            cursor.close();
            let backend = self.name.clone();
            match failure {
                Failure::Lost(Lost(reason)) => SearchError::DeviceLost { backend, reason },
                Failure::FalseHit(hit) => SearchError::FalseHit { backend, hit },
            }
        })
    }

    #[cfg(test)]
    fn destroy(&self) {
        self.device.destroy();
    }
}

impl NonceSearch for GpuSearch {
    fn name(&self) -> &str {
        &self.name
    }

    fn preferred_heads(&self) -> usize {
        self.rated[0].variant.width.heads()
    }

    fn search(
        &self,
        job: &Job,
        nonces: RangeInclusive<u64>,
        cancel: &AtomicBool,
    ) -> Result<Report, SearchError> {
        let cursor = Cursor::new(&nonces);
        let end = self.work(job, &cursor, 1, cancel)?;
        Ok(cursor.report(&[end]))
    }

    fn hashes(&self) -> u64 {
        self.hashes.load(Relaxed)
    }
}

impl fmt::Display for GpuSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One search, as one card sees it.
struct Batches<'a> {
    card: &'a GpuSearch,
    variant: Variant,
    job: &'a Job,
    cursor: &'a Cursor,
    cancel: &'a AtomicBool,
    pace: Pace,
    /// Of the nonces claimed last.
    window: Window<'a>,
    /// In ascending order of nonces.
    under_way: VecDeque<Batch>,
    started: Instant,
    /// Hashes of all batches that have ended.
    searched: u64,
}

/// Nonces on a card.
struct Batch {
    nonces: RangeInclusive<u64>,
    dispatch: Dispatch,
}

/// Why a card is of no further use.
enum Failure {
    Lost(Lost),
    FalseHit(Hit),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl Batches<'_> {
    fn search(&mut self) -> Result<End, Failure> {
        let mut end = End::default();
        loop {
            self.fill()?;
            let Some(batch) = self.under_way.pop_front() else { return Ok(end) };
            let nonces = batch.nonces.clone();
            let Some(key) = self.finish(batch)? else {
                // Left, because it was cancelled, or because another device was luckier; then nobody minds.
                end.left = Some(*nonces.start());
                return Ok(end);
            };
            end.hit = self.confirm(key, nonces.clone())?;
            let last = end.hit.map_or(*nonces.end(), |hit| hit.nonce);
            let hashes = (last - nonces.start() + 1) * self.job.heads() as u64;
            end.hashes += hashes;
            self.card.hashes.fetch_add(hashes, Relaxed);
            if let Some(hit) = end.hit {
                self.cursor.note(hit);
                return Ok(end);
            }
        }
    }

    /// Keeps the card supplied.
    fn fill(&mut self) -> Result<(), Lost> {
        while self.under_way.len() < UNDER_WAY && !self.cancel.load(Relaxed) {
            let Some(nonces) = self.cursor.claim(self.pace.nonces(self.job.heads())) else { break };
            let dispatch = self.dispatch(&nonces)?;
            self.under_way.push_back(Batch { nonces, dispatch });
        }
        Ok(())
    }

    fn dispatch(&mut self, nonces: &RangeInclusive<u64>) -> Result<Dispatch, Lost> {
        // A claim keeps to a window.
        let high = (nonces.start() >> 32) as u32;
        if self.window.high != high {
            self.window = Window::new(self.job, high);
        }
        self.card.device.search(&self.window, self.variant, run(nonces))
    }

    /// The key that a batch comes back with, or none if it need not or must not be waited for.
    fn finish(&mut self, batch: Batch) -> Result<Option<u32>, Lost> {
        let device = &self.card.device;
        while !device.has_ended(&batch.dispatch, SLICE)? {
            if self.cancel.load(Relaxed) || !self.cursor.is_needed(*batch.nonces.start()) {
                device.abandon(batch.dispatch);
                return Ok(None);
            }
        }
        let answer = device.answer(batch.dispatch)?;
        if answer.key == layout::NONE {
            let hashes = (batch.nonces.end() - batch.nonces.start() + 1) * self.job.heads() as u64;
            self.searched += hashes;
            match answer.time {
                Some(time) => self.pace.note(hashes, time),
                // All nonces over all time: the gap between two ends may be next to nothing.
                None => self.pace.note(hashes, self.started.elapsed().mul_f64(share(hashes, self.searched))),
            }
        }
        Ok(Some(answer.key))
    }

    /// The hit that a key stands for, if it is one.
    ///
    /// The card looks at two words of the digest. Where they are those of the target, the host decides, and what lies
    /// behind in the batch, which the card's answer hides, is searched again.
    fn confirm(&mut self, key: u32, mut nonces: RangeInclusive<u64>) -> Result<Option<Hit>, Failure> {
        let mut key = key;
        loop {
            let high = (nonces.start() >> 32) as u32;
            let Some(hit) = layout::decode(self.job, self.variant.width, high, run(&nonces), key) else {
                return Ok(None);
            };
            if self.job.check(hit) && nonces.contains(&hit.nonce) {
                return Ok(Some(hit));
            }
            if !nonces.contains(&hit.nonce) || !is_close(self.job, hit) {
                return Err(Failure::FalseHit(hit));
            }
            let others = (hit.head + 1..self.job.heads()).map(|head| Hit { head, ..hit });
            if let Some(other) = others.into_iter().find(|other| self.job.check(*other)) {
                return Ok(Some(other));
            }
            if hit.nonce == *nonces.end() {
                return Ok(None);
            }
            nonces = hit.nonce + 1..=*nonces.end();
            let dispatch = self.dispatch(&nonces)?;
            key = self.card.device.wait_for(dispatch)?.key;
        }
    }
}

/// A claim as the shader counts.
fn run(nonces: &RangeInclusive<u64>) -> Run {
    // A claim keeps to a window, and a batch is bounded.
    Run { first: *nonces.start() as u32, len: (nonces.end() - nonces.start() + 1) as u32 }
}

/// Whether a card cannot tell that this is no hit.
fn is_close(job: &Job, hit: Hit) -> bool {
    hit.head < job.heads() && job.hash(hit)[..8] == job.target()[..8]
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shader::{Multiply, Width};

    const PLAIN: Variant = Variant { width: Width::One, multiply: Multiply::No };

    pub(super) fn software() -> Adapter {
        let all = adapters::adapters();
        let chosen = adapters::select(all, &["llvmpipe".to_owned()], false);
        chosen.expect("tests need mesa-vulkan-drivers; `make setup` installs it").remove(0)
    }

    #[test]
    fn a_lost_card_is_an_error() {
        let search = GpuSearch::with_variants(&software(), &[PLAIN]).unwrap();
        let job = Job::new(&[[0; 64]], [0; 52], [0; 32]).unwrap();
        let error = std::thread::scope(|scope| {
            let searching = scope.spawn(|| search.search(&job, 0..=u64::MAX, &AtomicBool::new(false)));
            while search.hashes() == 0 {
                std::thread::yield_now();
            }
            search.destroy();
            searching.join().unwrap().unwrap_err()
        });
        let SearchError::DeviceLost { backend, .. } = &error else { panic!("{error:?}") };
        assert_eq!(backend, search.name());
        // And it stays lost.
        let again = search.search(&job, 0..=9, &AtomicBool::new(false));
        assert!(matches!(again, Err(SearchError::DeviceLost { .. })), "{again:?}");
    }
}
