//! Makes connectors.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::cluster_dialer::ClusterDialer;
use super::dialer::Dialer;
use super::prober::DriverProber;
use super::settings::Settings;
use super::topology_news::TopologyNews;
use super::{Connector, ConnectorOptions, Inner};
use crate::config::Config;
use crate::driver::DriverDialect;
use crate::error::Result;
use crate::host::{HostKey, Role};
use crate::pipeline::Pipeline;
use crate::plugin::chain::Dial;
use crate::plugin::{ConnectionPlugin, Place, Places, PluginContext, PluginFactory};
use crate::plugins::call_metrics::CallMetrics;
use crate::plugins::failover::FailoverSettings;
use crate::plugins::{self, Planned, developer};
use crate::probe::{ConnectorId, Prober};
use crate::services::Services;
use crate::topology::view::Topology;

/// Makes a [`Connector`] step by step. Calls may come in any order.
pub struct Builder<D: DriverDialect> {
    driver: D,
    hosts: Vec<HostKey>,
    options: ConnectorOptions<D>,
}

impl<D: DriverDialect> fmt::Debug for Builder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl<D: DriverDialect> Builder<D> {
    pub(super) fn new(driver: D, config: Config, hosts: Vec<HostKey>) -> Self {
        let mut options = ConnectorOptions::default();
        *options.config() = config;
        Self { driver, hosts, options }
    }

    /// Shares clusters, monitors and events with other connectors. Default: services of its own.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.options.services(services);
        self
    }

    /// Lets a plugin be named in `plugins`, with the parameters it brings.
    #[must_use]
    pub fn register(mut self, factory: PluginFactory<D>) -> Self {
        self.options.register(factory);
        self
    }

    /// Adds a plugin of the application's own.
    #[must_use]
    pub fn plugin(mut self, plugin: Arc<dyn ConnectionPlugin<D>>) -> Self {
        self.options.plugin(plugin);
        self
    }

    /// Adds a plugin of the application's own that needs handles, such as one to open connections itself.
    #[must_use]
    pub fn plugin_with(
        mut self,
        place: Place,
        make: impl FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send + 'static,
    ) -> Self {
        self.options.plugin_with(place, make);
        self
    }

    /// The faults the `developer` plugin plays.
    #[must_use]
    pub fn developer_script(mut self, script: developer::Script) -> Self {
        self.options.developer_script(script);
        self
    }

    /// Gives plugins a value that they find by its type ([`ConnectorOptions::provide`]).
    #[must_use]
    pub fn provide<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.options.provide(value);
        self
    }

    /// Accepts only hosts of this role, whatever the endpoint.
    #[must_use]
    pub fn wanted_role(mut self, role: Option<Role>) -> Self {
        self.options.wanted_role(role);
        self
    }

    /// Checks everything and builds the chains. Opens no connection.
    ///
    /// # Errors
    /// `Config` and `PluginConflict` for what cannot work.
    pub fn build(self) -> Result<Connector<D>> {
        let settings = self.options.settings(|_| false)?;
        Connector::new(self.driver, settings, self.hosts, self.options)
    }
}

impl<D: DriverDialect> Connector<D> {
    /// A connector to `hosts` with `options`, of which the adapter has read `settings` already. Opens no connection.
    ///
    /// # Errors
    /// `Config` and `PluginConflict` for what cannot work.
    pub fn new(
        driver: D,
        settings: Arc<Settings>,
        hosts: Vec<HostKey>,
        options: ConnectorOptions<D>,
    ) -> Result<Self> {
        let ConnectorOptions { factories, custom, services, provided, wanted_role, .. } = options;
        let services = services.unwrap_or_default();
        let shared = services.shared();
        let driver = Arc::new(driver);
        let (topology_settings, availability) = (&settings.topology, &settings.availability);
        let topology =
            Topology::new(shared, services.clusters(), topology_settings, availability, D::ENGINE, &hosts)?;
        let topology = Arc::new(topology);
        let is_cluster = topology.endpoint().is_rds() || settings.topology.instance_host_pattern.is_some();
        let codes = settings.plugins.as_deref();
        let planned = plugins::plan(&factories, codes, is_cluster, settings.auto_sort_plugins, custom)?;
        let needs_topology = planned.iter().any(Planned::needs_topology);

        let connector = ConnectorId::default();
        let prober_chain = Arc::new(OnceLock::new());
        let prober: Arc<dyn Prober> = Arc::new(DriverProber {
            driver: Arc::clone(&driver),
            chain: Arc::clone(&prober_chain),
            topology: settings.topology.clone(),
            health: settings.get()?,
            network: Arc::clone(&settings.network),
            shared: Arc::clone(shared),
            id: connector.clone(),
        });
        let chain = Arc::new(OnceLock::new());
        let mut context = PluginContext {
            driver: Arc::clone(&driver),
            topology: Arc::clone(&topology),
            wanted_role,
            values: Arc::clone(settings.values()),
            network: Arc::clone(&settings.network),
            shared: Arc::clone(shared),
            host_monitors: Arc::clone(services.host_monitors()),
            chain: Arc::clone(&chain),
            index: 0,
            provided,
            places: Places::default(),
            prober: Arc::clone(&prober),
        };
        let mut plugins = Vec::with_capacity(planned.len());
        for (index, planned) in planned.into_iter().enumerate() {
            context.index = index;
            plugins.push(planned.make(&context)?);
        }
        if let Some(instrument) = shared.telemetry().of_calls() {
            plugins.push(Arc::new(CallMetrics::new(&context, instrument)));
        }
        let dialer = Dialer {
            driver: Arc::clone(&driver),
            shared: Arc::clone(shared),
            max_opening_per_host: settings.max_opening_per_host,
        };
        let end: Arc<dyn Dial<D>> = if needs_topology {
            let news = TopologyNews::for_those_of(&plugins);
            Arc::new(ClusterDialer { dialer, topology: Arc::clone(&topology), prober, connector, news })
        } else {
            Arc::new(dialer)
        };
        let pipeline = Pipeline::new(&plugins, end, settings.network.socket_timeout);
        let _ = chain.set(Arc::downgrade(pipeline.application()));
        let _ = prober_chain.set(Arc::downgrade(pipeline.monitoring()));
        let hosts = hosts.into();
        // Each plugin bounds its own attempts; this bounds them all, whatever plugins there are.
        let connect_limit = LOGIN_LIMIT.max(settings.get::<FailoverSettings>()?.timeout);
        let session = OnceLock::new();
        let inner = Inner {
            pipeline,
            driver,
            settings,
            hosts,
            wanted_role,
            connect_limit,
            topology,
            services,
            session,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// All attempts at opening one connection together, when no plugin sets a tighter limit.
const LOGIN_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
