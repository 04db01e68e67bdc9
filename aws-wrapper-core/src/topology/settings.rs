//! What is said of the cluster in advance, and how its topology is watched.

use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter, Value};
use crate::config::secret::Secret;
use crate::config::values::{FromValue, FromValues, Values, in_millis};
use crate::dialect::DIALECTS;
use crate::error::{Error, Result};

/// How long a topology is believed after it was read. A refresh rate must be shorter.
const TOPOLOGY_LIFE: Duration = Duration::from_secs(300);

/// What is known of the cluster, and how its topology is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopologySettings {
    /// The code of the database product, such as `aurora-pg`; nothing if it is to be found out.
    pub dialect: Option<String>,
    /// The name of the cluster; nothing if it is to be derived.
    pub cluster_id: Option<String>,
    /// Host name of an instance with `?` for its identifier; nothing if it is to be derived.
    pub instance_host_pattern: Option<String>,
    /// Whether the first of several given hosts is the writer. Default: false.
    pub single_writer_connection_string: bool,
    /// Time between two looks at the topology. Default: 30 s; from 5 ms to below 300 s.
    pub refresh_rate: Duration,
    /// The same right after a writer change. Default: 100 ms; at most `refresh_rate`.
    pub high_refresh_rate: Duration,
    /// The same while no writer is known, for each host. Default: 10 ms; at most `refresh_rate`.
    pub panic_refresh_rate: Duration,
    /// Where the monitor likes to keep its connection, best first. Default: the writer.
    pub monitoring_priority: Vec<MonitoringPriority>,
    /// Limit for opening a connection of the monitor. Default: 5 s.
    pub connect_timeout: Duration,
    /// Limit for one answer to the monitor. Default: 5 s.
    pub socket_timeout: Duration,
    /// The monitor's user, if it is not the one of the connection.
    pub user: Option<String>,
    /// The monitor's password, if it is not the one of the connection.
    pub password: Option<Secret>,
}

choice! {
    /// Where the topology monitor likes to keep its connection. A preference: a working connection is never dropped
    /// for it.
    MonitoringPriority {
        /// The writer.
        StrictWriter = "strict-writer",
        /// A reader.
        StrictReader = "strict-reader",
        /// Whatever answers.
        WriterOrReader = "writer-or-reader",
    }
}

impl FromValue for Vec<MonitoringPriority> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Choices(codes) => codes.into_iter().map(MonitoringPriority::from_code).collect(),
            _ => None,
        }
    }
}

/// The parameters.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "dialect",
        aliases: &["wrapperDialect", "databaseDialect"],
        kind: Kind::Choice(DIALECTS),
        default: "",
        group: "Cluster and topology",
        doc: "The database product, one that the driver speaks to. Not given: found out from the endpoint and the \
              server.",
    },
    Parameter {
        name: "cluster_id",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: "Cluster and topology",
        doc: "Name under which connections share a topology. Not given: derived from the endpoint or the \
              topology. Give it only if two endpoints of one cluster are not recognised as such.",
    },
    Parameter {
        name: "cluster_instance_host_pattern",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: "Cluster and topology",
        doc: "Host name of an instance with `?` in place of its identifier, and a port if it is not the \
              default one: `?.xyz.us-east-2.rds.amazonaws.com`. Needed for custom domains and IP \
              addresses.",
    },
    Parameter {
        name: "single_writer_connection_string",
        aliases: &["singleWriterDsn"],
        kind: Kind::Bool,
        default: "false",
        group: "Cluster and topology",
        doc: "Whether the first host of a connection string with several hosts is the writer and the \
              others are readers, for servers without a topology.",
    },
    Parameter {
        name: "cluster_topology_refresh_rate_ms",
        aliases: &[],
        kind: Kind::millis(5),
        default: "30000",
        group: "Cluster and topology",
        doc: "Time between two looks at the topology. Less than 300 s.",
    },
    Parameter {
        name: "cluster_topology_high_refresh_rate_ms",
        aliases: &[],
        kind: Kind::millis(5),
        default: "100",
        group: "Cluster and topology",
        doc: "The same right after the writer has changed. At most `cluster_topology_refresh_rate_ms`.",
    },
    Parameter {
        name: "cluster_topology_panic_refresh_rate_ms",
        aliases: &[],
        kind: Kind::millis(5),
        default: "10",
        group: "Cluster and topology",
        doc: "The same while no writer is known, for each host. At most \
              `cluster_topology_refresh_rate_ms`.",
    },
    Parameter {
        name: "monitoring_connection_priority",
        aliases: &[],
        kind: Kind::Choices(MonitoringPriority::CODES),
        default: "strict-writer",
        group: "Cluster and topology",
        doc: "Where the topology monitor likes to keep its connection, best first. A preference: a working \
              connection is never dropped for it.",
    },
    Parameter {
        name: "topology_monitoring_connect_timeout_ms",
        aliases: &["clusterTopologyConnectTimeoutMs", "topology-monitoring-connectTimeout"],
        kind: Kind::millis(1),
        default: "5000",
        group: "Cluster and topology",
        doc: "Limit for opening a connection of the topology monitor.",
    },
    Parameter {
        name: "topology_monitoring_socket_timeout_ms",
        aliases: &["clusterTopologySocketTimeoutMs", "topology-monitoring-socketTimeout"],
        kind: Kind::millis(1),
        default: "5000",
        group: "Cluster and topology",
        doc: "Limit for one answer to the topology monitor.",
    },
    Parameter {
        name: "topology_monitoring_user",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: "Cluster and topology",
        doc: "User of the topology monitor, if it is not the one of the connection.",
    },
    Parameter {
        name: "topology_monitoring_password",
        aliases: &[],
        kind: Kind::Secret,
        default: "",
        group: "Cluster and topology",
        doc: "Password of the topology monitor, if it is not the one of the connection.",
    },
];

