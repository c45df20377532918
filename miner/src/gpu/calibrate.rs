//! Which variants of the shader to trust on a card and which to take, found out by trying.
//! Invariant: a variant is used for a search only after it has agreed with the sha2 crate on this card.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::gpu::adapters::{Adapter, Description};
use crate::gpu::device::{Device, Lost};
use crate::gpu::layout::{self, Run};
use crate::gpu::pace::Pace;
use crate::gpu::shader::{Multiply, Variant, Width};
use crate::gpu::{GpuError, UNDER_WAY};
use crate::job::Job;
use crate::search::Hit;
use crate::window::Window;

/// How long each variant is measured to choose among them. Nine variants at a time are well below a second.
const GLANCE: Duration = Duration::from_millis(60);

/// PCI's number of NVIDIA.
const NVIDIA: u32 = 0x10de;

/// A variant, and how fast it is on a card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rated {
    /// The variant.
    pub variant: Variant,
    /// Hashes per second.
    pub hashes_per_s: f64,
}

/// How a variant did in a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// The variant.
    pub variant: Variant,
    /// Hashes per second by the card's own clock, pauses between batches not counted; none if it has no clock.
    pub by_device_clock: Option<f64>,
    /// Hashes per second by the clock on the wall.
    pub by_wall: f64,
    /// Batches that were measured.
    pub batches: u32,
    /// Hashes of the last batch.
    pub batch_hashes: u64,
}

/// Variants worth trying on a card.
pub fn candidates(description: &Description) -> Vec<Variant> {
    let worth = |variant: &Variant| variant.multiply == Multiply::No || description.vendor == NVIDIA;
    Variant::ALL.into_iter().filter(worth).collect()
}

/// Measures variants on a card for so long each, after their self-test, as a search of no end would run them.
pub fn table(adapter: &Adapter, variants: &[Variant], each: Duration) -> Result<Vec<Throughput>, GpuError> {
    let adapter_name = adapter.description.to_string();
    let broken = |Lost(reason)| GpuError::Broken { adapter: adapter_name.clone(), reason };
    let device = Device::open(adapter, variants).map_err(broken)?;
    variants
        .iter()
        .map(|variant| {
            self_test(&device, &adapter.description, *variant)?;
            measure(&device, *variant, each).map_err(broken)
        })
        .collect()
}

/// Tests variants, and gives the fastest of each width, the fastest first.
pub(super) fn rate(
    device: &Device,
    description: &Description,
    variants: &[Variant],
) -> Result<Vec<Rated>, GpuError> {
    let mut rated: Vec<Rated> = Vec::new();
    for variant in variants {
        self_test(device, description, *variant)?;
        let throughput = measure(device, *variant, GLANCE)
            .map_err(|Lost(reason)| GpuError::Broken { adapter: description.to_string(), reason })?;
        let hashes_per_s = throughput.by_device_clock.unwrap_or(throughput.by_wall);
        tracing::debug!(%description, %variant, mega_hashes_per_s = hashes_per_s / 1e6, "calibrated");
        rated.push(Rated { variant: *variant, hashes_per_s });
    }
    rated.sort_by(|a, b| b.hashes_per_s.total_cmp(&a.hashes_per_s));
    let mut widths: Vec<Width> = Vec::new();
    rated.retain(|rated| {
        let is_first = !widths.contains(&rated.variant.width);
        widths.push(rated.variant.width);
        is_first
    });
    Ok(rated)
}

/// The variant that hashes a job of so many heads fastest; places without a head are computed in vain.
pub(super) fn fastest_for(rated: &[Rated], heads: usize) -> Rated {
    let useful = |it: &Rated| {
        let width = it.variant.width;
        let places = layout::groups(heads, width) * width.heads();
        it.hashes_per_s * heads as f64 / places as f64
    };
    *rated
        .iter()
        .max_by(|a, b| useful(a).total_cmp(&useful(b)))
        .expect("a card is opened for at least one variant")
}

