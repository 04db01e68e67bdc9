//! The parameters of the wrapper, as data.

use std::time::Duration;

use super::choice::{
    AvailabilityStrategyKind, EndpointRole, FailoverMode, MonitorRuntime, MonitoringPriority, PoolReset,
    ReaderFallback, SslMode,
};
use super::parameter::{Kind, Parameter, Unit};

/// How hosts can be picked.
pub(super) const STRATEGIES: &[&str] = &["random", "round_robin", "lowest_load", "highest_weight"];

/// The database products that can be named.
pub(crate) const DIALECTS: &[&str] = &[
    "pg",
    "rds-pg",
    "aurora-pg",
    "global-aurora-pg",
    "rds-multi-az-pg-cluster",
    "mysql",
    "mariadb",
    "rds-mysql",
    "aurora-mysql",
    "global-aurora-mysql",
    "rds-multi-az-mysql-cluster",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A duration that counts milliseconds, of at least `min` of them and at most a day.
const fn millis(min: u64) -> Kind {
    Kind::Duration { unit: Unit::Millis, min: Duration::from_millis(min), max: DAY }
}

/// A duration that counts seconds, of at least `min` of them and at most a day.
const fn secs(min: u64) -> Kind {
    Kind::Duration { unit: Unit::Secs, min: Duration::from_secs(min), max: DAY }
}

const PLUGINS: &str = "Plugins";
const NETWORK: &str = "Network and TLS";
const TOPOLOGY: &str = "Cluster and topology";
const AVAILABILITY: &str = "Host availability and pacing";
const INITIAL_CONNECTION: &str = "Initial connection";
const FAILOVER: &str = "Failover";
const MONITORING: &str = "Host monitoring";
const POOL: &str = "Pools";
const DIAGNOSTICS: &str = "Diagnostics";

/// Every parameter of the wrapper, group by group.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "plugins",
        aliases: &["wrapperPlugins"],
        kind: Kind::List,
        default: "",
        group: PLUGINS,
        doc: "Codes of the plugins. Empty or `none`: no plugin. Not given: the default set, if the \
              endpoint is one of Aurora or RDS or an instance pattern is given; else no plugin.",
    },
    Parameter {
        name: "auto_sort_plugins",
        aliases: &["autoSortWrapperPluginOrder", "autoSortPluginOrder"],
        kind: Kind::Bool,
        default: "true",
        group: PLUGINS,
        doc: "Whether the plugins are brought into the order in which they work together. If not, the \
              order of `plugins` is kept, outermost first.",
    },
    Parameter {
        name: "connect_timeout_ms",
        aliases: &["connectTimeout"],
        kind: millis(1),
        default: "10000",
        group: NETWORK,
        doc: "Limit for opening one connection: name, dial, TLS, authentication and role check together.",
    },
    Parameter {
        name: "socket_timeout_ms",
        aliases: &["socketTimeout"],
        kind: millis(0),
        default: "0",
        group: NETWORK,
        doc: "Limit for the answer to one call, all its rows included; not for results that are read row by row. \
              The call then fails, which is no failover: a slow statement is not a lost host. With MySQL its \
              connection is closed; with PostgreSQL the statement runs on, and later calls wait behind it. `0`: none.",
    },
    Parameter {
        name: "tcp_keep_alive",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: NETWORK,
        doc: "Whether idle connections are probed by the operating system.",
    },
    Parameter {
        name: "tcp_user_timeout_ms",
        aliases: &[],
        kind: millis(0),
        default: "45000",
        group: NETWORK,
        doc: "How long sent data may stay unacknowledged before the operating system gives the connection \
              up. `0`: the system's own limit, often a quarter of an hour. PostgreSQL only: the MySQL driver \
              does not let it be set.",
    },
    Parameter {
        name: "sslmode",
        aliases: &[],
        kind: Kind::Choice(SslMode::CODES),
        default: "",
        group: NETWORK,
        doc: "Whether connections are encrypted and what is checked, as in libpq.",
    },
    Parameter {
        name: "ssl_root_cert",
        aliases: &["sslrootcert"],
        kind: Kind::Text,
        default: "",
        group: NETWORK,
        doc: "Path of a PEM file with the certificate authorities to trust.",
    },
    Parameter {
        name: "dialect",
        aliases: &["wrapperDialect", "databaseDialect"],
        kind: Kind::Choice(DIALECTS),
        default: "",
        group: TOPOLOGY,
        doc: "The database product, one that the driver speaks to. Not given: found out from the endpoint and the \
              server.",
    },
    Parameter {
        name: "cluster_id",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: TOPOLOGY,
        doc: "Name under which connections share a topology. Not given: derived from the endpoint or the \
              topology. Give it only if two endpoints of one cluster are not recognised as such.",
    },
    Parameter {
        name: "cluster_instance_host_pattern",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: TOPOLOGY,
        doc: "Host name of an instance with `?` in place of its identifier, and a port if it is not the \
              default one: `?.xyz.us-east-2.rds.amazonaws.com`. Needed for custom domains and IP \
              addresses.",
    },
    Parameter {
        name: "single_writer_connection_string",
        aliases: &["singleWriterDsn"],
        kind: Kind::Bool,
        default: "false",
        group: TOPOLOGY,
        doc: "Whether the first host of a connection string with several hosts is the writer and the \
              others are readers, for servers without a topology.",
    },
    Parameter {
        name: "cluster_topology_refresh_rate_ms",
        aliases: &[],
        kind: millis(5),
        default: "30000",
        group: TOPOLOGY,
        doc: "Time between two looks at the topology. Less than 300 s.",
    },
    Parameter {
        name: "cluster_topology_high_refresh_rate_ms",
        aliases: &[],
        kind: millis(5),
        default: "100",
        group: TOPOLOGY,
        doc: "The same right after the writer has changed. At most `cluster_topology_refresh_rate_ms`.",
    },
    Parameter {
        name: "cluster_topology_panic_refresh_rate_ms",
        aliases: &[],
        kind: millis(5),
        default: "10",
        group: TOPOLOGY,
        doc: "The same while no writer is known, for each host. At most \
              `cluster_topology_refresh_rate_ms`.",
    },
    Parameter {
        name: "monitoring_connection_priority",
        aliases: &[],
        kind: Kind::Choices(MonitoringPriority::CODES),
        default: "strict-writer",
        group: TOPOLOGY,
        doc: "Where the topology monitor likes to keep its connection, best first. A preference: a working \
              connection is never dropped for it.",
    },
    Parameter {
        name: "topology_monitoring_connect_timeout_ms",
        aliases: &["clusterTopologyConnectTimeoutMs", "topology-monitoring-connectTimeout"],
        kind: millis(1),
        default: "5000",
        group: TOPOLOGY,
        doc: "Limit for opening a connection of the topology monitor.",
    },
    Parameter {
        name: "topology_monitoring_socket_timeout_ms",
        aliases: &["clusterTopologySocketTimeoutMs", "topology-monitoring-socketTimeout"],
        kind: millis(1),
        default: "5000",
        group: TOPOLOGY,
        doc: "Limit for one answer to the topology monitor.",
    },
    Parameter {
        name: "topology_monitoring_user",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: TOPOLOGY,
        doc: "User of the topology monitor, if it is not the one of the connection.",
    },
    Parameter {
        name: "topology_monitoring_password",
        aliases: &[],
        kind: Kind::Secret,
        default: "",
        group: TOPOLOGY,
        doc: "Password of the topology monitor, if it is not the one of the connection.",
    },
    Parameter {
        name: "default_host_availability_strategy",
        aliases: &[],
        kind: Kind::Choice(AvailabilityStrategyKind::CODES),
        default: "simple",
        group: AVAILABILITY,
        doc: "How a host that could not be reached is treated: `simple` leaves it out until it has been \
              reached again, `exponential_backoff` tries it again after a pause that doubles with each \
              failure.",
    },
    Parameter {
        name: "host_availability_max_retries",
        aliases: &["hostAvailabilityStrategyMaxRetries"],
        kind: Kind::Count { min: 1, max: u32::MAX },
        default: "5",
        group: AVAILABILITY,
        doc: "How often `exponential_backoff` tries a host again before it stays out.",
    },
    Parameter {
        name: "host_availability_initial_backoff_secs",
        aliases: &["hostAvailabilityStrategyInitialBackoffTime"],
        kind: secs(1),
        default: "30",
        group: AVAILABILITY,
        doc: "First pause of `exponential_backoff`.",
    },
    Parameter {
        name: "pool_max_opening_per_host",
        aliases: &[],
        kind: Kind::Count { min: 1, max: 32 },
        default: "16",
        group: AVAILABILITY,
        doc: "How many connections are opened at the same time to one host, so that a new writer is not \
              flooded.",
    },
    Parameter {
        name: "endpoint_substitution_role",
        aliases: &[],
        kind: Kind::Choice(EndpointRole::CODES),
        default: "",
        group: INITIAL_CONNECTION,
        doc: "Role of the instance that is used in place of the endpoint; `none` uses the endpoint itself. \
              Not given: told by the kind of endpoint.",
    },
    Parameter {
        name: "initial_connection_host_selector_strategy",
        aliases: &["readerInitialConnectionHostSelectorStrategy"],
        kind: Kind::Choice(STRATEGIES),
        default: "random",
        group: INITIAL_CONNECTION,
        doc: "How that instance is picked.",
    },
    Parameter {
        name: "verify_opened_connection_type",
        aliases: &["verifyInitialConnectionType"],
        kind: Kind::Choice(EndpointRole::VERIFIABLE),
        default: "",
        group: INITIAL_CONNECTION,
        doc: "Role the server must confirm for the first connection; `none` asks nothing. Not given: told \
              by the kind of endpoint.",
    },
    Parameter {
        name: "open_connection_retry_timeout_ms",
        aliases: &["initialConnectionRetryTimeoutMs"],
        kind: millis(1),
        default: "30000",
        group: INITIAL_CONNECTION,
        doc: "Limit for all attempts at a first connection of the right role.",
    },
    Parameter {
        name: "open_connection_retry_interval_ms",
        aliases: &["initialConnectionRetryIntervalMs"],
        kind: millis(1),
        default: "1000",
        group: INITIAL_CONNECTION,
        doc: "Pause between these attempts. At most `open_connection_retry_timeout_ms`.",
    },
    Parameter {
        name: "wait_for_initial_topology_ms",
        aliases: &[],
        kind: millis(0),
        default: "0",
        group: INITIAL_CONNECTION,
        doc: "How long a first connection waits for the topology, so that it can be moved to a selected \
              instance. `0`: not at all.",
    },
    Parameter {
        name: "skip_inactive_writer_cluster_endpoint_check",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: INITIAL_CONNECTION,
        doc: "Whether a writer endpoint that is not active, as in the other regions of a global database, \
              is left unprobed when stale DNS entries are looked for.",
    },
    Parameter {
        name: "failover_mode",
        aliases: &[],
        kind: Kind::Choice(FailoverMode::CODES),
        default: "",
        group: FAILOVER,
        doc: "Which host a failover may end on. Not given: `reader-or-writer` for a reader endpoint, else \
              `strict-writer`.",
    },
    Parameter {
        name: "failover_timeout_ms",
        aliases: &[],
        kind: millis(1),
        default: "300000",
        group: FAILOVER,
        doc: "Limit for a whole failover.",
    },
    Parameter {
        name: "failover_connect_timeout_ms",
        aliases: &[],
        kind: millis(1),
        default: "10000",
        group: FAILOVER,
        doc: "Limit for one attempt to connect within a failover. At most `failover_timeout_ms`.",
    },
    Parameter {
        name: "failover_retry_delay_ms",
        aliases: &[],
        kind: millis(1),
        default: "100",
        group: FAILOVER,
        doc: "First pause between two rounds of attempts; it doubles up to one second, and news of the \
              topology end it. At most `failover_timeout_ms`.",
    },
    Parameter {
        name: "failover_reader_host_selector_strategy",
        aliases: &[],
        kind: Kind::Choice(STRATEGIES),
        default: "random",
        group: FAILOVER,
        doc: "How a reader is picked in a failover.",
    },
    Parameter {
        name: "enable_connect_failover",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: FAILOVER,
        doc: "Whether a first connection that fails with a network error is failed over too.",
    },
    Parameter {
        name: "rollback_on_switch",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: FAILOVER,
        doc: "Whether an open transaction is rolled back on the old connection before another one takes \
              its place.",
    },
    Parameter {
        name: "failure_detection_enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: MONITORING,
        doc: "Whether calls are watched at all by the plugin `efm`.",
    },
    Parameter {
        name: "failure_detection_time_ms",
        aliases: &["failureDetectionTime"],
        kind: millis(1),
        default: "30000",
        group: MONITORING,
        doc: "How long a call may stay without an answer before its host is probed.",
    },
    Parameter {
        name: "failure_detection_interval_ms",
        aliases: &["failureDetectionInterval"],
        kind: millis(50),
        default: "5000",
        group: MONITORING,
        doc: "Time from the beginning of one probe to the next.",
    },
    Parameter {
        name: "failure_detection_count",
        aliases: &[],
        kind: Kind::Count { min: 1, max: 1000 },
        default: "3",
        group: MONITORING,
        doc: "How many probes in a row have to fail before the host counts as dead.",
    },
    Parameter {
        name: "failure_detection_probe_timeout_ms",
        aliases: &[],
        kind: millis(50),
        default: "",
        group: MONITORING,
        doc: "Limit for one probe, from 100 ms to `failure_detection_interval_ms`. Not given: half of \
              that interval.",
    },
    Parameter {
        name: "failure_detection_fail_fast",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: MONITORING,
        doc: "Whether a host that is dead ends all calls in flight on it, and refuses new ones on old \
              connections, at once. If not, each call waits for `failure_detection_time_ms`.",
    },
    Parameter {
        name: "failure_detection_passive",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: MONITORING,
        doc: "Whether an answer on any connection to the host counts as a probe.",
    },
    Parameter {
        name: "failure_detection_check_incarnation",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: MONITORING,
        doc: "Whether calls on connections from before a restart of the server are ended when the \
              restart is noticed.",
    },
    Parameter {
        name: "failure_detection_on_proxy",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: MONITORING,
        doc: "Whether endpoints of RDS Proxy are watched too.",
    },
    Parameter {
        name: "failure_detection_eager_connect",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: MONITORING,
        doc: "Whether the connection for probes is opened with the first connection to a host, and \
              kept. It saves the time of a connect when a call hangs; use it with a \
              `failure_detection_time_ms` below about 5 s.",
    },
    Parameter {
        name: "failure_detection_idle_close_ms",
        aliases: &[],
        kind: millis(1),
        default: "60000",
        group: MONITORING,
        doc: "How long the connection for probes is kept when no call needs one.",
    },
    Parameter {
        name: "monitor_disposal_time_ms",
        aliases: &["monitorDisposalTime"],
        kind: millis(1),
        default: "600000",
        group: MONITORING,
        doc: "How long what is known of a host is kept after the last connection to it is gone.",
    },
    Parameter {
        name: "monitoring_connect_timeout_ms",
        aliases: &["monitoringConnectTimeout"],
        kind: millis(1),
        default: "",
        group: MONITORING,
        doc: "Limit for opening the connection for probes. Not given: the interval of the probes, but \
              at least 1 s and at most 10 s.",
    },
    Parameter {
        name: "monitoring_socket_timeout_ms",
        aliases: &["monitoringSocketTimeout"],
        kind: millis(1),
        default: "",
        group: MONITORING,
        doc: "Limit for one answer on the connection for probes, if it is shorter than that of the \
              probe.",
    },
    Parameter {
        name: "monitoring_user",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: MONITORING,
        doc: "User of the connection for probes. Not given: that of the connection.",
    },
    Parameter {
        name: "monitoring_password",
        aliases: &[],
        kind: Kind::Secret,
        default: "",
        group: MONITORING,
        doc: "Password of the connection for probes. Not given: that of the connection.",
    },
    Parameter {
        name: "monitor_runtime",
        aliases: &[],
        kind: Kind::Choice(MonitorRuntime::CODES),
        default: "shared",
        group: MONITORING,
        doc: "Where the monitors run: with the application's tasks, or on one thread of their own \
              (`dedicated`), for applications that block the threads of their runtime.",
    },
    Parameter {
        name: "pool_max_size",
        aliases: &[],
        kind: Kind::Count { min: 1, max: 100_000 },
        default: "",
        group: POOL,
        doc: "How many connections a pool has to the writer, and as many to each reader. Not given: twice the number of \
              processors.",
    },
    Parameter {
        name: "pool_wait_timeout_ms",
        aliases: &[],
        kind: millis(1),
        default: "30000",
        group: POOL,
        doc: "How long a checkout waits while all connections are in use.",
    },
    Parameter {
        name: "pool_create_timeout_ms",
        aliases: &[],
        kind: millis(1),
        default: "",
        group: POOL,
        doc: "Limit for opening one connection for a pool, all attempts of the plugins together. Not given: \
              `connect_timeout_ms`.",
    },
    Parameter {
        name: "pool_recycle_timeout_ms",
        aliases: &[],
        kind: millis(1),
        default: "1000",
        group: POOL,
        doc: "Limit for the check of a connection that lay idle in a pool, and for cleaning one that is given back.",
    },
    Parameter {
        name: "pool_reset",
        aliases: &[],
        kind: Kind::Choice(PoolReset::ACCEPTED),
        default: "auto",
        group: POOL,
        doc: "What a connection that is given back to a pool is cleaned of, before it can be checked out again. `auto`: the \
              session is reset if anything but plain statements ran on it; `always`: each time; `never`: settings, \
              temporary tables and locks of the session stay. The words of deadpool mean: `fast` is `never`; `verified` is \
              `never` with a sign of life at each checkout; `clean` is `always`. A transaction that is open or may be is \
              ended in every case.",
    },
    Parameter {
        name: "pool_idle_check_after_ms",
        aliases: &[],
        kind: millis(0),
        default: "",
        group: POOL,
        doc: "A connection that was not used for so long is asked for a sign of life when it is checked out. `0`: every one, \
              which costs a round trip each time. Not given: 30 s with PostgreSQL; 500 ms with MySQL, whose driver does not \
              notice the end of a connection nobody uses.",
    },
    Parameter {
        name: "pool_max_lifetime_ms",
        aliases: &[],
        kind: millis(0),
        default: "0",
        group: POOL,
        doc: "Age at which a connection of a pool is replaced, up to a tenth earlier, so that not all are replaced at the \
              same time. `0`: none.",
    },
    Parameter {
        name: "pool_reader_host_selector_strategy",
        aliases: &[],
        kind: Kind::Choice(STRATEGIES),
        default: "round_robin",
        group: POOL,
        doc: "How a pool picks the reader for a checkout.",
    },
    Parameter {
        name: "pool_reader_fallback",
        aliases: &[],
        kind: Kind::Choice(ReaderFallback::CODES),
        default: "writer",
        group: POOL,
        doc: "What a checkout of a reader gets when there is none: a connection to the `writer`, or an `error`.",
    },
    Parameter {
        name: "slow_query_ms",
        aliases: &[],
        kind: millis(0),
        default: "0",
        group: DIAGNOSTICS,
        doc: "Calls that take longer are logged. `0`: none.",
    },
    Parameter {
        name: "query_log_redact_literals",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: DIAGNOSTICS,
        doc: "Whether the `query_log` plugin leaves the literals of a statement out.",
    },
];
