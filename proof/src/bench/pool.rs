//! A pool of 500 after a failover: when its first and when all of its connections are usable, against reopening as many
//! with the bare driver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aurora_sim::{Cluster, FailoverOptions};
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::Pool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::setting;
use crate::bench::stats::{Sorted, paired_ratio};
use crate::driver::{AnyError, Driver, Session};
use crate::names::SimResolver;

const CONNECTIONS: usize = 500;
/// How many the bare side opens at the same time: the rate does not grow beyond it.
const AT_ONCE: usize = 16;
const PROMOTE_AFTER: Duration = Duration::from_millis(500);
/// For what was closed to be noticed by this side's tasks.
const ARRIVAL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);

/// Each round on a fresh cluster of three: one failover for either side.
///
/// # Errors
/// Whatever stops the cluster or the set-up, or a pool that does not recover.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for number in 0..plan.crowded_failovers {
        let cluster = setting::roomy::<D>(3).await?;
        if number % 2 == 0 {
            ours.push(pooled::<D>(&cluster).await?);
            bare.push(reopened::<D>(&cluster).await?);
        } else {
            bare.push(reopened::<D>(&cluster).await?);
            ours.push(pooled::<D>(&cluster).await?);
        }
        cluster.shutdown().await;
    }
    let all = ours.iter().map(Round::all).collect::<Vec<_>>();
    let reopening = bare.iter().map(Round::all).collect::<Vec<_>>();
    let middle = |values: &[f64]| Sorted::new(values.iter().copied()).median();
    let first = Sorted::new(ours.iter().map(|round| round.usable_ms.min()));
    #[expect(clippy::cast_precision_loss, reason = "hundreds at most")]
    let errors = ours.iter().map(|round| round.errors.len()).sum::<usize>() as f64;
    let rows = vec![
        Row::both("pool of 500 idle ones, all usable after writable", "ms", middle(&reopening), middle(&all))
            .ratio(paired_ratio(&all, &reopening))
            .goal(Goal::RatioAtMost(1.15)),
        Row::of("pool of 500 idle ones, first usable after writable, worst round", "ms", first.max())
            .goal(Goal::AtMost(30.0)),
        Row::of("pool of 500 idle ones, errors the application sees, all rounds", "errors", errors)
            .goal(Goal::Exactly(0.0)),
    ];
    let mut notes = vec![format!(
        "aws-wrapper-deadpool with 500 idle connections; the writer is killed; when its connections have ended 500 tasks ask \
         for one at once and run `SELECT 1` on it; a reader is promoted {} ms later. The bare side opens 500 connections to the new writer, \
         whose address it is told, {AT_ONCE} at a time and runs `SELECT 1` on each, from the moment after another \
         failover. {} round(s), the sides in turn; the old writer stays down.",
        PROMOTE_AFTER.as_millis(),
        plan.crowded_failovers
    )];
    if let Some(error) = ours.iter().flat_map(|round| &round.errors).next() {
        notes.push(format!("The first of the errors: {error}."));
    }
    let lanes = [("reopened, bare", &bare), ("pool", &ours)].map(|(label, rounds)| {
        Series::new(label, rounds.iter().flat_map(|round| round.usable_ms.samples().iter().copied()))
    });
    let file = format!("{}-pool.svg", D::ENGINE);
    let title = "500 connections after a failover: when each was usable";
    Ok(Findings { rows, notes, plots: vec![Plot::new(file, title, "ms", lanes.into())] })
}

struct Round {
    usable_ms: Sorted,
    errors: Vec<String>,
}

impl Round {
    fn all(&self) -> f64 {
        self.usable_ms.max()
    }
}

async fn pooled<D: Driver>(cluster: &Cluster) -> Result<Round, AnyError> {
    let services = Services::with_resolver(SimResolver::new([cluster.names()]));
    let connector = D::connector_with(&cluster.endpoint(), cluster.port(), services, &[])?;
    let pool = Pool::<D::Adapter>::builder(connector).max_size(CONNECTIONS).wait_timeout(PATIENCE).build()?;
    drop(checked_out::<D>(&pool).await?);

    let failover =
        cluster.failover(FailoverOptions::default().promote_after(PROMOTE_AFTER).restart_old(false));
    let writer = cluster.writer();
    // The tasks begin when the ends of the idle connections have reached this side. Before that one that is handed out
    // has an error as one in use has. Attempts to connect count here too, so this does not wait for ever.
    let tasks = async {
        let latest = Instant::now() + PROMOTE_AFTER / 2;
        while cluster.proxy_connections(&writer) > 0 && Instant::now() < latest {
            sleep(Duration::from_millis(2)).await;
        }
        sleep(ARRIVAL).await;
        timeout(PATIENCE, checked_out::<D>(&pool)).await?
    };
    let (report, taken) = tokio::join!(failover, tasks);
    let (report, taken) = (report?, taken?);
    let since = |at: &Instant| at.saturating_duration_since(report.writable_at).as_secs_f64() * 1e3;
    let round = Round {
        usable_ms: Sorted::new(taken.iter().map(|taken| since(&taken.at))),
        errors: taken.iter().flat_map(|taken| taken.errors.iter().cloned()).collect(),
    };
    drop(taken);
    pool.close();
    drop(pool);
    Ok(round)
}

struct Taken<D: Driver> {
    at: Instant,
    errors: Vec<String>,
    _connection: aws_wrapper_deadpool::Object<D::Adapter>,
}

/// Has 500 tasks take a connection each, use it, and hold it until all have one.
async fn checked_out<D: Driver>(pool: &Pool<D::Adapter>) -> Result<Vec<Taken<D>>, AnyError> {
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut errors = Vec::new();
            loop {
                let used = async {
                    let mut connection = pool.writer().await?;
                    connection.ask("SELECT 1").await?;
                    Ok::<_, AnyError>(connection)
                };
                match used.await {
                    Ok(connection) => return Taken { at: Instant::now(), errors, _connection: connection },
                    Err(error) => {
                        errors.push(error.to_string());
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        });
    }
    let mut taken = Vec::with_capacity(CONNECTIONS);
    while let Some(finished) = tasks.join_next().await {
        taken.push(finished?);
    }
    Ok(taken)
}

async fn reopened<D: Driver>(cluster: &Cluster) -> Result<Round, AnyError> {
    let report =
        cluster.failover(FailoverOptions::default().promote_after(PROMOTE_AFTER).restart_old(false)).await?;
    let host = cluster.instance_endpoint(&report.new_writer);
    let address = cluster.names().lookup(&host).into_iter().next().ok_or("the name does not resolve")?;
    let address = SocketAddr::new(address, cluster.port());
    let started = Instant::now();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let permit = permits.acquire().await?;
            let mut session = D::bare(setting::NAME, address).await?;
            session.ask("SELECT 1").await?;
            drop(permit);
            Ok::<_, AnyError>((Instant::now(), session))
        });
    }
    let mut open = Vec::with_capacity(CONNECTIONS);
    while let Some(finished) = tasks.join_next().await {
        open.push(finished??);
    }
    let usable_ms = Sorted::new(open.iter().map(|(at, _)| (*at - started).as_secs_f64() * 1e3));
    Ok(Round { usable_ms, errors: Vec::new() })
}
