//! What a client has in common with its transactions and streams.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connection::Logical;
use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::driver::DriverDialect;
use aws_wrapper_core::error::{Error, ErrorKind, Phase, Result};
use aws_wrapper_core::pipeline::Pipeline;
use aws_wrapper_core::topology::cluster::ClusterSession;
use tokio::time::timeout;

use crate::driver::PgDriver;
use crate::error::into_error;
use crate::physical::Physical;

/// The logical connection and the connector it came from.
pub(crate) struct Shared {
    core: CoreConnector<PgDriver>,
    logical: Arc<Logical<PgDriver>>,
    /// The monitor of the cluster lives as long as its clients.
    _cluster: Option<ClusterSession>,
}

impl Shared {
    /// A logical connection that starts on `physical`.
    pub(crate) fn new(core: CoreConnector<PgDriver>, physical: &Physical) -> Self {
        let logical = Arc::new(Logical::<PgDriver>::new(Arc::clone(physical.slot())));
        physical.delivery.to(logical.session().inbox());
        Self { _cluster: core.cluster_session(), core, logical }
    }

    /// Another connection in place of one that cannot be had any more.
    pub(crate) async fn connect(&self) -> Result<Physical> {
        let mut physical = self.core.connect().await?;
        let configured = self.core.driver().configure(&mut physical, self.logical.session());
        let Ok(configured) = timeout(self.connect_limit(), configured).await else {
            let text = "the session could not be restored on a new connection in time";
            return Err(Error::new(ErrorKind::Timeout(Phase::Connect), text));
        };
        configured.map_err(into_error)?;
        // Through the parking place, so that the logical connection knows its newest one.
        let slot = Arc::clone(physical.slot());
        self.logical.park(physical, slot, None);
        let mut parked = None;
        self.logical.adopt(|connection| parked = Some(connection));
        parked
            .ok_or_else(|| Error::new(ErrorKind::HostUnavailable, "the new connection was replaced at once"))
    }

    pub(crate) fn pipeline(&self) -> &Pipeline<PgDriver> {
        self.core.pipeline()
    }

    pub(crate) fn logical(&self) -> &Arc<Logical<PgDriver>> {
        &self.logical
    }

    /// How long opening a connection may take, for one it opens by itself too.
    pub(crate) fn connect_limit(&self) -> Duration {
        self.core.settings().network.connect_timeout
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.logical.fmt(f)
    }
}
