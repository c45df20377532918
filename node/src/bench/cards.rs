//! The part of the benchmark that runs on GPUs.

#[cfg(feature = "gpu")]
use std::time::Duration;

use anyhow::Result;
#[cfg(feature = "gpu")]
use miner::NonceSearch as _;
#[cfg(feature = "gpu")]
use miner::gpu::adapters::{self, Adapter};
#[cfg(feature = "gpu")]
use miner::gpu::{GpuSearch, calibrate, diagnosis};
use serde::{Deserialize, Serialize};

use crate::bench::Watcher;
use crate::bench::report::Latency;
use crate::exit::Exit;
#[cfg(feature = "gpu")]
use crate::exit::OrExit as _;

/// How long each variant runs.
#[cfg(feature = "gpu")]
const EACH: Duration = Duration::from_secs(1);
/// How often a search is cancelled.
#[cfg(feature = "gpu")]
const CANCELS: usize = 50;

/// What was measured on a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The card's name.
    pub name: String,
    /// Where it sits.
    pub pci_bus: Option<String>,
    /// Its driver, with the version.
    pub driver: String,
    /// By variant of the shader, each of whose answers were checked first.
    pub variants: Vec<CardVariant>,
    /// How long a search takes to end once it is cancelled.
    pub cancel: Option<Latency>,
}

/// A variant of the shader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CardVariant {
    /// Its name.
    pub variant: String,
    /// Hashes a second by the card's own clock, pauses between batches not counted.
    pub by_device_clock: Option<f64>,
    /// Hashes a second by the clock on the wall.
    pub by_wall: f64,
    /// How many batches were measured.
    pub batches: u32,
    /// How many hashes the last one had.
    pub batch_hashes: u64,
}

/// Of this program none, since it cannot use cards.
#[cfg(not(feature = "gpu"))]
#[derive(Debug, Clone)]
pub enum Adapter {}

/// The cards that are called so, or all. Where none can be used, that is an error only if they were `wanted`.
#[cfg(not(feature = "gpu"))]
pub fn choose(names: &[String], allow_software: bool, wanted: bool) -> Result<Vec<Adapter>> {
    if wanted || allow_software || !names.is_empty() {
        return Err(Exit::NoDevice.error(miner::backend::OpenError::WithoutGpu));
    }
    Ok(Vec::new())
}

/// Measures no cards.
#[cfg(not(feature = "gpu"))]
pub fn measure(_: &[Adapter], _: &mut dyn Watcher) -> Result<Vec<Card>> {
    Ok(Vec::new())
}

/// The cards that are called so, or all. Where none can be used, that is an error only if they were `wanted`.
#[cfg(feature = "gpu")]
pub fn choose(names: &[String], allow_software: bool, wanted: bool) -> Result<Vec<Adapter>> {
    let wanted = wanted || allow_software || !names.is_empty();
    if !wanted && !diagnosis::may_have_card() {
        return Ok(Vec::new());
    }
    match adapters::select(adapters::adapters(), names, allow_software) {
        Ok(adapters) => Ok(adapters),
        Err(error) if wanted => Err(Exit::NoDevice.error(error)),
        Err(_) => Ok(Vec::new()),
    }
}

/// Measures cards, as far as the watcher lets it: each of their variants, then how long it takes to cancel a search.
#[cfg(feature = "gpu")]
pub fn measure(adapters: &[Adapter], watcher: &mut dyn Watcher) -> Result<Vec<Card>> {
    let steps = |adapter: &Adapter| calibrate::candidates(&adapter.description).len() as u64 + 1;
    let all = adapters.iter().map(steps).sum();
    let (mut cards, mut done) = (Vec::new(), 0);
    for adapter in adapters {
        let it = &adapter.description;
        let driver = format!("{} {}", it.driver, it.driver_version);
        let (name, pci_bus) = (it.name.clone(), it.pci_bus.clone());
        cards.push(Card { name, pci_bus, driver, variants: Vec::new(), cancel: None });
        let card = cards.last_mut().expect("one was pushed");
        for variant in calibrate::candidates(it) {
            let rows = calibrate::table(adapter, &[variant], EACH).or_exit(Exit::NoDevice)?;
            card.variants.extend(rows.iter().map(CardVariant::new));
            done += 1;
            if !watcher.step(done, all) {
                return Ok(cards);
            }
        }
        let search = GpuSearch::open(adapter).or_exit(Exit::NoDevice)?;
        let job = super::job(search.preferred_heads(), super::NO_HIT);
        let latencies: Result<Vec<_>, _> =
            (0..CANCELS).map(|_| miner::measure::cancel_latency(&search, &job)).collect();
        card.cancel = Latency::new(latencies?);
        done += 1;
        if !watcher.step(done, all) {
            return Ok(cards);
        }
    }
    Ok(cards)
}

#[cfg(feature = "gpu")]
impl CardVariant {
    fn new(row: &calibrate::Throughput) -> Self {
        Self {
            variant: row.variant.to_string(),
            by_device_clock: row.by_device_clock,
            by_wall: row.by_wall,
            batches: row.batches,
            batch_hashes: row.batch_hashes,
        }
    }
}
