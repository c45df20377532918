//! From a backend's name to a backend.
//! Invariant: what [`Backend::open`] hands out works on this machine.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
#[cfg(feature = "gpu")]
use std::thread;

use crate::cpu::CpuSearch;
use crate::cpu::calibrate::SelfTestError;
use crate::cpu::duty::CpuLimit;
use crate::cpu::kernel::Kernel;
#[cfg(feature = "gpu")]
use crate::fallback::Fallback;
#[cfg(feature = "gpu")]
use crate::gpu::adapters::{self, Adapter, Kind};
#[cfg(feature = "gpu")]
use crate::gpu::{GpuError, GpuSearch, diagnosis};
#[cfg(feature = "gpu")]
use crate::hybrid::Hybrid;
use crate::search::NonceSearch;

/// What may search, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The fastest that this machine has: its graphics cards, or else its CPU, which also takes over when a card fails.
    #[default]
    Auto,
    /// The CPU's vector or SHA units.
    Cpu,
    /// Graphics cards: all of them, or those that the options name.
    Gpu,
    /// Graphics cards and the CPU together.
    Hybrid,
}

impl Backend {
    /// Every backend that can be asked for.
    pub const ALL: &[Self] = &[Self::Auto, Self::Cpu, Self::Gpu, Self::Hybrid];

    /// The name that [`Backend::from_str`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Hybrid => "hybrid",
        }
    }

    /// Makes the backend ready to search.
    pub fn open(self, options: &Options) -> Result<Box<dyn NonceSearch>, OpenError> {
        match self {
            Self::Auto => options.open_auto(),
            Self::Cpu => Ok(Box::new(options.open_cpu()?)),
            Self::Gpu => options.open_cards(None),
            Self::Hybrid => options.open_cards(Some(options.open_cpu()?)),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        let known = Self::ALL.iter().copied().find(|backend| backend.name() == name);
        known.ok_or_else(|| UnknownBackend(name.to_owned()))
    }
}

/// How to open a backend; the default suits a machine that has nothing else to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads that the CPU searches with; as many as the machine has if none is given.
    pub threads: Option<NonZeroUsize>,
    /// The CPU's kernel; the fastest by calibration if none is given.
    pub kernel: Option<Kernel>,
    /// The share of each CPU thread's time that a search may use.
    pub cpu_limit: CpuLimit,
    /// Cards by PCI bus or by a part of their name; if none is given, all that are cards of their own.
    pub devices: Vec<String>,
    /// Whether a program that poses as a card will do where there is no card and none is named.
    pub allow_software_gpu: bool,
}

impl Options {
    /// Opens the CPU backend under its own type, which tells more than [`NonceSearch`] does.
    pub fn open_cpu(&self) -> Result<CpuSearch, OpenError> {
        Ok(CpuSearch::open(self.threads, self.kernel, self.cpu_limit)?)
    }
}

#[cfg(feature = "gpu")]
impl Options {
    /// Opens the cards that are meant, each under its own type.
    pub fn open_gpus(&self) -> Result<Vec<GpuSearch>, OpenError> {
        let adapters = adapters::select(adapters::adapters(), &self.devices, self.allow_software_gpu)
            .map_err(GpuError::from)?;
        open_all(&adapters)
    }

    fn open_cards(&self, cpu: Option<CpuSearch>) -> Result<Box<dyn NonceSearch>, OpenError> {
        Ok(together(self.open_gpus()?, cpu))
    }

    fn open_auto(&self) -> Result<Box<dyn NonceSearch>, OpenError> {
        let asked_for = !self.devices.is_empty() || self.allow_software_gpu;
        // Loading drivers takes a while, and some write to standard error that there is nothing to drive.
        if !asked_for && !diagnosis::may_have_card() {
            tracing::debug!("the search is on the CPU: the system knows of no card");
            return Ok(Box::new(self.open_cpu()?));
        }
        let gpus = match self.open_gpus() {
            Ok(gpus) => gpus,
            Err(error) if asked_for => return Err(error),
            Err(OpenError::Gpu(GpuError::Select(reason))) => {
                tracing::debug!(%reason, "the search is on the CPU");
                return Ok(Box::new(self.open_cpu()?));
            }
            Err(error) => {
                tracing::error!(%error, "the search is on the CPU");
                return Ok(Box::new(self.open_cpu()?));
            }
        };
        let cpu = self.open_cpu()?;
        // A card of its own is faster than any CPU; what shares the CPU's chip or a card may not be.
        let is_card = |gpu: &GpuSearch| gpu.description().kind == Kind::Discrete;
        let gpus_per_s: f64 = gpus.iter().map(|gpu| gpu.rated()[0].hashes_per_s).sum();
        let cpu_per_s = cpu.calibration().hashes_per_s * cpu.threads() as f64;
        if !asked_for && !gpus.iter().any(is_card) && gpus_per_s < cpu_per_s {
            return Ok(Box::new(cpu));
        }
        Ok(Box::new(Fallback::new(together(gpus, None), cpu)))
    }
}

#[cfg(not(feature = "gpu"))]
impl Options {
    fn open_cards(&self, _: Option<CpuSearch>) -> Result<Box<dyn NonceSearch>, OpenError> {
        Err(OpenError::WithoutGpu)
    }

    fn open_auto(&self) -> Result<Box<dyn NonceSearch>, OpenError> {
        Ok(Box::new(self.open_cpu()?))
    }
}

/// Opens cards side by side, because each takes a second or so.
#[cfg(feature = "gpu")]
fn open_all(adapters: &[Adapter]) -> Result<Vec<GpuSearch>, OpenError> {
    let opened: Result<Vec<GpuSearch>, GpuError> = thread::scope(|scope| {
        let threads: Vec<_> =
            adapters.iter().map(|adapter| scope.spawn(|| GpuSearch::open(adapter))).collect();
        threads.into_iter().map(|thread| thread.join().expect("opening reports failures")).collect()
    });
    Ok(opened?)
}

#[cfg(feature = "gpu")]
fn together(mut gpus: Vec<GpuSearch>, cpu: Option<CpuSearch>) -> Box<dyn NonceSearch> {
    match gpus.pop() {
        Some(only) if gpus.is_empty() && cpu.is_none() => Box::new(only),
        last => {
            gpus.extend(last);
            Box::new(Hybrid::new(gpus, cpu))
        }
    }
}

/// A name that no backend has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no backend is named '{0}'; there are {names}", names = Names)]
pub struct UnknownBackend(pub String);

/// Why a backend cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The kernel asked for does not compute SHA-256 here.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// No card can be used.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The program cannot use cards at all.
    #[error("this program is built without GPU support (cargo feature `gpu`)")]
    WithoutGpu,
}

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, backend) in Backend::ALL.iter().enumerate() {
            write!(f, "{}{backend}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
