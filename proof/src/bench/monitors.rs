//! How many connections of its own the wrapper has while a thousand clients are connected.

use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::services::Services;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bench::goal::Goal;
use crate::bench::report::{Findings, Row};
use crate::bench::setting;
use crate::driver::{AnyError, Driver, Session};
use crate::names::SimResolver;

const CLIENTS: usize = 1000;
/// How many connect at the same time.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);
/// The plugin `efm` opens its connection when a call has waited for the first of these.
const PARAMETERS: &[(&str, &str)] =
    &[("failure_detection_time_ms", "1000"), ("failure_detection_interval_ms", "1000")];

/// Asks the servers, while nothing hangs and while every client waits for an answer.
///
/// # Errors
/// Those of a client; when the monitor of a host does not connect in time.
pub async fn measure<D: Driver>() -> Result<Findings, AnyError> {
    let cluster = setting::roomy::<D>(3).await?;
    let services = Services::with_resolver(SimResolver::new([cluster.names()]));
    let connector = D::connector_with(&cluster.endpoint(), cluster.port(), services, PARAMETERS)?;
    let mut sessions = Vec::with_capacity(CLIENTS);
    while sessions.len() < CLIENTS {
        let opened = futures_util::future::try_join_all((0..AT_ONCE).map(|_| D::wrapped(&connector))).await?;
        sessions.extend(opened);
        sessions.truncate(CLIENTS);
    }
    let mut counters = Counters::<D>::new(&cluster).await?;
    let (idle_writer, idle_readers) = counters.settled().await?;

    let mut calls = JoinSet::new();
    for mut session in sessions {
        calls.spawn(async move { session.run(D::SLEEP).await.map(|()| session) });
    }
    let started = Instant::now();
    while !D::services(&connector).status().host_monitors.iter().any(|host| host.is_connected) {
        if started.elapsed() > PATIENCE {
            return Err("the host's monitor has no connection although its clients wait".into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    let (busy_writer, busy_readers) = counters.settled().await?;
    if calls.try_join_next().is_some() {
        return Err("a call has ended before its time".into());
    }
    calls.shutdown().await;
    drop(connector);
    cluster.shutdown().await;

    let row = |name: &str, count: f64, most: f64| {
        let name = format!("{name}, {CLIENTS} clients of the writer");
        Row::both(name, "connections", 0.0, count).goal(Goal::AtMost(most))
    };
    let rows = vec![
        row("the wrapper's own on the writer, nothing hangs (topology <= 1, efm 0)", idle_writer, 1.0),
        row("the wrapper's own on the writer, every call waits (topology <= 1, efm <= 1)", busy_writer, 2.0),
        row("the wrapper's own on both readers, nothing hangs", idle_readers, 0.0),
        row("the wrapper's own on both readers, every call waits on the writer", busy_readers, 0.0),
    ];
    let note =
        "Counted by the servers themselves, less the clients and the connection that asks; one process."
            .to_owned();
    Ok(Findings { rows, notes: vec![note], ..Findings::default() })
}

/// A bare connection to each server that asks how many there are.
struct Counters<D: Driver> {
    writer: D::Bare,
    readers: Vec<D::Bare>,
}

impl<D: Driver> Counters<D> {
    async fn new(cluster: &Cluster) -> Result<Self, AnyError> {
        let open = async |instance: &str| D::bare(setting::NAME, cluster.direct_address(instance)).await;
        let mut readers = Vec::new();
        for reader in cluster.readers() {
            readers.push(open(&reader).await?);
        }
        Ok(Self { writer: open(&cluster.writer()).await?, readers })
    }

    /// The wrapper's own connections to the writer and to the readers, once two counts in a row agree.
    async fn settled(&mut self) -> Result<(f64, f64), AnyError> {
        let started = Instant::now();
        let mut before = self.count().await?;
        loop {
            sleep(Duration::from_millis(500)).await;
            let now = self.count().await?;
            if now == before {
                #[expect(clippy::cast_precision_loss, reason = "thousands at most")]
                return Ok((now.0 as f64, now.1 as f64));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("the number of connections does not settle: {before:?}, {now:?}").into());
            }
            before = now;
        }
    }

    async fn count(&mut self) -> Result<(i64, i64), AnyError> {
        let clients = i64::try_from(CLIENTS)?;
        let writer = D::number(&mut self.writer, D::CONNECTIONS).await? - clients - 1;
        let mut readers = 0;
        for reader in &mut self.readers {
            readers += D::number(reader, D::CONNECTIONS).await? - 1;
        }
        if writer < 0 || readers < 0 {
            return Err("a server does not tell all of its connections".into());
        }
        Ok((writer, readers))
    }
}
