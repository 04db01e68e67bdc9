//! How monitors open connections: as this connector does, through the plugins that supply credentials.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::driver::{ConnectRequest, DriverDialect, NetworkSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::health::MonitoringSettings;
use crate::host::HostKey;
use crate::plugin::chain::ConnectChain;
use crate::probe::{ConnectorId, MonitorKind, OpenedFor, Probe, Prober};
use crate::registry::Purpose;
use crate::runtime::Shared;
use crate::table::Table;
use crate::topology::TopologySettings;

/// Opens the monitor's connections through the plugins that supply credentials.
#[derive(Debug)]
pub(super) struct DriverProber<D: DriverDialect> {
    pub(super) driver: Arc<D>,
    pub(super) chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
    pub(super) topology: TopologySettings,
    pub(super) health: MonitoringSettings,
    pub(super) network: Arc<NetworkSettings>,
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConnectorId,
}

#[async_trait]
impl<D: DriverDialect> Prober for DriverProber<D> {
    async fn connect(
        &self,
        host: &HostKey,
        monitor: MonitorKind,
        deadline: Instant,
    ) -> Result<Box<dyn Probe>> {
        let chain = self.chain.get().and_then(Weak::upgrade);
        let chain = chain.ok_or_else(|| Error::new(ErrorKind::HostUnavailable, "the connector is gone"))?;
        let purpose = match monitor {
            MonitorKind::Topology => Purpose::TopologyMonitor,
            MonitorKind::Host { .. } => Purpose::HostMonitor,
        };
        let mut request = ConnectRequest::new(host.clone(), purpose, deadline, &self.network, &self.shared);
        match monitor {
            MonitorKind::Topology => {
                let settings = &self.topology;
                request.set_login(
                    settings.user.as_ref(),
                    settings.password.as_ref(),
                    settings.connect_timeout,
                );
            }
            MonitorKind::Host { address } => {
                let settings = &self.health;
                request.set_address(address);
                request.set_login(
                    settings.user.as_ref(),
                    settings.password.as_ref(),
                    settings.connect_timeout,
                );
            }
        }
        // With credentials of its own the monitor's connection is not what a session would have opened.
        let is_like_a_session = monitor == MonitorKind::Topology && self.topology.user.is_none();
        let connection = chain.connect(&mut request).await?;
        let opened_for = is_like_a_session.then(|| OpenedFor::new(&self.id, request.user()));
        Ok(Box::new(DriverProbe { driver: Arc::clone(&self.driver), connection, opened_for }))
    }
}

/// One connection of the monitor.
#[derive(Debug)]
struct DriverProbe<D: DriverDialect> {
    driver: Arc<D>,
    connection: D::Connection,
    opened_for: Option<OpenedFor>,
}

#[async_trait]
impl<D: DriverDialect> Probe for DriverProbe<D> {
    async fn fetch_text(&mut self, sql: &str) -> Result<Table> {
        let answer = self.driver.fetch_text(&mut self.connection, sql).await;
        answer.map_err(|error| self.driver.error(error).with_host(self.driver.slot(&self.connection).host()))
    }

    async fn ping(&mut self) -> Result<()> {
        let answer = self.driver.ping(&mut self.connection).await;
        answer.map_err(|error| self.driver.error(error).with_host(self.driver.slot(&self.connection).host()))
    }

    fn has_ended(&self) -> bool {
        self.driver.slot(&self.connection).has_ended()
    }

    fn opened_for(&self) -> Option<&OpenedFor> {
        self.opened_for.as_ref()
    }

    fn into_connection(self: Box<Self>) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(self.connection))
    }
}
