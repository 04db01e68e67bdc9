//! What chaos asks of an adapter, so that one text serves both engines.

pub mod mischief;
pub mod mysql;
pub mod pg;

use std::future::Future;
use std::net::SocketAddr;

use aurora_sim::Engine;
use aws_wrapper_core::Result;
use aws_wrapper_core::services::Services;

use self::mischief::Mischief;
use crate::chaos::history::Stage;
use crate::driver::AnyError;

/// What a server says of itself, and of a row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Seen {
    /// The number that was sent along.
    pub nonce: i64,
    /// Its name.
    pub instance: String,
    /// Its role.
    pub is_reader: bool,
    /// Whether the row is there.
    pub has_row: bool,
    /// What is not as in a new session, in words.
    pub left_behind: String,
}

/// An adapter under test.
pub trait Target: Mischief {
    /// The servers it talks to.
    const ENGINE: Engine;
    /// Whether there are notifications.
    const NOTIFIES: bool;
    /// Tasks of a cluster's monitor with those of its connection.
    const MONITOR_TASKS: usize;
    /// How many sessions the application's user has on a server.
    const COUNT_SESSIONS: &'static str;
    /// Makes the table; a row may stand in it twice.
    const CREATE: &'static [&'static str];
    /// An administrator's connection, by the bare driver.
    type Admin: Admin;

    /// A connector for the application's user.
    fn connector(
        host: &str,
        port: u16,
        services: Services,
        params: &[(&str, &str)],
    ) -> Result<Self::Connector>;

    /// Adds a row, by a prepared statement or by text.
    fn insert(
        client: &mut Self::Client,
        id: i64,
        is_prepared: bool,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Adds this row and the next one in a transaction, and notes how far it came.
    fn insert_two(
        client: &mut Self::Client,
        id: i64,
        stage: &mut Stage,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Asks who answers, for a row, and whether the session is as a new one.
    fn look(client: &mut Self::Client, nonce: i64, id: i64) -> impl Future<Output = Result<Seen>> + Send;

    /// Waits for notifications and notes each, until told to stop. Returns at once where there are none.
    fn listen(
        connector: &Self::Connector,
        heard: impl Fn(&str) + Send + Sync,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Sends a notification, where there are any.
    fn notify(client: &mut Self::Client, text: &str) -> impl Future<Output = Result<()>> + Send;

    /// The statement that changes the password of the application's user.
    fn set_password(password: &str) -> String;

    /// Connects as the administrator.
    fn admin(address: SocketAddr) -> impl Future<Output = Result<Self::Admin, AnyError>> + Send;
}

/// An administrator's connection.
pub trait Admin: Send + 'static {
    /// Runs a statement.
    fn run(&mut self, sql: &str) -> impl Future<Output = Result<(), AnyError>> + Send;

    /// Runs a query whose rows are a number and a text.
    fn rows(&mut self, sql: &str) -> impl Future<Output = Result<Vec<(i64, String)>, AnyError>> + Send;
}
