//! Notes the revision that the program is built from, for the records of benchmarks.

use std::process::Command;

fn main() {
    let run = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let revision = run(&["describe", "--always", "--dirty", "--abbrev=12"]);
    println!("cargo:rustc-env=QUARRY_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    // The revision changes with the head and with what is staged.
    for name in ["HEAD", "index"] {
        if let Some(path) = run(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}
