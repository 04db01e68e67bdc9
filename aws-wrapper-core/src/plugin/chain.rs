//! Opening a physical connection: a request travels through the plugins to the driver.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::ConnectionPlugin;
use crate::driver::{ConnectRequest, DriverDialect, NetworkSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostKey;
use crate::registry::Purpose;
use crate::runtime::Shared;
use crate::telemetry::spans;

/// Where a chain ends: opens the connection that all plugins have asked for.
pub(crate) trait Dial<D: DriverDialect>: fmt::Debug + Send + Sync {
    fn dial<'r>(&'r self, request: &'r mut ConnectRequest) -> BoxFuture<'r, Result<D::Connection>>;
}

/// The plugins a connect passes, by their place, and the driver at the end.
pub(crate) struct ConnectChain<D: DriverDialect> {
    plugins: Box<[Option<Arc<dyn ConnectionPlugin<D>>>]>,
    end: Arc<dyn Dial<D>>,
}

impl<D: DriverDialect> ConnectChain<D> {
    pub(crate) fn new(plugins: Box<[Option<Arc<dyn ConnectionPlugin<D>>>]>, end: Arc<dyn Dial<D>>) -> Self {
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
                let span = tracing::trace_span!(spans::PLUGIN, plugin = plugin.code(), step = "connect");
                Box::pin(async move {
                    let connected = plugin.connect(request, next).instrument(span).await;
                    connected.map_err(|error| error.with_plugin(plugin.code()))
                })
            }
            None => self.chain.end.dial(request),
        }
    }
}

/// Lets a plugin open connections itself: enters the chain behind that plugin.
pub struct ConnectHandle<D: DriverDialect> {
    chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
    place: usize,
    network: Arc<NetworkSettings>,
    shared: Arc<Shared>,
}

impl<D: DriverDialect> ConnectHandle<D> {
    pub(crate) fn new(
        chain: Arc<OnceLock<Weak<ConnectChain<D>>>>,
        place: usize,
        network: &Arc<NetworkSettings>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self { chain, place, network: Arc::clone(network), shared: Arc::clone(shared) }
    }

    /// Opens a connection to `host` through the plugins behind this one.
    ///
    /// # Errors
    /// Those of the plugins and the driver; `HostUnavailable` when the connector is gone.
    pub async fn connect(&self, host: HostKey, purpose: Purpose, deadline: Instant) -> Result<D::Connection> {
        let chain = self.chain.get().and_then(Weak::upgrade);
        let chain = chain.ok_or_else(|| Error::new(ErrorKind::HostUnavailable, "the connector is gone"))?;
        let mut request = ConnectRequest::new(host, purpose, deadline, &self.network, &self.shared);
        Next { chain: &chain, place: self.place }.run(&mut request).await
    }
}

impl<D: DriverDialect> fmt::Debug for ConnectHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectHandle").field("place", &self.place).finish_non_exhaustive()
    }
}
