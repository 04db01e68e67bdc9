//! What a pool is told. The core has none: the crate `aws-wrapper-deadpool` reads this from its connector, so that a URL can
//! say all of it.

use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter, Value};
use crate::config::values::{FromValues, Values};
use crate::error::{Error, Result};
use crate::select::STRATEGIES;

/// How connections are pooled, by the crate `aws-wrapper-deadpool`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Connections to the writer, and as many to each reader; nothing for twice the number of processors.
    pub max_size: Option<usize>,
    /// How long a checkout waits for a free connection. Default: 30 s.
    pub wait_timeout: Duration,
    /// Limit for opening one connection; nothing for `connect_timeout_ms`.
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

choice! {
    /// What a pool gives out when a reader is asked for and there is none.
    ReaderFallback {
        /// A connection to the writer.
        Writer = "writer",
        /// An error.
        Error = "error",
    }
}

choice! {
    /// What a connection that is given back to a pool is cleaned of. A transaction that is open or may be is ended whatever
    /// this says.
    PoolReset {
        /// The session is reset if anything but plain statements ran on it.
        Auto = "auto",
        /// The session is reset each time.
        Always = "always",
        /// The session stays as it is.
        Never = "never",
    }
}

impl PoolReset {
    /// The words of deadpool's own pools are understood, too.
    pub(crate) const ACCEPTED: &'static [&'static str] =
        &["auto", "always", "never", "fast", Self::VERIFIED, "clean"];

    /// As `never`, and every connection is asked for a sign of life when it is checked out.
    pub(crate) const VERIFIED: &'static str = "verified";

    /// What one of the words of [`ACCEPTED`](Self::ACCEPTED) means.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "fast" | Self::VERIFIED => Some(Self::Never),
            "clean" => Some(Self::Always),
            code => Self::from_code(code),
        }
    }
}

/// The parameters.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "pool_max_size",
        aliases: &[],
        kind: Kind::Count { min: 1, max: 100_000 },
        default: "",
        group: "Pools",
        doc: "How many connections a pool has to the writer, and as many to each reader. Not given: twice the number of \
              processors.",
    },
    Parameter {
        name: "pool_wait_timeout_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "30000",
        group: "Pools",
        doc: "How long a checkout waits while all connections are in use.",
    },
    Parameter {
        name: "pool_create_timeout_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "",
        group: "Pools",
        doc: "Limit for opening one connection for a pool, all attempts of the plugins together. Not given: \
              `connect_timeout_ms`.",
    },
    Parameter {
        name: "pool_recycle_timeout_ms",
        aliases: &[],
        kind: Kind::millis(1),
        default: "1000",
        group: "Pools",
        doc: "Limit for the check of a connection that lay idle in a pool, and for cleaning one that is given back.",
    },
    Parameter {
        name: "pool_reset",
        aliases: &[],
        kind: Kind::Choice(PoolReset::ACCEPTED),
        default: "auto",
        group: "Pools",
        doc: "What a connection that is given back to a pool is cleaned of, before it can be checked out again. `auto`: the \
              session is reset if anything but plain statements ran on it; `always`: each time; `never`: settings, \
              temporary tables and locks of the session stay. The words of deadpool mean: `fast` is `never`; `verified` is \
              `never` with a sign of life at each checkout; `clean` is `always`. A transaction that is open or may be is \
              ended in every case.",
    },
    Parameter {
        name: "pool_idle_check_after_ms",
        aliases: &[],
        kind: Kind::millis(0),
        default: "",
        group: "Pools",
        doc: "A connection that was not used for so long is asked for a sign of life when it is checked out. `0`: every one, \
              which costs a round trip each time. Not given: 30 s with PostgreSQL; 500 ms with MySQL, whose driver does not \
              notice the end of a connection nobody uses.",
    },
    Parameter {
        name: "pool_max_lifetime_ms",
        aliases: &[],
        kind: Kind::millis(0),
        default: "0",
        group: "Pools",
        doc: "Age at which a connection of a pool is replaced, up to a tenth earlier, so that not all are replaced at the \
              same time. `0`: none.",
    },
    Parameter {
        name: "pool_reader_host_selector_strategy",
        aliases: &[],
        kind: Kind::Choice(STRATEGIES),
        default: "round_robin",
        group: "Pools",
        doc: "How a pool picks the reader for a checkout.",
    },
    Parameter {
        name: "pool_reader_fallback",
        aliases: &[],
        kind: Kind::Choice(ReaderFallback::CODES),
        default: "writer",
        group: "Pools",
        doc: "What a checkout of a reader gets when there is none: a connection to the `writer`, or an `error`.",
    },
];

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

impl FromValues for PoolSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("pool_max_size", &mut settings.max_size);
        values.read("pool_wait_timeout_ms", &mut settings.wait_timeout);
        values.read("pool_create_timeout_ms", &mut settings.create_timeout);
        values.read("pool_recycle_timeout_ms", &mut settings.recycle_timeout);
        // Zero is a value here, not the absence of one.
        if values.get("pool_idle_check_after_ms").is_some() {
            values.read("pool_idle_check_after_ms", settings.idle_check_after.insert(Duration::ZERO));
        }
        let reset = match values.get("pool_reset") {
            Some(Value::Choice(word)) => Some(*word),
            _ => None,
        };
        settings.reset = reset.and_then(PoolReset::from_word).unwrap_or(settings.reset);
        if reset == Some(PoolReset::VERIFIED) {
            if settings.idle_check_after.is_some_and(|idle| !idle.is_zero()) {
                return Err(Error::config(
                    "`pool_reset=verified` asks for a sign of life at each checkout, but `pool_idle_check_after_ms` is \
                     not 0; give `pool_reset=never`, or leave the other one out",
                ));
            }
            settings.idle_check_after = Some(Duration::ZERO);
        }
        values.read("pool_max_lifetime_ms", &mut settings.max_lifetime);
        values.read("pool_reader_host_selector_strategy", &mut settings.reader_strategy);
        values.read("pool_reader_fallback", &mut settings.reader_fallback);
        Ok(settings)
    }
}
