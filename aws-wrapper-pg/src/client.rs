//! The client: the driver's methods, each through the pipeline.

use std::fmt;
use std::sync::Arc;

use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::error::Result as CoreResult;
use aws_wrapper_core::host::Role;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::{Ask, Call, Intent};
use aws_wrapper_core::registry::{Ending, Slot};
use aws_wrapper_core::retry::expired;
use aws_wrapper_core::session::SessionChange;
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_core::table::Table;
use bytes::Buf;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_postgres::types::{BorrowToSql, FromSqlOwned, ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};

use crate::cancel::CancelToken;
use crate::copy::{CopyInSink, CopyOutStream};
use crate::current::{Current, Now};
use crate::driver::{PgDriver, Shared, fetch_text, ping};
use crate::error::{Error, Result, already_ended, call_failed, checked, exchange_failed};
use crate::handle::Run;
use crate::lent::{Lent, owned_call};
use crate::notifications::{Notifications, quoted};
use crate::params::encode;
use crate::physical::Physical;
use crate::row_stream::{RowStream, SimpleQueryStream};
use crate::stale::{Failed, Verdict, prepare_failed, text_failed, typed_failed};
use crate::statement::{Kind, Statement, ToStatement, with_statement};
use crate::transaction::{Transaction, TransactionBuilder};

/// A connection that stays when the server behind it changes: the methods of [`tokio_postgres::Client`], made by
/// [`Connector::connect`](crate::Connector::connect).
///
/// Calls can be made from several tasks at once and are pipelined, as with the driver. When the connection is lost and
/// the failover plugin finds another host, the call that was running fails with an error that says so
/// ([`is_failover_success`](aws_wrapper_core::Error::is_failover_success)), and the next call goes to the new host.
///
/// # Cancellation
/// Dropping the future of a call is fine. What was sent runs on at the server, and later calls wait behind it; cancel it
/// with a [`CancelToken`] if that matters.
pub struct Client {
    current: Current,
    pub(crate) shared: Arc<Shared>,
    /// What a retry helper says of the calls of a handle.
    intent: Intent,
}

/// One call: `$exchange` runs on the connection of the moment, inside the plugins.
macro_rules! through {
    ($self:ident, $method:expr, $sql:expr, |$physical:ident| $exchange:expr) => {
        through!($self, $method, $sql, |$physical| $exchange, nothing)
    };
    ($self:ident, $method:expr, $sql:expr, |$physical:ident| $exchange:expr, $note:ident) => {{
        let call = Call::new($method, $sql, $self.shared.logical(), $self).with_intent($self.intent);
        $self
            .shared
            .pipeline()
            .call(&call, || async {
                let $physical = $self.now(&call)?;
                let in_flight = $physical.slot().enter();
                let answer = in_flight.end(checked!($exchange, $physical.slot(), &call));
                call.kept($physical.slot(), answer.inspect(|value| $note(&call, value)))
            })
            .await
            .map_err(Error::from)
    }};
}

/// As `through`, for an exchange that says how many rows it changed.
macro_rules! changing {
    ($self:ident, $method:expr, $sql:expr, |$physical:ident| $exchange:expr) => {
        through!($self, $method, $sql, |$physical| $exchange, rows_changed)
    };
}

