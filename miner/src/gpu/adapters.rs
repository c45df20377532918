//! Which cards there are, and which of them are meant.
//! Invariant: nothing that renders in software is taken for a card unless the caller asks for it.

use std::fmt;
use std::task::{Context, Poll, Waker};

use crate::gpu::diagnosis::{self, Unusable};
use crate::gpu::shader::Binding;

/// A card, or what passes for one, that a driver offers.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// What the driver says of it.
    pub description: Description,
    inner: wgpu::Adapter,
}

/// What a driver says of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The adapter's name, as "NVIDIA L4".
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where it sits, as "0000:01:00.0": what tells two cards of one name apart. None where it sits nowhere.
    pub pci_bus: Option<String>,
    /// PCI's number of who made it.
    pub vendor: u32,
    /// The maker's number of the model.
    pub device: u32,
    /// The driver's name.
    pub driver: String,
    /// The driver's version.
    pub driver_version: String,
    /// Bytes of a job that fit into a command.
    pub immediates_max: u32,
    /// Invocations of a workgroup.
    pub workgroup_max: u32,
    /// Workgroups of a dispatch, in one direction.
    pub workgroups_max: u32,
    /// Whether it can tell how long it computed.
    pub timestamps: bool,
}

/// What an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A card of its own.
    Discrete,
    /// Part of the CPU's chip.
    Integrated,
    /// A share of a card that a hypervisor gives out.
    Virtual,
    /// A program on the CPU: right, and slower than the CPU backend.
    Software,
    /// The driver does not say.
    Unknown,
}

/// Why no adapter is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is none that could be.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// None of those that there are is the one asked for.
    #[error("no GPU is called '{wanted}'; there are: {}", .names.join(", "))]
    NoneCalled {
        /// What was asked for.
        wanted: String,
        /// What there is.
        names: Vec<String>,
    },
}

/// Everything that Vulkan drivers offer on this machine, software included.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN;
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = ready(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    adapters.into_iter().map(|inner| Adapter { description: describe(&inner), inner }).collect()
}

/// Those of `adapters` that are meant.
///
/// With names, each adapter whose bus is given, or whose name contains what is given, in upper or lower case; it may
/// be software if that is what was named. Without, all cards of their own; if there is none, the first other adapter
/// that is not software; if there is none and `allow_software` is true, the first.
pub fn select(
    adapters: Vec<Adapter>,
    names: &[String],
    allow_software: bool,
) -> Result<Vec<Adapter>, SelectError> {
    if adapters.is_empty() {
        return Err(diagnosis::here(&[]).into());
    }
    if !names.is_empty() {
        return named(&adapters, names);
    }
    let of = |kinds: &[Kind]| -> Vec<Adapter> {
        adapters.iter().filter(|adapter| kinds.contains(&adapter.description.kind)).cloned().collect()
    };
    let discrete = of(&[Kind::Discrete]);
    if !discrete.is_empty() {
        return Ok(discrete);
    }
    let mut first = of(&[Kind::Integrated, Kind::Virtual, Kind::Unknown]);
    if first.is_empty() && allow_software {
        first = adapters.clone();
    }
    first.truncate(1);
    if first.is_empty() {
        let software: Vec<String> = adapters.iter().map(|adapter| adapter.description.name.clone()).collect();
        return Err(diagnosis::here(&software).into());
    }
    Ok(first)
}

fn named(adapters: &[Adapter], names: &[String]) -> Result<Vec<Adapter>, SelectError> {
    let mut chosen = vec![false; adapters.len()];
    for wanted in names {
        let mut any = false;
        for (adapter, chosen) in adapters.iter().zip(&mut chosen) {
            if adapter.description.is_called(wanted) {
                (*chosen, any) = (true, true);
            }
        }
        if !any {
            let names = adapters.iter().map(|adapter| adapter.description.to_string()).collect();
            return Err(SelectError::NoneCalled { wanted: wanted.clone(), names });
        }
    }
    Ok(adapters.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(it, _)| it.clone()).collect())
}

impl Description {
    /// Whether `--device` with this value means the adapter.
    pub fn is_called(&self, wanted: &str) -> bool {
        let wanted = wanted.trim().to_lowercase();
        let at_bus = self.pci_bus.as_deref().is_some_and(|bus| {
            let bus = bus.to_lowercase();
            // nvidia-smi gives the domain eight digits, and lspci leaves it out.
            bus.trim_start_matches('0') == wanted.trim_start_matches('0')
                || bus.split_once(':').is_some_and(|(_, bus)| bus == wanted)
        });
        !wanted.is_empty() && (at_bus || self.name.to_lowercase().contains(&wanted))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.pci_bus.as_ref().map_or(Ok(()), |bus| write!(f, " at {bus}"))
    }
}

impl Kind {
    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Unknown => "unknown",
        }
    }
}

/// Opens an adapter, and says where a job of `job_bytes` goes on it.
pub(super) fn open(
    adapter: &Adapter,
    job_bytes: u32,
) -> Result<(wgpu::Device, wgpu::Queue, Binding), String> {
    let available = adapter.inner.features();
    let fits =
        available.contains(wgpu::Features::IMMEDIATES) && job_bytes <= adapter.description.immediates_max;
    let binding = if fits { Binding::Immediates } else { Binding::Uniform };
    let mut required_features = available & wgpu::Features::TIMESTAMP_QUERY;
    let mut required_limits = wgpu::Limits::downlevel_defaults().using_resolution(adapter.inner.limits());
    if fits {
        required_features |= wgpu::Features::IMMEDIATES;
        required_limits.max_immediate_size = job_bytes;
    }
    let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) =
        ready(adapter.inner.request_device(&descriptor)).map_err(|error| error.to_string())?;
    Ok((device, queue, binding))
}

fn describe(adapter: &wgpu::Adapter) -> Description {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
        wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
        wgpu::DeviceType::VirtualGpu => Kind::Virtual,
        wgpu::DeviceType::Cpu => Kind::Software,
        wgpu::DeviceType::Other => Kind::Unknown,
    };
    let has_bus = kind != Kind::Software && !info.device_pci_bus_id.is_empty();
    Description {
        name: info.name,
        kind,
        pci_bus: has_bus.then_some(info.device_pci_bus_id),
        vendor: info.vendor,
        device: info.device,
        driver: info.driver,
        driver_version: info.driver_info,
        immediates_max: limits.max_immediate_size,
        workgroup_max: limits.max_compute_invocations_per_workgroup,
        workgroups_max: limits.max_compute_workgroups_per_dimension,
        timestamps: adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY),
    }
}

/// The value of a future that is ready when it is made, as all are outside browsers.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("outside browsers, wgpu answers at once"),
    }
}
