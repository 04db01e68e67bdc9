//! The configuration as the code below sees it: complete, typed and checked.

use std::path::PathBuf;
use std::time::Duration;

pub use super::choice::{
    AvailabilityStrategyKind, EndpointRole, FailoverMode, MonitorRuntime, MonitoringPriority, PoolReset,
    ReaderFallback, SslMode,
};
use super::parameter::Value;
use super::secret::Secret;
use super::{Config, Origin};
use crate::error::{Error, Result};

/// How long a topology is believed after it was read. A refresh rate must be shorter.
const TOPOLOGY_LIFE: Duration = Duration::from_secs(300);

/// A probe that is given less time fails on hosts that are only busy.
const SHORTEST_PROBE: Duration = Duration::from_millis(100);

/// Everything the wrapper can be told, with defaults for what was not. Made by [`Config::settings`], never changed.
///
/// Its `Debug` output has no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Codes of the plugins as they were given; nothing for the default set, an empty list for no plugin.
    pub plugins: Option<Vec<String>>,
    /// Whether the plugins are sorted. Default: true.
    pub auto_sort_plugins: bool,
    /// The code of the database product, such as `aurora-pg`; nothing if it is to be found out.
    pub dialect: Option<String>,
    /// How many connections are opened at the same time to one host. Default: 16; from 1 to 32.
    pub max_opening_per_host: usize,
    /// Sockets.
    pub network: NetworkSettings,
    /// Encryption.
    pub tls: TlsSettings,
    /// The cluster, and the monitor of its topology.
    pub topology: TopologySettings,
    /// Hosts that could not be reached.
    pub availability: AvailabilitySettings,
    /// The first connection.
    pub initial_connection: InitialConnectionSettings,
    /// Failover.
    pub failover: FailoverSettings,
    /// Host monitoring.
    pub monitoring: MonitoringSettings,
    /// Pools.
    pub pool: PoolSettings,
    /// Logs.
    pub diagnostics: DiagnosticsSettings,
}

/// How sockets are opened and watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkSettings {
    /// Limit for opening one connection as a whole. Default: 10 s.
    pub connect_timeout: Duration,
    /// Limit for the answer to one call; nothing for none, the default.
    pub socket_timeout: Option<Duration>,
    /// Whether idle connections are probed by the operating system. Default: true.
    pub tcp_keep_alive: bool,
    /// How long sent data may stay unacknowledged; nothing for the system's own limit. Default: 45 s.
    pub tcp_user_timeout: Option<Duration>,
}

/// How connections are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSettings {
    /// What is asked of a connection; nothing if the adapter decides.
    pub mode: Option<SslMode>,
    /// A PEM file with the certificate authorities to trust.
    pub root_cert: Option<PathBuf>,
}

/// What is known of the cluster, and how its topology is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopologySettings {
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

/// How hosts that could not be reached are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AvailabilitySettings {
    /// Whether they are tried again. Default: [`AvailabilityStrategyKind::Simple`].
    pub strategy: AvailabilityStrategyKind,
    /// How often, for [`AvailabilityStrategyKind::ExponentialBackoff`]. Default: 5; at least 1.
    pub max_retries: u32,
    /// The first pause of [`AvailabilityStrategyKind::ExponentialBackoff`]. Default: 30 s; at least 1 s.
    pub initial_backoff: Duration,
}

/// Which instance the first connection goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitialConnectionSettings {
    /// The role of the instance used in place of the endpoint; nothing if the kind of endpoint tells.
    pub substitution_role: Option<EndpointRole>,
    /// The code of the strategy by which the instance is picked. Default: `random`.
    pub strategy: &'static str,
    /// The role the server must confirm; nothing if the kind of endpoint tells. Never [`EndpointRole::Any`].
    pub verify_role: Option<EndpointRole>,
    /// Limit for all attempts together. Default: 30 s.
    pub retry_timeout: Duration,
    /// Pause between attempts. Default: 1 s; at most `retry_timeout`.
    pub retry_interval: Duration,
    /// How long to wait for a topology; nothing for not at all, the default.
    pub wait_for_topology: Option<Duration>,
    /// Whether an inactive writer endpoint is left unprobed by the check for stale DNS. Default: false.
    pub skip_inactive_writer_cluster_endpoint_check: bool,
}

