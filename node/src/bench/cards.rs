//! The part of the benchmark that runs on GPUs.

use serde::{Deserialize, Serialize};

use crate::bench::report::Latency;

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

/// Measures the cards that are called so, or all; none where there is none and none was named.
#[cfg(not(feature = "gpu"))]
pub fn measure(_: &[String], _: bool) -> anyhow::Result<Vec<Card>> {
    Ok(Vec::new())
}

/// Measures the cards that are called so, or all. Where there is none, that is an error only if they were `wanted`.
#[cfg(feature = "gpu")]
pub fn measure(names: &[String], wanted: bool) -> anyhow::Result<Vec<Card>> {
    use miner::gpu::adapters;

    use crate::exit::Exit;

    match adapters::select(adapters::adapters(), names, false) {
        Ok(adapters) => adapters.iter().map(measure_one).collect(),
        Err(error) if wanted || !names.is_empty() => Err(Exit::NoDevice.error(error)),
        Err(_) => Ok(Vec::new()),
    }
}

#[cfg(feature = "gpu")]
fn measure_one(adapter: &miner::gpu::adapters::Adapter) -> anyhow::Result<Card> {
    use std::time::Duration;

    use miner::NonceSearch as _;
    use miner::gpu::{GpuSearch, calibrate};

    /// How long each variant runs.
    const EACH: Duration = Duration::from_secs(1);
    /// How often a search is cancelled.
    const CANCELS: usize = 50;

    let it = &adapter.description;
    let rows = calibrate::table(adapter, &calibrate::candidates(it), EACH)?;
    let variants = rows.iter().map(|row| CardVariant {
        variant: row.variant.to_string(),
        by_device_clock: row.by_device_clock,
        by_wall: row.by_wall,
        batches: row.batches,
        batch_hashes: row.batch_hashes,
    });
    let variants = variants.collect();
    let search = GpuSearch::open(adapter)?;
    let job = super::job(search.preferred_heads(), super::NO_HIT);
    let latencies: Result<Vec<_>, _> =
        (0..CANCELS).map(|_| miner::measure::cancel_latency(&search, &job)).collect();
    Ok(Card {
        name: it.name.clone(),
        pci_bus: it.pci_bus.clone(),
        driver: format!("{} {}", it.driver, it.driver_version),
        variants,
        cancel: Latency::new(latencies?),
    })
}
