//! What burstable EC2 instances may compute for their price.
//! Invariant: figures as published by AWS; an instance that is not of this kind is not in the table.

/// An instance type whose price covers a share of its CPU time, the rest being lent against credits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burstable {
    /// The share of each vCPU that never uses up credits.
    pub baseline_percent: f64,
    /// vCPUs of the instance.
    pub vcpus: u32,
    /// What an hour of one vCPU beyond the credits costs in unlimited mode, in US dollars (Linux).
    pub surplus_usd_per_vcpu_hour: f64,
    /// Whether the type starts in unlimited mode unless told otherwise.
    pub starts_unlimited: bool,
}

impl Burstable {
    /// The entry of an instance type such as `t3.small`; none if it is not burstable, or not known.
    pub fn of(instance_type: &str) -> Option<Self> {
        let (family, size) = instance_type.split_once('.')?;
        let usd = match family {
            "t2" | "t3" | "t3a" => 0.05,
            "t4g" => 0.04,
            _ => return None,
        };
        let (baseline_percent, vcpus) = match (family, size) {
            ("t2", "nano") => (5.0, 1),
            ("t2", "micro") => (10.0, 1),
            ("t2", "small") => (20.0, 1),
            ("t2", "medium") => (20.0, 2),
            ("t2", "large") => (30.0, 2),
            ("t2", "xlarge") => (22.5, 4),
            ("t2", "2xlarge") => (17.0, 8),
            (_, "nano") => (5.0, 2),
            (_, "micro") => (10.0, 2),
            (_, "small" | "medium") => (20.0, 2),
            (_, "large") => (30.0, 2),
            (_, "xlarge") => (40.0, 4),
            (_, "2xlarge") => (40.0, 8),
            _ => return None,
        };
        let starts_unlimited = family != "t2";
        Some(Self { baseline_percent, vcpus, surplus_usd_per_vcpu_hour: usd, starts_unlimited })
    }

    /// What an hour at `percent` of all vCPUs costs on top of the instance in unlimited mode, once credits are used up.
    pub fn surplus_usd_per_hour(&self, percent: f64) -> f64 {
        let excess = (percent - self.baseline_percent).max(0.0) / 100.0;
        excess * f64::from(self.vcpus) * self.surplus_usd_per_vcpu_hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_types() {
        for (name, baseline, surplus) in [
            ("t3.small", 20.0, 0.08),
            ("t3a.nano", 5.0, 0.095),
            ("t4g.2xlarge", 40.0, 0.192),
            ("t2.xlarge", 22.5, 0.155),
        ] {
            let burstable = Burstable::of(name).unwrap();
            assert_eq!(burstable.baseline_percent, baseline, "{name}");
            assert!((burstable.surplus_usd_per_hour(100.0) - surplus).abs() < 1e-9, "{name}");
            assert_eq!(burstable.surplus_usd_per_hour(baseline), 0.0);
            assert_eq!(burstable.starts_unlimited, !name.starts_with("t2."));
        }
    }

    #[test]
    fn other_types_have_no_entry() {
        for name in ["c7i.large", "t3", "t3.", "t3.huge", "", "t3a.24xlarge", "xt3.small"] {
            assert_eq!(Burstable::of(name), None, "{name}");
        }
    }
}