/// What happens when a connection is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailoverSettings {
    /// Which host may be the new one; nothing if the kind of endpoint tells.
    pub mode: Option<FailoverMode>,
    /// Limit for a whole failover. Default: 300 s.
    pub timeout: Duration,
    /// Limit for one attempt to connect. Default: 10 s; at most `timeout`.
    pub connect_timeout: Duration,
    /// First pause between two rounds of attempts. Default: 100 ms; at most `timeout`.
    pub retry_delay: Duration,
    /// The code of the strategy by which a reader is picked. Default: `random`.
    pub reader_strategy: &'static str,
    /// Whether a first connection that fails with a network error is failed over too. Default: false.
    pub on_connect: bool,
    /// Whether an open transaction is rolled back on the old connection. Default: true.
    pub rollback_on_switch: bool,
}

/// How silent hosts are noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "switches, each a parameter of its own")]
pub struct MonitoringSettings {
    /// Whether calls are watched. Default: true.
    pub enabled: bool,
    /// How long a call may stay without an answer before its host is probed. Default: 30 s.
    pub grace: Duration,
    /// From the beginning of one probe to the next. Default: 5 s; at least 50 ms.
    pub interval: Duration,
    /// How many probes in a row have to fail. Default: 3; at least 1.
    pub count: u32,
    /// Limit for one probe. Default: half of `interval`, from 100 ms to `interval`.
    pub probe_timeout: Duration,
    /// Whether a dead host ends all calls in flight and refuses new ones. Default: true.
    pub fail_fast: bool,
    /// Whether an answer on any connection to the host counts as a probe. Default: true.
    pub passive: bool,
    /// Whether a restart of the server ends calls on older connections. Default: true.
    pub check_incarnation: bool,
    /// Whether endpoints of RDS Proxy are watched. Default: false.
    pub on_proxy: bool,
    /// Whether the connection for probes is opened early and kept. Default: false.
    pub eager_connect: bool,
    /// How long the connection for probes is kept unused. Default: 60 s.
    pub idle_close: Duration,
    /// How long what is known of a host is kept without a connection to it. Default: 600 s.
    pub disposal: Duration,
    /// Limit for opening the connection for probes. Default: `interval`, from 1 s to 10 s.
    pub connect_timeout: Duration,
    /// The user of the connection for probes, if it is not the one of the connection.
    pub user: Option<String>,
    /// The password of the connection for probes, if it is not the one of the connection.
    pub password: Option<Secret>,
    /// Where the monitors run. Default: [`MonitorRuntime::Shared`].
    pub runtime: MonitorRuntime,
}

/// How connections are pooled, by the crate `aws-wrapper-deadpool`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Connections to the writer, and as many to each reader; nothing for twice the number of processors.
    pub max_size: Option<usize>,
    /// How long a checkout waits for a free connection. Default: 30 s.
    pub wait_timeout: Duration,
    /// Limit for opening one connection; nothing for [`NetworkSettings::connect_timeout`].
    pub create_timeout: Option<Duration>,
    /// Limit for the check of an idle connection. Default: 1 s.
    pub recycle_timeout: Duration,
    /// For how long a connection may lie idle before it is checked, zero if every one is; nothing for what suits the driver.
    pub idle_check_after: Option<Duration>,
    /// Age at which a connection is replaced; nothing for none, the default.
    pub max_lifetime: Option<Duration>,
    /// What a connection that is given back is cleaned of. Default: of whatever was done to its session.
    pub reset: PoolReset,
    /// The code of the strategy by which a reader is picked. Default: `round_robin`.
    pub reader_strategy: &'static str,
    /// What is given out when there is no reader. Default: a connection to the writer.
    pub reader_fallback: ReaderFallback,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiagnosticsSettings {
    /// Calls that take longer are logged; nothing for none, the default.
    pub slow_query: Option<Duration>,
    /// Whether literals are left out of logged statements. Default: true.
    pub redact_literals: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            plugins: None,
            auto_sort_plugins: true,
            dialect: None,
            max_opening_per_host: 16,
            network: NetworkSettings::default(),
            tls: TlsSettings::default(),
            topology: TopologySettings::default(),
            availability: AvailabilitySettings::default(),
            initial_connection: InitialConnectionSettings::default(),
            failover: FailoverSettings::default(),
            monitoring: MonitoringSettings::default(),
            pool: PoolSettings::default(),
            diagnostics: DiagnosticsSettings::default(),
        }
    }
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            socket_timeout: None,
            tcp_keep_alive: true,
            tcp_user_timeout: Some(Duration::from_secs(45)),
        }
    }
}

