//! A target as libFuzzer drives it: `QUARRY_TARGET` names it. README.md has the commands.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quarry_fuzz::drive::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("QUARRY_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).expect("QUARRY_TARGET names a target")
});

fuzz_target!(|bytes: &[u8]| {
    let _taken = (TARGET.run)(bytes);
});
