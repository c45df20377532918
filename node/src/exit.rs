//! How the program ends: the one table of exit codes.

use std::fmt;
use std::process::ExitCode;

use anyhow::{Error, Result};

/// Why the program ends, in the one byte that a shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// Something else than the rest of this list.
    Failed = 1,
    /// The command line or a settings file is wrong.
    Usage = 2,
    /// `verify` found a broken rule.
    Broken = 3,
    /// A running node holds the files.
    InUse = 4,
    /// The files are another network's, or another version's.
    Foreign = 5,
    /// There is no such block, account or node.
    NotFound = 6,
    /// The node refuses the transaction.
    Refused = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The variants are the codes.
        Self::from(exit as u8)
    }
}

impl Exit {
    /// An error with this exit code.
    pub fn error(self, error: impl Into<Error>) -> Error {
        Error::new(Coded { exit: self, error: error.into() })
    }
}

/// An error that knows its exit code; it says what its cause says.
#[derive(Debug)]
struct Coded {
    exit: Exit,
    error: Error,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Coded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.chain().nth(1)
    }
}

/// Gives an error an exit code.
pub trait OrExit<T> {
    /// The same result, ending the program with `exit` where it is an error.
    fn or_exit(self, exit: Exit) -> Result<T>;
}

impl<T, E: Into<Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T> {
        self.map_err(|error| exit.error(error))
    }
}

/// The exit code of an error: the outermost one that it was given.
pub fn code(error: &Error) -> Exit {
    error.downcast_ref::<Coded>().map_or(Exit::Failed, |coded| coded.exit)
}
