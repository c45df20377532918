//! Measures the GPU backend: `gpu_table DEVICE [SECONDS [best | MIDSTATES PRODUCTS]]`.
//!
//! First what the backend makes of the card by itself, with the time it takes to get ready and to be cancelled, then a
//! line per variant of the shader: hashes per second by the card's clock, by the clock on the wall, and per second of
//! this process's CPU time, which is what counts where the "card" is a program. MIDSTATES (1, 2 or 4) and PRODUCTS (0
//! none, 1 in rounds, 2 all) choose a single variant, which may be one that is meant for other cards; `best` leaves the
//! lines of the variants out.

#[cfg(feature = "gpu")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    table::print(&arguments)
}

#[cfg(not(feature = "gpu"))]
fn main() {}

#[cfg(feature = "gpu")]
mod table {
    use std::error::Error;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use miner::gpu::adapters::{self, Adapter};
    use miner::gpu::calibrate;
    use miner::gpu::shader::Variant;
    use miner::{GpuSearch, Job, NonceSearch, measure};

    pub(crate) fn print(arguments: &[String]) -> Result<(), Box<dyn Error>> {
        let seconds = arguments.get(1).map_or(Ok(2.0), |text| text.parse())?;
        for adapter in adapters::select(adapters::adapters(), &arguments[..1.min(arguments.len())], false)? {
            let description = &adapter.description;
            println!("device {description}, {} {}", description.driver, description.driver_version);
            let variants = match arguments.get(2..).unwrap_or_default() {
                [] => {
                    print_backend(&adapter, seconds)?;
                    calibrate::candidates(description)
                }
                [best] if best == "best" => {
                    print_backend(&adapter, seconds)?;
                    Vec::new()
                }
                [midstates, products] => vec![variant(midstates.parse()?, products.parse()?)?],
                _ => return Err("a choice is `best`, or MIDSTATES PRODUCTS".into()),
            };
            for variant in variants {
                print_variant(&adapter, variant, seconds)?;
            }
        }
        Ok(())
    }

    fn variant(midstates: usize, products: usize) -> Result<Variant, &'static str> {
        let is_meant = |it: &Variant| it.width.heads() == midstates && it.multiply as usize == products;
        Variant::ALL.into_iter().find(is_meant).ok_or("there is no such variant")
    }

    fn print_backend(adapter: &Adapter, seconds: f64) -> Result<(), Box<dyn Error>> {
        let begin = Instant::now();
        let search = GpuSearch::open(adapter)?;
        let ready = begin.elapsed();
        let job = job(search.preferred_heads());
        let (per_s, _) = run(&search, &job, search.rated()[0].hashes_per_s * seconds)?;
        let mut latencies =
            (0..50).map(|_| measure::cancel_latency(&search, &job)).collect::<Result<Vec<_>, _>>()?;
        latencies.sort();
        println!(
            "{}: {:.4} GH/s by wall, ready after {ready:.2?}, cancelled after {:.2?} (median of 50; longest {:.2?})",
            search.name(),
            per_s / 1e9,
            latencies[25],
            latencies[49],
        );
        Ok(())
    }

    fn print_variant(adapter: &Adapter, variant: Variant, seconds: f64) -> Result<(), Box<dyn Error>> {
        let row = calibrate::table(adapter, &[variant], Duration::from_secs_f64(seconds))?.remove(0);
        let search = GpuSearch::with_variants(adapter, &[variant])?;
        let (_, per_cpu_s) = run(&search, &job(variant.width.heads()), row.by_wall * seconds)?;
        println!(
            "wgsl M={} products={}: {:9.4} GH/s by its clock, {:9.4} GH/s by wall, {} batches of {}, {:.2} MH per CPU-second",
            variant.width.heads(),
            variant.multiply as usize,
            row.by_device_clock.unwrap_or(f64::NAN) / 1e9,
            row.by_wall / 1e9,
            row.batches,
            row.batch_hashes,
            per_cpu_s / 1e6,
        );
        Ok(())
    }

    /// Hashes per second by the clock on the wall, and per second of CPU time.
    fn run(search: &GpuSearch, job: &Job, hashes: f64) -> Result<(f64, f64), Box<dyn Error>> {
        let nonces = (hashes / job.heads() as f64) as u64;
        let (wall, cpu) = (Instant::now(), cpu_s());
        let report = search.search(job, 0..=nonces, &AtomicBool::new(false))?;
        let hashes = report.hashes as f64;
        Ok((hashes / wall.elapsed().as_secs_f64(), hashes / (cpu_s() - cpu)))
    }

    /// A job that no hash hits.
    fn job(heads: usize) -> Job {
        let heads: Vec<[u8; 64]> = (0..heads).map(|head| [head as u8; 64]).collect();
        Job::new(&heads, [7; 52], [0; 32]).expect("a few heads")
    }

    /// CPU time of this process with all its threads.
    #[cfg(unix)]
    fn cpu_s() -> f64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }

    #[cfg(not(unix))]
    fn cpu_s() -> f64 {
        f64::NAN
    }
}
