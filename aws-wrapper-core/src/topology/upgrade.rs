//! Moving the monitor's connection to a host that is preferred.

use std::sync::Arc;

use tokio::time::Instant;

use super::cluster::Cluster;
use super::reading::{Reading, read};
use super::worker::Held;
use crate::error::Result;
use crate::host::{HostKey, Role};
use crate::probe::MonitorKind;

/// A connection to a preferred host and what it said.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) held: Held,
    pub(super) reading: Reading,
}

/// Connects to the first candidate that answers and has the role it is believed to have.
pub(super) async fn upgrade(cluster: &Arc<Cluster>, candidates: Vec<(HostKey, Role)>) -> Option<Upgrade> {
    for (host, role) in candidates {
        match connect(cluster, &host).await {
            Ok(upgrade) if upgrade.reading.role == role => return Some(upgrade),
            Ok(upgrade) => {
                tracing::debug!(%host, role = ?upgrade.reading.role, "not the role that was expected");
            }
            Err(error) => {
                cluster.note(error);
            }
        }
    }
    None
}

async fn connect(cluster: &Arc<Cluster>, host: &HostKey) -> Result<Upgrade> {
    let deadline = Instant::now() + cluster.seed.settings.connect_timeout;
    let mut probe = cluster.contexts.connect(host, MonitorKind::Topology, deadline).await?;
    let reading = read(cluster, probe.as_mut()).await?;
    Ok(Upgrade { held: Held { host: host.clone(), probe }, reading })
}
