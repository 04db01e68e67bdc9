//! Transactions: the connection with a promise to end what was begun.

use std::fmt;
use std::ops::Deref;

use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::{BeginOptions, Text};
use aws_wrapper_core::registry::Ending;
use aws_wrapper_core::session::transaction::TransactionState;
use mysql_async::prelude::Queryable as _;
use mysql_async::{DriverError as MysqlError, TxOpts};

use crate::conn::{Conn, through};
use crate::error::to_driver;

/// A transaction. Rolled back when dropped; [`commit`](Self::commit) keeps its effect.
///
/// When the connection is lost inside it, the call fails with an error whose
/// [`transaction_outcome`](aws_wrapper_core::Error::transaction_outcome) says what became of the work: rolled back, or,
/// only for a lost commit, unknown. All further calls fail too, and nothing of it runs on another connection; drop it and
/// begin a new one on the same connection object.
///
/// So they do when the server has ended the transaction by itself, as after a deadlock: nothing runs outside of it unawares.
///
/// Dropped without an end it is rolled back by the next call on the connection, as with the driver: until then its locks
/// stay. [`rollback`](Self::rollback) ends it now.
#[must_use = "a transaction is rolled back unless it is committed"]
pub struct Transaction<'a> {
    conn: &'a mut Conn,
    is_over: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) async fn begin(conn: &'a mut Conn, options: &TxOpts) -> mysql_async::Result<Self> {
        if conn.transaction.is_some() {
            return Err(MysqlError::NestedTransaction.into());
        }
        let sql = begin_sql(options);
        let text = Text::of_begin(Some(&sql), BeginOptions::read_only(options.readonly()));
        through!(&mut *conn, Method::Begin, text, |driver| driver.query_drop(&sql))?;
        conn.transaction = Some(conn.physical.slot().id());
        Ok(Self { conn, is_over: false })
    }

    pub(crate) fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// Keeps the effect of the transaction.
    ///
    /// # Errors
    /// When the connection is lost meanwhile, the outcome is unknown: the transaction may or may not be committed. When the
    /// server refuses, or has ended the transaction before, it is rolled back.
    pub async fn commit(mut self) -> mysql_async::Result<()> {
        through!(self.conn(), Method::Commit, Some("COMMIT"), |driver| driver.query_drop("COMMIT"))?;
        self.is_over = true;
        Ok(())
    }

    /// Drops the effect of the transaction now.
    ///
    /// # Errors
    /// When a statement that failed may have committed a part of it, the outcome is unknown.
    pub async fn rollback(mut self) -> mysql_async::Result<()> {
        self.conn.settle().await?;
        if let Some(error) = self.conn.end_of_transaction() {
            // It is rolled back already.
            return if error.kind() == ErrorKind::RolledBack { Ok(()) } else { Err(to_driver(error)) };
        }
        through!(self.conn(), Method::Rollback, Some("ROLLBACK"), |driver| driver.query_drop("ROLLBACK"))?;
        self.is_over = true;
        Ok(())
    }
}

/// All that is asked for in one text: each statement of its own would cost a round trip.
fn begin_sql(options: &TxOpts) -> String {
    let level = options.isolation_level();
    let level = level.map_or_else(String::new, |level| format!("SET TRANSACTION ISOLATION LEVEL {level}; "));
    let access = match options.readonly() {
        Some(true) => "SET TRANSACTION READ ONLY; ",
        Some(false) => "SET TRANSACTION READ WRITE; ",
        None => "",
    };
    let snapshot = if options.consistent_snapshot() { " WITH CONSISTENT SNAPSHOT" } else { "" };
    format!("{level}{access}START TRANSACTION{snapshot}")
}

impl Deref for Transaction<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let slot = self.conn.physical.slot();
        self.conn.transaction = None;
        if slot.transaction() == TransactionState::Idle {
            // The server may have ended it; the error of the call said so.
            self.conn.physical.lane.status().settle(slot);
        }
        if !self.is_over && !slot.has_ended() && slot.transaction() != TransactionState::Idle {
            slot.set_ending(Ending::Rollback);
            self.conn.rollback_due = Some(slot.id());
        }
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("slot", self.conn.physical.slot()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::IsolationLevel;

    use super::*;

    #[test]
    fn whatever_the_options_one_text_begins() {
        assert_eq!(begin_sql(&TxOpts::default()), "START TRANSACTION");
        let mut options = TxOpts::new();
        options.with_isolation_level(IsolationLevel::Serializable).with_readonly(true);
        options.with_consistent_snapshot(true);
        assert_eq!(
            begin_sql(&options),
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ ONLY; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT"
        );
        assert_eq!(
            begin_sql(TxOpts::new().with_readonly(false)),
            "SET TRANSACTION READ WRITE; START TRANSACTION"
        );
    }
}
