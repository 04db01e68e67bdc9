//! Hosts of a cluster and their canonical names.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The canonical identity of a host: lower-cased name without trailing dot, and port.
///
/// Cheap to clone. Made only by [`HostKey::new`] and [`HostKey::parse`], so two spellings of one host are equal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    host: Arc<str>,
    port: u16,
}

impl HostKey {
    /// The key of `host` at `port`. Square brackets around an IPv6 address are removed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) when the name is empty, has white space or a `/`.
    pub fn new(host: &str, port: u16) -> Result<Self> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        if bare.is_empty() || bare.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(Error::parameter("host", host, "a host name or an IP address"));
        }
        Ok(Self { host: bare.to_ascii_lowercase().into(), port })
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
