//! Opening a physical connection: a request travels through the plugins to the driver.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::config::secret::Secret;
use crate::config::settings::{MonitoringSettings, Settings};
use crate::driver::DriverDialect;
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result};
use crate::host::{Availability, HostKey, Role};
use crate::plugin::ConnectionPlugin;
use crate::registry::{Identity, Purpose, Slot};
use crate::services::Shared;
use crate::topology::cluster::{ConnectorId, OpenedFor, Prober};
use crate::topology::view::Topology;

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
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    slot: Option<Arc<Slot>>,
}

impl ConnectRequest {
    pub(crate) fn new(
        host: HostKey,
        purpose: Purpose,
        deadline: Instant,
        settings: &Arc<Settings>,
        shared: &Arc<Shared>,
    ) -> Self {
        let (user, password) = match purpose {
            Purpose::Monitoring => (settings.topology.user.clone(), settings.topology.password.clone()),
            Purpose::Initial | Purpose::Switch => (None, None),
        };
        let (settings, shared) = (Arc::clone(settings), Arc::clone(shared));
        let started = Instant::now();
        Self {
            host,
            purpose,
            deadline,
            started,
            address: None,
            connect_limit: None,
            user,
            password,
            settings,
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
        let limit = self.deadline.min(self.started + self.settings.network.connect_timeout);
        now + limit.saturating_duration_since(now) / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
    }

    /// The user, if it is not the one of the driver's configuration.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if it is not the one of the driver's configuration.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Logs in, and waits, as a host monitor does.
    pub(crate) fn set_login(&mut self, settings: &MonitoringSettings) {
        self.user.clone_from(&settings.user);
        self.password.clone_from(&settings.password);
        self.connect_limit = Some(settings.connect_timeout);
    }

    /// Whether a host monitor asks for it.
    pub(crate) fn is_of_host_monitor(&self) -> bool {
        self.connect_limit.is_some()
    }

    /// Logs in as `user` instead.
    pub fn set_user(&mut self, user: impl Into<String>) {
        self.user = Some(user.into());
    }

    /// Logs in with `password` instead.
    pub fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }

    /// The connector's settings.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
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

/// The plugins a connect passes, by their place, and the driver at the end.
pub(crate) struct ConnectChain<D: DriverDialect> {
    plugins: Box<[Option<Arc<dyn ConnectionPlugin<D>>>]>,
    end: Arc<Dialler<D>>,
}

impl<D: DriverDialect> ConnectChain<D> {
    pub(crate) fn new(plugins: Box<[Option<Arc<dyn ConnectionPlugin<D>>>]>, end: Arc<Dialler<D>>) -> Self {
        Self { plugins, end }
    }

    /// Opens a connection through all plugins.
    pub(crate) fn connect<'a>(
        &'a self,
        request: &'a mut ConnectRequest,
    ) -> BoxFuture<'a, Result<D::Connection>> {
        Next { chain: self, place: 0 }.run(request)
    }
}

impl<D: DriverDialect> fmt::Debug for ConnectChain<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.plugins.iter().flatten().map(|plugin| plugin.code())).finish()
    }
}

/// The rest of the chain. `Copy`: a plugin may run it several times.
#[derive(Debug)]
pub struct Next<'a, D: DriverDialect> {
    chain: &'a ConnectChain<D>,
    place: usize,
}

impl<D: DriverDialect> Clone for Next<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: DriverDialect> Copy for Next<'_, D> {}

impl<'a, D: DriverDialect> Next<'a, D> {
    /// Opens a connection through the remaining plugins.
    pub fn run<'r>(self, request: &'r mut ConnectRequest) -> BoxFuture<'r, Result<D::Connection>>
    where
        'a: 'r,
    {
        let mut behind = self.chain.plugins.iter().enumerate().skip(self.place);
        match behind.find_map(|(place, plugin)| Some((place, plugin.as_ref()?))) {
            Some((place, plugin)) => {
                let next = Next { chain: self.chain, place: place + 1 };
                Box::pin(async move {
                    plugin.connect(request, next).await.map_err(|error| error.with_plugin(plugin.code()))
                })
            }
            None => Box::pin(self.chain.end.open(request)),
        }
    }
}

/// Lets a plugin open connections itself: enters the chain behind that plugin.
pub struct ConnectHandle<D: DriverDialect> {
    chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
    place: usize,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

impl<D: DriverDialect> ConnectHandle<D> {
    pub(crate) fn new(
        chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
        place: usize,
        settings: &Arc<Settings>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self { chain, place, settings: Arc::clone(settings), shared: Arc::clone(shared) }
    }

