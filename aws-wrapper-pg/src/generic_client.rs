//! One trait for clients and transactions, the wrapper's and the driver's.

use std::future::Future;

use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::row_stream::RowStream;
use crate::statement::{Kind, Statement, ToStatement};
use crate::transaction::Transaction;

/// What clients and transactions have in common, for functions that take either.
///
/// Implemented for [`Client`] and [`Transaction`], and for the driver's own, so that a function can be moved over before
/// its callers are. The methods are those of [`tokio_postgres::GenericClient`], which cannot be implemented outside the
/// driver. Sealed: cannot be implemented outside.
///
/// ```no_run
/// use aws_wrapper_pg::{GenericClient, Result};
///
/// async fn count(client: &impl GenericClient) -> Result<i64> {
///     Ok(client.query_one("select count(*) from t", &[]).await?.get(0))
/// }
/// ```
pub trait GenericClient: sealed::Sealed + Send + Sync {
    /// The type of a transaction begun on it.
    type Tx<'t>: GenericClient
    where
        Self: 't;

    /// As [`Client::transaction`]; a savepoint on a transaction.
    fn transaction(&mut self) -> impl Future<Output = Result<Self::Tx<'_>>> + Send;

    /// As [`Client::query`].
    fn query<T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Vec<Row>>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// As [`Client::query_one`].
    fn query_one<T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Row>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// As [`Client::query_opt`].
    fn query_opt<T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Option<Row>>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// As [`Client::query_raw`].
    fn query_raw<T, P, I>(&self, statement: &T, params: I) -> impl Future<Output = Result<RowStream>> + Send
    where
        T: ?Sized + ToStatement + Sync,
        P: BorrowToSql,
        I: IntoIterator<Item = P> + Send,
        I::IntoIter: ExactSizeIterator;

