//! The outage a client sees when the writer dies, beyond the moment at which the new writer takes writes.

use std::time::Duration;

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::stats::Sorted;
use crate::demo::{Options, run_round};
use crate::driver::Driver;

/// Short, so that a run is: the bare side waits for it, the wrapper does not.
const DNS_LAG: Duration = Duration::from_secs(3);

/// With one connection and with 200. A round that cannot be measured is a note.
pub async fn measure<D: Driver>(plan: &Plan) -> Findings {
    let mut findings = Findings::default();
    for (connections, rounds) in [(1, plan.failovers), (200, plan.crowded_failovers)] {
        with::<D>(&mut findings, connections, rounds).await;
    }
    findings.notes.push(format!(
        "As in `cargo xtask demo`: the writer is killed under a write every 2 ms (over all connections of a kind), a reader \
         is promoted one second later, the cluster's name follows another {} s later. Time from the moment the new writer \
         takes writes to the first acknowledged write of a connection. {} rounds with one connection, {} with 200. The bare \
         side reconnects by name every 10 ms, so what it waits for is DNS: no ratio is judged.",
        DNS_LAG.as_secs(),
        plan.failovers,
        plan.crowded_failovers
    ));
    findings
}

async fn with<D: Driver>(findings: &mut Findings, connections: u32, rounds: usize) {
    let options = Options::new(connections, DNS_LAG);
    let (mut wrapper, mut bare) = (Side::default(), Side::default());
    let mut measured = 0;
    for number in 1..=rounds {
        // The figures of the other rounds are worth having all the same.
        let incident = match run_round::<D>(&options).await {
            Ok(incident) => incident,
            Err(error) => {
                findings
                    .notes
                    .push(format!("Round {number} with {connections} connection(s) is missing: {error}."));
                continue;
            }
        };
        measured += 1;
        let over = |log: &crate::demo::workload::Log| {
            let first = log.acknowledged.iter().map(|(at, _)| *at).find(|at| *at > incident.writable);
            first.map_or(f64::INFINITY, |first| (first - incident.writable).as_secs_f64() * 1e3)
        };
        for (side, logs) in [(&mut wrapper, &incident.wrapper), (&mut bare, &incident.bare)] {
            side.over.extend(logs.iter().map(over));
            #[expect(clippy::cast_precision_loss, reason = "hundreds at most")]
            side.errors.extend(logs.iter().map(|log| log.errors.len() as f64));
        }
        #[expect(clippy::cast_precision_loss, reason = "hundreds at most")]
        let wrong = |figures: &crate::demo::report::Figures| (figures.lost + figures.doubled) as f64;
        wrapper.wrong += wrong(&incident.round.wrapper);
        bare.wrong += wrong(&incident.round.bare);
    }
    if measured == 0 {
        return;
    }
    let plural = if connections == 1 { "connection" } else { "connections" };
    let name = |what: &str| format!("{what}, {connections} {plural}");
    let [ours, theirs] = [&wrapper, &bare].map(|side| Sorted::new(side.over.iter().copied()));
    let [errors, their_errors] = [&wrapper, &bare].map(|side| Sorted::new(side.errors.iter().copied()));
    findings.rows.extend([
        Row::both(name("outage over writable, median"), "ms", theirs.median(), ours.median())
            .goal(Goal::AtMost(15.0)),
        Row::both(name("outage over writable, max"), "ms", theirs.max(), ours.max()).goal(Goal::AtMost(50.0)),
        Row::both(name("errors a connection, fewest"), "errors", their_errors.min(), errors.min())
            .goal(Goal::Exactly(1.0)),
        Row::both(name("errors a connection, most"), "errors", their_errors.max(), errors.max())
            .goal(Goal::Exactly(1.0)),
        Row::both(name("acknowledged rows lost or doubled"), "rows", bare.wrong, wrapper.wrong)
            .goal(Goal::Exactly(0.0)),
    ]);
    let file = format!("{}-outage-{connections}.svg", D::ENGINE);
    let lane = Series { label: D::WRAPPED.to_owned(), samples: ours };
    let title = name("Outage over writable");
    findings.plots.push(Plot::new(file, title, "ms", vec![lane]).limit(50.0));
}

#[derive(Default)]
struct Side {
    over: Vec<f64>,
    errors: Vec<f64>,
    wrong: f64,
}
