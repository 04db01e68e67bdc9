//! What a host name says about the service behind it: Aurora and RDS names, their regions and their instances' names.
//!
//! Names are taken apart label by label. There is no list of regions: a new one works without a new version.

mod pattern;

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

pub use self::pattern::HostPattern;

/// A host name and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    kind: EndpointKind,
    name: Option<String>,
    region: Option<String>,
    dns_suffix: Option<String>,
}

/// What a host name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointKind {
    /// An IP address.
    IpAddress,
    /// The writer of a cluster: `name.cluster-…`.
    WriterCluster,
    /// Any reader of a cluster: `name.cluster-ro-…`.
    ReaderCluster,
    /// Some hosts of a cluster, chosen by its owner: `name.cluster-custom-…`.
    CustomCluster,
    /// An RDS proxy: `name.proxy-…`.
    Proxy,
    /// A further endpoint of an RDS proxy: `name.endpoint.proxy-…`.
    ProxyEndpoint,
    /// One instance.
    Instance,
    /// A shard group of Aurora Limitless: `name.shardgrp-…`.
    LimitlessShardGroup,
    /// The writer of a global database: `name.global-….global.rds.amazonaws.com`.
    GlobalWriterCluster,
    /// Any other name.
    Other,
}

impl Endpoint {
    /// Reads a host name, without a port. Case and one dot at the end do not matter; an IPv6 address may stand in
    /// brackets.
    pub fn parse(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let host = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        let Parts { kind, name, region, dns_suffix } = Parts::of(&host);
        let [name, region, dns_suffix] = [name, region, dns_suffix].map(|part| part.map(str::to_owned));
        Self { host, kind, name, region, dns_suffix }
    }

    /// What it stands for.
    pub fn kind(&self) -> EndpointKind {
        self.kind
    }

    /// The name in lower case, without a dot at its end and without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The first label, where it names a cluster, a shard group or a proxy. Not the identity of a topology.
    pub fn cluster_id(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.kind != EndpointKind::Instance)
    }

    /// The first label, where it names an instance.
    pub fn instance_id(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.kind == EndpointKind::Instance)
    }

    /// The region, such as `us-east-2`. A load balancer's name has one too.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// What all names of one account in one region end with, such as `xyz.us-east-2.rds.amazonaws.com`.
    pub fn dns_suffix(&self) -> Option<&str> {
        self.dns_suffix.as_deref()
    }

    /// How the instances of this cluster are named, if the name tells.
    pub fn instance_host_pattern(&self) -> Option<HostPattern> {
        if self.kind == EndpointKind::ProxyEndpoint {
            return None;
        }
        Some(HostPattern::of_suffix(self.dns_suffix()?))
    }

    /// The name of the writer endpoint of the same cluster; also for a reader endpoint and for a shard group.
    pub fn cluster_host(&self) -> Option<String> {
        use EndpointKind::{LimitlessShardGroup, ReaderCluster, WriterCluster};
        match (self.kind, &self.name, &self.dns_suffix) {
            (WriterCluster | ReaderCluster | LimitlessShardGroup, Some(name), Some(suffix)) => {
                Some(format!("{name}.cluster-{suffix}"))
            }
            _ => None,
        }
    }

    /// Whether this is a name RDS gives in one region. The writer of a global database is not: it has no region.
    pub fn is_rds_dns(&self) -> bool {
        self.is_rds() && self.kind != EndpointKind::GlobalWriterCluster
    }

    /// Whether this is a name RDS gives.
    pub fn is_rds(&self) -> bool {
        !matches!(self.kind, EndpointKind::IpAddress | EndpointKind::Other)
    }

    /// Whether the name stands for a cluster or a part of one, so that the host behind it changes.
    pub fn is_cluster(&self) -> bool {
        use EndpointKind::{CustomCluster, GlobalWriterCluster, ReaderCluster, WriterCluster};
        matches!(self.kind, WriterCluster | ReaderCluster | CustomCluster | GlobalWriterCluster)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// Whether a host name or instance name is one of the green side of a blue/green deployment: its first label ends in
/// `-green-` and six letters or digits.
pub fn is_green_host(host: &str) -> bool {
    green_start(first_label(host)).is_some()
}

/// Whether a host name is neither one of the green side nor one of the former blue side, which ends in `-old1` before
/// the first dot.
pub fn is_not_green_or_old(host: &str) -> bool {
    let label = first_label(host);
    let is_old = label.len() < host.len() && ends_with_ignoring_case(label, "-old1");
    !is_old && !is_green_host(host)
}

/// `host` without the `-green-xxxxxx` at the end of its first label; only the last one is removed.
pub fn remove_green(host: &str) -> Cow<'_, str> {
    let label = first_label(host);
    match green_start(label) {
        Some(start) => Cow::Owned(format!("{}{}", &host[..start], &host[label.len()..])),
        None => Cow::Borrowed(host),
    }
}

/// `host` without `:port` at its end. An IPv6 address stays whole, brackets included.
pub fn strip_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((before, port))
            if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !is_ipv6(host) =>
        {
            before
        }
        _ => host,
    }
}

fn first_label(host: &str) -> &str {
    host.split_once('.').map_or(host, |(label, _)| label)
}

