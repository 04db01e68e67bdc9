//! Pools of `mysql_async` connections.
//!
//! The driver looks at a connection only during a call. So one that lay idle for half a second
//! (`pool_idle_check_after_ms`), or whose host is known to be down, is asked for a sign of life at the checkout, which takes
//! a round trip; the loss of one that was used more lately than that is noticed by the next call on it. A connection needs the runtime that opened it: one that was opened by another runtime is asked for a
//! sign of life at each checkout, so give each runtime a pool of its own.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let connector = aws_wrapper_mysql::Connector::builder()
//!     .url("mysql://app:secret@my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com/app")?
//!     .build()?;
//! let pool = aws_wrapper_deadpool::mysql::Pool::builder(connector).max_size(16).build()?;
//! let mut reader = pool.reader().await?;
//! let ids: Vec<u64> = reader.query("select id from t").await?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::{Error as CoreError, Result};
use aws_wrapper_mysql::{Conn, Connector, Error, MysqlDriver, mysql_async};

use crate::adapter::Adapter;

/// The adapter of `mysql_async`.
#[derive(Debug)]
#[non_exhaustive]
pub struct MySql;

/// A pool of [`Conn`]s.
pub type Pool = crate::Pool<MySql>;
/// Makes a [`Pool`].
pub type Builder = crate::Builder<MySql>;
/// What deadpool asks for connections.
pub type Manager = crate::Manager<MySql>;
/// A [`Conn`] of the pool; dropping it gives it back.
pub type Object = crate::Object<MySql>;
/// A hook of deadpool's for [`Builder`].
pub type Hook = deadpool::managed::Hook<Manager>;

impl Adapter for MySql {
    type Driver = MysqlDriver;
    type Connector = Connector;
    type Client = Conn;
    type Error = mysql_async::Error;
    const NOTICES_ITS_END: bool = false;
    // As long as pools for Java trust a connection of which they cannot know either (HikariCP's alive-bypass window).
    const IDLE_CHECK_AFTER: Duration = Duration::from_millis(500);
    const BOUND_TO_RUNTIME: bool = true;

    fn into_core(error: mysql_async::Error) -> CoreError {
        Error::from(error).into_core()
    }

    fn core(connector: &Connector) -> &CoreConnector<MysqlDriver> {
        connector.core()
    }

    async fn connect(connector: &Connector) -> Result<Conn> {
        Ok(connector.connect().await?)
    }

    async fn connect_to_host(connector: &Connector, host: &HostKey, role: Role) -> Result<Conn> {
        Ok(connector.connect_to_host(host, role).await?)
    }

    fn slot(conn: &Conn) -> Arc<Slot> {
        conn.slot()
    }

    fn is_left_open(conn: &mut Conn) -> bool {
        conn.is_left_open()
    }

    async fn clear_up(conn: &mut Conn) -> Result<()> {
        Ok(conn.clear_up().await?)
    }

    async fn reset(conn: &mut Conn) -> Result<bool> {
        Ok(conn.renew().await?)
    }

    async fn ping(conn: &mut Conn) -> Result<()> {
        Ok(conn.probe().await?)
    }
}
