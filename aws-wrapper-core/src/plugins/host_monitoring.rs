//! `efm`: notices a host that has fallen silent, and ends the calls that hang on it.
//!
//! **Effect.** A call marks its connection as busy, by a clock that is only read. When a call has been without an answer
//! for `failure_detection_time_ms`, a monitor of its host asks for a sign of life over a connection of its own, every
//! `failure_detection_interval_ms`. After `failure_detection_count` probes in a row without an answer the host is dead: its
//! calls in flight fail with [`HostUnavailable`](crate::error::ErrorKind::HostUnavailable), new ones fail at once,
//! connections nobody uses have to prove that they live before a pool hands them out. A refusal, such as a failed login
//! or too many connections, is a sign of life; so is an answer on any other connection to the host.
//!
//! **Order.** Inside `failover`, which takes the error and finds the next host; outside plugins that supply credentials.
//!
//! **Parameters.** `failure_detection_*`, `monitoring_*`, `monitor_disposal_time_ms`, `monitor_runtime`.
//!
//! **Failure.** Of a monitor: calls run on, unwatched. It is started again and listed in the status of the services. With
//! credentials the server refuses, a monitor takes the host for alive, because it answers.
//!
//! **Cost.** Two atomic exchanges a call, on a cache line of the connection; no timer, no lock, no allocation, no task.
//! While calls are made one task for all hosts wakes up every 10 to 25 ms. When none is, nothing runs. One connection per
//! host while a call waits for too long, and `failure_detection_idle_close_ms` after that.

use std::sync::Arc;

use async_trait::async_trait;

use crate::config::values::FromValues;
use crate::driver::{ConnectRequest, DriverDialect, NetworkSettings};
use crate::endpoint::EndpointKind;
use crate::error::Result;
use crate::health::{self, HostMonitors, MonitoringSettings, Profile, Target, WatchKey};
use crate::plugin::{ConnectionPlugin, Connects, Next, Place, PluginContext, PluginFactory, Subscriptions};
use crate::probe::Prober;
use crate::registry::Purpose;

/// Ends calls that hang on a dead host.
#[derive(Debug)]
pub struct HostMonitoring<D: DriverDialect> {
    driver: Arc<D>,
    monitors: Arc<HostMonitors>,
    /// Nothing: calls are not watched.
    profile: Option<Arc<Profile>>,
    prober: Arc<dyn Prober>,
}

impl<D: DriverDialect> HostMonitoring<D> {
    /// How it is registered.
    pub const fn factory() -> PluginFactory<D> {
        PluginFactory::new("efm", |context| Ok(Arc::new(Self::new(context)?)))
            .with_aliases(&["efm2", "host_monitoring", "host_monitoring_v2"])
            .with_place(Place::Weight(1500))
            .with_parameters(health::PARAMETERS)
            .with_check(|values| MonitoringSettings::from_values(values).map(drop))
    }

    pub(crate) fn new(context: &PluginContext<D>) -> Result<Self> {
        let settings = context.settings::<MonitoringSettings>()?;
        let kind = context.topology.endpoint().kind();
        let is_proxy = matches!(kind, EndpointKind::Proxy | EndpointKind::ProxyEndpoint);
        let is_on = settings.enabled && (!is_proxy || settings.on_proxy);
        if is_proxy && !is_on {
            tracing::info!(endpoint = %context.topology.initial_host(), "a proxy is not watched by `efm`");
        }
        if is_on {
            warn_of_contradictions(&settings, &context.settings()?);
        }
        Ok(Self {
            driver: Arc::clone(&context.driver),
            monitors: Arc::clone(&context.host_monitors),
            profile: is_on.then(|| Arc::new(Profile::new(&settings))),
            prober: Arc::clone(&context.prober),
        })
    }
}

/// A call that ends by its own limit never lives to see its host probed.
fn warn_of_contradictions(settings: &MonitoringSettings, network: &NetworkSettings) {
    let (grace, limit) = (settings.grace, network.socket_timeout);
    if let Some(limit) = limit.filter(|limit| *limit <= grace) {
        tracing::warn!(
            failure_detection_time_ms = grace.as_millis(),
            socket_timeout_ms = limit.as_millis(),
            "`failure_detection_time_ms` is not shorter than `socket_timeout_ms`: every call fails by its own limit before \
             its host is probed"
        );
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for HostMonitoring<D> {
    fn code(&self) -> &'static str {
        "efm"
    }

    fn subscriptions(&self) -> Subscriptions {
        // Those of the topology's monitor too: one that has proved the writer becomes a session's.
        let connects = if self.profile.is_some() { Connects::All } else { Connects::None };
        Subscriptions::none().connects(connects)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        let connection = next.run(request).await?;
        if let Some(profile) = self.profile.as_ref().filter(|_| request.purpose() != Purpose::HostMonitor) {
            let slot = self.driver.slot(&connection);
            let target = slot.peer().map_or_else(|| Target::Named(slot.host().clone()), Target::Address);
            let key = WatchKey { engine: D::ENGINE, target };
            self.monitors.watch(&key, slot, profile, &self.prober);
        }
        Ok(connection)
    }
}
