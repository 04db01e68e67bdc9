//! What is asked of a driver: a physical connection to a host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::NetworkSettings;
use crate::config::secret::Secret;
use crate::host::HostKey;
use crate::registry::{Purpose, Slot};
use crate::runtime::Shared;

/// What is wanted: one value per attempt, changed by the plugins it passes.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    host: HostKey,
    purpose: Purpose,
    deadline: Instant,
    /// When the driver was asked last.
    started: Instant,
    /// The address to dial, if the name must not be asked for it.
    address: Option<SocketAddr>,
    /// Limit for one attempt, if it is not the one of its purpose.
    connect_limit: Option<Duration>,
    user: Option<String>,
    password: Option<Secret>,
    network: Arc<NetworkSettings>,
    shared: Arc<Shared>,
    slot: Option<Arc<Slot>>,
}

impl ConnectRequest {
    pub(crate) fn new(
        host: HostKey,
        purpose: Purpose,
        deadline: Instant,
        network: &Arc<NetworkSettings>,
        shared: &Arc<Shared>,
    ) -> Self {
        let (network, shared) = (Arc::clone(network), Arc::clone(shared));
        let started = Instant::now();
        Self {
            host,
            purpose,
            deadline,
            started,
            address: None,
            connect_limit: None,
            user: None,
            password: None,
            network,
            shared,
            slot: None,
        }
    }

    /// The host to connect to; its name is also the one a certificate is checked against.
    pub fn host(&self) -> &HostKey {
        &self.host
    }

    /// Connects to another host instead.
    pub fn set_host(&mut self, host: HostKey) {
        self.host = host;
    }

    /// The address to dial instead of what the name resolves to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Dials this address, whatever the name resolves to. A certificate is still checked against the name.
    pub fn set_address(&mut self, address: Option<SocketAddr>) {
        self.address = address;
    }

    /// What the connection is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// When the caller gives up, all attempts together.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Gives up no later than `deadline`.
    pub fn limit(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
    }

    /// When to give up one of several addresses of the host, of which `left` have not been tried: each gets its share of
    /// the time that is left for this attempt.
    pub fn share_of_time(&self, left: usize) -> Instant {
        let now = Instant::now();
        let limit = self.deadline.min(self.started + self.network.connect_timeout);
        now + limit.saturating_duration_since(now) / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
    }

    /// Limit for one attempt.
    pub(crate) fn attempt_limit(&self) -> Duration {
        self.connect_limit.unwrap_or(self.network.connect_timeout)
    }

    /// When the attempt is given up that began last.
    pub(crate) fn attempt_deadline(&self) -> Instant {
        self.deadline.min(self.started + self.attempt_limit())
    }

    /// The driver is asked now, for the connection of `slot`.
    pub(crate) fn begin(&mut self, now: Instant, slot: Arc<Slot>) {
        self.started = now;
        self.lead_to(slot);
    }

    /// The connection of `slot` is the answer.
    pub(crate) fn lead_to(&mut self, slot: Arc<Slot>) {
        self.slot = Some(slot);
    }

    /// The user, if it is not the one of the driver's configuration.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if it is not the one of the driver's configuration.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Logs in, and waits, as a monitor does.
    pub(crate) fn set_login(&mut self, user: Option<&String>, password: Option<&Secret>, limit: Duration) {
        self.user = user.cloned();
        self.password = password.cloned();
        self.connect_limit = Some(limit);
    }

    /// Logs in as `user` instead.
    pub fn set_user(&mut self, user: impl Into<String>) {
        self.user = Some(user.into());
    }

    /// Logs in with `password` instead.
    pub fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }

    /// How sockets are opened and watched.
    pub fn network(&self) -> &NetworkSettings {
        &self.network
    }

    /// What an adapter may use of the services.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The slot of the connection being opened. For adapters.
    ///
    /// # Panics
    /// Before the request has reached the driver.
    pub fn slot(&self) -> &Arc<Slot> {
        self.slot.as_ref().expect("the slot is made before the driver is asked")
    }
}
