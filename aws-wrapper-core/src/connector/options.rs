//! What a builder of an adapter collects, whatever the driver.

use std::sync::Arc;

use super::settings::Settings;
use crate::config::Config;
use crate::driver::DriverDialect;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Role;
use crate::plugin::{ConnectionPlugin, Place, PluginContext, PluginFactory, Provided};
use crate::plugins::{self, Planned, developer};
use crate::services::Services;

/// Parameters, plugins and services, in any order. [`settings`](Self::settings) checks them together.
#[derive(Debug)]
pub struct ConnectorOptions<D: DriverDialect> {
    pub(super) config: Config,
    pub(super) factories: Vec<PluginFactory<D>>,
    pub(super) custom: Vec<Planned<D>>,
    pub(super) services: Option<Services>,
    pub(super) provided: Provided,
    pub(super) wanted_role: Option<Role>,
}

impl<D: DriverDialect> Default for ConnectorOptions<D> {
    fn default() -> Self {
        Self {
            config: Config::new(),
            factories: plugins::built_in(),
            custom: Vec::new(),
            services: None,
            provided: Provided::default(),
            wanted_role: None,
        }
    }
}

impl<D: DriverDialect> ConnectorOptions<D> {
    /// The parameters that were given, to add more.
    pub fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Lets a plugin be named in `plugins`, with the parameters it brings.
    pub fn register(&mut self, factory: PluginFactory<D>) {
        self.factories.push(factory);
    }

    /// Adds a plugin of the application's own, behind those of `plugins` unless it says otherwise.
    pub fn plugin(&mut self, plugin: Arc<dyn ConnectionPlugin<D>>) {
        self.plugin_with(plugin.place(), move |_| Ok(plugin));
    }

    /// As [`plugin`](Self::plugin), one that needs handles, such as one to open connections itself.
    pub fn plugin_with(
        &mut self,
        place: Place,
        make: impl FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send + 'static,
    ) {
        self.custom.push(Planned::custom(place, make));
    }

    /// The faults the `developer` plugin plays.
    pub fn developer_script(&mut self, script: developer::Script) {
        self.provide(script);
    }

    /// Gives plugins a value that they find by its type ([`PluginContext::provided`]): what no text can say, such as a
    /// provider of credentials. It replaces another one of that type.
    pub fn provide<T: Send + Sync + 'static>(&mut self, value: T) {
        self.provided.insert(value);
    }

    /// Shares clusters, monitors and events with other connectors. Default: services of its own.
    pub fn services(&mut self, services: Services) {
        self.services = Some(services);
    }

    /// Accepts only hosts of this role, whatever the endpoint.
    pub fn wanted_role(&mut self, role: Option<Role>) {
        self.wanted_role = role;
    }

    /// Checks all parameters, those of registered plugins included. What `driver_knows` is the driver's.
    ///
    /// # Errors
    /// `Config` for a name that nothing knows, a value that is not accepted, and values that contradict each other;
    /// `PluginConflict` when two plugins have one name.
    pub fn settings(&self, driver_knows: impl Fn(&str) -> bool) -> Result<Arc<Settings>> {
        for (index, factory) in self.factories.iter().enumerate() {
            let taken = self.factories[..index].iter().find(|other| {
                other.is_named(factory.code) || factory.aliases.iter().any(|alias| other.is_named(alias))
            });
            if let Some(other) = taken {
                let text = format!("the plugin `{}` has a name of the plugin `{}`", factory.code, other.code);
                return Err(Error::new(ErrorKind::PluginConflict, text));
            }
        }
        for factory in &self.factories {
            if let Some(taken) = factory.parameters.iter().find(|parameter| driver_knows(parameter.name)) {
                let (code, name) = (factory.code, taken.name);
                let text =
                    format!("parameter `{name}` of the plugin `{code}`: the driver has one of this name");
                return Err(Error::config(text));
            }
        }
        Settings::resolve(&self.config, &self.factories)
    }
}