impl Default for TopologySettings {
    fn default() -> Self {
        Self {
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

impl Default for AvailabilitySettings {
    fn default() -> Self {
        Self {
            strategy: AvailabilityStrategyKind::Simple,
            max_retries: 5,
            initial_backoff: Duration::from_secs(30),
        }
    }
}

impl Default for InitialConnectionSettings {
    fn default() -> Self {
        Self {
            substitution_role: None,
            strategy: "random",
            verify_role: None,
            retry_timeout: Duration::from_secs(30),
            retry_interval: Duration::from_secs(1),
            wait_for_topology: None,
            skip_inactive_writer_cluster_endpoint_check: false,
        }
    }
}

impl Default for FailoverSettings {
    fn default() -> Self {
        Self {
            mode: None,
            timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            retry_delay: Duration::from_millis(100),
            reader_strategy: "random",
            on_connect: false,
            rollback_on_switch: true,
        }
    }
}

impl Default for MonitoringSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            grace: Duration::from_secs(30),
            interval: Duration::from_secs(5),
            count: 3,
            probe_timeout: Duration::from_millis(2_500),
            fail_fast: true,
            passive: true,
            check_incarnation: true,
            on_proxy: false,
            eager_connect: false,
            idle_close: Duration::from_secs(60),
            disposal: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(5),
            user: None,
            password: None,
            runtime: MonitorRuntime::Shared,
        }
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_size: None,
            wait_timeout: Duration::from_secs(30),
            create_timeout: None,
            recycle_timeout: Duration::from_secs(1),
            idle_check_after: None,
            max_lifetime: None,
            reset: PoolReset::Auto,
            reader_strategy: "round_robin",
            reader_fallback: ReaderFallback::Writer,
        }
    }
}

impl Default for DiagnosticsSettings {
    fn default() -> Self {
        Self { slow_query: None, redact_literals: true }
    }
}

impl Settings {
    /// Puts what `config` holds in place of the defaults.
    pub(super) fn resolve(config: &Config) -> Result<Self> {
        let mut settings = Self::default();
        settings.read_general(config);
        settings.network.read(config);
        settings.tls.read(config);
        settings.topology.read(config)?;
        settings.availability.read(config);
        settings.initial_connection.read(config)?;
        settings.failover.read(config)?;
        settings.monitoring.read(config)?;
        settings.pool.read(config)?;
        settings.diagnostics.read(config);
        Ok(settings)
    }

    fn read_general(&mut self, config: &Config) {
        config.read("plugins", &mut self.plugins);
        if let Some(plugins) = &mut self.plugins {
            if matches!(plugins.as_slice(), [only] if only.eq_ignore_ascii_case("none")) {
                plugins.clear();
            }
        }
        config.read("auto_sort_plugins", &mut self.auto_sort_plugins);
        config.read("dialect", &mut self.dialect);
        config.read("pool_max_opening_per_host", &mut self.max_opening_per_host);
    }
}

impl NetworkSettings {
    fn read(&mut self, config: &Config) {
        config.read("connect_timeout_ms", &mut self.connect_timeout);
        config.read("socket_timeout_ms", &mut self.socket_timeout);
        config.read("tcp_keep_alive", &mut self.tcp_keep_alive);
        config.read("tcp_user_timeout_ms", &mut self.tcp_user_timeout);
    }
}

impl TlsSettings {
    fn read(&mut self, config: &Config) {
        config.read("sslmode", &mut self.mode);
        config.read("ssl_root_cert", &mut self.root_cert);
    }
}