    /// As [`Client::query_typed`].
    fn query_typed(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> impl Future<Output = Result<Vec<Row>>> + Send;

    /// As [`Client::query_typed_one`].
    fn query_typed_one(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> impl Future<Output = Result<Row>> + Send;

    /// As [`Client::query_typed_opt`].
    fn query_typed_opt(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> impl Future<Output = Result<Option<Row>>> + Send;

    /// As [`Client::query_typed_raw`].
    fn query_typed_raw<P, I>(
        &self,
        statement: &str,
        params: I,
    ) -> impl Future<Output = Result<RowStream>> + Send
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, Type)> + Send;

    /// As [`Client::execute`].
    fn execute<T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<u64>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// As [`Client::execute_raw`].
    fn execute_raw<P, I, T>(&self, statement: &T, params: I) -> impl Future<Output = Result<u64>> + Send
    where
        T: ?Sized + ToStatement + Sync,
        P: BorrowToSql,
        I: IntoIterator<Item = P> + Send,
        I::IntoIter: ExactSizeIterator;

    /// As [`Client::execute_typed`].
    fn execute_typed(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> impl Future<Output = Result<u64>> + Send;

    /// As [`Client::prepare`].
    fn prepare(&self, query: &str) -> impl Future<Output = Result<Statement>> + Send;

    /// As [`Client::prepare_typed`].
    fn prepare_typed(
        &self,
        query: &str,
        parameter_types: &[Type],
    ) -> impl Future<Output = Result<Statement>> + Send;

    /// As [`Client::batch_execute`].
    fn batch_execute(&self, query: &str) -> impl Future<Output = Result<()>> + Send;

    /// As [`Client::simple_query`].
    fn simple_query(&self, query: &str) -> impl Future<Output = Result<Vec<SimpleQueryMessage>>> + Send;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}

    impl Sealed for super::Client {}
    impl Sealed for super::Transaction<'_> {}
    impl Sealed for tokio_postgres::Client {}
    impl Sealed for tokio_postgres::Transaction<'_> {}
}

/// The wrapper's own: each method is the inherent one of the same name.
macro_rules! of_the_wrapper {
    ($name:ident, $type:ty) => {
        impl GenericClient for $type {
            type Tx<'t>
                = Transaction<'t>
            where
                Self: 't;

            async fn transaction(&mut self) -> Result<Transaction<'_>> {
                $name::transaction(self).await
            }

            async fn query<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>>
            where
                T: ?Sized + ToStatement + Sync,
            {
                $name::query(self, statement, params).await
            }

            async fn query_one<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Row>
            where
                T: ?Sized + ToStatement + Sync,
            {
                $name::query_one(self, statement, params).await
            }

            async fn query_opt<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>>
            where
                T: ?Sized + ToStatement + Sync,
            {
                $name::query_opt(self, statement, params).await
            }

            async fn query_raw<T, P, I>(&self, statement: &T, params: I) -> Result<RowStream>
            where
                T: ?Sized + ToStatement + Sync,
                P: BorrowToSql,
                I: IntoIterator<Item = P> + Send,
                I::IntoIter: ExactSizeIterator,
            {
                $name::query_raw(self, statement, params).await
            }

            async fn query_typed(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Vec<Row>> {
                $name::query_typed(self, statement, params).await
            }

            async fn query_typed_one(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Row> {
                $name::query_typed_one(self, statement, params).await
            }

            async fn query_typed_opt(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Option<Row>> {
                $name::query_typed_opt(self, statement, params).await
            }

            async fn query_typed_raw<P, I>(&self, statement: &str, params: I) -> Result<RowStream>
            where
                P: BorrowToSql,
                I: IntoIterator<Item = (P, Type)> + Send,
            {
                $name::query_typed_raw(self, statement, params).await
            }

            async fn execute<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<u64>
            where
                T: ?Sized + ToStatement + Sync,
            {
                $name::execute(self, statement, params).await
            }

            async fn execute_raw<P, I, T>(&self, statement: &T, params: I) -> Result<u64>
            where
                T: ?Sized + ToStatement + Sync,
                P: BorrowToSql,
                I: IntoIterator<Item = P> + Send,
                I::IntoIter: ExactSizeIterator,
            {
                $name::execute_raw(self, statement, params).await
            }

            async fn execute_typed(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<u64> {
                $name::execute_typed(self, statement, params).await
            }

            async fn prepare(&self, query: &str) -> Result<Statement> {
                $name::prepare(self, query).await
            }

            async fn prepare_typed(&self, query: &str, parameter_types: &[Type]) -> Result<Statement> {
                $name::prepare_typed(self, query, parameter_types).await
            }

            async fn batch_execute(&self, query: &str) -> Result<()> {
                $name::batch_execute(self, query).await
            }

            async fn simple_query(&self, query: &str) -> Result<Vec<SimpleQueryMessage>> {
                $name::simple_query(self, query).await
            }
        }
    };
}

of_the_wrapper!(Client, Client);
of_the_wrapper!(Transaction, Transaction<'_>);

/// Runs `$exchange` with the driver's form of `$statement`.
macro_rules! on {
    ($client:expr, $statement:ident, |$driver:ident| $exchange:expr) => {
        match $statement.kind() {
            Kind::Sql($driver) => $exchange,
            Kind::Driver($driver) => $exchange,
            Kind::Statement(statement) => match statement.on_foreign($client).await {
                Ok(prepared) => {
                    let $driver = &prepared;
                    $exchange.inspect_err(|error| statement.failed_on_foreign(error))
                }
                Err(error) => Err(error),
            },
        }
    };
}

/// The driver's: the wrapper's statements are prepared where they were not made, and errors become the wrapper's.
macro_rules! of_the_driver {
    ($type:ty, |$this:ident| $client:expr) => {
        impl GenericClient for $type {
            type Tx<'t>
                = tokio_postgres::Transaction<'t>
            where
                Self: 't;

            async fn transaction(&mut self) -> Result<tokio_postgres::Transaction<'_>> {
                wrapped(self.transaction().await)
            }

            async fn query<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $this = self;
                let result = on!($client, statement, |driver| self.query(driver, params).await);
                wrapped(result)
            }

            async fn query_one<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Row>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $this = self;
                let result = on!($client, statement, |driver| self.query_one(driver, params).await);
                wrapped(result)
            }

            async fn query_opt<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $this = self;
                let result = on!($client, statement, |driver| self.query_opt(driver, params).await);
                wrapped(result)
            }

            async fn query_raw<T, P, I>(&self, statement: &T, params: I) -> Result<RowStream>
            where
                T: ?Sized + ToStatement + Sync,
                P: BorrowToSql,
                I: IntoIterator<Item = P> + Send,
                I::IntoIter: ExactSizeIterator,
            {
                let $this = self;
                let result = on!($client, statement, |driver| self.query_raw(driver, params).await);
                wrapped(result).map(|rows| RowStream::new(rows, None))
            }

            async fn query_typed(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Vec<Row>> {
                wrapped(self.query_typed(statement, params).await)
            }

            async fn query_typed_one(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Row> {
                wrapped(self.query_typed_one(statement, params).await)
            }

            async fn query_typed_opt(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Option<Row>> {
                wrapped(self.query_typed_opt(statement, params).await)
            }

            async fn query_typed_raw<P, I>(&self, statement: &str, params: I) -> Result<RowStream>
            where
                P: BorrowToSql,
                I: IntoIterator<Item = (P, Type)> + Send,
            {
                wrapped(self.query_typed_raw(statement, params).await).map(|rows| RowStream::new(rows, None))
            }

            async fn execute<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<u64>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $this = self;
                let result = on!($client, statement, |driver| self.execute(driver, params).await);
                wrapped(result)
            }

            async fn execute_raw<P, I, T>(&self, statement: &T, params: I) -> Result<u64>
            where
                T: ?Sized + ToStatement + Sync,
                P: BorrowToSql,
                I: IntoIterator<Item = P> + Send,
                I::IntoIter: ExactSizeIterator,
            {
                let $this = self;
                let result = on!($client, statement, |driver| self.execute_raw(driver, params).await);
                wrapped(result)
            }

            async fn execute_typed(
                &self,
                statement: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<u64> {
                let $this = self;
                wrapped($client.execute_typed(statement, params).await)
            }

            async fn prepare(&self, query: &str) -> Result<Statement> {
                let $this = self;
                wrapped(Statement::prepare($client, None, query, &[]).await)
            }

            async fn prepare_typed(&self, query: &str, parameter_types: &[Type]) -> Result<Statement> {
                let $this = self;
                wrapped(Statement::prepare($client, None, query, parameter_types).await)
            }

            async fn batch_execute(&self, query: &str) -> Result<()> {
                wrapped(self.batch_execute(query).await)
            }

            async fn simple_query(&self, query: &str) -> Result<Vec<SimpleQueryMessage>> {
                wrapped(self.simple_query(query).await)
            }
        }
    };
}

of_the_driver!(tokio_postgres::Client, |this| this);
of_the_driver!(tokio_postgres::Transaction<'_>, |this| this.client());

fn wrapped<T>(result: Result<T, tokio_postgres::Error>) -> Result<T> {
    result.map_err(Error::from)
}
