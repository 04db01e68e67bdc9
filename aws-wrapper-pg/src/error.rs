//! The adapter's own error, before the core gives it a meaning.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, Error};
use aws_wrapper_core::plugin::Call;
use aws_wrapper_core::registry::{EndReason, Slot};
use tokio::time::timeout;

use crate::classify::{classify, sqlstate};
use crate::driver::PgDriver;
use crate::stale::{Failed, SETTLE_LIMIT};

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

/// The driver's own error behind one of the wrapper's.
pub fn pg_error(error: &Error) -> Option<&tokio_postgres::Error> {
    error.find_source()
}

/// The wrapper's error for one of the adapter's.
pub(crate) fn into_error(error: DriverError) -> Error {
    let class = classify(&error);
    let code = sqlstate(&error).map(str::to_owned);
    error.into_error(class, code.as_deref())
}

/// The error of a call on an established connection. A bare "connection closed" is given the reason the connection's
/// task saw, which may come a moment later.
pub(crate) async fn call_failed(failed: impl Into<Failed>, slot: &Arc<Slot>) -> Error {
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
) -> Error {
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
    ($result:expr, $slot:expr, $call:expr) => {
        match $result {
            Ok(value) => Ok(value),
            Err(error) => Err(Box::pin(exchange_failed(error, $slot, $call)).await),
        }
    };
}
pub(crate) use checked;