impl TopologySettings {
    fn read(&mut self, config: &Config) -> Result<()> {
        config.read("cluster_id", &mut self.cluster_id);
        config.read("cluster_instance_host_pattern", &mut self.instance_host_pattern);
        config.read("single_writer_connection_string", &mut self.single_writer_connection_string);
        config.read("cluster_topology_refresh_rate_ms", &mut self.refresh_rate);
        config.read("cluster_topology_high_refresh_rate_ms", &mut self.high_refresh_rate);
        config.read("cluster_topology_panic_refresh_rate_ms", &mut self.panic_refresh_rate);
        config.read("monitoring_connection_priority", &mut self.monitoring_priority);
        config.read("topology_monitoring_connect_timeout_ms", &mut self.connect_timeout);
        config.read("topology_monitoring_socket_timeout_ms", &mut self.socket_timeout);
        config.read("topology_monitoring_user", &mut self.user);
        config.read("topology_monitoring_password", &mut self.password);

        if self.refresh_rate >= TOPOLOGY_LIFE {
            return Err(Error::parameter(
                "cluster_topology_refresh_rate_ms",
                &in_millis(self.refresh_rate),
                "less than `300s`, after which a topology is no longer believed",
            ));
        }
        let rate = ("cluster_topology_refresh_rate_ms", self.refresh_rate);
        config.at_most("cluster_topology_high_refresh_rate_ms", &mut self.high_refresh_rate, rate)?;
        config.at_most("cluster_topology_panic_refresh_rate_ms", &mut self.panic_refresh_rate, rate)?;
        self.instance_host_pattern.as_deref().map_or(Ok(()), check_host_pattern)
    }
}

impl AvailabilitySettings {
    fn read(&mut self, config: &Config) {
        config.read("default_host_availability_strategy", &mut self.strategy);
        config.read("host_availability_max_retries", &mut self.max_retries);
        config.read("host_availability_initial_backoff_secs", &mut self.initial_backoff);
    }
}

impl InitialConnectionSettings {
    fn read(&mut self, config: &Config) -> Result<()> {
        config.read("endpoint_substitution_role", &mut self.substitution_role);
        config.read("initial_connection_host_selector_strategy", &mut self.strategy);
        config.read("verify_opened_connection_type", &mut self.verify_role);
        config.read("open_connection_retry_timeout_ms", &mut self.retry_timeout);
        config.read("open_connection_retry_interval_ms", &mut self.retry_interval);
        config.read("wait_for_initial_topology_ms", &mut self.wait_for_topology);
        config.read(
            "skip_inactive_writer_cluster_endpoint_check",
            &mut self.skip_inactive_writer_cluster_endpoint_check,
        );

        let timeout = ("open_connection_retry_timeout_ms", self.retry_timeout);
        config.at_most("open_connection_retry_interval_ms", &mut self.retry_interval, timeout)?;
        match (self.substitution_role, self.verify_role) {
            (Some(EndpointRole::Writer), Some(EndpointRole::Reader))
            | (Some(EndpointRole::Reader), Some(EndpointRole::Writer)) => Err(Error::config(
                "`endpoint_substitution_role` and `verify_opened_connection_type` name different roles; the \
                 connection could never be verified",
            )),
            _ => Ok(()),
        }
    }
}

impl FailoverSettings {
    fn read(&mut self, config: &Config) -> Result<()> {
        config.read("failover_mode", &mut self.mode);
        config.read("failover_timeout_ms", &mut self.timeout);
        config.read("failover_connect_timeout_ms", &mut self.connect_timeout);
        config.read("failover_retry_delay_ms", &mut self.retry_delay);
        config.read("failover_reader_host_selector_strategy", &mut self.reader_strategy);
        config.read("enable_connect_failover", &mut self.on_connect);
        config.read("rollback_on_switch", &mut self.rollback_on_switch);

        let timeout = ("failover_timeout_ms", self.timeout);
        config.at_most("failover_connect_timeout_ms", &mut self.connect_timeout, timeout)?;
        config.at_most("failover_retry_delay_ms", &mut self.retry_delay, timeout)
    }
}

