//! What one connector knows of its cluster: the hosts of its connection string, later the monitored topology.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::availability::AvailabilitySettings;
use crate::dialect::detect::{Detected, Detection};
use crate::dialect::refusal::explain;
use crate::dialect::{self, DatabaseDialect, ProbeAnswer};
use crate::driver::DriverDialect;
use crate::endpoint::{Endpoint, HostPattern};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::host::{Availability, Host, HostKey, Role};
use crate::probe::Prober;
use crate::registry::{Identity, Slot};
use crate::runtime::Shared;
use crate::telemetry::{key, metrics};
use crate::topology::cluster::{Cluster, ClusterSeed, Clusters, Verify};
use crate::topology::{Snapshot, TopologySettings, fixed, query};

/// The topology as a connector and its plugins see it.
///
/// Until the first connection has told which product the server is, the hosts are those of the connection string.
#[derive(Debug)]
pub struct Topology {
    shared: Arc<Shared>,
    clusters: Arc<Clusters>,
    settings: TopologySettings,
    availability: AvailabilitySettings,
    initial: HostKey,
    endpoint: Endpoint,
    fixed: Arc<Snapshot>,
    first_dialect: &'static dyn DatabaseDialect,
    learned: OnceLock<Learned>,
    learning: AsyncMutex<()>,
    tracks: AtomicBool,
}

#[derive(Debug)]
struct Learned {
    dialect: &'static dyn DatabaseDialect,
    cluster: Option<Arc<Cluster>>,
}

/// A query of the wrapper's own takes no longer than this.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

