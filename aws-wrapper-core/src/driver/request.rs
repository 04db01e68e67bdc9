//! What is asked of a driver: a physical connection to a host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::NetworkSettings;
use crate::config::secret::Secret;
use crate::host::HostKey;
use crate::registry::{Purpose, Slot};
use crate::resolver::LookupError;
use crate::runtime::Shared;

/// What is wanted: one value per attempt, changed by the plugins it passes.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    host: HostKey,
    /// The host before any plugin changed it.
    asked: HostKey,
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
            asked: host.clone(),
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
    ///
    /// Once the topology is known the other host must belong to the cluster: be in the topology or in the connection string,
    /// or be named as its instances and endpoints are. Else the connect fails with
    /// [`Routing`](crate::error::ErrorKind::Routing), and is not repeated. To dial an address under the name there is
    /// [`set_address`](Self::set_address).
    pub fn set_host(&mut self, host: HostKey) {
        self.host = host;
    }

    /// The host that was asked for, where a plugin has put another one in its place.
    pub(crate) fn redirected_from(&self) -> Option<&HostKey> {
        Some(&self.asked).filter(|asked| **asked != self.host)
    }

    /// The address to dial instead of what the name resolves to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Dials this address, whatever the name resolves to. A certificate is still checked against the name.
    pub fn set_address(&mut self, address: Option<SocketAddr>) {
        self.address = address;
    }

    /// The addresses that the host's name leads to, at least one. For adapters.
    ///
    /// # Errors
    /// Why there is none. It is [`LookupError::Failed`], too, when nobody has answered in the time of this attempt.
    pub async fn look_up(&self) -> Result<Vec<SocketAddr>, LookupError> {
        let deadline = self.attempt_deadline();
        let given = deadline.saturating_duration_since(self.started);
        let asked = self.shared.resolver().resolve(self.host.host(), self.host.port());
        let late = |_| LookupError::failed(format!("no answer within {} ms", given.as_millis()));
        let addresses = timeout_at(deadline - BEFORE_THE_END, asked).await.map_err(late)??;
        if addresses.is_empty() { Err(LookupError::NoSuchName) } else { Ok(addresses) }
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

/// The deadline of the whole attempt would blame the host, so a look-up ends before it, by the least that timers tell
/// apart.
const BEFORE_THE_END: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;

    use super::*;
    use crate::resolver::Resolver;
    use crate::telemetry::Telemetry;

    /// Answers with these; without any it never does.
    #[derive(Debug)]
    struct Names(Option<Vec<SocketAddr>>);

    #[async_trait]
    impl Resolver for Names {
        async fn resolve(&self, _host: &str, _port: u16) -> Result<Vec<SocketAddr>, LookupError> {
            match &self.0 {
                Some(addresses) => Ok(addresses.clone()),
                None => pending().await,
            }
        }
    }

    fn request(names: Names, connect_timeout: u64, deadline: u64) -> ConnectRequest {
        let [connect_timeout, deadline] = [connect_timeout, deadline].map(Duration::from_millis);
        let network = Arc::new(NetworkSettings { connect_timeout, ..NetworkSettings::default() });
        let (host, shared) =
            (HostKey::new("h", 1).unwrap(), Shared::new(Arc::new(names), Telemetry::default()));
        ConnectRequest::new(host, Purpose::Initial, Instant::now() + deadline, &network, &shared)
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_that_is_not_answered_ends_just_before_the_attempt() {
        for (connect_timeout, deadline, limit) in [(3_000, 60_000, 3_000), (10_000, 700, 700)] {
            let request = request(Names(None), connect_timeout, deadline);
            let started = Instant::now();
            let error = timeout_at(request.attempt_deadline(), request.look_up()).await.unwrap().unwrap_err();
            assert_eq!(started.elapsed() + BEFORE_THE_END, Duration::from_millis(limit));
            assert_eq!(error.class(), crate::error::DriverClass::Lookup);
            assert!(error.to_string().contains(&format!("no answer within {limit} ms")), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_does_not_exist() {
        let look_up = async |names| request(Names(Some(names)), 1_000, 1_000).look_up().await;
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(look_up(vec![address]).await.unwrap(), [address]);
        assert!(matches!(look_up(Vec::new()).await, Err(LookupError::NoSuchName)));
    }
}
