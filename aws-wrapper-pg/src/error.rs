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
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverError {
    /// No socket: the name does not resolve, or no address answers.
    #[non_exhaustive]
    Dial {
        /// What was dialled.
        target: String,
        /// Why it failed; of several addresses the last.
        source: io::Error,
    },
    /// TLS cannot be set up as asked.
    Tls(rustls::Error),
    /// TLS, start-up or authentication failed.
    Connect(tokio_postgres::Error),
    /// A statement failed on an established connection.
    Statement(tokio_postgres::Error),
    /// The connection is gone.
    #[non_exhaustive]
    Ended {
        /// Why, as far as anybody saw it.
        reason: EndReason,
        /// What the driver said, if it was asked at all.
        source: Option<tokio_postgres::Error>,
    },
}

impl DriverError {
    /// The driver's error in words: its own text for what the server said is only "db error".
    pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
        match (error.as_db_error(), error.source()) {
            (Some(db), _) => db.to_string(),
            (None, Some(cause)) => format!("{error}: {cause}"),
            (None, None) => error.to_string(),
        }
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { target, source } => write!(f, "cannot reach {target}: {source}"),
            Self::Tls(source) => write!(f, "TLS: {source}"),
            Self::Connect(source) | Self::Statement(source) => f.write_str(&Self::describe(source)),
            Self::Ended { reason, .. } => write!(f, "the connection has ended: {}", reason.message),
        }
    }
}

impl StdError for DriverError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Dial { source, .. } => Some(source),
            Self::Tls(source) => Some(source),
            Self::Connect(source) | Self::Statement(source) => Some(source),
            Self::Ended { source, .. } => source.as_ref().map(|source| source as _),
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
    let aborted = matches!(&error, DriverError::Ended { reason, .. } if reason.aborted);
    let wrapped = match (error, class) {
        // Straight to the driver's error: the message already says what is in between.
        (DriverError::Connect(source) | DriverError::Statement(source), DriverClass::Login) => {
            Error::new(ErrorKind::Login, message).with_source(source)
        }
        (DriverError::Connect(source) | DriverError::Statement(source), class) => {
            Error::new(ErrorKind::Driver(class), message).with_source(source)
        }
        (error, class) => Error::driver(class, error),
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
        return into_error(DriverError::Statement(error)).with_host(slot.host());
    }
    let _ = timeout(REASON_LIMIT, slot.wait_ended()).await;
    into_error(DriverError::Ended { reason: reason_of(slot), source: Some(error) }).with_host(slot.host())
}

/// The error of a call that found the connection gone before it sent anything.
#[cold]
pub(crate) fn already_ended(slot: &Slot) -> Error {
    into_error(DriverError::Ended { reason: reason_of(slot), source: None })
        .with_host(slot.host())
        .with_nothing_sent()
}

fn reason_of(slot: &Slot) -> EndReason {
    let unknown = || EndReason::new(DriverClass::Network, None, "connection closed");
    slot.end_reason().cloned().unwrap_or_else(unknown)
}

/// The driver closes its request channel a moment before the reason is stored.
const REASON_LIMIT: Duration = Duration::from_millis(50);