impl MonitoringSettings {
    fn read(&mut self, config: &Config) -> Result<()> {
        config.read("failure_detection_enabled", &mut self.enabled);
        config.read("failure_detection_time_ms", &mut self.grace);
        config.read("failure_detection_interval_ms", &mut self.interval);
        config.read("failure_detection_count", &mut self.count);
        config.read("failure_detection_fail_fast", &mut self.fail_fast);
        config.read("failure_detection_passive", &mut self.passive);
        config.read("failure_detection_check_incarnation", &mut self.check_incarnation);
        config.read("failure_detection_on_proxy", &mut self.on_proxy);
        config.read("failure_detection_eager_connect", &mut self.eager_connect);
        config.read("failure_detection_idle_close_ms", &mut self.idle_close);
        config.read("monitor_disposal_time_ms", &mut self.disposal);
        config.read("monitoring_user", &mut self.user);
        config.read("monitoring_password", &mut self.password);
        config.read("monitor_runtime", &mut self.runtime);

        self.connect_timeout = self.interval.clamp(Duration::from_secs(1), Duration::from_secs(10));
        config.read("monitoring_connect_timeout_ms", &mut self.connect_timeout);
        self.probe_timeout = (self.interval / 2).max(SHORTEST_PROBE).min(self.interval);
        config.read("failure_detection_probe_timeout_ms", &mut self.probe_timeout);
        let interval = ("failure_detection_interval_ms", self.interval);
        config.at_most("failure_detection_probe_timeout_ms", &mut self.probe_timeout, interval)?;
        if self.probe_timeout < SHORTEST_PROBE.min(self.interval) {
            let accepted = "at least `100ms`, or else the interval of the probes";
            let given = in_millis(self.probe_timeout);
            return Err(Error::parameter("failure_detection_probe_timeout_ms", &given, accepted));
        }
        let mut answer = self.probe_timeout;
        config.read("monitoring_socket_timeout_ms", &mut answer);
        self.probe_timeout = self.probe_timeout.min(answer);
        if self.password.is_some() && self.user.is_none() {
            return Err(Error::config(
                "`monitoring_password` is given without `monitoring_user`; give both, or neither",
            ));
        }
        Ok(())
    }
}

impl PoolSettings {
    fn read(&mut self, config: &Config) -> Result<()> {
        config.read("pool_max_size", &mut self.max_size);
        config.read("pool_wait_timeout_ms", &mut self.wait_timeout);
        config.read("pool_create_timeout_ms", &mut self.create_timeout);
        config.read("pool_recycle_timeout_ms", &mut self.recycle_timeout);
        // Zero is a value here, not the absence of one.
        if config.value("pool_idle_check_after_ms").is_some() {
            config.read("pool_idle_check_after_ms", self.idle_check_after.insert(Duration::ZERO));
        }
        config.read("pool_reset", &mut self.reset);
        if config.value("pool_reset") == Some(&Value::Choice(PoolReset::VERIFIED)) {
            if self.idle_check_after.is_some_and(|idle| !idle.is_zero()) {
                return Err(Error::config(
                    "`pool_reset=verified` asks for a sign of life at each checkout, but `pool_idle_check_after_ms` is \
                     not 0; give `pool_reset=never`, or leave the other one out",
                ));
            }
            self.idle_check_after = Some(Duration::ZERO);
        }
        config.read("pool_max_lifetime_ms", &mut self.max_lifetime);
        config.read("pool_reader_host_selector_strategy", &mut self.reader_strategy);
        config.read("pool_reader_fallback", &mut self.reader_fallback);
        Ok(())
    }
}

impl DiagnosticsSettings {
    fn read(&mut self, config: &Config) {
        config.read("slow_query_ms", &mut self.slow_query);
        config.read("query_log_redact_literals", &mut self.redact_literals);
    }
}

impl Config {
    /// Puts the value of a parameter, if there is one, into its place in the settings.
    fn read<T: FromValue>(&self, name: &str, place: &mut T) {
        if let Some(value) = self.value(name) {
            *place =
                T::from_value(value.clone()).expect("the type in the settings fits the kind in the table");
        }
    }

    /// Checks that a duration is no longer than another one. A default gives way instead of contradicting.
    fn at_most(&self, name: &str, place: &mut Duration, (limit_name, limit): (&str, Duration)) -> Result<()> {
        if *place <= limit {
            return Ok(());
        }
        if self.origin(name) == Origin::Default {
            *place = limit;
            return Ok(());
        }
        let accepted = format!("at most `{limit_name}`, which is `{}`", in_millis(limit));
        Err(Error::parameter(name, &in_millis(*place), &accepted))
    }
}

fn in_millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
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

/// A type of the settings that is made of one kind of value; nothing for other kinds.
trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

/// Implements `FromValue` for types and the optional ones: the variant of `Value`, and how it is converted.
macro_rules! from_value {
    ($($kind:ident => $target:ty: $convert:expr;)+) => {
        $(impl FromValue for $target {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::$kind(inner) => $convert(inner),
                    _ => None,
                }
            }
        })+
    };
}

