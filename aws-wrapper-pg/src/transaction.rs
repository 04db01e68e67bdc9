//! Transactions: the driver's own, each call through the pipeline.

use std::fmt;
use std::sync::Arc;

use aws_wrapper_core::error::Result as CoreResult;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::{Ask, BeginOptions, Call, Text};
use aws_wrapper_core::registry::{Ending, Slot};
use aws_wrapper_core::retry::expired;
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_core::table::Table;
use bytes::Buf;
use futures_util::future::BoxFuture;
use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{IsolationLevel, Portal, Row, SimpleQueryMessage};

use crate::cancel::CancelToken;
use crate::client::{Client, nothing, rows_changed};
use crate::connect::Dialled;
use crate::copy::{CopyInSink, CopyOutStream};
use crate::driver::{PgDriver, Shared, fetch_text};
use crate::error::{Error, Result, already_ended, call_failed, checked, exchange_failed};
use crate::lent::{Lent, NoAsk, owned_call};
use crate::params::encode;
use crate::physical::Lease;
use crate::row_stream::RowStream;
use crate::stale::{Failed, Verdict, prepare_failed, text_failed, typed_failed};
use crate::statement::{Kind, Statement, ToStatement, with_statement};
use crate::statements::Statements;

/// Begins a transaction with settings of its own. Made by [`Client::build_transaction`].
#[derive(Debug)]
pub struct TransactionBuilder<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) isolation_level: Option<IsolationLevel>,
    pub(crate) read_only: Option<bool>,
    pub(crate) deferrable: Option<bool>,
}

impl<'a> TransactionBuilder<'a> {
    pub(crate) fn new(client: &'a mut Client) -> Self {
        Self { client, isolation_level: None, read_only: None, deferrable: None }
    }

    /// Sets the isolation level. Default: the session's.
    #[must_use]
    pub fn isolation_level(mut self, isolation_level: IsolationLevel) -> Self {
        self.isolation_level = Some(isolation_level);
        self
    }

    /// Sets whether writes are refused. Default: the session's.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = Some(read_only);
        self
    }

    /// Sets whether a serializable read-only transaction waits for a moment at which it cannot fail.
    #[must_use]
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.deferrable = Some(deferrable);
        self
    }

    /// Begins the transaction.
    ///
    /// # Errors
    /// When the connection is lost here nothing was lost with it: begin again.
    pub async fn start(self) -> Result<Transaction<'a>> {
        // So that a call that was forgotten is no obstacle, and the connection can be borrowed as a whole.
        self.client.exclusive().await?;
        let (current, shared) = self.client.parts();
        let text = Text::of_begin(None, BeginOptions::read_only(self.read_only));
        let call = Call::new(Method::Begin, text, shared.logical(), &NoAsk);
        let mut current = Some(current);
        let began = shared.pipeline().call(&call, || async {
            // It is: the exchange runs once.
            let Some(current) = current.take() else { return Err(expired()) };
            // A connection that waits by now carries the call.
            current.fold(shared);
            let physical = current.base_mut();
            let at = At {
                lease: &physical.lease,
                dialled: &physical.dialled,
                statements: &physical.statements,
                shared,
                is_nested: false,
            };
            let driver = &mut physical.client;
            call.uses(at.slot());
            if at.slot().has_ended() {
                return Err(already_ended(at.slot()));
            }
            let in_flight = at.slot().enter();
            let mut builder = driver.build_transaction();
            if let Some(isolation_level) = self.isolation_level {
                builder = builder.isolation_level(isolation_level);
            }
            if let Some(read_only) = self.read_only {
                builder = builder.read_only(read_only);
            }
            if let Some(deferrable) = self.deferrable {
                builder = builder.deferrable(deferrable);
            }
            let inner = in_flight.end(checked!(builder.start().await, at.slot()))?;
            Ok((inner, at))
        });
        let (inner, at) = began.await?;
        Ok(Transaction { open: Open(Some(at.slot())), inner, at })
    }
}

/// A transaction, or a savepoint in one. Rolled back when dropped; [`commit`](Self::commit) keeps its effect.
///
/// When the connection is lost inside it, the call fails with an error whose
/// [`transaction_outcome`](aws_wrapper_core::Error::transaction_outcome) says what became of the work: rolled back, or,
/// only for a lost commit, unknown. All further calls fail too; drop it and begin a new one on the same client.
pub struct Transaction<'a> {
    // Before the driver's, whose drop sends the rollback.
    open: Open<'a>,
    inner: tokio_postgres::Transaction<'a>,
    at: At<'a>,
}