/// Walks from hit to hit through runs that have some, and compares each with the sha2 crate's.
fn self_test(device: &Device, description: &Description, variant: Variant) -> Result<(), GpuError> {
    let mut target = [0xff; 32];
    target[..2].copy_from_slice(&[0, 0x5f]);
    let broken = |Lost(reason)| GpuError::Broken { adapter: description.to_string(), reason };
    for (heads, high, start) in [(1, 0, 7), (variant.width.heads() + 1, 0x0102_0304, u32::MAX - 1500)] {
        let job = job(heads, target);
        let window = Window::new(&job, high);
        let mut run = Run { first: start, len: 1500 };
        while run.len != 0 {
            let dispatch = device.search(&window, variant, run).map_err(broken)?;
            let key = device.wait_for(dispatch).map_err(broken)?.key;
            let found = layout::decode(&job, variant.width, high, run, key);
            let expected = lowest(&job, high, run);
            if found != expected {
                let adapter = description.to_string();
                return Err(GpuError::SelfTest { adapter, variant, expected, found });
            }
            let Some(hit) = expected else { break };
            let step = (hit.nonce as u32).wrapping_sub(run.first) + 1;
            run = Run { first: run.first.wrapping_add(step), len: run.len - step };
        }
    }
    Ok(())
}

fn lowest(job: &Job, high: u32, run: Run) -> Option<Hit> {
    let nonces = (0..run.len).map(|i| u64::from(high) << 32 | u64::from(run.first.wrapping_add(i)));
    let mut all = nonces.flat_map(|nonce| (0..job.heads()).map(move |head| Hit { nonce, head }));
    all.find(|hit| job.check(*hit))
}

/// Runs batches for so long, at least three, beginning with a small one.
fn measure(device: &Device, variant: Variant, duration: Duration) -> Result<Throughput, Lost> {
    const WARM_UP: u32 = 4;
    let heads = variant.width.heads();
    let job = job(heads, [0; 32]);
    let window = Window::new(&job, 0);
    // From 2^18 hashes a batch.
    let mut pace = Pace::new(&job, f64::from(1 << 18) / super::pace::BATCH.as_secs_f64(), 1);
    let (mut begin, mut batches, mut batch_hashes) = (Instant::now(), 0, 0);
    let (mut hashes, mut device_time) = (0u64, Some(Duration::ZERO));
    let mut under_way = VecDeque::new();
    let mut ended = begin;
    while batches < WARM_UP + 3 || begin.elapsed() < duration {
        while under_way.len() < UNDER_WAY {
            let len = pace.nonces(heads) as u32;
            under_way.push_back((device.search(&window, variant, Run { first: 0, len })?, len));
        }
        let Some((dispatch, len)) = under_way.pop_front() else { break };
        let answer = device.wait_for(dispatch)?;
        batch_hashes = u64::from(len) * heads as u64;
        let now = Instant::now();
        pace.note(batch_hashes, answer.time.unwrap_or(now - ended));
        ended = now;
        batches += 1;
        if batches <= WARM_UP {
            // The size is not right yet.
            begin = now;
            continue;
        }
        hashes += batch_hashes;
        device_time = device_time.zip(answer.time).map(|(sum, time)| sum + time);
    }
    let wall = ended - begin;
    for (dispatch, _) in under_way {
        device.wait_for(dispatch)?;
    }
    let rate = |time: Duration| hashes as f64 / time.as_secs_f64().max(1e-9);
    let by_device_clock = device_time.map(rate);
    Ok(Throughput { variant, by_device_clock, by_wall: rate(wall), batches: batches - WARM_UP, batch_hashes })
}

/// A job whose heads differ.
fn job(heads: usize, target: [u8; 32]) -> Job {
    let heads: Vec<[u8; 64]> = (0..heads).map(|head| [head as u8 ^ 0x5a; 64]).collect();
    let tail = std::array::from_fn(|i| i as u8 * 5);
    Job::new(&heads, tail, target).expect("a few heads")
}
