//! The driver's trait, and the same methods beside it.
//!
//! In method syntax the inherent methods are found: they take the wrapper's statements and return guarded results. Code
//! generic over the trait gets the trait's. One text serves connections and transactions.

use aws_wrapper_core::method::Method;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mysql_async::prelude::{AsQuery, FromRow, Queryable, StatementLike};
use mysql_async::{BinaryProtocol, Params, TextProtocol};

use crate::conn::{Conn, opened, query, text, through};
use crate::handle::ConnHandle;
use crate::methods::batch_method;
use crate::transaction::Transaction;

/// What the methods of the driver's trait return.
type Answer<'a, T> = BoxFuture<'a, mysql_async::Result<T>>;

macro_rules! queryable {
    ($type:ty, |$this:ident| $conn:expr) => {
        impl Queryable for $type {
            fn ping(&mut self) -> Answer<'_, ()> {
                async move {
                    let $this = self;
                    through!($conn, Method::Ping, None, |driver| driver.ping())
                }
                .boxed()
            }

            fn query_iter<'a, Q>(
                &'a mut self,
                query: Q,
            ) -> Answer<'a, mysql_async::QueryResult<'a, 'static, TextProtocol>>
            where
                Q: AsQuery + 'a,
            {
                async move {
                    let ($this, query) = (self, query.as_query());
                    let sql = text(&query);
                    let driver = opened!($conn, lend, Method::SimpleQuery, Some(&*sql), |_| Ok(()), |driver| async {
                        driver.query_iter(&*query).await.map(drop)
                    });
                    Ok(mysql_async::QueryResult::new(driver))
                }
                .boxed()
            }

            fn prep<'a, Q>(&'a mut self, query: Q) -> Answer<'a, mysql_async::Statement>
            where
                Q: AsQuery + 'a,
            {
                async move {
                    let ($this, query) = (self, query.as_query());
                    let sql = text(&query);
                    let conn: &mut Conn = $conn;
                    let statement = through!(
                        conn, Method::Prepare, Some(&*sql), |physical| physical.takes_numbers() => (),
                        |driver| driver.prep(&*query)
                    )?;
                    conn.link.logical().session().handed_out(statement.id());
                    Ok(statement)
                }
                .boxed()
            }

            fn close(&mut self, statement: mysql_async::Statement) -> Answer<'_, ()> {
                async move {
                    let $this = self;
                    // One that was prepared on another connection went with it.
                    through!($conn, Method::Prepare, None, |physical| Ok(physical.takes_numbers().is_ok()) => is_there, |driver| async {
                        if is_there { driver.close(statement).await } else { Ok(()) }
                    })
                }
                .boxed()
            }

            fn exec_iter<'a: 's, 's, S, P>(
                &'a mut self,
                statement: S,
                params: P,
            ) -> Answer<'s, mysql_async::QueryResult<'a, 'static, BinaryProtocol>>
            where
                S: StatementLike + 's,
                P: Into<Params>,
            {
                let params = params.into();
                async move {
                    let $this = self;
                    let conn: &mut Conn = $conn;
                    let sql = conn.text_of_unknown();
                    let driver = opened!(conn, lend, Method::QueryStream, sql, |physical| physical.takes::<S>(), |driver| async {
                        driver.exec_iter(statement, params).await.map(drop)
                    });
                    Ok(mysql_async::QueryResult::new(driver))
                }
                .boxed()
            }

            fn exec_batch<'a: 'b, 'b, S, P, I>(&'a mut self, statement: S, params: I) -> Answer<'b, ()>
            where
                S: StatementLike + 'b,
                I: IntoIterator<Item = P> + Send + 'b,
                I::IntoIter: Send,
                P: Into<Params> + Send,
            {
                async move {
                    let $this = self;
                    let conn: &mut Conn = $conn;
                    let sql = conn.text_of_unknown();
                    let mut params = params.into_iter().peekable();
                    let method = batch_method(params.peek());
                    through!(conn, method, sql, |physical| physical.takes::<S>() => (), |driver| driver.exec_batch(statement, params))
                }
                .boxed()
            }

            fn query<'a, T, Q>(&'a mut self, query: Q) -> Answer<'a, Vec<T>>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
            {
                async move {
                    let $this = self;
                    query!($conn, Method::SimpleQuery, query, |driver, text| driver.query(text))
                }
                .boxed()
            }

            fn query_first<'a, T, Q>(&'a mut self, query: Q) -> Answer<'a, Option<T>>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
            {
                async move {
                    let $this = self;
                    query!($conn, Method::SimpleQuery, query, |driver, text| driver.query_first(text))
                }
                .boxed()
            }

            fn query_fold<'a, T, F, Q, U>(&'a mut self, query: Q, init: U, fold: F) -> Answer<'a, U>
            where
                Q: AsQuery + 'a,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send + 'a,
                U: Send + 'a,
            {
                async move {
                    let $this = self;
                    query!($conn, Method::SimpleQuery, query, |driver, text| driver
                        .query_fold(text, init, fold))
                }
                .boxed()
            }

            fn query_drop<'a, Q>(&'a mut self, query: Q) -> Answer<'a, ()>
            where
                Q: AsQuery + 'a,
            {
                async move {
                    let $this = self;
                    query!($conn, Method::BatchExecute, query, |driver, text| driver.query_drop(text))
                }
                .boxed()
            }

            fn exec<'a: 'b, 'b, T, S, P>(&'a mut self, statement: S, params: P) -> Answer<'b, Vec<T>>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
            {
                async move {
                    let $this = self;
                    let conn: &mut Conn = $conn;
                    let sql = conn.text_of_unknown();
                    through!(conn, Method::Query, sql, |physical| physical.takes::<S>() => (), |driver| driver.exec(statement, params))
                }
                .boxed()
            }

            fn exec_first<'a: 'b, 'b, T, S, P>(&'a mut self, statement: S, params: P) -> Answer<'b, Option<T>>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
            {
                async move {
                    let $this = self;
                    let conn: &mut Conn = $conn;
                    let sql = conn.text_of_unknown();
                    through!(conn, Method::Query, sql, |physical| physical.takes::<S>() => (), |driver| driver.exec_first(statement, params))
                }
                .boxed()
            }

            fn exec_fold<'a: 'b, 'b, T, S, P, U, F>(
                &'a mut self,
                statement: S,
                params: P,
                init: U,
                fold: F,
            ) -> Answer<'b, U>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
                T: FromRow + Send + 'static,
                F: FnMut(U, T) -> U + Send + 'a,
                U: Send + 'a,
            {
                async move {
                    let $this = self;
                    let conn: &mut Conn = $conn;
                    let sql = conn.text_of_unknown();
                    through!(conn, Method::Query, sql, |physical| physical.takes::<S>() => (), |driver| driver
                        .exec_fold(statement, params, init, fold))
                }
                .boxed()
            }

            fn exec_drop<'a: 'b, 'b, S, P>(&'a mut self, statement: S, params: P) -> Answer<'b, ()>
            where
                S: StatementLike + 'b,
                P: Into<Params> + Send + 'b,
            {
                async move {
                    let $this = self;
                    let conn: &mut Conn = $conn;
                    let sql = conn.text_of_unknown();
                    through!(conn, Method::Execute, sql, |physical| physical.takes::<S>() => (), |driver| driver.exec_drop(statement, params))
                }
                .boxed()
            }
        }
    };
}

queryable!(Conn, |this| this);
queryable!(Transaction<'_>, |this| this.conn());
queryable!(ConnHandle, |this| &mut this.conn);
