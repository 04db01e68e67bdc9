//! `tracker`: a connection does not outlive the role of its host.
//!
//! **Effect.** When the cluster's monitor has proved that the writer is another host, connections to the old one that
//! nobody uses are closed at once, so that no pool hands them out as connections to the writer. One with a call in
//! flight is closed when that call is over and no transaction is open. Connections to the new writer are left alone. A
//! connection opened by another name, such as a custom domain, is asked which instance it reached.
//!
//! **Order.** Outside `failover`, whose connections it follows too.
//!
//! **Parameters.** None.
//!
//! **Failure.** Where the server does not say who it is the connection is known by the name that was dialled.
//!
//! **Cost.** The busy mark of each call (two atomic exchanges). One round trip for a connection whose instance neither the
//! name nor another plugin has told. No task: the topology's monitor does it when it publishes a new writer.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{DriverClass, ErrorKind, Result};
use crate::plugin::{ConnectionPlugin, Connects, Next, Place, PluginContext, PluginFactory, Subscriptions};
use crate::topology::view::Topology;

/// Closes connections to hosts that are not the writer any more.
#[derive(Debug)]
pub struct Tracker<D: DriverDialect> {
    driver: Arc<D>,
    topology: Arc<Topology>,
}

impl<D: DriverDialect> Tracker<D> {
    /// How it is registered.
    pub const fn factory() -> PluginFactory<D> {
        PluginFactory::new("tracker", |context| Ok(Arc::new(Self::new(context))))
            .with_aliases(&["auroraConnectionTracker", "connection_tracker", "aurora_connection_tracker"])
            .with_place(Place::Weight(600))
            .with_topology()
    }

    pub(crate) fn new(context: &PluginContext<D>) -> Self {
        context.topology.start_tracking();
        Self { driver: Arc::clone(&context.driver), topology: Arc::clone(&context.topology) }
    }

    /// Asks a server that was reached by a name of no instance who it is.
    async fn identify(&self, connection: &mut D::Connection) -> Result<()> {
        let slot = self.driver.slot(connection);
        let is_known = self.topology.cluster().is_none()
            || slot.identity().is_some()
            || self.topology.snapshot().find(slot.host()).is_some();
        if is_known {
            return Ok(());
        }
        match self.topology.role_of(self.driver.as_ref(), connection).await {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Driver(DriverClass::Network) | ErrorKind::Timeout(_)
                ) =>
            {
                Err(error)
            }
            Err(error) => {
                tracing::debug!(%error, "the server does not say which instance it is");
                Ok(())
            }
        }
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for Tracker<D> {
    fn code(&self) -> &'static str {
        "tracker"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().connects(Connects::Application)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        let mut connection = next.run(request).await?;
        self.identify(&mut connection).await?;
        self.topology.track(self.driver.slot(&connection));
        Ok(connection)
    }
}
