//! From a backend's name to a backend.
//! Invariant: what [`Backend::open`] hands out works on this machine.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use crate::cpu::CpuSearch;
use crate::cpu::calibrate::SelfTestError;
use crate::cpu::duty::CpuLimit;
use crate::cpu::kernel::Kernel;
use crate::search::NonceSearch;

/// What may search, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The fastest that this machine has.
    #[default]
    Auto,
    /// The CPU's vector or SHA units.
    Cpu,
}

impl Backend {
    /// Every backend that can be asked for.
    pub const ALL: &[Self] = &[Self::Auto, Self::Cpu];

    /// The name that [`Backend::from_str`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
        }
    }

    /// Makes the backend ready to search.
    pub fn open(self, options: &Options) -> Result<Box<dyn NonceSearch>, OpenError> {
        match self {
            Self::Auto | Self::Cpu => Ok(Box::new(options.open_cpu()?)),
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
}

impl Options {
    /// Opens the CPU backend under its own type, which tells more than [`NonceSearch`] does.
    pub fn open_cpu(&self) -> Result<CpuSearch, OpenError> {
        Ok(CpuSearch::open(self.threads, self.kernel, self.cpu_limit)?)
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
