//! A connector: settings, plugins and driver, ready to open connections.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use crate::config::settings::Settings;
use crate::driver::DriverDialect;
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result};
use crate::host::{HostKey, Role};
use crate::pipeline::Pipeline;
use crate::pipeline::connect::{ConnectChain, ConnectRequest, Dialler};
use crate::plugin::ConnectionPlugin;
use crate::plugins::{self, Place, Planned, PluginContext, developer};
use crate::registry::Purpose;
use crate::services::{Services, Shared};
use crate::table::Table;
use crate::topology::cluster::{ClusterSession, ConnectorId, MonitorKind, OpenedFor, Probe, Prober};
use crate::topology::view::Topology;

/// Opens connections to one server or cluster. Cheap to clone.
pub struct Connector<D: DriverDialect> {
    inner: Arc<Inner<D>>,
}

struct Inner<D: DriverDialect> {
    // Pipeline and prober hold no services: dropping the last connector and connection ends everything.
    pipeline: Pipeline<D>,
    driver: Arc<D>,
    settings: Arc<Settings>,
    hosts: Box<[HostKey]>,
    wanted_role: Option<Role>,
    topology: Arc<Topology>,
    services: Services,
}

impl<D: DriverDialect> Clone for Connector<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<D: DriverDialect> fmt::Debug for Connector<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("hosts", &self.inner.hosts)
            .field("dialect", &self.inner.topology.dialect().code())
            .field("pipeline", &self.inner.pipeline)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl<D: DriverDialect> Connector<D> {
    /// Starts a connector to `hosts`, which are tried in order.
    pub fn builder(driver: D, settings: Arc<Settings>, hosts: Vec<HostKey>) -> Builder<D> {
        Builder {
            driver,
            settings,
            hosts,
            services: None,
            custom: Vec::new(),
            developer: developer::Script::default(),
            wanted_role: None,
        }
    }

    /// Opens a connection through the plugins; on the first one, learns which product the server is.
    ///
    /// # Errors
    /// The last host's error when none of several could be used; configuration and login errors at once.
    pub async fn connect(&self) -> Result<D::Connection> {
        // Boxed, so that the future of whoever connects stays small.
        let opened = self.inner.services.shared().until_shut_down(Box::pin(self.connect_to_any())).await;
        opened.map_err(Error::with_nothing_sent)
    }

    /// Opens a connection to one host of the cluster, whatever the endpoint; it must have that role, unless
    /// [`Role::Unknown`] is asked for.
    ///
    /// # Errors
    /// `Routing` when the host has another role; those of connecting.
    pub async fn connect_to_host(&self, host: &HostKey, role: Role) -> Result<D::Connection> {
        let wanted = Some(role).filter(|role| *role != Role::Unknown);
        let opened = Box::pin(self.connect_to(host.clone(), wanted));
        self.inner.services.shared().until_shut_down(opened).await.map_err(Error::with_nothing_sent)
    }

    async fn connect_to_any(&self) -> Result<D::Connection> {
        let inner = &*self.inner;
        let mut last = None;
        for host in &inner.hosts {
            match self.connect_to(host.clone(), inner.wanted_role).await {
                Ok(connection) => return Ok(connection),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(%host, %error, "this host cannot be used");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::config("no host is given")))
    }

    async fn connect_to(&self, host: HostKey, wanted: Option<Role>) -> Result<D::Connection> {
        let inner = &*self.inner;
        // Each plugin bounds its own attempts; this bounds them all, whatever plugins there are.
        let limit = LOGIN_LIMIT.max(inner.settings.failover.timeout);
        let deadline = Instant::now() + limit;
        let mut request = ConnectRequest::new(
            host.clone(),
            Purpose::Initial,
            deadline,
            &inner.settings,
            inner.services.shared(),
        );
        let opened = timeout_at(deadline, inner.pipeline.application().connect(&mut request)).await;
        let mut connection = opened.map_err(|_| {
            let text = format!("no connection within {} ms", limit.as_millis());
            Error::new(ErrorKind::Timeout(Phase::Connect), text).with_host(&host)
        })??;
        if let Some(wanted) = wanted {
            let role = inner.topology.role_of(inner.driver.as_ref(), &mut connection).await?;
            if role != wanted {
                let text = format!("the host is a {role:?}, but a {wanted:?} is wanted");
                return Err(Error::new(ErrorKind::Routing, text).with_host(&host));
            }
        }
        Ok(connection)
    }

    /// The chains of plugins.
    pub fn pipeline(&self) -> &Pipeline<D> {
        &self.inner.pipeline
    }

    /// The driver.
    pub fn driver(&self) -> &Arc<D> {
        &self.inner.driver
    }

    /// What the connector was configured with.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.inner.settings
    }

    /// The hosts and who they are.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.inner.topology
    }

    /// What connections share.
    pub fn services(&self) -> &Services {
        &self.inner.services
    }

    /// Keeps the cluster's monitor alive while a logical connection lives.
    pub fn cluster_session(&self) -> Option<ClusterSession> {
        Some(self.inner.topology.cluster()?.session())
    }
}

/// All attempts at opening one connection together, when no plugin sets a tighter limit.
const LOGIN_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Another host of the list cannot do better.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Config | ErrorKind::PluginConflict | ErrorKind::Login | ErrorKind::Unsupported
    ) || error.kind() == ErrorKind::Driver(DriverClass::Other)
}

/// Makes a [`Connector`].
pub struct Builder<D: DriverDialect> {
    driver: D,
    settings: Arc<Settings>,
    hosts: Vec<HostKey>,
    services: Option<Services>,
    custom: Vec<Planned<D>>,
    developer: developer::Script,
    wanted_role: Option<Role>,
}

