//! What applications do that they had better not do: errors ignored, results not read, sessions left as they are.

use std::future::Future;

use aws_wrapper_core::Result;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_deadpool::adapter::Adapter;
use aws_wrapper_deadpool::{Error as PoolError, Pool};

use crate::chaos::history::Stage;

/// Stands in the text of every error that mischief causes, and of no other.
pub const MARK: &str = "chaos_mischief";

/// How a transaction is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each adapter has to know each way")]
pub enum Way {
    /// With the adapter's object.
    Object,
    /// The same, and what failed is undone by a savepoint.
    Savepoint,
    /// With `BEGIN` and `COMMIT` as text.
    Text,
    /// By the helper that runs a closure again.
    Helper,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Object, Self::Savepoint, Self::Text, Self::Helper];
}

/// What a procedure does to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Procedure {
    /// The call, with `{id}` for its first row.
    pub sql: &'static str,
    /// How far each of its rows comes.
    pub rows: &'static [Stage],
    /// Whether its result is dropped after the first row. The server may not have come to an error then.
    pub is_dropped: bool,
}

/// Mischief with a connection of an adapter.
pub trait Mischief: Adapter {
    /// What it needs on the server, made by the administrator.
    const TOOLS: &'static [&'static str];
    /// The procedures there are.
    const PROCEDURES: &'static [Procedure];
    /// How many ways there are to leave a result unread.
    const UNREAD: usize;
    /// Statements that fail as if the connection or the server were lost, but both are well.
    const FOREIGN: &'static [&'static str];
    /// Statements that leave something behind in a session of the writer.
    const DIRT: &'static [&'static str];
    /// So many of these, the first ones, work on a reader, too.
    const READER_DIRT: usize;
    /// Statements that leave a transaction open, in which row `{id}` was inserted.
    const OPEN: &'static [&'static str];

    /// Adds this row and the next one in a transaction. Between them `fails` is run, and its error ignored.
    fn ignore_failure(
        client: &mut Self::Client,
        id: i64,
        way: Way,
        fails: &str,
        stage: &mut Stage,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Adds this row in a transaction in which a stream of rows is dropped before the row that fails.
    fn drop_stream(
        client: &mut Self::Client,
        id: i64,
        stage: &mut Stage,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Calls a procedure; `sql` has its row's number.
    fn call(
        client: &mut Self::Client,
        sql: &str,
        is_dropped: bool,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Adds this row by the helper that runs a statement again.
    fn retry_insert(client: &mut Self::Client, id: i64) -> impl Future<Output = Result<()>> + Send;

    /// Adds this row and the next one in a transaction that the pool runs again.
    fn retry_in_pool(
        pool: &Pool<Self>,
        id: i64,
    ) -> impl Future<Output = std::result::Result<(), PoolError>> + Send;

    /// Opens a result and drops it before its end.
    fn leave_unread(client: &mut Self::Client, way: usize) -> impl Future<Output = Result<()>> + Send;

    /// Runs a text, or a statement that is prepared first.
    fn run(
        client: &mut Self::Client,
        sql: &str,
        is_prepared: bool,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Adds this row in a transaction whose object is dropped.
    fn abandon(client: &mut Self::Client, id: i64) -> impl Future<Output = Result<()>> + Send;
}

/// Ignores an error after which the session is as it was.
pub(crate) fn ignore_own(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::Driver(DriverClass::Other) => Ok(()),
        result => result,
    }
}