/// Where `-green-xxxxxx` begins in a label that ends so.
fn green_start(label: &str) -> Option<usize> {
    const MARK: &str = "-green-";
    const CODE: usize = 6;
    let code = label.len().checked_sub(CODE).filter(|&at| label.is_char_boundary(at))?;
    let (before, code) = label.split_at(code);
    let is_green =
        code.bytes().all(|byte| byte.is_ascii_alphanumeric()) && ends_with_ignoring_case(before, MARK);
    let start = before.len().checked_sub(MARK.len())?;
    (is_green && start > 0).then_some(start)
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.and_then(|start| text.get(start..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

fn is_ipv4(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.octets()[0] > 0)
}

/// The parts of a name.
struct Parts<'a> {
    kind: EndpointKind,
    name: Option<&'a str>,
    region: Option<&'a str>,
    dns_suffix: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Takes a lower-cased name apart.
    fn of(host: &'a str) -> Self {
        let only = |kind, region| Self { kind, name: None, region, dns_suffix: None };
        if is_ipv4(host) || is_ipv6(host) {
            return only(EndpointKind::IpAddress, None);
        }
        let parts = match split_service(host) {
            Some((front, Service::Rds { region })) => Self::rds(host, front, region),
            Some((front, Service::Global)) if is_global_writer(front) => {
                Some(only(EndpointKind::GlobalWriterCluster, None))
            }
            Some((_, Service::LoadBalancer { region })) => Some(only(EndpointKind::Other, Some(region))),
            Some((_, Service::Global)) | None => None,
        };
        parts.unwrap_or_else(|| only(EndpointKind::Other, None))
    }

    /// `front` is what stands before the region's and the service's labels: `name.account`, `name.cluster-account` and
    /// so on.
    fn rds(host: &'a str, front: &'a str, region: &'a str) -> Option<Self> {
        let (before, label) = front.rsplit_once('.')?;
        let (kind, account) = split_prefix(label);
        let (kind, name) = match before.strip_suffix(".endpoint") {
            Some(name) if kind == EndpointKind::Proxy => (EndpointKind::ProxyEndpoint, name),
            _ => (kind, before),
        };
        if name.is_empty() || name.contains('.') || !is_account(account) {
            return None;
        }
        let dns_suffix = &host[front.len() - account.len()..];
        Some(Self { kind, name: Some(name), region: Some(region), dns_suffix: Some(dns_suffix) })
    }
}

/// What the last labels of a name of AWS say.
enum Service<'a> {
    Rds { region: &'a str },
    Global,
    LoadBalancer { region: &'a str },
}

/// The order of the two labels before the domain.
#[derive(Clone, Copy)]
enum Layout {
    RegionService,
    ServiceRegion,
    GlobalService,
    BalancerRegion,
}

/// The domains of AWS and what may stand before them.
const DOMAINS: &[(&str, &[Layout])] = {
    use Layout::{BalancerRegion, GlobalService, RegionService, ServiceRegion};
    &[
        (".amazonaws.com", &[RegionService, ServiceRegion, GlobalService, BalancerRegion]),
        (".amazonaws.au", &[RegionService, BalancerRegion]),
        (".amazonaws.eu", &[RegionService, BalancerRegion]),
        (".amazonaws.uk", &[RegionService, BalancerRegion]),
        (".amazonaws.com.cn", &[ServiceRegion, RegionService]),
        (".c2s.ic.gov", &[ServiceRegion]),
        (".sc2s.sgov.gov", &[ServiceRegion]),
    ]
};

/// Splits off domain, region and service.
fn split_service(host: &str) -> Option<(&str, Service<'_>)> {
    let (rest, layouts) =
        DOMAINS.iter().find_map(|(domain, layouts)| Some((host.strip_suffix(domain)?, layouts)))?;
    let (rest, second) = rest.rsplit_once('.')?;
    let (front, first) = rest.rsplit_once('.')?;
    let service = layouts.iter().find_map(|layout| match (layout, first, second) {
        (Layout::RegionService, region, service) | (Layout::ServiceRegion, service, region)
            if is_region(region) && is_rds_service(service) =>
        {
            Some(Service::Rds { region })
        }
        (Layout::GlobalService, "global", service) if is_rds_service(service) => Some(Service::Global),
        (Layout::BalancerRegion, "elb", region) if is_region(region) => {
            Some(Service::LoadBalancer { region })
        }
        _ => None,
    })?;
    Some((front, service))
}

/// What the prefix of the account's label says. None says that it is an instance.
fn split_prefix(label: &str) -> (EndpointKind, &str) {
    // The longer ones first: they begin with the shorter ones.
    const PREFIXES: &[(&str, EndpointKind)] = &[
        ("cluster-custom-", EndpointKind::CustomCluster),
        ("cluster-ro-", EndpointKind::ReaderCluster),
        ("cluster-", EndpointKind::WriterCluster),
        ("proxy-", EndpointKind::Proxy),
        ("shardgrp-", EndpointKind::LimitlessShardGroup),
    ];
    let found = PREFIXES.iter().find_map(|(prefix, kind)| Some((*kind, label.strip_prefix(prefix)?)));
    found.unwrap_or((EndpointKind::Instance, label))
}

/// Whether these are the labels `name.global-account`.
fn is_global_writer(front: &str) -> bool {
    front.split_once('.').is_some_and(|(name, label)| {
        !name.is_empty() && label.strip_prefix("global-").is_some_and(is_account)
    })
}

fn is_rds_service(label: &str) -> bool {
    matches!(label, "rds" | "rds-fips")
}

/// Whether this is the mark of an account in a region: letters and digits, and not the service of a malformed name.
fn is_account(label: &str) -> bool {
    !label.is_empty() && !is_rds_service(label) && label.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether the label has the shape of a region: words and a number, such as `us-gov-west-1`.
fn is_region(label: &str) -> bool {
    let is = |text: &str, wanted: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(wanted);
    label.rsplit_once('-').is_some_and(|(words, number)| {
        is(number, u8::is_ascii_digit)
            && words.contains('-')
            && words.split('-').all(|word| is(word, u8::is_ascii_alphabetic))
    })
}

#[cfg(test)]
mod tests;
