//! The end of a chain whose plugins need to know the topology.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::dialer::Dialer;
use super::topology_news::TopologyNews;
use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Role;
use crate::plugin::chain::Dial;
use crate::probe::{ConnectorId, OpenedFor, Prober};
use crate::registry::Identity;
use crate::topology::view::Topology;

/// Dials, lets the topology learn which product the server is, and takes the connection on which the monitor has just proved
/// the writer where there is one.
#[derive(Debug)]
pub(super) struct ClusterDialer<D: DriverDialect> {
    pub(super) dialer: Dialer<D>,
    pub(super) topology: Arc<Topology>,
    pub(super) prober: Arc<dyn Prober>,
    pub(super) connector: ConnectorId,
    pub(super) news: TopologyNews<D>,
}

impl<D: DriverDialect> ClusterDialer<D> {
    async fn open(&self, request: &mut ConnectRequest) -> Result<D::Connection> {
        self.refuse_outside(request)?;
        if request.purpose().is_monitoring() {
            return self.dialer.open(request).await;
        }
        if let Some(connection) = self.proven(request) {
            return Ok(connection);
        }
        let mut connection = self.dialer.open(request).await?;
        let deadline = request.attempt_deadline();
        self.topology.learn(self.dialer.driver.as_ref(), &mut connection, &self.prober, deadline).await?;
        self.news.follow(&self.topology, &self.dialer.shared);
        Ok(connection)
    }

    /// Plugins may lead a connection from one host of the cluster to another. A session that ends up in another cluster would
    /// read and write there, and nothing else would tell.
    fn refuse_outside(&self, request: &ConnectRequest) -> Result<()> {
        let host = request.host();
        match request.redirected_from() {
            Some(asked) if self.topology.is_outside(host) => {
                let text = format!(
                    "a plugin led the connection from `{asked}` to `{host}`, which is not a host of that cluster"
                );
                Err(Error::new(ErrorKind::Routing, text).with_host(host).with_misdirected())
            }
            _ => Ok(()),
        }
    }

    /// The very connection on which the writer was just proved, if that is where the request leads and it would be opened
    /// just so. The plugins it passed see it as one that was opened.
    fn proven(&self, request: &mut ConnectRequest) -> Option<D::Connection> {
        if request.address().is_some() {
            return None;
        }
        let wanted = OpenedFor::new(&self.connector, request.user());
        let connection = self.topology.cluster()?.take_proven(request.host(), &wanted)?;
        let connection = *connection.downcast::<D::Connection>().ok()?;
        let slot = self.dialer.driver.slot(&connection);
        let host_id = self.topology.snapshot().find(request.host()).and_then(|host| host.host_id.clone());
        if let Some(host_id) = host_id {
            slot.identify(Identity::new(host_id, Role::Writer, Some(request.host().clone())));
        }
        slot.serves(request.purpose());
        slot.leads_to_the_writer();
        request.lead_to(Arc::clone(slot));
        Some(connection)
    }
}

impl<D: DriverDialect> Dial<D> for ClusterDialer<D> {
    fn dial<'r>(&'r self, request: &'r mut ConnectRequest) -> BoxFuture<'r, Result<D::Connection>> {
        Box::pin(self.open(request))
    }
}
