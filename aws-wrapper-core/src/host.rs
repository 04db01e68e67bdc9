//! Hosts of a cluster and their canonical names.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not accepted; expected {}", .0.0, .0.1)]
pub struct InvalidHost(Box<(String, &'static str)>);

impl InvalidHost {
    fn new(text: &str, accepted: &'static str) -> Self {
        Self(Box::new((text.to_owned(), accepted)))
    }

    /// What was given.
    pub fn text(&self) -> &str {
        &self.0.0
    }

    /// What would be accepted.
    pub fn accepted(&self) -> &'static str {
        self.0.1
    }
}

/// The canonical identity of a host: lower-cased name without trailing dot, and port.
///
/// Cheap to clone. Made only by [`HostKey::new`] and [`HostKey::parse`], so two spellings of one host are equal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    host: Arc<str>,
    port: u16,
}

impl HostKey {
    /// The key of `host` at `port`. An IPv6 address may stand in square brackets and is written in its short form.
    ///
    /// # Errors
    /// When the name is empty, has white space or one of `/[]`, or has a `:` and is no IPv6 address.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidHost> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        let refused = || InvalidHost::new(host, "a host name or an IP address");
        if bare.is_empty() || bare.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '[' | ']')) {
            return Err(refused());
        }
        let host = if bare.contains(':') {
            let (address, zone) = bare.find('%').map_or((bare, ""), |at| bare.split_at(at));
            let address: Ipv6Addr = address.parse().map_err(|_| refused())?;
            format!("{address}{zone}")
        } else {
            bare.to_ascii_lowercase()
        };
        Ok(Self { host: host.into(), port })
    }

    /// The key written as `host`, `host:port`, `[v6]` or `[v6]:port`; a bare IPv6 address has no port.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, InvalidHost> {
        let after_host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((_, after)) => after,
            None if text.matches(':').count() == 1 => &text[text.find(':').unwrap_or(text.len())..],
            None => "",
        };
        let host = &text[..text.len() - after_host.len()];
        let port = match after_host.strip_prefix(':') {
            Some(port) => match port.parse() {
                // `parse` would take a sign.
                Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => number,
                _ => {
                    return Err(InvalidHost::new(text, "`host` or `host:port` with a port from 1 to 65535"));
                }
            },
            None if after_host.is_empty() => default_port,
            None => return Err(InvalidHost::new(text, "`[address]` or `[address]:port`")),
        };
        Self::new(host, port)
    }

    /// The host name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a host does in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Accepts writes.
    Writer,
    /// Serves reads only.
    Reader,
    /// Not known yet.
    Unknown,
}

impl Role {
    /// The word for it in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a host was reachable when last tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Availability {
    /// Reachable, or never tried.
    #[default]
    Available,
    /// The last attempt failed.
    NotAvailable,
}

/// What is known about one host of a cluster.
///
/// Its identity is its [`key`](Self::key): the rest changes, so hosts are never compared as a whole.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Host {
    /// Its canonical name.
    pub key: HostKey,
    /// Its role according to the topology.
    pub role: Role,
    /// The name the instance has for itself.
    pub host_id: Option<String>,
    /// The first label of the instance's endpoint.
    pub instance_name: Option<String>,
    /// Its region, if known.
    pub region: Option<String>,
    /// Whether it was reachable when last tried.
    pub availability: Availability,
    /// How busy it is; lower is better. From the topology.
    pub load: Option<u64>,
    /// Its share in weighted strategies; more is better.
    pub weight: u64,
    /// Processor use in percent.
    pub cpu_percent: Option<f32>,
    /// How far it is behind the writer, in milliseconds.
    pub lag_ms: Option<f32>,
}

impl Host {
    /// A host of which only name and role are known.
    pub fn new(key: HostKey, role: Role) -> Self {
        Self {
            key,
            role,
            host_id: None,
            instance_name: None,
            region: None,
            availability: Availability::Available,
            load: None,
            weight: 100,
            cpu_percent: None,
            lag_ms: None,
        }
    }

    /// Whether name, role and availability agree.
    pub fn same_content(&self, other: &Self) -> bool {
        self.key == other.key && self.role == other.role && self.availability == other.availability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_a_host_are_one_key() {
        let key = HostKey::new("Db1.Example.COM.", 5432).unwrap();
        assert_eq!(key, HostKey::new("db1.example.com", 5432).unwrap());
        assert_eq!(key.to_string(), "db1.example.com:5432");
    }

    #[test]
    fn ports_are_split_off_and_addresses_stay_whole() {
        for (text, host, port) in [
            ("h", "h", 5432),
            ("h:1", "h", 1),
            ("::1", "::1", 5432),
            ("[::1]", "::1", 5432),
            ("[2001:db8::1]:6", "2001:db8::1", 6),
            ("10.1.2.3:7", "10.1.2.3", 7),
            ("2001:DB8:0:0::0:5432", "2001:db8::5432", 5432),
            ("[fe80::1%eth0]:6", "fe80::1%eth0", 6),
        ] {
            let key = HostKey::parse(text, 5432).unwrap();
            assert_eq!((key.host(), key.port()), (host, port), "{text}");
            assert_eq!(HostKey::parse(&key.to_string(), 1).unwrap(), key, "{text} survives being printed");
        }
        for bad in
            ["", "h:", "h:0", "h:70000", "h:x", "[::1]x", "a b", "a:b:c", "h:1:2", "[]", "[h", ".", "h:+1"]
        {
            assert!(HostKey::parse(bad, 5432).is_err(), "{bad}");
        }
    }
}
