//! Inputs that are kept in the repository: right ones, broken ones and almost nothing, some of each for every target.
//! Invariant: a file's name is the beginning of its content's SHA-256.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where the corpus of a target lies.
pub fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs kept for a target, in the order of their names.
pub fn load(target: &str) -> Result<Vec<Vec<u8>>> {
    let directory = directory(target);
    let reading = || format!("reading the corpus {}", directory.display());
    let entries = fs::read_dir(&directory).with_context(reading)?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>().with_context(reading)?;
    paths.sort();
    paths.iter().map(|path| fs::read(path).with_context(reading)).collect()
}
