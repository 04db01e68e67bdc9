//! One cluster: what is known about it, who uses it, and how to ask for something newer.
//!
//! Every cluster has at most one monitor. It publishes immutable snapshots; whoever needs newer knowledge asks for it
//! ([`Cluster::force_refresh`]) and waits for a snapshot that was read, or a writer that was proved, after the question.
//! All who ask at the same time share one answer.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

pub(crate) use super::clusters::Clusters;
use super::worker::Held;
use super::{Snapshot, SnapshotSource, monitor};
use crate::dialect::DatabaseDialect;
use crate::endpoint::HostPattern;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::host::HostKey;
use crate::probe::{Contexts, OpenedFor, Prober};
use crate::runtime::Shared;
use crate::telemetry::{Telemetry, key, metrics};
use crate::topology::TopologySettings;

/// What has to be known to watch a cluster.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by connectors field by field; a new field must be filled"
)]
pub struct ClusterSeed {
    /// The cluster's identity: connectors that name the same one share the monitor.
    pub id: String,
    /// The hosts of the connection string.
    pub initial: Arc<Snapshot>,
    /// How to ask for the topology; a dialect that has one.
    pub dialect: &'static dyn DatabaseDialect,
    /// How names of instances are made.
    pub pattern: HostPattern,
    /// The port of instances when the pattern has none.
    pub default_port: u16,
    /// Periods and limits.
    pub settings: TopologySettings,
    /// How to connect. The cluster holds it weakly: it serves as long as its connector lives.
    pub prober: Arc<dyn Prober>,
}

/// What a forced refresh has to establish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verify {
    /// A topology that was read after the request.
    No,
    /// A writer that was proved after the request, by its own topology and its own role; or, when no writer can be
    /// found for 15 s, the list all readers agree on.
    Writer,
}

/// What the monitor of a cluster is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Nobody uses the cluster, nothing runs.
    Stopped,
    /// One connection reads the topology now and then.
    Regular,
    /// Every host is asked in quick succession who the writer is.
    Panic,
}

impl Mode {
    /// The word for it in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Regular => "regular",
            Self::Panic => "panic",
        }
    }
}

/// The state of one cluster, for people and metrics.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The cluster's identity.
    pub id: String,
    /// The version of the newest snapshot; 0 until something was read.
    pub version: u64,
    /// The writer of the newest snapshot.
    pub writer: Option<HostKey>,
    /// How many hosts the newest snapshot has.
    pub hosts: usize,
    /// What the monitor is doing.
    pub mode: Mode,
    /// How many logical connections use the cluster.
    pub sessions: usize,
    /// What went wrong last, until something goes well.
    pub last_error: Option<String>,
    /// Snapshots published.
    pub publications: u64,
    /// How often every host had to be asked.
    pub panics: u64,
    /// Requests for a proved writer.
    pub verify_requests: u64,
    /// Those of them that were answered together with another one.
    pub coalesced_requests: u64,
    /// Questions sent to hosts.
    pub probes: u64,
}

/// One cluster. Obtained from a connector; lives as long as anybody uses it.
#[derive(Debug)]
pub struct Cluster {
    pub(super) seed: Recipe,
    pub(super) contexts: Contexts,
    pub(super) counters: Counters,
    pub(super) wake: Notify,
    snapshots: watch::Sender<Arc<Snapshot>>,
    failures: watch::Sender<Option<Arc<Error>>>,
    last_error: Mutex<Option<Arc<Error>>>,
    asked: Mutex<Asked>,
    reports: Mutex<HashMap<HostKey, DownReports>>,
    /// The connection on which the writer was just proved, for the first session that can use it.
    proven: Mutex<Option<Held>>,
    life: Mutex<Life>,
    me: Weak<Cluster>,
    shared: Weak<Shared>,
    telemetry: Telemetry,
}

/// The lasting part of the [`ClusterSeed`].
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) id: Arc<str>,
    pub(super) dialect: &'static dyn DatabaseDialect,
    pub(super) pattern: HostPattern,
    pub(super) default_port: u16,
    pub(super) settings: TopologySettings,
}

