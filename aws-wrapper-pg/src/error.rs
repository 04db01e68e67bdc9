//! The error of every call, and what stands between it and the driver's: the adapter's own, before the core gives it a
//! meaning.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::driver::Cause;
use aws_wrapper_core::error::DriverClass;
use aws_wrapper_core::host::InvalidHost;
use aws_wrapper_core::plugin::Call;
use aws_wrapper_core::registry::{EndReason, Slot};
use tokio::time::timeout;
use tokio_postgres::error::{DbError, SqlState};

use crate::classify::{classify, is_of_connecting, sqlstate};
use crate::driver::PgDriver;
use crate::stale::{Failed, SETTLE_LIMIT};

/// A result with the wrapper's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What every call of this crate fails with. One pointer wide.
///
/// It has the questions of [`tokio_postgres::Error`], [`code`](Self::code), [`as_db_error`](Self::as_db_error) and
/// [`is_closed`](Self::is_closed), and by [`Deref`] those of [`aws_wrapper_core::Error`]: what happened, and what to do now.
/// [`pg_error`] finds the driver's error itself, which is also in the [`source`](StdError::source) chain.
///
/// `?` turns an error of the driver into one of these:
///
/// ```
/// use aws_wrapper_pg::core::error::RetryAdvice;
/// use aws_wrapper_pg::tokio_postgres::error::SqlState;
/// use aws_wrapper_pg::{Client, Error};
///
/// async fn register(client: &Client, name: &str) -> Result<bool, Error> {
///     match client.query_one("insert into users (name) values ($1) returning is_admin", &[&name]).await {
///         Ok(row) => Ok(row.try_get(0)?), // the driver's error
///         Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(false),
///         Err(error) => {
///             println!("worth another try: {}", error.retry_advice() != RetryAdvice::DoNotRetry);
///             Err(error)
///         }
///     }
/// }
/// ```
pub struct Error(CoreError);

impl Error {
    /// The SQLSTATE of the server's error, if the server sent one.
    ///
    /// What the wrapper reports itself, such as the end of a failover, has the code of the error it began with, and none if
    /// the connection was lost without a word. [`sqlstate`](CoreError::sqlstate) has the wrapper's own codes, too.
    pub fn code(&self) -> Option<&SqlState> {
        self.as_db_error().map(DbError::code)
    }

    /// The server's error, if the server sent one.
    pub fn as_db_error(&self) -> Option<&DbError> {
        pg_error(self)?.as_db_error()
    }

    /// Whether the connection is closed and no other has taken its place.
    ///
    /// The driver says so only of calls that find the connection closed. This is also true for the call during which it
    /// was lost, and false after a successful failover: the client works again.
    pub fn is_closed(&self) -> bool {
        let found_closed = || {
            pg_error(self).is_some_and(tokio_postgres::Error::is_closed)
                || self
                    .find_source::<DriverError>()
                    .is_some_and(|error| matches!(error.cause(), Cause::Ended { .. }))
        };
        self.is_connection_lost() || (!self.is_failover_success() && found_closed())
    }

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

impl From<CoreError> for Error {
    fn from(error: CoreError) -> Self {
        Self(error)
    }
}

impl From<InvalidHost> for Error {
    fn from(invalid: InvalidHost) -> Self {
        Self(invalid.into())
    }
}

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        error.0
    }
}

/// An error that the driver reported past the wrapper, as [`Row::try_get`](tokio_postgres::Row::try_get) does. It gets the
/// meaning it would have in a call, or in opening a connection if it can only come from that.
impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let is_of_connecting = is_of_connecting(&error);
        Self(into_error(if is_of_connecting { connect_failed(error) } else { statement_failed(error) }))
    }
}

/// The driver's own error behind one of the wrapper's.
pub fn pg_error(error: &CoreError) -> Option<&tokio_postgres::Error> {
    error.find_source()
}

/// What can go wrong between the wrapper and one server.
///
/// [`pg_error`] finds the driver's own error in whatever the wrapper returns; this type is what stands between the two.
pub type DriverError = aws_wrapper_core::driver::DriverError<tokio_postgres::Error>;

/// TLS, start-up or authentication failed.
pub(crate) fn connect_failed(error: tokio_postgres::Error) -> DriverError {
    DriverError::connect(describe(&error), error)
}

