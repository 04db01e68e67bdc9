//! The outage a client sees when the writer dies, beyond the moment at which the new writer takes writes.

use std::time::Duration;

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::reopen::{AT_ONCE, FirstUse, reopened};
use crate::bench::report::{Findings, Row};
use crate::bench::setting;
use crate::bench::stats::{Sorted, paired_ratio};
use crate::demo::report::Figures;
use crate::demo::workload::{self, Log};
use crate::demo::{Incident, Options, run_round};
use crate::driver::{AnyError, Driver};

/// Short, so that a run is: the bare side waits for it, the wrapper does not.
const DNS_LAG: Duration = Duration::from_secs(3);

/// Connections of the crowd.
const CROWD: u32 = 200;
/// From the crash to the promotion in the bare side's round of a crowd: as in the other rounds.
const PROMOTE_AFTER: Duration = Duration::from_secs(1);

/// With one connection and with a crowd. A round that cannot be measured is a note.
pub async fn measure<D: Driver>(plan: &Plan) -> Findings {
    let mut findings = Findings::default();
    alone::<D>(&mut findings, plan.failovers).await;
    crowd::<D>(&mut findings, plan.crowded_failovers).await;
    findings.notes.push(format!(
        "As in `cargo xtask demo`: the writer is killed under a write every 2 ms (over all connections of a kind), a reader \
         is promoted one second later, the cluster's name follows another {} s later. Time from the moment the new writer \
         takes writes to the first acknowledged write of a connection. With one connection ({} rounds) the bare side \
         reconnects by name every 10 ms, so what it waits for is DNS: no ratio is judged. With {CROWD} ({} rounds) the bare \
         side has failovers of its own, and opens {CROWD} connections to the new writer, whose address it is told, \
         {AT_ONCE} at a time, and writes a row on each: nobody can be faster on this machine.",
        DNS_LAG.as_secs(),
        plan.failovers,
        plan.crowded_failovers
    ));
    findings
}

/// One connection of each kind, in the same incidents.
async fn alone<D: Driver>(findings: &mut Findings, rounds: usize) {
    let (mut wrapper, mut bare) = (Side::default(), Side::default());
    for number in 1..=rounds {
        match run_round::<D>(&Options::new(1, DNS_LAG)).await {
            Ok(incident) => {
                wrapper.add(&incident, &incident.wrapper, &incident.round.wrapper);
                bare.add(&incident, &incident.bare, &incident.round.bare);
            }
            Err(error) => findings.notes.push(missing(number, 1, &*error)),
        }
    }
    if wrapper.over.is_empty() {
        return;
    }
    let (ours, theirs) = (Sorted::new(wrapper.over), Sorted::new(bare.over));
    let (errors, their_errors) = (Sorted::new(wrapper.errors), Sorted::new(bare.errors));
    let name = |what: &str| format!("{what}, 1 connection");
    findings.rows.extend([
        Row::both(name("outage over writable, median"), "ms", theirs.median(), ours.median()).goal(MEDIAN),
        Row::both(name("outage over writable, max"), "ms", theirs.max(), ours.max()).goal(MAX),
        Row::both(name("errors a connection, fewest"), "errors", their_errors.min(), errors.min()).goal(ONE),
        Row::both(name("errors a connection, most"), "errors", their_errors.max(), errors.max()).goal(ONE),
        Row::both(name("acknowledged rows lost or doubled"), "rows", bare.wrong, wrapper.wrong).goal(NONE),
    ]);
    findings.plots.push(plot::<D>("1", name("Outage over writable"), vec![Series::of(D::WRAPPED, ours)]));
}

