//! What the demo and the benchmarks ask of a driver and its adapter, so that one text serves both engines.

pub mod mysql;
pub mod pg;

use std::future::Future;
use std::net::SocketAddr;

use aurora_sim::Engine;
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::adapter::Adapter;

pub use self::mysql::MySql;
pub use self::pg::Pg;

/// Any error.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A row of the demo: number of the connection, number of the row.
pub type RowId = (i32, i64);

/// A driver, bare and wrapped. Both sides have the same user, the same database, and no encryption.
pub trait Driver: 'static {
    /// The servers it talks to.
    const ENGINE: Engine;
    /// What these are called.
    const SERVER: &'static str;
    /// The bare driver.
    const BARE: &'static str;
    /// Its adapter.
    const WRAPPED: &'static str;
    /// How a statement names its two parameters.
    const TWO_PARAMETERS: &'static str;
    /// A query that takes a minute.
    const SLEEP: &'static str;
    /// A read that takes the server five milliseconds, none of them its processor's.
    const PAUSE: &'static str;
    /// How many connections of the application's user the server has.
    const CONNECTIONS: &'static str;
    /// The server's version, as text.
    const VERSION: &'static str;

    /// Opens wrapped connections.
    type Connector: Send + Sync;
    /// A wrapped connection.
    type Wrapped: Session;
    /// What pools need to know of these.
    type Adapter: Adapter<Connector = Self::Connector, Client = Self::Wrapped>;
    /// A wrapped connection as code sees it that is generic over the driver's own trait.
    type Generic: Session;
    /// A connection of the bare driver.
    type Bare: Session;

    /// A connector with the default plugins.
    fn connector(host: &str, port: u16, services: Services) -> Result<Self::Connector, AnyError> {
        Self::connector_with(host, port, services, &[])
    }

    /// A connector with these parameters.
    fn connector_with(
        host: &str,
        port: u16,
        services: Services,
        parameters: &[(&str, &str)],
    ) -> Result<Self::Connector, AnyError>;

    /// What it shares.
    fn services(connector: &Self::Connector) -> &Services;

    /// Opens a wrapped connection.
    fn wrapped(connector: &Self::Connector) -> impl Future<Output = Result<Self::Wrapped, AnyError>> + Send;

    /// The same for generic code, if the driver has such a trait.
    fn generic(wrapped: Self::Wrapped) -> Option<Self::Generic>;

    /// Opens a connection of the bare driver. The address is what the name of the host was resolved to.
    fn bare(host: &str, address: SocketAddr) -> impl Future<Output = Result<Self::Bare, AnyError>> + Send;

    /// The one value of a query that gives a number.
    fn number(bare: &mut Self::Bare, sql: &str) -> impl Future<Output = Result<i64, AnyError>> + Send;

    /// The one value of a query that gives text.
    fn words(bare: &mut Self::Bare, sql: &str) -> impl Future<Output = Result<String, AnyError>> + Send;

    /// Every row of a query that gives rows of the demo.
    fn rows(bare: &mut Self::Bare, sql: &str) -> impl Future<Output = Result<Vec<RowId>, AnyError>> + Send;
}

/// One connection. Each method is one call of the driver or the adapter.
pub trait Session: Send + Sync + 'static {
    /// A prepared statement.
    type Statement: Send + Sync + 'static;

    /// Runs a statement.
    fn run(&mut self, sql: &str) -> impl Future<Output = Result<(), AnyError>> + Send;

    /// Prepares a statement.
    fn prepare(&mut self, sql: &str) -> impl Future<Output = Result<Self::Statement, AnyError>> + Send;

    /// Runs a prepared statement with a row of the demo.
    fn insert(
        &mut self,
        statement: &Self::Statement,
        row: RowId,
    ) -> impl Future<Output = Result<(), AnyError>> + Send;

    /// Sends a query as text and takes the first row of its answer.
    fn ask(&mut self, sql: &str) -> impl Future<Output = Result<(), AnyError>> + Send;

    /// Runs a prepared query without parameters and takes the first row of its answer.
    fn ask_prepared(
        &mut self,
        statement: &Self::Statement,
    ) -> impl Future<Output = Result<(), AnyError>> + Send;
}

/// Runs a prepared query on a connection that is shared.
pub trait SharedSession: Session {
    /// As [`ask_prepared`](Session::ask_prepared).
    fn ask_shared(&self, statement: &Self::Statement) -> impl Future<Output = Result<(), AnyError>> + Send;
}

const USER: &str = "app";
const PASSWORD: &str = "secret";
const DATABASE: &str = "app";
