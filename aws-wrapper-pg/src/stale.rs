//! Statements that the server has forgotten, the wrapper's and the driver's own.
//!
//! `DISCARD ALL` and `DEALLOCATE ALL` take every statement from a session, a change of a table those that read it. The
//! wrapper's are forgotten here too and prepared again. The driver keeps up to three of its own, by which it reads
//! user-defined types, and never lets go of them: without those no statement with such a type can be prepared on that
//! connection any more.

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::engine::Engine;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::lexer;
use aws_wrapper_core::session::transaction::TransactionState;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Error};

/// Why an exchange with the driver failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// As the driver says.
    Plainly(Error),
    /// A statement was out of date, which has cost the transaction. It has been forgotten.
    StaleInTransaction(Error),
    /// The driver's own statements are gone.
    TypesLost { error: Error, has_run: bool },
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Plainly(error)
    }
}

/// What becomes of the execution of a statement that failed.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing was executed, and nothing was lost: it can be sent again.
    Repeat(Error),
    Fail(Failed),
}

impl From<Verdict> for Failed {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Repeat(error) => Self::Plainly(error),
            Verdict::Fail(failed) => failed,
        }
    }
}

/// What the failure of a prepared statement means that turned out to be out of date and has been forgotten.
///
/// In a transaction it is too late for a repetition: the transaction has failed. And an error from inside a procedure,
/// which may have committed before, never leads to one.
pub(crate) async fn verdict(error: Error, sql: &str, slot: &Slot) -> Verdict {
    match slot.settled(SETTLE_LIMIT).await {
        TransactionState::Idle
            if is_before_execution(&error) && !lexer::may_commit(Engine::Postgres, sql) =>
        {
            Verdict::Repeat(error)
        }
        TransactionState::InTransaction | TransactionState::Failed => {
            Verdict::Fail(Failed::StaleInTransaction(error))
        }
        _ => Verdict::Fail(Failed::Plainly(error)),
    }
}

/// The state after an error comes right behind the error.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// Whether a prepared statement was not executed because the server does not know it (any more), or because its result has
/// other columns than before. Such an error can come from inside a statement, too; one that a procedure raises by itself
/// comes from another place in the server.
pub(crate) fn is_about_staleness(error: &Error) -> bool {
    let Some(db) = error.as_db_error() else { return false };
    is_unknown_statement(db)
        // The text is translated; the place in the server's source is not.
        || (*db.code() == SqlState::FEATURE_NOT_SUPPORTED && db.routine() == Some("RevalidateCachedQuery"))
}

/// Whether every statement of the session is gone, or may be.
pub(crate) fn is_unknown_statement(db: &DbError) -> bool {
    // Poolers name no place.
    *db.code() == SqlState::INVALID_SQL_STATEMENT_NAME
        && db.routine().is_none_or(|routine| routine == "FetchPreparedStatement")
}

/// Whether the error came before anything was executed: what is executed has a context.
fn is_before_execution(error: &Error) -> bool {
    let context = error.as_db_error().and_then(DbError::where_);
    // With `log_parameter_max_length_on_error` the parameters are a context of their own.
    context.is_none_or(|context| context.starts_with("unnamed portal"))
}

/// The failure of a text that the driver prepares by itself, executes and forgets.
pub(crate) async fn text_failed(error: Error, client: &Client, slot: &Arc<Slot>, sql: &str) -> Failed {
    if !names_statement_of_driver(&error, sql) {
        return Failed::Plainly(error);
    }
    let are_lost = match slot.settled(SETTLE_LIMIT).await {
        // Behind a pooler it may be the statement of this very text. The next one has another name, those for types not.
        TransactionState::Idle => {
            client.prepare(sql).await.is_err_and(|again| message(&again) == message(&error))
        }
        TransactionState::InTransaction | TransactionState::Failed => true,
        _ => false,
    };
    if are_lost { Failed::TypesLost { error, has_run: false } } else { Failed::Plainly(error) }
}

/// The failure to prepare `sql`.
pub(crate) fn prepare_failed(error: Error, sql: &str) -> Failed {
    if names_statement_of_driver(&error, sql) {
        return Failed::TypesLost { error, has_run: false };
    }
    Failed::Plainly(error)
}

/// The failure of a text with typed parameters: types are read when it has run already.
pub(crate) fn typed_failed(error: Error, sql: &str) -> Failed {
    if names_statement_of_driver(&error, sql) {
        return Failed::TypesLost { error, has_run: true };
    }
    Failed::Plainly(error)
}

/// Whether the server does not know a statement that the driver has named, `s` and a number, and `sql` itself cannot have
/// asked for it.
fn names_statement_of_driver(error: &Error, sql: &str) -> bool {
    let Some(db) = error.as_db_error().filter(|db| is_unknown_statement(db)) else { return false };
    let is_name = |word: &str| {
        word.strip_prefix('s')
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let mut words = db.message().split(|letter: char| !letter.is_ascii_alphanumeric());
    is_before_execution(error) && words.any(is_name) && !mentions_statements(sql)
}

fn mentions_statements(sql: &str) -> bool {
    sql.split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case("execute") || word.eq_ignore_ascii_case("deallocate"))
}

fn message(error: &Error) -> Option<&str> {
    error.as_db_error().map(DbError::message)
}