impl Default for TopologySettings {
    fn default() -> Self {
        Self {
            dialect: None,
            cluster_id: None,
            instance_host_pattern: None,
            single_writer_connection_string: false,
            refresh_rate: Duration::from_secs(30),
            high_refresh_rate: Duration::from_millis(100),
            panic_refresh_rate: Duration::from_millis(10),
            monitoring_priority: vec![MonitoringPriority::StrictWriter],
            connect_timeout: Duration::from_secs(5),
            socket_timeout: Duration::from_secs(5),
            user: None,
            password: None,
        }
    }
}

impl FromValues for TopologySettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("dialect", &mut settings.dialect);
        values.read("cluster_id", &mut settings.cluster_id);
        values.read("cluster_instance_host_pattern", &mut settings.instance_host_pattern);
        values.read("single_writer_connection_string", &mut settings.single_writer_connection_string);
        values.read("cluster_topology_refresh_rate_ms", &mut settings.refresh_rate);
        values.read("cluster_topology_high_refresh_rate_ms", &mut settings.high_refresh_rate);
        values.read("cluster_topology_panic_refresh_rate_ms", &mut settings.panic_refresh_rate);
        values.read("monitoring_connection_priority", &mut settings.monitoring_priority);
        values.read("topology_monitoring_connect_timeout_ms", &mut settings.connect_timeout);
        values.read("topology_monitoring_socket_timeout_ms", &mut settings.socket_timeout);
        values.read("topology_monitoring_user", &mut settings.user);
        values.read("topology_monitoring_password", &mut settings.password);

        if settings.refresh_rate >= TOPOLOGY_LIFE {
            return Err(Error::parameter(
                "cluster_topology_refresh_rate_ms",
                &in_millis(settings.refresh_rate),
                "less than `300s`, after which a topology is no longer believed",
            ));
        }
        let rate = ("cluster_topology_refresh_rate_ms", settings.refresh_rate);
        values.at_most("cluster_topology_high_refresh_rate_ms", &mut settings.high_refresh_rate, rate)?;
        values.at_most("cluster_topology_panic_refresh_rate_ms", &mut settings.panic_refresh_rate, rate)?;
        settings.instance_host_pattern.as_deref().map_or(Ok(()), check_host_pattern)?;
        Ok(settings)
    }
}

/// Checks the shape only: whether the name may be one of an instance is for the endpoint module to say.
fn check_host_pattern(pattern: &str) -> Result<()> {
    let (host, port) = pattern.rsplit_once(':').map_or((pattern, None), |(host, port)| (host, Some(port)));
    let has_one_mark = host.matches('?').count() == 1;
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '?' | '.' | '-' | '_'));
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if has_one_mark && is_name && has_port {
        return Ok(());
    }
    Err(Error::parameter(
        "cluster_instance_host_pattern",
        pattern,
        "a host name with one `?` in place of the instance, such as `?.xyz.us-east-2.rds.amazonaws.com`, with or \
         without a port",
    ))
}
