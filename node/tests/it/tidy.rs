//! Holds the source tree to the rules that no compiler checks: see ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose `lib.rs` lists the modules so that each imports only from those above it.
const LAYERED: &[&str] = &["node/core", "node/sim", "node/fuzz", "node"];
const SOURCES: &[&str] = &["miner/src", "node/src", "node/core/src", "node/sim/src", "node/fuzz/src"];
const LINES_MAX: usize = 500;

#[test]
fn modules_import_only_from_modules_above_them() {
    for member in LAYERED {
        let source = root().join(member).join("src");
        let modules = modules(&fs::read_to_string(source.join("lib.rs")).unwrap());
        assert!(5 < modules.len(), "{member}: its modules are found");
        for (position, module) in modules.iter().enumerate() {
            let mut files = files(&source.join(module));
            files.push(source.join(format!("{module}.rs")));
            for file in files {
                let text = fs::read_to_string(&file).unwrap();
                for imported in imports(&text) {
                    let above = modules[..=position].contains(&imported);
                    assert!(above, "{} imports crate::{imported}, which is not above it", file.display());
                }
            }
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for source in SOURCES {
        for file in files(&root().join(source)) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", file.display());
            assert!(text.starts_with("//!"), "{} has no module documentation", file.display());
        }
    }
}

#[test]
fn only_the_kernels_are_unsafe() {
    for source in SOURCES {
        for file in files(&root().join(source)) {
            let text = fs::read_to_string(&file).unwrap();
            let may = file.starts_with(root().join("miner/src/cpu"));
            assert!(may || !text.contains("unsafe {"), "{} is unsafe", file.display());
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn modules(lib: &str) -> Vec<String> {
    let names = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(ToOwned::to_owned).collect()
}

/// The modules that a file names as `crate::NAME` outside of its tests and comments.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let names = text.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
