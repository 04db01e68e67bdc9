//! What an adapter reports, before the core gives it a meaning.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::error::{DriverClass, Error, ErrorKind};
use crate::registry::EndReason;
use crate::resolver::LookupError;

/// What can go wrong between the wrapper and one server; `E` is the error of the driver.
///
/// Applications see it only in a chain of sources: a function of the adapter finds the driver's own error in whatever
/// the wrapper returns.
pub struct DriverError<E>(Box<Inner<E>>);

struct Inner<E> {
    cause: Cause<E>,
    message: String,
}

/// What a [`DriverError`] is.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "adapters look at all of it; a further case has to be seen there"
)]
pub enum Cause<E> {
    /// The name of a host has led to no address.
    Lookup(LookupError),
    /// No socket to a host: no address answers; of several addresses the last.
    Dial(io::Error),
    /// TLS, start-up or authentication failed.
    Connect(E),
    /// A statement failed on an established connection.
    Statement(E),
    /// The connection is gone.
    Ended {
        /// Why, as far as anybody saw it.
        reason: EndReason,
        /// What the driver said, if it was asked at all.
        source: Option<E>,
    },
}

impl<E> DriverError<E> {
    /// The host name `name` has led to no address.
    pub fn lookup(name: &str, source: LookupError) -> Self {
        let message = match &source {
            LookupError::NoSuchName => format!("the name `{name}` does not exist, or has no address"),
            LookupError::Failed(reason) => format!("the name `{name}` could not be looked up: {reason}"),
        };
        Self::new(Cause::Lookup(source), message)
    }

    /// No socket to `target`.
    pub fn dial(target: &str, source: io::Error) -> Self {
        let message = format!("cannot reach {target}: {source}");
        Self::new(Cause::Dial(source), message)
    }

    /// TLS, start-up or authentication failed; `message` says so in words.
    pub fn connect(message: String, source: E) -> Self {
        Self::new(Cause::Connect(source), message)
    }

    /// A statement failed; `message` says so in words.
    pub fn statement(message: String, source: E) -> Self {
        Self::new(Cause::Statement(source), message)
    }

    /// The connection is gone.
    pub fn ended(reason: EndReason, source: Option<E>) -> Self {
        let message = format!("the connection has ended: {}", reason.message);
        Self::new(Cause::Ended { reason, source }, message)
    }

    fn new(cause: Cause<E>, message: String) -> Self {
        Self(Box::new(Inner { cause, message }))
    }

    /// What it is.
    pub fn cause(&self) -> &Cause<E> {
        &self.0.cause
    }
}

impl<E: StdError + Send + Sync + 'static> DriverError<E> {
    /// The wrapper's error for it, of the class and with the server's code that the adapter found.
    pub fn into_error(self, class: DriverClass, sqlstate: Option<&str>) -> Error {
        let is_aborted = matches!(&self.0.cause, Cause::Ended { reason, .. } if reason.aborted);
        let message = self.0.message.clone();
        let mut error = match self.0.cause {
            // Straight to the driver's error: the message already says what is in between.
            Cause::Connect(source) | Cause::Statement(source) => {
                let kind =
                    if class == DriverClass::Login { ErrorKind::Login } else { ErrorKind::Driver(class) };
                Error::new(kind, self.0.message).with_source(source)
            }
            Cause::Lookup(_) | Cause::Dial(_) | Cause::Ended { .. } => Error::driver(class, self),
        };
        if let Some(code) = sqlstate {
            error = error.with_sqlstate(code);
        }
        if is_aborted {
            // The wrapper gave the connection up: nothing the server or the driver said.
            return Error::new(ErrorKind::HostUnavailable, message).with_source(error);
        }
        error
    }
}

impl<E: fmt::Debug> fmt::Debug for DriverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cause.fmt(f)
    }
}

impl<E> fmt::Display for DriverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl<E: StdError + 'static> StdError for DriverError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.cause {
            Cause::Lookup(source) => Some(source),
            Cause::Dial(source) => Some(source),
            Cause::Connect(source) | Cause::Statement(source) => Some(source),
            Cause::Ended { source, .. } => source.as_ref().map(|source| source as _),
        }
    }
}
