//! Opening a connection: with everything known, and for the first time in a process.

use tokio::task::yield_now;
use tokio::time::Instant;

use crate::bench::calls::thread_cpu_us;
use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::relay::Relay;
use crate::bench::report::{Findings, Row};
use crate::bench::setting::{self, NAME, connector};
use crate::bench::stats::{Sorted, paired_ratio};
use crate::bench::{Side, children};
use crate::driver::{AnyError, Driver, Session};

/// Both, and the round trips of the first.
///
/// # Errors
/// Those of either client. Must run on a current-thread runtime.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<D>().await?;
    let mut findings = Findings::default();
    warm::<D>(&mut findings, server, plan.connects).await?;
    round_trips::<D>(&mut findings, server).await?;
    first::<D>(&mut findings, server, plan.processes).await?;
    cluster.shutdown().await;
    Ok(findings)
}

/// Wall and processor time of one connect in ms and us.
async fn one<S>(open: impl Future<Output = Result<S, AnyError>>) -> Result<(f64, f64), AnyError> {
    let (started, cpu) = (Instant::now(), thread_cpu_us());
    let session = open.await?;
    let cost = (started.elapsed().as_secs_f64() * 1e3, thread_cpu_us() - cpu);
    drop(session);
    // What closing takes belongs to nobody.
    for _ in 0..4 {
        yield_now().await;
    }
    Ok(cost)
}

async fn warm<D: Driver>(
    findings: &mut Findings,
    server: std::net::SocketAddr,
    connects: usize,
) -> Result<(), AnyError> {
    let connector = connector::<D>(server, &[])?;
    let mut kept = D::wrapped(&connector).await?;
    kept.ask("SELECT 1").await?;
    let (mut wrapped, mut bare) = (Vec::new(), Vec::new());
    for number in 0..connects {
        if number % 2 == 0 {
            wrapped.push(one(D::wrapped(&connector)).await?);
            bare.push(one(D::bare(NAME, server)).await?);
        } else {
            bare.push(one(D::bare(NAME, server)).await?);
            wrapped.push(one(D::wrapped(&connector)).await?);
        }
    }
    let column =
        |side: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| side.iter().map(pick).collect::<Vec<f64>>();
    let [wall, bare_wall] = [&wrapped, &bare].map(|side| column(side, |cost| cost.0));
    let [cpu, bare_cpu] = [&wrapped, &bare].map(|side| column(side, |cost| cost.1));
    let middle = |side: &[f64]| Sorted::new(side.iter().copied()).median();
    findings.rows.push(
        Row::both("warm connect, wall", "ms", middle(&bare_wall), middle(&wall))
            .ratio(paired_ratio(&wall, &bare_wall))
            .goal(Goal::RatioAtMost(1.02)),
    );
    findings.rows.push(
        Row::both("warm connect, client CPU", "us", middle(&bare_cpu), middle(&cpu))
            .goal(Goal::AddsAtMost(50.0)),
    );
    findings.notes.push(
        "Warm: another connection of the same connector is open, so the topology is known. Default plugins, password, no \
         encryption. A connect with an IAM token is not measured: this version has no such plugin."
            .to_owned(),
    );
    let lanes = [(D::BARE, bare_wall), (D::WRAPPED, wall)].map(|(label, side)| Series::new(label, side));
    let file = format!("{}-connect-warm.svg", D::ENGINE);
    findings.plots.push(Plot::new(file, "Warm connect, wall", "ms", lanes.into()));
    Ok(())
}

async fn round_trips<D: Driver>(
    findings: &mut Findings,
    server: std::net::SocketAddr,
) -> Result<(), AnyError> {
    let relay = Relay::to(server).await?;
    let before = relay.round_trips();
    let bare_one = D::bare(NAME, relay.address()).await?;
    let bare = relay.round_trips() - before;
    drop(bare_one);
    let connector = connector::<D>(relay.address(), &[])?;
    let kept = D::wrapped(&connector).await?;
    // The monitor's own questions pass here too: of several connects the one counts that none of them fell into.
    let mut least = usize::MAX;
    for _ in 0..10 {
        let before = relay.round_trips();
        let session = D::wrapped(&connector).await?;
        least = least.min(relay.round_trips() - before);
        drop(session);
    }
    drop(kept);
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let row = Row::both("warm connect, round trips", "round trips", bare as f64, least as f64);
    findings.rows.push(row.goal(Goal::AddsAtMost(0.0)));
    if least > bare {
        findings.notes.push(
            "The wrapper's further round trip on a warm connect is the question to which instance, and to which role, the \
             cluster's name has led: the server does not say so at start-up."
                .to_owned(),
        );
    }
    Ok(())
}

async fn first<D: Driver>(
    findings: &mut Findings,
    server: std::net::SocketAddr,
    processes: usize,
) -> Result<(), AnyError> {
    let (engine, address) = (D::ENGINE.to_string(), server.to_string());
    let connect = async |side: Side| -> Result<f64, AnyError> {
        let text = children::run(&["connect-child", &engine, side.word(), &address]).await?;
        Ok(text.trim().parse()?)
    };
    let (mut wrapped, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..processes {
        bare.push(connect(Side::Bare).await?);
        wrapped.push(connect(Side::Wrapped).await?);
    }
    let round_trip = round_trip::<D>(server).await?;
    let most = 1.0 + 2.0 * round_trip;
    let lanes = [(D::BARE, bare), (D::WRAPPED, wrapped)].map(|(label, side)| Series::new(label, side));
    let [bare, wrapped] = [&lanes[0], &lanes[1]].map(|lane| lane.samples.median());
    let goal = Goal::AddsAtMost((most * 1e3).round() / 1e3);
    findings.rows.push(Row::both("first connect in a process, wall", "ms", bare, wrapped).goal(goal));
    findings.notes.push(format!(
        "First connect: {processes} processes of each side in turn, medians; the goal is two round trips ({round_trip:.3} \
         ms each here: the median of `SELECT 1`) and 1 ms. What the process loads and makes once is part of it on both \
         sides."
    ));
    let file = format!("{}-connect-first.svg", D::ENGINE);
    findings.plots.push(Plot::new(file, "First connect in a process, wall", "ms", lanes.into()));
    Ok(())
}

/// In ms.
async fn round_trip<D: Driver>(server: std::net::SocketAddr) -> Result<f64, AnyError> {
    let mut session = D::bare(NAME, server).await?;
    let statement = session.prepare("SELECT 1").await?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        session.ask_prepared(&statement).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Sorted::new(times).median())
}
