//! The demo: the same work through the wrapper and through the bare driver, while the writer dies.

pub mod report;
pub mod timeline;
pub mod workload;

use std::time::Duration;

use aurora_sim::{Cluster, FailoverOptions};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::demo::report::{Figures, Round, Search};
use crate::demo::workload::{Bare, Log, Worker, Wrapped};
use crate::driver::{AnyError, Driver};

/// What a run of the demo is asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How often the writer is killed, each time on a fresh cluster.
    pub rounds: u32,
    /// Connections of each kind.
    pub connections: u32,
    /// Whether there are bare connections too. Those of a crowd take the processors from the wrapped ones: each tries to
    /// connect anew every 10 ms.
    pub with_bare: bool,
    /// From the crash to the promotion of a reader.
    pub promote_after: Duration,
    /// From the promotion until the cluster's name leads to the new writer.
    pub dns_lag: Duration,
}

impl Options {
    /// So many connections of each kind, and how long the cluster's name lags behind.
    pub fn new(connections: u32, dns_lag: Duration) -> Self {
        Self { connections, dns_lag, ..Self::default() }
    }

    /// The wrapper alone.
    #[must_use]
    pub fn without_bare(self) -> Self {
        Self { with_bare: false, ..self }
    }

    fn bare_connections(&self) -> u32 {
        if self.with_bare { self.connections } else { 0 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 1,
            connections: 1,
            with_bare: true,
            promote_after: Duration::from_secs(1),
            dns_lag: Duration::from_secs(20),
        }
    }
}

/// How long the workloads run before the crash and after the last of them works again.
const STEADY: Duration = Duration::from_secs(1);
/// A client that has not recovered this long after the change of DNS never will.
const PATIENCE: Duration = Duration::from_secs(15);

/// One round as it happened; times are offsets from the crash.
#[derive(Debug)]
#[non_exhaustive]
pub struct Incident {
    /// What the servers are called.
    pub server: &'static str,
    /// The adapter and the bare driver.
    pub clients: [&'static str; 2],
    /// When the clock of the offsets stood at zero: the crash.
    pub crash: Instant,
    /// The first moment at which the new writer accepted a write.
    pub writable: Instant,
    /// When the cluster's name led to the new writer.
    pub dns_changed: Instant,
    /// What each wrapped connection saw.
    pub wrapper: Vec<Log>,
    /// What each bare connection saw.
    pub bare: Vec<Log>,
    /// The figures.
    pub round: Round,
}

/// Runs one round on a fresh cluster of three.
///
/// # Errors
/// Whatever stops the cluster or the set-up; never an error of a workload, which is what is measured.
pub async fn run_round<D: Driver>(options: &Options) -> Result<Incident, AnyError> {
    let cluster = Cluster::builder().engine(D::ENGINE).instances(3).dns_lag(options.dns_lag).start().await?;
    workload::create_tables::<D>(&cluster).await?;
    let (stop, stopped) = watch::channel(false);

    let connector = workload::connector::<D>(&cluster)?;
    let mut wrapped = Vec::new();
    let mut bare = Vec::new();
    for number in 0..options.connections {
        let client = Wrapped::<D>::open(&connector, number).await?;
        wrapped.push(Worker::start(client, options.connections, stopped.clone()));
    }
    for number in 0..options.bare_connections() {
        let client = Bare::<D>::open(&cluster, number).await?;
        bare.push(Worker::start(client, options.connections, stopped.clone()));
    }
    sleep(STEADY).await;

    let before = Search::so_far(D::services(&connector));
    let failover = cluster
        .failover(FailoverOptions::default().promote_after(options.promote_after).restart_old(true))
        .await?;
    let all = || wrapped.iter().map(Worker::progress).chain(bare.iter().map(Worker::progress));
    let patience = options.dns_lag + PATIENCE;
    let recovered = async {
        for mut progress in all() {
            let after = failover.writable_at;
            let _ = progress.wait_for(|last| last.is_some_and(|last| last > after)).await;
        }
    };
    if timeout(patience, recovered).await.is_err() {
        let late = |workers: &[Worker]| {
            let is_late =
                |worker: &&Worker| worker.progress().borrow().is_none_or(|last| last <= failover.writable_at);
            workers.iter().filter(is_late).count()
        };
        let (ours, theirs) = (late(&wrapped), late(&bare));
        return Err(format!(
            "{ours} wrapped and {theirs} bare connections had not recovered after {patience:?}"
        )
        .into());
    }
    sleep(STEADY).await;
    let _ = stop.send(true);
    let (mut wrapper_logs, mut bare_logs) = (Vec::new(), Vec::new());
    for worker in wrapped {
        wrapper_logs.push(worker.finish().await?);
    }
    for worker in bare {
        bare_logs.push(worker.finish().await?);
    }
    let round = Round {
        search: Search::so_far(D::services(&connector)).since(&before),
        wrapper: Figures::of(
            &wrapper_logs,
            &workload::rows::<D>(&cluster, workload::WRAPPED_TABLE).await?,
            &failover,
        ),
        bare: Figures::of(&bare_logs, &workload::rows::<D>(&cluster, workload::BARE_TABLE).await?, &failover),
    };
    drop(connector);
    cluster.shutdown().await;
    Ok(Incident {
        server: D::SERVER,
        clients: [D::WRAPPED, D::BARE],
        crash: failover.killed_at,
        writable: failover.writable_at,
        dns_changed: failover.dns_changed_at,
        wrapper: wrapper_logs,
        bare: bare_logs,
        round,
    })
}