    /// Opens a connection to `host` through the plugins behind this one.
    ///
    /// # Errors
    /// Those of the plugins and the driver; `HostUnavailable` when the connector is gone.
    pub async fn connect(&self, host: HostKey, purpose: Purpose, deadline: Instant) -> Result<D::Connection> {
        let chain = self.chain.get().and_then(Weak::upgrade);
        let chain = chain.ok_or_else(|| Error::new(ErrorKind::HostUnavailable, "the connector is gone"))?;
        let mut request = ConnectRequest::new(host, purpose, deadline, &self.settings, &self.shared);
        Next { chain: &chain, place: self.place }.run(&mut request).await
    }
}

impl<D: DriverDialect> fmt::Debug for ConnectHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectHandle").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The end of every chain: the driver, with a deadline and a limit on how many open at once.
#[derive(Debug)]
pub(crate) struct Dialler<D: DriverDialect> {
    pub(crate) driver: Arc<D>,
    pub(crate) shared: Arc<Shared>,
    /// Learns from the application's first connection which product the server is, if anybody needs to know.
    pub(crate) learner: Option<(Arc<Topology>, Arc<dyn Prober>)>,
    pub(crate) connector: ConnectorId,
}

/// A host that works answers in that time.
const FAIR: Duration = Duration::from_secs(1);

impl<D: DriverDialect> Dialler<D> {
    async fn open(&self, request: &mut ConnectRequest) -> Result<D::Connection> {
        if let Some(connection) = self.proven(request) {
            return Ok(connection);
        }
        let by_purpose = match request.purpose {
            Purpose::Monitoring => request.settings.topology.connect_timeout,
            Purpose::Initial | Purpose::Switch => request.settings.network.connect_timeout,
        };
        let limit = request.connect_limit.unwrap_or(by_purpose);
        let host = request.host.clone();
        let opening = self.shared.opening(&host, request.settings.max_opening_per_host);
        // Waiting in the queue is no fault of the host, so its limit begins after that.
        let _permit = match request.purpose {
            // Monitors go first: everybody else waits for what they find.
            Purpose::Monitoring => None,
            Purpose::Initial | Purpose::Switch => {
                let turn = timeout_at(request.deadline, opening.acquire()).await;
                let late = "no turn to connect came in time: too many connections are being opened";
                turn.map_err(|_| Error::new(ErrorKind::Timeout(Phase::Connect), late).with_host(&host))?.ok()
            }
        };
        let started = Instant::now();
        let deadline = request.deadline.min(started + limit);
        let given = deadline.saturating_duration_since(started);
        request.started = started;
        request.slot = Some(self.shared.registry.open(host.clone(), request.purpose));
        match timeout_at(deadline, self.driver.connect(request)).await {
            Ok(Ok(mut connection)) => {
                self.shared.set_availability(&host, Availability::Available);
                if let (Some((topology, prober)), false) =
                    (&self.learner, request.purpose == Purpose::Monitoring)
                {
                    topology.learn(self.driver.as_ref(), &mut connection, prober, deadline).await?;
                }
                Ok(connection)
            }
            Ok(Err(error)) => {
                let error = self.driver.error(error);
                if error.kind() == ErrorKind::Driver(DriverClass::Network) {
                    self.shared.set_availability(&host, Availability::NotAvailable);
                }
                Err(error.with_host(&host))
            }
            Err(_) => {
                // A host that had only the rest of somebody's time is not to blame.
                if given >= limit.min(FAIR) {
                    self.shared.set_availability(&host, Availability::NotAvailable);
                }
                let message = format!("no connection within {} ms", given.as_millis());
                Err(Error::new(ErrorKind::Timeout(Phase::Connect), message).with_host(&host))
            }
        }
    }

    /// The very connection on which the writer was just proved, if that is where the request leads and it would be opened
    /// just so. The plugins it passed see it as one that was opened.
    fn proven(&self, request: &mut ConnectRequest) -> Option<D::Connection> {
        let (topology, _) = self.learner.as_ref()?;
        if request.purpose == Purpose::Monitoring || request.address.is_some() {
            return None;
        }
        let wanted = OpenedFor::new(&self.connector, request.user());
        let connection = topology.cluster()?.take_proven(&request.host, &wanted)?;
        let connection = *connection.downcast::<D::Connection>().ok()?;
        let slot = self.driver.slot(&connection);
        if let Some(host_id) = topology.snapshot().find(&request.host).and_then(|host| host.host_id.clone()) {
            slot.identify(Identity::new(host_id, Role::Writer, Some(request.host.clone())));
        }
        slot.serves(request.purpose);
        slot.leads_to_the_writer();
        request.slot = Some(Arc::clone(slot));
        Some(connection)
    }
}
