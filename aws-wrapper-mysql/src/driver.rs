//! mysql_async as the core sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::driver::{ConnectRequest, DriverDialect};
use aws_wrapper_core::engine::Engine;
use aws_wrapper_core::error::DriverClass;
use aws_wrapper_core::host::Role;
use aws_wrapper_core::plugin::Ask;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::SessionChange;
use aws_wrapper_core::table::Table;
use crossbeam_utils::atomic::AtomicCell;
use futures_util::future::BoxFuture;
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Opts, Row, Value};
use parking_lot::Mutex;

use crate::classify::{classify, sqlstate};
use crate::connect;
use crate::error::{DriverError, into_error};
use crate::lane::Lane;
use crate::physical::Physical;
use crate::result::NoAsk;
use crate::tls::Tls;

/// What a connection shares with its transactions and results.
pub(crate) type Shared = aws_wrapper_core::connector::Link<MysqlDriver>;

/// mysql_async.
pub struct MysqlDriver {
    opts: Opts,
    tls: Tls,
}

/// What goes along from one physical connection to the next.
#[derive(Debug, Default)]
pub struct Session {
    /// Who the application has become, and in which database.
    user: Mutex<Option<ChangeUserOpts>>,
    /// The highest number of a statement that was prepared through the driver's trait.
    ///
    /// Such a statement is a number of one connection, and the driver never looks which. On another connection that
    /// number must stay unused, or the wrong statement runs: see [`keep_numbers_apart`].
    highest_statement: AtomicU32,
}

impl Session {
    /// From now on every connection is that user's.
    pub(crate) fn become_user(&self, user: ChangeUserOpts) {
        *self.user.lock() = Some(user);
    }

    /// See the field.
    pub(crate) fn highest_statement(&self) -> u32 {
        self.highest_statement.load(Ordering::Relaxed)
    }

    /// A statement of that number was handed out.
    pub(crate) fn handed_out(&self, statement: u32) {
        self.highest_statement.fetch_max(statement, Ordering::Relaxed);
    }
}

impl MysqlDriver {
    pub(crate) fn new(opts: Opts, tls: Tls) -> Self {
        Self { opts, tls }
    }

    pub(crate) fn opts(&self) -> &Opts {
        &self.opts
    }

    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }
}

impl DriverDialect for MysqlDriver {
    const ENGINE: Engine = Engine::MySql;
    type Connection = Physical;
    type Error = DriverError;
    type Session = Session;

    async fn connect(&self, request: &ConnectRequest) -> Result<Physical, DriverError> {
        connect::connect(self, request).await
    }

    async fn fetch_text(&self, connection: &mut Physical, sql: &str) -> Result<Table, DriverError> {
        connection.reclaim();
        on_lane(&connection.lane, async |conn| fetch_text(conn, sql).await).await
    }

    async fn ping(&self, connection: &mut Physical) -> Result<(), DriverError> {
        connection.reclaim();
        on_lane(&connection.lane, async |conn| conn.ping().await).await
    }

    async fn configure(&self, connection: &mut Physical, session: &Session) -> Result<(), DriverError> {
        let user = session.user.lock().clone();
        if let Some(user) = user {
            connection.slot().note_session_change(SessionChange::Lasting);
            on_lane(&connection.lane, async |conn| conn.change_user(user).await).await?;
        }
        keep_numbers_apart(&connection.lane, session.highest_statement()).await
    }

    fn classify(&self, error: &DriverError) -> DriverClass {
        classify(error)
    }

    fn sqlstate<'e>(&self, error: &'e DriverError) -> Option<&'e str> {
        sqlstate(error)
    }

    fn slot<'c>(&self, connection: &'c Physical) -> &'c Arc<Slot> {
        connection.slot()
    }

    /// MySQL says nothing about its role when it lets a client in.
    fn startup_role(&self, _connection: &Physical) -> Option<Role> {
        None
    }

    fn error(&self, error: DriverError) -> CoreError {
        into_error(error)
    }
}

impl fmt::Debug for MysqlDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The driver's options show the password.
        f.debug_struct("MysqlDriver")
            .field("user", &self.opts.user())
            .field("database", &self.opts.db_name())
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Runs an exchange of the wrapper's own on a connection nobody uses.
pub(crate) async fn on_lane<T>(
    lane: &Lane,
    exchange: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>,
) -> Result<T, DriverError> {
    let mut taken = lane.take()?;
    let result = lane.unless_aborted(exchange(taken.conn())).await;
    if let Some(asking) = taken.doubt(&result) {
        asking.await;
    }
    taken.finish(result, &mut None)
}

/// Asks over the connection that a call used, and put back.
/// The connection a call went out on, for questions behind a call that failed.
#[derive(Debug, Default)]
pub(crate) struct Carrier<'a>(AtomicCell<Option<&'a Lane>>);

impl<'a> Carrier<'a> {
    #[inline]
    pub(crate) fn is(&self, lane: &'a Lane) {
        self.0.store(Some(lane));
    }
}

impl Ask for Carrier<'_> {
    fn fetch_text<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Table, CoreError>> {
        match self.0.load() {
            Some(lane) => lane.fetch_text(sql),
            None => NoAsk.fetch_text(sql),
        }
    }
}

impl Ask for Lane {
    fn fetch_text<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Table, CoreError>> {
        Box::pin(async move {
            let table = on_lane(self, async |conn| fetch_text(conn, sql).await).await;
            table.map_err(|error| into_error(error).with_host(self.slot().host()))
        })
    }
}

/// The rows of the last statement of `sql` that returns rows, as text.
async fn fetch_text(conn: &mut Conn, sql: &str) -> mysql_async::Result<Table> {
    let mut table = Table::default();
    let mut result = conn.query_iter(sql).await?;
    while !result.is_empty() {
        let columns: Vec<_> =
            result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        let rows = result.collect::<Row>().await?;
        if !columns.is_empty() {
            table = Table::new(columns, rows.into_iter().map(cells).collect());
        }
    }
    Ok(table)
}

fn cells(row: Row) -> Vec<Option<String>> {
    let cell = |value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    };
    row.unwrap().into_iter().map(cell).collect()
}

/// Sees to it that on a new connection a statement of the driver's own, of an earlier connection, never meets another one.
///
/// While few were handed out, their numbers are used up here, in one round trip: then they meet nothing. Statements prepared
/// as text count in the same row. When there were many, this would take seconds, so this connection refuses all of that
/// kind. The count goes on when a session is reset or becomes another user's, so there is nothing to do then.
async fn keep_numbers_apart(lane: &Lane, highest: u32) -> Result<(), DriverError> {
    if highest == 0 {
        return Ok(());
    }
    if highest > USED_UP_AT_MOST {
        lane.refuse_numbers();
        return Ok(());
    }
    let prepare = "PREPARE aws_wrapper_number FROM 'DO 0';".repeat(highest as usize);
    let sql = format!("{prepare} DEALLOCATE PREPARE aws_wrapper_number");
    on_lane(lane, async |conn| conn.query_drop(sql).await).await
}

/// So many take less than a round trip to another zone.
const USED_UP_AT_MOST: u32 = 100;
