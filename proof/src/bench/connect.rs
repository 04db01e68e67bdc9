//! Opening a connection: with everything known, and for the first time in a process.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use aurora_sim::Engine;
use aws_wrapper_core::dialect::detect::Detection;
use aws_wrapper_core::dialect::{TopologyDialect, aurora};
use aws_wrapper_core::engine;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::bench::calls::thread_cpu_us;
use crate::bench::children;
use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::relay::Relay;
use crate::bench::report::{Findings, Row};
use crate::bench::setting::{self, NAME, connector_to};
use crate::bench::stats::{Sorted, paired_ratio};
use crate::driver::{AnyError, Driver, Session};

/// Warm ones, their round trips, and the first one.
///
/// # Errors
/// Those of either client. Must run on a current-thread runtime.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<D>().await?;
    let mut findings = Findings::default();
    for target in &[Target::instance(), Target::cluster::<D>()] {
        warm::<D>(&mut findings, target, server, plan.connects).await?;
        round_trips::<D>(&mut findings, target, server).await?;
    }
    findings.notes.push(
        "Warm: another connection of the same connector is open, so the topology is known. Default plugins, password, no \
         encryption. The name of an instance promises no role, so there is nothing to ask; the name of a cluster promises \
         the writer, and a server that does not tell its role while connecting has to be asked: one round trip more, \
         which the bare side makes by hand there, with the same question. A connect with an IAM token is not measured: \
         this version has no such plugin."
            .to_owned(),
    );
    first::<D>(&mut findings, server, plan.processes).await?;
    cluster.shutdown().await;
    Ok(findings)
}

/// Where a warm connect goes, and what has to be asked there.
struct Target {
    word: &'static str,
    host: &'static str,
    /// Sent by the bare side too.
    question: Option<&'static str>,
    /// How many the wrapper may add to the bare driver alone.
    round_trips: f64,
}

impl Target {
    fn instance() -> Self {
        let host = "instance-1.xyz.us-east-2.rds.amazonaws.com";
        Self { word: "an instance", host, question: None, round_trips: 0.0 }
    }

    fn cluster<D: Driver>() -> Self {
        let question = Some(product::<D>().0.whoami_sql());
        Self { word: "the cluster", host: NAME, question, round_trips: 1.0 }
    }

    async fn bare<D: Driver>(&self, server: SocketAddr) -> Result<D::Bare, AnyError> {
        let mut session = D::bare(self.host, server).await?;
        if let Some(question) = self.question {
            session.run(question).await?;
        }
        Ok(session)
    }
}

/// What the simulator's servers are.
fn product<D: Driver>() -> (&'static aurora::Aurora, engine::Engine) {
    match D::ENGINE {
        Engine::MySql => (&aurora::MYSQL, engine::Engine::MySql),
        _ => (&aurora::POSTGRES, engine::Engine::Postgres),
    }
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
    target: &Target,
    server: SocketAddr,
    connects: usize,
) -> Result<(), AnyError> {
    let connector = connector_to::<D>(target.host, server, &[])?;
    let mut kept = D::wrapped(&connector).await?;
    kept.ask("SELECT 1").await?;
    let (mut wrapped, mut bare) = (Vec::new(), Vec::new());
    for number in 0..connects {
        if number % 2 == 0 {
            wrapped.push(one(D::wrapped(&connector)).await?);
            bare.push(one(target.bare::<D>(server)).await?);
        } else {
            bare.push(one(target.bare::<D>(server)).await?);
            wrapped.push(one(D::wrapped(&connector)).await?);
        }
    }
    let column =
        |side: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| side.iter().map(pick).collect::<Vec<f64>>();
    let [wall, bare_wall] = [&wrapped, &bare].map(|side| column(side, |cost| cost.0));
    let [cpu, bare_cpu] = [&wrapped, &bare].map(|side| column(side, |cost| cost.1));
    let middle = |side: &[f64]| Sorted::new(side.iter().copied()).median();
    let name = format!("warm connect to {}", target.word);
    findings.rows.push(
        Row::both(format!("{name}, wall"), "ms", middle(&bare_wall), middle(&wall))
            .ratio(paired_ratio(&wall, &bare_wall))
            .goal(Goal::RatioAtMost(1.02)),
    );
    findings.rows.push(
        Row::both(format!("{name}, client CPU"), "us", middle(&bare_cpu), middle(&cpu))
            .goal(Goal::AddsAtMost(50.0)),
    );
    let lanes = [(D::BARE, bare_wall), (D::WRAPPED, wall)].map(|(label, side)| Series::new(label, side));
    let file = format!("{}-connect-warm-{}.svg", D::ENGINE, target.word.replace(' ', "-"));
    findings.plots.push(Plot::new(
        file,
        format!("Warm connect to {}, wall", target.word),
        "ms",
        lanes.into(),
    ));
    Ok(())
}