impl Topology {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        clusters: &Arc<Clusters>,
        settings: &TopologySettings,
        availability: &AvailabilitySettings,
        engine: Engine,
        hosts: &[HostKey],
    ) -> Result<Self> {
        let initial = hosts.first().ok_or_else(|| Error::config("no host is given"))?.clone();
        let endpoint = Endpoint::parse(initial.host());
        if let Some(pattern) = &settings.instance_host_pattern {
            HostPattern::parse(pattern)?;
        }
        let first_dialect = dialect::initial(engine, &endpoint, settings.dialect.as_deref())?;
        let fixed = Arc::new(fixed::snapshot(hosts, &endpoint, settings.single_writer_connection_string));
        let (shared, clusters) = (Arc::clone(shared), Arc::clone(clusters));
        Ok(Self {
            shared,
            clusters,
            settings: settings.clone(),
            availability: availability.clone(),
            initial,
            endpoint,
            fixed,
            first_dialect,
            learned: OnceLock::new(),
            learning: AsyncMutex::new(()),
            tracks: AtomicBool::new(false),
        })
    }

    /// What the name in the connection string says.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The first host of the connection string.
    pub fn initial_host(&self) -> &HostKey {
        &self.initial
    }

    /// The product, as far as it is known.
    pub fn dialect(&self) -> &'static dyn DatabaseDialect {
        self.learned.get().map_or(self.first_dialect, |learned| learned.dialect)
    }

    /// The monitored cluster, once a connection has shown that there is one.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.learned.get()?.cluster.as_ref()
    }

    /// The newest topology.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.cluster().map_or_else(|| Arc::clone(&self.fixed), |cluster| cluster.snapshot())
    }

    /// New topologies as they come; `None` as long as the hosts are those of the connection string.
    pub fn subscribe(&self) -> Option<watch::Receiver<Arc<Snapshot>>> {
        Some(self.cluster()?.subscribe())
    }

    /// A topology read, or a writer proved, after now. The fixed list of a plain server is returned as it is.
    ///
    /// # Errors
    /// [`Timeout(Topology)`](Phase::Topology) at the deadline, with what the monitor ran into last.
    pub async fn refresh(&self, verify: Verify, deadline: Instant) -> Result<Arc<Snapshot>> {
        match self.cluster() {
            Some(cluster) => cluster.force_refresh(verify, deadline).await,
            None => Ok(Arc::clone(&self.fixed)),
        }
    }

    /// Hosts of `snapshot` with what is known of their availability.
    pub fn hosts(&self, snapshot: &Snapshot) -> Vec<Host> {
        let mut hosts = snapshot.hosts.clone();
        for host in &mut hosts {
            host.availability = self.shared.availability.effective(&host.key, &self.availability);
        }
        hosts
    }

    /// Whether `host` is certainly none of this cluster: the topology is known and does not have it, the connection string
    /// does not either, and its name is not like those of the cluster's instances and endpoints. An instance may be newer
    /// than the topology.
    pub(crate) fn is_outside(&self, host: &HostKey) -> bool {
        let Some(cluster) = self.cluster() else { return false };
        let (snapshot, seed) = (cluster.snapshot(), &cluster.seed);
        !snapshot.is_initial()
            && snapshot.find(host).is_none()
            && self.fixed.find(host).is_none()
            && !seed.pattern.matches(host, seed.default_port)
            && !self.is_named_as_endpoint(host, &seed.pattern)
    }

    /// Whether `host` is named as the cluster itself or a part of it, as far as names tell: those of custom endpoints do not
    /// tell the cluster.
    fn is_named_as_endpoint(&self, host: &HostKey, pattern: &HostPattern) -> bool {
        let endpoint = Endpoint::parse(host.host());
        let is_near = endpoint.is_cluster() && endpoint.dns_suffix() == Some(pattern.suffix());
        let is_other = |cluster: String| self.endpoint.cluster_host().is_some_and(|own| own != cluster);
        is_near && host.port() == self.initial.port() && !endpoint.cluster_host().is_some_and(is_other)
    }

    /// Whether `host` could not be reached when it was last tried, less than five minutes ago.
    pub fn is_down(&self, host: &HostKey) -> bool {
        self.shared.availability.get(host) == Availability::NotAvailable
    }

    /// From now on every connection of the application is tracked.
    pub(crate) fn start_tracking(&self) {
        self.tracks.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_tracking(&self) -> bool {
        self.tracks.load(Ordering::Relaxed)
    }

    /// Sees to it that a connection does not outlive the role of its host: when the host ceases to be the writer, the
    /// connection is closed, at once if nobody uses it, else after its call. Where there is no topology, it is only
    /// known from now on whether the connection is busy.
    pub fn track(&self, slot: &Slot) {
        let Some(cluster) = self.cluster() else { return slot.mark_calls() };
        let known = slot.identity().and_then(|identity| {
            let snapshot = cluster.snapshot();
            Some(snapshot.find_by_identity(&identity.host_id, Some(&identity.host_id))?.key.clone())
        });
        let host = known.as_ref().unwrap_or(slot.routed_host());
        if self.shared.registry.track(slot, cluster.name(), host) {
            let attributes = [key::CLUSTER.of(cluster.id())];
            self.shared.telemetry().add(&metrics::TRACKER_RETIRED_COUNT, 1, &attributes);
        }
    }

    /// The role of the server behind a connection.
    ///
    /// Costs no round trip where the server reported it while connecting and its word can be trusted; otherwise one,
    /// and the connection is identified on the way. A role already known from identifying the connection is not
    /// asked again.
    pub async fn role_of<D: DriverDialect>(
        &self,
        driver: &D,
        connection: &mut D::Connection,
    ) -> Result<Role> {
        if let Some(identity) = driver.slot(connection).identity() {
            return Ok(identity.role);
        }
        let dialect = self.dialect();
        let Some(topology) = dialect.topology() else {
            if let Some(role) = driver.startup_role(connection) {
                return Ok(role);
            }
            let table = self.ask(driver, connection, dialect.role_sql()).await?;
            return dialect.parse_role(&table).ok_or_else(|| unreadable("role"));
        };
        let table = self.ask(driver, connection, topology.whoami_sql()).await;
        let table = table.map_err(|error| explain(error, dialect))?;
        let (host_id, role) = topology.parse_whoami(&table).ok_or_else(|| unreadable("identity"))?;
        let routed = self.snapshot().find_by_identity(&host_id, Some(&host_id)).map(|host| host.key.clone());
        driver.slot(connection).identify(Identity::new(host_id, role, routed));
        Ok(role)
    }

    async fn ask<D: DriverDialect>(
        &self,
        driver: &D,
        connection: &mut D::Connection,
        sql: &str,
    ) -> Result<crate::table::Table> {
        let host = driver.slot(connection).host().clone();
        match timeout(PROBE_LIMIT, driver.fetch_text(connection, sql)).await {
            Ok(Ok(table)) => Ok(table),
            Ok(Err(error)) => Err(driver.error(error).with_host(&host)),
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout(Phase::Probe), "the server did not answer")
                    .with_host(&host))
            }
        }
    }

    /// Learns from the first connection which product the server is, and joins its cluster.
    ///
    /// Concurrent first connections share one detection. A network error leaves everything as it was.
    pub(crate) async fn learn<D: DriverDialect>(
        &self,
        driver: &D,
        connection: &mut D::Connection,
        prober: &Arc<dyn Prober>,
        deadline: Instant,
    ) -> Result<()> {
        if self.learned.get().is_some() {
            return Ok(());
        }
        let late = |_| {
            Error::new(ErrorKind::Timeout(Phase::Probe), "the server's product could not be detected in time")
        };
        let _turn = timeout_at(deadline, self.learning.lock()).await.map_err(late)?;
        if self.learned.get().is_some() {
            return Ok(());
        }
        let detected = timeout_at(deadline, self.detect(driver, connection)).await.map_err(late)??;
        let dialect = detected.dialect;
        let cluster = match dialect.topology() {
            Some(_) => {
                let pattern = self.pattern()?;
                let answer = detected.answer.ok_or_else(|| unreadable("topology"))?;
                let cluster = self.join(&answer, dialect, pattern, prober)?;
                let routed =
                    cluster.snapshot().find_by_identity(&answer.host_id, None).map(|host| host.key.clone());
                driver.slot(connection).identify(Identity::new(answer.host_id, answer.role, routed));
                Some(cluster)
            }
            None => None,
        };
        tracing::info!(dialect = dialect.code(), host = %self.initial, "database product detected");
        let _ = self.learned.set(Learned { dialect, cluster });
        Ok(())
    }

    async fn detect<D: DriverDialect>(&self, driver: &D, connection: &mut D::Connection) -> Result<Detected> {
        if self.settings.dialect.is_some() {
            let answer = match self.first_dialect.topology() {
                Some(topology) => {
                    let answer = self.ask(driver, connection, topology.probe_sql()).await;
                    topology.parse_probe(&answer.map_err(|error| explain(error, self.first_dialect))?)
                }
                None => None,
            };
            return Ok(Detected { dialect: self.first_dialect, answer });
        }
        let mut detection = Detection::start(D::ENGINE, self.first_dialect);
        while let Some(question) = detection.question() {
            let answer = self.ask(driver, connection, question).await;
            detection.answer(&answer.map_err(|error| detection.explain(error))?);
        }
        Ok(detection.finish())
    }

    /// The cluster this connection belongs to: the one that has the instance already, so that all endpoints of a cluster
    /// share a monitor; else by name where the name tells.
    ///
    /// # Errors
    /// `Config` when the name the user gave belongs to another cluster.
    fn join(
        &self,
        answer: &ProbeAnswer,
        dialect: &'static dyn DatabaseDialect,
        pattern: HostPattern,
        prober: &Arc<dyn Prober>,
    ) -> Result<Arc<Cluster>> {
        let clusters = &self.clusters;
        let hosts = query::hosts(&answer.rows, &pattern, self.initial.port());
        let id = if let Some(id) = &self.settings.cluster_id {
            let known = clusters.find(id).map(|cluster| cluster.snapshot());
            if let (Some(known), Some(hosts)) = (known, &hosts) {
                if !known.is_initial() && hosts.iter().all(|host| known.find(&host.key).is_none()) {
                    return Err(Error::config(format!(
                        "parameter `cluster_id`: `{id}` is the name of another cluster, none of whose hosts the server \
                         at `{}` knows; give each cluster a name of its own, or none",
                        self.initial
                    )));
                }
            }
            id.clone()
        } else if let Some(cluster) = clusters.find_member(&pattern, &answer.host_id) {
            cluster.id().to_owned()
        } else {
            let host = self.endpoint.cluster_host();
            host.map_or_else(|| self.initial.to_string(), |host| format!("{host}:{}", self.initial.port()))
        };
        let seed = ClusterSeed {
            id,
            initial: hosts.map_or_else(
                || Arc::clone(&self.fixed),
                |hosts| Arc::new(Snapshot::first(hosts, answer.role)),
            ),
            dialect,
            pattern,
            default_port: self.initial.port(),
            settings: self.settings.clone(),
            prober: Arc::clone(prober),
        };
        Ok(clusters.join(&self.shared, seed))
    }

    fn pattern(&self) -> Result<HostPattern> {
        if let Some(pattern) = &self.settings.instance_host_pattern {
            return HostPattern::parse(pattern);
        }
        self.endpoint.instance_host_pattern().ok_or_else(|| {
            Error::config(format!(
                "parameter `cluster_instance_host_pattern` is missing: the server at `{}` belongs to a cluster, but \
                 this name does not tell the names of its instances; expected a pattern such as \
                 `?.xyz.us-east-2.rds.amazonaws.com`",
                self.initial
            ))
        })
    }
}

fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the server's answer about its {what} could not be read"))
}
