//! A cluster as it is at one moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::failover::FailoverReport;
use super::inner::Inner;
use crate::proxy::NetworkFault;

/// A server that does not say how far it is by then is shown without a position.
const POSITION_DEADLINE: Duration = Duration::from_millis(200);

/// Roles, processes, faults and names of a cluster.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The instance that is the writer.
    pub writer: String,
    /// All instances, in order.
    pub instances: Vec<InstanceStatus>,
    /// What each host name means to a DNS query now.
    pub dns: BTreeMap<String, Vec<IpAddr>>,
    /// The last failover or switchover.
    pub last_failover: Option<FailoverReport>,
}

/// One instance at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct InstanceStatus {
    /// Its name, such as `instance-1`.
    pub name: String,
    /// Its host name.
    pub host: String,
    /// Where clients connect.
    pub address: SocketAddr,
    /// What it is in the cluster.
    pub role: Role,
    /// The server's main process, when it runs.
    pub pid: Option<u32>,
    /// Whether its processes are stopped.
    pub frozen: bool,
    /// Whether the writer's commits wait for it.
    pub in_step: bool,
    /// What the network in front of it does.
    pub network: NetworkFault,
    /// Delay towards the server, in milliseconds.
    pub latency_ms: f64,
    /// Connections that clients hold.
    pub connections: usize,
    /// How far it has written (writer) or replayed (reader), an LSN or a set of GTIDs; absent when it does not answer.
    pub lsn: Option<String>,
}

/// What an instance is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Takes writes, or will when it runs again.
    Writer,
    /// Follows the writer.
    Reader,
    /// Was the writer before a switchover and has not settled yet.
    Demoted,
}

impl Inner {
    pub(super) async fn status(&self) -> Status {
        let mut status = {
            let state = &*self.state.lock().await;
            let instance = |i: usize| {
                let (host, instance) = (&self.hosts[i], &state.instances[i]);
                let role = match (instance.demoted, i == state.writer) {
                    (true, _) => Role::Demoted,
                    (false, true) => Role::Writer,
                    (false, false) => Role::Reader,
                };
                InstanceStatus {
                    name: host.name.clone(),
                    host: self.host_names.instance(&host.name),
                    address: host.address,
                    role,
                    pid: instance.server.map(|server| server.pid),
                    frozen: instance.frozen,
                    in_step: instance.in_step,
                    network: host.proxy.fault(),
                    latency_ms: host.proxy.latency().0.as_secs_f64() * 1000.0,
                    connections: host.proxy.connections(),
                    lsn: None,
                }
            };
            Status {
                writer: self.hosts[state.writer].name.clone(),
                instances: (0..self.hosts.len()).map(instance).collect(),
                dns: self.names.all().into_iter().collect(),
                last_failover: state.last_failover.clone(),
            }
        };
        for (i, instance) in status.instances.iter_mut().enumerate() {
            if instance.pid.is_some() && !instance.frozen {
                let position = self.database.position(i, instance.role == Role::Reader);
                let answer = timeout(POSITION_DEADLINE, position).await;
                instance.lsn = answer.ok().and_then(Result::ok).flatten();
            }
        }
        status
    }
}