/// What a call learns from the value of its exchange: nothing.
pub(crate) fn nothing<T>(_call: &Call<'_, PgDriver>, _value: &T) {}

/// What a call learns from the value of its exchange: how many rows it changed.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the value of any exchange is passed")]
pub(crate) fn rows_changed(call: &Call<'_, PgDriver>, rows: &u64) {
    call.note_rows_affected(*rows);
}

/// One call with a statement: `$driver` is the driver's form of `$statement`.
macro_rules! execute {
    ($self:ident, $method:expr, $statement:ident, |$client:ident, $driver:ident| $exchange:expr) => {
        execute!(through, $self, $method, $statement, |$client, $driver| $exchange)
    };
    ($way:ident, $self:ident, $method:expr, $statement:ident, |$client:ident, $driver:ident| $exchange:expr) => {{
        let kind = $statement.kind();
        $way!($self, $method, kind.text(), |physical| {
            let $client = &physical.client;
            with_statement!(kind, $client, physical.slot(), &physical.statements, |$driver| $exchange)
        })
    }};
}

/// One call whose result outlives it: `$exchange` gives what `$wrap` makes a stream of.
macro_rules! lend {
    ($self:ident, $method:expr, $sql:expr, |$physical:ident| $exchange:expr, $wrap:expr) => {{
        let pipeline = $self.shared.pipeline();
        let mut call = pipeline.lend(owned_call($method, $sql, &$self.shared)).await?;
        let opened = async {
            let $physical = $self.now(call.call())?;
            let in_flight = $physical.slot().enter_shared();
            match checked!($exchange, $physical.slot(), call.call()) {
                Ok(opened) => Ok((opened, in_flight, Arc::clone(&$physical.lease))),
                Err(error) => in_flight.end(Err(error)),
            }
        };
        match opened.await {
            Ok((opened, in_flight, lease)) => {
                call.opened();
                Ok($wrap(opened, Lent::new(call, in_flight, lease, Arc::clone(&$self.shared))))
            }
            Err(error) => Err(Error::from(Box::pin(call.recover(pipeline, error)).await)),
        }
    }};
}

impl Client {
    pub(crate) fn new(core: CoreConnector<PgDriver>, physical: Physical, role: Option<Role>) -> Self {
        let shared = Shared::new(core, physical.slot(), role);
        physical.owner.set_client(shared.logical().session().inbox());
        Self { current: Current::new(physical), shared: Arc::new(shared), intent: Intent::PLAIN }
    }

    /// Begins a transaction. It is rolled back unless [`Transaction::commit`] is called.
    ///
    /// # Errors
    /// When the connection is lost here nothing was lost with it: begin again.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>> {
        self.build_transaction().start().await
    }

    /// Begins a transaction with settings of its own.
    pub fn build_transaction(&mut self) -> TransactionBuilder<'_> {
        TransactionBuilder::new(self)
    }

    /// Prepares a statement.
    pub async fn prepare(&self, query: &str) -> Result<Statement> {
        self.prepare_typed(query, &[]).await
    }

    /// Prepares a statement with the types of its parameters; those left out are inferred.
    pub async fn prepare_typed(&self, query: &str, parameter_types: &[Type]) -> Result<Statement> {
        through!(self, Method::Prepare, Some(query), |physical| {
            let on = (physical.slot(), &physical.statements);
            Statement::prepare(&physical.client, Some(on), query, parameter_types)
                .await
                .map_err(|error| prepare_failed(error, query))
        })
    }

    /// Executes a statement and returns its rows.
    pub async fn query<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Query, statement, |client, driver| client.query(driver, params).await)
    }

    /// Executes a statement and returns the only column of its rows.
    pub async fn query_scalar<R: FromSqlOwned, T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<R>>
    where
        T: ?Sized + ToStatement + fmt::Debug,
    {
        execute!(self, Method::Query, statement, |client, driver| client.query_scalar(driver, params).await)
    }

    /// Executes a statement that returns one row. Any other number is an error.
    pub async fn query_one<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Row>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Query, statement, |client, driver| client.query_one(driver, params).await)
    }

    /// Executes a statement that returns one row with one column.
    pub async fn query_one_scalar<R: FromSqlOwned, T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<R>
    where
        T: ?Sized + ToStatement + fmt::Debug,
    {
        execute!(self, Method::Query, statement, |client, driver| client
            .query_one_scalar(driver, params)
            .await)
    }

    /// Executes a statement that returns one row or none. More are an error.
    pub async fn query_opt<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>>
    where
        T: ?Sized + ToStatement,
    {
        execute!(self, Method::Query, statement, |client, driver| client.query_opt(driver, params).await)
    }

    /// Executes a statement that returns one row with one column, or none.
    pub async fn query_opt_scalar<R: FromSqlOwned, T>(
        &self,
        statement: &T,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<R>>
    where
        T: ?Sized + ToStatement + fmt::Debug,
    {
        execute!(self, Method::Query, statement, |client, driver| client
            .query_opt_scalar(driver, params)
            .await)
    }

    /// Executes a statement and returns its rows as they come; parameters can be any iterator.
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
            |physical| {
                let client = &physical.client;
                with_statement!(
                    kind,
                    client,
                    physical.slot(),
                    &physical.statements,
                    params,
                    |driver, params| client.query_raw(driver, params).await
                )
            },
            |rows, lent| RowStream::new(rows, Some(lent))
        )
    }

    /// Executes SQL with typed parameters and returns its rows; one round trip, nothing is prepared.
    pub async fn query_typed(&self, query: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        through!(self, Method::Query, Some(query), |physical| {
            physical.client.query_typed(query, params).await.map_err(|error| typed_failed(error, query))
        })
    }

    /// As [`query_typed`](Self::query_typed), for one row. Any other number is an error.
    pub async fn query_typed_one(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Row> {
        through!(self, Method::Query, Some(statement), |physical| {
            physical
                .client
                .query_typed_one(statement, params)
                .await
                .map_err(|error| typed_failed(error, statement))
        })
    }

    /// As [`query_typed`](Self::query_typed), for one row or none. More are an error.
    pub async fn query_typed_opt(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<Row>> {
        through!(self, Method::Query, Some(statement), |physical| {
            physical
                .client
                .query_typed_opt(statement, params)
                .await
                .map_err(|error| typed_failed(error, statement))
        })
    }

    /// As [`query_typed`](Self::query_typed), with the rows as they come.
    pub async fn query_typed_raw<P, I>(&self, query: &str, params: I) -> Result<RowStream>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, Type)>,
    {
        lend!(
            self,
            Method::QueryStream,
            Some(query),
            |physical| physical
                .client
                .query_typed_raw(query, params)
                .await
                .map_err(|error| typed_failed(error, query)),
            |rows, lent| RowStream::new(rows, Some(lent))
        )
    }

    /// Executes a statement and returns how many rows it changed.
    pub async fn execute<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<u64>
    where
        T: ?Sized + ToStatement,
    {
        execute!(changing, self, Method::Execute, statement, |client, driver| client
            .execute(driver, params)
            .await)
    }

    /// Executes SQL with typed parameters; one round trip, nothing is prepared.
    pub async fn execute_typed(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<u64> {
        changing!(self, Method::Execute, Some(statement), |physical| {
            physical.client.execute_typed(statement, params).await
        })
    }

    /// As [`execute`](Self::execute); parameters can be any iterator.
    pub async fn execute_raw<T, P, I>(&self, statement: &T, params: I) -> Result<u64>
    where
        T: ?Sized + ToStatement,
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        let kind = statement.kind();
        changing!(self, Method::Execute, kind.text(), |physical| {
            let client = &physical.client;
            with_statement!(kind, client, physical.slot(), &physical.statements, params, |driver, params| {
                client.execute_raw(driver, params).await
            })
        })
    }

    /// Executes a `COPY … FROM STDIN` and returns a sink for its data.
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
            |physical| {
                let client = &physical.client;
                with_statement!(kind, client, physical.slot(), &physical.statements, |driver| {
                    client.copy_in(driver).await
                })
            },
            CopyInSink::new
        )
    }

    /// Executes a `COPY … TO STDOUT` and returns its data as it comes.
    pub async fn copy_out<T>(&self, statement: &T) -> Result<CopyOutStream>
    where
        T: ?Sized + ToStatement,
    {
        let kind = statement.kind();
        lend!(
            self,
            Method::CopyOut,
            kind.sql(),
            |physical| {
                let client = &physical.client;
                with_statement!(kind, client, physical.slot(), &physical.statements, |driver| {
                    client.copy_out(driver).await
                })
            },
            CopyOutStream::new
        )
    }

    /// Executes statements separated by semicolons and returns their results as text.
    ///
    /// Never put what users typed into the text.
    pub async fn simple_query(&self, query: &str) -> Result<Vec<SimpleQueryMessage>> {
        through!(self, Method::SimpleQuery, Some(query), |physical| physical.client.simple_query(query).await)
    }

    /// As [`simple_query`](Self::simple_query), with the results as they come.
    pub async fn simple_query_raw(&self, query: &str) -> Result<SimpleQueryStream> {
        lend!(
            self,
            Method::SimpleQuery,
            Some(query),
            |physical| physical.client.simple_query_raw(query).await,
            SimpleQueryStream::new
        )
    }

    /// Executes statements separated by semicolons.
    ///
    /// Never put what users typed into the text.
    pub async fn batch_execute(&self, query: &str) -> Result<()> {
        through!(self, Method::BatchExecute, Some(query), |physical| physical
            .client
            .batch_execute(query)
            .await)
    }

    /// Asks the server for a sign of life.
    pub async fn check_connection(&self) -> Result<()> {
        through!(self, Method::Ping, None, |physical| ping(&physical.client).await)
    }

    /// Asks the server for a sign of life past the plugins: silence starts no failover. For pools; the caller sets the
    /// deadline.
    pub async fn probe(&self) -> Result<()> {
        let physical = self.newest()?;
        if physical.slot().has_ended() {
            return Err(already_ended(physical.slot()).into());
        }
        let in_flight = physical.slot().enter();
        in_flight.end(checked!(ping(&physical.client).await, physical.slot())).map_err(Error::from)
    }

    /// Subscribes to a channel, whose name may be anything, on this connection and all that replace it.
    ///
    /// Read what arrives with [`notifications`](Self::notifications). A `LISTEN` in SQL text is not repeated on a new
    /// connection; and inside a transaction that is rolled back the subscription is lost.
    pub async fn listen(&self, channel: &str) -> Result<()> {
        let session = self.shared.logical().session();
        // First, so that a connection being prepared meanwhile is subscribed too.
        let is_new = session.listen(channel);
        let result = self.listen_sql(&format!("LISTEN {}", quoted(channel))).await;
        if result.is_err() && is_new {
            session.unlisten(channel);
        }
        result
    }

    /// Ends the subscription to a channel.
    pub async fn unlisten(&self, channel: &str) -> Result<()> {
        self.shared.logical().session().unlisten(channel);
        self.listen_sql(&format!("UNLISTEN {}", quoted(channel))).await
    }

    async fn listen_sql(&self, sql: &str) -> Result<()> {
        through!(self, Method::Listen, Some(sql), |physical| physical.client.batch_execute(sql).await)
    }

    /// The notifications of the channels listened to, from now on. A stream made before ends.
    pub fn notifications(&self) -> Notifications {
        // A pool's next user listens for others.
        self.slot().note_session_change(SessionChange::Resettable);
        self.shared.logical().session().subscribe()
    }

    /// Returns a token that cancels the query running on the current physical connection.
    pub fn cancel_token(&self) -> CancelToken {
        let now = self.current.now();
        let target = now.as_deref().map(|now| (&now.client, &now.dialled));
        CancelToken::new(target, self.shared.connect_limit())
    }

    /// Forgets what the driver knows about user-defined types.
    ///
    /// The statements by which it reads them are not forgotten: after a `DISCARD ALL` or `DEALLOCATE ALL` the next
    /// statement with a type that is not known yet ends the connection, with an error that says so.
    pub fn clear_type_cache(&self) {
        if let Some(now) = self.current.now() {
            now.client.clear_type_cache();
        }
    }

    /// Whether the connection is gone and no other is waiting to take its place.
    ///
    /// With the failover plugin the next call may still find another one.
    pub fn is_closed(&self) -> bool {
        let is_closed = self.current.now().is_none_or(|now| now.client.is_closed());
        is_closed && (self.current.is_of_handle() || !self.shared.logical().has_parked())
    }

    /// What is known of the connection in use: its host, its role, its age.
    pub fn slot(&self) -> Arc<Slot> {
        self.shared.logical().newest()
    }

    /// The state of the transaction as the server last told it. While calls are running it is that of the call that
    /// ended last.
    pub fn transaction_state(&self) -> TransactionState {
        self.current.now().map_or(TransactionState::Unknown, |now| now.slot().transaction())
    }

    /// The connection for a call.
    #[inline]
    fn now(&self, call: &Call<'_, PgDriver>) -> CoreResult<Now<'_>> {
        let now = self.newest()?;
        call.uses(now.slot());
        if now.slot().has_ended() {
            return Err(already_ended(now.slot()));
        }
        Ok(now)
    }

    /// The connection in use: one that waits is put to use first.
    #[inline]
    pub(crate) fn newest(&self) -> CoreResult<Now<'_>> {
        if self.shared.logical().has_parked() && !self.current.is_of_handle() {
            self.current.adopt(&self.shared);
        }
        self.current.now().ok_or_else(expired)
    }

    /// The time of a handle on the connection in use.
    pub(crate) fn run(&self, intent: Intent) -> CoreResult<Run> {
        drop(self.newest()?);
        let physical = self.current.share().ok_or_else(expired)?;
        let current = Current::of_handle(physical);
        Ok(Run::new(Self { current, shared: Arc::clone(&self.shared), intent }))
    }

    /// The time of this handle is over.
    pub(crate) fn take_away(&self) {
        self.current.take_away();
    }

    /// A command of a retry helper.
    pub(crate) async fn command(&self, method: Method, sql: &str) -> Result<()> {
        through!(self, method, Some(sql), |physical| physical.client.batch_execute(sql).await)
    }

    /// Rolls back what is open, without waiting for the answer, as the driver does for a transaction that is dropped.
    pub(crate) fn send_rollback(&self) {
        let Some(now) = self.current.now() else { return };
        let slot = now.slot();
        if !slot.has_ended() {
            slot.set_ending(Ending::Rollback);
            // The first poll sends it; the answer is read by the connection's task.
            let _ = now.client.batch_execute("ROLLBACK").now_or_never();
        }
    }

    /// Makes the newest connection one that can be borrowed as a whole.
    pub(crate) async fn exclusive(&mut self) -> CoreResult<()> {
        if !self.current.fold(&self.shared) {
            let fresh = self.shared.connect().await?;
            self.current.set_base(fresh);
        }
        Ok(())
    }

    /// The connection in use and what stays when it is replaced, borrowed apart.
    pub(crate) fn parts(&mut self) -> (&mut Current, &Arc<Shared>) {
        (&mut self.current, &self.shared)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.current.is_of_handle() {
            self.shared.logical().session().close();
        }
    }
}

/// The connection the call used, or the one that took its place.
impl Ask for Client {
    fn fetch_text<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, CoreResult<Table>> {
        Box::pin(async move {
            let physical = self.current.now().ok_or_else(expired)?;
            match fetch_text(&physical.client, sql).await {
                Ok(table) => Ok(table),
                Err(error) => Err(call_failed(error, physical.slot()).await),
            }
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.current.now().as_deref()).finish_non_exhaustive()
    }
}