/// A statement failed on an established connection.
pub(crate) fn statement_failed(error: tokio_postgres::Error) -> DriverError {
    DriverError::statement(describe(&error), error)
}

/// The driver's error in words: its own text for what the server said is only "db error".
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => db.to_string(),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// The wrapper's error for one of the adapter's.
pub(crate) fn into_error(error: DriverError) -> CoreError {
    let class = classify(&error);
    let code = sqlstate(&error).map(str::to_owned);
    error.into_error(class, code.as_deref())
}

/// The error of a call on an established connection. A bare "connection closed" is given the reason the connection's
/// task saw, which may come a moment later.
pub(crate) async fn call_failed(failed: impl Into<Failed>, slot: &Arc<Slot>) -> CoreError {
    match failed.into() {
        Failed::Plainly(error) if error.is_closed() => {
            let _ = timeout(REASON_LIMIT, slot.wait_ended()).await;
            into_error(DriverError::ended(reason_of(slot), Some(error))).with_host(slot.host())
        }
        Failed::Plainly(error) => into_error(statement_failed(error)).with_host(slot.host()),
        Failed::StaleInTransaction(error) => {
            into_error(statement_failed(error)).with_host(slot.host()).with_stale_statement()
        }
        Failed::TypesLost { error, has_run } => {
            let reason = types_lost(&error);
            // The driver does not recover, so the connection is not used again.
            slot.abort(reason.clone());
            let _ = timeout(SETTLE_LIMIT, slot.wait_ended()).await;
            let error = into_error(DriverError::ended(reason, Some(error))).with_host(slot.host());
            if has_run { error } else { error.with_nothing_sent() }
        }
    }
}

/// The error of an exchange of `call`. Behind the refusal of a commit the server says whether the transaction is over.
pub(crate) async fn exchange_failed(
    failed: impl Into<Failed>,
    slot: &Arc<Slot>,
    call: &Call<'_, PgDriver>,
) -> CoreError {
    let error = call_failed(failed, slot).await;
    if call.asks_to_commit() {
        slot.settled(SETTLE_LIMIT).await;
    }
    error
}

fn types_lost(error: &tokio_postgres::Error) -> EndReason {
    let mut reason = EndReason::local(format!(
        "the driver cannot read user-defined types on it any more: DISCARD ALL or DEALLOCATE ALL has taken its \
         statements for that ({})",
        describe(error)
    ));
    reason.sqlstate = error.code().map(|code| code.code().to_owned());
    reason
}

/// The error of a call that found the connection gone before it sent anything.
#[cold]
pub(crate) fn already_ended(slot: &Slot) -> CoreError {
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
    ($result:expr, $slot:expr, $call:expr) => {
        match $result {
            Ok(value) => Ok(value),
            Err(error) => Err(Box::pin(exchange_failed(error, $slot, $call)).await),
        }
    };
}
pub(crate) use checked;

#[cfg(test)]
mod tests {
    use aws_wrapper_core::ErrorKind;
    use aws_wrapper_core::error::{FailoverOutcome, FailoverReport};
    use tokio::io::AsyncWriteExt;
    use tokio_postgres::{Config, NoTls};

    use super::*;

    /// What the driver makes of a server that answers its start-up with `answer` and says no more.
    async fn driver_error(answer: &[u8]) -> tokio_postgres::Error {
        let (client, mut server) = tokio::io::duplex(1024);
        server.write_all(answer).await.unwrap();
        server.shutdown().await.unwrap();
        let config: Config = "user=app".parse().unwrap();
        config.connect_raw(client, NoTls).await.err().expect("no server answers like that")
    }

    fn refusal(severity: &str, code: &str) -> Vec<u8> {
        let fields = format!("S{severity}\0V{severity}\0C{code}\0Mit said no\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        [b"E", length.as_slice(), fields.as_bytes()].concat()
    }

    async fn closed() -> tokio_postgres::Error {
        let error = driver_error(b"").await;
        assert!(error.is_closed());
        error
    }

    fn after_failover(outcome: FailoverOutcome, cause: impl Into<CoreError>) -> Error {
        CoreError::failover(outcome, FailoverReport::default(), cause.into()).into()
    }

    #[test]
    fn it_is_one_pointer_wide() {
        fn is_send_sync<T: Send + Sync + 'static>() {}
        is_send_sync::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[tokio::test]
    async fn it_answers_the_questions_of_the_drivers_error_and_of_the_cores() {
        let error = Error::from(driver_error(&refusal("ERROR", "23505")).await);
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
        assert_eq!(error.as_db_error().unwrap().message(), "it said no");
        assert!(!error.is_closed() && error.connection_usable());
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Driver(DriverClass::Other), Some("23505")));
        assert!(pg_error(&error).is_some());
        let driver = error.source().unwrap();
        assert!(driver.is::<tokio_postgres::Error>() && driver.source().unwrap().is::<DbError>());
    }

