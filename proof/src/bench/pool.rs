//! A pool of 500 after a failover: when its first and when all of its connections are usable, against reopening as many
//! with the bare driver.

use std::time::Duration;

use aurora_sim::{Cluster, FailoverOptions};
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::Pool;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::reopen::{AT_ONCE, FirstUse, reopened};
use crate::bench::report::{Findings, Row};
use crate::bench::setting;
use crate::bench::stats::{Sorted, paired_ratio};
use crate::driver::{AnyError, Driver, Session};
use crate::names::SimResolver;

const CONNECTIONS: usize = 500;
const PROMOTE_AFTER: Duration = Duration::from_millis(500);
/// The connections were not used for so long when the writer dies.
const IDLE: Duration = Duration::from_secs(1);
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
            bare.push(reopened::<D>(&cluster, CONNECTIONS, PROMOTE_AFTER, FirstUse::Select).await?);
        } else {
            bare.push(reopened::<D>(&cluster, CONNECTIONS, PROMOTE_AFTER, FirstUse::Select).await?);
            ours.push(pooled::<D>(&cluster).await?);
        }
        cluster.shutdown().await;
    }
    let all = ours.iter().map(Round::all).collect::<Vec<_>>();
    let reopening = bare.iter().map(Sorted::max).collect::<Vec<_>>();
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
        "aws-wrapper-deadpool with 500 idle connections; the writer is killed; half way to the promotion of a reader, which \
         is {} ms after the crash, 500 tasks ask for one at once and run `SELECT 1` on it. The bare side opens 500 connections to the new writer, \
         whose address it is told, {AT_ONCE} at a time and runs `SELECT 1` on each, from the moment after another \
         failover. {} round(s), the sides in turn; the old writer stays down.",
        PROMOTE_AFTER.as_millis(),
        plan.crowded_failovers
    )];
    if let Some(error) = ours.iter().flat_map(|round| &round.errors).next() {
        notes.push(format!("The first of the errors: {error}."));
    }
    let every = |rounds: &mut dyn Iterator<Item = &Sorted>| {
        rounds.flat_map(|round| round.samples().iter().copied()).collect::<Vec<_>>()
    };
    let lanes = vec![
        Series::new("reopened, bare", every(&mut bare.iter())),
        Series::new("pool", every(&mut ours.iter().map(|round| &round.usable_ms))),
    ];
    let file = format!("{}-pool.svg", D::ENGINE);
    let title = "500 connections after a failover: when each was usable";
    Ok(Findings { rows, notes, plots: vec![Plot::new(file, title, "ms", lanes)] })
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
    sleep(IDLE).await;

    let failover =
        cluster.failover(FailoverOptions::default().promote_after(PROMOTE_AFTER).restart_old(false));
    let tasks = async {
        sleep(PROMOTE_AFTER / 2).await;
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
