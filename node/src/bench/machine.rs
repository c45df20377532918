//! What machine a measurement was made on.

use std::time::Duration;

use miner::cpu::kernel::Kernel;
use serde::{Deserialize, Serialize};

/// What machine a measurement was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The CPU's name.
    pub cpu: String,
    /// How many threads it runs at once.
    pub threads: usize,
    /// The instruction set.
    pub arch: String,
    /// The operating system.
    pub os: String,
    /// The extensions of the instruction set that matter here and that the CPU has.
    pub features: Vec<String>,
    /// The kernels that run on it.
    pub kernels: Vec<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Self {
            cpu: cpu_name().unwrap_or_else(|| "unknown".to_owned()),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            arch: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            features: features(),
            kernels: Kernel::available().iter().map(ToString::to_string).collect(),
        }
    }
}

/// The CPU time that this process has used.
pub fn process_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    let known = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
        ("sha", std::is_x86_feature_detected!("sha")),
    ];
    known.iter().filter(|(_, has)| *has).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<String> {
    Vec::new()
}
