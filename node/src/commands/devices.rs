//! `devices`: the GPUs of this machine, or why none can be used.

use anyhow::Result;

use crate::args::DevicesArgs;
use crate::exit::Exit;

/// Lists the GPUs.
#[cfg(not(feature = "gpu"))]
pub fn run(_: &DevicesArgs) -> Result<Exit> {
    Err(Exit::NoDevice.error(anyhow::anyhow!("this program was built without the feature `gpu`")))
}

/// Lists the GPUs.
#[cfg(feature = "gpu")]
pub fn run(args: &DevicesArgs) -> Result<Exit> {
    use crate::commands::output::say;

    let found = listing::Listing::here();
    if args.json {
        say!("{}", serde_json::to_string(&found)?)?;
    } else {
        found.print()?;
    }
    Ok(if found.problem.is_none() { Exit::Done } else { Exit::NoDevice })
}

#[cfg(feature = "gpu")]
mod listing {
    use anyhow::Result;
    use comfy_table::Table;
    use miner::gpu::adapters::{self, Description, SelectError};
    use serde::Serialize;

    use crate::commands::output::say;

    /// What there is, and what of it would be used.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Listing {
        pub(super) devices: Vec<Device>,
        pub(super) problem: Option<Problem>,
    }

    /// An adapter.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Device {
        name: String,
        kind: &'static str,
        pci_bus: Option<String>,
        pci_id: String,
        driver: String,
        driver_version: String,
        immediate_bytes_max: u32,
        workgroup_invocations_max: u32,
        dispatch_workgroups_max: u32,
        timestamps: bool,
        used_by_default: bool,
    }

    /// Why none would be used.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Problem {
        code: &'static str,
        text: String,
    }

    impl Listing {
        pub(super) fn here() -> Self {
            let all = adapters::adapters();
            let (used, problem) = match adapters::select(all.clone(), &[], false) {
                Ok(used) => (used, None),
                Err(error) => (Vec::new(), Some(Problem::new(&error))),
            };
            let is_used = |it: &Description| used.iter().any(|adapter| adapter.description == *it);
            let devices = all.iter().map(|it| Device::new(&it.description, is_used(&it.description)));
            Self { devices: devices.collect(), problem }
        }

        pub(super) fn print(&self) -> Result<()> {
            if !self.devices.is_empty() {
                let mut table = Table::new();
                table.load_style(comfy_table::presets::NOTHING);
                table.set_header([
                    "device",
                    "kind",
                    "PCI bus",
                    "driver",
                    "immediates",
                    "workgroup",
                    "used by default",
                ]);
                for device in &self.devices {
                    table.add_row([
                        device.name.clone(),
                        device.kind.to_owned(),
                        device.pci_bus.clone().unwrap_or_else(|| "-".into()),
                        format!("{} {}", device.driver, device.driver_version),
                        format!("{} B", device.immediate_bytes_max),
                        device.workgroup_invocations_max.to_string(),
                        if device.used_by_default { "yes" } else { "no" }.to_owned(),
                    ]);
                }
                say!("{}", table.trim_fmt())?;
            }
            if let Some(problem) = &self.problem {
                say!("no GPU can be used: {}", problem.text)?;
            }
            Ok(())
        }
    }

    impl Device {
        fn new(it: &Description, used_by_default: bool) -> Self {
            Self {
                name: it.name.clone(),
                kind: it.kind.name(),
                pci_bus: it.pci_bus.clone(),
                pci_id: format!("{:04x}:{:04x}", it.vendor, it.device),
                driver: it.driver.clone(),
                driver_version: it.driver_version.clone(),
                immediate_bytes_max: it.immediates_max,
                workgroup_invocations_max: it.workgroup_max,
                dispatch_workgroups_max: it.workgroups_max,
                timestamps: it.timestamps,
                used_by_default,
            }
        }
    }

    impl Problem {
        fn new(error: &SelectError) -> Self {
            let code = match error {
                SelectError::Unusable(unusable) => unusable.code(),
                SelectError::NoneCalled { .. } => "no-such-device",
            };
            Self { code, text: error.to_string() }
        }
    }
}
