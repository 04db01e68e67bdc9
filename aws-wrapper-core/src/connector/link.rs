//! What the client of an adapter has in common with its transactions and streams.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::connector::Connector;
use crate::driver::DriverDialect;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Role;
use crate::pipeline::Pipeline;
use crate::plugin::Logical;
use crate::registry::Slot;
use crate::topology::cluster::ClusterSession;

/// A logical connection and the connector it came from. For adapters.
pub struct Link<D: DriverDialect> {
    connector: Connector<D>,
    logical: Arc<Logical<D>>,
    /// The monitor of the cluster lives as long as its clients.
    _cluster: Option<ClusterSession>,
}

impl<D: DriverDialect> Link<D> {
    /// A logical connection that starts on the physical connection of `slot`; with a role if it was opened to a certain host
    /// of that role.
    pub fn new(connector: Connector<D>, slot: &Arc<Slot>, role: Option<Role>) -> Self {
        let logical = Arc::new(Logical::of_role(Arc::clone(slot), role));
        Self { _cluster: connector.cluster_session(), connector, logical }
    }

    /// Another physical connection, with the session's state, in place of one that cannot be had any more.
    ///
    /// # Errors
    /// Those of connecting, and those of applying the session's state.
    pub async fn connect(&self) -> Result<D::Connection> {
        let driver = self.connector.driver();
        let mut connection = match self.logical.role() {
            Some(role) => self.connector.connect_to_host(self.logical.newest().routed_host(), role).await?,
            None => self.connector.connect().await?,
        };
        let telemetry = self.connector.services().telemetry();
        let deadline = Instant::now() + self.connect_limit();
        self.logical.configure(driver.as_ref(), &mut connection, deadline, telemetry).await?;
        // Through the parking place, so that the logical connection knows its newest one.
        let slot = Arc::clone(driver.slot(&connection));
        self.logical.park(connection, slot, None);
        let mut parked = None;
        self.adopt(|connection| parked = Some(connection));
        parked
            .ok_or_else(|| Error::new(ErrorKind::HostUnavailable, "the new connection was replaced at once"))
    }

    /// Hands the connection that is parked, if one is, to `place`, which puts it to use; then plugins hear of it. Several calls
    /// may ask at once; one does it.
    pub fn adopt(&self, place: impl FnOnce(D::Connection)) {
        if let Some(change) = self.logical.adopt(place) {
            self.pipeline().connection_changed(&self.logical, &change);
        }
    }

    /// The chains of plugins.
    #[inline]
    pub fn pipeline(&self) -> &Pipeline<D> {
        self.connector.pipeline()
    }

    /// What stays when the physical connection is replaced.
    #[inline]
    pub fn logical(&self) -> &Arc<Logical<D>> {
        &self.logical
    }

    /// How long opening a connection may take.
    pub fn connect_limit(&self) -> Duration {
        self.connector.settings().network.connect_timeout
    }
}

impl<D: DriverDialect> fmt::Debug for Link<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.logical.fmt(f)
    }
}
