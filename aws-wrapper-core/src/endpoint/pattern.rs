//! How the instances of a cluster are named.

use std::fmt;

use super::{Endpoint, EndpointKind};
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostKey;

/// How the instances of a cluster are named: a host name with `?` in place of the instance, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    before: String,
    after: String,
    port: Option<u16>,
}

impl HostPattern {
    /// Reads the value of `cluster_instance_host_pattern`, such as `?.xyz.us-east-2.rds.amazonaws.com` or
    /// `?.db.example.com:5432`. Case and one dot at the end of the name do not matter.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when the first label has no `?`, when there is more than one, when the text is no
    /// host name, or when the name is one of a cluster or a proxy.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |accepted| Err(Error::parameter("cluster_instance_host_pattern", text, accepted));
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => match port.parse() {
                Ok(number) if number > 0 && !port.starts_with('+') => (host, Some(number)),
                _ => return refuse("a port from 1 to 65535 after the `:`"),
            },
        };
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_label =
            |label: &str| !label.is_empty() && label.chars().all(|c| is_instance_char(c) || c == '?');
        let (Some((before, after)), true) = (name.split_once('?'), name.split('.').all(is_label)) else {
            return refuse("a host name with `?` in place of the instance");
        };
        if before.contains('.') || after.contains('?') {
            return refuse("one `?`, in the first part of the name");
        }
        if !matches!(Endpoint::parse(&name).kind(), EndpointKind::Instance | EndpointKind::Other) {
            return refuse("names of instances; this is one of a cluster or a proxy");
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned(), port })
    }

    /// How instances whose names end in `.suffix` are named.
    pub(super) fn of_suffix(suffix: &str) -> Self {
        Self { before: String::new(), after: format!(".{suffix}"), port: None }
    }

    /// The host of an instance, at the pattern's port or else at `default_port`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) when `instance` is not one label of letters, digits, `-` and `_`. It
    /// comes from the server, and must not be able to lead a connection to another domain.
    pub fn host_for(&self, instance: &str, default_port: u16) -> Result<HostKey> {
        if !is_instance(instance) {
            let shown: String = instance.chars().take(LONGEST_LABEL).collect();
            let text = format!("the server names an instance `{shown}`, which is no name of one");
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let name = format!("{}{instance}{}", self.before, self.after);
        Ok(HostKey::new(&name, self.port.unwrap_or(default_port))?)
    }

    /// Whether `host` is named as instances are, and stands at their port.
    pub fn matches(&self, host: &HostKey, default_port: u16) -> bool {
        let name = host.host().strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&*self.after));
        name.is_some_and(is_instance) && host.port() == self.port.unwrap_or(default_port)
    }

    /// What follows the instance, without the dot: for names of RDS the [`dns_suffix`](Endpoint::dns_suffix).
    pub fn suffix(&self) -> &str {
        self.after.strip_prefix('.').unwrap_or(&self.after)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?{}", self.before, self.after)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The longest label a domain name may have.
const LONGEST_LABEL: usize = 63;

fn is_instance(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_LABEL && name.chars().all(is_instance_char)
}

fn is_instance_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}
