//! What distinguishes one series of a metric from another.

use std::fmt;

use crate::error::Result;
use crate::host::HostKey;

/// One attribute of a measured value, such as the host it is about.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub value: Value<'a>,
}

/// The value of an attribute. Printed it is what stands on a dashboard.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A word.
    Text(&'a str),
    /// A host and its port.
    Host(&'a HostKey),
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

/// The name of an attribute. Those there are stand in [`key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(&'static str);

impl Key {
    /// The name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// An attribute of this name.
    pub fn of<'a>(self, value: impl Into<Value<'a>>) -> Attribute<'a> {
        Attribute { name: self.0, value: value.into() }
    }

    /// An attribute of this name that says how something ended: `ok`, or the kind of the error.
    pub fn of_result<T>(self, result: &Result<T>) -> Attribute<'static> {
        self.of(outcome(result))
    }
}

/// How something ended: `ok`, or the kind of the error.
pub(crate) fn outcome<T>(result: &Result<T>) -> &'static str {
    result.as_ref().map_or_else(|error| error.kind().code(), |_| "ok")
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Host(host) => host.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a HostKey> for Value<'a> {
    fn from(host: &'a HostKey) -> Self {
        Self::Host(host)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Every name an attribute can have.
pub mod key {
    use super::Key;

    /// The role of the host that was chosen.
    pub const ACTUAL: Key = Key("actual");
    /// The identifier of a blue/green deployment.
    pub const BGD_ID: Key = Key("bgd_id");
    /// Whether a connection was there already.
    pub const CACHED: Key = Key("cached");
    /// The identity of a cluster.
    pub const CLUSTER: Key = Key("cluster");
    /// The call, by the name of its method; OpenTelemetry's name.
    pub const DB_OPERATION_NAME: Key = Key("db.operation.name");
    /// `postgresql` or `mysql`; OpenTelemetry's name.
    pub const DB_SYSTEM_NAME: Key = Key("db.system.name");
    /// The role that was asked for.
    pub const DESIRED: Key = Key("desired");
    /// The host of the connection string, to tell connectors apart.
    pub const ENDPOINT: Key = Key("endpoint");
    /// `postgresql` or `mysql`.
    pub const ENGINE: Key = Key("engine");
    /// The kind of the error, if there was one; OpenTelemetry's name.
    pub const ERROR_TYPE: Key = Key("error.type");
    /// The role of the host that is left.
    pub const FROM: Key = Key("from");
    /// A host and its port.
    pub const HOST: Key = Key("host");
    /// Whether a transaction was open.
    pub const IN_TRANSACTION: Key = Key("in_transaction");
    /// Which of several of a kind.
    pub const KIND: Key = Key("kind");
    /// `regular`, or `panic` while every host is asked.
    pub const MODE: Key = Key("mode");
    /// How it ended: `ok`, or the kind of the error in `snake_case`.
    pub const OUTCOME: Key = Key("outcome");
    /// What a connection is for: `initial`, `switch`, `topology_monitor` or `host_monitor`.
    pub const PURPOSE: Key = Key("purpose");
    /// Why.
    pub const REASON: Key = Key("reason");
    /// `writer`, `reader` or `unknown`.
    pub const ROLE: Key = Key("role");
    /// The name or address of the host; OpenTelemetry's name.
    pub const SERVER_ADDRESS: Key = Key("server.address");
    /// The port of the host; OpenTelemetry's name.
    pub const SERVER_PORT: Key = Key("server.port");
    /// `idle` or `in_use`.
    pub const STATE: Key = Key("state");
    /// The connections of a pool that are meant: `writer`, `endpoint`, or a reader's host and port.
    pub const TARGET: Key = Key("target");
    /// The class of zones a host belongs to.
    pub const TIER: Key = Key("tier");
    /// The role of the host that is gone to.
    pub const TO: Key = Key("to");
    /// What a background task does: `topology`, `host_monitor`, `clock` or `pool`.
    pub const TYPE: Key = Key("type");
    /// Which of two that ran at the same time was first.
    pub const WINNER: Key = Key("winner");
}
