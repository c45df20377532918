//! The shader's source and what may be chosen about it.
//! Invariant: every source that can be asked for passes naga's validation, which a plain test checks without a driver.

use std::fmt;

/// How the shader is compiled; each variant finds the same hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// How many heads share one message schedule.
    pub width: Width,
    /// Which additions are products.
    pub multiply: Multiply,
}

/// The number of heads that one invocation hashes per nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 1.
    One,
    /// 2.
    Two,
    /// 4.
    Four,
}

/// Which additions are written as `x * one + y`, with a one that the compiler does not know.
///
/// NVIDIA's cards have a pipe for products beside the one for logic, and hashing leaves it idle. Anywhere else a
/// product only costs more than a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Multiply {
    /// None.
    No,
    /// Those of the rounds.
    Rounds,
    /// Those of the rounds and of the message schedule.
    All,
}

/// Where the shader reads its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// In the command itself.
    Immediates,
    /// In a uniform buffer.
    Uniform,
}

impl Variant {
    /// All there are, the plainest first.
    pub const ALL: [Self; 9] = {
        let mut all = [Self { width: Width::One, multiply: Multiply::No }; 9];
        let mut i = 0;
        while i < all.len() {
            all[i] = Self { width: Width::ALL[i % 3], multiply: Multiply::ALL[i / 3] };
            i += 1;
        }
        all
    };

    /// The name of the shader's override for [`Variant::multiply`], and its value.
    pub(super) fn constants(self) -> [(&'static str, f64); 1] {
        [("MULTIPLY", f64::from(self.multiply as u8))]
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = self.width.heads();
        let multiply = ["", ", products in rounds", ", products"][self.multiply as usize];
        write!(f, "{heads} {}{multiply}", if heads == 1 { "midstate" } else { "midstates" })
    }
}

impl Width {
    /// All there are, ascending.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Four];

    /// As a number.
    pub fn heads(self) -> usize {
        1 << self as u32
    }
}

impl Multiply {
    /// All there are, the plainest first.
    pub const ALL: [Self; 3] = [Self::No, Self::Rounds, Self::All];
}

/// The whole source, in WGSL.
pub(super) fn source(width: Width, binding: Binding) -> String {
    let word = match width {
        Width::One => include_str!("../../../shaders/heads1.wgsl"),
        Width::Two => include_str!("../../../shaders/heads2.wgsl"),
        Width::Four => include_str!("../../../shaders/heads4.wgsl"),
    };
    let job = match binding {
        Binding::Immediates => include_str!("../../../shaders/immediates.wgsl"),
        Binding::Uniform => include_str!("../../../shaders/uniform.wgsl"),
    };
    [include_str!("../../../shaders/search.wgsl"), word, job].concat()
}

#[cfg(test)]
mod tests {
    use wgpu::naga;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;
    use crate::gpu::layout;

    #[test]
    fn sources_are_valid() {
        for width in Width::ALL {
            for (binding, capabilities) in
                [(Binding::Immediates, Capabilities::IMMEDIATES), (Binding::Uniform, Capabilities::empty())]
            {
                let source = source(width, binding);
                let module = naga::front::wgsl::parse_str(&source)
                    .unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
                let info = Validator::new(ValidationFlags::all(), capabilities)
                    .validate(&module)
                    .unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
                for variant in Variant::ALL {
                    let constants = variant.constants().map(|(name, value)| (name.to_owned(), value));
                    let overridden = naga::back::pipeline_constants::process_overrides(
                        &module,
                        &info,
                        Some((naga::ShaderStage::Compute, "search")),
                        &constants.into_iter().collect(),
                    );
                    assert!(overridden.is_ok(), "{variant}: {overridden:?}");
                }
            }
        }
    }

    #[test]
    fn the_job_is_laid_out_as_the_host_writes_it() {
        for width in Width::ALL {
            let module = naga::front::wgsl::parse_str(&source(width, Binding::Uniform)).unwrap();
            let (_, job) = module.types.iter().find(|(_, it)| it.name.as_deref() == Some("Job")).unwrap();
            let naga::TypeInner::Struct { members, .. } = &job.inner else { panic!("Job is a struct") };
            let offset = |name: &str| {
                members.iter().find(|member| member.name.as_deref() == Some(name)).unwrap().offset as usize
                    / 4
            };
            assert_eq!(offset("head"), layout::SCALARS - 1);
            assert_eq!(offset("a"), layout::states_at(width));
            assert_eq!(offset("feed1") + width.heads(), layout::words(width));
        }
    }

    #[test]
    fn variants_are_all_different() {
        let names: std::collections::BTreeSet<_> = Variant::ALL.iter().map(Variant::to_string).collect();
        assert_eq!(names.len(), Variant::ALL.len());
        assert_eq!(Variant::ALL[0].to_string(), "1 midstate");
        assert_eq!(Variant::ALL[8].to_string(), "4 midstates, products");
    }
}
