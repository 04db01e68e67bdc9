//! Results that are read while the connection is lent, guarded to their end.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::pipeline::call::Lent;
use aws_wrapper_core::plugin::{Ask, Call};
use aws_wrapper_core::registry::{InFlight, Slot};
use aws_wrapper_core::table::Table;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use mysql_async::prelude::{FromRow, Protocol};
use mysql_async::{Column, ResultSetStream, Row};

use crate::conn::failed;
use crate::driver::{MysqlDriver, Shared};
use crate::error::{DriverError, ended, to_driver};
use crate::lane::{Lane, Loss, Stopped};
use crate::status::Sent;

/// The result of a query or statement, read as one likes: what [`mysql_async::QueryResult`] is, guarded.
///
/// The rows and results that are not read are read before the next call on the connection; an error among them is dropped.
/// A loss of the connection fails the method that reads, with the error that says what became of the work.
///
/// # Cancellation
/// Dropping the future of a method that reads rows is fine: what it has not read is read later. Dropped on the way from one
/// result to the next it costs the connection, as dropping any call does, and the next read says so.
pub struct QueryResult<'a, P> {
    inner: mysql_async::QueryResult<'a, 'static, P>,
    guard: Guard,
}

impl<'a, P: Protocol> QueryResult<'a, P> {
    pub(crate) fn new(inner: mysql_async::QueryResult<'a, 'static, P>, guard: Guard) -> Self {
        let result = Self { inner, guard };
        result.note_read();
        result
    }

    /// Whether the end has come: only then it is known what the statement left behind.
    fn note_read(&self) {
        self.guard.lane.status().note_read(self.inner.is_empty());
    }

    /// Whether there are no more rows and no more results.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// The columns of the current result.
    pub fn columns_ref(&self) -> &[Column] {
        self.inner.columns_ref()
    }

    /// The columns of the current result, shared.
    pub fn columns(&self) -> Option<Arc<[Column]>> {
        self.inner.columns()
    }