from_value! {
    Bool => bool: Some;
    Count => u32: Some;
    Count => usize: |count| usize::try_from(count).ok();
    Count => Option<usize>: |count| usize::try_from(count).ok().map(Some);
    Duration => Duration: Some;
    // Zero is allowed only where it means "off".
    Duration => Option<Duration>: |duration: Duration| Some(Some(duration).filter(|d| !d.is_zero()));
    Text => Option<PathBuf>: |text: String| Some(Some(PathBuf::from(text)));
    Secret => Option<Secret>: |secret| Some(Some(secret));
    List => Option<Vec<String>>: |list| Some(Some(list));
    Choice => &'static str: Some;
    Choice => AvailabilityStrategyKind: AvailabilityStrategyKind::from_code;
    Choice => PoolReset: PoolReset::from_word;
    Choice => ReaderFallback: ReaderFallback::from_code;
    Choice => Option<EndpointRole>: |code| EndpointRole::from_code(code).map(Some);
    Choice => Option<FailoverMode>: |code| FailoverMode::from_code(code).map(Some);
    Choice => MonitorRuntime: MonitorRuntime::from_code;
    Choice => Option<SslMode>: |code| SslMode::from_code(code).map(Some);
    Choices => Vec<MonitoringPriority>: |codes: Vec<_>| codes.into_iter().map(MonitoringPriority::from_code).collect();
}