    #[tokio::test]
    async fn it_turns_into_the_cores_error_and_back_unchanged() {
        fn there(error: Error) -> Result<(), CoreError> {
            Err(error)?
        }
        fn back(error: CoreError) -> Result<()> {
            Err(error)?
        }
        let error = Error::from(driver_error(&refusal("ERROR", "42601")).await);
        let texts = |error: &CoreError| format!("{error} {error:#} {error:?}");
        let before = texts(&error);
        let core = there(error).unwrap_err();
        assert_eq!(texts(&core), before);
        let error = back(core).unwrap_err();
        assert_eq!(format!("{error} {error:#} {error:?}"), before);
        assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    }

    #[tokio::test]
    async fn an_error_that_came_past_the_wrapper_means_what_it_would_in_a_call() {
        use DriverClass::{Cancelled, Login, Network, Other, Role, SessionTerminated};
        for (severity, code, class) in [
            ("ERROR", "40001", Other),
            ("ERROR", "25006", Role),
            ("ERROR", "57014", Cancelled),
            ("ERROR", "28000", Other),
            ("FATAL", "57P01", Network),
            ("FATAL", "57P05", SessionTerminated),
            // Only the opening of a connection ends like this.
            ("FATAL", "28P01", Login),
        ] {
            let error = Error::from(driver_error(&refusal(severity, code)).await);
            assert_eq!(error.driver_class(), Some(class), "{severity} {code}");
            assert_eq!(error.sqlstate(), Some(code));
        }
        const ASKS_FOR_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
        let error = Error::from(driver_error(ASKS_FOR_PASSWORD).await);
        assert_eq!(error.kind(), ErrorKind::Login, "{error:?}");
        let (client, server) = tokio::io::duplex(1024);
        drop(server);
        let error = Config::new().user("app").connect_raw(client, NoTls).await.err().unwrap();
        assert_eq!(Error::from(error).driver_class(), Some(Network));
    }

    #[tokio::test]
    async fn a_lost_connection_is_closed_until_another_takes_its_place() {
        let error = Error::from(closed().await);
        assert!(error.is_closed() && !error.connection_usable());
        assert_eq!((error.code(), error.driver_class()), (None, Some(DriverClass::Network)));

        // The wrapper knows, and the driver was not asked.
        let reason = EndReason::new(DriverClass::Network, Some("57P01".into()), "shut down");
        let error = Error::from(into_error(DriverError::ended(reason, None)));
        assert!(error.is_closed() && pg_error(&error).is_none());
        assert_eq!((error.code(), error.sqlstate()), (None, Some("57P01")));

        for (outcome, is_closed, sqlstate) in [
            (FailoverOutcome::Succeeded, false, "08S02"),
            (FailoverOutcome::TransactionUnknown, false, "08007"),
            (FailoverOutcome::Failed, true, "08001"),
        ] {
            let error = after_failover(outcome, Error::from(closed().await));
            assert_eq!(error.is_closed(), is_closed, "{outcome:?}");
            assert_eq!((error.code(), error.sqlstate()), (None, Some(sqlstate)));
            assert!(pg_error(&error).unwrap().is_closed(), "it is still found");
        }
        let began_with = Error::from(driver_error(&refusal("ERROR", "25006")).await);
        let error = after_failover(FailoverOutcome::Succeeded, began_with);
        assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    }

    #[tokio::test]
    async fn a_failure_to_connect_is_no_lost_connection() {
        let refused = DriverError::dial("db", std::io::ErrorKind::ConnectionRefused.into());
        let login = connect_failed(driver_error(&refusal("FATAL", "28P01")).await);
        for error in [refused, login] {
            let error = Error::from(into_error(error));
            assert!(!error.is_closed() && !error.connection_usable(), "{error:?}");
        }
    }
}
