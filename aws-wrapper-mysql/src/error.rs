//! Two errors that turn into each other: the driver's, which its trait demands, and the wrapper's, which answers
//! questions.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::error::DriverClass;
use aws_wrapper_core::host::InvalidHost;
use aws_wrapper_core::registry::{EndReason, Slot};

use crate::classify::{OUT_OF_SYNC, class_of, classify, sqlstate, sqlstate_of, vendor_code};

/// A result with the wrapper's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The wrapper's error. It has the questions of [`aws_wrapper_core::Error`]: what happened, and what to do now.
///
/// The methods of a [`Conn`](crate::Conn) fail with the driver's error, so that code written for the driver goes on
/// working. `?` turns either error into the other, and [`Error::from`] gets the answers out of the driver's:
///
/// ```
/// use aws_wrapper_mysql::Error;
/// use aws_wrapper_mysql::core::error::RetryAdvice;
///
/// fn may_repeat(error: mysql_async::Error) -> bool {
///     Error::from(error).retry_advice() == RetryAdvice::RetryStatement
/// }
/// ```
pub struct Error(CoreError);

impl Error {
    /// The error of the core.
    pub fn into_core(self) -> CoreError {
        self.0
    }
}

impl Deref for Error {
    type Target = CoreError;

    fn deref(&self) -> &CoreError {
        &self.0
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl From<InvalidHost> for Error {
    fn from(invalid: InvalidHost) -> Self {
        Self(invalid.into())
    }
}

impl From<CoreError> for Error {
    fn from(error: CoreError) -> Self {
        Self(error)
    }
}

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        error.0
    }
}

/// The wrapper's own error comes out as it was; one of the driver's gets its meaning.
impl From<mysql_async::Error> for Error {
    fn from(error: mysql_async::Error) -> Self {
        let error = match error {
            mysql_async::Error::Other(other) => match other.downcast::<CoreError>() {
                Ok(ours) => return Self(*ours),
                Err(other) => mysql_async::Error::Other(other),
            },
            error => error,
        };
        Self(into_error(statement_failed(error)))
    }
}

/// An error of the driver that nobody gave another meaning is returned as the driver made it.
impl From<Error> for mysql_async::Error {
    fn from(error: Error) -> Self {
        to_driver(error.0)
    }
}

/// What the methods of the driver's trait return: the driver's error as it was, unless the wrapper has something to say
/// that cannot be read from it.
pub(crate) fn to_driver(error: CoreError) -> mysql_async::Error {
    let ours = |error| mysql_async::Error::Other(Box::new(error));
    // The class is one that the driver's error would not be given without its connection.
    let is_plain =
        mysql_error(&error).is_some_and(|source| error.driver_class() == Some(class_of(source, false)));
    if is_plain && !error.says_more_than_the_driver() {
        error.into_source().unwrap_or_else(ours)
    } else {
        ours(error)
    }
}

/// The wrapper's error in one of the driver's, if the wrapper made it.
///
/// [`Error::from`] has an answer for every error of the driver; this one borrows.
pub fn wrapper_error(error: &mysql_async::Error) -> Option<&CoreError> {
    match error {
        mysql_async::Error::Other(other) => other.downcast_ref(),
        _ => None,
    }
}

/// The driver's own error behind one of the wrapper's.
pub fn mysql_error(error: &CoreError) -> Option<&mysql_async::Error> {
    error.find_source()
}

/// What can go wrong between the wrapper and one server.
///
/// [`mysql_error`] finds the driver's own error in whatever the wrapper returns; this type is what stands between the
/// two.
pub type DriverError = aws_wrapper_core::driver::DriverError<mysql_async::Error>;

/// Dialling, TLS or authentication failed.
pub(crate) fn connect_failed(error: mysql_async::Error) -> DriverError {
    DriverError::connect(describe(&error), error)
}

/// A statement failed on an established connection.
pub(crate) fn statement_failed(error: mysql_async::Error) -> DriverError {
    DriverError::statement(describe(&error), error)
}

/// The server said so and ended the connection.
pub(crate) fn lost(error: mysql_async::Error) -> DriverError {
    let state = sqlstate_of(&error).map(str::to_owned);
    DriverError::ended(EndReason::new(class_of(&error, true), state, describe(&error)), Some(error))
}

/// The connection is gone, for the reason its slot knows.
pub(crate) fn ended(slot: &Slot) -> DriverError {
    let unknown = || EndReason::new(DriverClass::Network, None, "connection closed");
    DriverError::ended(slot.end_reason().cloned().unwrap_or_else(unknown), None)
}

/// The driver's words, without the name of the variant in front, and what they mean where they do not say it.
fn describe(error: &mysql_async::Error) -> String {
    use mysql_async::DriverError as MysqlError;
    let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let hint = match error {
        mysql_async::Error::Driver(MysqlError::UnknownAuthPlugin { .. }) => {
            "; MySQL 9 offers a method at random to a user it does not know: check the user name"
        }
        mysql_async::Error::Driver(MysqlError::CleartextPluginDisabled) => {
            "; the server asks for the password as it is, which is sent over encrypted connections only: set \
             `enable_cleartext_plugin=true`, and `ssl_root_cert` or `sslmode`; `sslmode=disable` allows it in the clear"
        }
        mysql_async::Error::Driver(MysqlError::NoClientSslFlagFromServer) => {
            "; set `sslmode` to `prefer` or `disable` if connections may be in the clear"
        }
        mysql_async::Error::Io(_) if text.contains(OUT_OF_SYNC) => {
            "; the server ended the session: it was idle for too long, was killed, or the server shuts down"
        }
        _ => "",
    };
    format!("{text}{hint}")
}

/// The wrapper's error for one of the adapter's.
pub(crate) fn into_error(error: DriverError) -> CoreError {
    let class = classify(&error);
    let (state, code) = (sqlstate(&error).map(str::to_owned), vendor_code(&error));
    let wrapped = error.into_error(class, state.as_deref());
    match code {
        Some(code) => wrapped.with_vendor_code(code.into()),
        None => wrapped,
    }
}
