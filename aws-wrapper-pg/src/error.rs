//! The adapter's own error, before the core gives it a meaning.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, Error, ErrorKind};
use aws_wrapper_core::registry::{EndReason, Slot};
use tokio::time::timeout;

use crate::classify::{classify, sqlstate};

/// What can go wrong between the wrapper and one server.
///
/// [`pg_error`] finds the driver's own error in whatever the wrapper returns; this type is what stands between the two.
pub struct DriverError(pub(crate) Box<Cause>);

/// What a [`DriverError`] is.
#[derive(Debug)]
pub(crate) enum Cause {
    /// No socket to `target`: the name does not resolve, or no address answers; of several addresses the last.
    Dial { target: String, source: io::Error },
    /// TLS, start-up or authentication failed.
    Connect(tokio_postgres::Error),
    /// A statement failed on an established connection.
    Statement(tokio_postgres::Error),
    /// The connection is gone; why, as far as anybody saw it, and what the driver said, if it was asked at all.
    Ended { reason: EndReason, source: Option<tokio_postgres::Error> },
}

impl DriverError {
    pub(crate) fn dial(target: String, source: io::Error) -> Self {
        Self(Box::new(Cause::Dial { target, source }))
    }

    pub(crate) fn connect(error: tokio_postgres::Error) -> Self {
        Self(Box::new(Cause::Connect(error)))
    }

    pub(crate) fn statement(error: tokio_postgres::Error) -> Self {
        Self(Box::new(Cause::Statement(error)))
    }

    pub(crate) fn ended(reason: EndReason, source: Option<tokio_postgres::Error>) -> Self {
        Self(Box::new(Cause::Ended { reason, source }))
    }

    /// The driver's error in words: its own text for what the server said is only "db error".
    pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
        match (error.as_db_error(), error.source()) {
            (Some(db), _) => db.to_string(),
            (None, Some(cause)) => format!("{error}: {cause}"),
            (None, None) => error.to_string(),
        }
    }
}

impl fmt::Debug for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Dial { target, source } => write!(f, "cannot reach {target}: {source}"),
            Cause::Connect(source) | Cause::Statement(source) => f.write_str(&Self::describe(source)),
            Cause::Ended { reason, .. } => write!(f, "the connection has ended: {}", reason.message),
        }
    }
}

impl StdError for DriverError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Cause::Dial { source, .. } => Some(source),
            Cause::Connect(source) | Cause::Statement(source) => Some(source),
            Cause::Ended { source, .. } => source.as_ref().map(|source| source as _),
        }
    }
}

/// The driver's own error behind one of the wrapper's.
pub fn pg_error(error: &Error) -> Option<&tokio_postgres::Error> {
    error.find_source()
}

/// The wrapper's error for one of the adapter's.
pub(crate) fn into_error(error: DriverError) -> Error {
    let class = classify(&error);
    let code = sqlstate(&error).map(str::to_owned);
    let message = error.to_string();
    let (wrapped, aborted) = match *error.0 {
        // Straight to the driver's error: the message already says what is in between.
        Cause::Connect(source) | Cause::Statement(source) => {
            let kind = if class == DriverClass::Login { ErrorKind::Login } else { ErrorKind::Driver(class) };
            (Error::new(kind, message).with_source(source), false)
        }
        Cause::Ended { ref reason, .. } => {
            let aborted = reason.aborted;
            (Error::driver(class, error), aborted)
        }
        Cause::Dial { .. } => (Error::driver(class, error), false),
    };
    let wrapped = match code {
        Some(code) => wrapped.with_sqlstate(&code),
        None => wrapped,
    };
    if aborted {
        // The wrapper gave the connection up: nothing the server or the driver said.
        let message = wrapped.to_string();
        return Error::new(ErrorKind::HostUnavailable, message).with_source(wrapped);
    }
    wrapped
}

/// The error of a call on an established connection. A bare "connection closed" is given the reason the connection's
/// task saw, which may come a moment later.
pub(crate) async fn call_failed(error: tokio_postgres::Error, slot: &Arc<Slot>) -> Error {
    if !error.is_closed() {
        return into_error(DriverError::statement(error)).with_host(slot.host());
    }
    let _ = timeout(REASON_LIMIT, slot.wait_ended()).await;
    into_error(DriverError::ended(reason_of(slot), Some(error))).with_host(slot.host())
}

/// The error of a call that found the connection gone before it sent anything.
#[cold]
pub(crate) fn already_ended(slot: &Slot) -> Error {
    into_error(DriverError::ended(reason_of(slot), None)).with_host(slot.host()).with_nothing_sent()
}

fn reason_of(slot: &Slot) -> EndReason {
    let unknown = || EndReason::new(DriverClass::Network, None, "connection closed");
    slot.end_reason().cloned().unwrap_or_else(unknown)
}

/// The driver closes its request channel a moment before the reason is stored.
const REASON_LIMIT: Duration = Duration::from_millis(50);

/// Gives a driver's result its meaning. The failure is boxed, so that the future of a call stays small.
macro_rules! checked {
    ($result:expr, $slot:expr) => {
        match $result {
            Ok(value) => Ok(value),
            Err(error) => Err(Box::pin(call_failed(error, $slot)).await),
        }
    };
}
pub(crate) use checked;
