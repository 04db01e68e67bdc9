//! Which instance the first connection goes to.

use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter};
use crate::config::values::{FromValues, Values};
use crate::error::{Error, Result};
use crate::select::STRATEGIES;

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

choice! {
    /// The role an endpoint stands for, or that a new connection must have.
    EndpointRole {
        /// The writer.
        Writer = "writer",
        /// A reader.
        Reader = "reader",
        /// Any host of the cluster.
        Any = "any",
        /// The endpoint is used as it is and no role is checked.
        None = "none",
    }
}

impl EndpointRole {
    /// The roles that can be checked; `any` is no check.
    pub(crate) const VERIFIABLE: &'static [&'static str] = &["writer", "reader", "none"];
}

/// The parameters.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "endpoint_substitution_role",
        aliases: &[],
        kind: Kind::Choice(EndpointRole::CODES),
        default: "",
        group: "Initial connection",
        doc: "Role of the instance that is used in place of the endpoint; `none` uses the endpoint itself. \
              Not given: told by the kind of endpoint.",
    },
    Parameter {
        name: "initial_connection_host_selector_strategy",
        aliases: &["readerInitialConnectionHostSelectorStrategy"],
        kind: Kind::Choice(STRATEGIES),
        default: "random",
        group: "Initial connection",
        doc: "How that instance is picked.",
    },
    Parameter {
        name: "verify_opened_connection_type",
        aliases: &["verifyInitialConnectionType"],
        kind: Kind::Choice(EndpointRole::VERIFIABLE),
        default: "",
        group: "Initial connection",
        doc: "Role the server must confirm for the first connection; `none` asks nothing. Not given: told \
              by the kind of endpoint.",
    },
    Parameter {
        name: "open_connection_retry_timeout_ms",
        aliases: &["initialConnectionRetryTimeoutMs"],
        kind: Kind::millis(1),
        default: "30000",
        group: "Initial connection",
        doc: "Limit for all attempts at a first connection of the right role.",
    },
    Parameter {
        name: "open_connection_retry_interval_ms",
        aliases: &["initialConnectionRetryIntervalMs"],
        kind: Kind::millis(1),
        default: "1000",
        group: "Initial connection",
        doc: "Pause between these attempts. At most `open_connection_retry_timeout_ms`.",
    },
    Parameter {
        name: "wait_for_initial_topology_ms",
        aliases: &[],
        kind: Kind::millis(0),
        default: "0",
        group: "Initial connection",
        doc: "How long a first connection waits for the topology, so that it can be moved to a selected \
              instance. `0`: not at all.",
    },
    Parameter {
        name: "skip_inactive_writer_cluster_endpoint_check",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: "Initial connection",
        doc: "Whether a writer endpoint that is not active, as in the other regions of a global database, \
              is left unprobed when stale DNS entries are looked for.",
    },
];

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

impl FromValues for InitialConnectionSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("endpoint_substitution_role", &mut settings.substitution_role);
        values.read("initial_connection_host_selector_strategy", &mut settings.strategy);
        values.read("verify_opened_connection_type", &mut settings.verify_role);
        values.read("open_connection_retry_timeout_ms", &mut settings.retry_timeout);
        values.read("open_connection_retry_interval_ms", &mut settings.retry_interval);
        values.read("wait_for_initial_topology_ms", &mut settings.wait_for_topology);
        values.read(
            "skip_inactive_writer_cluster_endpoint_check",
            &mut settings.skip_inactive_writer_cluster_endpoint_check,
        );

        let timeout = ("open_connection_retry_timeout_ms", settings.retry_timeout);
        values.at_most("open_connection_retry_interval_ms", &mut settings.retry_interval, timeout)?;
        match (settings.substitution_role, settings.verify_role) {
            (Some(EndpointRole::Writer), Some(EndpointRole::Reader))
            | (Some(EndpointRole::Reader), Some(EndpointRole::Writer)) => Err(Error::config(
                "`endpoint_substitution_role` and `verify_opened_connection_type` name different roles; the \
                 connection could never be verified",
            )),
            _ => Ok(settings),
        }
    }
}
