//! Instructions a call takes, counted by callgrind: the same on every run, whatever else the machine does.

use std::process::Stdio;

use tokio::process::Command;

use crate::bench::plan::Plan;
use crate::bench::report::{Findings, Row};
use crate::bench::{Side, setting};
use crate::driver::{AnyError, Driver, MySql};
use aurora_sim::Engine;

/// Calls of the shorter run; the longer one makes three times as many, and the difference cancels what starting costs.
const CALLS: u64 = 2_000;

/// Counts for `SELECT 1` on both sides, and once for a call through the pipeline on a driver that talks to nobody.
///
/// # Errors
/// When a child fails.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let mut findings = Findings::default();
    if !plan.is_thorough {
        findings.notes.push("Instructions were not counted: left out of a quick run.".to_owned());
        return Ok(findings);
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        findings.notes.push("Instructions were not counted: valgrind is not installed.".to_owned());
        return Ok(findings);
    }
    let (cluster, server) = setting::single::<D>().await?;
    let (engine, server) = (D::ENGINE.to_string(), server.to_string());
    let rows = &mut findings.rows;
    if D::ENGINE == Engine::Postgres {
        let direct = per_call(&["calls-child", "direct"]).await?;
        for (way, name) in
            [("unwatched", "without efm"), ("watched", "with efm"), ("default", "default plugins")]
        {
            let count = per_call(&["calls-child", way]).await?;
            rows.push(Row::both(format!("mock driver, {name}, a call"), UNIT, direct, count));
        }
        let one = per_call(&["calls-child", "observers-1"]).await?;
        let six = per_call(&["calls-child", "observers-6"]).await?;
        rows.push(Row::of("mock driver, each further observing plugin", UNIT, (six - one) / 5.0));
    }
    let mut sides = vec![(Side::Wrapped, "")];
    if D::ENGINE == MySql::ENGINE {
        sides.push((Side::Generic, ", by the driver's trait"));
    }
    for (form, name) in [("text", "as text"), ("long", "as text of 1 kB"), ("prepared", "prepared")] {
        let count =
            async |side: Side| per_call(&["queries-child", &engine, side.word(), form, &server]).await;
        let bare = count(Side::Bare).await?;
        for (side, note) in &sides {
            let name = format!("SELECT 1 {name}, default plugins, client side{note}");
            rows.push(Row::both(name, UNIT, bare, count(*side).await?));
        }
    }
    findings.notes.push(
        "Counted by callgrind on the client's side: the same on every run, whatever else the machine does. No goal names \
         instructions; they decide where a time is within the noise."
            .to_owned(),
    );
    cluster.shutdown().await;
    Ok(findings)
}

const UNIT: &str = "instructions";

async fn per_call(mode: &[&str]) -> Result<f64, AnyError> {
    let (short, long) = (count(mode, CALLS).await?, count(mode, 3 * CALLS).await?);
    #[expect(clippy::cast_precision_loss, reason = "far below the limit")]
    let per_call = (long - short) as f64 / (2 * CALLS) as f64;
    Ok(per_call)
}

async fn count(mode: &[&str], calls: u64) -> Result<u64, AnyError> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(mode)
        .arg(calls.to_string())
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    match collected {
        Some((_, number)) if output.status.success() => Ok(number.trim().parse()?),
        _ => Err(format!("callgrind: {text}").into()),
    }
}