    /// The value given to an `AUTO_INCREMENT` column, if one was.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.inner.last_insert_id()
    }

    /// How many rows were changed.
    pub fn affected_rows(&self) -> u64 {
        self.inner.affected_rows()
    }

    /// What the server said in words, or nothing.
    pub fn info(&self) -> Cow<'_, str> {
        self.inner.info()
    }

    /// How many warnings there were.
    pub fn warnings(&self) -> u16 {
        self.inner.warnings()
    }

    /// Fails if reading was dropped while it went from one result to the next: the head of the next one is half read, and
    /// the driver would take the rest for nothing. Between rows a dropped read does no harm.
    async fn intact(&mut self) -> mysql_async::Result<()> {
        let is_between_results = self.inner.columns().is_none() && !self.inner.is_empty();
        if is_between_results { Err(self.guard.lose().await) } else { Ok(()) }
    }

    /// The next row of the current result; `None` at its end, and then the next result is the current one.
    pub async fn next(&mut self) -> mysql_async::Result<Option<Row>> {
        self.intact().await?;
        let read = self.guard.run(self.inner.next()).await?;
        self.note_read();
        Ok(read)
    }

    /// The rows of the current result.
    ///
    /// # Panics
    /// When a row cannot be converted, as with the driver.
    pub async fn collect<R>(&mut self) -> mysql_async::Result<Vec<R>>
    where
        R: FromRow + Send + 'static,
    {
        self.intact().await?;
        let read = self.guard.run(self.inner.collect()).await?;
        self.note_read();
        Ok(read)
    }

    /// The rows of the current result, each with what came of its conversion.
    pub async fn try_collect<R>(&mut self) -> mysql_async::Result<Vec<Result<R, mysql_async::FromRowError>>>
    where
        R: FromRow + Send + 'static,
    {
        self.intact().await?;
        let read = self.guard.run(self.inner.try_collect()).await?;
        self.note_read();
        Ok(read)
    }

    /// The rows of the current result; all others are dropped.
    ///
    /// # Panics
    /// When a row cannot be converted, as with the driver.
    pub async fn collect_and_drop<R>(mut self) -> mysql_async::Result<Vec<R>>
    where
        R: FromRow + Send + 'static,
    {
        self.intact().await?;
        self.guard.run_to_end(self.inner.collect_and_drop()).await
    }

    /// Calls `work` with each row of the current result.
    pub async fn for_each<F>(&mut self, work: F) -> mysql_async::Result<()>
    where
        F: FnMut(Row),
    {
        self.intact().await?;
        self.guard.run(self.inner.for_each(work)).await?;
        self.note_read();
        Ok(())
    }

    /// Calls `work` with each row of the current result; all others are dropped.
    pub async fn for_each_and_drop<F>(mut self, work: F) -> mysql_async::Result<()>
    where
        F: FnMut(Row),
    {
        self.intact().await?;
        self.guard.run_to_end(self.inner.for_each_and_drop(work)).await
    }

    /// Makes something of each row of the current result.
    pub async fn map<F, U>(&mut self, work: F) -> mysql_async::Result<Vec<U>>
    where
        F: FnMut(Row) -> U,
    {
        self.intact().await?;
        let read = self.guard.run(self.inner.map(work)).await?;
        self.note_read();
        Ok(read)
    }

    /// Makes something of each row of the current result; all others are dropped.
    pub async fn map_and_drop<F, U>(mut self, work: F) -> mysql_async::Result<Vec<U>>
    where
        F: FnMut(Row) -> U,
    {
        self.intact().await?;
        self.guard.run_to_end(self.inner.map_and_drop(work)).await
    }

    /// Folds the rows of the current result.
    ///
    /// # Panics
    /// When a row cannot be converted, as with the driver.
    pub async fn reduce<T, F, U>(&mut self, init: U, work: F) -> mysql_async::Result<U>
    where
        F: FnMut(U, T) -> U,
        T: FromRow + Send + 'static,
    {
        self.intact().await?;
        let read = self.guard.run(self.inner.reduce(init, work)).await?;
        self.note_read();
        Ok(read)
    }

    /// Folds the rows of the current result; all others are dropped.
    ///
    /// # Panics
    /// When a row cannot be converted, as with the driver.
    pub async fn reduce_and_drop<T, F, U>(mut self, init: U, work: F) -> mysql_async::Result<U>
    where
        F: FnMut(U, T) -> U,
        T: FromRow + Send + 'static,
    {
        self.intact().await?;
        self.guard.run_to_end(self.inner.reduce_and_drop(init, work)).await
    }

    /// Reads all that is left and drops it.
    pub async fn drop_result(mut self) -> mysql_async::Result<()> {
        self.intact().await?;
        self.guard.run_to_end(self.inner.drop_result()).await
    }

    /// The rows of the current result as they come; all others are dropped. `None` if nothing is left.
    pub async fn stream_and_drop<T>(mut self) -> mysql_async::Result<Option<RowStream<'a, T, P>>>
    where
        T: Unpin + FromRow + Send + 'static,
        P: Unpin,
    {
        self.intact().await?;
        let stream = self.guard.run(self.inner.stream_and_drop()).await?;
        let guard = self.guard;
        Ok(stream.map(|inner| RowStream { inner, guard, recovery: None }))
    }
}

impl<'a, P: Protocol + Unpin> QueryResult<'a, P> {
    /// As the driver's `query_stream`: a result without rows is a stream without rows.
    pub(crate) async fn into_stream<T>(self) -> mysql_async::Result<RowStream<'a, T, P>>
    where
        T: Unpin + FromRow + Send + 'static,
    {
        Ok(self.stream_and_drop().await?.expect("a statement has at least one result"))
    }
}

impl<P> fmt::Debug for QueryResult<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the driver's: it shows the connection, and with it the password.
        f.debug_struct("QueryResult").field("slot", self.guard.lane.slot()).finish_non_exhaustive()
    }
}

/// The rows of one result as they come: what [`mysql_async::ResultSetStream`] is, guarded.
///
/// The rows that are not read are read before the next call on the connection. A loss of the connection ends it with the
/// error that says what became of it; rows already received come first.
pub struct RowStream<'a, T, P> {
    inner: ResultSetStream<'a, 'a, 'static, T, P>,
    guard: Guard,
    /// It failed; recovery goes on while it is polled.
    recovery: Option<BoxFuture<'static, mysql_async::Error>>,
}

impl<T, P> RowStream<'_, T, P> {
    /// The columns.
    pub fn columns_ref(&self) -> &[Column] {
        self.inner.columns_ref()
    }
}

