//! The methods beside the driver's trait: they take the wrapper's statements and return guarded results.

use std::sync::Arc;

use aws_wrapper_core::method::Method;
use mysql_async::prelude::{AsQuery, FromRow, Queryable};
use mysql_async::{BinaryProtocol, Params, TextProtocol};

use crate::conn::{Conn, enter, failed, query, text, through};
use crate::error::to_driver;
use crate::handle::ConnHandle;
use crate::result::{Guard, QueryResult, RowStream, owned_call};
use crate::statement::{Binding, Kind, Statement, ToStatement, is_stale, with_statement};
use crate::transaction::Transaction;

/// One call with a statement: `$form` is the driver's form of it.
macro_rules! exec {
    ($conn:expr, $method:expr, $statement:ident, $params:ident, |$driver:ident, $form:ident| $exchange:expr) => {{
        let conn: &mut Conn = $conn;
        let (kind, $params): (_, Params) = ($statement.kind(), $params.into());
        let sql = kind.sql();
        through!(conn, $method, kind.text(sql.as_deref()), |physical| physical.binding_for(kind) => binding, |$driver| async {
            with_statement!(kind, &binding, $params, $driver, |$form| $exchange)
        })
    }};
}

/// One call whose result is read later: `$exchange` opens it on `$driver`. `$bind` as with `exchange`.
macro_rules! lend {
    (
        $conn:expr, $method:expr, $sql:expr, |$physical:pat_param| $bind:expr => $bound:pat_param,
        |$driver:ident| $exchange:expr
    ) => {{
        let conn: &mut Conn = $conn;
        conn.ready().await?;
        let link = Arc::clone(&conn.link);
        let mut call = link.pipeline().lend(owned_call($method, $sql, &link)).await.map_err(to_driver)?;
        if !conn.stays() && link.logical().has_parked() {
            conn.physical.adopt(&link);
        }
        let lane = Arc::clone(&conn.physical.lane);
        let $physical = &conn.physical;
        let opened = async {
            let bound: Result<_, ::aws_wrapper_core::Error> = $bind;
            let $bound = bound?;
            let in_flight = lane.slot().enter_shared();
            let mut taken = enter(&lane, call.call())?;
            let result = {
                let $driver = taken.conn();
                lane.unless_aborted($exchange).await
            };
            if let Some(asking) = taken.doubt(&result) {
                asking.await;
            }
            match taken.keep_unless(result) {
                Ok(driver) => Ok((driver, in_flight)),
                Err(error) => in_flight.end(Err(failed(error, &lane))),
            }
        };
        match opened.await {
            Ok((driver, in_flight)) => {
                call.opened();
                let inner = mysql_async::QueryResult::new(conn.physical.lend(driver));
                QueryResult::new(inner, Guard::new(call, in_flight, lane, link))
            }
            Err(error) => {
                let error = Box::pin(call.recover(link.pipeline(), error)).await;
                return Err(conn.fail(error));
            }
        }
    }};
}

/// What a batch does, by its first parameters: without any it is only prepared.
pub(crate) fn batch_method<P>(first: Option<&P>) -> Method {
    if first.is_some() { Method::Execute } else { Method::Prepare }
}

