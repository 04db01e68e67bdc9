//! The built-in plugins: code, place and factory of each, in order, and how a list of codes becomes a chain.

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

use std::sync::Arc;

use crate::driver::DriverDialect;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{ConnectionPlugin, Place, PluginContext};

/// One of ours. The place decides the order, the table below is the only list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BuiltIn {
    InitialConnection,
    Tracker,
    StaleDns,
    Failover,
    HostMonitoring,
    QueryLog,
    ConnectTime,
    ExecutionTime,
    Developer,
}

struct Entry {
    plugin: BuiltIn,
    code: &'static str,
    aliases: &'static [&'static str],
    place: Place,
}

const TABLE: &[Entry] = &[
    Entry {
        plugin: BuiltIn::InitialConnection,
        code: "initial_connection",
        aliases: &["auroraInitialConnectionStrategy"],
        place: Place::Weight(500),
    },
    Entry {
        plugin: BuiltIn::Tracker,
        code: "tracker",
        aliases: &["auroraConnectionTracker", "connection_tracker", "aurora_connection_tracker"],
        place: Place::Weight(600),
    },
    Entry {
        plugin: BuiltIn::StaleDns,
        code: "stale_dns",
        aliases: &["auroraStaleDns"],
        place: Place::Weight(700),
    },
    Entry {
        plugin: BuiltIn::Failover,
        code: "failover",
        aliases: &["failover2", "failover_v2"],
        place: Place::Weight(900),
    },
    Entry {
        plugin: BuiltIn::HostMonitoring,
        code: "efm",
        aliases: &["efm2", "host_monitoring", "host_monitoring_v2"],
        place: Place::Weight(1500),
    },
    Entry {
        plugin: BuiltIn::QueryLog,
        code: "query_log",
        aliases: &["logQuery"],
        place: Place::Weight(2100),
    },
    Entry { plugin: BuiltIn::ConnectTime, code: "connect_time", aliases: &[], place: Place::AfterPrevious },
    Entry {
        plugin: BuiltIn::ExecutionTime,
        code: "execution_time",
        aliases: &["executeTime"],
        place: Place::AfterPrevious,
    },
    Entry { plugin: BuiltIn::Developer, code: "developer", aliases: &["dev"], place: Place::AfterPrevious },
];

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

/// Makes a plugin when its place in the chain is known.
type Factory<D> = Box<dyn FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send>;

/// A plugin to be made: where it wants to stand and how to make it.
pub(crate) struct Planned<D: DriverDialect> {
    place: Place,
    make: Factory<D>,
}

impl<D: DriverDialect> Planned<D> {
    /// The application's own.
    pub(crate) fn custom(
        place: Place,
        make: impl FnOnce(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> + Send + 'static,
    ) -> Self {
        Self { place, make: Box::new(make) }
    }

    fn built_in(entry: &Entry) -> Self {
        let plugin = entry.plugin;
        Self { place: entry.place, make: Box::new(move |context| plugin.make(context)) }
    }

    pub(crate) fn make(self, context: &PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> {
        (self.make)(context)
    }
}

impl BuiltIn {
    fn make<D: DriverDialect>(self, context: &PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>> {
        Ok(match self {
            Self::InitialConnection => Arc::new(initial_connection::InitialConnection::new(context)?),
            Self::Tracker => Arc::new(tracker::Tracker::new(context)),
            Self::StaleDns => Arc::new(stale_dns::StaleDns::new(context)),
            Self::Failover => Arc::new(failover::Failover::new(context)?),
            Self::HostMonitoring => Arc::new(host_monitoring::HostMonitoring::new(context)),
            Self::QueryLog => Arc::new(query_log::QueryLog::new(&context.settings)),
            Self::ConnectTime => Arc::new(connect_time::ConnectTime::default()),
            Self::ExecutionTime => Arc::new(execution_time::ExecutionTime::new(&context.settings)),
            Self::Developer => Arc::new(developer::Developer::of(context)),
        })
    }
}

/// The chain for the codes of `plugins` (or the default when they are not given), with the application's own behind
/// them, in order.
pub(crate) fn plan<D: DriverDialect>(
    codes: Option<&[String]>,
    is_cluster: bool,
    sorted: bool,
    custom: Vec<Planned<D>>,
) -> Result<Vec<Planned<D>>> {
    let mut plan = Vec::new();
    let mut seen = Vec::new();
    let mut add = |code: &str| -> Result<()> {
        let entry = find(code)?;
        if seen.contains(&entry.plugin) {
            let text = format!("parameter `plugins`: `{}` stands in the list twice", entry.code);
            return Err(Error::new(ErrorKind::PluginConflict, text));
        }
        seen.push(entry.plugin);
        plan.push(Planned::built_in(entry));
        Ok(())
    };
    match codes {
        Some(codes) => codes.iter().try_for_each(|code| add(code))?,
        None if is_cluster => CLUSTER_DEFAULT.iter().try_for_each(|code| add(code))?,
        None => {}
    }
    // The application's own stand behind the innermost of the built-ins, not behind the last one of the list.
    if sorted {
        sort(&mut plan);
    }
    plan.extend(custom);
    if sorted {
        sort(&mut plan);
    }
    Ok(plan)
}

/// Whether the chain needs to know the topology, so that the server's product has to be detected.
pub(crate) fn needs_topology(codes: Option<&[String]>, is_cluster: bool) -> bool {
    match codes {
        None => is_cluster,
        Some(codes) => codes.iter().any(|code| {
            find(code).is_ok_and(|entry| {
                matches!(
                    entry.plugin,
                    BuiltIn::InitialConnection | BuiltIn::Tracker | BuiltIn::StaleDns | BuiltIn::Failover
                )
            })
        }),
    }
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

fn find(code: &str) -> Result<&'static Entry> {
    let wanted = normal(code);
    let is = |name: &str| normal(name) == wanted;
    if let Some(entry) =
        TABLE.iter().find(|entry| is(entry.code) || entry.aliases.iter().any(|alias| is(alias)))
    {
        return Ok(entry);
    }
    let known = TABLE.iter().map(|entry| entry.code).collect::<Vec<_>>().join(", ");
    if NOT_YET.iter().any(|name| is(name)) {
        let text =
            format!("parameter `plugins`: `{code}` is not available in this version; available are {known}");
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    Err(Error::parameter("plugins", code, &format!("a comma-separated list of {known}")))
}

fn normal(code: &str) -> String {
    code.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}
