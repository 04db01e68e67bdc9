//! The one error type of this crate.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::time::Duration;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cluster could not be started or told to do something.
#[derive(Debug)]
pub struct Error(Box<ErrorKind>);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A program or a right that the simulator needs is missing; `aurora-sim doctor` tells how to get it.
    #[error("{what} is missing: {hint}")]
    Missing {
        /// The thing that was looked for.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// The builder or the command was given something that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// No instance has this name.
    #[error("no instance is named {0:?}")]
    UnknownInstance(String),
    /// The operating system refused a file, a socket or a process.
    #[error("{action}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// A helper program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program's name.
        program: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A server did not do what it was told.
    #[error("{instance}: {source}")]
    Database {
        /// The instance that was asked.
        instance: String,
        /// The driver's error.
        source: tokio_postgres::Error,
    },
    /// A MySQL server did not do what it was told.
    #[error("{instance}: {source}")]
    MySql {
        /// The instance that was asked.
        instance: String,
        /// The driver's error.
        source: mysql_async::Error,
    },
    /// Something did not happen in time.
    #[error("{what} took longer than {after:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The deadline.
        after: Duration,
    },
    /// The cluster was shut down while the command ran.
    #[error("the cluster is shut down")]
    Stopped,
}

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        ErrorKind::Invalid(text.into()).into()
    }

    pub(crate) fn missing(what: impl Into<String>, hint: impl Into<String>) -> Self {
        ErrorKind::Missing { what: what.into(), hint: hint.into() }.into()
    }

    pub(crate) fn timeout(what: impl Into<String>, after: Duration) -> Self {
        ErrorKind::Timeout { what: what.into(), after }.into()
    }

    pub(crate) fn stopped() -> Self {
        ErrorKind::Stopped.into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)
    }
}

/// Says what was attempted when the system refuses.
pub(crate) trait Attempt<T> {
    fn attempt(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| ErrorKind::Io { action: action(), source }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn a_system_error_says_what_was_attempted() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))
            .attempt(|| "open x".to_owned())
            .unwrap_err();
        assert!(error.to_string().starts_with("open x: "), "{error}");
    }
}
