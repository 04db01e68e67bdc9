//! What a failover may do, and for how long.

use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter};
use crate::config::values::{FromValues, Values};
use crate::error::Result;
use crate::select::STRATEGIES;

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

choice! {
    /// Which host a failover may end on.
    FailoverMode {
        /// The writer, and nothing else.
        StrictWriter = "strict-writer",
        /// A reader, and nothing else.
        StrictReader = "strict-reader",
        /// A reader if there is one, else the writer.
        ReaderOrWriter = "reader-or-writer",
    }
}

/// The parameters.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "failover_mode",
        aliases: &[],
        kind: Kind::Choice(FailoverMode::CODES),
        default: "",
        group: "Failover",
        doc: "Which host a failover may end on. Not given: `reader-or-writer` for a reader endpoint, else \
              `strict-writer`.",
    },
    Parameter {
        name: "failover_timeout_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "300000",
        group: "Failover",
        doc: "Limit for a whole failover.",
    },
    Parameter {
        name: "failover_connect_timeout_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "10000",
        group: "Failover",
        doc: "Limit for one attempt to connect within a failover. At most `failover_timeout_ms`.",
    },
    Parameter {
        name: "failover_retry_delay_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "100",
        group: "Failover",
        doc: "First pause between two rounds of attempts; it doubles up to one second, and news of the \
              topology end it. At most `failover_timeout_ms`.",
    },
    Parameter {
        name: "failover_reader_host_selector_strategy",
        aliases: &[],
        kind: Kind::Choice(STRATEGIES),
        default: "random",
        group: "Failover",
        doc: "How a reader is picked in a failover.",
    },
    Parameter {
        name: "enable_connect_failover",
        aliases: &[],
        kind: Kind::Bool,
        default: "false",
        group: "Failover",
        doc: "Whether a first connection that fails with a network error is failed over too.",
    },
    Parameter {
        name: "rollback_on_switch",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: "Failover",
        doc: "Whether an open transaction is rolled back on the old connection before another one takes \
              its place.",
    },
];

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

impl FromValues for FailoverSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("failover_mode", &mut settings.mode);
        values.read("failover_timeout_ms", &mut settings.timeout);
        values.read("failover_connect_timeout_ms", &mut settings.connect_timeout);
        values.read("failover_retry_delay_ms", &mut settings.retry_delay);
        values.read("failover_reader_host_selector_strategy", &mut settings.reader_strategy);
        values.read("enable_connect_failover", &mut settings.on_connect);
        values.read("rollback_on_switch", &mut settings.rollback_on_switch);

        let timeout = ("failover_timeout_ms", settings.timeout);
        values.at_most("failover_connect_timeout_ms", &mut settings.connect_timeout, timeout)?;
        values.at_most("failover_retry_delay_ms", &mut settings.retry_delay, timeout)?;
        Ok(settings)
    }
}
