//! Statements and transactions that are run again when it is certain that they were not done, or that it does no harm.

use std::future::Future;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::plugin::Intent;
use aws_wrapper_core::retry::{Attempt, RetryPolicy, Work, run};
use mysql_async::TxOpts;

use crate::conn::Conn;
use crate::error::{Error, to_driver};
use crate::handle::{ConnHandle, Run};

impl Conn {
    /// Runs `work`, one statement, and runs it again where `policy` permits.
    ///
    /// That is after a failover when the statement cannot have run, or when the policy says that it is
    /// [idempotent](RetryPolicy::idempotent), and after a deadlock or a lock that was waited for too long. In a transaction
    /// that is open already it is run once.
    ///
    /// ```no_run
    /// # async fn example(conn: &mut aws_wrapper_mysql::Conn, id: u64) -> Result<(), aws_wrapper_mysql::Error> {
    /// use aws_wrapper_mysql::core::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::default().idempotent();
    /// let name: Option<String> = conn
    ///     .retry_statement(policy, |mut conn| async move {
    ///         conn.exec_first("select name from customers where id = ?", (id,)).await
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the last run.
    ///
    /// # Cancellation
    /// Dropping the future gives the running statement up, and with it the connection.
    pub async fn retry_statement<T, F, Fut>(&mut self, policy: RetryPolicy, work: F) -> mysql_async::Result<T>
    where
        F: FnMut(ConnHandle) -> Fut + Send,
        Fut: Future<Output = mysql_async::Result<T>> + Send,
        T: Send,
    {
        self.ready().await?;
        let policy = policy.within(self.transaction_state());
        run(policy, Work::Statement, Statement { conn: self, work }).await.map_err(to_driver)
    }

    /// Runs `work` in a transaction and commits it; runs it again where `policy` permits.
    ///
    /// That is after a failover whose outcome is known to be "not committed", after a deadlock, and after a lock that was
    /// waited for too long. When the commit itself was on its way as the connection was lost, the outcome is unknown: the
    /// error is returned, unless the policy says that the work is [idempotent](RetryPolicy::idempotent). Whatever `work` does
    /// besides talking to the database happens again with each run.
    ///
    /// ```no_run
    /// # async fn example(conn: &mut aws_wrapper_mysql::Conn, id: u64) -> Result<(), aws_wrapper_mysql::Error> {
    /// use aws_wrapper_mysql::mysql_async::TxOpts;
    ///
    /// let left: Option<i64> = conn
    ///     .retry_transaction(Default::default(), TxOpts::default(), |mut transaction| async move {
    ///         transaction.exec_drop("update stock set pieces = pieces - 1 where id = ?", (id,)).await?;
    ///         transaction.exec_first("select pieces from stock where id = ?", (id,)).await
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the last run. [`RolledBack`](aws_wrapper_core::ErrorKind::RolledBack) when `work` went well although the
    /// server had rolled the transaction back.
    ///
    /// # Cancellation
    /// Dropping the future gives the running transaction up.
    pub async fn retry_transaction<T, F, Fut>(
        &mut self,
        policy: RetryPolicy,
        options: TxOpts,
        work: F,
    ) -> mysql_async::Result<T>
    where
        F: FnMut(ConnHandle) -> Fut + Send,
        Fut: Future<Output = mysql_async::Result<T>> + Send,
        T: Send,
    {
        run(policy, Work::Transaction, Transaction { conn: self, options, work }).await.map_err(to_driver)
    }
}

struct Statement<'a, F> {
    conn: &'a mut Conn,
    work: F,
}

impl<T, F, Fut> Attempt for Statement<'_, F>
where
    F: FnMut(ConnHandle) -> Fut + Send,
    Fut: Future<Output = mysql_async::Result<T>> + Send,
{
    type Output = T;
    type Error = CoreError;

    async fn attempt(&mut self, intent: Intent) -> Result<T, CoreError> {
        self.conn.ready().await.map_err(into_core)?;
        let run = Run::new(self.conn);
        (self.work)(run.handle(intent)).await.map_err(into_core)
    }
}

struct Transaction<'a, F> {
    conn: &'a mut Conn,
    options: TxOpts,
    work: F,
}

impl<T, F, Fut> Attempt for Transaction<'_, F>
where
    F: FnMut(ConnHandle) -> Fut + Send,
    Fut: Future<Output = mysql_async::Result<T>> + Send,
    T: Send,
{
    type Output = T;
    type Error = CoreError;

    async fn attempt(&mut self, intent: Intent) -> Result<T, CoreError> {
        let begun = crate::Transaction::begin(self.conn, &self.options).await;
        // An error drops the transaction, which rolls it back.
        let mut transaction = begun.map_err(into_core)?;
        let run = Run::new(transaction.conn());
        let done = (self.work)(run.handle(intent)).await;
        drop(run);
        let value = done.map_err(into_core)?;
        transaction.commit().await.map_err(into_core)?;
        Ok(value)
    }
}

fn into_core(error: mysql_async::Error) -> CoreError {
    Error::from(error).into_core()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only if the futures can be given to another thread, with what they borrow.
    #[test]
    #[expect(clippy::manual_async_fn, reason = "the signature is what is checked")]
    fn the_futures_are_send_and_closures_may_borrow() {
        fn check(conn: &mut Conn, name: &str) -> impl Future<Output = mysql_async::Result<()>> + Send {
            async move {
                let policy = RetryPolicy::default();
                conn.retry_statement(policy, |mut conn| async move { conn.exec_drop("do ?", (name,)).await })
                    .await?;
                conn.retry_transaction(policy, TxOpts::default(), |mut transaction| async move {
                    transaction.exec_drop("do ?", (name,)).await
                })
                .await
            }
        }
        let _ = check;
    }
}