/// The crowd without bare neighbours, against the bare driver opening as many.
async fn crowd<D: Driver>(findings: &mut Findings, rounds: usize) {
    let (mut wrapper, mut reopening) = (Side::default(), Vec::new());
    let (mut last, mut last_reopened) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        let round = async {
            let incident = run_round::<D>(&Options::new(CROWD, DNS_LAG).without_bare()).await?;
            let cluster = setting::roomy::<D>(3).await?;
            workload::create_tables::<D>(&cluster).await?;
            let reopened = reopened::<D>(&cluster, CROWD as usize, PROMOTE_AFTER, FirstUse::Insert).await;
            cluster.shutdown().await;
            Ok::<_, AnyError>((incident, reopened?))
        };
        match round.await {
            Ok((incident, reopened)) => {
                let before = wrapper.over.len();
                wrapper.add(&incident, &incident.wrapper, &incident.round.wrapper);
                last.push(wrapper.over[before..].iter().copied().fold(0.0, f64::max));
                last_reopened.push(reopened.max());
                reopening.extend_from_slice(reopened.samples());
            }
            Err(error) => findings.notes.push(missing(number, CROWD, &*error)),
        }
    }
    if last.is_empty() {
        return;
    }
    let ratio = paired_ratio(&last, &last_reopened);
    let middle = |values: &[f64]| Sorted::new(values.iter().copied()).median();
    let (ours, theirs, errors) =
        (Sorted::new(wrapper.over), Sorted::new(reopening), Sorted::new(wrapper.errors));
    let name = |what: &str| format!("{what}, {CROWD} connections");
    findings.rows.extend([
        Row::of(name("outage over writable, first"), "ms", ours.min()).goal(MEDIAN),
        Row::both(name("outage over writable, median"), "ms", theirs.median(), ours.median()).goal(MEDIAN),
        Row::both(name("outage over writable, last"), "ms", middle(&last_reopened), middle(&last)).goal(MAX),
        Row::both(name("the same against reopening"), "ms", middle(&last_reopened), middle(&last))
            .ratio(ratio)
            .goal(Goal::RatioAtMost(1.15)),
        Row::of(name("errors a connection, fewest"), "errors", errors.min()).goal(ONE),
        Row::of(name("errors a connection, most"), "errors", errors.max()).goal(ONE),
        Row::of(name("acknowledged rows lost or doubled"), "rows", wrapper.wrong).goal(NONE),
    ]);
    let lanes = vec![Series::of("reopened, bare", theirs), Series::of(D::WRAPPED, ours)];
    findings.plots.push(plot::<D>(&CROWD.to_string(), name("Outage over writable"), lanes));
}

const MEDIAN: Goal = Goal::AtMost(15.0);
const MAX: Goal = Goal::AtMost(50.0);
const ONE: Goal = Goal::Exactly(1.0);
const NONE: Goal = Goal::Exactly(0.0);

/// The figures of the other rounds are worth having all the same.
fn missing(number: usize, connections: u32, error: &dyn std::error::Error) -> String {
    format!("Round {number} with {connections} connection(s) is missing: {error}.")
}

fn plot<D: Driver>(word: &str, title: String, lanes: Vec<Series>) -> Plot {
    Plot::new(format!("{}-outage-{word}.svg", D::ENGINE), title, "ms", lanes).limit(50.0)
}

#[derive(Default)]
struct Side {
    over: Vec<f64>,
    errors: Vec<f64>,
    wrong: f64,
}

impl Side {
    /// What one incident did to the connections of `logs`.
    fn add(&mut self, incident: &Incident, logs: &[Log], figures: &Figures) {
        let over = |log: &Log| {
            let first = log.acknowledged.iter().map(|(at, _)| *at).find(|at| *at > incident.writable);
            first.map_or(f64::INFINITY, |first| (first - incident.writable).as_secs_f64() * 1e3)
        };
        self.over.extend(logs.iter().map(over));
        #[expect(clippy::cast_precision_loss, reason = "hundreds at most")]
        self.errors.extend(logs.iter().map(|log| log.errors.len() as f64));
        #[expect(clippy::cast_precision_loss, reason = "hundreds at most")]
        let wrong = (figures.lost + figures.doubled) as f64;
        self.wrong += wrong;
    }
}
