//! How the program ends: the one table of exit codes, and what to do next.

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
    /// A running node holds the files or the inbox.
    InUse = 4,
    /// The files or queues are another network's, or another version's.
    Foreign = 5,
    /// There is no such block, account or node.
    NotFound = 6,
    /// The node refuses the transaction.
    Refused = 7,
    /// No GPU can be used.
    NoDevice = 8,
    /// SQS cannot be used: no region, no credentials, or a right is missing.
    NoAccess = 9,
    /// SQS cannot be reached.
    Unreachable = 10,
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
        Error::new(Coded { exit: self, hint: None, error: error.into() })
    }

    /// An error with this exit code, and what to do about it.
    pub fn hinted(self, error: impl Into<Error>, hint: impl Into<String>) -> Error {
        Error::new(Coded { exit: self, hint: Some(hint.into()), error: error.into() })
    }
}

/// An error that knows its exit code and perhaps what to do about it; it says what its cause says.
#[derive(Debug)]
struct Coded {
    exit: Exit,
    hint: Option<String>,
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

/// Gives an error an exit code or a hint.
pub trait OrExit<T>: Sized {
    /// The same result, ending the program with `exit` where it is an error.
    fn or_exit(self, exit: Exit) -> Result<T>;

    /// The same result, with what to do next where it is an error.
    fn or_hint(self, hint: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T> {
        self.map_err(|error| exit.error(error))
    }

    fn or_hint(self, hint: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Error::new(Coded { exit: code(&error), hint: Some(hint()), error })
        })
    }
}

/// The exit code of an error: the outermost one that it was given.
pub fn code(error: &Error) -> Exit {
    error.downcast_ref::<Coded>().map_or(Exit::Failed, |coded| coded.exit)
}

/// What to do about an error, where that is known: the innermost hint, which knows most.
pub fn hint(error: &Error) -> Option<&str> {
    let coded = error.downcast_ref::<Coded>()?;
    hint(&coded.error).or(coded.hint.as_deref())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn the_outermost_code_and_the_innermost_hint_count() {
        let inner: Result<()> = Err(anyhow!("no such block"));
        let inner = inner.or_exit(Exit::NotFound).or_hint(|| "see `chain`".into());
        let error = inner.context("looking").or_hint(|| "ask somebody".into()).unwrap_err();
        assert_eq!(code(&error), Exit::NotFound);
        assert_eq!(hint(&error), Some("see `chain`"));
        assert_eq!(format!("{error:#}"), "looking: no such block");
        let error = Exit::Usage.error(error);
        assert_eq!(code(&error), Exit::Usage);
        assert_eq!(hint(&error), Some("see `chain`"));
        assert_eq!(format!("{error:#}"), "looking: no such block");
        assert_eq!((code(&anyhow!("x")), hint(&anyhow!("x"))), (Exit::Failed, None));
    }
}
