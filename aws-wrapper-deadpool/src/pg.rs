//! Pools of tokio-postgres connections.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let connector = aws_wrapper_pg::Connector::builder()
//!     .url("postgresql://app:secret@my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com/app")?
//!     .build()?;
//! let pool = aws_wrapper_deadpool::pg::Pool::builder(connector).max_size(16).build()?;
//! let mut writer = pool.writer().await?;
//! let transaction = writer.transaction().await?;
//! transaction.execute("insert into t values ($1)", &[&7]).await?;
//! transaction.commit().await?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::{Error as CoreError, Result};
use aws_wrapper_pg::{Client, Connector, Error, PgDriver};

use crate::adapter::Adapter;

/// The adapter of tokio-postgres.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pg;

/// A pool of [`Client`]s.
pub type Pool = crate::Pool<Pg>;
/// Makes a [`Pool`].
pub type Builder = crate::Builder<Pg>;
/// What deadpool asks for connections.
pub type Manager = crate::Manager<Pg>;
/// A [`Client`] of the pool; dropping it gives it back.
pub type Object = crate::Object<Pg>;
/// A hook of deadpool's for [`Builder`].
pub type Hook = deadpool::managed::Hook<Manager>;

impl Adapter for Pg {
    type Driver = PgDriver;
    type Connector = Connector;
    type Client = Client;
    type Error = Error;
    /// A task drives the connection and ends with its runtime, which the slot tells.
    const NOTICES_ITS_END: bool = true;
    const IDLE_CHECK_AFTER: Duration = Duration::from_secs(30);
    const BOUND_TO_RUNTIME: bool = false;

    fn into_core(error: Error) -> CoreError {
        error.into_core()
    }

    fn core(connector: &Connector) -> &CoreConnector<PgDriver> {
        connector.core()
    }

    async fn connect(connector: &Connector) -> Result<Client> {
        Ok(connector.connect().await?)
    }

    async fn connect_to_host(connector: &Connector, host: &HostKey, role: Role) -> Result<Client> {
        Ok(connector.connect_to_host(host, role).await?)
    }

    fn slot(client: &Client) -> Arc<Slot> {
        client.slot()
    }

    /// The connection's task has seen all that the server said.
    fn is_left_open(_: &mut Client) -> bool {
        false
    }

    async fn clear_up(client: &mut Client) -> Result<()> {
        Ok(client.clear_up().await?)
    }

    async fn reset(client: &mut Client) -> Result<bool> {
        client.renew().await?;
        Ok(true)
    }

    async fn ping(client: &mut Client) -> Result<()> {
        Ok(client.probe().await?)
    }
}
