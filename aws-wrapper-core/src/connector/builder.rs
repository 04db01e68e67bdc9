//! Makes connectors.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::cluster_dialer::ClusterDialer;
use super::dialer::Dialer;
use super::prober::DriverProber;
use super::{Connector, Inner};
use crate::config::settings::Settings;
use crate::driver::DriverDialect;
use crate::error::Result;
use crate::host::{HostKey, Role};
use crate::pipeline::Pipeline;
use crate::plugin::chain::Dial;
use crate::plugin::{ConnectionPlugin, Place, PluginContext, Provided};
use crate::plugins::{self, Planned, developer};
use crate::probe::{ConnectorId, Prober};
use crate::services::Services;
use crate::topology::view::Topology;

/// Makes a [`Connector`].
pub struct Builder<D: DriverDialect> {
    driver: D,
    settings: Arc<Settings>,
    hosts: Vec<HostKey>,
    services: Option<Services>,
    custom: Vec<Planned<D>>,
    provided: Provided,
    wanted_role: Option<Role>,
}

impl<D: DriverDialect> fmt::Debug for Builder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl<D: DriverDialect> Builder<D> {
    pub(super) fn new(driver: D, settings: Arc<Settings>, hosts: Vec<HostKey>) -> Self {
        Self {
            driver,
            settings,
            hosts,
            services: None,
            custom: Vec::new(),
            provided: Provided::default(),
            wanted_role: None,
        }
    }

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
    pub fn developer_script(self, script: developer::Script) -> Self {
        self.provide(script)
    }

    /// Gives plugins a value that they find by its type ([`PluginContext::provided`]): what no text can say, such as a
    /// provider of credentials. It replaces another one of that type.
    #[must_use]
    pub fn provide<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.provided.insert(value);
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
        let topology =
            Arc::new(Topology::new(shared, services.clusters(), &self.settings, D::ENGINE, &self.hosts)?);
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
            host_monitors: Arc::clone(services.host_monitors()),
            chain: Arc::clone(&chain),
            index: 0,
            provided: self.provided,
            prober: Arc::clone(&prober),
        };
        let mut plugins = Vec::with_capacity(planned.len());
        for (index, planned) in planned.into_iter().enumerate() {
            context.index = index;
            plugins.push(planned.make(&context)?);
        }
        let dialer = Dialer { driver: Arc::clone(&driver), shared: Arc::clone(shared) };
        let end: Arc<dyn Dial<D>> = if plugins::needs_topology(codes, is_cluster) {
            Arc::new(ClusterDialer { dialer, topology: Arc::clone(&topology), prober, connector })
        } else {
            Arc::new(dialer)
        };
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