/// The newest request of each kind; older ones are answered with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) refresh: Option<Instant>,
    pub(super) verify: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) publications: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) verify_requests: AtomicU64,
    /// Rounds that were started because of a request.
    pub(super) rounds: AtomicU64,
    pub(super) probes: AtomicU64,
}

#[derive(Debug)]
struct DownReports {
    count: u32,
    newest: Instant,
}

#[derive(Debug)]
struct Life {
    mode: Mode,
    sessions: usize,
    last_use: Instant,
}

/// The monitor stops so long after the last session is gone.
const LINGER: Duration = Duration::from_secs(60);
/// The monitor stops when sessions exist but none has asked for anything for so long.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Reports that a host is down count together when they come within this time.
const REPORTS_COUNT_FOR: Duration = Duration::from_secs(5);

impl Cluster {
    pub(super) fn new(shared: &Arc<Shared>, seed: ClusterSeed) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            contexts: Contexts::default(),
            counters: Counters::default(),
            wake: Notify::new(),
            snapshots: watch::Sender::new(seed.initial),
            failures: watch::Sender::new(None),
            last_error: Mutex::default(),
            asked: Mutex::default(),
            reports: Mutex::default(),
            proven: Mutex::default(),
            life: Mutex::new(Life { mode: Mode::Stopped, sessions: 0, last_use: Instant::now() }),
            me: me.clone(),
            shared: Arc::downgrade(shared),
            telemetry: shared.telemetry().clone(),
            seed: Recipe {
                id: seed.id.into(),
                dialect: seed.dialect,
                pattern: seed.pattern,
                default_port: seed.default_port,
                settings: seed.settings,
            },
        })
    }

    /// The cluster's identity.
    pub fn id(&self) -> &str {
        &self.seed.id
    }

    /// The same, to keep.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.seed.id
    }

    /// What is known now. Starts with the hosts of the connection string; never forgotten, only replaced.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.touch();
        Arc::clone(&self.snapshots.borrow())
    }

    /// The snapshots from now on; a receiver sees the newest one only.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.touch();
        self.snapshots.subscribe()
    }

    /// Waits for knowledge that is newer than this call. Starts the monitor if it does not run.
    ///
    /// # Errors
    /// [`Timeout(Topology)`](Phase::Topology) at the deadline, with the last failure of the monitor as source. At once:
    /// the monitor's own error when it cannot work at all, such as a login that every host refuses, a topology of
    /// another cluster ([`Config`](ErrorKind::Config)), or services that were shut down.
    ///
    /// # Cancellation
    /// Nothing is lost: the monitor answers others who wait, and the next call asks again.
    pub async fn force_refresh(&self, verify: Verify, deadline: Instant) -> Result<Arc<Snapshot>> {
        let asked_at = Instant::now();
        let mut snapshots = self.snapshots.subscribe();
        let mut failures = self.failures.subscribe();
        // Whoever waits needs the monitor, also before there is a connection.
        let _session = self.me.upgrade().map(|cluster| cluster.session());
        self.ask(verify, asked_at)?;
        loop {
            let newest = Arc::clone(&snapshots.borrow_and_update());
            if answers(&newest, verify, asked_at) {
                return Ok(newest);
            }
            tokio::select! {
                biased;
                // The senders live in `self`: these do not fail.
                _ = snapshots.changed() => {}
                _ = failures.changed() => {
                    let failure = failures.borrow_and_update().clone();
                    return Err(failure.map_or_else(|| self.timed_out(verify), |error| told(&error)));
                }
                () = sleep_until(deadline) => {
                    let newest = Arc::clone(&snapshots.borrow());
                    return if answers(&newest, verify, asked_at) { Ok(newest) } else { Err(self.timed_out(verify)) };
                }
            }
        }
    }

    /// Says that a logical connection uses the cluster, until the value is dropped. Starts the monitor.
    pub fn session(self: &Arc<Self>) -> ClusterSession {
        {
            let mut life = self.life.lock();
            life.sessions += 1;
            life.last_use = Instant::now();
        }
        self.ensure_running();
        ClusterSession { cluster: Arc::clone(self) }
    }

    /// A session tells that its connection to `host` broke.
    ///
    /// The monitor does not believe it, but loses less time on that host when it has to look for the writer.
    pub fn report_down(&self, host: &HostKey) {
        let now = Instant::now();
        let mut reports = self.reports.lock();
        reports.retain(|_, report| now.duration_since(report.newest) < REPORTS_COUNT_FOR);
        let report = reports.entry(host.clone()).or_insert(DownReports { count: 0, newest: now });
        report.count += 1;
        report.newest = now;
    }

    /// The connection on which `writer` was just proved, if it was opened with these settings and nobody has taken it:
    /// saves one session the time of a connect.
    pub(crate) fn take_proven(&self, writer: &HostKey, wanted: &OpenedFor) -> Option<Box<dyn Any + Send>> {
        let held = {
            let mut proven = self.proven.lock();
            let fits = |held: &Held| {
                held.host == *writer && held.probe.opened_for() == Some(wanted) && !held.probe.has_ended()
            };
            proven.take_if(|held| fits(held))?
        };
        held.probe.into_connection()
    }

    /// Offers the connection on which the writer was proved to those who wait for the proof.
    pub(super) fn hand_over(&self, held: Held) {
        *self.proven.lock() = Some(held);
    }

    /// Nobody could use it.
    pub(super) fn take_back(&self) -> Option<Held> {
        self.proven.lock().take()
    }

    /// How many sessions have lately lost their connection to `host`.
    pub(super) fn down_reports(&self, host: &HostKey) -> u32 {
        let reports = self.reports.lock();
        let fresh = reports.get(host).filter(|report| report.newest.elapsed() < REPORTS_COUNT_FOR);
        fresh.map_or(0, |report| report.count)
    }

    pub(super) fn forget_reports(&self) {
        self.reports.lock().clear();
    }

    pub(super) fn status(&self) -> ClusterStatus {
        let (snapshot, counters) = (Arc::clone(&self.snapshots.borrow()), &self.counters);
        let (mode, sessions) = {
            let life = self.life.lock();
            (life.mode, life.sessions)
        };
        let verify_requests = counters.verify_requests.load(Ordering::Relaxed);
        ClusterStatus {
            id: self.id().to_owned(),
            version: snapshot.version,
            writer: snapshot.writer_host().map(|host| host.key.clone()),
            hosts: snapshot.hosts.len(),
            mode,
            sessions,
            last_error: self.last_error.lock().as_ref().map(|error| format!("{error:#}")),
            publications: counters.publications.load(Ordering::Relaxed),
            panics: counters.panics.load(Ordering::Relaxed),
            verify_requests,
            coalesced_requests: verify_requests.saturating_sub(counters.rounds.load(Ordering::Relaxed)),
            probes: counters.probes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    pub(super) fn mode(&self) -> Mode {
        self.life.lock().mode
    }

    pub(super) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    pub(super) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.counters.publications.fetch_add(1, Ordering::Relaxed);
        self.snapshots.send_replace(snapshot);
    }

    pub(super) fn asked(&self) -> Asked {
        *self.asked.lock()
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.life.lock().mode = mode;
    }

    /// Keeps an error for those whose time runs out, and for the status.
    pub(super) fn note(&self, error: Error) -> Arc<Error> {
        tracing::debug!(cluster = %self.seed.id, error = %format_args!("{error:#}"), "topology monitor");
        let error = Arc::new(error);
        *self.last_error.lock() = Some(Arc::clone(&error));
        error
    }

    pub(super) fn all_is_well(&self) {
        *self.last_error.lock() = None;
    }

    /// Everybody who waits now gets this error at once.
    pub(super) fn fail_waiters(&self, error: Arc<Error>) {
        self.failures.send_replace(Some(error));
    }

    /// When the monitor may stop if nobody uses the cluster until then.
    pub(super) fn idle_at(&self) -> Instant {
        let life = self.life.lock();
        life.last_use + if life.sessions == 0 { LINGER } else { IDLE }
    }

    /// Whether the monitor is to end; then it counts as stopped already.
    pub(super) fn stop_if_idle(&self) -> bool {
        let mut life = self.life.lock();
        let idle_at = life.last_use + if life.sessions == 0 { LINGER } else { IDLE };
        let idle = Instant::now() >= idle_at;
        if idle {
            life.mode = Mode::Stopped;
        }
        idle
    }

    /// Whether nobody could ever start the monitor again.
    pub(super) fn is_abandoned(&self) -> bool {
        let life = self.life.lock();
        life.mode == Mode::Stopped && life.sessions == 0 && self.contexts.is_empty()
    }

    fn ask(&self, verify: Verify, asked_at: Instant) -> Result<()> {
        {
            let mut asked = self.asked.lock();
            let newest = match verify {
                Verify::No => &mut asked.refresh,
                Verify::Writer => &mut asked.verify,
            };
            *newest = (*newest).max(Some(asked_at));
        }
        if verify == Verify::Writer {
            self.counters.verify_requests.fetch_add(1, Ordering::Relaxed);
            self.telemetry.add(&metrics::TOPOLOGY_VERIFY_COUNT, 1, &[key::CLUSTER.of(self.id())]);
        }
        if !self.ensure_running() {
            return Err(shut_down());
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Reading what is known counts as use; it wakes a monitor that has gone to sleep, but never waits.
    fn touch(&self) {
        let stopped = {
            let mut life = self.life.lock();
            life.last_use = Instant::now();
            life.mode == Mode::Stopped && life.sessions > 0
        };
        if stopped {
            self.ensure_running();
        }
    }

    /// Whether the monitor runs after this call.
    fn ensure_running(&self) -> bool {
        let (Some(cluster), Some(shared)) = (self.me.upgrade(), self.shared.upgrade()) else { return false };
        if shared.tasks.stop().is_cancelled() || tokio::runtime::Handle::try_current().is_err() {
            return false;
        }
        let mut life = self.life.lock();
        if life.mode == Mode::Stopped {
            life.mode = Mode::Regular;
            drop(life);
            let name = format!("topology {}", self.seed.id);
            let weak = Arc::downgrade(&shared);
            shared
                .tasks
                .supervise("topology", name, move || monitor::run(Arc::clone(&cluster), weak.clone()));
        }
        true
    }

    fn timed_out(&self, verify: Verify) -> Error {
        let what = match verify {
            Verify::No => "no answer from any host",
            Verify::Writer => "no host proved to be the writer",
        };
        let message = format!("cluster `{}`: {what} within the time given", self.seed.id);
        let error = Error::new(ErrorKind::Timeout(Phase::Topology), message);
        match &*self.last_error.lock() {
            Some(last) => error.with_source(told(last)),
            None => error,
        }
    }

    fn leave(&self) {
        let mut life = self.life.lock();
        life.sessions -= 1;
        life.last_use = Instant::now();
        drop(life);
        self.wake.notify_one();
    }
}

/// A logical connection's share in a cluster.
///
/// The monitor stops 60 s after the last one is dropped, or when nobody has asked for anything for 15 min.
#[derive(Debug)]
pub struct ClusterSession {
    cluster: Arc<Cluster>,
}

impl ClusterSession {
    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl Drop for ClusterSession {
    fn drop(&mut self) {
        self.cluster.leave();
    }
}

/// Whether `snapshot` answers a request made at `asked_at`.
pub(super) fn answers(snapshot: &Snapshot, verify: Verify, asked_at: Instant) -> bool {
    match verify {
        Verify::No => !snapshot.is_initial() && snapshot.read_started_at >= asked_at,
        Verify::Writer => {
            let proved = snapshot.last_verification.as_ref();
            proved.is_some_and(|proof| proof.verified_at >= asked_at)
                || (snapshot.source == SnapshotSource::StableReaders && snapshot.published_at >= asked_at)
        }
    }
}

pub(super) fn shut_down() -> Error {
    Error::new(ErrorKind::HostUnavailable, "the services of this cluster were shut down")
}

/// The monitor's error for one of many who wait for it.
fn told(error: &Arc<Error>) -> Error {
    let told = Error::new(error.kind(), "the topology could not be read").with_source(Arc::clone(error));
    let told = error.sqlstate().into_iter().fold(told, Error::with_sqlstate);
    error.vendor_code().into_iter().fold(told, Error::with_vendor_code)
}
