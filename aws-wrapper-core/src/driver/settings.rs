//! What a driver is told of sockets and encryption.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter};
use crate::config::values::{FromValues, Values};
use crate::error::Result;

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

choice! {
    /// Whether a connection is encrypted and what is checked, as in libpq.
    SslMode {
        /// Never encrypted.
        Disable = "disable",
        /// Encrypted if the server offers it; nothing is checked.
        Prefer = "prefer",
        /// Always encrypted.
        Require = "require",
        /// Always encrypted, and the certificate must come from a trusted authority.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate must name the host.
        VerifyFull = "verify-full",
    }
}

/// The parameters.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "connect_timeout_ms",
        aliases: &["connectTimeout"],
        kind: Kind::millis(1),
        default: "10000",
        group: "Network and TLS",
        doc: "Limit for opening one connection: name, dial, TLS, authentication and role check together.",
    },
    Parameter {
        name: "socket_timeout_ms",
        aliases: &["socketTimeout"],
        kind: Kind::millis(0),
        default: "0",
        group: "Network and TLS",
        doc: "Limit for the answer to one call, all its rows included; not for results that are read row by row. \
              The call then fails, which is no failover: a slow statement is not a lost host. With MySQL its \
              connection is closed; with PostgreSQL the statement runs on, and later calls wait behind it. `0`: none.",
    },
    Parameter {
        name: "tcp_keep_alive",
        aliases: &[],
        kind: Kind::Bool,
        default: "true",
        group: "Network and TLS",
        doc: "Whether idle connections are probed by the operating system.",
    },
    Parameter {
        name: "tcp_user_timeout_ms",
        aliases: &[],
        kind: Kind::millis(0),
        default: "45000",
        group: "Network and TLS",
        doc: "How long sent data may stay unacknowledged before the operating system gives the connection \
              up. `0`: the system's own limit, often a quarter of an hour. PostgreSQL only: the MySQL driver \
              does not let it be set.",
    },
    Parameter {
        name: "sslmode",
        aliases: &[],
        kind: Kind::Choice(SslMode::CODES),
        default: "",
        group: "Network and TLS",
        doc: "Whether connections are encrypted and what is checked, as in libpq.",
    },
    Parameter {
        name: "ssl_root_cert",
        aliases: &["sslrootcert"],
        kind: Kind::Text,
        default: "",
        group: "Network and TLS",
        doc: "Path of a PEM file with the certificate authorities to trust.",
    },
];

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

impl FromValues for NetworkSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("connect_timeout_ms", &mut settings.connect_timeout);
        values.read("socket_timeout_ms", &mut settings.socket_timeout);
        values.read("tcp_keep_alive", &mut settings.tcp_keep_alive);
        values.read("tcp_user_timeout_ms", &mut settings.tcp_user_timeout);
        Ok(settings)
    }
}

impl FromValues for TlsSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("sslmode", &mut settings.mode);
        values.read("ssl_root_cert", &mut settings.root_cert);
        Ok(settings)
    }
}
