//! Measures every variant of the shader: `gpu_table [device [seconds per variant [all]]]`.
//!
//! Prints a line per variant with hashes per second by the card's clock, by the clock on the wall, and per second of
//! this process's CPU time, which is what counts where the "card" is a program. `all` tries the variants that are meant
//! for other cards, too.

#[cfg(feature = "gpu")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::{Duration, Instant};

    use miner::gpu::{adapters, calibrate, shader::Variant};

    let mut arguments = std::env::args().skip(1);
    let names: Vec<String> = arguments.next().into_iter().collect();
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let all = arguments.next().is_some();
    for adapter in adapters::select(adapters::adapters(), &names, false)? {
        let description = &adapter.description;
        println!("device {description}, {} {}", description.driver, description.driver_version);
        let variants = if all { Variant::ALL.to_vec() } else { calibrate::candidates(description) };
        for variant in variants {
            let (wall, cpu) = (Instant::now(), cpu_s());
            let row = calibrate::table(&adapter, &[variant], Duration::from_secs_f64(seconds))?.remove(0);
            let cpu_share = (cpu_s() - cpu) / wall.elapsed().as_secs_f64();
            println!(
                "wgsl {:<28} {:>9.4} GH/s by its clock  {:>9.4} GH/s by wall  {:>4} batches of {:>10}  {:>8.2} MH per CPU-second",
                variant.to_string(),
                row.by_device_clock.unwrap_or(f64::NAN) / 1e9,
                row.by_wall / 1e9,
                row.batches,
                row.batch_hashes,
                row.by_wall / cpu_share / 1e6,
            );
        }
    }
    Ok(())
}

/// CPU time of this process with all its threads.
#[cfg(all(feature = "gpu", unix))]
fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(all(feature = "gpu", not(unix)))]
fn cpu_s() -> f64 {
    f64::NAN
}

#[cfg(not(feature = "gpu"))]
fn main() {}