impl<D: DriverDialect> fmt::Debug for Builder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl<D: DriverDialect> Builder<D> {
    /// Shares clusters, monitors and events with other connectors. Default: services of its own.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.services = Some(services);
        self
    }

    /// Adds a plugin of the application's own.
    #[must_use]
    pub fn plugin(self, plugin: Arc<dyn ConnectionPlugin<D>>) -> Self {
        self.plugin_with(plugin.place(), move |_| Ok(plugin))
    }

    /// Adds a plugin of the application's own that needs handles, such as one to open connections itself.
    #[must_use]
    pub fn plugin_with(
        mut self,
        place: Place,
        make: impl FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send + 'static,
    ) -> Self {
        self.custom.push(Planned::custom(place, make));
        self
    }

    /// The faults the `developer` plugin plays.
    #[must_use]
    pub fn developer_script(mut self, script: developer::Script) -> Self {
        self.developer = script;
        self
    }

    /// Accepts only hosts of this role, whatever the endpoint.
    #[must_use]
    pub fn wanted_role(mut self, role: Option<Role>) -> Self {
        self.wanted_role = role;
        self
    }

    /// Checks everything and builds the chains. Opens no connection.
    ///
    /// # Errors
    /// `Config` and `PluginConflict` for what cannot work.
    pub fn build(self) -> Result<Connector<D>> {
        let services = self.services.unwrap_or_default();
        let shared = services.shared();
        let driver = Arc::new(self.driver);
        let topology = Arc::new(Topology::new(shared, &self.settings, D::ENGINE, &self.hosts)?);
        let is_cluster =
            topology.endpoint().is_rds() || self.settings.topology.instance_host_pattern.is_some();
        let codes = self.settings.plugins.as_deref();
        let planned = plugins::plan(codes, is_cluster, self.settings.auto_sort_plugins, self.custom)?;

        let connector = ConnectorId::default();
        let prober_chain = Arc::new(OnceLock::new());
        let prober: Arc<dyn Prober> = Arc::new(DriverProber {
            driver: Arc::clone(&driver),
            chain: Arc::clone(&prober_chain),
            settings: Arc::clone(&self.settings),
            shared: Arc::clone(shared),
            id: connector.clone(),
        });
        let chain = Arc::new(OnceLock::new());
        let mut context = PluginContext {
            driver: Arc::clone(&driver),
            settings: Arc::clone(&self.settings),
            topology: Arc::clone(&topology),
            wanted_role: self.wanted_role,
            shared: Arc::clone(shared),
            chain: Arc::clone(&chain),
            index: 0,
            developer: self.developer,
            prober: Arc::clone(&prober),
        };
        let mut plugins = Vec::with_capacity(planned.len());
        for (index, planned) in planned.into_iter().enumerate() {
            context.index = index;
            plugins.push(planned.make(&context)?);
        }
        let learner =
            plugins::needs_topology(codes, is_cluster).then(|| (Arc::clone(&topology), Arc::clone(&prober)));
        let end =
            Arc::new(Dialler { driver: Arc::clone(&driver), shared: Arc::clone(shared), learner, connector });
        let pipeline = Pipeline::new(&plugins, end, self.settings.network.socket_timeout);
        let _ = chain.set(Arc::downgrade(pipeline.application()));
        let _ = prober_chain.set(Arc::downgrade(pipeline.monitoring()));
        Ok(Connector {
            inner: Arc::new(Inner {
                pipeline,
                driver,
                settings: self.settings,
                hosts: self.hosts.into(),
                wanted_role: self.wanted_role,
                topology,
                services,
            }),
        })
    }
}

/// What a builder of an adapter collects for [`Builder`], whatever the driver.
#[derive(Debug)]
pub struct Extras<D: DriverDialect> {
    services: Option<Services>,
    plugins: Vec<Arc<dyn ConnectionPlugin<D>>>,
    developer: developer::Script,
}

impl<D: DriverDialect> Default for Extras<D> {
    fn default() -> Self {
        Self { services: None, plugins: Vec::new(), developer: developer::Script::default() }
    }
}

impl<D: DriverDialect> Extras<D> {
    /// Shares clusters, monitors and events with other connectors.
    pub fn services(&mut self, services: Services) {
        self.services = Some(services);
    }

    /// Adds a plugin.
    pub fn plugin(&mut self, plugin: impl ConnectionPlugin<D> + 'static) {
        self.plugins.push(Arc::new(plugin));
    }

    /// The faults the `developer` plugin plays.
    pub fn developer_script(&mut self, script: developer::Script) {
        self.developer = script;
    }

    /// A builder with all of them.
    pub fn builder(self, driver: D, settings: Arc<Settings>, hosts: Vec<HostKey>) -> Builder<D> {
        let mut builder = Connector::builder(driver, settings, hosts).developer_script(self.developer);
        if let Some(services) = self.services {
            builder = builder.services(services);
        }
        self.plugins.into_iter().fold(builder, Builder::plugin)
    }
}

/// Opens the monitor's connections through the plugins that supply credentials.
#[derive(Debug)]
struct DriverProber<D: DriverDialect> {
    driver: Arc<D>,
    chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    id: ConnectorId,
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
        let mut request =
            ConnectRequest::new(host.clone(), Purpose::Monitoring, deadline, &self.settings, &self.shared);
        // With credentials of its own the monitor's connection is not what a session would have opened.
        let mut is_like_a_session = self.settings.topology.user.is_none();
        if let MonitorKind::Host { address } = monitor {
            request.set_address(address);
            request.set_login(&self.settings.monitoring);
            is_like_a_session = false;
        }
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