async fn round_trips<D: Driver>(
    findings: &mut Findings,
    target: &Target,
    server: SocketAddr,
) -> Result<(), AnyError> {
    let relay = Relay::to(server).await?;
    let before = relay.round_trips();
    let bare_one = D::bare(target.host, relay.address()).await?;
    let bare = relay.round_trips() - before;
    drop(bare_one);
    let connector = connector_to::<D>(target.host, relay.address(), &[])?;
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
    let name = format!("warm connect to {}, round trips", target.word);
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let row = Row::both(name, "round trips", bare as f64, least as f64);
    findings.rows.push(row.goal(Goal::AddsAtMost(target.round_trips)));
    Ok(())
}

/// Who connects for the first time in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newcomer {
    Bare,
    /// The bare driver, which asks by hand what the wrapper asks.
    Asking,
    Wrapped,
}

impl Newcomer {
    const ALL: [Self; 3] = [Self::Bare, Self::Asking, Self::Wrapped];

    fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Asking => "asking",
            Self::Wrapped => "wrapped",
        }
    }
}

impl FromStr for Newcomer {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|who| who.word() == word).ok_or_else(|| format!("`{word}` cannot connect"))
    }
}

/// One first connect in this process, by `who`. Everything that must be made before it is part of it.
///
/// # Errors
/// Those of the client.
pub async fn first_in_process<D: Driver>(who: &str, server: SocketAddr) -> Result<Duration, AnyError> {
    let who = who.parse::<Newcomer>()?;
    let started = Instant::now();
    if who == Newcomer::Wrapped {
        let connector = setting::connector::<D>(server, &[])?;
        let session = D::wrapped(&connector).await?;
        let elapsed = started.elapsed();
        drop(session);
        return Ok(elapsed);
    }
    let mut session = D::bare(NAME, server).await?;
    if who == Newcomer::Asking {
        let (dialect, asked) = product::<D>();
        let facts = Detection::start(asked, dialect).question().ok_or("nothing is asked")?;
        session.run(facts).await?;
        session.run(dialect.probe_sql()).await?;
    }
    let elapsed = started.elapsed();
    drop(session);
    Ok(elapsed)
}

async fn first<D: Driver>(
    findings: &mut Findings,
    server: SocketAddr,
    processes: usize,
) -> Result<(), AnyError> {
    let (engine, address) = (D::ENGINE.to_string(), server.to_string());
    let mut times = Newcomer::ALL.map(|_| Vec::new());
    for _ in 0..processes {
        for (who, times) in Newcomer::ALL.into_iter().zip(&mut times) {
            let text = children::run(&["connect-child", &engine, who.word(), &address]).await?;
            times.push(text.trim().parse::<f64>()?);
        }
    }
    let round_trip = round_trip::<D>(server).await?;
    let most = 1.0 + 2.0 * round_trip;
    let [bare, asking, wrapped] = times;
    let asked = format!("{}, asking too", D::BARE);
    let lanes = [(D::BARE, bare), (&*asked, asking), (D::WRAPPED, wrapped)]
        .map(|(label, side)| Series::new(label, side));
    let [bare, asking, wrapped] = [&lanes[0], &lanes[1], &lanes[2]].map(|lane| lane.samples.median());
    let goal = Goal::AddsAtMost((most * 1e3).round() / 1e3);
    findings.rows.push(Row::both("first connect in a process, wall", "ms", bare, wrapped).goal(goal));
    let name = "first connect in a process, wall, the bare side asking the same by hand";
    findings.rows.push(Row::both(name, "ms", asking, wrapped).goal(Goal::AddsAtMost(1.0)));
    findings.notes.push(format!(
        "First connect: {processes} processes of each side in turn, medians; the goal is two round trips ({round_trip:.3} \
         ms each here: the median of `SELECT 1`) and 1 ms. What the process loads and makes once is part of it on both \
         sides. The second row takes out what the server needs to answer the two questions in a new session, by which the \
         product and the topology are known."
    ));
    let file = format!("{}-connect-first.svg", D::ENGINE);
    findings.plots.push(Plot::new(file, "First connect in a process, wall", "ms", lanes.into()));
    Ok(())
}

/// In ms.
async fn round_trip<D: Driver>(server: SocketAddr) -> Result<f64, AnyError> {
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