macro_rules! methods {
    ($type:ty, |$this:ident| $conn:expr) => {
        impl $type {
            /// Asks the server for a sign of life.
            pub async fn ping(&mut self) -> mysql_async::Result<()> {
                let $this = self;
                through!($conn, Method::Ping, None, |driver| driver.ping())
            }

            /// Executes a query as text and returns the rows of its first result.
            pub async fn query<T, Q>(&mut self, query: Q) -> mysql_async::Result<Vec<T>>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
            {
                let $this = self;
                query!($conn, Method::SimpleQuery, query, |driver, text| driver.query(text))
            }

            /// Executes a query as text and returns the first row of its first result.
            pub async fn query_first<T, Q>(&mut self, query: Q) -> mysql_async::Result<Option<T>>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
            {
                let $this = self;
                query!($conn, Method::SimpleQuery, query, |driver, text| driver.query_first(text))
            }

            /// Executes a query as text and makes something of each row of its first result.
            pub async fn query_map<T, F, Q, U>(&mut self, query: Q, mut map: F) -> mysql_async::Result<Vec<U>>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
                F: FnMut(T) -> U + Send,
                U: Send,
            {
                let $this = self;
                query!($conn, Method::SimpleQuery, query, |driver, text| driver
                    .query_map(text, |row| map(row)))
            }

            /// Executes a query as text and folds the rows of its first result.
            pub async fn query_fold<T, F, Q, U>(
                &mut self,
                query: Q,
                init: U,
                mut fold: F,
            ) -> mysql_async::Result<U>
            where
                Q: AsQuery,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send,
                U: Send,
            {
                let $this = self;
                query!($conn, Method::SimpleQuery, query, |driver, text| driver.query_fold(
                    text,
                    init,
                    |folded, row| fold(folded, row)
                ))
            }

            /// Executes one or several statements as text and drops their results.
            pub async fn query_drop<Q: AsQuery>(&mut self, query: Q) -> mysql_async::Result<()> {
                let $this = self;
                query!($conn, Method::BatchExecute, query, |driver, text| driver.query_drop(text))
            }

            /// Executes a query as text; its results are read as one likes.
            pub async fn query_iter<Q: AsQuery>(
                &mut self,
                query: Q,
            ) -> mysql_async::Result<QueryResult<'_, TextProtocol>> {
                let ($this, query) = (self, query.as_query());
                let sql = text(&query);
                Ok(lend!($conn, Method::SimpleQuery, Some(&*sql), |_| Ok(()) => (), |driver| async {
                    driver.query_iter(&*query).await.map(drop)
                }))
            }

            /// Executes a query as text and returns the rows of its first result as they come.
            pub async fn query_stream<T, Q>(
                &mut self,
                query: Q,
            ) -> mysql_async::Result<RowStream<'_, T, TextProtocol>>
            where
                T: Unpin + FromRow + Send + 'static,
                Q: AsQuery,
            {
                self.query_iter(query).await?.into_stream().await
            }

            /// Prepares a statement, which is prepared again by itself on every connection that needs it.
            pub async fn prep<Q: AsQuery>(&mut self, query: Q) -> mysql_async::Result<Statement> {
                let ($this, query) = (self, query.as_query());
                let sql = text(&query).into_owned();
                through!(
                    $conn, Method::Prepare, Some(&*sql), |physical| Ok(Binding::of(physical)) => on,
                    |driver| Statement::prepare(driver, on, sql.clone())
                )
            }

            /// Lets the server forget a statement. It need not be called: what is used least goes first.
            pub async fn close<S: ToStatement>(&mut self, statement: S) -> mysql_async::Result<()> {
                let $this = self;
                let conn: &mut Conn = $conn;
                conn.ready().await?;
                let on = Binding::of(&conn.physical);
                let known = match statement.kind() {
                    Kind::Statement(statement) => {
                        let known = statement.known_on(&on).cloned();
                        if known.is_some() {
                            statement.forget_first();
                        }
                        known
                    }
                    // It went with its connection.
                    Kind::Driver(_) if conn.physical.lane.refuses_numbers() => None,
                    Kind::Driver(statement) => Some(statement.clone()),
                    Kind::Sql(_) | Kind::Bytes(_) => None,
                };
                let Some(known) = known else { return Ok(()) };
                // Its number may be another statement's on a connection that has taken the place meanwhile.
                through!(conn, Method::Prepare, None, |physical| Ok(on.is(&Binding::of(physical))) => is_there, |driver| async {
                    if is_there { driver.close(known).await } else { Ok(()) }
                })
            }

            /// Executes a statement and returns the rows of its first result.
            pub async fn exec<T, S, P>(&mut self, statement: S, params: P) -> mysql_async::Result<Vec<T>>
            where
                S: ToStatement,
                P: Into<Params>,
                T: FromRow + Send + 'static,
            {
                let $this = self;
                exec!($conn, Method::Query, statement, params, |driver, form| driver.exec(form, params))
            }

            /// Executes a statement and returns the first row of its first result.
            pub async fn exec_first<T, S, P>(
                &mut self,
                statement: S,
                params: P,
            ) -> mysql_async::Result<Option<T>>
            where
                S: ToStatement,
                P: Into<Params>,
                T: FromRow + Send + 'static,
            {
                let $this = self;
                exec!($conn, Method::Query, statement, params, |driver, form| driver.exec_first(form, params))
            }

            /// Executes a statement and makes something of each row of its first result.
            pub async fn exec_map<T, S, P, U, F>(
                &mut self,
                statement: S,
                params: P,
                mut map: F,
            ) -> mysql_async::Result<Vec<U>>
            where
                S: ToStatement,
                P: Into<Params>,
                T: FromRow + Send + 'static,
                F: FnMut(T) -> U + Send,
                U: Send,
            {
                let rows: Vec<T> = self.exec(statement, params).await?;
                Ok(rows.into_iter().map(|row| map(row)).collect())
            }

            /// Executes a statement and folds the rows of its first result.
            pub async fn exec_fold<T, S, P, U, F>(
                &mut self,
                statement: S,
                params: P,
                init: U,
                fold: F,
            ) -> mysql_async::Result<U>
            where
                S: ToStatement,
                P: Into<Params>,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send,
                U: Send,
            {
                let rows: Vec<T> = self.exec(statement, params).await?;
                Ok(rows.into_iter().fold(init, fold))
            }

            /// Executes a statement and drops its results.
            pub async fn exec_drop<S, P>(&mut self, statement: S, params: P) -> mysql_async::Result<()>
            where
                S: ToStatement,
                P: Into<Params>,
            {
                let $this = self;
                exec!($conn, Method::Execute, statement, params, |driver, form| driver
                    .exec_drop(form, params))
            }

            /// Executes a statement once for each set of parameters.
            pub async fn exec_batch<S, P, I>(&mut self, statement: S, params: I) -> mysql_async::Result<()>
            where
                S: ToStatement,
                I: IntoIterator<Item = P> + Send,
                I::IntoIter: Send,
                P: Into<Params> + Send,
            {
                let $this = self;
                let conn: &mut Conn = $conn;
                let kind = statement.kind();
                let sql = kind.sql();
                let mut params = params.into_iter().peekable();
                let method = batch_method(params.peek());
                through!(conn, method, kind.text(sql.as_deref()), |physical| physical.binding_for(kind) => binding, |driver| async {
                    match kind {
                        Kind::Driver(statement) => driver.exec_batch(statement, params).await,
                        Kind::Sql(sql) => driver.exec_batch(sql, params).await,
                        Kind::Bytes(sql) => driver.exec_batch(sql, params).await,
                        Kind::Statement(statement) => {
                            // The first shows whether the server still knows it; the driver has it by its text then.
                            if let Some(first) = params.next() {
                                let first: Params = first.into();
                                with_statement!(kind, &binding, first, driver, |form| driver
                                    .exec_drop(form, first))?;
                            }
                            if params.peek().is_none() {
                                return Ok(());
                            }
                            driver.exec_batch(statement.sql(), params).await
                        }
                    }
                })
            }

            /// Executes a statement; its results are read as one likes.
            pub async fn exec_iter<S, P>(
                &mut self,
                statement: S,
                params: P,
            ) -> mysql_async::Result<QueryResult<'_, BinaryProtocol>>
            where
                S: ToStatement,
                P: Into<Params>,
            {
                let $this = self;
                let conn: &mut Conn = $conn;
                let (kind, params): (_, Params) = (statement.kind(), params.into());
                let sql = kind.sql();
                Ok(lend!(conn, Method::QueryStream, sql.as_deref(), |physical| physical.binding_for(kind) => binding, |driver| async {
                    with_statement!(kind, &binding, params, driver, |form| async {
                        driver.exec_iter(form, params).await.map(drop)
                    })
                }))
            }

            /// Executes a statement and returns the rows of its first result as they come.
            pub async fn exec_stream<T, S, P>(
                &mut self,
                statement: S,
                params: P,
            ) -> mysql_async::Result<RowStream<'_, T, BinaryProtocol>>
            where
                T: Unpin + FromRow + Send + 'static,
                S: ToStatement,
                P: Into<Params>,
            {
                self.exec_iter(statement, params).await?.into_stream().await
            }
        }
    };
}

methods!(Conn, |this| this);
methods!(Transaction<'_>, |this| this.conn());
methods!(ConnHandle, |this| &mut this.conn);
