//! Who is in the cluster, and who is the writer.
//!
//! A [`Snapshot`] is immutable. The cluster's monitor publishes a new one whenever it has read or proved something; all
//! connections of the process see the same.

pub mod cluster;
mod clusters;
mod fixed;
mod monitor;
mod pace;
pub(crate) mod query;
mod reading;
mod round;
mod settings;
mod upgrade;
pub mod view;
mod worker;

use tokio::time::Instant;

pub(crate) use self::settings::PARAMETERS;
pub use self::settings::{MonitoringPriority, TopologySettings};
use crate::host::{Host, HostKey, Role};

/// One reading of a cluster's hosts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// Counts the publications of this cluster; 0 for the hosts of a connection string.
    pub version: u64,
    /// The writer first, then the readers by name.
    pub hosts: Vec<Host>,
    /// Where the writer stands in `hosts`.
    pub writer: Option<usize>,
    /// Whether a connection proved the writer of this very list.
    pub writer_verified: bool,
    /// The newest proof, carried forward from list to list.
    pub last_verification: Option<Verification>,
    /// When the query that led to this list was sent.
    pub read_started_at: Instant,
    /// When the list was published.
    pub published_at: Instant,
    /// Where it comes from.
    pub source: SnapshotSource,
}

/// A proof that a host is the writer: the topology named it, and a connection to it said so too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The writer.
    pub writer: HostKey,
    /// Taken before the questions were sent.
    pub verified_at: Instant,
}

impl Verification {
    /// A proof begun at `verified_at`.
    pub fn new(writer: HostKey, verified_at: Instant) -> Self {
        Self { writer, verified_at }
    }
}

/// Where a snapshot comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SnapshotSource {
    /// The connection string.
    Initial,
    /// A connection to the writer.
    WriterConnection,
    /// A connection to a reader.
    ReaderConnection,
    /// No writer answered, but the readers agreed for long enough.
    StableReaders,
}

impl Snapshot {
    /// The hosts of a connection string.
    pub fn initial(hosts: Vec<Host>) -> Self {
        let now = Instant::now();
        Self {
            version: 0,
            writer: hosts.iter().position(|host| host.role == Role::Writer),
            hosts,
            writer_verified: false,
            last_verification: None,
            read_started_at: now,
            published_at: now,
            source: SnapshotSource::Initial,
        }
    }

    /// What the application's first connection was told, before the monitor has read anything.
    pub(crate) fn first(hosts: Vec<Host>, told_by: Role) -> Self {
        let source = match told_by {
            Role::Writer => SnapshotSource::WriterConnection,
            _ => SnapshotSource::ReaderConnection,
        };
        Self { source, ..Self::initial(hosts) }
    }

    /// Whether these are only the hosts of a connection string.
    pub fn is_initial(&self) -> bool {
        self.source == SnapshotSource::Initial
    }

    /// The writer according to this list.
    pub fn writer_host(&self) -> Option<&Host> {
        self.hosts.get(self.writer?)
    }

    /// The writer of the newest proof.
    pub fn verified_writer(&self) -> Option<&HostKey> {
        self.last_verification.as_ref().map(|verification| &verification.writer)
    }

    /// The readers.
    pub fn readers(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.role == Role::Reader)
    }

    /// The host of that name.
    pub fn find(&self, key: &HostKey) -> Option<&Host> {
        self.hosts.iter().find(|host| host.key == *key)
    }

    /// The host an instance is, by what it calls itself or by the first label of its endpoint.
    pub fn find_by_identity(&self, host_id: &str, instance_name: Option<&str>) -> Option<&Host> {
        let is = |known: &Option<String>, wanted: &str| {
            known.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(wanted))
        };
        self.hosts.iter().find(|host| is(&host.host_id, host_id)).or_else(|| {
            self.hosts.iter().find(|host| instance_name.is_some_and(|name| is(&host.instance_name, name)))
        })
    }
}
