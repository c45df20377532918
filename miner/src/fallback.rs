//! Cards for as long as they work, then the CPU.
//! Invariant: a search fails only if the CPU's does.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::cpu::CpuSearch;
use crate::job::Job;
use crate::search::{NonceSearch, Report, SearchError};

/// Searches on cards until one of them fails, and on the CPU from then on.
pub struct Fallback {
    cards: Box<dyn NonceSearch>,
    cpu: CpuSearch,
    failed: AtomicBool,
}

impl Fallback {
    /// A backend that is `cards` at first.
    pub fn new(cards: Box<dyn NonceSearch>, cpu: CpuSearch) -> Self {
        Self { cards, cpu, failed: AtomicBool::new(false) }
    }

    fn current(&self) -> &dyn NonceSearch {
        if self.failed.load(Relaxed) { &self.cpu } else { &*self.cards }
    }
}

impl NonceSearch for Fallback {
    fn name(&self) -> &str {
        self.current().name()
    }

    fn preferred_heads(&self) -> usize {
        self.current().preferred_heads()
    }

    fn search(
        &self,
        job: &Job,
        nonces: RangeInclusive<u64>,
        cancel: &AtomicBool,
    ) -> Result<Report, SearchError> {
        if !self.failed.load(Relaxed) {
            match self.cards.search(job, nonces.clone(), cancel) {
                Ok(report) => return Ok(report),
                Err(error) => {
                    tracing::error!(%error, "from now on the search is on {}", self.cpu.name());
                    self.failed.store(true, Relaxed);
                }
            }
        }
        self.cpu.search(job, nonces, cancel)
    }

    fn hashes(&self) -> u64 {
        self.cards.hashes() + self.cpu.hashes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::duty::CpuLimit;
    use crate::search::{Hit, Outcome};

    /// Cards that fall off the bus.
    struct Lost;

    impl NonceSearch for Lost {
        fn name(&self) -> &str {
            "lost"
        }

        fn preferred_heads(&self) -> usize {
            4
        }

        fn search(&self, _: &Job, _: RangeInclusive<u64>, _: &AtomicBool) -> Result<Report, SearchError> {
            Err(SearchError::DeviceLost { backend: "lost".to_owned(), reason: "gone".to_owned() })
        }

        fn hashes(&self) -> u64 {
            7
        }
    }

    #[test]
    fn the_cpu_takes_over() {
        let cpu = CpuSearch::open(None, None, CpuLimit::NONE).unwrap();
        let cpu_name = cpu.name().to_owned();
        let search = Fallback::new(Box::new(Lost), cpu);
        assert_eq!(search.name(), "lost");
        let job = Job::new(&[[1; 64]], [0; 52], [0xff; 32]).unwrap();
        for _ in 0..2 {
            let report = search.search(&job, 5..=9, &AtomicBool::new(false)).unwrap();
            assert_eq!(report.outcome, Outcome::Found(Hit { nonce: 5, head: 0 }));
            assert_eq!(search.name(), cpu_name);
        }
        assert_eq!(search.hashes(), 7 + 2);
    }
}
