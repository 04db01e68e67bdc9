//! Throughput of 64 tasks: each on a connection of its own, and all on one where the driver allows that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::setting::{self, NAME, connector};
use crate::bench::stats::paired_ratio;
use crate::driver::{AnyError, Driver, Pg, Session, SharedSession};

const TASKS: usize = 64;
const WINDOW: Duration = Duration::from_millis(250);
const SQL: &str = "SELECT 1";

/// Each task has a connection: with these short queries the server's processes are the bound.
///
/// # Errors
/// Those of either client.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<D>().await?;
    let connector = connector::<D>(server, &[])?;
    let (mut wrapped, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..TASKS {
        wrapped.push(ready(D::wrapped(&connector).await?).await?);
        bare.push(ready(D::bare(NAME, server).await?).await?);
    }
    let mut rates = Rates::default();
    for number in 0..plan.windows {
        if number % 2 == 0 {
            rates.wrapped.push(window(&mut wrapped).await?);
            rates.bare.push(window(&mut bare).await?);
        } else {
            rates.bare.push(window(&mut bare).await?);
            rates.wrapped.push(window(&mut wrapped).await?);
        }
    }
    let mut findings = Findings::default();
    rates.report::<D>(&mut findings, "64 tasks, a connection each", "own", 0.98);
    findings.notes.push(format!(
        "{} windows of {} ms of each side in turn, prepared `{SQL}`, default plugins, two worker threads; client and server \
         share the processors.",
        plan.windows,
        WINDOW.as_millis()
    ));
    drop((wrapped, bare, connector));
    cluster.shutdown().await;
    Ok(findings)
}

/// All tasks on one connection: the client's own work is the bound.
///
/// # Errors
/// Those of either client.
pub async fn shared(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<Pg>().await?;
    let connector = connector::<Pg>(server, &[])?;
    let wrapped = Arc::new(ready(Pg::wrapped(&connector).await?).await?);
    let bare = Arc::new(ready(Pg::bare(NAME, server).await?).await?);
    let mut rates = Rates::default();
    for number in 0..plan.windows {
        if number % 2 == 0 {
            rates.wrapped.push(shared_window(&wrapped).await?);
            rates.bare.push(shared_window(&bare).await?);
        } else {
            rates.bare.push(shared_window(&bare).await?);
            rates.wrapped.push(shared_window(&wrapped).await?);
        }
    }
    let mut findings = Findings::default();
    rates.report::<Pg>(&mut findings, "64 tasks on one connection, pipelined", "shared", 0.93);
    drop((wrapped, bare, connector));
    cluster.shutdown().await;
    Ok(findings)
}

type Ready<S> = (S, <S as Session>::Statement);

async fn ready<S: Session>(mut session: S) -> Result<Ready<S>, AnyError> {
    let statement = session.prepare(SQL).await?;
    Ok((session, statement))
}

/// Calls a second over one window.
async fn window<S: Session>(sessions: &mut Vec<Ready<S>>) -> Result<f64, AnyError> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for (mut session, statement) in sessions.drain(..) {
        let stop = Arc::clone(&stop);
        tasks.spawn(async move {
            let mut calls = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                session.ask_prepared(&statement).await?;
                calls += 1;
            }
            Ok::<_, AnyError>(((session, statement), calls))
        });
    }
    sleep(WINDOW).await;
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0.0;
    while let Some(finished) = tasks.join_next().await {
        let (session, own) = finished??;
        sessions.push(session);
        calls += f64::from(own);
    }
    Ok(calls / started.elapsed().as_secs_f64())
}

async fn shared_window<S: SharedSession>(session: &Arc<Ready<S>>) -> Result<f64, AnyError> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for _ in 0..TASKS {
        let (stop, session) = (Arc::clone(&stop), Arc::clone(session));
        tasks.spawn(async move {
            let mut calls = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                session.0.ask_shared(&session.1).await?;
                calls += 1;
            }
            Ok::<_, AnyError>(calls)
        });
    }
    sleep(WINDOW).await;
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0.0;
    while let Some(finished) = tasks.join_next().await {
        calls += f64::from(finished??);
    }
    Ok(calls / started.elapsed().as_secs_f64())
}

#[derive(Default)]
struct Rates {
    wrapped: Vec<f64>,
    bare: Vec<f64>,
}

impl Rates {
    fn report<D: Driver>(self, findings: &mut Findings, name: &str, word: &str, least: f64) {
        let ratio = paired_ratio(&self.wrapped, &self.bare);
        let lanes =
            [(D::BARE, self.bare), (D::WRAPPED, self.wrapped)].map(|(label, side)| Series::new(label, side));
        let [bare, wrapped] = [&lanes[0], &lanes[1]].map(|lane| lane.samples.median());
        let row = Row::both(format!("{name}, throughput"), "calls/s", bare, wrapped);
        findings.rows.push(row.ratio(ratio).goal(Goal::RatioAtLeast(least)));
        let file = format!("{}-contended-{word}.svg", D::ENGINE);
        let title = format!("{name}: calls a second by window");
        findings.plots.push(Plot::new(file, title, "calls/s", lanes.into()));
    }
}
