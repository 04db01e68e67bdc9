//! How monitors open and ask connections: as one of the connectors that use what is monitored.

mod connectors;

use std::any::Any;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

pub(crate) use self::connectors::Contexts;
#[expect(unused_imports, reason = "documentation")]
use crate::error::{Phase, Result};
use crate::host::HostKey;
use crate::table::Table;

/// Opens the monitor's connections, with the settings and credentials of one connector.
#[async_trait]
pub trait Prober: Debug + Send + Sync {
    /// Opens a connection to `host` that only a monitor will use.
    ///
    /// # Errors
    /// Those of the plugins and the driver, and [`Timeout(Connect)`](Phase::Connect) at the deadline.
    async fn connect(
        &self,
        host: &HostKey,
        monitor: MonitorKind,
        deadline: Instant,
    ) -> Result<Box<dyn Probe>>;
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MonitorKind {
    /// The one of a cluster's topology.
    Topology,
    /// The one of a host: to that address, whatever the name resolves to.
    Host {
        /// Nothing for a socket of the file system.
        address: Option<SocketAddr>,
    },
}

/// A connection of the monitor. Dropping it closes it.
#[async_trait]
pub trait Probe: Debug + Send {
    /// Runs one statement and returns its rows as text. The caller sets the deadline.
    async fn fetch_text(&mut self, sql: &str) -> Result<Table>;

    /// Asks for a sign of life, without any text. The caller sets the deadline.
    async fn ping(&mut self) -> Result<()>;

    /// Whether the connection is known to be gone.
    fn has_ended(&self) -> bool;

    /// Whose session it may be given to, if to any.
    fn opened_for(&self) -> Option<&OpenedFor> {
        None
    }

    /// The driver's connection in it, for such a session.
    fn into_connection(self: Box<Self>) -> Option<Box<dyn Any + Send>> {
        None
    }
}

/// Tells connectors apart. Clones are equal, two values never are.
#[derive(Debug, Clone, Default)]
pub struct ConnectorId(Arc<()>);

impl PartialEq for ConnectorId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ConnectorId {}

/// What the settings of a connection were: a session that wants the same can have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedFor {
    connector: ConnectorId,
    user: Option<String>,
}

impl OpenedFor {
    /// With the settings of this connector, as this user if it is not the one of the driver's configuration.
    pub(crate) fn new(connector: &ConnectorId, user: Option<&str>) -> Self {
        Self { connector: connector.clone(), user: user.map(str::to_owned) }
    }
}
