//! Memory per connection: a process with wrapped and one with bare connections, measured from the inside.

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::report::{Findings, Row};
use crate::bench::stats::Sorted;
use crate::bench::{Side, children, setting};
use crate::driver::{AnyError, Driver, Session};

/// Anonymous resident memory of this process in kB.
///
/// # Errors
/// When the kernel does not tell.
pub fn resident_kb() -> Result<f64, AnyError> {
    status("RssAnon:")
}

/// How many threads this process has.
///
/// # Errors
/// When the kernel does not tell.
pub fn threads() -> Result<f64, AnyError> {
    status("Threads:")
}

fn status(field: &str) -> Result<f64, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such line")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}

/// Opens connections of one kind and tells what one of them took, and how many threads there are.
///
/// # Errors
/// When a connection fails.
pub async fn of<S: Session>(
    open: impl AsyncFn() -> Result<S, AnyError>,
    connections: usize,
) -> Result<(f64, f64), AnyError> {
    // The first connection pays for what all share.
    let mut open_ones = Vec::with_capacity(connections + 1);
    let mut before = 0.0;
    for number in 0..=connections {
        let mut session = open().await?;
        let statement = session.prepare("SELECT 1").await?;
        session.ask_prepared(&statement).await?;
        open_ones.push(session);
        if number == 0 {
            before = resident_kb()?;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    let per_connection = (resident_kb()? - before) / connections as f64;
    let threads = threads()?;
    drop(open_ones);
    Ok((per_connection, threads))
}

/// Runs this program for each side, three times in turn, and compares the medians.
///
/// # Errors
/// When a child fails.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<D>().await?;
    let (engine, server) = (D::ENGINE.to_string(), server.to_string());
    let mut findings = Findings::default();
    let rounds = if plan.is_thorough { 3 } else { 1 };
    let counts: &[usize] = if plan.is_thorough { &[100, 1000] } else { &[100] };
    for connections in counts {
        let count = connections.to_string();
        let (mut kb, mut threads) = ([Vec::new(), Vec::new()], [0.0, 0.0]);
        for _ in 0..rounds {
            for (number, side) in [Side::Bare, Side::Wrapped].into_iter().enumerate() {
                let text = children::run(&["memory-child", &engine, side.word(), &server, &count]).await?;
                let (kb_each, threads_here) = text.trim().split_once(' ').ok_or("unreadable child")?;
                kb[number].push(kb_each.parse()?);
                threads[number] = threads_here.parse()?;
            }
        }
        let [bare, wrapped] = kb.map(|side| Sorted::new(side).median());
        let name = format!("memory a connection, {connections} connections");
        findings.rows.push(Row::both(name, "kB", bare, wrapped).goal(Goal::AddsAtMost(2.0)));
        let name = format!("threads of the process, {connections} connections");
        findings.rows.push(Row::both(name, "threads", threads[0], threads[1]).goal(Goal::AddsAtMost(0.0)));
    }
    findings.notes.push(format!(
        "Anonymous resident memory of a process of its own for each side, after each connection has prepared and run \
         `SELECT 1`; median of {rounds} process(es). The first connection, which pays for what all share, is not counted."
    ));
    cluster.shutdown().await;
    Ok(findings)
}
