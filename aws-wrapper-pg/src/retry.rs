//! Running a transaction again when it is certain that it was not committed.

use aws_wrapper_core::error::Result;
use aws_wrapper_core::retry::RetryPolicy;

use crate::client::Client;
use crate::transaction::Transaction;

impl Client {
    /// Runs `work` in a transaction and commits it; runs it again where `policy` permits.
    ///
    /// That is after a failover whose outcome is known to be "not committed", and after a serialization failure or a
    /// deadlock. When the commit itself was on its way as the connection was lost, nobody knows the outcome: the error
    /// is returned, unless the policy says that the work is idempotent. Whatever `work` does besides talking to the
    /// database happens again with each run.
    ///
    /// ```no_run
    /// # async fn example(client: &mut aws_wrapper_pg::Client) -> Result<(), aws_wrapper_pg::Error> {
    /// let left: i64 = client
    ///     .retry_transaction(Default::default(), async |transaction| {
    ///         transaction.execute("update stock set pieces = pieces - 1 where id = $1", &[&7_i32]).await?;
    ///         let row = transaction.query_one("select pieces from stock where id = $1", &[&7_i32]).await?;
    ///         Ok(row.get(0))
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
    /// Dropping the future rolls the running transaction back.
    pub async fn retry_transaction<T>(
        &mut self,
        policy: RetryPolicy,
        mut work: impl AsyncFnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut runs = policy.runs();
        loop {
            match self.run_transaction(&mut work).await {
                Err(error) if runs.go_on(&error) => {}
                result => return result,
            }
        }
    }

    async fn run_transaction<T>(
        &mut self,
        work: &mut impl AsyncFnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut transaction = self.transaction().await?;
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
        fn check(client: &mut Client) -> impl Future<Output = Result<()>> + Send {
            client.retry_transaction(RetryPolicy::default(), async |transaction| {
                transaction.execute("select 1", &[]).await?;
                Ok(())
            })
        }
        let _ = check;
    }
}
