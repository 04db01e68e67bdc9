//! What the cluster tells the world: topology and DNS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::inner::{Inner, State};
use crate::error::Result;
use crate::topology::{Member, Topology, unix_seconds};

/// Lag that running readers report; Aurora's is between 10 and 30 ms.
const LAG_MS: u32 = 15;

impl Inner {
    /// Publishes roles and fates as they are: the topology at once, names after `lag`.
    pub(super) fn announce(&self, state: &mut State, lag: Duration) -> Result<()> {
        let member = |i: usize| {
            let (host, instance) = (&self.hosts[i], &state.instances[i]);
            let writer = i == state.writer;
            Member {
                server_id: host.name.clone(),
                session_id: if writer { "MASTER_SESSION_ID".to_owned() } else { host.session_id.clone() },
                resource_id: self.database.resource_id(i),
                endpoint: self.host_names.instance(&host.name),
                port: host.address.port(),
                writer,
                lag_ms: if writer { 0 } else { LAG_MS },
                last_update: instance.last_seen.map(unix_seconds),
            }
        };
        let topology = Topology { instances: (0..self.hosts.len()).map(member).collect() };
        topology.write(&self.state_folder())?;

        let address = |i: usize| self.hosts[i].address.ip();
        for host in &self.hosts {
            self.publish(
                state,
                self.host_names.instance(&host.name),
                vec![host.address.ip()],
                Duration::ZERO,
            );
        }
        let mut readers: Vec<IpAddr> = Self::running_readers(state).into_iter().map(address).collect();
        if readers.is_empty() {
            readers.push(address(state.writer));
        }
        self.publish(state, self.host_names.cluster(), vec![address(state.writer)], lag);
        self.publish(state, self.host_names.reader(), readers, lag);
        Ok(())
    }

    pub(super) async fn pin(self: Arc<Self>, name: String, target: Option<usize>) -> Result<()> {
        let state = &mut *self.state.lock().await;
        if let Some(i) = target {
            self.pins.lock().insert(name.clone(), i);
            self.names.set(&name, vec![self.hosts[i].address.ip()]);
        } else {
            self.pins.lock().remove(&name);
            state.announced.remove(&name);
            self.announce(state, Duration::ZERO)?;
        }
        Ok(())
    }

    fn publish(&self, state: &mut State, name: String, addresses: Vec<IpAddr>, lag: Duration) {
        if state.announced.get(&name) == Some(&addresses) {
            return;
        }
        state.announced.insert(name.clone(), addresses.clone());
        if self.pins.lock().contains_key(&name) {
            return;
        }
        if lag.is_zero() {
            self.names.set(&name, addresses);
            return;
        }
        let names = self.names.clone();
        let pins = self.pins.clone();
        self.tasks.spawn(async move {
            sleep(lag).await;
            if !pins.lock().contains_key(&name) {
                names.set(&name, addresses);
            }
        });
    }
}
