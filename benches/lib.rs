//! Shared inputs of the benchmarks.

pub mod chain;

/// `full` where this is a measurement, as `cargo bench` says; else `small`, for a run that only has to pass.
pub fn size(full: usize, small: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") { full } else { small }
}