/// The parts of the physical connection that the driver's transaction does not borrow.
#[derive(Clone, Copy)]
struct At<'a> {
    lease: &'a Arc<Lease>,
    dialled: &'a Dialled,
    statements: &'a Statements,
    shared: &'a Arc<Shared>,
    is_nested: bool,
}

impl<'a> At<'a> {
    fn slot(&self) -> &'a Arc<Slot> {
        &self.lease.slot
    }

    /// A transaction never changes its connection: whatever waits is for the client's next call.
    fn ready(&self, call: &Call<'_, PgDriver>) -> CoreResult<()> {
        call.uses(self.slot());
        if self.slot().has_ended() {
            return Err(already_ended(self.slot()));
        }
        Ok(())
    }
}

/// Tells the slot when a transaction is given up and nobody waits for the answer. Empty for savepoints.
struct Open<'a>(Option<&'a Slot>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(slot) =
            self.0.filter(|slot| !slot.has_ended() && slot.transaction() != TransactionState::Idle)
        {
            slot.set_ending(Ending::Rollback);
        }
    }
}

/// Asks inside the transaction.
struct InTransaction<'a> {
    client: &'a tokio_postgres::Client,
    slot: &'a Arc<Slot>,
}

impl fmt::Debug for InTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTransaction").field("slot", self.slot).finish_non_exhaustive()
    }
}

impl Ask for InTransaction<'_> {
    fn fetch_text<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, CoreResult<Table>> {
        Box::pin(async move {
            match fetch_text(self.client, sql).await {
                Ok(table) => Ok(table),
                Err(error) => Err(call_failed(error, self.slot).await),
            }
        })
    }
}

/// One call: `$exchange` runs inside the plugins.
macro_rules! through {
    ($self:ident, $method:expr, $sql:expr, $exchange:expr) => {
        through!($self, $method, $sql, $exchange, nothing)
    };
    ($self:ident, $method:expr, $sql:expr, $exchange:expr, $note:ident) => {{
        let at = $self.at;
        let ask = InTransaction { client: $self.inner.client(), slot: at.slot() };
        let call = Call::new($method, $sql, at.shared.logical(), &ask);
        at.shared
            .pipeline()
            .call(&call, || async {
                at.ready(&call)?;
                let in_flight = at.slot().enter();
                let answer = in_flight.end(checked!($exchange, at.slot(), &call));
                call.kept(at.slot(), answer.inspect(|value| $note(&call, value)))
            })
            .await
            .map_err(Error::from)
    }};
}

/// As `through`, for an exchange that says how many rows it changed.
macro_rules! changing {
    ($self:ident, $method:expr, $sql:expr, $exchange:expr) => {
        through!($self, $method, $sql, $exchange, rows_changed)
    };
}

/// One call with a statement: `$driver` is the driver's form of `$statement`.
macro_rules! execute {
    ($self:ident, $method:expr, $statement:ident, |$driver:ident| $exchange:expr) => {
        execute!(through, $self, $method, $statement, |$driver| $exchange)
    };
    ($way:ident, $self:ident, $method:expr, $statement:ident, |$driver:ident| $exchange:expr) => {{
        let kind = $statement.kind();
        $way!($self, $method, kind.text(), {
            with_statement!(kind, $self.inner.client(), $self.at.slot(), $self.at.statements, |$driver| {
                $exchange
            })
        })
    }};
    (
        $way:ident, $self:ident, $method:expr, $statement:ident, $given:expr,
        |$driver:ident, $params:ident| $exchange:expr
    ) => {{
        let kind = $statement.kind();
        let (client, slot) = ($self.inner.client(), $self.at.slot());
        $way!($self, $method, kind.text(), {
            with_statement!(kind, client, slot, $self.at.statements, $given, |$driver, $params| $exchange)
        })
    }};
}

/// One call whose result outlives it: `$exchange` gives what `$wrap` makes a stream of.
macro_rules! lend {
    ($self:ident, $method:expr, $sql:expr, $exchange:expr, $wrap:expr) => {{
        let at = $self.at;
        let pipeline = at.shared.pipeline();
        let mut call = pipeline.lend(owned_call($method, $sql, at.shared)).await?;
        let opened = async {
            at.ready(call.call())?;
            let in_flight = at.slot().enter_shared();
            match checked!($exchange, at.slot(), call.call()) {
                Ok(opened) => Ok((opened, in_flight)),
                Err(error) => in_flight.end(Err(error)),
            }
        };
        match opened.await {
            Ok((opened, in_flight)) => {
                call.opened();
                Ok($wrap(opened, Lent::new(call, in_flight, Arc::clone(at.lease), Arc::clone(at.shared))))
            }
            Err(error) => Err(Error::from(Box::pin(call.recover(pipeline, error)).await)),
        }
    }};
}

