//! Work that is run again on another connection.

use std::future::Future;

use aws_wrapper_core::error::{RetryAdvice, TransactionOutcome};
use aws_wrapper_core::host::Role;
use aws_wrapper_core::plugin::Intent;
use aws_wrapper_core::retry::{Attempt, Failure, RetryPolicy, Work, run};

use crate::adapter::Adapter;
use crate::error::Error;
use crate::object::Object;
use crate::pool::Pool;

impl<A: Adapter> Pool<A> {
    /// Checks a connection of that role out, runs `work` on it, and runs it again on another one where `policy` permits.
    /// [`Role::Unknown`] takes what [`get`](Self::get) gives.
    ///
    /// `work` is one statement or one transaction: it runs again when nothing of it was sent or kept, and else only if the
    /// policy says that it is [idempotent](RetryPolicy::idempotent). What a statement before the last one did alone is done
    /// again, so put several into a transaction. A checkout that fails for a reason that may pass counts as a run.
    ///
    #[cfg_attr(feature = "pg", doc = "```no_run")]
    #[cfg_attr(not(feature = "pg"), doc = "```text")]
    /// use aws_wrapper_deadpool::core::host::Role;
    /// use aws_wrapper_deadpool::core::retry::RetryPolicy;
    /// use aws_wrapper_deadpool::{Error, pg::Pool};
    ///
    /// async fn name_of(pool: &Pool, id: i32) -> Result<String, Error> {
    ///     let policy = RetryPolicy::default().idempotent();
    ///     pool.run(Role::Reader, policy, |client| async move {
    ///         Ok(client.query_one("select name from customers where id = $1", &[&id]).await?.get(0))
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    /// That of the last run: of the checkout, or of the kind [`ErrorKind::Work`](crate::ErrorKind::Work) with the error of
    /// `work` as its source. It answers [`retry_advice`](Error::retry_advice) and the other questions.
    ///
    /// # Cancellation
    /// As that of what `work` was doing; the connection is given back.
    pub async fn run<T, F, Fut>(&self, role: Role, policy: RetryPolicy, work: F) -> Result<T, Error>
    where
        F: FnMut(Object<A>) -> Fut + Send,
        Fut: Future<Output = Result<T, A::Error>> + Send,
        T: Send,
    {
        run(policy, Work::Checkout, Checkout { pool: self, role, work }).await
    }
}

struct Checkout<'a, A: Adapter, F> {
    pool: &'a Pool<A>,
    role: Role,
    work: F,
}

impl<A, T, F, Fut> Attempt for Checkout<'_, A, F>
where
    A: Adapter,
    F: FnMut(Object<A>) -> Fut + Send,
    Fut: Future<Output = Result<T, A::Error>> + Send,
    T: Send,
{
    type Output = T;
    type Error = Error;

    async fn attempt(&mut self, _intent: Intent) -> Result<T, Error> {
        let object = match self.role {
            Role::Writer => self.pool.writer().await?,
            Role::Reader => self.pool.reader().await?,
            _ => self.pool.get().await?,
        };
        let target = Object::target(&object);
        (self.work)(object).await.map_err(|error| Error::work(A::into_core(error), target))
    }
}

impl Failure for Error {
    fn retry_advice(&self) -> RetryAdvice {
        self.retry_advice()
    }

    fn transaction_outcome(&self) -> TransactionOutcome {
        self.transaction_outcome()
    }

    fn statement_may_have_run(&self) -> bool {
        self.statement_may_have_run()
    }

    fn has_new_connection(&self) -> bool {
        self.work_error().is_some_and(aws_wrapper_core::Error::is_failover_success)
    }
}