impl FromValue for Option<String> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(Some(text)),
            Value::Choice(code) => Some(Some(code.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parameter::PARAMETERS;

    /// A value of each parameter that is not its default.
    const OTHER: &[(&str, &str)] = &[
        ("plugins", "failover"),
        ("auto_sort_plugins", "off"),
        ("connect_timeout_ms", "3s"),
        ("socket_timeout_ms", "1s"),
        ("tcp_keep_alive", "no"),
        ("tcp_user_timeout_ms", "0"),
        ("sslmode", "verify-full"),
        ("ssl_root_cert", "/etc/ca.pem"),
        ("dialect", "AURORA_PG"),
        ("cluster_id", "one"),
        ("cluster_instance_host_pattern", "?.example.org:5433"),
        ("single_writer_connection_string", "1"),
        ("cluster_topology_refresh_rate_ms", "299999"),
        ("cluster_topology_high_refresh_rate_ms", "50"),
        ("cluster_topology_panic_refresh_rate_ms", "5"),
        ("monitoring_connection_priority", "strict_reader, writerOrReader"),
        ("topology_monitoring_connect_timeout_ms", "1"),
        ("topology_monitoring_socket_timeout_ms", "1m"),
        ("topology_monitoring_user", "monitor"),
        ("topology_monitoring_password", "hunter2"),
        ("default_host_availability_strategy", "exponentialBackoff"),
        ("host_availability_max_retries", "1"),
        ("host_availability_initial_backoff_secs", "2"),
        ("pool_max_opening_per_host", "32"),
        ("endpoint_substitution_role", "any"),
        ("initial_connection_host_selector_strategy", "roundRobin"),
        ("verify_opened_connection_type", "none"),
        ("open_connection_retry_timeout_ms", "2s"),
        ("open_connection_retry_interval_ms", "10"),
        ("wait_for_initial_topology_ms", "1s"),
        ("skip_inactive_writer_cluster_endpoint_check", "yes"),
        ("failover_mode", "ReaderOrWriter"),
        ("failover_timeout_ms", "1h"),
        ("failover_connect_timeout_ms", "9s"),
        ("failover_retry_delay_ms", "1"),
        ("failover_reader_host_selector_strategy", "LowestLoad"),
        ("enable_connect_failover", "true"),
        ("rollback_on_switch", "false"),
        ("failure_detection_enabled", "false"),
        ("failure_detection_time_ms", "6s"),
        ("failure_detection_interval_ms", "1s"),
        ("failure_detection_count", "1"),
        ("failure_detection_probe_timeout_ms", "700"),
        ("failure_detection_fail_fast", "no"),
        ("failure_detection_passive", "no"),
        ("failure_detection_check_incarnation", "no"),
        ("failure_detection_on_proxy", "yes"),
        ("failure_detection_eager_connect", "yes"),
        ("failure_detection_idle_close_ms", "1s"),
        ("monitor_disposal_time_ms", "1m"),
        ("monitoring_connect_timeout_ms", "3s"),
        ("monitoring_socket_timeout_ms", "300"),
        ("monitoring_user", "watcher"),
        ("monitoring_password", "hunter2"),
        ("monitor_runtime", "Dedicated"),
        ("pool_max_size", "7"),
        ("pool_wait_timeout_ms", "2s"),
        ("pool_create_timeout_ms", "3s"),
        ("pool_recycle_timeout_ms", "300"),
        ("pool_reset", "never"),
        ("pool_idle_check_after_ms", "0"),
        ("pool_max_lifetime_ms", "30m"),
        ("pool_reader_host_selector_strategy", "lowestLoad"),
        ("pool_reader_fallback", "error"),
        ("slow_query_ms", "250"),
        ("query_log_redact_literals", "0"),
    ];

    fn resolved(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::resolve(&Config::from_pairs(pairs.iter().copied())?)
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        for parameter in PARAMETERS.iter().filter(|parameter| !parameter.default.is_empty()) {
            let settings = resolved(&[(parameter.name, parameter.default)]).unwrap();
            assert_eq!(settings, Settings::default(), "{}", parameter.name);
        }
        assert_eq!(resolved(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn every_parameter_reaches_the_settings() {
        assert_eq!(
            OTHER.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            PARAMETERS.iter().map(|parameter| parameter.name).collect::<Vec<_>>()
        );
        // Nobody logs in with a password alone.
        for pair in OTHER.iter().filter(|(name, _)| *name != "monitoring_password") {
            assert_ne!(resolved(&[*pair]).unwrap(), Settings::default(), "{}", pair.0);
        }
    }

    #[test]
    fn values_arrive_with_their_types() {
        let settings = resolved(OTHER).unwrap();
        assert_eq!(settings.plugins.as_deref(), Some(&["failover".to_owned()][..]));
        assert_eq!(settings.dialect.as_deref(), Some("aurora-pg"));
        assert_eq!(settings.max_opening_per_host, 32);
        assert_eq!(settings.network.connect_timeout, Duration::from_secs(3));
        assert_eq!(settings.network.tcp_user_timeout, None);
        assert_eq!(settings.tls.mode, Some(SslMode::VerifyFull));
        assert_eq!(settings.tls.root_cert, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(settings.topology.password.as_ref().map(Secret::expose), Some("hunter2"));
        assert_eq!(
            settings.topology.monitoring_priority,
            [MonitoringPriority::StrictReader, MonitoringPriority::WriterOrReader]
        );
        assert_eq!(settings.availability.strategy, AvailabilityStrategyKind::ExponentialBackoff);
        assert_eq!(settings.availability.initial_backoff, Duration::from_secs(2));
        assert_eq!(settings.initial_connection.substitution_role, Some(EndpointRole::Any));
        assert_eq!(settings.initial_connection.strategy, "round_robin");
        assert_eq!(settings.initial_connection.wait_for_topology, Some(Duration::from_secs(1)));
        assert_eq!(settings.failover.mode, Some(FailoverMode::ReaderOrWriter));
        assert_eq!(settings.failover.reader_strategy, "lowest_load");
        assert_eq!(settings.pool.max_size, Some(7));
        assert_eq!(settings.pool.idle_check_after, Some(Duration::ZERO));
        assert_eq!(settings.pool.reset, PoolReset::Never);
        assert_eq!(settings.pool.reader_fallback, ReaderFallback::Error);
        assert_eq!(settings.diagnostics.slow_query, Some(Duration::from_millis(250)));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn the_words_of_deadpool_choose_reset_and_check() {
        let pool = |pairs: &[(&str, &str)]| resolved(pairs).map(|settings| settings.pool.clone());
        let verified = pool(&[("pool_reset", "Verified")]).unwrap();
        assert_eq!((verified.reset, verified.idle_check_after), (PoolReset::Never, Some(Duration::ZERO)));
        let fast = pool(&[("pool_reset", "fast")]).unwrap();
        assert_eq!((fast.reset, fast.idle_check_after), (PoolReset::Never, None));
        assert_eq!(pool(&[("pool_reset", "clean")]).unwrap().reset, PoolReset::Always);
        let error = pool(&[("pool_reset", "verified"), ("pool_idle_check_after_ms", "1s")]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("pool_reset") && text.contains("pool_idle_check_after_ms"), "{text}");
        let error = pool(&[("pool_reset", "sometimes")]).unwrap_err().to_string();
        assert!(error.contains("`auto`") && error.contains("`verified`"), "{error}");
    }

    #[test]
    fn no_plugin_and_the_default_plugins_are_told_apart() {
        assert_eq!(resolved(&[]).unwrap().plugins, None);
        for none in ["", " ", "none", "NONE"] {
            assert_eq!(resolved(&[("plugins", none)]).unwrap().plugins, Some(vec![]), "{none:?}");
        }
        let two = resolved(&[("plugins", " failover , efm2")]).unwrap().plugins;
        assert_eq!(two, Some(vec!["failover".to_owned(), "efm2".to_owned()]));
    }

    #[test]
    fn a_default_gives_way_where_it_would_contradict() {
        let settings = resolved(&[
            ("cluster_topology_refresh_rate_ms", "7"),
            ("open_connection_retry_timeout_ms", "500"),
            ("failover_timeout_ms", "50"),
        ])
        .unwrap();
        assert_eq!(settings.topology.high_refresh_rate, Duration::from_millis(7));
        assert_eq!(settings.topology.panic_refresh_rate, Duration::from_millis(7));
        assert_eq!(settings.initial_connection.retry_interval, Duration::from_millis(500));
        assert_eq!(settings.failover.connect_timeout, Duration::from_millis(50));
        assert_eq!(settings.failover.retry_delay, Duration::from_millis(50));
    }

    #[test]
    fn contradictions_are_refused_with_both_sides_named() {
        for (pairs, expected) in [
            (
                &[("cluster_topology_refresh_rate_ms", "5m")][..],
                "parameter `cluster_topology_refresh_rate_ms`: `300000ms` is not accepted; expected less than `300s`",
            ),
            (
                &[("cluster_topology_high_refresh_rate_ms", "31s")],
                "parameter `cluster_topology_high_refresh_rate_ms`: `31000ms` is not accepted; expected at most \
                 `cluster_topology_refresh_rate_ms`, which is `30000ms`",
            ),
            (
                &[("open_connection_retry_timeout_ms", "1s"), ("open_connection_retry_interval_ms", "2s")],
                "expected at most `open_connection_retry_timeout_ms`, which is `1000ms`",
            ),
            (
                &[("failover_timeout_ms", "1s"), ("failover_connect_timeout_ms", "2s")],
                "expected at most `failover_timeout_ms`, which is `1000ms`",
            ),
            (
                &[("failure_detection_interval_ms", "1s"), ("failure_detection_probe_timeout_ms", "2s")],
                "expected at most `failure_detection_interval_ms`, which is `1000ms`",
            ),
            (
                &[("failure_detection_probe_timeout_ms", "50")],
                "parameter `failure_detection_probe_timeout_ms`: `50ms` is not accepted; expected at least `100ms`",
            ),
            (&[("monitoring_password", "p")], "`monitoring_password` is given without `monitoring_user`"),
            (
                &[("failure_detection_time_ms", "0")],
                "parameter `failure_detection_time_ms`: `0` is not accepted",
            ),
            (
                &[("failure_detection_interval_ms", "-1")],
                "parameter `failure_detection_interval_ms`: `-1` is not accepted",
            ),
            (&[("failure_detection_count", "0")], "parameter `failure_detection_count`: `0` is not accepted"),
            (
                &[("endpoint_substitution_role", "reader"), ("verify_opened_connection_type", "writer")],
                "`endpoint_substitution_role` and `verify_opened_connection_type` name different roles",
            ),
        ] {
            let error = resolved(pairs).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_instance_pattern_is_a_host_name_with_one_question_mark() {
        for good in ["?.example.org", "db-?.example.org:5433", "?", "?.xyz.us-east-2.rds.amazonaws.com.cn"] {
            assert!(resolved(&[("cluster_instance_host_pattern", good)]).is_ok(), "{good}");
        }
        for bad in [
            "db.example.org",
            "?.?.org",
            "?.example.org:x",
            "?.example.org:0",
            "?.a:70000",
            "http://?.a",
            "?.a/b",
            "? .a",
        ] {
            let error = resolved(&[("cluster_instance_host_pattern", bad)]).expect_err(bad).to_string();
            assert!(error.contains(bad) && error.contains("one `?`"), "{error}");
        }
    }
}
