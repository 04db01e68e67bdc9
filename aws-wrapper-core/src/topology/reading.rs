//! One question to one instance: who are you, what is your role, who are the others?

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::cluster::Cluster;
use super::{Snapshot, SnapshotSource, Verification, query};
use crate::availability::AvailabilityStore;
use crate::dialect::refusal;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::host::{Availability, Host, HostKey, Role};
use crate::probe::Probe;
use crate::telemetry::{key, metrics, outcome, spans};

/// What one answer told.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Taken before the question was sent.
    pub(super) started_at: Instant,
    pub(super) round_trip: Duration,
    /// The role the instance says it has.
    pub(super) role: Role,
    /// The host of the list that answered, found by its name for itself.
    pub(super) own: Option<HostKey>,
    /// The writer first; empty when the instance has no topology just now.
    hosts: Vec<Host>,
}

/// Asks one question and checks that the answer is about this cluster.
///
/// # Errors
/// Those of the driver; [`Timeout(Probe)`](Phase::Probe); `Config` when the answer is about another
/// cluster or the user lacks the privilege to ask.
pub(super) async fn read(cluster: &Cluster, probe: &mut dyn Probe) -> Result<Reading> {
    read_within(cluster.seed.settings.socket_timeout, cluster, probe).await
}

/// As [`read`], within a limit of its own.
pub(super) async fn read_within(
    limit: Duration,
    cluster: &Cluster,
    probe: &mut dyn Probe,
) -> Result<Reading> {
    let mode = cluster.mode().code();
    let span = tracing::debug_span!(
        parent: None,
        spans::TOPOLOGY_REFRESH,
        "aws_wrapper.cluster_id" = cluster.id(),
        mode,
        outcome = Empty,
    );
    let reading = ask(limit, cluster, probe).instrument(span.clone()).await;
    span.record("outcome", outcome(&reading));
    let attributes = [key::CLUSTER.of(cluster.id()), key::MODE.of(mode), key::OUTCOME.of_result(&reading)];
    cluster.telemetry().add(&metrics::TOPOLOGY_REFRESH_COUNT, 1, &attributes);
    reading
}

async fn ask(limit: Duration, cluster: &Cluster, probe: &mut dyn Probe) -> Result<Reading> {
    let recipe = &cluster.seed;
    let topology = recipe.dialect.topology().ok_or_else(|| Error::config("this product has no topology"))?;
    let started_at = Instant::now();
    cluster.counters.probes.fetch_add(1, Ordering::Relaxed);
    let late =
        |_| Error::new(ErrorKind::Timeout(Phase::Probe), "the monitor's question was not answered in time");
    let table = timeout(limit, probe.fetch_text(topology.probe_sql())).await.map_err(late)?;
    let table = table.map_err(|error| refusal::explain(error, recipe.dialect))?;
    if table.columns.is_empty() {
        // Servers answer so in the middle of a failover.
        return Ok(Reading {
            started_at,
            round_trip: started_at.elapsed(),
            role: Role::Unknown,
            own: None,
            hosts: Vec::new(),
        });
    }
    let unreadable =
        || Error::new(ErrorKind::Unsupported, "the server's answer about the topology could not be read");
    let answer = topology.parse_probe(&table).ok_or_else(unreadable)?;
    let hosts = query::hosts(&answer.rows, &recipe.pattern, recipe.default_port).unwrap_or_default();
    let own = hosts.iter().find(|host| is_named(host, &answer.host_id)).map(|host| host.key.clone());
    let reading = Reading { started_at, round_trip: started_at.elapsed(), role: answer.role, own, hosts };
    reading.belongs_to(cluster)?;
    Ok(reading)
}

impl Reading {
    /// The writer, by the word of the instance that answered.
    pub(super) fn writer(&self) -> Option<&HostKey> {
        self.hosts.first().filter(|host| host.role == Role::Writer).map(|host| &host.key)
    }

    /// Whether the instance that answered is the writer, by its topology and by its role.
    pub(super) fn proves_writer(&self) -> bool {
        self.role == Role::Writer && self.own.is_some() && self.own.as_ref() == self.writer()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &HostKey> {
        self.hosts.iter().map(|host| &host.key)
    }

    /// Whether both name the same hosts in the same roles.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        have_same_roles(&self.hosts, &other.hosts)
    }

    pub(super) fn says_the_same_as(&self, snapshot: &Snapshot) -> bool {
        have_same_roles(&self.hosts, &snapshot.hosts)
    }

    /// The same list with a writer that is known better; nothing if the list does not have it. It proves nothing.
    pub(super) fn with_writer(&self, writer: &HostKey) -> Option<Self> {
        let place = self.hosts.iter().position(|host| host.key == *writer)?;
        let mut hosts = self.hosts.clone();
        for host in &mut hosts {
            host.role = if host.key == *writer { Role::Writer } else { Role::Reader };
        }
        hosts.swap(0, place);
        hosts[1..].sort_by(|one, other| one.key.cmp(&other.key));
        Some(Self { hosts, own: None, ..self.clone() })
    }

    /// The next snapshot after `before`.
    pub(super) fn snapshot(
        &self,
        before: &Snapshot,
        is_agreed: bool,
        proof: Option<Verification>,
        availability: &AvailabilityStore,
    ) -> Snapshot {
        let mut hosts = self.hosts.clone();
        for host in &mut hosts {
            if availability.get(&host.key) == Availability::NotAvailable {
                host.availability = Availability::NotAvailable;
            }
        }
        Snapshot {
            version: before.version + 1,
            writer: hosts.iter().position(|host| host.role == Role::Writer),
            hosts,
            writer_verified: self.proves_writer(),
            last_verification: proof.or_else(|| before.last_verification.clone()),
            read_started_at: self.started_at,
            published_at: Instant::now(),
            source: match (is_agreed, self.role) {
                (true, _) => SnapshotSource::StableReaders,
                (false, Role::Writer) => SnapshotSource::WriterConnection,
                (false, _) => SnapshotSource::ReaderConnection,
            },
        }
    }

    /// Refuses a topology that has no host in common with the one known: whatever answered is not of this cluster.
    fn belongs_to(&self, cluster: &Cluster) -> Result<()> {
        let known = cluster.current();
        if known.is_initial() || self.hosts.is_empty() || self.keys().any(|key| known.find(key).is_some()) {
            return Ok(());
        }
        let list =
            |hosts: &[Host]| hosts.iter().map(|host| host.key.to_string()).collect::<Vec<_>>().join(", ");
        Err(Error::config(format!(
            "cluster mix-up: a host of cluster `{}` ({}) now tells of another cluster ({}); give each cluster its own \
             `cluster_id`, or check the names in use",
            cluster.id(),
            list(&known.hosts),
            list(&self.hosts)
        )))
    }
}

fn is_named(host: &Host, name: &str) -> bool {
    let is = |known: &Option<String>| known.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name));
    is(&host.host_id) || is(&host.instance_name)
}

/// Order does not matter.
fn have_same_roles(some: &[Host], others: &[Host]) -> bool {
    let found = |host: &Host| others.iter().any(|other| other.key == host.key && other.role == host.role);
    some.len() == others.len() && some.iter().all(found)
}

/// Whether nothing changed that anybody would want to hear of.
pub(super) fn is_same_content(before: &Snapshot, after: &Snapshot) -> bool {
    let found = |host: &Host| before.find(&host.key).is_some_and(|known| known.same_content(host));
    before.hosts.len() == after.hosts.len() && after.hosts.iter().all(found)
}
