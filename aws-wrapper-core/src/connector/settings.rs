//! What a connector was configured with.

use std::sync::Arc;

use crate::availability::{self, AvailabilitySettings};
use crate::config::Config;
use crate::config::parameter::{Kind, Parameter};
use crate::config::schema::Schema;
use crate::config::values::{FromValues, Values};
use crate::driver::{self, DriverDialect, NetworkSettings, TlsSettings};
use crate::error::Result;
use crate::plugin::PluginFactory;
use crate::pooling::{self, PoolSettings};
use crate::topology::{self, TopologySettings};

/// Everything a connector was told, with defaults for what was not. Never changed.
///
/// What belongs to a plugin is read with [`get`](Self::get). `Debug` output has no secrets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Codes of the plugins as they were given; `None` for the default set, an empty list for no plugin.
    pub plugins: Option<Vec<String>>,
    /// Whether the plugins are sorted. Default: true.
    pub auto_sort_plugins: bool,
    /// How many connections are opened at the same time to one host. Default: 16; from 1 to 32.
    pub max_opening_per_host: usize,
    /// Sockets.
    pub network: Arc<NetworkSettings>,
    /// Encryption.
    pub tls: TlsSettings,
    /// The cluster, and the monitor of its topology.
    pub topology: TopologySettings,
    /// Hosts that could not be reached.
    pub availability: AvailabilitySettings,
    /// Pools.
    pub pool: PoolSettings,
    values: Arc<Values>,
}

/// Which plugins there are.
const PLUGINS: &[Parameter] = &[
    Parameter {
        name: "plugins",
        aliases: &["wrapperPlugins"],
        kind: Kind::List,
        default: "",
        group: "Plugins",
        doc: "Codes of the plugins. Empty or `none`: no plugin. Not given: the default set, if the \
              endpoint is one of Aurora or RDS or an instance pattern is given; else no plugin.",
    },
    Parameter {
        name: "auto_sort_plugins",
        aliases: &["autoSortWrapperPluginOrder", "autoSortPluginOrder"],
        kind: Kind::Bool,
        default: "true",
        group: "Plugins",
        doc: "Whether the plugins are brought into the order in which they work together. If not, the \
              order of `plugins` is kept, outermost first.",
    },
];

/// How a host is spared.
const OPENING: &[Parameter] = &[Parameter {
    name: "pool_max_opening_per_host",
    aliases: &[],
    kind: Kind::Count { min: 1, max: 32 },
    default: "16",
    group: "Host availability and pacing",
    doc: "How many connections are opened at the same time to one host, so that a new writer is not \
              flooded.",
}];

impl Settings {
    /// Checks what `config` says against the wrapper's parameters and those of `plugins`.
    pub(super) fn resolve<D: DriverDialect>(
        config: &Config,
        plugins: &[PluginFactory<D>],
    ) -> Result<Arc<Self>> {
        let values = Arc::new(config.resolve(&schema(plugins)?)?);
        for plugin in plugins {
            (plugin.check)(&values)?;
        }
        let (mut codes, mut auto_sort_plugins, mut max_opening_per_host) = (None, true, 16);
        values.read("plugins", &mut codes);
        values.read("auto_sort_plugins", &mut auto_sort_plugins);
        values.read("pool_max_opening_per_host", &mut max_opening_per_host);
        Ok(Arc::new(Self {
            plugins: codes.map(without_none),
            auto_sort_plugins,
            max_opening_per_host,
            network: Arc::new(NetworkSettings::from_values(&values)?),
            tls: TlsSettings::from_values(&values)?,
            topology: TopologySettings::from_values(&values)?,
            availability: AvailabilitySettings::from_values(&values)?,
            pool: PoolSettings::from_values(&values)?,
            values,
        }))
    }

    /// The settings of a plugin, or any others that are read from parameters.
    ///
    /// # Errors
    /// Those of reading them. What a plugin of this connector reads was checked when the connector was built.
    pub fn get<S: FromValues>(&self) -> Result<S> {
        S::from_values(&self.values)
    }

    pub(super) fn values(&self) -> &Arc<Values> {
        &self.values
    }
}

/// Every parameter a connector with these plugins knows.
///
/// # Errors
/// `Config` when two parameters share a name.
pub(super) fn schema<D: DriverDialect>(plugins: &[PluginFactory<D>]) -> Result<Schema> {
    let mut schema = Schema::default();
    for parameters in [PLUGINS, driver::PARAMETERS, topology::PARAMETERS, availability::PARAMETERS, OPENING] {
        schema.add(parameters)?;
    }
    for plugin in plugins {
        schema.add(plugin.parameters)?;
    }
    schema.add(pooling::PARAMETERS)?;
    Ok(schema)
}

fn without_none(codes: Vec<String>) -> Vec<String> {
    match codes.as_slice() {
        [only] if only.eq_ignore_ascii_case("none") => Vec::new(),
        _ => codes,
    }
}

#[cfg(test)]
mod tests;
