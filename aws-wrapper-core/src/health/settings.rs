//! How silent hosts are noticed.

use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter};
use crate::config::secret::Secret;
use crate::config::values::{FromValues, Values, in_millis};
use crate::error::{Error, Result};

/// A probe that is given less time fails on hosts that are only busy.
const SHORTEST_PROBE: Duration = Duration::from_millis(100);

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

choice! {
    /// Where host monitors run.
    MonitorRuntime {
        /// With the application's tasks.
        Shared = "shared",
        /// On one thread of their own.
        Dedicated = "dedicated",
    }
}

/// The parameters.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "failure_detection_enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: "Host monitoring",
        doc: "Whether calls are watched at all by the plugin `efm`.",
    },
    Parameter {
        name: "failure_detection_time_ms",
        aliases: &["failureDetectionTime"],
        kind: Kind::millis(1),
        default: "30000",
        group: "Host monitoring",
        doc: "How long a call may stay without an answer before its host is probed.",
    },
    Parameter {
        name: "failure_detection_interval_ms",
        aliases: &["failureDetectionInterval"],
        kind: Kind::millis(50),
        default: "5000",
        group: "Host monitoring",
        doc: "Time from the beginning of one probe to the next.",
    },
    Parameter {
        name: "failure_detection_count",
        aliases: &[],
        kind: Kind::Count { min: 1, max: 1000 },
        default: "3",
        group: "Host monitoring",
        doc: "How many probes in a row have to fail before the host counts as dead.",
    },
    Parameter {
        name: "failure_detection_probe_timeout_ms",
        aliases: &[],
        kind: Kind::millis(50),
        default: "",
        group: "Host monitoring",
        doc: "Limit for one probe, from 100 ms to `failure_detection_interval_ms`. Not given: half of \
              that interval.",
    },
    Parameter {
        name: "failure_detection_fail_fast",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: "Host monitoring",
        doc: "Whether a host that is dead ends all calls in flight on it, and refuses new ones on old \
              connections, at once. If not, each call waits for `failure_detection_time_ms`.",
    },
    Parameter {
        name: "failure_detection_passive",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: "Host monitoring",
        doc: "Whether an answer on any connection to the host counts as a probe.",
    },
    Parameter {
        name: "failure_detection_check_incarnation",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: "Host monitoring",
        doc: "Whether calls on connections from before a restart of the server are ended when the \
              restart is noticed.",
    },
    Parameter {
        name: "failure_detection_on_proxy",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: "Host monitoring",
        doc: "Whether endpoints of RDS Proxy are watched too.",
    },
    Parameter {
        name: "failure_detection_eager_connect",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: "Host monitoring",
        doc: "Whether the connection for probes is opened with the first connection to a host, and \
              kept. It saves the time of a connect when a call hangs; use it with a \
              `failure_detection_time_ms` below about 5 s.",
    },
    Parameter {
        name: "failure_detection_idle_close_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "60000",
        group: "Host monitoring",
        doc: "How long the connection for probes is kept when no call needs one.",
    },
    Parameter {
        name: "monitor_disposal_time_ms",
        aliases: &["monitorDisposalTime"],
        kind: Kind::millis(1),
        default: "600000",
        group: "Host monitoring",
        doc: "How long what is known of a host is kept after the last connection to it is gone.",
    },
    Parameter {
        name: "monitoring_connect_timeout_ms",
        aliases: &["monitoringConnectTimeout"],
        kind: Kind::millis(1),
        default: "",
        group: "Host monitoring",
        doc: "Limit for opening the connection for probes. Not given: the interval of the probes, but \
              at least 1 s and at most 10 s.",
    },
    Parameter {
        name: "monitoring_socket_timeout_ms",
        aliases: &["monitoringSocketTimeout"],
        kind: Kind::millis(1),
        default: "",
        group: "Host monitoring",
        doc: "Limit for one answer on the connection for probes, if it is shorter than that of the \
              probe.",
    },
    Parameter {
        name: "monitoring_user",
        aliases: &[],
        kind: Kind::Text,
        default: "",
        group: "Host monitoring",
        doc: "User of the connection for probes. Not given: that of the connection.",
    },
    Parameter {
        name: "monitoring_password",
        aliases: &[],
        kind: Kind::Secret,
        default: "",
        group: "Host monitoring",
        doc: "Password of the connection for probes. Not given: that of the connection.",
    },
    Parameter {
        name: "monitor_runtime",
        aliases: &[],
        kind: Kind::Choice(MonitorRuntime::CODES),
        default: "shared",
        group: "Host monitoring",
        doc: "Where the monitors run: with the application's tasks, or on one thread of their own \
              (`dedicated`), for applications that block the threads of their runtime.",
    },
];

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

impl FromValues for MonitoringSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("failure_detection_enabled", &mut settings.enabled);
        values.read("failure_detection_time_ms", &mut settings.grace);
        values.read("failure_detection_interval_ms", &mut settings.interval);
        values.read("failure_detection_count", &mut settings.count);
        values.read("failure_detection_fail_fast", &mut settings.fail_fast);
        values.read("failure_detection_passive", &mut settings.passive);
        values.read("failure_detection_check_incarnation", &mut settings.check_incarnation);
        values.read("failure_detection_on_proxy", &mut settings.on_proxy);
        values.read("failure_detection_eager_connect", &mut settings.eager_connect);
        values.read("failure_detection_idle_close_ms", &mut settings.idle_close);
        values.read("monitor_disposal_time_ms", &mut settings.disposal);
        values.read("monitoring_user", &mut settings.user);
        values.read("monitoring_password", &mut settings.password);
        values.read("monitor_runtime", &mut settings.runtime);

        settings.connect_timeout = settings.interval.clamp(Duration::from_secs(1), Duration::from_secs(10));
        values.read("monitoring_connect_timeout_ms", &mut settings.connect_timeout);
        settings.probe_timeout = (settings.interval / 2).max(SHORTEST_PROBE).min(settings.interval);
        values.read("failure_detection_probe_timeout_ms", &mut settings.probe_timeout);
        let interval = ("failure_detection_interval_ms", settings.interval);
        values.at_most("failure_detection_probe_timeout_ms", &mut settings.probe_timeout, interval)?;
        if settings.probe_timeout < SHORTEST_PROBE.min(settings.interval) {
            let accepted = "at least `100ms`, or else the interval of the probes";
            let given = in_millis(settings.probe_timeout);
            return Err(Error::parameter("failure_detection_probe_timeout_ms", &given, accepted));
        }
        let mut answer = settings.probe_timeout;
        values.read("monitoring_socket_timeout_ms", &mut answer);
        settings.probe_timeout = settings.probe_timeout.min(answer);
        if settings.password.is_some() && settings.user.is_none() {
            return Err(Error::config(
                "`monitoring_password` is given without `monitoring_user`; give both, or neither",
            ));
        }
        Ok(settings)
    }
}
