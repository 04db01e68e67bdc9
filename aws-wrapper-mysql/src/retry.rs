//! Running a transaction again when it is certain that it was not committed.

use aws_wrapper_core::retry::RetryPolicy;
use mysql_async::TxOpts;

use crate::conn::Conn;
use crate::error::Error;
use crate::transaction::Transaction;

impl Conn {
    /// Runs `work` in a transaction and commits it; runs it again where `policy` permits.
    ///
    /// That is after a failover whose outcome is known to be "not committed", and after a deadlock. When the commit itself
    /// was on its way as the connection was lost, nobody knows the outcome: the error is returned, unless the policy says
    /// that the work is idempotent. Whatever `work` does besides talking to the database happens again with each run.
    ///
    /// ```no_run
    /// # async fn example(conn: &mut aws_wrapper_mysql::Conn) -> Result<(), aws_wrapper_mysql::Error> {
    /// use aws_wrapper_mysql::mysql_async::TxOpts;
    ///
    /// let left: Option<i64> = conn
    ///     .retry_transaction(Default::default(), TxOpts::default(), async |transaction| {
    ///         transaction.exec_drop("update stock set pieces = pieces - 1 where id = ?", (7,)).await?;
    ///         transaction.exec_first("select pieces from stock where id = ?", (7,)).await
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
    /// Dropping the future gives the running transaction up.
    pub async fn retry_transaction<T>(
        &mut self,
        policy: RetryPolicy,
        options: TxOpts,
        mut work: impl AsyncFnMut(&mut Transaction<'_>) -> mysql_async::Result<T>,
    ) -> mysql_async::Result<T> {
        let mut runs = policy.runs();
        loop {
            let error = match self.run_transaction(&options, &mut work).await {
                Ok(value) => return Ok(value),
                Err(error) => Error::from(error),
            };
            if !runs.go_on(&error) {
                return Err(error.into());
            }
        }
    }

    async fn run_transaction<T>(
        &mut self,
        options: &TxOpts,
        work: &mut impl AsyncFnMut(&mut Transaction<'_>) -> mysql_async::Result<T>,
    ) -> mysql_async::Result<T> {
        let mut transaction = Transaction::begin(self, options).await?;
        // An error drops the transaction, which rolls it back.
        let value = work(&mut transaction).await?;
        transaction.commit().await?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only if the future can be given to another thread.
    #[test]
    fn the_future_is_send() {
        fn check(conn: &mut Conn) -> impl Future<Output = mysql_async::Result<()>> + Send {
            conn.retry_transaction(RetryPolicy::default(), TxOpts::default(), async |transaction| {
                transaction.query_drop("select 1").await
            })
        }
        let _ = check;
    }
}
