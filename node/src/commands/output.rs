//! What commands print. Invariant: a reader that goes away, as in `node chain | head`, ends a command quietly.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

use anyhow::{Context as _, Result};

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub struct Closed;

/// Prints a line, as `println!` does, but answers with a [`Result`] where that would panic.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::commands::output::line(format_args!($($arguments)*)) };
}
pub(crate) use say;

/// Prints a line.
pub fn line(text: fmt::Arguments<'_>) -> Result<()> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    written(output.write_all(bytes).and_then(|()| output.flush()))
}

fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        result => result.context("writing to standard output"),
    }
}