impl<T, P> Stream for RowStream<'_, T, P>
where
    T: FromRow + Unpin + Send + 'static,
    P: Protocol + Unpin,
{
    type Item = mysql_async::Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.recovery.is_none() {
            if this.guard.is_over() {
                return Poll::Ready(None);
            }
            let stopped = match Pin::new(&mut this.inner).poll_next(cx) {
                Poll::Ready(Some(Ok(row))) => return Poll::Ready(Some(Ok(row))),
                Poll::Ready(None) => {
                    this.guard.lane.status().note_read(true);
                    this.guard.finish();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => Stopped::Failed(error),
                Poll::Pending if this.guard.lane.poll_aborted(cx) => Stopped::Aborted,
                Poll::Pending => return Poll::Pending,
            };
            this.recovery = this.guard.fail(stopped);
        }
        let Some(recovery) = &mut this.recovery else { return Poll::Ready(None) };
        let error = ready!(recovery.as_mut().poll(cx));
        this.recovery = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl<T, P> fmt::Debug for RowStream<'_, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").field("slot", self.guard.lane.slot()).finish_non_exhaustive()
    }
}

/// The call of a result: it is over when the result is, and recovery is asked for when reading it fails.
pub(crate) struct Guard {
    /// Nothing once the call is over.
    call: Option<(Lent<MysqlDriver>, InFlight<Arc<Slot>>)>,
    lane: Arc<Lane>,
    link: Arc<Shared>,
}

impl Guard {
    pub(crate) fn new(
        call: Lent<MysqlDriver>,
        in_flight: InFlight<Arc<Slot>>,
        lane: Arc<Lane>,
        link: Arc<Shared>,
    ) -> Self {
        Self { call: Some((call, in_flight)), lane, link }
    }

    fn is_over(&self) -> bool {
        self.call.is_none()
    }

    fn finish(&mut self) {
        if let Some((_, in_flight)) = self.call.take() {
            in_flight.answered();
        }
    }

    /// Reads a part of the result.
    async fn run<T>(&mut self, work: impl Future<Output = mysql_async::Result<T>>) -> mysql_async::Result<T> {
        let result = self.lane.unless_aborted(work).await;
        match result {
            Ok(value) => Ok(value),
            Err(stopped) => match self.fail(stopped) {
                Some(recovery) => Err(recovery.await),
                None => Err(mysql_async::DriverError::ConnectionClosed.into()),
            },
        }
    }

    /// Reads all that is left.
    async fn run_to_end<T>(
        &mut self,
        work: impl Future<Output = mysql_async::Result<T>>,
    ) -> mysql_async::Result<T> {
        let read = self.run(work).await?;
        self.lane.status().note_read(true);
        Ok(read)
    }

    /// A read was dropped in the middle of an answer.
    async fn lose(&mut self) -> mysql_async::Error {
        self.lane.lose(Loss::Dropped, "a read of a result was dropped between two results");
        match self.recover(ended(self.lane.slot())) {
            Some(recovery) => recovery.await,
            None => mysql_async::DriverError::ConnectionClosed.into(),
        }
    }

    /// Reading failed.
    fn fail(&mut self, stopped: Stopped) -> Option<BoxFuture<'static, mysql_async::Error>> {
        let sent = match &self.call {
            Some((call, _)) => Sent::of(call.call()),
            None => Sent::QUESTION,
        };
        let error = self.lane.fail_while_lent(stopped, sent);
        self.recover(error)
    }

    /// Ends the call and finds out what becomes of the failure; nothing if that was done before.
    fn recover(&mut self, error: DriverError) -> Option<BoxFuture<'static, mysql_async::Error>> {
        let ((call, in_flight), link) = (self.call.take()?, Arc::clone(&self.link));
        let failed = in_flight.end::<()>(Err(failed(error, &self.lane)));
        let error = failed.expect_err("it is handed through");
        Some(Box::pin(async move { to_driver(call.recover(link.pipeline(), error).await) }))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // What has not been read is read by the next call, so this is no call that was dropped.
        if let Some((_, in_flight)) = self.call.take() {
            in_flight.release();
        }
    }
}

/// For calls whose result borrows the connection: nothing can be asked meanwhile.
#[derive(Debug)]
pub(crate) struct NoAsk;

impl Ask for NoAsk {
    fn fetch_text<'a>(&'a self, _sql: &'a str) -> BoxFuture<'a, Result<Table, CoreError>> {
        let error = CoreError::new(ErrorKind::Unsupported, "nothing can be asked on this connection now");
        Box::pin(std::future::ready(Err(error)))
    }
}

/// A call that a result can take along.
pub(crate) fn owned_call(method: Method, sql: Option<&str>, link: &Shared) -> Call<'static, MysqlDriver> {
    Call::owned(method, sql.map(str::to_owned), Arc::clone(link.logical()), Arc::new(NoAsk))
}
