//! Pools of `mysql_async` connections.
//!
//! The driver looks at a connection only during a call: one that was lost while it lay idle is noticed at the checkout if it
//! lay there for `pool_idle_check_after_ms`, if its host is known to be down or to have changed its role, or else by the
//! first call on it. A connection needs the runtime that opened it: one that was opened by another runtime is asked for a
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

use aws_wrapper_core::Result;
use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_mysql::{Conn, Connector, MysqlDriver};

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
    const ROLLS_BACK_ON_DROP: bool = false;
    const BOUND_TO_RUNTIME: bool = true;

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

    async fn ping(conn: &mut Conn) -> Result<()> {
        Ok(conn.probe().await?)
    }
}
