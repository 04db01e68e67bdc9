//! The built-in plugins: code, place and factory of each, in order, and how a list of codes becomes a chain.

pub(crate) mod call_metrics;
pub mod connect_time;
pub mod developer;
pub mod execution_time;
pub mod failover;
pub mod host_monitoring;
pub mod initial_connection;
pub mod query_log;
pub mod stale_dns;
pub mod tracker;
mod verified;

use std::fmt;
use std::sync::Arc;

use crate::driver::DriverDialect;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{ConnectionPlugin, Place, PluginContext, PluginFactory};

/// The wrapper's own, in the order of the documentation.
pub(crate) fn built_in<D: DriverDialect>() -> Vec<PluginFactory<D>> {
    vec![
        initial_connection::InitialConnection::factory(),
        tracker::Tracker::factory(),
        stale_dns::StaleDns::factory(),
        failover::Failover::factory(),
        host_monitoring::HostMonitoring::factory(),
        query_log::QueryLog::factory(),
        connect_time::ConnectTime::factory(),
        execution_time::ExecutionTime::factory(),
        developer::Developer::factory(),
    ]
}

/// Codes of the other wrappers that have no counterpart here yet, so that the error can say so.
const NOT_YET: &[&str] = &[
    "bg",
    "read_write_splitting",
    "auto_read_write_splitting",
    "srw",
    "gdb_failover",
    "custom_endpoint",
    "limitless",
    "iam",
    "secrets_manager",
    "awsSecretsManager",
    "federated_auth",
    "okta",
    "fastest_response",
    "data_cache",
    "remote_query_cache",
    "kms_encryption",
];

/// What runs when the user names no plugins and the endpoint belongs to a cluster.
pub const CLUSTER_DEFAULT: &[&str] = &["initial_connection", "tracker", "failover", "efm"];

/// A plugin to be made: where it wants to stand and how to make it.
pub(crate) struct Planned<D: DriverDialect> {
    place: Place,
    make: Factory<D>,
    needs_topology: bool,
}

/// Makes a plugin when its place in the chain is known.
type Factory<D> = Box<dyn FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send>;

impl<D: DriverDialect> fmt::Debug for Planned<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<D: DriverDialect> Planned<D> {
    /// The application's own.
    pub(crate) fn custom(
        place: Place,
        make: impl FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send + 'static,
    ) -> Self {
        Self { place, make: Box::new(make), needs_topology: false }
    }

    fn registered(factory: &PluginFactory<D>) -> Self {
        let (place, needs_topology) = (factory.place, factory.needs_topology);
        Self { place, make: Box::new(factory.make), needs_topology }
    }

    pub(crate) fn needs_topology(&self) -> bool {
        self.needs_topology
    }

    pub(crate) fn make(self, context: &PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> {
        (self.make)(context)
    }
}

/// The chain for the codes of `plugins` (or the default when they are not given), with the application's own behind
/// them, in order.
pub(crate) fn plan<D: DriverDialect>(
    factories: &[PluginFactory<D>],
    codes: Option<&[String]>,
    is_cluster: bool,
    sorted: bool,
    custom: Vec<Planned<D>>,
) -> Result<Vec<Planned<D>>> {
    let chosen: Vec<&PluginFactory<D>> = match codes {
        Some(codes) => codes.iter().map(|code| find(factories, code)).collect::<Result<_>>()?,
        None if is_cluster => {
            CLUSTER_DEFAULT.iter().map(|code| find(factories, code)).collect::<Result<_>>()?
        }
        None => Vec::new(),
    };
    for (index, plugin) in chosen.iter().enumerate() {
        agree(plugin, &chosen[..index])?;
    }
    let mut plan: Vec<_> = chosen.into_iter().map(Planned::registered).collect();
    // The application's own stand behind the innermost of those in the list, not behind the last one of it.
    if sorted {
        sort(&mut plan);
    }
    plan.extend(custom);
    if sorted {
        sort(&mut plan);
    }
    Ok(plan)
}

/// Whether `plugin` may stand in a list with those `before` it.
fn agree<D: DriverDialect>(plugin: &PluginFactory<D>, before: &[&PluginFactory<D>]) -> Result<()> {
    for other in before {
        let excludes = |one: &PluginFactory<D>, other: &PluginFactory<D>| {
            one.excludes.iter().any(|code| other.is_named(code))
        };
        let code = plugin.code;
        if other.code == code {
            let text = format!("parameter `plugins`: `{code}` stands in the list twice");
            return Err(Error::new(ErrorKind::PluginConflict, text));
        }
        if excludes(plugin, other) || excludes(other, plugin) {
            let text = format!(
                "parameter `plugins`: `{}` and `{code}` exclude each other; give one of them",
                other.code
            );
            return Err(Error::new(ErrorKind::PluginConflict, text));
        }
    }
    Ok(())
}

/// Ascending by weight; a plugin without a weight of its own stays right behind the one before it.
fn sort<D: DriverDialect>(plan: &mut Vec<Planned<D>>) {
    let mut last = 0;
    let mut weighted: Vec<(u16, Planned<D>)> = plan
        .drain(..)
        .map(|planned| {
            if let Place::Weight(weight) = planned.place {
                last = weight;
            }
            (last, planned)
        })
        .collect();
    // A stable sort: equals stay in the order of the list.
    weighted.sort_by_key(|(weight, _)| *weight);
    plan.extend(weighted.into_iter().map(|(_, planned)| planned));
}

fn find<'f, D: DriverDialect>(factories: &'f [PluginFactory<D>], code: &str) -> Result<&'f PluginFactory<D>> {
    if let Some(factory) = factories.iter().find(|factory| factory.is_named(code)) {
        return Ok(factory);
    }
    let known = factories.iter().map(|factory| factory.code).collect::<Vec<_>>().join(", ");
    let unavailable = PluginFactory::<D>::new("", |_| unreachable!("it is never made")).with_aliases(NOT_YET);
    if unavailable.is_named(code) {
        let text =
            format!("parameter `plugins`: `{code}` is not available in this version; available are {known}");
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    Err(Error::parameter("plugins", code, &format!("a comma-separated list of {known}")))
}
