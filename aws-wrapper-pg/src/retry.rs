//! Statements and transactions that are run again when it is certain that they were not done, or that it does no harm.

use std::fmt::Write as _;
use std::future::Future;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::Intent;
use aws_wrapper_core::retry::{Attempt, RetryPolicy, Work, run};
use aws_wrapper_core::session::transaction::TransactionState;
use tokio_postgres::IsolationLevel;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::handle::{ClientHandle, Run};
use crate::transaction::TransactionBuilder;

impl Client {
    /// Runs `work`, one statement, and runs it again where `policy` permits.
    ///
    /// That is after a failover when the statement cannot have run, or when the policy says that it is
    /// [idempotent](RetryPolicy::idempotent), and after a serialization failure or deadlock. In a transaction that is open
    /// already it is run once.
    ///
    /// ```no_run
    /// # async fn example(client: &aws_wrapper_pg::Client, id: i32) -> Result<(), aws_wrapper_pg::Error> {
    /// use aws_wrapper_pg::core::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::default().idempotent();
    /// let row = client
    ///     .retry_statement(policy, |client| async move {
    ///         client.query_one("select name from customers where id = $1", &[&id]).await
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
    /// Dropping the future gives the running statement up.
    pub async fn retry_statement<T, F, Fut>(&self, policy: RetryPolicy, work: F) -> Result<T>
    where
        F: FnMut(ClientHandle) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let policy = policy.within(self.transaction_state());
        run(policy, Work::Statement, Statement { client: self, work }).await.map_err(Error::from)
    }

    /// Runs `work` in a transaction and commits it; runs it again where `policy` permits. With settings of its own:
    /// [`TransactionBuilder::retry`].
    ///
    /// That is after a failover whose outcome is known to be "not committed", after a serialization failure or a deadlock,
    /// and when a prepared statement was out of date. When the commit itself was on its way as the connection was lost, the
    /// outcome is unknown: the error is returned, unless the policy says that the work is
    /// [idempotent](RetryPolicy::idempotent). Whatever `work` does besides talking to the database happens again with each
    /// run.
    ///
    /// ```no_run
    /// # async fn example(client: &mut aws_wrapper_pg::Client, id: i32) -> Result<(), aws_wrapper_pg::Error> {
    /// let left: i64 = client
    ///     .retry_transaction(Default::default(), |transaction| async move {
    ///         transaction.execute("update stock set pieces = pieces - 1 where id = $1", &[&id]).await?;
    ///         let row = transaction.query_one("select pieces from stock where id = $1", &[&id]).await?;
    ///         Ok(row.get(0))
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the last run. [`RolledBack`](aws_wrapper_core::ErrorKind::RolledBack) when `work` went well although one
    /// of its statements failed: the server does not commit then.
    ///
    /// # Cancellation
    /// Dropping the future rolls the running transaction back.
    pub async fn retry_transaction<T, F, Fut>(&mut self, policy: RetryPolicy, work: F) -> Result<T>
    where
        F: FnMut(ClientHandle) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
        T: Send,
    {
        self.build_transaction().retry(policy, work).await
    }
}

impl TransactionBuilder<'_> {
    /// As [`Client::retry_transaction`], with the settings made here.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// As there.
    pub async fn retry<T, F, Fut>(self, policy: RetryPolicy, work: F) -> Result<T>
    where
        F: FnMut(ClientHandle) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let begin = self.begin_sql();
        let work = Transaction { client: self.client, begin, work };
        run(policy, Work::Transaction, work).await.map_err(Error::from)
    }

    fn begin_sql(&self) -> String {
        let mut sql = String::from("START TRANSACTION");
        let mut comma = "";
        let mut option = |text: &str| {
            let _ = write!(sql, "{comma} {text}");
            comma = ",";
        };
        if let Some(level) = self.isolation_level {
            option(match level {
                IsolationLevel::ReadUncommitted => "ISOLATION LEVEL READ UNCOMMITTED",
                IsolationLevel::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
                IsolationLevel::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
                _ => "ISOLATION LEVEL SERIALIZABLE",
            });
        }
        if let Some(read_only) = self.read_only {
            option(if read_only { "READ ONLY" } else { "READ WRITE" });
        }
        if let Some(deferrable) = self.deferrable {
            option(if deferrable { "DEFERRABLE" } else { "NOT DEFERRABLE" });
        }
        sql
    }
}

struct Statement<'a, F> {
    client: &'a Client,
    work: F,
}

impl<T, F, Fut> Attempt for Statement<'_, F>
where
    F: FnMut(ClientHandle) -> Fut + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    type Output = T;
    type Error = CoreError;

    async fn attempt(&mut self, intent: Intent) -> Result<T, CoreError> {
        let run = self.client.run(intent)?;
        Ok((self.work)(run.handle()).await?)
    }
}

struct Transaction<'a, F> {
    client: &'a mut Client,
    begin: String,
    work: F,
}

impl<T, F, Fut> Attempt for Transaction<'_, F>
where
    F: FnMut(ClientHandle) -> Fut + Send,
    Fut: Future<Output = Result<T>> + Send,
    T: Send,
{
    type Output = T;
    type Error = CoreError;

    async fn attempt(&mut self, intent: Intent) -> Result<T, CoreError> {
        let run = self.client.run(intent)?;
        let open = Open::begin(&run, &self.begin).await?;
        let value = (self.work)(run.handle()).await?;
        open.commit().await?;
        Ok(value)
    }
}

/// The transaction of a run: rolled back when dropped.
struct Open<'a> {
    run: &'a Run,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its beginning is on its way: whatever the server was last heard to say, it may be open.
    Beginning,
    Open,
    /// It has ended, or is about to.
    Over,
}

impl<'a> Open<'a> {
    async fn begin(run: &'a Run, sql: &str) -> Result<Self> {
        let mut open = Self { run, stage: Stage::Beginning };
        let begun = run.client().command(Method::Begin, sql).await;
        open.stage = if begun.is_ok() { Stage::Open } else { Stage::Over };
        begun.map(|()| open)
    }

    async fn commit(mut self) -> Result<()> {
        self.stage = Stage::Over;
        self.run.client().command(Method::Commit, "COMMIT").await
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let client = self.run.client();
        let is_open = match self.stage {
            Stage::Beginning => true,
            Stage::Open => client.transaction_state() != TransactionState::Idle,
            Stage::Over => false,
        };
        if is_open {
            client.send_rollback();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only if the futures can be given to another thread, with what they borrow.
    #[test]
    #[expect(clippy::manual_async_fn, reason = "the signature is what is checked")]
    fn the_futures_are_send_and_closures_may_borrow() {
        fn check(client: &mut Client, name: &str) -> impl Future<Output = Result<()>> + Send {
            async move {
                let policy = RetryPolicy::default();
                client
                    .retry_statement(
                        policy,
                        |client| async move { client.execute("select $1", &[&name]).await },
                    )
                    .await?;
                client
                    .retry_transaction(policy, |transaction| async move {
                        transaction.execute("select $1", &[&name]).await?;
                        Ok(())
                    })
                    .await
            }
        }
        let _ = check;
    }
}