/// A call that consumes the driver's transaction or borrows it mutably: nothing can be asked meanwhile.
macro_rules! exclusively {
    ($at:expr, $method:expr, $exchange:expr) => {{
        let at: At<'_> = $at;
        let call = Call::new($method, None, at.shared.logical(), &NoAsk);
        at.shared
            .pipeline()
            .call(&call, || async {
                at.ready(&call)?;
                let in_flight = at.slot().enter();
                call.kept(at.slot(), in_flight.end(checked!($exchange, at.slot(), &call)))
            })
            .await
            .map_err(Error::from)
    }};
}

impl Transaction<'_> {
    /// Keeps the effect of the transaction: `Ok` means that the server said so.
    ///
    /// A transaction in which a statement failed cannot be committed: the server answers by rolling it back. Where the
    /// driver returns `Ok` all the same, this is an error of the kind
    /// [`RolledBack`](aws_wrapper_core::ErrorKind::RolledBack) with what the server said before as its source, also when
    /// that error was ignored or came to a stream that was dropped before.
    ///
    /// # Errors
    /// When the server refuses, nothing of the transaction is kept. When the connection is lost meanwhile, the outcome is
    /// unknown: the transaction may or may not be committed.
    pub async fn commit(mut self) -> Result<()> {
        self.open.0 = None;
        let method = if self.at.is_nested { Method::Savepoint } else { Method::Commit };
        let inner = self.inner;
        exclusively!(self.at, method, inner.commit().await)
    }

    /// Drops the effect of the transaction; as dropping it does, but tells of errors.
    pub async fn rollback(self) -> Result<()> {
        let (inner, mut open) = (self.inner, self.open);
        let result = exclusively!(self.at, Method::Rollback, inner.rollback().await);
        open.0 = None;
        result
    }

    /// Opens a transaction inside this one, by a savepoint.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>> {
        let at = At { is_nested: true, ..self.at };
        let inner = &mut self.inner;
        let inner = exclusively!(at, Method::Savepoint, inner.transaction().await)?;
        Ok(Transaction { open: Open(None), inner, at })
    }

    /// Opens a transaction inside this one, by a savepoint of that name.
    pub async fn savepoint<I>(&mut self, name: I) -> Result<Transaction<'_>>
    where
        I: Into<String>,
    {
        let at = At { is_nested: true, ..self.at };
        let inner = &mut self.inner;
        let inner = exclusively!(at, Method::Savepoint, inner.savepoint(name).await)?;
        Ok(Transaction { open: Open(None), inner, at })
    }

    /// As [`Client::prepare`].
    pub async fn prepare(&self, query: &str) -> Result<Statement> {
        self.prepare_typed(query, &[]).await
    }

    /// As [`Client::prepare_typed`].
    pub async fn prepare_typed(&self, query: &str, parameter_types: &[Type]) -> Result<Statement> {
        through!(self, Method::Prepare, Some(query), {
            Statement::prepare(
                self.inner.client(),
                Some((self.at.slot(), self.at.statements)),
                query,
                parameter_types,
            )
            .await
            .map_err(|error| prepare_failed(error, query))
        })
    }

    /// As [`Client::query`].
    pub async fn query<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Query, statement, |driver| self.inner.query(driver, params).await)
    }

    /// As [`Client::query_one`].
    pub async fn query_one<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Row>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Query, statement, |driver| self.inner.query_one(driver, params).await)
    }

    /// As [`Client::query_opt`].
    pub async fn query_opt<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Query, statement, |driver| self.inner.query_opt(driver, params).await)
    }

    /// As [`Client::query_raw`].
    pub async fn query_raw<T, P, I>(&self, statement: &T, params: I) -> Result<RowStream>
    where
        T: ?Sized + ToStatement,
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        let kind = statement.kind();
        lend!(
            self,
            Method::QueryStream,
            kind.sql(),
            with_statement!(
                kind,
                self.inner.client(),
                self.at.slot(),
                self.at.statements,
                params,
                |driver, params| self.inner.query_raw(driver, params).await
            ),
            |rows, lent| RowStream::new(rows, Some(lent))
        )
    }

    /// As [`Client::query_typed`].
    pub async fn query_typed(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>> {
        through!(
            self,
            Method::Query,
            Some(statement),
            self.inner.query_typed(statement, params).await.map_err(|error| typed_failed(error, statement))
        )
    }

    /// As [`Client::query_typed_one`].
    pub async fn query_typed_one(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Row> {
        through!(
            self,
            Method::Query,
            Some(statement),
            self.inner
                .query_typed_one(statement, params)
                .await
                .map_err(|error| typed_failed(error, statement))
        )
    }

    /// As [`Client::query_typed_opt`].
    pub async fn query_typed_opt(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<Row>> {
        through!(
            self,
            Method::Query,
            Some(statement),
            self.inner
                .query_typed_opt(statement, params)
                .await
                .map_err(|error| typed_failed(error, statement))
        )
    }

    /// As [`Client::query_typed_raw`].
    pub async fn query_typed_raw<P, I>(&self, query: &str, params: I) -> Result<RowStream>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, Type)>,
    {
        lend!(
            self,
            Method::QueryStream,
            Some(query),
            self.inner.query_typed_raw(query, params).await.map_err(|error| typed_failed(error, query)),
            |rows, lent| RowStream::new(rows, Some(lent))
        )
    }

    /// As [`Client::execute`].
    pub async fn execute<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<u64>
    where
        T: ?Sized + ToStatement,
    {
        execute!(changing, self, Method::Execute, statement, |driver| self
            .inner
            .execute(driver, params)
            .await)
    }

    /// As [`Client::execute_typed`].
    pub async fn execute_typed(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<u64> {
        changing!(self, Method::Execute, Some(statement), self.inner.execute_typed(statement, params).await)
    }

    /// As [`Client::execute_raw`].
    pub async fn execute_raw<P, I, T>(&self, statement: &T, params: I) -> Result<u64>
    where
        T: ?Sized + ToStatement,
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        execute!(changing, self, Method::Execute, statement, params, |driver, params| self
            .inner
            .execute_raw(driver, params)
            .await)
    }

    /// Binds parameters to a statement. The portal can be read in pieces, in this transaction.
    ///
    /// # Panics
    /// When the number of parameters is wrong.
    pub async fn bind<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Portal>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Portal, statement, |driver| self.inner.bind(driver, params).await)
    }

    /// As [`bind`](Self::bind); parameters can be any iterator.
    ///
    /// # Panics
    /// When the number of parameters is wrong.
    pub async fn bind_raw<P, T, I>(&self, statement: &T, params: I) -> Result<Portal>
    where
        T: ?Sized + ToStatement,
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        execute!(through, self, Method::Portal, statement, params, |driver, params| self
            .inner
            .bind_raw(driver, params)
            .await)
    }

    /// Reads the next rows of a portal, all that are left if `max_rows` is not positive.
    pub async fn query_portal(&self, portal: &Portal, max_rows: i32) -> Result<Vec<Row>> {
        through!(self, Method::Portal, None, self.inner.query_portal(portal, max_rows).await)
    }

    /// As [`query_portal`](Self::query_portal), with the rows as they come.
    pub async fn query_portal_raw(&self, portal: &Portal, max_rows: i32) -> Result<RowStream> {
        lend!(
            self,
            Method::Portal,
            None,
            self.inner.query_portal_raw(portal, max_rows).await,
            |rows, lent| RowStream::new(rows, Some(lent))
        )
    }

    /// As [`Client::copy_in`].
    pub async fn copy_in<T, U>(&self, statement: &T) -> Result<CopyInSink<U>>
    where
        T: ?Sized + ToStatement,
        U: Buf + 'static + Send,
    {
        let kind = statement.kind();
        lend!(
            self,
            Method::CopyIn,
            kind.sql(),
            with_statement!(kind, self.inner.client(), self.at.slot(), self.at.statements, |driver| {
                self.inner.copy_in(driver).await
            }),
            CopyInSink::new
        )
    }

    /// As [`Client::copy_out`].
    pub async fn copy_out<T>(&self, statement: &T) -> Result<CopyOutStream>
    where
        T: ?Sized + ToStatement,
    {
        let kind = statement.kind();
        lend!(
            self,
            Method::CopyOut,
            kind.sql(),
            with_statement!(kind, self.inner.client(), self.at.slot(), self.at.statements, |driver| {
                self.inner.copy_out(driver).await
            }),
            CopyOutStream::new
        )
    }

    /// As [`Client::simple_query`].
    pub async fn simple_query(&self, query: &str) -> Result<Vec<SimpleQueryMessage>> {
        through!(self, Method::SimpleQuery, Some(query), self.inner.simple_query(query).await)
    }

    /// As [`Client::batch_execute`].
    pub async fn batch_execute(&self, query: &str) -> Result<()> {
        through!(self, Method::BatchExecute, Some(query), self.inner.batch_execute(query).await)
    }

    /// As [`Client::cancel_token`].
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken::new(Some((self.inner.client(), self.at.dialled)), self.at.shared.connect_limit())
    }

    /// What is known of the connection.
    pub fn slot(&self) -> &Arc<Slot> {
        self.at.slot()
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("slot", self.at.slot()).finish_non_exhaustive()
    }
}
