//! What a plugin is made with.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use super::chain::{ConnectChain, ConnectHandle};
use super::provided::Provided;
use super::state::{CallState, ConnectionState, Places};
use crate::config::values::{FromValues, Values};
use crate::driver::{DriverDialect, NetworkSettings};
use crate::error::Result;
use crate::health::HostMonitors;
use crate::host::Role;
use crate::probe::Prober;
use crate::runtime::Shared;
use crate::topology::view::Topology;

/// What a plugin's constructor gets: handles, not an object that can do everything.
pub struct PluginContext<D: DriverDialect> {
    /// The driver.
    pub driver: Arc<D>,
    /// The hosts and who they are.
    pub topology: Arc<Topology>,
    /// The role every connection must have, if the connection string asks for one.
    pub wanted_role: Option<Role>,
    pub(crate) values: Arc<Values>,
    pub(crate) network: Arc<NetworkSettings>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) host_monitors: Arc<HostMonitors>,
    pub(crate) chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
    pub(crate) index: usize,
    pub(crate) provided: Provided,
    pub(crate) places: Places,
    /// Opens the wrapper's own connections as this connector.
    pub(crate) prober: Arc<dyn Prober>,
}

impl<D: DriverDialect> PluginContext<D> {
    /// Opens connections through the plugins behind this one.
    pub fn connect_handle(&self) -> ConnectHandle<D> {
        ConnectHandle::new(Arc::clone(&self.chain), self.index + 1, &self.network, &self.shared)
    }

    /// Settings that are read from parameters: the plugin's own, or those of another concept.
    ///
    /// # Errors
    /// Those of reading them.
    pub fn settings<S: FromValues>(&self) -> Result<S> {
        S::from_values(&self.values)
    }

    /// The value of this type that the connector's builder was given
    /// ([`Builder::provide`](crate::connector::Builder::provide)).
    pub fn provided<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.provided.get()
    }

    /// Reserves a place in every call: what a plugin keeps from `before` to `after` or `recover`.
    pub fn call_state<T>(&self) -> CallState<T> {
        self.places.in_calls()
    }

    /// Reserves a place in every logical connection of the connector.
    pub fn connection_state<T>(&self) -> ConnectionState<T> {
        self.places.in_connections()
    }

    /// What an adapter or plugin may use of the services.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl<D: DriverDialect> fmt::Debug for PluginContext<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginContext").field("index", &self.index).finish_non_exhaustive()
    }
}
