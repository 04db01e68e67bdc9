//! `Services`: the owner of everything that connections share.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use crate::error::Result;
use crate::events::Event;
use crate::health::{HostMonitorStatus, HostMonitors};
use crate::host::HostKey;
use crate::resolver::{Resolver, SystemResolver};
use crate::runtime::Shared;
use crate::tasks::TaskStatus;
use crate::telemetry::{Instrument, Telemetry};
use crate::topology::cluster::{ClusterStatus, Clusters};

/// Clusters and their monitors, the registry of physical connections, host availability, events and the resolver.
///
/// Cheap to clone; several connectors can be given one. Nothing is static: two values share nothing. Dropping the last
/// handle, connectors and connections included, ends every task and closes every socket of the wrapper's own.
#[derive(Debug, Clone)]
pub struct Services {
    owner: Arc<Owner>,
}

/// Ends the tasks with the last handle; tasks themselves hold only what is shared.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    clusters: Arc<Clusters>,
    host_monitors: Arc<HostMonitors>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Default for Services {
    fn default() -> Self {
        Self::new()
    }
}

impl Services {
    /// Services with the system's resolver, which measure nothing.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Services that resolve names by `resolver`, and measure nothing.
    pub fn with_resolver(resolver: impl Resolver + 'static) -> Self {
        Self::builder().resolver(resolver).build()
    }

    /// Starts with the system's resolver and nothing to measure by.
    pub fn builder() -> ServicesBuilder {
        ServicesBuilder::default()
    }

    /// The events from now on. A receiver that does not keep up loses the oldest and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared().events.subscribe()
    }

    /// How things are. Does no I/O and waits for nothing.
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let mut connections = BTreeMap::<HostKey, usize>::new();
        for slot in shared.registry.slots() {
            *connections.entry(slot.routed_host().clone()).or_default() += 1;
        }
        Status {
            clusters: self.clusters().status(),
            host_monitors: self.host_monitors().status(),
            tasks: shared.tasks.status(),
            running_tasks: shared.tasks.running(),
            connections,
        }
    }

    /// Ends every task and closes every connection, the application's included, waiting at most `limit`.
    ///
    /// Calls and connects that are running or come later fail at once, without a failover.
    ///
    /// # Errors
    /// [`Timeout(Shutdown)`](crate::error::Phase::Shutdown) when something did not end in time.
    pub async fn shutdown(&self, limit: Duration) -> Result<()> {
        self.shared().close();
        self.shared().tasks.shutdown(limit).await
    }

    /// What is measured. For crates that build on the wrapper.
    pub fn telemetry(&self) -> &Telemetry {
        self.shared().telemetry()
    }

    /// Runs a background task of whoever builds on the wrapper, such as a pool. It ends with the services; after a panic or
    /// an error it is made and started again, with growing pauses. Must be called in a runtime.
    ///
    /// `name` tells it from all others in the status; `what` says in one word what it does, for
    /// [`MONITOR_RESTARTS`](crate::telemetry::metrics::MONITOR_RESTARTS).
    ///
    /// The task must not hold the services, or they would never end.
    pub fn supervise<F, Fut>(&self, what: &'static str, name: String, make: F) -> AbortHandle
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.shared().tasks.supervise(what, name, make)
    }

    /// Runs a task that ends by itself, for crates that build on the wrapper. It is dropped where it stands when the services
    /// are shut down. Must be called in a runtime.
    ///
    /// A task that holds the services keeps them alive: it must have a limit.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.shared().tasks.spawn(task)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    pub(crate) fn clusters(&self) -> &Arc<Clusters> {
        &self.owner.clusters
    }

    pub(crate) fn host_monitors(&self) -> &Arc<HostMonitors> {
        &self.owner.host_monitors
    }
}

/// Makes [`Services`].
#[derive(Debug, Default)]
#[must_use = "this only collects what the services are made of"]
pub struct ServicesBuilder {
    resolver: Option<Arc<dyn Resolver>>,
    telemetry: Telemetry,
}

impl ServicesBuilder {
    /// Resolves names by `resolver`. Default: the system's.
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Measures by `instrument`. Default: nothing is measured, and costs nothing.
    pub fn instrument(mut self, instrument: Arc<dyn Instrument>) -> Self {
        self.telemetry = Telemetry::new(instrument);
        self
    }

    /// The services.
    pub fn build(self) -> Services {
        let resolver = self.resolver.unwrap_or_else(|| Arc::new(SystemResolver));
        let shared = Shared::new(resolver, self.telemetry);
        let host_monitors = HostMonitors::new(&shared);
        Services { owner: Arc::new(Owner { shared, clusters: Arc::default(), host_monitors }) }
    }
}

/// What [`Services::status`] returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Each cluster that is monitored.
    pub clusters: Vec<ClusterStatus>,
    /// Each host that is watched by the plugin `efm`.
    pub host_monitors: Vec<HostMonitorStatus>,
    /// Each supervised task by name.
    pub tasks: BTreeMap<String, TaskStatus>,
    /// How many tasks run, those that drive connections included.
    pub running_tasks: usize,
    /// Physical connections alive, by host.
    pub connections: BTreeMap<HostKey, usize>,
}
